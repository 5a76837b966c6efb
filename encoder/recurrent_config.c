/* recurrent_config.c -- reading the config.json of a recurrent encoder. */
#include "encoder/recurrent_config.h"

#include "common/file.h"
#include "common/json.h"
#include "common/memory.h"

#include <jansson.h>
#include <string.h>

enum { CONFIG_MAX_BYTES = 1 << 20, DEPTH_MAX = 32 };

static const char model_type[] = "mneme-recurrent";

static mneme_status read_number(const json_t *config, const char *key, uint32_t largest, uint32_t *out,
                                mneme_error *error)
{
    const json_t *value = json_object_get(config, key);
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < 1 || number > (json_int_t)largest)
        return mn_fail(error, MNEME_ERR_MODEL, "config.json: %s must be a whole number from 1 to %u", key, largest);
    *out = (uint32_t)number;
    return MNEME_OK;
}

/* A key that is missing is false. */
static mneme_status read_flag(const json_t *config, const char *key, bool *out, mneme_error *error)
{
    const json_t *value = json_object_get(config, key);
    if (value && !json_is_boolean(value))
        return mn_fail(error, MNEME_ERR_MODEL, "config.json: %s must be true or false", key);
    *out = json_is_true(value);
    return MNEME_OK;
}

/* One of two words; *second: is it the second one? */
static mneme_status read_choice(const json_t *config, const char *key, const char *const words[2], bool *second,
                                mneme_error *error)
{
    const char *word = json_string_value(json_object_get(config, key));
    if (word && (strcmp(word, words[0]) == 0 || strcmp(word, words[1]) == 0)) {
        *second = strcmp(word, words[1]) == 0;
        return MNEME_OK;
    }
    return mn_fail(error, MNEME_ERR_MODEL, "config.json: %s must be \"%s\" or \"%s\"", key, words[0], words[1]);
}

static mneme_status read_config(const json_t *config, mn_recurrent_config *out, mneme_error *error)
{
    static const char *const cells[] = {"lstm", "gru"}, *const poolings[] = {"mean", "attentive"};
    const char *type = json_string_value(json_object_get(config, "model_type"));
    if (!type || strcmp(type, model_type) != 0)
        return mn_fail(error, MNEME_ERR_MODEL, "config.json: model_type must be \"%s\"", model_type);
    const struct {
        const char *key;
        uint32_t largest, *value;
    } numbers[] = {{"vocab_size", 1u << 22, &out->vocabulary}, {"embedding_size", 8192, &out->embedding},
                   {"hidden_size", 8192, &out->hidden},        {"num_layers", 16, &out->n_layers},
                   {"output_size", 8192, &out->output},        {"max_tokens", 65536, &out->max_tokens}};
    const struct {
        const char *key;
        bool *value;
    } flags[] = {{"bidirectional", &out->bidirectional},
                 {"join_tokens", &out->join_tokens},
                 {"special_tokens", &out->special_tokens}};
    bool is_gru = false;
    mneme_status status = read_choice(config, "cell", cells, &is_gru, error);
    if (status == MNEME_OK) status = read_choice(config, "pooling", poolings, &out->attentive, error);
    out->cell = is_gru ? MN_CELL_GRU : MN_CELL_LSTM;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0] && status == MNEME_OK; i++)
        status = read_number(config, numbers[i].key, numbers[i].largest, numbers[i].value, error);
    for (size_t i = 0; i < sizeof flags / sizeof flags[0] && status == MNEME_OK; i++)
        status = read_flag(config, flags[i].key, flags[i].value, error);
    if (status == MNEME_OK && out->special_tokens && out->max_tokens < 3)
        status = mn_fail(error, MNEME_ERR_MODEL,
                         "config.json: max_tokens %u leaves no room for text beside special_tokens", out->max_tokens);
    return status;
}

mneme_status mn_recurrent_config_parse(const char *text, size_t size, mn_recurrent_config *out, mneme_error *error)
{
    *out = (mn_recurrent_config){0};
    if (mn_json_deeper_than(text, size, DEPTH_MAX))
        return mn_fail(error, MNEME_ERR_MODEL, "config.json is nested deeper than %d", DEPTH_MAX);
    json_error_t problem = {0};
    json_t *config = size > 0 ? json_loadb(text, size, 0, &problem) : NULL;
    mneme_status status = MNEME_OK;
    if (size == 0)
        status = mn_fail(error, MNEME_ERR_MODEL, "config.json is empty");
    else if (!config)
        status = mn_fail(error, MNEME_ERR_MODEL, "config.json:%d:%d: %s", problem.line, problem.column, problem.text);
    else
        status = read_config(config, out, error);
    json_decref(config);
    if (status != MNEME_OK) *out = (mn_recurrent_config){0};
    return status;
}

static mneme_status read_text(const char *folder, mn_buffer *out, mneme_error *error)
{
    char *path = mn_path_join(folder, "config.json");
    mneme_status status =
        path ? mn_file_read(path, CONFIG_MAX_BYTES, out, error) : mn_fail_memory(error, "config.json");
    mn_free(path);
    return status;
}

bool mn_recurrent_is(const char *folder)
{
    mn_buffer text = {0};
    json_t *config = NULL;
    if (read_text(folder, &text, NULL) == MNEME_OK && text.size > 0 &&
        !mn_json_deeper_than(text.data, text.size, DEPTH_MAX))
        config = json_loadb(text.data, text.size, 0, NULL);
    const char *type = json_string_value(json_object_get(config, "model_type"));
    bool is_recurrent = type && strcmp(type, model_type) == 0;
    json_decref(config);
    mn_buffer_free(&text);
    return is_recurrent;
}

mneme_status mn_recurrent_config_read(const char *folder, mn_recurrent_config *out, mneme_error *error)
{
    mn_buffer text = {0};
    *out = (mn_recurrent_config){0};
    mneme_status status = read_text(folder, &text, error);
    if (status == MNEME_OK) {
        status = mn_recurrent_config_parse(text.data, text.size, out, error);
        if (status == MNEME_ERR_MODEL) mn_error_prefix(error, "model %s: ", folder);
    }
    mn_buffer_free(&text);
    return status;
}
