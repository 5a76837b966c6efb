/* terms.h -- counting the terms of one text. */
#ifndef MN_RETRIEVER_TERMS_H
#define MN_RETRIEVER_TERMS_H

#include "memstore/store.h"

typedef struct mn_term_entry {
    uint64_t hash;
    size_t offset; /* of its bytes in mn_term_counter.bytes */
    uint32_t size, count;
} mn_term_entry;

/* Open addressing with linear probing over `slots`; start from {0}; one thread at a time. */
typedef struct mn_term_counter {
    mn_buffer bytes;
    mn_term_entry *entries;
    uint32_t *slots; /* entry + 1; 0 = free */
    size_t n, capacity, n_slots;
    uint64_t total;
} mn_term_counter;

/* Forget the terms, keep memory for the next text (unless there is much of it). */
void mn_term_counter_clear(mn_term_counter *counter);
/* Count one more. Over MN_TERM_MAX bytes it is cut at a character border; of size 0 it is left out. False: out of
 * memory. */
bool mn_term_counter_add(mn_term_counter *counter, const char *term, size_t size);
/* The terms sorted by bytes, each once, in the arena. False: out of memory. */
bool mn_term_counter_list(const mn_term_counter *counter, mn_arena *arena, mn_term_list *out);
void mn_term_counter_free(mn_term_counter *counter);

/* Order by bytes: negative, 0 or positive. */
int mn_term_order(const mn_term *a, const mn_term *b);

#endif
