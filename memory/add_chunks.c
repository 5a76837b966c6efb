/* add_chunks.c -- records into chunks, and chunks into vectors, a slice at a time. */
#include "memory/add_chunks.h"

#include "encoder/chunker.h"

#include <string.h>

/* Chunks of one call of the encoder: about 512 packs of 256 tokens, so that its threads seldom wait for each other. */
enum { SLICE_CHUNKS = 512 };

void mn_add_chunks_free(mn_add_chunks *chunks)
{
    mn_free(chunks->items);
    mn_free((void *)chunks->records);
    mn_free(chunks->vectors);
    *chunks = (mn_add_chunks){0};
}

/* ---- cut ------------------------------------------------------------------------------------------------------- */

static mneme_status append(mn_add_chunks *chunks, const mneme_record *record, mn_new_chunk chunk, mneme_error *error)
{
    if (chunks->n == chunks->capacity) {
        size_t capacity = chunks->capacity ? chunks->capacity * 2 : 256;
        mn_new_chunk *items = mn_realloc_array(chunks->items, capacity, sizeof *items);
        if (items) chunks->items = items;
        const mneme_record **records = mn_realloc_array((void *)chunks->records, capacity, sizeof *records);
        if (records) chunks->records = records;
        if (!items || !records) return mn_fail_memory(error, "chunks");
        chunks->capacity = capacity;
    }
    chunks->items[chunks->n] = chunk;
    chunks->records[chunks->n++] = record;
    if (!chunk.vector) chunks->n_to_encode++;
    return MNEME_OK;
}

/* How long chunks may be, so that prompt, header and chunk fit the window. A header takes at most half of it. */
static mneme_status chunk_limits(const mn_add_chunks *chunks, const mn_buffer *header, mn_chunk_options *out,
                                 mneme_error *error)
{
    const mn_settings_values *values = chunks->values;
    uint32_t window = mn_encoder_info(chunks->encoder->encoder)->max_tokens;
    uint32_t overhead = mn_encoder_overhead(chunks->encoder->encoder, MNEME_TEXT_PASSAGE);
    uint32_t room = window > overhead + 8 ? window - overhead : 8;
    uint64_t header_tokens = 0;
    mneme_status status =
        mneme_count_tokens(chunks->encoder, header->size ? header->data : "", header->size, &header_tokens, error);
    if (status != MNEME_OK) return status;
    uint32_t limit = header_tokens < room / 2 ? room - (uint32_t)header_tokens : room / 2;
    uint32_t wanted = (uint32_t)values->chunk_max_tokens;
    out->max_tokens = wanted && wanted < limit ? wanted : limit;
    uint32_t overlap = (uint32_t)values->chunk_overlap_tokens;
    out->overlap_tokens = overlap < out->max_tokens / 2 ? overlap : (out->max_tokens - 1) / 2;
    return MNEME_OK;
}

/* Chunks that the record brings along. They were checked. */
static mneme_status append_given(mn_add_chunks *chunks, const mneme_record *record, mneme_error *error)
{
    mneme_status status = MNEME_OK;
    for (size_t i = 0; i < record->n_chunks && status == MNEME_OK; i++) {
        const mneme_chunk *given = &record->chunks[i];
        mn_new_chunk chunk = {.start = (uint32_t)given->start, .end = (uint32_t)given->end, .vector = given->vector};
        status = append(chunks, record, chunk, error);
    }
    return status;
}

mneme_status mn_add_chunks_cut(mn_add_chunks *chunks, const mneme_record *record, mneme_error *error)
{
    if (record->vector) {
        mn_new_chunk whole = {.start = 0, .end = (uint32_t)record->text_size, .vector = record->vector};
        return append(chunks, record, whole, error);
    }
    if (record->chunks) return append_given(chunks, record, error);
    mn_buffer header = {0};
    mn_chunk_spans spans = {0};
    mn_chunk_options limits;
    mn_record_header(record->title, record->speaker, &header);
    mneme_status status =
        header.failed ? mn_fail_memory(error, "chunks") : chunk_limits(chunks, &header, &limits, error);
    mn_buffer_free(&header);
    if (status == MNEME_OK)
        status = mn_chunk_text(mn_encoder_tokenizer(chunks->encoder->encoder), record->text, record->text_size, &limits,
                               &spans, error);
    for (size_t i = 0; i < spans.n && status == MNEME_OK; i++) {
        mn_new_chunk chunk = {.start = (uint32_t)spans.items[i].start, .end = (uint32_t)spans.items[i].end};
        status = append(chunks, record, chunk, error);
    }
    /* A title alone is worth finding, too. */
    if (status == MNEME_OK && spans.n == 0 && record->title) status = append(chunks, record, (mn_new_chunk){0}, error);
    mn_chunk_spans_free(&spans);
    return status;
}

/* ---- encode ---------------------------------------------------------------------------------------------------- */

/* Some chunks on their way to the encoder. */
typedef struct slice {
    mn_buffer bytes; /* header and text of each, end to end */
    size_t starts[SLICE_CHUNKS], sizes[SLICE_CHUNKS];
    const char *texts[SLICE_CHUNKS];
    size_t n;
    mneme_progress progress; /* the caller's, for all chunks */
    void *context;
    size_t before, total;
} slice;

static bool pass_progress(void *context, uint64_t done, uint64_t total, const char *unit)
{
    const slice *s = context;
    (void)total;
    return s->progress(s->context, s->before + done, s->total, unit);
}

static mneme_status add_to_slice(slice *s, const mneme_record *record, const mn_new_chunk *chunk, mneme_error *error)
{
    s->starts[s->n] = s->bytes.size;
    mn_record_header(record->title, record->speaker, &s->bytes);
    mn_buffer_append(&s->bytes, record->text + chunk->start, chunk->end - chunk->start);
    if (s->bytes.failed) return mn_fail_memory(error, "chunks");
    s->sizes[s->n] = s->bytes.size - s->starts[s->n];
    s->n++;
    return MNEME_OK;
}

static mneme_status encode_slice(const mn_add_chunks *chunks, slice *s, mneme_error *error)
{
    const mn_encoder *encoder = chunks->encoder->encoder;
    float *vectors = chunks->vectors + s->before * mn_encoder_info(encoder)->dimension;
    for (size_t i = 0; i < s->n; i++) s->texts[i] = s->sizes[i] ? s->bytes.data + s->starts[i] : "";
    mneme_status status = mn_encoder_encode(chunks->encoder->encoder, s->texts, s->sizes, s->n, MNEME_TEXT_PASSAGE,
                                            vectors, s->progress ? pass_progress : NULL, s, error);
    s->before += s->n;
    s->n = 0;
    mn_buffer_clear(&s->bytes);
    return status;
}

static mneme_status encode_slices(mn_add_chunks *chunks, slice *s, mneme_error *error)
{
    size_t dimension = mn_encoder_info(chunks->encoder->encoder)->dimension;
    mneme_status status = MNEME_OK;
    for (size_t i = 0; i < chunks->n && status == MNEME_OK; i++) {
        mn_new_chunk *chunk = &chunks->items[i];
        if (chunk->vector) continue;
        chunk->vector = chunks->vectors + (s->before + s->n) * dimension;
        status = add_to_slice(s, chunks->records[i], chunk, error);
        if (status == MNEME_OK && s->n == SLICE_CHUNKS) status = encode_slice(chunks, s, error);
    }
    return status == MNEME_OK && s->n > 0 ? encode_slice(chunks, s, error) : status;
}

mneme_status mn_add_chunks_encode(mn_add_chunks *chunks, mneme_progress progress, void *context, mneme_error *error)
{
    size_t floats = 0;
    if (chunks->n_to_encode == 0) return MNEME_OK;
    if (!mn_multiply(chunks->n_to_encode, mn_encoder_info(chunks->encoder->encoder)->dimension, &floats))
        return mn_fail_memory(error, "vectors");
    chunks->vectors = mn_alloc_array(floats, sizeof *chunks->vectors);
    slice *s = mn_alloc_zeroed(1, sizeof *s);
    mneme_status status = chunks->vectors && s ? MNEME_OK : mn_fail_memory(error, "vectors");
    if (status == MNEME_OK) {
        s->progress = progress;
        s->context = context;
        s->total = chunks->n_to_encode;
        status = encode_slices(chunks, s, error);
        mn_buffer_free(&s->bytes);
    }
    mn_free(s);
    return status;
}
