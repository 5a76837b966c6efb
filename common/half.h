/* half.h -- IEEE 754 binary16, of which tensors may be. */
#ifndef MN_COMMON_HALF_H
#define MN_COMMON_HALF_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* Subnormal numbers, infinities and NaN included. */
static inline float mn_half_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16, exponent = half >> 10 & 0x1Fu, mantissa = half & 0x3FFu;
    if (exponent == 0) return copysignf((float)mantissa * 0x1p-24f, sign ? -1.0f : 1.0f);
    uint32_t bits = sign | (exponent == 0x1F ? 0x7F800000u : (exponent + 112) << 23) | mantissa << 13;
    float result;
    memcpy(&result, &bits, sizeof result);
    return result;
}

#endif
