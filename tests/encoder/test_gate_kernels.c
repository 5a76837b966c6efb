/* test_gate_kernels.c -- the gates of LSTM and GRU cells on every set of instructions against their formulas in double
 * precision, and the layout of texts by step against a search. */
#include "test_support.h"

#include "encoder/emulated.h"
#include "encoder/step_plan.h"

#include <math.h>

enum { ROWS = 5, HIDDEN_MAX = 70, GATES_MAX = 4 };
static const double TOLERANCE = 1e-6;

static uint64_t random_state = 11;
static double random_unit(void) /* -1 .. 1 */
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (double)(random_state >> 11) * 0x1p-52 - 1;
}

static size_t list_tables(const mn_gate_kernels *out[4])
{
    size_t n = 0;
    out[n++] = mn_gate_kernels_reference();
    out[n++] = emulated_gate_kernels_avx512();
    for (mn_cpu_level level = MN_CPU_AVX2; level <= mn_cpu_detect() && level <= MN_CPU_AVX512; level++)
        out[n++] = mn_gate_kernels_for(level);
    return n;
}

/* ---- one step ---- */

typedef struct step_data {
    float input[(ROWS + 2) * GATES_MAX * HIDDEN_MAX], recurrent[ROWS * GATES_MAX * HIDDEN_MAX];
    float c[ROWS * HIDDEN_MAX], before[ROWS * (HIDDEN_MAX + 3)];
    uint32_t rows[ROWS];
} step_data;

/* Most sums are within -4..4; some saturate, some are far beyond what e^x can take. */
static void fill(step_data *data)
{
    for (size_t i = 0; i < sizeof data->input / sizeof(float); i++)
        data->input[i] = (float)(random_unit() * (i % 23 == 0 ? 300 : i % 7 == 0 ? 30 : 3));
    for (size_t i = 0; i < sizeof data->recurrent / sizeof(float); i++) data->recurrent[i] = (float)random_unit();
    for (size_t i = 0; i < sizeof data->c / sizeof(float); i++)
        data->c[i] = (float)(random_unit() * (i % 11 == 0 ? 200 : 2));
    for (size_t i = 0; i < sizeof data->before / sizeof(float); i++) data->before[i] = (float)random_unit();
    for (size_t i = 0; i < ROWS; i++) data->rows[i] = (uint32_t)((random_unit() + 1) / 2 * (ROWS + 2));
}

static double logistic(double x)
{
    return 1 / (1 + exp(-x));
}

/* What the formulas of PyTorch's documentation give for one number. c: before and after. */
static double expected_lstm(const float *x, const float *y, size_t n, size_t i, double *c)
{
    double a[4];
    for (size_t g = 0; g < 4; g++) a[g] = (double)x[g * n + i] + (double)y[g * n + i];
    *c = logistic(a[1]) * *c + logistic(a[0]) * tanh(a[2]);
    return logistic(a[3]) * tanh(*c);
}

static double expected_gru(const float *x, const float *y, size_t n, size_t i, double before)
{
    double r = logistic((double)x[i] + (double)y[i]), z = logistic((double)x[n + i] + (double)y[n + i]);
    return (1 - z) * tanh((double)x[2 * n + i] + r * (double)y[2 * n + i]) + z * before;
}

static void check_step(const mn_gate_kernels *kernels, bool gru, uint32_t hidden, bool begins, bool picks)
{
    static step_data data;
    fill(&data);
    size_t wide = (gru ? 3 : 4) * (size_t)hidden, stride = hidden + 3;
    float c[ROWS * HIDDEN_MAX], h[ROWS * (HIDDEN_MAX + 3)];
    memcpy(c, data.c, sizeof c);
    for (size_t i = 0; i < sizeof h / sizeof h[0]; i++) h[i] = 77;
    const mn_gate_step step = {.n_rows = ROWS,
                               .hidden = hidden,
                               .input = data.input,
                               .input_rows = picks ? data.rows : NULL,
                               .recurrent = data.recurrent,
                               .recurrent_stride = begins ? 0 : wide,
                               .c = c,
                               .h_before = begins ? NULL : data.before,
                               .h = h,
                               .h_stride = stride};
    (gru ? kernels->gru : kernels->lstm)(&step);
    for (size_t r = 0; r < ROWS; r++) {
        const float *x = data.input + (picks ? data.rows[r] : r) * wide, *y = data.recurrent + (begins ? 0 : r * wide);
        for (size_t i = 0; i < hidden; i++) {
            double state = (double)data.c[r * hidden + i];
            double before = begins ? 0 : (double)data.before[r * stride + i];
            double expected = gru ? expected_gru(x, y, hidden, i, before) : expected_lstm(x, y, hidden, i, &state);
            assert_true(fabs((double)h[r * stride + i] - expected) < TOLERANCE);
            if (!gru) assert_true(fabs((double)c[r * hidden + i] - state) < TOLERANCE * fmax(1, fabs(state)));
        }
        for (size_t i = hidden; i < stride; i++) assert_true(h[r * stride + i] == 77); /* what is behind stays */
    }
}

static void gates_on_every_instruction_set_equal_their_formulas(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 70};
    const mn_gate_kernels *tables[4];
    size_t n = list_tables(tables);
    for (size_t k = 0; k < n; k++)
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
            for (unsigned way = 0; way < 8; way++) check_step(tables[k], way & 1, sizes[s], way & 2, way & 4);
}

/* ---- what the next product reads ---- */

static double operand_value(const mn_row_format *format, const uint32_t *row, size_t i)
{
    uint32_t per_group = mn_group_size(format->element), group = row[i / per_group];
    unsigned shift = (unsigned)(i % per_group) * (32 / per_group);
    float real;
    uint32_t bits = format->element == MN_ELEMENT_BF16 ? group >> shift << 16 : group;
    memcpy(&real, &bits, sizeof real);
    if (!mn_is_integer(format->element)) return (double)real;
    int whole = format->element == MN_ELEMENT_U8 ? (int)(group >> shift & 0xFF) : (int16_t)(group >> shift & 0xFFFF);
    return format->from_zero ? whole * 2.0 / format->limit - 1 : (double)whole / format->limit;
}

static void operands_of_gates_stand_for_the_states(void **state)
{
    (void)state;
    static const struct {
        mn_row_format format;
        double error; /* half a step, or half a unit of 8 bits */
    } formats[] = {{{.element = MN_ELEMENT_F32}, 0},
                   {{.element = MN_ELEMENT_F32, .rounded = true}, 0x1p-9},
                   {{.element = MN_ELEMENT_BF16}, 0x1p-9},
                   {{.element = MN_ELEMENT_I16, .limit = 4095}, 0.5 / 4095},
                   {{.element = MN_ELEMENT_I16, .from_zero = true, .limit = 255}, 1.0 / 255},
                   {{.element = MN_ELEMENT_U8, .from_zero = true, .limit = 255}, 1.0 / 255}};
    const mn_gate_kernels *tables[4];
    size_t n = list_tables(tables);
    for (size_t k = 0; k < n; k++) {
        for (size_t f = 0; f < sizeof formats / sizeof formats[0]; f++) {
            static step_data data;
            fill(&data);
            enum { HIDDEN = 37, GROUPS = 40 };
            float c[ROWS * HIDDEN], h[ROWS * HIDDEN];
            uint32_t operand[ROWS * GROUPS] = {0};
            memcpy(c, data.c, sizeof c);
            const mn_gate_step step = {.n_rows = ROWS,
                                       .hidden = HIDDEN,
                                       .input = data.input,
                                       .recurrent = data.recurrent,
                                       .c = c,
                                       .h = h,
                                       .h_stride = HIDDEN,
                                       .format = &formats[f].format,
                                       .operand = operand,
                                       .operand_groups = GROUPS};
            tables[k]->lstm(&step);
            for (size_t r = 0; r < ROWS; r++) {
                for (size_t i = 0; i < HIDDEN; i++) {
                    double value = operand_value(&formats[f].format, operand + r * GROUPS, i);
                    assert_true(fabs(value - (double)h[r * HIDDEN + i]) <= formats[f].error + 1e-7);
                }
                for (size_t i = HIDDEN; i < GROUPS; i++) assert_int_equal(operand[r * GROUPS + i], 0);
            }
        }
    }
}

static void sums_of_gate_kernels_equal_plain_ones(void **state)
{
    (void)state;
    const mn_gate_kernels *tables[4];
    size_t n_tables = list_tables(tables);
    for (size_t k = 0; k < n_tables; k++) {
        for (size_t n = 1; n <= 50; n++) {
            float a[50], b[50], sum[50];
            double dot = 0;
            for (size_t i = 0; i < n; i++) {
                a[i] = (float)random_unit();
                b[i] = (float)random_unit();
                sum[i] = a[i];
                dot += (double)a[i] * (double)b[i];
            }
            assert_true(fabs((double)tables[k]->dot(a, b, n) - dot) < 1e-5);
            tables[k]->add_scaled(sum, b, 0.75f, n);
            for (size_t i = 0; i < n; i++)
                assert_true(fabs((double)sum[i] - ((double)a[i] + 0.75 * (double)b[i])) < 1e-6);
        }
    }
}

/* ---- texts by step ---- */

static void check_plan(mn_step_plan *plan, const mn_token_batch *batch)
{
    enum { VOCABULARY = 50, UNKNOWN = 3 };
    assert_ok(mn_step_plan_make(plan, batch, VOCABULARY, UNKNOWN, test_error()));
    uint32_t longest = 0, total = 0, lengths[64];
    for (size_t i = 0; i < batch->n; i++) {
        uint32_t length = batch->offsets[i + 1] - batch->offsets[i];
        lengths[i] = length ? length : 1;
        longest = lengths[i] > longest ? lengths[i] : longest;
        total += lengths[i];
    }
    assert_int_equal(plan->n_texts, batch->n);
    assert_int_equal(plan->n_steps, longest);
    assert_int_equal(plan->n_rows, total);
    bool there[64] = {false}, distinct[VOCABULARY] = {false};
    for (uint32_t r = 0; r < plan->n_texts; r++) {
        uint32_t text = plan->order[r];
        assert_false(there[text]);
        there[text] = true;
        assert_int_equal(plan->lengths[r], lengths[text]);
        if (r > 0) assert_true(plan->lengths[r] <= plan->lengths[r - 1]);
        if (r > 0 && plan->lengths[r] == plan->lengths[r - 1]) assert_true(text > plan->order[r - 1]);
        for (uint32_t t = 0; t < plan->lengths[r]; t++) {
            bool empty = batch->offsets[text + 1] == batch->offsets[text];
            uint32_t id = empty ? UNKNOWN : batch->ids[batch->offsets[text] + t];
            assert_true(r < mn_step_plan_rows(plan, t));
            assert_int_equal(plan->distinct[plan->token[plan->first_row[t] + r]], id);
        }
    }
    for (uint32_t i = 0; i < plan->n_distinct; i++) {
        assert_false(distinct[plan->distinct[i]]);
        distinct[plan->distinct[i]] = true;
    }
    for (uint32_t i = 0; i < VOCABULARY; i++) assert_int_equal(plan->seen[i], 0);
}

static void step_plan_has_every_token_once_and_longest_texts_first(void **state)
{
    (void)state;
    mn_step_plan plan = {0};
    for (unsigned round = 0; round < 200; round++) {
        uint32_t ids[64 * 20], offsets[65] = {0}, at = 0;
        size_t n = 1 + round % 64;
        for (size_t i = 0; i < n; i++) {
            uint32_t length = (uint32_t)((random_unit() + 1) * 10);
            for (uint32_t t = 0; t < length && at < 64 * 20; t++) ids[at++] = (uint32_t)((random_unit() + 1) * 25) % 50;
            offsets[i + 1] = at;
        }
        check_plan(&plan, &(mn_token_batch){.ids = ids, .offsets = offsets, .n = n});
    }
    mn_step_plan_free(&plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gates_on_every_instruction_set_equal_their_formulas),
        cmocka_unit_test(operands_of_gates_stand_for_the_states),
        cmocka_unit_test(sums_of_gate_kernels_equal_plain_ones),
        cmocka_unit_test(step_plan_has_every_token_once_and_longest_texts_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
