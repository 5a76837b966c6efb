/* lm_generate.c -- see lm_generate.h. */
#include "encoder/train/lm_generate.h"

#include <math.h>
#include <string.h>

typedef struct writer {
    const mn_language_model *model;
    mn_shard *shard;
    float *state, *logits;
    uint32_t *ids; /* Transformer: what it sees, the newest last */
    uint32_t n_ids;
} writer;

/* ---- the choice ------------------------------------------------------------------------------------------------ */

static uint32_t likeliest(const float *logits, uint32_t n)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

/* -infinity for all but the k likeliest: k times the best of the rest, for k and n are small. */
static void keep_likeliest(float *logits, uint32_t n, uint32_t k)
{
    float least = INFINITY;
    uint32_t at_least = 0; /* of those equal to `least`, how many are kept */
    for (uint32_t kept = 0; kept < k;) {
        float next = -INFINITY;
        uint32_t equal = 0;
        for (uint32_t i = 0; i < n; i++) {
            if (logits[i] >= least || logits[i] < next) continue;
            equal = logits[i] > next ? 1 : equal + 1;
            next = logits[i];
        }
        if (equal == 0) return;
        least = next;
        at_least = equal < k - kept ? equal : k - kept;
        kept += at_least;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (logits[i] > least || (logits[i] == least && at_least > 0 && at_least--)) continue;
        logits[i] = -INFINITY;
    }
}

uint32_t mn_lm_sample(float *logits, uint32_t n, double temperature, uint32_t top_k, mn_random *random)
{
    uint32_t best = likeliest(logits, n);
    double most = (double)logits[best], total = 0, sum = 0;
    if (temperature <= 0) return best;
    if (top_k > 0 && top_k < n) keep_likeliest(logits, n, top_k);
    for (uint32_t i = 0; i < n; i++) total += exp(((double)logits[i] - most) / temperature);
    double at = (double)mn_random_unit(random) * total;
    for (uint32_t i = 0; i < n; i++) {
        sum += exp(((double)logits[i] - most) / temperature);
        if (sum > at) return i;
    }
    return best;
}

/* ---- reading and writing --------------------------------------------------------------------------------------- */

/* Read one character: afterwards logits say what may follow it. */
static mneme_status read_one(writer *w, uint32_t id, mneme_error *error)
{
    uint32_t most = w->state ? 1 : w->model->config.steps_back;
    if (w->n_ids == most) memmove(w->ids, w->ids + 1, --w->n_ids * sizeof *w->ids);
    w->ids[w->n_ids++] = id;
    mn_room_clear(&w->shard->room);
    const mn_lm_input input = {.n_sequences = 1, .n_steps = w->n_ids, .ids = w->ids, .state = w->state};
    return mn_lm_logits(w->model, w->shard, &input, w->logits, error);
}

static mneme_status write_on(writer *w, const mn_lm_vocabulary *vocabulary, const mneme_lm_generate_options *options,
                             mn_buffer *out, mneme_error *error)
{
    mn_random random = mn_random_of(options->seed, 0, 0);
    mneme_status status = MNEME_OK;
    for (uint64_t i = 0; i < options->length && status == MNEME_OK; i++) {
        uint32_t id = mn_lm_sample(w->logits, vocabulary->n, options->temperature, options->top_k, &random);
        mn_lm_decode(vocabulary, id, out);
        if (i + 1 < options->length) status = read_one(w, id, error);
    }
    return status == MNEME_OK && out->failed ? mn_fail_memory(error, "generated text") : status;
}

static mneme_status make(writer *w, mneme_error *error)
{
    const mn_lm_config *c = &w->model->config;
    size_t size = mn_lm_state_size(c, 1);
    if (size) w->state = mn_alloc_zeroed(size, sizeof *w->state);
    w->logits = mn_alloc_aligned(64, (c->vocabulary + 64) * sizeof *w->logits);
    w->ids = mn_alloc_array(c->steps_back, sizeof *w->ids);
    if ((size && !w->state) || !w->logits || !w->ids) return mn_fail_memory(error, "generation");
    mneme_status status = mn_shard_new(&w->model->parameters, &w->shard, error);
    if (status == MNEME_OK) mn_shard_begin(w->shard, 0, 0, 0);
    return status;
}

mneme_status mn_lm_write(const mn_language_model *model, const mn_lm_vocabulary *vocabulary,
                         const mneme_lm_text *prompt, const mneme_lm_generate_options *options, mn_buffer *out,
                         mneme_error *error)
{
    if (!(options->temperature >= 0 && options->temperature <= 1e6))
        return mn_fail(error, MNEME_ERR_USAGE, "a temperature of %g: expected 0 or more, 0.8 for example",
                       options->temperature);
    writer w = {.model = model};
    uint32_t *ids = NULL, line_break = 0;
    size_t n_ids = 0;
    mneme_status status = mn_lm_encode(vocabulary, prompt, &ids, &n_ids, error);
    if (status == MNEME_OK) status = make(&w, error);
    if (status == MNEME_OK && n_ids == 0) {
        if (!mn_lm_find(vocabulary, '\n', &line_break)) line_break = 0;
        status = read_one(&w, line_break, error);
    }
    size_t seen = w.state || n_ids < model->config.steps_back ? n_ids : model->config.steps_back;
    for (size_t i = n_ids - seen; i < n_ids && status == MNEME_OK; i++) status = read_one(&w, ids[i], error);
    if (status == MNEME_OK) status = write_on(&w, vocabulary, options, out, error);
    mn_shard_free(w.shard);
    mn_free(w.state);
    mn_free(w.logits);
    mn_free(w.ids);
    mn_free(ids);
    return status;
}
