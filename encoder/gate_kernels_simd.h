/* gate_kernels_simd.h -- the vector kernels of gates, written once with the compiler's vector types.
 * gate_kernels_avx2.c and gate_kernels_avx512.c include this with LANES (floats in a vector) and TABLE (the function
 * that returns the table) set.
 *
 * Divisions cost most, so that each formula is brought over one denominator. With E(x) = e^-x:
 *
 *     sigmoid(f) c + sigmoid(i) tanh(g) = (c (1 + E(i)) (1 + E(2g)) + (1 + E(f)) (1 - E(2g)))
 *                                         / ((1 + E(f)) (1 + E(i)) (1 + E(2g)))
 *     sigmoid(o) tanh(c)                = (1 - E(2c)) / ((1 + E(o)) (1 + E(2c)))
 *     (1 - sigmoid(z)) tanh(n) + sigmoid(z) h = (E(z) (1 - E(2n)) + h (1 + E(2n))) / ((1 + E(z)) (1 + E(2n)))
 *
 * E is held below e^25: three of them stay a float, and what is lost is below 1e-10. The results are within 1e-6. */
#include "encoder/gate_kernels.h"
#include "encoder/vector_math_simd.h"

/* e^-x within [e^-83, e^25], with a relative error of 2e-7 and 1e-7 for each unit of |x|. */
static inline vec falling(vec x)
{
    vec t = x * splat(-1.44269504088896341f);
    return exp2_within(larger(splat(-120.0f), -larger(splat(-36.0f), -t)), false);
}

/* The operand's numbers i.. of a row. from, by: of integers, (h - from) * by. */
static inline __attribute__((always_inline)) void put(mn_element element, uint32_t *row, size_t i, vec h, vec from,
                                                      vec by, size_t left)
{
    switch (element) {
    case MN_ELEMENT_F32: store_part((float *)row + i, (vec)round_bf16_bits(h), left); break;
    case MN_ELEMENT_BF16: store_part_halves((uint16_t *)row + i, to_bf16(h), left); break;
    case MN_ELEMENT_I16: store_halves((uint16_t *)row + i, round_vec((h - from) * by), left); break;
    case MN_ELEMENT_U8: store_bytes((uint8_t *)row + i, round_vec((h - from) * by), left); break;
    }
}

/* Floats as they are need no operand (h itself is one), so that F32 here is the one that is rounded. */
static inline __attribute__((always_inline)) void put_row(const mn_gate_step *step, mn_element element, size_t row)
{
    bool integers = mn_is_integer(element);
    const vec from = splat(integers ? mn_gate_low(step->format) : 0.0f);
    const vec by = splat(integers ? 1.0f / mn_gate_scale(step->format) : 1.0f);
    const float *h = step->h + row * step->h_stride;
    uint32_t *operand = step->operand + row * step->operand_groups;
    FOR_ROW(i, step->hidden, { put(element, operand, i, load_part(h + i, left), from, by, left); });
}

static inline void finish_row(const mn_gate_step *step, size_t row)
{
    if (!step->operand) return;
    switch (step->format->element) {
    case MN_ELEMENT_F32:
        if (step->format->rounded)
            put_row(step, MN_ELEMENT_F32, row);
        else
            memcpy(step->operand + row * step->operand_groups, step->h + row * step->h_stride,
                   step->hidden * sizeof(float));
        break;
    case MN_ELEMENT_BF16: put_row(step, MN_ELEMENT_BF16, row); break;
    case MN_ELEMENT_I16: put_row(step, MN_ELEMENT_I16, row); break;
    case MN_ELEMENT_U8: put_row(step, MN_ELEMENT_U8, row); break;
    }
}

static inline const float *input_row(const mn_gate_step *step, size_t row, size_t width)
{
    return step->input + (step->input_rows ? step->input_rows[row] : row) * width;
}

static void simd_lstm(const mn_gate_step *step)
{
    size_t n = step->hidden;
    const vec one = splat(1.0f);
    for (size_t r = 0; r < step->n_rows; r++) {
        const float *x = input_row(step, r, 4 * n), *y = step->recurrent + r * step->recurrent_stride;
        float *c = step->c + r * n, *h = step->h + r * step->h_stride;
        FOR_ROW(i, n, {
            vec ei = falling(load_part(x + i, left) + load_part(y + i, left));
            vec ef = falling(load_part(x + n + i, left) + load_part(y + n + i, left));
            vec g = load_part(x + 2 * n + i, left) + load_part(y + 2 * n + i, left);
            vec eo = falling(load_part(x + 3 * n + i, left) + load_part(y + 3 * n + i, left));
            vec eg = falling(g + g), of_input = (one + ei) * (one + eg), of_forget = one + ef;
            vec state = (load_part(c + i, left) * of_input + of_forget * (one - eg)) / (of_forget * of_input);
            vec ec = falling(state + state);
            store_part(c + i, state, left);
            store_part(h + i, (one - ec) / ((one + eo) * (one + ec)), left);
        });
        finish_row(step, r);
    }
}

static void simd_gru(const mn_gate_step *step)
{
    size_t n = step->hidden;
    const vec one = splat(1.0f);
    for (size_t k = 0; k < step->n_rows; k++) {
        const float *x = input_row(step, k, 3 * n), *y = step->recurrent + k * step->recurrent_stride;
        const float *before = step->h_before ? step->h_before + k * step->h_stride : NULL;
        float *h = step->h + k * step->h_stride;
        FOR_ROW(i, n, {
            vec er = falling(load_part(x + i, left) + load_part(y + i, left));
            vec ez = falling(load_part(x + n + i, left) + load_part(y + n + i, left));
            vec candidate = load_part(x + 2 * n + i, left) + load_part(y + 2 * n + i, left) / (one + er);
            vec en = falling(candidate + candidate);
            vec state = before ? load_part(before + i, left) : (vec){0};
            store_part(h + i, (ez * (one - en) + state * (one + en)) / ((one + ez) * (one + en)), left);
        });
        finish_row(step, k);
    }
}

static float simd_dot(const float *a, const float *b, size_t n)
{
    vec sum = {0};
    FOR_ROW(i, n, { sum += load_part(a + i, left) * load_part(b + i, left); });
    return sum_lanes(sum);
}

static void simd_add_scaled(float *sum, const float *x, float factor, size_t n)
{
    const vec by = splat(factor);
    FOR_ROW(i, n, { store_part(sum + i, load_part(sum + i, left) + by * load_part(x + i, left), left); });
}

const mn_gate_kernels *TABLE(void)
{
    static const mn_gate_kernels table = {TABLE_NAME, simd_lstm, simd_gru, simd_dot, simd_add_scaled};
    return &table;
}
