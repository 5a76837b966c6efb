/* test_encoder_training.c -- encoders in training: losses against plain loops in double precision and finite
 * differences, a recurrent encoder's gradients, what it saves against the encoder that reads it, texts and batches. */
#include "model_folder.h"

#include "encoder/encoder.h"
#include "encoder/gradient_check.h"
#include "encoder/train/trainable.h"
#include "encoder/train/training_texts.h"
#include "encoder/train/vector_losses.h"

#include <unistd.h>

static mn_train_arithmetic g_arithmetic, g_reference;
static mn_threads *g_threads;
static char *g_dir, *g_out;

static int set_up(void **state)
{
    (void)state;
    g_arithmetic = mn_train_arithmetic_for(false, MN_CPU_AMX, false);
    g_reference = mn_train_arithmetic_for(false, MN_CPU_GENERIC, true);
    g_dir = test_make_dir();
    g_out = test_make_dir();
    model_write_teacher(g_dir);
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

/* ---- losses ---------------------------------------------------------------------------------------------------- */

enum { N = 5, M = 7, D = 6 };

typedef struct loss_case {
    int kind; /* 0 distillation, 1 ranking, 2 contrast */
    mn_shard *shard;
    mn_parameters set;
    float a[N * D], b[M * D], teacher[N * D], da[N * D], db[M * D];
    uint64_t ids[N], other_ids[M];
} loss_case;

static void fill_unit(float *x, size_t n, uint64_t seed)
{
    mn_random random = {seed};
    float lengths[M];
    for (size_t i = 0; i < n * D; i++) x[i] = mn_random_normal(&random);
    mn_unit_forward(x, (uint32_t)n, D, x, lengths);
}

static double run_loss(void *context)
{
    loss_case *c = context;
    double value = 0;
    mn_shard_begin(c->shard, 1, 1, 1);
    if (c->kind == 0) {
        const mn_distillation loss = {c->a, c->teacher, N, D, 4, 1.5f, 5};
        assert_ok(mn_distillation_loss(&loss, c->shard, c->da, &value, test_error()));
    } else if (c->kind == 1) {
        const mn_ranking loss = {c->a, c->teacher, c->b, N, M, D, 2, 5, c->ids, c->other_ids};
        memset(c->da, 0, sizeof c->da);
        assert_ok(mn_ranking_loss(&loss, c->shard, c->da, &value, test_error()));
    } else {
        const mn_contrast loss = {c->a, c->b, N, M, D, 5, c->ids, c->other_ids};
        assert_ok(mn_contrastive_loss(&loss, c->shard, c->da, c->db, &value, test_error()));
    }
    return value;
}

static double cosine(const float *a, const float *b)
{
    double sum = 0;
    for (int i = 0; i < D; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

/* KL of the softmaxes of two rows of similarities; those with leave[j] are not there. */
static double divergence(const double *teacher, const double *student, const bool *leave, int m, double scale)
{
    double sums[2] = {0}, value = 0;
    for (int j = 0; j < m; j++)
        if (!leave[j]) sums[0] += exp(scale * teacher[j]), sums[1] += exp(scale * student[j]);
    for (int j = 0; j < m; j++) {
        if (leave[j]) continue;
        double p = exp(scale * teacher[j]) / sums[0], q = exp(scale * student[j]) / sums[1];
        value += p * log(p / q);
    }
    return value;
}

/* The formulas of vector_losses.h, written out. */
static double plain_loss(const loss_case *c)
{
    double value = 0, student[M], teacher[M];
    bool leave[M];
    for (int i = 0; i < N; i++) {
        const float *s = c->a + i * D, *t = c->teacher + i * D;
        if (c->kind == 0) {
            for (int j = 0; j < N; j++)
                student[j] = cosine(s, c->a + j * D), teacher[j] = cosine(t, c->teacher + j * D), leave[j] = j == i;
            value += 4 * (1 - cosine(s, t)) + 1.5 * divergence(teacher, student, leave, N, 5);
            continue;
        }
        double sum = 0;
        for (int j = 0; j < M; j++) {
            student[j] = cosine(s, c->b + j * D);
            teacher[j] = cosine(t, c->b + j * D);
            leave[j] = c->other_ids[j] == c->ids[i];
            bool negative = j != i && c->other_ids[j] != c->other_ids[i] && !leave[j];
            if (j == i || negative) sum += exp(5 * student[j]);
        }
        value += c->kind == 1 ? 2 * divergence(teacher, student, leave, M, 5) : log(sum) - 5 * student[i];
    }
    return value / N;
}

static void open_loss(loss_case *c, int kind, const mn_train_arithmetic *arithmetic)
{
    *c = (loss_case){.kind = kind, .set = {.arithmetic = arithmetic}};
    const mn_parameter_options one = {.rows = 1, .columns = 1};
    assert_non_null(mn_parameters_add(&c->set, &one, "none"));
    assert_ok(mn_parameters_ready(&c->set, 1, test_error()));
    assert_ok(mn_shard_new(&c->set, &c->shard, test_error()));
    fill_unit(c->a, N, 1);
    fill_unit(c->b, M, 2);
    fill_unit(c->teacher, N, 3);
    for (uint64_t i = 0; i < N; i++) c->ids[i] = 100 + i;
    for (uint64_t j = 0; j < M; j++) c->other_ids[j] = j;
    c->other_ids[3] = 102; /* the third text itself */
    c->other_ids[6] = 1;   /* the same passage as the second one's positive */
}

static void close_loss(loss_case *c)
{
    mn_shard_free(c->shard);
    mn_parameters_free(&c->set);
}

static void losses_equal_their_formulas_and_gradients_finite_differences(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++)
        for (int reference = 0; reference < 2; reference++) {
            loss_case c;
            open_loss(&c, kind, reference ? &g_reference : &g_arithmetic);
            assert_float_equal(run_loss(&c), plain_loss(&c), 1e-4);
            float da[N * D], db[M * D];
            memcpy(da, c.da, sizeof da);
            memcpy(db, c.db, sizeof db);
            const gradient_check check = {.loss = run_loss, .context = &c, .h = 1e-2, .tolerance = 4e-3};
            check_array_gradient(&check, "vectors", c.a, da, N * D);
            if (kind == 2) check_array_gradient(&check, "passages", c.b, db, M * D);
            close_loss(&c);
        }
}

static void a_student_that_equals_its_teacher_has_no_loss(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        loss_case c;
        open_loss(&c, kind, &g_arithmetic);
        memcpy(c.a, c.teacher, sizeof c.a);
        assert_float_equal(run_loss(&c), 0, 1e-5);
        close_loss(&c);
    }
}

static void a_text_with_no_other_anchor_than_itself_has_no_ranking(void **state)
{
    (void)state;
    loss_case c;
    open_loss(&c, 1, &g_arithmetic);
    for (int j = 0; j < M; j++) c.other_ids[j] = 7;
    for (int i = 0; i < N; i++) c.ids[i] = 7;
    assert_true(run_loss(&c) == 0);
    for (int i = 0; i < N * D; i++) assert_true(c.da[i] == 0);
    close_loss(&c);
}

static double unit_loss(void *context)
{
    float *u = context, v[3 * D], lengths[3];
    double sum = 0;
    mn_unit_forward(u, 3, D, v, lengths);
    for (int i = 0; i < 3 * D; i++) sum += (double)v[i] * (i % 5 - 2);
    return sum;
}

static void unit_length_has_the_gradient_of_finite_differences(void **state)
{
    (void)state;
    float u[3 * D], v[3 * D], lengths[3], dv[3 * D], du[3 * D];
    mn_random random = {5};
    for (int i = 0; i < 3 * D; i++) u[i] = 2 * mn_random_normal(&random), dv[i] = (float)(i % 5 - 2);
    mn_unit_forward(u, 3, D, v, lengths);
    mn_unit_backward(v, lengths, dv, 3, D, du);
    const gradient_check check = {.loss = unit_loss, .context = u, .h = 1e-2, .tolerance = 1e-3};
    check_array_gradient(&check, "u", u, du, 3 * D);
    memset(u, 0, sizeof u);
    mn_unit_forward(u, 3, D, v, lengths); /* a direction for every text */
    assert_true(v[0] == 1 && v[1] == 0 && lengths[0] == 0);
}

/* ---- a recurrent encoder --------------------------------------------------------------------------------------- */

enum { TEXTS = 4, WIDTH = 5 };

typedef struct student_case {
    mn_trainable *model;
    mn_shard *shard, *probe;
    mn_token_batch batch;
    float factors[TEXTS * WIDTH], *vectors;
    void *saved;
} student_case;

static double student_loss(void *context)
{
    student_case *c = context;
    double loss = 0;
    mn_shard_begin(c->probe, 1, 1, 1);
    assert_ok(c->model->operations->forward(c->model, c->probe, &c->batch, &c->vectors, &c->saved, test_error()));
    for (int i = 0; i < TEXTS * WIDTH; i++) loss += (double)c->vectors[i] * (double)c->factors[i];
    return loss;
}

static void open_student(student_case *c, mn_cell cell, bool attentive, const mn_train_arithmetic *arithmetic)
{
    static const uint32_t ids[] = {5, 6, 7, 5, 9, 6, 6, 5, 8, 7}, offsets[] = {0, 2, 7, 8, 10};
    const mn_trainable_recurrent_options options = {.cell = cell,
                                                    .n_hidden = 4,
                                                    .n_layers = 1,
                                                    .dimension = WIDTH,
                                                    .bidirectional = true,
                                                    .attentive = attentive,
                                                    .join_tokens = attentive,
                                                    .teacher_folder = g_dir,
                                                    .seed = 7,
                                                    .arithmetic = arithmetic};
    *c = (student_case){.batch = {.ids = ids, .offsets = offsets, .n = TEXTS}};
    assert_ok(mn_trainable_recurrent_new(&options, &c->model, test_error()));
    mn_parameters_pack(&c->model->parameters, g_threads);
    assert_ok(mn_shard_new(&c->model->parameters, &c->shard, test_error()));
    assert_ok(mn_shard_new(&c->model->parameters, &c->probe, test_error()));
    for (int i = 0; i < TEXTS * WIDTH; i++) c->factors[i] = (float)(i * 37 % 19 - 9) / 4;
}

static void close_student(student_case *c)
{
    mn_shard_free(c->shard);
    mn_shard_free(c->probe);
    mn_trainable_free(c->model);
}

/* The rows of the table, which a shard keeps as a list. */
static void check_table(const gradient_check *check, const student_case *c)
{
    mn_parameter *table = mn_parameters_find(&c->model->parameters, "embedding.weight");
    size_t width = table->options.columns, n = table->options.rows * width;
    float *gradient = calloc(n, sizeof *gradient), any = 0;
    for (const mn_sparse_gradient *g = c->shard->sparse; g; g = g->next)
        for (size_t i = 0; i < g->n * width; i++) {
            gradient[g->ids[i / width] * width + i % width] += g->rows[i];
            any += fabsf(g->rows[i]);
        }
    assert_true(any > 0);
    check_array_gradient(check, "table", table->value, gradient, n < 12 * width ? n : 12 * width);
    free(gradient);
}

static void recurrent_encoders_gradients_equal_finite_differences(void **state)
{
    (void)state;
    for (int form = 0; form < 4; form++) {
        student_case c;
        open_student(&c, form & 1 ? MN_CELL_GRU : MN_CELL_LSTM, form & 2, &g_reference);
        mn_shard_begin(c.shard, 1, 1, 1);
        assert_ok(c.model->operations->forward(c.model, c.shard, &c.batch, &c.vectors, &c.saved, test_error()));
        assert_ok(c.model->operations->backward(c.model, c.shard, c.saved, c.factors, test_error()));
        const gradient_check check = {.parameters = &c.model->parameters,
                                      .threads = g_threads,
                                      .loss = student_loss,
                                      .context = &c,
                                      .h = 1e-2,
                                      .tolerance = 4e-3};
        mn_parameter *bias = mn_parameters_find(&c.model->parameters, "attention.bias");
        if (bias) { /* adds the same to every score, which a softmax does not see */
            assert_float_equal(mn_gradient_of(c.shard, bias)[0], 0, 1e-5);
            mn_gradient_of(c.shard, bias)[0] = 1e-9f;
        }
        check_parameter_gradients(&check, c.shard);
        check_table(&check, &c);
        close_student(&c);
    }
}

/* encoder/recurrent_model.c is other code than that of training. */
static void a_saved_recurrent_encoder_gives_the_vectors_of_training(void **state)
{
    (void)state;
    for (int form = 0; form < 4; form++) {
        student_case c;
        open_student(&c, form & 1 ? MN_CELL_GRU : MN_CELL_LSTM, form & 2, &g_arithmetic);
        student_loss(&c);
        assert_ok(c.model->operations->save(c.model, g_out, "{\"trained_on\": \"a test\"}", test_error()));
        mn_encoder *encoder = NULL;
        const mn_encoder_options options = {.folder = g_out, .precision = "f32", .kernels = "auto", .threads = 1};
        assert_ok(mn_encoder_open(&options, &encoder, test_error()));
        float vectors[TEXTS * WIDTH];
        assert_ok(mn_encoder_encode_ids(encoder, &c.batch, vectors, NULL, NULL, test_error()));
        for (int i = 0; i < TEXTS * WIDTH; i++) assert_float_equal(vectors[i], c.vectors[i], 1e-5);
        mn_encoder_close(encoder);
        mn_trainable *again = NULL;
        assert_ok(mn_trainable_recurrent_open(g_out, &g_arithmetic, &again, test_error()));
        assert_int_equal(again->parameters.size, c.model->parameters.size);
        assert_memory_equal(again->parameters.values, c.model->parameters.values,
                            again->parameters.size * sizeof(float));
        mn_trainable_free(again);
        close_student(&c);
    }
}

/* Learned from a text with the teacher's tokenizer. */
static void learn_vocabulary(const mn_tokenizer *teacher, const char *text, mn_own_vocabulary *own)
{
    mn_word_counts words = {0};
    assert_ok(mn_word_counts_add_text(&words, teacher, text, strlen(text), test_error()));
    assert_ok(mn_own_vocabulary_learn(&words, 100, g_dir, teacher, own, test_error()));
    assert_true(own->n > 50 && own->n < mn_tokenizer_vocabulary(teacher));
    mn_word_counts_free(&words);
}

static void check_first_rows(const mn_trainable *model, const mn_own_vocabulary *own, uint32_t teacher_rows)
{
    mn_parameter *table = mn_parameters_find(&model->parameters, "embedding.weight");
    size_t width = table->options.columns, n_means = 0;
    float *teacher = malloc(teacher_rows * width * sizeof *teacher);
    model_values("embeddings.word_embeddings.weight", teacher_rows * width, teacher);
    assert_int_equal(table->options.rows, own->n);
    for (uint32_t i = 0; i < own->n; i++)
        for (size_t c = 0; c < width; c++) {
            double sum = 0;
            uint32_t n = own->offsets[i + 1] - own->offsets[i];
            for (uint32_t k = own->offsets[i]; k < own->offsets[i + 1]; k++)
                sum += (double)teacher[own->ids[k] * width + c];
            assert_float_equal(table->value[i * width + c], (float)(sum / n), 1e-6);
            n_means += n > 1;
        }
    assert_true(n_means > 0);
    free(teacher);
}

static void
an_encoder_with_its_own_vocabulary_begins_with_its_teachers_rows_and_is_saved_with_its_tokenizer(void **state)
{
    (void)state;
    static const char text[] = "the king and the miller had spoken, the kingdom had gold, golden straw spinning "
                               "into gold, the king spinning golden kingdoms, the miller's daughter: spinning";
    mn_tokenizer *teacher = NULL;
    mn_own_vocabulary own = {0};
    assert_ok(mn_tokenizer_open(g_dir, &teacher, test_error()));
    learn_vocabulary(teacher, text, &own);
    const mn_trainable_recurrent_options options = {.cell = MN_CELL_GRU,
                                                    .n_hidden = 4,
                                                    .n_layers = 1,
                                                    .dimension = WIDTH,
                                                    .attentive = true,
                                                    .join_tokens = true,
                                                    .teacher_folder = g_dir,
                                                    .own = &own,
                                                    .seed = 7,
                                                    .arithmetic = &g_arithmetic};
    mn_trainable *model = NULL;
    assert_ok(mn_trainable_recurrent_new(&options, &model, test_error()));
    check_first_rows(model, &own, mn_tokenizer_vocabulary(teacher));
    assert_ok(model->operations->save(model, g_out, "{\"vocabulary\": \"from a test\"}", test_error()));
    mn_encoder *encoder = NULL;
    const mn_encoder_options opened = {.folder = g_out, .precision = "f32", .kernels = "auto", .threads = 1};
    assert_ok(mn_encoder_open(&opened, &encoder, test_error()));
    assert_int_equal(mn_encoder_info(encoder)->vocabulary, own.n);
    assert_string_equal(mn_encoder_info(encoder)->vocabulary_from, "from a test");
    assert_int_equal(mn_tokenizer_fingerprint(mn_encoder_tokenizer(encoder)), mn_tokenizer_fingerprint(own.tokenizer));
    mn_tokens tokens = {0};
    assert_ok(mn_tokenizer_encode(own.tokenizer, text, strlen(text), SIZE_MAX, &tokens, test_error()));
    const uint32_t offsets[] = {0, (uint32_t)tokens.n};
    const mn_token_batch batch = {.ids = tokens.ids, .offsets = offsets, .n = 1};
    const char *const texts[] = {text};
    float by_ids[WIDTH], by_text[WIDTH];
    assert_ok(mn_encoder_encode_ids(encoder, &batch, by_ids, NULL, NULL, test_error()));
    assert_ok(mn_encoder_encode(encoder, texts, NULL, 1, MNEME_TEXT_PASSAGE, by_text, NULL, NULL, test_error()));
    for (int i = 0; i < WIDTH; i++) assert_float_equal(by_ids[i], by_text[i], 1e-6);
    mn_tokens_free(&tokens);
    mn_encoder_close(encoder);
    mn_trainable_free(model);
    mn_own_vocabulary_free(&own);
    mn_tokenizer_close(teacher);
}

/* ---- texts and batches ----------------------------------------------------------------------------------------- */

static void spans_are_runs_of_whole_words_of_their_passage(void **state)
{
    (void)state;
    mn_tokenizer *tokenizer = NULL;
    assert_ok(mn_tokenizer_open(g_dir, &tokenizer, test_error()));
    mn_buffer text = {0};
    for (int i = 0; i < 60; i++) mn_buffer_format(&text, "%c%s", (i % 9 ? 'a' : 'A') + i % 26, i % 9 == 8 ? ". " : " ");
    mn_training_texts texts = {0};
    const mn_cutting cutting = {
        .tokenizer = tokenizer, .max_tokens = 40, .words_per_span = 5, .sentences = true, .seed = 3};
    assert_ok(mn_training_texts_cut(&texts, &cutting, &(mn_training_source){text.data, text.size, 0, 9}, test_error()));
    size_t parts[4] = {0}, passage = 0;
    for (size_t i = 0; i < texts.n; i++) {
        const mn_training_text *t = &texts.items[i];
        parts[t->part]++;
        assert_int_equal(t->document, 9);
        if (t->part == MN_PART_PASSAGE) passage = i;
        if (t->part != MN_PART_SPAN) continue;
        const mn_training_text *whole = &texts.items[passage];
        size_t at = 0; /* where the span stands in its passage */
        while (at + t->n <= whole->n && memcmp(texts.ids + whole->first + at, texts.ids + t->first, t->n * 4) != 0)
            at++;
        assert_true(at + t->n <= whole->n);
        assert_true(t->n >= 4);
    }
    assert_true(parts[MN_PART_PASSAGE] >= 2 && parts[MN_PART_SENTENCE] >= 4 && parts[MN_PART_SPAN] >= 8);
    mn_training_texts none = {0};
    assert_ok(mn_training_texts_cut(&none, &cutting, &(mn_training_source){" \n ", 3, 0, 0}, test_error()));
    assert_int_equal(none.n, 0);
    mn_training_texts_free(&texts);
    mn_buffer_free(&text);
    mn_tokenizer_close(tokenizer);
}

/* The same tokenizer again gives the same ids: the ranges of bytes are those of the tokens. */
static void texts_keep_the_bytes_that_their_tokens_are_of(void **state)
{
    (void)state;
    static const char text[] = "The King's d\xC3\xA4ughter, who had (once upon a time) a miller\xE2\x80\x94"
                               "find the gold! "
                               "  What is said in straw; Kingdoms \xC3\xBC"
                               "ber. Query: \xE2\x98\x83 spin\tthe straw, answers it [MASK] x.";
    mn_tokenizer *tokenizer = NULL;
    mn_own_vocabulary own = {0};
    assert_ok(mn_tokenizer_open(g_dir, &tokenizer, test_error()));
    learn_vocabulary(tokenizer, text, &own);
    const mn_cutting cutting = {
        .tokenizer = tokenizer, .max_tokens = 40, .words_per_span = 2, .sentences = true, .rests = true, .seed = 3};
    mn_training_texts texts = {0}, again = {0}, others = {0};
    assert_ok(mn_training_texts_cut(&texts, &cutting, &(mn_training_source){text, strlen(text), 0, 9}, test_error()));
    assert_ok(mn_training_texts_retokenize(&texts, tokenizer, 40, &again, test_error()));
    assert_ok(mn_training_texts_retokenize(&texts, own.tokenizer, 40, &others, test_error()));
    assert_true(texts.n > 12);
    assert_int_equal(again.n, texts.n);
    assert_int_equal(others.n, texts.n);
    assert_int_equal(again.n_ids, texts.n_ids);
    assert_memory_equal(again.ids, texts.ids, texts.n_ids * sizeof *texts.ids);
    for (size_t i = 0; i < texts.n; i++) {
        assert_int_equal(again.items[i].n, texts.items[i].n);
        assert_int_equal(others.items[i].part, texts.items[i].part);
        assert_int_equal(others.items[i].document, 9);
    }
    mn_training_texts_free(&texts);
    mn_training_texts_free(&again);
    mn_training_texts_free(&others);
    mn_own_vocabulary_free(&own);
    mn_tokenizer_close(tokenizer);
}

/* Is `rest` the ids of `whole` without those of `part`, wherever they stand? */
static bool is_rest(const mn_training_texts *texts, const mn_training_text *whole, const mn_training_text *part,
                    const mn_training_text *rest)
{
    const uint32_t *all = texts->ids + whole->first, *left = texts->ids + rest->first;
    if (rest->n + part->n != whole->n) return false;
    for (uint32_t at = 0; at + part->n <= whole->n; at++)
        if (memcmp(all + at, texts->ids + part->first, part->n * sizeof *all) == 0 &&
            memcmp(all, left, at * sizeof *all) == 0 &&
            memcmp(all + at + part->n, left + at, (rest->n - at) * sizeof *all) == 0)
            return true;
    return false;
}

static void a_rest_is_its_passage_without_the_span_before_it(void **state)
{
    (void)state;
    static const char text[] = "The king's daughter. A miller told him of straw and gold! She spun it. It is said "
                               "that he was glad? The end of it all.";
    const size_t title = strlen("The king's daughter.");
    mn_tokenizer *tokenizer = NULL;
    assert_ok(mn_tokenizer_open(g_dir, &tokenizer, test_error()));
    const mn_cutting cutting = {.tokenizer = tokenizer, .max_tokens = 100, .words_per_span = 3, .rests = true};
    for (int titled = 0; titled < 2; titled++) {
        const mn_training_source source = {text, strlen(text), titled ? title : 0, 9};
        mn_training_texts texts = {0};
        assert_ok(mn_training_texts_cut(&texts, &cutting, &source, test_error()));
        assert_int_equal(texts.items[0].part, MN_PART_PASSAGE);
        assert_true(titled ? texts.n == 3 : texts.n > 12);
        for (size_t i = 1; i < texts.n; i += 2) {
            assert_int_equal(texts.items[i].part, MN_PART_SPAN);
            assert_int_equal(texts.items[i + 1].part, MN_PART_REST);
            assert_true(is_rest(&texts, &texts.items[0], &texts.items[i], &texts.items[i + 1]));
        }
        assert_true(!titled || (texts.items[1].text == text && texts.items[1].size == title));
        mn_training_texts_free(&texts);
    }
    mn_tokenizer_close(tokenizer);
}

static void every_unit_is_in_one_batch_of_an_epoch(void **state)
{
    (void)state;
    enum { UNITS = 1000, MOST = 32, TOKENS = 320 };
    uint32_t lengths[UNITS];
    mn_random random = {4};
    for (int i = 0; i < UNITS; i++) lengths[i] = 1 + (uint32_t)(mn_random_next(&random) % (i % 10 == 0 ? 300 : 30));
    mn_batches a, b;
    assert_ok(mn_batches_new(lengths, UNITS, MOST, TOKENS, 11, &a, test_error()));
    assert_ok(mn_batches_new(lengths, UNITS, MOST, TOKENS, 11, &b, test_error()));
    size_t first[2] = {0};
    for (uint64_t epoch = 0; epoch < 2; epoch++) {
        int seen[UNITS] = {0};
        for (uint64_t i = 0; i < a.n_batches; i++) {
            size_t n = 0, other_n = 0;
            const size_t *units = mn_batches_at(&a, epoch * a.n_batches + i, &n);
            uint32_t longest = 0, shortest = UINT32_MAX;
            for (size_t u = 0; u < n; u++) {
                seen[units[u]]++;
                if (lengths[units[u]] > longest) longest = lengths[units[u]];
                if (lengths[units[u]] < shortest) shortest = lengths[units[u]];
            }
            assert_true(n >= 1 && n <= MOST && (n <= 2 || n * longest <= TOKENS));
            assert_true(longest <= 8 || longest <= shortest + shortest / 2 + 1);
            if (i == 0) first[epoch] = units[0];
            /* Asked out of order, the other list says the same. */
            mn_batches_at(&b, 5 * a.n_batches, &other_n);
            const size_t *others = mn_batches_at(&b, epoch * a.n_batches + i, &other_n);
            assert_int_equal(n, other_n);
            assert_memory_equal(units, others, n * sizeof *units);
        }
        for (int u = 0; u < UNITS; u++) assert_int_equal(seen[u], 1);
    }
    assert_true(first[0] != first[1]);
    mn_batches_free(&a);
    mn_batches_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_equal_their_formulas_and_gradients_finite_differences),
        cmocka_unit_test(a_student_that_equals_its_teacher_has_no_loss),
        cmocka_unit_test(a_text_with_no_other_anchor_than_itself_has_no_ranking),
        cmocka_unit_test(unit_length_has_the_gradient_of_finite_differences),
        cmocka_unit_test(recurrent_encoders_gradients_equal_finite_differences),
        cmocka_unit_test(a_saved_recurrent_encoder_gives_the_vectors_of_training),
        cmocka_unit_test(
            an_encoder_with_its_own_vocabulary_begins_with_its_teachers_rows_and_is_saved_with_its_tokenizer),
        cmocka_unit_test(texts_keep_the_bytes_that_their_tokens_are_of),
        cmocka_unit_test(spans_are_runs_of_whole_words_of_their_passage),
        cmocka_unit_test(a_rest_is_its_passage_without_the_span_before_it),
        cmocka_unit_test(every_unit_is_in_one_batch_of_an_epoch),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
