/* model_config.h -- what a Hugging Face model folder says about a Transformer encoder, apart from its weights and its
 * tokenizer: config.json, sentence_bert_config.json, 1_Pooling/config.json, modules.json,
 * config_sentence_transformers.json. */
#ifndef MN_ENCODER_MODEL_CONFIG_H
#define MN_ENCODER_MODEL_CONFIG_H

#include "common/buffer.h"
#include "encoder/kernels.h"

typedef enum mn_pooling { MN_POOLING_MEAN, MN_POOLING_CLS, MN_POOLING_MAX } mn_pooling;

typedef struct mn_named_prompt {
    char *name, *text;
} mn_named_prompt;

typedef struct mn_model_config {
    uint32_t hidden, intermediate, n_layers, n_heads, vocabulary, n_positions;
    uint32_t max_tokens; /* the window: the least of n_positions and max_seq_length (or model_max_length) */
    float layer_norm_epsilon;
    mn_activation activation;
    mn_pooling pooling;
    char *query_prompt, *passage_prompt; /* owned; NULL = none */
    mn_named_prompt *prompts;            /* all of them, in the order of the file; owned */
    size_t n_prompts;
    bool prompt_is_not_pooled; /* then only an empty prompt can be used */
} mn_model_config;

/* ERR_MODEL: the folder or config.json is missing, a value is missing or out of range (names file and key), or the
 * architecture, activation, pooling or a module is one that this version does not have (named). */
mneme_status mn_model_config_read(const char *folder, mn_model_config *out, mneme_error *error);
/* The same from the files' texts, in the order of the list above; an empty buffer: there is no such file. */
enum {
    MN_CONFIG_MODEL,
    MN_CONFIG_SENTENCE,
    MN_CONFIG_POOLING,
    MN_CONFIG_MODULES,
    MN_CONFIG_PROMPTS,
    MN_CONFIG_TOKENIZER,
    MN_CONFIG_FILES
};
mneme_status mn_model_config_parse(const mn_buffer texts[MN_CONFIG_FILES], mn_model_config *out, mneme_error *error);
void mn_model_config_free(mn_model_config *config);

#endif
