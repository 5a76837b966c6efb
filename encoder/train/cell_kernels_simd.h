/* cell_kernels_simd.h -- the cells of recurrent layers, written once with the compiler's vector types.
 * cell_kernels_avx2.c and cell_kernels_avx512.c include this with LANES (floats in a vector), TABLE (the function that
 * returns the table) and TABLE_NAME set. */
#include "encoder/train/cell_kernels.h"
#include "encoder/vector_math_simd.h"

#include <stdbool.h>

static inline const float *input_of(const mn_cell_step *s, size_t row, size_t width)
{
    return s->input + (s->input_rows ? s->input_rows[row] : row) * width;
}

/* gates = sigmoid or tanh (x + gates), n of them. */
static inline void squash_sums(const float *x, float *gates, size_t n, bool symmetric)
{
    FOR_ROW(j, n, {
        vec sum = load_part(x + j, left) + load_part(gates + j, left);
        store_part(gates + j, symmetric ? tanh_vec(sum) : sigmoid(sum), left);
    });
}

static void simd_lstm_forward(const mn_cell_step *s)
{
    size_t n = s->n_hidden;
    for (size_t row = 0; row < s->n_rows; row++) {
        const float *x = input_of(s, row, 4 * n);
        float *gates = s->recurrent + row * 4 * n, *h = s->h + row * n, *c = s->c + row * n;
        float *h_before = s->h_before + row * n, *c_before = s->c_before + row * n, *y = s->y + row * s->y_stride;
        /* One function after the other: each is a long chain, of which the processor then has several at once. */
        squash_sums(x, gates, 2 * n, false);
        squash_sums(x + 2 * n, gates + 2 * n, n, true);
        squash_sums(x + 3 * n, gates + 3 * n, n, false);
        FOR_ROW(j, n, {
            vec i = load_part(gates + j, left), f = load_part(gates + n + j, left);
            vec g = load_part(gates + 2 * n + j, left), o = load_part(gates + 3 * n + j, left);
            vec before = load_part(c + j, left), after = f * before + i * g, out = o * tanh_vec(after);
            store_part(c_before + j, before, left);
            store_part(h_before + j, load_part(h + j, left), left);
            store_part(c + j, after, left);
            store_part(h + j, out, left);
            store_part(y + j, out, left);
        });
    }
}

static void simd_lstm_backward(const mn_cell_gradient *s)
{
    size_t n = s->n_hidden;
    vec one = splat(1.0f);
    for (size_t row = 0; row < s->n_rows; row++) {
        float *gates = s->recurrent + row * 4 * n, *dc_row = s->dc + row * n;
        const float *c_before = s->c_before + row * n, *dh_row = s->dh + row * n, *dy = s->dy + row * s->dy_stride;
        FOR_ROW(j, n, {
            vec i = load_part(gates + j, left), f = load_part(gates + n + j, left);
            vec g = load_part(gates + 2 * n + j, left), o = load_part(gates + 3 * n + j, left);
            vec before = load_part(c_before + j, left), squashed = tanh_vec(f * before + i * g);
            vec dh = load_part(dy + j, left) + load_part(dh_row + j, left);
            vec dc = load_part(dc_row + j, left) + dh * o * (one - squashed * squashed);
            store_part(gates + j, dc * g * i * (one - i), left);
            store_part(gates + n + j, dc * before * f * (one - f), left);
            store_part(gates + 2 * n + j, dc * i * (one - g * g), left);
            store_part(gates + 3 * n + j, dh * squashed * o * (one - o), left);
            store_part(dc_row + j, dc * f, left);
        });
    }
}

static void simd_gru_forward(const mn_cell_step *s)
{
    size_t n = s->n_hidden;
    for (size_t row = 0; row < s->n_rows; row++) {
        const float *x = input_of(s, row, 3 * n);
        float *gates = s->recurrent + row * 3 * n, *candidate = s->inner + row * 3 * n + 2 * n;
        float *h = s->h + row * n, *h_before = s->h_before + row * n, *y = s->y + row * s->y_stride;
        squash_sums(x, gates, 2 * n, false);
        FOR_ROW(j, n, {
            vec r = load_part(gates + j, left), z = load_part(gates + n + j, left);
            vec new = tanh_vec(load_part(x + 2 * n + j, left) + r * load_part(gates + 2 * n + j, left));
            vec before = load_part(h + j, left), out = new + z *(before - new);
            store_part(h_before + j, before, left);
            store_part(h + j, out, left);
            store_part(y + j, out, left);
            store_part(candidate + j, new, left);
        });
    }
}

static void simd_gru_backward(const mn_cell_gradient *s)
{
    size_t n = s->n_hidden;
    vec one = splat(1.0f);
    for (size_t row = 0; row < s->n_rows; row++) {
        float *gates = s->recurrent + row * 3 * n, *inner = s->inner + row * 3 * n, *dh_row = s->dh + row * n;
        const float *h_before = s->h_before + row * n, *dy = s->dy + row * s->dy_stride;
        FOR_ROW(j, n, {
            vec r = load_part(gates + j, left), z = load_part(gates + n + j, left);
            vec from_h = load_part(gates + 2 * n + j, left), new = load_part(inner + 2 * n + j, left);
            vec dh = load_part(dy + j, left) + load_part(dh_row + j, left);
            vec d_new = dh * (one - z) * (one - new *new);
            vec d_r = d_new * from_h * r * (one - r);
            vec d_z = dh * (load_part(h_before + j, left) - new) * z * (one - z);
            store_part(gates + j, d_r, left);
            store_part(inner + j, d_r, left);
            store_part(gates + n + j, d_z, left);
            store_part(inner + n + j, d_z, left);
            store_part(gates + 2 * n + j, d_new * r, left);
            store_part(inner + 2 * n + j, d_new, left);
            store_part(dh_row + j, dh * z, left);
        });
    }
}

const mn_cell_kernels *TABLE(void)
{
    static const mn_cell_kernels table = {.name = TABLE_NAME,
                                          .forward = {simd_lstm_forward, simd_gru_forward},
                                          .backward = {simd_lstm_backward, simd_gru_backward}};
    return &table;
}
