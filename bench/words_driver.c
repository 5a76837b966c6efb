/* words_driver.c -- the lexical half of a store alone: write it, ask it, print its terms. Driven by bench/words.
 *
 *     words_driver write DIR TEXTS BATCH              a store of the lines of TEXTS, no vectors, durable; prints JSON
 *     words_driver ask DIR QUESTIONS K ROUNDS HITS    each line ROUNDS times by mneme_query, mode lexical; prints JSON
 *                                                     and writes one line of "row:lexical" pairs a question to HITS
 *     words_driver terms TEXTS                        the terms of each line, as the store keeps them
 *     words_driver question-terms QUESTIONS           the terms of each line, as they are asked
 *
 * Written below the public API, which encodes what comes without a vector; asked through it. Linked with the static
 * library. */
#include "timing.h"

#include <mneme.h>

#include "memstore/store.h"
#include "retriever/analyzer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "words_driver: %s: %s\n", what, why);
    exit(1);
}

typedef struct lines {
    char **items;
    size_t n;
} lines;

static lines read_lines(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) fail(path, "cannot open");
    lines out = {0};
    char *line = NULL;
    size_t size = 0, capacity = 0;
    for (ssize_t n; (n = getline(&line, &size, file)) > 0;) {
        if (line[n - 1] == '\n') line[n - 1] = '\0';
        if (out.n == capacity)
            out.items = realloc(out.items, (capacity = capacity ? capacity * 2 : 1024) * sizeof *out.items);
        if (!out.items || !(out.items[out.n++] = strdup(line))) fail(path, "out of memory");
    }
    free(line);
    fclose(file);
    return out;
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

typedef struct batch {
    const lines *texts;
    size_t first, n;
} batch;

static mneme_status put(void *context, mn_write *write, mneme_error *error)
{
    const batch *b = context;
    mneme_status status = MNEME_OK;
    for (size_t i = b->first; i < b->first + b->n && status == MNEME_OK; i++) {
        char id[24];
        snprintf(id, sizeof id, "%zu", i);
        mneme_record record = {.id = id, .text = b->texts->items[i], .text_size = strlen(b->texts->items[i])};
        mn_new_chunk chunk = {0, (uint32_t)record.text_size, NULL};
        mn_new_record put = {.record = &record, .hash = {i + 1, i + 1}, .chunks = &chunk, .n_chunks = 1};
        status = mn_write_put(write, &put, error);
    }
    return status;
}

static void write_store(const char *dir, const lines *texts, size_t batch_size)
{
    mneme_error error;
    mn_analyzer *analyzer = NULL;
    mn_store *store = NULL;
    double started = now_ms(CLOCK_MONOTONIC);
    if (mn_analyzer_open("english", &analyzer, &error) != MNEME_OK ||
        mn_store_open(dir, &(mn_store_options){.language = "english"}, &store, &error) != MNEME_OK)
        fail(dir, error.message);
    mn_store_set_analyzer(store, mn_analyzer_run, analyzer);
    for (size_t first = 0; first < texts->n; first += batch_size) {
        batch b = {texts, first, texts->n - first < batch_size ? texts->n - first : batch_size};
        if (mn_store_update(store, put, &b, NULL, &error) != MNEME_OK) fail("write", error.message);
    }
    double took = now_ms(CLOCK_MONOTONIC) - started;
    printf("{\"records\":%zu,\"write_s\":%.3f,\"cpu_s\":%.3f,\"bytes\":%llu}\n", texts->n, took / 1000,
           (double)clock() / CLOCKS_PER_SEC, (unsigned long long)mn_store_bytes_on_disk(store));
    mn_store_close(store);
    mn_analyzer_close(analyzer);
}

/* ---- asking ----------------------------------------------------------------------------------------------------- */

static void ask(const char *dir, const lines *questions, uint32_t k, size_t rounds, const char *hits_path)
{
    mneme_error error;
    mneme *memory = NULL;
    mneme_settings *settings = NULL;
    FILE *out = fopen(hits_path, "w");
    double *took = calloc(questions->n * rounds, sizeof *took), *cpu = calloc(questions->n * rounds, sizeof *cpu);
    if (!out || !took || !cpu) fail(hits_path, "cannot write");
    if (mneme_settings_new(&settings, &error) != MNEME_OK ||
        mneme_settings_set(settings, "retrieval.neighbour_share", "0", "command line", &error) != MNEME_OK ||
        mneme_open(dir, settings, MNEME_OPEN_READ_ONLY, &memory, &error) != MNEME_OK)
        fail(dir, error.message);
    mneme_query_options options = MNEME_QUERY_OPTIONS_INIT;
    options.mode = MNEME_MODE_LEXICAL;
    options.k = k;
    size_t n = 0;
    for (size_t round = 0; round <= rounds; round++) { /* the first warms up, and its hits are kept */
        for (size_t i = 0; i < questions->n; i++) {
            mneme_hits *hits = NULL;
            double from = now_ms(CLOCK_MONOTONIC), cpu_from = now_ms(CLOCK_THREAD_CPUTIME_ID);
            if (mneme_query(memory, questions->items[i], &options, &hits, &error) != MNEME_OK)
                fail("query", error.message);
            if (round) cpu[n] = now_ms(CLOCK_THREAD_CPUTIME_ID) - cpu_from, took[n++] = now_ms(CLOCK_MONOTONIC) - from;
            for (size_t h = 0; !round && h < hits->n; h++)
                fprintf(out, "%s:%.9g ", hits->items[h].id, (double)hits->items[h].lexical);
            if (!round) fputc('\n', out);
            mneme_hits_free(hits);
        }
    }
    if (getenv("WORDS_EACH"))
        for (size_t i = 0; i < questions->n; i++) fprintf(stderr, "%.4f %s\n", cpu[i], questions->items[i]);
    qsort(took, n, sizeof *took, by_value);
    qsort(cpu, n, sizeof *cpu, by_value);
    size_t p99 = (n * 99 + 99) / 100 - 1;
    printf("{\"questions\":%zu,\"rounds\":%zu,\"p50_ms\":%.4f,\"p99_ms\":%.4f,\"cpu_p50_ms\":%.4f,\"cpu_p99_ms\":%.4f,"
           "\"cpu_most_ms\":%.4f}\n",
           questions->n, rounds, took[n / 2], took[p99], cpu[n / 2], cpu[p99], cpu[n - 1]);
    fclose(out);
    free(took);
    free(cpu);
    mneme_close(memory);
    mneme_settings_free(settings);
}

/* ---- terms ------------------------------------------------------------------------------------------------------ */

static void print_terms(const lines *texts, mn_analyze analyze)
{
    mneme_error error;
    mn_analyzer *analyzer = NULL;
    if (mn_analyzer_open("english", &analyzer, &error) != MNEME_OK) fail("analyzer", error.message);
    for (size_t i = 0; i < texts->n; i++) {
        mn_arena arena = {0};
        mn_term_list terms;
        if (analyze(analyzer, texts->items[i], strlen(texts->items[i]), &arena, &terms, &error) != MNEME_OK)
            fail("analyzer", error.message);
        for (size_t t = 0; t < terms.n; t++)
            for (uint32_t c = 0; c < terms.items[t].count; c++)
                printf("%.*s ", (int)terms.items[t].size, terms.items[t].text);
        putchar('\n');
        mn_arena_free(&arena);
    }
    mn_analyzer_close(analyzer);
}

int main(int argc, char **argv)
{
    const char *what = argc > 2 ? argv[1] : "";
    bool has_store = strcmp(what, "write") == 0 || strcmp(what, "ask") == 0;
    if (argc != (strcmp(what, "write") == 0 ? 5 : strcmp(what, "ask") == 0 ? 7 : 3))
        fail("usage",
             "write DIR TEXTS BATCH | ask DIR QUESTIONS K ROUNDS HITS | terms TEXTS | question-terms QUESTIONS");
    lines texts = read_lines(argv[has_store ? 3 : 2]);
    if (strcmp(what, "write") == 0)
        write_store(argv[2], &texts, (size_t)atol(argv[4]));
    else if (strcmp(what, "ask") == 0)
        ask(argv[2], &texts, (uint32_t)atol(argv[4]), (size_t)atol(argv[5]), argv[6]);
    else
        print_terms(&texts, strcmp(what, "terms") == 0 ? mn_analyzer_run : mn_analyzer_question);
    for (size_t i = 0; i < texts.n; i++) free(texts.items[i]);
    free(texts.items);
    return 0;
}
