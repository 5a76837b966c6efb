/* test_memory.c -- the public API with the real encoder: what a program that embeds mneme relies on. */
#include "test_support.h"

#include <math.h>
#include <pthread.h>
#include <unistd.h>

static mneme_settings *g_settings; /* the default model from the cache, whatever the environment says */
static char *g_dir;

static mneme *open_store(const char *name)
{
    char path[1200];
    snprintf(path, sizeof path, "%s/%s", g_dir, name);
    mneme *memory = NULL;
    assert_ok(mneme_open(path, g_settings, 0, &memory, test_error()));
    return memory;
}

static mneme_add_result add(mneme *memory, const mneme_record *records, size_t n)
{
    mneme_add_result result;
    assert_ok(mneme_add(memory, records, n, NULL, &result, test_error()));
    return result;
}

static void assert_sound(mneme *memory)
{
    mneme_check_report report;
    assert_ok(mneme_check(memory, NULL, NULL, NULL, &report, test_error()));
    assert_int_equal(report.problems, 0);
}

static const mneme_record garden[] = {
    {.id = "key", .text = "The spare key is under the third flower pot."},
    {.id = "dog", .text = "Our dog is called Bruno and is afraid of thunder."},
    {.id = "tax", .text = "The tax return is due on the last day of July."},
    {.id = "cake", .text = "Grandmother's apple cake needs six sour apples and cinnamon."},
};

static void query_by_meaning_finds_the_record(void **state)
{
    (void)state;
    mneme *memory = open_store("meaning");
    mneme_add_result result = add(memory, garden, 4);
    assert_int_equal(result.added, 4);
    assert_int_equal(result.chunks, 4);
    const char *cases[][2] = {{"where can I find something to open the door?", "key"},
                              {"what is our pet scared of?", "dog"},
                              {"when must I pay the government?", "tax"},
                              {"baking recipe", "cake"}};
    for (size_t i = 0; i < 4; i++) {
        mneme_hits *hits = NULL;
        assert_ok(mneme_query(memory, cases[i][0], NULL, &hits, test_error()));
        assert_true(hits->n >= 1);
        assert_string_equal(hits->items[0].id, cases[i][1]);
        mneme_hits_free(hits);
    }
    assert_sound(memory);
    mneme_close(memory);
}

static void query_hits_carry_scores_in_range_and_the_records_text(void **state)
{
    (void)state;
    mneme *memory = open_store("scores");
    add(memory, garden, 4);
    for (mneme_mode mode = MNEME_MODE_HYBRID; mode <= MNEME_MODE_LEXICAL; mode++) {
        mneme_query_options options = MNEME_QUERY_OPTIONS_INIT;
        options.mode = mode;
        mneme_hits *hits = NULL;
        assert_ok(mneme_query(memory, "is the dog afraid?", &options, &hits, test_error()));
        assert_true(hits->n >= 1);
        assert_string_equal(hits->items[0].id, "dog");
        double attention = 0;
        for (size_t i = 0; i < hits->n; i++) {
            const mneme_hit *hit = &hits->items[i];
            const float scores[] = {hit->score, hit->dense, hit->lexical, hit->neighbour, hit->attention};
            for (size_t j = 0; j < 5; j++) assert_true(scores[j] >= 0 && scores[j] <= 1);
            if (i > 0) assert_true(hit->score <= hits->items[i - 1].score);
            attention += (double)hit->attention;
            for (size_t j = 0; j < 4; j++) {
                if (strcmp(garden[j].id, hit->id) != 0) continue;
                assert_int_equal(hit->text_size, strlen(garden[j].text));
                assert_memory_equal(hit->text, garden[j].text, hit->text_size);
            }
        }
        assert_true(fabs(attention - 1) < 1e-4);
        mneme_hits_free(hits);
    }
    mneme_close(memory);
}

static void add_of_the_same_content_again_changes_nothing(void **state)
{
    (void)state;
    mneme *memory = open_store("again");
    mneme_add_result first = add(memory, garden, 4), second = add(memory, garden, 4);
    assert_int_equal(second.unchanged, 4);
    assert_int_equal(second.added + second.updated + second.chunks, 0);
    assert_int_equal(second.generation, first.generation);
    mneme_record changed = garden[0];
    changed.text = "The spare key is with the neighbour.";
    mneme_add_result third = add(memory, &changed, 1);
    assert_int_equal(third.updated, 1);
    mneme_hits *hits = NULL;
    assert_ok(mneme_query(memory, "spare key", NULL, &hits, test_error()));
    assert_memory_equal(hits->items[0].text, changed.text, strlen(changed.text));
    mneme_hits_free(hits);
    assert_sound(memory);
    mneme_close(memory);
}

static void add_of_one_id_twice_in_a_call_keeps_the_last(void **state)
{
    (void)state;
    mneme *memory = open_store("twice");
    mneme_record records[] = {{.id = "a", .text = "first"}, {.id = "b", .text = "other"}, {.id = "a", .text = "last"}};
    add(memory, records, 3);
    mneme_record_list *list = NULL;
    assert_ok(mneme_get(memory, NULL, "a", &list, test_error()));
    assert_string_equal(list->items[0].text, "last");
    mneme_record_list_free(list);
    /* Going back to what the store has must not be taken for unchanged while the call holds something newer. */
    mneme_record back[] = {{.id = "a", .text = "newer"}, {.id = "a", .text = "last"}};
    add(memory, back, 2);
    assert_ok(mneme_get(memory, NULL, "a", &list, test_error()));
    assert_string_equal(list->items[0].text, "last");
    mneme_record_list_free(list);
    assert_sound(memory);
    mneme_close(memory);
}

static size_t g_refused_at[8], g_n_refused;

static void note_refused(void *context, size_t index, const mneme_error *error)
{
    (void)context;
    assert_true(strlen(error->message) > 0);
    g_refused_at[g_n_refused++] = index;
}

static void add_leaves_out_refused_records_unless_strict(void **state)
{
    (void)state;
    mneme *memory = open_store("refused");
    char long_id[600];
    memset(long_id, 'x', sizeof long_id);
    long_id[599] = '\0';
    const float zero[3] = {0}, bad[3] = {1, NAN, 0}, three[3] = {1, 2, 2}, four[4] = {1, 0, 0, 0};
    mneme_record records[] = {{.id = "good", .text = "stored"},
                              {.text = "no id"},
                              {.id = long_id, .text = "id too long"},
                              {.id = "m", .text = "x", .metadata = "[1]"},
                              {.id = "v0", .name_space = "v", .vector = zero, .dimension = 3},
                              {.id = "vn", .name_space = "v", .vector = bad, .dimension = 3},
                              {.id = "v3", .name_space = "v", .text = "own", .vector = three, .dimension = 3},
                              {.id = "v4", .name_space = "v", .vector = four, .dimension = 4}};
    mneme_add_options options = MNEME_ADD_OPTIONS_INIT;
    options.refused = note_refused;
    mneme_add_result result;
    options.strict = true;
    g_n_refused = 0;
    assert_true(mneme_add(memory, records, 8, &options, &result, test_error()) != MNEME_OK);
    mneme_stats *stats = NULL;
    assert_ok(mneme_get_stats(memory, &stats, test_error()));
    assert_int_equal(stats->records, 0);
    mneme_stats_free(stats);
    options.strict = false;
    g_n_refused = 0;
    assert_ok(mneme_add(memory, records, 8, &options, &result, test_error()));
    assert_int_equal(result.added, 2);
    assert_int_equal(result.refused, 6);
    const size_t expected[] = {1, 2, 3, 4, 5, 7};
    assert_int_equal(g_n_refused, 6);
    assert_memory_equal(g_refused_at, expected, sizeof expected);
    /* A question asked by vector finds the own vector, scaled to unit length: (1,2,2)/3. */
    mneme_query_options ask = MNEME_QUERY_OPTIONS_INIT;
    const float question[3] = {0, 0, 5};
    ask.vector = question;
    ask.dimension = 3;
    ask.select.name_space = "v";
    ask.mode = MNEME_MODE_DENSE;
    mneme_hits *hits = NULL;
    assert_ok(mneme_query(memory, "", &ask, &hits, test_error()));
    assert_int_equal(hits->n, 1);
    assert_true(fabs((double)hits->items[0].dense - 2.0 / 3.0) < 1e-3);
    mneme_hits_free(hits);
    assert_sound(memory);
    mneme_close(memory);
}

static void add_with_invalid_utf8_is_repaired_and_counted(void **state)
{
    (void)state;
    mneme *memory = open_store("utf8");
    mneme_record record = {.id = "a", .text = "caf\xC3\xA9 \xFF\xFE and \xE2\x82", .title = "t\x80"};
    mneme_add_result result = add(memory, &record, 1);
    assert_int_equal(result.replaced_characters, 4);
    mneme_record_list *list = NULL;
    assert_ok(mneme_get(memory, "", "a", &list, test_error()));
    assert_string_equal(list->items[0].text, "caf\xC3\xA9 \xEF\xBF\xBD\xEF\xBF\xBD and \xEF\xBF\xBD");
    assert_string_equal(list->items[0].title, "t\xEF\xBF\xBD");
    mneme_record_list_free(list);
    mneme_close(memory);
}

static void namespaces_are_walls(void **state)
{
    (void)state;
    mneme *memory = open_store("walls");
    mneme_record mine[] = {{.id = "1", .name_space = "me", .text = "My bank code is four seven one one."},
                           {.id = "2", .name_space = "me", .text = "The bank opens at nine."}};
    add(memory, mine, 2);
    mneme_query_options options = MNEME_QUERY_OPTIONS_INIT;
    options.select.name_space = "me";
    mneme_hits *before = NULL, *after = NULL, *theirs = NULL;
    assert_ok(mneme_query(memory, "bank code", &options, &before, test_error()));
    mneme_record other[50];
    char ids[50][8];
    for (size_t i = 0; i < 50; i++) {
        snprintf(ids[i], sizeof ids[i], "o%zu", i);
        other[i] = (mneme_record){.id = ids[i], .name_space = "you", .text = "bank code bank code of another person"};
    }
    add(memory, other, 50);
    assert_ok(mneme_query(memory, "bank code", &options, &after, test_error()));
    assert_int_equal(before->n, after->n);
    for (size_t i = 0; i < before->n; i++) {
        assert_string_equal(before->items[i].id, after->items[i].id);
        assert_string_equal(after->items[i].name_space, "me");
        assert_true(before->items[i].score == after->items[i].score);
        assert_true(before->items[i].lexical == after->items[i].lexical);
    }
    options.select.name_space = "you";
    assert_ok(mneme_query(memory, "when does the bank open?", &options, &theirs, test_error()));
    for (size_t i = 0; i < theirs->n; i++) assert_string_equal(theirs->items[i].name_space, "you");
    mneme_hits_free(before);
    mneme_hits_free(after);
    mneme_hits_free(theirs);
    mneme_close(memory);
}

static void filters_restrict_query_list_and_forget(void **state)
{
    (void)state;
    mneme *memory = open_store("filters");
    mneme_record records[6];
    char ids[6][8], texts[6][64];
    for (size_t i = 0; i < 6; i++) {
        snprintf(ids[i], sizeof ids[i], "r%zu", i);
        snprintf(texts[i], sizeof texts[i], "The train number %zu goes to the sea.", i);
        records[i] = (mneme_record){.id = ids[i],
                                    .text = texts[i],
                                    .session = i < 3 ? "a" : "b",
                                    .source = i % 2 ? "folder/odd.txt" : "folder/sub/even.txt",
                                    .metadata = i == 4 ? "{\"city\":\"Rome\"}" : "{\"city\":\"Oslo\"}",
                                    .has_time = i != 5,
                                    .time_ms = (int64_t)i * 1000};
    }
    add(memory, records, 6);
    const struct {
        mneme_selection select;
        const char *expected;
    } cases[] = {{{.session = "a"}, "r0 r1 r2 "},
                 {{.source = "folder/odd.txt"}, "r1 r3 r5 "},
                 {{.source = "folder"}, "r0 r1 r2 r3 r4 r5 "},
                 {{.source = "fold"}, ""},
                 {{.where = "city = \"Rome\""}, "r4 "},
                 {{.has_since = true, .since_ms = 2000, .has_until = true, .until_ms = 4000}, "r2 r3 "},
                 {{.has_since = true, .since_ms = 0}, "r0 r1 r2 r3 r4 "},
                 {{.where = "session = \"b\" and not city = \"Rome\""}, "r3 r5 "}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char listed[64] = "", found[8] = "";
        mneme_list_options list_options = MNEME_LIST_OPTIONS_INIT;
        list_options.select = cases[i].select;
        mneme_record_list *list = NULL;
        assert_ok(mneme_list(memory, &list_options, &list, test_error()));
        for (size_t j = 0; j < list->n; j++) strcat(strcat(listed, list->items[j].id), " ");
        assert_string_equal(listed, cases[i].expected);
        mneme_record_list_free(list);
        mneme_query_options query = MNEME_QUERY_OPTIONS_INIT;
        query.select = cases[i].select;
        mneme_hits *hits = NULL;
        assert_ok(mneme_query(memory, "train to the sea", &query, &hits, test_error()));
        assert_int_equal(hits->n, strlen(cases[i].expected) / 3);
        for (size_t j = 0; j < hits->n; j++) {
            snprintf(found, sizeof found, "%s ", hits->items[j].id);
            assert_non_null(strstr(cases[i].expected, found));
        }
        mneme_hits_free(hits);
    }
    mneme_forget_options forget = MNEME_FORGET_OPTIONS_INIT;
    uint64_t n = 0;
    assert_int_equal(mneme_forget(memory, &forget, &n, NULL), MNEME_ERR_USAGE);
    forget.select.session = "b";
    forget.dry_run = true;
    assert_ok(mneme_forget(memory, &forget, &n, test_error()));
    assert_int_equal(n, 3);
    forget.dry_run = false;
    assert_ok(mneme_forget(memory, &forget, &n, test_error()));
    assert_int_equal(n, 3);
    const char *id_list[] = {"r1", "none"};
    mneme_forget_options by_id = MNEME_FORGET_OPTIONS_INIT;
    by_id.ids = id_list;
    by_id.n_ids = 2;
    assert_ok(mneme_forget(memory, &by_id, &n, test_error()));
    assert_int_equal(n, 1);
    mneme_record_list *left = NULL;
    assert_ok(mneme_list(memory, NULL, &left, test_error()));
    assert_int_equal(left->n, 2);
    mneme_record_list_free(left);
    assert_int_equal(mneme_get(memory, NULL, "r1", &left, NULL), MNEME_ERR_NOT_FOUND);
    assert_sound(memory);
    mneme_close(memory);
}

static void list_pages_cover_every_record_once(void **state)
{
    (void)state;
    mneme *memory = open_store("pages");
    const float vector[2] = {1, 0};
    char ids[23][16];
    mneme_record records[23];
    for (size_t i = 0; i < 23; i++) {
        snprintf(ids[i], sizeof ids[i], "id%02zu", i);
        records[i] = (mneme_record){.id = ids[i], .name_space = i % 2 ? "odd:1" : "", .vector = vector, .dimension = 2};
    }
    add(memory, records, 23);
    char all[400] = "", *next = NULL;
    size_t pages = 0;
    do {
        mneme_list_options options = MNEME_LIST_OPTIONS_INIT;
        options.limit = 5;
        options.after = next;
        mneme_record_list *list = NULL;
        assert_ok(mneme_list(memory, &options, &list, test_error()));
        for (size_t i = 0; i < list->n; i++) strcat(all, list->items[i].id);
        free(next);
        next = list->next ? strdup(list->next) : NULL;
        mneme_record_list_free(list);
        pages++;
    } while (next && pages < 20);
    char expected[400] = "";
    for (size_t i = 0; i < 23; i += 2) strcat(expected, ids[i]);
    for (size_t i = 1; i < 23; i += 2) strcat(expected, ids[i]);
    assert_string_equal(all, expected);
    assert_int_equal(pages, 5);
    mneme_close(memory);
}

static void context_keeps_to_the_budget_and_holds_the_answer(void **state)
{
    (void)state;
    mneme *memory = open_store("context");
    mneme_record turns[40];
    char ids[40][8], texts[40][160];
    for (size_t i = 0; i < 40; i++) {
        snprintf(ids[i], sizeof ids[i], "t%zu", i);
        if (i == 21) snprintf(texts[i], sizeof texts[i], "We named the kitten Marzipan, because of her colour.");
        else snprintf(texts[i], sizeof texts[i], "Turn %zu was about the weather, which was grey and a little cold again.", i);
        turns[i] = (mneme_record){.id = ids[i], .session = "chat", .speaker = i % 2 ? "Ann" : "Bob", .text = texts[i]};
    }
    add(memory, turns, 40);
    const uint32_t budgets[] = {16, 40, 100, 400, 4000};
    for (size_t i = 0; i < sizeof budgets / sizeof budgets[0]; i++) {
        mneme_context_options options = MNEME_CONTEXT_OPTIONS_INIT;
        options.budget = budgets[i];
        mneme_window *window = NULL;
        assert_ok(mneme_context(memory, "what is the name of the kitten?", &options, &window, test_error()));
        const mneme_encoder *encoder = NULL;
        uint64_t tokens = 0;
        assert_ok(mneme_get_encoder(memory, &encoder, test_error()));
        assert_ok(mneme_count_tokens(encoder, window->text, window->text_size, &tokens, test_error()));
        assert_int_equal(tokens, window->tokens);
        assert_true(window->tokens <= budgets[i]);
        if (budgets[i] >= 40) assert_non_null(strstr(window->text, "Marzipan"));
        for (size_t j = 0; j < window->n; j++) {
            const mneme_passage *passage = &window->items[j];
            mneme_record_list *record = NULL;
            assert_ok(mneme_get(memory, NULL, passage->id, &record, test_error()));
            assert_memory_equal(passage->text, record->items[0].text + passage->start, passage->text_size);
            mneme_record_list_free(record);
            /* Turns come in the order in which they were said. */
            if (j > 0) assert_true(atoi(passage->id + 1) > atoi(window->items[j - 1].id + 1));
        }
        mneme_window_free(window);
    }
    mneme_close(memory);
}

static void store_of_another_encoder_is_refused(void **state)
{
    (void)state;
    mneme *memory = open_store("stamp");
    add(memory, garden, 1);
    mneme_close(memory);
    /* The same model under another pooling gives other vectors. */
    char command[9000], folder[1200], path[1200];
    snprintf(folder, sizeof folder, "%s/other-model", g_dir);
    snprintf(command, sizeof command,
             "mkdir %s && ln -s %s/* %s/ && rm %s/1_Pooling && mkdir %s/1_Pooling && "
             "echo '{\"pooling_mode_cls_token\": true}' > %s/1_Pooling/config.json",
             folder, test_model_dir(), folder, folder, folder, folder);
    assert_int_equal(system(command), 0);
    mneme_settings *settings = NULL;
    assert_ok(mneme_settings_new(&settings, test_error()));
    assert_ok(mneme_settings_set(settings, "encoder.model", folder, "command line", test_error()));
    snprintf(path, sizeof path, "%s/stamp", g_dir);
    assert_ok(mneme_open(path, settings, 0, &memory, test_error()));
    mneme_error error;
    mneme_hits *hits = NULL;
    assert_int_equal(mneme_query(memory, "key", NULL, &hits, &error), MNEME_ERR_ENCODER);
    assert_non_null(strstr(error.message, "other-model"));
    mneme_add_result result;
    assert_int_equal(mneme_add(memory, &garden[1], 1, NULL, &result, &error), MNEME_ERR_ENCODER);
    mneme_query_options words = MNEME_QUERY_OPTIONS_INIT;
    words.mode = MNEME_MODE_LEXICAL;
    assert_ok(mneme_query(memory, "key", &words, &hits, test_error())); /* words need no encoder */
    assert_int_equal(hits->n, 1);
    mneme_hits_free(hits);
    mneme_close(memory);
    mneme_settings_free(settings);
}

static void open_with_bad_arguments_says_why(void **state)
{
    (void)state;
    mneme *memory = (mneme *)1;
    char path[1200];
    snprintf(path, sizeof path, "%s/nothing-here", g_dir);
    assert_int_equal(mneme_open(path, g_settings, MNEME_OPEN_EXISTING, &memory, NULL), MNEME_ERR_NOT_A_STORE);
    assert_null(memory);
    assert_int_equal(mneme_open(path, g_settings, MNEME_OPEN_READ_ONLY, &memory, NULL), MNEME_ERR_NOT_A_STORE);
    assert_int_equal(mneme_open("", g_settings, 0, &memory, NULL), MNEME_ERR_USAGE);
    memory = open_store("busy");
    mneme *second = NULL;
    snprintf(path, sizeof path, "%s/busy", g_dir);
    assert_int_equal(mneme_open(path, g_settings, 0, &second, NULL), MNEME_ERR_BUSY);
    mneme_close(memory);
    assert_ok(mneme_open(path, g_settings, MNEME_OPEN_READ_ONLY, &memory, test_error()));
    assert_int_equal(mneme_add(memory, garden, 1, NULL, NULL, NULL), MNEME_ERR_READ_ONLY);
    mneme_close(memory);
}

static void query_of_nothing_finds_nothing(void **state)
{
    (void)state;
    mneme *memory = open_store("nothing");
    mneme_hits *hits = NULL;
    assert_ok(mneme_query(memory, "anything", NULL, &hits, test_error()));
    assert_int_equal(hits->n, 0);
    mneme_hits_free(hits);
    add(memory, garden, 4);
    assert_ok(mneme_query(memory, "  ", NULL, &hits, test_error()));
    assert_int_equal(hits->n, 0);
    mneme_hits_free(hits);
    mneme_query_options options = MNEME_QUERY_OPTIONS_INIT;
    options.select.name_space = "no such namespace";
    assert_ok(mneme_query(memory, "dog", &options, &hits, test_error()));
    assert_int_equal(hits->n, 0);
    mneme_hits_free(hits);
    options.select.name_space = NULL;
    options.k = 1000;
    assert_ok(mneme_query(memory, "dog", &options, &hits, test_error()));
    assert_int_equal(hits->n, 4);
    mneme_hits_free(hits);
    const float nan_vector[384] = {NAN};
    options.vector = nan_vector;
    options.dimension = 384;
    assert_int_equal(mneme_query(memory, "", &options, &hits, NULL), MNEME_ERR_USAGE);
    mneme_close(memory);
}

/* ---- many threads on one handle ---- */

typedef struct thread_job {
    mneme *memory;
    int number;
    int failures;
} thread_job;

static void *write_and_read(void *argument)
{
    thread_job *job = argument;
    for (int i = 0; i < 10; i++) {
        char id[32], text[80];
        snprintf(id, sizeof id, "w%d-%d", job->number, i);
        snprintf(text, sizeof text, "Note %d of writer %d about lighthouses.", i, job->number);
        mneme_record record = {.id = id, .text = text};
        if (mneme_add(job->memory, &record, 1, NULL, NULL, NULL) != MNEME_OK) job->failures++;
        mneme_hits *hits = NULL;
        if (mneme_query(job->memory, text, NULL, &hits, NULL) != MNEME_OK || hits->n == 0) job->failures++;
        mneme_hits_free(hits);
    }
    return NULL;
}

static void handle_used_by_many_threads_loses_nothing(void **state)
{
    (void)state;
    mneme *memory = open_store("threads");
    pthread_t threads[4];
    thread_job jobs[4];
    for (int i = 0; i < 4; i++) {
        jobs[i] = (thread_job){.memory = memory, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, write_and_read, &jobs[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(jobs[i].failures, 0);
    }
    mneme_stats *stats = NULL;
    assert_ok(mneme_get_stats(memory, &stats, test_error()));
    assert_int_equal(stats->records, 40);
    mneme_stats_free(stats);
    assert_sound(memory);
    mneme_close(memory);
}

static bool cancel_at_once(void *context, uint64_t done, uint64_t total, const char *unit)
{
    (void)context, (void)done, (void)total, (void)unit;
    return false;
}

static void add_that_is_cancelled_stores_nothing(void **state)
{
    (void)state;
    mneme *memory = open_store("cancel");
    mneme_add_options options = MNEME_ADD_OPTIONS_INIT;
    options.progress = cancel_at_once;
    assert_int_equal(mneme_add(memory, garden, 4, &options, NULL, NULL), MNEME_ERR_CANCELLED);
    mneme_stats *stats = NULL;
    assert_ok(mneme_get_stats(memory, &stats, test_error()));
    assert_int_equal(stats->records, 0);
    mneme_stats_free(stats);
    mneme_close(memory);
}

static int set_up(void **state)
{
    (void)state;
    g_dir = test_make_dir();
    if (mneme_settings_new(&g_settings, NULL) != MNEME_OK) return -1;
    return mneme_settings_set(g_settings, "encoder.model", test_model_dir(), "command line", NULL);
}

static int tear_down(void **state)
{
    (void)state;
    mneme_settings_free(g_settings);
    test_remove_dir(g_dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(query_by_meaning_finds_the_record),
        cmocka_unit_test(query_hits_carry_scores_in_range_and_the_records_text),
        cmocka_unit_test(add_of_the_same_content_again_changes_nothing),
        cmocka_unit_test(add_of_one_id_twice_in_a_call_keeps_the_last),
        cmocka_unit_test(add_leaves_out_refused_records_unless_strict),
        cmocka_unit_test(add_with_invalid_utf8_is_repaired_and_counted),
        cmocka_unit_test(namespaces_are_walls),
        cmocka_unit_test(filters_restrict_query_list_and_forget),
        cmocka_unit_test(list_pages_cover_every_record_once),
        cmocka_unit_test(context_keeps_to_the_budget_and_holds_the_answer),
        cmocka_unit_test(store_of_another_encoder_is_refused),
        cmocka_unit_test(open_with_bad_arguments_says_why),
        cmocka_unit_test(query_of_nothing_finds_nothing),
        cmocka_unit_test(handle_used_by_many_threads_loses_nothing),
        cmocka_unit_test(add_that_is_cancelled_stores_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
