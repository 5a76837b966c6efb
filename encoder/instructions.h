/* instructions.h -- the instructions that the compiler's vector types have no operator for.
 *
 * With MN_EMULATE_INSTRUCTIONS they are plain C of the same meaning (Intel's Software Developer's Manual, volume 2): so
 * the tests prove the kernels that are built on them on processors that lack them. */
#ifndef MN_ENCODER_INSTRUCTIONS_H
#define MN_ENCODER_INSTRUCTIONS_H

#include <stdint.h>
#include <string.h>

#ifndef MN_EMULATE_INSTRUCTIONS
#include <immintrin.h>

#ifdef __AVX2__
#define MN_MADD_I16_256(sum, a, b) ((sum) + (ivec)_mm256_madd_epi16((__m256i)(a), (__m256i)(b)))
#endif
#ifdef __AVX512BW__
#define MN_MADD_I16_512(sum, a, b) ((sum) + (ivec)_mm512_madd_epi16((__m512i)(a), (__m512i)(b)))
#endif
#ifdef __AVX512VNNI__
#define MN_DOT_I16_512(sum, a, b) ((ivec)_mm512_dpwssd_epi32((__m512i)(sum), (__m512i)(a), (__m512i)(b)))
#define MN_DOT_U8_512(sum, a, b)  ((ivec)_mm512_dpbusd_epi32((__m512i)(sum), (__m512i)(a), (__m512i)(b)))
#endif
#ifdef __AVX512BF16__
#define MN_DOT_BF16_512(sum, a, b) ((fvec)_mm512_dpbf16_ps((__m512)(sum), (__m512bh)(a), (__m512bh)(b)))
#endif

#else

typedef float mn_emulated_f32 __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t mn_emulated_i32 __attribute__((vector_size(64), aligned(4), may_alias));

static inline float mn_emulated_bf16(uint16_t bits)
{
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

/* VPMADDWD and VPADDD, VPDPWSSD. */
static inline mn_emulated_i32 mn_emulated_dot_i16(mn_emulated_i32 sum, mn_emulated_i32 a, mn_emulated_i32 b)
{
    for (int i = 0; i < 16; i++) {
        uint32_t x = (uint32_t)a[i], y = (uint32_t)b[i];
        sum[i] += (int16_t)(x & 0xFFFF) * (int16_t)(y & 0xFFFF) + (int16_t)(x >> 16) * (int16_t)(y >> 16);
    }
    return sum;
}

/* VPDPBUSD: unsigned bytes of a times signed bytes of b. */
static inline int32_t mn_emulated_dot_u8_lane(int32_t sum, uint32_t a, uint32_t b)
{
    for (int i = 0; i < 32; i += 8) sum += (int32_t)(a >> i & 0xFF) * (int8_t)(b >> i & 0xFF);
    return sum;
}

static inline mn_emulated_i32 mn_emulated_dot_u8(mn_emulated_i32 sum, mn_emulated_i32 a, mn_emulated_i32 b)
{
    for (int i = 0; i < 16; i++) sum[i] = mn_emulated_dot_u8_lane(sum[i], (uint32_t)a[i], (uint32_t)b[i]);
    return sum;
}

/* VDPBF16PS: the odd element first, as the manual's pseudocode has it. */
static inline float mn_emulated_dot_bf16_lane(float sum, uint32_t a, uint32_t b)
{
    sum += mn_emulated_bf16((uint16_t)(a >> 16)) * mn_emulated_bf16((uint16_t)(b >> 16));
    return sum + mn_emulated_bf16((uint16_t)a) * mn_emulated_bf16((uint16_t)b);
}

static inline mn_emulated_f32 mn_emulated_dot_bf16(mn_emulated_f32 sum, mn_emulated_i32 a, mn_emulated_i32 b)
{
    for (int i = 0; i < 16; i++) sum[i] = mn_emulated_dot_bf16_lane(sum[i], (uint32_t)a[i], (uint32_t)b[i]);
    return sum;
}

#define MN_MADD_I16_512(sum, a, b) mn_emulated_dot_i16(sum, a, b)
#define MN_DOT_I16_512(sum, a, b)  mn_emulated_dot_i16(sum, a, b)
#define MN_DOT_U8_512(sum, a, b)   mn_emulated_dot_u8(sum, a, b)
#define MN_DOT_BF16_512(sum, a, b) mn_emulated_dot_bf16(sum, a, b)

/* AMX: eight tiles of 16 rows of 64 bytes; the configuration is always all of it. */
typedef struct mn_emulated_tile {
    uint32_t cells[16][16];
} mn_emulated_tile;
static _Thread_local mn_emulated_tile mn_emulated_tiles[8];

static inline void mn_emulated_load(int tile, const void *from, size_t stride_bytes)
{
    for (size_t r = 0; r < 16; r++) memcpy(mn_emulated_tiles[tile].cells[r], (const char *)from + r * stride_bytes, 64);
}

static inline void mn_emulated_store(int tile, void *to, size_t stride_bytes)
{
    for (size_t r = 0; r < 16; r++) memcpy((char *)to + r * stride_bytes, mn_emulated_tiles[tile].cells[r], 64);
}

/* TDPBF16PS: the even products of a tile's depth and the odd ones are summed apart, then both are added, as the
 * manual's pseudocode has it (which also takes denormal numbers for zero). */
static inline float mn_emulated_tile_dot_bf16(float sum, const uint32_t *a, const uint32_t (*b)[16], size_t n)
{
    float even = 0, odd = 0;
    for (size_t k = 0; k < 16; k++) {
        even += mn_emulated_bf16((uint16_t)a[k]) * mn_emulated_bf16((uint16_t)b[k][n]);
        odd += mn_emulated_bf16((uint16_t)(a[k] >> 16)) * mn_emulated_bf16((uint16_t)(b[k][n] >> 16));
    }
    return sum + (even + odd);
}

/* TDPBF16PS, TDPBUSD: c[m][n] += a[m][k] . b[k][n], groups of 32 bits. */
static inline void mn_emulated_tile_dot(int c, int a, int b, int is_bf16)
{
    for (size_t m = 0; m < 16; m++)
        for (size_t n = 0; n < 16; n++) {
            uint32_t *cell = &mn_emulated_tiles[c].cells[m][n];
            const uint32_t *row = mn_emulated_tiles[a].cells[m];
            if (is_bf16) {
                float sum;
                memcpy(&sum, cell, sizeof sum);
                sum = mn_emulated_tile_dot_bf16(sum, row, (const uint32_t(*)[16])mn_emulated_tiles[b].cells, n);
                memcpy(cell, &sum, sizeof sum);
            } else {
                for (size_t k = 0; k < 16; k++)
                    *cell = (uint32_t)mn_emulated_dot_u8_lane((int32_t)*cell, row[k], mn_emulated_tiles[b].cells[k][n]);
            }
        }
}

#define _tile_loadconfig(config)               ((void)(config))
#define _tile_release()                        ((void)0)
#define _tile_zero(tile)                       memset(&mn_emulated_tiles[tile], 0, sizeof(mn_emulated_tile))
#define _tile_loadd(tile, from, stride)        mn_emulated_load(tile, from, (size_t)(stride))
#define _tile_stream_loadd(tile, from, stride) mn_emulated_load(tile, from, (size_t)(stride))
#define _tile_stored(tile, to, stride)         mn_emulated_store(tile, to, (size_t)(stride))
#define _tile_dpbf16ps(c, a, b)                mn_emulated_tile_dot(c, a, b, 1)
#define _tile_dpbusd(c, a, b)                  mn_emulated_tile_dot(c, a, b, 0)

#endif
#endif
