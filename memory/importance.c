/* importance.c -- the estimate of importance.h. Row counts of terms are read from the store once per call and counted
 * up in a table of hashes; two terms with one 64-bit hash would share a count, which nobody would notice. */
#include "memory/importance.h"

#include <math.h>
#include <string.h>
#include <xxhash.h>

typedef struct count_entry {
    uint64_t key; /* 0 = free */
    uint64_t in_store;
    uint32_t in_call;
    uint32_t counted_by; /* the last record that counted it */
} count_entry;

/* Open addressing with linear probing, at most half full. */
typedef struct count_table {
    count_entry *slots;
    size_t n, n_slots;
} count_table;

struct mn_importance {
    const mneme *memory;
    mn_read *read;
    mn_arena arena; /* of one record */
    count_table terms;
    count_table sessions; /* in_call: 1 its last record holds no question, 2 it does */
    count_table spaces;   /* in_call: records counted in this call */
    uint32_t n_records;
};

mneme_status mn_importance_open(const mneme *memory, mn_read *read, mn_importance **out, mneme_error *error)
{
    *out = mn_alloc_zeroed(1, sizeof **out);
    if (!*out) return mn_fail_memory(error, "importance");
    (*out)->memory = memory;
    (*out)->read = read;
    return MNEME_OK;
}

void mn_importance_close(mn_importance *state)
{
    if (!state) return;
    mn_arena_free(&state->arena);
    mn_free(state->terms.slots);
    mn_free(state->sessions.slots);
    mn_free(state->spaces.slots);
    mn_free(state);
}

/* ---- counting ------------------------------------------------------------------------------------------------- */

static count_entry *probe(const count_table *table, uint64_t key)
{
    size_t at = (size_t)key & (table->n_slots - 1);
    while (table->slots[at].key && table->slots[at].key != key) at = (at + 1) & (table->n_slots - 1);
    return &table->slots[at];
}

static bool grow(count_table *table)
{
    count_table larger = {.n = table->n, .n_slots = table->n_slots ? table->n_slots * 2 : 1024};
    larger.slots = mn_alloc_zeroed(larger.n_slots, sizeof *larger.slots);
    if (!larger.slots) return false;
    for (size_t i = 0; i < table->n_slots; i++)
        if (table->slots[i].key) *probe(&larger, table->slots[i].key) = table->slots[i];
    mn_free(table->slots);
    *table = larger;
    return true;
}

/* The entry of a key, *fresh when it was not there; NULL: out of memory. */
static count_entry *entry_of(count_table *table, uint64_t key, bool *fresh)
{
    if (key == 0) key = 1;
    if (table->n * 2 >= table->n_slots && !grow(table)) return NULL;
    count_entry *entry = probe(table, key);
    *fresh = entry->key == 0;
    entry->key = key;
    table->n += *fresh;
    return entry;
}

static uint64_t hash_text(const char *text, uint64_t seed)
{
    return XXH3_64bits_withSeed(text, strlen(text), seed);
}

/* The namespace that a record is for; ns 0 while it does not exist. */
typedef struct record_space {
    uint32_t ns;
    uint64_t hash;
    count_entry *entry;
} record_space;

static mneme_status find_space(mn_importance *state, const mneme_record *record, record_space *out, mneme_error *error)
{
    mn_namespace space = {0};
    bool fresh = false;
    const char *name = record->name_space ? record->name_space : "";
    mneme_status status = mn_read_namespace(state->read, name, &space, error);
    if (status != MNEME_OK && status != MNEME_ERR_NOT_FOUND) return status;
    out->ns = status == MNEME_OK ? space.ns : 0;
    out->hash = hash_text(name, 0);
    out->entry = entry_of(&state->spaces, out->hash, &fresh);
    if (!out->entry) return mn_fail_memory(error, "importance");
    out->entry->in_store = out->ns ? space.n_chunks : 0;
    return MNEME_OK;
}

/* ---- questions and statements ----------------------------------------------------------------------------------- */

/* Bytes of the sentence mark at `at`, 0 when there is none: . ! ? and their wide and Arabic forms. */
static size_t mark_at(const char *at, size_t left, bool *question)
{
    const unsigned char *b = (const unsigned char *)at;
    *question = false;
    if (b[0] == '.' || b[0] == '!') return 1;
    if (b[0] == '?') return *question = true, 1;
    if (b[0] == 0xD8 && left > 1 && b[1] == 0x9F) return *question = true, 2; /* U+061F */
    if (b[0] == 0xE3 && left > 2 && b[1] == 0x80 && b[2] == 0x82) return 3;   /* U+3002 */
    if (b[0] != 0xEF || left < 3 || b[1] != 0xBC) return 0;
    *question = b[2] == 0x9F; /* U+FF1F */
    return *question || b[2] == 0x81 ? 3 : 0;
}

static bool holds_question(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        bool question = false;
        if (mark_at(text + i, size - i, &question) && question) return true;
    }
    return false;
}

/* Share the sentences of a text out to the two buffers. */
static void split(const char *text, size_t size, mn_buffer *statements, mn_buffer *questions)
{
    for (size_t start = 0, at = 0; start < size; start = at) {
        bool last, question = false; /* by the last mark of a run */
        size_t mark = 0;
        while (at < size && !mark_at(text + at, size - at, &last)) at++;
        for (; at < size && (mark = mark_at(text + at, size - at, &last)); at += mark) question = last;
        mn_buffer_append(question ? questions : statements, text + start, at - start);
    }
}

/* ---- does it answer? -------------------------------------------------------------------------------------------- */

/* Does the record before a new one of this session, as the store has it, hold a question? */
static mneme_status stored_question(mn_importance *state, uint32_t ns, const mneme_record *record, bool *question,
                                    mneme_error *error)
{
    mn_record same, before;
    uint32_t rec = 0;
    *question = false;
    if (!ns) return MNEME_OK;
    mneme_status status = mn_read_find(state->read, ns, record->id, &rec, NULL);
    if (status == MNEME_OK) status = mn_read_record(state->read, ns, rec, &same, NULL);
    if (status == MNEME_OK && same.session && strcmp(same.session, record->session) == 0)
        status = mn_read_session_step(state->read, ns, &same, -1, &before, error);
    else
        status = mn_read_session_last(state->read, ns, record->session, &before, error);
    if (status == MNEME_ERR_NOT_FOUND) return MNEME_OK;
    mn_buffer text = {0};
    uint64_t size = before.text_size < 65536 ? before.text_size : 65536;
    if (status == MNEME_OK) status = mn_read_text(state->read, ns, before.rec, 0, size, &text, error);
    if (status == MNEME_OK) *question = holds_question(text.data ? text.data : "", text.size);
    mn_buffer_free(&text);
    return status;
}

/* *answers: the record before it asks. Notes what this one does. */
static mneme_status follow_session(mn_importance *state, const record_space *space, const mneme_record *record,
                                   bool *answers, mneme_error *error)
{
    bool fresh = false;
    *answers = false;
    if (!record->session) return MNEME_OK;
    count_entry *entry = entry_of(&state->sessions, hash_text(record->session, space->hash), &fresh);
    if (!entry) return mn_fail_memory(error, "importance");
    *answers = entry->in_call == 2;
    mneme_status status = fresh ? stored_question(state, space->ns, record, answers, error) : MNEME_OK;
    entry->in_call = holds_question(record->text, record->text_size) ? 2 : 1;
    return status;
}

mneme_status mn_importance_pass(mn_importance *state, const mneme_record *record, mneme_error *error)
{
    record_space space;
    bool answers = false;
    mneme_status status = find_space(state, record, &space, error);
    return status == MNEME_OK ? follow_session(state, &space, record, &answers, error) : status;
}

/* ---- how much is said ------------------------------------------------------------------------------------------- */

static double idf(double n, double df)
{
    return log(1 + (n - df + 0.5) / (df + 0.5));
}

/* Count the terms once for this record; *sum: of their weights. */
static mneme_status weigh(mn_importance *state, const record_space *space, const mn_term_list *terms, double *sum,
                          mneme_error *error)
{
    double n = (double)(space->entry->in_store + space->entry->in_call), most = idf(n, 0);
    *sum = 0;
    for (size_t i = 0; i < terms->n; i++) {
        const mn_term *term = &terms->items[i];
        bool fresh = false;
        count_entry *entry = entry_of(&state->terms, XXH3_64bits_withSeed(term->text, term->size, space->hash), &fresh);
        if (!entry) return mn_fail_memory(error, "importance");
        if (fresh && space->ns) {
            mneme_status status =
                mn_read_term_rows(state->read, space->ns, term->text, term->size, &entry->in_store, error);
            if (status != MNEME_OK) return status;
        }
        bool counted = entry->counted_by == state->n_records;
        double df = (double)(entry->in_store + entry->in_call - (counted ? 1 : 0));
        *sum += idf(n, df < n ? df : n) / most;
        if (!counted) entry->in_call++;
        entry->counted_by = state->n_records;
    }
    return MNEME_OK;
}

static mneme_status analyze(mn_importance *state, const char *text, size_t size, mn_term_list *out, mneme_error *error)
{
    *out = (mn_term_list){0};
    if (size == 0) return MNEME_OK;
    return mn_analyzer_run(state->memory->analyzer, text, size, &state->arena, out, error);
}

/* *x: -1 for a text without words. */
static mneme_status amount_said(mn_importance *state, const record_space *space, const mneme_record *record, double *x,
                                mneme_error *error)
{
    mn_buffer statements = {0}, questions = {0};
    mn_term_list said = {0}, asked = {0};
    double sum = 0, ignored = 0;
    state->n_records++;
    bool mixed = holds_question(record->text, record->text_size);
    if (mixed) split(record->text, record->text_size, &statements, &questions);
    mneme_status status = statements.failed || questions.failed ? mn_fail_memory(error, "importance") : MNEME_OK;
    const char *text = mixed ? (statements.data ? statements.data : "") : record->text;
    if (status == MNEME_OK) status = analyze(state, text, mixed ? statements.size : record->text_size, &said, error);
    if (status == MNEME_OK) status = analyze(state, questions.data, questions.size, &asked, error);
    if (status == MNEME_OK) status = weigh(state, space, &said, &sum, error);
    if (status == MNEME_OK) status = weigh(state, space, &asked, &ignored, error);
    uint64_t n = said.total + asked.total;
    *x = n ? sum / sqrt((double)n + 1) : -1;
    space->entry->in_call++;
    mn_buffer_free(&questions);
    mn_buffer_free(&statements);
    mn_arena_free(&state->arena);
    return status;
}

mneme_status mn_importance_next(mn_importance *state, const mneme_record *record, double *importance,
                                mneme_error *error)
{
    const mn_settings_values *values = &state->memory->values;
    record_space space;
    bool answers = false;
    double x = 0;
    *importance = -1;
    mneme_status status = find_space(state, record, &space, error);
    if (status == MNEME_OK) status = follow_session(state, &space, record, &answers, error);
    if (status == MNEME_OK) status = amount_said(state, &space, record, &x, error);
    if (answers) x *= values->memory_answer_factor;
    if (status != MNEME_OK || x < 0) return status;
    double half = values->memory_importance_half;
    *importance = x > 0 ? x / (x + half) : 0;
    return MNEME_OK;
}
