/* linear_onednn.c -- the product through oneDNN's matmul with packed weights (API of oneDNN 2.x). The only file that
 * includes oneDNN.
 *
 * Weights are packed once, into the layout that oneDNN picks. A primitive is compiled for one number of rows; rows are
 * rounded up to a multiple of 16, so few are ever needed, and each is kept from its first use on. oneDNN's matmul reaches
 * the peak of one Zen 4 core (114 of 115 GFLOP/s at 2 x 3.6 GHz, 384 x 1152, 16 rows or more), where its sgemm with
 * plain weights reaches 50-100. */
#include "encoder/linear.h"

#include "common/memory.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#include <pthread.h>
#include <stdatomic.h>

enum { ROWS_MAX = 65536, BUCKETS = ROWS_MAX / MN_LINEAR_ROW_MULTIPLE };

typedef struct onednn_linear {
    mn_linear base;
    dnnl_engine_t engine;
    dnnl_memory_desc_t packed_layout;
    float *packed;
    pthread_mutex_t lock; /* guards the filling of primitives */
    _Atomic(dnnl_primitive_t) primitives[BUCKETS + 1]; /* by rows / 16 */
} onednn_linear;

static mneme_status fail(mneme_error *error, const char *what, dnnl_status_t status)
{
    if (status == dnnl_out_of_memory) return mn_fail_memory(error, what);
    return mn_fail(error, MNEME_ERR_INTERNAL,
                   "oneDNN: %s failed with status %d; encoder.kernels: reference works without it", what, (int)status);
}

static dnnl_status_t matrix(dnnl_memory_desc_t *desc, uint32_t rows, uint32_t columns, dnnl_format_tag_t tag)
{
    dnnl_dims_t dims = {rows, columns};
    return dnnl_memory_desc_init_by_tag(desc, 2, dims, dnnl_f32, tag);
}

/* Describe the product for `rows` rows, weights in `tag`'s or the packed layout. *out: destroy it. */
static dnnl_status_t describe(const onednn_linear *linear, uint32_t rows, const dnnl_memory_desc_t *weights,
                              dnnl_primitive_desc_t *out)
{
    dnnl_memory_desc_t x, y;
    dnnl_matmul_desc_t product;
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_status_t status = matrix(&x, rows, linear->base.n_in, dnnl_ab);
    if (status == dnnl_success) status = matrix(&y, rows, linear->base.n_out, dnnl_ab);
    if (status == dnnl_success) status = dnnl_matmul_desc_init(&product, &x, weights, NULL, &y);
    if (status == dnnl_success) status = dnnl_primitive_attr_create(&attributes);
    /* Our own scratch memory: with the library's, one primitive could not run in two threads at once. */
    if (status == dnnl_success) status = dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user);
    if (status == dnnl_success) status = dnnl_primitive_desc_create(out, &product, attributes, linear->engine, NULL);
    if (attributes) dnnl_primitive_attr_destroy(attributes);
    return status;
}

/* Let oneDNN choose the weights' layout for a middling number of rows, and pack them into it. */
static dnnl_status_t pack(onednn_linear *linear, const float *weight)
{
    dnnl_memory_desc_t any, plain;
    dnnl_primitive_desc_t product = NULL, reorder = NULL;
    dnnl_primitive_t primitive = NULL;
    dnnl_memory_t from = NULL, to = NULL;
    dnnl_stream_t stream = NULL;
    uint32_t n_in = linear->base.n_in, n_out = linear->base.n_out;
    dnnl_status_t status = matrix(&any, n_in, n_out, dnnl_format_tag_any);
    if (status == dnnl_success) status = matrix(&plain, n_in, n_out, dnnl_ba);
    if (status == dnnl_success) status = describe(linear, 256, &any, &product);
    if (status != dnnl_success) goto cleanup;
    linear->packed_layout = *dnnl_primitive_desc_query_md(product, dnnl_query_weights_md, 0);
    linear->packed = mn_alloc_aligned(64, dnnl_memory_desc_get_size(&linear->packed_layout));
    if (!linear->packed) status = dnnl_out_of_memory;
    if (status == dnnl_success)
        status = dnnl_reorder_primitive_desc_create(&reorder, &plain, linear->engine, &linear->packed_layout,
                                                    linear->engine, NULL);
    if (status == dnnl_success) status = dnnl_primitive_create(&primitive, reorder);
    if (status == dnnl_success)
        status = dnnl_memory_create(&from, &plain, linear->engine, (void *)(uintptr_t)weight);
    if (status == dnnl_success) status = dnnl_memory_create(&to, &linear->packed_layout, linear->engine, linear->packed);
    if (status == dnnl_success) status = dnnl_stream_create(&stream, linear->engine, dnnl_stream_default_flags);
    if (status == dnnl_success) {
        dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
        status = dnnl_primitive_execute(primitive, stream, 2, arguments);
    }
cleanup:
    if (stream) dnnl_stream_destroy(stream);
    if (to) dnnl_memory_destroy(to);
    if (from) dnnl_memory_destroy(from);
    if (primitive) dnnl_primitive_destroy(primitive);
    if (reorder) dnnl_primitive_desc_destroy(reorder);
    if (product) dnnl_primitive_desc_destroy(product);
    return status;
}

static dnnl_status_t primitive_for(onednn_linear *linear, uint32_t rows, dnnl_primitive_t *out)
{
    size_t bucket = rows / MN_LINEAR_ROW_MULTIPLE;
    *out = atomic_load_explicit(&linear->primitives[bucket], memory_order_acquire);
    if (*out) return dnnl_success;
    pthread_mutex_lock(&linear->lock);
    *out = atomic_load_explicit(&linear->primitives[bucket], memory_order_relaxed);
    dnnl_status_t status = dnnl_success;
    if (!*out) {
        dnnl_primitive_desc_t description = NULL;
        status = describe(linear, rows, &linear->packed_layout, &description);
        if (status == dnnl_success) status = dnnl_primitive_create(out, description);
        if (description) dnnl_primitive_desc_destroy(description);
        if (status == dnnl_success) atomic_store_explicit(&linear->primitives[bucket], *out, memory_order_release);
    }
    pthread_mutex_unlock(&linear->lock);
    return status;
}

/* What one execution needs beside the primitive; all may be NULL. */
typedef struct execution {
    dnnl_memory_t x, weights, y, scratch;
    dnnl_stream_t stream;
    void *scratch_data;
} execution;

static dnnl_status_t prepare(const onednn_linear *linear, dnnl_primitive_t primitive, const float *x, float *y,
                             execution *run)
{
    const_dnnl_primitive_desc_t description = NULL;
    dnnl_status_t status = dnnl_primitive_get_primitive_desc(primitive, &description);
    if (status != dnnl_success) return status;
    const dnnl_memory_desc_t *scratch = dnnl_primitive_desc_query_md(description, dnnl_query_scratchpad_md, 0);
    size_t scratch_bytes = scratch ? dnnl_memory_desc_get_size(scratch) : 0;
    if (scratch_bytes > 0 && !(run->scratch_data = mn_alloc_aligned(64, scratch_bytes))) return dnnl_out_of_memory;
    status = dnnl_memory_create(&run->x, dnnl_primitive_desc_query_md(description, dnnl_query_src_md, 0), linear->engine,
                                (void *)(uintptr_t)x);
    if (status == dnnl_success)
        status = dnnl_memory_create(&run->weights, &linear->packed_layout, linear->engine, linear->packed);
    if (status == dnnl_success)
        status = dnnl_memory_create(&run->y, dnnl_primitive_desc_query_md(description, dnnl_query_dst_md, 0),
                                    linear->engine, y);
    if (status == dnnl_success && scratch_bytes > 0)
        status = dnnl_memory_create(&run->scratch, scratch, linear->engine, run->scratch_data);
    if (status == dnnl_success) status = dnnl_stream_create(&run->stream, linear->engine, dnnl_stream_default_flags);
    return status;
}

static void finish(execution *run)
{
    if (run->stream) dnnl_stream_destroy(run->stream);
    if (run->scratch) dnnl_memory_destroy(run->scratch);
    if (run->y) dnnl_memory_destroy(run->y);
    if (run->weights) dnnl_memory_destroy(run->weights);
    if (run->x) dnnl_memory_destroy(run->x);
    mn_free(run->scratch_data);
}

static mneme_status onednn_run(mn_linear *base, const float *x, uint32_t rows, float *y, mneme_error *error)
{
    onednn_linear *linear = (onednn_linear *)base;
    uint32_t rounded = (rows + MN_LINEAR_ROW_MULTIPLE - 1) / MN_LINEAR_ROW_MULTIPLE * MN_LINEAR_ROW_MULTIPLE;
    if (rounded > ROWS_MAX) return mn_fail(error, MNEME_ERR_TOO_LARGE, "a product of %u rows; at most %d", rows, ROWS_MAX);
    dnnl_primitive_t primitive = NULL;
    execution run = {0};
    dnnl_status_t status = primitive_for(linear, rounded, &primitive);
    if (status == dnnl_success) status = prepare(linear, primitive, x, y, &run);
    if (status == dnnl_success) {
        dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, run.x},
                                       {DNNL_ARG_WEIGHTS, run.weights},
                                       {DNNL_ARG_DST, run.y},
                                       {DNNL_ARG_SCRATCHPAD, run.scratch}};
        status = dnnl_primitive_execute(primitive, run.stream, run.scratch ? 4 : 3, arguments);
    }
    finish(&run);
    return status == dnnl_success ? MNEME_OK : fail(error, "a matrix product", status);
}

static void onednn_destroy(mn_linear *base)
{
    onednn_linear *linear = (onednn_linear *)base;
    for (size_t i = 0; i <= BUCKETS; i++) {
        dnnl_primitive_t primitive = atomic_load(&linear->primitives[i]);
        if (primitive) dnnl_primitive_destroy(primitive);
    }
    if (linear->engine) dnnl_engine_destroy(linear->engine);
    pthread_mutex_destroy(&linear->lock);
    mn_free(linear->packed);
    mn_free(linear);
}

mneme_status mn_linear_new_onednn(const float *weight, uint32_t n_out, uint32_t n_in, mn_linear **out, mneme_error *error)
{
    *out = NULL;
    onednn_linear *linear = mn_alloc_zeroed(1, sizeof *linear);
    if (!linear) return mn_fail_memory(error, "weights");
    linear->base = (mn_linear){.run = onednn_run, .destroy = onednn_destroy, .n_out = n_out, .n_in = n_in};
    pthread_mutex_init(&linear->lock, NULL);
    dnnl_status_t status = dnnl_engine_create(&linear->engine, dnnl_cpu, 0);
    if (status == dnnl_success) status = pack(linear, weight);
    if (status != dnnl_success) {
        onednn_destroy(&linear->base);
        return fail(error, "packing weights", status);
    }
    *out = &linear->base;
    return MNEME_OK;
}

void mn_linear_limit(mn_cpu_level level)
{
    if (level == MN_CPU_AVX2) dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx2);
}

int mn_linear_one_thread_begin(void)
{
    int width = omp_get_max_threads();
    if (width != 1) omp_set_num_threads(1);
    return width;
}

void mn_linear_one_thread_end(int width_before)
{
    if (width_before != 1) omp_set_num_threads(width_before);
}
