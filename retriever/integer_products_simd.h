/* integer_products_simd.h -- the body of a kernel: written so that compilers turn it into widening loads and
 * multiply-adds (vpmovsxbw and vpmaddwd, or vpdpwssd). Included once by each integer_products*.c, with KERNEL defined.
 */
void KERNEL(const int8_t *rows, size_t n_rows, size_t dimension, const int16_t *query, int32_t *sums)
{
    for (size_t r = 0; r < n_rows; r++) {
        const int8_t *row = rows + r * dimension;
        int32_t sum = 0;
        for (size_t i = 0; i < dimension; i++) sum += (int16_t)row[i] * query[i];
        sums[r] = sum;
    }
}
