/* analyzer.h -- text to the terms of lexical search: lower-cased words, Snowball stems, bigrams for scripts without
 * spaces. One analyzer per language; read-only after opening, any number of threads may use one. */
#ifndef MN_RETRIEVER_ANALYZER_H
#define MN_RETRIEVER_ANALYZER_H

#include "memstore/store.h"

typedef struct mn_analyzer mn_analyzer;

/* language: a libstemmer name ("english", "german", ...) or "none". ERR_SETTING lists the known ones. */
mneme_status mn_analyzer_open(const char *language, mn_analyzer **out, mneme_error *error);
void mn_analyzer_close(mn_analyzer *analyzer);

/* A mn_analyze: context is the mn_analyzer. Terms sorted by bytes, each once. */
mneme_status mn_analyzer_run(void *analyzer, const char *text, size_t size, mn_arena *arena, mn_term_list *out,
                             mneme_error *error);

/* The terms of a text in its order, each as often as it comes: their XXH3 hashes (64 bits) are appended to *hashes. */
mneme_status mn_analyzer_sequence(mn_analyzer *analyzer, const char *text, size_t size, mn_buffer *hashes,
                                  mneme_error *error);

/* As mn_analyzer_run for a question, a mn_analyze too: words that only ask or connect ("what", "did", "of") are left out, unless
 * there are no others. They stay in the index; asked for, they bring up whatever is phrased like a question. English
 * only so far. With -> without them, on the half of the questions that was not used for choosing: LoCoMo recall@10 lexical
 * 0.649 -> 0.693, hybrid 0.694 -> 0.711; Cranfield nDCG@10 lexical 0.366 -> 0.382, hybrid 0.436 -> 0.434. */
mneme_status mn_analyzer_question(void *analyzer, const char *text, size_t size, mn_arena *arena, mn_term_list *out,
                                  mneme_error *error);

#endif
