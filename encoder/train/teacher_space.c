/* teacher_space.c -- see teacher_space.h. */
#include "encoder/train/teacher_space.h"

#include "common/memory.h"
#include "encoder/train/principal.h"

#include <math.h>
#include <string.h>

mneme_status mn_space_principal(const float *vectors, size_t n, uint32_t from, uint32_t to, double *map,
                                mneme_error *error)
{
    double kept;
    return mn_principal_components(vectors, n, from, to, map, &kept, error);
}

/* out (from, to): the transpose of sum own_i vectors_i^T, over its largest element. */
static void correlate(const float *own, const float *vectors, size_t n, uint32_t from, uint32_t to, double *sums,
                      float *out)
{
    double largest = 0;
    memset(sums, 0, (size_t)from * to * sizeof *sums);
    for (size_t i = 0; i < n; i++)
        for (size_t f = 0; f < from; f++)
            for (size_t t = 0; t < to; t++) sums[f * to + t] += (double)vectors[i * from + f] * (double)own[i * to + t];
    for (size_t k = 0; k < (size_t)from * to; k++) largest = fmax(largest, fabs(sums[k]));
    for (size_t k = 0; k < (size_t)from * to; k++) out[k] = (float)(largest > 0 ? sums[k] / largest : 0);
}

/* C = U S V^T has the map U V^T. rows of components: those of U^T; V's columns are C^T u, scaled to unit length. */
static mneme_status turn(const float *transposed, const double *components, uint32_t from, uint32_t to, double *map,
                         mneme_error *error)
{
    double *column = mn_alloc_array(from, sizeof *column), first = 0;
    mneme_status status = column ? MNEME_OK : mn_fail_memory(error, "the teacher's vectors");
    memset(map, 0, (size_t)from * to * sizeof *map);
    for (size_t k = 0; k < to && status == MNEME_OK; k++) {
        const double *u = components + k * to;
        double squares = 0;
        for (size_t f = 0; f < from; f++) {
            column[f] = 0;
            for (size_t t = 0; t < to; t++) column[f] += (double)transposed[f * to + t] * u[t];
            squares += column[f] * column[f];
        }
        if (k == 0) first = squares;
        if (!(squares > 1e-10 * first)) /* in f32, no more than rounding */
            status = mn_fail(
                error, MNEME_ERR_USAGE,
                "the texts say too little of how vectors of %u numbers lie to the teacher's; give more texts", to);
        double scale = 1 / sqrt(squares);
        for (size_t t = 0; t < to && status == MNEME_OK; t++)
            for (size_t f = 0; f < from; f++) map[t * from + f] += u[t] * column[f] * scale;
    }
    mn_free(column);
    return status;
}

mneme_status mn_space_align(const float *own, const float *vectors, size_t n, uint32_t from, uint32_t to, double *map,
                            mneme_error *error)
{
    double *sums = mn_alloc_array((size_t)from * to, sizeof *sums), kept;
    double *components = mn_alloc_array((size_t)to * to, sizeof *components);
    float *transposed = mn_alloc_array((size_t)from * to, sizeof *transposed);
    mneme_status status = sums && components && transposed ? MNEME_OK : mn_fail_memory(error, "the teacher's vectors");
    if (status == MNEME_OK) {
        correlate(own, vectors, n, from, to, sums, transposed);
        status = mn_principal_components(transposed, from, to, to, components, &kept, error);
    }
    if (status == MNEME_OK) status = turn(transposed, components, from, to, map, error);
    mn_free(sums);
    mn_free(components);
    mn_free(transposed);
    return status;
}

mneme_status mn_space_apply(const double *map, float *vectors, size_t n, uint32_t from, uint32_t to, mneme_error *error)
{
    mneme_status status = mn_principal_project(vectors, n, from, map, to, vectors, error);
    for (size_t i = 0; i < n && status == MNEME_OK; i++) {
        float *row = vectors + i * to;
        double squares = 0;
        for (size_t t = 0; t < to; t++) squares += (double)row[t] * (double)row[t];
        for (size_t t = 0; t < to && squares > 0; t++) row[t] = (float)((double)row[t] / sqrt(squares));
    }
    return status;
}
