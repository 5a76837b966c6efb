/* graph_layout.c -- reading the head of FAISS's HNSW files (faiss/impl/index_write.cpp).
 *
 *     | "IHNs" | index | level shares | level starts | levels | offsets | links | entry, top level, ... |
 *                        u64 n, f64 n   n, i32 n       n, i32   n, u64    n, i32  5 x i32
 *     | "IxSQ" | index | how numbers are coded | codes |        or, of full floats: "IHNf", "IxF2", no such part
 *                                                n, bytes                              codes: n, f32
 *
 * index: i32 dimension, i64 rows, two times i64, u8 is trained, i32 metric. */
#include "retriever/graph_layout.h"

/* Values of FAISS's. */
enum { METRIC_EUCLIDEAN = 1, CODER_BF16 = 7, CODER_BYTES = 5 };

typedef struct reader {
    const unsigned char *at;
    size_t left;
    bool is_sound;
} reader;

/* n bytes; NULL when there are not so many. */
static const unsigned char *take(reader *r, uint64_t n)
{
    const unsigned char *at = r->at;
    r->is_sound = r->is_sound && n <= r->left;
    if (!r->is_sound) return NULL;
    r->at += n;
    r->left -= (size_t)n;
    return at;
}

static void expect(reader *r, bool is_so)
{
    r->is_sound = r->is_sound && is_so;
}

static int32_t take_i32(reader *r)
{
    int32_t number = 0;
    const unsigned char *at = take(r, sizeof number);
    if (at) memcpy(&number, at, sizeof number);
    return number;
}

static uint64_t take_u64(reader *r)
{
    uint64_t number = 0;
    const unsigned char *at = take(r, sizeof number);
    if (at) memcpy(&number, at, sizeof number);
    return number;
}

static void expect_word(reader *r, const char *word)
{
    const unsigned char *at = take(r, 4);
    expect(r, at && memcmp(at, word, 4) == 0);
}

/* An array with its length before it. */
static const unsigned char *take_array(reader *r, size_t item_bytes, uint64_t *n)
{
    *n = take_u64(r);
    expect(r, *n <= r->left / item_bytes);
    return r->is_sound ? take(r, *n * item_bytes) : NULL;
}

static void expect_index(reader *r, const mn_graph_shape *shape)
{
    expect(r, take_i32(r) == (int32_t)shape->padded);
    expect(r, take_u64(r) == shape->n);
    take(r, 2 * sizeof(int64_t) + 1);
    expect(r, take_i32(r) == METRIC_EUCLIDEAN);
}

/* Level starts go up, and there are few levels. */
static void take_level_starts(reader *r, mn_graph_layout *out)
{
    uint64_t n = 0;
    const unsigned char *starts = take_array(r, sizeof(int32_t), &n);
    expect(r, starts && n > 1 && n <= MN_GRAPH_LEVELS + 1);
    if (!r->is_sound) return;
    memcpy(out->level_starts, starts, n * sizeof *out->level_starts);
    out->n_levels = (uint32_t)n - 1;
    expect(r, out->level_starts[0] == 0);
    for (uint32_t i = 0; i < out->n_levels; i++) {
        expect(r, out->level_starts[i] <= out->level_starts[i + 1]);
        expect(r, out->level_starts[i + 1] - out->level_starts[i] <= MN_GRAPH_MOST_LINKS);
    }
}

static void take_graph(reader *r, const mn_graph_shape *shape, mn_graph_layout *out)
{
    uint64_t n = 0;
    take_array(r, sizeof(double), &n);
    take_level_starts(r, out);
    take_array(r, sizeof(int32_t), &n);
    expect(r, n == shape->n);
    out->offsets = take_array(r, sizeof(uint64_t), &n);
    expect(r, n == shape->n + 1);
    out->links = take_array(r, sizeof(int32_t), &out->n_links);
    int32_t entry = take_i32(r), top_level = take_i32(r);
    expect(r, shape->n == 0 || (entry >= 0 && (uint64_t)entry < shape->n));
    expect(r, shape->n == 0 || (top_level >= 0 && (uint32_t)top_level < out->n_levels));
    out->entry = (uint32_t)entry;
    out->top_level = (uint32_t)top_level;
    take(r, 3 * sizeof(int32_t));
}

static void take_coder(reader *r, const mn_graph_shape *shape)
{
    uint64_t n = 0;
    expect(r, take_i32(r) == (shape->kind == MN_INDEX_HNSW ? CODER_BYTES : CODER_BF16));
    take(r, sizeof(int32_t) + sizeof(float));
    expect(r, take_u64(r) == shape->padded);
    expect(r, take_u64(r) == mn_index_code_bytes(shape->kind, shape->padded));
    take_array(r, sizeof(float), &n);
}

mneme_status mn_graph_read_layout(const unsigned char *part, size_t size, const mn_graph_shape *shape,
                                  mn_graph_layout *out, mneme_error *error)
{
    reader r = {part, size, true};
    uint64_t n = 0;
    bool is_coded = shape->kind != MN_INDEX_HNSW_F32;
    *out = (mn_graph_layout){.n = shape->n, .row_bytes = mn_index_code_bytes(shape->kind, shape->padded)};
    expect(&r, shape->n <= INT32_MAX);
    expect_word(&r, is_coded ? "IHNs" : "IHNf");
    expect_index(&r, shape);
    take_graph(&r, shape, out);
    expect_word(&r, is_coded ? "IxSQ" : "IxF2");
    expect_index(&r, shape);
    if (is_coded) take_coder(&r, shape);
    out->codes = take_array(&r, is_coded ? 1 : sizeof(float), &n);
    expect(&r, n == shape->n * (is_coded ? out->row_bytes : shape->padded));
    expect(&r, r.left == 0);
    if (r.is_sound) return MNEME_OK;
    return mn_fail(error, MNEME_ERR_DAMAGED, "its graph does not have the form that it should");
}
