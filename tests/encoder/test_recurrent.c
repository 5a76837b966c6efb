/* test_recurrent.c -- LSTM and GRU layers: cells on every set of instructions against plain C in double precision,
 * outputs and gradients against PyTorch's (make_recurrent_cases.py) and against finite differences. */
#include "test_support.h"

#include "encoder/gradient_check.h"
#include "encoder/train/recurrent.h"
#include "encoder/train_kinds.h"

#include <jansson.h>
#include <math.h>

/* ---- cells ----------------------------------------------------------------------------------------------------- */

enum { CELL_ROWS = 3 };

/* All arrays of one step, equal for equal seeds. */
typedef struct cell_arrays {
    float *input, *recurrent, *inner, *h, *c, *h_before, *c_before, *y, *dy;
} cell_arrays;

static cell_arrays new_arrays(uint32_t n, float scale)
{
    size_t rows = CELL_ROWS;
    return (cell_arrays){.input = random_array(rows * 4 * n, 1, scale),
                         .recurrent = random_array(rows * 4 * n, 2, scale),
                         .inner = random_array(rows * 3 * n, 3, 1),
                         .h = random_array(rows * n, 4, 1),
                         .c = random_array(rows * n, 5, scale),
                         .h_before = random_array(rows * n, 6, 1),
                         .c_before = random_array(rows * n, 7, 1),
                         .y = random_array(rows * (n + 5), 8, 1),
                         .dy = random_array(rows * (n + 2), 9, 1)};
}

static void free_arrays(cell_arrays *a)
{
    free(a->input), free(a->recurrent), free(a->inner), free(a->h), free(a->c);
    free(a->h_before), free(a->c_before), free(a->y), free(a->dy);
}

static void run_forward(const mn_cell_kernels *kernels, mn_cell cell, uint32_t n, bool shared, cell_arrays *a)
{
    static const uint32_t rows[CELL_ROWS] = {2, 0, 2};
    const mn_cell_step step = {CELL_ROWS, n,    a->input,    shared ? rows : NULL, a->recurrent, a->inner,
                               a->h,      a->c, a->h_before, a->c_before,          a->y,         n + 5};
    kernels->forward[cell](&step);
}

static void run_backward(const mn_cell_kernels *kernels, mn_cell cell, uint32_t n, cell_arrays *a)
{
    const mn_cell_gradient step = {CELL_ROWS,   n,     a->recurrent, a->inner, a->h_before,
                                   a->c_before, a->dy, n + 2,        a->h,     a->c};
    kernels->backward[cell](&step);
}

static void assert_near(const char *what, const float *a, const float *b, size_t n, double tolerance)
{
    for (size_t i = 0; i < n; i++) {
        double limit = tolerance * (1 + fabs((double)b[i]));
        if (!(fabs((double)a[i] - (double)b[i]) <= limit))
            fail_msg("%s[%zu]: %.8g, expected %.8g", what, i, (double)a[i], (double)b[i]);
    }
}

static void check_arrays(const cell_arrays *a, const cell_arrays *b, uint32_t n, double tolerance)
{
    size_t rows = CELL_ROWS;
    assert_near("recurrent", a->recurrent, b->recurrent, rows * 4 * n, tolerance);
    assert_near("inner", a->inner, b->inner, rows * 3 * n, tolerance);
    assert_near("h", a->h, b->h, rows * n, tolerance);
    assert_near("c", a->c, b->c, rows * n, tolerance);
    assert_near("h_before", a->h_before, b->h_before, rows * n, 0);
    assert_near("c_before", a->c_before, b->c_before, rows * n, 0);
    assert_near("y", a->y, b->y, rows * (n + 5), tolerance); /* what lies between its rows too */
}

static void cells_agree_with_the_reference_at_odd_sizes(void **state)
{
    (void)state;
    const mn_cell_kernels *reference = mn_cell_kernels_reference();
    for (size_t kind = 0; kind < g_n_kinds; kind++)
        for (uint32_t n = 1; n < 70; n += n < 20 ? 1 : 7)
            for (int form = 0; form < 8; form++) {
                const mn_cell_kernels *kernels = g_kinds[kind].cell_kernels;
                mn_cell cell = form & 1 ? MN_CELL_GRU : MN_CELL_LSTM;
                float scale = form & 4 ? 200.0f : 3.0f; /* the gates shut and open wholly */
                cell_arrays a = new_arrays(n, scale), b = new_arrays(n, scale);
                run_forward(kernels, cell, n, form & 2, &a);
                run_forward(reference, cell, n, form & 2, &b);
                check_arrays(&a, &b, n, 2e-6);
                memcpy(a.recurrent, b.recurrent, CELL_ROWS * 4 * n * sizeof(float));
                run_backward(kernels, cell, n, &a);
                run_backward(reference, cell, n, &b);
                check_arrays(&a, &b, n, 2e-6 * (double)scale); /* gradients have the size of the states */
                free_arrays(&a);
                free_arrays(&b);
            }
}

/* ---- against PyTorch ------------------------------------------------------------------------------------------- */

static json_t *load_cases(void)
{
    char path[1200];
    snprintf(path, sizeof path, "%s/tests/data/train/recurrent_cases.json", test_source_dir());
    json_error_t error;
    json_t *cases = json_load_file(path, 0, &error);
    if (!cases) fail_msg("%s: %s", path, error.text);
    return cases;
}

static float *floats_of(const json_t *object, const char *name, size_t *n)
{
    const json_t *array = json_object_get(object, name);
    if (!array) return NULL;
    *n = json_array_size(array);
    float *values = malloc(*n * sizeof *values + 64);
    for (size_t i = 0; i < *n; i++) values[i] = (float)json_number_value(json_array_get(array, i));
    return values;
}

static uint32_t number_of(const json_t *object, const char *name)
{
    return (uint32_t)json_integer_value(json_object_get(object, name));
}

/* Difference in units of the largest expected value, which rounding to bfloat16 is a share of. */
static void assert_like(const mn_train_arithmetic *kind, const char *what, const float *values, const json_t *object,
                        const char *name)
{
    size_t n = 0;
    float *expected = floats_of(object, name, &n), largest = 0;
    assert_non_null(expected);
    for (size_t i = 0; i < n; i++) largest = fmaxf(largest, fabsf(expected[i]));
    float tolerance = (is_bf16(kind) ? 0.04f : 3e-6f) * fmaxf(largest, 1);
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(values[i] - expected[i]) <= tolerance))
            fail_msg("%s %s: %s[%zu] is %.8g, expected %.8g", kind->product->name, kind->name, what, i,
                     (double)values[i], (double)expected[i]);
    free(expected);
}

static uint32_t *offsets_of(const json_t *case_, uint32_t *n_steps)
{
    const json_t *sizes = json_object_get(case_, "batch_sizes");
    *n_steps = (uint32_t)json_array_size(sizes);
    uint32_t *offsets = calloc(*n_steps + 1, sizeof *offsets);
    for (uint32_t t = 0; t < *n_steps; t++)
        offsets[t + 1] = offsets[t] + (uint32_t)json_integer_value(json_array_get(sizes, t));
    return offsets;
}

static void load_parameters(mn_parameters *set, const json_t *values)
{
    for (size_t i = 0; i < set->n; i++) {
        size_t n = 0;
        float *from = floats_of(values, set->items[i]->name + strlen("rnn."), &n);
        assert_non_null(from);
        assert_int_equal(n, set->items[i]->options.rows * set->items[i]->options.columns);
        memcpy(set->items[i]->value, from, n * sizeof *from);
        free(from);
    }
    mn_parameters_pack(set, g_threads);
}

static void check_case(const mn_train_arithmetic *kind, const json_t *case_)
{
    const mn_recurrent_options options = {
        .cell = strcmp(json_string_value(json_object_get(case_, "cell")), "gru") == 0 ? MN_CELL_GRU : MN_CELL_LSTM,
        .n_in = number_of(case_, "n_in"),
        .n_hidden = number_of(case_, "n_hidden"),
        .n_layers = number_of(case_, "n_layers"),
        .bidirectional = json_is_true(json_object_get(case_, "bidirectional"))};
    mn_parameters set = {.arithmetic = kind};
    mn_recurrent recurrent;
    mn_shard *shard = NULL;
    assert_ok(mn_recurrent_add(&set, "rnn", &options, &recurrent, test_error()));
    assert_ok(mn_parameters_ready(&set, 1, test_error()));
    assert_int_equal(set.n, json_object_size(json_object_get(case_, "parameters")));
    load_parameters(&set, json_object_get(case_, "parameters"));
    assert_ok(mn_shard_new(&set, &shard, test_error()));
    mn_shard_begin(shard, 1, 1, 0);

    size_t n_x = 0, n_y = 0, n_state = 0;
    mn_recurrent_input input = {0};
    uint32_t *offsets = offsets_of(case_, &input.steps.n_steps);
    float *x = floats_of(case_, "x", &n_x), *dy = floats_of(case_, "dy", &n_y);
    float *h = floats_of(case_, "h_first", &n_state), *c = floats_of(case_, "c_first", &n_state);
    float *y = malloc(n_y * sizeof *y), *dx = malloc(n_x * sizeof *dx);
    float *h_last = malloc(4096), *c_last = malloc(4096);
    input.steps.offsets = offsets;
    input.x = x, input.n_x = (uint32_t)n_x / options.n_in;
    input.h_first = h, input.c_first = c, input.h_last = h ? h : h_last, input.c_last = c ? c : c_last;
    mn_recurrent_saved *saved = NULL;
    assert_ok(mn_recurrent_forward(&recurrent, shard, &input, y, &saved, test_error()));
    assert_like(kind, "y", y, case_, "y");
    assert_like(kind, "h_last", input.h_last, case_, "h_last");
    if (options.cell == MN_CELL_LSTM) assert_like(kind, "c_last", input.c_last, case_, "c_last");
    assert_ok(mn_recurrent_backward(&recurrent, shard, saved, dy, dx, test_error()));
    assert_like(kind, "dx", dx, case_, "dx");
    for (size_t i = 0; i < set.n; i++)
        assert_like(kind, set.items[i]->name, mn_gradient_of(shard, set.items[i]), json_object_get(case_, "gradients"),
                    set.items[i]->name + strlen("rnn."));
    free(offsets), free(x), free(dy), free(h), free(c), free(y), free(dx), free(h_last), free(c_last);
    mn_shard_free(shard);
    mn_parameters_free(&set);
}

static void outputs_and_gradients_equal_pytorchs(void **state)
{
    (void)state;
    json_t *cases = load_cases();
    assert_int_equal(json_array_size(cases), 6);
    for (size_t kind = 0; kind < g_n_kinds; kind++)
        for (size_t i = 0; i < json_array_size(cases); i++) check_case(&g_kinds[kind], json_array_get(cases, i));
    json_decref(cases);
}

/* ---- against finite differences -------------------------------------------------------------------------------- */

/* Sequences of 6, 4, 4, 1 and 1 steps. */
enum { SEQUENCES = 5, STEPS = 6, ROWS = 16, DISTINCT = 6 };
static const uint32_t g_offsets[STEPS + 1] = {0, 5, 8, 11, 14, 15, 16};
static const uint32_t g_row_of[ROWS] = {3, 0, 0, 5, 1, 3, 2, 3, 4, 4, 1, 0, 5, 2, 3, 0};

typedef struct layer_case {
    mn_parameters set;
    mn_recurrent recurrent;
    mn_shard *shard;
    mn_recurrent_input input;
    mn_recurrent_saved *saved;
    mn_random random; /* that every forward begins with: the same dropout */
    float *x, *h, *c, *y, *dy, *dx;
    size_t n_x, n_y;
} layer_case;

static double case_loss(void *context)
{
    layer_case *c = context;
    mn_room_clear(&c->shard->room);
    c->shard->random = c->random;
    assert_ok(mn_recurrent_forward(&c->recurrent, c->shard, &c->input, c->y, &c->saved, test_error()));
    double loss = 0;
    for (size_t i = 0; i < c->n_y; i++) loss += (double)c->y[i] * (double)c->dy[i];
    return loss;
}

static void new_case(layer_case *c, const mn_train_arithmetic *kind, const mn_recurrent_options *options,
                     bool with_states, bool shared)
{
    *c = (layer_case){.set = {.arithmetic = kind}};
    assert_ok(mn_recurrent_add(&c->set, "rnn", options, &c->recurrent, test_error()));
    assert_ok(mn_parameters_ready(&c->set, 3, test_error()));
    mn_recurrent_open_forget_gates(&c->recurrent);
    mn_parameters_pack(&c->set, g_threads);
    assert_ok(mn_shard_new(&c->set, &c->shard, test_error()));
    mn_shard_begin(c->shard, 1, 1, 0);
    c->shard->training = options->dropout > 0;
    c->random = c->shard->random;
    uint32_t n_rows_of_x = shared ? DISTINCT : ROWS;
    c->n_x = n_rows_of_x * options->n_in;
    c->n_y = ROWS * mn_recurrent_width(&c->recurrent);
    size_t n_states = options->n_layers * 2 * SEQUENCES * options->n_hidden;
    c->x = random_array(c->n_x, 11, 1), c->dx = random_array(c->n_x, 12, 1);
    c->y = random_array(c->n_y, 13, 1), c->dy = random_array(c->n_y, 14, 1);
    c->h = random_array(n_states, 15, 0.7f), c->c = random_array(n_states, 16, 0.7f);
    c->input = (mn_recurrent_input){.steps = {STEPS, g_offsets},
                                    .x = c->x,
                                    .row_of = shared ? g_row_of : NULL,
                                    .n_x = n_rows_of_x,
                                    .h_first = with_states ? c->h : NULL,
                                    .c_first = with_states ? c->c : NULL};
}

static void free_case(layer_case *c)
{
    free(c->x), free(c->dx), free(c->y), free(c->dy), free(c->h), free(c->c);
    mn_shard_free(c->shard);
    mn_parameters_free(&c->set);
}

static void check_gradients(const mn_train_arithmetic *kind, const mn_recurrent_options *options, bool with_states,
                            bool shared)
{
    layer_case c;
    new_case(&c, kind, options, with_states, shared);
    case_loss(&c);
    assert_ok(mn_recurrent_backward(&c.recurrent, c.shard, c.saved, c.dy, c.dx, test_error()));
    gradient_check check = {.parameters = &c.set,
                            .threads = g_threads,
                            .loss = case_loss,
                            .context = &c,
                            .h = 5e-3,
                            .tolerance = 5e-4,
                            .most = 40};
    check_parameter_gradients(&check, c.shard);
    check_array_gradient(&check, "x", c.x, c.dx, c.n_x);
    free_case(&c);
}

static void gradients_equal_finite_differences(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < g_n_kinds; kind++)
        for (int form = 0; form < 16; form++) {
            const mn_recurrent_options options = {.cell = form & 1 ? MN_CELL_GRU : MN_CELL_LSTM,
                                                  .n_in = form & 2 ? 3 : 9,
                                                  .n_hidden = form & 2 ? 17 : 5,
                                                  .n_layers = form & 2 ? 2 : 3,
                                                  .bidirectional = form & 4};
            if (!is_bf16(&g_kinds[kind])) check_gradients(&g_kinds[kind], &options, form & 8, (form >> 1 ^ form) & 2);
        }
}

static void gradients_with_dropout_equal_finite_differences(void **state)
{
    (void)state;
    for (int cell = 0; cell < MN_CELL_COUNT; cell++) {
        const mn_recurrent_options options = {(mn_cell)cell, 3, 7, 3, true, 0.4f};
        check_gradients(&g_kinds[0], &options, false, false);
    }
}

/* ---- many rows ------------------------------------------------------------------------------------------------- */

/* Sequence b has 31 - b / 2 steps: 860 rows, more than go through one product. */
enum { MANY = 40, MOST_STEPS = 31, MANY_IN = 6 };

typedef struct many_rows {
    uint32_t offsets[MOST_STEPS + 1];
    uint32_t n_rows;
    float *x, *dy;
} many_rows;

static uint32_t many_length(uint32_t b)
{
    return MOST_STEPS - b / 2;
}

static void new_rows(many_rows *rows, uint32_t width)
{
    for (uint32_t t = 0; t < MOST_STEPS; t++) {
        rows->offsets[t + 1] = rows->offsets[t];
        for (uint32_t b = 0; b < MANY; b++) rows->offsets[t + 1] += many_length(b) > t;
    }
    rows->n_rows = rows->offsets[MOST_STEPS];
    rows->x = random_array(rows->n_rows * MANY_IN, 21, 1);
    rows->dy = random_array(rows->n_rows * width, 22, 1);
}

static void run_both(layer_case *c, const mn_recurrent_input *input, float *y, const float *dy, float *dx)
{
    mn_room_clear(&c->shard->room);
    assert_ok(mn_recurrent_forward(&c->recurrent, c->shard, input, y, &c->saved, test_error()));
    assert_ok(mn_recurrent_backward(&c->recurrent, c->shard, c->saved, dy, dx, test_error()));
}

/* Sequence b by itself: its rows of x and dy, and its y and dx against those of the whole. */
static void run_alone(layer_case *c, const many_rows *rows, uint32_t b, const float *y, const float *dx)
{
    uint32_t length = many_length(b), width = mn_recurrent_width(&c->recurrent), offsets[MOST_STEPS + 1];
    float x[MOST_STEPS * MANY_IN], d_own[MOST_STEPS * MANY_IN], *own = malloc(2 * length * width * sizeof *own);
    float *dy = own + length * width;
    for (uint32_t t = 0; t <= length; t++) offsets[t] = t;
    for (uint32_t t = 0; t < length; t++) {
        memcpy(x + t * MANY_IN, rows->x + (rows->offsets[t] + b) * MANY_IN, MANY_IN * sizeof *x);
        memcpy(dy + t * width, rows->dy + (rows->offsets[t] + b) * width, width * sizeof *dy);
    }
    run_both(c, &(mn_recurrent_input){.steps = {length, offsets}, .x = x, .n_x = length}, own, dy, d_own);
    for (uint32_t t = 0; t < length; t++) {
        assert_near("y", y + (rows->offsets[t] + b) * width, own + t * width, width, 2e-5);
        if (dx) assert_near("dx", dx + (rows->offsets[t] + b) * MANY_IN, d_own + t * MANY_IN, MANY_IN, 2e-5);
    }
    free(own);
}

static void check_many(const mn_train_arithmetic *kind, const mn_recurrent_options *options, bool shared)
{
    layer_case c;
    many_rows rows = {{0}, 0, NULL, NULL};
    new_case(&c, kind, options, false, false);
    uint32_t width = mn_recurrent_width(&c.recurrent), row_of[MANY * MOST_STEPS];
    new_rows(&rows, width);
    float *y = malloc(rows.n_rows * width * sizeof *y), *dx = malloc(rows.n_rows * MANY_IN * sizeof *dx);
    float *x = malloc(rows.n_rows * MANY_IN * sizeof *x);
    mn_recurrent_input input = {.steps = {MOST_STEPS, rows.offsets}, .x = rows.x, .n_x = rows.n_rows};
    for (uint32_t r = 0; r < rows.n_rows; r++) { /* the same rows in another order */
        row_of[r] = (uint32_t)(r * 7ull % rows.n_rows);
        memcpy(x + row_of[r] * MANY_IN, rows.x + r * MANY_IN, MANY_IN * sizeof *x);
    }
    if (shared) input.x = x, input.row_of = row_of;
    run_both(&c, &input, y, rows.dy, dx);
    size_t n = c.set.dense_size;
    float *whole = malloc(n * sizeof *whole);
    memcpy(whole, c.shard->gradients, n * sizeof *whole);
    memset(c.shard->gradients, 0, n * sizeof *whole);
    for (uint32_t b = 0; b < MANY; b++) run_alone(&c, &rows, b, y, shared ? NULL : dx);
    assert_near("gradients", whole, c.shard->gradients, n, 1e-4);
    free(y), free(dx), free(x), free(whole), free(rows.x), free(rows.dy);
    free_case(&c);
}

static void many_sequences_give_the_sum_of_what_each_gives_alone(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < g_n_kinds; kind++)
        for (int form = 0; form < 4 && !is_bf16(&g_kinds[kind]); form++) {
            const mn_recurrent_options options = {(mn_cell)(form & 1), MANY_IN, 11, 2, true, 0};
            check_many(&g_kinds[kind], &options, form & 2);
        }
}

/* ---- states, dropout, memory ----------------------------------------------------------------------------------- */

static void steps_in_two_parts_with_carried_states_give_the_same(void **state)
{
    (void)state;
    static const uint32_t offsets[] = {0, 3, 6, 9, 12, 15, 18};
    for (size_t kind = 0; kind < g_n_kinds; kind++)
        for (int cell = 0; cell < MN_CELL_COUNT; cell++) {
            const mn_recurrent_options options = {(mn_cell)cell, 4, 19, 2, false, 0};
            layer_case c;
            new_case(&c, &g_kinds[kind], &options, false, false);
            float *x = random_array(18 * 4, 1, 1), *whole = random_array(18 * 19, 2, 1), *parts = malloc(18 * 19 * 4);
            mn_recurrent_input input = {.steps = {6, offsets}, .x = x, .n_x = 18};
            assert_ok(mn_recurrent_forward(&c.recurrent, c.shard, &input, whole, &c.saved, test_error()));
            input.h_last = c.h, input.c_last = c.c;
            for (int part = 0; part < 3; part++) {
                input.steps.n_steps = 2, input.x = x + part * 6 * 4, input.n_x = 6;
                assert_ok(
                    mn_recurrent_forward(&c.recurrent, c.shard, &input, parts + part * 6 * 19, &c.saved, test_error()));
                input.h_first = c.h, input.c_first = c.c;
            }
            assert_memory_equal(whole, parts, 18 * 19 * 4);
            free(x), free(whole), free(parts);
            free_case(&c);
        }
}

static void dropout_between_layers_strikes_its_share_in_training_alone(void **state)
{
    (void)state;
    const mn_recurrent_options options = {MN_CELL_GRU, 4, 8, 2, false, 0.25f};
    layer_case c;
    new_case(&c, &g_kinds[1], &options, false, false);
    c.shard->training = false;
    double evaluated = case_loss(&c), again = case_loss(&c);
    assert_true(evaluated == again);
    c.shard->training = true;
    double sum = 0, different = 0;
    enum { TURNS = 3000 };
    for (int i = 0; i < TURNS; i++) {
        double loss = case_loss(&c);
        c.random = c.shard->random;
        sum += loss, different += loss != evaluated;
    }
    assert_true(different == TURNS);
    /* A small network is nearly linear in its input, so the mean stays. */
    print_message("without dropout %g, mean with it %g\n", evaluated, sum / TURNS);
    assert_true(fabs(sum / TURNS - evaluated) < 0.05 * (1 + fabs(evaluated)));
    free_case(&c);
}

static void forward_and_backward_without_memory_fail_cleanly(void **state)
{
    (void)state;
    const mn_recurrent_options options = {MN_CELL_LSTM, 40, 300, 2, true, 0.5f};
    size_t failures = 0;
    for (size_t n = 1;; n++) {
        layer_case c;
        new_case(&c, &g_kinds[1], &options, true, false);
        mn_alloc_fail_after(n);
        mneme_status status = mn_recurrent_forward(&c.recurrent, c.shard, &c.input, c.y, &c.saved, NULL);
        if (status == MNEME_OK) status = mn_recurrent_backward(&c.recurrent, c.shard, c.saved, c.dy, c.dx, NULL);
        mn_alloc_fail_after(0);
        free_case(&c);
        if (status == MNEME_OK) break;
        assert_int_equal(status, MNEME_ERR_MEMORY);
        failures++;
    }
    assert_true(failures > 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cells_agree_with_the_reference_at_odd_sizes),
        cmocka_unit_test(outputs_and_gradients_equal_pytorchs),
        cmocka_unit_test(gradients_equal_finite_differences),
        cmocka_unit_test(gradients_with_dropout_equal_finite_differences),
        cmocka_unit_test(many_sequences_give_the_sum_of_what_each_gives_alone),
        cmocka_unit_test(steps_in_two_parts_with_carried_states_give_the_same),
        cmocka_unit_test(dropout_between_layers_strikes_its_share_in_training_alone),
        cmocka_unit_test(forward_and_backward_without_memory_fail_cleanly),
    };
    return cmocka_run_group_tests(tests, fill_kinds, free_kinds);
}
