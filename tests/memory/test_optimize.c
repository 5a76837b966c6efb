/* Indexes beside the store, through the public API: what they find, and what becomes of them when rows die, come, and
 * files are damaged. */
#include "index_world.h"

/* ---- building ---- */

static void optimize_of_a_large_namespace_builds_an_index_that_finds_the_best(void **state)
{
    (void)state;
    world w;
    make_world(&w);
    assert_string_equal(info_of(&w).kind, "none");
    assert_non_null(strstr(info_of(&w).reason, "none was built yet"));
    optimize(&w);
    mneme_index_info info = info_of(&w);
    assert_string_equal(info.kind, "hnsw");
    assert_int_equal(info.covered, ROWS);
    assert_int_equal(info.newer, 0);
    assert_true(info.recall >= 0.99 && info.effort > 0 && info.bytes > ROWS * DIMENSION);
    assert_true(recall(&w) >= 0.99);
    reopen(&w, MNEME_OPEN_READ_ONLY);
    assert_string_equal(info_of(&w).kind, "hnsw");
    assert_true(recall(&w) >= 0.99);
    info_of(NULL);
    end_world(&w);
}

static void every_kind_finds_the_best(void **state)
{
    (void)state;
    static const char *const kinds[] = {"hnsw", "hnsw-bf16", "hnsw-f32"};
    world w;
    make_world(&w);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        mneme_optimize_options options = MNEME_OPTIMIZE_OPTIONS_INIT;
        options.kind = kinds[i];
        assert_ok(mneme_optimize(w.memory, &options, test_error()));
        assert_string_equal(info_of(&w).kind, kinds[i]);
        assert_true(recall(&w) >= 0.99);
    }
    mneme_optimize_options none = MNEME_OPTIMIZE_OPTIONS_INIT;
    none.kind = "none";
    assert_ok(mneme_optimize(w.memory, &none, test_error()));
    assert_int_equal(access(index_file(&w), F_OK), -1);
    info_of(NULL);
    end_world(&w);
}

static void small_namespaces_get_no_index(void **state)
{
    (void)state;
    world w = {.dir = test_make_dir(), .seed = 3};
    w.vectors = calloc(ROOM, sizeof *w.vectors);
    w.gone = calloc(ROOM, sizeof *w.gone);
    open_world(&w, 0);
    optimize(&w); /* of an empty store */
    add_rows(&w, NULL, 999);
    optimize(&w);
    assert_string_equal(info_of(&w).kind, "none");
    assert_non_null(strstr(info_of(&w).reason, "index.min_rows"));
    assert_true(recall(&w) >= 1);
    info_of(NULL);
    end_world(&w);
}

static void newer_rows_are_found_and_then_extend_the_index(void **state)
{
    (void)state;
    world w;
    make_world(&w);
    optimize(&w);
    add_rows(&w, NULL, 1500);
    assert_int_equal(info_of(&w).newer, 1500);
    assert_true(recall(&w) >= 0.99);
    forget(&w, ROWS + 3, 100, 7); /* newer ones, too */
    assert_true(recall(&w) >= 0.99);
    optimize(&w);
    mneme_index_info info = info_of(&w);
    assert_int_equal(info.covered, ROWS + 1400);
    assert_int_equal(info.newer, 0);
    assert_true(recall(&w) >= 0.99);
    reopen(&w, 0);
    assert_true(recall(&w) >= 0.99);
    info_of(NULL);
    end_world(&w);
}

static bool stop_half_way(void *context, uint64_t done, uint64_t total, const char *unit)
{
    (void)context;
    (void)unit;
    return done < total / 2;
}

static void a_cancelled_build_leaves_the_old_index(void **state)
{
    (void)state;
    world w;
    make_world(&w);
    optimize(&w);
    uint64_t generation = info_of(&w).generation;
    mneme_optimize_options options = MNEME_OPTIMIZE_OPTIONS_INIT;
    options.anew = true;
    options.progress = stop_half_way;
    assert_int_equal(mneme_optimize(w.memory, &options, test_error()), MNEME_ERR_CANCELLED);
    assert_int_equal(info_of(&w).generation, generation);
    assert_string_equal(info_of(&w).kind, "hnsw");
    info_of(NULL);
    end_world(&w);
}

static void options_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    world w;
    make_world(&w);
    mneme_optimize_options options = MNEME_OPTIMIZE_OPTIONS_INIT;
    options.kind = "flat";
    assert_int_equal(mneme_optimize(w.memory, &options, test_error()), MNEME_ERR_USAGE);
    options.kind = NULL;
    options.recall = 1;
    assert_int_equal(mneme_optimize(w.memory, &options, test_error()), MNEME_ERR_USAGE);
    options.recall = 0;
    options.name_space = "elsewhere";
    assert_int_equal(mneme_optimize(w.memory, &options, test_error()), MNEME_ERR_NOT_FOUND);
    reopen(&w, MNEME_OPEN_READ_ONLY);
    assert_int_equal(mneme_optimize(w.memory, NULL, test_error()), MNEME_ERR_READ_ONLY);
    end_world(&w);
}

/* ---- questions at the edge ---- */

static void more_hits_than_rows_and_bad_vectors_have_clear_answers(void **state)
{
    (void)state;
    world w;
    make_world(&w);
    optimize(&w);
    float question[DIMENSION];
    uint64_t seed = 5;
    draw_vector(&seed, question);
    mneme_hits *hits = ask(&w, question, 2 * ROWS);
    assert_int_equal(hits->n, ROWS);
    mneme_hits_free(hits);
    hits = ask(&w, question, 0); /* as many as the setting says */
    assert_int_equal(hits->n, 10);
    mneme_hits_free(hits);
    question[3] = NAN;
    mneme_query_options options = MNEME_QUERY_OPTIONS_INIT;
    options.mode = MNEME_MODE_DENSE;
    options.vector = question;
    options.dimension = DIMENSION;
    assert_int_equal(mneme_query(w.memory, "", &options, &hits, test_error()), MNEME_ERR_USAGE);
    end_world(&w);
}

static void the_same_question_has_the_same_answer(void **state)
{
    (void)state;
    world w;
    make_world(&w);
    optimize(&w);
    float question[DIMENSION];
    uint64_t seed = 6;
    draw_vector(&seed, question);
    mneme_hits *first = ask(&w, question, 50);
    reopen(&w, MNEME_OPEN_READ_ONLY);
    mneme_hits *second = ask(&w, question, 50);
    expect_same_hits(first, second);
    end_world(&w);
}

/* ---- filters ---- */

/* From one row in ten thousand to all, in one piece and spread, with rows that the index does not have and dead ones.
 */
static void filters_of_every_width_find_the_best(void **state)
{
    (void)state;
    static const window windows[] = {
        {NULL, 0, 2 * ROWS, 0},        {NULL, 100, ROWS, 0},        {NULL, 3000, 2000, 0},
        {NULL, 5500, 1000, 0},         {NULL, 2000, 600, 0},        {NULL, 4000, 60, 0},
        {NULL, 6200, 60, 0},           {NULL, 100, 6, 0},           {NULL, 50, 1, 0},
        {"part < 10000", 0, 0, 10000}, {"part < 5000", 0, 0, 5000}, {"part < 2500", 0, 0, 2500},
        {"part < 1000", 0, 0, 1000},   {"part < 300", 0, 0, 300},   {"part < 100", 0, 0, 100},
        {"part < 10", 0, 0, 10},       {"part < 1", 0, 0, 1},       {"not part >= 700", 0, 0, 700},
    };
    world w;
    make_world(&w);
    optimize(&w);
    add_rows(&w, NULL, 700);
    forget(&w, 2, 300, 13);
    assert_string_equal(info_of(&w).kind, "hnsw");
    expect_windows(&w, windows, sizeof windows / sizeof *windows);
    info_of(NULL);
    end_world(&w);
}

/* ---- rows that die ---- */

static void forgotten_rows_never_come_back(void **state)
{
    (void)state;
    world w;
    make_world(&w);
    optimize(&w);
    assert_int_equal(problems_of(&w), 0);
    forget(&w, 1, 500, 3);
    assert_int_equal(info_of(&w).dead, 500);
    assert_int_equal(problems_of(&w), 0);
    assert_true(recall(&w) >= 0.99);
    reopen(&w, 0);
    assert_string_equal(info_of(&w).kind, "hnsw");
    assert_true(recall(&w) >= 0.99);
    info_of(NULL);
    end_world(&w);
}

static bool file_holds(const char *path, const unsigned char *bytes, size_t size)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    size_t n = (size_t)ftell(file);
    rewind(file);
    unsigned char *all = malloc(n);
    assert_int_equal(fread(all, 1, n, file), n);
    fclose(file);
    bool found = memmem(all, n, bytes, size) != NULL;
    free(all);
    return found;
}

typedef struct kept_vectors {
    float first[DIMENSION], second[DIMENSION]; /* of records 17 and 4321, as the store gives them back */
} kept_vectors;

static bool take_vectors(void *context, const mneme_record *record)
{
    kept_vectors *kept = context;
    if (strcmp(record->id, "17") == 0) memcpy(kept->first, record->vector, sizeof kept->first);
    if (strcmp(record->id, "4321") == 0) memcpy(kept->second, record->vector, sizeof kept->second);
    return true;
}

/* hnsw-f32 keeps vectors as they are given back, filled up with zeros, so that one can be looked for in the file. */
static void a_forgotten_vector_is_gone_from_the_file(void **state)
{
    (void)state;
    world w;
    kept_vectors kept;
    make_world(&w);
    mneme_optimize_options options = MNEME_OPTIMIZE_OPTIONS_INIT;
    options.kind = "hnsw-f32";
    assert_ok(mneme_optimize(w.memory, &options, test_error()));
    assert_ok(mneme_export(w.memory, NULL, take_vectors, &kept, NULL, test_error()));
    const unsigned char *first = (const unsigned char *)kept.first, *second = (const unsigned char *)kept.second;
    assert_true(file_holds(index_file(&w), first, sizeof kept.first));
    assert_true(file_holds(index_file(&w), second, sizeof kept.second));
    forget(&w, 17, 1, 1);
    assert_false(file_holds(index_file(&w), first, sizeof kept.first));
    assert_true(file_holds(index_file(&w), second, sizeof kept.second));
    forget(&w, 4321, 1, 1);
    assert_false(file_holds(index_file(&w), second, sizeof kept.second));
    assert_string_equal(info_of(&w).kind, "hnsw-f32");
    info_of(NULL);
    end_world(&w);
}

/* What a crash between the commit and the scrub would leave: the file as it was before, put back. */
static void a_vector_that_a_crash_left_is_found_by_check_and_taken_out_by_the_next_writer(void **state)
{
    (void)state;
    world w;
    make_world(&w);
    optimize(&w);
    char command[2600];
    snprintf(command, sizeof command, "cp -p '%s' '%s/before'", index_file(&w), w.dir);
    assert_int_equal(system(command), 0);
    forget(&w, 40, 30, 5);
    mneme_close(w.memory);
    snprintf(command, sizeof command, "mv '%s/before' '%s'", w.dir, index_file(&w));
    assert_int_equal(system(command), 0);
    open_world(&w, MNEME_OPEN_READ_ONLY);
    assert_true(problems_of(&w) > 0);
    assert_true(recall(&w) >= 0.99); /* it does not come back all the same */
    reopen(&w, 0);
    assert_int_equal(problems_of(&w), 0);
    assert_string_equal(info_of(&w).kind, "hnsw");
    info_of(NULL);
    end_world(&w);
}

/* It holds vectors of rows that may be forgotten since. */
static void what_a_killed_builder_left_is_removed_by_the_next_writer(void **state)
{
    (void)state;
    world w;
    char command[2600], left[1300];
    make_world(&w);
    optimize(&w);
    snprintf(left, sizeof left, "%s.new", index_file(&w));
    snprintf(command, sizeof command, "cp '%s' '%s'", index_file(&w), left);
    assert_int_equal(system(command), 0);
    forget(&w, 3, 1, 1); /* by a writer that was open all the time, too */
    assert_int_equal(access(left, F_OK), -1);
    assert_int_equal(system(command), 0);
    reopen(&w, 0);
    assert_int_equal(access(left, F_OK), -1);
    assert_string_equal(info_of(&w).kind, "hnsw");
    info_of(NULL);
    end_world(&w);
}

static void an_index_of_which_much_is_dead_is_removed_and_built_anew(void **state)
{
    (void)state;
    world w;
    make_world(&w);
    optimize(&w);
    forget(&w, 0, 2000, 2);
    assert_string_equal(info_of(&w).kind, "none");
    assert_int_equal(access(index_file(&w), F_OK), -1);
    assert_true(recall(&w) >= 1);
    optimize(&w);
    assert_int_equal(info_of(&w).covered, ROWS - 2000);
    assert_int_equal(info_of(&w).dead, 0);
    assert_true(recall(&w) >= 0.99);
    info_of(NULL);
    end_world(&w);
}

static void after_compact_the_index_is_not_used_until_it_is_built_anew(void **state)
{
    (void)state;
    world w;
    make_world(&w);
    optimize(&w);
    forget(&w, 5, 300, 4);
    assert_ok(mneme_compact(w.memory, NULL, NULL, test_error()));
    assert_string_equal(info_of(&w).kind, "none");
    assert_non_null(strstr(info_of(&w).reason, "compacted"));
    assert_int_equal(problems_of(&w), 0);
    assert_true(recall(&w) >= 1);
    optimize(&w);
    assert_int_equal(info_of(&w).covered, ROWS - 300);
    assert_true(recall(&w) >= 0.99);
    info_of(NULL);
    end_world(&w);
}

/* ---- files that are not what they should be ---- */

static void damaged_files_are_named_and_not_used(void **state)
{
    (void)state;
    world w;
    make_world(&w);
    optimize(&w);
    long size = (long)info_of(&w).bytes, codes = size - 256 - 8 - ROWS * 4 - ROWS * 64;
    mneme_close(w.memory);
    const struct {
        long at;
        const char *why;
    } cases[] = {{500, "graph"}, {codes + 1000, "vectors"}, {-256 - 8 - 100, "rows"}, {-200, "trailer"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        flip_a_bit(index_file(&w), cases[i].at);
        expect_refused(&w, cases[i].why);
        flip_a_bit(index_file(&w), cases[i].at);
    }
    assert_int_equal(truncate(index_file(&w), size - 1), 0);
    expect_refused(&w, "cut short");
    assert_int_equal(truncate(index_file(&w), 100), 0);
    expect_refused(&w, "cut short");
    assert_int_equal(truncate(index_file(&w), 0), 0);
    expect_refused(&w, "empty");
    open_world(&w, 0);
    optimize(&w); /* anew */
    assert_string_equal(info_of(&w).kind, "hnsw");
    assert_true(recall(&w) >= 0.99);
    info_of(NULL);
    end_world(&w);
}

static void a_file_of_another_store_is_not_used(void **state)
{
    (void)state;
    world w, other;
    make_world(&w);
    make_world(&other);
    optimize(&w);
    optimize(&other);
    mneme_close(other.memory);
    char other_path[1200];
    snprintf(other_path, sizeof other_path, "%s", index_file(&other));
    assert_int_equal(rename(other_path, index_file(&w)), 0);
    mneme_close(w.memory);
    expect_refused(&w, "another store");
    open_world(&w, 0);
    open_world(&other, 0);
    info_of(NULL);
    end_world(&w);
    end_world(&other);
}

/* A copy of a whole directory has other stamps: its file is compared, and then used. */
static void a_copied_store_uses_its_index(void **state)
{
    (void)state;
    world w;
    make_world(&w);
    optimize(&w);
    mneme_close(w.memory);
    char command[2500];
    snprintf(command, sizeof command, "cp -r '%s' '%s-copy' && rm -r '%s' && mv '%s-copy' '%s'", w.dir, w.dir, w.dir,
             w.dir, w.dir);
    assert_int_equal(system(command), 0);
    open_world(&w, MNEME_OPEN_READ_ONLY);
    assert_string_equal(info_of(&w).kind, "hnsw");
    assert_true(recall(&w) >= 0.99);
    reopen(&w, 0);
    assert_string_equal(info_of(&w).kind, "hnsw");
    info_of(NULL);
    end_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(optimize_of_a_large_namespace_builds_an_index_that_finds_the_best),
        cmocka_unit_test(every_kind_finds_the_best),
        cmocka_unit_test(small_namespaces_get_no_index),
        cmocka_unit_test(newer_rows_are_found_and_then_extend_the_index),
        cmocka_unit_test(a_cancelled_build_leaves_the_old_index),
        cmocka_unit_test(options_that_make_no_sense_are_refused),
        cmocka_unit_test(more_hits_than_rows_and_bad_vectors_have_clear_answers),
        cmocka_unit_test(the_same_question_has_the_same_answer),
        cmocka_unit_test(filters_of_every_width_find_the_best),
        cmocka_unit_test(forgotten_rows_never_come_back),
        cmocka_unit_test(a_forgotten_vector_is_gone_from_the_file),
        cmocka_unit_test(a_vector_that_a_crash_left_is_found_by_check_and_taken_out_by_the_next_writer),
        cmocka_unit_test(what_a_killed_builder_left_is_removed_by_the_next_writer),
        cmocka_unit_test(an_index_of_which_much_is_dead_is_removed_and_built_anew),
        cmocka_unit_test(after_compact_the_index_is_not_used_until_it_is_built_anew),
        cmocka_unit_test(damaged_files_are_named_and_not_used),
        cmocka_unit_test(a_file_of_another_store_is_not_used),
        cmocka_unit_test(a_copied_store_uses_its_index),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
