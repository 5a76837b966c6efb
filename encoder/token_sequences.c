/* token_sequences.c -- consecutive texts form a slice; each slice is tokenized into a list of its own, and the lists
 * are joined in order. With one slice, its list is the result. */
#include "encoder/token_sequences.h"

#include "common/buffer.h"
#include "common/memory.h"

#include <string.h>

/* A slice is worth a thread from about a tenth of a millisecond on. */
enum { SLICE_BYTES_LEAST = 16384, SLICES_PER_THREAD = 4 };

typedef struct slice {
    size_t first, last; /* texts */
    mn_tokens tokens;
    mneme_status status;
    mneme_error error;
} slice;

typedef struct sequences_job {
    const mn_sequence_options *options;
    const char *const *texts;
    const size_t *sizes;
    uint32_t *offsets; /* within a text's slice until the slices are joined */
    slice *slices;
} sequences_job;

static size_t size_of(const sequences_job *job, size_t i)
{
    return job->sizes ? job->sizes[i] : strlen(job->texts[i]);
}

static mneme_status append_id(mn_tokens *tokens, uint32_t id, mneme_error *error)
{
    if (tokens->n == tokens->capacity) {
        size_t capacity = tokens->capacity ? tokens->capacity * 2 : 256;
        uint32_t *ids = mn_realloc_array(tokens->ids, capacity, sizeof *ids);
        if (!ids) return mn_fail_memory(error, "tokens");
        tokens->ids = ids;
        tokens->capacity = capacity;
    }
    tokens->ids[tokens->n++] = id;
    return MNEME_OK;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* The tokens of prompt and text together, at most `room`. No token crosses white space, so that only the text's first
 * word has to be put behind a prompt that does not end with some. */
static mneme_status append_prompted(const mn_sequence_options *options, const char *text, size_t size, size_t room,
                                    mn_tokens *tokens, mneme_error *error)
{
    size_t prompt_size = strlen(options->prompt), start = tokens->n, head = 0;
    if (!is_space(options->prompt[prompt_size - 1]))
        while (head < size && !is_space(text[head])) head++;
    mn_buffer joined = {0};
    mn_buffer_append(&joined, options->prompt, prompt_size);
    mn_buffer_append(&joined, text, head);
    mneme_status status = joined.failed
                              ? mn_fail_memory(error, "a prompt")
                              : mn_tokenizer_encode(options->tokenizer, joined.data, joined.size, room, tokens, error);
    mn_buffer_free(&joined);
    if (status != MNEME_OK) return status;
    return mn_tokenizer_encode(options->tokenizer, text + head, size - head, room - (tokens->n - start), tokens, error);
}

static mneme_status append_text(const mn_sequence_options *options, const char *text, size_t size, mn_tokens *tokens,
                                mneme_error *error)
{
    const mn_tokenizer *tokenizer = options->tokenizer;
    size_t room = options->max_tokens - (options->with_special ? 2 : 0);
    mneme_status status = options->with_special ? append_id(tokens, mn_tokenizer_cls(tokenizer), error) : MNEME_OK;
    if (status == MNEME_OK)
        status = *options->prompt ? append_prompted(options, text, size, room, tokens, error)
                                  : mn_tokenizer_encode(tokenizer, text, size, room, tokens, error);
    if (status == MNEME_OK && options->with_special) status = append_id(tokens, mn_tokenizer_sep(tokenizer), error);
    return status;
}

static void tokenize_slice(void *context, size_t item, unsigned worker)
{
    (void)worker;
    const sequences_job *job = context;
    slice *s = &job->slices[item];
    for (size_t i = s->first; i < s->last && s->status == MNEME_OK; i++) {
        s->status = append_text(job->options, job->texts[i], size_of(job, i), &s->tokens, &s->error);
        if (s->status == MNEME_OK && s->tokens.n > UINT32_MAX)
            s->status =
                mn_fail(&s->error, MNEME_ERR_TOO_LARGE, "over 2^32 tokens in one call; encode in smaller batches");
        job->offsets[i + 1] = (uint32_t)s->tokens.n;
    }
}

/* Cut the texts into slices of about equal bytes; returns how many, at most `most`. */
static size_t cut_slices(const sequences_job *job, size_t n, size_t bytes, size_t most)
{
    size_t share = bytes / most + 1, n_slices = 0, in_slice = 0;
    for (size_t i = 0; i < n; i++) {
        if (n_slices == 0 || (in_slice >= share && n_slices < most)) {
            job->slices[n_slices++] = (slice){.first = i};
            in_slice = 0;
        }
        in_slice += size_of(job, i);
        job->slices[n_slices - 1].last = i + 1;
    }
    return n_slices;
}

static mneme_status join(const sequences_job *job, size_t n_slices, mn_tokens *out, mneme_error *error)
{
    size_t total = 0, at = 0;
    for (size_t k = 0; k < n_slices; k++) {
        const slice *s = &job->slices[k];
        if (s->status != MNEME_OK) {
            if (error) *error = s->error;
            return s->status;
        }
        total += s->tokens.n;
    }
    if (total > UINT32_MAX)
        return mn_fail(error, MNEME_ERR_TOO_LARGE, "over 2^32 tokens in one call; encode in smaller batches");
    if (n_slices == 1) {
        *out = job->slices[0].tokens;
        job->slices[0].tokens = (mn_tokens){0};
        return MNEME_OK;
    }
    out->ids = mn_alloc_array(total + 1, sizeof *out->ids);
    if (!out->ids) return mn_fail_memory(error, "tokens");
    out->capacity = total + 1;
    for (size_t k = 0; k < n_slices; k++) {
        const slice *s = &job->slices[k];
        if (s->tokens.n) memcpy(out->ids + at, s->tokens.ids, s->tokens.n * sizeof *out->ids);
        for (size_t i = s->first; i < s->last; i++) job->offsets[i + 1] += (uint32_t)at;
        at += s->tokens.n;
    }
    out->n = total;
    return MNEME_OK;
}

mneme_status mn_token_sequences(mn_threads *threads, const mn_sequence_options *options, const char *const *texts,
                                const size_t *sizes, size_t n, mn_tokens *out, uint32_t *offsets, mneme_error *error)
{
    sequences_job job = {.options = options, .texts = texts, .sizes = sizes, .offsets = offsets};
    size_t bytes = 0, most = (size_t)mn_threads_count(threads) * SLICES_PER_THREAD;
    for (size_t i = 0; i < n; i++) bytes += size_of(&job, i);
    if (most > bytes / SLICE_BYTES_LEAST) most = bytes / SLICE_BYTES_LEAST;
    if (most < 2 || mn_threads_count(threads) < 2) most = 1;
    job.slices = mn_alloc_array(most, sizeof *job.slices);
    if (!job.slices) return mn_fail_memory(error, "tokens");
    offsets[0] = 0;
    size_t n_slices = cut_slices(&job, n, bytes, most);
    if (n_slices == 1)
        tokenize_slice(&job, 0, 0);
    else
        mn_threads_run(threads, n_slices, tokenize_slice, &job);
    mneme_status status = join(&job, n_slices, out, error);
    for (size_t k = 0; k < n_slices; k++) mn_tokens_free(&job.slices[k].tokens);
    mn_free(job.slices);
    return status;
}
