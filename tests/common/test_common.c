/* test_common.c -- error record, allocation, arena, buffers, UTF-8, files, paths, time and threads. */
#include "test_support.h"

#include "common/buffer.h"
#include "common/clock.h"
#include "common/crew.h"
#include "common/file.h"
#include "common/threads.h"
#include "common/utf8.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- error ---- */

static void fail_with_line_breaks_and_a_long_text_stays_one_valid_line(void **state)
{
    (void)state;
    char text[700];
    memset(text, 'x', sizeof text);
    /* A three-byte character across the end of the message's 508 bytes. */
    memcpy(text + 506, "\xE2\x82\xAC", 3);
    text[600] = '\0';
    text[3] = '\n';
    mneme_error error;
    assert_int_equal(mn_fail(&error, MNEME_ERR_IO, "%s", text), MNEME_ERR_IO);
    assert_int_equal(strlen(error.message), 506);
    assert_int_equal(error.message[3], ' ');
    assert_true(mn_utf8_valid(error.message, strlen(error.message)));
    assert_int_equal(mn_fail(NULL, MNEME_ERR_IO, "x"), MNEME_ERR_IO);
}

static void fail_errno_maps_the_systems_reasons(void **state)
{
    (void)state;
    const struct {
        int number;
        mneme_status status;
    } cases[] = {{ENOSPC, MNEME_ERR_DISK_FULL},
                 {EDQUOT, MNEME_ERR_DISK_FULL},
                 {EACCES, MNEME_ERR_PERMISSION},
                 {EROFS, MNEME_ERR_PERMISSION},
                 {ENOENT, MNEME_ERR_NOT_FOUND},
                 {ENOMEM, MNEME_ERR_MEMORY},
                 {EIO, MNEME_ERR_IO}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(mn_fail_errno(NULL, cases[i].number, "x"), cases[i].status);
    mneme_error error;
    mn_fail_errno(&error, ENOSPC, "cannot write %s", "a");
    assert_string_equal(error.message, "cannot write a: No space left on device");
    mn_error_prefix(&error, "b:%d: ", 7);
    assert_string_equal(error.message, "b:7: cannot write a: No space left on device");
}

static void status_names_follow_the_list(void **state)
{
    (void)state;
    assert_string_equal(mneme_status_name(MNEME_ERR_DISK_FULL), "MNEME_ERR_DISK_FULL");
    assert_string_equal(mneme_status_text(MNEME_OK), "done");
    assert_string_equal(mneme_status_name((mneme_status)-999), "MNEME_ERR_UNKNOWN");
    assert_int_equal(MNEME_ERR_INTERNAL, -21); /* values are ABI */
    assert_int_equal(MNEME_ERR_DIVERGED, -22);
}

/* ---- memory ---- */

static void alloc_array_whose_size_overflows_gives_null(void **state)
{
    (void)state;
    assert_null(mn_alloc_array(SIZE_MAX / 2, 3));
    assert_null(mn_realloc_array(NULL, SIZE_MAX, SIZE_MAX));
    mn_arena arena = {0};
    assert_null(mn_arena_array(&arena, SIZE_MAX, 2));
    assert_null(mn_arena_alloc(&arena, SIZE_MAX));
    mn_arena_free(&arena);
}

static void arena_pieces_do_not_overlap_and_are_aligned(void **state)
{
    (void)state;
    mn_arena arena = {0};
    unsigned char *pieces[500];
    for (size_t i = 0; i < 500; i++) {
        pieces[i] = mn_arena_alloc(&arena, i * 7);
        assert_int_equal((uintptr_t)pieces[i] % 16, 0);
        memset(pieces[i], (int)(i & 255), i * 7);
    }
    for (size_t i = 0; i < 500; i++)
        for (size_t j = 0; j < i * 7; j++) assert_int_equal(pieces[i][j], i & 255);
    assert_string_equal(mn_arena_copy(&arena, "ab\0c", 2), "ab");
    assert_null(mn_arena_strdup(&arena, NULL));
    mn_arena_free(&arena);
}

static void alloc_fail_after_lets_the_nth_and_all_later_fail(void **state)
{
    (void)state;
    mn_alloc_fail_after(2);
    void *first = mn_alloc(1), *second = mn_alloc(1), *third = mn_alloc(1);
    mn_alloc_fail_after(0);
    assert_non_null(first);
    assert_null(second);
    assert_null(third);
    mn_free(first);
}

/* ---- buffer ---- */

static void varint_of_every_length_reads_back(void **state)
{
    (void)state;
    mn_buffer buffer = {0};
    for (unsigned bit = 0; bit < 64; bit++) {
        mn_buffer_varint(&buffer, (uint64_t)1 << bit);
        mn_buffer_varint(&buffer, ((uint64_t)1 << bit) - 1);
    }
    mn_buffer_varint(&buffer, UINT64_MAX);
    const unsigned char *at = (const unsigned char *)buffer.data, *end = at + buffer.size;
    uint64_t value = 0;
    for (unsigned bit = 0; bit < 64; bit++) {
        assert_true(mn_varint_read(&at, end, &value));
        assert_true(value == (uint64_t)1 << bit);
        assert_true(mn_varint_read(&at, end, &value));
        assert_true(value == ((uint64_t)1 << bit) - 1);
    }
    assert_true(mn_varint_read(&at, end, &value));
    assert_true(value == UINT64_MAX);
    assert_true(at == end);
    mn_buffer_free(&buffer);
}

static void varint_cut_short_or_too_long_is_refused(void **state)
{
    (void)state;
    const unsigned char cut[] = {0x80, 0x80}, endless[] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1};
    const unsigned char too_large[] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 2};
    uint64_t value = 7;
    const unsigned char *at = cut;
    assert_false(mn_varint_read(&at, cut + 2, &value));
    at = endless;
    assert_false(mn_varint_read(&at, endless + sizeof endless, &value));
    at = too_large;
    assert_false(mn_varint_read(&at, too_large + sizeof too_large, &value));
    assert_true(value == 7);
}

static void buffer_out_of_memory_is_remembered(void **state)
{
    (void)state;
    mn_buffer buffer = {0};
    mn_buffer_text(&buffer, "kept");
    mn_alloc_fail_after(1);
    char large[500] = {0};
    mn_buffer_append(&buffer, large, sizeof large);
    mn_alloc_fail_after(0);
    mn_buffer_text(&buffer, "more");
    assert_true(buffer.failed);
    assert_string_equal(buffer.data, "kept");
    mn_buffer_free(&buffer);
}

/* ---- UTF-8: the Unicode standard's own examples (table 3-8 and section 3.9) ---- */

static void utf8_repair_replaces_maximal_subparts(void **state)
{
    (void)state;
    const struct {
        const char *in, *out;
        uint64_t replaced;
    } cases[] = {
        {"\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64",
         "a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"
         "b\xEF\xBF\xBD"
         "c\xEF\xBF\xBD\xEF\xBF\xBD"
         "d",
         6},
        {"\xC0\xAF", "\xEF\xBF\xBD\xEF\xBF\xBD", 2},
        {"\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD", 3},
        {"\xF4\x90\x80\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD", 4},
        {"\xE2\x82", "\xEF\xBF\xBD", 1},
        {"plain \xE2\x82\xAC \xF0\x9F\x99\x82", "plain \xE2\x82\xAC \xF0\x9F\x99\x82", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mn_buffer out = {0};
        assert_int_equal(mn_utf8_repair(cases[i].in, strlen(cases[i].in), &out), cases[i].replaced);
        assert_string_equal(out.data, cases[i].out);
        assert_true(mn_utf8_valid(out.data, out.size));
        assert_int_equal(mn_utf8_valid(cases[i].in, strlen(cases[i].in)), cases[i].replaced == 0);
        mn_buffer_free(&out);
    }
}

static void utf8_every_code_point_reads_back(void **state)
{
    (void)state;
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        char bytes[4];
        uint32_t back = 0;
        size_t n = mn_utf8_encode(c, bytes);
        bool surrogate = c >= 0xD800 && c <= 0xDFFF;
        assert_int_equal(mn_utf8_decode(bytes, n, &back), surrogate ? 0 : n);
        if (!surrogate) assert_int_equal(back, c);
        if (n > 1) assert_int_equal(mn_utf8_decode(bytes, n - 1, &back), 0);
    }
}

static void utf8_floor_never_splits_a_character(void **state)
{
    (void)state;
    const char *text = "a\xE2\x82\xAC\xF0\x9F\x99\x82z";
    const size_t expected[] = {0, 1, 1, 1, 4, 4, 4, 4, 8, 9, 9};
    for (size_t i = 0; i <= 10; i++) assert_int_equal(mn_utf8_floor(text, 9, i), expected[i]);
}

/* ---- files and paths ---- */

static void path_normalize_resolves_by_letters(void **state)
{
    (void)state;
    const char *cases[][2] = {{"a/./b//c/", "a/b/c"},
                              {"./a", "a"},
                              {"a/../b", "b"},
                              {"../a", "../a"},
                              {"../../a", "../../a"},
                              {"/../a", "/a"},
                              {"/", "/"},
                              {"", "."},
                              {"a/..", "."},
                              {"/a/b/../..", "/"},
                              {"a/b/../../../c", "../c"},
                              {"a..b/c.", "a..b/c."},
                              {"/a/./../b/", "/b"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *out = mn_path_normalize(cases[i][0]);
        assert_string_equal(out, cases[i][1]);
        mn_free(out);
    }
    char *joined = mn_path_join("a/", "b"), *absolute = mn_path_join("a", "/b");
    assert_string_equal(joined, "a/b");
    assert_string_equal(absolute, "/b");
    assert_string_equal(mn_path_base("a/b/c"), "c");
    mn_free(joined);
    mn_free(absolute);
}

static void directory_that_cannot_be_made_is_a_failure_of_the_system(void **state)
{
    (void)state;
    char *dir = test_make_dir();
    char link[1100], below[1200];
    snprintf(link, sizeof link, "%s/link", dir);
    snprintf(below, sizeof below, "%s/below", link);
    assert_int_equal(symlink("/nonexistent/place", link), 0);
    assert_int_equal(mn_make_directories(link, 0700, test_error()), MNEME_ERR_IO);
    assert_non_null(strstr(test_error()->message, "symbolic link"));
    assert_int_equal(mn_make_directories(below, 0700, test_error()), MNEME_ERR_IO);
    assert_int_equal(mn_make_directories("/proc/x", 0700, test_error()), MNEME_ERR_IO);
    assert_int_equal(test_error()->code, MNEME_ERR_IO);
    assert_non_null(strstr(test_error()->message, "/proc/x"));
    test_remove_dir(dir);
}

static void file_written_atomically_reads_back_and_leaves_nothing_else(void **state)
{
    (void)state;
    char *dir = test_make_dir();
    char path[1200], deep[1100];
    snprintf(deep, sizeof deep, "%s/x/y/z", dir);
    assert_ok(mn_make_directories(deep, 0700, test_error()));
    assert_ok(mn_make_directories(deep, 0700, test_error()));
    struct stat info;
    assert_int_equal(stat(deep, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    snprintf(path, sizeof path, "%s/file", deep);
    assert_ok(mn_file_write_atomic(path, "one", 3, test_error()));
    assert_ok(mn_file_write_atomic(path, "second", 6, test_error()));
    mn_buffer text = {0};
    assert_ok(mn_file_read(path, 6, &text, test_error()));
    assert_string_equal(text.data, "second");
    mn_buffer_clear(&text);
    assert_int_equal(mn_file_read(path, 5, &text, NULL), MNEME_ERR_TOO_LARGE);
    mn_buffer_free(&text);
    char command[1300];
    snprintf(command, sizeof command, "test \"$(ls %s)\" = file", deep);
    assert_int_equal(system(command), 0);
    mn_mapping map;
    assert_ok(mn_file_map(path, &map, test_error()));
    assert_memory_equal(map.data, "second", 6);
    mn_file_unmap(&map);
    assert_int_equal(mn_file_map(deep, &map, NULL), MNEME_ERR_IO);
    snprintf(path, sizeof path, "%s/none", deep);
    assert_int_equal(mn_file_map(path, &map, NULL), MNEME_ERR_NOT_FOUND);
    test_remove_dir(dir);
}

static void file_write_without_space_is_disk_full(void **state)
{
    (void)state;
    if (access("/dev/full", W_OK) != 0) skip();
    mn_buffer text = {0};
    assert_int_equal(mn_file_write_atomic("/nonexistent/x", "x", 1, NULL), MNEME_ERR_NOT_FOUND);
    assert_int_equal(mn_file_read("/dev/full", 10, &text, NULL), MNEME_ERR_IO); /* a device is no regular file */
    mn_buffer_free(&text);
}

/* ---- time: against the C library's calendar ---- */

static void time_of_many_days_equals_the_c_library(void **state)
{
    (void)state;
    for (int64_t seconds = -30000000000; seconds < 30000000000; seconds += 86400 * 11 + 3661) {
        time_t clock_time = (time_t)seconds;
        struct tm parts;
        gmtime_r(&clock_time, &parts);
        char expected[64], got[32];
        snprintf(expected, sizeof expected, "%04d-%02d-%02dT%02d:%02d:%02dZ", parts.tm_year + 1900, parts.tm_mon + 1,
                 parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
        mneme_time_format(seconds * 1000, got, sizeof got);
        assert_string_equal(got, expected);
        int64_t back = 0;
        assert_ok(mneme_time_parse(expected, &back, test_error()));
        assert_true(back == seconds * 1000);
    }
}

static void time_parse_reads_the_forms_of_iso_8601(void **state)
{
    (void)state;
    const struct {
        const char *text;
        int64_t ms;
    } cases[] = {{"1970-01-01", 0},
                 {"2000-02-29T12:00:00Z", 951825600000},
                 {"2023-05-08T13:56:00", 1683554160000},
                 {"2023-05-08 13:56", 1683554160000},
                 {"2023-05-08T15:56:00+02:00", 1683554160000},
                 {"2023-05-08T09:26:00.250-0430", 1683554160250},
                 {"2023-05", 1682899200000},
                 {"2023", 1672531200000}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t ms = -1;
        assert_ok(mneme_time_parse(cases[i].text, &ms, test_error()));
        assert_true(ms == cases[i].ms);
    }
    const char *bad[] = {"",
                         "yesterday",
                         "2023-13-01",
                         "2023-02-29",
                         "2023-05-08T25:00:00",
                         "2023-05-08T13:56:00+",
                         "2023-05-08x",
                         "2023-05-08T13:56:00.Z",
                         "23-05-08"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t ms = 5;
        assert_int_equal(mneme_time_parse(bad[i], &ms, NULL), MNEME_ERR_SYNTAX);
        assert_true(ms == 0);
    }
}

/* ---- threads ---- */

enum { ITEMS = 10000 };

typedef struct tally {
    atomic_int seen[ITEMS];
    atomic_uint largest_worker;
} tally;

static void count_item(void *context, size_t item, unsigned worker)
{
    tally *t = context;
    atomic_fetch_add(&t->seen[item], 1);
    unsigned largest = atomic_load(&t->largest_worker);
    while (worker > largest && !atomic_compare_exchange_weak(&t->largest_worker, &largest, worker)) {
    }
}

static void threads_run_every_item_once(void **state)
{
    (void)state;
    static tally t;
    mn_threads *threads = NULL;
    assert_ok(mn_threads_new(4, &threads, test_error()));
    for (int round = 1; round <= 20; round++) {
        mn_threads_run(threads, ITEMS, count_item, &t);
        for (size_t i = 0; i < ITEMS; i++) assert_int_equal(atomic_load(&t.seen[i]), round);
    }
    assert_true(atomic_load(&t.largest_worker) < 4);
    mn_threads_run(threads, 0, count_item, &t);
    mn_threads_free(threads);
}

static void count_short_item(void *context, unsigned item, unsigned worker)
{
    count_item(context, item, worker);
}

static void crew_runs_every_item_of_many_jobs_once(void **state)
{
    (void)state;
    enum { SESSIONS = 20, JOBS = 200, MEMBERS = 4 };
    static tally t;
    mn_crew *crew = NULL;
    assert_ok(mn_crew_new(MEMBERS, &crew, test_error()));
    int expected[ITEMS] = {0};
    for (unsigned session = 0; session < SESSIONS; session++) {
        while (!mn_crew_begin(crew)) continue; /* it may rest */
        for (unsigned job = 0; job < JOBS; job++) {
            unsigned n = (session * JOBS + job) % (ITEMS + 1);
            mn_crew_run(crew, n, count_short_item, &t);
            for (unsigned i = 0; i < n; i++) expected[i]++;
            for (unsigned i = 0; i < ITEMS; i++) assert_int_equal(atomic_load(&t.seen[i]), expected[i]);
        }
        mn_crew_end(crew);
    }
    assert_true(atomic_load(&t.largest_worker) < MEMBERS);
    mn_crew_free(crew);
    assert_ok(mn_crew_new(2, &crew, test_error()));
    mn_crew_free(crew); /* never begun */
}

/* The member takes one of two items and is long about it; the caller's waits until it has it. */
static void dawdle(void *context, unsigned item, unsigned worker)
{
    atomic_bool *taken = context;
    (void)item;
    if (worker == 0) {
        while (!atomic_load(taken)) usleep(100);
        return;
    }
    atomic_store(taken, true);
    usleep(20 * 1000 * MN_CREW_HELD_UP_MS);
}

static void crew_rests_after_a_job_that_waited_for_a_member(void **state)
{
    (void)state;
    mn_crew *crew = NULL;
    atomic_bool taken = false;
    unsigned refused = 0;
    assert_ok(mn_crew_new(2, &crew, test_error()));
    assert_true(mn_crew_begin(crew));
    mn_crew_run(crew, 2, dawdle, &taken);
    mn_crew_end(crew);
    while (!mn_crew_begin(crew)) refused++;
    assert_int_equal(refused, MN_CREW_RESTS);
    mn_crew_end(crew);
    mn_crew_free(crew);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fail_with_line_breaks_and_a_long_text_stays_one_valid_line),
        cmocka_unit_test(fail_errno_maps_the_systems_reasons),
        cmocka_unit_test(status_names_follow_the_list),
        cmocka_unit_test(alloc_array_whose_size_overflows_gives_null),
        cmocka_unit_test(arena_pieces_do_not_overlap_and_are_aligned),
        cmocka_unit_test(alloc_fail_after_lets_the_nth_and_all_later_fail),
        cmocka_unit_test(varint_of_every_length_reads_back),
        cmocka_unit_test(varint_cut_short_or_too_long_is_refused),
        cmocka_unit_test(buffer_out_of_memory_is_remembered),
        cmocka_unit_test(utf8_repair_replaces_maximal_subparts),
        cmocka_unit_test(utf8_every_code_point_reads_back),
        cmocka_unit_test(utf8_floor_never_splits_a_character),
        cmocka_unit_test(path_normalize_resolves_by_letters),
        cmocka_unit_test(directory_that_cannot_be_made_is_a_failure_of_the_system),
        cmocka_unit_test(file_written_atomically_reads_back_and_leaves_nothing_else),
        cmocka_unit_test(file_write_without_space_is_disk_full),
        cmocka_unit_test(time_of_many_days_equals_the_c_library),
        cmocka_unit_test(time_parse_reads_the_forms_of_iso_8601),
        cmocka_unit_test(threads_run_every_item_once),
        cmocka_unit_test(crew_runs_every_item_of_many_jobs_once),
        cmocka_unit_test(crew_rests_after_a_job_that_waited_for_a_member),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
