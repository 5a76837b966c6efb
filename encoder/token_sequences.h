/* token_sequences.h -- many texts to token ids at once, on several threads. */
#ifndef MN_ENCODER_TOKEN_SEQUENCES_H
#define MN_ENCODER_TOKEN_SEQUENCES_H

#include "common/threads.h"
#include "encoder/tokenizer.h"

typedef struct mn_sequence_options {
    const mn_tokenizer *tokenizer;
    const char *prompt;  /* stands before every text as if it were its beginning; "" = none */
    uint32_t max_tokens; /* of a sequence, special tokens and prompt included: the text is cut there */
    bool with_special;   /* [CLS] prompt text [SEP]; else prompt text */
} mn_sequence_options;

/* texts, sizes (NULL: NUL-terminated): n each, n > 0. Appends the ids to `out` (empty before) and fills offsets (n +
 * 1): sequence i is out->ids[offsets[i] .. offsets[i+1]). Small calls stay on the calling thread. The result does not
 * depend on the number of threads. ERR_MEMORY; ERR_TOO_LARGE over 2^32 tokens. */
mneme_status mn_token_sequences(mn_threads *threads, const mn_sequence_options *options, const char *const *texts,
                                const size_t *sizes, size_t n, mn_tokens *out, uint32_t *offsets, mneme_error *error);

#endif
