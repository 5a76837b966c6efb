/* vector_codes.h -- how the numbers of an embedding are kept: as they are, or in fewer bits.
 *
 * The value of n rows is up to three parts, one behind the other, each row-major:
 *
 *     f32     float[n][d]                                        4 bytes a number, exact
 *     bf16    the upper half of each float, rounded              2 bytes
 *     int12   float scale[n]    int8 high[n][d]   4-bit low      1.5 bytes
 *     int8    float scale[n]    int8 high[n][d]                  1 byte
 *
 * An integer code stands for scale * code. Codes are numbers / largest number * 2039 (int8: 127), rounded; the scale is
 * 1 / (Euclidean norm of the codes), so that what is read back has length 1 again and encoding it once more gives the
 * same bits. An int12 code is 16 * high + low with low in -8..7, kept as low + 8, two to a byte, the lower nibble
 * first: the high part alone is an int8 vector, which a scan reads first. A dead row is all zeros, scale included.
 *
 * Pure functions; any thread. */
#ifndef MN_MEMSTORE_VECTOR_CODES_H
#define MN_MEMSTORE_VECTOR_CODES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Values are format: append only. */
typedef enum mn_vector_type {
    MN_VECTORS_F32 = 0,
    MN_VECTORS_BF16 = 1,
    MN_VECTORS_INT12 = 2,
    MN_VECTORS_INT8 = 3
} mn_vector_type;
enum { MN_VECTOR_TYPES = 4, MN_VECTOR_PARTS = 3 };

/* "f32", "bf16", "int12", "int8"; static. NULL for a number that is none. */
const char *mn_vector_type_name(uint32_t type);
/* False: there is no such name. */
bool mn_vector_type_parse(const char *name, mn_vector_type *out);

/* Bytes that each part takes for one row; returns how many parts there are. */
size_t mn_vector_parts(mn_vector_type type, uint32_t dimension, size_t sizes[MN_VECTOR_PARTS]);
/* Bytes of one row, all parts. */
size_t mn_vector_row_bytes(mn_vector_type type, uint32_t dimension);

/* n rows and where their parts begin. */
typedef struct mn_vector_block {
    uint32_t first_row, n_rows;
    const float *vectors;     /* f32: n_rows x dimension */
    const uint16_t *halves;   /* bf16: n_rows x dimension */
    const float *scales;      /* int12, int8: n_rows */
    const int8_t *high;       /* int12, int8: n_rows x dimension */
    const unsigned char *low; /* int12: n_rows x ceil(dimension / 2) */
} mn_vector_block;

/* The parts of a value of n_rows rows (4-byte aligned). */
mn_vector_block mn_vector_block_of(mn_vector_type type, uint32_t dimension, uint32_t n_rows, const void *value);

/* Encode one row of `dimension` finite floats to place `row` of a value of n_rows rows. NULL: zeros. */
void mn_vector_encode(mn_vector_type type, uint32_t dimension, const float *vector, void *value, uint32_t n_rows,
                      uint32_t row);
/* Read one row back as floats. */
void mn_vector_decode(mn_vector_type type, uint32_t dimension, const mn_vector_block *block, uint32_t row, float *out);

/* How far from 1 the squared length of a vector that was read back may be. */
double mn_vector_slack(mn_vector_type type);

/* Copy rows from .. from + n - 1 of a value of from_rows rows to place `to` .. of one of to_rows rows. */
void mn_vector_copy_rows(mn_vector_type type, uint32_t dimension, const void *value, uint32_t from_rows, void *out,
                         uint32_t to_rows, uint32_t to);

/* A bfloat16 as a float. */
static inline float mn_vector_half(uint16_t half)
{
    union {
        uint32_t bits;
        float number;
    } both = {.bits = (uint32_t)half << 16};
    return both.number;
}

/* A float as a bfloat16: rounded to nearest, ties to even. */
static inline uint16_t mn_vector_half_of(float number)
{
    union {
        float number;
        uint32_t bits;
    } both = {.number = number};
    return (uint16_t)((both.bits + 0x7fffu + (both.bits >> 16 & 1u)) >> 16);
}

/* The two low codes of a byte. */
static inline int mn_vector_low(const unsigned char *low, size_t i)
{
    return (int)((unsigned)low[i / 2] >> (i % 2 * 4) & 15u) - 8;
}

#endif
