/* fuzz_weight_index.c -- the index of a model's shards: any text is refused with a reason, or names files that lie
 * beside it. */
#include "fuzz_support.h"

#include "encoder/weight_shards.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mn_weight_index *index = NULL;
    mneme_error error;
    mneme_status status = mn_weight_index_parse("input", data, size, &index, &error);
    if (status != MNEME_OK) {
        fuzz_check_failure(status, &error, index);
        return 0;
    }
    size_t n = mn_weight_index_count(index);
    fuzz_require(n > 0 && n <= MN_WEIGHT_SHARDS_MAX);
    for (size_t i = 0; i < n; i++) {
        const char *name = mn_weight_index_shard(index, i);
        fuzz_require(!strchr(name, '/') && name[0] != '.' && strlen(name) > 0);
        fuzz_require(i == 0 || strcmp(mn_weight_index_shard(index, i - 1), name) < 0);
    }
    mn_weight_index_free(index);
    return 0;
}
