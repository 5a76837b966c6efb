/* test_formats.c -- stores that earlier versions wrote (stores/format-N.tar.gz) are read, upgraded and written to; a
 * store of a format that does not exist yet is refused. stores/make_store.sh says what is in them. */
#include "reliability_support.h"

#include "memstore/store.h"

#include <dirent.h>

static char *g_dir;

/* Unpack stores/format-<n>.tar.gz; false where there is none. `store` and `records`: paths, 1200 bytes each. */
static bool unpack(unsigned format, char *store, char *records)
{
    char command[5000], archive[1200], folder[1100];
    snprintf(archive, sizeof archive, "%s/tests/reliability/stores/format-%u.tar.gz", test_source_dir(), format);
    if (access(archive, R_OK) != 0) return false;
    snprintf(folder, sizeof folder, "%s/format-%u", g_dir, format);
    snprintf(command, sizeof command, "rm -rf '%s' && mkdir '%s' && tar -xzf '%s' -C '%s'", folder, folder, archive,
             folder);
    assert_int_equal(system(command), 0);
    snprintf(store, 1200, "%s/store", folder);
    snprintf(records, 1200, "%s/records.jsonl", folder);
    return true;
}

static void assert_same_string(const char *got, const char *want)
{
    if (!want)
        assert_null(got);
    else
        assert_string_equal(got, want);
}

static void compare_record(mneme *memory, const mneme_record *want)
{
    mneme_record_list *list = NULL;
    assert_ok(mneme_get(memory, want->name_space, want->id, &list, test_error()));
    const mneme_record *got = &list->items[0];
    size_t size = want->text ? (want->text_size ? want->text_size : strlen(want->text)) : 0;
    assert_int_equal(list->n, 1);
    assert_int_equal(list->n_chunks[0], 1);
    assert_int_equal(got->text_size, size);
    if (size) assert_memory_equal(got->text, want->text, size);
    assert_same_string(got->title, want->title);
    assert_same_string(got->session, want->session);
    assert_same_string(got->speaker, want->speaker);
    assert_same_string(got->metadata, want->metadata);
    assert_int_equal(got->has_time, want->has_time);
    if (want->has_time) assert_true(got->time_ms == want->time_ms);
    mneme_record_list_free(list);
    mneme_query_options ask = MNEME_QUERY_OPTIONS_INIT;
    mneme_hits *hits = NULL;
    ask.k = 1;
    ask.mode = MNEME_MODE_DENSE;
    ask.select.name_space = want->name_space ? want->name_space : "";
    ask.vector = want->vector;
    ask.dimension = want->dimension;
    assert_ok(mneme_query(memory, "", &ask, &hits, test_error()));
    assert_int_equal(hits->n, 1);
    assert_string_equal(hits->items[0].id, want->id);
    assert_true((double)hits->items[0].dense > 0.999); /* whatever numbers the format keeps vectors in */
    mneme_hits_free(hits);
}

/* Every record of records.jsonl is there; gives their number. */
static uint64_t compare_with_file(mneme *memory, const char *records)
{
    FILE *file = fopen(records, "r");
    assert_non_null(file);
    char *line = NULL;
    size_t room = 0;
    uint64_t n = 0;
    for (ssize_t size = getline(&line, &room, file); size > 0; size = getline(&line, &room, file), n++) {
        mneme_record *want = NULL;
        assert_ok(mneme_record_parse(line, (size_t)size - 1, &want, test_error()));
        compare_record(memory, want);
        mneme_record_free(want);
    }
    free(line);
    fclose(file);
    return n;
}

static size_t count_hits(mneme *memory, const char *words, const char *first)
{
    mneme_query_options ask = MNEME_QUERY_OPTIONS_INIT;
    mneme_hits *hits = NULL;
    ask.mode = MNEME_MODE_LEXICAL;
    ask.k = 100;
    ask.select.name_space = "";
    assert_ok(mneme_query(memory, words, &ask, &hits, test_error()));
    size_t n = 0; /* neighbours of a hit come too, without a word of the question */
    for (size_t i = 0; i < hits->n; i++) n += hits->items[i].lexical > 0;
    if (first) assert_string_equal(hits->items[0].id, first);
    mneme_hits_free(hits);
    return n;
}

static uint32_t format_of(mneme *memory)
{
    mneme_stats *stats = NULL;
    assert_ok(mneme_get_stats(memory, &stats, test_error()));
    uint32_t format = stats->format;
    mneme_stats_free(stats);
    return format;
}

/* Files beside data.mdb and lock.mdb whose names speak of a backup. */
static unsigned count_backups(const char *store)
{
    unsigned n = 0;
    DIR *dir = opendir(store);
    for (const struct dirent *entry = dir ? readdir(dir) : NULL; entry; entry = readdir(dir))
        if (strstr(entry->d_name, "backup") || strstr(entry->d_name, "format")) n++;
    if (dir) closedir(dir);
    return n;
}

static void check_stored_format(unsigned format)
{
    char store[1200], records[1200];
    mneme *memory = NULL;
    if (!unpack(format, store, records)) {
        if (format < MN_STORE_FORMAT) fail_msg("there is no stores/format-%u.tar.gz", format);
        return; /* it is made when the next format comes */
    }
    assert_ok(rel_open(store, MNEME_OPEN_EXISTING, &memory, test_error()));
    uint64_t n = compare_with_file(memory, records);
    assert_true(n == 55);
    mneme_check_report report = rel_assert_sound(memory, "as it came");
    assert_true(report.records == n && report.chunks == n);
    /* By hand from make_store.sh: 40 turns speak of a lighthouse, turn 39 alone of 1521 ships, "xyzzy" is forgotten. */
    assert_int_equal(count_hits(memory, "lighthouse", NULL), 40);
    assert_int_equal(count_hits(memory, "1521", "turn 39"), 1);
    assert_int_equal(count_hits(memory, "xyzzy", NULL), 0);
    mneme_record_list *list = NULL;
    assert_int_equal(mneme_get(memory, NULL, "forgotten", &list, NULL), MNEME_ERR_NOT_FOUND);
    mneme_list_options of_session = MNEME_LIST_OPTIONS_INIT;
    of_session.select.session = "talk-1";
    assert_ok(mneme_list(memory, &of_session, &list, test_error()));
    assert_int_equal(list->n, 11); /* turns 1, 5, ... 37, and "replaced" */
    mneme_record_list_free(list);
    /* It is written to as well. */
    const float vector[8] = {0, 0, 0, 0, 0, 0, 0, 1};
    mneme_record added = {.id = "new", .text = "Quicksilver.", .session = "talk-1", .vector = vector, .dimension = 8};
    assert_ok(mneme_add(memory, &added, 1, NULL, NULL, test_error()));
    assert_int_equal(count_hits(memory, "quicksilver", "new"), 1);
    assert_int_equal(count_hits(memory, "lighthouse", NULL), 40);
    rel_assert_sound(memory, "after a write");
    assert_int_equal(format_of(memory), MN_STORE_FORMAT);
    mneme_close(memory);
    if (format != MN_STORE_FORMAT && count_backups(store) == 0)
        fail_msg("format %u was upgraded without a backup", format);
    assert_ok(rel_open(store, MNEME_OPEN_READ_ONLY, &memory, test_error()));
    assert_true(compare_with_file(memory, records) == n);
    mneme_close(memory);
}

static void store_of_every_format_is_read_whole_and_written_to(void **state)
{
    (void)state;
    for (unsigned format = 1; format <= MN_STORE_FORMAT; format++) check_stored_format(format);
}

static int make_dir(void **state)
{
    (void)state;
    g_dir = test_make_dir();
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    test_remove_dir(g_dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(store_of_every_format_is_read_whole_and_written_to),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
