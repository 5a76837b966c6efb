/* code_products_simd.h -- the bodies of the kernels: written so that compilers turn them into widening loads and
 * multiply-adds. Included once by each code_products*.c, with the kernels' names defined; those that are not defined
 * are left out. */
enum { FETCH_AHEAD = 4, LANES = 32 };

#define FOR_ROWS(BODY)                                                                                                 \
    for (size_t r = 0; r < n && r < FETCH_AHEAD; r++) mn_code_fetch(rows, positions[r]);                               \
    for (size_t r = 0; r < n; r++) {                                                                                   \
        const unsigned char *row = rows->codes + positions[r] * rows->row_bytes;                                       \
        if (r + FETCH_AHEAD < n) mn_code_fetch(rows, positions[r + FETCH_AHEAD]);                                      \
        BODY                                                                                                           \
    }

void BYTES_KERNEL(const mn_code_rows *rows, const uint32_t *positions, size_t n, uint32_t *far)
{
    const int16_t *question = rows->question;
    FOR_ROWS({
        int32_t sum = 0;
        for (uint32_t i = 0; i < rows->n_numbers; i++) sum += (int16_t)row[i] * question[i];
        far[r] = mn_code_far_of_whole(sum);
    })
}

#ifdef BF16_KERNEL
static inline float sum_of(const float *lanes)
{
    float sum = 0;
    for (size_t i = 0; i < LANES; i++) sum += lanes[i];
    return sum;
}

void BF16_KERNEL(const mn_code_rows *rows, const uint32_t *positions, size_t n, uint32_t *far)
{
    const float *question = rows->question;
    FOR_ROWS({
        float lanes[LANES] = {0};
        for (uint32_t i = 0; i < rows->n_numbers; i += LANES)
            for (uint32_t j = 0; j < LANES; j++) {
                uint16_t half;
                memcpy(&half, row + 2 * (size_t)(i + j), sizeof half);
                uint32_t bits = (uint32_t)half << 16;
                float number;
                memcpy(&number, &bits, sizeof number);
                lanes[j] += number * question[i + j];
            }
        far[r] = mn_code_far_of_float(sum_of(lanes));
    })
}

void F32_KERNEL(const mn_code_rows *rows, const uint32_t *positions, size_t n, uint32_t *far)
{
    const float *question = rows->question;
    FOR_ROWS({
        float lanes[LANES] = {0};
        for (uint32_t i = 0; i < rows->n_numbers; i += LANES)
            for (uint32_t j = 0; j < LANES; j++) {
                float number;
                memcpy(&number, row + 4 * (size_t)(i + j), sizeof number);
                lanes[j] += number * question[i + j];
            }
        far[r] = mn_code_far_of_float(sum_of(lanes));
    })
}
#endif
