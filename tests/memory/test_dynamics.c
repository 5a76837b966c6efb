/* test_dynamics.c -- use, pins, ends and ranking by strength through the library, with a clock that the test sets.
 * Vectors are the records' own, so that no model is needed. */
#include "test_support.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define DAY INT64_C(86400000)
static const int64_t start = INT64_C(1700000000000);
static int64_t g_now;
static char *g_dir;
static mneme_settings *g_settings;

static int64_t test_clock(void *context)
{
    (void)context;
    return g_now;
}

static const char *path_of(const char *name)
{
    static char path[1200];
    snprintf(path, sizeof path, "%s/%s", g_dir, name);
    return path;
}

static void set(const char *name, const char *value)
{
    assert_ok(mneme_settings_set(g_settings, name, value, NULL, test_error()));
}

/* What a test may change. */
static int reset(void **state)
{
    (void)state;
    g_now = start;
    mneme_settings_free(g_settings);
    if (mneme_settings_new(&g_settings, NULL) != MNEME_OK) return 1;
    set("memory.importance", "fixed");
    set("memory.half_life_days", "100");
    set("memory.flush_seconds", "3600"); /* only when asked: nothing depends on time that passes */
    set("retrieval.neighbour_share", "0");
    set("store.vectors", "f32");
    return 0;
}

static mneme *open_with(const char *name, unsigned flags)
{
    mneme *memory = NULL;
    assert_ok(mneme_open(path_of(name), g_settings, flags, &memory, test_error()));
    mneme_set_clock(memory, test_clock, NULL);
    return memory;
}

/* A record whose vector is at `degrees`. */
static mneme_record make(const char *id, const char *text, double degrees)
{
    static float vectors[64][2];
    static size_t next;
    float *vector = vectors[next++ % 64];
    vector[0] = (float)cos(degrees * 3.14159265358979 / 180);
    vector[1] = (float)sin(degrees * 3.14159265358979 / 180);
    return (mneme_record){.id = id, .text = text, .vector = vector, .dimension = 2};
}

static mneme_add_result add(mneme *memory, mneme_record record)
{
    mneme_add_result result;
    assert_ok(mneme_add(memory, &record, 1, NULL, &result, test_error()));
    return result;
}

/* Ask for what lies at 0 degrees. */
static mneme_hits *ask(mneme *memory, uint32_t k, bool leave_strength)
{
    static const float east[2] = {1, 0};
    mneme_query_options options = MNEME_QUERY_OPTIONS_INIT;
    mneme_hits *hits = NULL;
    options.k = k;
    options.mode = MNEME_MODE_DENSE;
    options.vector = east;
    options.dimension = 2;
    options.leave_strength = leave_strength;
    assert_ok(mneme_query(memory, "", &options, &hits, test_error()));
    return hits;
}

static void use(mneme *memory, uint32_t k)
{
    mneme_hits_free(ask(memory, k, false));
    assert_ok(mneme_flush(memory, test_error()));
}

static mneme_strength strength_of(mneme *memory, const char *id)
{
    mneme_record_list *list = NULL;
    assert_ok(mneme_get(memory, NULL, id, &list, test_error()));
    mneme_strength strength = list->strengths[0];
    mneme_record_list_free(list);
    return strength;
}

static bool is_there(mneme *memory, const char *id)
{
    mneme_record_list *list = NULL;
    mneme_status status = mneme_get(memory, NULL, id, &list, test_error());
    mneme_record_list_free(list);
    if (status != MNEME_ERR_NOT_FOUND) assert_ok(status);
    return status == MNEME_OK;
}

static size_t n_listed(mneme *memory, bool include_expired)
{
    mneme_list_options options = MNEME_LIST_OPTIONS_INIT;
    mneme_record_list *list = NULL;
    options.select.include_expired = include_expired;
    assert_ok(mneme_list(memory, &options, &list, test_error()));
    size_t n = list->n;
    mneme_record_list_free(list);
    return n;
}

static void assert_near(float value, double expected)
{
    if (!(fabs((double)value - expected) < 1e-5)) fail_msg("%.7f is not %.7f", (double)value, expected);
}

static void assert_sound(mneme *memory)
{
    mneme_check_report report;
    assert_ok(mneme_check(memory, NULL, NULL, NULL, &report, test_error()));
    assert_int_equal(report.problems, 0);
}

static off_t size_and_time(const char *name, struct timespec *changed)
{
    char path[1300];
    struct stat info;
    snprintf(path, sizeof path, "%s/data.mdb", path_of(name));
    assert_int_equal(stat(path, &info), 0);
    *changed = info.st_mtim;
    return info.st_size;
}

/* ---- use ----------------------------------------------------------------------------------------------------------
 */

static void query_strengthens_what_it_finds(void **state)
{
    (void)state;
    mneme *memory = open_with("use", 0);
    add(memory, make("a", "one", 0));
    assert_near(strength_of(memory, "a").strength, 0.5);
    use(memory, 1); /* all attention, no gap */
    mneme_strength strength = strength_of(memory, "a");
    assert_near(strength.strength, 0.75);
    assert_near(strength.half_life_days, 100);
    assert_int_equal(strength.uses, 1);
    assert_true(strength.has_last_use && strength.last_use_ms == start);
    g_now += 50 * DAY;
    assert_near(strength_of(memory, "a").strength, 0.5303301); /* 0.75 * 2^-0.5 */
    use(memory, 1);
    strength = strength_of(memory, "a");
    assert_near(strength.strength, 0.7651650);
    assert_near(strength.half_life_days, 250);
    assert_int_equal(strength.uses, 2);
    assert_sound(memory);
    mneme_close(memory);
}

static void query_strengthens_in_proportion_to_attention(void **state)
{
    (void)state;
    mneme *memory = open_with("attention", 0);
    add(memory, make("a", "one", 0));
    add(memory, make("b", "two", 30));
    mneme_hits *hits = ask(memory, 2, false);
    assert_ok(mneme_flush(memory, test_error()));
    assert_int_equal(hits->n, 2);
    assert_true(hits->items[0].attention > hits->items[1].attention);
    for (size_t i = 0; i < 2; i++) {
        assert_near(hits->items[i].strength, 0.5); /* as it was when it answered */
        assert_near(strength_of(memory, hits->items[i].id).strength,
                    0.5 + 0.5 * (double)hits->items[i].attention * 0.5);
        assert_int_equal(strength_of(memory, hits->items[i].id).uses, 1);
    }
    mneme_hits_free(hits);
    mneme_hits_free(ask(memory, 2, true)); /* asked not to count */
    assert_ok(mneme_flush(memory, test_error()));
    assert_int_equal(strength_of(memory, "a").uses, 1);
    mneme_close(memory);
}

static void use_changes_neither_answers_nor_generation(void **state)
{
    (void)state;
    mneme *memory = open_with("same", 0);
    add(memory, make("a", "one", 10));
    add(memory, make("b", "two", 20));
    mneme_hits *before = ask(memory, 2, false);
    for (int i = 0; i < 5; i++) use(memory, 2);
    mneme_hits *after = ask(memory, 2, false);
    assert_int_equal(before->generation, after->generation);
    for (size_t i = 0; i < 2; i++) {
        assert_string_equal(before->items[i].id, after->items[i].id);
        assert_true(before->items[i].score == after->items[i].score);
    }
    mneme_hits_free(before);
    mneme_hits_free(after);
    mneme_close(memory);
}

static void uses_are_written_by_the_memorys_own_thread(void **state)
{
    (void)state;
    set("memory.flush_seconds", "0");
    mneme *memory = open_with("thread", 0);
    add(memory, make("a", "one", 0));
    mneme_hits_free(ask(memory, 1, false));
    for (int i = 0; i < 3000 && strength_of(memory, "a").uses == 0; i++) usleep(10000);
    assert_int_equal(strength_of(memory, "a").uses, 1);
    mneme_close(memory);
}

static void *ask_often(void *memory)
{
    for (int i = 0; i < 150; i++) mneme_hits_free(ask(memory, 1, false));
    return NULL;
}

static void uses_from_many_threads_are_all_counted(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    set("memory.flush_seconds", "0");
    mneme *memory = open_with("threads", 0);
    add(memory, make("a", "one", 0));
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, ask_often, memory), 0);
    for (size_t i = 0; i < 5; i++) assert_ok(mneme_flush(memory, test_error()));
    for (size_t i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    assert_ok(mneme_flush(memory, test_error()));
    assert_int_equal(strength_of(memory, "a").uses, THREADS * 150);
    assert_sound(memory);
    mneme_close(memory);
}

static void close_writes_the_uses_that_wait(void **state)
{
    (void)state;
    mneme *memory = open_with("close", 0);
    add(memory, make("a", "one", 0));
    for (int i = 0; i < 3; i++) mneme_hits_free(ask(memory, 1, false));
    assert_int_equal(strength_of(memory, "a").uses, 0);
    mneme_close(memory);
    memory = open_with("close", MNEME_OPEN_READ_ONLY);
    assert_int_equal(strength_of(memory, "a").uses, 3);
    mneme_close(memory);
}

static void kill_loses_the_uses_that_wait_and_nothing_else(void **state)
{
    (void)state;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        mneme *memory = NULL;
        if (mneme_open(path_of("killed"), g_settings, 0, &memory, NULL) != MNEME_OK) _exit(1);
        mneme_set_clock(memory, test_clock, NULL);
        mneme_record record = make("a", "one", 0);
        if (mneme_add(memory, &record, 1, NULL, NULL, NULL) != MNEME_OK) _exit(1);
        use(memory, 1);                         /* written */
        mneme_hits_free(ask(memory, 1, false)); /* not yet */
        kill(getpid(), SIGKILL);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    mneme *memory = open_with("killed", 0);
    assert_int_equal(strength_of(memory, "a").uses, 1);
    assert_sound(memory);
    mneme_close(memory);
}

static void memory_open_for_reading_writes_nothing(void **state)
{
    (void)state;
    struct timespec before, after;
    mneme *memory = open_with("reader", 0);
    add(memory, make("a", "one", 0));
    mneme_close(memory);
    off_t size = size_and_time("reader", &before);
    set("memory.strengthen", "on");
    set("memory.flush_seconds", "0");
    memory = open_with("reader", MNEME_OPEN_READ_ONLY);
    use(memory, 1);
    const char *id = "a";
    assert_int_equal(mneme_reinforce(memory, NULL, &id, 1, 1, NULL), MNEME_ERR_READ_ONLY);
    mneme_close(memory);
    assert_true(size_and_time("reader", &after) == size);
    assert_true(before.tv_sec == after.tv_sec && before.tv_nsec == after.tv_nsec);
    set("memory.strengthen", "off");
    memory = open_with("reader", 0);
    use(memory, 1);
    assert_int_equal(strength_of(memory, "a").uses, 0);
    mneme_close(memory);
}

/* ---- reinforce, pin, what a record says of itself
 * ---------------------------------------------------------------------- */

static void reinforce_counts_as_use_of_all_or_none(void **state)
{
    (void)state;
    mneme *memory = open_with("reinforce", 0);
    add(memory, make("a", "one", 0));
    add(memory, make("b", "two", 10));
    const char *ids[] = {"a", "b"}, *wrong[] = {"a", "none"};
    assert_int_equal(mneme_reinforce(memory, NULL, wrong, 2, 1, test_error()), MNEME_ERR_NOT_FOUND);
    assert_non_null(strstr(test_error()->message, "none"));
    assert_int_equal(strength_of(memory, "a").uses, 0);
    assert_int_equal(mneme_reinforce(memory, "nowhere", ids, 2, 1, NULL), MNEME_ERR_NOT_FOUND);
    assert_int_equal(mneme_reinforce(memory, NULL, ids, 2, 0, NULL), MNEME_ERR_USAGE);
    assert_int_equal(mneme_reinforce(memory, NULL, ids, 2, NAN, NULL), MNEME_ERR_USAGE);
    assert_ok(mneme_reinforce(memory, NULL, ids, 2, 0.5, test_error()));
    assert_near(strength_of(memory, "a").strength, 0.625); /* 0.5 + 0.5 * 0.5 * 0.5 */
    assert_near(strength_of(memory, "b").strength, 0.625);
    mneme_close(memory);
}

static void pinned_record_neither_fades_nor_ends(void **state)
{
    (void)state;
    mneme *memory = open_with("pin", 0);
    mneme_record record = make("a", "one", 0);
    const char *id = "a";
    record.ttl_ms = DAY;
    add(memory, record);
    assert_ok(mneme_pin(memory, NULL, &id, 1, true, test_error()));
    g_now += 1000 * DAY;
    mneme_strength strength = strength_of(memory, "a");
    assert_true(strength.pinned && !strength.expired);
    assert_near(strength.strength, 1);
    assert_ok(mneme_pin(memory, NULL, &id, 1, false, test_error()));
    assert_false(is_there(memory, "a")); /* its end came while it was held */
    assert_sound(memory);
    mneme_close(memory);
}

static void record_replaced_keeps_strength_and_pin_but_not_its_end(void **state)
{
    (void)state;
    mneme *memory = open_with("replace", 0);
    mneme_record record = make("a", "one", 0);
    record.pinned = true;
    record.has_expires = true;
    record.expires_ms = start + DAY;
    add(memory, record);
    use(memory, 1);
    add(memory, make("a", "changed", 0));
    mneme_strength strength = strength_of(memory, "a");
    assert_true(strength.pinned && !strength.has_expires);
    assert_int_equal(strength.uses, 1);
    const mneme_forget_options forget = {sizeof forget, &(const char *){"a"}, 1, {0}, false};
    assert_ok(mneme_forget(memory, &forget, NULL, test_error()));
    add(memory, make("a", "one", 0));
    strength = strength_of(memory, "a");
    assert_true(!strength.pinned && strength.uses == 0); /* a new one begins anew */
    assert_sound(memory);
    mneme_close(memory);
}

static void add_of_the_same_content_changes_importance_and_end_alone(void **state)
{
    (void)state;
    mneme *memory = open_with("attributes", 0);
    mneme_record record = make("a", "one", 0);
    add(memory, record);
    record.has_importance = true;
    record.importance = 0.9f;
    mneme_add_result result = add(memory, record);
    assert_true(result.updated == 1 && result.chunks == 0);
    assert_near(strength_of(memory, "a").strength, 0.9);
    assert_int_equal(add(memory, record).unchanged, 1);
    record.has_importance = false;
    assert_int_equal(add(memory, record).unchanged, 1); /* what was given stays */
    record.has_expires = true;
    record.expires_ms = start + DAY;
    assert_int_equal(add(memory, record).updated, 1);
    assert_int_equal(add(memory, record).unchanged, 1);
    g_now += 2 * DAY;
    assert_false(is_there(memory, "a"));
    record.expires_ms = start + 3 * DAY;
    assert_int_equal(add(memory, record).updated, 1);
    assert_true(is_there(memory, "a"));
    assert_near(strength_of(memory, "a").importance, 0.9);
    record.importance = 1.5f;
    record.has_importance = true;
    mneme_add_options strict = MNEME_ADD_OPTIONS_INIT;
    strict.strict = true;
    assert_int_equal(mneme_add(memory, &record, 1, &strict, NULL, NULL), MNEME_ERR_RECORD);
    assert_sound(memory);
    mneme_close(memory);
}

static void record_whose_end_has_come_is_not_answered(void **state)
{
    (void)state;
    mneme *memory = open_with("expiry", 0);
    mneme_record record = make("short", "one", 0);
    record.ttl_ms = 1000;
    add(memory, record);
    add(memory, make("long", "two", 10));
    g_now += 999;
    mneme_hits *hits = ask(memory, 5, true);
    assert_int_equal(hits->n, 2);
    mneme_hits_free(hits);
    assert_int_equal(n_listed(memory, false), 2);
    g_now += 1; /* from this moment on */
    hits = ask(memory, 5, true);
    assert_int_equal(hits->n, 1);
    assert_string_equal(hits->items[0].id, "long");
    mneme_hits_free(hits);
    assert_int_equal(n_listed(memory, false), 1);
    assert_int_equal(n_listed(memory, true), 2);
    assert_false(is_there(memory, "short"));
    mneme_prune_result result;
    assert_ok(mneme_prune(memory, NULL, &result, test_error()));
    assert_true(result.expired == 1 && result.kept_records == 1);
    assert_int_equal(n_listed(memory, true), 1);
    assert_sound(memory);
    mneme_close(memory);
}

static void json_record_says_importance_pin_and_end(void **state)
{
    (void)state;
    const struct {
        const char *json;
        mneme_status status;
    } wrong[] = {{"{\"id\":1,\"text\":\"x\",\"importance\":1.1}", MNEME_ERR_RECORD},
                 {"{\"id\":1,\"text\":\"x\",\"importance\":\"high\"}", MNEME_ERR_RECORD},
                 {"{\"id\":1,\"text\":\"x\",\"pinned\":1}", MNEME_ERR_RECORD},
                 {"{\"id\":1,\"text\":\"x\",\"ttl\":-5}", MNEME_ERR_RECORD},
                 {"{\"id\":1,\"text\":\"x\",\"expires\":\"soon\"}", MNEME_ERR_RECORD}};
    mneme_record *record = NULL;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(mneme_record_parse(wrong[i].json, strlen(wrong[i].json), &record, NULL), wrong[i].status);
    const char *json =
        "{\"id\":1,\"text\":\"x\",\"importance\":0.25,\"pinned\":true,\"expires\":\"2024-01-01\",\"ttl\":1.5}";
    assert_ok(mneme_record_parse(json, strlen(json), &record, test_error()));
    assert_true(record->has_importance && record->pinned && record->has_expires);
    assert_near(record->importance, 0.25);
    assert_true(record->expires_ms == INT64_C(1704067200000) && record->ttl_ms == 1500);
    mneme_record_free(record);
}

/* ---- ranking
 * ------------------------------------------------------------------------------------------------------------ */

static void ranking_weighs_importance_strength_and_recency_when_told(void **state)
{
    (void)state;
    mneme *memory = open_with("rank", 0);
    mneme_record strong = make("strong", "one", 40);
    strong.has_importance = true;
    strong.importance = 1;
    add(memory, make("near", "two", 20));
    g_now += 10 * DAY;
    add(memory, strong);
    mneme_hits *hits = ask(memory, 2, true);
    assert_string_equal(hits->items[0].id, "near"); /* off by default */
    assert_near(hits->items[0].score, 0.9396926);
    mneme_hits_free(hits);
    mneme_close(memory);

    set("retrieval.strength_weight", "1");
    memory = open_with("rank", 0);
    hits = ask(memory, 2, true);
    assert_string_equal(hits->items[0].id, "strong");
    assert_near(hits->items[0].score, (0.7660444 + 1) / 2);
    assert_near(hits->items[1].score, (0.9396926 + 0.4665165) / 2); /* 0.5 * 2^(-10/100) */
    mneme_hits_free(hits);
    mneme_close(memory);

    set("retrieval.strength_weight", "0");
    set("retrieval.importance_weight", "0.25");
    memory = open_with("rank", 0);
    g_now += 1000 * DAY; /* time does not change it */
    hits = ask(memory, 2, true);
    g_now -= 1000 * DAY;
    assert_near(hits->items[0].score, (0.9396926 + 0.25 * 0.5) / 1.25);
    assert_near(hits->items[1].score, (0.7660444 + 0.25) / 1.25);
    mneme_hits_free(hits);
    mneme_close(memory);

    set("retrieval.importance_weight", "0");
    set("retrieval.recency_weight", "0.5");
    set("retrieval.recency_half_life_days", "10");
    memory = open_with("rank", 0);
    hits = ask(memory, 2, true);
    assert_string_equal(hits->items[0].id, "strong");
    assert_near(hits->items[0].score, (0.7660444 + 0.5) / 1.5);
    assert_near(hits->items[1].score, (0.9396926 + 0.25) / 1.5); /* recency 0.5 */
    assert_near(hits->items[1].recency, 0.5);
    mneme_hits_free(hits);
    mneme_close(memory);
}

static void clock_setting_is_the_time(void **state)
{
    (void)state;
    mneme *memory = NULL;
    set("clock.now", "2023-05-08T13:56:00Z");
    assert_ok(mneme_open(path_of("clock"), g_settings, 0, &memory, test_error()));
    assert_true(mneme_now(memory) == INT64_C(1683554160000));
    add(memory, make("a", "one", 0));
    assert_true(strength_of(memory, "a").written_ms == INT64_C(1683554160000));
    mneme_close(memory);
    set("clock.now", "yesterday");
    assert_int_equal(mneme_open(path_of("clock"), g_settings, 0, &memory, test_error()), MNEME_ERR_SETTING);
    assert_non_null(strstr(test_error()->message, "clock.now"));
}

int main(void)
{
    g_dir = test_make_dir();
#define TEST(name) cmocka_unit_test_setup(name, reset)
    const struct CMUnitTest tests[] = {
        TEST(query_strengthens_what_it_finds),
        TEST(query_strengthens_in_proportion_to_attention),
        TEST(use_changes_neither_answers_nor_generation),
        TEST(uses_are_written_by_the_memorys_own_thread),
        TEST(uses_from_many_threads_are_all_counted),
        TEST(close_writes_the_uses_that_wait),
        TEST(kill_loses_the_uses_that_wait_and_nothing_else),
        TEST(memory_open_for_reading_writes_nothing),
        TEST(reinforce_counts_as_use_of_all_or_none),
        TEST(pinned_record_neither_fades_nor_ends),
        TEST(record_replaced_keeps_strength_and_pin_but_not_its_end),
        TEST(add_of_the_same_content_changes_importance_and_end_alone),
        TEST(record_whose_end_has_come_is_not_answered),
        TEST(json_record_says_importance_pin_and_end),
        TEST(ranking_weighs_importance_strength_and_recency_when_told),
        TEST(clock_setting_is_the_time),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    mneme_settings_free(g_settings);
    test_remove_dir(g_dir);
    return failed;
}
