/* duplicates.c -- near-duplicates by MinHash, checked exactly.
 *
 *     terms of each record -> N_HASHES minima -> bands of `rows` minima; records that share a band meet in a bucket.
 *     In a bucket, newest first, each record is compared with up to LEADERS records before it that stand for
 * themselves. */
#include "memory/duplicates.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { N_HASHES = 100, ROWS_MAX = 5, LEADERS = 16, TELL_EACH = 256 };
#define NOT_MERGED SIZE_MAX

typedef struct item {
    uint32_t rec, first_row, n_chunks;
    uint32_t n_terms;          /* different ones */
    int64_t time_ms;           /* for which is newer */
    uint64_t speaker, numbers; /* hashes */
    size_t merged_into;        /* another item; NOT_MERGED */
    float cosine, terms;       /* with that one */
} item;

typedef struct bucket_entry {
    uint64_t band;
    size_t item;
} bucket_entry;

typedef struct search {
    const mn_copy_source *source;
    mn_analyzer *analyzer;
    const mn_duplicate_limits *limits;
    item *items;     /* newest first */
    uint64_t *bands; /* per item: n_bands */
    size_t n, capacity, n_bands, rows;
    float *sums; /* three vectors */
    mneme_error *error;
} search;

/* ---- what is known of each record ----------------------------------------------------------------------------------
 */

/* As many minima to a band as can be, for the fewest false candidates, while 99 % of the pairs at the threshold meet.
 */
static void choose_bands(search *s)
{
    for (s->rows = ROWS_MAX; s->rows > 1; s->rows--) {
        double together = pow(s->limits->terms, (double)s->rows);
        if (1 - pow(1 - together, (double)(N_HASHES / s->rows)) >= 0.99) break;
    }
    s->n_bands = N_HASHES / s->rows;
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static bool has_digit(const mn_term *term)
{
    for (uint32_t i = 0; i < term->size; i++)
        if (term->text[i] >= '0' && term->text[i] <= '9') return true;
    return false;
}

static void describe(const search *s, const mn_term_list *terms, item *out, uint64_t *bands)
{
    uint64_t minima[N_HASHES];
    memset(minima, 0xff, sizeof minima);
    out->n_terms = (uint32_t)terms->n;
    for (size_t i = 0; i < terms->n; i++) {
        uint64_t hash = XXH3_64bits(terms->items[i].text, terms->items[i].size);
        if (has_digit(&terms->items[i])) out->numbers += mix(hash);
        for (size_t j = 0; j < N_HASHES; j++) {
            uint64_t value = mix(hash + (j + 1) * UINT64_C(0x9e3779b97f4a7c15));
            if (value < minima[j]) minima[j] = value;
        }
    }
    for (size_t band = 0; band < s->n_bands; band++)
        bands[band] = XXH3_64bits_withSeed(minima + band * s->rows, s->rows * sizeof *minima, band);
}

static mneme_status terms_of(const search *s, uint32_t rec, mn_arena *arena, mn_term_list *out)
{
    mn_record record;
    mn_buffer text = {0};
    *out = (mn_term_list){0};
    mneme_status status = mn_read_record(s->source->read, s->source->space->ns, rec, &record, s->error);
    if (status == MNEME_OK)
        status = mn_read_text(s->source->read, s->source->space->ns, rec, 0, record.text_size, &text, s->error);
    if (status == MNEME_OK && text.size)
        status = mn_analyzer_run(s->analyzer, text.data, text.size, arena, out, s->error);
    mn_buffer_free(&text);
    return status;
}

static mneme_status reserve(search *s)
{
    if (s->n < s->capacity) return MNEME_OK;
    size_t capacity = s->capacity ? s->capacity * 2 : 256;
    item *items = mn_realloc_array(s->items, capacity, sizeof *items);
    if (items) s->items = items;
    uint64_t *bands = items ? mn_realloc_array(s->bands, capacity, s->n_bands * sizeof *bands) : NULL;
    if (!bands) return mn_fail_memory(s->error, "duplicates");
    s->bands = bands;
    s->capacity = capacity;
    return MNEME_OK;
}

static mneme_status look_at(search *s, const mn_record *record)
{
    mn_strength kept;
    mn_arena arena = {0};
    mn_term_list terms;
    mneme_status status = mn_read_strength(s->source->read, s->source->space->ns, record->rec, &kept, s->error);
    bool ended = kept.has_expires && !kept.pinned && kept.expires_ms <= s->limits->now_ms;
    if (status != MNEME_OK || ended || record->n_chunks == 0) return status;
    item found = {.rec = record->rec,
                  .first_row = record->first_row,
                  .n_chunks = record->n_chunks,
                  .time_ms = record->has_time ? record->time_ms : record->written_ms,
                  .speaker = record->speaker ? XXH3_64bits(record->speaker, strlen(record->speaker)) : 0,
                  .merged_into = NOT_MERGED};
    status = terms_of(s, record->rec, &arena, &terms);
    if (status == MNEME_OK && terms.n) status = reserve(s);
    if (status == MNEME_OK && terms.n) {
        describe(s, &terms, &found, s->bands + s->n * s->n_bands);
        s->items[s->n++] = found;
    }
    mn_arena_free(&arena);
    return status;
}

static mneme_status tell(const search *s, uint64_t done)
{
    const mn_duplicate_limits *limits = s->limits;
    if (!limits->progress || limits->progress(limits->context, done, s->source->space->n_records, "records"))
        return MNEME_OK;
    return mn_fail(s->error, MNEME_ERR_CANCELLED, "the search for duplicates was cancelled");
}

static mneme_status look_at_all(search *s)
{
    mn_record record = {0};
    uint32_t rec = 0;
    mneme_status status = MNEME_OK;
    for (uint64_t n = 0; status == MNEME_OK; n++) {
        if (n % TELL_EACH == 0) status = tell(s, n);
        if (status == MNEME_OK)
            status = mn_read_next_record(s->source->read, s->source->space->ns, rec, &record, s->error);
        rec = record.rec + 1;
        if (status == MNEME_OK) status = look_at(s, &record);
    }
    return status == MNEME_ERR_NOT_FOUND ? MNEME_OK : status;
}

/* ---- comparing ------------------------------------------------------------------------------------------------------
 */

/* The vector of a record: its chunk's, or the sum of its chunks'. scratch: room for one more. False: it has none. */
static bool vector_of(const search *s, const item *x, float *sum, float *scratch)
{
    uint32_t dimension = s->source->space->dimension;
    if (!mn_copy_vector(s->source, x->first_row, sum)) return false;
    for (uint32_t i = 1; i < x->n_chunks; i++) {
        if (!mn_copy_vector(s->source, x->first_row + i, scratch)) return false;
        for (uint32_t j = 0; j < dimension; j++) sum[j] += scratch[j];
    }
    return true;
}

static double cosine_of(const search *s, const item *a, const item *b)
{
    uint32_t dimension = s->source->space->dimension;
    float *x = s->sums, *y = s->sums + dimension, *scratch = y + dimension;
    double product = 0, x_squares = 0, y_squares = 0;
    if (!vector_of(s, a, x, scratch) || !vector_of(s, b, y, scratch)) return -1;
    for (uint32_t i = 0; i < dimension; i++) {
        product += (double)x[i] * (double)y[i];
        x_squares += (double)x[i] * (double)x[i];
        y_squares += (double)y[i] * (double)y[i];
    }
    return x_squares > 0 && y_squares > 0 ? product / sqrt(x_squares * y_squares) : -1;
}

static mneme_status jaccard_of(const search *s, const item *a, const item *b, double *out)
{
    mn_arena arena = {0};
    mn_term_list x, y = {0};
    size_t shared = 0, i = 0, j = 0;
    mneme_status status = terms_of(s, a->rec, &arena, &x);
    if (status == MNEME_OK) status = terms_of(s, b->rec, &arena, &y);
    while (status == MNEME_OK && i < x.n && j < y.n) { /* both sorted by bytes */
        const mn_term *p = &x.items[i], *q = &y.items[j];
        int order = memcmp(p->text, q->text, p->size < q->size ? p->size : q->size);
        if (order == 0) order = (p->size > q->size) - (p->size < q->size);
        shared += order == 0;
        i += order <= 0;
        j += order >= 0;
    }
    *out = x.n + y.n > 0 ? (double)shared / (double)(x.n + y.n - shared) : 0;
    mn_arena_free(&arena);
    return status;
}

static mneme_status sequence_of(const search *s, const item *x, mn_buffer *hashes)
{
    mn_record record;
    mn_buffer text = {0};
    mneme_status status = mn_read_record(s->source->read, s->source->space->ns, x->rec, &record, s->error);
    if (status == MNEME_OK)
        status = mn_read_text(s->source->read, s->source->space->ns, x->rec, 0, record.text_size, &text, s->error);
    if (status == MNEME_OK && text.size)
        status = mn_analyzer_sequence(s->analyzer, text.data, text.size, hashes, s->error);
    mn_buffer_free(&text);
    return status;
}

/* *is: one text is the other with terms taken out, which is to say: its sequence of terms is a subsequence. */
static mneme_status is_subsequence(const search *s, const item *a, const item *b, bool *is)
{
    mn_buffer x = {0}, y = {0};
    mneme_status status = sequence_of(s, a, &x);
    if (status == MNEME_OK) status = sequence_of(s, b, &y);
    const mn_buffer *less = x.size < y.size ? &x : &y, *more = x.size < y.size ? &y : &x;
    size_t found = 0;
    for (size_t i = 0; i < more->size && found < less->size; i += sizeof(uint64_t))
        if (memcmp(more->data + i, less->data + found, sizeof(uint64_t)) == 0) found += sizeof(uint64_t);
    *is = status == MNEME_OK && found == less->size;
    mn_buffer_free(&x);
    mn_buffer_free(&y);
    return status;
}

/* The cheap conditions first. *same: `older` says what `newer` says; its scores are noted in it. */
static mneme_status compare(const search *s, const item *newer, item *older, bool *same)
{
    double least = newer->n_terms < older->n_terms ? newer->n_terms : older->n_terms;
    double most = newer->n_terms > older->n_terms ? newer->n_terms : older->n_terms, jaccard = 0;
    *same = false;
    if (newer->speaker != older->speaker || newer->numbers != older->numbers || least < s->limits->terms * most)
        return MNEME_OK;
    double cosine = cosine_of(s, newer, older);
    if (cosine < s->limits->cosine) return MNEME_OK;
    mneme_status status = jaccard_of(s, newer, older, &jaccard);
    if (status == MNEME_OK && jaccard >= s->limits->terms) status = is_subsequence(s, newer, older, same);
    if (status != MNEME_OK || !*same) return status;
    older->cosine = cosine > 1 ? 1 : (float)cosine;
    older->terms = (float)jaccard;
    return MNEME_OK;
}

/* ---- buckets --------------------------------------------------------------------------------------------------------
 */

static int newest_first(const void *left, const void *right)
{
    const item *a = left, *b = right;
    if (a->time_ms != b->time_ms) return a->time_ms > b->time_ms ? -1 : 1;
    return (a->rec < b->rec) - (a->rec > b->rec);
}

/* Items newest first, their bands with them. */
static mneme_status sort_items(search *s)
{
    bool sorted = true;
    for (size_t i = 1; i < s->n && sorted; i++) sorted = newest_first(&s->items[i - 1], &s->items[i]) < 0;
    if (sorted) return MNEME_OK;
    uint64_t *bands = mn_alloc_array(s->n, s->n_bands * sizeof *bands);
    if (!bands) return mn_fail_memory(s->error, "duplicates");
    for (size_t i = 0; i < s->n; i++) s->items[i].merged_into = i; /* the place before, for a moment */
    qsort(s->items, s->n, sizeof *s->items, newest_first);
    for (size_t i = 0; i < s->n; i++) {
        memcpy(bands + i * s->n_bands, s->bands + s->items[i].merged_into * s->n_bands, s->n_bands * sizeof *bands);
        s->items[i].merged_into = NOT_MERGED;
    }
    mn_free(s->bands);
    s->bands = bands;
    return MNEME_OK;
}

static int by_band(const void *left, const void *right)
{
    const bucket_entry *a = left, *b = right;
    if (a->band != b->band) return a->band < b->band ? -1 : 1;
    return (a->item > b->item) - (a->item < b->item);
}

static mneme_status merge_bucket(search *s, const bucket_entry *entries, size_t n)
{
    size_t leaders[LEADERS], n_leaders = 0;
    for (size_t i = 0; i < n; i++) {
        item *one = &s->items[entries[i].item];
        if (one->merged_into != NOT_MERGED) continue;
        bool same = false;
        for (size_t j = 0; j < n_leaders && !same; j++) {
            mneme_status status = compare(s, &s->items[leaders[j]], one, &same);
            if (status != MNEME_OK) return status;
            if (same) one->merged_into = leaders[j];
        }
        if (!same && n_leaders < LEADERS) leaders[n_leaders++] = entries[i].item;
    }
    return MNEME_OK;
}

static mneme_status merge_all(search *s)
{
    bucket_entry *entries = mn_alloc_array(s->n, sizeof *entries);
    if (!entries) return mn_fail_memory(s->error, "duplicates");
    mneme_status status = MNEME_OK;
    for (size_t band = 0; band < s->n_bands && status == MNEME_OK; band++) {
        status = tell(s, s->source->space->n_records);
        for (size_t i = 0; i < s->n; i++)
            entries[i] = (bucket_entry){.band = s->bands[i * s->n_bands + band], .item = i};
        qsort(entries, s->n, sizeof *entries, by_band);
        for (size_t start = 0, end; start < s->n && status == MNEME_OK; start = end) {
            for (end = start + 1; end < s->n && entries[end].band == entries[start].band;) end++;
            if (end - start > 1) status = merge_bucket(s, entries + start, end - start);
        }
    }
    mn_free(entries);
    return status;
}

/* One that was merged into a record that was merged later itself goes to the last of them, if it is like that one. */
static mneme_status follow_chains(search *s)
{
    for (size_t i = 0; i < s->n; i++) { /* survivors come before those merged into them: chains are short by now */
        size_t to = s->items[i].merged_into;
        bool same = true;
        if (to == NOT_MERGED || s->items[to].merged_into == NOT_MERGED) continue;
        mneme_status status = compare(s, &s->items[s->items[to].merged_into], &s->items[i], &same);
        if (status != MNEME_OK) return status;
        s->items[i].merged_into = same ? s->items[to].merged_into : NOT_MERGED;
    }
    return MNEME_OK;
}

static int by_survivor(const void *left, const void *right)
{
    const mn_duplicate *a = left, *b = right;
    if (a->survivor != b->survivor) return a->survivor < b->survivor ? -1 : 1;
    return (a->merged > b->merged) - (a->merged < b->merged);
}

static mneme_status list(const search *s, mn_duplicate **out, size_t *n)
{
    *out = mn_alloc_array(s->n ? s->n : 1, sizeof **out);
    if (!*out) return mn_fail_memory(s->error, "duplicates");
    for (size_t i = 0; i < s->n; i++) {
        const item *x = &s->items[i];
        if (x->merged_into == NOT_MERGED) continue;
        (*out)[(*n)++] = (mn_duplicate){
            .survivor = s->items[x->merged_into].rec, .merged = x->rec, .cosine = x->cosine, .terms = x->terms};
    }
    qsort(*out, *n, sizeof **out, by_survivor);
    return MNEME_OK;
}

mneme_status mn_duplicates_find(const mn_copy_source *source, mn_analyzer *analyzer, const mn_duplicate_limits *limits,
                                mn_duplicate **out, size_t *n, mneme_error *error)
{
    *out = NULL;
    *n = 0;
    search s = {.source = source, .analyzer = analyzer, .limits = limits, .error = error};
    choose_bands(&s);
    s.sums = mn_alloc_array(3 * ((size_t)source->space->dimension + 1), sizeof *s.sums);
    mneme_status status = s.sums ? MNEME_OK : mn_fail_memory(error, "duplicates");
    if (status == MNEME_OK && source->space->dimension) status = look_at_all(&s);
    if (status == MNEME_OK) status = sort_items(&s);
    if (status == MNEME_OK && s.n) status = merge_all(&s);
    if (status == MNEME_OK) status = follow_chains(&s);
    if (status == MNEME_OK) status = list(&s, out, n);
    mn_free(s.sums);
    mn_free(s.items);
    mn_free(s.bands);
    return status;
}
