/* lm_folder.c -- see lm_folder.h. */
#include "encoder/train/lm_folder.h"

#include "common/file.h"
#include "common/json.h"
#include "encoder/train/model_files.h"

#include <jansson.h>
#include <string.h>

#define MODEL_TYPE       "mneme-language-model"
#define CONFIG_MAX_BYTES ((size_t)64 << 20)
enum { DEPTH_MAX = 8, CODEPOINT_MOST = 0x10FFFF };

/* ---- saving ---------------------------------------------------------------------------------------------------- */

static json_t *characters(const mn_lm_vocabulary *vocabulary)
{
    if (vocabulary->bytes) return json_string("bytes");
    json_t *list = json_array();
    for (uint32_t i = 0; i < vocabulary->n; i++) json_array_append_new(list, json_integer(vocabulary->codepoints[i]));
    return list;
}

mneme_status mn_lm_folder_save(const char *folder, const mn_language_model *model, const mn_lm_vocabulary *vocabulary,
                               mneme_error *error)
{
    const mn_lm_config *c = &model->config;
    json_t *config =
        json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:f, s:b, s:s, s:o}", "model_type", MODEL_TYPE, "cell",
                  mn_lm_cell_name(c->cell), "layers", (json_int_t)c->layers, "hidden", (json_int_t)c->hidden, "heads",
                  (json_int_t)c->heads, "steps_back", (json_int_t)c->steps_back, "dropout", (double)c->dropout, "tied",
                  (int)c->tied, "mneme_version", MNEME_VERSION, "characters", characters(vocabulary));
    mneme_status status = mn_model_write_json(folder, "config.json", config, error);
    char *weights = mn_path_join(folder, "model.safetensors");
    if (status == MNEME_OK && !weights) status = mn_fail_memory(error, "path");
    if (status == MNEME_OK) status = mn_parameters_save(&model->parameters, weights, error);
    mn_free(weights);
    return status;
}

/* ---- loading --------------------------------------------------------------------------------------------------- */

static mneme_status read_count(const json_t *config, const char *path, const char *name, uint32_t *out,
                               mneme_error *error)
{
    const json_t *value = json_object_get(config, name);
    json_int_t number = json_is_integer(value) ? json_integer_value(value) : -1;
    if (number < 0 || number > UINT32_MAX) return mn_fail(error, MNEME_ERR_MODEL, "%s: %s is no count", path, name);
    *out = (uint32_t)number;
    return MNEME_OK;
}

static mneme_status read_characters(const json_t *config, const char *path, mn_lm_vocabulary *out, mneme_error *error)
{
    const json_t *list = json_object_get(config, "characters");
    if (json_is_string(list) && strcmp(json_string_value(list), "bytes") == 0) {
        *out = (mn_lm_vocabulary){.bytes = true, .n = 256};
        return MNEME_OK;
    }
    size_t n = json_array_size(list);
    if (n < 2 || n > CODEPOINT_MOST) return mn_fail(error, MNEME_ERR_MODEL, "%s: characters is no list of them", path);
    out->codepoints = mn_alloc_array(n, sizeof *out->codepoints);
    if (!out->codepoints) return mn_fail_memory(error, path);
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(list, i);
        json_int_t codepoint = json_is_integer(item) ? json_integer_value(item) : -1;
        if (codepoint < 0 || codepoint > CODEPOINT_MOST || (i > 0 && codepoint <= out->codepoints[i - 1]))
            return mn_fail(error, MNEME_ERR_MODEL, "%s: characters are not code points in their order", path);
        out->codepoints[out->n++] = (uint32_t)codepoint;
    }
    return MNEME_OK;
}

static mneme_status read_config(const json_t *config, const char *path, mn_lm_config *c, mn_lm_vocabulary *vocabulary,
                                mneme_error *error)
{
    const char *type = json_string_value(json_object_get(config, "model_type"));
    const char *cell = json_string_value(json_object_get(config, "cell"));
    if (!type || strcmp(type, MODEL_TYPE) != 0)
        return mn_fail(error, MNEME_ERR_MODEL, "%s is not of a language model that mneme trained", path);
    int kind = MNEME_CELL_LSTM;
    while (kind <= MNEME_CELL_TRANSFORMER && (!cell || strcmp(mn_lm_cell_name((mneme_cell)kind), cell) != 0)) kind++;
    if (kind > MNEME_CELL_TRANSFORMER)
        return mn_fail(error, MNEME_ERR_MODEL, "%s: cell is %s; expected lstm, gru or transformer", path,
                       cell ? cell : "missing");
    c->cell = (mneme_cell)kind;
    c->dropout = (float)json_number_value(json_object_get(config, "dropout"));
    c->tied = json_is_true(json_object_get(config, "tied"));
    mneme_status status = read_count(config, path, "layers", &c->layers, error);
    if (status == MNEME_OK) status = read_count(config, path, "hidden", &c->hidden, error);
    if (status == MNEME_OK) status = read_count(config, path, "heads", &c->heads, error);
    if (status == MNEME_OK) status = read_count(config, path, "steps_back", &c->steps_back, error);
    if (status == MNEME_OK) status = read_characters(config, path, vocabulary, error);
    c->vocabulary = vocabulary->n;
    if (status == MNEME_OK && mn_lm_config_check(c, error) != MNEME_OK) {
        mn_error_prefix(error, "%s: ", path);
        if (error) error->code = MNEME_ERR_MODEL;
        status = MNEME_ERR_MODEL;
    }
    return status;
}

static mneme_status load_config(const char *path, mn_lm_config *c, mn_lm_vocabulary *vocabulary, mneme_error *error)
{
    mn_buffer text = {0};
    json_error_t problem = {0};
    json_t *config = NULL;
    mneme_status status = mn_file_exists(path) ? mn_file_read(path, CONFIG_MAX_BYTES, &text, error)
                                               : mn_fail(error, MNEME_ERR_MODEL, "%s is missing", path);
    if (status == MNEME_OK && mn_json_deeper_than(text.data, text.size, DEPTH_MAX))
        status = mn_fail(error, MNEME_ERR_MODEL, "%s is nested deeper than %d", path, DEPTH_MAX);
    if (status == MNEME_OK) {
        config = json_loadb(text.data ? text.data : "", text.size, 0, &problem);
        status = json_is_object(config) ? read_config(config, path, c, vocabulary, error)
                                        : mn_fail(error, MNEME_ERR_MODEL, "%s:%d: %s", path, problem.line,
                                                  config ? "not an object" : problem.text);
    }
    json_decref(config);
    mn_buffer_free(&text);
    return status;
}

mneme_status mn_lm_folder_load(const char *folder, mn_language_model **model, mn_lm_vocabulary *vocabulary,
                               mneme_error *error)
{
    *model = NULL;
    *vocabulary = (mn_lm_vocabulary){0};
    mn_lm_config c = {0};
    mn_threads *alone = NULL;
    char *config = mn_path_join(folder, "config.json"), *weights = mn_path_join(folder, "model.safetensors");
    mneme_status status =
        config && weights ? load_config(config, &c, vocabulary, error) : mn_fail_memory(error, "path");
    if (status == MNEME_OK) status = mn_language_model_new(&c, false, 0, model, error);
    if (status == MNEME_OK) status = mn_parameters_load(&(*model)->parameters, weights, "", error);
    if (status == MNEME_OK) status = mn_threads_new(1, &alone, error);
    if (status == MNEME_OK) mn_parameters_pack(&(*model)->parameters, alone);
    if (status != MNEME_OK) {
        mn_language_model_free(*model);
        mn_lm_vocabulary_free(vocabulary);
        *model = NULL;
    }
    mn_threads_free(alone);
    mn_free(config);
    mn_free(weights);
    return status;
}
