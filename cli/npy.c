/* npy.c -- writing NumPy's .npy format. */
#include "cli/npy.h"

#include <stdio.h>
#include <string.h>

void cli_npy_header(const char *dtype, uint64_t rows, uint32_t columns, char out[CLI_NPY_HEADER])
{
    char text[CLI_NPY_HEADER - 10 + 1];
    int size = snprintf(text, sizeof text, "{'descr': '%.8s', 'fortran_order': False, 'shape': (%llu, %u), }", dtype,
                        (unsigned long long)rows, columns);
    memset(out, ' ', CLI_NPY_HEADER);
    memcpy(out, "\x93NUMPY\x01\x00", 8);
    out[8] = (char)(CLI_NPY_HEADER - 10); /* bytes that follow, little-endian */
    out[9] = 0;
    memcpy(out + 10, text, (size_t)size);
    out[CLI_NPY_HEADER - 1] = '\n';
}
