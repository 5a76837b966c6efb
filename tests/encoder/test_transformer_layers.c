/* test_transformer_layers.c -- the layers of a Transformer: outputs and gradients against PyTorch's (stored,
 * make_transformer_cases.py), and every gradient against finite differences: odd shapes, ragged and empty sequences,
 * causal, cross, with dropout, tied. */
#include "test_support.h"

#include "encoder/gradient_check.h"
#include "encoder/train/embedding.h"
#include "encoder/train/transformer_block.h"

#include <jansson.h>
#include <math.h>

static mn_train_arithmetic g_kinds[4];
static size_t g_n_kinds;
static mn_threads *g_threads;

static int fill_kinds(void **state)
{
    (void)state;
    g_kinds[g_n_kinds++] = mn_train_arithmetic_for(false, MN_CPU_GENERIC, true);
    for (mn_cpu_level level = MN_CPU_AVX2; level <= mn_cpu_detect() && g_n_kinds < 4; level++)
        g_kinds[g_n_kinds++] = mn_train_arithmetic_for(false, level, false);
    return mn_threads_new(2, &g_threads, NULL) == MNEME_OK ? 0 : -1;
}

static int free_threads(void **state)
{
    (void)state;
    mn_threads_free(g_threads);
    return 0;
}

/* ---- numbers, as in make_transformer_cases.py ------------------------------------------------------------------- */

static uint32_t crc32_of(const char *text)
{
    uint32_t crc = UINT32_MAX;
    for (; *text; text++) {
        crc ^= (unsigned char)*text;
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    return ~crc;
}

static void fill_into(float *values, const char *name, size_t n, double scale, double centre)
{
    uint64_t key = crc32_of(name) % 100003;
    for (size_t i = 0; i < n; i++)
        values[i] = (float)(((double)((i * 7919 + key) * 31 % 2003) - 1001) / 1001.0 * scale + centre);
}

static float *filled(const char *name, size_t n, double scale)
{
    float *values = malloc(n * sizeof *values + 64);
    fill_into(values, name, n, scale, 0);
    return values;
}

static void set_parameters(mn_parameters *set)
{
    for (size_t i = 0; i < set->n; i++) {
        mn_parameter *p = set->items[i];
        size_t n = (size_t)p->options.rows * p->options.columns;
        bool gain = strstr(p->name, "LayerNorm.weight") != NULL;
        fill_into(p->value, p->name, n, gain ? 0.5 : 0.4, gain ? 1 : 0);
    }
    mn_parameters_pack(set, g_threads);
}

/* ---- one block -------------------------------------------------------------------------------------------------- */

typedef struct block_case {
    mn_transformer_options options;
    mn_parameters set;
    mn_transformer_block block;
    mn_shard *shard, *probe; /* of the gradients; of the finite differences */
    bool training;
    uint32_t offsets[16], memory_offsets[16];
    mn_sequences sequences, memory_sequences;
    float *x, *memory, *factors, *y, *dx, *d_memory;
    mn_transformer_saved saved;
} block_case;

static uint32_t memory_width(const block_case *c)
{
    return c->options.memory_width ? c->options.memory_width : c->options.hidden;
}

static size_t x_size(const block_case *c)
{
    return (size_t)mn_sequences_rows(&c->sequences) * c->options.hidden;
}

static size_t memory_size(const block_case *c)
{
    return (size_t)mn_sequences_rows(&c->memory_sequences) * memory_width(c);
}

static void add_lengths(const uint32_t *lengths, uint32_t n, uint32_t *offsets, mn_sequences *sequences)
{
    for (uint32_t i = 0; i < n; i++) offsets[i + 1] = offsets[i] + lengths[i];
    *sequences = (mn_sequences){.offsets = offsets, .n = n};
}

static void open_block(block_case *c, const mn_train_arithmetic *kind)
{
    c->set.arithmetic = kind;
    assert_ok(mn_transformer_block_add(&c->set, "", &c->options, &c->block, test_error()));
    for (size_t i = 0; i < c->set.n; i++) c->set.items[i]->name++; /* ".attention..." */
    assert_ok(mn_parameters_ready(&c->set, 1, test_error()));
    set_parameters(&c->set);
    assert_ok(mn_shard_new(&c->set, &c->shard, test_error()));
    assert_ok(mn_shard_new(&c->set, &c->probe, test_error()));
    c->x = filled("x", x_size(c), 1.5);
    c->factors = filled("factors", x_size(c), 1);
    c->y = filled("", x_size(c), 0);
    c->dx = filled("", x_size(c), 0);
    if (c->options.crosses) {
        c->memory = filled("memory", memory_size(c), 1.5);
        c->d_memory = filled("", memory_size(c), 0);
    }
}

static void close_block(block_case *c)
{
    mn_shard_free(c->shard);
    mn_shard_free(c->probe);
    mn_parameters_free(&c->set);
    free(c->x), free(c->memory), free(c->factors), free(c->y), free(c->dx), free(c->d_memory);
}

static void run_forward(block_case *c, mn_shard *shard)
{
    const mn_attention_input input = {
        .x = c->x, .sequences = c->sequences, .memory = c->memory, .memory_sequences = c->memory_sequences};
    mn_shard_begin(shard, 1, 1, 1);
    shard->training = c->training;
    assert_ok(mn_transformer_block_forward(&c->block, shard, &input, c->y, &c->saved, test_error()));
}

static void run_backward(block_case *c)
{
    run_forward(c, c->shard);
    assert_ok(
        mn_transformer_block_backward(&c->block, c->shard, &c->saved, c->factors, c->dx, c->d_memory, test_error()));
}

/* The sum of the outputs times their factors; run anew. */
static double block_loss(void *context)
{
    block_case *c = context;
    double loss = 0;
    run_forward(c, c->probe);
    for (size_t i = 0; i < x_size(c); i++) loss += (double)c->y[i] * (double)c->factors[i];
    return loss;
}

static void check_block(block_case c, const mn_train_arithmetic *kind)
{
    open_block(&c, kind);
    run_backward(&c);
    const gradient_check check = {.parameters = &c.set,
                                  .threads = g_threads,
                                  .loss = block_loss,
                                  .context = &c,
                                  .h = 5e-3,
                                  .tolerance = 2e-3,
                                  .most = 40};
    check_parameter_gradients(&check, c.shard);
    check_array_gradient(&check, "x", c.x, c.dx, x_size(&c));
    if (c.memory) check_array_gradient(&check, "memory", c.memory, c.d_memory, memory_size(&c));
    close_block(&c);
}

static void block_gradients_equal_finite_differences(void **state)
{
    (void)state;
    static const uint32_t lengths[] = {5, 0, 1, 9}, memory_lengths[] = {3, 2, 7, 4}, gaps[] = {3, 2, 0, 4};
    block_case c = {.options = {.hidden = 6, .n_heads = 2, .intermediate = 7, .epsilon = 1e-5f}};
    add_lengths(lengths, 4, c.offsets, &c.sequences);
    for (size_t kind = 0; kind < g_n_kinds; kind++)
        for (int form = 0; form < 8; form++) {
            block_case own = c;
            own.sequences.offsets = own.offsets;
            own.options.norm_first = form & 1;
            own.options.causal = form & 2;
            own.options.crosses = form & 4;
            own.options.activation = form & 1 ? MN_BLOCK_GELU : MN_BLOCK_GELU_TANH;
            own.options.memory_width = form == 7 ? 5 : 0;
            own.training = form >= 6; /* with dropout: the masks repeat, as each run begins anew */
            own.options.dropout = form >= 6 ? 0.3f : 0;
            add_lengths(form == 5 ? gaps : memory_lengths, 4, own.memory_offsets, &own.memory_sequences);
            check_block(own, &g_kinds[kind]);
        }
}

/* Longer than a tile of any kernel, more heads, a width that is no multiple of a vector. */
static void gradients_of_long_sequences_equal_finite_differences(void **state)
{
    (void)state;
    static const uint32_t lengths[] = {37, 50};
    block_case c = {.options = {.hidden = 15, .n_heads = 3, .intermediate = 21, .causal = true, .epsilon = 1e-5f}};
    add_lengths(lengths, 2, c.offsets, &c.sequences);
    open_block(&c, &g_kinds[g_n_kinds - 1]);
    run_backward(&c);
    gradient_check check = {.loss = block_loss, .context = &c, .h = 2e-2, .tolerance = 4e-3, .most = 40};
    check_array_gradient(&check, "x", c.x, c.dx, x_size(&c));
    mn_parameter *key = mn_parameters_find(&c.set, "attention.self.key.weight");
    check.parameters = &c.set;
    check.threads = g_threads;
    float gradient[15 * 15];
    memcpy(gradient, mn_gradient_of(c.shard, key), sizeof gradient);
    check_array_gradient(&check, key->name, key->value, gradient, 15 * 15);
    close_block(&c);
}

/* ---- PyTorch's -------------------------------------------------------------------------------------------------- */

static uint32_t number(const json_t *object, const char *key)
{
    return (uint32_t)json_integer_value(json_object_get(object, key));
}

static void read_lengths(const json_t *array, uint32_t *offsets, mn_sequences *sequences)
{
    uint32_t lengths[15];
    size_t n = json_array_size(array);
    for (size_t i = 0; i < n; i++) lengths[i] = (uint32_t)json_integer_value(json_array_get(array, i));
    add_lengths(lengths, (uint32_t)n, offsets, sequences);
}

static mn_block_activation activation_of(const json_t *stored)
{
    const char *name = json_string_value(json_object_get(stored, "activation"));
    return strcmp(name, "relu") == 0 ? MN_BLOCK_RELU : strcmp(name, "gelu") == 0 ? MN_BLOCK_GELU : MN_BLOCK_GELU_TANH;
}

static double compare(const json_t *stored, const char *name, const float *values, size_t n, double tolerance)
{
    const json_t *expected = json_object_get(json_object_get(stored, "results"), name);
    double largest = 0;
    if (json_array_size(expected) != n) fail_msg("%s: %zu numbers for %zu", name, n, json_array_size(expected));
    for (size_t i = 0; i < n; i++) {
        double e = json_number_value(json_array_get(expected, i)), difference = fabs((double)values[i] - e);
        if (!(difference <= tolerance * (1 + fabs(e))))
            fail_msg("%s, %s[%zu]: %.7g, PyTorch has %.7g", json_string_value(json_object_get(stored, "name")), name, i,
                     (double)values[i], e);
        largest = fmax(largest, difference / (1 + fabs(e)));
    }
    return largest;
}

static void check_stored(const json_t *stored, const mn_train_arithmetic *kind)
{
    block_case c = {.options = {.hidden = number(stored, "hidden"),
                                .n_heads = number(stored, "n_heads"),
                                .intermediate = number(stored, "intermediate"),
                                .norm_first = json_is_true(json_object_get(stored, "norm_first")),
                                .causal = json_is_true(json_object_get(stored, "causal")),
                                .crosses = json_is_true(json_object_get(stored, "crosses")),
                                .activation = activation_of(stored),
                                .epsilon = 1e-5f}};
    read_lengths(json_object_get(stored, "lengths"), c.offsets, &c.sequences);
    read_lengths(json_object_get(stored, "memory_lengths"), c.memory_offsets, &c.memory_sequences);
    open_block(&c, kind);
    run_backward(&c);
    double tolerance = strcmp(kind->name, "f32") == 0 ? 2e-5 : 0.02; /* bf16: 8 bits, through some products */
    double largest =
        fmax(compare(stored, "y", c.y, x_size(&c), tolerance), compare(stored, "dx", c.dx, x_size(&c), tolerance));
    if (c.memory) largest = fmax(largest, compare(stored, "d_memory", c.d_memory, memory_size(&c), tolerance));
    for (size_t i = 0; i < c.set.n; i++) {
        const mn_parameter *p = c.set.items[i];
        size_t n = (size_t)p->options.rows * p->options.columns;
        largest = fmax(largest, compare(stored, p->name, mn_gradient_of(c.shard, p), n, tolerance));
    }
    print_message("%s, %s, %s: largest difference %.2g\n", json_string_value(json_object_get(stored, "name")),
                  kind->name, kind->train_kernels->name, largest);
    close_block(&c);
}

static void blocks_equal_pytorchs(void **state)
{
    (void)state;
    char path[1024];
    snprintf(path, sizeof path, "%s/tests/data/transformer_cases.json", test_source_dir());
    json_t *file = json_load_file(path, 0, NULL), *stored;
    assert_non_null(file);
    size_t i;
    assert_int_equal(json_array_size(json_object_get(file, "cases")), 4);
    json_array_foreach(json_object_get(file, "cases"), i, stored)
    {
        for (size_t kind = 0; kind < g_n_kinds; kind++) check_stored(stored, &g_kinds[kind]);
        const mn_train_arithmetic bf16 = mn_train_arithmetic_for(true, MN_CPU_AMX, false);
        check_stored(stored, &bf16);
    }
    json_decref(file);
}

/* ---- what a block does not let through -------------------------------------------------------------------------- */

static void causal_rows_do_not_see_later_ones(void **state)
{
    (void)state;
    static const uint32_t lengths[] = {6, 5};
    block_case c = {
        .options = {
            .hidden = 6, .n_heads = 3, .intermediate = 8, .causal = true, .norm_first = true, .epsilon = 1e-5f}};
    add_lengths(lengths, 2, c.offsets, &c.sequences);
    open_block(&c, &g_kinds[g_n_kinds - 1]);
    run_forward(&c, c.probe);
    float before[11 * 6];
    memcpy(before, c.y, sizeof before);
    for (size_t i = 3 * 6; i < 6 * 6; i++) c.x[i] += 1; /* the second half of the first sequence */
    run_forward(&c, c.probe);
    assert_memory_equal(before, c.y, 3 * 6 * sizeof(float));
    for (size_t row = 3; row < 6; row++) assert_memory_not_equal(before + row * 6, c.y + row * 6, 6 * sizeof(float));
    assert_memory_equal(before + 6 * 6, c.y + 6 * 6, 5 * 6 * sizeof(float));
    close_block(&c);
}

static void dropout_is_for_training_alone(void **state)
{
    (void)state;
    static const uint32_t lengths[] = {4};
    block_case c = {.options = {.hidden = 4, .n_heads = 1, .intermediate = 4, .dropout = 0.5f, .epsilon = 1e-5f}};
    add_lengths(lengths, 1, c.offsets, &c.sequences);
    open_block(&c, &g_kinds[0]);
    double plain = block_loss(&c);
    c.block.options.dropout = c.block.attention.options.dropout = 0;
    assert_true(block_loss(&c) == plain);
    c.block.options.dropout = c.block.attention.options.dropout = 0.5f;
    c.training = true;
    assert_true(fabs(block_loss(&c) - plain) > 1e-3);
    close_block(&c);
}

static mneme_status run_once(block_case *c)
{
    const mn_attention_input input = {
        .x = c->x, .sequences = c->sequences, .memory = c->memory, .memory_sequences = c->memory_sequences};
    mn_shard *shard = NULL;
    mneme_status status = mn_shard_new(&c->set, &shard, NULL);
    if (status == MNEME_OK) {
        mn_shard_begin(shard, 1, 1, 1);
        status = mn_transformer_block_forward(&c->block, shard, &input, c->y, &c->saved, NULL);
    }
    if (status == MNEME_OK)
        status = mn_transformer_block_backward(&c->block, shard, &c->saved, c->factors, c->dx, c->d_memory, NULL);
    mn_shard_free(shard);
    return status;
}

static void every_allocation_that_fails_is_told(void **state)
{
    (void)state;
    static const uint32_t lengths[] = {700}, memory_lengths[] = {400}; /* more than one block of room */
    block_case c = {.options = {.hidden = 16, .n_heads = 2, .intermediate = 64, .crosses = true, .epsilon = 1e-5f}};
    add_lengths(lengths, 1, c.offsets, &c.sequences);
    add_lengths(memory_lengths, 1, c.memory_offsets, &c.memory_sequences);
    open_block(&c, &g_kinds[g_n_kinds - 1]);
    size_t n = 1;
    for (mneme_status status = MNEME_ERR_MEMORY; status != MNEME_OK; n++) {
        mn_alloc_fail_after(n);
        status = run_once(&c);
        mn_alloc_fail_after(0);
        assert_true(status == MNEME_OK || status == MNEME_ERR_MEMORY);
        assert_true(n < 1000);
    }
    assert_true(n > 5);
    close_block(&c);
}

/* ---- embeddings ------------------------------------------------------------------------------------------------- */

enum { VOCABULARY = 11, WIDTH = 5, PLACES = 6, TOKENS = 9 };

/* Look up, add positions, and score every token of the vocabulary with the same table. */
typedef struct tied_case {
    mn_parameters set;
    mn_embedding embedding;
    mn_positions positions;
    mn_dense output;
    mn_shard *shard, *probe;
    float x[TOKENS * WIDTH + 16], logits[TOKENS * VOCABULARY], dx[TOKENS * WIDTH];
} tied_case;

static const uint32_t token_ids[TOKENS] = {3, 0, 3, 10, 7, 7, 3, 1, 5}; /* some twice */
static const uint32_t next_ids[TOKENS] = {0, 3, 10, 7, 7, 3, 1, 5, 99}; /* the last counts nothing */
static const uint32_t token_offsets[] = {0, 6, 9};
static const mn_sequences token_sequences = {token_offsets, 2};

static double tied_forward(tied_case *c, mn_shard *shard)
{
    mn_shard_begin(shard, 1, 1, 1);
    mn_embedding_forward(&c->embedding, token_ids, TOKENS, c->x);
    mn_positions_forward(&c->positions, &token_sequences, c->x);
    assert_ok(mn_dense_forward(&c->output, shard, c->x, TOKENS, c->logits, test_error()));
    return shard->arithmetic->train_kernels->cross_entropy(c->logits, TOKENS, VOCABULARY, next_ids, 1.0f);
}

static double tied_loss(void *context)
{
    tied_case *c = context;
    return tied_forward(c, c->probe);
}

static void tied_embeddings_gather_the_gradients_of_both_uses(void **state)
{
    (void)state;
    tied_case c = {.set = {.arithmetic = &g_kinds[g_n_kinds - 1]}};
    const mn_embedding_options options = {.n_rows = VOCABULARY, .width = WIDTH, .deviation = 1, .tied = true};
    assert_ok(mn_embedding_add(&c.set, "tokens", &options, &c.embedding, test_error()));
    assert_ok(mn_positions_add(&c.set, "places", PLACES, WIDTH, 1, &c.positions, test_error()));
    assert_ok(mn_embedding_output(&c.set, &c.embedding, "bias", &c.output, test_error()));
    assert_ok(mn_parameters_ready(&c.set, 3, test_error()));
    mn_parameters_pack(&c.set, g_threads);
    assert_ok(mn_shard_new(&c.set, &c.shard, test_error()));
    assert_ok(mn_shard_new(&c.set, &c.probe, test_error()));
    tied_forward(&c, c.shard);
    assert_ok(mn_dense_backward(&c.output, c.shard, c.x, c.logits, TOKENS, c.dx, test_error()));
    mn_positions_backward(&c.positions, c.shard, &token_sequences, c.dx);
    assert_ok(mn_embedding_backward(&c.embedding, c.shard, token_ids, TOKENS, c.dx, test_error()));
    const gradient_check check = {
        .parameters = &c.set, .threads = g_threads, .loss = tied_loss, .context = &c, .h = 1e-2, .tolerance = 1e-3};
    check_parameter_gradients(&check, c.shard);
    mn_shard_free(c.shard);
    mn_shard_free(c.probe);
    mn_parameters_free(&c.set);
}

static void sparse_and_dense_tables_have_the_same_gradient(void **state)
{
    (void)state;
    float dense[VOCABULARY * WIDTH] = {0}, sparse[VOCABULARY * WIDTH] = {0}, *dy = filled("dy", TOKENS * WIDTH, 1);
    for (int form = 0; form < 2; form++) {
        mn_parameters set = {.arithmetic = &g_kinds[0]};
        mn_embedding embedding;
        mn_shard *shard;
        const mn_embedding_options options = {.n_rows = VOCABULARY, .width = WIDTH, .deviation = 1, .sparse = form};
        assert_ok(mn_embedding_add(&set, "tokens", &options, &embedding, test_error()));
        assert_ok(mn_parameters_ready(&set, 3, test_error()));
        assert_ok(mn_shard_new(&set, &shard, test_error()));
        mn_shard_begin(shard, 1, 1, 1);
        assert_ok(mn_embedding_backward(&embedding, shard, token_ids, TOKENS, dy, test_error()));
        if (!form) memcpy(dense, mn_gradient_of(shard, embedding.table), sizeof dense);
        for (const mn_sparse_gradient *g = shard->sparse; g; g = g->next)
            for (size_t i = 0; i < g->n * WIDTH; i++) sparse[g->ids[i / WIDTH] * WIDTH + i % WIDTH] += g->rows[i];
        mn_shard_free(shard);
        mn_parameters_free(&set);
    }
    for (size_t i = 0; i < VOCABULARY * WIDTH; i++) assert_float_equal(dense[i], sparse[i], 1e-6);
    assert_float_equal(dense[3 * WIDTH], dy[0] + dy[2 * WIDTH] + dy[6 * WIDTH], 1e-6);
    free(dy);
}

static void fixed_positions_are_waves(void **state)
{
    (void)state;
    mn_parameters set = {.arithmetic = &g_kinds[0]};
    mn_positions positions;
    assert_ok(mn_positions_fixed(&set, 3, 4, &positions, test_error()));
    const float expected[3][4] = {{0, 1, 0, 1}, /* sine and cosine of 1, 1/100; 2, 2/100 */
                                  {0.84147098f, 0.54030231f, 0.00999983f, 0.99995f},
                                  {0.90929743f, -0.41614684f, 0.01999867f, 0.99980001f}};
    float x[3][4] = {{0}};
    const uint32_t offsets[] = {0, 3};
    const mn_sequences one = {offsets, 1};
    mn_positions_forward(&positions, &one, &x[0][0]);
    for (int i = 0; i < 12; i++) assert_float_equal(x[i / 4][i % 4], expected[i / 4][i % 4], 1e-6);
    mn_parameters_free(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(block_gradients_equal_finite_differences),
                                       cmocka_unit_test(gradients_of_long_sequences_equal_finite_differences),
                                       cmocka_unit_test(blocks_equal_pytorchs),
                                       cmocka_unit_test(causal_rows_do_not_see_later_ones),
                                       cmocka_unit_test(dropout_is_for_training_alone),
                                       cmocka_unit_test(every_allocation_that_fails_is_told),
                                       cmocka_unit_test(tied_embeddings_gather_the_gradients_of_both_uses),
                                       cmocka_unit_test(sparse_and_dense_tables_have_the_same_gradient),
                                       cmocka_unit_test(fixed_positions_are_waves)};
    return cmocka_run_group_tests(tests, fill_kinds, free_threads);
}
