/* trainable_bert.c -- see trainable_bert.h. */
#include "encoder/train/trainable_bert.h"

#include "common/file.h"
#include "encoder/train/bert_training.h"
#include "encoder/train/model_files.h"
#include "encoder/weight_shards.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

typedef struct trainable_bert {
    mn_trainable base;
    mn_bert_training model;
} trainable_bert;

/* ---- a step ----------------------------------------------------------------------------------------------------- */

static mneme_status forward(mn_trainable *trainable, mn_shard *shard, const mn_token_batch *batch, float **vectors,
                            void **saved, mneme_error *error)
{
    const trainable_bert *bert = (const trainable_bert *)trainable;
    *saved = mn_room_take(&shard->room, 1, sizeof(mn_bert_saved));
    if (!*saved) return mn_fail_memory(error, "activations");
    mneme_status status = mn_shard_floats(shard, batch->n * trainable->dimension, vectors, error);
    if (status != MNEME_OK) return status;
    return mn_bert_training_forward(&bert->model, shard, batch, *vectors, *saved, error);
}

static mneme_status backward(mn_trainable *trainable, mn_shard *shard, void *saved, const float *d_vectors,
                             mneme_error *error)
{
    const trainable_bert *bert = (const trainable_bert *)trainable;
    return mn_bert_training_backward(&bert->model, shard, saved, d_vectors, error);
}

/* ---- files ------------------------------------------------------------------------------------------------------ */

/* config.json of the folder that it was read from, with what has changed. */
static mneme_status save_config(const trainable_bert *bert, const char *folder, const char *about_json,
                                mneme_error *error)
{
    char *path = mn_path_join(bert->base.tokenizer_folder, "config.json");
    if (!path) return mn_fail_memory(error, folder);
    json_t *config = json_load_file(path, 0, NULL);
    mneme_status status = MNEME_OK;
    if (!json_is_object(config)) {
        status = mn_fail(error, MNEME_ERR_MODEL, "%s: cannot be read any more", path);
        json_decref(config);
    } else {
        json_object_set_new(config, "num_hidden_layers", json_integer((json_int_t)bert->model.config.n_layers));
        if (json_object_get(config, "torch_dtype")) json_object_set_new(config, "torch_dtype", json_string("float32"));
        if (json_object_get(config, "dtype")) json_object_set_new(config, "dtype", json_string("float32"));
        if (about_json) json_object_set_new(config, "mneme", json_loads(about_json, 0, NULL));
        status = mn_model_write_json(folder, "config.json", config, error);
    }
    mn_free(path);
    return status;
}

static mneme_status save(mn_trainable *trainable, const char *folder, const char *about_json, mneme_error *error)
{
    const char *from = trainable->tokenizer_folder;
    char *path = mn_path_join(folder, "model.safetensors");
    mneme_status status = path ? mn_model_copy_tokenizer(from, folder, error) : mn_fail_memory(error, folder);
    if (status == MNEME_OK) status = mn_model_copy_settings(from, folder, error);
    if (status == MNEME_OK) status = save_config((const trainable_bert *)trainable, folder, about_json, error);
    if (status == MNEME_OK) status = mn_parameters_save(&trainable->parameters, path, error);
    mn_free(path);
    return status;
}

static void destroy(mn_trainable *trainable)
{
    mn_parameters_free(&trainable->parameters);
    mn_free(trainable->tokenizer_folder);
    mn_free(trainable);
}

static const mn_trainable_operations operations = {forward, backward, save, destroy};

/* ---- opening ---------------------------------------------------------------------------------------------------- */

/* How the names in the file begin, and how many types of tokens it has. */
static mneme_status look_into(const char *path, const char **prefix, uint32_t *n_types, mneme_error *error)
{
    mn_safetensors *file = NULL;
    char name[80];
    mneme_status status = mn_weights_open(path, &file, error);
    if (status != MNEME_OK) return status;
    *prefix = mn_safetensors_find(file, "embeddings.word_embeddings.weight") ? "" : "bert.";
    snprintf(name, sizeof name, "%sembeddings.token_type_embeddings.weight", *prefix);
    const mn_tensor *types = mn_safetensors_find(file, name);
    if (!types || types->rank != 2 || types->shape[0] < 1 || types->shape[0] > 1024)
        status = mn_fail(error, MNEME_ERR_MODEL, "%s: tensor %s is missing or of the wrong shape", path, name);
    else
        *n_types = (uint32_t)types->shape[0];
    mn_safetensors_close(file);
    return status;
}

/* Layers take the numbers that they have in the smaller model. */
static mneme_status renumber(mn_parameters *set, const uint32_t *layers, uint32_t n_layers, mneme_error *error)
{
    static const char start[] = "encoder.layer.";
    for (size_t i = 0; i < set->n; i++) {
        const char *name = set->items[i]->name;
        if (strncmp(name, start, sizeof start - 1) != 0) continue;
        char *rest, full[256];
        uint32_t was = (uint32_t)strtoul(name + sizeof start - 1, &rest, 10), now = 0;
        while (now + 1 < n_layers && layers[now] != was) now++;
        snprintf(full, sizeof full, "%s%u%s", start, now, rest);
        set->items[i]->name = mn_arena_strdup(&set->arena, full);
        if (!set->items[i]->name) return mn_fail_memory(error, "a model's parameters");
    }
    return MNEME_OK;
}

static mneme_status load(trainable_bert *bert, const mn_trainable_bert_options *options, mn_model_config *config,
                         const char *path, mneme_error *error)
{
    mn_parameters *set = &bert->base.parameters;
    const char *prefix = "";
    uint32_t n_types = 0, had = config->n_layers, n_layers = options->n_layers ? options->n_layers : had;
    if (n_layers > had)
        return mn_fail(error, MNEME_ERR_USAGE, "%s has %u layers; %u cannot be kept", options->folder, had, n_layers);
    mneme_status status = look_into(path, &prefix, &n_types, error);
    if (status != MNEME_OK) return status;
    uint32_t *layers = mn_arena_alloc(&set->arena, n_layers * sizeof *layers);
    if (!layers) return mn_fail_memory(error, "a model's layers");
    for (uint32_t i = 0; i < n_layers; i++) layers[i] = (uint32_t)((uint64_t)(i + 1) * had / n_layers) - 1;
    config->n_layers = n_layers;
    const mn_bert_training_options model = {
        .config = config, .n_types = n_types, .layers = layers, .dropout = options->dropout};
    status = mn_bert_training_add(set, &model, &bert->model, error);
    if (status == MNEME_OK) status = mn_parameters_ready(set, 0, error);
    if (status == MNEME_OK) status = mn_parameters_load(set, path, prefix, error);
    return status == MNEME_OK ? renumber(set, layers, n_layers, error) : status;
}

mneme_status mn_trainable_bert_open(const mn_trainable_bert_options *options, mn_trainable **out, mneme_error *error)
{
    *out = NULL;
    mn_model_config config = {0};
    mneme_status status = mn_model_config_read(options->folder, &config, error);
    if (status != MNEME_OK) return status;
    trainable_bert *bert = mn_alloc_zeroed(1, sizeof *bert);
    char *path = mn_path_join(options->folder, "model.safetensors");
    if (bert) {
        bert->base = (mn_trainable){.operations = &operations,
                                    .arithmetic = *options->arithmetic,
                                    .dimension = config.hidden,
                                    .max_tokens = config.max_tokens,
                                    .n_special = 2,
                                    .vocabulary = config.vocabulary,
                                    .tokenizer_folder = mn_strdup(options->folder)};
        bert->base.parameters.arithmetic = &bert->base.arithmetic;
    }
    status = bert && path && bert->base.tokenizer_folder ? load(bert, options, &config, path, error)
                                                         : mn_fail_memory(error, options->folder);
    mn_free(path);
    mn_model_config_free(&config);
    if (status == MNEME_OK)
        *out = &bert->base;
    else if (bert)
        destroy(&bert->base);
    return status;
}
