/* A question has the same answer on one thread and on two, alone and among others, to the last bit. */
#include "test_support.h"

#include <math.h>
#include <pthread.h>

enum { DIMENSION = 24, ROWS = 9000, WORDS = 400, QUESTIONS = 25, ASKERS = 3, K = 12 };

/* A store, and what questions find on one thread. */
typedef struct world {
    char *dir;
    mneme *memory;
    mneme_hits *alone[QUESTIONS];
} world;

/* 0 .. 1, from a seed that moves on. */
static double draw(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (double)(*seed >> 11) / 9007199254740992.0;
}

static void draw_vector(uint64_t *seed, float *out)
{
    double squares = 0;
    for (size_t i = 0; i < DIMENSION; i++) {
        out[i] = (float)(draw(seed) - 0.5);
        squares += (double)out[i] * (double)out[i];
    }
    for (size_t i = 0; i < DIMENSION; i++) out[i] = (float)((double)out[i] / sqrt(squares));
}

/* Words of which few come often. */
static void draw_text(uint64_t *seed, char *out, size_t size, unsigned n)
{
    size_t at = 0;
    for (unsigned i = 0; i < n; i++) {
        double place = draw(seed);
        at += (size_t)snprintf(out + at, size - at, "%sword%u", i ? " " : "", (unsigned)(WORDS * place * place));
    }
}

static void open_with(world *w, const char *threads)
{
    mneme_settings *settings = NULL;
    assert_ok(mneme_settings_new(&settings, test_error()));
    assert_ok(mneme_settings_set(settings, "retrieval.threads", threads, "test", test_error()));
    assert_ok(mneme_settings_set(settings, "index.min_rows", "1000", "test", test_error()));
    assert_ok(mneme_settings_set(settings, "index.build", "manual", "test", test_error()));
    assert_ok(mneme_open(w->dir, settings, 0, &w->memory, test_error()));
    mneme_settings_free(settings);
}

/* Every third record is a turn of a conversation, with speaker and time. */
static void add_rows(mneme *memory)
{
    uint64_t seed = 3;
    mneme_record *records = calloc(ROWS, sizeof *records);
    char(*ids)[16] = calloc(ROWS, sizeof *ids), (*sessions)[16] = calloc(ROWS, sizeof *sessions);
    char(*texts)[200] = calloc(ROWS, sizeof *texts);
    float(*vectors)[DIMENSION] = calloc(ROWS, sizeof *vectors);
    for (size_t i = 0; i < ROWS; i++) {
        snprintf(ids[i], sizeof ids[i], "r%zu", i);
        draw_text(&seed, texts[i], sizeof texts[i], 3 + (unsigned)(draw(&seed) * 12));
        draw_vector(&seed, vectors[i]);
        records[i] = (mneme_record){.id = ids[i], .text = texts[i], .vector = vectors[i], .dimension = DIMENSION};
        if (i % 3) continue;
        snprintf(sessions[i], sizeof sessions[i], "s%zu", i / 30);
        records[i].session = sessions[i];
        records[i].speaker = i % 2 ? "word3" : "word8";
        records[i].has_time = true;
        records[i].time_ms = 1700000000000 + (int64_t)i * 3600000;
    }
    assert_ok(mneme_add(memory, records, ROWS, NULL, NULL, test_error()));
    free(vectors);
    free(texts);
    free(sessions);
    free(ids);
    free(records);
}

static mneme_hits *ask(mneme *memory, uint64_t number)
{
    static const char *const dates[] = {"", " in November 2023", " on 2024-02-03"};
    uint64_t seed = 77 + number;
    float vector[DIMENSION];
    char text[300], question[400];
    mneme_hits *hits = NULL;
    mneme_error error;
    mneme_query_options options = MNEME_QUERY_OPTIONS_INIT;
    draw_vector(&seed, vector);
    draw_text(&seed, text, sizeof text, 2 + (unsigned)(number % 9));
    snprintf(question, sizeof question, "%s%s", text, dates[number % 3]);
    options.mode = MNEME_MODE_HYBRID;
    options.k = K;
    options.vector = vector;
    options.dimension = DIMENSION;
    options.one_per_record = number % 2 == 0;
    if (number % 5 == 4) options.select.where = "speaker = \"word3\"";
    return mneme_query(memory, question, &options, &hits, &error) == MNEME_OK ? hits : NULL;
}

static bool are_equal(const mneme_hits *a, const mneme_hits *b)
{
    bool equal = a && b && a->n == b->n && a->n == K;
    for (size_t i = 0; equal && i < a->n; i++) {
        const mneme_hit *x = &a->items[i], *y = &b->items[i];
        equal = strcmp(x->id, y->id) == 0 && x->chunk == y->chunk &&
                memcmp(&x->score, &y->score, sizeof x->score) == 0 &&
                memcmp(&x->dense, &y->dense, sizeof x->dense) == 0 &&
                memcmp(&x->lexical, &y->lexical, sizeof x->lexical) == 0 &&
                memcmp(&x->attention, &y->attention, sizeof x->attention) == 0 &&
                memcmp(&x->parts, &y->parts, sizeof x->parts) == 0;
    }
    return equal;
}

/* Indexed or not; open for two threads. */
static void setup(world *w, bool indexed)
{
    *w = (world){.dir = test_make_dir()};
    open_with(w, "1");
    add_rows(w->memory);
    if (indexed) assert_ok(mneme_optimize(w->memory, NULL, test_error()));
    for (uint64_t i = 0; i < QUESTIONS; i++) w->alone[i] = ask(w->memory, i);
    mneme_close(w->memory);
    open_with(w, "2");
}

static void finish(world *w)
{
    for (size_t i = 0; i < QUESTIONS; i++) mneme_hits_free(w->alone[i]);
    mneme_close(w->memory);
    test_remove_dir(w->dir);
}

static void two_threads_answer_as_one_does(void **state)
{
    (void)state;
    for (int indexed = 0; indexed < 2; indexed++) {
        world w;
        setup(&w, indexed);
        for (uint64_t i = 0; i < QUESTIONS; i++) {
            mneme_hits *hits = ask(w.memory, i);
            if (!are_equal(hits, w.alone[i])) fail_msg("question %d has another answer on two threads", (int)i);
            mneme_hits_free(hits);
        }
        finish(&w);
    }
}

typedef struct asker {
    const world *w;
    unsigned n_wrong;
} asker;

static void *ask_all(void *argument)
{
    asker *self = argument;
    for (int round = 0; round < 3; round++)
        for (uint64_t i = 0; i < QUESTIONS; i++) {
            mneme_hits *hits = ask(self->w->memory, i);
            self->n_wrong += !are_equal(hits, self->w->alone[i]);
            mneme_hits_free(hits);
        }
    return NULL;
}

static void askers_at_the_same_time_get_the_same_answers(void **state)
{
    (void)state;
    world w;
    asker askers[ASKERS];
    pthread_t threads[ASKERS];
    setup(&w, true);
    for (size_t i = 0; i < ASKERS; i++) {
        askers[i] = (asker){.w = &w};
        assert_int_equal(pthread_create(&threads[i], NULL, ask_all, &askers[i]), 0);
    }
    for (size_t i = 0; i < ASKERS; i++) pthread_join(threads[i], NULL);
    for (size_t i = 0; i < ASKERS; i++) assert_int_equal(askers[i].n_wrong, 0);
    finish(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_threads_answer_as_one_does),
        cmocka_unit_test(askers_at_the_same_time_get_the_same_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
