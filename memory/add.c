/* add.c -- records in: check, skip what is unchanged, chunk, encode, store in one transaction.
 *
 *     records --prepare--> drafts --skip unchanged--> --chunk--> texts --encode--> vectors --store--> one transaction
 *
 * Nothing is held open while encoding; the transaction at the end only writes. */
#include "memory/add_chunks.h"
#include "memory/add_vectors.h"
#include "memory/importance.h"
#include "memory/index_keeper.h"
#include "memory/record_hash.h"

#include "common/utf8.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* One record on its way into the store. */
typedef struct draft {
    mneme_record record; /* text valid and of known size; strings in the arena or the caller's */
    size_t index;        /* in the caller's array */
    uint64_t hash[2];
    bool repeated;                /* its id comes more than once in this call: it is never "unchanged" */
    bool left_out;                /* unchanged or refused: nothing to store */
    bool attributes;              /* content unchanged, importance, pin or end are not: only these are written */
    bool exists;                  /* an older record with this id is in the store */
    double importance;            /* estimated; -1: none needed */
    uint32_t dimension;           /* of the vectors that its namespace has; 0 = none yet */
    size_t first_chunk, n_chunks; /* of the job's chunks */
} draft;

typedef struct add_job {
    mneme *memory;
    const mneme_add_options *options;
    mneme_add_result *result;
    mn_arena arena;
    draft *drafts;
    size_t n_drafts;
    mn_add_chunks chunks;       /* of all drafts to store */
    mneme_encoder *encoder;     /* NULL: nothing to encode */
    uint64_t seen_encoder;      /* fingerprint of the store's when namespaces were looked at; 0: it had none */
    bool is_stale;              /* the store has got another one since */
    uint32_t given_dimension;   /* of the chunks that records bring; 0: none does */
    mn_vector_type vector_type; /* of namespaces without vectors, where takes_vector_type */
    bool takes_vector_type;
} add_job;

/* ---- prepare ------------------------------------------------------------------------------------------------- */

static mneme_status check_name(const char *what, const char *name, size_t least, mneme_error *error)
{
    size_t size = name ? strlen(name) : 0;
    if (size < least) return mn_fail(error, MNEME_ERR_RECORD, "a record without %s", what);
    if (size > MN_ID_MAX)
        return mn_fail(error, MNEME_ERR_RECORD, "%s \"%.40s...\" has %zu bytes; at most %u", what, name, size,
                       MN_ID_MAX);
    if (name && !mn_utf8_valid(name, size))
        return mn_fail(error, MNEME_ERR_RECORD, "%s \"%.40s\" is not valid UTF-8", what, name);
    return MNEME_OK;
}

static mneme_status check_metadata(const mneme_record *record, mneme_error *error)
{
    if (!record->metadata) return MNEME_OK;
    json_error_t problem;
    json_t *metadata = json_loads(record->metadata, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &problem);
    bool is_object = json_is_object(metadata);
    json_decref(metadata);
    if (is_object) return MNEME_OK;
    return mn_fail(error, MNEME_ERR_RECORD, "record \"%s\": metadata: %s", record->id,
                   metadata ? "not a JSON object" : problem.text);
}

static mneme_status check_life(const mneme_record *record, mneme_error *error)
{
    if (record->has_importance && !(record->importance >= 0 && record->importance <= 1))
        return mn_fail(error, MNEME_ERR_RECORD, "record \"%s\": importance %g; it must be 0 to 1", record->id,
                       (double)record->importance);
    if (record->ttl_ms < 0)
        return mn_fail(error, MNEME_ERR_RECORD, "record \"%s\": a time to live below 0", record->id);
    return MNEME_OK;
}

static mneme_status check_record(const add_job *job, const mneme_record *record, mneme_error *error)
{
    mneme_status status = check_name("an id", record->id, 1, error);
    if (status == MNEME_OK) status = check_name("namespace", record->name_space, 0, error);
    if (status == MNEME_OK) status = check_name("session", record->session, 0, error);
    if (status == MNEME_OK) status = check_metadata(record, error);
    if (status == MNEME_OK) status = check_life(record, error);
    if (status != MNEME_OK) return status;
    size_t limit = (size_t)job->memory->values.index_max_record_mib << 20;
    size_t size = record->text ? (record->text_size ? record->text_size : strlen(record->text)) : 0;
    if (size > limit)
        return mn_fail(error, MNEME_ERR_TOO_LARGE, "record \"%s\" has %zu bytes; index.max_record_mib allows %zu",
                       record->id, size, limit);
    return MNEME_OK;
}

/* A text as it may be stored: itself, or a repaired copy in the arena. */
static mneme_status repair_text(add_job *job, const char *text, size_t size, const char **out, size_t *out_size,
                                mneme_error *error)
{
    *out = text;
    *out_size = size;
    if (!text || mn_utf8_valid(text, size)) return MNEME_OK;
    mn_buffer repaired = {0};
    job->result->replaced_characters += mn_utf8_repair(text, size, &repaired);
    *out = repaired.failed ? NULL : mn_arena_copy(&job->arena, repaired.data, repaired.size);
    *out_size = repaired.size;
    mn_buffer_free(&repaired);
    return *out ? MNEME_OK : mn_fail_memory(error, "text");
}

static mneme_status repair_name(add_job *job, const char **name, mneme_error *error)
{
    size_t size = 0;
    if (*name && !**name) *name = NULL; /* "" is none */
    return repair_text(job, *name, *name ? strlen(*name) : 0, name, &size, error);
}

static mneme_status prepare(add_job *job, const mneme_record *record, draft *d, mneme_error *error)
{
    mneme_status status = check_record(job, record, error);
    if (status != MNEME_OK) return status;
    d->record = *record;
    if (!d->record.chunks) d->record.n_chunks = 0;
    if (!d->record.text) d->record.text = "";
    if (d->record.text_size == 0) d->record.text_size = strlen(d->record.text);
    if (!d->record.has_expires && d->record.ttl_ms > 0) {
        d->record.has_expires = true;
        d->record.expires_ms = mn_memory_now(job->memory) + d->record.ttl_ms;
    }
    status = repair_text(job, d->record.text, d->record.text_size, &d->record.text, &d->record.text_size, error);
    if (status == MNEME_OK) status = repair_name(job, &d->record.title, error);
    if (status == MNEME_OK) status = repair_name(job, &d->record.speaker, error);
    if (status == MNEME_OK) status = repair_name(job, &d->record.source, error);
    if (status == MNEME_OK) status = repair_name(job, &d->record.session, error);
    if (status == MNEME_OK) status = mn_add_vectors_check(&d->record, error);
    if (status == MNEME_OK)
        status = mn_add_vectors_scale(&d->record, job->options->encoder != NULL, &job->arena, error);
    if (status == MNEME_OK) status = mn_record_hash(&d->record, &job->memory->values, d->hash, error);
    return status;
}

/* A record that cannot be stored: report it and go on, or end the call when strict. */
static mneme_status refuse(add_job *job, size_t index, const mneme_error *reason, mneme_error *error)
{
    job->result->refused++;
    if (job->options->refused) job->options->refused(job->options->context, index, reason);
    if (!job->options->strict && reason->code != MNEME_ERR_MEMORY) return MNEME_OK;
    if (error) *error = *reason;
    return reason->code;
}

static mneme_status prepare_all(add_job *job, const mneme_record *records, size_t n, mneme_error *error)
{
    job->drafts = mn_arena_array(&job->arena, n, sizeof *job->drafts);
    mneme_status status = job->drafts ? MNEME_OK : mn_fail_memory(error, "records");
    for (size_t i = 0; i < n && status == MNEME_OK; i++) {
        mneme_error reason = {0};
        draft *d = &job->drafts[job->n_drafts];
        *d = (draft){.index = i, .importance = -1};
        if (prepare(job, &records[i], d, &reason) == MNEME_OK)
            job->n_drafts++;
        else
            status = refuse(job, i, &reason, error);
    }
    return status;
}

/* ---- skip what is unchanged ------------------------------------------------------------------------------------ */

typedef struct id_place {
    uint64_t hash;
    size_t draft;
} id_place;

static int by_hash(const void *left, const void *right)
{
    uint64_t a = ((const id_place *)left)->hash, b = ((const id_place *)right)->hash;
    return a < b ? -1 : a > b;
}

static const char *name_or_empty(const char *name)
{
    return name ? name : "";
}

static mneme_status mark_repeated(add_job *job, mneme_error *error)
{
    id_place *places = mn_arena_array(&job->arena, job->n_drafts, sizeof *places);
    if (!places) return mn_fail_memory(error, "records");
    for (size_t i = 0; i < job->n_drafts; i++) {
        const mneme_record *r = &job->drafts[i].record;
        const char *space = name_or_empty(r->name_space);
        uint64_t hash = XXH3_64bits_withSeed(r->id, strlen(r->id), XXH3_64bits(space, strlen(space)));
        places[i] = (id_place){.hash = hash, .draft = i};
    }
    qsort(places, job->n_drafts, sizeof *places, by_hash);
    for (size_t i = 1; i < job->n_drafts; i++)
        if (places[i].hash == places[i - 1].hash)
            job->drafts[places[i].draft].repeated = job->drafts[places[i - 1].draft].repeated = true;
    return MNEME_OK;
}

/* Does the record say something else of its life than the store? Importance and pin, once given, stay until others are.
 */
static bool attributes_differ(const mneme_record *record, const mn_record *old, const mn_strength *kept)
{
    bool importance =
        record->has_importance && (!old->importance_given || lroundf(record->importance * MN_IMPORTANCE_STEPS) !=
                                                                 lroundf(old->importance * MN_IMPORTANCE_STEPS));
    bool end =
        record->has_expires != kept->has_expires || (record->has_expires && record->expires_ms != kept->expires_ms);
    return importance || end || (record->pinned && !kept->pinned);
}

static mneme_status compare_with_store(mn_read *read, draft *d, mneme_error *error)
{
    mn_namespace space;
    uint32_t rec = 0;
    mn_record old;
    mneme_status status = mn_read_namespace(read, name_or_empty(d->record.name_space), &space, error);
    if (status == MNEME_OK) d->dimension = space.dimension;
    if (status == MNEME_OK) status = mn_read_find(read, space.ns, d->record.id, &rec, error);
    if (status == MNEME_OK) status = mn_read_record(read, space.ns, rec, &old, error);
    if (status == MNEME_ERR_NOT_FOUND) return MNEME_OK;
    if (status != MNEME_OK) return status;
    d->exists = true;
    d->left_out = !d->repeated && old.hash[0] == d->hash[0] && old.hash[1] == d->hash[1];
    mn_strength kept;
    if (!d->left_out) return MNEME_OK;
    status = mn_read_strength(read, space.ns, rec, &kept, error);
    if (status == MNEME_OK) d->attributes = attributes_differ(&d->record, &old, &kept);
    return status;
}

static mneme_status skip_unchanged(add_job *job, mneme_error *error)
{
    mneme_status status = mark_repeated(job, error);
    mn_read *read = NULL;
    if (status == MNEME_OK) status = mn_read_begin(job->memory->store, &read, error);
    if (status != MNEME_OK) return status;
    mn_encoder_stamp stored;
    status = mn_read_encoder(read, &stored, error);
    job->seen_encoder = stored.fingerprint;
    for (size_t i = 0; i < job->n_drafts && status == MNEME_OK; i++) {
        status = compare_with_store(read, &job->drafts[i], error);
        if (job->drafts[i].left_out && !job->drafts[i].attributes) job->result->unchanged++;
    }
    job->result->generation = mn_read_generation(read);
    mn_read_end(read);
    return status;
}

/* The dimension of a record's vectors; 0: it has none. */
static uint32_t dimension_of(const add_job *job, const mneme_record *record)
{
    if (mn_add_needs_encoder(record)) return mn_encoder_info(job->encoder->encoder)->dimension;
    return record->vector || record->n_chunks ? record->dimension : 0;
}

/* The encoder that the store is of now; it must be the one that it was of when its namespaces were looked at. */
static mneme_status load_encoder(add_job *job, mneme_error *error)
{
    mneme_status status = mn_memory_encoder(job->memory, &job->encoder, error);
    if (status != MNEME_OK || !job->seen_encoder) return status;
    job->is_stale = mn_memory_stamp(job->encoder).fingerprint != job->seen_encoder;
    if (!job->is_stale) return MNEME_OK;
    return mn_fail(error, MNEME_ERR_ENCODER, "store %s got another encoder meanwhile; try again",
                   mn_store_path(job->memory->store));
}

/* All vectors of a namespace have one dimension: the store's, else that of the first record for it in this call. */
static mneme_status refuse_wrong_dimensions(add_job *job, mneme_error *error)
{
    mneme_status status = MNEME_OK;
    for (size_t i = 0; i < job->n_drafts && status == MNEME_OK; i++) {
        draft *d = &job->drafts[i];
        if (d->left_out) continue;
        if (mn_add_needs_encoder(&d->record) && !job->encoder) status = load_encoder(job, error);
        if (status != MNEME_OK) return status;
        uint32_t has = dimension_of(job, &d->record);
        for (size_t j = 0; j < i && d->dimension == 0; j++) {
            const draft *before = &job->drafts[j];
            bool same = strcmp(name_or_empty(before->record.name_space), name_or_empty(d->record.name_space)) == 0;
            if (same && !before->left_out) d->dimension = before->dimension;
        }
        if (d->dimension == 0) d->dimension = has;
        if (d->dimension == has || has == 0) continue;
        mneme_error reason;
        mn_fail(&reason, MNEME_ERR_DIMENSION,
                "record \"%s\": a vector of dimension %u; namespace \"%s\" has vectors of dimension %u; put it into "
                "another one",
                d->record.id, has, name_or_empty(d->record.name_space), d->dimension);
        d->left_out = true;
        status = refuse(job, d->index, &reason, error);
    }
    return status;
}

static mneme_status check_given_chunks(add_job *job, mneme_error *error)
{
    for (size_t i = 0; i < job->n_drafts; i++) {
        const draft *d = &job->drafts[i];
        if (d->left_out || d->record.n_chunks == 0) continue;
        job->given_dimension = d->record.dimension;
        return mn_add_vectors_check_encoder(job->memory, job->options, job->encoder, error);
    }
    return MNEME_OK;
}

static void count_changes(add_job *job)
{
    for (size_t i = 0; i < job->n_drafts; i++) {
        const draft *d = &job->drafts[i];
        if (d->left_out && !d->attributes) continue;
        if (d->exists)
            job->result->updated++;
        else
            job->result->added++;
    }
}

/* ---- chunk and encode ------------------------------------------------------------------------------------------- */

static mneme_status chunk_all(add_job *job, mneme_error *error)
{
    mn_add_chunks *chunks = &job->chunks;
    mneme_status status = MNEME_OK;
    chunks->values = &job->memory->values;
    chunks->encoder = job->encoder;
    for (size_t i = 0; i < job->n_drafts && status == MNEME_OK; i++) {
        draft *d = &job->drafts[i];
        if (d->left_out) continue;
        d->first_chunk = chunks->n;
        status = mn_add_chunks_cut(chunks, &d->record, error);
        d->n_chunks = chunks->n - d->first_chunk;
    }
    job->result->chunks = chunks->n;
    return status;
}

/* Of records that are given no importance: it is estimated before anything of this call is in the store. */
static mneme_status estimate_importance(add_job *job, mneme_error *error)
{
    if (strcmp(job->memory->values.memory_importance, "auto") != 0) return MNEME_OK;
    mn_read *read = NULL;
    mn_importance *state = NULL;
    mneme_status status = mn_read_begin(job->memory->store, &read, error);
    if (status == MNEME_OK) status = mn_importance_open(job->memory, read, &state, error);
    for (size_t i = 0; i < job->n_drafts && status == MNEME_OK; i++) {
        draft *d = &job->drafts[i];
        if (d->left_out || d->record.has_importance)
            status = mn_importance_pass(state, &d->record, error);
        else
            status = mn_importance_next(state, &d->record, &d->importance, error);
    }
    mn_importance_close(state);
    mn_read_end(read);
    return status;
}

/* ---- store ---------------------------------------------------------------------------------------------------------
 */

/* The texts that are about to be stored: a dictionary may be made of them. */
static mneme_status offer_texts(const add_job *job, mn_write *write, mneme_error *error)
{
    mn_text *texts = mn_alloc_array(job->n_drafts, sizeof *texts);
    size_t n = 0;
    if (!texts) return mn_fail_memory(error, "records");
    for (size_t i = 0; i < job->n_drafts; i++)
        if (!job->drafts[i].left_out)
            texts[n++] = (mn_text){job->drafts[i].record.text, job->drafts[i].record.text_size};
    mneme_status status = mn_write_dictionary(write, texts, n, error);
    mn_free(texts);
    return status;
}

/* Importance, pin and end of a record whose content stays. */
static mneme_status write_attributes(mn_write *write, const mneme_record *record, mneme_error *error)
{
    mn_read *read = mn_write_read(write);
    mn_namespace space;
    uint32_t rec = 0;
    mn_strength kept;
    mneme_status status = mn_read_namespace(read, name_or_empty(record->name_space), &space, error);
    if (status == MNEME_OK) status = mn_read_find(read, space.ns, record->id, &rec, error);
    if (status == MNEME_OK) status = mn_read_strength(read, space.ns, rec, &kept, error);
    if (status == MNEME_OK && record->has_importance)
        status = mn_write_importance(write, space.ns, rec, record->importance, error);
    if (status != MNEME_OK) return status;
    kept.pinned = kept.pinned || record->pinned;
    kept.has_expires = record->has_expires;
    kept.expires_ms = record->expires_ms;
    return mn_write_strength(write, space.ns, rec, &kept, error);
}

static mneme_status write_all(void *context, mn_write *write, mneme_error *error)
{
    add_job *job = context;
    mneme_status status = MNEME_OK;
    if (job->encoder) {
        mn_encoder_stamp stamp = mn_memory_stamp(job->encoder);
        status = mn_write_encoder(write, &stamp, error);
    }
    if (status == MNEME_OK) status = offer_texts(job, write, error);
    if (status == MNEME_OK && job->given_dimension) {
        const mn_encoder_stamp stamp = {job->options->encoder, job->options->fingerprint, job->given_dimension};
        status = mn_write_encoder(write, &stamp, error);
    }
    for (size_t i = 0; i < job->n_drafts && status == MNEME_OK; i++) {
        const draft *d = &job->drafts[i];
        if (d->attributes) status = write_attributes(write, &d->record, error);
        if (d->left_out) continue;
        const mn_new_record record = {.record = &d->record,
                                      .hash = {d->hash[0], d->hash[1]},
                                      .chunks = job->chunks.items + d->first_chunk,
                                      .n_chunks = (uint32_t)d->n_chunks,
                                      .dimension = d->n_chunks ? d->dimension : 0,
                                      .vector_type = job->takes_vector_type ? &job->vector_type : NULL,
                                      .has_estimate = d->importance >= 0,
                                      .estimate = (float)d->importance};
        status = mn_write_put(write, &record, error);
    }
    return status;
}

static void free_job(add_job *job)
{
    mn_add_chunks_free(&job->chunks);
    mn_arena_free(&job->arena);
}

static mneme_status add_once(mneme *memory, const mneme_record *records, size_t n, add_job *job, mneme_error *error)
{
    mneme_add_result *result = job->result;
    *result = (mneme_add_result){0};
    mneme_status status = mn_add_vectors_type(memory, job->options, &job->vector_type, &job->takes_vector_type, error);
    if (status == MNEME_OK) status = prepare_all(job, records, n, error);
    if (status == MNEME_OK) status = skip_unchanged(job, error);
    if (status == MNEME_OK) status = refuse_wrong_dimensions(job, error);
    if (status == MNEME_OK) status = check_given_chunks(job, error);
    if (status == MNEME_OK) count_changes(job);
    bool nothing = result->added + result->updated == 0 || job->options->dry_run;
    if (status == MNEME_OK && !nothing) status = chunk_all(job, error);
    if (status == MNEME_OK && !nothing)
        status = mn_add_chunks_encode(&job->chunks, job->options->progress, job->options->context, error);
    if (status == MNEME_OK && !nothing) status = estimate_importance(job, error);
    if (status == MNEME_OK && !nothing)
        status = mn_store_update(memory->store, write_all, job, &result->generation, error);
    if (status == MNEME_OK && !nothing) mn_index_keeper_note(memory->keeper, result->chunks);
    if (status != MNEME_OK) result->added = result->updated = result->unchanged = result->chunks = 0;
    free_job(job);
    return status;
}

/* Has the store got another encoder (mneme_reindex) than the one that this job has loaded? */
static bool encoder_has_changed(mneme *memory, const add_job *job)
{
    mn_read *read = NULL;
    bool changed = false;
    if (job->is_stale) return true;
    if (!job->encoder || mn_read_begin(memory->store, &read, NULL) != MNEME_OK) return false;
    mneme_status status = mn_memory_encoder_changed(read, job->encoder, &changed, NULL);
    mn_read_end(read);
    return status == MNEME_OK && changed;
}

mneme_status mneme_add(mneme *memory, const mneme_record *records, size_t n, const mneme_add_options *options,
                       mneme_add_result *result, mneme_error *error)
{
    static const mneme_add_options defaults = MNEME_ADD_OPTIONS_INIT;
    mneme_add_result own;
    add_job job = {.memory = memory, .options = options ? options : &defaults, .result = result ? result : &own};
    mneme_status status = add_once(memory, records, n, &job, error);
    /* The store was re-encoded while these were encoded: once more, with its new encoder. */
    if (status != MNEME_ERR_ENCODER || !encoder_has_changed(memory, &job)) return status;
    mneme_add_options silent = *job.options; /* what is refused was told */
    silent.refused = NULL;
    job = (add_job){.memory = memory, .options = &silent, .result = job.result};
    return add_once(memory, records, n, &job, error);
}
