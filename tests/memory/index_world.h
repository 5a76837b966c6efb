/* index_world.h -- a store of vectors around some topics, and what is asked of its index against a plain loop over all
 * of them. */
#ifndef MN_TESTS_INDEX_WORLD_H
#define MN_TESTS_INDEX_WORLD_H

#include "test_support.h"

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DIMENSION = 40, ROWS = 6000, ROOM = 14000, TOPICS = 150, QUESTIONS = 150 };

typedef struct world {
    char *dir;
    mneme *memory;
    float (*vectors)[DIMENSION]; /* of record "0", "1", ...; room for ROOM */
    bool *gone;
    size_t n;
    uint64_t seed;
    const char *memory_mib; /* index.memory_mib; NULL: as it is */
} world;

static inline double draw(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (double)(*seed >> 11) / 9007199254740992.0 - 0.5;
}

static inline void unit(float *vector)
{
    double squares = 0;
    for (size_t i = 0; i < DIMENSION; i++) squares += (double)vector[i] * (double)vector[i];
    for (size_t i = 0; i < DIMENSION; i++) vector[i] = (float)((double)vector[i] / sqrt(squares));
}

/* Vectors around some centres, as texts of some topics have them. */
static inline void draw_vector(uint64_t *seed, float *out)
{
    uint64_t topic = (uint64_t)((draw(seed) + 0.5) * TOPICS) + 1, centre = topic * 7919;
    for (size_t i = 0; i < DIMENSION; i++) out[i] = (float)(draw(&centre) + 0.9 * draw(seed));
    unit(out);
}

static inline void open_world(world *w, unsigned flags)
{
    mneme_settings *settings = NULL;
    assert_ok(mneme_settings_new(&settings, test_error()));
    assert_ok(mneme_settings_set(settings, "index.min_rows", "1000", "test", test_error()));
    /* more than what is expected below: there, 150 questions are asked, and chance has a part in what they find */
    assert_ok(mneme_settings_set(settings, "index.recall", "0.998", "test", test_error()));
    assert_ok(mneme_settings_set(settings, "index.build", "manual", "test", test_error()));
    if (w->memory_mib) assert_ok(mneme_settings_set(settings, "index.memory_mib", w->memory_mib, "test", test_error()));
    assert_ok(mneme_open(w->dir, settings, flags, &w->memory, test_error()));
    mneme_settings_free(settings);
}

static inline void reopen(world *w, unsigned flags)
{
    mneme_close(w->memory);
    open_world(w, flags);
}

/* 0 .. 9999, spread over all rows. */
static inline unsigned part_of(size_t row)
{
    return (unsigned)(row * 7919 % 10000);
}

static inline void add_rows(world *w, const char *name_space, size_t n)
{
    mneme_record *records = calloc(n, sizeof *records);
    char(*ids)[16] = calloc(n, sizeof *ids), (*metadata)[24] = calloc(n, sizeof *metadata);
    for (size_t i = 0; i < n; i++, w->n++) {
        draw_vector(&w->seed, w->vectors[w->n]);
        snprintf(ids[i], sizeof ids[i], "%zu", w->n);
        snprintf(metadata[i], sizeof metadata[i], "{\"part\":%u}", part_of(w->n));
        records[i] = (mneme_record){.id = ids[i],
                                    .name_space = name_space,
                                    .text = "",
                                    .vector = w->vectors[w->n],
                                    .dimension = DIMENSION,
                                    .metadata = metadata[i],
                                    .has_time = true,
                                    .time_ms = (int64_t)w->n * 1000};
    }
    assert_ok(mneme_add(w->memory, records, n, NULL, NULL, test_error()));
    free(metadata);
    free(ids);
    free(records);
}

static inline void make_world_of(world *w, size_t n, const char *memory_mib)
{
    *w = (world){.dir = test_make_dir(), .seed = 11, .memory_mib = memory_mib};
    w->vectors = calloc(ROOM, sizeof *w->vectors);
    w->gone = calloc(ROOM, sizeof *w->gone);
    open_world(w, 0);
    add_rows(w, NULL, n);
}

static inline void make_world(world *w)
{
    make_world_of(w, ROWS, NULL);
}

static inline void end_world(world *w)
{
    mneme_close(w->memory);
    test_remove_dir(w->dir);
    free(w->vectors);
    free(w->gone);
}

static inline void optimize(world *w)
{
    assert_ok(mneme_optimize(w->memory, NULL, test_error()));
}

/* The only namespace's index; the texts live until the next call. */
static inline mneme_index_info info_of(world *w)
{
    static mneme_stats *stats;
    mneme_stats_free(stats);
    stats = NULL;
    if (!w) return (mneme_index_info){0};
    assert_ok(mneme_get_stats(w->memory, &stats, test_error()));
    return stats->indexes[0];
}

static inline double cosine(const float *a, const float *b)
{
    double sum = 0;
    for (size_t i = 0; i < DIMENSION; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

enum { BEST = 10 };

/* Put a cosine among the best, which are sorted downwards. */
static inline void put(double *best, size_t *n, double score)
{
    if (*n == BEST && score <= best[BEST - 1]) return;
    size_t at = *n < BEST ? (*n)++ : BEST - 1;
    for (; at > 0 && best[at - 1] < score; at--) best[at] = best[at - 1];
    best[at] = score;
}

/* The tenth best cosine among the rows that are there. */
static inline double least_of_best(const world *w, const float *question)
{
    double best[BEST];
    size_t n = 0;
    for (size_t i = 0; i < w->n; i++)
        if (!w->gone[i]) put(best, &n, cosine(question, w->vectors[i]));
    assert_int_equal(n, BEST);
    return best[BEST - 1];
}

static inline mneme_hits *ask(world *w, const float *question, uint32_t k)
{
    mneme_hits *hits = NULL;
    mneme_query_options options = MNEME_QUERY_OPTIONS_INIT;
    options.mode = MNEME_MODE_DENSE;
    options.k = k;
    options.vector = question;
    options.dimension = DIMENSION;
    assert_ok(mneme_query(w->memory, "", &options, &hits, test_error()));
    return hits;
}

/* Share of the best ten that is found; nothing that is gone may come, and scores must be the vectors' own cosines. */
static inline double recall(world *w)
{
    uint64_t seed = 99;
    size_t found = 0;
    for (size_t q = 0; q < QUESTIONS; q++) {
        float question[DIMENSION];
        draw_vector(&seed, question);
        double least = least_of_best(w, question) - 1e-3; /* vectors are kept in 12 bits a number */
        mneme_hits *hits = ask(w, question, 10);
        assert_int_equal(hits->n, 10);
        for (size_t i = 0; i < hits->n; i++) {
            size_t row = (size_t)atol(hits->items[i].id);
            assert_true(row < w->n && !w->gone[row]);
            assert_true(fabs((double)hits->items[i].dense - cosine(question, w->vectors[row])) < 2e-3);
            if (cosine(question, w->vectors[row]) >= least) found++;
        }
        mneme_hits_free(hits);
    }
    return (double)found / (10.0 * QUESTIONS);
}

static inline char *index_file(const world *w)
{
    static char path[1200];
    snprintf(path, sizeof path, "%s/index/1.faiss", w->dir);
    return path;
}

static inline uint64_t problems_of(world *w)
{
    mneme_check_report report;
    assert_ok(mneme_check(w->memory, NULL, NULL, NULL, &report, test_error()));
    return report.problems;
}

static inline void forget(world *w, size_t first, size_t n, size_t step)
{
    const char **ids = calloc(n, sizeof *ids);
    char(*texts)[16] = calloc(n, sizeof *texts);
    for (size_t i = 0; i < n; i++) {
        snprintf(texts[i], sizeof texts[i], "%zu", first + i * step);
        ids[i] = texts[i];
        w->gone[first + i * step] = true;
    }
    mneme_forget_options options = MNEME_FORGET_OPTIONS_INIT;
    options.ids = ids;
    options.n_ids = n;
    uint64_t n_forgotten = 0;
    assert_ok(mneme_forget(w->memory, &options, &n_forgotten, test_error()));
    assert_int_equal(n_forgotten, n);
    free(texts);
    free(ids);
}

typedef struct window {
    const char *where; /* NULL: the rows first .. first + n - 1, by their times; else those with part < below */
    size_t first, n;
    unsigned below;
} window;

static inline bool lies_in(const window *x, size_t row)
{
    return x->where ? part_of(row) < x->below : row >= x->first && row - x->first < x->n;
}

/* The share of the best ten (or of all, where there are fewer) of the rows in the window that is found. */
static inline double recall_in(world *w, const window *x)
{
    uint64_t seed = 77;
    size_t found = 0, wanted = 0;
    mneme_query_options options = MNEME_QUERY_OPTIONS_INIT;
    options.mode = MNEME_MODE_DENSE;
    options.k = 10;
    options.dimension = DIMENSION;
    options.select.where = x->where;
    options.select.has_since = options.select.has_until = x->where == NULL;
    options.select.since_ms = (int64_t)x->first * 1000;
    options.select.until_ms = (int64_t)(x->first + x->n) * 1000;
    for (size_t q = 0; q < QUESTIONS; q++) {
        float question[DIMENSION];
        mneme_hits *hits = NULL;
        double best[BEST];
        size_t n = 0;
        draw_vector(&seed, question);
        for (size_t row = 0; row < w->n; row++)
            if (!w->gone[row] && lies_in(x, row)) put(best, &n, cosine(question, w->vectors[row]));
        double least = n == 0 || best[n - 1] < 0 ? -1 : best[n - 1] - 1e-3; /* all below 0 score 0 */
        options.vector = question;
        assert_ok(mneme_query(w->memory, "", &options, &hits, test_error()));
        assert_int_equal(hits->n, n);
        for (size_t i = 0; i < hits->n; i++) {
            size_t row = (size_t)atol(hits->items[i].id);
            assert_true(lies_in(x, row) && !w->gone[row]);
            found += cosine(question, w->vectors[row]) >= least;
        }
        wanted += n;
        mneme_hits_free(hits);
    }
    return wanted ? (double)found / (double)wanted : 1;
}

/* Filters of every width: nearly all of the best is found by each. */
static inline void expect_windows(world *w, const window *windows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double share = recall_in(w, &windows[i]);
        if (share < 0.99)
            fail_msg("window %zu (%s): recall %.4f", i, windows[i].where ? windows[i].where : "times", share);
    }
}

/* Both are freed. */
static inline void expect_same_hits(mneme_hits *first, mneme_hits *second)
{
    assert_int_equal(first->n, second->n);
    for (size_t i = 0; i < first->n; i++) {
        assert_string_equal(first->items[i].id, second->items[i].id);
        assert_memory_equal(&first->items[i].score, &second->items[i].score, sizeof(float));
    }
    mneme_hits_free(first);
    mneme_hits_free(second);
}

static inline void flip_a_bit(const char *path, long at)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    fseek(file, at, at < 0 ? SEEK_END : SEEK_SET);
    int byte = fgetc(file);
    fseek(file, -1, SEEK_CUR);
    fputc(byte ^ 4, file);
    fclose(file);
}

static inline void expect_refused(world *w, const char *why)
{
    open_world(w, MNEME_OPEN_READ_ONLY);
    mneme_index_info info = info_of(w);
    assert_string_equal(info.kind, "none");
    if (!strstr(info.reason, why)) fail_msg("\"%s\" does not say \"%s\"", info.reason, why);
    assert_true(recall(w) >= 1); /* the exact scan answers */
    assert_int_equal(problems_of(w), strstr(why, "another") ? 0 : 1);
    mneme_close(w->memory);
    w->memory = NULL;
}

#endif
