/* chunker.h -- cutting a text into chunks that fit an encoder's window.
 *
 * Chunks end at the best border that fits: heading, paragraph, sentence, word, and only then inside a word. Every chunk
 * is a byte range of the text as it stands; together they cover everything but white space between them. */
#ifndef MN_ENCODER_CHUNKER_H
#define MN_ENCODER_CHUNKER_H

#include "encoder/tokenizer.h"

typedef struct mn_chunk_options {
    uint32_t max_tokens;     /* of one chunk, special tokens and header not counted; > 0 */
    uint32_t overlap_tokens; /* a chunk starts with up to this many tokens of whole sentences that ended the one
                                before; never across a heading; < max_tokens / 2 */
} mn_chunk_options;

typedef struct mn_chunk_span {
    uint64_t start, end; /* byte range in the text, on character borders, not empty */
    uint32_t n_tokens;   /* as the tokenizer counts text[start, end) */
} mn_chunk_span;

typedef struct mn_chunk_spans {
    mn_chunk_span *items;
    size_t n, capacity;
} mn_chunk_spans; /* start from {0} */
void mn_chunk_spans_free(mn_chunk_spans *spans);

/* Append the chunks of `text` (valid UTF-8) in order. A text of white space only has none. ERR_MEMORY. Any thread. */
mneme_status mn_chunk_text(const mn_tokenizer *tokenizer, const char *text, size_t size, const mn_chunk_options *options,
                           mn_chunk_spans *out, mneme_error *error);

/* One sentence (or heading, or list item) is text[start, end). Fills the next one at or after *at and moves *at past
 * it; false at the end. The chunker and the splice share these borders. */
bool mn_next_sentence(const char *text, size_t size, size_t *at, size_t *start, size_t *end, bool *is_heading);

#endif
