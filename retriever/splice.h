/* splice.h -- from ranked chunks to one window of text that a language model can read.
 *
 * The best chunks go in first; what budget is left widens them to the sentences and turns around them. Ranges of one
 * record that touch or overlap become one passage; nothing is said twice; passages stand in their original order,
 * grouped by session or document, each group under one line that names its source (and time). */
#ifndef MN_RETRIEVER_SPLICE_H
#define MN_RETRIEVER_SPLICE_H

#include "retriever/retrieve.h"

typedef struct mn_splice_options {
    uint32_t budget; /* tokens of the whole text, marks and escapes included */
    mneme_template form;
    /* How many tokens a text has. */
    mneme_status (*count_tokens)(void *context, const char *text, size_t size, uint64_t *n_tokens, mneme_error *error);
    void *count_context;
    bool (*accept)(void *context, const char *name_space, const mn_record *record); /* as in mn_retrieve_options */
    void *accept_context;
} mn_splice_options;

typedef struct mn_spliced {
    uint32_t ns_index, rec;
    uint64_t start, end;         /* byte range in the record's text */
    size_t text_start, text_end; /* where it stands in the window's text, as the template writes it */
    float weight;                /* attention that fell on it */
    uint32_t n_hits;
    float score; /* of the best of its hits, and what it is made of; 0 without any */
    mneme_parts parts;
} mn_spliced;

/* Build the window. text: appended to. *passages: in the arena, in the order of the text. */
mneme_status mn_splice(mn_read *read, const mn_namespace *namespaces, const mn_ranked *ranked, size_t n_ranked,
                       const mn_splice_options *options, mn_arena *arena, mn_buffer *text, uint32_t *n_tokens,
                       mn_spliced **passages, size_t *n_passages, mneme_error *error);

#endif
