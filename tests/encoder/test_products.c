/* test_products.c -- tile products, packed layers, attention and the kernels between them, on every set of instructions
 * (emulated where this processor lacks them), against plain loops in double precision. */
#include "test_support.h"

#include "encoder/emulated.h"
#include "encoder/self_attention.h"

#include <math.h>

/* ---- numbers --------------------------------------------------------------------------------------------------- */

static uint32_t g_seed = 1;

static float random_float(void)
{
    g_seed = g_seed * 1664525u + 1013904223u;
    return (float)(g_seed >> 8) / 8388608.0f - 1.0f;
}

static float *random_array(size_t n, float scale)
{
    float *values = malloc(n * sizeof *values + 64);
    for (size_t i = 0; i < n; i++) values[i] = scale * random_float();
    return values;
}

static void *aligned(size_t size)
{
    void *block = aligned_alloc(64, (size + 63) / 64 * 64);
    memset(block, 0, (size + 63) / 64 * 64);
    return block;
}

static double largest_difference(const float *a, const float *b, size_t n)
{
    double largest = 0;
    for (size_t i = 0; i < n; i++) largest = fmax(largest, fabs((double)a[i] - (double)b[i]));
    return largest;
}

/* Every arithmetic that this processor or its emulation can do. */
enum { KINDS_MAX = 32 };
static mn_arithmetic g_kinds[KINDS_MAX];
static size_t g_n_kinds;

static void fill_kinds(void)
{
    for (int p = MN_PRECISION_F32; p <= MN_PRECISION_INT8; p++) {
        for (mn_cpu_level level = MN_CPU_AVX2; level <= mn_cpu_detect(); level++)
            g_kinds[g_n_kinds++] = mn_arithmetic_for((mn_precision)p, level, false);
        g_kinds[g_n_kinds++] = mn_arithmetic_for((mn_precision)p, MN_CPU_GENERIC, true);
    }
    for (size_t i = 0; i < emulated_count(); i++) g_kinds[g_n_kinds++] = emulated_arithmetic(i);
}

/* ---- packed layers --------------------------------------------------------------------------------------------- */

typedef struct layer_case {
    uint32_t rows, n_in, n_out;
    float *x, *weight, *bias;
    double *exact; /* (rows, n_out), no activation */
} layer_case;

static layer_case make_case(uint32_t rows, uint32_t n_in, uint32_t n_out)
{
    layer_case c = {rows,
                    n_in,
                    n_out,
                    random_array((size_t)rows * n_in, 2),
                    random_array((size_t)n_in * n_out, 1),
                    random_array(n_out, 1),
                    malloc((size_t)rows * n_out * sizeof(double))};
    for (size_t r = 0; r < rows; r++)
        for (size_t o = 0; o < n_out; o++) {
            double sum = (double)c.bias[o];
            for (size_t i = 0; i < n_in; i++) sum += (double)c.x[r * n_in + i] * (double)c.weight[o * n_in + i];
            c.exact[r * n_out + o] = sum;
        }
    return c;
}

static void free_case(layer_case *c)
{
    free(c->x), free(c->weight), free(c->bias), free(c->exact);
}

/* What rounding may do to a sum of n products of values up to 2 and 1: the error of one operand's step each, at random
 * signs (four standard deviations and more). */
static double tolerance(const mn_arithmetic *a, uint32_t n)
{
    static const double steps[] = {1e-6, 1.0 / 256, 1.0 / 2048, 1.0 / 127};
    return 6 * steps[a->precision] * sqrt((double)n) + 1e-5;
}

static void run_layer(const mn_arithmetic *a, const layer_case *c, mn_activation activation, float *y)
{
    mn_linear linear;
    mn_image image = {0};
    mn_linear_place(&linear, a, c->n_out, c->n_in, &image);
    void *block = aligned(image.size);
    image = (mn_image){.base = block};
    mn_linear_place(&linear, a, c->n_out, c->n_in, &image);
    uint32_t half = c->n_out / 2; /* in two steps, as q, k and v come */
    mn_linear_fill(&linear, a, 0, half, c->weight, c->bias);
    mn_linear_fill(&linear, a, half, c->n_out - half, c->weight + (size_t)half * c->n_in, c->bias + half);
    size_t room = (c->rows + 15) / 16 * 16, groups = mn_product_groups(a->product, c->n_in);
    uint32_t *rows = aligned(room * groups * 4);
    float *scales = aligned(room * sizeof(float)), *lows = aligned(room * sizeof(float));
    a->kernels->convert_rows(&a->rows, c->x, c->n_in, c->rows, c->n_in, (uint32_t)groups, rows, groups, scales, lows);
    const mn_linear_rows x = {.rows = rows, .stride = groups, .scales = scales, .lows = lows, .n_rows = c->rows};
    const mn_linear_out out = {.activation = activation, .element = MN_ELEMENT_F32, .y = y, .stride = c->n_out};
    mn_linear_run(&linear, a, &x, &out);
    free(lows), free(scales), free(rows), free(block);
}

static void linear_at_odd_sizes_equals_plain_loops(void **state)
{
    (void)state;
    const uint32_t shapes[][3] = {{1, 8, 8},      {5, 384, 40},   {6, 7, 33},    {7, 30, 70},   {12, 100, 16},
                                  {13, 65, 17},   {31, 48, 100},  {33, 129, 5},  {70, 96, 288}, {50, 700, 70},
                                  {37, 1536, 33}, {256, 400, 20}, {290, 500, 40}};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        layer_case c = make_case(shapes[s][0], shapes[s][1], shapes[s][2]);
        size_t n = (size_t)c.rows * c.n_out;
        for (size_t k = 0; k < g_n_kinds; k++) {
            float *y = calloc(n, sizeof *y);
            run_layer(&g_kinds[k], &c, MN_ACTIVATION_NONE, y);
            double worst = 0;
            for (size_t i = 0; i < n; i++) worst = fmax(worst, fabs((double)y[i] - c.exact[i]));
            if (worst > tolerance(&g_kinds[k], c.n_in))
                fail_msg("%s on %s, %u x %u x %u: off by %g, %g allowed", mn_precision_name(g_kinds[k].precision),
                         g_kinds[k].product->name, c.rows, c.n_in, c.n_out, worst, tolerance(&g_kinds[k], c.n_in));
            free(y);
        }
        free_case(&c);
    }
}

static void linear_of_integers_gives_the_same_bits_on_every_kernel(void **state)
{
    (void)state;
    layer_case c = make_case(37, 130, 75);
    size_t n = (size_t)c.rows * c.n_out;
    for (int p = MN_PRECISION_INT16; p <= MN_PRECISION_INT8; p++) {
        float *expected = calloc(n, sizeof *expected), *y = calloc(n, sizeof *y);
        const mn_arithmetic reference = mn_arithmetic_for((mn_precision)p, MN_CPU_GENERIC, true);
        run_layer(&reference, &c, MN_ACTIVATION_NONE, expected);
        for (size_t k = 0; k < g_n_kinds; k++) {
            /* U8 and I16 layouts bound a column's scale differently where sums could overflow; not at this depth */
            if ((int)g_kinds[k].precision != p) continue;
            mn_arithmetic a = g_kinds[k];
            a.kernels = reference.kernels; /* the products are compared, not the rounding around them */
            memset(y, 0, n * sizeof *y);
            run_layer(&a, &c, MN_ACTIVATION_NONE, y);
            if (p == MN_PRECISION_INT8 || a.rows.element == reference.rows.element)
                assert_true(largest_difference(y, expected, n) < 1e-5);
        }
        free(y), free(expected);
    }
    free_case(&c);
}

/* The depth in parts, one after the other, is the depth at once: the same additions in the same order. */
static void product_in_parts_has_the_bits_of_the_whole(void **state)
{
    (void)state;
    enum { ROWS = 32, GROUPS = 176, STRIDE = GROUPS + 16 };
    uint16_t *numbers = aligned(2 * (STRIDE * ROWS + GROUPS * MN_PANEL_MAX) * sizeof *numbers);
    for (size_t i = 0; i < 2 * (STRIDE * ROWS + GROUPS * MN_PANEL_MAX); i++)
        numbers[i] = (uint16_t)(mn_round_bf16(mn_float_bits(random_float())) >> 16); /* or bytes of any value */
    const uint32_t *rows = (const uint32_t *)(const void *)numbers, *weights = rows + STRIDE * ROWS;
    size_t size = ROWS * MN_PANEL_MAX * sizeof(uint32_t), tested = 0;
    for (size_t k = 0; k < g_n_kinds; k++) {
        const mn_product_kernel *kernel = g_kinds[k].product;
        if (!kernel->multiply_part) continue;
        for (uint32_t n_rows = 1; n_rows <= ROWS; n_rows += 15) {
            uint32_t *whole = aligned(size), *parts = aligned(size);
            memset(parts, 0xEE, size); /* what the first part must not add to */
            if (kernel->begin) kernel->begin();
            kernel->multiply(rows, STRIDE, n_rows, weights, GROUPS, whole);
            for (uint32_t g = 0, n; g < GROUPS; g += n) {
                n = GROUPS - g < kernel->part_groups ? GROUPS - g : kernel->part_groups;
                kernel->multiply_part(rows + g, STRIDE, n_rows, weights + (size_t)g * kernel->panel, n, g == 0, parts);
            }
            if (kernel->end) kernel->end();
            assert_memory_equal(whole, parts, (size_t)n_rows * kernel->panel * sizeof *whole);
            tested++;
            free(whole), free(parts);
        }
    }
    assert_true(tested >= 2 * 3); /* bfloat16 and bytes, emulated at the least */
    free(numbers);
}

/* The worst that can come: all of one sign, all at the limit. */
static void linear_of_integers_does_not_overflow(void **state)
{
    (void)state;
    enum { DEPTH = 4096 };
    layer_case c = make_case(3, DEPTH, 4);
    for (size_t i = 0; i < 3 * DEPTH; i++) c.x[i] = i / DEPTH == 1 ? -3.0f : 3.0f;
    for (size_t i = 0; i < 4 * DEPTH; i++) c.weight[i] = i / DEPTH == 2 ? -0.5f : 0.5f;
    for (size_t k = 0; k < g_n_kinds; k++) {
        if (!mn_is_integer(g_kinds[k].product->element)) continue;
        float y[12];
        run_layer(&g_kinds[k], &c, MN_ACTIVATION_NONE, y);
        for (size_t r = 0; r < 3; r++)
            for (size_t o = 0; o < 4; o++) {
                double exact = (r == 1 ? -3.0 : 3.0) * (o == 2 ? -0.5 : 0.5) * DEPTH + (double)c.bias[o];
                assert_true(fabs((double)y[r * 4 + o] - exact) < 0.01 * fabs(exact));
            }
    }
    free_case(&c);
    /* So deep, and so even, that a sum of their magnitudes in float is too small. */
    enum { DEEP = 7184 };
    c = make_case(1, DEEP, 1);
    for (size_t i = 0; i < DEEP; i++) c.x[i] = 1.0f, c.weight[i] = 0.1f;
    for (size_t k = 0; k < g_n_kinds; k++) {
        if (!mn_is_integer(g_kinds[k].product->element)) continue;
        float y;
        run_layer(&g_kinds[k], &c, MN_ACTIVATION_NONE, &y);
        assert_true(fabs((double)y - (0.1 * DEEP + (double)c.bias[0])) < 0.01 * DEEP);
    }
    free_case(&c);
}

static void linear_of_zeros_is_its_bias(void **state)
{
    (void)state;
    layer_case c = make_case(4, 24, 20);
    memset(c.x, 0, 4 * 24 * sizeof(float));
    for (size_t k = 0; k < g_n_kinds; k++) {
        float y[80];
        run_layer(&g_kinds[k], &c, MN_ACTIVATION_NONE, y);
        for (size_t i = 0; i < 80; i++) assert_true(fabsf(y[i] - c.bias[i % 20]) < 1e-6f);
    }
    free_case(&c);
}

static void activations_equal_the_exact_form(void **state)
{
    (void)state;
    layer_case c = make_case(9, 40, 50);
    size_t n = (size_t)c.rows * c.n_out;
    for (size_t k = 0; k < g_n_kinds; k++) {
        float *plain = calloc(n, 4), *gelu = calloc(n, 4), *relu = calloc(n, 4);
        run_layer(&g_kinds[k], &c, MN_ACTIVATION_NONE, plain);
        run_layer(&g_kinds[k], &c, MN_ACTIVATION_GELU, gelu);
        run_layer(&g_kinds[k], &c, MN_ACTIVATION_RELU, relu);
        for (size_t i = 0; i < n; i++) {
            double x = (double)plain[i];
            assert_true(fabs((double)gelu[i] - 0.5 * x * (1 + erf(x / sqrt(2.0)))) < 4e-6);
            assert_true(fabs((double)relu[i] - fmax(0, x)) < 1e-6);
        }
        free(plain), free(gelu), free(relu);
    }
    free_case(&c);
}

/* ---- kernels --------------------------------------------------------------------------------------------------- */

enum { TABLES_MAX = 6 };
static const mn_kernels *g_tables[TABLES_MAX];
static size_t g_n_tables;

static void fill_tables(void)
{
    for (mn_cpu_level level = MN_CPU_AVX2; level <= mn_cpu_detect() && level <= MN_CPU_AVX512; level++)
        g_tables[g_n_tables++] = mn_kernels_for(level);
    if (mn_cpu_detect() >= MN_CPU_AVX512) g_tables[g_n_tables++] = mn_kernels_avx512(); /* with BF16, too */
    g_tables[g_n_tables++] = emulated_kernels_avx512();
    g_tables[g_n_tables++] = mn_kernels_reference();
}

static void gelu_equals_the_exact_form_over_its_whole_range(void **state)
{
    (void)state;
    enum { N = 4000 };
    static float x[N + 16], y[N];
    for (size_t i = 0; i < N; i++) x[i] = -20.0f + 0.01f * (float)i;
    for (size_t t = 0; t < g_n_tables; t++) {
        const mn_finish finish = {.tile_stride = N, .activation = MN_ACTIVATION_GELU, .out_element = MN_ELEMENT_F32};
        g_tables[t]->finish(&finish, x, 1, N, y, N);
        for (size_t i = 0; i < N; i++)
            assert_true(fabs((double)y[i] - 0.5 * (double)x[i] * (1 + erf((double)x[i] / sqrt(2.0)))) < 4e-6);
    }
}

/* In floats, in bfloat16, and from integers: what each may be off by is the rounding of the format alone. */
static void near_gelu_is_near_the_exact_form(void **state)
{
    (void)state;
    enum { N = 4000 };
    static float x[N + 16], y[N], one[N + 16];
    static int32_t whole[N + 16];
    static uint16_t halves[N];
    for (size_t i = 0; i < N; i++) {
        whole[i] = ((int32_t)i - 2000) * (i % 10 == 0 ? 50 : 1); /* to 20, and some to 1,000 */
        x[i] = 0.01f * (float)whole[i];
        one[i] = 0.01f;
    }
    for (size_t t = 0; t < g_n_tables; t++) {
        mn_finish finish = {.tile_stride = N, .activation = MN_ACTIVATION_GELU_NEAR, .out_element = MN_ELEMENT_F32};
        g_tables[t]->finish(&finish, x, 1, N, y, N);
        finish = (mn_finish){.integers = true,
                             .tile_stride = N,
                             .column_scale = one,
                             .activation = MN_ACTIVATION_GELU_NEAR,
                             .out_element = MN_ELEMENT_BF16};
        g_tables[t]->finish(&finish, whole, 1, N, halves, N);
        for (size_t i = 0; i < N; i++) {
            double exact = 0.5 * (double)x[i] * (1 + erf((double)x[i] / sqrt(2.0)));
            uint32_t bits = (uint32_t)halves[i] << 16;
            float half;
            memcpy(&half, &bits, sizeof half);
            assert_true(fabs((double)y[i] - exact) < fmax(5e-5, 2e-6 * fabs((double)x[i])));
            assert_true(fabs((double)half - exact) < 6e-5 + fabs(exact) / 250);
        }
    }
}

/* The i-th of a row's weights, as the format keeps it. */
static double weight_at(const mn_row_format *format, const uint32_t *row, size_t i)
{
    if (format->element == MN_ELEMENT_I16) return ((const int16_t *)row)[i];
    uint32_t bits = format->element == MN_ELEMENT_BF16 ? (uint32_t)((const uint16_t *)row)[i] << 16 : row[i];
    float weight;
    memcpy(&weight, &bits, sizeof weight);
    return (double)weight;
}

static void check_softmax(const mn_kernels *kernels, const mn_row_format *format, uint32_t n, uint32_t panel,
                          float spread, float offset)
{
    enum { ROWS = 3, TILE_ROWS = 5 };
    uint32_t padded = mn_round_up(n, MN_PANEL_MAX), groups = padded / mn_group_size(format->element);
    size_t out_stride = groups + 3, n_scores = (size_t)mn_round_up(n, panel) * TILE_ROWS;
    float *scores = random_array(n_scores, spread), factors[ROWS];
    for (size_t i = 0; i < n_scores; i++) scores[i] += offset;
    uint32_t *weights = aligned(ROWS * out_stride * sizeof *weights);
    memset(weights, 0xAB, ROWS * out_stride * sizeof *weights);
    kernels->softmax(format, scores, TILE_ROWS, panel, ROWS, n, 0.5f, weights, out_stride, factors);
    /* half a step of the format, for the largest weight of 1 */
    double step = format->element == MN_ELEMENT_I16 ? 0.51 / format->limit : 0;
    double share = format->element == MN_ELEMENT_BF16 || format->rounded ? 1.0 / 255 : 1e-5;
    for (size_t r = 0; r < ROWS; r++) {
        double row[256], largest = -INFINITY, total = 0, sum = 0;
        for (size_t i = 0; i < n; i++) {
            row[i] = (double)scores[(i / panel * TILE_ROWS + r) * panel + i % panel];
            largest = fmax(largest, row[i]);
        }
        for (size_t i = 0; i < n; i++) total += exp(0.5 * (row[i] - largest));
        for (size_t i = 0; i < n; i++) {
            double weight = weight_at(format, weights + r * out_stride, i) * (double)factors[r];
            double exact = exp(0.5 * (row[i] - largest)) / total;
            assert_true(fabs(weight - exact) < 2 * share * exact + (n + 1) * step / total + 1e-30);
            sum += weight;
        }
        assert_true(fabs(sum - 1) < 1e-5);
        for (size_t i = n; i < padded; i++) assert_true(weight_at(format, weights + r * out_stride, i) == 0);
        for (size_t g = groups; g < out_stride; g++) assert_int_equal(weights[r * out_stride + g], 0xABABABAB);
    }
    free(weights), free(scores);
}

/* Softmax by its definition, with scores from near each other to far below what a float's exponent holds. */
static void softmax_equals_plain_loops(void **state)
{
    (void)state;
    const uint32_t sizes[] = {1, 2, 7, 8, 15, 16, 17, 30, 64, 241};
    const mn_row_format formats[] = {{.element = MN_ELEMENT_F32},
                                     {.element = MN_ELEMENT_F32, .rounded = true},
                                     {.element = MN_ELEMENT_BF16},
                                     {.element = MN_ELEMENT_I16, .limit = MN_INT16_ROW_LIMIT}};
    for (size_t t = 0; t < g_n_tables; t++)
        for (size_t f = 0; f < sizeof formats / sizeof formats[0]; f++)
            for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
                check_softmax(g_tables[t], &formats[f], sizes[s], 16, 8, 0);
                check_softmax(g_tables[t], &formats[f], sizes[s], 32, 8, 0);
                check_softmax(g_tables[t], &formats[f], sizes[s], 32, 1000, 0);
                /* Far from 0, on both sides of what bfloat16's exponents and products of weights hold. */
                const float offsets[] = {-1000, -178, -168, -90, -78, 78, 90, 168, 178, 1000};
                for (size_t o = 0; o < sizeof offsets / sizeof offsets[0]; o++)
                    check_softmax(g_tables[t], &formats[f], sizes[s], 32, 8, offsets[o]);
            }
}

static void layer_norm_equals_plain_loops(void **state)
{
    (void)state;
    const uint32_t sizes[] = {1, 7, 8, 15, 16, 17, 31, 384, 1000};
    for (size_t t = 0; t < g_n_tables; t++) {
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
            uint32_t n = sizes[s];
            float *x = random_array(n, 6), *residual = random_array(n, 3), *bias = random_array(n, 2);
            float *gain = random_array(n, 2), *shift = random_array(n, 1), *y = malloc(n * sizeof *y);
            for (int variant = 0; variant < 4; variant++) {
                memcpy(y, x, n * sizeof *x);
                g_tables[t]->add_layer_norm(y, variant & 1 ? bias : NULL, variant & 2 ? residual : NULL, gain, shift,
                                            1e-12f, 1, n, NULL);
                double mean = 0, square = 0;
                double *v = malloc(n * sizeof *v);
                for (size_t i = 0; i < n; i++) {
                    v[i] = (double)x[i] + (variant & 1 ? (double)bias[i] : 0) + (variant & 2 ? (double)residual[i] : 0);
                    mean += v[i] / n;
                }
                for (size_t i = 0; i < n; i++) square += (v[i] - mean) * (v[i] - mean) / n;
                for (size_t i = 0; i < n && n > 1; i++)
                    assert_true(fabs((double)y[i] -
                                     ((v[i] - mean) / sqrt(square) * (double)gain[i] + (double)shift[i])) < 2e-4);
                free(v);
            }
            free(x), free(residual), free(bias), free(gain), free(shift), free(y);
        }
    }
}

/* A row that LayerNorm hands on is what convert_rows makes of its result. */
static void layer_norm_hands_rows_on_as_operands(void **state)
{
    (void)state;
    enum { ROWS = 3, N = 77, GROUPS = 96 };
    const mn_row_format formats[] = {{.element = MN_ELEMENT_F32, .rounded = true},
                                     {.element = MN_ELEMENT_BF16},
                                     {.element = MN_ELEMENT_I16, .limit = MN_INT16_ROW_LIMIT},
                                     {.element = MN_ELEMENT_U8, .from_zero = true, .limit = MN_INT8_ROW_LIMIT}};
    float *x = random_array((size_t)ROWS * N, 2), *gain = random_array(N, 1), *shift = random_array(N, 1);
    for (size_t t = 0; t < g_n_tables; t++)
        for (size_t f = 0; f < sizeof formats / sizeof formats[0]; f++) {
            float y[ROWS * N], scales[ROWS] = {0}, lows[ROWS] = {0}, expected_scales[ROWS] = {0},
                               expected_lows[ROWS] = {0};
            uint32_t rows[ROWS * GROUPS], expected[ROWS * GROUPS];
            memset(rows, 0xAB, sizeof rows);
            memset(expected, 0xAB, sizeof expected);
            memcpy(y, x, sizeof y);
            const mn_row_target target = {
                .format = formats[f], .n_groups = 80, .rows = rows, .stride = GROUPS, .scales = scales, .lows = lows};
            g_tables[t]->add_layer_norm(y, NULL, NULL, gain, shift, 1e-12f, ROWS, N, &target);
            g_tables[t]->convert_rows(&formats[f], y, N, ROWS, N, 80, expected, GROUPS, expected_scales, expected_lows);
            assert_memory_equal(rows, expected, sizeof rows);
            assert_memory_equal(scales, expected_scales, sizeof scales);
            assert_memory_equal(lows, expected_lows, sizeof lows);
        }
    free(x), free(gain), free(shift);
}

/* Where each number of a packed operand lies, by the picture in product.h. */
static void packing_puts_rows_and_halves_where_the_products_read(void **state)
{
    (void)state;
    const uint32_t sizes[][2] = {{1, 1}, {3, 5}, {8, 8}, {9, 16}, {16, 7}, {31, 17}, {33, 32}, {70, 20}};
    for (size_t t = 0; t < g_n_tables; t++)
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
            for (uint32_t panel = 16; panel <= 32; panel += 16) {
                uint32_t n = sizes[s][0], width = sizes[s][1], columns = mn_round_up(n, panel);
                uint32_t stride = width + 3, *out = aligned((size_t)columns * width * 4);
                uint32_t *rows = malloc((size_t)n * stride * sizeof *rows);
                for (uint32_t i = 0; i < n * stride; i++) rows[i] = 1000 + i;
                memset(out, 0xAB, (size_t)columns * width * 4);
                g_tables[t]->pack_rows(rows, stride, n, width, panel, out);
                for (uint32_t r = 0; r < columns; r++)
                    for (uint32_t g = 0; g < width; g++)
                        assert_int_equal(out[(r / panel * width + g) * panel + r % panel],
                                         r < n ? 1000 + r * stride + g : 0);
                free(out), free(rows);

                /* n rows of up to a panel of halves: pairs of rows become groups */
                uint32_t n_columns = width < panel ? width : panel, groups = (n + 1) / 2 + 3;
                uint16_t *halves = malloc((size_t)n * width * sizeof *halves);
                for (uint32_t i = 0; i < n * width; i++) halves[i] = (uint16_t)(1000 + i);
                out = aligned((size_t)groups * panel * 4);
                memset(out, 0xAB, (size_t)groups * panel * 4);
                g_tables[t]->pack_bf16_columns(halves, width, n, n_columns, groups, panel, out);
                for (uint32_t k = 0; k < 2 * groups; k++)
                    for (uint32_t c = 0; c < panel; c++)
                        assert_int_equal(out[k / 2 * panel + c] >> (k % 2 * 16) & 0xFFFF,
                                         k < n && c < n_columns ? 1000 + k * width + c : 0);
                free(out), free(halves);
            }
}

/* bfloat16 by the definition: the nearest of the two neighbours with 8 bits of precision. */
static void rows_become_bfloat16_by_rounding_to_nearest(void **state)
{
    (void)state;
    enum { N = 1001 };
    float *x = random_array(N, 100);
    for (size_t t = 0; t < g_n_tables; t++) {
        const mn_row_format format = {.element = MN_ELEMENT_BF16};
        static uint32_t out[(N + 1) / 2 + 32];
        g_tables[t]->convert_rows(&format, x, N, 1, N, (N + 1) / 2 + 16, out, (N + 1) / 2 + 16, NULL, NULL);
        for (size_t i = 0; i < N; i++) {
            uint32_t bits = ((const uint16_t *)out)[i];
            bits <<= 16;
            float value;
            memcpy(&value, &bits, 4);
            assert_true(fabs((double)value - (double)x[i]) <= ldexp(fabs((double)x[i]), -8));
        }
        for (size_t i = N; i < N + 32; i++) assert_int_equal(((const uint16_t *)out)[i], 0);
    }
    free(x);
}

/* ---- attention ------------------------------------------------------------------------------------------------- */

static void exact_attention(const float *qkv, uint32_t length, uint32_t n_heads, uint32_t head, double *out)
{
    size_t width = (size_t)n_heads * head, stride = 3 * width;
    double *weights = malloc(length * sizeof *weights);
    for (size_t h = 0; h < n_heads; h++)
        for (size_t t = 0; t < length; t++) {
            double largest = -INFINITY, total = 0;
            for (size_t j = 0; j < length; j++) {
                double score = 0;
                for (size_t d = 0; d < head; d++)
                    score += (double)qkv[t * stride + h * head + d] * (double)qkv[j * stride + width + h * head + d];
                weights[j] = score / sqrt((double)head);
                largest = fmax(largest, weights[j]);
            }
            for (size_t j = 0; j < length; j++) total += weights[j] = exp(weights[j] - largest);
            for (size_t d = 0; d < head; d++) {
                double sum = 0;
                for (size_t j = 0; j < length; j++)
                    sum += weights[j] / total * (double)qkv[j * stride + 2 * width + h * head + d];
                out[t * width + h * head + d] = sum;
            }
        }
    free(weights);
}

static double number_at(mn_element element, const void *numbers, size_t i)
{
    if (element == MN_ELEMENT_F32) return (double)((const float *)numbers)[i];
    uint32_t bits = (uint32_t)((const uint16_t *)numbers)[i] << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return (double)value;
}

static void check_attention(const mn_arithmetic *a, uint32_t length, uint32_t n_heads, uint32_t head, mn_element out)
{
    size_t width = (size_t)n_heads * head, n = length * width, stride = width + 5;
    size_t n_qkv = (length + 15) / 16 * 16 * 3 * width;
    size_t element_size = mn_element_size(out), scratch_size = mn_attention_scratch(a, length, head);
    float *qkv = random_array(n_qkv, 3);
    unsigned char *y = malloc(length * stride * element_size);
    memset(y, 0xAB, length * stride * element_size);
    uint16_t *halves = malloc(n_qkv * sizeof *halves);
    for (size_t i = 0; i < n_qkv; i++) halves[i] = (uint16_t)(mn_round_bf16(mn_float_bits(qkv[i])) >> 16);
    double *exact = malloc(n * sizeof *exact);
    void *scratch = aligned(scratch_size);
    memset(scratch, 0xFF, scratch_size); /* NaN */
    const mn_attention_rows rows = {.qkv = mn_attention_element(a, head) == MN_ELEMENT_BF16 ? (const void *)halves
                                                                                            : (const void *)qkv,
                                    .out = y,
                                    .out_element = out,
                                    .out_stride = stride};
    mn_attention_run(a, &rows, length, n_heads, head, scratch);
    exact_attention(qkv, length, n_heads, head, exact);
    double worst = 0;
    for (size_t i = 0; i < n; i++)
        worst = fmax(worst, fabs(number_at(out, y, i / width * stride + i % width) - exact[i]));
    for (size_t r = 0; r < length; r++) /* what lies between rows is not touched */
        for (size_t i = width * element_size; i < stride * element_size; i++)
            assert_int_equal(y[r * stride * element_size + i], 0xAB);
    /* scores of up to 9 sqrt(D), off by one step of the operands each, change a weight by that share */
    static const double allowed[] = {2e-5, 0.15, 0.02, 0.02};
    bool bf16 = a->attention_rows.element == MN_ELEMENT_BF16 || a->attention_rows.rounded;
    double tolerance = bf16 ? allowed[1] : mn_is_integer(a->attention_rows.element) ? allowed[2] : allowed[0];
    if (out == MN_ELEMENT_BF16) tolerance += 3.0 / 256;
    if (!(worst <= tolerance))
        fail_msg("%s on %s, length %u, %u heads of %u: off by %g", mn_precision_name(a->precision), a->attention->name,
                 length, n_heads, head, worst);
    free(scratch), free(exact), free(y), free(halves), free(qkv);
}

static void attention_at_odd_sizes_equals_plain_loops(void **state)
{
    (void)state;
    const uint32_t lengths[] = {1, 2, 3, 5, 12, 13, 15, 16, 17, 33, 64, 65, 130};
    for (size_t k = 0; k < g_n_kinds; k++)
        for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
            check_attention(&g_kinds[k], lengths[i], 2, 32, MN_ELEMENT_F32);
            check_attention(&g_kinds[k], lengths[i], 3, 64, MN_ELEMENT_F32);
            check_attention(&g_kinds[k], lengths[i], 1, 160, MN_ELEMENT_F32); /* long enough to need fewer bits */
            check_attention(&g_kinds[k], lengths[i], 2, 20, MN_ELEMENT_F32);
            check_attention(&g_kinds[k], lengths[i], 1, 7, MN_ELEMENT_F32);
            if (g_kinds[k].rows.element == MN_ELEMENT_BF16) {
                check_attention(&g_kinds[k], lengths[i], 2, 32, MN_ELEMENT_BF16);
                check_attention(&g_kinds[k], lengths[i], 3, 20, MN_ELEMENT_BF16);
            }
        }
}

int main(void)
{
    fill_kinds();
    fill_tables();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_at_odd_sizes_equals_plain_loops),
        cmocka_unit_test(linear_of_integers_gives_the_same_bits_on_every_kernel),
        cmocka_unit_test(product_in_parts_has_the_bits_of_the_whole),
        cmocka_unit_test(linear_of_integers_does_not_overflow),
        cmocka_unit_test(linear_of_zeros_is_its_bias),
        cmocka_unit_test(activations_equal_the_exact_form),
        cmocka_unit_test(gelu_equals_the_exact_form_over_its_whole_range),
        cmocka_unit_test(near_gelu_is_near_the_exact_form),
        cmocka_unit_test(softmax_equals_plain_loops),
        cmocka_unit_test(layer_norm_equals_plain_loops),
        cmocka_unit_test(layer_norm_hands_rows_on_as_operands),
        cmocka_unit_test(packing_puts_rows_and_halves_where_the_products_read),
        cmocka_unit_test(rows_become_bfloat16_by_rounding_to_nearest),
        cmocka_unit_test(attention_at_odd_sizes_equals_plain_loops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
