/* vector_file.h -- one vector from a file. */
#ifndef MN_CLI_VECTOR_FILE_H
#define MN_CLI_VECTOR_FILE_H

#include <stdint.h>

/* Read a vector: NumPy's .npy ('<f4', one row), a JSON array of numbers, or else float32 numbers one behind the other in
 * the machine's order. "-" is standard input. *vector: owned (free), *dimension: 1..65536.
 * Returns CLI_GO_ON, or the exit code after a message. */
int cli_vector_read(const char *path, float **vector, uint32_t *dimension);

#endif
