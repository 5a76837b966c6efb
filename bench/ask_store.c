/* ask_store.c -- a store made of texts with ready vectors, and questions put to it, timed. Driven by bench/nearest and
 * bench/hybrid.
 *
 *     ask_store write STORE TEXTS VECTORS DIMENSION N [NAME=VALUE...]
 *     ask_store warm  STORE MODE K QUESTIONS DIMENSION [NAME=VALUE...]
 *     ask_store fresh STORE MODE K QUESTIONS DIMENSION [NAME=VALUE...]
 *
 * TEXTS: one a line, taken again from the front when there are fewer than N. VECTORS: raw float32, N rows. QUESTIONS: raw
 * float32 rows, or, with DIMENSION 0, texts, one a line. NAME=VALUE: settings.
 * write prints {"write_s","bytes"}. warm asks all questions once to warm up, then once timed, and prints {"p50_ms",
 * "p99_ms","mean_ms","cpu_ms","resident_mb","anonymous_mb","resident_before_mb"}, then for each question a line with the ids of
 * its hits. fresh opens, asks the first question and prints {"inside_ms"} and its ids: run it as a process of its own. */
#include "timing.h"

#include <mneme.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define BATCH 8192

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "ask_store: %s: %s\n", what, why);
    exit(1);
}

/* A file, mapped. */
static const char *map_file(const char *path, size_t *size)
{
    struct stat status;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &status) != 0) fail(path, "cannot open");
    *size = (size_t)status.st_size;
    const char *data = mmap(NULL, *size ? *size : 1, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) fail(path, "cannot map");
    close(fd);
    return data;
}

/* The lines of a file, NUL-terminated. */
static char **read_lines(const char *path, size_t *n)
{
    size_t size, capacity = 1;
    const char *data = map_file(path, &size);
    for (size_t i = 0; i < size; i++) capacity += data[i] == '\n';
    char *text = malloc(size + 1), **lines = malloc(capacity * sizeof *lines), *rest = NULL;
    if (!text || !lines) fail(path, "out of memory");
    memcpy(text, data, size);
    text[size] = '\0';
    *n = 0;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) lines[(*n)++] = line;
    return lines;
}

static mneme_settings *read_settings(char **pairs, int n)
{
    mneme_error error = {MNEME_OK, ""};
    mneme_settings *settings = NULL;
    mneme_status status = mneme_settings_new(&settings, &error);
    if (status == MNEME_OK) status = mneme_settings_load_environment(settings, &error);
    for (int i = 0; i < n && status == MNEME_OK; i++) {
        char *equals = strchr(pairs[i], '=');
        if (!equals) fail(pairs[i], "is not NAME=VALUE");
        *equals = '\0';
        status = mneme_settings_set(settings, pairs[i], equals + 1, "command line", &error);
    }
    if (status != MNEME_OK) fail("settings", error.message);
    return settings;
}

static mneme *open_store(const char *path, const mneme_settings *settings, unsigned flags)
{
    mneme_error error;
    mneme *memory = NULL;
    if (mneme_open(path, settings, flags, &memory, &error) != MNEME_OK) fail(path, error.message);
    return memory;
}

/* ---- write ---- */

/* A record that the encoder embeds, in a namespace of its own: from then on the store knows its encoder. */
static void name_encoder(mneme *memory)
{
    mneme_error error;
    const mneme_record record = {.id = "encoder", .name_space = "encoder", .text = "a sentence"};
    if (mneme_add(memory, &record, 1, NULL, NULL, &error) != MNEME_OK) fail("encoder", error.message);
}

static void write_store(char **arguments, const mneme_settings *settings)
{
    size_t n_lines, bytes, n = (size_t)atol(arguments[4]);
    uint32_t dimension = (uint32_t)atol(arguments[3]);
    char **lines = read_lines(arguments[1], &n_lines);
    const float *vectors = (const float *)(const void *)map_file(arguments[2], &bytes);
    if (n_lines == 0 || bytes < n * dimension * sizeof(float)) fail(arguments[2], "has fewer rows than asked for");
    mneme_record *records = calloc(BATCH, sizeof *records);
    char(*ids)[24] = malloc(BATCH * sizeof *ids);
    mneme_error error;
    mneme *memory = open_store(arguments[0], settings, 0);
    name_encoder(memory);
    double started = now_ms(CLOCK_MONOTONIC);
    for (size_t first = 0; first < n; first += BATCH) {
        size_t size = n - first < BATCH ? n - first : BATCH;
        for (size_t i = 0; i < size; i++) {
            snprintf(ids[i], sizeof ids[i], "%zu", first + i);
            records[i] = (mneme_record){.id = ids[i],
                                        .text = lines[(first + i) % n_lines],
                                        .vector = vectors + (first + i) * dimension,
                                        .dimension = dimension};
        }
        if (mneme_add(memory, records, size, NULL, NULL, &error) != MNEME_OK) fail("add", error.message);
    }
    double took = now_ms(CLOCK_MONOTONIC) - started;
    mneme_stats *stats = NULL;
    if (mneme_get_stats(memory, &stats, &error) != MNEME_OK) fail("stats", error.message);
    printf("{\"write_s\": %.3f, \"bytes\": %llu}\n", took / 1000, (unsigned long long)stats->bytes_on_disk);
    mneme_stats_free(stats);
    mneme_close(memory);
}

/* ---- ask ---- */

typedef struct questions {
    const float *vectors; /* NULL: texts */
    char **texts;
    size_t n;
    mneme_query_options options;
} questions;

static questions read_questions(char **arguments)
{
    static const char *const modes[] = {"default", "hybrid", "dense", "lexical"};
    questions q = {.options = MNEME_QUERY_OPTIONS_INIT};
    size_t bytes;
    for (int i = 0; i < 4; i++)
        if (strcmp(arguments[0], modes[i]) == 0) q.options.mode = (mneme_mode)i;
    q.options.k = (uint32_t)atol(arguments[1]);
    q.options.dimension = (uint32_t)atol(arguments[3]);
    q.options.select.name_space = "";
    q.options.leave_strength = true;
    if (q.options.dimension == 0) q.texts = read_lines(arguments[2], &q.n);
    else {
        q.vectors = (const float *)(const void *)map_file(arguments[2], &bytes);
        q.n = bytes / sizeof(float) / q.options.dimension;
    }
    if (q.n == 0) fail(arguments[2], "has no question");
    return q;
}

static mneme_hits *ask(mneme *memory, const questions *q, size_t i)
{
    mneme_query_options options = q->options;
    mneme_error error;
    mneme_hits *hits = NULL;
    if (q->vectors) options.vector = q->vectors + i * options.dimension;
    if (mneme_query(memory, q->texts ? q->texts[i] : "", &options, &hits, &error) != MNEME_OK) fail("query", error.message);
    return hits;
}

static void print_ids(const mneme_hits *hits)
{
    for (size_t i = 0; i < hits->n; i++) printf("%s%s", i ? " " : "", hits->items[i].id);
    putchar('\n');
}

/* MB of a line of /proc/self/status. */
static double memory_mb(const char *name)
{
    char line[256];
    double kb = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, name, strlen(name)) == 0) kb = atof(line + strlen(name) + 1);
    if (file) fclose(file);
    return kb / 1000;
}

static void ask_warm(const char *store, const questions *q, const mneme_settings *settings)
{
    double before = memory_mb("VmRSS:"), *took = malloc(q->n * sizeof *took), sum = 0, cpu = 0;
    mneme_hits **answers = malloc(q->n * sizeof *answers);
    mneme *memory = open_store(store, settings, MNEME_OPEN_READ_ONLY);
    if (!took || !answers) fail(store, "out of memory");
    for (size_t i = 0; i < q->n; i++) mneme_hits_free(ask(memory, q, i));
    for (size_t i = 0; i < q->n; i++) {
        double cpu_before = now_ms(CLOCK_PROCESS_CPUTIME_ID), from = now_ms(CLOCK_MONOTONIC);
        answers[i] = ask(memory, q, i);
        took[i] = now_ms(CLOCK_MONOTONIC) - from;
        cpu += now_ms(CLOCK_PROCESS_CPUTIME_ID) - cpu_before;
        sum += took[i];
    }
    qsort(took, q->n, sizeof *took, by_value);
    printf("{\"p50_ms\": %.4f, \"p99_ms\": %.4f, \"mean_ms\": %.4f, \"cpu_ms\": %.4f, \"resident_mb\": %.1f, "
           "\"anonymous_mb\": %.1f, \"resident_before_mb\": %.1f}\n",
           took[q->n / 2], took[(q->n * 99 + 99) / 100 - 1], sum / (double)q->n, cpu / (double)q->n,
           memory_mb("VmRSS:"), memory_mb("RssAnon:"), before);
    for (size_t i = 0; i < q->n; i++) {
        print_ids(answers[i]);
        mneme_hits_free(answers[i]);
    }
    mneme_close(memory);
    free(answers);
    free(took);
}

static void ask_fresh(const char *store, const questions *q, const mneme_settings *settings)
{
    double started = now_ms(CLOCK_MONOTONIC);
    mneme *memory = open_store(store, settings, MNEME_OPEN_READ_ONLY);
    mneme_hits *hits = ask(memory, q, 0);
    printf("{\"inside_ms\": %.3f}\n", now_ms(CLOCK_MONOTONIC) - started);
    print_ids(hits);
    fflush(stdout);
    mneme_hits_free(hits);
    mneme_close(memory);
}

int main(int argc, char **argv)
{
    if (argc < 7) fail("usage", "ask_store write|warm|fresh STORE ... [NAME=VALUE...]; see the top of ask_store.c");
    mneme_settings *settings = read_settings(argv + 7, argc - 7);
    if (strcmp(argv[1], "write") == 0) write_store(argv + 2, settings);
    else {
        questions q = read_questions(argv + 3);
        if (strcmp(argv[1], "warm") == 0) ask_warm(argv[2], &q, settings);
        else ask_fresh(argv[2], &q, settings);
        if (q.texts) free(q.texts[0]), free(q.texts);
    }
    mneme_settings_free(settings);
    return 0;
}
