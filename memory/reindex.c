/* reindex.c -- bringing a store to another encoder.
 *
 *     records --some at a time--> cut --what is not ready--> encode --> reindex.vectors
 *        until no new ones have come                                         |
 *     mn_store_recode: the store is copied with the new chunks and vectors <-+   then one rename
 *
 * A record never changes under its number, so how it was cut is remembered by namespace and number; what is replaced
 * meanwhile comes again under a new number, and what is forgotten is not asked for. What came after the last look is
 * cut and encoded when the copy comes to it, while writers wait. Vectors in the file outlive the process, spans do not:
 * they are cut again. */
#include "memory/add_chunks.h"
#include "memory/reindex_file.h"

#include "common/clock.h"

#include <inttypes.h>
#include <string.h>

/* BATCH: what is taken out of the store at once. SLICE: what goes to the encoder at once, which is what a kill can
 * cost; how much text that is follows the encoder's speed, so that it takes LEAST_SECONDS to MOST_SECONDS.
 * SYNC_SECONDS: what power loss can cost. PASSES: looks for what has come meanwhile, before writers are stopped. */
enum {
    BATCH_RECORDS = 512,
    BATCH_TEXT = 1 << 20,
    SLICE_CHUNKS = 256,
    SLICE_TEXT_LEAST = 8 << 10,
    SLICE_TEXT_MOST = 256 << 10,
    SYNC_SECONDS = 2,
    PASSES = 8
};
static const double LEAST_SECONDS = 0.5, MOST_SECONDS = 2;

typedef struct span {
    uint32_t start, end, number; /* number: in the file of vectors */
} span;

/* How a record is cut. */
typedef struct cut {
    uint32_t rec, n;
    uint64_t text_size;
    size_t first; /* of the run's spans */
} cut;

typedef struct walked_space {
    uint32_t ns, next_rec; /* walked are the records before that */
    cut *cuts;             /* ascending */
    size_t n, capacity;
} walked_space;

typedef struct run {
    mneme *memory;
    const mneme_reindex_options *options;
    mneme_reindex_result *result;
    mneme_encoder *encoder;
    mn_ready_file *file; /* NULL in a dry run: there is none */
    walked_space *spaces;
    size_t n_spaces, space_capacity;
    span *spans;
    size_t n_spans, span_capacity;
    uint64_t n_left;   /* chunks that the records not walked yet have now */
    uint64_t n_before; /* chunks done before the batch at work */
    double synced;
    size_t slice_text;
} run;

static uint32_t dimension_of(const run *r)
{
    return mn_encoder_info(r->encoder->encoder)->dimension;
}

/* ---- what is remembered ---- */

static void *grown(void *items, size_t *capacity, size_t needed, size_t size)
{
    if (items && needed <= *capacity) return items;
    size_t wanted = *capacity ? *capacity * 2 : 64;
    while (wanted < needed) wanted *= 2;
    void *larger = mn_realloc_array(items, wanted, size);
    if (larger) *capacity = wanted;
    return larger;
}

/* Where the record's cut is, or would be. */
static size_t place_of(const walked_space *space, uint32_t rec)
{
    size_t low = 0, high = space->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (space->cuts[middle].rec < rec)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static cut *cut_of(const walked_space *space, uint32_t rec)
{
    size_t at = place_of(space, rec);
    return at < space->n && space->cuts[at].rec == rec ? &space->cuts[at] : NULL;
}

static walked_space *space_of(run *r, uint32_t ns, mneme_error *error)
{
    for (size_t i = 0; i < r->n_spaces; i++)
        if (r->spaces[i].ns == ns) return &r->spaces[i];
    walked_space *spaces = grown(r->spaces, &r->space_capacity, r->n_spaces + 1, sizeof *spaces);
    if (!spaces) {
        mn_fail_memory(error, "namespaces");
        return NULL;
    }
    r->spaces = spaces;
    spaces[r->n_spaces] = (walked_space){.ns = ns, .next_rec = 1};
    return &spaces[r->n_spaces++];
}

static mneme_status remember(run *r, walked_space *space, const cut *made, mneme_error *error)
{
    size_t at = place_of(space, made->rec);
    if (at == space->n || space->cuts[at].rec != made->rec) {
        cut *cuts = grown(space->cuts, &space->capacity, space->n + 1, sizeof *cuts);
        if (!cuts) return mn_fail_memory(error, "chunks");
        space->cuts = cuts;
        memmove(cuts + at + 1, cuts + at, (space->n - at) * sizeof *cuts);
        space->n++;
        r->result->records++;
    } else {
        r->result->chunks -= space->cuts[at].n;
    }
    space->cuts[at] = *made;
    r->result->chunks += made->n;
    return MNEME_OK;
}

/* ---- some records: cut, and encoded where they are not ready ---- */

/* Chunks on their way to the encoder. */
typedef struct slice {
    run *run;
    mn_buffer bytes; /* header and text of each, end to end */
    size_t starts[SLICE_CHUNKS], sizes[SLICE_CHUNKS], spans[SLICE_CHUNKS];
    const char *texts[SLICE_CHUNKS];
    mn_ready_key keys[SLICE_CHUNKS];
    size_t n;
    size_t n_passed, n_chunks; /* of the batch: looked at, all */
    float *vectors;            /* room for a slice */
} slice;

static mneme_status cancelled(const run *r, mneme_error *error)
{
    return mn_fail(error, MNEME_ERR_CANCELLED,
                   "reindex was cancelled with %" PRIu64 " chunks ready; the store is as it was, and the next reindex "
                   "with encoder %s goes on from there",
                   (uint64_t)(r->file ? mn_ready_count(r->file) : 0), r->result->encoder);
}

/* done: chunks. */
static bool report(const run *r, uint64_t done, uint64_t in_batch)
{
    const mneme_reindex_options *options = r->options;
    uint64_t total = r->n_before + in_batch + r->n_left;
    return !options->progress || options->progress(options->context, done, total > done ? total : done, "chunks");
}

static bool pass_progress(void *context, uint64_t done, uint64_t total, const char *unit)
{
    const slice *s = context;
    (void)total, (void)unit;
    return report(s->run, s->run->n_before + s->n_passed - s->n + done, s->n_chunks);
}

static mneme_status sync_sometimes(run *r, mneme_error *error)
{
    double now = mn_clock_monotonic();
    if (now - r->synced < SYNC_SECONDS) return MNEME_OK;
    r->synced = now;
    return mn_ready_sync(r->file, error);
}

/* took: seconds of a slice. */
static void adapt(run *r, double took)
{
    if (took < LEAST_SECONDS && r->slice_text < SLICE_TEXT_MOST) r->slice_text *= 2;
    if (took > MOST_SECONDS && r->slice_text > SLICE_TEXT_LEAST) r->slice_text /= 2;
}

static mneme_status encode_slice(slice *s, mneme_error *error)
{
    run *r = s->run;
    size_t first = 0;
    if (s->n == 0) return MNEME_OK;
    for (size_t i = 0; i < s->n; i++) s->texts[i] = s->sizes[i] ? s->bytes.data + s->starts[i] : "";
    double started = mn_clock_monotonic();
    mneme_status status = mn_encoder_encode(r->encoder->encoder, s->texts, s->sizes, s->n, MNEME_TEXT_PASSAGE,
                                            s->vectors, pass_progress, s, error);
    if (status == MNEME_ERR_CANCELLED) return cancelled(r, error);
    adapt(r, mn_clock_monotonic() - started);
    if (status == MNEME_OK) status = mn_ready_put(r->file, s->keys, s->vectors, s->n, &first, error);
    if (status == MNEME_OK) status = sync_sometimes(r, error);
    for (size_t i = 0; i < s->n && status == MNEME_OK; i++) r->spans[s->spans[i]].number = (uint32_t)(first + i);
    r->result->encoded += status == MNEME_OK ? s->n : 0;
    s->n = 0;
    mn_buffer_clear(&s->bytes);
    return status;
}

/* One chunk: known by its text, or into the slice. place: of its span. */
static mneme_status take_chunk(slice *s, const mneme_record *record, mn_ready_key of, size_t place, mneme_error *error)
{
    run *r = s->run;
    const span *at = &r->spans[place];
    size_t start = s->bytes.size;
    mn_record_header(record->title, record->speaker, &s->bytes);
    mn_buffer_append(&s->bytes, record->text + at->start, at->end - at->start);
    if (s->bytes.failed) return mn_fail_memory(error, "chunks");
    s->n_passed++;
    size_t size = s->bytes.size - start;
    mn_ready_key key = mn_ready_key_of(size ? s->bytes.data + start : "", size, of.ns, of.rec);
    size_t number = r->file ? mn_ready_find(r->file, &key) : MN_NOT_READY;
    if (number != MN_NOT_READY || r->options->dry_run) {
        r->spans[place].number = (uint32_t)number;
        r->result->ready += number != MN_NOT_READY;
        r->result->encoded += number == MN_NOT_READY;
        s->bytes.size = start;
        return MNEME_OK;
    }
    s->starts[s->n] = start;
    s->sizes[s->n] = size;
    s->spans[s->n] = place;
    s->keys[s->n++] = key;
    return s->n == SLICE_CHUNKS || s->bytes.size >= r->slice_text ? encode_slice(s, error) : MNEME_OK;
}

typedef struct some_records {
    mn_arena arena;
    mneme_record items[BATCH_RECORDS];
    uint32_t recs[BATCH_RECORDS];
    size_t n;
    uint64_t text_size, n_chunks; /* n_chunks: that they have now */
} some_records;

static mneme_status add_spans(run *r, const mn_add_chunks *chunks, mneme_error *error)
{
    span *spans = grown(r->spans, &r->span_capacity, r->n_spans + chunks->n, sizeof *spans);
    if (!spans) return mn_fail_memory(error, "chunks");
    r->spans = spans;
    for (size_t i = 0; i < chunks->n; i++)
        spans[r->n_spans + i] = (span){.start = chunks->items[i].start, .end = chunks->items[i].end};
    r->n_spans += chunks->n;
    return MNEME_OK;
}

/* Remember the cuts of these records, whose spans begin at `first`. */
static mneme_status add_cuts(run *r, walked_space *space, const some_records *some, const mn_add_chunks *chunks,
                             size_t first, mneme_error *error)
{
    mneme_status status = MNEME_OK;
    size_t at = 0;
    for (size_t i = 0; i < some->n && status == MNEME_OK; i++) {
        cut made = {.rec = some->recs[i], .text_size = some->items[i].text_size, .first = first + at};
        while (at < chunks->n && chunks->records[at] == &some->items[i]) at++, made.n++;
        status = remember(r, space, &made, error);
    }
    return status;
}

static mneme_status encode_some(run *r, walked_space *space, const some_records *some, const mn_add_chunks *chunks,
                                size_t first, mneme_error *error)
{
    slice *s = mn_alloc_zeroed(1, sizeof *s);
    if (!s) return mn_fail_memory(error, "chunks");
    s->run = r;
    s->n_chunks = chunks->n;
    s->vectors = mn_alloc_array((size_t)SLICE_CHUNKS * dimension_of(r), sizeof *s->vectors);
    mneme_status status = s->vectors ? MNEME_OK : mn_fail_memory(error, "vectors");
    for (size_t i = 0; i < chunks->n && status == MNEME_OK; i++) {
        mn_ready_key of = {.ns = space->ns, .rec = some->recs[chunks->records[i] - some->items]};
        status = take_chunk(s, chunks->records[i], of, first + i, error);
    }
    if (status == MNEME_OK) status = encode_slice(s, error);
    mn_buffer_free(&s->bytes);
    mn_free(s->vectors);
    mn_free(s);
    return status;
}

static mneme_status take_some(run *r, walked_space *space, const some_records *some, mneme_error *error)
{
    mn_add_chunks chunks = {.values = &r->memory->values, .encoder = r->encoder};
    mneme_status status = MNEME_OK;
    size_t first = r->n_spans;
    for (size_t i = 0; i < some->n && status == MNEME_OK; i++)
        status = mn_add_chunks_cut(&chunks, &some->items[i], error);
    if (status == MNEME_OK) status = add_spans(r, &chunks, error);
    if (status == MNEME_OK) status = encode_some(r, space, some, &chunks, first, error);
    if (status == MNEME_OK) status = add_cuts(r, space, some, &chunks, first, error);
    if (status == MNEME_OK) r->n_before += chunks.n;
    mn_add_chunks_free(&chunks);
    return status;
}

/* ---- walking through the store ---- */

/* What is encoded of a record, in the arena. */
static mneme_status copy_record(mn_read *read, uint32_t ns, const mn_record *from, mn_arena *arena, mneme_record *to,
                                mneme_error *error)
{
    mn_buffer text = {0};
    *to =
        (mneme_record){.title = mn_arena_strdup(arena, from->title), .speaker = mn_arena_strdup(arena, from->speaker)};
    if ((from->title && !to->title) || (from->speaker && !to->speaker)) return mn_fail_memory(error, "record");
    mneme_status status = mn_read_text(read, ns, from->rec, 0, from->text_size, &text, error);
    if (status == MNEME_OK) {
        to->text_size = text.size;
        to->text = mn_arena_copy(arena, text.data ? text.data : "", text.size);
        if (!to->text) status = mn_fail_memory(error, "record");
    }
    mn_buffer_free(&text);
    return status;
}

/* The next records of a namespace; some->n == 0: there are none. */
static mneme_status read_some(run *r, walked_space *space, some_records *some, mneme_error *error)
{
    mn_read *read = NULL;
    mneme_status status = mn_read_begin(r->memory->store, &read, error);
    while (status == MNEME_OK && some->n < BATCH_RECORDS && some->text_size < BATCH_TEXT) {
        mn_record from;
        status = mn_read_next_record(read, space->ns, space->next_rec, &from, error);
        if (status != MNEME_OK) break;
        if (!from.own_vector) {
            status = copy_record(read, space->ns, &from, &some->arena, &some->items[some->n], error);
            some->recs[some->n++] = from.rec;
            some->text_size += from.text_size;
            some->n_chunks += from.n_chunks;
        }
        space->next_rec = from.rec + 1;
    }
    mn_read_end(read);
    return status == MNEME_ERR_NOT_FOUND ? MNEME_OK : status;
}

/* *n: records taken. */
static mneme_status walk_space(run *r, uint32_t ns, uint64_t *n, mneme_error *error)
{
    some_records *some = mn_alloc_zeroed(1, sizeof *some);
    walked_space *space = some ? space_of(r, ns, error) : NULL;
    mneme_status status = space ? MNEME_OK : mn_fail_memory(error, "records");
    while (status == MNEME_OK) {
        some->n = some->text_size = some->n_chunks = 0;
        status = read_some(r, space, some, error);
        if (status != MNEME_OK || some->n == 0) break;
        r->n_left -= some->n_chunks < r->n_left ? some->n_chunks : r->n_left;
        status = take_some(r, space, some, error);
        *n += some->n;
        mn_arena_free(&some->arena);
        if (status == MNEME_OK && !report(r, r->n_before, 0)) status = cancelled(r, error);
    }
    if (some) mn_arena_free(&some->arena);
    mn_free(some);
    return status;
}

/* ---- what there is to do ---- */

/* The namespaces that have vectors of an encoder, or none yet. */
typedef struct plan {
    mn_arena arena;
    uint32_t *spaces;
    size_t n;
    uint64_t n_chunks; /* that they have now */
} plan;

/* Records of a namespace by where their vectors come from. */
typedef struct origins {
    uint64_t encoded, own, chunks; /* chunks: of the encoded ones */
} origins;

static mneme_status count_origins(mn_read *read, const mn_namespace *space, origins *out, mneme_error *error)
{
    mneme_status status = MNEME_OK;
    uint64_t rec = 1;
    *out = (origins){0};
    while (rec < UINT32_MAX) {
        mn_record record;
        status = mn_read_next_record(read, space->ns, (uint32_t)rec, &record, error);
        if (status != MNEME_OK) break;
        out->own += record.own_vector;
        out->encoded += !record.own_vector && record.n_chunks > 0;
        out->chunks += record.own_vector ? 0 : record.n_chunks;
        rec = (uint64_t)record.rec + 1;
    }
    return status == MNEME_ERR_NOT_FOUND ? MNEME_OK : status;
}

static mneme_status plan_space(run *r, mn_read *read, const mn_namespace *space, plan *p, mneme_error *error)
{
    origins has;
    mneme_status status = count_origins(read, space, &has, error);
    if (status != MNEME_OK) return status;
    if (has.own && has.encoded && space->dimension != dimension_of(r))
        return mn_fail(error, MNEME_ERR_DIMENSION,
                       "namespace \"%s\" has %" PRIu64
                       " records with vectors of their own beside encoded ones; they have "
                       "dimension %u, encoder %s makes %u: give them a namespace of their own first",
                       space->name, has.own, space->dimension, r->result->encoder, dimension_of(r));
    if (has.own && r->options->kept) r->options->kept(r->options->context, space->name, has.own);
    if (!has.encoded && space->own_vectors) return MNEME_OK;
    p->spaces[p->n++] = space->ns;
    p->n_chunks += has.chunks;
    return MNEME_OK;
}

static mneme_status make_plan(run *r, plan *p, mneme_error *error)
{
    mn_read *read = NULL;
    mn_namespace *spaces = NULL;
    size_t n = 0;
    mneme_status status = mn_read_begin(r->memory->store, &read, error);
    if (status == MNEME_OK) status = mn_read_namespaces(read, &p->arena, &spaces, &n, error);
    if (status == MNEME_OK && !(p->spaces = mn_arena_array(&p->arena, n, sizeof *p->spaces)))
        status = mn_fail_memory(error, "namespaces");
    for (size_t i = 0; i < n && status == MNEME_OK; i++) status = plan_space(r, read, &spaces[i], p, error);
    mn_read_end(read);
    return status;
}

/* Namespaces that have come since the plan was made are looked at when the store is copied. */
static mneme_status walk(run *r, const plan *p, mneme_error *error)
{
    mneme_status status = MNEME_OK;
    uint64_t n_new = 1;
    r->n_left = p->n_chunks;
    for (int pass = 0; pass < PASSES && n_new && status == MNEME_OK; pass++) {
        n_new = 0;
        for (size_t i = 0; i < p->n && status == MNEME_OK; i++) status = walk_space(r, p->spaces[i], &n_new, error);
        r->n_left = 0;
    }
    return status == MNEME_OK && r->file && !r->options->dry_run ? mn_ready_sync(r->file, error) : status;
}

/* ---- the switch ---- */

/* ERR_DAMAGED: some of its vectors are; they are not counted as ready any more. */
static mneme_status read_cut(run *r, const cut *made, mn_arena *arena, mn_new_chunk **out, mneme_error *error)
{
    mn_new_chunk *chunks = mn_arena_array(arena, made->n, sizeof *chunks);
    mneme_status status = chunks ? MNEME_OK : mn_fail_memory(error, "chunks");
    bool damaged = false;
    for (size_t i = 0; i < made->n && status == MNEME_OK; i++) {
        const span *at = &r->spans[made->first + i];
        float *vector = mn_arena_array(arena, dimension_of(r), sizeof *vector);
        status = vector ? mn_ready_read(r->file, at->number, vector, error) : mn_fail_memory(error, "vectors");
        chunks[i] = (mn_new_chunk){.start = at->start, .end = at->end, .vector = vector};
        if (status != MNEME_ERR_DAMAGED) continue;
        mn_ready_drop(r->file, at->number);
        damaged = true;
        status = MNEME_OK;
    }
    *out = chunks;
    return status == MNEME_OK && damaged ? MNEME_ERR_DAMAGED : status;
}

/* Cut and encode a record that the walk has not seen, or whose vectors cannot be read any more. */
static mneme_status take_late(run *r, walked_space *space, uint32_t rec, const mneme_record *record, mneme_error *error)
{
    some_records *some = mn_alloc_zeroed(1, sizeof *some);
    if (!some) return mn_fail_memory(error, "records");
    some->items[0] = *record;
    some->recs[0] = rec;
    some->n = 1;
    mneme_status status = take_some(r, space, some, error);
    mn_free(some);
    return status;
}

/* As mn_recode.chunks. */
static mneme_status new_chunks(void *context, uint32_t ns, const mn_record *from, const mneme_record *record,
                               mn_arena *arena, mn_new_chunk **out, uint32_t *n, mneme_error *error)
{
    run *r = context;
    walked_space *space = space_of(r, ns, error);
    if (!space) return MNEME_ERR_MEMORY;
    const cut *made = cut_of(space, from->rec);
    mneme_status status = MNEME_ERR_DAMAGED;
    if (made && made->text_size == record->text_size) status = read_cut(r, made, arena, out, error);
    if (status == MNEME_ERR_DAMAGED) {
        status = take_late(r, space, from->rec, record, error);
        if (status == MNEME_OK) status = read_cut(r, made = cut_of(space, from->rec), arena, out, error);
    }
    *n = status == MNEME_OK ? made->n : 0;
    return status;
}

static bool pass_records(void *context, uint64_t done, uint64_t total, const char *unit)
{
    const run *r = context;
    return !r->options->progress || r->options->progress(r->options->context, done, total, unit);
}

/* The new vectors' part of the new file, and of its copy: at most 4 bytes a number. */
static uint64_t extra_bytes(const run *r)
{
    return 2 * r->result->chunks * dimension_of(r) * sizeof(float);
}

/* Other threads of this process need the new encoder from the moment of the rename. */
static mneme_status switch_over(run *r, mneme_error *error)
{
    mneme_compact_result compacted = {0};
    const mn_recode recode = {.stamp = mn_memory_stamp(r->encoder),
                              .extra_bytes = extra_bytes(r),
                              .chunks = new_chunks,
                              .progress = pass_records,
                              .context = r};
    uint64_t records = r->result->records, chunks = r->result->chunks;
    mn_memory_give_encoder(r->memory, r->encoder);
    mneme_status status = mn_store_recode(r->memory->store, &recode, &compacted, &r->result->changed, error);
    if (!r->result->changed) {
        r->result->records = records;
        r->result->chunks = chunks;
        mn_memory_take_encoder(r->memory, r->encoder);
    }
    r->encoder = NULL; /* the memory's, or closed */
    r->result->bytes_before = compacted.bytes_before;
    r->result->bytes_after = compacted.bytes_after;
    return status;
}

/* ---- the call ---- */

static void copy_name(char to[256], const char *name)
{
    snprintf(to, 256, "%s", name);
}

/* The default model is nobody's choice: an encoder must be named, here or in the settings. */
static mneme_status load_encoder(run *r, mneme_error *error)
{
    mneme_setting setting;
    bool set =
        mneme_settings_find(r->memory->settings, "encoder.model", &setting) && strcmp(setting.origin, "default") != 0;
    if (!r->options->encoder && !set)
        return mn_fail(error, MNEME_ERR_USAGE,
                       "no encoder to reindex with: neither one is named, nor encoder.model set");
    return mn_memory_load_encoder(r->memory, r->options->encoder, &r->encoder, error);
}

/* *needed: the store has vectors of another encoder. */
static mneme_status compare_encoders(run *r, bool *needed, mneme_error *error)
{
    const mn_encoder_stamp now = mn_memory_stamp(r->encoder);
    mn_encoder_stamp stored;
    mn_read *read = NULL;
    mneme_status status = mn_read_begin(r->memory->store, &read, error);
    if (status == MNEME_OK) status = mn_read_encoder(read, &stored, error);
    if (status == MNEME_OK) copy_name(r->result->before, stored.name);
    *needed = status == MNEME_OK && *stored.name && stored.fingerprint != now.fingerprint;
    mn_read_end(read);
    copy_name(r->result->encoder, now.name);
    r->result->fingerprint = now.fingerprint;
    r->result->dimension = now.dimension;
    return status;
}

/* After success the file is done with; else what is ready stays, without what was forgotten meanwhile. */
static void put_file_away(run *r, bool done)
{
    if (!r->file) return;
    if (r->options->dry_run) {
        mn_ready_close(r->file);
        return;
    }
    if (done || mn_ready_count(r->file) == 0) {
        mn_ready_remove(r->file);
        return;
    }
    mn_ready_scrub(r->file, r->memory->store);
    mn_ready_close(r->file);
}

static mneme_status encode_and_switch(run *r, mneme_error *error)
{
    plan p = {0};
    bool writes = !r->options->dry_run;
    mneme_status status = make_plan(r, &p, error);
    uint64_t ready = r->file ? mn_ready_count(r->file) : 0;
    if (status == MNEME_OK && writes && p.n_chunks > ready)
        status = mn_ready_check_space(r->file, p.n_chunks - ready, error);
    if (status == MNEME_OK) status = walk(r, &p, error);
    if (status == MNEME_OK && writes) status = switch_over(r, error);
    mn_arena_free(&p.arena);
    return status;
}

static void free_run(run *r)
{
    for (size_t i = 0; i < r->n_spaces; i++) mn_free(r->spaces[i].cuts);
    mn_free(r->spaces);
    mn_free(r->spans);
    mneme_encoder_close(r->encoder);
}

mneme_status mneme_reindex(mneme *memory, const mneme_reindex_options *options, mneme_reindex_result *result,
                           mneme_error *error)
{
    static const mneme_reindex_options defaults = MNEME_REINDEX_OPTIONS_INIT;
    mneme_reindex_result own;
    run r = {.memory = memory, .options = options ? options : &defaults, .result = result ? result : &own};
    double started = mn_clock_monotonic();
    bool needed = false, dry = r.options->dry_run;
    *r.result = (mneme_reindex_result){0};
    if (memory->read_only && !dry)
        return mn_fail(error, MNEME_ERR_READ_ONLY, "store %s is open for reading only", mn_store_path(memory->store));
    mneme_status status = load_encoder(&r, error);
    if (status == MNEME_OK) status = compare_encoders(&r, &needed, error);
    if (status == MNEME_OK) {
        const mn_encoder_stamp stamp = mn_memory_stamp(r.encoder);
        status = mn_ready_open(memory->store, &stamp, needed && !dry, &r.file, error);
        if (status == MNEME_ERR_PERMISSION && dry) status = MNEME_OK; /* nothing of it is known, then */
    }
    r.synced = started;
    r.slice_text = 4 * SLICE_TEXT_LEAST;
    if (status == MNEME_OK && needed) status = encode_and_switch(&r, error);
    put_file_away(&r, status == MNEME_OK);
    free_run(&r);
    r.result->seconds = mn_clock_monotonic() - started;
    return status;
}
