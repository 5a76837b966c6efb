/* salvage_records.c -- what can be read of a damaged store, record by record.
 *
 * The walk is over the keys of the records, whatever namespaces say. Each record is read in a read of its own: LMDB
 * gives up a transaction at its first error. */
#include "memory/handle.h"

#include "common/utf8.h"
#include "memory/record_copy.h"
#include "memory/record_hash.h"
#include "memstore/salvage_read.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

enum { DIMENSION_MAX = 65536 };

typedef struct salvage_job {
    mneme *memory;
    const mneme_salvage_options *options;
    mn_arena arena; /* names, filter */
    mn_filter filter;
    mn_namespace *spaces;
    size_t n_spaces;
    bool vectors;
    bool has_hashes;      /* some record's hash was found right: the settings are those that it was stored under */
    mn_namespace made_up; /* for the namespace whose entry is not there */
    char made_up_name[40];
    /* the record in hand */
    mn_arena record_arena;
    mn_buffer text, problem;
} salvage_job;

static void at(const salvage_job *job, mneme_salvage_step step, uint32_t ns, uint32_t rec)
{
    const mneme_salvage_place place = {.step = step, .name_space = ns, .record = rec};
    job->options->at(job->options->context, &place);
}

static void add_problem(salvage_job *job, const char *what)
{
    mn_buffer_format(&job->problem, "%s%s", job->problem.size ? "; " : "", what);
}

/* ---- namespaces ---- */

static mneme_status list_namespaces(salvage_job *job, mneme_error *error)
{
    mn_read *read = NULL;
    mneme_error problem;
    if (job->options->without_namespaces) return MNEME_OK;
    at(job, MNEME_SALVAGE_NAMESPACES, 0, 0);
    mneme_status status = mn_read_begin(job->memory->store, &read, error);
    if (status != MNEME_OK) return status;
    status = mn_salvage_namespaces(read, &job->arena, &job->spaces, &job->n_spaces, job->options->damage,
                                   job->options->context, &problem);
    mn_read_end(read);
    if (status == MNEME_ERR_MEMORY) return mn_fail(error, status, "%s", problem.message);
    if (status != MNEME_OK) job->options->damage(job->options->context, problem.message);
    for (size_t i = 0; i < job->n_spaces && job->options->known_namespace; i++)
        job->options->known_namespace(job->options->context, job->spaces[i].ns, job->spaces[i].name,
                                      job->spaces[i].n_records);
    return MNEME_OK;
}

static mneme_status tell_encoder(salvage_job *job, mneme_error *error)
{
    const mneme_salvage_options *options = job->options;
    mn_read *read = NULL;
    mn_encoder_stamp stamp;
    mneme_error problem;
    job->vectors = options->vectors;
    if (!options->vectors || !options->encoder) return MNEME_OK;
    at(job, MNEME_SALVAGE_ENCODER, 0, 0);
    mneme_status status = mn_read_begin(job->memory->store, &read, error);
    if (status != MNEME_OK) return status;
    if (mn_read_encoder(read, &stamp, &problem) == MNEME_OK) {
        options->encoder(options->context, stamp.name, stamp.fingerprint, stamp.dimension);
    } else {
        job->vectors = false;
        options->damage(options->context, "which encoder made the vectors cannot be read: they are left out");
    }
    mn_read_end(read);
    return MNEME_OK;
}

static const mn_namespace *namespace_of(salvage_job *job, uint32_t ns)
{
    for (size_t i = 0; i < job->n_spaces; i++)
        if (job->spaces[i].ns == ns) return &job->spaces[i];
    snprintf(job->made_up_name, sizeof job->made_up_name, "recovered-%u", ns);
    if (job->made_up.ns != ns || !job->made_up.name) {
        char line[120];
        snprintf(line, sizeof line, "namespace number %u is not in the list: its records get namespace \"%s\"", ns,
                 job->made_up_name);
        job->options->damage(job->options->context, line);
    }
    job->made_up = (mn_namespace){.name = job->made_up_name, .ns = ns};
    return &job->made_up;
}

/* ---- one record ---- */

/* A string as it may be stored again. */
static const char *whole_string(salvage_job *job, const char *name, const char *text)
{
    size_t size = text ? strlen(text) : 0;
    if (!text || mn_utf8_valid(text, size)) return mn_arena_strdup(&job->record_arena, text);
    mn_buffer repaired = {0};
    mn_utf8_repair(text, size, &repaired);
    char *copy = repaired.failed ? NULL : mn_arena_copy(&job->record_arena, repaired.data, repaired.size);
    mn_buffer_free(&repaired);
    mn_buffer_format(&job->problem, "%sits %s is damaged", job->problem.size ? "; " : "", name);
    return copy;
}

static const char *whole_metadata(salvage_job *job, const char *text)
{
    if (!text) return NULL;
    json_t *value = json_loads(text, JSON_ALLOW_NUL, NULL);
    bool fine = json_is_object(value);
    json_decref(value);
    if (fine) return mn_arena_strdup(&job->record_arena, text);
    add_problem(job, "its metadata are damaged and left out");
    return NULL;
}

/* said: how long the text should be. */
static mneme_status whole_text(salvage_job *job, uint64_t said, mneme_record *to, mneme_error *error)
{
    mn_buffer repaired = {0}, *text = &job->text;
    if (said > text->size && said < UINT32_MAX)
        mn_buffer_format(&job->problem, "%s%llu bytes of its text are missing", job->problem.size ? "; " : "",
                         (unsigned long long)(said - text->size));
    else if (said != text->size)
        add_problem(job, "the size of its text is damaged");
    if (text->size && !mn_utf8_valid(text->data, text->size)) {
        mn_utf8_repair(text->data, text->size, &repaired);
        text = &repaired;
        add_problem(job, "its text is damaged");
    }
    to->text = text->failed ? NULL : mn_arena_copy(&job->record_arena, text->data ? text->data : "", text->size);
    to->text_size = text->size;
    mn_buffer_free(&repaired);
    return to->text ? MNEME_OK : mn_fail_memory(error, "text");
}

/* As `check` has it; false for NaN. */
static bool vector_is_whole(const float *vector, const mn_namespace *space)
{
    double squares = 0;
    for (uint32_t i = 0; i < space->dimension; i++) squares += (double)vector[i] * (double)vector[i];
    return fabs(squares - 1.0) < mn_vector_slack(space->vector_type);
}

/* A text can be encoded again; a vector of the record's own cannot, so what lies there is taken if it can be one. */
static bool read_vector(salvage_job *job, mn_read *read, const mn_namespace *space, const mn_record *from, uint32_t row,
                        float *vector)
{
    vector[0] = NAN; /* no vector yet */
    bool right = mn_read_row_vector(read, space, row, vector, NULL) == MNEME_OK;
    if (!vector_is_whole(vector, space)) return false;
    if (!right && from->own_vector)
        add_problem(job, "its own vector may be damaged: it lies with others that do not fit their checksum");
    return right || from->own_vector;
}

/* All chunks, or none: false. */
static bool read_chunks(salvage_job *job, mn_read *read, const mn_namespace *space, const mn_record *from,
                        const mneme_record *to, mneme_chunk *chunks)
{
    for (uint32_t i = 0; i < from->n_chunks; i++) {
        mn_row row;
        float *vector = mn_arena_array(&job->record_arena, space->dimension, sizeof *vector);
        if (!vector || mn_read_row(read, space, from->first_row + i, &row, NULL) != MNEME_OK) return false;
        if (row.rec != from->rec || row.start > row.end || row.end > to->text_size) return false;
        if (mn_utf8_floor(to->text, to->text_size, row.start) != row.start) return false;
        if (mn_utf8_floor(to->text, to->text_size, row.end) != row.end) return false;
        if (!read_vector(job, read, space, from, from->first_row + i, vector)) return false;
        chunks[i] = (mneme_chunk){.start = row.start, .end = row.end, .vector = vector};
    }
    return true;
}

static void add_vectors(salvage_job *job, mn_read *read, const mn_namespace *space, const mn_record *from,
                        mneme_record *to)
{
    bool dimension = space->dimension <= DIMENSION_MAX && (space->dimension >= 1 || from->n_chunks == 0);
    bool possible = dimension && from->n_chunks <= to->text_size + 1 && from->n_chunks <= UINT32_MAX - from->first_row;
    size_t n = from->n_chunks ? from->n_chunks : 1; /* none is an answer, too */
    mneme_chunk *chunks = possible ? mn_arena_array(&job->record_arena, n, sizeof *chunks) : NULL;
    if (!chunks || !read_chunks(job, read, space, from, to, chunks)) {
        add_problem(job,
                    from->own_vector ? "its own vector is lost" : "its vectors are lost (an import encodes it again)");
        return;
    }
    to->dimension = from->n_chunks ? space->dimension : 0;
    if (from->own_vector && from->n_chunks) {
        to->vector = chunks[0].vector;
    } else {
        to->chunks = chunks;
        to->n_chunks = from->n_chunks;
    }
}

/* The hash does not cover the id; but the id leads to the record. */
static void check_id(salvage_job *job, mn_read *read, const mn_record *record, uint32_t ns)
{
    uint32_t rec = 0;
    mneme_status status = mn_read_find(read, ns, record->id, &rec, NULL);
    if (status == MNEME_ERR_NOT_FOUND || (status == MNEME_OK && rec != record->rec))
        add_problem(job, "its id does not lead to it: it may be damaged");
}

static void add_life(salvage_job *job, mn_read *read, const mn_record *from, uint32_t ns, mneme_record *to)
{
    mn_strength kept = {0};
    if (mn_read_strength(read, ns, from->rec, &kept, NULL) != MNEME_OK) {
        add_problem(job, "whether it is pinned and when it ends cannot be read");
        kept = (mn_strength){0};
    }
    mn_copy_life(from, &kept, to);
}

static mneme_status copy_labels(salvage_job *job, const mn_namespace *space, const mn_record *from, mneme_record *to,
                                mneme_error *error)
{
    *to = (mneme_record){.name_space = space->name, .has_time = from->has_time, .time_ms = from->time_ms};
    const struct {
        const char *name, *from, **to;
    } strings[] = {{"id", from->id, &to->id},
                   {"title", from->title, &to->title},
                   {"session", from->session, &to->session},
                   {"speaker", from->speaker, &to->speaker},
                   {"source", from->source, &to->source}};
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
        *strings[i].to = whole_string(job, strings[i].name, strings[i].from);
        if (strings[i].from && !*strings[i].to) return mn_fail_memory(error, "record");
    }
    to->metadata = whole_metadata(job, from->metadata);
    return MNEME_OK;
}

/* Nothing else may show that a byte has changed. The hash is over the settings for chunks, too, which are not stored:
 * it counts only once it was found right, and a vector of the record's own was hashed before it was rounded. */
static mneme_status check_hash(salvage_job *job, const mn_record *from, const mneme_record *to, mneme_error *error)
{
    uint64_t hash[2];
    if (from->own_vector || job->problem.size) return MNEME_OK;
    mneme_status status = mn_record_hash(to, &job->memory->values, hash, error);
    if (status != MNEME_OK) return status;
    bool right = hash[0] == from->hash[0] && hash[1] == from->hash[1];
    if (right)
        job->has_hashes = true;
    else if (job->has_hashes)
        add_problem(job,
                    "its content does not fit its hash: it is damaged, or was stored under other settings for chunks");
    return MNEME_OK;
}

/* Give the record to the caller; record NULL: there is none to give. */
static mneme_status hand_out(salvage_job *job, uint32_t ns, uint32_t rec, const mneme_record *record,
                             mneme_error *error)
{
    const mneme_salvage_place place = {.step = MNEME_SALVAGE_RECORD, .name_space = ns, .record = rec};
    const char *problem = job->problem.size ? job->problem.data : NULL;
    if (job->problem.failed) return mn_fail_memory(error, "record");
    if (job->options->take(job->options->context, &place, record, problem)) return MNEME_OK;
    return mn_fail(error, MNEME_ERR_CANCELLED, "cancelled");
}

static mneme_status salvage_one(salvage_job *job, mn_read *read, uint32_t ns, uint32_t rec, mneme_error *error)
{
    const mn_namespace *space = namespace_of(job, ns);
    const mneme_salvage_options *options = job->options;
    mneme_error problem;
    mn_record record;
    mneme_record out = {0};
    at(job, MNEME_SALVAGE_RECORD, ns, rec);
    mneme_status status = mn_salvage_record(read, ns, rec, &record, &job->text, &problem);
    if (status == MNEME_ERR_MEMORY) return mn_fail(error, status, "%s", problem.message);
    if (status != MNEME_OK) {
        add_problem(job, problem.message);
        return hand_out(job, ns, rec, NULL, error);
    }
    bool selected = !options->select.name_space || strcmp(options->select.name_space, space->name) == 0;
    if (!selected || !mn_filter_accepts(&job->filter, space->name, &record)) return hand_out(job, ns, rec, NULL, error);
    status = copy_labels(job, space, &record, &out, error);
    if (status == MNEME_OK) status = whole_text(job, record.text_size, &out, error);
    if (status == MNEME_OK) status = check_hash(job, &record, &out, error);
    if (status != MNEME_OK) return status;
    bool skipped = options->without_first_vectors && ns == options->name_space && rec == options->record;
    bool vectors = job->vectors || record.own_vector; /* there may be nothing else to such a record */
    if (skipped) {
        add_problem(job, "its strength or its vectors cannot be read");
    } else {
        at(job, MNEME_SALVAGE_VECTORS, ns, rec);
        check_id(job, read, &record, ns);
        add_life(job, read, &record, ns, &out);
        if (vectors) add_vectors(job, read, space, &record, &out);
    }
    return hand_out(job, ns, rec, &out, error);
}

/* ---- all ---- */

static mneme_status next_record(salvage_job *job, uint32_t *ns, uint32_t *rec, mneme_error *error)
{
    mn_read *read = NULL;
    at(job, MNEME_SALVAGE_NEXT, *ns, *rec);
    mneme_status status = mn_read_begin(job->memory->store, &read, error);
    if (status == MNEME_OK) status = mn_salvage_next(read, *ns, *rec, ns, rec, error);
    if (status == MNEME_OK && !job->options->only_look) status = salvage_one(job, read, *ns, *rec, error);
    mn_read_end(read);
    mn_arena_free(&job->record_arena);
    mn_buffer_clear(&job->text);
    mn_buffer_clear(&job->problem);
    return status;
}

mneme_status mneme_salvage(mneme *memory, const mneme_salvage_options *options, mneme_error *error)
{
    if (!options || !options->at || !options->take || !options->damage)
        return mn_fail(error, MNEME_ERR_USAGE, "mneme_salvage needs at, take and damage");
    salvage_job job = {.memory = memory, .options = options};
    uint32_t ns = options->name_space, rec = options->record;
    mneme_status status = mn_filter_compile(&options->select, &job.arena, &job.filter, error);
    if (status == MNEME_OK && !options->only_look) status = tell_encoder(&job, error);
    if (status == MNEME_OK && !options->only_look) status = list_namespaces(&job, error);
    while (status == MNEME_OK) {
        status = next_record(&job, &ns, &rec, error);
        if (options->only_look || (rec == UINT32_MAX && ns == UINT32_MAX)) break;
        if (++rec == 0) ns++;
    }
    mn_arena_free(&job.record_arena);
    mn_arena_free(&job.arena);
    mn_buffer_free(&job.text);
    mn_buffer_free(&job.problem);
    return status == MNEME_ERR_NOT_FOUND ? MNEME_OK : status;
}

mneme_status mneme_salvage_ids(mneme *memory,
                               bool (*visit)(void *context, uint32_t name_space, uint32_t record, const char *id),
                               void *context, mneme_error *error)
{
    mn_read *read = NULL;
    mneme_status status = mn_read_begin(memory->store, &read, error);
    if (status != MNEME_OK) return status;
    status = mn_salvage_ids(read, visit, context, error);
    mn_read_end(read);
    return status;
}
