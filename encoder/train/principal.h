/* principal.h -- principal components of many rows: the directions in which they differ most. */
#ifndef MN_ENCODER_TRAIN_PRINCIPAL_H
#define MN_ENCODER_TRAIN_PRINCIPAL_H

#include "common/error.h"

/* The `n_components` leading eigenvectors of sum over rows of x x^T (LAPACK's dsyevd); subtract the mean first where
 * variance is meant. rows (n_rows, width), borrowed.
 *
 * components (n_components, width), unit length, largest eigenvalue first; each one's largest element is positive, the
 * first of equals, so that the result has one sign. kept: share of the sum of eigenvalues, in [0,1].
 *
 * The decomposition is held against the matrix before it is believed (old builds of OpenBLAS compute wrong results on
 * new processors): ERR_INTERNAL. ERR_MEMORY. */
mneme_status mn_principal_components(const float *rows, size_t n_rows, uint32_t width, uint32_t n_components,
                                     double *components, double *kept, mneme_error *error);

/* out (n_rows, n_components) = rows components^T. out may be rows when nothing else needs them. ERR_MEMORY. */
mneme_status mn_principal_project(const float *rows, size_t n_rows, uint32_t width, const double *components,
                                  uint32_t n_components, float *out, mneme_error *error);

#endif
