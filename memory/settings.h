/* settings.h -- the settings as plain values, for the rest of mneme. The public side is in mneme.h. */
#ifndef MN_MEMORY_SETTINGS_H
#define MN_MEMORY_SETTINGS_H

#include "common/error.h"

/* One field for each setting of the table in settings.c, dots as underscores. Texts are borrowed from the settings
 * until they change. */
typedef struct mn_settings_values {
    const char *encoder_model, *encoder_path, *encoder_precision, *encoder_kernels, *encoder_cache;
    int64_t encoder_threads;
    int64_t chunk_max_tokens, chunk_overlap_tokens;
    const char *lexical_language;
    double lexical_k1, lexical_b;
    const char *retrieval_mode;
    int64_t retrieval_k, retrieval_candidates;
    double retrieval_dense_weight, retrieval_neighbour_share;
    int64_t retrieval_neighbour_reach, retrieval_threads;
    const char *retrieval_kernels;
    double retrieval_attention_scale;
    int64_t context_budget, context_k;
    const char *store_vectors;
    int64_t store_map_gib;
    int64_t index_max_record_mib, index_batch_records;
    const char *output_color;
} mn_settings_values;

void mn_settings_values_get(const mneme_settings *settings, mn_settings_values *out);

/* *out: owned, mneme_settings_free. */
mneme_status mn_settings_copy(const mneme_settings *settings, mneme_settings **out, mneme_error *error);

#endif
