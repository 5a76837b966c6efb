/* encode.c -- texts to vectors without a store.
 *
 *     mneme_encode       array of texts --slices--> mn_encoder_encode --shorten--> caller's vectors
 *     mneme_encode_each  next() --copied into a batch--> mneme_encode --> take()
 *
 * Slices and batches bound the memory; they are large against the encoder's packs (256 tokens), so that its threads
 * wait for each other seldom. */
#include "memory/handle.h"

#include "common/buffer.h"
#include "common/memory.h"

#include <math.h>
#include <string.h>

/* SLICE: texts of one call of the encoder. BATCH_...: what mneme_encode_each gathers; 256 KB of English are about
 * 64,000 tokens, 250 packs. COPY_MAX: longer texts are looked at for what fits the window before they are copied.
 * WORD_TOKENS: over what any word has. */
enum { SLICE_TEXTS = 4096, BATCH_TEXTS = 1024, BATCH_BYTES = 256 << 10, COPY_MAX = 32 << 10, WORD_TOKENS = 1024 };

/* Progress over all slices, from that of one. */
typedef struct slice_progress {
    const mneme_encode_options *options;
    uint64_t before, total; /* texts */
} slice_progress;

static bool pass_progress(void *context, uint64_t done, uint64_t total, const char *unit)
{
    const slice_progress *progress = context;
    (void)total, (void)unit;
    return progress->options->progress(progress->options->context, progress->before + done, progress->total, "texts");
}

static mneme_status check_options(const mneme_encoder *encoder, const mneme_encode_options *options, mneme_error *error)
{
    uint32_t dimension = mn_encoder_info(encoder->encoder)->dimension;
    if (options->dimension > dimension)
        return mn_fail(error, MNEME_ERR_USAGE,
                       "vectors of %u numbers were asked for; the model's have %u: give 1 to %u", options->dimension,
                       dimension, dimension);
    if (options->kind != MNEME_TEXT_PASSAGE && options->kind != MNEME_TEXT_QUERY)
        return mn_fail(error, MNEME_ERR_USAGE, "%d is no kind of text", (int)options->kind);
    return MNEME_OK;
}

static const char *prompt_for(const mneme_encoder *encoder, const mneme_encode_options *options)
{
    return options->prompt ? options->prompt : mn_encoder_prompt_of(encoder->encoder, options->kind);
}

/* What the caller left out, or was compiled without, is as by default. */
static mneme_encode_options complete(const mneme_encode_options *options)
{
    mneme_encode_options own = MNEME_ENCODE_OPTIONS_INIT;
    if (options) memcpy(&own, options, options->size < sizeof own ? options->size : sizeof own);
    return own;
}

/* Keep the first `kept` of each row's `dimension` numbers, at unit length. from: n x dimension; to: n x kept. */
static void shorten(const float *from, size_t n, uint32_t dimension, uint32_t kept, float *to)
{
    for (size_t row = 0; row < n; row++, from += dimension, to += kept) {
        double squares = 0;
        for (uint32_t i = 0; i < kept; i++) squares += (double)from[i] * (double)from[i];
        double scale = squares > 0 ? 1.0 / sqrt(squares) : 0;
        for (uint32_t i = 0; i < kept; i++) to[i] = (float)((double)from[i] * scale);
    }
}

/* One slice. whole: room for its whole vectors; NULL = nothing is cut off. */
static mneme_status encode_slice(const mneme_encoder *encoder, const char *const *texts, const size_t *sizes, size_t n,
                                 slice_progress *progress, float *whole, float *vectors, mneme_error *error)
{
    const mneme_encode_options *options = progress->options;
    mneme_status status =
        mn_encoder_encode_prompted(encoder->encoder, prompt_for(encoder, options), texts, sizes, n,
                                   whole ? whole : vectors, options->progress ? pass_progress : NULL, progress, error);
    if (status == MNEME_OK && whole)
        shorten(whole, n, mn_encoder_info(encoder->encoder)->dimension, options->dimension, vectors);
    return status;
}

mneme_status mneme_encode(const mneme_encoder *encoder, const char *const *texts, const size_t *sizes, size_t n,
                          const mneme_encode_options *options, float *vectors, mneme_error *error)
{
    const mneme_encode_options own = complete(options);
    options = &own;
    mneme_status status = check_options(encoder, options, error);
    if (status != MNEME_OK || n == 0) return status;
    uint32_t dimension = mn_encoder_info(encoder->encoder)->dimension;
    uint32_t kept = options->dimension ? options->dimension : dimension;
    size_t slice = n < SLICE_TEXTS ? n : SLICE_TEXTS;
    float *whole = kept < dimension ? mn_alloc_array(slice * dimension, sizeof *whole) : NULL;
    if (kept < dimension && !whole) return mn_fail_memory(error, "vectors");
    for (size_t first = 0; first < n && status == MNEME_OK; first += slice) {
        slice_progress progress = {.options = options, .before = first, .total = n};
        status = encode_slice(encoder, texts + first, sizes ? sizes + first : NULL,
                              n - first < slice ? n - first : slice, &progress, whole, vectors + first * kept, error);
    }
    mn_free(whole);
    return status;
}

/* ---- texts one by one ---- */

typedef struct batch {
    const mneme_encoder *encoder;
    mneme_encode_options options; /* progress goes through pass_batch_progress */
    const mneme_encode_options *callers;
    mneme_take_vector take;
    void *context;
    uint64_t n_before; /* texts of earlier batches */
    size_t n;
    mn_buffer bytes;            /* of the batch's texts, end to end */
    size_t starts[BATCH_TEXTS]; /* into bytes */
    size_t sizes[BATCH_TEXTS];
    const char *texts[BATCH_TEXTS]; /* set when the batch is encoded */
    uint32_t dimension;             /* of the vectors that come out */
    float *vectors;                 /* BATCH_TEXTS x dimension */
} batch;

static bool pass_batch_progress(void *context, uint64_t done, uint64_t total, const char *unit)
{
    const batch *b = context;
    (void)total;
    return b->callers->progress(b->callers->context, b->n_before + done, 0, unit);
}

/* Encode what is gathered (b->texts, b->sizes) and hand it on. */
static mneme_status encode_gathered(batch *b, mneme_error *error)
{
    mneme_status status = mneme_encode(b->encoder, b->texts, b->sizes, b->n, &b->options, b->vectors, error);
    for (size_t i = 0; i < b->n && status == MNEME_OK; i++)
        if (!b->take(b->context, b->n_before + i, b->vectors + i * b->dimension))
            status = mn_fail(error, MNEME_ERR_CANCELLED, "cancelled by the taker of the vectors");
    b->n_before += b->n;
    b->n = 0;
    mn_buffer_clear(&b->bytes);
    return status;
}

static mneme_status flush_batch(batch *b, mneme_error *error)
{
    if (b->n == 0) return MNEME_OK;
    for (size_t i = 0; i < b->n; i++) b->texts[i] = b->sizes[i] ? b->bytes.data + b->starts[i] : "";
    return encode_gathered(b, error);
}

/* The part of a long text that reaches the window: from its first token to the last that fits. Behind a prompt the
 * first word may become one with the prompt's last, of fewer tokens: then from the text's start, and some more. */
static mneme_status find_window(const batch *b, const char **text, size_t *size, mneme_error *error)
{
    mn_tokens tokens = {.with_offsets = true};
    const mn_encoder *encoder = b->encoder->encoder;
    size_t glued = *prompt_for(b->encoder, &b->options) ? WORD_TOKENS : 0;
    mneme_status status = mn_tokenizer_encode(mn_encoder_tokenizer(encoder), *text, *size,
                                              mn_encoder_info(encoder)->max_tokens + glued, &tokens, error);
    if (status == MNEME_OK) {
        size_t start = tokens.n && !glued ? (size_t)tokens.starts[0] : 0;
        *size = tokens.n ? (size_t)tokens.ends[tokens.n - 1] - start : 0;
        *text += start;
    }
    mn_tokens_free(&tokens);
    return status;
}

/* One that is long even so (a word without end) is not copied but encoded where it lies. */
static mneme_status encode_alone(batch *b, const char *text, size_t size, mneme_error *error)
{
    mneme_status status = flush_batch(b, error);
    if (status != MNEME_OK) return status;
    b->texts[0] = text;
    b->sizes[0] = size;
    b->n = 1;
    return encode_gathered(b, error);
}

static mneme_status gather(batch *b, const char *text, size_t size, mneme_error *error)
{
    if (size > COPY_MAX) {
        mneme_status status = find_window(b, &text, &size, error);
        if (status != MNEME_OK) return status;
    }
    if (size > COPY_MAX) return encode_alone(b, text, size, error);
    b->starts[b->n] = b->bytes.size;
    b->sizes[b->n] = size;
    mn_buffer_append(&b->bytes, text, size);
    if (b->bytes.failed) return mn_fail_memory(error, "texts");
    b->n++;
    return b->n == BATCH_TEXTS || b->bytes.size >= BATCH_BYTES ? flush_batch(b, error) : MNEME_OK;
}

static mneme_status run_batches(batch *b, mneme_next_text next, mneme_error *error)
{
    for (;;) {
        const char *text = NULL;
        size_t size = 0;
        if (!next(b->context, &text, &size))
            return mn_fail(error, MNEME_ERR_CANCELLED, "cancelled by the source of the texts");
        if (!text) return flush_batch(b, error);
        mneme_status status = gather(b, text, size, error);
        if (status != MNEME_OK) return status;
    }
}

mneme_status mneme_encode_each(const mneme_encoder *encoder, mneme_next_text next, mneme_take_vector take,
                               void *context, const mneme_encode_options *options, mneme_error *error)
{
    const mneme_encode_options own = complete(options);
    options = &own;
    mneme_status status = check_options(encoder, options, error);
    if (status != MNEME_OK) return status;
    batch *b = mn_alloc_zeroed(1, sizeof *b);
    if (!b) return mn_fail_memory(error, "texts");
    b->encoder = encoder;
    b->callers = options;
    b->options = *options;
    if (options->progress) b->options.progress = pass_batch_progress;
    b->options.context = b;
    b->take = take;
    b->context = context;
    b->dimension = options->dimension ? options->dimension : mn_encoder_info(encoder->encoder)->dimension;
    b->vectors = mn_alloc_array((size_t)BATCH_TEXTS * b->dimension, sizeof *b->vectors);
    status = b->vectors ? run_batches(b, next, error) : mn_fail_memory(error, "vectors");
    mn_buffer_free(&b->bytes);
    mn_free(b->vectors);
    mn_free(b);
    return status;
}

mneme_status mneme_count_tokens(const mneme_encoder *encoder, const char *text, size_t size, uint64_t *n_tokens,
                                mneme_error *error)
{
    (void)error; /* counting allocates nothing, so that it cannot fail */
    *n_tokens = mn_tokenizer_count(mn_encoder_tokenizer(encoder->encoder), text, size);
    return MNEME_OK;
}

/* What mneme_tokenize hands out: the public view first. */
typedef struct tokens_result {
    mneme_tokens view;
    mn_tokens tokens;
} tokens_result;

mneme_status mneme_tokenize(const mneme_encoder *encoder, const char *text, size_t size, bool with_offsets,
                            mneme_tokens **out, mneme_error *error)
{
    *out = NULL;
    tokens_result *result = mn_alloc_zeroed(1, sizeof *result);
    if (!result) return mn_fail_memory(error, "tokens");
    result->tokens.with_offsets = with_offsets;
    mneme_status status =
        mn_tokenizer_encode(mn_encoder_tokenizer(encoder->encoder), text, size, SIZE_MAX, &result->tokens, error);
    const mn_tokens *tokens = &result->tokens;
    result->view = (mneme_tokens){.n = tokens->n, .ids = tokens->ids, .starts = tokens->starts, .ends = tokens->ends};
    *out = &result->view;
    if (status != MNEME_OK) {
        mneme_tokens_free(*out);
        *out = NULL;
    }
    return status;
}

void mneme_tokens_free(mneme_tokens *tokens)
{
    if (!tokens) return;
    tokens_result *result = (tokens_result *)tokens;
    mn_tokens_free(&result->tokens);
    mn_free(result);
}

const char *mneme_token_text(const mneme_encoder *encoder, uint32_t id, size_t *size)
{
    return mn_tokenizer_token(mn_encoder_tokenizer(encoder->encoder), id, size);
}
