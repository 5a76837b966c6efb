/* store_writer.c -- texts with ready vectors into a store, durably, and what that takes. Driven by bench/store.
 *
 *     store_writer DIR TEXTS VECTORS DIMENSION BATCH TYPE [MOST]
 *
 * TEXTS: one a line. VECTORS: raw float32, row-major, one row for each line. BATCH: records in a transaction. TYPE: the
 * setting store.vectors. MOST: stop after so many records; vectors and texts are taken again from the front, with noise,
 * when there are fewer. Prints one JSON object. */
#include "timing.h"

#include <mneme.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "store_writer: %s: %s\n", what, why);
    exit(1);
}

static char *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (!file) fail(path, "cannot open");
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    char *data = malloc(*size + 1);
    if (!data || fread(data, 1, *size, file) != *size) fail(path, "cannot read");
    data[*size] = '\0';
    fclose(file);
    return data;
}

static uint64_t g_seed = 1;

static float noise(void)
{
    g_seed = g_seed * 6364136223846793005ull + 1442695040888963407ull;
    return (float)((double)(g_seed >> 40) / (1 << 23) - 1);
}

static mneme *open_store(const char *dir, const mneme_settings *settings)
{
    mneme_error error;
    mneme *memory = NULL;
    if (mneme_open(dir, settings, 0, &memory, &error) != MNEME_OK) fail(dir, error.message);
    return memory;
}

typedef struct input {
    char **lines;
    size_t n_lines;
    const float *vectors;
    uint32_t dimension;
} input;

/* Fill batch records first .. first + n - 1. */
static void fill_batch(const input *in, size_t first, size_t n, mneme_record *records, char (*ids)[24], float *scratch)
{
    for (size_t i = 0; i < n; i++) {
        size_t at = first + i, source = at % in->n_lines;
        const float *vector = in->vectors + source * in->dimension;
        snprintf(ids[i], sizeof ids[i], "%zu", at);
        if (at >= in->n_lines) {
            float *noisy = scratch + i * in->dimension;
            for (uint32_t d = 0; d < in->dimension; d++) noisy[d] = vector[d] + 0.03f * noise();
            vector = noisy;
        }
        records[i] = (mneme_record){.id = ids[i], .text = in->lines[source], .vector = vector, .dimension = in->dimension};
    }
}

int main(int argc, char **argv)
{
    if (argc < 7) fail("usage", "store_writer DIR TEXTS VECTORS DIMENSION BATCH TYPE [MOST]");
    size_t text_bytes, vector_bytes, batch = (size_t)atol(argv[5]);
    char *texts = read_file(argv[2], &text_bytes);
    input in = {.vectors = (const float *)(const void *)read_file(argv[3], &vector_bytes), .dimension = (uint32_t)atol(argv[4])};
    for (char *at = texts; *at; in.n_lines++) at = strchr(at, '\n') ? strchr(at, '\n') + 1 : at + strlen(at);
    in.lines = malloc((in.n_lines + 1) * sizeof *in.lines);
    in.n_lines = 0;
    for (char *line = strtok(texts, "\n"); line; line = strtok(NULL, "\n")) in.lines[in.n_lines++] = line;
    if (in.n_lines * in.dimension * sizeof(float) > vector_bytes) fail(argv[3], "has fewer rows than there are texts");
    size_t most = argc > 7 ? (size_t)atol(argv[7]) : in.n_lines;

    mneme_error error;
    mneme_settings *settings = NULL;
    if (mneme_settings_new(&settings, &error) != MNEME_OK ||
        mneme_settings_set(settings, "store.vectors", argv[6], "command line", &error) != MNEME_OK)
        fail("settings", error.message);
    mneme_record *records = malloc(batch * sizeof *records);
    char(*ids)[24] = malloc(batch * sizeof *ids);
    float *scratch = malloc(batch * in.dimension * sizeof *scratch);

    double started = now_ms(CLOCK_MONOTONIC) / 1e3, half = 0;
    mneme *memory = open_store(argv[1], settings);
    for (size_t first = 0; first < most; first += batch) {
        size_t n = most - first < batch ? most - first : batch;
        if (first >= most / 2 && half == 0) half = now_ms(CLOCK_MONOTONIC) / 1e3;
        fill_batch(&in, first, n, records, ids, scratch);
        if (mneme_add(memory, records, n, NULL, NULL, &error) != MNEME_OK) fail("add", error.message);
    }
    double written = now_ms(CLOCK_MONOTONIC) / 1e3;
    mneme_close(memory);

    double opening[21], adding[101];
    for (int i = 0; i < 21; i++) {
        double from = now_ms(CLOCK_MONOTONIC);
        memory = open_store(argv[1], settings);
        opening[i] = now_ms(CLOCK_MONOTONIC) - from;
        mneme_close(memory);
    }
    memory = open_store(argv[1], settings);
    mneme_stats *stats = NULL;
    if (mneme_get_stats(memory, &stats, &error) != MNEME_OK) fail("stats", error.message);
    unsigned long long bytes = stats->bytes_on_disk;
    mneme_stats_free(stats);
    for (int i = 0; i < 101; i++) {
        fill_batch(&in, most + (size_t)i, 1, records, ids, scratch);
        double from = now_ms(CLOCK_MONOTONIC);
        if (mneme_add(memory, records, 1, NULL, NULL, &error) != MNEME_OK) fail("add", error.message);
        adding[i] = now_ms(CLOCK_MONOTONIC) - from;
    }
    double asking[101];
    mneme_query_options options = MNEME_QUERY_OPTIONS_INIT;
    options.mode = MNEME_MODE_DENSE;
    options.dimension = in.dimension;
    for (int i = 0; i < 101; i++) {
        mneme_hits *hits = NULL;
        options.vector = in.vectors + (size_t)i * 7 % in.n_lines * in.dimension;
        double from = now_ms(CLOCK_MONOTONIC);
        if (mneme_query(memory, "", &options, &hits, &error) != MNEME_OK) fail("query", error.message);
        asking[i] = now_ms(CLOCK_MONOTONIC) - from;
        mneme_hits_free(hits);
    }
    mneme_close(memory);
    mneme_settings_free(settings);
    qsort(opening, 21, sizeof *opening, by_value);
    qsort(adding, 101, sizeof *adding, by_value);
    qsort(asking, 101, sizeof *asking, by_value);
    printf("{\"records\": %zu, \"write_s\": %.3f, \"second_half_s\": %.3f, \"bytes\": %llu, \"open_ms\": %.3f, "
           "\"add_p50_ms\": %.3f, \"add_p99_ms\": %.3f, \"query_p50_ms\": %.3f}\n",
           most, written - started, written - half, bytes, opening[10], adding[50], adding[99], asking[50]);
    return 0;
}
