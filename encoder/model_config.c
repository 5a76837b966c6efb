/* model_config.c -- reading the JSON files of a Hugging Face model folder. */
#include "encoder/model_config.h"

#include "common/file.h"
#include "common/json.h"
#include "common/memory.h"

#include <jansson.h>
#include <string.h>

enum { CONFIG_MAX_BYTES = 1 << 20, DEPTH_MAX = 32 };

static const char *const file_names[MN_CONFIG_FILES] = {[MN_CONFIG_MODEL] = "config.json",
                                                        [MN_CONFIG_SENTENCE] = "sentence_bert_config.json",
                                                        [MN_CONFIG_POOLING] = "1_Pooling/config.json",
                                                        [MN_CONFIG_MODULES] = "modules.json",
                                                        [MN_CONFIG_PROMPTS] = "config_sentence_transformers.json",
                                                        [MN_CONFIG_TOKENIZER] = "tokenizer_config.json"};

/* Read folder/name. A missing file leaves *out empty. */
static mneme_status read_file(const char *folder, const char *name, mn_buffer *out, mneme_error *error)
{
    char *path = mn_path_join(folder, name);
    if (!path) return mn_fail_memory(error, name);
    mneme_status status = mn_file_exists(path) ? mn_file_read(path, CONFIG_MAX_BYTES, out, error) : MNEME_OK;
    mn_free(path);
    return status;
}

/* The text as an object (or, for modules.json, an array). No text gives *out = NULL and OK. */
static mneme_status parse_json(const char *name, const mn_buffer *text, size_t flags, json_t **out, mneme_error *error)
{
    *out = NULL;
    if (!text->data) return MNEME_OK;
    if (mn_json_deeper_than(text->data, text->size, DEPTH_MAX))
        return mn_fail(error, MNEME_ERR_MODEL, "%s is nested deeper than %d", name, DEPTH_MAX);
    json_error_t problem;
    *out = json_loadb(text->data, text->size, flags, &problem);
    if (*out) return MNEME_OK;
    return mn_fail(error, MNEME_ERR_MODEL, "%s:%d:%d: %s", name, problem.line, problem.column, problem.text);
}

static mneme_status read_integer(const json_t *object, const char *key, uint32_t largest, uint32_t *out,
                                 mneme_error *error)
{
    const json_t *value = json_object_get(object, key);
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < 1 || number > (json_int_t)largest)
        return mn_fail(error, MNEME_ERR_MODEL, "config.json: %s must be a whole number from 1 to %u", key, largest);
    *out = (uint32_t)number;
    return MNEME_OK;
}

/* The value of a text key, or `fallback` where the key is missing or null. */
static const char *text_or(const json_t *object, const char *key, const char *fallback)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : fallback;
}

static mneme_status read_architecture(const json_t *config, mn_model_config *out, mneme_error *error)
{
    const char *type = text_or(config, "model_type", "(none)");
    if (strcmp(type, "bert") != 0)
        return mn_fail(
            error, MNEME_ERR_MODEL,
            "config.json: model_type \"%s\" is not supported; \"bert\", \"model2vec\" and \"mneme-recurrent\" are",
            type);
    const char *positions = text_or(config, "position_embedding_type", "absolute");
    if (strcmp(positions, "absolute") != 0)
        return mn_fail(error, MNEME_ERR_MODEL, "config.json: position_embedding_type \"%s\" is not supported",
                       positions);
    const char *activation = text_or(config, "hidden_act", "gelu");
    if (strcmp(activation, "gelu") == 0)
        out->activation = MN_ACTIVATION_GELU;
    else if (strcmp(activation, "relu") == 0)
        out->activation = MN_ACTIVATION_RELU;
    else
        return mn_fail(error, MNEME_ERR_MODEL, "config.json: hidden_act \"%s\" is not supported", activation);
    return MNEME_OK;
}

static mneme_status read_config(const json_t *config, mn_model_config *out, mneme_error *error)
{
    mneme_status status = read_architecture(config, out, error);
    const struct {
        const char *key;
        uint32_t largest;
        uint32_t *value;
    } integers[] = {{"hidden_size", 8192, &out->hidden},        {"intermediate_size", 65536, &out->intermediate},
                    {"num_hidden_layers", 256, &out->n_layers}, {"num_attention_heads", 256, &out->n_heads},
                    {"vocab_size", 1u << 22, &out->vocabulary}, {"max_position_embeddings", 65536, &out->n_positions}};
    for (size_t i = 0; status == MNEME_OK && i < sizeof integers / sizeof integers[0]; i++)
        status = read_integer(config, integers[i].key, integers[i].largest, integers[i].value, error);
    if (status != MNEME_OK) return status;
    if (out->n_positions < 3)
        return mn_fail(error, MNEME_ERR_MODEL, "config.json: max_position_embeddings %u leaves no room for text",
                       out->n_positions);
    if (out->hidden % out->n_heads != 0)
        return mn_fail(error, MNEME_ERR_MODEL,
                       "config.json: hidden_size %u is not a multiple of num_attention_heads %u", out->hidden,
                       out->n_heads);
    const json_t *epsilon = json_object_get(config, "layer_norm_eps");
    double value = json_is_number(epsilon) ? json_number_value(epsilon) : 1e-12;
    if (!(value >= 0.0 && value <= 1.0))
        return mn_fail(error, MNEME_ERR_MODEL, "config.json: layer_norm_eps must be a number from 0 to 1");
    out->layer_norm_epsilon = (float)value;
    out->max_tokens = out->n_positions;
    return MNEME_OK;
}

/* max_seq_length; where it is not given, as newer sentence-transformers save it, the tokenizer's model_max_length. */
static mneme_status read_window(const json_t *sentence_config, const json_t *tokenizer_config, mn_model_config *out,
                                mneme_error *error)
{
    const json_t *value = json_object_get(sentence_config, "max_seq_length");
    bool given = value && !json_is_null(value);
    if (given && !(json_is_number(value) && json_number_value(value) >= 3))
        return mn_fail(error, MNEME_ERR_MODEL,
                       "sentence_bert_config.json: max_seq_length must be a number of tokens, 3 at least");
    if (!given) value = json_object_get(tokenizer_config, "model_max_length");
    double window = json_number_value(value);
    if (window >= 3 && window < (double)out->max_tokens) out->max_tokens = (uint32_t)window;
    return MNEME_OK;
}

static mneme_status read_pooling(const json_t *pooling, mn_model_config *out, mneme_error *error)
{
    static const struct {
        const char *key, *name; /* "key": true, or "pooling_mode": "name" in newer files */
        mn_pooling pooling;
        bool supported;
    } modes[] = {{"pooling_mode_mean_tokens", "mean", MN_POOLING_MEAN, true},
                 {"pooling_mode_cls_token", "cls", MN_POOLING_CLS, true},
                 {"pooling_mode_max_tokens", "max", MN_POOLING_MAX, true},
                 /* the same after normalisation */
                 {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", MN_POOLING_MEAN, true},
                 {"pooling_mode_weightedmean_tokens", "weightedmean", MN_POOLING_MEAN, false},
                 {"pooling_mode_lasttoken", "lasttoken", MN_POOLING_MEAN, false}};
    const json_t *named = json_object_get(pooling, "pooling_mode");
    const char *name = json_string_value(named);
    size_t chosen = 0;
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (named ? !name || strcmp(name, modes[i].name) != 0 : !json_is_true(json_object_get(pooling, modes[i].key)))
            continue;
        if (!modes[i].supported || ++chosen > 1)
            return mn_fail(error, MNEME_ERR_MODEL, "1_Pooling/config.json: %s is not supported%s", modes[i].key,
                           modes[i].supported ? " together with another mode" : "");
        out->pooling = modes[i].pooling;
    }
    if (named && chosen == 0)
        return mn_fail(error, MNEME_ERR_MODEL, "1_Pooling/config.json: pooling_mode %s is not supported",
                       name ? name : "that is no single name");
    return MNEME_OK;
}

/* modules.json names what follows the Transformer: pooling and normalisation are known, a Dense layer is not. */
static mneme_status check_modules(const json_t *modules, mneme_error *error)
{
    size_t i;
    const json_t *module;
    json_array_foreach(modules, i, module)
    {
        const char *type = text_or(module, "type", "");
        const char *name = strrchr(type, '.');
        name = name ? name + 1 : type;
        if (strcmp(name, "Transformer") != 0 && strcmp(name, "Pooling") != 0 && strcmp(name, "Normalize") != 0)
            return mn_fail(error, MNEME_ERR_MODEL, "modules.json: module \"%s\" is not supported", type);
    }
    return MNEME_OK;
}

static mneme_status list_prompts(const json_t *prompts, mn_model_config *out, mneme_error *error)
{
    const char *name;
    json_t *value;
    out->prompts = mn_alloc_zeroed(json_object_size(prompts) + 1, sizeof *out->prompts);
    if (!out->prompts) return mn_fail_memory(error, "prompts");
    json_object_foreach((json_t *)(uintptr_t)prompts, name, value)
    {
        if (!json_is_string(value)) continue;
        mn_named_prompt *prompt = &out->prompts[out->n_prompts++];
        prompt->name = mn_strdup(name);
        prompt->text = mn_strdup(json_string_value(value));
        if (!prompt->name || !prompt->text) return mn_fail_memory(error, "prompts");
    }
    return MNEME_OK;
}

/* Of the prompts in the file the first whose name is in `names` (NULL-terminated), else the default one; NULL: none. */
static const char *choose_prompt(const json_t *prompts, const char *const *names, const char *default_prompt)
{
    for (; *names; names++) {
        const char *prompt = text_or(prompts, *names, NULL);
        if (prompt) return prompt;
    }
    return default_prompt;
}

/* The names that encode_query and encode_document of sentence-transformers look for; where there is none, the default
 * prompt, as its encode() has it. (It puts an empty "query" and "document" before what the file says, so that there
 * neither the default one nor "passage" is found by those two.) */
static mneme_status read_prompts(const json_t *config, const json_t *pooling, mn_model_config *out, mneme_error *error)
{
    static const char *const query_names[] = {"query", NULL};
    static const char *const passage_names[] = {"document", "passage", "corpus", NULL};
    const json_t *prompts = json_object_get(config, "prompts");
    const char *default_name = text_or(config, "default_prompt_name", NULL);
    const char *default_prompt = default_name ? text_or(prompts, default_name, NULL) : NULL;
    if (default_name && !default_prompt)
        return mn_fail(error, MNEME_ERR_MODEL,
                       "config_sentence_transformers.json: default_prompt_name \"%s\" is not among the prompts",
                       default_name);
    const char *query = choose_prompt(prompts, query_names, default_prompt);
    const char *passage = choose_prompt(prompts, passage_names, default_prompt);
    out->prompt_is_not_pooled = json_is_false(json_object_get(pooling, "include_prompt"));
    if (((query && *query) || (passage && *passage)) && out->prompt_is_not_pooled)
        return mn_fail(error, MNEME_ERR_MODEL, "1_Pooling/config.json: include_prompt false is not supported");
    out->query_prompt = mn_strdup(query);
    out->passage_prompt = mn_strdup(passage);
    if ((query && !out->query_prompt) || (passage && !out->passage_prompt)) return mn_fail_memory(error, "prompts");
    return list_prompts(prompts, out, error);
}

mneme_status mn_model_config_parse(const mn_buffer texts[MN_CONFIG_FILES], mn_model_config *out, mneme_error *error)
{
    *out = (mn_model_config){0};
    json_t *files[MN_CONFIG_FILES] = {0};
    mneme_status status = MNEME_OK;
    for (size_t i = 0; i < MN_CONFIG_FILES && status == MNEME_OK; i++) {
        /* model_max_length is 10^30 where nobody has set it */
        size_t flags = i == MN_CONFIG_TOKENIZER ? JSON_DECODE_INT_AS_REAL : 0;
        status = parse_json(file_names[i], &texts[i], flags, &files[i], error);
    }
    if (status == MNEME_OK && !files[MN_CONFIG_MODEL])
        status = mn_fail(error, MNEME_ERR_MODEL, "config.json is missing");
    if (status == MNEME_OK) status = read_config(files[MN_CONFIG_MODEL], out, error);
    if (status == MNEME_OK) status = read_window(files[MN_CONFIG_SENTENCE], files[MN_CONFIG_TOKENIZER], out, error);
    if (status == MNEME_OK) status = read_pooling(files[MN_CONFIG_POOLING], out, error);
    if (status == MNEME_OK) status = check_modules(files[MN_CONFIG_MODULES], error);
    if (status == MNEME_OK) status = read_prompts(files[MN_CONFIG_PROMPTS], files[MN_CONFIG_POOLING], out, error);
    if (status != MNEME_OK) mn_model_config_free(out);
    for (size_t i = 0; i < MN_CONFIG_FILES; i++) json_decref(files[i]);
    return status;
}

mneme_status mn_model_config_read(const char *folder, mn_model_config *out, mneme_error *error)
{
    *out = (mn_model_config){0};
    if (!mn_is_directory(folder))
        return mn_fail(error, MNEME_ERR_MODEL,
                       "model folder %s does not exist; scripts/setup fetches the default model, "
                       "encoder.model names another",
                       folder);
    mn_buffer texts[MN_CONFIG_FILES] = {0};
    mneme_status status = MNEME_OK;
    for (size_t i = 0; i < MN_CONFIG_FILES && status == MNEME_OK; i++)
        status = read_file(folder, file_names[i], &texts[i], error);
    if (status == MNEME_OK) status = mn_model_config_parse(texts, out, error);
    if (status != MNEME_OK) mn_error_prefix(error, "model %s: ", folder);
    for (size_t i = 0; i < MN_CONFIG_FILES; i++) mn_buffer_free(&texts[i]);
    return status;
}

void mn_model_config_free(mn_model_config *config)
{
    mn_free(config->query_prompt);
    mn_free(config->passage_prompt);
    for (size_t i = 0; i < config->n_prompts; i++) {
        mn_free(config->prompts[i].name);
        mn_free(config->prompts[i].text);
    }
    mn_free(config->prompts);
    *config = (mn_model_config){0};
}
