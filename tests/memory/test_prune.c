/* test_prune.c -- budgets, archives and near-duplicates through the library, with a clock that the test sets. */
#include "test_support.h"

#include <math.h>
#include <unistd.h>

#define DAY INT64_C(86400000)
static const int64_t start = INT64_C(1700000000000);
static int64_t g_now;
static char *g_dir;
static mneme_settings *g_settings;
static char g_gone[4000]; /* "id:reason " of each record that went */

static int64_t test_clock(void *context)
{
    (void)context;
    return g_now;
}

static const char *path_of(const char *name)
{
    return test_inside(g_dir, name);
}

static void set(const char *name, const char *value)
{
    assert_ok(mneme_settings_set(g_settings, name, value, NULL, test_error()));
}

static int reset(void **state)
{
    (void)state;
    g_now = start;
    *g_gone = '\0';
    mneme_settings_free(g_settings);
    if (mneme_settings_new(&g_settings, NULL) != MNEME_OK) return 1;
    set("memory.importance", "fixed");
    set("memory.half_life_days", "100");
    set("store.vectors", "f32");
    return 0;
}

static mneme *open_store(const char *name)
{
    mneme *memory = NULL;
    assert_ok(mneme_open(path_of(name), g_settings, 0, &memory, test_error()));
    mneme_set_clock(memory, test_clock, NULL);
    return memory;
}

static void put(mneme *memory, mneme_record record, double degrees)
{
    const float vector[2] = {(float)cos(degrees * 3.14159265358979 / 180),
                             (float)sin(degrees * 3.14159265358979 / 180)};
    record.vector = vector;
    record.dimension = 2;
    assert_ok(mneme_add(memory, &record, 1, NULL, NULL, test_error()));
}

static void put_important(mneme *memory, const char *name_space, const char *id, double importance)
{
    const mneme_record record = {.id = id,
                                 .name_space = name_space,
                                 .text = "some words",
                                 .has_importance = true,
                                 .importance = (float)importance};
    put(memory, record, 0);
}

/* a 0.2, b 0.4, c 0.4, d 0.8, e 0.6, in the order of writing, a day apart. */
static void put_five(mneme *memory)
{
    const double importance[] = {0.2, 0.4, 0.4, 0.8, 0.6};
    const char *ids[] = {"a", "b", "c", "d", "e"};
    for (size_t i = 0; i < 5; i++) put_important(memory, NULL, ids[i], importance[i]);
}

static void note_gone(void *context, const mneme_victim *victim)
{
    (void)context;
    static const char *const reasons[] = {"expired", "weak", "budget"};
    snprintf(g_gone + strlen(g_gone), sizeof g_gone - strlen(g_gone), "%s:%s ", victim->id, reasons[victim->reason]);
}

static mneme_prune_result prune(mneme *memory, mneme_prune_options options)
{
    mneme_prune_result result;
    *g_gone = '\0';
    options.size = sizeof options;
    options.victim = note_gone;
    assert_ok(mneme_prune(memory, &options, &result, test_error()));
    return result;
}

/* The ids that are there, "a b c ". */
static const char *left(mneme *memory)
{
    static char ids[2000];
    mneme_list_options options = MNEME_LIST_OPTIONS_INIT;
    mneme_record_list *list = NULL;
    options.limit = 1000;
    options.select.include_expired = true;
    assert_ok(mneme_list(memory, &options, &list, test_error()));
    *ids = '\0';
    for (size_t i = 0; i < list->n; i++)
        snprintf(ids + strlen(ids), sizeof ids - strlen(ids), "%s ", list->items[i].id);
    mneme_record_list_free(list);
    return ids;
}

static void assert_sound(mneme *memory)
{
    mneme_check_report report;
    assert_ok(mneme_check(memory, NULL, NULL, NULL, &report, test_error()));
    assert_int_equal(report.problems, 0);
}

/* ---- prune
 * ------------------------------------------------------------------------------------------------------------ */

static void prune_to_a_budget_takes_the_weakest_then_the_oldest(void **state)
{
    (void)state;
    mneme *memory = open_store("budget");
    put_five(memory);
    mneme_prune_result dry = prune(memory, (mneme_prune_options){.max_records = 3, .dry_run = true});
    assert_string_equal(g_gone, "a:budget b:budget ");
    assert_string_equal(left(memory), "a b c d e ");
    mneme_prune_result result = prune(memory, (mneme_prune_options){.max_records = 3});
    assert_string_equal(g_gone, "a:budget b:budget ");
    assert_string_equal(left(memory), "c d e ");
    assert_memory_equal(&dry, &result, sizeof dry);
    assert_true(result.over_budget == 2 && result.chunks == 2 && result.kept_records == 3 && result.kept_chunks == 3);
    prune(memory, (mneme_prune_options){.max_chunks = 2});
    assert_string_equal(left(memory), "d e ");
    uint64_t bytes = prune(memory, (mneme_prune_options){0}).kept_bytes;
    prune(memory, (mneme_prune_options){.max_bytes = bytes});
    assert_string_equal(left(memory), "d e ");
    prune(memory, (mneme_prune_options){.max_bytes = bytes - 1});
    assert_string_equal(left(memory), "d ");
    assert_sound(memory);
    mneme_close(memory);
}

static void prune_by_strength_follows_use_and_time(void **state)
{
    (void)state;
    mneme *memory = open_store("strength");
    put_five(memory);
    const char *weak = "a";
    for (int i = 0; i < 4; i++) {
        g_now += 20 * DAY;
        assert_ok(mneme_reinforce(memory, NULL, &weak, 1, 1, test_error()));
    }
    prune(memory, (mneme_prune_options){.max_records = 2});
    assert_string_equal(left(memory), "a d ");
    g_now += 100 * DAY; /* d was 0.8, 180 days ago: 0.23 */
    prune(memory, (mneme_prune_options){.min_strength = 0.25});
    assert_string_equal(g_gone, "d:weak ");
    assert_string_equal(left(memory), "a ");
    mneme_close(memory);
}

static void prune_never_takes_pinned_and_first_what_has_ended(void **state)
{
    (void)state;
    mneme *memory = open_store("pinned");
    put_five(memory);
    mneme_record strong = {.id = "f", .text = "words", .has_importance = true, .importance = 1, .ttl_ms = DAY};
    put(memory, strong, 0);
    const char *ids[] = {"a", "b"};
    assert_ok(mneme_pin(memory, NULL, ids, 2, true, test_error()));
    g_now += DAY;
    mneme_prune_result result = prune(memory, (mneme_prune_options){.max_records = 1});
    assert_string_equal(g_gone, "f:expired c:budget e:budget d:budget ");
    assert_string_equal(left(memory), "a b ");
    assert_true(result.kept_records == 2); /* over the budget, and it says so */
    prune(memory, (mneme_prune_options){.min_strength = 1});
    assert_string_equal(left(memory), "a b ");
    mneme_close(memory);
}

static void prune_by_age_and_by_chance_are_there_to_compare(void **state)
{
    (void)state;
    char first[200];
    mneme *memory = open_store("newest");
    for (size_t i = 0; i < 5; i++) {
        put_important(memory, NULL, (const char *[]){"v", "w", "x", "y", "z"}[i], 1 - (double)i / 10);
        g_now += DAY;
    }
    prune(memory, (mneme_prune_options){.max_records = 2, .strategy = MNEME_PRUNE_NEWEST, .dry_run = true});
    assert_string_equal(g_gone, "v:budget w:budget x:budget ");
    bool differs = false;
    prune(memory, (mneme_prune_options){.max_records = 2, .strategy = MNEME_PRUNE_RANDOM, .dry_run = true});
    strcpy(first, g_gone);
    prune(memory, (mneme_prune_options){.max_records = 2, .strategy = MNEME_PRUNE_RANDOM, .dry_run = true});
    assert_string_equal(first, g_gone);
    for (uint64_t seed = 1; seed < 20; seed++) {
        prune(memory,
              (mneme_prune_options){.max_records = 2, .strategy = MNEME_PRUNE_RANDOM, .seed = seed, .dry_run = true});
        differs = differs || strcmp(first, g_gone) != 0;
    }
    assert_true(differs);
    mneme_prune_options wrong = MNEME_PRUNE_OPTIONS_INIT;
    wrong.strategy = MNEME_PRUNE_RANDOM;
    wrong.min_strength = 0.5;
    assert_int_equal(mneme_prune(memory, &wrong, NULL, NULL), MNEME_ERR_USAGE);
    mneme_close(memory);
}

static void prune_gives_each_namespace_the_whole_budget(void **state)
{
    (void)state;
    mneme *memory = open_store("spaces");
    for (size_t i = 0; i < 3; i++) {
        put_important(memory, "one", (const char *[]){"1a", "1b", "1c"}[i], 0.1 * (double)(i + 1));
        put_important(memory, "two", (const char *[]){"2a", "2b", "2c"}[i], 0.9 - 0.1 * (double)i);
    }
    prune(memory, (mneme_prune_options){.name_space = "two", .max_records = 2});
    assert_string_equal(left(memory), "1a 1b 1c 2a 2b ");
    prune(memory, (mneme_prune_options){.max_records = 1});
    assert_string_equal(left(memory), "1c 2a ");
    prune(memory, (mneme_prune_options){.name_space = "none", .max_records = 1});
    assert_string_equal(left(memory), "1c 2a ");
    mneme_close(memory);
}

static bool go_on_until(void *context, uint64_t done, uint64_t total, const char *unit)
{
    assert_true(done <= total && strcmp(unit, "records") == 0);
    return done < *(uint64_t *)context;
}

static void prune_of_many_works_in_batches(void **state)
{
    (void)state;
    mneme *memory = open_store("many");
    enum { N = 700 };
    static char ids[N][16];
    static mneme_record records[N];
    static const float vector[2] = {1, 0};
    for (size_t i = 0; i < N; i++) {
        snprintf(ids[i], sizeof ids[i], "%zu", i);
        records[i] = (mneme_record){.id = ids[i],
                                    .text = "words",
                                    .vector = vector,
                                    .dimension = 2,
                                    .has_importance = true,
                                    .importance = (float)(i % 100) / 100};
    }
    assert_ok(mneme_add(memory, records, N, NULL, NULL, test_error()));
    mneme_prune_options options = MNEME_PRUNE_OPTIONS_INIT;
    mneme_prune_result result;
    options.max_records = 70;
    options.progress = go_on_until;
    options.context = &(uint64_t){256}; /* the second of three transactions does not begin */
    assert_int_equal(mneme_prune(memory, &options, &result, test_error()), MNEME_ERR_CANCELLED);
    assert_true(result.over_budget == 256 && result.chunks == 256);
    assert_true(result.kept_records == 444 && result.kept_chunks == 444 && result.kept_bytes > 0);
    options.context = &(uint64_t){UINT64_MAX};
    assert_ok(mneme_prune(memory, &options, &result, test_error()));
    assert_true(result.over_budget == 374 && result.kept_records == 70);
    mneme_list_options all = MNEME_LIST_OPTIONS_INIT;
    mneme_record_list *list = NULL;
    all.limit = 1000;
    assert_ok(mneme_list(memory, &all, &list, test_error()));
    assert_int_equal(list->n, 70);
    for (size_t i = 0; i < 70; i++)
        assert_true(list->strengths[i].importance > 0.895f); /* 7 of each from 0.90 to 0.99 */
    mneme_record_list_free(list);
    assert_sound(memory);
    mneme_close(memory);
}

/* ---- archive
 * ---------------------------------------------------------------------------------------------------------- */

static void archive_keeps_what_goes_with_vectors_and_strength(void **state)
{
    (void)state;
    mneme *memory = open_store("live");
    put_five(memory);
    mneme_record old = {
        .id = "old", .text = "gone", .session = "s", .speaker = "Ana", .metadata = "{\"k\":1}", .ttl_ms = 1};
    put(memory, old, 0);
    mneme_record special = {.id = "s1",
                            .name_space = "n",
                            .text = "the special one",
                            .session = "s",
                            .speaker = "Ana",
                            .metadata = "{\"k\":1}",
                            .has_time = true,
                            .time_ms = start - DAY};
    put(memory, special, 60);
    const char *id = "s1";
    assert_ok(mneme_reinforce(memory, "n", &id, 1, 1, test_error()));
    special.id = "s2";
    special.pinned = true;
    put(memory, special, 0);
    g_now += DAY;
    mneme_prune_result result = prune(memory, (mneme_prune_options){.max_records = 1, .archive = path_of("archive")});
    assert_true(result.expired == 1 && result.archived == 5);
    assert_string_equal(left(memory), "d s2 ");
    assert_sound(memory);
    mneme_close(memory);

    mneme *archive = open_store("archive");
    assert_string_equal(left(archive), "a b c e s1 "); /* what has ended is nowhere */
    mneme_record_list *list = NULL;
    assert_ok(mneme_get(archive, "n", "s1", &list, test_error()));
    assert_string_equal(list->items[0].text, "the special one");
    assert_string_equal(list->items[0].speaker, "Ana");
    assert_string_equal(list->items[0].metadata, "{\"k\":1}");
    assert_true(list->items[0].time_ms == start - DAY && list->strengths[0].uses == 1);
    assert_true(list->strengths[0].written_ms == start && list->strengths[0].last_use_ms == start);
    mneme_record_list_free(list);
    const float north_east[2] = {0.5f, 0.8660254f};
    mneme_query_options ask = MNEME_QUERY_OPTIONS_INIT;
    mneme_hits *hits = NULL;
    ask.mode = MNEME_MODE_DENSE;
    ask.vector = north_east;
    ask.dimension = 2;
    ask.select.name_space = "n";
    assert_ok(mneme_query(archive, "", &ask, &hits, test_error()));
    assert_true(hits->n == 1 && fabs((double)hits->items[0].dense - 1) < 1e-5);
    mneme_hits_free(hits);
    assert_sound(archive);
    mneme_close(archive);
}

static void note_archived(void *context, const mneme_victim *victim)
{
    snprintf(g_gone + strlen(g_gone), sizeof g_gone - strlen(g_gone), "%s|", victim->archived_id);
    ++*(size_t *)context;
}

/* Put a record of this id and text, and move it to the archive. */
static void archive_one(mneme *memory, const char *id, const char *text)
{
    size_t n = 0;
    mneme_prune_options options = MNEME_PRUNE_OPTIONS_INIT;
    put(memory, (mneme_record){.id = id, .text = text}, 0);
    options.min_strength = 1;
    options.archive = path_of("taken-archive");
    options.victim = note_archived;
    options.context = &n;
    assert_ok(mneme_prune(memory, &options, NULL, test_error()));
    assert_int_equal(n, 1);
}

static void assert_text(mneme *memory, const char *id, const char *text)
{
    mneme_record_list *list = NULL;
    assert_ok(mneme_get(memory, NULL, id, &list, test_error()));
    assert_string_equal(list->items[0].text, text);
    mneme_record_list_free(list);
}

static void archive_with_another_record_of_that_id_keeps_both(void **state)
{
    (void)state;
    char long_id[481], long_second[481];
    memset(long_id, 'x', 480); /* 475 + "é" + 3: the cut for " (2)" at 476 would part the character */
    memcpy(long_id + 475, "\xc3\xa9", 2);
    long_id[480] = '\0';
    snprintf(long_second, sizeof long_second, "%.475s (2)", long_id);
    mneme *memory = open_store("taken");
    archive_one(memory, "a", "first");
    archive_one(memory, "a", "second");
    archive_one(memory, "a", "first"); /* is there already */
    archive_one(memory, "a", "second");
    archive_one(memory, "a", "third");
    archive_one(memory, "a (2)", "fourth");
    assert_string_equal(g_gone, "a|a (2)|a|a (2)|a (3)|a (2) (2)|");
    *g_gone = '\0';
    archive_one(memory, long_id, "first");
    archive_one(memory, long_id, "second");
    assert_string_equal(g_gone + strlen(long_id) + 1 + strlen(long_second), "|");
    mneme_close(memory);
    mneme *archive = open_store("taken-archive");
    assert_text(archive, "a", "first");
    assert_text(archive, "a (2)", "second");
    assert_text(archive, "a (3)", "third");
    assert_text(archive, "a (2) (2)", "fourth");
    assert_text(archive, long_id, "first");
    assert_text(archive, long_second, "second");
    assert_sound(archive);
    mneme_close(archive);
}

/* Two victims of one transaction, one of which has the id that the other gets. */
static void archive_gives_new_ids_that_no_other_victim_has(void **state)
{
    (void)state;
    mneme *memory = open_store("both");
    put(memory, (mneme_record){.id = "a", .text = "first"}, 0);
    prune(memory, (mneme_prune_options){.min_strength = 1, .archive = path_of("both-archive")});
    put(memory, (mneme_record){.id = "a", .text = "second"}, 0);
    put(memory, (mneme_record){.id = "a (2)", .text = "third"}, 0);
    assert_int_equal(
        prune(memory, (mneme_prune_options){.min_strength = 1, .archive = path_of("both-archive")}).archived, 2);
    mneme_close(memory);
    mneme *archive = open_store("both-archive");
    assert_text(archive, "a", "first");
    assert_text(archive, "a (2)", "second");
    assert_text(archive, "a (2) (2)", "third");
    mneme_close(archive);
}

static void archive_that_cannot_be_written_loses_nothing(void **state)
{
    (void)state;
    mneme *memory = open_store("self");
    put_five(memory);
    mneme_prune_options options = MNEME_PRUNE_OPTIONS_INIT;
    options.max_records = 1;
    options.archive = path_of("self");
    assert_int_equal(mneme_prune(memory, &options, NULL, test_error()), MNEME_ERR_USAGE);
    options.archive = path_of("self/in/it");
    assert_int_equal(mneme_prune(memory, &options, NULL, test_error()), MNEME_ERR_USAGE);
    assert_non_null(strstr(test_error()->message, "outside"));
    options.dry_run = true;
    assert_int_equal(mneme_prune(memory, &options, NULL, test_error()), MNEME_ERR_USAGE);
    options.dry_run = false;
    assert_int_not_equal(access(path_of("self/in"), F_OK), 0);
    mneme *open = open_store("open");
    options.archive = path_of("open");
    assert_int_equal(mneme_prune(memory, &options, NULL, test_error()), MNEME_ERR_BUSY);
    mneme_close(open);
    options.archive = "/proc/nothing/here";
    assert_true(mneme_prune(memory, &options, NULL, NULL) != MNEME_OK);
    mneme *other = open_store("other-dimension");
    const float vector[3] = {1, 0, 0};
    const mneme_record record = {.id = "x", .text = "y", .vector = vector, .dimension = 3};
    assert_ok(mneme_add(other, &record, 1, NULL, NULL, test_error()));
    mneme_close(other);
    options.archive = path_of("other-dimension");
    assert_int_equal(mneme_prune(memory, &options, NULL, test_error()), MNEME_ERR_DIMENSION);
    assert_string_equal(left(memory), "a b c d e ");
    mneme_close(memory);
}

/* ---- consolidate
 * -------------------------------------------------------------------------------------------------------- */

static void note_merge(void *context, const mneme_merge *merge)
{
    (void)context;
    snprintf(g_gone + strlen(g_gone), sizeof g_gone - strlen(g_gone), "%s>%s ", merge->merged_id, merge->id);
}

static mneme_consolidate_result consolidate(mneme *memory, bool dry_run)
{
    mneme_consolidate_options options = MNEME_CONSOLIDATE_OPTIONS_INIT;
    mneme_consolidate_result result;
    *g_gone = '\0';
    options.dry_run = dry_run;
    options.merged = note_merge;
    assert_ok(mneme_consolidate(memory, &options, &result, test_error()));
    return result;
}

static void say(mneme *memory, const char *id, const char *speaker, const char *text, double degrees)
{
    const mneme_record record = {.id = id, .speaker = speaker, .text = text, .session = id, .source = "talk.md"};
    put(memory, record, degrees);
    g_now += DAY;
}

static void consolidate_merges_what_says_the_same_into_the_newest(void **state)
{
    (void)state;
    mneme *memory = open_store("same");
    say(memory, "1", "Ana", "My new garden has seven apple trees by the river.", 0);
    say(memory, "2", "Ana", "Something else entirely.", 90);
    say(memory, "3", "Ana", "My new garden has seven apple trees by the river!", 5);
    say(memory, "4", "Ana", "my new garden has seven apple trees by the great river", 3); /* 9 of 10 terms */
    consolidate(memory, true);
    assert_string_equal(g_gone, "1>4 3>4 ");
    assert_string_equal(left(memory), "1 2 3 4 ");
    mneme_consolidate_result result = consolidate(memory, false);
    assert_true(result.records == 4 && result.groups == 1 && result.merged == 2);
    assert_string_equal(g_gone, "1>4 3>4 ");
    assert_string_equal(left(memory), "2 4 ");
    mneme_record_list *list = NULL;
    assert_ok(mneme_get(memory, NULL, "4", &list, test_error()));
    assert_string_equal(list->items[0].metadata,
                        "{\"consolidated\":[{\"id\":\"1\",\"source\":\"talk.md\",\"session\":\"1\",\"speaker\":\"Ana\","
                        "\"text\":\"My new garden has seven apple trees by the river.\"},"
                        "{\"id\":\"3\",\"source\":\"talk.md\",\"session\":\"3\",\"speaker\":\"Ana\","
                        "\"text\":\"My new garden has seven apple trees by the river!\"}]}");
    /* The strongest is 4, 0.5 * 2^(-1/100) = 0.496546; two uses: 1 - 0.25 * (1 - 0.496546); a gap of 1 of 10 days. */
    assert_int_equal(list->strengths[0].uses, 2);
    assert_true(fabs((double)list->strengths[0].strength - 0.8741366) < 1e-5);
    assert_true(fabs((double)list->strengths[0].half_life_days - 115) < 1e-3);
    mneme_record_list_free(list);
    assert_int_equal(consolidate(memory, false).merged, 0);
    say(memory, "5", "Ana", "My new garden has seven apple trees by the river.", 1);
    consolidate(memory, false); /* what was merged before stays listed */
    assert_string_equal(g_gone, "4>5 ");
    assert_ok(mneme_get(memory, NULL, "5", &list, test_error()));
    for (const char *const *id = (const char *const[]){"\"1\"", "\"3\"", "\"4\"", NULL}; *id; id++)
        assert_non_null(strstr(list->items[0].metadata, *id));
    mneme_record_list_free(list);
    assert_sound(memory);
    mneme_close(memory);
}

static void consolidate_keeps_apart_what_differs(void **state)
{
    (void)state;
    mneme *memory = open_store("apart");
    say(memory, "1", NULL, "The order number 4711 was paid in full by the customer on time.", 0);
    say(memory, "2", NULL, "The order number 4712 was paid in full by the customer on time.", 0); /* another number */
    say(memory, "3", "Ana", "I moved to a small house in Lisbon.", 0);
    say(memory, "4", "Ben", "I moved to a small house in Lisbon.", 0); /* another speaker */
    say(memory, "5", NULL, "Cats are small and sleep most of the day.", 0);
    say(memory, "6", NULL, "Cats are small and sleep most of the day.", 30); /* another vector */
    say(memory, "7", NULL, "We had soup with bread for dinner.", 0);
    say(memory, "8", NULL, "We had fish with rice for lunch.", 0); /* other words */
    say(memory, "a", NULL, "Anna told Peter that the meeting was moved to Friday.", 0);
    say(memory, "b", NULL, "Peter told Anna that the meeting was moved to Friday.", 0); /* another order */
    say(memory, "c", NULL, "The late flight to Rome now leaves from terminal one, not from the old hall.", 0);
    say(memory, "d", NULL, "The late flight to Rome now leaves from terminal two, not from the old hall.", 0);
    say(memory, "e", NULL, "Mia saw Tom and Tom paid Mia.", 0); /* the first of each in the same order */
    say(memory, "f", NULL, "Mia saw Tom and Mia paid Tom.", 0);
    say(memory, "g", "x",
        "\xe7\x8e\x8b\xe5\x85\x88\xe7\x94\x9f\xe5\xb8\xae\xe5\x8a\xa9\xe6\x9d\x8e\xe5\xa5\xb3\xe5\xa3\xab", 0);
    say(memory, "h", "x",
        "\xe6\x9d\x8e\xe5\xa5\xb3\xe5\xa3\xab\xe5\xb8\xae\xe5\x8a\xa9\xe7\x8e\x8b\xe5\x85\x88\xe7\x94\x9f", 0);
    mneme_record elsewhere = {.id = "9", .name_space = "n", .text = "We had soup with bread for dinner."};
    put(memory, elsewhere, 0); /* another namespace */
    assert_int_equal(consolidate(memory, false).merged, 0);
    set("memory.duplicate_terms", "0.5");
    mneme_close(memory);
    memory = open_store("apart");
    assert_int_equal(consolidate(memory, false).merged, 0);
    mneme_close(memory);
}

static const char *metadata_of(mneme *memory, const char *id)
{
    static char metadata[1000];
    mneme_record_list *list = NULL;
    assert_ok(mneme_get(memory, NULL, id, &list, test_error()));
    snprintf(metadata, sizeof metadata, "%s", list->items[0].metadata ? list->items[0].metadata : "none");
    mneme_record_list_free(list);
    return metadata;
}

static void consolidate_keeps_what_the_survivor_does_not_say(void **state)
{
    (void)state;
    mneme *memory = open_store("kept");
    const char *text = "The boat is in the north harbour.";
    put(memory, (mneme_record){.id = "1", .text = text, .title = "Boat", .metadata = "{\"who\":\"Ana\"}"}, 0);
    g_now += DAY;
    put(memory, (mneme_record){.id = "2", .text = text, .metadata = "{\"consolidated\":7}"}, 0);
    consolidate(memory, false);
    assert_string_equal(g_gone, ""); /* the newest has a key "consolidated" of its own */
    assert_string_equal(metadata_of(memory, "2"), "{\"consolidated\":7}");
    g_now += DAY;
    put(memory, (mneme_record){.id = "3", .text = text, .metadata = "{\"k\":1}"}, 0);
    consolidate(memory, false);
    assert_string_equal(g_gone, "1>3 2>3 ");
    assert_string_equal(metadata_of(memory, "3"),
                        "{\"k\":1,\"consolidated\":[{\"id\":\"1\",\"title\":\"Boat\",\"metadata\":{\"who\":\"Ana\"}},"
                        "{\"id\":\"2\",\"metadata\":{\"consolidated\":7}}]}");
    g_now += DAY;
    put(memory, (mneme_record){.id = "4", .text = "The boat is in the north harbour"}, 0);
    consolidate(memory, false); /* one level, whatever was merged before */
    assert_string_equal(metadata_of(memory, "4"),
                        "{\"consolidated\":[{\"id\":\"3\",\"text\":\"The boat is in the north harbour.\","
                        "\"metadata\":{\"k\":1}},{\"id\":\"1\",\"title\":\"Boat\",\"metadata\":{\"who\":\"Ana\"},"
                        "\"text\":\"The boat is in the north harbour.\"},"
                        "{\"id\":\"2\",\"metadata\":{\"consolidated\":7},"
                        "\"text\":\"The boat is in the north harbour.\"}]}");
    assert_sound(memory);
    mneme_close(memory);
}

/* 100 texts of 20 words, each again with one word left out, and 1,500 others: all pairs that are there, and no other.
 */
static void consolidate_finds_each_pair_among_many(void **state)
{
    (void)state;
    enum { PAIRS = 100, OTHERS = 1500, WORDS = 20, N = 2 * PAIRS + OTHERS };
    static char ids[N][16], texts[N][WORDS * 6];
    static mneme_record records[N];
    static const float vector[2] = {1, 0}; /* one for all: only the words tell */
    mneme *memory = open_store("minhash");
    for (size_t i = 0; i < N; i++) {
        size_t size = 0, family = i < 2 * PAIRS ? i / 2 : i;
        for (size_t w = 0; w < WORDS; w++) {
            if (i < 2 * PAIRS && i % 2 == 1 && w == 0) continue;
            uint64_t word = (family * WORDS + w + 1) * UINT64_C(0x9e3779b97f4a7c15) >> 20;
            size += (size_t)snprintf(texts[i] + size, sizeof texts[i] - size, "%c%c%c%c ", (int)('a' + word % 26),
                                     (int)('a' + word / 26 % 26), (int)('a' + word / 676 % 26),
                                     (int)('a' + word / 17576 % 26));
        }
        snprintf(ids[i], sizeof ids[i], "%zu", i);
        records[i] = (mneme_record){.id = ids[i], .text = texts[i], .vector = vector, .dimension = 2};
    }
    assert_ok(mneme_add(memory, records, N, NULL, NULL, test_error()));
    mneme_consolidate_result result = consolidate(memory, true);
    assert_int_equal(result.merged, PAIRS);
    for (size_t i = 0; i < 3; i++) {
        char pair[40];
        snprintf(pair, sizeof pair, "%zu>%zu ", 2 * i, 2 * i + 1);
        assert_non_null(strstr(g_gone, pair));
    }
    mneme_close(memory);
}

static bool go_on_for(void *context, uint64_t done, uint64_t total, const char *unit)
{
    size_t *steps = context;
    assert_true(done <= total && strcmp(unit, "records") == 0);
    return (*steps)-- > 0;
}

/* 600 pairs: transactions of 128 groups each, so that 128 records have gone before the second one. */
static void consolidate_that_is_cancelled_keeps_what_it_has_done(void **state)
{
    (void)state;
    enum { PAIRS = 600, N = 2 * PAIRS };
    static char ids[N][16], texts[N][64];
    static mneme_record records[N];
    static const float vector[2] = {1, 0};
    mneme *memory = open_store("cancelled");
    for (size_t i = 0; i < N; i++) {
        snprintf(ids[i], sizeof ids[i], "%zu", i);
        snprintf(texts[i], sizeof texts[i], "p%zu q%zu r%zu s%zu", i / 2, i / 2, i / 2, i / 2);
        records[i] = (mneme_record){.id = ids[i], .text = texts[i], .vector = vector, .dimension = 2};
    }
    assert_ok(mneme_add(memory, records, N, NULL, NULL, test_error()));
    mneme_consolidate_options options = MNEME_CONSOLIDATE_OPTIONS_INIT;
    mneme_consolidate_result result;
    size_t steps = 0;
    options.progress = go_on_for;
    options.context = &steps;
    for (size_t allowed = 0; allowed < 200; allowed++) {
        steps = allowed;
        mneme_status status = mneme_consolidate(memory, &options, &result, test_error());
        if (status == MNEME_OK || result.merged) break;
        assert_int_equal(status, MNEME_ERR_CANCELLED); /* while looking: nothing is done */
    }
    assert_true(result.merged == 128 && result.groups == 128);
    assert_sound(memory);
    options.progress = NULL;
    assert_ok(mneme_consolidate(memory, &options, &result, test_error()));
    assert_true(result.merged == PAIRS - 128 && result.records == N - 128);
    mneme_close(memory);
}

/* ---- every allocation failing in turn ---- */

static void out_of_memory_is_reported_and_nothing_is_lost(void **state)
{
    (void)state;
    mneme *memory = open_store("memory");
    mneme_consolidate_options same = MNEME_CONSOLIDATE_OPTIONS_INIT;
    mneme_prune_options budget = MNEME_PRUNE_OPTIONS_INIT;
    const char *id = "2";
    budget.max_records = 1;
    bool done = false;
    for (size_t n = 1; n < 20000 && !done; n += 1 + n / 20) {
        say(memory, "1", "Ana", "My new garden has seven apple trees by the river.", 0);
        say(memory, "2", "Ana", "My new garden has seven apple trees by the river!", 1);
        say(memory, "3", "Ana", "Is something else entirely in there?", 90);
        budget.archive = path_of("memory-archive");
        mneme_status status[3];
        mn_alloc_fail_after(n);
        status[0] = mneme_reinforce(memory, NULL, &id, 1, 1, NULL);
        mn_alloc_fail_after(n);
        status[1] = mneme_consolidate(memory, &same, NULL, NULL);
        mn_alloc_fail_after(n);
        status[2] = mneme_prune(memory, &budget, NULL, NULL);
        mn_alloc_fail_after(0);
        done = true;
        for (size_t i = 0; i < 3; i++) {
            if (status[i] != MNEME_OK && status[i] != MNEME_ERR_MEMORY)
                fail_msg("step %zu, allocation %zu: %s", i, n, mneme_status_name(status[i]));
            done = done && status[i] == MNEME_OK;
        }
        assert_sound(memory);
    }
    assert_true(done);
    mneme_close(memory);
}

int main(void)
{
    g_dir = test_make_dir();
#define TEST(name) cmocka_unit_test_setup(name, reset)
    const struct CMUnitTest tests[] = {
        TEST(prune_to_a_budget_takes_the_weakest_then_the_oldest),
        TEST(prune_by_strength_follows_use_and_time),
        TEST(prune_never_takes_pinned_and_first_what_has_ended),
        TEST(prune_by_age_and_by_chance_are_there_to_compare),
        TEST(prune_gives_each_namespace_the_whole_budget),
        TEST(prune_of_many_works_in_batches),
        TEST(archive_keeps_what_goes_with_vectors_and_strength),
        TEST(archive_with_another_record_of_that_id_keeps_both),
        TEST(archive_gives_new_ids_that_no_other_victim_has),
        TEST(archive_that_cannot_be_written_loses_nothing),
        TEST(consolidate_merges_what_says_the_same_into_the_newest),
        TEST(consolidate_keeps_apart_what_differs),
        TEST(consolidate_keeps_what_the_survivor_does_not_say),
        TEST(consolidate_finds_each_pair_among_many),
        TEST(consolidate_that_is_cancelled_keeps_what_it_has_done),
        TEST(out_of_memory_is_reported_and_nothing_is_lost),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    mneme_settings_free(g_settings);
    test_remove_dir(g_dir);
    return failed;
}
