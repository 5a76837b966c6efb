/* vocabulary.h -- the list of WordPiece tokens and their ids, as a model folder gives it. */
#ifndef MN_ENCODER_VOCABULARY_H
#define MN_ENCODER_VOCABULARY_H

#include "common/buffer.h"

#define MN_NO_TOKEN UINT32_MAX

enum { MN_VOCABULARY_MAX = 1 << 22 }; /* ids are less */

typedef struct mn_vocabulary_token {
    uint32_t offset, id; /* into bytes */
    uint16_t size;       /* without the prefix */
    bool continuing;     /* it has the prefix: it goes on a word */
} mn_vocabulary_token;

/* In the order in which they were added; of equal tokens the last counts. */
typedef struct mn_vocabulary {
    mn_buffer bytes; /* the tokens, one after the other, without the prefix */
    char *prefix;    /* "##" */
    size_t prefix_size;
    mn_vocabulary_token *tokens;
    size_t n, capacity;
    uint32_t largest_id;
} mn_vocabulary;

/* From the text of vocab.txt: one token a line, the id is the line's number from 0. `prefix` marks tokens that go on a
 * word; `name` is the file's, for messages. ERR_MODEL names the line. *out: owned, mn_vocabulary_free. */
mneme_status mn_vocabulary_parse(const char *name, const char *text, size_t size, const char *prefix,
                                 mn_vocabulary **out, mneme_error *error);

/* The same, filled by hand, in any order of ids. Token bytes are copied. */
mneme_status mn_vocabulary_new(const char *prefix, mn_vocabulary **out, mneme_error *error);
mneme_status mn_vocabulary_add(mn_vocabulary *vocabulary, const char *token, size_t size, uint32_t id,
                               mneme_error *error);

void mn_vocabulary_free(mn_vocabulary *vocabulary);

uint64_t mn_vocabulary_fingerprint(const mn_vocabulary *vocabulary);

/* Id of a token as it is written ("[CLS]", "##ing"); MN_NO_TOKEN: there is none. Reads the whole list. */
uint32_t mn_vocabulary_find_token(const mn_vocabulary *vocabulary, const char *token);

#endif
