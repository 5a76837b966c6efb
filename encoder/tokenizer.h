/* tokenizer.h -- text to WordPiece token ids, exactly as the official BERT tokenizer does it.
 *
 * Read from a model folder: vocab.txt, or the vocabulary in tokenizer.json, with the settings of tokenizer.json
 * (normalizer, added tokens, word length limit) or tokenizer_config.json. Any other kind of tokenizer is refused by
 * name. A tokenizer is read-only after opening: any number of threads may use one. */
#ifndef MN_ENCODER_TOKENIZER_H
#define MN_ENCODER_TOKENIZER_H

#include "common/buffer.h"

typedef struct mn_tokenizer mn_tokenizer;

/* ERR_MODEL names the file (and line or key) that is missing or wrong. *out: owned, mn_tokenizer_close. */
mneme_status mn_tokenizer_open(const char *folder, mn_tokenizer **out, mneme_error *error);
/* The same from settings that are not a folder's (tokenizer_settings.h), borrowed for the call; name: for messages. */
struct mn_tokenizer_settings;
mneme_status mn_tokenizer_new(const struct mn_tokenizer_settings *settings, const char *name, mn_tokenizer **out,
                              mneme_error *error);
void mn_tokenizer_close(mn_tokenizer *tokenizer);

/* Append the tokenizer to `out` as one run of bytes (about 1.2 MB for BERT's vocabulary; tokenizer_image.h) that a
 * cache file can keep. ERR_MEMORY. */
mneme_status mn_tokenizer_freeze(const mn_tokenizer *tokenizer, mn_buffer *out, mneme_error *error);
/* The same tokenizer from these bytes. data: borrowed until close, 64-byte aligned, not written to; nothing is parsed.
 * ERR_MODEL when they are cut short, of another version or damaged in the head; damage elsewhere gives wrong ids
 * (within mn_tokenizer_vocabulary), nothing worse. */
mneme_status mn_tokenizer_thaw(const void *data, size_t size, mn_tokenizer **out, mneme_error *error);

uint32_t mn_tokenizer_vocabulary(const mn_tokenizer *tokenizer); /* number of ids: largest id + 1 */
uint32_t mn_tokenizer_cls(const mn_tokenizer *tokenizer);
uint32_t mn_tokenizer_sep(const mn_tokenizer *tokenizer);
uint32_t mn_tokenizer_unk(const mn_tokenizer *tokenizer);
/* Hash of everything that decides ids; part of the encoder's fingerprint. */
uint64_t mn_tokenizer_fingerprint(const mn_tokenizer *tokenizer);

/* A growing list of tokens; start from {0}, release with mn_tokens_free. */
typedef struct mn_tokens {
    uint32_t *ids;
    uint64_t *starts, *ends; /* byte range of each token in the text it came from; kept only if with_offsets */
    size_t n, capacity;
    bool with_offsets; /* set before the first use */
} mn_tokens;
void mn_tokens_free(mn_tokens *tokens);

/* Append the tokens of `text` (no special tokens; literal "[CLS]" etc. in the text become their ids, as the official
 * tokenizer's added tokens do), at most max_tokens of them. text: any bytes; invalid UTF-8 is read as U+FFFD.
 * ERR_MEMORY only. Any thread. */
mneme_status mn_tokenizer_encode(const mn_tokenizer *tokenizer, const char *text, size_t size, size_t max_tokens,
                                 mn_tokens *out, mneme_error *error);

/* How many tokens that gives without a limit. Allocates nothing. */
uint64_t mn_tokenizer_count(const mn_tokenizer *tokenizer, const char *text, size_t size);

/* Call `visit` with each word of a text, normalised, as it stands before it is cut into pieces. Left out: words of more
 * characters than the tokenizer takes (they are one [UNK]). Special tokens in the text are words like any other.
 * word: borrowed for the call. false: `visit` returned false, which ends it. Any thread. */
typedef bool (*mn_word_visitor)(void *context, const char *word, size_t size);
bool mn_tokenizer_words(const mn_tokenizer *tokenizer, const char *text, size_t size, mn_word_visitor visit,
                        void *context);
/* Append the pieces of a word that is normalised, or (continuing) of a part of one that stands behind its first
 * character: [UNK] when there are none for some of it. ERR_MEMORY only. Any thread. */
mneme_status mn_tokenizer_pieces(const mn_tokenizer *tokenizer, const char *word, size_t size, bool continuing,
                                 mn_tokens *out, mneme_error *error);

/* A token as it is written in the vocabulary ("##ing"), not NUL-terminated; borrowed until close. *size = 0: no such
 * id. */
const char *mn_tokenizer_token(const mn_tokenizer *tokenizer, uint32_t id, size_t *size);

#endif
