/* npy.h -- writing NumPy's .npy format, version 1.0: one array of rows x columns, row by row.
 *
 * Source: numpy.lib.format. The header has a fixed size here, so that the rows can be counted in at the end. */
#ifndef MN_CLI_NPY_H
#define MN_CLI_NPY_H

#include <stdint.h>

#define CLI_NPY_HEADER 128u /* bytes; the array begins after it */

/* The header into out[0..127]. dtype: NumPy's name of a number's format, "<f4". */
void cli_npy_header(const char *dtype, uint64_t rows, uint32_t columns, char out[CLI_NPY_HEADER]);

#endif
