/* test_encode.c -- texts to vectors through the public API: all at once, one by one, cut short, from many threads. */
#include "test_support.h"

#include <jansson.h>
#include <math.h>
#include <pthread.h>

enum { DIMENSION = 384 };

static mneme_encoder *g_encoder;

static double cosine(const float *a, const float *b, size_t n)
{
    double product = 0, of_a = 0, of_b = 0;
    for (size_t i = 0; i < n; i++) {
        product += (double)a[i] * (double)b[i];
        of_a += (double)a[i] * (double)a[i];
        of_b += (double)b[i] * (double)b[i];
    }
    return product / sqrt(of_a * of_b);
}

/* Texts of a test, and what came of them. */
typedef struct each_job {
    const char *const *texts;
    const size_t *sizes; /* NULL: NUL-terminated */
    size_t n, given;
    float *vectors;
    size_t taken;
    size_t dimension;
    size_t cancel_next, cancel_take; /* at this text; 0 = never */
    bool in_order;
} each_job;

static bool give(void *context, const char **text, size_t *size)
{
    each_job *job = context;
    if (job->cancel_next && job->given == job->cancel_next) return false;
    if (job->given == job->n) return true;
    *text = job->texts[job->given];
    *size = job->sizes ? job->sizes[job->given] : strlen(*text);
    job->given++;
    return true;
}

static bool take(void *context, uint64_t index, const float *vector)
{
    each_job *job = context;
    if (job->cancel_take && job->taken == job->cancel_take) return false;
    job->in_order = (job->taken == 0 || job->in_order) && index == job->taken;
    memcpy(job->vectors + job->taken++ * job->dimension, vector, job->dimension * sizeof *vector);
    return true;
}

static each_job job_for(const char *const *texts, const size_t *sizes, size_t n)
{
    return (each_job){.texts = texts,
                      .sizes = sizes,
                      .n = n,
                      .dimension = DIMENSION,
                      .vectors = calloc(n * DIMENSION, sizeof(float))};
}

/* n short texts of several lengths, owned. */
static char **short_texts(size_t n)
{
    static const char *const words[] = {"harbour", "of", "the", "copper", "lantern", "ships", "at", "dawn"};
    char **texts = calloc(n, sizeof *texts);
    for (size_t i = 0; i < n; i++) {
        char text[200] = "";
        for (size_t w = 0; w <= i % 5; w++) {
            strcat(text, words[(i * 7 + w * 3) % 8]);
            strcat(text, " ");
        }
        sprintf(text + strlen(text), "%zu", i);
        texts[i] = strdup(i % 97 == 13 ? "" : text);
    }
    return texts;
}

static void free_texts(char **texts, size_t n)
{
    for (size_t i = 0; i < n; i++) free(texts[i]);
    free(texts);
}

/* ---- tests ---- */

static void encode_on_golden_texts_equals_the_official_vectors(void **state)
{
    (void)state;
    char path[1200], *line = NULL;
    snprintf(path, sizeof path, "%s/tests/data/golden/minilm.jsonl", test_source_dir());
    FILE *file = fopen(path, "r");
    size_t capacity = 0, n = 0;
    double least = 1;
    while (getline(&line, &capacity, file) > 0) {
        json_t *golden = json_loads(line, JSON_ALLOW_NUL, NULL);
        const json_t *text = json_object_get(golden, "text"), *values = json_object_get(golden, "embedding");
        float official[DIMENSION], ours[DIMENSION];
        for (size_t i = 0; i < DIMENSION; i++) official[i] = (float)json_number_value(json_array_get(values, i));
        const char *start = json_string_value(text);
        size_t size = json_string_length(text);
        assert_ok(mneme_encode(g_encoder, &start, &size, 1, NULL, ours, test_error()));
        double now = cosine(ours, official, DIMENSION);
        least = now < least ? now : least;
        json_decref(golden);
        n++;
    }
    free(line);
    fclose(file);
    printf("%zu texts, least cosine %.7f\n", n, least);
    assert_true(n > 0);
    assert_true(least > 0.9999);
}

static void encode_each_over_several_batches_equals_encode(void **state)
{
    (void)state;
    enum { N = 1100 };
    char **texts = short_texts(N);
    each_job job = job_for((const char *const *)texts, NULL, N);
    float *expected = calloc(N * DIMENSION, sizeof *expected);
    assert_ok(mneme_encode(g_encoder, (const char *const *)texts, NULL, N, NULL, expected, test_error()));
    assert_ok(mneme_encode_each(g_encoder, give, take, &job, NULL, test_error()));
    assert_int_equal(job.taken, N);
    assert_true(job.in_order);
    assert_memory_equal(job.vectors, expected, N * DIMENSION * sizeof *expected);
    for (size_t i = 0; i < N; i += 277) { /* and what it gives for one text alone */
        float alone[DIMENSION];
        assert_ok(mneme_encode(g_encoder, (const char *const *)&texts[i], NULL, 1, NULL, alone, test_error()));
        assert_memory_equal(alone, expected + i * DIMENSION, sizeof alone);
    }
    free(job.vectors);
    free(expected);
    free_texts(texts, N);
}

static void encode_of_nothing_calls_nobody(void **state)
{
    (void)state;
    each_job job = job_for(NULL, NULL, 0);
    assert_ok(mneme_encode_each(g_encoder, give, take, &job, NULL, test_error()));
    assert_int_equal(job.taken, 0);
    assert_ok(mneme_encode(g_encoder, NULL, NULL, 0, NULL, NULL, test_error()));
    free(job.vectors);
}

static void encode_with_a_dimension_keeps_the_first_numbers_at_unit_length(void **state)
{
    (void)state;
    const char *const texts[] = {"a lighthouse", "the copper lantern", ""};
    float whole[3 * DIMENSION];
    assert_ok(mneme_encode(g_encoder, texts, NULL, 3, NULL, whole, test_error()));
    const uint32_t dimensions[] = {1, 7, 128, DIMENSION};
    for (size_t d = 0; d < 4; d++) {
        mneme_encode_options options = MNEME_ENCODE_OPTIONS_INIT;
        options.dimension = dimensions[d];
        float cut[3 * DIMENSION];
        assert_ok(mneme_encode(g_encoder, texts, NULL, 3, &options, cut, test_error()));
        each_job job = job_for(texts, NULL, 3);
        job.dimension = dimensions[d];
        assert_ok(mneme_encode_each(g_encoder, give, take, &job, &options, test_error()));
        assert_memory_equal(job.vectors, cut, 3 * dimensions[d] * sizeof *cut);
        free(job.vectors);
        for (size_t row = 0; row < 3; row++) {
            double squares = 0;
            for (uint32_t i = 0; i < dimensions[d]; i++) squares += pow((double)whole[row * DIMENSION + i], 2);
            for (uint32_t i = 0; i < dimensions[d]; i++) {
                double expected = (double)whole[row * DIMENSION + i] / sqrt(squares);
                assert_true(fabs((double)cut[row * dimensions[d] + i] - expected) < 1e-6);
            }
        }
    }
    mneme_encode_options options = MNEME_ENCODE_OPTIONS_INIT;
    options.dimension = DIMENSION + 1;
    mneme_error error;
    assert_int_equal(mneme_encode(g_encoder, texts, NULL, 3, &options, whole, &error), MNEME_ERR_USAGE);
    assert_non_null(strstr(error.message, "385"));
    assert_non_null(strstr(error.message, "1 to 384"));
    each_job job = job_for(texts, NULL, 3);
    assert_int_equal(mneme_encode_each(g_encoder, give, take, &job, &options, NULL), MNEME_ERR_USAGE);
    assert_int_equal(job.given, 0);
    free(job.vectors);
}

/* Long texts: what is cut away before copying must not matter. Each case is `fill` repeated up to `size`, then `end`.
 */
static void encode_each_of_long_texts_equals_encode(void **state)
{
    (void)state;
    static const struct {
        const char *fill, *end;
        size_t size;
    } cases[] = {
        {" ", " a lantern at dawn", 2000000},
        {"\xCC\x81", " a lantern at dawn", 300000}, /* accents, which the tokenizer drops */
        {"x", " a lantern at dawn", 500000},        /* one word without end: [UNK] */
        {"lantern ", "the end", 200000},
        {"donaudampfschiff", " lantern", 90},
        {"unbelievability", " ", 70000},
        {"\xE6\x97\xA5", "end", 120000},
        {"", "lantern                 ", 0},
        {"[MASK]  ", "a lantern", 65536},
        {"a-", "b", 40000},
    };
    enum { N = sizeof cases / sizeof cases[0] };
    const char *texts[N];
    size_t sizes[N];
    for (size_t i = 0; i < N; i++) {
        size_t unit = strlen(cases[i].fill), end = strlen(cases[i].end),
               filled = unit ? cases[i].size / unit * unit : 0;
        char *text = malloc(filled + end + 1);
        for (size_t at = 0; at < filled; at += unit) memcpy(text + at, cases[i].fill, unit);
        memcpy(text + filled, cases[i].end, end);
        texts[i] = text;
        sizes[i] = filled + end;
    }
    float *expected = calloc(N * DIMENSION, sizeof *expected);
    each_job job = job_for(texts, sizes, N);
    assert_ok(mneme_encode(g_encoder, texts, sizes, N, NULL, expected, test_error()));
    assert_ok(mneme_encode_each(g_encoder, give, take, &job, NULL, test_error()));
    for (size_t i = 0; i < N; i++)
        assert_memory_equal(job.vectors + i * DIMENSION, expected + i * DIMENSION, DIMENSION * sizeof *expected);
    const char *plain = "a lantern at dawn";
    float of_plain[DIMENSION];
    assert_ok(mneme_encode(g_encoder, &plain, NULL, 1, NULL, of_plain, test_error()));
    assert_memory_equal(of_plain, expected, sizeof of_plain); /* white space does not count */
    for (size_t i = 0; i < N; i++) free((char *)(uintptr_t)texts[i]);
    free(job.vectors);
    free(expected);
}

typedef struct seen_progress {
    uint64_t calls, done, total, cancel_at;
} seen_progress;

static bool see_progress(void *context, uint64_t done, uint64_t total, const char *unit)
{
    seen_progress *seen = context;
    assert_string_equal(unit, "texts");
    seen->calls++;
    if (done > seen->done) seen->done = done;
    seen->total = total;
    return !seen->cancel_at || done < seen->cancel_at;
}

static void encode_that_is_cancelled_says_so(void **state)
{
    (void)state;
    enum { N = 1500 };
    char **texts = short_texts(N);
    const char *const *all = (const char *const *)texts;
    seen_progress seen = {0};
    mneme_encode_options options = MNEME_ENCODE_OPTIONS_INIT;
    options.progress = see_progress;
    options.context = &seen;
    each_job job = job_for(all, NULL, N);
    assert_ok(mneme_encode(g_encoder, all, NULL, N, &options, job.vectors, test_error()));
    assert_int_equal(seen.done, N);
    assert_int_equal(seen.total, N);
    seen = (seen_progress){0};
    assert_ok(mneme_encode_each(g_encoder, give, take, &job, &options, test_error()));
    assert_int_equal(seen.done, N);
    assert_int_equal(seen.total, 0);

    seen = (seen_progress){.cancel_at = 1100}; /* in the second batch of mneme_encode_each */
    assert_int_equal(mneme_encode(g_encoder, all, NULL, N, &options, job.vectors, NULL), MNEME_ERR_CANCELLED);
    job.given = job.taken = 0;
    assert_int_equal(mneme_encode_each(g_encoder, give, take, &job, &options, NULL), MNEME_ERR_CANCELLED);
    assert_int_equal(job.taken, 1024);
    mneme_error error;
    job.given = job.taken = 0;
    job.cancel_next = 1030;
    assert_int_equal(mneme_encode_each(g_encoder, give, take, &job, NULL, &error), MNEME_ERR_CANCELLED);
    assert_non_null(strstr(error.message, "source"));
    assert_int_equal(job.taken, 1024);
    job.given = job.taken = job.cancel_next = 0;
    job.cancel_take = 10;
    assert_int_equal(mneme_encode_each(g_encoder, give, take, &job, NULL, &error), MNEME_ERR_CANCELLED);
    assert_int_equal(job.taken, 10);
    free(job.vectors);
    free_texts(texts, N);
}

typedef struct thread_job {
    const char *const *texts;
    size_t n;
    const float *expected;
    int number, failures;
} thread_job;

static void *encode_again_and_again(void *argument)
{
    thread_job *mine = argument;
    each_job job = job_for(mine->texts, NULL, mine->n);
    for (int round = 0; round < 6; round++) {
        size_t first = (size_t)(mine->number * 31 + round * 17) % (mine->n / 2), n = 1 + first % 20;
        if (round % 2 == 0) {
            job.given = job.taken = 0;
            if (mneme_encode_each(g_encoder, give, take, &job, NULL, NULL) != MNEME_OK) mine->failures++;
            if (memcmp(job.vectors, mine->expected, mine->n * DIMENSION * sizeof(float)) != 0) mine->failures++;
        } else {
            if (mneme_encode(g_encoder, mine->texts + first, NULL, n, NULL, job.vectors, NULL) != MNEME_OK)
                mine->failures++;
            if (memcmp(job.vectors, mine->expected + first * DIMENSION, n * DIMENSION * sizeof(float)) != 0)
                mine->failures++;
        }
    }
    free(job.vectors);
    return NULL;
}

static void encode_from_many_threads_gives_the_same_bits(void **state)
{
    (void)state;
    enum { N = 150, THREADS = 6 };
    char **texts = short_texts(N);
    float *expected = calloc(N * DIMENSION, sizeof *expected);
    assert_ok(mneme_encode(g_encoder, (const char *const *)texts, NULL, N, NULL, expected, test_error()));
    pthread_t threads[THREADS];
    thread_job jobs[THREADS];
    for (int i = 0; i < THREADS; i++) {
        jobs[i] = (thread_job){.texts = (const char *const *)texts, .n = N, .expected = expected, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, encode_again_and_again, &jobs[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(jobs[i].failures, 0);
    }
    free(expected);
    free_texts(texts, N);
}

/* And what a program hands over that was compiled before there was a prompt. */
static void encode_behind_a_prompt_equals_encode_of_both_as_one(void **state)
{
    (void)state;
    static const char *const texts[] = {"believable wings", "lift", ""}, *const joined[] = {"unbelievable wings",
                                                                                            "unlift", "un"};
    static float expected[3 * DIMENSION], got[3 * DIMENSION], plain[3 * DIMENSION];
    mneme_encode_options options = MNEME_ENCODE_OPTIONS_INIT;
    assert_ok(mneme_encode(g_encoder, texts, NULL, 3, NULL, plain, test_error()));
    assert_ok(mneme_encode(g_encoder, joined, NULL, 3, NULL, expected, test_error()));
    options.prompt = "un";
    assert_ok(mneme_encode(g_encoder, texts, NULL, 3, &options, got, test_error()));
    assert_memory_equal(got, expected, sizeof got);
    assert_memory_not_equal(got, plain, sizeof got);
    memset(got, 0, sizeof got);
    each_job job = job_for(texts, NULL, 3);
    assert_ok(mneme_encode_each(g_encoder, give, take, &job, &options, test_error()));
    assert_memory_equal(job.vectors, expected, sizeof expected);
    free(job.vectors);
    options.size = offsetof(mneme_encode_options, prompt);
    assert_ok(mneme_encode(g_encoder, texts, NULL, 3, &options, got, test_error()));
    assert_memory_equal(got, plain, sizeof got);
}

static void encode_each_out_of_memory_is_reported(void **state)
{
    (void)state;
    char *long_text = malloc(50001);
    memset(long_text, ' ', 50000);
    memcpy(long_text + 49980, "a copper lantern", 16);
    long_text[50000] = '\0';
    const char *texts[] = {"one", long_text, "three"};
    mneme_encode_options options = MNEME_ENCODE_OPTIONS_INIT;
    options.dimension = 64;
    each_job job = job_for(texts, NULL, 3);
    job.dimension = 64;
    mneme_status status = MNEME_ERR_MEMORY;
    size_t n = 1;
    for (; status != MNEME_OK && n < 200; n++) {
        job.given = job.taken = 0;
        mn_alloc_fail_after(n);
        status = mneme_encode_each(g_encoder, give, take, &job, &options, test_error());
        mn_alloc_fail_after(0);
        if (status != MNEME_OK) assert_int_equal(status, MNEME_ERR_MEMORY);
    }
    printf("%zu allocations\n", n - 2);
    assert_int_equal(status, MNEME_OK);
    assert_true(n > 5);
    free(job.vectors);
    free(long_text);
}

static int set_up(void **state)
{
    (void)state;
    mneme_settings *settings = NULL;
    if (mneme_settings_new(&settings, NULL) != MNEME_OK) return -1;
    mneme_status status = mneme_settings_set(settings, "encoder.model", test_model_dir(), "command line", NULL);
    if (status == MNEME_OK) status = mneme_encoder_open(settings, &g_encoder, test_error());
    mneme_settings_free(settings);
    if (status != MNEME_OK) printf("%s\n", test_error()->message);
    return status;
}

static int tear_down(void **state)
{
    (void)state;
    mneme_encoder_close(g_encoder);
    return 0;
}

/* A question is worked on by all threads together, many texts by each thread alone: in turn, on one encoder. */
static void encode_of_one_text_and_of_many_in_turn_gives_the_same_bits(void **state)
{
    (void)state;
    enum { N = 120, LEAST_WORDS = 30, ROUNDS = 4 };
    static char texts[N][400];
    static float alone[N][DIMENSION], together[N][DIMENSION];
    const char *all[N];
    for (size_t i = 0; i < N; i++) {
        size_t size = 0;
        for (size_t word = 0; word < LEAST_WORDS + i % 7; word++)
            size += (size_t)snprintf(texts[i] + size, sizeof texts[i] - size, "%s ",
                                     (i * 31 + word * 7) % 3 ? "river"
                                     : (i + word) % 2        ? "stone"
                                                             : "a");
        all[i] = texts[i];
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < N; i += 40)
            assert_ok(mneme_encode(g_encoder, &all[i], NULL, 1, NULL, alone[i], test_error()));
        assert_ok(mneme_encode(g_encoder, all, NULL, N, NULL, together[0], test_error()));
        for (size_t i = 0; i < N; i += 40) assert_memory_equal(alone[i], together[i], sizeof alone[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encode_on_golden_texts_equals_the_official_vectors),
        cmocka_unit_test(encode_each_over_several_batches_equals_encode),
        cmocka_unit_test(encode_of_nothing_calls_nobody),
        cmocka_unit_test(encode_with_a_dimension_keeps_the_first_numbers_at_unit_length),
        cmocka_unit_test(encode_each_of_long_texts_equals_encode),
        cmocka_unit_test(encode_that_is_cancelled_says_so),
        cmocka_unit_test(encode_from_many_threads_gives_the_same_bits),
        cmocka_unit_test(encode_of_one_text_and_of_many_in_turn_gives_the_same_bits),
        cmocka_unit_test(encode_behind_a_prompt_equals_encode_of_both_as_one),
        cmocka_unit_test(encode_each_out_of_memory_is_reported),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
