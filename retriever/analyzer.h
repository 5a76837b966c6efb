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

#endif
