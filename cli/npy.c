/* npy.c -- writing NumPy's .npy format. */
#include "cli/npy.h"

#include <string.h>

void cli_npy_header(uint64_t rows, uint32_t columns, char out[CLI_NPY_HEADER])
{
    char text[CLI_NPY_HEADER - 10 + 1];
    const uint16_t one = 1;
    const char order = *(const char *)&one ? '<' : '>'; /* the floats are written as they lie in memory */
    int size = snprintf(text, sizeof text, "{'descr': '%cf4', 'fortran_order': False, 'shape': (%llu, %u), }", order,
                        (unsigned long long)rows, columns);
    memset(out, ' ', CLI_NPY_HEADER);
    memcpy(out, "\x93NUMPY\x01\x00", 8);
    out[8] = (char)(CLI_NPY_HEADER - 10); /* bytes that follow, little-endian */
    out[9] = 0;
    memcpy(out + 10, text, (size_t)size);
    out[CLI_NPY_HEADER - 1] = '\n';
}
