/* graph_layout.c -- reading and writing FAISS's HNSW files (faiss/impl/index_write.cpp).
 *
 *     | "IHNs" | index | level shares | level starts | levels | offsets | links | entry, top level, ... |
 *                        u64 n, f64 n   n, i32 n       n, i32   n, u64    n, i32  5 x i32
 *     | "IxSQ" | index | how numbers are coded | codes |        or, of full floats: "IHNf", "IxF2", no such part
 *                                                n, bytes                              codes: n, f32
 *
 * index: i32 dimension, i64 rows, two times i64, u8 is trained, i32 metric. */
#include "retriever/graph_layout.h"

#include "common/buffer.h"
#include "common/file.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <unistd.h>

/* Values of FAISS's. */
enum { METRIC_EUCLIDEAN = 1, CODER_BF16 = 7, CODER_BYTES = 5, UNUSED = 1 << 20, SEARCH_EFFORT = 16 };
#define LEAST_SHARE 1e-9

/* ---- reading ---- */

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

/* ---- writing ---- */

void mn_graph_plan_levels(uint32_t links, mn_graph_layout *layout, double *shares)
{
    double share = 1 - 1.0 / links; /* exp(-level / mL) (1 - exp(-1 / mL)) */
    layout->level_starts[0] = 0;
    layout->n_levels = 0;
    for (uint32_t level = 0; level < MN_GRAPH_LEVELS && share >= LEAST_SHARE; level++, share /= links) {
        shares[level] = share;
        layout->level_starts[level + 1] = layout->level_starts[level] + (level ? links : 2 * links);
        layout->n_levels++;
    }
}

static void put_i32(mn_buffer *out, int32_t number)
{
    mn_buffer_append(out, &number, sizeof number);
}

static void put_u64(mn_buffer *out, uint64_t number)
{
    mn_buffer_append(out, &number, sizeof number);
}

static void put_index(mn_buffer *out, const char *word, const mn_graph_shape *shape)
{
    mn_buffer_text(out, word);
    put_i32(out, (int32_t)shape->padded);
    put_u64(out, shape->n);
    put_u64(out, UNUSED);
    put_u64(out, UNUSED);
    mn_buffer_byte(out, 1); /* is trained */
    put_i32(out, METRIC_EUCLIDEAN);
}

static void put_head(mn_buffer *out, const mn_graph_parts *parts)
{
    const mn_graph_layout *layout = parts->layout;
    put_index(out, parts->shape->kind == MN_INDEX_HNSW_F32 ? "IHNf" : "IHNs", parts->shape);
    put_u64(out, layout->n_levels);
    mn_buffer_append(out, parts->shares, layout->n_levels * sizeof *parts->shares);
    put_u64(out, layout->n_levels + 1);
    mn_buffer_append(out, layout->level_starts, (layout->n_levels + 1) * sizeof *layout->level_starts);
    put_u64(out, layout->n);
}

/* From behind the links to the codes. */
static void put_middle(mn_buffer *out, const mn_graph_parts *parts)
{
    const mn_graph_layout *layout = parts->layout;
    const mn_graph_shape *shape = parts->shape;
    bool is_coded = shape->kind != MN_INDEX_HNSW_F32;
    put_i32(out, layout->n ? (int32_t)layout->entry : -1);
    put_i32(out, layout->n ? (int32_t)layout->top_level : -1);
    put_i32(out, (int32_t)parts->effort);
    put_i32(out, SEARCH_EFFORT);
    put_i32(out, 1);
    put_index(out, is_coded ? "IxSQ" : "IxF2", shape);
    if (is_coded) {
        put_i32(out, shape->kind == MN_INDEX_HNSW ? CODER_BYTES : CODER_BF16);
        put_u64(out, 0); /* how ranges are found, and a number for that: these coders have none */
        put_u64(out, shape->padded);
        put_u64(out, layout->row_bytes);
        put_u64(out, 0); /* nothing learned */
    }
    put_u64(out, layout->n * (is_coded ? layout->row_bytes : shape->padded));
}

static mneme_status write_parts(int fd, const char *path, const mn_graph_parts *parts, mneme_error *error)
{
    const mn_graph_layout *layout = parts->layout;
    mn_buffer head = {0}, middle = {0};
    const uint64_t n_offsets = layout->n + 1;
    put_head(&head, parts);
    put_middle(&middle, parts);
    const struct {
        const void *data;
        size_t size;
    } pieces[] = {{head.data, head.size},
                  {parts->n_levels, (size_t)layout->n * sizeof *parts->n_levels},
                  {&n_offsets, sizeof n_offsets},
                  {layout->offsets, (size_t)n_offsets * sizeof(uint64_t)},
                  {&layout->n_links, sizeof layout->n_links},
                  {layout->links, (size_t)layout->n_links * sizeof(int32_t)},
                  {middle.data, middle.size},
                  {layout->codes, (size_t)layout->n * layout->row_bytes}};
    mneme_status status = head.failed || middle.failed ? mn_fail_memory(error, "index") : MNEME_OK;
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces && status == MNEME_OK; i++)
        status = mn_file_write_all(fd, path, pieces[i].data, pieces[i].size, error);
    mn_buffer_free(&head);
    mn_buffer_free(&middle);
    return status;
}

mneme_status mn_graph_write(const mn_graph_parts *parts, const char *path, mneme_error *error)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return mn_fail_errno(error, errno, "cannot write %s", path);
    mneme_status status = write_parts(fd, path, parts, error);
    if (close(fd) != 0 && status == MNEME_OK) status = mn_fail_errno(error, errno, "cannot write %s", path);
    return status;
}
