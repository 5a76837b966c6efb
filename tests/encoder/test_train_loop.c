/* test_train_loop.c -- the loop around training, with tasks of a few numbers: steps against AdamW in plain double
 * precision, accumulation, phases, early stop, what is kept, a loss that is no number, stopping and going on. */
#include "test_support.h"

#include "encoder/train/train_loop.h"

#include <math.h>
#include <stdatomic.h>
#include <unistd.h>

/* ---- a task ---------------------------------------------------------------------------------------------------- */

/* weight (1, WIDTH): the loss of a batch is the mean over its ROWS rows of (x . weight - y)^2 / 2. Row r of batch b is
 * made of r and b alone. */
enum { WIDTH = 5, ROWS = 12, BATCHES_PER_EPOCH = 4 };

typedef struct toy {
    mn_train_arithmetic arithmetic;
    mn_parameters parameters;
    mn_parameter *weight;
    uint32_t n_shards;
    uint64_t batch;
    uint64_t total;               /* carried along: the sum of all batch numbers */
    uint64_t nan_at, infinite_at; /* batches whose loss, gradient is no number; 0: none */
    const double *held_out;       /* what evaluations give, in their order; NULL: the loss on batch 1000 */
    unsigned n_evaluations, n_saves, saved_after; /* saved_after: evaluations before the newest save */
    char calls[400];
    uint64_t stop_at, watched; /* watch: cancels at this step; 0: never */
} toy;

static double x_of(uint64_t batch, uint32_t row, uint32_t column)
{
    return sin(1.0 + (double)batch * 1.7 + row * 0.9 + column * 2.3);
}

static double y_of(uint64_t batch, uint32_t row)
{
    double y = 0.1 * cos((double)batch + row);
    for (uint32_t c = 0; c < WIDTH; c++) y += x_of(batch, row, c) * (0.5 + 0.3 * c);
    return y;
}

static mneme_status toy_begin(void *context, uint64_t batch, uint64_t *n_tokens, mneme_error *error)
{
    (void)error;
    toy *t = context;
    t->batch = batch;
    t->total += batch;
    *n_tokens = ROWS;
    return MNEME_OK;
}

static mneme_status toy_phase(void *context, uint32_t phase, uint32_t index, mn_shard *shard, double *loss,
                              mneme_error *error)
{
    (void)error, (void)phase;
    toy *t = context;
    float *gradient = mn_gradient_of(shard, t->weight);
    for (uint32_t r = index * ROWS / t->n_shards; r < (index + 1) * ROWS / t->n_shards; r++) {
        double difference = -y_of(t->batch, r);
        for (uint32_t c = 0; c < WIDTH; c++) difference += x_of(t->batch, r, c) * (double)t->weight->value[c];
        for (uint32_t c = 0; c < WIDTH; c++) gradient[c] += (float)(difference * x_of(t->batch, r, c) / ROWS);
        *loss += difference * difference / 2 / ROWS;
    }
    if (t->nan_at && t->batch == t->nan_at) *loss = NAN;
    if (t->infinite_at && t->batch == t->infinite_at) gradient[0] = INFINITY;
    return MNEME_OK;
}

static mneme_status toy_evaluate(void *context, const mn_train_workers *workers, double *loss, mneme_error *error)
{
    (void)workers, (void)error;
    toy *t = context;
    *loss = t->held_out ? t->held_out[t->n_evaluations] : 1.0 / (1 + t->n_evaluations);
    t->n_evaluations++;
    return MNEME_OK;
}

static mneme_status toy_save(void *context, const char *folder, mneme_error *error)
{
    toy *t = context;
    char path[300];
    t->n_saves++;
    t->saved_after = t->n_evaluations;
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    return mn_parameters_save(&t->parameters, path, error);
}

static bool watch(void *context, const mneme_train_progress *progress)
{
    toy *t = context;
    t->watched = progress->step;
    return progress->step != t->stop_at;
}

static void toy_make(toy *t, uint32_t n_shards)
{
    *t = (toy){.n_shards = n_shards};
    t->arithmetic = mn_train_arithmetic_for(false, mn_cpu_detect(), false);
    t->parameters.arithmetic = &t->arithmetic;
    const mn_parameter_options weight = {
        .rows = 1, .columns = WIDTH, .initial = MN_INITIAL_NORMAL, .scale = 1, .decays = true};
    t->weight = mn_parameters_add(&t->parameters, &weight, "weight");
    assert_ok(mn_parameters_ready(&t->parameters, 3, test_error()));
}

static mn_train_task task_of(toy *t, mn_train_region *region)
{
    *region = (mn_train_region){"total", &t->total, sizeof t->total};
    return (mn_train_task){.context = t,
                           .parameters = &t->parameters,
                           .n_phases = 1,
                           .batches_per_epoch = BATCHES_PER_EPOCH,
                           .description = "{\"task\": \"toy\"}",
                           .regions = region,
                           .n_regions = 1,
                           .begin = toy_begin,
                           .phase = toy_phase,
                           .evaluate = toy_evaluate,
                           .save = toy_save};
}

static mneme_train_options options_of(toy *t, uint64_t steps)
{
    mneme_train_options o = MNEME_TRAIN_OPTIONS_INIT;
    o.steps = steps;
    o.learning_rate = 0.05;
    o.warm_up = 3;
    o.clip = 0.5;
    o.weight_decay = 0.1;
    o.shards = t->n_shards;
    o.threads = 2;
    o.watch = watch;
    o.context = t;
    return o;
}

static char *g_folder;

static mneme_status train(toy *t, const mneme_train_options *o, mneme_train_result *result)
{
    mn_train_region region;
    const mn_train_task task = task_of(t, &region);
    return mn_train_run(&task, o, g_folder, result, test_error());
}

/* ---- steps ----------------------------------------------------------------------------------------------------- */

/* AdamW as its paper and PyTorch have it, clipping by the norm, warm-up and cosine, over `accumulate` batches a step.
 */
static void train_plainly(const toy *t, uint64_t n_steps, uint32_t accumulate, double w[WIDTH])
{
    double m[WIDTH] = {0}, v[WIDTH] = {0};
    for (uint32_t c = 0; c < WIDTH; c++) w[c] = (double)t->weight->value[c];
    for (uint64_t step = 0; step < n_steps; step++) {
        double g[WIDTH] = {0}, norm = 0;
        for (uint32_t a = 0; a < accumulate; a++)
            for (uint32_t r = 0; r < ROWS; r++) {
                uint64_t batch = step * accumulate + a;
                double difference = -y_of(batch, r);
                for (uint32_t c = 0; c < WIDTH; c++) difference += x_of(batch, r, c) * w[c];
                for (uint32_t c = 0; c < WIDTH; c++) g[c] += difference * x_of(batch, r, c) / ROWS / accumulate;
            }
        for (uint32_t c = 0; c < WIDTH; c++) norm += g[c] * g[c];
        norm = sqrt(norm);
        double rate = step < 3 ? 0.05 * (double)(step + 1) / 3
                               : 0.05 * 0.5 * (1 + cos(M_PI * (double)(step - 3) / (double)(n_steps - 3)));
        for (uint32_t c = 0; c < WIDTH; c++) {
            double gradient = norm > 0.5 ? g[c] * 0.5 / norm : g[c];
            m[c] = 0.9 * m[c] + 0.1 * gradient;
            v[c] = 0.999 * v[c] + 0.001 * gradient * gradient;
            double first = m[c] / (1 - pow(0.9, (double)(step + 1))),
                   second = v[c] / (1 - pow(0.999, (double)(step + 1)));
            w[c] -= rate * (first / (sqrt(second) + 1e-8) + 0.1 * w[c]);
        }
    }
}

static void steps_are_those_of_adamw(void **state)
{
    (void)state;
    for (uint32_t accumulate = 1; accumulate <= 3; accumulate += 2)
        for (uint32_t shards = 1; shards <= 4; shards += 3) {
            toy t;
            double expected[WIDTH];
            toy_make(&t, shards);
            train_plainly(&t, 30, accumulate, expected);
            mneme_train_options o = options_of(&t, 30);
            mneme_train_result result;
            o.accumulate = accumulate;
            o.replace = true;
            assert_ok(train(&t, &o, &result));
            assert_int_equal(result.steps, 30);
            assert_int_equal(result.n_parameters, WIDTH);
            assert_int_equal(t.watched, 30);
            for (uint32_t c = 0; c < WIDTH; c++)
                if (fabs((double)t.weight->value[c] - expected[c]) > 1e-4)
                    fail_msg("weight %u: %g, expected %g", c, (double)t.weight->value[c], expected[c]);
            mn_parameters_free(&t.parameters);
        }
}

/* A loss over the whole batch: each phase waits for all parts of the one before. */
static atomic_uint g_parts;

static mneme_status note_phase(void *context, uint32_t phase, uint32_t index, mn_shard *shard, double *loss,
                               mneme_error *error)
{
    (void)context, (void)index, (void)shard, (void)error;
    *loss = phase == 1 ? 0.25 : 100; /* of four parts, and only the last phase's counts */
    g_parts++;
    return MNEME_OK;
}

static mneme_status note_between(void *context, uint32_t phase, mneme_error *error)
{
    (void)error;
    toy *t = context;
    size_t n = strlen(t->calls);
    snprintf(t->calls + n, sizeof t->calls - n, "%u:%u ", phase, (unsigned)g_parts);
    return MNEME_OK;
}

static void a_phase_begins_when_the_one_before_is_done(void **state)
{
    (void)state;
    toy t;
    mn_train_region region;
    toy_make(&t, 4);
    mn_train_task task = task_of(&t, &region);
    mneme_train_options o = options_of(&t, 2);
    mneme_train_result result;
    task.n_phases = 2;
    task.phase = note_phase;
    task.between = note_between;
    o.replace = true;
    g_parts = 0;
    assert_ok(mn_train_run(&task, &o, g_folder, &result, test_error()));
    assert_string_equal(t.calls, "0:4 1:8 0:12 1:16 ");
    assert_true(result.loss == 1);
    mn_parameters_free(&t.parameters);
}

/* ---- evaluation ------------------------------------------------------------------------------------------------ */

static void the_best_is_kept_and_patience_ends(void **state)
{
    (void)state;
    static const double held_out[] = {3, 2, 2.5, 2.0, 1.9, 2.1, 2.2, 2.3, 1.0};
    toy t;
    toy_make(&t, 1);
    t.held_out = held_out;
    mneme_train_options o = options_of(&t, 100);
    mneme_train_result result;
    o.patience = 3;
    o.replace = true;
    assert_ok(train(&t, &o, &result));
    assert_true(result.stopped_early && !result.cancelled);
    assert_int_equal(t.n_evaluations, 8); /* three after the best, which was the fifth */
    assert_int_equal(result.steps, 8 * BATCHES_PER_EPOCH);
    assert_int_equal(t.saved_after, 5);
    assert_int_equal(t.n_saves, 1 + 3); /* at the start, and after 3, 2, 1.9 */
    assert_true(result.best_loss == 1.9 && result.validation_loss == 2.3);
    /* It has ended: going on does nothing. */
    o.replace = false;
    o.resume = true;
    assert_ok(train(&t, &o, &result));
    assert_int_equal(result.steps, 8 * BATCHES_PER_EPOCH);
    assert_true(result.stopped_early);
    mn_parameters_free(&t.parameters);
}

/* ---- numbers that are none ------------------------------------------------------------------------------------- */

static void a_loss_that_is_no_number_stops_and_keeps_the_checkpoint(void **state)
{
    (void)state;
    for (int gradient = 0; gradient < 2; gradient++) {
        toy t, again;
        toy_make(&t, 2);
        *(gradient ? &t.infinite_at : &t.nan_at) = 9; /* batch 9: step 10 */
        mneme_train_options o = options_of(&t, 20);
        mneme_train_result result;
        o.replace = true;
        assert_int_equal(train(&t, &o, &result), MNEME_ERR_DIVERGED);
        const char *message = test_error()->message;
        if (!strstr(message, "step 10: ") || !strstr(message, "checkpoint of step 8") ||
            !strstr(message, gradient ? "norm of the gradient is inf" : "loss is nan"))
            fail_msg("%s", message);
        assert_int_equal(result.steps, 9);
        toy_make(&again, 2); /* what is kept goes on */
        mneme_train_options more = options_of(&again, 20);
        more.resume = true;
        assert_ok(train(&again, &more, &result));
        assert_int_equal(result.steps, 20);
        mn_parameters_free(&t.parameters);
        mn_parameters_free(&again.parameters);
    }
}

/* ---- stopping and going on ------------------------------------------------------------------------------------- */

static char *contents(const char *name, size_t *size)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s", g_folder, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *bytes = calloc(1, 1 << 16);
    *size = fread(bytes, 1, (1 << 16) - 1, file);
    fclose(file);
    return bytes;
}

static size_t log_lines(void)
{
    size_t size, n = 0;
    char *text = contents("log.jsonl", &size), *at = text, expected[40];
    for (char *end; (end = strchr(at, '\n')); at = end + 1) {
        snprintf(expected, sizeof expected, "{\"step\": %zu, ", ++n);
        assert_int_equal(strncmp(at, expected, strlen(expected)), 0);
    }
    free(text);
    return n;
}

static void a_run_that_is_stopped_goes_on_to_the_same_bytes(void **state)
{
    (void)state;
    static const char *const files[] = {"training.safetensors", "model.safetensors"};
    char *bytes[2];
    size_t sizes[2], size;
    toy whole;
    toy_make(&whole, 3);
    mneme_train_options o = options_of(&whole, 20);
    mneme_train_result result;
    o.replace = true;
    assert_ok(train(&whole, &o, &result));
    for (int i = 0; i < 2; i++) bytes[i] = contents(files[i], &sizes[i]);
    for (uint32_t threads = 1; threads <= 2; threads++) {
        toy first, second;
        toy_make(&first, 3);
        o = options_of(&first, 20);
        o.replace = true;
        o.threads = threads;
        first.stop_at = 10;
        assert_ok(train(&first, &o, &result));
        assert_true(result.cancelled);
        assert_int_equal(result.steps, 10);
        assert_int_equal(log_lines(), 10);
        toy_make(&second, 3);
        second.n_evaluations = 2; /* the toy's evaluations count themselves */
        o = options_of(&second, 20);
        o.resume = true;
        o.threads = 3 - threads;
        assert_ok(train(&second, &o, &result));
        assert_int_equal(result.steps, 20);
        assert_int_equal(second.total, 19 * 20 / 2);
        assert_int_equal(log_lines(), 20);
        for (int i = 0; i < 2; i++) {
            char *now = contents(files[i], &size);
            assert_int_equal(size, sizes[i]);
            assert_memory_equal(now, bytes[i], size);
            free(now);
        }
        mn_parameters_free(&first.parameters);
        mn_parameters_free(&second.parameters);
    }
    for (int i = 0; i < 2; i++) free(bytes[i]);
    mn_parameters_free(&whole.parameters);
}

/* Lines of steps behind the checkpoint are of a run that was killed, and so is half a line. */
static void the_log_loses_what_the_checkpoint_has_not(void **state)
{
    (void)state;
    toy first, second;
    char path[300];
    toy_make(&first, 1);
    mneme_train_options o = options_of(&first, 20);
    o.replace = true;
    first.stop_at = 8;
    assert_ok(train(&first, &o, NULL));
    snprintf(path, sizeof path, "%s/log.jsonl", g_folder);
    FILE *file = fopen(path, "a");
    fputs("{\"step\": 9, \"epoch\": 3, \"loss\": 1}\n{\"step\": 10, \"ep", file);
    fclose(file);
    toy_make(&second, 1);
    o = options_of(&second, 20);
    o.resume = true;
    assert_ok(train(&second, &o, NULL));
    assert_int_equal(log_lines(), 20);
    mn_parameters_free(&first.parameters);
    mn_parameters_free(&second.parameters);
}

static void other_options_and_a_used_folder_are_refused(void **state)
{
    (void)state;
    toy t;
    toy_make(&t, 1);
    mneme_train_options o = options_of(&t, 4);
    o.replace = true;
    assert_ok(train(&t, &o, NULL));
    o.replace = false;
    assert_int_equal(train(&t, &o, NULL), MNEME_ERR_USAGE);
    assert_non_null(strstr(test_error()->message, "--resume"));
    o.resume = true;
    o.learning_rate = 0.25;
    assert_int_equal(train(&t, &o, NULL), MNEME_ERR_USAGE);
    if (!strstr(test_error()->message, "learning rate 0.05, not 0.25")) fail_msg("%s", test_error()->message);
    mn_parameters_free(&t.parameters);
}

static void options_out_of_range_are_refused(void **state)
{
    (void)state;
    toy t;
    toy_make(&t, 1);
    for (int i = 0; i < 8; i++) {
        mneme_train_options o = options_of(&t, 4);
        if (i == 0) o.learning_rate = 0;
        if (i == 1) o.learning_rate = NAN;
        if (i == 2) o.final_rate = 2;
        if (i == 3) o.clip = -1;
        if (i == 4) o.batch = 0;
        if (i == 5) o.accumulate = 0;
        if (i == 6) o.shards = 1000;
        if (i == 7) o.steps = 0, o.epochs = INFINITY;
        assert_int_equal(mn_train_options_check(&o, test_error()), MNEME_ERR_USAGE);
    }
    mn_parameters_free(&t.parameters);
}

static int make_folder(void **state)
{
    (void)state;
    g_folder = test_make_dir();
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    test_remove_dir(g_folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_are_those_of_adamw),
        cmocka_unit_test(a_phase_begins_when_the_one_before_is_done),
        cmocka_unit_test(the_best_is_kept_and_patience_ends),
        cmocka_unit_test(a_loss_that_is_no_number_stops_and_keeps_the_checkpoint),
        cmocka_unit_test(a_run_that_is_stopped_goes_on_to_the_same_bytes),
        cmocka_unit_test(the_log_loses_what_the_checkpoint_has_not),
        cmocka_unit_test(other_options_and_a_used_folder_are_refused),
        cmocka_unit_test(options_out_of_range_are_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
