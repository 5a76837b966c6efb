/* blas.h -- BLAS and LAPACK, loaded when they are first called.
 *
 * FAISS's index building and the distillation need a few functions of them; a query needs none, yet OpenBLAS takes 5 ms
 * to set itself up when it is linked (2 cores, AVX2: an empty program 0.6 ms, with it 5.7 ms), which is most of a
 * command's start. blas.c defines the functions by their Fortran names and passes each call on. */
#ifndef MN_COMMON_BLAS_H
#define MN_COMMON_BLAS_H

#include "common/error.h"

/* Call before anything that needs BLAS, to have a clean error: ERR_UNSUPPORTED names what to install. Without it the
 * first function called loads the library, and does nothing where there is none. Any thread. */
mneme_status mn_blas_load(mneme_error *error);

#endif
