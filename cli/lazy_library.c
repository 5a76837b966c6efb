/* lazy_library.c -- dlopen and dlsym for libraries that most runs do not need. */
#include "cli/lazy_library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

bool cli_lazy_load(const char *const *names, const cli_lazy_symbol *symbols, size_t n_symbols, const char *package,
                   char *reason, size_t reason_size)
{
    void *library = NULL;
    for (const char *const *name = names; *name && !library; name++) library = dlopen(*name, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        snprintf(reason, reason_size, "this needs %s, which is not on this system: install the package %s", names[0],
                 package);
        return false;
    }
    for (size_t i = 0; i < n_symbols; i++) {
        if (dlsym(library, symbols[i].name)) continue;
        snprintf(reason, reason_size, "%s is too old: it has no %s; install a newer %s", names[0], symbols[i].name,
                 package);
        dlclose(library);
        return false;
    }
    for (size_t i = 0; i < n_symbols; i++) {
        /* ISO C has no conversion from an object pointer to a function pointer; POSIX says that the bytes agree. */
        void *address = dlsym(library, symbols[i].name);
        memcpy(symbols[i].slot, &address, sizeof address);
    }
    return true;
}
