/* principal.c -- the only file that calls BLAS and LAPACK (through their Fortran names, which OpenBLAS has: FAISS links
 * to it already). Matrices are symmetric or transposed on purpose, so that row-major and column-major agree. */
#include "encoder/train/principal.h"

#include "common/blas.h"
#include "common/memory.h"

#include <math.h>
#include <string.h>

/* The hidden lengths of the character arguments come last, as gfortran passes them. */
extern void dsyrk_(const char *uplo, const char *trans, const int *n, const int *k, const double *alpha,
                   const double *a, const int *lda, const double *beta, double *c, const int *ldc, size_t uplo_size,
                   size_t trans_size);
extern void dsyevd_(const char *jobz, const char *uplo, const int *n, double *a, const int *lda, double *w,
                    double *work, const int *lwork, int *iwork, const int *liwork, int *info, size_t jobz_size,
                    size_t uplo_size);

enum { BLOCK_ROWS = 512 };

/* matrix (width, width) = sum of x x^T: the upper triangle in column-major order, which is the lower one in row-major;
 * then both. */
static mneme_status second_moment(const float *rows, size_t n_rows, int width, double *matrix, mneme_error *error)
{
    size_t w = (size_t)width;
    double *block = mn_alloc_array(BLOCK_ROWS * w, sizeof *block);
    if (!block) return mn_fail_memory(error, "principal components");
    memset(matrix, 0, w * w * sizeof *matrix);
    const double one = 1;
    for (size_t first = 0; first < n_rows; first += BLOCK_ROWS) {
        size_t n = n_rows - first < BLOCK_ROWS ? n_rows - first : BLOCK_ROWS;
        for (size_t i = 0; i < n * w; i++) block[i] = (double)rows[first * w + i];
        int k = (int)n;
        dsyrk_("U", "N", &width, &k, &one, block, &width, &one, matrix, &width, 1, 1);
    }
    for (size_t i = 0; i < w; i++)
        for (size_t j = 0; j < i; j++) matrix[j * w + i] = matrix[i * w + j];
    mn_free(block);
    return MNEME_OK;
}

/* values ascending; vectors: row i belongs to value i. vectors comes in as the matrix. */
static mneme_status decompose(double *vectors, int width, double *values, mneme_error *error)
{
    double work_size = 0;
    int iwork_size = 0, query = -1, info = 0;
    dsyevd_("V", "U", &width, vectors, &width, values, &work_size, &query, &iwork_size, &query, &info, 1, 1);
    int lwork = (int)work_size, liwork = iwork_size;
    if (info != 0 || lwork < 1 || liwork < 1) return mn_fail(error, MNEME_ERR_INTERNAL, "dsyevd: status %d", info);
    double *work = mn_alloc_array((size_t)lwork, sizeof *work);
    int *iwork = mn_alloc_array((size_t)liwork, sizeof *iwork);
    if (work && iwork) dsyevd_("V", "U", &width, vectors, &width, values, work, &lwork, iwork, &liwork, &info, 1, 1);
    mneme_status status = !work || !iwork ? mn_fail_memory(error, "principal components")
                          : info != 0     ? mn_fail(error, MNEME_ERR_INTERNAL, "dsyevd: status %d", info)
                                          : MNEME_OK;
    mn_free(work);
    mn_free(iwork);
    return status;
}

/* Is matrix v = value v, and v of unit length, as nearly as double precision allows? */
static bool is_eigenvector(const double *matrix, size_t width, const double *vector, double value, double largest)
{
    double worst = 0, squares = 0;
    for (size_t i = 0; i < width; i++) {
        double product = 0;
        for (size_t j = 0; j < width; j++) product += matrix[i * width + j] * vector[j];
        worst = fmax(worst, fabs(product - value * vector[i]));
        squares += vector[i] * vector[i];
    }
    return worst <= 1e-9 * largest * (double)width && fabs(squares - 1) <= 1e-9;
}

static void copy_with_sign(const double *vector, size_t width, double *out)
{
    size_t most = 0;
    for (size_t i = 1; i < width; i++)
        if (fabs(vector[i]) > fabs(vector[most])) most = i;
    double sign = vector[most] < 0 ? -1 : 1;
    for (size_t i = 0; i < width; i++) out[i] = sign * vector[i];
}

static mneme_status take_leading(const double *matrix, const double *vectors, const double *values, size_t width,
                                 size_t n_components, double *components, double *kept, mneme_error *error)
{
    double total = 0, sum = 0, largest = fmax(fabs(values[width - 1]), fabs(values[0]));
    for (size_t i = 0; i < width; i++) total += fmax(values[i], 0);
    for (size_t c = 0; c < n_components; c++) {
        size_t from = width - 1 - c;
        if (!is_eigenvector(matrix, width, vectors + from * width, values[from], largest))
            return mn_fail(
                error, MNEME_ERR_INTERNAL,
                "OpenBLAS computed a wrong eigenvector on this processor; try with OPENBLAS_CORETYPE=HASWELL");
        copy_with_sign(vectors + from * width, width, components + c * width);
        sum += fmax(values[from], 0);
    }
    *kept = total > 0 ? sum / total : 1;
    return MNEME_OK;
}

mneme_status mn_principal_components(const float *rows, size_t n_rows, uint32_t width, uint32_t n_components,
                                     double *components, double *kept, mneme_error *error)
{
    mneme_status status = mn_blas_load(error);
    if (status != MNEME_OK) return status;
    size_t square = (size_t)width * width;
    double *matrix = mn_alloc_array(square, sizeof *matrix), *vectors = mn_alloc_array(square, sizeof *vectors);
    double *values = mn_alloc_array(width, sizeof *values);
    status = matrix && vectors && values ? second_moment(rows, n_rows, (int)width, matrix, error)
                                         : mn_fail_memory(error, "principal components");
    if (status == MNEME_OK) {
        memcpy(vectors, matrix, square * sizeof *vectors);
        status = decompose(vectors, (int)width, values, error);
    }
    if (status == MNEME_OK)
        status = take_leading(matrix, vectors, values, width, n_components, components, kept, error);
    mn_free(matrix);
    mn_free(vectors);
    mn_free(values);
    return status;
}

mneme_status mn_principal_project(const float *rows, size_t n_rows, uint32_t width, const double *components,
                                  uint32_t n_components, float *out, mneme_error *error)
{
    float *row = mn_alloc_array(width, sizeof *row),
          *transposed = mn_alloc_array((size_t)width * n_components, sizeof *row);
    double *sum = mn_alloc_array(n_components, sizeof *sum);
    if (!row || !transposed || !sum) {
        mn_free(row), mn_free(transposed), mn_free(sum);
        return mn_fail_memory(error, "principal components");
    }
    for (size_t c = 0; c < n_components; c++)
        for (size_t i = 0; i < width; i++) transposed[i * n_components + c] = (float)components[c * width + i];
    for (size_t r = 0; r < n_rows; r++) {
        memcpy(row, rows + r * width, width * sizeof *row);
        memset(sum, 0, n_components * sizeof *sum);
        for (size_t i = 0; i < width; i++)
            for (size_t c = 0; c < n_components; c++)
                sum[c] += (double)row[i] * (double)transposed[i * n_components + c];
        for (size_t c = 0; c < n_components; c++) out[r * n_components + c] = (float)sum[c];
    }
    mn_free(row), mn_free(transposed), mn_free(sum);
    return MNEME_OK;
}
