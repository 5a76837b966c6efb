/* fuzz_recurrent_config.c -- the config.json of a recurrent encoder, and what it says of how it was made. */
#include "fuzz_support.h"

#include "encoder/model_story.h"
#include "encoder/recurrent_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mn_recurrent_config config;
    mneme_error error = {MNEME_OK, ""};
    char *text = malloc(size ? size : 1); /* of just this size, so that a sanitizer sees its end */
    if (size) memcpy(text, data, size);
    mneme_status status = mn_recurrent_config_parse(text, size, &config, &error);
    if (status == MNEME_OK) {
        fuzz_require(config.vocabulary > 0 && config.embedding > 0 && config.hidden > 0 && config.output > 0);
        fuzz_require(config.n_layers > 0 && config.n_layers <= 16);
        fuzz_require(config.max_tokens > 0 && (!config.special_tokens || config.max_tokens >= 3));
        fuzz_require(config.hidden <= 8192 && mn_recurrent_config_width(&config) <= 2 * 8192);
    } else {
        fuzz_check_failure(status, &error, NULL);
        fuzz_require(config.hidden == 0);
    }
    mn_model_story story;
    fuzz_require(mn_model_story_parse(text, size, &story, NULL) == MNEME_OK);
    const char *lines[] = {story.teacher, story.trained_from, story.trained_on, story.measured};
    for (size_t i = 0; i < 4; i++)
        for (const char *at = lines[i]; at && *at; at++) fuzz_require((unsigned char)*at >= 0x20);
    mn_model_story_free(&story);
    free(text);
    return 0;
}
