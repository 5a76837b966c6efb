/* fuzz_model_config.c -- the JSON files of a model folder, cut at lines "%%": config.json, sentence_bert_config.json,
 * 1_Pooling/config.json, modules.json, config_sentence_transformers.json. */
#include "fuzz_support.h"

#include "encoder/model_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_part parts[MN_CONFIG_FILES];
    mn_buffer texts[MN_CONFIG_FILES] = {0};
    fuzz_cut(data, size, parts, MN_CONFIG_FILES);
    for (size_t i = 0; i < MN_CONFIG_FILES; i++) texts[i] = (mn_buffer){.data = parts[i].data, .size = parts[i].size};
    mn_model_config config;
    mneme_error error;
    mneme_status status = mn_model_config_parse(texts, &config, &error);
    if (status == MNEME_OK) {
        fuzz_require(config.hidden > 0 && config.n_heads > 0 && config.hidden % config.n_heads == 0);
        fuzz_require(config.n_layers > 0 && config.intermediate > 0 && config.vocabulary > 0);
        fuzz_require(config.max_tokens >= 3 && config.max_tokens <= config.n_positions);
        fuzz_require(config.layer_norm_epsilon >= 0.0f && config.layer_norm_epsilon <= 1.0f);
    } else {
        fuzz_check_failure(status, &error, config.query_prompt);
    }
    mn_model_config_free(&config);
    for (size_t i = 0; i < MN_CONFIG_FILES; i++) free(parts[i].data);
    return 0;
}
