/* query.c -- questions: encode, rank inside one read, copy what the caller gets. */
#include "memory/where_plan.h"

#include "common/clock.h"
#include "retriever/retrieve.h"
#include "retriever/terms.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static mneme_mode mode_of(const mneme *memory, const mneme_query_options *options)
{
    if (options->mode != MNEME_MODE_DEFAULT) return options->mode;
    const char *mode = memory->values.retrieval_mode;
    return strcmp(mode, "dense") == 0     ? MNEME_MODE_DENSE
           : strcmp(mode, "lexical") == 0 ? MNEME_MODE_LEXICAL
                                          : MNEME_MODE_HYBRID;
}

static bool is_blank(const char *text)
{
    while (isspace((unsigned char)*text)) text++;
    return *text == '\0';
}

static bool store_has_vectors(mneme *memory)
{
    mn_read *read = NULL;
    mn_encoder_stamp stamp = {.name = ""};
    if (mn_read_begin(memory->store, &read, NULL) != MNEME_OK) return false;
    bool has = mn_read_encoder(read, &stamp, NULL) == MNEME_OK && *stamp.name;
    mn_read_end(read);
    return has;
}

static mneme_status own_vector(const mneme_query_options *options, float *unit, mneme_error *error)
{
    double squares = 0;
    for (uint32_t i = 0; i < options->dimension; i++)
        squares += (double)options->vector[i] * (double)options->vector[i];
    if (!(squares > 0) || !isfinite(squares))
        return mn_fail(error, MNEME_ERR_USAGE, "the question's vector holds NaN or infinity, or has length 0");
    for (uint32_t i = 0; i < options->dimension; i++) unit[i] = (float)((double)options->vector[i] / sqrt(squares));
    return MNEME_OK;
}

/* Does the encoder know any token of the text? What is nothing but [UNK] to it has the same vector whatever it says. */
static mneme_status knows_any(const mn_encoder *encoder, const char *text, bool *known, mneme_error *error)
{
    const mn_tokenizer *tokenizer = mn_encoder_tokenizer(encoder);
    mn_tokens tokens = {0};
    mneme_status status =
        mn_tokenizer_encode(tokenizer, text, strlen(text), mn_encoder_info(encoder)->max_tokens, &tokens, error);
    *known = false;
    for (size_t i = 0; i < tokens.n && !*known; i++) *known = tokens.ids[i] != mn_tokenizer_unk(tokenizer);
    mn_tokens_free(&tokens);
    return status;
}

/* The question's embedding in the arena; NULL when words alone are asked, or there is nothing to compare with. *used:
 * the encoder that it comes from, or NULL. */
static mneme_status embed_question(mneme *memory, const mneme_query_options *options, mn_crew *crew, mn_found *found,
                                   mn_question *question, mneme_encoder **used, mneme_error *error)
{
    const char *text = question->text;
    bool lexical = mode_of(memory, options) == MNEME_MODE_LEXICAL;
    *used = NULL;
    if (lexical || (!options->vector && (is_blank(text) || !store_has_vectors(memory)))) return MNEME_OK;
    mneme_encoder *encoder = NULL;
    mneme_status status = options->vector ? MNEME_OK : mn_memory_encoder(memory, &encoder, error);
    *used = encoder;
    bool known = true;
    if (status == MNEME_OK && encoder) status = knows_any(encoder->encoder, text, &known, error);
    found->is_unknown = !known;
    if (status != MNEME_OK || !known) return status;
    question->dimension = encoder ? mn_encoder_info(encoder->encoder)->dimension : options->dimension;
    float *vector = mn_arena_array(&found->arena, question->dimension, sizeof *vector);
    if (!vector) return mn_fail_memory(error, "question");
    question->vector = vector;
    if (!encoder) return own_vector(options, vector, error);
    return mn_encoder_encode_one(encoder->encoder, text, MNEME_TEXT_QUERY, crew, vector, error);
}

static mn_cpu_level scan_level(const char *kernels)
{
    if (strcmp(kernels, "reference") == 0) return MN_CPU_GENERIC;
    mn_cpu_level has = mn_cpu_detect(), most = strcmp(kernels, "avx2") == 0 ? MN_CPU_AVX2 : MN_CPU_AMX;
    return has < most ? has : most;
}

static mn_retrieve_options retrieve_options(const mneme *memory, const mneme_query_options *options, uint32_t k,
                                            mn_filter *filter)
{
    const mn_settings_values *values = &memory->values;
    uint64_t candidates = (uint64_t)values->retrieval_candidates, least = k;
    if (options->one_per_record) least *= 2; /* some records bring several chunks */
    if (candidates < least) candidates = least;
    bool filtered = !mn_filter_is_open(filter);
    return (mn_retrieve_options){.mode = mode_of(memory, options),
                                 .k = k,
                                 .n_candidates = candidates < UINT32_MAX ? (uint32_t)candidates : UINT32_MAX,
                                 .dense_weight = (float)values->retrieval_dense_weight,
                                 .k1 = (float)values->lexical_k1,
                                 .b = (float)values->lexical_b,
                                 .neighbour_share = (float)values->retrieval_neighbour_share,
                                 .nearby_words = (float)values->retrieval_nearby_words,
                                 .feedback_weight = (float)values->retrieval_feedback_weight,
                                 .expansion_weight = (float)values->retrieval_expansion_weight,
                                 .feedback_scale = (float)values->retrieval_feedback_scale,
                                 .speaker_weight = (float)values->retrieval_speaker_weight,
                                 .time_weight = (float)values->retrieval_time_weight,
                                 .now_ms = mn_memory_now(memory),
                                 .kernels = scan_level(values->retrieval_kernels),
                                 .n_threads = (unsigned)values->retrieval_threads,
                                 .neighbour_reach = (uint32_t)values->retrieval_neighbour_reach,
                                 .attention_scale = (float)values->retrieval_attention_scale,
                                 .one_per_record = options->one_per_record,
                                 .accept = filtered ? mn_filter_accepts : NULL,
                                 .candidates = filtered ? mn_filter_candidates : NULL,
                                 .accept_context = filtered ? filter : NULL};
}

/* ---- importance, strength and recency in the ranking ------------------------------------------------------------ */

typedef struct prior_context {
    const mneme *memory;
    const mn_namespace *namespaces;
    mneme_mode mode;
} prior_context;

/* The strength and recency that a record brings to a question, whatever the question is. */
static mneme_status prior_of(const mneme *memory, mn_read *read, uint32_t ns, const mn_record *record, float *strength,
                             float *recency, mneme_error *error)
{
    mneme_strength view;
    mneme_status status = mn_strength_view(memory, read, ns, record, &view, error);
    int64_t last = record->has_time ? record->time_ms : view.written_ms;
    if (view.has_last_use && view.last_use_ms > last) last = view.last_use_ms;
    double age_days = ((double)mn_memory_now(memory) - (double)last) / 86400000.0;
    *strength = view.strength;
    *recency = (float)mn_fade(age_days, memory->values.retrieval_recency_half_life_days);
    return status;
}

/* How much each part counts for the records of one namespace. */
typedef struct prior_weights {
    double importance, session_importance, strength, recency;
} prior_weights;

/* What conversations say differs in how much it says, documents do not: there importance is no guide
 * (docs/dynamics.md). */
static prior_weights weights_of(const prior_context *from, uint64_t n_sessions)
{
    const mn_settings_values *values = &from->memory->values;
    bool conversations = from->mode == MNEME_MODE_HYBRID && n_sessions > 0;
    return (prior_weights){.importance = values->retrieval_importance_weight,
                           .session_importance = conversations ? values->retrieval_session_importance_weight : 0,
                           .strength = values->retrieval_strength_weight,
                           .recency = values->retrieval_recency_weight};
}

static bool counts(const prior_weights *weights)
{
    return weights->importance + weights->session_importance + weights->strength + weights->recency > 0;
}

/* As mn_retrieve_options.prior. */
static mneme_status weigh_prior(void *context, mn_read *read, uint32_t ns_index, uint32_t rec, mneme_parts *prior,
                                float *weight, mneme_error *error)
{
    const prior_context *from = context;
    const mn_namespace *space = &from->namespaces[ns_index];
    prior_weights weights = weights_of(from, space->n_sessions);
    mn_record record;
    float strength = 0, recency = 0;
    *weight = 0;
    if (!counts(&weights)) return MNEME_OK;
    mneme_status status = mn_read_record(read, space->ns, rec, &record, error);
    if (status != MNEME_OK) return status;
    if (weights.strength + weights.recency > 0)
        status = prior_of(from->memory, read, space->ns, &record, &strength, &recency, error);
    if (record.session) weights.importance += weights.session_importance;
    double importance = record.has_importance ? (double)record.importance : from->memory->model.importance;
    prior->importance = (float)(weights.importance * importance);
    prior->strength = (float)(weights.strength * (double)strength);
    prior->recency = (float)(weights.recency * (double)recency);
    *weight = (float)(weights.importance + weights.strength + weights.recency);
    return status;
}

static void set_prior(prior_context *context, size_t n_namespaces, mn_retrieve_options *options)
{
    bool any = false;
    context->mode = options->mode;
    for (size_t i = 0; i < n_namespaces && !any; i++) {
        prior_weights weights = weights_of(context, context->namespaces[i].n_sessions);
        any = counts(&weights);
    }
    options->prior = any ? weigh_prior : NULL;
    options->prior_context = context;
}

static int by_record(const void *left, const void *right)
{
    const mn_use *a = left, *b = right;
    if (a->ns != b->ns) return a->ns < b->ns ? -1 : 1;
    return (a->rec > b->rec) - (a->rec < b->rec);
}

/* One use of each record, with the attention that its chunks got together. */
void mn_note_uses(mneme *memory, mn_use *items, size_t n)
{
    size_t kept = 0;
    if (n) qsort(items, n, sizeof *items, by_record);
    for (size_t i = 0; i < n; i++) {
        if (!(items[i].attention > 0)) continue;
        if (kept && by_record(&items[kept - 1], &items[i]) == 0)
            items[kept - 1].attention += items[i].attention;
        else
            items[kept++] = items[i];
    }
    for (size_t i = 0; i < kept; i++) items[i].time_ms = mn_memory_now(memory);
    mn_uses_note(memory->uses, items, kept);
}

bool mn_strengthens(const mneme *memory, const mneme_query_options *options)
{
    return memory->uses && !options->leave_strength;
}

/* A vector of the caller's that can be compared with nothing is a mistake, not a question without an answer. */
static mneme_status check_dimension(const mn_found *found, const mneme_query_options *options, mneme_error *error)
{
    uint32_t other = 0;
    for (size_t i = 0; options->vector && i < found->n_namespaces; i++) {
        uint32_t dimension = found->namespaces[i].dimension;
        if (dimension == options->dimension) return MNEME_OK;
        if (dimension) other = dimension;
    }
    if (!options->vector || other == 0) return MNEME_OK;
    return mn_fail(error, MNEME_ERR_DIMENSION, "the question's vector has %u numbers, those that are asked have %u",
                   options->dimension, other);
}

/* The indexes that this question can be asked of. */
static mneme_status get_indexes(mneme *memory, const mn_question *question, mn_found *found, mneme_error *error)
{
    if (!question->vector || !memory->indexes) return MNEME_OK;
    found->indexes = mn_arena_array(&found->arena, found->n_namespaces, sizeof *found->indexes);
    if (!found->indexes) return mn_fail_memory(error, "namespaces of a question");
    for (size_t i = 0; i < found->n_namespaces; i++)
        found->indexes[i] = mn_index_table_get(memory->indexes, found->read, &found->namespaces[i], NULL);
    return MNEME_OK;
}

/* Embed the question, then open found->read. A store that gets another encoder in between (mneme_reindex) is asked with
 * that one. */
static mneme_status embed_and_read(mneme *memory, const mneme_query_options *options, mn_crew *crew, mn_found *found,
                                   mn_question *question, mneme_error *error)
{
    for (;;) {
        mneme_encoder *used = NULL;
        bool changed = false;
        mneme_status status = embed_question(memory, options, crew, found, question, &used, error);
        if (status == MNEME_OK) status = mn_read_begin(memory->store, &found->read, error);
        if (status == MNEME_OK && used) status = mn_memory_encoder_changed(found->read, used, &changed, error);
        if (status != MNEME_OK || !changed) return status;
        mn_read_end(found->read);
        found->read = NULL;
        question->vector = NULL;
    }
}

static mneme_status find(mneme *memory, const char *text, const mneme_query_options *options, uint32_t k, mn_crew *crew,
                         mn_found *found, mneme_error *error)
{
    if (!text) text = "";
    mn_question question = {
        .text = text, .text_size = strlen(text), .analyze = mn_analyzer_question, .analyze_context = memory->analyzer};
    mneme_status status = mn_filter_compile(&options->select, &found->arena, &found->filter, error);
    if (status == MNEME_OK) status = embed_and_read(memory, options, crew, found, &question, error);
    if (status == MNEME_OK)
        status = mn_selected_namespaces(found->read, &options->select, &found->arena, &found->namespaces,
                                        &found->n_namespaces, error);
    if (status == MNEME_OK && mode_of(memory, options) != MNEME_MODE_LEXICAL)
        status = check_dimension(found, options, error);
    if (status == MNEME_OK)
        status = mn_filter_hide_ended(&found->filter, found->read, found->namespaces, found->n_namespaces,
                                      mn_memory_now(memory), &found->arena, error);
    if (status != MNEME_OK) return status;
    if (options->explain)
        status = mn_analyzer_question(memory->analyzer, text, question.text_size, &found->arena, &found->asked, error);
    if (status != MNEME_OK) return status;
    mn_retrieve_options how = retrieve_options(memory, options, k, &found->filter);
    status = get_indexes(memory, &question, found, error);
    if (status != MNEME_OK) return status;
    how.indexes = found->indexes;
    how.crew = crew;
    prior_context prior = {.memory = memory, .namespaces = found->namespaces};
    set_prior(&prior, found->n_namespaces, &how);
    return mn_retrieve(found->read, found->namespaces, found->n_namespaces, &question, &how, &found->arena,
                       &found->ranked, &found->n_ranked, error);
}

mneme_status mn_find(mneme *memory, const char *text, const mneme_query_options *options, uint32_t k, mn_found *found,
                     mneme_error *error)
{
    *found = (mn_found){.started = mn_clock_monotonic()};
    mn_crew *crew = mode_of(memory, options) == MNEME_MODE_HYBRID
                        ? mn_question_crew_take(&memory->crew, (unsigned)memory->values.retrieval_threads)
                        : NULL;
    mneme_status status = find(memory, text, options, k, crew, found, error);
    mn_question_crew_give(&memory->crew, crew);
    return status;
}

void mn_found_end(mn_found *found)
{
    for (size_t i = 0; found->indexes && i < found->n_namespaces; i++) mn_index_release(found->indexes[i]);
    mn_read_end(found->read);
    mn_arena_free(&found->arena);
    *found = (mn_found){0};
}

/* ---- the question's terms in what is found ---------------------------------------------------------------------- */

mneme_status mn_common_terms(const mneme *memory, const mn_found *found, const mn_terms_of *of, mn_arena *arena,
                             const char *const **out, size_t *n, mneme_error *error)
{
    const mn_term_list *asked = &found->asked;
    mn_term_list has = {0};
    mn_buffer text = {0};
    if (asked->n == 0) return MNEME_OK;
    const char **terms = mn_arena_array(arena, asked->n, sizeof *terms);
    mn_record_header(of->title, of->speaker, &text);
    mn_buffer_append(&text, of->text, of->text_size);
    mneme_status status = !terms || text.failed ? mn_fail_memory(error, "terms") : MNEME_OK;
    if (status == MNEME_OK)
        status = mn_analyzer_run(memory->analyzer, text.data ? text.data : "", text.size, arena, &has, error);
    for (size_t i = 0, j = 0; status == MNEME_OK && i < asked->n && j < has.n;) {
        int order = mn_term_order(&asked->items[i], &has.items[j]);
        if (order == 0 && !(terms[(*n)++] = mn_arena_copy(arena, asked->items[i].text, asked->items[i].size)))
            status = mn_fail_memory(error, "terms");
        i += order <= 0;
        j += order >= 0;
    }
    *out = terms;
    mn_buffer_free(&text);
    return status;
}

/* ---- hits ------------------------------------------------------------------------------------------------------ */

typedef struct hits_block {
    mneme_hits hits; /* first: what the caller sees */
    mn_arena arena;
} hits_block;

void mneme_hits_free(mneme_hits *hits)
{
    if (!hits) return;
    hits_block *block = (hits_block *)hits;
    mn_arena_free(&block->arena);
    mn_free(block);
}

mneme_status mn_copy_text(mn_read *read, uint32_t ns, uint32_t rec, uint64_t start, uint64_t end, mn_arena *arena,
                          const char **out, mneme_error *error)
{
    mn_buffer text = {0};
    mneme_status status = mn_read_text(read, ns, rec, start, end, &text, error);
    if (status == MNEME_OK && text.failed) status = mn_fail_memory(error, "text");
    if (status == MNEME_OK && !(*out = mn_arena_copy(arena, text.data, text.size)))
        status = mn_fail_memory(error, "text");
    mn_buffer_free(&text);
    return status;
}

static mneme_status fill_hit(const mneme *memory, const mn_found *found, const mn_ranked *ranked, mn_arena *arena,
                             mneme_hit *hit, mneme_error *error)
{
    const mn_namespace *space = &found->namespaces[ranked->ns_index];
    mn_record record;
    mneme_status status = mn_read_record(found->read, space->ns, ranked->rec, &record, error);
    if (status != MNEME_OK) return status;
    *hit = (mneme_hit){.id = mn_arena_strdup(arena, record.id),
                       .name_space = mn_arena_strdup(arena, space->name),
                       .title = mn_arena_strdup(arena, record.title),
                       .session = mn_arena_strdup(arena, record.session),
                       .speaker = mn_arena_strdup(arena, record.speaker),
                       .metadata = mn_arena_strdup(arena, record.metadata),
                       .source = mn_arena_strdup(arena, record.source),
                       .has_time = record.has_time,
                       .time_ms = record.time_ms,
                       .chunk = ranked->chunk,
                       .start = ranked->start,
                       .end = ranked->end,
                       .text_size = ranked->end - ranked->start,
                       .score = ranked->score,
                       .dense = ranked->dense,
                       .lexical = ranked->lexical,
                       .neighbour = ranked->neighbour,
                       .attention = ranked->attention,
                       .parts = ranked->parts};
    if (!hit->id || !hit->name_space) return mn_fail_memory(error, "hit");
    status = prior_of(memory, found->read, space->ns, &record, &hit->strength, &hit->recency, error);
    if (status != MNEME_OK) return status;
    status = mn_copy_text(found->read, space->ns, ranked->rec, ranked->start, ranked->end, arena, &hit->text, error);
    const mn_terms_of of = {record.title, record.speaker, hit->text, hit->text_size};
    return status == MNEME_OK ? mn_common_terms(memory, found, &of, arena, &hit->terms, &hit->n_terms, error) : status;
}

static void note_hits(mneme *memory, mn_found *found)
{
    mn_use *uses = mn_arena_array(&found->arena, found->n_ranked, sizeof *uses);
    for (size_t i = 0; uses && i < found->n_ranked; i++) {
        const mn_ranked *hit = &found->ranked[i];
        uses[i] = (mn_use){.ns = found->namespaces[hit->ns_index].ns, .rec = hit->rec, .attention = hit->attention};
    }
    if (uses) mn_note_uses(memory, uses, found->n_ranked);
}

mneme_status mneme_query(mneme *memory, const char *question, const mneme_query_options *options, mneme_hits **out,
                         mneme_error *error)
{
    static const mneme_query_options defaults = MNEME_QUERY_OPTIONS_INIT;
    *out = NULL;
    if (!options) options = &defaults;
    uint32_t k = options->k ? options->k : (uint32_t)memory->values.retrieval_k;
    mn_found found;
    mneme_status status = mn_find(memory, question, options, k, &found, error);
    hits_block *block = status == MNEME_OK ? mn_alloc_zeroed(1, sizeof *block) : NULL;
    mneme_hit *items = block ? mn_arena_array(&block->arena, found.n_ranked, sizeof *items) : NULL;
    if (status == MNEME_OK && !items) status = mn_fail_memory(error, "hits");
    for (size_t i = 0; i < found.n_ranked && status == MNEME_OK; i++)
        status = fill_hit(memory, &found, &found.ranked[i], &block->arena, &items[i], error);
    if (status == MNEME_OK) {
        block->hits = (mneme_hits){.n = found.n_ranked,
                                   .items = items,
                                   .took_ms = (mn_clock_monotonic() - found.started) * 1000.0,
                                   .generation = mn_read_generation(found.read),
                                   .is_unknown = found.is_unknown};
        *out = &block->hits;
        if (mn_strengthens(memory, options)) note_hits(memory, &found);
    } else if (block) {
        mneme_hits_free(&block->hits);
    }
    mn_found_end(&found);
    return status;
}
