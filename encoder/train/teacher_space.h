/* teacher_space.h -- a teacher's vectors in fewer numbers, or turned to where a model's own vectors lie.
 *
 * A map is a matrix (to, from) with orthogonal rows of unit length: products of vectors, which all losses are made of,
 * stay as nearly what they were as so many numbers allow. */
#ifndef MN_ENCODER_TRAIN_TEACHER_SPACE_H
#define MN_ENCODER_TRAIN_TEACHER_SPACE_H

#include "common/error.h"

/* The map onto the `to` directions in which the vectors (n, from) are largest. to <= from. ERR_INTERNAL as
 * mn_principal_components; ERR_MEMORY. */
mneme_status mn_space_principal(const float *vectors, size_t n, uint32_t from, uint32_t to, double *map,
                                mneme_error *error);

/* The map M that brings the vectors (n, from) nearest to others of the same texts, own (n, to): it minimises
 * sum over i of |M vectors_i - own_i|^2 over such matrices. Orthogonal Procrustes (Schoenemann 1966): with C = sum
 * own_i vectors_i^T, M = (C C^T)^(-1/2) C. to <= from, and n large enough that C has full rank: ERR_USAGE where it has
 * not. */
mneme_status mn_space_align(const float *own, const float *vectors, size_t n, uint32_t from, uint32_t to, double *map,
                            mneme_error *error);

/* vectors (n, from) become (n, to) in place, each of unit length again. ERR_MEMORY. */
mneme_status mn_space_apply(const double *map, float *vectors, size_t n, uint32_t from, uint32_t to,
                            mneme_error *error);

#endif
