/* encoder.c -- opening a model folder, and encoding texts: tokenize, lay sequences end to end in packs, share the packs
 * out over threads.
 *
 * A pack is filled up to a number of tokens or one sequence, whichever is more; sequences keep their order, so a result
 * never depends on what else is in the call. What fits one pack is worked on by all threads together (common/crew.h).
 */
#include "encoder/encoder.h"

#include "common/file.h"
#include "common/memory.h"
#include "common/threads.h"
#include "encoder/encoder_internal.h"
#include "encoder/static_table.h"
#include "encoder/token_sequences.h"

#include <pthread.h>
#include <string.h>
#include <xxhash.h>

/* So that none waits long at the end. */
enum { PACKS_PER_THREAD = 8 };

static mneme_status open_kind(mn_encoder *encoder, const mn_encoder_options *options, mneme_error *error)
{
    if (mn_static_is(encoder->folder)) return mn_encoder_open_static(encoder, options, error);
    if (mn_recurrent_is(encoder->folder)) return mn_encoder_open_recurrent(encoder, options, error);
    return mn_encoder_open_transformer(encoder, options, error);
}

/* What its config.json says of how it was made. A static encoder has said itself what it was distilled from. */
static mneme_status read_story(mn_encoder *encoder, mneme_error *error)
{
    mneme_status status = mn_model_story_read(encoder->folder, &encoder->story, error);
    if (!encoder->info.distilled_from) encoder->info.distilled_from = encoder->story.teacher;
    encoder->info.trained_from = encoder->story.trained_from;
    encoder->info.trained_on = encoder->story.trained_on;
    encoder->info.measured = encoder->story.measured;
    encoder->info.compressed = encoder->story.compressed;
    encoder->info.vocabulary_from = encoder->story.vocabulary;
    return status;
}

mneme_status mn_encoder_open(const mn_encoder_options *options, mn_encoder **out, mneme_error *error)
{
    *out = NULL;
    mn_encoder *encoder = mn_alloc_zeroed(1, sizeof *encoder);
    if (!encoder) return mn_fail_memory(error, "encoder");
    pthread_mutex_init(&encoder->lock, NULL);
    encoder->folder = mn_path_normalize(options->folder);
    encoder->name = encoder->folder ? mn_strdup(mn_path_base(encoder->folder)) : NULL;
    mneme_status status = encoder->name ? MNEME_OK : mn_fail_memory(error, "encoder");
    if (status == MNEME_OK) status = mn_threads_new(options->threads, &encoder->threads, error);
    if (status == MNEME_OK) status = open_kind(encoder, options, error);
    if (status == MNEME_OK) status = read_story(encoder, error);
    if (status != MNEME_OK)
        mn_encoder_close(encoder);
    else
        *out = encoder;
    return status;
}

void mn_encoder_close(mn_encoder *encoder)
{
    if (!encoder) return;
    if (encoder->operations) encoder->operations->destroy(encoder);
    mn_threads_free(encoder->threads);
    mn_crew_free(encoder->crew);
    mn_tokenizer_close(encoder->tokenizer);
    mn_packed_close(&encoder->packed);
    mn_model_config_free(&encoder->config);
    mn_model_story_free(&encoder->story);
    pthread_mutex_destroy(&encoder->lock);
    mn_free(encoder->packed_path);
    mn_free(encoder->name);
    mn_free(encoder->folder);
    mn_free(encoder);
}

const mneme_encoder_info *mn_encoder_info(const mn_encoder *encoder)
{
    return &encoder->info;
}

const mn_tokenizer *mn_encoder_tokenizer(const mn_encoder *encoder)
{
    return encoder->tokenizer;
}

mn_threads *mn_encoder_threads(const mn_encoder *encoder)
{
    return encoder->threads;
}

uint32_t mn_encoder_special_tokens(const mn_encoder *encoder)
{
    return encoder->operations->n_special;
}

const char *mn_encoder_prompt_of(const mn_encoder *encoder, mneme_text_kind kind)
{
    const char *prompt = kind == MNEME_TEXT_QUERY ? encoder->config.query_prompt : encoder->config.passage_prompt;
    return prompt ? prompt : "";
}

const char *mn_encoder_named_prompt(const mn_encoder *encoder, size_t index, const char **text)
{
    const mn_model_config *config = &encoder->config;
    *text = index < config->n_prompts ? config->prompts[index].text : NULL;
    return *text ? config->prompts[index].name : NULL;
}

uint32_t mn_encoder_overhead(const mn_encoder *encoder, mneme_text_kind kind)
{
    const char *prompt = mn_encoder_prompt_of(encoder, kind);
    mn_tokens tokens = {0};
    uint32_t n = encoder->operations->n_special;
    if (mn_tokenizer_encode(encoder->tokenizer, prompt, strlen(prompt), encoder->info.max_tokens, &tokens, NULL) ==
        MNEME_OK)
        n += (uint32_t)tokens.n;
    mn_tokens_free(&tokens);
    return n;
}

/* ---- encoding ----------------------------------------------------------------------------------------------- */

/* Consecutive sequences [first, last) of the job: one pack. */
typedef struct pack {
    size_t first, last;
} pack;

typedef struct encode_job {
    mn_encoder *encoder;
    mn_tokens tokens;  /* of all texts, special tokens included */
    uint32_t *offsets; /* n + 1, into tokens */
    pack *packs;
    size_t n_packs;
    float *vectors;
    mn_crew *lent; /* by the caller, begun; NULL = the encoder's own */
    mn_crew *crew; /* of a job of one pack; NULL = none */
    mneme_progress progress;
    void *context;
    const char *unit;
    size_t n_texts, n_done;
    pthread_mutex_t lock; /* guards what follows, n_done and the progress callback */
    mneme_status status;
    mneme_error error;
} encode_job;

static void fill_packs(encode_job *job, size_t n)
{
    uint32_t share = job->offsets[n] / (mn_threads_count(job->encoder->threads) * PACKS_PER_THREAD);
    uint32_t least = job->encoder->operations->pack_tokens_least, most = job->encoder->operations->pack_tokens_most;
    uint32_t tokens = share < least ? least : share > most ? most : share;
    for (size_t i = 0; i < n;) {
        pack *next = &job->packs[job->n_packs++];
        *next = (pack){.first = i, .last = i + 1};
        while (next->last < n && job->offsets[next->last + 1] - job->offsets[i] <= tokens) next->last++;
        i = next->last;
    }
}

/* Count a finished pack; the callback may cancel what has not begun. */
static void report(encode_job *job, mneme_status status, const mneme_error *error, size_t n_texts)
{
    pthread_mutex_lock(&job->lock);
    if (status != MNEME_OK && job->status == MNEME_OK) {
        job->status = status;
        job->error = *error;
    }
    job->n_done += n_texts;
    if (job->status == MNEME_OK && job->progress && !job->progress(job->context, job->n_done, job->n_texts, job->unit))
        job->status = mn_fail(&job->error, MNEME_ERR_CANCELLED, "cancelled while encoding");
    pthread_mutex_unlock(&job->lock);
}

static void encode_pack(void *context, size_t item, unsigned worker)
{
    encode_job *job = context;
    const pack *p = &job->packs[item];
    pthread_mutex_lock(&job->lock);
    bool stopped = job->status != MNEME_OK;
    pthread_mutex_unlock(&job->lock);
    if (stopped) return;
    mneme_error error = {0};
    size_t n = p->last - p->first;
    uint32_t *offsets = mn_alloc_array(n + 1, sizeof *offsets);
    mneme_status status = offsets ? MNEME_OK : mn_fail_memory(&error, "encoding");
    if (status == MNEME_OK) {
        uint32_t base = job->offsets[p->first];
        for (size_t i = 0; i <= n; i++) offsets[i] = job->offsets[p->first + i] - base;
        const mn_token_batch batch = {.ids = job->tokens.ids + base, .offsets = offsets, .n = n};
        status = job->encoder->operations->encode(job->encoder, &batch, worker, job->crew,
                                                  job->vectors + p->first * job->encoder->info.dimension, &error);
    }
    mn_free(offsets);
    report(job, status, &error, n);
}

/* A question, or a short record: all threads work on it together, where the model can do that. Not on the first one:
 * its time goes into mapping the weights, which threads together do not do faster, and a fresh process that asks once
 * needs no thread. Called with the lock. */
static void encode_one_pack(encode_job *job)
{
    mn_encoder *encoder = job->encoder;
    unsigned n = mn_threads_count(encoder->threads);
    bool shares = encoder->operations->shares_packs && n > 1 && encoder->weights_touched;
    encoder->weights_touched = true;
    bool own = shares && !(job->lent && mn_crew_count(job->lent) == n);
    if (own && !encoder->crew) (void)mn_crew_new(n, &encoder->crew, NULL);
    if (shares) job->crew = own ? encoder->crew : job->lent;
    if (own && job->crew && !mn_crew_begin(job->crew)) job->crew = NULL;
    encode_pack(job, 0, 0);
    if (own && job->crew) mn_crew_end(job->crew);
}

/* Encode what the job's tokens and offsets hold. */
static mneme_status run_job(encode_job *job, mneme_error *error)
{
    job->packs = mn_alloc_array(job->n_texts, sizeof *job->packs);
    if (!job->packs) return mn_fail_memory(error, "encoding");
    fill_packs(job, job->n_texts);
    pthread_mutex_init(&job->lock, NULL);
    pthread_mutex_lock(&job->encoder->lock);
    if (job->n_packs == 1)
        encode_one_pack(job);
    else
        mn_threads_run(job->encoder->threads, job->n_packs, encode_pack, job);
    pthread_mutex_unlock(&job->encoder->lock);
    pthread_mutex_destroy(&job->lock);
    if (job->status != MNEME_OK && error) *error = job->error;
    mn_free(job->packs);
    return job->status;
}

/* Texts through a job that has everything but its tokens. */
static mneme_status encode_texts(encode_job *job, const char *prompt, const char *const *texts, const size_t *sizes,
                                 mneme_error *error)
{
    mn_encoder *encoder = job->encoder;
    if (*prompt && encoder->config.prompt_is_not_pooled)
        return mn_fail(error, MNEME_ERR_USAGE, "%s leaves prompts out of its pooling: they are not supported",
                       encoder->name);
    job->offsets = mn_alloc_zeroed(job->n_texts + 1, sizeof *job->offsets);
    mneme_status status = job->offsets ? MNEME_OK : mn_fail_memory(error, "encoding");
    const mn_sequence_options sequences = {.tokenizer = encoder->tokenizer,
                                           .prompt = prompt,
                                           .max_tokens = encoder->info.max_tokens,
                                           .with_special = encoder->operations->n_special > 0};
    if (status == MNEME_OK)
        status = mn_token_sequences(encoder->threads, &sequences, texts, sizes, job->n_texts, &job->tokens,
                                    job->offsets, error);
    if (status == MNEME_OK) status = run_job(job, error);
    mn_tokens_free(&job->tokens);
    mn_free(job->offsets);
    return status;
}

mneme_status mn_encoder_encode_prompted(mn_encoder *encoder, const char *prompt, const char *const *texts,
                                        const size_t *sizes, size_t n, float *vectors, mneme_progress progress,
                                        void *context, mneme_error *error)
{
    if (n == 0) return MNEME_OK;
    encode_job job = {.encoder = encoder,
                      .vectors = vectors,
                      .progress = progress,
                      .context = context,
                      .n_texts = n,
                      .unit = "chunks"};
    return encode_texts(&job, prompt, texts, sizes, error);
}

mneme_status mn_encoder_encode_one(mn_encoder *encoder, const char *text, mneme_text_kind kind, mn_crew *crew,
                                   float *vector, mneme_error *error)
{
    encode_job job = {.encoder = encoder, .vectors = vector, .n_texts = 1, .lent = crew, .unit = "chunks"};
    return encode_texts(&job, mn_encoder_prompt_of(encoder, kind), &text, NULL, error);
}

mneme_status mn_encoder_encode(mn_encoder *encoder, const char *const *texts, const size_t *sizes, size_t n,
                               mneme_text_kind kind, float *vectors, mneme_progress progress, void *context,
                               mneme_error *error)
{
    return mn_encoder_encode_prompted(encoder, mn_encoder_prompt_of(encoder, kind), texts, sizes, n, vectors, progress,
                                      context, error);
}

mneme_status mn_encoder_encode_ids(mn_encoder *encoder, const mn_token_batch *batch, float *vectors,
                                   mneme_progress progress, void *context, mneme_error *error)
{
    if (batch->n == 0) return MNEME_OK;
    encode_job job = {.encoder = encoder,
                      .vectors = vectors,
                      .progress = progress,
                      .context = context,
                      .n_texts = batch->n,
                      .unit = "tokens"};
    job.tokens.ids = (uint32_t *)(uintptr_t)batch->ids; /* read only */
    job.offsets = (uint32_t *)(uintptr_t)batch->offsets;
    return run_job(&job, error);
}
