/* static_kernels.c -- the plain C sum, the choice among the three, and the scaling to unit length. */
#include "encoder/static_kernels.h"

#include "common/half.h"

#include <math.h>
#include <string.h>

size_t mn_static_type_bytes(mn_static_type type)
{
    return type == MN_STATIC_F32 ? 4 : type == MN_STATIC_I8 ? 1 : 2;
}

static float number_at(const mn_static_rows *rows, size_t at)
{
    const unsigned char *bytes = (const unsigned char *)rows->table + at * mn_static_type_bytes(rows->type);
    float number;
    uint16_t half;
    if (rows->type == MN_STATIC_F32) {
        memcpy(&number, bytes, sizeof number);
        return number;
    }
    if (rows->type == MN_STATIC_I8) return (float)(int8_t)*bytes;
    memcpy(&half, bytes, sizeof half);
    if (rows->type == MN_STATIC_F16) return mn_half_to_float(half);
    uint32_t bits = (uint32_t)half << 16;
    memcpy(&number, &bits, sizeof number);
    return number;
}

void mn_static_sum_reference(const mn_static_rows *rows, float *sum)
{
    for (size_t i = 0; i < rows->n; i++) {
        size_t row = (size_t)rows->indexes[i] * rows->dimension;
        for (size_t c = 0; c < rows->dimension; c++) {
            float number = number_at(rows, row + c);
            sum[c] = rows->weights ? fmaf(rows->weights[i], number, sum[c]) : sum[c] + number;
        }
    }
}

mn_static_sum *mn_static_sum_for(mn_cpu_level level, const char **name)
{
    mn_cpu_level available = mn_cpu_detect();
    if (level > available) level = available;
#if defined(__x86_64__)
    if (level >= MN_CPU_AVX2) {
        *name = level >= MN_CPU_AVX512 ? "avx512" : "avx2";
        return level >= MN_CPU_AVX512 ? mn_static_sum_avx512 : mn_static_sum_avx2;
    }
#endif
    *name = "reference";
    return mn_static_sum_reference;
}

bool mn_static_normalize(float *vector, uint32_t dimension)
{
    double squares[8] = {0};
    size_t whole = dimension / 8 * 8;
    for (size_t i = 0; i < whole; i += 8)
        for (size_t lane = 0; lane < 8; lane++) squares[lane] += (double)vector[i + lane] * (double)vector[i + lane];
    for (size_t i = whole; i < dimension; i++) squares[i - whole] += (double)vector[i] * (double)vector[i];
    double total = 0;
    for (size_t lane = 0; lane < 8; lane++) total += squares[lane];
    if (!(total > 0) || !isfinite(total)) return false;
    double scale = 1 / sqrt(total);
    for (size_t i = 0; i < dimension; i++) vector[i] = (float)((double)vector[i] * scale);
    return true;
}
