/* The rows of given records against what their entries say, with rows dead in between. */
#include "retriever/row_ranges.h"

#include "retriever/retriever_support.h"

enum { RECORDS = 600 };

/* Records of 0 to 3 chunks, without vectors. */
static void put_records(test_memory *memory, uint64_t *seed)
{
    static char ids[RECORDS][16];
    static mneme_record records[RECORDS];
    static mn_new_chunk chunks[3] = {{0, 3, NULL}, {4, 7, NULL}, {8, 13, NULL}};
    static mn_new_record put[RECORDS];
    for (size_t i = 0; i < RECORDS; i++) {
        snprintf(ids[i], sizeof ids[i], "r%zu", i);
        records[i] = (mneme_record){.id = ids[i], .text = "one two three", .text_size = 13};
        put[i] = (mn_new_record){.record = &records[i], .chunks = chunks, .n_chunks = test_below(seed, 4)};
    }
    test_put(memory, put, RECORDS);
}

static void forget_numbers(test_memory *memory, size_t from, size_t n)
{
    for (size_t i = from; i < from + n; i++) {
        char id[16];
        snprintf(id, sizeof id, "r%zu", i);
        test_forget(memory, "", id);
    }
}

static void expect_rows_of(mn_read *read, const mn_namespace *space, const mn_rows *rows, const mn_recs *recs,
                           mn_arena *arena)
{
    mn_row_ranges ranges = {.items = mn_arena_array(arena, recs->n, sizeof(mn_row_range))};
    size_t at = 0;
    assert_ok(mn_row_ranges_find(read, space->ns, rows, recs, &ranges, test_error()));
    for (size_t i = 0; i < recs->n; i++) {
        mn_record record;
        if (mn_read_record(read, space->ns, recs->items[i], &record, NULL) != MNEME_OK || record.n_chunks == 0)
            continue;
        assert_true(at < ranges.n);
        assert_int_equal(ranges.items[at].first, record.first_row);
        assert_int_equal(ranges.items[at].n, record.n_chunks);
        at++;
    }
    assert_int_equal(ranges.n, at);
}

static void rows_are_those_of_the_records_entries(void **state)
{
    (void)state;
    uint64_t seed = 3;
    test_memory memory = test_memory_open();
    put_records(&memory, &seed);
    forget_numbers(&memory, 100, 60); /* a long dead run */
    forget_numbers(&memory, 300, 4);
    for (size_t i = 400; i < 500; i += 3) forget_numbers(&memory, i, 1 + i % 2);
    forget_numbers(&memory, 580, 20); /* up to the end */
    mn_read *read = NULL;
    mn_arena arena = {0};
    mn_namespace space;
    mn_rows rows;
    assert_ok(mn_read_begin(memory.store, &read, test_error()));
    assert_ok(mn_read_namespace(read, "", &space, test_error()));
    assert_ok(mn_read_rows(read, space.ns, &arena, &rows, test_error()));
    for (uint32_t every = 1; every < 60; every++) {
        static uint32_t numbers[RECORDS + 20];
        mn_recs recs = {.items = numbers};
        for (uint32_t rec = 1 + test_below(&seed, every); rec < RECORDS + 10; rec += 1 + test_below(&seed, every))
            numbers[recs.n++] = rec;
        expect_rows_of(read, &space, &rows, &recs, &arena);
    }
    mn_read_end(read);
    mn_arena_free(&arena);
    test_memory_close(&memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_those_of_the_records_entries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
