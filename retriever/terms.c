/* terms.c -- a small hash table of terms, used again for text after text. */
#include "retriever/terms.h"

#include "common/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum {
    FIRST_SLOTS = 1024,  /* a chunk has a few hundred words */
    KEEP_SLOTS = 1 << 16 /* more than this is given back after the text that needed it */
};

void mn_term_counter_clear(mn_term_counter *counter)
{
    if (counter->n_slots > KEEP_SLOTS) {
        mn_term_counter_free(counter);
        return;
    }
    if (counter->n) memset(counter->slots, 0, counter->n_slots * sizeof *counter->slots);
    mn_buffer_clear(&counter->bytes);
    counter->n = 0;
    counter->total = 0;
}

void mn_term_counter_free(mn_term_counter *counter)
{
    mn_buffer_free(&counter->bytes);
    mn_free(counter->entries);
    mn_free(counter->slots);
    *counter = (mn_term_counter){0};
}

static void place(uint32_t *slots, size_t n_slots, uint64_t hash, uint32_t value)
{
    size_t slot = (size_t)hash & (n_slots - 1);
    while (slots[slot]) slot = (slot + 1) & (n_slots - 1);
    slots[slot] = value;
}

/* Room for one more entry: entries up to half of the slots. */
static bool grow(mn_term_counter *counter)
{
    if (counter->n < counter->capacity) return true;
    if (counter->n >= UINT32_MAX / 4) return false;
    size_t n_slots = counter->n_slots ? counter->n_slots * 2 : FIRST_SLOTS;
    mn_term_entry *entries = mn_realloc_array(counter->entries, n_slots / 2, sizeof *entries);
    if (!entries) return false;
    counter->entries = entries;
    uint32_t *slots = mn_alloc_zeroed(n_slots, sizeof *slots);
    if (!slots) return false;
    for (size_t i = 0; i < counter->n; i++) place(slots, n_slots, entries[i].hash, (uint32_t)i + 1);
    mn_free(counter->slots);
    counter->slots = slots;
    counter->n_slots = n_slots;
    counter->capacity = n_slots / 2;
    return true;
}

static mn_term_entry *find(const mn_term_counter *counter, uint64_t hash, const char *term, size_t size)
{
    if (!counter->n_slots) return NULL;
    size_t mask = counter->n_slots - 1;
    for (size_t slot = (size_t)hash & mask; counter->slots[slot]; slot = (slot + 1) & mask) {
        mn_term_entry *entry = &counter->entries[counter->slots[slot] - 1];
        if (entry->hash == hash && entry->size == size && memcmp(counter->bytes.data + entry->offset, term, size) == 0)
            return entry;
    }
    return NULL;
}

bool mn_term_counter_add(mn_term_counter *counter, const char *term, size_t size)
{
    if (size > MN_TERM_MAX) size = mn_utf8_floor(term, size, MN_TERM_MAX);
    if (size == 0) return true;
    uint64_t hash = XXH3_64bits(term, size);
    mn_term_entry *entry = find(counter, hash, term, size);
    if (entry) {
        if (entry->count < UINT32_MAX) entry->count++;
        counter->total++;
        return true;
    }
    if (!grow(counter)) return false;
    size_t offset = counter->bytes.size;
    mn_buffer_append(&counter->bytes, term, size);
    if (counter->bytes.failed) return false;
    counter->entries[counter->n] = (mn_term_entry){hash, offset, (uint32_t)size, 1};
    counter->n++;
    counter->total++;
    place(counter->slots, counter->n_slots, hash, (uint32_t)counter->n);
    return true;
}

int mn_term_order(const mn_term *a, const mn_term *b)
{
    int order = memcmp(a->text, b->text, a->size < b->size ? a->size : b->size);
    return order ? order : (a->size > b->size) - (a->size < b->size);
}

static int by_bytes(const void *left, const void *right)
{
    return mn_term_order(left, right);
}

bool mn_term_counter_list(const mn_term_counter *counter, mn_arena *arena, mn_term_list *out)
{
    *out = (mn_term_list){0};
    if (counter->n == 0) return true;
    char *bytes = mn_arena_copy(arena, counter->bytes.data, counter->bytes.size);
    mn_term *terms = mn_arena_array(arena, counter->n, sizeof *terms);
    if (!bytes || !terms) return false;
    for (size_t i = 0; i < counter->n; i++) {
        const mn_term_entry *entry = &counter->entries[i];
        terms[i] = (mn_term){bytes + entry->offset, entry->size, entry->count};
    }
    qsort(terms, counter->n, sizeof *terms, by_bytes);
    *out = (mn_term_list){.items = terms, .n = counter->n, .total = counter->total};
    return true;
}
