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
    double retrieval_nearby_words, retrieval_feedback_weight, retrieval_expansion_weight, retrieval_feedback_scale;
    double retrieval_speaker_weight, retrieval_time_weight;
    int64_t retrieval_neighbour_reach, retrieval_threads;
    const char *retrieval_kernels;
    double retrieval_attention_scale;
    double retrieval_importance_weight, retrieval_session_importance_weight;
    double retrieval_strength_weight, retrieval_recency_weight, retrieval_recency_half_life_days;
    const char *memory_strengthen;
    double memory_flush_seconds;
    const char *memory_importance;
    double memory_importance_level, memory_importance_half, memory_answer_factor;
    double memory_half_life_days, memory_use_gain, memory_half_life_growth, memory_spacing;
    double memory_duplicate_cosine, memory_duplicate_terms;
    const char *clock_now;
    int64_t context_budget, context_k;
    const char *context_tokens, *context_template;
    const char *store_vectors;
    int64_t store_map_gib, store_pinned_mib;
    int64_t index_max_record_mib, index_batch_records;
    const char *index_kind, *index_build;
    int64_t index_min_rows, index_memory_mib;
    double index_recall;
    const char *output_color;
} mn_settings_values;

void mn_settings_values_get(const mneme_settings *settings, mn_settings_values *out);

/* *out: owned, mneme_settings_free. */
mneme_status mn_settings_copy(const mneme_settings *settings, mneme_settings **out, mneme_error *error);

#endif
