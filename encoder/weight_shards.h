/* weight_shards.h -- a model's weights in one file or in several, in the Hugging Face layout:
 *
 *     FOLDER/model.safetensors                 all of them; where it is there, it is what counts
 *     FOLDER/model.safetensors.index.json      else: {"weight_map": {TENSOR: SHARD, ...}}, other keys ignored
 *     FOLDER/model-00001-of-00002.safetensors  the shards, beside the index under the names that it gives
 */
#ifndef MN_ENCODER_WEIGHT_SHARDS_H
#define MN_ENCODER_WEIGHT_SHARDS_H

#include "encoder/safetensors.h"

#define MN_WEIGHT_INDEX_ENDING ".index.json"

enum { MN_WEIGHT_SHARDS_MAX = 128 };

typedef struct mn_weight_index mn_weight_index;

/* Read the text of an index. ERR_MODEL says what is wrong in one line that begins with `name`: no JSON object, a name
 * given twice, a shard whose name is not that of a .safetensors file in the same folder, no shard, over
 * MN_WEIGHT_SHARDS_MAX of them. *out: owned, mn_weight_index_free. Any bytes. */
mneme_status mn_weight_index_parse(const char *name, const void *text, size_t size, mn_weight_index **out,
                                   mneme_error *error);
/* The same of the file of an index. ERR_NOT_FOUND: it is not there. */
mneme_status mn_weight_index_read(const char *path, mn_weight_index **out, mneme_error *error);
void mn_weight_index_free(mn_weight_index *index);

/* Names of the shards' files, each once, in the order of their names. Borrowed until free. */
size_t mn_weight_index_count(const mn_weight_index *index);
const char *mn_weight_index_shard(const mn_weight_index *index, size_t i);

/* Open the weights of a model. path: FOLDER/model.safetensors, be it there or not. From several files they come as one
 * mn_safetensors; then ERR_MODEL also names the shard that is missing, a tensor that its shard lacks, and one that is
 * in two shards. *out: owned, mn_safetensors_close. */
mneme_status mn_weights_open(const char *path, mn_safetensors **out, mneme_error *error);

#endif
