/* vector_type.h -- the number formats in which embed writes unit vectors.
 *
 *     f32      the floats as they are
 *     f16      IEEE 754 half precision, rounded to the nearest, ties to even
 *     int8     round(127 * x / c), within -127..127, c = min(1, 5 / sqrt(dimension)): one scale for all rows, so that
 *              inner products of two rows, times (c / 127)^2, are those of the vectors. docs/embed.md has the
 * measurements ubinary  a bit a number, 1 where x > 0, the first number in the highest bit, rows padded with 0 to whole
 * bytes: numpy.packbits(x > 0, axis=1) binary   the same bytes less 128, as signed ones
 *
 * binary and ubinary are those of sentence-transformers' quantize_embeddings. */
#ifndef MN_CLI_VECTOR_TYPE_H
#define MN_CLI_VECTOR_TYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum cli_vector_type {
    CLI_VECTOR_F32,
    CLI_VECTOR_F16,
    CLI_VECTOR_INT8,
    CLI_VECTOR_BINARY,
    CLI_VECTOR_UBINARY,
    CLI_VECTOR_TYPES
} cli_vector_type;
#define CLI_VECTOR_CHOICES "f32|f16|int8|binary|ubinary"

const char *cli_vector_name(cli_vector_type type);                     /* "f16" */
const char *cli_vector_dtype(cli_vector_type type);                    /* NumPy's, as the bytes lie in memory: "<f2" */
uint32_t cli_vector_columns(cli_vector_type type, uint32_t dimension); /* of a row */
size_t cli_vector_bytes(cli_vector_type type, uint32_t dimension);     /* of a row */

/* One vector into a row of cli_vector_bytes. */
void cli_vector_convert(cli_vector_type type, const float *vector, uint32_t dimension, void *row);

/* The column-th number of a row; for text, `digits` significant ones bring it back exactly. */
double cli_vector_number(cli_vector_type type, const void *row, uint32_t column);
int cli_vector_digits(cli_vector_type type);

/* Half precision and back. */
uint16_t cli_half_from_float(float value);
float cli_half_to_float(uint16_t half);

#endif
