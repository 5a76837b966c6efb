/* blas.c -- the functions of BLAS and LAPACK that FAISS and the distillation call, passed on to OpenBLAS.
 *
 * Every argument of a Fortran function is a pointer, so a call is passed on as so many pointers; the hidden lengths of
 * text arguments, which C callers leave out, are never read for texts of one letter. */
#include "common/blas.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

/* name, number of arguments. FAISS 1.12 asks for the first twelve. */
#define FUNCTIONS(X)                                                                                                   \
    X(sgemm_, 13)                                                                                                      \
    X(dgemm_, 13)                                                                                                      \
    X(ssyrk_, 10)                                                                                                      \
    X(sgeqrf_, 8)                                                                                                      \
    X(sorgqr_, 9)                                                                                                      \
    X(sgetrf_, 6)                                                                                                      \
    X(sgetri_, 7)                                                                                                      \
    X(dgetrf_, 6)                                                                                                      \
    X(dgetri_, 7)                                                                                                      \
    X(sgesvd_, 14)                                                                                                     \
    X(dgesvd_, 14)                                                                                                     \
    X(dsyev_, 9)                                                                                                       \
    X(sgelsd_, 14)                                                                                                     \
    X(dsyevd_, 11)                                                                                                     \
    X(dsyrk_, 10)

enum {
#define NUMBER(name, n) FUNCTION_##name,
    FUNCTIONS(NUMBER)
#undef NUMBER
        N_FUNCTIONS
};

static const char *const names[N_FUNCTIONS] = {
#define NAME(name, n) #name,
    FUNCTIONS(NAME)
#undef NAME
};

static void *addresses[N_FUNCTIONS]; /* all NULL: not loaded */
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* The very library that this build found, else what the system has. */
static void load(void)
{
    static const char *const libraries[] = {MN_OPENBLAS, "libopenblas.so.0", "libopenblas.so"};
    void *library = NULL, *found[N_FUNCTIONS];
    for (size_t i = 0; i < sizeof libraries / sizeof libraries[0] && !library; i++)
        library = dlopen(libraries[i], RTLD_NOW | RTLD_LOCAL);
    for (size_t i = 0; library && i < N_FUNCTIONS; i++) {
        found[i] = dlsym(library, names[i]);
        if (found[i]) continue;
        dlclose(library);
        library = NULL;
    }
    if (library) memcpy(addresses, found, sizeof addresses);
}

mneme_status mn_blas_load(mneme_error *error)
{
    pthread_once(&once, load);
    if (addresses[0]) return MNEME_OK;
    return mn_fail(error, MNEME_ERR_UNSUPPORTED,
                   "OpenBLAS is not on this system, or lacks LAPACK: install libopenblas0-serial");
}

static void *address_of(size_t function)
{
    pthread_once(&once, load);
    return addresses[function];
}

#define PARAMETERS_6  void *a, void *b, void *c, void *d, void *e, void *f
#define PARAMETERS_7  PARAMETERS_6, void *g
#define PARAMETERS_8  PARAMETERS_7, void *h
#define PARAMETERS_9  PARAMETERS_8, void *i
#define PARAMETERS_10 PARAMETERS_9, void *j
#define PARAMETERS_11 PARAMETERS_10, void *k
#define PARAMETERS_12 PARAMETERS_11, void *l
#define PARAMETERS_13 PARAMETERS_12, void *m
#define PARAMETERS_14 PARAMETERS_13, void *n
#define ARGUMENTS_6   a, b, c, d, e, f
#define ARGUMENTS_7   ARGUMENTS_6, g
#define ARGUMENTS_8   ARGUMENTS_7, h
#define ARGUMENTS_9   ARGUMENTS_8, i
#define ARGUMENTS_10  ARGUMENTS_9, j
#define ARGUMENTS_11  ARGUMENTS_10, k
#define ARGUMENTS_12  ARGUMENTS_11, l
#define ARGUMENTS_13  ARGUMENTS_12, m
#define ARGUMENTS_14  ARGUMENTS_13, n

/* ISO C has no conversion from an object pointer to a function pointer; POSIX says that the bytes agree. */
#define PASS_ON(name, n)                                                                                               \
    int name(PARAMETERS_##n);                                                                                          \
    int name(PARAMETERS_##n)                                                                                           \
    {                                                                                                                  \
        int (*function)(PARAMETERS_##n) = NULL;                                                                        \
        void *address = address_of(FUNCTION_##name);                                                                   \
        memcpy(&function, &address, sizeof address);                                                                   \
        return function ? function(ARGUMENTS_##n) : 0;                                                                 \
    }
FUNCTIONS(PASS_ON)
