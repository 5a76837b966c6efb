/* wordpiece_training.c -- see wordpiece_training.h.
 *
 * Words are runs of token ids, which get shorter as pairs are merged. For each pair there is a count, kept up to date
 * by what a merge changes around it; and the queue holds, for each time that a pair came up, the words in which it did
 * so. A count that has changed since is corrected when its entry comes to the top.
 *
 *     symbols   | word 0 ...  | word 1 .... | ...        starts[i], lengths[i]
 *     pairs     pair -> count                            open table
 *     entries   pair, count, places -> places -> ...     words, as a list in one array
 *     heap      entries, the next to merge first
 *
 * As in the trainer that this follows: a merged pair keeps its count, and an entry merges the words that it knows. When
 * a merge brings a pair back that was merged before, it is merged again at once. */
#include "encoder/train/wordpiece_training.h"

#include "common/memory.h"
#include "common/utf8.h"

#include <stdlib.h>
#include <string.h>

const char *const mn_special_tokens[MN_SPECIAL_TOKENS] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};

enum { PAIR_SLOTS_LEAST = 1 << 12, ENTRIES_LEAST = 1 << 12 };

#define PREFIX        "##"
#define SYMBOLS_MOST  ((size_t)1 << 30)
#define NO_PAIR       UINT64_MAX
#define NO_PLACE      UINT32_MAX
#define PAIR_OF(a, b) ((uint64_t)(a) << 32 | (b))

typedef struct character {
    uint64_t count;
    uint32_t plain, continuing; /* ids; MN_NO_TOKEN: not in the alphabet */
    bool continues;             /* it stands behind the first one in some word */
} character;

typedef struct pair_slot {
    uint64_t pair; /* NO_PAIR: empty */
    int64_t count;
    uint32_t round, entry; /* the newest entry, made in this round */
} pair_slot;

typedef struct queue_entry {
    uint64_t pair;
    int64_t count;
    uint32_t first, last; /* places */
} queue_entry;

typedef struct word_place {
    uint32_t word, next;
} word_place;

typedef struct training {
    const mn_word_counts *words;
    const mn_wordpiece_options *options;
    mn_word_counts tokens; /* as they are written; the place is the id */
    character *characters; /* n_characters: by code point */
    uint32_t n_characters;
    uint32_t *symbols, *starts, *lengths;
    pair_slot *pairs;
    size_t n_pairs, n_pair_slots; /* a power of two */
    word_place *places;
    size_t n_places, places_capacity;
    queue_entry *entries;
    uint32_t *heap; /* room for as many as entries */
    size_t n_entries, n_queued, n_heap, entries_capacity;
    uint32_t round; /* of merging; what a pair gains in one goes into one entry */
    mn_buffer text; /* a token that is being put together */
} training;

static void free_training(training *t)
{
    mn_word_counts_free(&t->tokens);
    mn_free(t->characters);
    mn_free(t->symbols);
    mn_free(t->starts);
    mn_free(t->lengths);
    mn_free(t->pairs);
    mn_free(t->places);
    mn_free(t->entries);
    mn_free(t->heap);
    mn_buffer_free(&t->text);
}

/* ---- characters ------------------------------------------------------------------------------------------------ */

/* The character at word[at], and the bytes that it takes. */
static uint32_t character_at(const char *word, size_t size, size_t at, size_t *bytes)
{
    uint32_t c = MN_UTF8_REPLACEMENT;
    *bytes = mn_utf8_decode(word + at, size - at, &c);
    if (*bytes == 0) *bytes = 1;
    return c;
}

/* Room for all that come; n_symbols: in the words, each word once. */
static mneme_status find_characters(training *t, size_t *n_symbols, mneme_error *error)
{
    uint32_t largest = 0;
    for (size_t i = 0; i < t->words->n; i++) {
        const char *word = mn_word_at(t->words, i);
        size_t size = t->words->items[i].size, bytes = 0;
        for (size_t at = 0; at < size; at += bytes, ++*n_symbols) {
            uint32_t c = character_at(word, size, at, &bytes);
            if (c > largest) largest = c;
        }
    }
    t->n_characters = largest + 1;
    t->characters = mn_alloc_zeroed(t->n_characters, sizeof *t->characters);
    return t->characters ? MNEME_OK : mn_fail_memory(error, "characters");
}

static void count_characters(training *t)
{
    for (size_t i = 0; i < t->words->n; i++) {
        const char *word = mn_word_at(t->words, i);
        size_t size = t->words->items[i].size, bytes = 0;
        for (size_t at = 0; at < size; at += bytes) {
            character *one = &t->characters[character_at(word, size, at, &bytes)];
            one->count += t->words->items[i].count;
            one->continues = one->continues || at > 0;
        }
    }
}

typedef struct frequency {
    uint64_t count;
    uint32_t c;
} frequency;

/* The most frequent first; of equally frequent ones the smaller code point. */
static int by_count(const void *left, const void *right)
{
    const frequency *a = left, *b = right;
    if (a->count != b->count) return a->count > b->count ? -1 : 1;
    return (a->c > b->c) - (a->c < b->c);
}

/* Characters over the limit lose their count, which leaves them out. */
static mneme_status limit_alphabet(training *t, mneme_error *error)
{
    size_t n = 0, most = t->options->alphabet_most;
    for (uint32_t c = 0; c < t->n_characters; c++) n += t->characters[c].count > 0;
    if (most == 0 || n <= most) return MNEME_OK;
    frequency *all = mn_alloc_array(n, sizeof *all);
    if (!all) return mn_fail_memory(error, "characters");
    n = 0;
    for (uint32_t c = 0; c < t->n_characters; c++)
        if (t->characters[c].count > 0) all[n++] = (frequency){t->characters[c].count, c};
    qsort(all, n, sizeof *all, by_count);
    for (size_t i = most; i < n; i++) t->characters[all[i].c].count = 0;
    mn_free(all);
    return MNEME_OK;
}

static mneme_status add_token(training *t, const char *text, size_t size, uint32_t *id, mneme_error *error)
{
    size_t place = 0;
    mneme_status status = mn_word_counts_add(&t->tokens, text, size, 1, &place, error);
    *id = (uint32_t)place;
    return status;
}

/* The special tokens, then single characters. */
static mneme_status begin_vocabulary(training *t, mneme_error *error)
{
    uint32_t id;
    mneme_status status = MNEME_OK;
    for (size_t i = 0; i < MN_SPECIAL_TOKENS && status == MNEME_OK; i++)
        status = add_token(t, mn_special_tokens[i], strlen(mn_special_tokens[i]), &id, error);
    for (uint32_t c = 0; c < t->n_characters; c++) t->characters[c].plain = t->characters[c].continuing = MN_NO_TOKEN;
    char text[8] = PREFIX;
    for (int continuing = 0; continuing < 2; continuing++)
        for (uint32_t c = 0; c < t->n_characters && status == MNEME_OK; c++) {
            character *one = &t->characters[c];
            if (one->count == 0 || (continuing && !one->continues)) continue;
            size_t size = mn_utf8_encode(c, text + 2);
            status = add_token(t, continuing ? text : text + 2, continuing ? size + 2 : size,
                               continuing ? &one->continuing : &one->plain, error);
        }
    if (status == MNEME_OK && t->tokens.n > t->options->n_tokens)
        status = mn_fail(error, MNEME_ERR_USAGE,
                         "a vocabulary of %u tokens has no room for the characters of the texts; expected %zu or more",
                         t->options->n_tokens, t->tokens.n);
    return status;
}

/* ---- the queue ------------------------------------------------------------------------------------------------- */

static bool comes_before(const training *t, uint32_t left, uint32_t right)
{
    const queue_entry *a = &t->entries[left], *b = &t->entries[right];
    if (a->count != b->count) return a->count > b->count;
    if (a->pair != b->pair) return a->pair < b->pair;
    return left < right;
}

static void push(training *t, uint32_t entry)
{
    size_t at = t->n_heap++;
    for (; at > 0 && comes_before(t, entry, t->heap[(at - 1) / 2]); at = (at - 1) / 2)
        t->heap[at] = t->heap[(at - 1) / 2];
    t->heap[at] = entry;
}

/* The heap is not empty. */
static uint32_t pop(training *t)
{
    uint32_t top = t->heap[0], last = t->heap[--t->n_heap];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= t->n_heap) break;
        if (child + 1 < t->n_heap && comes_before(t, t->heap[child + 1], t->heap[child])) child++;
        if (!comes_before(t, t->heap[child], last)) break;
        t->heap[at] = t->heap[child];
        at = child;
    }
    t->heap[at] = last;
    return top;
}

/* ---- pairs ----------------------------------------------------------------------------------------------------- */

/* The pair's slot, or the empty one where it would be. */
static pair_slot *find_pair(const training *t, uint64_t pair)
{
    size_t mask = t->n_pair_slots - 1;
    uint64_t hash = (pair ^ pair >> 29) * UINT64_C(0x9E3779B97F4A7C15);
    size_t at = (size_t)(hash >> 20) & mask;
    while (t->pairs[at].pair != pair && t->pairs[at].pair != NO_PAIR) at = (at + 1) & mask;
    return &t->pairs[at];
}

static mneme_status grow_pairs(training *t, mneme_error *error)
{
    if (2 * (t->n_pairs + 1) <= t->n_pair_slots) return MNEME_OK;
    size_t had = t->n_pair_slots, n = had ? 2 * had : PAIR_SLOTS_LEAST;
    pair_slot *old = t->pairs, *slots = mn_alloc_array(n, sizeof *slots);
    if (!slots) return mn_fail_memory(error, "pairs of tokens");
    for (size_t i = 0; i < n; i++) slots[i] = (pair_slot){.pair = NO_PAIR};
    t->pairs = slots;
    t->n_pair_slots = n;
    for (size_t i = 0; i < had; i++)
        if (old[i].pair != NO_PAIR) *find_pair(t, old[i].pair) = old[i];
    mn_free(old);
    return MNEME_OK;
}

static mneme_status new_entry(training *t, pair_slot *slot, mneme_error *error)
{
    if (t->n_entries == t->entries_capacity) {
        size_t capacity = t->entries_capacity ? 2 * t->entries_capacity : ENTRIES_LEAST;
        queue_entry *entries = mn_realloc_array(t->entries, capacity, sizeof *entries);
        if (entries) t->entries = entries;
        uint32_t *heap = mn_realloc_array(t->heap, capacity, sizeof *heap);
        if (heap) t->heap = heap;
        if (!entries || !heap) return mn_fail_memory(error, "pairs of tokens");
        t->entries_capacity = capacity;
    }
    slot->round = t->round;
    slot->entry = (uint32_t)t->n_entries;
    t->entries[t->n_entries++] = (queue_entry){.pair = slot->pair, .first = NO_PLACE, .last = NO_PLACE};
    return MNEME_OK;
}

/* The entry's list gets the word, unless it is the last one there. */
static mneme_status add_place(training *t, queue_entry *entry, uint32_t word, mneme_error *error)
{
    if (entry->last != NO_PLACE && t->places[entry->last].word == word) return MNEME_OK;
    if (t->n_places == t->places_capacity) {
        size_t capacity = t->places_capacity ? 2 * t->places_capacity : ENTRIES_LEAST;
        word_place *places = mn_realloc_array(t->places, capacity, sizeof *places);
        if (!places) return mn_fail_memory(error, "pairs of tokens");
        t->places = places;
        t->places_capacity = capacity;
    }
    uint32_t place = (uint32_t)t->n_places++;
    t->places[place] = (word_place){.word = word, .next = NO_PLACE};
    if (entry->last == NO_PLACE)
        entry->first = place;
    else
        t->places[entry->last].next = place;
    entry->last = place;
    return MNEME_OK;
}

/* A word has the pair (a, b) once more (change 1) or less (-1). */
static mneme_status change_pair(training *t, uint32_t a, uint32_t b, int change, uint32_t word, mneme_error *error)
{
    mneme_status status = grow_pairs(t, error);
    if (status != MNEME_OK) return status;
    pair_slot *slot = find_pair(t, PAIR_OF(a, b));
    if (slot->pair == NO_PAIR) {
        *slot = (pair_slot){.pair = PAIR_OF(a, b)};
        t->n_pairs++;
    }
    int64_t count = (int64_t)t->words->items[word].count;
    slot->count += change > 0 ? count : -count;
    if (change < 0) return MNEME_OK;
    if (slot->round != t->round) status = new_entry(t, slot, error);
    return status == MNEME_OK ? add_place(t, &t->entries[slot->entry], word, error) : status;
}

/* Entries of this round go into the queue with the counts as they are now. */
static void end_round(training *t)
{
    for (; t->n_queued < t->n_entries; t->n_queued++) {
        queue_entry *entry = &t->entries[t->n_queued];
        entry->count = find_pair(t, entry->pair)->count;
        if (entry->count > 0) push(t, (uint32_t)t->n_queued);
    }
    t->round++;
}

/* ---- words ----------------------------------------------------------------------------------------------------- */

static mneme_status split_words(training *t, size_t n_symbols, mneme_error *error)
{
    size_t n = 0;
    if (n_symbols > SYMBOLS_MOST)
        return mn_fail(error, MNEME_ERR_TOO_LARGE, "different words of %zu characters; at most %zu", n_symbols,
                       SYMBOLS_MOST);
    t->symbols = mn_alloc_array(n_symbols, sizeof *t->symbols);
    t->starts = mn_alloc_array(t->words->n, sizeof *t->starts);
    t->lengths = mn_alloc_array(t->words->n, sizeof *t->lengths);
    if (!t->symbols || !t->starts || !t->lengths) return mn_fail_memory(error, "words");
    for (size_t i = 0; i < t->words->n; i++) {
        const char *word = mn_word_at(t->words, i);
        size_t size = t->words->items[i].size, bytes = 0;
        t->starts[i] = (uint32_t)n;
        for (size_t at = 0; at < size; at += bytes) {
            const character *one = &t->characters[character_at(word, size, at, &bytes)];
            uint32_t id = at > 0 ? one->continuing : one->plain;
            if (id != MN_NO_TOKEN) t->symbols[n++] = id;
        }
        t->lengths[i] = (uint32_t)n - t->starts[i];
    }
    return MNEME_OK;
}

static mneme_status count_pairs(training *t, mneme_error *error)
{
    mneme_status status = grow_pairs(t, error);
    t->round = 1;
    for (size_t i = 0; i < t->words->n; i++) {
        const uint32_t *symbols = t->symbols + t->starts[i];
        for (uint32_t s = 0; s + 1 < t->lengths[i] && status == MNEME_OK; s++)
            status = change_pair(t, symbols[s], symbols[s + 1], 1, (uint32_t)i, error);
    }
    if (status == MNEME_OK) end_round(t);
    return status;
}

/* ---- merging --------------------------------------------------------------------------------------------------- */

/* The token that a and b make, which may be there already. */
static mneme_status join_tokens(training *t, uint32_t a, uint32_t b, uint32_t *id, mneme_error *error)
{
    const mn_counted_word *left = &t->tokens.items[a], *right = &t->tokens.items[b];
    size_t prefix = sizeof PREFIX - 1; /* of every token that stands behind another one */
    mn_buffer_clear(&t->text);
    mn_buffer_append(&t->text, mn_word_at(&t->tokens, a), left->size);
    mn_buffer_append(&t->text, mn_word_at(&t->tokens, b) + prefix, right->size - prefix);
    if (t->text.failed) return mn_fail_memory(error, "a token");
    return add_token(t, t->text.data, t->text.size, id, error);
}

/* In one word, from left to right; what changes are the pairs with what stands before and behind. */
static mneme_status merge_word(training *t, uint32_t word, uint64_t pair, uint32_t id, mneme_error *error)
{
    uint32_t *symbols = t->symbols + t->starts[word], a = (uint32_t)(pair >> 32), b = (uint32_t)pair;
    uint32_t n = t->lengths[word], to = 0;
    mneme_status status = MNEME_OK;
    for (uint32_t from = 0; from < n && status == MNEME_OK;) {
        if (from + 1 == n || symbols[from] != a || symbols[from + 1] != b) {
            symbols[to++] = symbols[from++];
            continue;
        }
        if (to > 0) {
            status = change_pair(t, symbols[to - 1], a, -1, word, error);
            if (status == MNEME_OK) status = change_pair(t, symbols[to - 1], id, 1, word, error);
        }
        if (from + 2 < n && status == MNEME_OK) {
            status = change_pair(t, b, symbols[from + 2], -1, word, error);
            if (status == MNEME_OK) status = change_pair(t, id, symbols[from + 2], 1, word, error);
        }
        symbols[to++] = id;
        from += 2;
    }
    t->lengths[word] = to;
    return status;
}

static mneme_status merge_pair(training *t, uint32_t entry, mneme_error *error)
{
    uint64_t pair = t->entries[entry].pair;
    uint32_t id = 0;
    mneme_status status = join_tokens(t, (uint32_t)(pair >> 32), (uint32_t)pair, &id, error);
    for (uint32_t at = t->entries[entry].first; at != NO_PLACE && status == MNEME_OK; at = t->places[at].next)
        status = merge_word(t, t->places[at].word, pair, id, error);
    if (status == MNEME_OK) end_round(t);
    return status;
}

static mneme_status merge(training *t, mneme_error *error)
{
    int64_t least = t->options->least_count > 1 ? (int64_t)t->options->least_count : 1;
    mneme_status status = MNEME_OK;
    while (t->tokens.n < t->options->n_tokens && t->n_heap > 0 && status == MNEME_OK) {
        uint32_t entry = pop(t);
        int64_t count = find_pair(t, t->entries[entry].pair)->count;
        if (t->entries[entry].count != count) {
            t->entries[entry].count = count;
            push(t, entry);
            continue;
        }
        if (count < least) break;
        status = merge_pair(t, entry, error);
    }
    return status;
}

/* ---- all ------------------------------------------------------------------------------------------------------- */

static mneme_status put_out(const training *t, mn_vocabulary **out, mneme_error *error)
{
    mneme_status status = mn_vocabulary_new(PREFIX, out, error);
    for (size_t i = 0; i < t->tokens.n && status == MNEME_OK; i++)
        status = mn_vocabulary_add(*out, mn_word_at(&t->tokens, i), t->tokens.items[i].size, (uint32_t)i, error);
    if (status != MNEME_OK) {
        mn_vocabulary_free(*out);
        *out = NULL;
    }
    return status;
}

mneme_status mn_wordpiece_train(const mn_word_counts *words, const mn_wordpiece_options *options, mn_vocabulary **out,
                                mneme_error *error)
{
    training t = {.words = words, .options = options};
    size_t n_symbols = 0;
    *out = NULL;
    mneme_status status = find_characters(&t, &n_symbols, error);
    if (status == MNEME_OK) count_characters(&t);
    if (status == MNEME_OK) status = limit_alphabet(&t, error);
    if (status == MNEME_OK) status = begin_vocabulary(&t, error);
    if (status == MNEME_OK) status = split_words(&t, n_symbols, error);
    if (status == MNEME_OK) status = count_pairs(&t, error);
    if (status == MNEME_OK) status = merge(&t, error);
    if (status == MNEME_OK) status = put_out(&t, out, error);
    free_training(&t);
    return status;
}
