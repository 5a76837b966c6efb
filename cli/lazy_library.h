/* lazy_library.h -- a shared library that is loaded when it is first needed, not when the command starts.
 *
 * Only `model pull` speaks to a network, yet linking to libcurl makes every start of the command load it and the 29
 * libraries behind it: measured 8.5 ms -> 17.7 ms for `mneme --help` (2 cores, AVX2; libcrypto alone 0.9 ms). libxml2,
 * which only HTML needs, brings ICU and costs 2.3 ms of processor time. A helper
 * program would keep the command as light, but has to be installed beside it and found again; so the few functions in
 * use are looked up by name, behind the prototypes of the library's own header. */
#ifndef MN_CLI_LAZY_LIBRARY_H
#define MN_CLI_LAZY_LIBRARY_H

#include <stdbool.h>
#include <stddef.h>

/* A function and the pointer that receives it. */
typedef struct cli_lazy_symbol {
    const char *name;
    void *slot; /* address of a function pointer */
} cli_lazy_symbol;

/* Load the first of `names` (NULL at the end) that is there and fill the slots. It stays loaded until the program ends.
 * False: `reason` is one line that says what to install (`package`), and no slot is filled. */
bool cli_lazy_load(const char *const *names, const cli_lazy_symbol *symbols, size_t n_symbols, const char *package,
                   char *reason, size_t reason_size);

#endif
