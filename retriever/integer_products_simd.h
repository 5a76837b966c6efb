/* integer_products_simd.h -- the bodies of the kernels: written so that compilers turn them into widening loads and
 * multiply-adds (vpmovsxbw and vpmaddwd, or vpdpwssd). Included once by each integer_products*.c, with KERNEL and
 * LOW_KERNEL defined. */
void KERNEL(const int8_t *rows, size_t n_rows, size_t dimension, const int16_t *query, int32_t *sums)
{
    for (size_t r = 0; r < n_rows; r++) {
        const int8_t *row = rows + r * dimension;
        int32_t sum = 0;
        for (size_t i = 0; i < dimension; i++) sum += (int16_t)row[i] * query[i];
        sums[r] = sum;
    }
}

int32_t LOW_KERNEL(const unsigned char *low, size_t bytes, const int16_t *even, const int16_t *odd)
{
    int32_t even_sum = 0, odd_sum = 0; /* a sum each, or compilers do not see two products and a sum in it */
    for (size_t i = 0; i < bytes; i++) even_sum += (int16_t)(low[i] & 15) * even[i];
    for (size_t i = 0; i < bytes; i++) odd_sum += (int16_t)(low[i] >> 4) * odd[i];
    return even_sum + odd_sum;
}
