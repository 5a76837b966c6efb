/* Postings decoded fast are those decoded plainly, whatever the bytes are; a cursor finds what a plain list has. */
#include "memstore/posting_cursor.h"

#include "common/buffer.h"

#include "test_support.h"

static uint32_t below(uint64_t *seed, uint32_t n)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((*seed >> 33) % n);
}

/* Postings with gaps of up to 2^bits rows; one count of `plain` is not 1. */
static uint32_t random_postings(uint64_t *seed, mn_buffer *out, uint32_t first_row, uint32_t n, unsigned bits,
                                uint32_t plain)
{
    uint32_t row = first_row;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t gap = below(seed, 1u << below(seed, bits + 1)) + (i > 0), count = 1;
        if (below(seed, plain) == 0) count = 2 + below(seed, 1u << below(seed, 20));
        row += gap;
        mn_buffer_varint(out, (uint64_t)gap * 2 + (count == 1));
        if (count != 1) mn_buffer_varint(out, count - 2);
    }
    return row;
}

/* Decode `size` bytes, which end where the memory does (so that a read behind them is seen by the sanitizers), in
 * steps. */
static void check_decoding(const char *bytes, size_t size, uint32_t first_row, size_t step)
{
    unsigned char *exact = malloc(size ? size : 1);
    mn_posting *plain = calloc(size + 1, sizeof *plain), *fast = calloc(size + 1, sizeof *fast);
    assert_true(exact && plain && fast);
    memcpy(exact, bytes, size);
    mn_posting_position one = {exact, exact + size, first_row, 0}, other = one;
    bool one_damaged = false, other_damaged = false;
    size_t n = mn_postings_decode_plainly(&one, plain, size, &one_damaged), m = 0;
    while (m < n + 1) {
        size_t got = mn_postings_decode(&other, fast + m, step < size - m ? step : size - m, &other_damaged);
        m += got;
        if (got == 0) break;
    }
    assert_int_equal(m, n);
    assert_int_equal(one_damaged, other_damaged);
    assert_memory_equal(plain, fast, n * sizeof *plain);
    free(exact);
    free(plain);
    free(fast);
}

static void fast_decoding_equals_plain_decoding(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (int round = 0; round < 400; round++) {
        mn_buffer bytes = {0};
        random_postings(&seed, &bytes, 7, 1 + below(&seed, 700), 1 + below(&seed, 20), 1 + below(&seed, 12));
        check_decoding(bytes.data, bytes.size, 7, 1 + below(&seed, 300));
        mn_buffer_free(&bytes);
    }
}

static void damaged_bytes_are_read_alike_and_never_beyond_their_end(void **state)
{
    (void)state;
    uint64_t seed = 2;
    for (int round = 0; round < 4000; round++) {
        mn_buffer bytes = {0};
        random_postings(&seed, &bytes, UINT32_MAX - 90000, 1 + below(&seed, 200), 1 + below(&seed, 12), 3);
        for (uint32_t i = below(&seed, 4); i > 0; i--)
            bytes.data[below(&seed, (uint32_t)bytes.size)] ^= (char)(1 << below(&seed, 8));
        check_decoding(bytes.data, below(&seed, (uint32_t)bytes.size + 1), UINT32_MAX - 90000, 1 + below(&seed, 300));
        mn_buffer_free(&bytes);
    }
}

static void rows_at_the_end_of_their_range_are_damage_there_and_not_before(void **state)
{
    (void)state;
    for (uint32_t last = 0; last < 3; last++) {
        mn_buffer bytes = {0};
        mn_buffer_varint(&bytes, (uint64_t)(MN_NO_ROW - 2) * 2 + 1);
        mn_buffer_varint(&bytes, (uint64_t)last * 2 + 1); /* 0: the same row again; 1: the last one; 2: none */
        mn_posting out[2];
        bool damaged = false;
        mn_posting_position position = {(unsigned char *)bytes.data, (unsigned char *)bytes.data + bytes.size, 0, 0};
        assert_int_equal(mn_postings_decode(&position, out, 2, &damaged), last == 1 ? 2 : 1);
        assert_int_equal(damaged, last != 1);
        mn_buffer_free(&bytes);
    }
}

/* A list in blocks, and the same as an array. */
typedef struct list {
    mn_arena arena;
    mn_posting_block blocks[64];
    size_t n_blocks, n;
    mn_posting *plain;
} list;

static void make_list(list *l, uint64_t *seed, unsigned bits)
{
    *l = (list){.n_blocks = 1 + below(seed, 64)};
    l->plain = mn_arena_array(&l->arena, 64 * 500, sizeof *l->plain);
    uint32_t row = below(seed, 100);
    for (size_t i = 0; i < l->n_blocks; i++) {
        mn_buffer bytes = {0};
        uint32_t first = row;
        row = random_postings(seed, &bytes, first, 1 + below(seed, 500), bits, 6) + 1 + below(seed, 3);
        l->blocks[i] =
            (mn_posting_block){mn_arena_copy(&l->arena, bytes.data, bytes.size), (uint32_t)bytes.size, first};
        mn_posting_position position = {l->blocks[i].bytes, l->blocks[i].bytes + bytes.size, first, 0};
        bool damaged = false;
        l->n += mn_postings_decode_plainly(&position, l->plain + l->n, 500, &damaged);
        assert_false(damaged);
        mn_buffer_free(&bytes);
    }
}

static uint32_t plain_count(const list *l, uint32_t row)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->plain[i].row == row) return l->plain[i].count;
    return 0;
}

static void check_all(const list *l, mn_posting_cursor *cursor)
{
    size_t n = 0;
    mn_posting_cursor_rewind(cursor);
    while (cursor->i < cursor->n || mn_posting_cursor_batch(cursor)) {
        assert_true(n < l->n);
        assert_int_equal(cursor->batch[cursor->i].row, l->plain[n].row);
        assert_int_equal(cursor->batch[cursor->i].count, l->plain[n].count);
        cursor->i++;
        n++;
    }
    assert_int_equal(n, l->n);
}

static bool open_cursor(mn_posting_cursor *out, const mn_posting_block *blocks, size_t n, size_t *allowance,
                        mn_arena *arena)
{
    bool ready = mn_posting_cursor_prepare(out, blocks, n, allowance, arena);
    if (ready) mn_posting_cursor_decode(out);
    return ready;
}

static void cursor_gives_the_list_and_finds_each_row(void **state)
{
    (void)state;
    uint64_t seed = 4;
    for (int round = 0; round < 60; round++) {
        list l;
        make_list(&l, &seed, 1 + below(&seed, 8));
        uint32_t end = l.plain[l.n - 1].row + 3, most = 0;
        for (size_t i = 0; i < l.n; i++) most = l.plain[i].count > most ? l.plain[i].count : most;
        for (size_t allowance = 0; allowance < 3; allowance++) {
            mn_posting_cursor cursor;
            size_t left = allowance == 2 ? SIZE_MAX : allowance * 300;
            assert_true(open_cursor(&cursor, l.blocks, l.n_blocks, &left, &l.arena));
            assert_int_equal(cursor.n_rows, l.n);
            assert_int_equal(cursor.most_count, most);
            assert_int_equal(cursor.last_row, l.plain[l.n - 1].row);
            check_all(&l, &cursor);
            for (uint32_t row = below(&seed, 50); row < end; row += 1 + below(&seed, 1 + end / 50)) /* ascending */
                assert_int_equal(mn_posting_cursor_count(&cursor, row), plain_count(&l, row));
            for (int i = 0; i < 40; i++) {
                uint32_t row = below(&seed, end);
                assert_int_equal(mn_posting_cursor_count(&cursor, row), plain_count(&l, row));
            }
            check_all(&l, &cursor);
        }
        mn_arena_free(&l.arena);
    }
}

static void block_whose_first_row_was_removed_is_read(void **state)
{
    (void)state;
    mn_arena arena = {0};
    static const unsigned char bytes[] = {5 * 2 + 1, 1 * 2 + 0, 7}; /* rows 105 once, 106 nine times */
    mn_posting_block block = {bytes, sizeof bytes, 100};
    mn_posting_cursor cursor;
    size_t allowance = 0;
    assert_true(open_cursor(&cursor, &block, 1, &allowance, &arena));
    assert_int_equal(cursor.n_rows, 2);
    assert_int_equal(mn_posting_cursor_count(&cursor, 100), 0);
    assert_int_equal(mn_posting_cursor_count(&cursor, 105), 1);
    assert_int_equal(mn_posting_cursor_count(&cursor, 106), 9);
    assert_int_equal(mn_posting_cursor_count(&cursor, 107), 0);
    mn_arena_free(&arena);
}

static void blocks_that_overlap_or_end_too_soon_are_damage(void **state)
{
    (void)state;
    mn_arena arena = {0};
    static const unsigned char rows[] = {1, 2 * 9 + 1}, cut[] = {1, 0x80}; /* the first row and nine later */
    mn_posting_block overlapping[] = {{rows, sizeof rows, 0}, {rows, sizeof rows, 9}};
    mn_posting_block apart[] = {{rows, sizeof rows, 0}, {rows, sizeof rows, 10}};
    mn_posting_block too_short[] = {{cut, sizeof cut, 0}, {rows, sizeof rows, 10}};
    for (size_t allowance = 0; allowance < 2; allowance++) {
        mn_posting_cursor cursor;
        size_t left = allowance * SIZE_MAX;
        assert_true(open_cursor(&cursor, overlapping, 2, &left, &arena));
        assert_true(cursor.damaged);
        assert_true(open_cursor(&cursor, apart, 2, &left, &arena));
        assert_false(cursor.damaged);
        assert_true(open_cursor(&cursor, too_short, 2, &left, &arena));
        assert_true(cursor.damaged);
    }
    mn_arena_free(&arena);
}

static void list_without_blocks_has_no_rows(void **state)
{
    (void)state;
    mn_posting_cursor cursor;
    mn_posting_cursor_over(&cursor, NULL, 0);
    assert_int_equal(cursor.n_rows, 0);
    assert_false(mn_posting_cursor_batch(&cursor));
    assert_int_equal(mn_posting_cursor_count(&cursor, 0), 0);
    cursor = (mn_posting_cursor){0};
    assert_false(mn_posting_cursor_seek(&cursor, 0));
    assert_false(mn_posting_cursor_batch(&cursor));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fast_decoding_equals_plain_decoding),
        cmocka_unit_test(damaged_bytes_are_read_alike_and_never_beyond_their_end),
        cmocka_unit_test(rows_at_the_end_of_their_range_are_damage_there_and_not_before),
        cmocka_unit_test(cursor_gives_the_list_and_finds_each_row),
        cmocka_unit_test(block_whose_first_row_was_removed_is_read),
        cmocka_unit_test(blocks_that_overlap_or_end_too_soon_are_damage),
        cmocka_unit_test(list_without_blocks_has_no_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
