/* test_language_model.c -- language models of characters: vocabularies, the loss and its gradients, carried states,
 * training below what letter counts alone would give, generation; going on to the same bytes. */
#include "test_support.h"

#include "encoder/gradient_check.h"
#include "encoder/train/lm_folder.h"
#include "encoder/train/lm_generate.h"
#include "encoder/train/lm_train.h"

#include <math.h>

static char *g_folder;

/* ---- vocabulary ------------------------------------------------------------------------------------------------ */

static mneme_lm_text text_of(const char *data)
{
    return (mneme_lm_text){"notes.txt", data, strlen(data)};
}

static void a_vocabulary_is_the_characters_of_the_texts(void **state)
{
    (void)state;
    const mneme_lm_text texts[] = {text_of("baß"), text_of("a€\nb")};
    const uint32_t expected[] = {'\n', 'a', 'b', 0xDF, 0x20AC};
    mn_lm_vocabulary v;
    assert_ok(mn_lm_vocabulary_of(texts, 2, false, &v, test_error()));
    assert_int_equal(v.n, 5);
    assert_memory_equal(v.codepoints, expected, sizeof expected);
    uint32_t *ids;
    size_t n;
    const mneme_lm_text text = text_of("ß€a");
    assert_ok(mn_lm_encode(&v, &text, &ids, &n, test_error()));
    assert_int_equal(n, 3);
    assert_true(ids[0] == 3 && ids[1] == 4 && ids[2] == 1);
    mn_buffer back = {0};
    for (size_t i = 0; i < n; i++) mn_lm_decode(&v, ids[i], &back);
    assert_string_equal(back.data, "ß€a");
    mn_buffer_free(&back);
    mn_free(ids);
    const mneme_lm_text unknown = text_of("abc");
    assert_int_equal(mn_lm_encode(&v, &unknown, &ids, &n, test_error()), MNEME_ERR_USAGE);
    assert_non_null(strstr(test_error()->message, "U+0063 at byte 2"));
    mn_lm_vocabulary_free(&v);
}

static void texts_with_nothing_to_learn_are_refused(void **state)
{
    (void)state;
    mn_lm_vocabulary v;
    const mneme_lm_text bad[] = {text_of(""), text_of("aaaa"), text_of("abc\xC3(def")};
    static const char *const words[] = {"empty", "one character", "notes.txt: byte 3 (0xC3) is not UTF-8"};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(mn_lm_vocabulary_of(&bad[i], 1, false, &v, test_error()), MNEME_ERR_USAGE);
        if (!strstr(test_error()->message, words[i])) fail_msg("%s", test_error()->message);
        mn_lm_vocabulary_free(&v);
    }
    assert_ok(mn_lm_vocabulary_of(&bad[2], 1, true, &v, test_error())); /* bytes are bytes */
    assert_int_equal(v.n, 256);
    assert_int_equal(mn_lm_vocabulary_of(&bad[1], 1, true, &v, test_error()), MNEME_ERR_USAGE);
}

/* ---- the model ------------------------------------------------------------------------------------------------- */

enum { VOCABULARY = 7, SEQUENCES = 3, STEPS = 4, ROWS = SEQUENCES * STEPS };

static const mn_lm_config configs[] = {
    {.cell = MNEME_CELL_LSTM, .layers = 2, .hidden = 5, .steps_back = STEPS, .vocabulary = VOCABULARY},
    {.cell = MNEME_CELL_LSTM, .layers = 1, .hidden = 6, .steps_back = STEPS, .vocabulary = 2 * ROWS, .tied = true},
    {.cell = MNEME_CELL_GRU, .layers = 2, .hidden = 5, .steps_back = STEPS, .vocabulary = VOCABULARY, .tied = true},
    {.cell = MNEME_CELL_TRANSFORMER,
     .layers = 2,
     .hidden = 8,
     .heads = 2,
     .steps_back = STEPS,
     .vocabulary = VOCABULARY},
    {.cell = MNEME_CELL_TRANSFORMER,
     .layers = 1,
     .hidden = 8,
     .heads = 4,
     .steps_back = STEPS,
     .vocabulary = VOCABULARY,
     .tied = true},
};
enum { N_CONFIGS = sizeof configs / sizeof configs[0] };

typedef struct pass {
    mn_language_model *model;
    mn_shard *shard;
    uint32_t ids[ROWS], targets[ROWS];
    mn_lm_input input;
} pass;

static void make_pass(pass *p, const mn_lm_config *config)
{
    assert_ok(mn_language_model_new(config, false, 5, &p->model, test_error()));
    assert_ok(mn_shard_new(&p->model->parameters, &p->shard, test_error()));
    mn_random random = {11};
    for (int i = 0; i < ROWS; i++) {
        p->ids[i] = (uint32_t)(mn_random_next(&random) % config->vocabulary);
        p->targets[i] = (uint32_t)(mn_random_next(&random) % config->vocabulary);
    }
    /* Small Transformers begin so flat that finite differences see little but noise. */
    for (size_t i = 0; i < p->model->parameters.size; i++)
        p->model->parameters.values[i] += 0.3f * mn_random_normal(&random);
    mn_threads *alone;
    assert_ok(mn_threads_new(1, &alone, test_error()));
    mn_parameters_pack(&p->model->parameters, alone);
    mn_threads_free(alone);
    p->input = (mn_lm_input){.n_sequences = SEQUENCES, .n_steps = STEPS, .ids = p->ids};
}

static void free_pass(pass *p)
{
    mn_shard_free(p->shard);
    mn_language_model_free(p->model);
}

static double loss_alone(void *context)
{
    pass *p = context;
    double loss;
    p->shard->training = false;
    mn_room_clear(&p->shard->room);
    assert_ok(mn_lm_loss(p->model, p->shard, &p->input, p->targets, 1, &loss, test_error()));
    return loss / ROWS;
}

static void gradients_are_those_of_finite_differences(void **state)
{
    (void)state;
    mn_threads *threads;
    assert_ok(mn_threads_new(1, &threads, test_error()));
    for (int i = 0; i < N_CONFIGS; i++) {
        pass p;
        double loss;
        make_pass(&p, &configs[i]);
        mn_shard_begin(p.shard, 1, 1, 0);
        p.shard->training = true;
        assert_ok(mn_lm_loss(p.model, p.shard, &p.input, p.targets, 1.0f / ROWS, &loss, test_error()));
        assert_true(fabs(loss / ROWS - loss_alone(&p)) < 1e-6);
        const gradient_check check = {.parameters = &p.model->parameters,
                                      .threads = threads,
                                      .loss = loss_alone,
                                      .context = &p,
                                      .h = 1e-2,
                                      .tolerance = 2e-3,
                                      .most = 60};
        check_parameter_gradients(&check, p.shard);
        free_pass(&p);
    }
    mn_threads_free(threads);
}

/* -log softmax in plain double precision, of the logits that the model gives after each prefix. */
static void the_loss_is_the_cross_entropy_of_the_logits(void **state)
{
    (void)state;
    for (int i = 0; i < N_CONFIGS; i++) {
        pass p;
        make_pass(&p, &configs[i]);
        double expected = 0, loss = loss_alone(&p) * ROWS;
        bool by_step = mn_lm_carries_state(&configs[i]);
        uint32_t v = configs[i].vocabulary;
        for (uint32_t b = 0; b < SEQUENCES; b++)
            for (uint32_t t = 0; t < STEPS; t++) {
                uint32_t prefix[STEPS];
                float logits[2 * ROWS];
                double total = 0;
                for (uint32_t s = 0; s <= t; s++) prefix[s] = p.ids[by_step ? s * SEQUENCES + b : b * STEPS + s];
                const mn_lm_input input = {.n_sequences = 1, .n_steps = t + 1, .ids = prefix};
                mn_room_clear(&p.shard->room);
                assert_ok(mn_lm_logits(p.model, p.shard, &input, logits, test_error()));
                for (uint32_t c = 0; c < v; c++) total += exp((double)logits[c]);
                uint32_t target = p.targets[by_step ? t * SEQUENCES + b : b * STEPS + t];
                expected += log(total) - (double)logits[target];
            }
        if (fabs(loss - expected) > 1e-4 * expected) fail_msg("config %d: loss %g, expected %g", i, loss, expected);
        free_pass(&p);
    }
}

static void a_carried_state_goes_on_where_the_text_was(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) { /* LSTM, GRU */
        pass p;
        make_pass(&p, &configs[i]);
        double whole = loss_alone(&p) * ROWS, halves = 0, cold = 0, loss;
        float *carried = calloc(mn_lm_state_size(&configs[i], SEQUENCES), sizeof *carried);
        for (uint32_t half = 0; half < 2; half++) {
            mn_lm_input input = {.n_sequences = SEQUENCES,
                                 .n_steps = STEPS / 2,
                                 .ids = p.ids + half * ROWS / 2, /* rows lie step by step */
                                 .state = carried};
            mn_room_clear(&p.shard->room);
            assert_ok(mn_lm_loss(p.model, p.shard, &input, p.targets + half * ROWS / 2, 1, &loss, test_error()));
            halves += loss;
            input.state = NULL;
            mn_room_clear(&p.shard->room);
            assert_ok(mn_lm_loss(p.model, p.shard, &input, p.targets + half * ROWS / 2, 1, &loss, test_error()));
            cold += loss;
        }
        assert_true(fabs(whole - halves) < 1e-4);
        assert_true(fabs(whole - cold) > 1e-3); /* it matters */
        free(carried);
        free_pass(&p);
    }
}

/* ---- training -------------------------------------------------------------------------------------------------- */

/* The library's own header: English and C, there in every checkout. */
static mneme_lm_text corpus(void)
{
    static char data[1 << 17];
    static size_t size;
    char path[1100];
    snprintf(path, sizeof path, "%s/include/mneme.h", test_source_dir());
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size = fread(data, 1, sizeof data, file);
    fclose(file);
    return (mneme_lm_text){"mneme.h", data, size};
}

/* Nats for each held-out character by the letter counts of what is learned from (one added to each): what a model that
 * sees no neighbours can reach. */
static double unigram_loss(const mneme_lm_text *text)
{
    double counts[256] = {0}, total = 0, loss = 0;
    size_t n_train = text->size - text->size / 10;
    for (int c = 0; c < 256; c++) total += counts[c] = 1;
    for (size_t i = 0; i < n_train; i++, total++) counts[(unsigned char)text->data[i]]++;
    for (size_t i = n_train; i < text->size; i++) loss -= log(counts[(unsigned char)text->data[i]] / total);
    return loss / (double)(text->size - n_train);
}

typedef struct recipe {
    mneme_lm_text text;
    mneme_train_options train;
    mneme_lm_options lm;
} recipe;

static void make_recipe(recipe *r, mneme_cell cell, uint64_t steps)
{
    r->text = corpus();
    r->train = (mneme_train_options)MNEME_TRAIN_OPTIONS_INIT;
    r->lm = (mneme_lm_options)MNEME_LM_OPTIONS_INIT;
    r->train.steps = steps;
    r->train.learning_rate = cell == MNEME_CELL_TRANSFORMER ? 3e-3 : 1e-2;
    r->train.warm_up = 10;
    r->train.batch = 16;
    r->train.shards = 2;
    r->train.threads = 2;
    r->train.evaluate_every = steps;
    r->train.replace = true;
    r->lm.cell = cell;
    r->lm.hidden = 48;
    r->lm.steps_back = 24;
    r->lm.dropout = 0.1;
    r->lm.texts = &r->text;
    r->lm.n_texts = 1;
    r->lm.train = &r->train;
}

static void training_beats_letter_counts(void **state)
{
    (void)state;
    for (int cell = MNEME_CELL_LSTM; cell <= MNEME_CELL_TRANSFORMER; cell++) {
        recipe r;
        mneme_train_result result;
        make_recipe(&r, (mneme_cell)cell, 200);
        double bound = unigram_loss(&r.text) - 0.3;
        assert_ok(mneme_train_lm(&r.lm, g_folder, &result, test_error()));
        print_message("cell %d: %.3f nats held out; letter counts %.3f\n", cell, result.validation_loss, bound + 0.3);
        assert_true(result.validation_loss < bound);
        assert_true(result.loss < bound + 0.3);
        assert_int_equal(result.steps, 200);
    }
}

/* The held-out loss once more, from the saved folder, character by character with a state that is carried from the
 * text's tenth part on, in one stream instead of many: the two differ by the cold starts of the many alone. */
static void the_evaluation_is_the_loss_of_the_saved_model(void **state)
{
    (void)state;
    recipe r;
    mneme_train_result result;
    make_recipe(&r, MNEME_CELL_LSTM, 60);
    assert_ok(mneme_train_lm(&r.lm, g_folder, &result, test_error()));
    mn_language_model *model;
    mn_lm_vocabulary v;
    mn_shard *shard;
    uint32_t *ids;
    size_t n;
    assert_ok(mn_lm_folder_load(g_folder, &model, &v, test_error()));
    assert_ok(mn_shard_new(&model->parameters, &shard, test_error()));
    assert_ok(mn_lm_encode(&v, &r.text, &ids, &n, test_error()));
    float *carried = calloc(mn_lm_state_size(&model->config, 1), sizeof *carried);
    size_t first = n - n / 10 - 1;
    double loss = 0;
    const mn_lm_input input = {
        .n_sequences = 1, .n_steps = (uint32_t)(n - 1 - first), .ids = ids + first, .state = carried};
    assert_ok(mn_lm_loss(model, shard, &input, ids + first + 1, 1, &loss, test_error()));
    loss /= (double)(n - 1 - first);
    if (fabs(loss - result.best_loss) > 0.02) fail_msg("%g, expected about %g", result.best_loss, loss);
    free(carried);
    mn_free(ids);
    mn_shard_free(shard);
    mn_language_model_free(model);
    mn_lm_vocabulary_free(&v);
}

static char *contents(const char *name, size_t *size)
{
    char path[1100], *bytes = malloc(1 << 20);
    snprintf(path, sizeof path, "%s/%s", g_folder, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    *size = fread(bytes, 1, 1 << 20, file);
    fclose(file);
    return bytes;
}

static bool stop_at_ten(void *context, const mneme_train_progress *progress)
{
    (void)context;
    return progress->step != 10;
}

static void ten_steps_and_ten_more_are_twenty(void **state)
{
    (void)state;
    static const char *const files[] = {"training.safetensors", "model.safetensors", "config.json"};
    for (int cell = MNEME_CELL_LSTM; cell <= MNEME_CELL_TRANSFORMER; cell++) {
        recipe r;
        char *bytes[3];
        size_t sizes[3], size;
        mneme_train_result result;
        make_recipe(&r, (mneme_cell)cell, 20);
        r.lm.hidden = 16;
        assert_ok(mneme_train_lm(&r.lm, g_folder, NULL, test_error()));
        for (int i = 0; i < 3; i++) bytes[i] = contents(files[i], &sizes[i]);
        for (uint32_t threads = 1; threads <= 2; threads++) {
            r.train.watch = stop_at_ten;
            r.train.threads = threads;
            r.train.replace = true;
            r.train.resume = false;
            assert_ok(mneme_train_lm(&r.lm, g_folder, &result, test_error()));
            assert_true(result.cancelled && result.steps == 10);
            r.train.watch = NULL;
            r.train.threads = 3 - threads;
            r.train.replace = false;
            r.train.resume = true;
            assert_ok(mneme_train_lm(&r.lm, g_folder, &result, test_error()));
            assert_int_equal(result.steps, 20);
            for (int i = 0; i < 3; i++) {
                char *now = contents(files[i], &size);
                assert_int_equal(size, sizes[i]);
                assert_memory_equal(now, bytes[i], size);
                free(now);
            }
        }
        r.text.size -= 1; /* another text */
        assert_int_equal(mneme_train_lm(&r.lm, g_folder, &result, test_error()), MNEME_ERR_USAGE);
        assert_non_null(strstr(test_error()->message, "texts"));
        for (int i = 0; i < 3; i++) free(bytes[i]);
    }
}

static void what_cannot_be_trained_is_refused(void **state)
{
    (void)state;
    for (int i = 0; i < 9; i++) {
        recipe r;
        make_recipe(&r, i == 5 ? MNEME_CELL_TRANSFORMER : MNEME_CELL_LSTM, 20);
        if (i == 0) r.lm.layers = 0;
        if (i == 1) r.lm.dropout = 1;
        if (i == 2) r.text.size = 100;
        if (i == 3) r.train.learning_rate = -1;
        if (i == 4) r.train.shards = 17; /* of 16 sequences */
        if (i == 5) r.lm.heads = 5;
        if (i == 6) r.lm.n_texts = 0;
        if (i == 7) r.lm.hidden = 1 << 20;
        if (i == 8) r.lm.cell = MNEME_CELL_STATIC; /* has no next character to tell */
        assert_int_equal(mneme_train_lm(&r.lm, g_folder, NULL, test_error()), MNEME_ERR_USAGE);
        print_message("%s\n", test_error()->message);
    }
    assert_int_equal(mneme_train_lm(NULL, g_folder, NULL, test_error()), MNEME_ERR_USAGE);
}

/* ---- generation ------------------------------------------------------------------------------------------------ */

static void samples_follow_the_softmax(void **state)
{
    (void)state;
    /* Temperature 0.5: weights 4^2, 2^2, 1, 1 of 22. */
    const float given[] = {logf(1), logf(4), logf(2), logf(1)};
    const double expected[] = {1.0 / 22, 16.0 / 22, 4.0 / 22, 1.0 / 22}, of_two[] = {0, 16.0 / 20, 4.0 / 20, 0};
    enum { TIMES = 20000 };
    for (uint32_t top_k = 0; top_k <= 2; top_k += 2) {
        unsigned counts[4] = {0};
        mn_random random = {3};
        for (int i = 0; i < TIMES; i++) {
            float logits[4];
            memcpy(logits, given, sizeof logits);
            counts[mn_lm_sample(logits, 4, 0.5, top_k, &random)]++;
        }
        for (int c = 0; c < 4; c++) {
            double wanted = (top_k ? of_two : expected)[c];
            assert_true(fabs((double)counts[c] / TIMES - wanted) <= 4 * sqrt(wanted * (1 - wanted) / TIMES));
        }
    }
    mn_random random = {3};
    float equal[] = {1, 1, 1, 1}, logits[4];
    for (int i = 0; i < 100; i++) { /* of equals the first two */
        memcpy(logits, equal, sizeof logits);
        assert_true(mn_lm_sample(logits, 4, 1, 2, &random) < 2);
    }
    memcpy(logits, given, sizeof logits);
    assert_int_equal(mn_lm_sample(logits, 4, 0, 0, &random), 1);
}

static void a_seed_writes_its_text_again(void **state)
{
    (void)state;
    for (int cell = MNEME_CELL_LSTM; cell <= MNEME_CELL_TRANSFORMER; cell++) {
        recipe r;
        mneme_lm *lm;
        mneme_lm_output *a, *b, *c;
        make_recipe(&r, (mneme_cell)cell, 20);
        assert_ok(mneme_train_lm(&r.lm, g_folder, NULL, test_error()));
        assert_ok(mneme_lm_open(g_folder, &lm, test_error()));
        mneme_lm_info info = mneme_lm_get_info(lm);
        assert_true(info.cell == (mneme_cell)cell && info.layers == 2 && info.hidden == 48 && info.steps_back == 24);
        mneme_lm_generate_options o = MNEME_LM_GENERATE_OPTIONS_INIT;
        o.length = 200;
        assert_ok(mneme_lm_generate(lm, "typedef ", 8, &o, &a, test_error()));
        assert_ok(mneme_lm_generate(lm, "typedef ", 8, &o, &b, test_error()));
        o.seed = 2;
        assert_ok(mneme_lm_generate(lm, "typedef ", 8, &o, &c, test_error()));
        assert_int_equal(a->size, 200);
        assert_string_equal(a->text, b->text);
        assert_true(strcmp(a->text, c->text) != 0);
        mneme_lm_output_free(c);
        assert_int_equal(mneme_lm_generate(lm, "a\xE2\x82\xAC", 4, &o, &c, test_error()), MNEME_ERR_USAGE);
        assert_non_null(strstr(test_error()->message, "U+20AC at byte 1"));
        o.temperature = -1;
        assert_int_equal(mneme_lm_generate(lm, "a", 1, &o, &c, test_error()), MNEME_ERR_USAGE);
        assert_null(c);
        mneme_lm_output_free(a);
        mneme_lm_output_free(b);
        mneme_lm_close(lm);
    }
}

/* With temperature 0, each character is the likeliest after the whole text before it, read anew from a zero state. */
static void a_state_that_is_carried_writes_what_reading_anew_would(void **state)
{
    (void)state;
    for (int cell = MNEME_CELL_LSTM; cell <= MNEME_CELL_TRANSFORMER; cell++) {
        recipe r;
        mneme_lm *lm;
        mneme_lm_output *out;
        mn_language_model *model;
        mn_lm_vocabulary v;
        mn_shard *shard;
        uint32_t ids[64];
        float logits[256];
        make_recipe(&r, (mneme_cell)cell, 40);
        assert_ok(mneme_train_lm(&r.lm, g_folder, NULL, test_error()));
        assert_ok(mneme_lm_open(g_folder, &lm, test_error()));
        mneme_lm_generate_options o = MNEME_LM_GENERATE_OPTIONS_INIT;
        o.temperature = 0;
        o.length = 40;
        assert_ok(mneme_lm_generate(lm, "the", 3, &o, &out, test_error()));
        assert_ok(mn_lm_folder_load(g_folder, &model, &v, test_error()));
        assert_ok(mn_shard_new(&model->parameters, &shard, test_error()));
        const char *prompt = "the";
        for (uint32_t i = 0; i < 3; i++) assert_true(mn_lm_find(&v, (uint32_t)prompt[i], &ids[i]));
        for (uint32_t i = 0; i < o.length; i++) {
            uint32_t n = 3 + i, sees = cell == MNEME_CELL_TRANSFORMER && n > 24 ? 24 : n, best = 0;
            const mn_lm_input input = {.n_sequences = 1, .n_steps = sees, .ids = ids + n - sees};
            mn_room_clear(&shard->room);
            assert_ok(mn_lm_logits(model, shard, &input, logits, test_error()));
            for (uint32_t c = 1; c < v.n; c++)
                if (logits[c] > logits[best]) best = c;
            assert_int_equal(v.codepoints[best], out->text[i]);
            ids[n] = best;
        }
        mneme_lm_output_free(out);
        mneme_lm_close(lm);
        mn_shard_free(shard);
        mn_language_model_free(model);
        mn_lm_vocabulary_free(&v);
    }
}

static void a_damaged_folder_is_named(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "{",
                                      "[]",
                                      "{\"model_type\": \"bert\"}",
                                      "{\"model_type\": \"mneme-language-model\", \"cell\": \"rnn\"}",
                                      "{\"model_type\": \"mneme-language-model\", \"cell\": \"lstm\", \"layers\": -1}",
                                      "{\"model_type\": \"mneme-language-model\", \"cell\": \"lstm\", \"layers\": 2, "
                                      "\"hidden\": 48, \"heads\": 4, \"steps_back\": 24, \"characters\": [9, 7]}",
                                      "{\"model_type\": \"mneme-language-model\", \"cell\": \"lstm\", \"layers\": 2, "
                                      "\"hidden\": 0, \"heads\": 4, \"steps_back\": 24, \"characters\": [7, 9]}",
                                      "{\"model_type\": \"mneme-language-model\", \"cell\": \"lstm\", \"layers\": 2, "
                                      "\"hidden\": 48, \"heads\": 4, \"steps_back\": 24, \"characters\": [7, 9]}"};
    recipe r;
    char path[1100];
    make_recipe(&r, MNEME_CELL_LSTM, 1);
    assert_ok(mneme_train_lm(&r.lm, g_folder, NULL, test_error()));
    snprintf(path, sizeof path, "%s/config.json", g_folder);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        mneme_lm *lm;
        FILE *file = fopen(path, "w");
        fputs(bad[i], file);
        fclose(file);
        assert_int_equal(mneme_lm_open(g_folder, &lm, test_error()), MNEME_ERR_MODEL);
        assert_null(lm);
        assert_non_null(strstr(test_error()->message, g_folder));
        print_message("%s\n", test_error()->message);
    }
}

static void every_allocation_that_fails_is_an_error(void **state)
{
    (void)state;
    for (int cell = MNEME_CELL_LSTM; cell <= MNEME_CELL_TRANSFORMER; cell += 2) {
        recipe r;
        make_recipe(&r, (mneme_cell)cell, 1);
        r.text.size = 1000;
        r.lm.hidden = 4;
        r.lm.layers = 1;
        r.train.batch = 2;
        r.train.shards = r.train.threads = 1;
        r.train.replace = true;
        size_t n_failed = 0;
        for (size_t n = 1;; n += 1 + n / 50) { /* all of the first, a sample of those of steps */
            mn_alloc_fail_after(n);
            mneme_status status = mneme_train_lm(&r.lm, g_folder, NULL, NULL);
            mn_alloc_fail_after(0);
            if (status == MNEME_OK) break;
            assert_int_equal(status, MNEME_ERR_MEMORY);
            n_failed++;
        }
        assert_true(n_failed > 30);
        assert_ok(mneme_train_lm(&r.lm, g_folder, NULL, test_error()));
        for (size_t n = 1;; n++) {
            mneme_lm *lm = NULL;
            mneme_lm_output *out = NULL;
            mn_alloc_fail_after(n);
            mneme_status status = mneme_lm_open(g_folder, &lm, NULL);
            if (status == MNEME_OK) status = mneme_lm_generate(lm, "t", 1, NULL, &out, NULL);
            mn_alloc_fail_after(0);
            mneme_lm_output_free(out);
            mneme_lm_close(lm);
            if (status == MNEME_OK) break;
            assert_int_equal(status, MNEME_ERR_MEMORY);
        }
    }
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
        cmocka_unit_test(a_vocabulary_is_the_characters_of_the_texts),
        cmocka_unit_test(texts_with_nothing_to_learn_are_refused),
        cmocka_unit_test(gradients_are_those_of_finite_differences),
        cmocka_unit_test(the_loss_is_the_cross_entropy_of_the_logits),
        cmocka_unit_test(a_carried_state_goes_on_where_the_text_was),
        cmocka_unit_test(training_beats_letter_counts),
        cmocka_unit_test(the_evaluation_is_the_loss_of_the_saved_model),
        cmocka_unit_test(ten_steps_and_ten_more_are_twenty),
        cmocka_unit_test(what_cannot_be_trained_is_refused),
        cmocka_unit_test(samples_follow_the_softmax),
        cmocka_unit_test(a_seed_writes_its_text_again),
        cmocka_unit_test(a_state_that_is_carried_writes_what_reading_anew_would),
        cmocka_unit_test(a_damaged_folder_is_named),
        cmocka_unit_test(every_allocation_that_fails_is_an_error),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
