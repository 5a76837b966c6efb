/* test_trainable_static.c -- a static encoder in training: its mean against a plain loop, gradients against finite
 * differences, what it saves against the encoder that reads it; and the maps between a teacher's vectors and its own.
 */
#include "model_folder.h"

#include "encoder/gradient_check.h"
#include "encoder/train/teacher_space.h"
#include "encoder/train/token_vectors.h"
#include "encoder/train/trainable_static.h"

static mn_train_arithmetic g_arithmetic;
static mn_threads *g_threads;
static char *g_dir, *g_out;
static uint32_t g_vocabulary, g_unknown;

static int set_up(void **state)
{
    (void)state;
    g_arithmetic = mn_train_arithmetic_for(false, MN_CPU_GENERIC, true);
    g_dir = test_make_dir();
    g_out = test_make_dir();
    model_write_teacher(g_dir);
    mn_tokenizer *tokenizer = NULL;
    assert_ok(mn_tokenizer_open(g_dir, &tokenizer, test_error()));
    g_vocabulary = mn_tokenizer_vocabulary(tokenizer);
    g_unknown = mn_tokenizer_unk(tokenizer);
    mn_tokenizer_close(tokenizer);
    return mn_threads_new(2, &g_threads, NULL) == MNEME_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    mn_threads_free(g_threads);
    test_remove_dir(g_dir);
    test_remove_dir(g_out);
    return 0;
}

/* ---- the model -------------------------------------------------------------------------------------------------- */

enum { TEXTS = 5, WIDTH = 5, IDS = 13 };

typedef struct student_case {
    mn_trainable *model;
    mn_shard *shard, *probe;
    uint32_t ids[IDS];
    mn_token_batch batch;
    float factors[TEXTS * WIDTH], *vectors, *rows;
    void *saved;
} student_case;

/* Repeated tokens, unknown ones among others, and a text (the fourth) of unknown ones alone. */
static void open_student(student_case *c, float dropout)
{
    static const uint32_t offsets[] = {0, 3, 8, 9, 11, IDS};
    const uint32_t ids[IDS] = {5, 6, 7, 5, 9, g_unknown, 6, 6, 8, g_unknown, g_unknown, 7, 7};
    const mn_trainable_static_options options = {.vocabulary = g_vocabulary,
                                                 .dimension = WIDTH,
                                                 .unknown = g_unknown,
                                                 .dropout = dropout,
                                                 .tokenizer_folder = g_dir,
                                                 .teacher = "a test",
                                                 .arithmetic = &g_arithmetic};
    *c = (student_case){0};
    memcpy(c->ids, ids, sizeof ids);
    c->batch = (mn_token_batch){.ids = c->ids, .offsets = offsets, .n = TEXTS};
    assert_ok(mn_trainable_static_new(&options, &c->model, test_error()));
    size_t n = (size_t)g_vocabulary * WIDTH;
    c->rows = malloc(n * sizeof *c->rows);
    mn_random random = {3};
    for (size_t i = 0; i < n; i++) c->rows[i] = 40 * mn_random_normal(&random);
    mn_trainable_static_fill(c->model, c->rows);
    mn_parameter *weights = mn_parameters_find(&c->model->parameters, "weights");
    for (uint32_t i = 0; i < g_vocabulary; i++) weights->value[i] = 0.3f * mn_random_normal(&random);
    assert_ok(mn_shard_new(&c->model->parameters, &c->shard, test_error()));
    assert_ok(mn_shard_new(&c->model->parameters, &c->probe, test_error()));
    for (int i = 0; i < TEXTS * WIDTH; i++) c->factors[i] = (float)(i * 37 % 19 - 9) / 4;
}

static void close_student(student_case *c)
{
    mn_shard_free(c->shard);
    mn_shard_free(c->probe);
    mn_trainable_free(c->model);
    free(c->rows);
}

static double student_loss(void *context)
{
    student_case *c = context;
    double loss = 0;
    mn_shard_begin(c->probe, 1, 1, 1);
    assert_ok(c->model->operations->forward(c->model, c->probe, &c->batch, &c->vectors, &c->saved, test_error()));
    for (int i = 0; i < TEXTS * WIDTH; i++) loss += (double)c->vectors[i] * (double)c->factors[i];
    return loss;
}

/* The vector of tokens, in double precision, from the table as it was given: its scale counts nothing. */
static void plain_vector(const student_case *c, const uint32_t *ids, size_t n, double vector[WIDTH])
{
    const float *weights = mn_parameters_find(&c->model->parameters, "weights")->value;
    double squares = 0;
    bool any = false;
    memset(vector, 0, WIDTH * sizeof *vector);
    for (size_t i = 0; i < n; i++) any = any || ids[i] != g_unknown;
    for (size_t i = 0; i < n; i++)
        for (size_t d = 0; d < WIDTH && (ids[i] != g_unknown || !any); d++)
            vector[d] += exp((double)weights[ids[i]]) * (double)c->rows[ids[i] * WIDTH + d];
    for (size_t d = 0; d < WIDTH; d++) squares += vector[d] * vector[d];
    for (size_t d = 0; d < WIDTH; d++) vector[d] /= sqrt(squares);
}

static void a_vector_is_the_weighted_mean_of_the_known_tokens_rows(void **state)
{
    (void)state;
    student_case c;
    open_student(&c, 0);
    student_loss(&c);
    for (size_t i = 0; i < TEXTS; i++) {
        double vector[WIDTH];
        plain_vector(&c, c.ids + c.batch.offsets[i], c.batch.offsets[i + 1] - c.batch.offsets[i], vector);
        for (size_t d = 0; d < WIDTH; d++) assert_float_equal(c.vectors[i * WIDTH + d], vector[d], 1e-5);
    }
    close_student(&c);
}

/* The rows that a shard keeps as a list, of one of the two parameters. */
static void check_sparse(const gradient_check *check, const student_case *c, const char *name)
{
    mn_parameter *p = mn_parameters_find(&c->model->parameters, name);
    size_t width = p->options.columns, n = p->options.rows * width;
    float *gradient = calloc(n, sizeof *gradient), any = 0;
    for (const mn_sparse_gradient *g = c->shard->sparse; g; g = g->next)
        for (size_t i = 0; i < g->n * width && g->parameter == p; i++) {
            gradient[g->ids[i / width] * width + i % width] += g->rows[i];
            any += fabsf(g->rows[i]);
        }
    assert_true(any > 0);
    check_array_gradient(check, name, p->value, gradient, n);
    free(gradient);
}

static void a_static_tables_gradients_equal_finite_differences(void **state)
{
    (void)state;
    for (int dropped = 0; dropped < 2; dropped++) {
        student_case c;
        open_student(&c, dropped ? 0.4f : 0);
        c.shard->training = c.probe->training = true; /* the same tokens are dropped by both: of one seed and step */
        mn_shard_begin(c.shard, 1, 1, 1);
        assert_ok(c.model->operations->forward(c.model, c.shard, &c.batch, &c.vectors, &c.saved, test_error()));
        assert_ok(c.model->operations->backward(c.model, c.shard, c.saved, c.factors, test_error()));
        const gradient_check check = {.parameters = &c.model->parameters,
                                      .threads = g_threads,
                                      .loss = student_loss,
                                      .context = &c,
                                      .h = 1e-2,
                                      .tolerance = 4e-3};
        check_sparse(&check, &c, "rows");
        check_sparse(&check, &c, "weights");
        close_student(&c);
    }
}

/* And no text loses all. */
static void dropout_leaves_tokens_out_in_training_alone(void **state)
{
    (void)state;
    student_case c;
    open_student(&c, 0.5f);
    student_loss(&c);
    float whole[TEXTS * WIDTH];
    memcpy(whole, c.vectors, sizeof whole);
    c.probe->training = true;
    student_loss(&c);
    double difference = 0;
    for (int i = 0; i < TEXTS * WIDTH; i++) difference += fabs((double)(whole[i] - c.vectors[i]));
    assert_true(difference > 0.1);
    for (size_t i = 0; i < TEXTS; i++) {
        double squares = 0;
        for (size_t d = 0; d < WIDTH; d++)
            squares += (double)c.vectors[i * WIDTH + d] * (double)c.vectors[i * WIDTH + d];
        assert_float_equal(squares, 1, 1e-5);
    }
    /* A text of one token has that token. */
    for (size_t d = 0; d < WIDTH; d++) assert_float_equal(whole[2 * WIDTH + d], c.vectors[2 * WIDTH + d], 1e-6);
    close_student(&c);
}

/* encoder/static_table.c is other code than that of training; halves have 11 bits. */
static void a_saved_table_gives_the_vectors_of_training_and_is_trained_on_from_there(void **state)
{
    (void)state;
    student_case c;
    open_student(&c, 0);
    student_loss(&c);
    assert_ok(c.model->operations->save(c.model, g_out, "{\"trained_on\": \"a test\"}", test_error()));
    mn_encoder *encoder = NULL;
    const mn_encoder_options options = {.folder = g_out, .precision = "auto", .kernels = "auto", .threads = 1};
    assert_ok(mn_encoder_open(&options, &encoder, test_error()));
    assert_string_equal(mn_encoder_info(encoder)->kind, "static");
    assert_string_equal(mn_encoder_info(encoder)->precision, "f16");
    assert_string_equal(mn_encoder_info(encoder)->trained_on, "a test");
    assert_int_equal(mn_encoder_special_tokens(encoder), c.model->n_special);
    float vectors[TEXTS * WIDTH];
    assert_ok(mn_encoder_encode_ids(encoder, &c.batch, vectors, NULL, NULL, test_error()));
    for (int i = 0; i < TEXTS * WIDTH; i++) assert_float_equal(vectors[i], c.vectors[i], 2e-3);
    mn_encoder_close(encoder);
    mn_trainable *again = NULL;
    assert_ok(mn_trainable_static_open(g_out, 0, &g_arithmetic, &again, test_error()));
    assert_int_equal(again->dimension, WIDTH);
    assert_int_equal(again->vocabulary, g_vocabulary);
    mn_trainable *first = c.model;
    c.model = again;
    student_loss(&c);
    for (int i = 0; i < TEXTS * WIDTH; i++) assert_float_equal(vectors[i], c.vectors[i], 1e-5);
    c.model = first;
    mn_trainable_free(again);
    close_student(&c);
}

/* ---- where a table begins --------------------------------------------------------------------------------------- */

static bool has_row(const float *row, size_t width)
{
    for (size_t d = 0; d < width; d++)
        if (row[d] != 0) return true;
    return false;
}

/* By one call for each token, the mean in double precision, and the formula. */
static void a_token_begins_with_its_own_vector_centred_and_weighted(void **state)
{
    (void)state;
    mn_encoder *teacher = NULL;
    const mn_encoder_options options = {.folder = g_dir, .precision = "f32", .kernels = "reference", .threads = 1};
    assert_ok(mn_encoder_open(&options, &teacher, test_error()));
    size_t width = mn_encoder_info(teacher)->dimension, n = g_vocabulary, n_kept = 0;
    float *table = calloc(n * width, sizeof *table), *alone = calloc(n * width, sizeof *alone);
    double *mean = calloc(width, sizeof *mean), sum = 0;
    const mn_token_vectors tokens = {.teacher = teacher, .sif = 1e-2};
    assert_ok(mn_token_vectors_fill(&tokens, table, test_error()));
    const mn_tokenizer *tokenizer = mn_encoder_tokenizer(teacher);
    for (uint32_t id = 0; id < n; id++) {
        const uint32_t ids[] = {mn_tokenizer_cls(tokenizer), id, mn_tokenizer_sep(tokenizer)}, offsets[] = {0, 3};
        const mn_token_batch batch = {.ids = ids, .offsets = offsets, .n = 1};
        if (!has_row(table + id * width, width)) continue;
        sum += 1 / ((double)n_kept++ + 2);
        assert_ok(mn_encoder_encode_ids(teacher, &batch, alone + id * width, NULL, NULL, test_error()));
        for (size_t d = 0; d < width; d++) mean[d] += (double)alone[id * width + d];
    }
    assert_true(n_kept > n / 2 && n_kept < n);
    assert_false(has_row(table + mn_tokenizer_cls(tokenizer) * width, width));
    for (size_t id = 0, rank = 0; id < n; id++) {
        if (!has_row(table + id * width, width)) continue;
        double p = 1 / ((double)rank++ + 2) / sum, weight = 1e-2 / (1e-2 + p);
        for (size_t d = 0; d < width; d++) {
            double centred = (double)alone[id * width + d] - mean[d] / (double)n_kept;
            assert_float_equal(table[id * width + d], (float)(weight * centred), 1e-5);
        }
    }
    free(table);
    free(alone);
    free(mean);
    mn_encoder_close(teacher);
}

/* ---- maps ------------------------------------------------------------------------------------------------------- */

enum { VECTORS = 40, FROM = 6, TO = 3 };

static void fill_normal(float *x, size_t n, uint64_t seed)
{
    mn_random random = {seed};
    for (size_t i = 0; i < n; i++) x[i] = mn_random_normal(&random);
}

static double product(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

/* Vectors that lie in three directions lose nothing in three numbers: every cosine stays. */
static void principal_directions_keep_cosines(void **state)
{
    (void)state;
    float basis[TO * FROM], x[VECTORS * FROM] = {0}, before[VECTORS * FROM];
    double map[TO * FROM];
    fill_normal(basis, TO * FROM, 1);
    mn_random random = {2};
    for (size_t i = 0; i < VECTORS; i++)
        for (size_t k = 0; k < TO; k++) {
            float by = mn_random_normal(&random);
            for (size_t f = 0; f < FROM; f++) x[i * FROM + f] += by * basis[k * FROM + f];
        }
    memcpy(before, x, sizeof x);
    assert_ok(mn_space_principal(x, VECTORS, FROM, TO, map, test_error()));
    assert_ok(mn_space_apply(map, x, VECTORS, FROM, TO, test_error()));
    for (size_t i = 1; i < VECTORS; i++) {
        const float *a = before, *b = before + i * FROM;
        double cosine = product(a, b, FROM) / sqrt(product(a, a, FROM) * product(b, b, FROM));
        assert_float_equal(product(x, x + i * TO, TO), cosine, 1e-5);
        assert_float_equal(product(x + i * TO, x + i * TO, TO), 1, 1e-5);
    }
}

/* Turned by a known rotation, the map is that rotation; of another teacher's width, its rows are of unit length. */
static void aligning_finds_the_rotation_between_two_spaces(void **state)
{
    (void)state;
    const double c = cos(0.7), s = sin(0.7);
    const double rotation[TO][TO] = {{c, -s, 0}, {0, 0, 1}, {s, c, 0}};
    float x[VECTORS * TO], own[VECTORS * TO];
    double map[TO * TO];
    fill_normal(x, VECTORS * TO, 3);
    for (size_t i = 0; i < VECTORS; i++)
        for (size_t t = 0; t < TO; t++) {
            double sum = 0;
            for (size_t f = 0; f < TO; f++) sum += rotation[t][f] * (double)x[i * TO + f];
            own[i * TO + t] = (float)sum;
        }
    assert_ok(mn_space_align(own, x, VECTORS, TO, TO, map, test_error()));
    for (size_t k = 0; k < TO * TO; k++) assert_float_equal(map[k], rotation[k / TO][k % TO], 1e-5);
    assert_int_equal(mn_space_align(own, x, 1, TO, TO, map, test_error()), MNEME_ERR_USAGE); /* one text: no plane */
}

/* No turn about any pair of axes of the model's space brings the teacher nearer than the map that was found. */
static void aligning_into_fewer_numbers_is_as_near_as_can_be(void **state)
{
    (void)state;
    float x[VECTORS * FROM], own[VECTORS * TO];
    double map[TO * FROM];
    fill_normal(x, VECTORS * FROM, 4);
    fill_normal(own, VECTORS * TO, 5);
    for (size_t i = 0; i < VECTORS; i++)
        for (size_t t = 0; t < TO; t++) own[i * TO + t] += 2 * x[i * FROM + (t * 2 + 1) % FROM];
    assert_ok(mn_space_align(own, x, VECTORS, FROM, TO, map, test_error()));
    double nearness = 0;
    for (size_t t = 0; t < TO; t++)
        for (size_t u = 0; u < TO; u++) {
            double sum = 0;
            for (size_t f = 0; f < FROM; f++) sum += map[t * FROM + f] * map[u * FROM + f];
            assert_float_equal(sum, t == u, 1e-6);
        }
    for (int turned = 0; turned <= 2 * FROM * FROM; turned++) { /* 0: the map as it is; else x turned a little before */
        size_t a = (size_t)(turned - 1) / 2 / FROM, b = (size_t)(turned - 1) / 2 % FROM;
        double angle = turned % 2 ? 0.05 : -0.05, sum = 0;
        if (turned > 0 && a >= b) continue;
        for (size_t i = 0; i < VECTORS; i++) {
            double v[FROM];
            for (size_t f = 0; f < FROM; f++) v[f] = (double)x[i * FROM + f];
            if (turned > 0) {
                double first = v[a];
                v[a] = cos(angle) * first - sin(angle) * v[b];
                v[b] = sin(angle) * first + cos(angle) * v[b];
            }
            for (size_t t = 0; t < TO; t++)
                for (size_t f = 0; f < FROM; f++) sum += (double)own[i * TO + t] * map[t * FROM + f] * v[f];
        }
        if (turned == 0) nearness = sum;
        assert_true(sum <= nearness + 1e-4);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_vector_is_the_weighted_mean_of_the_known_tokens_rows),
        cmocka_unit_test(a_static_tables_gradients_equal_finite_differences),
        cmocka_unit_test(dropout_leaves_tokens_out_in_training_alone),
        cmocka_unit_test(a_saved_table_gives_the_vectors_of_training_and_is_trained_on_from_there),
        cmocka_unit_test(a_token_begins_with_its_own_vector_centred_and_weighted),
        cmocka_unit_test(principal_directions_keep_cosines),
        cmocka_unit_test(aligning_finds_the_rotation_between_two_spaces),
        cmocka_unit_test(aligning_into_fewer_numbers_is_as_near_as_can_be),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
