/* vector_math_simd.h -- vectors of LANES floats in the compiler's own types, and the functions of them that kernels
 * need.
 *
 * For the files of kernels alone, each compiled for one set of instructions: they define LANES (8, 16) and include this
 * once. Everything is static: two such files can be linked together. */
#ifndef MN_ENCODER_VECTOR_MATH_SIMD_H
#define MN_ENCODER_VECTOR_MATH_SIMD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef float vec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int16_t hvec __attribute__((vector_size(LANES * 2), aligned(2), may_alias)); /* halves */
typedef int8_t bvec __attribute__((vector_size(LANES), aligned(1), may_alias));      /* bytes */
typedef uint32_t uvec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

static inline vec load(const float *p)
{
    return *(const vec *)p;
}

static inline void store(float *p, vec v)
{
    *(vec *)p = v;
}

static inline vec splat(float x)
{
    return x - (vec){0}; /* not 0 + x, which would lose the sign of -0 */
}

static inline float sum_lanes(vec v)
{
    float total = 0;
    for (int i = 0; i < LANES; i++) total += v[i];
    return total;
}

#if LANES == 8 && defined(__AVX2__)
#include <immintrin.h>
#define LARGER(a, b) ((vec)_mm256_max_ps((__m256)(a), (__m256)(b)))
#define ROUND(x)     ((ivec)_mm256_cvtps_epi32((__m256)(x)))
#define ROOT(x)      ((vec)_mm256_sqrt_ps((__m256)(x)))
#elif LANES == 16 && defined(__AVX512F__)
#include <immintrin.h>
#define LARGER(a, b) ((vec)_mm512_max_ps((__m512)(a), (__m512)(b)))
#define ROUND(x)     ((ivec)_mm512_cvtps_epi32((__m512)(x)))
#define ROOT(x)      ((vec)_mm512_sqrt_ps((__m512)(x)))
#else /* the same by operators, for tests on a processor without the instructions; |x| < 2^22 */
#define LARGER(a, b) ((vec)((((a) > (b)) & (ivec)(a)) | (~((a) > (b)) & (ivec)(b))))
#define ROUND(x)     ((ivec)((x) + 12582912.0f) - 0x4B400000)
#define ROOT(x)      root_by_lane(x)
#endif

#ifdef MN_EMULATE_INSTRUCTIONS
#include <math.h>
static inline vec root_by_lane(vec x)
{
    vec root;
    for (int i = 0; i < LANES; i++) root[i] = sqrtf(x[i]);
    return root;
}
#endif

static inline vec square_root(vec x)
{
    return ROOT(x);
}

static inline vec larger(vec a, vec b)
{
    return LARGER(a, b);
}

/* The nearest integer, ties to even. */
static inline ivec round_vec(vec x)
{
    return ROUND(x);
}

/* e^x for x <= 88 within 2 ulp: x = n ln 2 + r, a polynomial of degree 6 for e^r (Cephes expf), and n into the
 * exponent. Below -87 the result stays at e^-87, 1.6e-38. */
static inline vec exp_bounded(vec x)
{
    vec clamped = larger(x, splat(-87.0f));
    ivec exponent = round_vec(clamped * splat(1.44269504088896341f));
    vec n = __builtin_convertvector(exponent, vec);
    vec r = clamped - n * splat(0.693359375f);
    r = r - n * splat(-2.12194440e-4f);
    vec p = splat(1.9875691500e-4f);
    p = p * r + splat(1.3981999507e-3f);
    p = p * r + splat(8.3334519073e-3f);
    p = p * r + splat(4.1665795894e-2f);
    p = p * r + splat(1.6666665459e-1f);
    p = p * r + splat(5.0000001201e-1f);
    p = p * r * r + r + splat(1.0f);
    return p * (vec)((exponent + 127) << 23);
}

static inline vec absolute(vec v)
{
    return (vec)((ivec)v & 0x7FFFFFFF);
}

/* e^x within 2 ulp, for x in [-87, 88]; below and above: as at the ends. */
static inline vec exp_any(vec x)
{
    return exp_bounded(-larger(-x, splat(-88.0f)));
}

/* 1 / (1 + e^-x) */
static inline vec sigmoid(vec x)
{
    return splat(1.0f) / (splat(1.0f) + exp_any(-x));
}

/* tanh within 4 ulp: an odd polynomial below 0.625 (Cephes tanhf), 1 - 2 / (e^2|x| + 1) above. */
static inline vec tanh_vec(vec x)
{
    ivec sign = (ivec)x & (ivec)splat(-0.0f);
    vec z = absolute(x), s = x * x;
    vec large = splat(1.0f) - splat(2.0f) / (exp_any(z + z) + splat(1.0f));
    vec p = splat(-5.70498872745e-3f);
    p = p * s + splat(2.06390887954e-2f);
    p = p * s - splat(5.37397155531e-2f);
    p = p * s + splat(1.33314422036e-1f);
    p = p * s - splat(3.33332819422e-1f);
    vec small = p * s * x + x;
    ivec is_small = (ivec)(z < splat(0.625f));
    return (vec)((is_small & (ivec)small) | (~is_small & ((ivec)large | sign)));
}

/* GELU with erf by Abramowitz and Stegun, 7.1.26: |error| <= 1.5e-7. */
static inline vec gelu(vec x)
{
    ivec sign = (ivec)x & (ivec)splat(-0.0f);
    vec z = (vec)((ivec)(x * splat(0.70710678118654752f)) & ~(ivec)splat(-0.0f));
    vec t = splat(1.0f) / (splat(1.0f) + splat(0.3275911f) * z);
    vec p = splat(1.061405429f);
    p = p * t + splat(-1.453152027f);
    p = p * t + splat(1.421413741f);
    p = p * t + splat(-0.284496736f);
    p = p * t + splat(0.254829592f);
    vec erf_abs = splat(1.0f) - p * t * exp_bounded(-z * z);
    vec erf_signed = (vec)((ivec)erf_abs | sign);
    return splat(0.5f) * x * (splat(1.0f) + erf_signed);
}

/* For each vector of a row of n: the statements, with i its first lane and `left` the lanes that there are from there
 * on, which the compiler knows to be whole in all but the last turn. */
#define FOR_ROW(i, n, ...)                                                                                             \
    do {                                                                                                               \
        size_t i = 0;                                                                                                  \
        for (; i + LANES <= (n); i += LANES) {                                                                         \
            const size_t left = LANES;                                                                                 \
            __VA_ARGS__                                                                                                \
        }                                                                                                              \
        if (i < (n)) {                                                                                                 \
            const size_t left = (n)-i;                                                                                 \
            __VA_ARGS__                                                                                                \
        }                                                                                                              \
    } while (0)

static inline vec load_part(const float *p, size_t n)
{
    if (n >= LANES) return load(p);
    vec v = {0};
    memcpy(&v, p, n * sizeof(float));
    return v;
}

static inline void store_part(float *p, vec v, size_t n)
{
    if (n >= LANES)
        store(p, v);
    else
        memcpy(p, &v, n * sizeof(float));
}

/* The first n of the lanes' low halves or bytes. */
static inline void store_halves(uint16_t *out, ivec low_halves, size_t n)
{
    hvec halves = __builtin_convertvector(low_halves, hvec);
    if (n >= LANES)
        *(hvec *)out = halves;
    else
        memcpy(out, &halves, n * sizeof(uint16_t));
}

static inline void store_bytes(uint8_t *out, ivec low_bytes, size_t n)
{
    bvec bytes = __builtin_convertvector(low_bytes, bvec);
    if (n >= LANES)
        *(bvec *)out = bytes;
    else
        memcpy(out, &bytes, n);
}

static inline float largest_lane(vec v)
{
    float largest = v[0];
    for (int i = 1; i < LANES; i++) largest = v[i] > largest ? v[i] : largest;
    return largest;
}

/* bfloat16 in the upper half of each lane. */
static inline ivec round_bf16_bits(vec x)
{
    ivec bits = (ivec)x;
    return (bits + 0x7FFF + ((bits >> 16) & 1)) & (int32_t)0xFFFF0000;
}

#endif
