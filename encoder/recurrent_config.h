/* recurrent_config.h -- what the config.json of an LSTM or GRU encoder says (docs/encoder.md lists its keys).
 *
 * A folder of our own kind, for there is no common one: {"model_type": "mneme-recurrent", "cell": "lstm", ...} beside
 * model.safetensors with PyTorch's names of weights, and tokenizer files as in a Hugging Face folder. */
#ifndef MN_ENCODER_RECURRENT_CONFIG_H
#define MN_ENCODER_RECURRENT_CONFIG_H

#include "common/error.h"
#include "encoder/cell.h"

#include <stddef.h>
#include <stdint.h>

typedef struct mn_recurrent_config {
    mn_cell cell;
    uint32_t vocabulary, embedding, hidden, n_layers, output, max_tokens;
    bool bidirectional;
    bool attentive;      /* pooling: softmax over the text's tokens; else the mean */
    bool join_tokens;    /* the pooled rows of the table go beside the pooled states */
    bool special_tokens; /* texts go in as [CLS] text [SEP] */
} mn_recurrent_config;

static inline uint32_t mn_recurrent_config_directions(const mn_recurrent_config *config)
{
    return config->bidirectional ? 2 : 1;
}

/* Columns of what a layer gives: both directions' states. */
static inline uint32_t mn_recurrent_config_width(const mn_recurrent_config *config)
{
    return config->hidden * mn_recurrent_config_directions(config);
}

/* Does folder/config.json say that this is a recurrent encoder? False as well when it cannot be read: the caller goes
 * on and says why. */
bool mn_recurrent_is(const char *folder);

/* ERR_MODEL names the file and the key that is missing, of another type, or out of range. */
mneme_status mn_recurrent_config_read(const char *folder, mn_recurrent_config *out, mneme_error *error);
/* The same from the text of config.json. Any bytes. */
mneme_status mn_recurrent_config_parse(const char *text, size_t size, mn_recurrent_config *out, mneme_error *error);

#endif
