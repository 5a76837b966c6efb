/* stop_words.h -- words that ask or connect, and say nothing about what is asked for. */
#ifndef MN_RETRIEVER_STOP_WORDS_H
#define MN_RETRIEVER_STOP_WORDS_H

/* The words of a libstemmer language, parted by spaces; NULL: none known. Static. */
const char *mn_stop_words(const char *language);

#endif
