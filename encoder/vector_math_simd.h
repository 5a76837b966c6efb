/* vector_math_simd.h -- vectors of LANES floats in the compiler's own types, and the functions of them that kernels
 * need.
 *
 * For the files of kernels alone, each compiled for one set of instructions: they define LANES (8, 16) and include this
 * once. Everything is static: two such files can be linked together. */
#ifndef MN_ENCODER_VECTOR_MATH_SIMD_H
#define MN_ENCODER_VECTOR_MATH_SIMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef float vec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int16_t hvec __attribute__((vector_size(LANES * 2), aligned(2), may_alias)); /* halves */
typedef uint16_t uhvec __attribute__((vector_size(LANES * 2), aligned(2), may_alias));
typedef int8_t bvec __attribute__((vector_size(LANES), aligned(1), may_alias)); /* bytes */
typedef uint32_t uvec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

#define ALWAYS_INLINE static inline __attribute__((always_inline))

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

#if LANES == 8 && defined(__AVX2__)
#include <immintrin.h>
#define LARGER(a, b)  ((vec)_mm256_max_ps((__m256)(a), (__m256)(b)))
#define SMALLER(a, b) ((vec)_mm256_min_ps((__m256)(a), (__m256)(b)))
#define ROUND(x)      ((ivec)_mm256_cvtps_epi32((__m256)(x)))
#define ROOT(x)       ((vec)_mm256_sqrt_ps((__m256)(x)))
#elif LANES == 16 && defined(__AVX512F__)
#include <immintrin.h>
#define LARGER(a, b)  ((vec)_mm512_max_ps((__m512)(a), (__m512)(b)))
#define SMALLER(a, b) ((vec)_mm512_min_ps((__m512)(a), (__m512)(b)))
#define ROUND(x)      ((ivec)_mm512_cvtps_epi32((__m512)(x)))
#define ROOT(x)       ((vec)_mm512_sqrt_ps((__m512)(x)))
#else /* the same by operators, for tests on a processor without the instructions; |x| < 2^22 */
#define LARGER(a, b)  ((vec)((((a) > (b)) & (ivec)(a)) | (~((a) > (b)) & (ivec)(b))))
#define SMALLER(a, b) ((vec)((((a) < (b)) & (ivec)(a)) | (~((a) < (b)) & (ivec)(b))))
#define ROUND(x)      ((ivec)((x) + 12582912.0f) - 0x4B400000)
#define ROOT(x)       root_by_lane(x)
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

/* These two give b where either is NaN. */
static inline vec larger(vec a, vec b)
{
    return LARGER(a, b);
}

static inline vec smaller(vec a, vec b)
{
    return SMALLER(a, b);
}

/* The nearest integer, ties to even. */
static inline ivec round_vec(vec x)
{
    return ROUND(x);
}

#if LANES == 16
#define LANE_NUMBERS ((ivec){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
#else
#define LANE_NUMBERS ((ivec){0, 1, 2, 3, 4, 5, 6, 7})
#endif

/* All lanes into one: halves upon halves, so that few steps wait for each other. */
#if LANES == 16
#define HALF_OF(v)    __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15)
#define QUARTER_OF(v) __builtin_shufflevector(v, v, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7)
#define EIGHTH_OF(v)  __builtin_shufflevector(v, v, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3)
#else
#define QUARTER_OF(v) __builtin_shufflevector(v, v, 4, 5, 6, 7, 4, 5, 6, 7)
#define EIGHTH_OF(v)  __builtin_shufflevector(v, v, 2, 3, 2, 3, 2, 3, 2, 3)
#endif

static inline float sum_lanes(vec v)
{
#if LANES == 16
    v += HALF_OF(v);
#endif
    v += QUARTER_OF(v);
    v += EIGHTH_OF(v);
    return v[0] + v[1];
}

static inline float largest_lane(vec v)
{
#if LANES == 16
    v = larger(v, HALF_OF(v));
#endif
    v = larger(v, QUARTER_OF(v));
    v = larger(v, EIGHTH_OF(v));
    return v[0] > v[1] ? v[0] : v[1];
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

/* 2^t for t in [-126, 127], and any number elsewhere: 2^t = 2^n 2^f, n the nearest integer, which the
 * addition of 1.5 2^23 leaves in the lowest bits, and a polynomial of degree 5 for 2^f, |f| <= 1/2, fitted for the
 * least relative error (Lawson's iteration), 2e-7. near: of degree 3, 8e-5, for what is rounded to 8 bits next. */
ALWAYS_INLINE vec exp2_within(vec t, bool near)
{
    const vec magic = splat(12582912.0f);
    vec shifted = t + magic, f = t - (shifted - magic), p;
    if (near) {
        p = splat(5.517166904e-2f);
        p = p * f + splat(2.426111222e-1f);
        p = p * f + splat(6.932609855e-1f);
        p = p * f + splat(9.999280736e-1f);
    } else {
        p = splat(1.327647187e-3f);
        p = p * f + splat(9.675541334e-3f);
        p = p * f + splat(5.550713274e-2f);
        p = p * f + splat(2.402211972e-1f);
        p = p * f + splat(6.931469671e-1f);
        p = p * f + splat(1.0f);
    }
    return (vec)((uvec)p + ((uvec)shifted << 23));
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

/* GELU within 5e-5, or 2e-6 of x above 6, for what is rounded to 8 bits next: x (1/2 + x P(x^2)), an odd polynomial for
 * the normal distribution on [-4.55, 4.55] (least largest error of the result, in a variable that runs from -1 to 1).
 * The order of operands lets NaN through. */
static inline vec gelu_near(vec x)
{
    vec low = larger(splat(-4.55f), x);
    vec bounded = -larger(splat(-4.55f), -low);
    vec u = bounded * bounded * splat(2.0f / (4.55f * 4.55f)) - splat(1.0f);
    vec p = splat(3.607782069593668e-3f);
    p = p * u + splat(-1.008808147162199e-2f);
    p = p * u + splat(1.2957308441400528e-2f);
    p = p * u + splat(-1.7113476991653442e-2f);
    p = p * u + splat(2.7929801493883133e-2f);
    p = p * u + splat(-4.073493182659149e-2f);
    p = p * u + splat(5.4584432393312454e-2f);
    p = p * u + splat(-7.64566957950592e-2f);
    p = p * u + splat(1.5520358085632324e-1f);
    return low * (bounded * p + splat(0.5f));
}

/* `largest`, lane by lane, or what is larger in a row of n. */
static inline vec larger_of_row(const float *row, size_t n, vec largest)
{
    for (size_t i = 0; i + LANES <= n; i += LANES) largest = larger(load(row + i), largest);
    if (n >= LANES) return larger(load(row + n - LANES), largest); /* the rest, and some again */
    for (size_t i = 0; i < n; i++) largest = larger(splat(row[i]), largest);
    return largest;
}

/* 8 x 8 numbers of 32 bits, whatever LANES is: column r of `from` becomes row r of `to`. */
static inline void transpose8(const uint32_t *from, size_t from_stride, uint32_t *to, size_t to_stride)
{
    typedef uint32_t row8 __attribute__((vector_size(32), aligned(4), may_alias));
    row8 a[8], b[8];
    for (size_t i = 0; i < 8; i++) a[i] = *(const row8 *)(from + i * from_stride);
    for (size_t i = 0; i < 8; i += 2) {
        b[i] = __builtin_shufflevector(a[i], a[i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
        b[i + 1] = __builtin_shufflevector(a[i], a[i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
    }
    for (size_t i = 0; i < 8; i += i % 4 == 1 ? 3 : 1) {
        a[i] = __builtin_shufflevector(b[i], b[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
        a[i + 2] = __builtin_shufflevector(b[i], b[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
    for (size_t i = 0; i < 4; i++) {
        *(row8 *)(to + i * to_stride) = __builtin_shufflevector(a[i], a[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        *(row8 *)(to + (i + 4) * to_stride) = __builtin_shufflevector(a[i], a[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
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

/* The first n lanes alone; the others are zero, and nothing behind them is touched. Masks, where there are any: a
 * memcpy of a length that is not known is a call. */
#if LANES == 16 && defined(__AVX512BW__) && defined(__AVX512VL__)
#define FIRST_LANES(n)              ((__mmask16)((1u << (n)) - 1))
#define LOAD_FIRST(p, n)            ((vec)_mm512_maskz_loadu_ps(FIRST_LANES(n), p))
#define STORE_FIRST(p, v, n)        _mm512_mask_storeu_ps(p, FIRST_LANES(n), (__m512)(v))
#define KEEP_FIRST(v, n)            ((vec)_mm512_maskz_mov_ps(FIRST_LANES(n), (__m512)(v)))
#define LOAD_FIRST_HALVES(p, n)     ((hvec)_mm256_maskz_loadu_epi16(FIRST_LANES(n), p))
#define STORE_FIRST_HALVES(p, v, n) _mm256_mask_storeu_epi16(p, FIRST_LANES(n), (__m256i)(v))
#define STORE_FIRST_BYTES(p, v, n)  _mm_mask_storeu_epi8(p, FIRST_LANES(n), (__m128i)(v))
#else
static inline vec load_first(const float *p, size_t n)
{
    vec v = {0};
    memcpy(&v, p, n * sizeof(float));
    return v;
}

static inline vec keep_first(vec v, size_t n)
{
    memset((char *)&v + n * sizeof(float), 0, (LANES - n) * sizeof(float));
    return v;
}

static inline hvec load_first_halves(const uint16_t *p, size_t n)
{
    hvec halves = {0};
    memcpy(&halves, p, n * sizeof(uint16_t));
    return halves;
}
#define LOAD_FIRST(p, n)            load_first(p, n)
#define STORE_FIRST(p, v, n)        memcpy(p, &(v), (n) * sizeof(float))
#define KEEP_FIRST(v, n)            keep_first(v, n)
#define LOAD_FIRST_HALVES(p, n)     load_first_halves(p, n)
#define STORE_FIRST_HALVES(p, v, n) memcpy(p, &(v), (n) * sizeof(uint16_t))
#define STORE_FIRST_BYTES(p, v, n)  memcpy(p, &(v), n)
#endif

static inline vec load_part(const float *p, size_t n)
{
    return n >= LANES ? load(p) : LOAD_FIRST(p, n);
}

static inline void store_part(float *p, vec v, size_t n)
{
    if (n >= LANES)
        store(p, v);
    else
        STORE_FIRST(p, v, n);
}

static inline vec keep_part(vec v, size_t n)
{
    return n >= LANES ? v : KEEP_FIRST(v, n);
}

/* The first n lanes of one, the others of another; any n from 1 on. */
static inline vec choose_first(vec first, vec others, size_t n)
{
    ivec chosen = LANE_NUMBERS < (int32_t)(n < LANES ? n : LANES) - (ivec){0};
    return (vec)((chosen & (ivec)first) | (~chosen & (ivec)others));
}

static inline void store_part_halves(uint16_t *out, hvec halves, size_t n)
{
    if (n >= LANES)
        *(hvec *)out = halves;
    else
        STORE_FIRST_HALVES(out, halves, n);
}

static inline hvec load_part_halves(const uint16_t *p, size_t n)
{
    return n >= LANES ? *(const hvec *)p : LOAD_FIRST_HALVES(p, n);
}

/* The first n of the lanes' low halves or bytes. */
static inline void store_halves(uint16_t *out, ivec low_halves, size_t n)
{
    store_part_halves(out, __builtin_convertvector(low_halves, hvec), n);
}

static inline void store_bytes(uint8_t *out, ivec low_bytes, size_t n)
{
    bvec bytes = __builtin_convertvector(low_bytes, bvec);
    if (n >= LANES)
        *(bvec *)out = bytes;
    else
        STORE_FIRST_BYTES(out, bytes, n);
}

/* bfloat16 in the upper half of each lane. */
static inline ivec round_bf16_bits(vec x)
{
    ivec bits = (ivec)x;
    return (bits + 0x7FFF + ((bits >> 16) & 1)) & (int32_t)0xFFFF0000;
}

/* To bfloat16, and back. The instruction takes numbers below 2^-126 for zero. */
static inline hvec to_bf16(vec x)
{
#if LANES == 16 && defined(__AVX512BF16__)
    return (hvec)_mm512_cvtneps_pbh((__m512)x);
#else
    return __builtin_convertvector((ivec)((uvec)round_bf16_bits(x) >> 16), hvec);
#endif
}

static inline vec from_bf16(hvec halves)
{
#if LANES == 16 && defined(__AVX512F__) /* GCC 12 makes two of the conversion */
    return (vec)(ivec)_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)halves), 16);
#else
    return (vec)(__builtin_convertvector((uhvec)halves, uvec) << 16);
#endif
}

/* 2 * LANES numbers as bfloat16; returns the sums, each with what the numbers were rounded to added to one lane. */
static inline vec store_bf16_pair(uint16_t *out, vec low, vec high, vec sums)
{
#if LANES == 16 && defined(__AVX512BF16__)
    __m512bh both = _mm512_cvtne2ps_pbh((__m512)high, (__m512)low);
    _mm512_storeu_si512(out, (__m512i)both);
    return (vec)_mm512_dpbf16_ps((__m512)sums, both, (__m512bh)_mm512_set1_epi16(0x3F80));
#else
    hvec low_halves = to_bf16(low), high_halves = to_bf16(high);
    *(hvec *)out = low_halves;
    *(hvec *)(out + LANES) = high_halves;
    return sums + from_bf16(low_halves) + from_bf16(high_halves);
#endif
}

#endif
