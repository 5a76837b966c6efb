/* recurrent_folder.h -- writes a small LSTM or GRU encoder as a folder: the config.json of a line of
 * tests/data/recurrent_shapes/recurrent.jsonl, vocab.txt, and weights that are computed, not stored (model_folder.h;
 * make_recurrent_models.py is the other half). */
#ifndef MN_TESTS_RECURRENT_FOLDER_H
#define MN_TESTS_RECURRENT_FOLDER_H

#include "model_folder.h"

static inline void recurrent_add_direction(model_tensors *tensors, size_t gates, size_t n_in, size_t hidden,
                                           size_t layer, const char *end)
{
    model_add(tensors, gates, n_in, "recurrent.weight_ih_l%zu%s", layer, end);
    model_add(tensors, gates, hidden, "recurrent.weight_hh_l%zu%s", layer, end);
    model_add(tensors, gates, 0, "recurrent.bias_ih_l%zu%s", layer, end);
    model_add(tensors, gates, 0, "recurrent.bias_hh_l%zu%s", layer, end);
}

/* What a recurrent encoder of this config.json reads. tensors: the caller's, filled. */
static inline void recurrent_list_tensors(const json_t *config, model_tensors *tensors)
{
    size_t hidden = model_number(config, "hidden_size"), embedding = model_number(config, "embedding_size");
    size_t gates = hidden * (strcmp(json_string_value(json_object_get(config, "cell")), "lstm") == 0 ? 4 : 3);
    size_t n_directions = json_is_true(json_object_get(config, "bidirectional")) ? 2 : 1;
    size_t width = hidden * n_directions, joined = width;
    if (json_is_true(json_object_get(config, "join_tokens"))) joined += embedding;
    tensors->n = 0;
    model_add(tensors, model_number(config, "vocab_size"), embedding, "embedding.weight");
    for (size_t i = 0; i < model_number(config, "num_layers"); i++)
        for (size_t d = 0; d < n_directions; d++)
            recurrent_add_direction(tensors, gates, i ? width : embedding, hidden, i, d ? "_reverse" : "");
    if (strcmp(json_string_value(json_object_get(config, "pooling")), "attentive") == 0) {
        model_add(tensors, 1, width, "attention.weight");
        model_add(tensors, 1, 0, "attention.bias");
    }
    model_add(tensors, model_number(config, "output_size"), joined, "output.weight");
    model_add(tensors, model_number(config, "output_size"), 0, "output.bias");
}

/* Write the model of `shape` into an existing folder; what was there is overwritten. The tensors follow `config`, which
 * may differ from what the folder's config.json says; NULL: the same. */
static inline void recurrent_write(const char *folder, const json_t *shape, const json_t *config, model_fault fault)
{
    static model_tensors tensors;
    model_write_json(folder, "config.json", json_object_get(shape, "config"));
    model_write_vocabulary(folder);
    recurrent_list_tensors(config ? config : json_object_get(shape, "config"), &tensors);
    model_write_tensors(folder, &tensors, json_string_value(json_object_get(shape, "dtype")), "", &fault);
}

#endif
