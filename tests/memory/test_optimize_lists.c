/* Indexes of lists with product quantization, through the public API: what they find, and what is left in their files
 * of rows that die. The file is read here by its description in docs/index-files.md. */
#include "index_world.h"

#include "retriever/index_file.h"

enum { LARGE = 12000, CODE_BYTES = 16 };

/* A graph would take 4 MB, lists 0.4. */
static void make_large_world(world *w)
{
    make_world_of(w, LARGE, "1");
}

/* ---- finding ---- */

static void where_a_graph_is_too_large_lists_find_the_best(void **state)
{
    (void)state;
    world w;
    make_large_world(&w);
    optimize(&w);
    mneme_index_info info = info_of(&w);
    assert_string_equal(info.kind, "ivfpq");
    assert_int_equal(info.covered, LARGE);
    assert_true(info.recall >= 0.99 && info.effort > 0 && info.bytes < (uint64_t)LARGE * DIMENSION * 2);
    assert_true(recall(&w) >= 0.99);
    assert_int_equal(problems_of(&w), 0);
    reopen(&w, MNEME_OPEN_READ_ONLY);
    assert_string_equal(info_of(&w).kind, "ivfpq");
    assert_true(recall(&w) >= 0.99);
    info_of(NULL);
    end_world(&w);
}

/* Less than lists can be learned from. */
static void lists_of_few_rows_are_a_graph(void **state)
{
    (void)state;
    world w;
    make_world(&w);
    mneme_optimize_options options = MNEME_OPTIMIZE_OPTIONS_INIT;
    options.kind = "ivfpq";
    assert_ok(mneme_optimize(w.memory, &options, test_error()));
    assert_string_equal(info_of(&w).kind, "hnsw");
    assert_true(recall(&w) >= 0.99);
    info_of(NULL);
    end_world(&w);
}

static void newer_rows_are_found_and_then_extend_lists(void **state)
{
    (void)state;
    world w;
    make_large_world(&w);
    optimize(&w);
    forget(&w, 0, 50, 9); /* holes, which what comes lies behind */
    add_rows(&w, NULL, 1500);
    assert_int_equal(info_of(&w).newer, 1500);
    assert_true(recall(&w) >= 0.99);
    forget(&w, LARGE + 3, 100, 7);
    assert_true(recall(&w) >= 0.99);
    optimize(&w);
    mneme_index_info info = info_of(&w);
    assert_string_equal(info.kind, "ivfpq");
    assert_int_equal(info.covered, LARGE - 50 + 1400);
    assert_int_equal(info.dead, 50);
    assert_int_equal(info.newer, 0);
    assert_true(recall(&w) >= 0.99);
    assert_int_equal(problems_of(&w), 0);
    forget(&w, 5, 60, 9);
    assert_int_equal(problems_of(&w), 0);
    assert_true(recall(&w) >= 0.99);
    info_of(NULL);
    end_world(&w);
}

static void filters_of_every_width_find_the_best_in_lists(void **state)
{
    (void)state;
    static const window windows[] = {
        {NULL, 0, 2 * LARGE, 0},       {NULL, 100, LARGE, 0},       {NULL, 3000, 6000, 0},
        {NULL, 5500, 1000, 0},         {NULL, 2000, 600, 0},        {NULL, 4000, 60, 0},
        {NULL, 12200, 60, 0},          {NULL, 100, 6, 0},           {NULL, 50, 1, 0},
        {"part < 10000", 0, 0, 10000}, {"part < 5000", 0, 0, 5000}, {"part < 2500", 0, 0, 2500},
        {"part < 1000", 0, 0, 1000},   {"part < 300", 0, 0, 300},   {"part < 100", 0, 0, 100},
        {"part < 10", 0, 0, 10},       {"part < 1", 0, 0, 1},       {"not part >= 700", 0, 0, 700},
    };
    world w;
    make_large_world(&w);
    optimize(&w);
    add_rows(&w, NULL, 700);
    forget(&w, 2, 300, 13);
    assert_string_equal(info_of(&w).kind, "ivfpq");
    expect_windows(&w, windows, sizeof windows / sizeof *windows);
    info_of(NULL);
    end_world(&w);
}

static void as_many_hits_as_asked_for_come_and_the_same_each_time(void **state)
{
    (void)state;
    world w;
    make_large_world(&w);
    optimize(&w);
    float question[DIMENSION];
    uint64_t seed = 6;
    draw_vector(&seed, question);
    mneme_hits *first = ask(&w, question, 300);
    assert_int_equal(first->n, 300);
    reopen(&w, MNEME_OPEN_READ_ONLY);
    mneme_hits *second = ask(&w, question, 300);
    assert_int_equal(second->n, 300);
    expect_same_hits(first, second);
    first = ask(&w, question, 2 * LARGE);
    assert_int_equal(first->n, LARGE);
    mneme_hits_free(first);
    end_world(&w);
}

static bool stop_at_once(void *context, uint64_t done, uint64_t total, const char *unit)
{
    (void)done;
    (void)total;
    (void)unit;
    return ++*(int *)context < 4;
}

/* While centres are learned, too. */
static void a_cancelled_build_leaves_no_lists(void **state)
{
    (void)state;
    world w;
    int calls = 0;
    make_large_world(&w);
    mneme_optimize_options options = MNEME_OPTIMIZE_OPTIONS_INIT;
    options.progress = stop_at_once;
    options.context = &calls;
    assert_int_equal(mneme_optimize(w.memory, &options, test_error()), MNEME_ERR_CANCELLED);
    assert_int_equal(calls, 4);
    assert_string_equal(info_of(&w).kind, "none");
    info_of(NULL);
    end_world(&w);
}

/* ---- reading the file ---- */

typedef struct lists_file {
    unsigned char *bytes;
    size_t size;
    mn_index_facts facts;
    const uint64_t *sizes; /* of the lists; before the tail, in FAISS's words "full", how many, and each */
    const uint32_t *rows;
    /* of each position */
    unsigned char (*codes)[CODE_BYTES];
    unsigned *lists, *times; /* how often it is in one */
    size_t n_holes;
} lists_file;

static void read_lists(lists_file *f)
{
    size_t at = f->facts.tail_start;
    for (size_t list = 0; list < f->facts.n_lists; list++) {
        const unsigned char *codes = f->bytes + at, *positions = codes + f->sizes[list] * CODE_BYTES;
        bool holes = false;
        for (size_t i = 0; i < f->sizes[list]; i++) {
            static const unsigned char zeros[CODE_BYTES];
            int64_t position;
            memcpy(&position, positions + i * sizeof position, sizeof position);
            if (position == INT64_MAX) {
                assert_memory_equal(codes + i * CODE_BYTES, zeros, CODE_BYTES);
                holes = true;
                f->n_holes++;
                continue;
            }
            assert_false(holes); /* they are at the end */
            assert_true(position >= 0 && (uint64_t)position < f->facts.n_codes);
            memcpy(f->codes[position], codes + i * CODE_BYTES, CODE_BYTES);
            f->lists[position] = (unsigned)list;
            f->times[position]++;
        }
        at += f->sizes[list] * (CODE_BYTES + sizeof(int64_t));
    }
    assert_int_equal(at, f->facts.graph_bytes);
}

static lists_file read_file(const world *w)
{
    lists_file f = {0};
    FILE *file = fopen(index_file(w), "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    f.size = (size_t)ftell(file);
    rewind(file);
    f.bytes = malloc(f.size);
    assert_int_equal(fread(f.bytes, 1, f.size, file), f.size);
    fclose(file);
    memcpy(&f.facts, f.bytes + f.size - sizeof f.facts, sizeof f.facts);
    size_t n = (size_t)f.facts.n_codes, n_lists = (size_t)f.facts.n_lists;
    uint64_t *sizes = malloc(n_lists * sizeof *sizes);
    memcpy(sizes, f.bytes + f.facts.tail_start - n_lists * sizeof *sizes, n_lists * sizeof *sizes);
    f.sizes = sizes;
    f.rows = (const uint32_t *)(const void *)(f.bytes + (f.facts.graph_bytes + 7) / 8 * 8);
    f.codes = calloc(n, sizeof *f.codes);
    f.lists = calloc(n, sizeof *f.lists);
    f.times = calloc(n, sizeof *f.times);
    read_lists(&f);
    return f;
}

static void free_file(lists_file *f)
{
    free((void *)(uintptr_t)f->sizes);
    free(f->bytes);
    free(f->codes);
    free(f->lists);
    free(f->times);
}

/* ---- rows that die ---- */

static void forgotten_rows_never_come_back_from_lists(void **state)
{
    (void)state;
    world w;
    make_large_world(&w);
    optimize(&w);
    assert_int_equal(problems_of(&w), 0);
    forget(&w, 1, 500, 3);
    assert_int_equal(info_of(&w).dead, 500);
    assert_int_equal(problems_of(&w), 0);
    assert_true(recall(&w) >= 0.99);
    reopen(&w, 0);
    assert_string_equal(info_of(&w).kind, "ivfpq");
    assert_true(recall(&w) >= 0.99);
    info_of(NULL);
    end_world(&w);
}

/* Records have one row each, in their order. */
static void a_forgotten_row_leaves_neither_code_nor_place(void **state)
{
    (void)state;
    world w;
    make_large_world(&w);
    optimize(&w);
    lists_file before = read_file(&w);
    assert_int_equal(before.n_holes, 0);
    for (size_t p = 0; p < LARGE; p++) assert_int_equal(before.times[p], 1);
    forget(&w, 17, 1, 1);
    forget(&w, 100, 40, 11);
    lists_file after = read_file(&w);
    assert_int_equal(after.n_holes, 41);
    assert_int_equal(after.facts.n_codes, LARGE);
    for (size_t p = 0; p < LARGE; p++) {
        bool gone = w.gone[after.rows[p]];
        assert_int_equal(after.times[p], gone ? 0 : 1);
        if (gone) continue;
        assert_memory_equal(after.codes[p], before.codes[p], CODE_BYTES);
        assert_int_equal(after.lists[p], before.lists[p]);
    }
    free_file(&before);
    free_file(&after);
    info_of(NULL);
    end_world(&w);
}

/* What its centre is the mean of is forgotten, all of it. */
static void when_all_of_a_list_is_forgotten_the_file_is_given_up(void **state)
{
    (void)state;
    world w;
    make_large_world(&w);
    optimize(&w);
    lists_file f = read_file(&w);
    for (size_t p = 0; p < LARGE; p++)
        if (f.lists[p] == 7) forget(&w, f.rows[p], 1, 1);
    assert_true(f.sizes[7] >= 1);
    assert_string_equal(info_of(&w).kind, "none");
    assert_int_equal(access(index_file(&w), F_OK), -1);
    assert_true(recall(&w) >= 1);
    free_file(&f);
    info_of(NULL);
    end_world(&w);
}

/* What a crash between the commit and the scrub would leave: the file as it was before, put back. */
static void a_code_that_a_crash_left_in_a_list_is_found_by_check_and_taken_out(void **state)
{
    (void)state;
    world w;
    make_large_world(&w);
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
    assert_string_equal(info_of(&w).kind, "ivfpq");
    info_of(NULL);
    end_world(&w);
}

/* Put a trailer with these facts under the file. */
static void write_facts(const world *w, mn_index_facts *facts)
{
    FILE *file = fopen(index_file(w), "r+b");
    facts->sum = mn_index_facts_sum(facts);
    assert_non_null(file);
    fseek(file, -(long)sizeof *facts, SEEK_END);
    assert_int_equal(fwrite(facts, sizeof *facts, 1, file), 1);
    fclose(file);
}

/* Half of a list may be as it was, and half as it should be. */
static void lists_whose_rewriting_was_interrupted_are_given_up_by_the_next_writer(void **state)
{
    (void)state;
    world w;
    make_large_world(&w);
    optimize(&w);
    mneme_close(w.memory);
    lists_file f = read_file(&w);
    f.facts.is_being_scrubbed = 1;
    write_facts(&w, &f.facts);
    open_world(&w, MNEME_OPEN_READ_ONLY);
    assert_true(recall(&w) >= 0.99);
    reopen(&w, 0);
    assert_string_equal(info_of(&w).kind, "none");
    assert_int_equal(access(index_file(&w), F_OK), -1);
    assert_true(recall(&w) >= 1);
    optimize(&w);
    assert_string_equal(info_of(&w).kind, "ivfpq");
    free_file(&f);
    info_of(NULL);
    end_world(&w);
}

/* ---- files that are not what they should be ---- */

static void damaged_lists_are_named_and_not_used(void **state)
{
    (void)state;
    world w;
    make_large_world(&w);
    optimize(&w);
    lists_file f = read_file(&w);
    mneme_close(w.memory);
    long tail = (long)f.facts.tail_start;
    const struct {
        long at;
        const char *why;
    } cases[] = {{500, "head"},  {tail - 8, "head"}, {tail, "vectors"}, {tail + 18 * LARGE, "vectors"},
                 {-400, "rows"}, {-200, "trailer"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        flip_a_bit(index_file(&w), cases[i].at);
        expect_refused(&w, cases[i].why);
        flip_a_bit(index_file(&w), cases[i].at);
    }
    assert_int_equal(truncate(index_file(&w), (off_t)f.size - 1), 0);
    expect_refused(&w, "cut short");
    open_world(&w, 0);
    optimize(&w);
    assert_string_equal(info_of(&w).kind, "ivfpq");
    free_file(&f);
    info_of(NULL);
    end_world(&w);
}

/* Whole by its checksums, but one list's codes stand for other rows: check encodes the vectors again. */
static void codes_that_are_not_those_of_the_rows_are_found_by_check(void **state)
{
    (void)state;
    world w;
    make_large_world(&w);
    optimize(&w);
    mneme_close(w.memory);
    lists_file f = read_file(&w);
    size_t list = 0;
    while (f.sizes[list] < 20) list++;
    size_t at = f.facts.tail_start;
    for (size_t i = 0; i < list; i++) at += f.sizes[i] * (CODE_BYTES + sizeof(int64_t));
    FILE *file = fopen(index_file(&w), "r+b");
    fseek(file, (long)at, SEEK_SET);
    for (size_t i = 0; i < CODE_BYTES; i++) fputc(~f.bytes[at + i], file);
    fclose(file);
    f.facts.is_being_scrubbed = 1; /* so that the tail's checksums are not looked at */
    write_facts(&w, &f.facts);
    open_world(&w, MNEME_OPEN_READ_ONLY);
    assert_int_equal(problems_of(&w), 1);
    free_file(&f);
    end_world(&w);
}

static void lists_of_another_store_are_not_used(void **state)
{
    (void)state;
    world w, other;
    make_large_world(&w);
    make_large_world(&other);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_a_graph_is_too_large_lists_find_the_best),
        cmocka_unit_test(lists_of_few_rows_are_a_graph),
        cmocka_unit_test(newer_rows_are_found_and_then_extend_lists),
        cmocka_unit_test(filters_of_every_width_find_the_best_in_lists),
        cmocka_unit_test(as_many_hits_as_asked_for_come_and_the_same_each_time),
        cmocka_unit_test(a_cancelled_build_leaves_no_lists),
        cmocka_unit_test(forgotten_rows_never_come_back_from_lists),
        cmocka_unit_test(a_forgotten_row_leaves_neither_code_nor_place),
        cmocka_unit_test(when_all_of_a_list_is_forgotten_the_file_is_given_up),
        cmocka_unit_test(a_code_that_a_crash_left_in_a_list_is_found_by_check_and_taken_out),
        cmocka_unit_test(lists_whose_rewriting_was_interrupted_are_given_up_by_the_next_writer),
        cmocka_unit_test(damaged_lists_are_named_and_not_used),
        cmocka_unit_test(codes_that_are_not_those_of_the_rows_are_found_by_check),
        cmocka_unit_test(lists_of_another_store_are_not_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
