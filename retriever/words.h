/* words.h -- text to words: where they begin and end, folded to one form.
 *
 * Scripts with spaces give words: letters, digits and marks, case folded and NFKC (Unicode Standard Annexes 15 and 29,
 * simplified). A full stop between digits belongs to the number. Scripts without spaces (Han, kana, Hangul, Thai, Lao,
 * Khmer, Myanmar) give overlapping pairs of characters, a character with its marks counting as one; a character alone
 * stands for itself. Everything else parts words. */
#ifndef MN_RETRIEVER_WORDS_H
#define MN_RETRIEVER_WORDS_H

#include <stdbool.h>
#include <stddef.h>

typedef enum mn_word_kind {
    MN_WORD_ASCII, /* ASCII letters, digits, apostrophes, full stops; lower case */
    MN_WORD_WIDE,  /* may hold any character */
    MN_WORD_PAIR,  /* one or two characters of a script without spaces: not to be stemmed */
} mn_word_kind;

/* word: borrowed for the call, valid UTF-8, 1 to a few hundred bytes. Return false to stop. */
typedef bool (*mn_word_emit)(void *context, const char *word, size_t size, mn_word_kind kind);

/* Call emit for each word of `text` in order. text: any bytes; what is not UTF-8 parts words. keep_apostrophe: an
 * apostrophe between letters belongs to the word ("don't"; U+2019 becomes '), else it parts words ("l'arte"). Of a word
 * over 128 bytes only the first 128 count. False when emit stopped it. Any thread. */
bool mn_words(const char *text, size_t size, bool keep_apostrophe, mn_word_emit emit, void *context);

/* Take the accents off Latin and Greek letters (and Cyrillic io), and combining diacritical marks away: after stemming,
 * which needs them. word, out: may be the same; out has room for `size` bytes. Returns the new size. */
size_t mn_words_fold_accents(const char *word, size_t size, char *out);

#endif
