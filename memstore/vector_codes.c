/* vector_codes.c -- embeddings in fewer bits, and back. */
#include "memstore/vector_codes.h"

#include <math.h>
#include <string.h>

enum { INT12_MOST = 2039, INT8_MOST = 127 }; /* 2039 = 16 * 127 + 7: the most that int8 and a low part of 7 can say */

static const char *const names[MN_VECTOR_TYPES] = {"f32", "bf16", "int12", "int8"};

const char *mn_vector_type_name(uint32_t type)
{
    return type < MN_VECTOR_TYPES ? names[type] : NULL;
}

bool mn_vector_type_parse(const char *name, mn_vector_type *out)
{
    for (unsigned i = 0; i < MN_VECTOR_TYPES; i++) {
        if (strcmp(name, names[i]) != 0) continue;
        *out = (mn_vector_type)i;
        return true;
    }
    return false;
}

size_t mn_vector_parts(mn_vector_type type, uint32_t dimension, size_t sizes[MN_VECTOR_PARTS])
{
    size_t d = dimension;
    bool is_float = type == MN_VECTORS_F32 || type == MN_VECTORS_BF16;
    sizes[0] = type == MN_VECTORS_F32 ? 4 * d : type == MN_VECTORS_BF16 ? 2 * d : sizeof(float);
    sizes[1] = is_float ? 0 : d;
    sizes[2] = type == MN_VECTORS_INT12 ? (d + 1) / 2 : 0;
    return is_float ? 1 : type == MN_VECTORS_INT8 ? 2 : 3;
}

size_t mn_vector_row_bytes(mn_vector_type type, uint32_t dimension)
{
    size_t sizes[MN_VECTOR_PARTS];
    mn_vector_parts(type, dimension, sizes);
    return sizes[0] + sizes[1] + sizes[2];
}

mn_vector_block mn_vector_block_of(mn_vector_type type, uint32_t dimension, uint32_t n_rows, const void *value)
{
    mn_vector_block block = {.n_rows = n_rows};
    size_t sizes[MN_VECTOR_PARTS];
    mn_vector_parts(type, dimension, sizes);
    const unsigned char *second = (const unsigned char *)value + sizes[0] * n_rows;
    if (type == MN_VECTORS_F32) {
        block.vectors = value;
    } else if (type == MN_VECTORS_BF16) {
        block.halves = value;
    } else {
        block.scales = value;
        block.high = (const int8_t *)second;
        if (type == MN_VECTORS_INT12) block.low = second + sizes[1] * n_rows;
    }
    return block;
}

/* ---- one row ---- */

/* Where part `part` of a row lies in a value. */
static unsigned char *place_of(mn_vector_type type, uint32_t dimension, void *value, uint32_t n_rows, uint32_t row,
                               size_t part, size_t *size)
{
    size_t sizes[MN_VECTOR_PARTS], offset = 0;
    mn_vector_parts(type, dimension, sizes);
    for (size_t p = 0; p < part; p++) offset += sizes[p] * n_rows;
    *size = sizes[part];
    return (unsigned char *)value + offset + sizes[part] * row;
}

static void encode_halves(const float *vector, uint32_t dimension, unsigned char *out)
{
    for (uint32_t i = 0; i < dimension; i++) {
        uint16_t half = mn_vector_half_of(vector[i]);
        memcpy(out + 2 * (size_t)i, &half, sizeof half);
    }
}

/* high and, unless it is NULL, low; returns the scale. */
static float encode_integers(const float *vector, uint32_t dimension, unsigned char *high, unsigned char *low)
{
    float largest = 0;
    for (uint32_t i = 0; i < dimension; i++) largest = fabsf(vector[i]) > largest ? fabsf(vector[i]) : largest;
    if (!(largest > 0)) return 0;
    double to_code = (double)(low ? INT12_MOST : INT8_MOST) / (double)largest, squares = 0;
    for (uint32_t i = 0; i < dimension; i++) {
        int code = (int)lrint((double)vector[i] * to_code);
        squares += (double)code * (double)code;
        int upper = low ? (code + 8 + 4096) / 16 - 256 : code; /* rounded down, also below 0 */
        high[i] = (unsigned char)(int8_t)upper;
        if (low) low[i / 2] = (unsigned char)(low[i / 2] | (unsigned)(code - 16 * upper + 8) << (i % 2 * 4));
    }
    return (float)(1.0 / sqrt(squares));
}

void mn_vector_encode(mn_vector_type type, uint32_t dimension, const float *vector, void *value, uint32_t n_rows,
                      uint32_t row)
{
    unsigned char *parts[MN_VECTOR_PARTS] = {0};
    size_t sizes[MN_VECTOR_PARTS], n = mn_vector_parts(type, dimension, sizes);
    for (size_t p = 0; p < n; p++) {
        size_t size;
        parts[p] = place_of(type, dimension, value, n_rows, row, p, &size);
        memset(parts[p], 0, size);
    }
    if (!vector) return;
    if (type == MN_VECTORS_F32) {
        memcpy(parts[0], vector, sizes[0]);
    } else if (type == MN_VECTORS_BF16) {
        encode_halves(vector, dimension, parts[0]);
    } else {
        float scale = encode_integers(vector, dimension, parts[1], n == 3 ? parts[2] : NULL);
        memcpy(parts[0], &scale, sizeof scale);
    }
}

void mn_vector_decode(mn_vector_type type, uint32_t dimension, const mn_vector_block *block, uint32_t row, float *out)
{
    size_t d = dimension, at = row * d;
    if (type == MN_VECTORS_F32) {
        memcpy(out, block->vectors + at, d * sizeof *out);
    } else if (type == MN_VECTORS_BF16) {
        for (size_t i = 0; i < d; i++) out[i] = mn_vector_half(block->halves[at + i]);
    } else if (type == MN_VECTORS_INT8) {
        for (size_t i = 0; i < d; i++) out[i] = block->scales[row] * (float)block->high[at + i];
    } else {
        const unsigned char *low = block->low + row * ((d + 1) / 2);
        for (size_t i = 0; i < d; i++)
            out[i] = block->scales[row] * (float)(16 * block->high[at + i] + mn_vector_low(low, i));
    }
}

double mn_vector_slack(mn_vector_type type)
{
    return type == MN_VECTORS_BF16 ? 1e-2 : 1e-3; /* bf16 rounds each number, and has no scale to make up for it */
}

void mn_vector_copy_rows(mn_vector_type type, uint32_t dimension, const void *value, uint32_t from_rows, void *out,
                         uint32_t to_rows, uint32_t to)
{
    size_t sizes[MN_VECTOR_PARTS], n = mn_vector_parts(type, dimension, sizes);
    const unsigned char *from = value;
    for (size_t p = 0; p < n; p++) {
        size_t size;
        memcpy(place_of(type, dimension, out, to_rows, to, p, &size), from, sizes[p] * from_rows);
        from += sizes[p] * from_rows;
    }
}
