/* code_products_simd.h -- the bodies of the kernels: written so that compilers turn them into widening loads and
 * multiply-adds. Included once by each code_products*.c, with BYTES_KERNEL defined, and, where there are kernels for
 * floats, LANES (floats in a vector), BF16_KERNEL and F32_KERNEL. */

/* Rows; 2, 8 and 16 were slower (87,408 rows of 384 bytes, Zen 3). */
enum { FETCH_AHEAD = 4 };

#define KERNEL(name, product)                                                                                          \
    void name(const mn_code_rows *rows, const uint32_t *positions, size_t n, uint32_t *far)                            \
    {                                                                                                                  \
        for (size_t r = 0; r < n && r < FETCH_AHEAD; r++) mn_code_fetch(rows, positions[r]);                           \
        for (size_t r = 0; r < n; r++) {                                                                               \
            if (r + FETCH_AHEAD < n) mn_code_fetch(rows, positions[r + FETCH_AHEAD]);                                  \
            far[r] = product(rows->codes + positions[r] * rows->row_bytes, rows->question, rows->n_numbers);           \
        }                                                                                                              \
    }

static inline uint32_t bytes_far(const unsigned char *row, const int16_t *question, uint32_t n)
{
    int32_t sum = 0;
    for (uint32_t i = 0; i < n; i++) sum += (int16_t)row[i] * question[i];
    return mn_code_far_of_whole(sum);
}

KERNEL(BYTES_KERNEL, bytes_far)

#ifdef LANES
typedef float vec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef float row_vec __attribute__((vector_size(LANES * 4), aligned(1), may_alias));
typedef uint32_t row_pairs __attribute__((vector_size(LANES * 4), aligned(1), may_alias));

/* Several sums at once, or each addition would wait for the one before. */
enum { AT_ONCE = 32, SUMS = AT_ONCE / LANES };

static inline uint32_t far_of_sums(const vec *sums)
{
    float total = 0;
    for (int s = 0; s < SUMS; s++)
        for (int i = 0; i < LANES; i++) total += sums[s][i];
    return mn_code_far_of_float(total);
}

/* Two halves are read as one number: the second stands where a float's upper half does. */
static inline uint32_t bf16_far(const unsigned char *row, const float *question, uint32_t n)
{
    vec sums[SUMS] = {{0}};
    const float *even = question, *odd = question + n / 2;
    for (uint32_t i = 0; i < n / 2; i += AT_ONCE / 2)
        for (uint32_t s = 0; s < SUMS / 2; s++) {
            uint32_t at = i + s * LANES;
            row_pairs pairs = *(const row_pairs *)(row + (size_t)4 * at);
            sums[2 * s] += (vec)(pairs << 16) * *(const vec *)(even + at);
            sums[2 * s + 1] += (vec)(pairs & 0xffff0000u) * *(const vec *)(odd + at);
        }
    return far_of_sums(sums);
}

static inline uint32_t f32_far(const unsigned char *row, const float *question, uint32_t n)
{
    vec sums[SUMS] = {{0}};
    for (uint32_t i = 0; i < n; i += AT_ONCE)
        for (uint32_t s = 0; s < SUMS; s++) {
            uint32_t at = i + s * LANES;
            sums[s] += *(const row_vec *)(row + (size_t)4 * at) * *(const vec *)(question + at);
        }
    return far_of_sums(sums);
}

KERNEL(BF16_KERNEL, bf16_far)
KERNEL(F32_KERNEL, f32_far)
#endif
