/* context.c -- the window for a question: how it is counted and written, and the copy that the caller gets. */
#include "memory/handle.h"

#include "common/clock.h"
#include "retriever/retrieve.h"
#include "retriever/splice.h"

#include <string.h>

/* ---- the window ------------------------------------------------------------------------------------------------- */

typedef struct window_block {
    mneme_window window; /* first: what the caller sees */
    mn_arena arena;
    mn_buffer text;
} window_block;

void mneme_window_free(mneme_window *window)
{
    if (!window) return;
    window_block *block = (window_block *)window;
    mn_arena_free(&block->arena);
    mn_buffer_free(&block->text);
    mn_free(block);
}

static mneme_status fill_passage(const mneme *memory, const mn_found *found, const mn_spliced *spliced,
                                 window_block *block, mneme_passage *passage, mneme_error *error)
{
    const mn_namespace *space = &found->namespaces[spliced->ns_index];
    mn_record record;
    mneme_status status = mn_read_record(found->read, space->ns, spliced->rec, &record, error);
    if (status != MNEME_OK) return status;
    mn_arena *arena = &block->arena;
    *passage = (mneme_passage){.id = mn_arena_strdup(arena, record.id),
                               .name_space = mn_arena_strdup(arena, space->name),
                               .title = mn_arena_strdup(arena, record.title),
                               .session = mn_arena_strdup(arena, record.session),
                               .speaker = mn_arena_strdup(arena, record.speaker),
                               .source = mn_arena_strdup(arena, record.source),
                               .has_time = record.has_time,
                               .time_ms = record.time_ms,
                               .start = spliced->start,
                               .end = spliced->end,
                               .text_size = (size_t)(spliced->end - spliced->start),
                               .weight = spliced->weight,
                               .n_hits = spliced->n_hits,
                               .score = spliced->score,
                               .parts = spliced->parts};
    if (!passage->id || !passage->name_space) return mn_fail_memory(error, "passage");
    status =
        mn_copy_text(found->read, space->ns, spliced->rec, spliced->start, spliced->end, arena, &passage->text, error);
    const mn_terms_of of = {record.title, record.speaker, passage->text, passage->text_size};
    return status == MNEME_OK ? mn_common_terms(memory, found, &of, arena, &passage->terms, &passage->n_terms, error)
                              : status;
}

/* ---- how a window is counted and written ---------------------------------------------------------------------------
 */

static mneme_status count_by_encoder(void *context, const char *text, size_t size, uint64_t *n_tokens,
                                     mneme_error *error)
{
    return mneme_count_tokens(context, text, size, n_tokens, error);
}

static mneme_status count_by_bytes(void *context, const char *text, size_t size, uint64_t *n_tokens, mneme_error *error)
{
    (void)context;
    (void)text;
    (void)error;
    *n_tokens = size / 4 + (size % 4 > 0);
    return MNEME_OK;
}

static mneme_status count_by_caller(void *context, const char *text, size_t size, uint64_t *n_tokens,
                                    mneme_error *error)
{
    const mneme_context_options *options = context;
    mneme_error reason = {MNEME_OK, ""};
    mneme_status status = options->count_tokens(options->count_context, text, size, n_tokens, &reason);
    if (status == MNEME_OK) return MNEME_OK;
    reason.message[sizeof reason.message - 1] = '\0';
    return mn_fail(error, status, "%s", *reason.message ? reason.message : "the caller's tokenizer failed");
}

static mneme_template form_of(const mneme *memory, const mneme_context_options *options)
{
    if (options->form != MNEME_TEMPLATE_DEFAULT) return options->form;
    const char *form = memory->values.context_template;
    return strcmp(form, "markdown") == 0 ? MNEME_TEMPLATE_MARKDOWN
           : strcmp(form, "xml") == 0    ? MNEME_TEMPLATE_XML
           : strcmp(form, "chat") == 0   ? MNEME_TEMPLATE_CHAT
                                         : MNEME_TEMPLATE_PLAIN;
}

/* Fill in what the caller's options, else the settings, say of the window. Loads the encoder where it is to count. */
static mneme_status shape_window(mneme *memory, const mneme_context_options *options, mn_splice_options *out,
                                 mneme_error *error)
{
    unsigned form = (unsigned)options->form, counting = (unsigned)options->counting;
    if (form > MNEME_TEMPLATE_CHAT) return mn_fail(error, MNEME_ERR_USAGE, "there is no template %u", form);
    if (counting > MNEME_COUNT_BYTES_4)
        return mn_fail(error, MNEME_ERR_USAGE, "there is no way %u of counting tokens", counting);
    *out = (mn_splice_options){.budget = options->budget ? options->budget : (uint32_t)memory->values.context_budget,
                               .form = form_of(memory, options)};
    bool by_bytes = options->counting == MNEME_COUNT_BYTES_4 ||
                    (options->counting == MNEME_COUNT_DEFAULT && strcmp(memory->values.context_tokens, "bytes/4") == 0);
    if (options->count_tokens) {
        out->count_tokens = count_by_caller;
        out->count_context = (void *)options;
    } else if (by_bytes) {
        out->count_tokens = count_by_bytes;
    } else {
        mneme_encoder *encoder = NULL;
        mneme_status status = mn_memory_encoder(memory, &encoder, error);
        if (status != MNEME_OK) return status;
        out->count_tokens = count_by_encoder;
        out->count_context = encoder;
    }
    return MNEME_OK;
}

/* ---- the window's content ------------------------------------------------------------------------------------------
 */

/* uses (with room for each passage): what the window shows, by its weight. */
static void uses_of(const mn_found *found, const mn_spliced *passages, size_t n, mn_use *uses)
{
    for (size_t i = 0; i < n; i++)
        uses[i] = (mn_use){
            .ns = found->namespaces[passages[i].ns_index].ns, .rec = passages[i].rec, .attention = passages[i].weight};
}

/* *uses: in found's arena; NULL where there is no memory for it. */
static mneme_status splice_found(mneme *memory, mn_found *found, mn_splice_options *options, window_block *block,
                                 mn_use **uses, mneme_error *error)
{
    if (!mn_filter_is_open(&found->filter)) {
        options->accept = mn_filter_accepts;
        options->accept_context = &found->filter;
    }
    mn_spliced *spliced = NULL;
    size_t n = 0;
    uint32_t tokens = 0;
    mneme_status status = mn_splice(found->read, found->namespaces, found->ranked, found->n_ranked, options,
                                    &found->arena, &block->text, &tokens, &spliced, &n, error);
    mneme_passage *passages = mn_arena_array(&block->arena, n, sizeof *passages);
    if (status == MNEME_OK && !passages) status = mn_fail_memory(error, "passages");
    for (size_t i = 0; i < n && status == MNEME_OK; i++)
        status = fill_passage(memory, found, &spliced[i], block, &passages[i], error);
    *uses = mn_arena_array(&found->arena, n, sizeof **uses);
    if (*uses) uses_of(found, spliced, n, *uses);
    block->window = (mneme_window){.tokens = tokens,
                                   .text = block->text.data ? block->text.data : "",
                                   .text_size = block->text.size,
                                   .n = n,
                                   .items = passages,
                                   .took_ms = (mn_clock_monotonic() - found->started) * 1000.0,
                                   .generation = mn_read_generation(found->read),
                                   .is_unknown = found->is_unknown,
                                   .n_found = found->n_ranked};
    return status;
}

mneme_status mneme_context(mneme *memory, const char *question, const mneme_context_options *options,
                           mneme_window **out, mneme_error *error)
{
    static const mneme_context_options defaults = MNEME_CONTEXT_OPTIONS_INIT;
    *out = NULL;
    if (!options) options = &defaults;
    uint32_t k = options->query.k ? options->query.k : (uint32_t)memory->values.context_k;
    mn_splice_options shape;
    mneme_status status = shape_window(memory, options, &shape, error);
    if (status != MNEME_OK) return status;
    mn_found found;
    status = mn_find(memory, question, &options->query, k, &found, error);
    window_block *block = status == MNEME_OK ? mn_alloc_zeroed(1, sizeof *block) : NULL;
    if (status == MNEME_OK && !block) status = mn_fail_memory(error, "window");
    mn_use *uses = NULL;
    if (status == MNEME_OK) status = splice_found(memory, &found, &shape, block, &uses, error);
    if (status == MNEME_OK && uses && mn_strengthens(memory, &options->query))
        mn_note_uses(memory, uses, block->window.n);
    if (status == MNEME_OK)
        *out = &block->window;
    else if (block)
        mneme_window_free(&block->window);
    mn_found_end(&found);
    return status;
}
