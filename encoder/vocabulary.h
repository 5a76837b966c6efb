/* vocabulary.h -- WordPiece tokens to ids and back to nothing else: an open-addressing hash over the vocabulary's bytes. */
#ifndef MN_ENCODER_VOCABULARY_H
#define MN_ENCODER_VOCABULARY_H

#include "common/error.h"

typedef struct mn_vocabulary mn_vocabulary;

#define MN_NO_TOKEN UINT32_MAX

/* From vocab.txt: one token a line, the id is the line's number from 0. `prefix` ("##") marks tokens that go on a word.
 * ERR_MODEL names the line. *out: owned. */
mneme_status mn_vocabulary_read(const char *path, const char *prefix, mn_vocabulary **out, mneme_error *error);

/* The same, filled by hand: new, then add in any order, then freeze. Token bytes are copied. */
mneme_status mn_vocabulary_new(const char *prefix, mn_vocabulary **out, mneme_error *error);
mneme_status mn_vocabulary_add(mn_vocabulary *vocabulary, const char *token, size_t size, uint32_t id, mneme_error *error);
mneme_status mn_vocabulary_freeze(mn_vocabulary *vocabulary, mneme_error *error);

void mn_vocabulary_free(mn_vocabulary *vocabulary);

uint32_t mn_vocabulary_size(const mn_vocabulary *vocabulary);    /* largest id + 1 */
size_t mn_vocabulary_longest(const mn_vocabulary *vocabulary);   /* bytes of the longest token, prefix not counted */
uint64_t mn_vocabulary_fingerprint(const mn_vocabulary *vocabulary);

/* Id of a piece: one that begins a word, or one that goes on in it. MN_NO_TOKEN: there is none. */
uint32_t mn_vocabulary_find(const mn_vocabulary *vocabulary, const char *piece, size_t size, bool continuing);
/* Id of a whole token as it is written ("[CLS]", "##ing"). */
uint32_t mn_vocabulary_find_token(const mn_vocabulary *vocabulary, const char *token);

#endif
