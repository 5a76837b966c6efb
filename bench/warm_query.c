/* warm_query.c -- how long one short question takes to encode, in a process that has done it before.
 *
 *     warm_query RUNS THREADS QUESTION [NAME=VALUE...]     settings of mneme, such as encoder.precision=int8
 *
 * Prints {"tokens","runs","p50_ms","p99_ms","least_ms","cpu_ms"}; cpu_ms is the mean of processor time, which other
 * processes disturb less than wall time. bench/warm-query builds and runs it. */
#include "timing.h"

#include <mneme.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failed(const mneme_error *error)
{
    fprintf(stderr, "warm_query: %s\n", error->message);
    return 1;
}

/* The settings of the command line; *out is owned (mneme_settings_free) also after a failure. */
static mneme_status read_settings(char **pairs, int n, const char *threads, mneme_settings **out, mneme_error *error)
{
    mneme_status status = mneme_settings_new(out, error);
    if (status == MNEME_OK) status = mneme_settings_load_environment(*out, error); /* where the model is */
    if (status == MNEME_OK) status = mneme_settings_set(*out, "encoder.threads", threads, "command line", error);
    for (int i = 0; i < n && status == MNEME_OK; i++) {
        char *equals = strchr(pairs[i], '=');
        if (!equals) continue;
        *equals = '\0';
        status = mneme_settings_set(*out, pairs[i], equals + 1, "command line", error);
    }
    return status;
}

/* took: room for `runs` ms; *cpu: their mean of processor time. The first tenth more warms up and is not kept. */
static mneme_status measure(const mneme_encoder *encoder, const char *question, size_t runs, double *took, double *cpu,
                            mneme_error *error)
{
    float *vector = malloc(mneme_encoder_get_info(encoder).dimension * sizeof *vector);
    size_t warm_up = runs / 10 + 10;
    mneme_encode_options options = MNEME_ENCODE_OPTIONS_INIT;
    options.kind = MNEME_TEXT_QUERY;
    mneme_status status = vector ? MNEME_OK : MNEME_ERR_MEMORY;
    for (size_t i = 0; i < warm_up + runs && status == MNEME_OK; i++) {
        if (i == warm_up) *cpu = now_ms(CLOCK_PROCESS_CPUTIME_ID);
        double started = now_ms(CLOCK_MONOTONIC);
        status = mneme_encode(encoder, &question, NULL, 1, &options, vector, error);
        if (i >= warm_up) took[i - warm_up] = now_ms(CLOCK_MONOTONIC) - started;
    }
    *cpu = (now_ms(CLOCK_PROCESS_CPUTIME_ID) - *cpu) / (double)runs;
    free(vector);
    return status;
}

int main(int argc, char **argv)
{
    if (argc < 4 || atol(argv[1]) < 1)
        return fprintf(stderr, "usage: warm_query RUNS THREADS QUESTION [NAME=VALUE...]\n"), 2;
    size_t runs = (size_t)atol(argv[1]);
    mneme_settings *settings = NULL;
    mneme_encoder *encoder = NULL;
    mneme_error error = {MNEME_OK, ""};
    uint64_t tokens = 0;
    double cpu = 0;
    double *took = calloc(runs, sizeof *took);
    mneme_status status = took ? read_settings(argv + 4, argc - 4, argv[2], &settings, &error) : MNEME_ERR_MEMORY;
    if (status == MNEME_OK) status = mneme_encoder_open(settings, &encoder, &error);
    if (status == MNEME_OK) status = mneme_count_tokens(encoder, argv[3], strlen(argv[3]), &tokens, &error);
    if (status == MNEME_OK) status = measure(encoder, argv[3], runs, took, &cpu, &error);
    if (status == MNEME_OK) {
        qsort(took, runs, sizeof *took, by_value);
        printf("{\"tokens\":%llu,\"runs\":%zu,\"p50_ms\":%.4f,\"p99_ms\":%.4f,\"least_ms\":%.4f,\"cpu_ms\":%.4f}\n",
               (unsigned long long)tokens + 2, runs, took[runs / 2], took[(runs * 99 + 99) / 100 - 1], took[0], cpu);
    }
    mneme_encoder_close(encoder);
    mneme_settings_free(settings);
    free(took);
    return status == MNEME_OK ? 0 : failed(&error);
}
