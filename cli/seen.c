/* seen.c -- a set of pairs of strings, kept as hashes. */
#include "cli/seen.h"

#include "cli/text.h"

#include <stdlib.h>
#include <string.h>

/* FNV-1a over both strings with their ends, twice with different starts, each stirred (MurmurHash3's finalizer). */
static uint64_t hash(uint64_t state, const char *a, const char *b)
{
    const char *strings[2] = {a, b};
    for (size_t s = 0; s < 2; s++) {
        for (const char *c = strings[s]; *c; c++) state = (state ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
        state = (state ^ 0x100) * UINT64_C(0x100000001b3);
    }
    state = (state ^ (state >> 33)) * UINT64_C(0xff51afd7ed558ccd);
    state = (state ^ (state >> 33)) * UINT64_C(0xc4ceb9fe1a85ec53);
    return state ^ (state >> 33);
}

static void key_of(const char *a, const char *b, uint64_t key[2])
{
    key[0] = hash(UINT64_C(0xcbf29ce484222325), a, b);
    key[1] = hash(UINT64_C(0x9e3779b97f4a7c15), a, b) | 1; /* never the free slot */
}

/* The slot that holds the key, or the free one where it belongs. */
static size_t find(const cli_seen *seen, const uint64_t key[2])
{
    size_t at = (size_t)key[0] & (seen->capacity - 1);
    while (seen->slots[at][1] && (seen->slots[at][0] != key[0] || seen->slots[at][1] != key[1]))
        at = (at + 1) & (seen->capacity - 1);
    return at;
}

static void grow(cli_seen *seen)
{
    cli_seen larger = {.n = seen->n, .capacity = seen->capacity ? seen->capacity * 2 : 256};
    larger.slots = cli_alloc(larger.capacity, sizeof *larger.slots);
    memset(larger.slots, 0, larger.capacity * sizeof *larger.slots);
    for (size_t i = 0; i < seen->capacity; i++)
        if (seen->slots[i][1])
            memcpy(larger.slots[find(&larger, seen->slots[i])], seen->slots[i], sizeof *larger.slots);
    free(seen->slots);
    *seen = larger;
}

bool cli_seen_add(cli_seen *seen, const char *a, const char *b)
{
    uint64_t key[2];
    if (seen->n >= seen->capacity / 4 * 3) grow(seen);
    key_of(a, b, key);
    size_t at = find(seen, key);
    if (seen->slots[at][1]) return false;
    memcpy(seen->slots[at], key, sizeof key);
    seen->n++;
    return true;
}

bool cli_seen_has(const cli_seen *seen, const char *a, const char *b)
{
    uint64_t key[2];
    if (seen->capacity == 0) return false;
    key_of(a, b, key);
    return seen->slots[find(seen, key)][1] != 0;
}

void cli_seen_free(cli_seen *seen)
{
    free(seen->slots);
    *seen = (cli_seen){0};
}
