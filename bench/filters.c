/* filters.c -- how long filtered lists and questions take in a store of many records, with and without the index of
 * fields.
 *
 *     filters STORE RECORDS [RUNS]
 *
 * Makes the store when it is not there: records of four words with a vector of 16 numbers of their own, in one
 * namespace. Each has metadata in which `share1` is true for 1 % of the records, `share001` for 0.01 %, spread evenly.
 * Without the index: the same expression behind `not not`, for which there is no plan. Prints a Markdown table of
 * medians. bench/filters
 * builds and runs it. */
#include "timing.h"

#include <mneme.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DIMENSION = 16, BATCH = 20000, RUNS_MAX = 1000 };

/* Processor time: other processes disturb it less than wall time. */
static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return *seed >> 33;
}

static void random_vector(float *vector, uint64_t *seed)
{
    for (int i = 0; i < DIMENSION; i++) vector[i] = (float)next_random(seed) / (float)(1u << 30) - 1.0f;
}

/* ---- making the store ---- */

typedef struct batch {
    mneme_record records[BATCH];
    float vectors[BATCH][DIMENSION];
    char ids[BATCH][16], texts[BATCH][64], metadata[BATCH][96];
} batch;

/* Words as frequent as the square root of a random number makes them: some in 2 % of the records, most in few. */
static void random_text(char *text, size_t size, uint64_t *seed)
{
    size_t at = 0;
    for (int i = 0; i < 4; i++) {
        uint64_t r = next_random(seed) % 1000000;
        at += (size_t)snprintf(text + at, size - at, "%sw%llu", i ? " " : "", (unsigned long long)(r * r / 50000000));
    }
}

static void fill(batch *b, size_t first, size_t n, uint64_t *seed)
{
    for (size_t i = 0; i < n; i++) {
        size_t number = first + i;
        snprintf(b->ids[i], sizeof b->ids[i], "r%zu", number);
        random_text(b->texts[i], sizeof b->texts[i], seed);
        snprintf(b->metadata[i], sizeof b->metadata[i],
                 "{\"share1\":%s,\"share001\":%s,\"number\":%zu,\"kind\":\"k%zu\"}",
                 number % 100 == 7 ? "true" : "false", number % 10000 == 7 ? "true" : "false", number, number % 13);
        random_vector(b->vectors[i], seed);
        b->records[i] = (mneme_record){.id = b->ids[i],
                                       .text = b->texts[i],
                                       .metadata = b->metadata[i],
                                       .has_time = true,
                                       .time_ms = 1600000000000 + (int64_t)number * 60000,
                                       .vector = b->vectors[i],
                                       .dimension = DIMENSION};
    }
}

static mneme_status make_store(mneme *memory, size_t n_records, mneme_error *error)
{
    batch *b = calloc(1, sizeof *b);
    uint64_t seed = 1;
    double started = now_ms(CLOCK_PROCESS_CPUTIME_ID);
    mneme_status status = b ? MNEME_OK : MNEME_ERR_MEMORY;
    for (size_t first = 0; first < n_records && status == MNEME_OK; first += BATCH) {
        size_t n = n_records - first < BATCH ? n_records - first : BATCH;
        fill(b, first, n, &seed);
        status = mneme_add(memory, b->records, n, NULL, NULL, error);
    }
    free(b);
    fprintf(stderr, "filters: %zu records written in %.1f s of processor time\n", n_records,
            (now_ms(CLOCK_PROCESS_CPUTIME_ID) - started) / 1e3);
    return status;
}

/* ---- measuring ---- */

typedef struct task {
    const char *name;
    mneme_mode mode; /* DEFAULT: not a query */
    bool all;        /* every record that matches, as forget with dry_run goes through them; else a page of list */
} task;

static mneme_status count_all(mneme *memory, const char *where, size_t *n, mneme_error *error)
{
    mneme_forget_options options = MNEME_FORGET_OPTIONS_INIT;
    uint64_t found = 0;
    options.select.where = where;
    options.dry_run = true;
    mneme_status status = mneme_forget(memory, &options, &found, error);
    *n = (size_t)found;
    return status;
}

static mneme_status run_once(mneme *memory, const task *what, const char *where, uint64_t *seed, size_t *n,
                             mneme_error *error)
{
    if (what->all) return count_all(memory, where, n, error);
    if (what->mode == MNEME_MODE_DEFAULT) {
        mneme_list_options options = MNEME_LIST_OPTIONS_INIT;
        mneme_record_list *list = NULL;
        options.select.where = where;
        mneme_status status = mneme_list(memory, &options, &list, error);
        *n = list ? list->n : 0;
        mneme_record_list_free(list);
        return status;
    }
    float vector[DIMENSION];
    char question[64];
    mneme_query_options options = MNEME_QUERY_OPTIONS_INIT;
    mneme_hits *hits = NULL;
    random_vector(vector, seed);
    random_text(question, sizeof question, seed);
    options.select.where = where;
    options.mode = what->mode;
    options.vector = vector;
    options.dimension = DIMENSION;
    mneme_status status = mneme_query(memory, question, &options, &hits, error);
    *n = hits ? hits->n : 0;
    mneme_hits_free(hits);
    return status;
}

/* The median of `runs`, after one that warms up. */
static mneme_status measure(mneme *memory, const task *what, const char *where, size_t runs, double *median,
                            mneme_error *error)
{
    double took[RUNS_MAX];
    uint64_t seed = 5;
    mneme_status status = MNEME_OK;
    for (size_t i = 0; i <= runs && status == MNEME_OK; i++) {
        size_t n = 0;
        double started = now_ms(CLOCK_PROCESS_CPUTIME_ID);
        status = run_once(memory, what, where, &seed, &n, error);
        if (i > 0) took[i - 1] = now_ms(CLOCK_PROCESS_CPUTIME_ID) - started;
    }
    qsort(took, runs, sizeof *took, by_value);
    *median = took[runs / 2];
    return status;
}

static mneme_status measure_all(mneme *memory, size_t runs, mneme_error *error)
{
    static const task tasks[] = {{"forget (dry run)", MNEME_MODE_DEFAULT, true},
                                 {"list (a page of 100)", MNEME_MODE_DEFAULT, false},
                                 {"query, dense", MNEME_MODE_DENSE, false},
                                 {"query, lexical", MNEME_MODE_LEXICAL, false},
                                 {"query, hybrid", MNEME_MODE_HYBRID, false}};
    static const struct {
        const char *share, *where;
    } filters[] = {{"1 %", "share1 = true"},
                   {"0.01 %", "share001 = true"},
                   {"0.01 %, a range", "number >= 500000 and number < 500100"},
                   {"no record", "share1 = \"x\""}};
    printf("| processor time | matches | with the index, ms | without, ms |\n|---|---|---|---|\n");
    for (size_t t = 0; t < sizeof tasks / sizeof tasks[0]; t++) {
        for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
            char without[200];
            double with_ms = 0, without_ms = 0;
            snprintf(without, sizeof without, "not not (%s)", filters[i].where);
            mneme_status status = measure(memory, &tasks[t], filters[i].where, runs, &with_ms, error);
            if (status == MNEME_OK)
                status = measure(memory, &tasks[t], without, runs < 5 ? runs : 5, &without_ms, error);
            if (status != MNEME_OK) return status;
            printf("| %s | %s | %.2f | %.0f |\n", tasks[t].name, filters[i].share, with_ms, without_ms);
            fflush(stdout);
        }
    }
    for (size_t t = 2; t < sizeof tasks / sizeof tasks[0]; t++) {
        double median = 0;
        mneme_status status = measure(memory, &tasks[t], NULL, runs, &median, error);
        if (status != MNEME_OK) return status;
        printf("| %s | no filter | | %.0f |\n", tasks[t].name, median);
    }
    return MNEME_OK;
}

int main(int argc, char **argv)
{
    size_t n_records = argc > 2 ? (size_t)atol(argv[2]) : 0, runs = argc > 3 ? (size_t)atol(argv[3]) : 20;
    if (n_records == 0 || runs == 0 || runs > RUNS_MAX)
        return fprintf(stderr, "usage: filters STORE RECORDS [RUNS]\n"), 2;
    struct stat info;
    bool exists = stat(argv[1], &info) == 0;
    mneme *memory = NULL;
    mneme_settings *settings = NULL;
    mneme_error error = {MNEME_OK, ""};
    mneme_status status = mneme_settings_new(&settings, &error);
    if (status == MNEME_OK) status = mneme_open(argv[1], settings, 0, &memory, &error);
    if (status == MNEME_OK && !exists) status = make_store(memory, n_records, &error);
    if (status == MNEME_OK) status = measure_all(memory, runs, &error);
    mneme_close(memory);
    mneme_settings_free(settings);
    if (status != MNEME_OK) fprintf(stderr, "filters: %s\n", error.message);
    return status == MNEME_OK ? 0 : 1;
}
