/* vector_file.c -- three ways to write a vector down. */
#include "cli/vector_file.h"

#include "cli/arguments.h"
#include "cli/output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 65536, FILE_BYTES = 4 << 20 }; /* a JSON array of MOST numbers, with room to spare */

static int refuse(const char *path, const char *what)
{
    cli_complain("%s: %s", path, what);
    return CLI_EXIT_USAGE;
}

static int take_floats(const char *path, const char *bytes, size_t size, float **vector, uint32_t *dimension)
{
    size_t n = size / sizeof(float);
    if (size == 0 || size % sizeof(float) != 0)
        return refuse(path, "expected a vector: a .npy file, a JSON array, or float32 numbers (4 bytes each)");
    if (n > MOST) return refuse(path, "holds more than 65,536 numbers; expected one vector");
    *vector = malloc(size);
    if (!*vector) return refuse(path, "out of memory");
    memcpy(*vector, bytes, size);
    *dimension = (uint32_t)n;
    return CLI_GO_ON;
}

static int take_json(const char *path, const char *bytes, size_t size, float **vector, uint32_t *dimension)
{
    json_t *array = json_loadb(bytes, size, 0, NULL);
    size_t n = json_array_size(array);
    int code = n >= 1 && n <= MOST ? CLI_GO_ON : refuse(path, "expected a JSON array of 1 to 65,536 numbers");
    if (code == CLI_GO_ON && !(*vector = malloc(n * sizeof **vector))) code = refuse(path, "out of memory");
    for (size_t i = 0; i < n && code == CLI_GO_ON; i++) {
        const json_t *number = json_array_get(array, i);
        if (!json_is_number(number))
            code = refuse(path, "the JSON array holds something else than numbers");
        else
            (*vector)[i] = (float)json_number_value(number);
    }
    *dimension = (uint32_t)n;
    json_decref(array);
    return code;
}

/* "(384,)", "(1, 384)" or "(384, 1)". */
static bool is_one_row(const char *header)
{
    unsigned long first = 0, second = 0;
    const char *shape = strstr(header, "'shape': (");
    if (!shape) return false;
    int n = sscanf(shape, "'shape': (%lu, %lu", &first, &second);
    return n == 1 || (n == 2 && (first == 1 || second == 1));
}

static int take_npy(const char *path, const char *bytes, size_t size, float **vector, uint32_t *dimension)
{
    const unsigned char *head = (const unsigned char *)bytes;
    size_t length_bytes = size > 12 && head[6] >= 2 ? 4 : 2, start = 8 + length_bytes, length = 0;
    for (size_t i = length_bytes; i-- > 0 && size > 12;) length = length << 8 | head[8 + i];
    if (size <= 12 || length > size - start || length > 4096) return refuse(path, "the .npy file is cut short");
    char header[4097];
    memcpy(header, bytes + start, length);
    header[length] = '\0';
    if (!strstr(header, "'<f4'") || strstr(header, "'fortran_order': True") || !is_one_row(header))
        return refuse(path, "expected one vector of float32 ('<f4') in the .npy file");
    return take_floats(path, bytes + start + length, size - start - length, vector, dimension);
}

static int read_all(const char *path, char **bytes, size_t *size)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    *bytes = file ? malloc(FILE_BYTES) : NULL;
    *size = *bytes ? fread(*bytes, 1, FILE_BYTES, file) : 0;
    int code = CLI_GO_ON;
    if (!file || ferror(file)) {
        cli_complain("cannot read %s: %s", path, strerror(errno));
        code = CLI_EXIT_USAGE;
    } else if (!*bytes) {
        code = refuse(path, "out of memory");
    } else if (*size == FILE_BYTES) {
        code = refuse(path, "is larger than a vector can be");
    }
    if (file && file != stdin) fclose(file);
    return code;
}

int cli_vector_read(const char *path, float **vector, uint32_t *dimension)
{
    char *bytes = NULL;
    size_t size = 0, space = 0;
    *vector = NULL;
    int code = read_all(path, &bytes, &size);
    while (space < size && strchr(" \t\r\n", bytes[space]) && bytes[space]) space++;
    if (code == CLI_GO_ON && size >= 6 && memcmp(bytes, "\x93NUMPY", 6) == 0)
        code = take_npy(path, bytes, size, vector, dimension);
    else if (code == CLI_GO_ON && space < size && bytes[space] == '[' && memchr(bytes, ']', size))
        code = take_json(path, bytes, size, vector, dimension);
    else if (code == CLI_GO_ON)
        code = take_floats(path, bytes, size, vector, dimension);
    free(bytes);
    if (code != CLI_GO_ON) {
        free(*vector);
        *vector = NULL;
    }
    return code;
}
