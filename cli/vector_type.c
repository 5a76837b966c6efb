/* vector_type.c -- unit vectors as numbers of 4, 2 and 1 bytes, and as bits. */
#include "cli/vector_type.h"

#include <math.h>
#include <string.h>

static bool is_little_endian(void)
{
    const uint16_t one = 1;
    return *(const char *)&one == 1;
}

const char *cli_vector_name(cli_vector_type type)
{
    static const char *const names[CLI_VECTOR_TYPES] = {"f32", "f16", "int8", "binary", "ubinary"};
    return names[type];
}

const char *cli_vector_dtype(cli_vector_type type)
{
    switch (type) {
    case CLI_VECTOR_F32: return is_little_endian() ? "<f4" : ">f4";
    case CLI_VECTOR_F16: return is_little_endian() ? "<f2" : ">f2";
    case CLI_VECTOR_UBINARY: return "|u1";
    default: return "|i1";
    }
}

static bool is_bits(cli_vector_type type)
{
    return type == CLI_VECTOR_BINARY || type == CLI_VECTOR_UBINARY;
}

uint32_t cli_vector_columns(cli_vector_type type, uint32_t dimension)
{
    return is_bits(type) ? (dimension + 7) / 8 : dimension;
}

size_t cli_vector_bytes(cli_vector_type type, uint32_t dimension)
{
    size_t width = type == CLI_VECTOR_F32 ? 4 : type == CLI_VECTOR_F16 ? 2 : 1;
    return width * cli_vector_columns(type, dimension);
}

/* ---- half precision ---- */

/* half: sign, 5 bits of exponent (bias 15), 10 of fraction. */
uint16_t cli_half_from_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7FFFFFFFu;
    if (magnitude > 0x7F800000u) return (uint16_t)(sign | 0x7E00u);  /* not a number */
    if (magnitude >= 0x477FF000u) return (uint16_t)(sign | 0x7C00u); /* rounds to 65536 or more: infinity */
    if (magnitude < 0x38800000u) { /* below 2^-14: a multiple of 2^-24; adding 0.5 lets the processor round */
        float small;
        memcpy(&small, &magnitude, sizeof small);
        small += 0.5f;
        memcpy(&magnitude, &small, sizeof magnitude);
        return (uint16_t)(sign | (magnitude - 0x3F000000u));
    }
    magnitude += 0x0FFFu + (magnitude >> 13 & 1u); /* half a unit of the last place, ties to even */
    return (uint16_t)(sign | ((magnitude - (112u << 23)) >> 13));
}

float cli_half_to_float(uint16_t half)
{
    int exponent = half >> 10 & 0x1F, fraction = half & 0x3FF;
    float value = exponent == 0    ? ldexpf((float)fraction, -24)
                  : exponent == 31 ? (fraction ? NAN : INFINITY)
                                   : ldexpf((float)(fraction + 1024), exponent - 25);
    return half & 0x8000u ? -value : value;
}

/* ---- rows ---- */

static void to_int8(const float *vector, uint32_t dimension, int8_t *row)
{
    double share = sqrt((double)dimension) / 5, scale = 127.0 * (share > 1 ? share : 1);
    for (uint32_t i = 0; i < dimension; i++) {
        double value = rint((double)vector[i] * scale);
        row[i] = (int8_t)(value > 127 ? 127 : value < -127 ? -127 : value);
    }
}

/* less: 128 for signed bytes. */
static void to_bits(const float *vector, uint32_t dimension, unsigned less, uint8_t *row)
{
    for (uint32_t first = 0; first < dimension; first += 8) {
        unsigned byte = 0;
        for (uint32_t i = first; i < first + 8 && i < dimension; i++) byte |= vector[i] > 0 ? 0x80u >> (i - first) : 0;
        *row++ = (uint8_t)(byte - less);
    }
}

void cli_vector_convert(cli_vector_type type, const float *vector, uint32_t dimension, void *row)
{
    switch (type) {
    case CLI_VECTOR_F16:
        for (uint32_t i = 0; i < dimension; i++) ((uint16_t *)row)[i] = cli_half_from_float(vector[i]);
        break;
    case CLI_VECTOR_INT8: to_int8(vector, dimension, row); break;
    case CLI_VECTOR_BINARY: to_bits(vector, dimension, 128, row); break;
    case CLI_VECTOR_UBINARY: to_bits(vector, dimension, 0, row); break;
    default: memcpy(row, vector, dimension * sizeof *vector);
    }
}

double cli_vector_number(cli_vector_type type, const void *row, uint32_t column)
{
    switch (type) {
    case CLI_VECTOR_F32: return (double)((const float *)row)[column];
    case CLI_VECTOR_F16: return (double)cli_half_to_float(((const uint16_t *)row)[column]);
    case CLI_VECTOR_UBINARY: return ((const uint8_t *)row)[column];
    default: return ((const int8_t *)row)[column];
    }
}

int cli_vector_digits(cli_vector_type type)
{
    return type == CLI_VECTOR_F32 ? 9 : type == CLI_VECTOR_F16 ? 5 : 3;
}
