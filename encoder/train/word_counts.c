/* word_counts.c -- see word_counts.h. An open table with linear probing. */
#include "encoder/train/word_counts.h"

#include "common/memory.h"

#include <string.h>
#include <xxhash.h>

enum { SLOTS_LEAST = 1024, WORDS_MOST = INT32_MAX };

void mn_word_counts_free(mn_word_counts *words)
{
    mn_buffer_free(&words->bytes);
    mn_free(words->items);
    mn_free(words->slots);
    *words = (mn_word_counts){0};
}

/* The word's slot, or the empty one where it would be. There are slots. */
static size_t find_slot(const mn_word_counts *words, const char *word, size_t size)
{
    size_t mask = words->n_slots - 1, at = (size_t)XXH3_64bits(word, size) & mask;
    for (; words->slots[at]; at = (at + 1) & mask) {
        size_t i = words->slots[at] - 1;
        if (words->items[i].size == size && memcmp(mn_word_at(words, i), word, size) == 0) break;
    }
    return at;
}

static mneme_status grow(mn_word_counts *words, mneme_error *error)
{
    if (words->n >= WORDS_MOST) return mn_fail(error, MNEME_ERR_TOO_LARGE, "over %d different words", WORDS_MOST);
    if (words->n == words->capacity) {
        size_t capacity = words->capacity ? 2 * words->capacity : SLOTS_LEAST / 2;
        mn_counted_word *items = mn_realloc_array(words->items, capacity, sizeof *items);
        if (!items) return mn_fail_memory(error, "words");
        words->items = items;
        words->capacity = capacity;
    }
    if (2 * (words->n + 1) <= words->n_slots) return MNEME_OK;
    size_t n_slots = words->n_slots ? 2 * words->n_slots : SLOTS_LEAST;
    uint32_t *slots = mn_alloc_zeroed(n_slots, sizeof *slots);
    if (!slots) return mn_fail_memory(error, "words");
    mn_free(words->slots);
    words->slots = slots;
    words->n_slots = n_slots;
    for (size_t i = 0; i < words->n; i++)
        slots[find_slot(words, mn_word_at(words, i), words->items[i].size)] = (uint32_t)i + 1;
    return MNEME_OK;
}

mneme_status mn_word_counts_add(mn_word_counts *words, const char *word, size_t size, uint64_t count, size_t *place,
                                mneme_error *error)
{
    mneme_status status = grow(words, error);
    if (status != MNEME_OK) return status;
    size_t slot = find_slot(words, word, size);
    if (!words->slots[slot]) {
        uint64_t offset = words->bytes.size;
        mn_buffer_append(&words->bytes, word, size);
        if (words->bytes.failed) return mn_fail_memory(error, "words");
        words->items[words->n] = (mn_counted_word){.offset = offset, .size = (uint32_t)size};
        words->slots[slot] = (uint32_t)++words->n;
    }
    size_t i = words->slots[slot] - 1;
    words->items[i].count += count;
    if (place) *place = i;
    return MNEME_OK;
}

size_t mn_word_counts_find(const mn_word_counts *words, const char *word, size_t size)
{
    uint32_t found = words->n_slots ? words->slots[find_slot(words, word, size)] : 0;
    return found ? found - 1 : SIZE_MAX;
}

typedef struct counting {
    mn_word_counts *words;
    mneme_status status;
    mneme_error *error;
} counting;

static bool count_word(void *context, const char *word, size_t size)
{
    counting *c = context;
    if (memchr(word, 0, size)) return true;
    c->status = mn_word_counts_add(c->words, word, size, 1, NULL, c->error);
    return c->status == MNEME_OK;
}

mneme_status mn_word_counts_add_text(mn_word_counts *words, const mn_tokenizer *tokenizer, const char *text,
                                     size_t size, mneme_error *error)
{
    counting c = {.words = words, .error = error};
    mn_tokenizer_words(tokenizer, text, size, count_word, &c);
    return c.status;
}
