/* test_reindex.c -- a store that is brought to another encoder equals one that was made with it; meanwhile it answers,
 * takes writes, and other handles follow. */
#include "memory/reindex_support.h"

#include <pthread.h>
#include <stdatomic.h>

/* ---- equal to a store made with the new encoder ---- */

static void reindex_gives_what_a_store_made_with_the_new_encoder_has(void **state)
{
    (void)state;
    static const char *const models[] = {"wide", "narrow", "table"};
    for (size_t i = 0; i < 3; i++) rx_make(models[i], models[i], NULL);
    for (size_t from = 0; from < 3; from++)
        for (size_t to = 0; to < 3; to++) {
            if (from == to) continue;
            char name[40], command[2600];
            snprintf(name, sizeof name, "from-%zu-to-%zu", from, to);
            snprintf(command, sizeof command, "cp -r %s %s", path_of(models[from]), path_of(name));
            assert_int_equal(system(command), 0);
            mneme *memory = rx_open(name, NULL);
            mneme_reindex_result result;
            assert_ok(rx_reindex(memory, models[to], &result));
            assert_true(result.changed);
            assert_string_equal(result.before, models[from]);
            assert_string_equal(result.encoder, models[to]);
            assert_int_equal(result.encoded + result.ready, result.chunks);
            mneme_stats *stats = NULL;
            assert_ok(mneme_get_stats(memory, &stats, test_error()));
            assert_string_equal(stats->encoder, models[to]);
            assert_int_equal(stats->chunks, result.chunks + RX_GIVEN);
            assert_int_equal(stats->records, result.records + RX_GIVEN);
            mneme_stats_free(stats);
            char *answers = rx_ask(memory); /* the same handle asks with the new encoder */
            mneme_close(memory);
            rx_assert_equal(name, NULL, models[to], models[to]);
            memory = rx_open(models[to], models[to]);
            char *expected = rx_ask(memory);
            rx_assert_same(answers, expected);
            mneme_close(memory);
            free(answers);
            free(expected);
        }
}

static void reindex_leaves_no_file_behind(void **state)
{
    (void)state;
    rx_make("clean", "wide", NULL);
    mneme *memory = rx_open("clean", NULL);
    assert_ok(rx_reindex(memory, "table", NULL));
    mneme_close(memory);
    assert_int_not_equal(access(path_of("clean/reindex.vectors"), F_OK), 0);
    assert_int_not_equal(access(path_of("clean/data.mdb.new"), F_OK), 0);
    assert_int_not_equal(access(path_of("clean/data.mdb.compact"), F_OK), 0);
}

static void unchanged_content_stays_unchanged_after_reindex(void **state)
{
    (void)state;
    rx_make("again", "wide", NULL);
    mneme *memory = rx_open("again", NULL);
    assert_ok(rx_reindex(memory, "narrow", NULL));
    mneme_stats *before = NULL, *after = NULL;
    assert_ok(mneme_get_stats(memory, &before, test_error()));
    rx_add(memory, 0, 0);
    rx_add(memory, 3, 1);
    assert_ok(mneme_get_stats(memory, &after, test_error()));
    assert_int_equal(before->generation, after->generation);
    mneme_stats_free(before);
    mneme_stats_free(after);
    mneme_close(memory);
}

/* ---- when there is little to do, or it cannot be done ---- */

static void reindex_with_the_encoder_of_the_store_changes_nothing(void **state)
{
    (void)state;
    rx_make("same", "wide", NULL);
    char *before = rx_dump("same");
    mneme *memory = rx_open("same", NULL);
    mneme_reindex_result result;
    assert_ok(rx_reindex(memory, "wide", &result));
    assert_false(result.changed);
    assert_string_equal(result.before, "wide");
    mneme_close(memory);
    char *after = rx_dump("same");
    rx_assert_same(before, after);
    free(before);
    free(after);
}

static void reindex_of_a_store_without_encoded_vectors_changes_nothing(void **state)
{
    (void)state;
    mneme *memory = rx_open("plain", "wide");
    rx_add_given(memory);
    mneme_reindex_result result;
    assert_ok(rx_reindex(memory, "narrow", &result));
    assert_false(result.changed);
    assert_string_equal(result.before, "");
    mneme_close(memory);
}

static void dry_run_counts_and_changes_nothing(void **state)
{
    (void)state;
    rx_make("dry", "wide", NULL);
    rx_make("dry-fresh", "narrow", NULL);
    char *before = rx_dump("dry");
    mneme *memory = rx_open("dry-fresh", "narrow");
    mneme_stats *stats = NULL;
    assert_ok(mneme_get_stats(memory, &stats, test_error()));
    uint64_t chunks = stats->chunks - RX_GIVEN;
    mneme_stats_free(stats);
    mneme_close(memory);
    memory = rx_open("dry", NULL);
    mneme_reindex_options options = MNEME_REINDEX_OPTIONS_INIT;
    mneme_reindex_result result;
    options.encoder = "narrow";
    options.dry_run = true;
    assert_ok(mneme_reindex(memory, &options, &result, test_error()));
    assert_false(result.changed);
    assert_int_equal(result.chunks, chunks);
    assert_int_equal(result.encoded, chunks);
    mneme_close(memory);
    char *after = rx_dump("dry");
    rx_assert_same(before, after);
    assert_int_not_equal(access(path_of("dry/reindex.vectors"), F_OK), 0);
    free(before);
    free(after);
}

static void reindex_that_cannot_be_done_says_why(void **state)
{
    (void)state;
    rx_make("refused", "wide", NULL);
    mneme *memory = rx_open("refused", NULL);
    assert_int_equal(rx_reindex(memory, NULL, NULL), MNEME_ERR_USAGE); /* the default is nobody's choice */
    assert_int_equal(rx_reindex(memory, "no-such-model", NULL), MNEME_ERR_MODEL);
    assert_non_null(strstr(test_error()->message, "no-such-model"));
    mneme_close(memory);
    mneme_settings *settings = rx_settings(NULL);
    assert_ok(mneme_open(path_of("refused"), settings, MNEME_OPEN_READ_ONLY, &memory, test_error()));
    mneme_settings_free(settings);
    assert_int_equal(rx_reindex(memory, "narrow", NULL), MNEME_ERR_READ_ONLY);
    mneme_close(memory);
}

static void own_vector(mneme *memory, unsigned dimension, const char *name_space)
{
    float vector[64] = {0.6f, 0.8f};
    const mneme_record record = {
        .id = "own", .name_space = name_space, .text = "its own", .vector = vector, .dimension = dimension};
    assert_ok(mneme_add(memory, &record, 1, NULL, NULL, test_error()));
}

typedef struct kept_list {
    char lines[200];
} kept_list;

static void note_kept(void *context, const char *name_space, uint64_t n)
{
    kept_list *list = context;
    size_t size = strlen(list->lines);
    snprintf(list->lines + size, sizeof list->lines - size, "%s:%llu ", name_space, (unsigned long long)n);
}

static void own_vectors_beside_encoded_ones_are_kept_or_named(void **state)
{
    (void)state;
    mneme *memory = rx_open("mixed", "wide");
    rx_fill(memory);
    own_vector(memory, 48, "notes");
    char *before = rx_ask(memory);
    mneme_reindex_result result;
    assert_int_equal(rx_reindex(memory, "narrow", &result), MNEME_ERR_DIMENSION);
    assert_non_null(strstr(test_error()->message, "\"notes\" has 1 records"));
    assert_false(result.changed);
    char *after = rx_ask(memory);
    rx_assert_same(before, after);
    mneme_close(memory);
    free(before);
    free(after);

    memory = rx_open("mixed-same", "narrow"); /* two models of one dimension: wide under another pooling */
    rx_fill(memory);
    own_vector(memory, 64, "notes");
    char command[4000];
    snprintf(command, sizeof command,
             "cp -r %s %s && echo '{\"pooling_mode_mean_tokens\": true}' > %s/1_Pooling/config.json",
             path_of("models/narrow"), path_of("models/narrow-mean"), path_of("models/narrow-mean"));
    assert_int_equal(system(command), 0);
    mneme_reindex_options options = MNEME_REINDEX_OPTIONS_INIT;
    kept_list kept = {""};
    options.encoder = "narrow-mean";
    options.kept = note_kept;
    options.context = &kept;
    assert_ok(mneme_reindex(memory, &options, &result, test_error()));
    assert_string_equal(kept.lines, "given:6 notes:1 ");
    mneme_close(memory);
    memory = rx_open("mixed-fresh", "narrow-mean");
    rx_fill(memory);
    own_vector(memory, 64, "notes");
    mneme_close(memory);
    rx_assert_equal("mixed-same", NULL, "mixed-fresh", "narrow-mean");
}

/* ---- what happens meanwhile ---- */

typedef struct meanwhile {
    mneme *memory;
    bool done, answered;
    char *expected; /* answers before */
} meanwhile;

/* More records, others, fewer; a namespace that was not there before. */
static void change(mneme *memory)
{
    rx_add(memory, 200, 0);
    rx_add(memory, 1, 5);
    rx_forget(memory, 2);
    assert_ok(rx_note(memory, "late", "Once upon a time there was a miller."));
    const mneme_record record = {.id = "fresh", .name_space = "newer", .text = "A namespace that is new."};
    assert_ok(mneme_add(memory, &record, 1, NULL, NULL, test_error()));
}

static bool change_meanwhile(void *context, uint64_t done, uint64_t total, const char *unit)
{
    meanwhile *m = context;
    (void)done, (void)total;
    if (strcmp(unit, "chunks") == 0 && !m->done) {
        char *answers = rx_ask(m->memory); /* with the old encoder */
        rx_assert_same(answers, m->expected);
        free(answers);
        change(m->memory);
        m->done = true;
    }
    if (strcmp(unit, "records") == 0 && !m->answered) { /* while the new file is written */
        char *answers = rx_ask(m->memory);
        assert_true(strlen(answers) > 0);
        free(answers);
        m->answered = true;
    }
    return true;
}

static void store_answers_and_takes_changes_meanwhile(void **state)
{
    (void)state;
    rx_make("meanwhile", "wide", NULL);
    rx_make("meanwhile-fresh", "narrow", change);
    meanwhile m = {.memory = rx_open("meanwhile", NULL)};
    mneme_reindex_options options = MNEME_REINDEX_OPTIONS_INIT;
    m.expected = rx_ask(m.memory);
    options.encoder = "narrow";
    options.progress = change_meanwhile;
    options.context = &m;
    assert_ok(mneme_reindex(m.memory, &options, NULL, test_error()));
    assert_true(m.done && m.answered);
    free(m.expected);
    mneme_close(m.memory);
    rx_assert_equal("meanwhile", NULL, "meanwhile-fresh", "narrow");
}

typedef struct late_writer {
    mneme *memory;
    pthread_t thread;
    bool started;
    mneme_status status;
} late_writer;

static void *write_late(void *context)
{
    late_writer *w = context;
    mneme_error error;
    const mneme_record record = {.id = "late", .text = "The King came to the miller."};
    w->status = mneme_add(w->memory, &record, 1, NULL, NULL, &error);
    if (w->status != MNEME_OK) printf("%s\n", error.message);
    return NULL;
}

static bool start_writer(void *context, uint64_t done, uint64_t total, const char *unit)
{
    late_writer *w = context;
    (void)done, (void)total;
    if (strcmp(unit, "records") == 0 && !w->started) w->started = pthread_create(&w->thread, NULL, write_late, w) == 0;
    if (w->started) usleep(20000); /* it has encoded with the old encoder by now, most likely, and waits to write */
    return true;
}

static void write_more(mneme *memory)
{
    assert_ok(rx_note(memory, "late", "The King came to the miller."));
}

static void writer_that_waits_for_the_new_file_stores_with_the_new_encoder(void **state)
{
    (void)state;
    rx_make("late", "wide", NULL);
    rx_make("late-fresh", "table", write_more);
    late_writer w = {.memory = rx_open("late", NULL), .status = MNEME_ERR_INTERNAL};
    mneme_reindex_options options = MNEME_REINDEX_OPTIONS_INIT;
    options.encoder = "table";
    options.progress = start_writer;
    options.context = &w;
    assert_ok(mneme_reindex(w.memory, &options, NULL, test_error()));
    assert_true(w.started);
    pthread_join(w.thread, NULL);
    assert_int_equal(w.status, MNEME_OK);
    mneme_close(w.memory);
    rx_assert_equal("late", NULL, "late-fresh", "table");
}

/* ---- threads that ask and add all the time ---- */

typedef struct hammer {
    mneme *memory;
    atomic_bool stop;
    atomic_uint n_answers, n_added, n_failures;
} hammer;

static void *ask_on(void *context)
{
    hammer *h = context;
    while (!atomic_load(&h->stop)) {
        mneme_hits *hits = NULL;
        mneme_error error;
        mneme_query_options options = MNEME_QUERY_OPTIONS_INIT;
        options.mode = MNEME_MODE_DENSE;
        options.leave_strength = true;
        if (mneme_query(h->memory, "who can spin straw into gold", &options, &hits, &error) != MNEME_OK ||
            hits->n < 5) {
            printf("query: %s\n", hits ? "no hits" : error.message);
            atomic_fetch_add(&h->n_failures, 1);
        }
        mneme_hits_free(hits);
        atomic_fetch_add(&h->n_answers, 1);
    }
    return NULL;
}

static void *add_on(void *context)
{
    hammer *h = context;
    for (unsigned i = 0; !atomic_load(&h->stop); i++) {
        char id[32];
        mneme_error error;
        snprintf(id, sizeof id, "hammer%u", i);
        const mneme_record record = {.id = id, .text = "A miller had a daughter.", .title = id};
        if (mneme_add(h->memory, &record, 1, NULL, NULL, &error) == MNEME_OK) {
            atomic_fetch_add(&h->n_added, 1);
            usleep(2000);
            continue;
        }
        printf("add: %s\n", error.message);
        atomic_fetch_add(&h->n_failures, 1);
    }
    return NULL;
}

static void threads_that_ask_and_add_meanwhile_never_fail(void **state)
{
    (void)state;
    rx_make("hammer", "wide", NULL);
    hammer h = {.memory = rx_open("hammer", NULL)};
    pthread_t threads[3];
    mneme_stats *before = NULL, *after = NULL;
    assert_ok(mneme_get_stats(h.memory, &before, test_error()));
    assert_int_equal(pthread_create(&threads[0], NULL, ask_on, &h), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, ask_on, &h), 0);
    assert_int_equal(pthread_create(&threads[2], NULL, add_on, &h), 0);
    static const char *const models[] = {"narrow", "table", "wide", "narrow"};
    for (size_t i = 0; i < 4; i++) assert_ok(rx_reindex(h.memory, models[i], NULL));
    atomic_store(&h.stop, true);
    for (size_t i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    printf("%u answers, %u added\n", h.n_answers, h.n_added);
    assert_int_equal(h.n_failures, 0);
    assert_true(h.n_answers > 0 && h.n_added > 0);
    assert_ok(mneme_get_stats(h.memory, &after, test_error()));
    assert_int_equal(after->records, before->records + h.n_added);
    mneme_stats_free(before);
    mneme_stats_free(after);
    rx_assert_sound(h.memory);
    mneme_close(h.memory);
}

static bool run_another(void *context, uint64_t done, uint64_t total, const char *unit)
{
    (void)done, (void)total, (void)unit;
    mneme_reindex_options options = MNEME_REINDEX_OPTIONS_INIT;
    mneme_error error;
    options.encoder = "table";
    assert_int_equal(mneme_reindex(context, &options, NULL, &error), MNEME_ERR_BUSY);
    return true;
}

static void second_reindex_at_once_is_refused(void **state)
{
    (void)state;
    rx_make("busy", "wide", NULL);
    mneme *memory = rx_open("busy", NULL);
    mneme_reindex_options options = MNEME_REINDEX_OPTIONS_INIT;
    options.encoder = "table";
    options.progress = run_another;
    options.context = memory;
    assert_ok(mneme_reindex(memory, &options, NULL, test_error()));
    mneme_close(memory);
}

/* ---- another process that has the store open ---- */

typedef struct other_process {
    pid_t pid;
    int to, from;
} other_process;

/* Asks once, waits for a byte, asks again and adds; sends a byte after each, 'y' when all went as it should. */
static void be_other(const char *name, const char *model, int in, int out)
{
    mneme_hits *hits = NULL;
    mneme_error error;
    mneme_query_options options = MNEME_QUERY_OPTIONS_INIT;
    options.leave_strength = true;
    mneme *memory = rx_open(name, model);
    bool asked = mneme_query(memory, "the King", &options, &hits, &error) == MNEME_OK && hits->n > 0;
    mneme_hits_free(hits);
    char byte = asked ? 'y' : 'n';
    if (write(out, &byte, 1) != 1 || read(in, &byte, 1) != 1) _exit(1);
    mneme_status query = mneme_query(memory, "the King", &options, &hits, &error);
    mneme_hits_free(hits);
    mneme_status add = rx_note(memory, model ? "bound" : "from outside", "The King came to the miller.");
    if (model)
        byte = query == MNEME_ERR_ENCODER && add == MNEME_ERR_ENCODER && strstr(error.message, "encoder.model") ? 'y'
                                                                                                                : 'n';
    else
        byte = query == MNEME_OK && add == MNEME_OK ? 'y' : 'n';
    mneme_close(memory);
    _exit(write(out, &byte, 1) == 1 ? 0 : 1);
}

static other_process start_other(const char *name, const char *model)
{
    int to[2], from[2];
    assert_int_equal(pipe(to), 0);
    assert_int_equal(pipe(from), 0);
    other_process other = {.pid = fork(), .to = to[1], .from = from[0]};
    if (other.pid == 0) be_other(name, model, to[0], from[1]);
    close(to[0]);
    close(from[1]);
    return other;
}

static void assert_says_yes(const other_process *other)
{
    char byte = 'n';
    assert_int_equal(read(other->from, &byte, 1), 1);
    assert_int_equal(byte, 'y');
}

static void write_outside(mneme *memory)
{
    assert_ok(rx_note(memory, "from outside", "The King came to the miller."));
}

static void open_handles_follow_unless_their_settings_say_otherwise(void **state)
{
    (void)state;
    rx_make("follow", "wide", NULL);
    rx_make("follow-fresh", "narrow", write_outside);
    other_process free_one = start_other("follow", NULL), bound = start_other("follow", "wide");
    assert_says_yes(&free_one);
    assert_says_yes(&bound);
    mneme *memory = rx_open("follow", NULL);
    assert_ok(rx_reindex(memory, "narrow", NULL));
    mneme_close(memory);
    const other_process *all[] = {&free_one, &bound};
    for (size_t i = 0; i < 2; i++) {
        int status = 1;
        assert_int_equal(write(all[i]->to, "x", 1), 1);
        assert_says_yes(all[i]);
        assert_int_equal(waitpid(all[i]->pid, &status, 0), all[i]->pid);
        assert_int_equal(status, 0);
        close(all[i]->to);
        close(all[i]->from);
    }
    rx_assert_equal("follow", NULL, "follow-fresh", "narrow");
}

static void store_names_the_encoder_that_is_used_when_none_is_set(void **state)
{
    (void)state;
    rx_make("named", "table", NULL);
    mneme *memory = rx_open("named", NULL); /* the default, all-MiniLM-L6-v2, is not in encoder.path here */
    const mneme_encoder *encoder = NULL;
    assert_ok(mneme_get_encoder(memory, &encoder, test_error()));
    assert_string_equal(mneme_encoder_get_info(encoder).name, "table");
    mneme_close(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reindex_gives_what_a_store_made_with_the_new_encoder_has),
        cmocka_unit_test(reindex_leaves_no_file_behind),
        cmocka_unit_test(unchanged_content_stays_unchanged_after_reindex),
        cmocka_unit_test(reindex_with_the_encoder_of_the_store_changes_nothing),
        cmocka_unit_test(reindex_of_a_store_without_encoded_vectors_changes_nothing),
        cmocka_unit_test(dry_run_counts_and_changes_nothing),
        cmocka_unit_test(reindex_that_cannot_be_done_says_why),
        cmocka_unit_test(own_vectors_beside_encoded_ones_are_kept_or_named),
        cmocka_unit_test(store_answers_and_takes_changes_meanwhile),
        cmocka_unit_test(writer_that_waits_for_the_new_file_stores_with_the_new_encoder),
        cmocka_unit_test(threads_that_ask_and_add_meanwhile_never_fail),
        cmocka_unit_test(second_reindex_at_once_is_refused),
        cmocka_unit_test(open_handles_follow_unless_their_settings_say_otherwise),
        cmocka_unit_test(store_names_the_encoder_that_is_used_when_none_is_set),
    };
    return cmocka_run_group_tests(tests, rx_set_up, rx_tear_down);
}
