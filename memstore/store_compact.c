/* store_compact.c -- writing everything that lives into a new data file, and putting that in the place of the old one.
 *
 *     data.mdb ---read---> data.mdb.compact/data.mdb ---mdb_env_copyfd2---> data.mdb.new ---rename---> data.mdb
 *              (live rows)     in transactions of                (no free pages)
 *                              some thousand records
 *
 * The copy is logical: each record is put as if it were added now, under the number that it has, so dead rows vanish,
 * vectors lie in full blocks, postings are packed, and nothing of a forgotten record can come along. With a recode
 * (mn_store_recode), records get other chunks and vectors on the way. Whoever compacts
 * holds the write transaction of the old file from before the first record is read until the new file has its name, and
 * never commits it. store_swap.c has the rename, and why no interleaving and no crash loses anything. */
#include "memstore/store_internal.h"

#include "common/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum {
    BATCH_RECORDS = 4096,
    BATCH_CHUNKS = 16384,
    BATCH_TEXT = 16 << 20, /* bytes: what a batch gathers in memory (postings, mostly) is some times that */
    SPARE_BYTES = 1 << 20,
    SAMPLE_TEXTS = 8000, /* what the dictionary of texts is made of */
    SAMPLE_TEXT_BYTES = 1024,
};

typedef struct compaction {
    const mn_vector_type *type; /* of all vectors in the new file; NULL = each namespace's own */
    const mn_recode *recode;    /* NULL: chunks and vectors stay */
    mn_store *store, *target;
    mn_read from; /* the old file, inside the write transaction that holds it */
    mn_gate gate;
    mneme_progress progress;
    void *context;
    mneme_compact_result *result;
    uint64_t total;
    /* the namespace at work */
    const char *name;
    namespace_value space;
    bool recodes; /* it gets other chunks and vectors */
    mn_vector_type new_type;
    mn_arena arena;
    mn_rows rows;
    mn_vector_blocks vectors;
    uint32_t next_rec; /* where the next batch begins; 0: the namespace is done */
    uint64_t n_records, n_chunks;
    mn_buffer text;
} compaction;

/* ---- one record ---- */

/* The chunks of a record, from its rows and their vectors; in the arena. */
static mneme_status gather_chunks(compaction *c, const mn_record *record, mn_arena *arena, mn_new_chunk **out,
                                  mneme_error *error)
{
    uint32_t n = record->n_chunks;
    mn_new_chunk *chunks = mn_arena_array(arena, n, sizeof *chunks);
    if (!chunks) return mn_fail_memory(error, "compaction");
    if (record->first_row > c->rows.n_rows || n > c->rows.n_rows - record->first_row)
        return mn_damaged(error, "record", c->space.ns, record->rec);
    for (uint32_t i = 0; i < n; i++) {
        const mn_row *row = mn_row_at(&c->rows, record->first_row + i);
        if (row->rec != record->rec) return mn_damaged(error, "row", c->space.ns, record->first_row + i);
        chunks[i] = (mn_new_chunk){.start = row->start, .end = row->end};
        if (!c->space.dimension) continue;
        float *vector = mn_arena_array(arena, c->space.dimension, sizeof *vector);
        if (!vector) return mn_fail_memory(error, "compaction");
        if (!mn_vector_of(&c->vectors, record->first_row + i, vector))
            return mn_damaged(error, "vector", c->space.ns, record->first_row + i);
        chunks[i].vector = vector;
    }
    *out = chunks;
    return MNEME_OK;
}

/* The chunks that a record has in the new file. */
static mneme_status new_chunks(compaction *c, const mn_record *record, const mneme_record *whole, mn_arena *arena,
                               mn_new_record *out, mneme_error *error)
{
    mn_new_chunk *chunks = NULL;
    uint32_t n = record->n_chunks;
    bool recodes = c->recodes && !record->own_vector;
    mneme_status status =
        recodes ? c->recode->chunks(c->recode->context, c->space.ns, record, whole, arena, &chunks, &n, error)
                : gather_chunks(c, record, arena, &chunks, error);
    out->chunks = chunks;
    out->n_chunks = n;
    out->dimension = recodes ? c->recode->stamp.dimension : c->space.dimension;
    if (n == 0 && c->recodes) out->dimension = 0; /* it says nothing of its namespace's */
    return status;
}

/* *n_chunks: that it has in the new file. */
static mneme_status copy_record(compaction *c, mn_write *write, const mn_record *record, uint64_t *n_chunks,
                                mneme_error *error)
{
    static const float given = 0; /* that the vector is the record's own is all that its pointer says */
    mn_arena arena = {0};
    mn_buffer_clear(&c->text);
    mneme_status status = mn_read_text(&c->from, c->space.ns, record->rec, 0, record->text_size, &c->text, error);
    const mneme_record whole = {.id = record->id,
                                .text = c->text.data ? c->text.data : "",
                                .text_size = c->text.size,
                                .name_space = c->name,
                                .title = record->title,
                                .session = record->session,
                                .speaker = record->speaker,
                                .metadata = record->metadata,
                                .source = record->source,
                                .has_time = record->has_time,
                                .time_ms = record->time_ms,
                                .vector = record->own_vector ? &given : NULL,
                                .has_importance = record->importance_given,
                                .importance = record->importance};
    mn_strength strength;
    if (status == MNEME_OK) status = mn_read_strength(&c->from, c->space.ns, record->rec, &strength, error);
    mn_new_record copy = {.record = &whole,
                          .hash = {record->hash[0], record->hash[1]},
                          .vector_type = &c->new_type,
                          .rec = record->rec,
                          .session_place = record->session_place,
                          .has_estimate = record->has_importance,
                          .estimate = record->importance,
                          .written_ms = record->written_ms,
                          .strength = &strength};
    if (status == MNEME_OK) status = new_chunks(c, record, &whole, &arena, &copy, error);
    if (status == MNEME_OK) status = mn_write_put(write, &copy, error);
    *n_chunks = copy.n_chunks;
    mn_arena_free(&arena);
    return status;
}

/* ---- a batch: one transaction of the new file ---- */

typedef struct batch {
    compaction *compaction;
    uint32_t next_rec; /* where it ended; 0: at the namespace's end */
    uint64_t n_records, n_chunks, n_new_chunks, text_size;
} batch;

/* After the last record: the numbers go on where they were. */
static mneme_status end_namespace(compaction *c, mn_write *write, mneme_error *error)
{
    namespace_state *space = NULL;
    mneme_status status = mn_write_namespace(write, c->name, false, &space, error);
    if (status != MNEME_OK) return status;
    space->value.next_rec = c->space.next_rec;
    space->dirty = true;
    return MNEME_OK;
}

static mneme_status copy_batch(void *context, mn_write *write, mneme_error *error)
{
    batch *b = context;
    compaction *c = b->compaction;
    *b = (batch){.compaction = c, .next_rec = c->next_rec}; /* it may be run again */
    while (b->n_records < BATCH_RECORDS && b->n_chunks < BATCH_CHUNKS && b->text_size < BATCH_TEXT) {
        mn_record record;
        uint64_t n_chunks = 0;
        mneme_status status = mn_read_next_record(&c->from, c->space.ns, b->next_rec, &record, error);
        if (status == MNEME_ERR_NOT_FOUND) {
            b->next_rec = 0;
            return end_namespace(c, write, error);
        }
        if (status == MNEME_OK) status = copy_record(c, write, &record, &n_chunks, error);
        if (status != MNEME_OK) return status;
        b->next_rec = record.rec + 1;
        b->n_records++;
        b->n_chunks += record.n_chunks;
        b->n_new_chunks += n_chunks;
        b->text_size += record.text_size;
    }
    return MNEME_OK;
}

/* ---- a namespace ---- */

static mneme_status begin_namespace(void *context, mn_write *write, mneme_error *error)
{
    compaction *c = context;
    key_bytes key = mn_key_namespace(c->name);
    namespace_value fresh = c->space;
    fresh.next_row = 0;
    fresh.next_rec = 1;
    fresh.next_session = 1;
    if (c->type && fresh.dimension) fresh.vector_type = *c->type;
    if (c->recodes && fresh.dimension) fresh.dimension = c->recode->stamp.dimension;
    fresh.n_records = fresh.n_chunks = fresh.n_terms = fresh.n_sessions = 0;
    return mn_db_put(write, DB_NAMESPACES, &key, &fresh, sizeof fresh, error);
}

static mneme_status copy_records(compaction *c, mneme_error *error)
{
    mneme_status status = MNEME_OK;
    for (c->next_rec = 1; c->next_rec != 0 && status == MNEME_OK;) {
        batch b = {.compaction = c};
        status = mn_store_update(c->target, copy_batch, &b, NULL, error);
        if (status != MNEME_OK) break;
        c->next_rec = b.next_rec;
        c->n_records += b.n_records;
        c->n_chunks += b.n_chunks;
        c->result->records += b.n_records;
        c->result->chunks += b.n_new_chunks;
        if (c->progress && !c->progress(c->context, c->result->records, c->total, "records"))
            status = mn_fail(error, MNEME_ERR_CANCELLED, "%s was cancelled; the store is as it was",
                             c->recode ? "re-encoding" : "compaction");
    }
    return status;
}

static void note_first(void *context, uint32_t ns, uint32_t first_row)
{
    (void)ns;
    uint32_t *first = context;
    if (first_row < *first) *first = first_row;
}

/* What is copied gets a checksum of its own: damage would be hidden for good. */
static mneme_status check_vectors(compaction *c, mneme_error *error)
{
    uint32_t first = MN_NO_ROW;
    mneme_status status = mn_checksums_compare(&c->from, DB_VECTORS, c->space.ns, note_first, &first, error);
    if (status != MNEME_OK || first == MN_NO_ROW) return status;
    return mn_damaged(error, "the checksum of the vectors from row", c->space.ns, first);
}

/* Does any vector of the namespace come from the encoder? One without any counts as such, unless it had others. */
static mneme_status finds_encoded(compaction *c, bool *out, mneme_error *error)
{
    mneme_status status = MNEME_OK;
    uint64_t rec = 1;
    *out = !c->space.own_vectors;
    while (status == MNEME_OK && !*out && rec < UINT32_MAX) {
        mn_record record;
        status = mn_read_next_record(&c->from, c->space.ns, (uint32_t)rec, &record, error);
        if (status != MNEME_OK) break;
        *out = record.n_chunks > 0 && !record.own_vector;
        rec = (uint64_t)record.rec + 1;
    }
    return status == MNEME_ERR_NOT_FOUND ? MNEME_OK : status;
}

static mneme_status copy_namespace(compaction *c, const MDB_val *key, const MDB_val *value, mneme_error *error)
{
    c->name = mn_arena_copy(&c->arena, (const char *)key->mv_data + 1, key->mv_size - 1);
    if (!c->name) return mn_fail_memory(error, "compaction");
    if (value->mv_size != sizeof c->space)
        return mn_fail(error, MNEME_ERR_DAMAGED, "namespace \"%s\" is damaged; `mneme check` lists all damage",
                       c->name);
    memcpy(&c->space, value->mv_data, sizeof c->space);
    c->n_records = c->n_chunks = 0;
    c->recodes = false;
    c->new_type = c->space.dimension ? (mn_vector_type)c->space.vector_type : c->store->vector_type;
    mneme_status status = c->recode ? finds_encoded(c, &c->recodes, error) : MNEME_OK;
    if (status == MNEME_OK) status = check_vectors(c, error);
    if (status == MNEME_OK) status = mn_store_update(c->target, begin_namespace, c, NULL, error);
    if (status == MNEME_OK) status = mn_read_rows(&c->from, c->space.ns, &c->arena, &c->rows, error);
    if (status == MNEME_OK) status = mn_read_vectors(&c->from, c->space.ns, &c->arena, &c->vectors, error);
    if (status == MNEME_OK) status = copy_records(c, error);
    /* A record whose entry is lost would be lost for good. */
    if (status == MNEME_OK && (c->n_records != c->space.n_records || c->n_chunks != c->space.n_chunks))
        status = mn_fail(error, MNEME_ERR_DAMAGED,
                         "namespace \"%s\" has %llu of %llu records; `mneme check` lists what is missing", c->name,
                         (unsigned long long)c->n_records, (unsigned long long)c->space.n_records);
    mn_arena_free(&c->arena);
    return status;
}

/* ---- the whole ---- */

mneme_status mn_copy_meta(mn_read *from, mn_write *write, mneme_error *error)
{
    static const char *const own[] = {"dictionary", "dictionary 2", "format"}; /* the new file's */
    MDB_cursor *cursor = NULL;
    mneme_status status = mn_cursor_open(from, DB_META, &cursor, error);
    if (status != MNEME_OK) return status;
    MDB_val key, value;
    int code = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    for (; code == 0 && status == MNEME_OK; code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        key_bytes name = {.size = 0};
        bool copied = true;
        key_text(&name, key.mv_data, key.mv_size);
        for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
            if (name.size == strlen(own[i]) && memcmp(name.bytes, own[i], name.size) == 0) copied = false;
        if (copied) status = mn_db_put(write, DB_META, &name, value.mv_data, value.mv_size, error);
    }
    mdb_cursor_close(cursor);
    if (status == MNEME_OK && code != MDB_NOTFOUND) status = mn_lmdb_fail(error, code, "cannot read the store");
    if (status == MNEME_OK) status = mn_next_epoch(write, error);
    if (status != MNEME_OK) return status;
    code = mdb_drop(write->read.txn, write->read.store->dbs[DB_LOG], 0);
    if (code != 0) return mn_lmdb_fail(error, code, "cannot begin the change log anew");
    write->n_changes = 0;
    write->read.generation = from->generation;
    return mn_log_change(write, (change_value){0}, error);
}

static mneme_status copy_meta(void *context, mn_write *write, mneme_error *error)
{
    compaction *c = context;
    mneme_status status = mn_copy_meta(&c->from, write, error);
    return status == MNEME_OK && c->recode ? mn_put_encoder(write, &c->recode->stamp, error) : status;
}

/* Beginnings of texts from all over the store, in the arena. */
static mneme_status sample_texts(compaction *c, mn_text *texts, size_t *n, mneme_error *error)
{
    mn_namespace *spaces = NULL;
    size_t n_spaces = 0;
    uint32_t step = (uint32_t)(c->total / SAMPLE_TEXTS) + 1;
    mneme_status status = mn_read_namespaces(&c->from, &c->arena, &spaces, &n_spaces, error);
    for (size_t i = 0; i < n_spaces && status == MNEME_OK; i++) {
        mn_record record = {0};
        for (uint64_t rec = 1; *n < SAMPLE_TEXTS && rec < UINT32_MAX; rec = (uint64_t)record.rec + step) {
            status = mn_read_next_record(&c->from, spaces[i].ns, (uint32_t)rec, &record, error);
            if (status != MNEME_OK) break;
            uint64_t size = record.text_size < SAMPLE_TEXT_BYTES ? record.text_size : SAMPLE_TEXT_BYTES;
            mn_buffer_clear(&c->text);
            status = mn_read_text(&c->from, spaces[i].ns, record.rec, 0, size, &c->text, error);
            if (status != MNEME_OK) break;
            const char *text = mn_arena_copy(&c->arena, c->text.data ? c->text.data : "", c->text.size);
            if (!text) return mn_fail_memory(error, "compaction");
            texts[(*n)++] = (mn_text){text, c->text.size};
        }
        if (status == MNEME_ERR_NOT_FOUND) status = MNEME_OK; /* the namespace's end */
    }
    return status;
}

static mneme_status make_dictionary(void *context, mn_write *write, mneme_error *error)
{
    compaction *c = context;
    size_t n = 0;
    mn_text *texts = mn_arena_array(&c->arena, SAMPLE_TEXTS, sizeof *texts);
    mneme_status status = texts ? sample_texts(c, texts, &n, error) : mn_fail_memory(error, "compaction");
    if (status == MNEME_OK) status = mn_write_dictionary(write, texts, n, error);
    mn_arena_free(&c->arena);
    return status;
}

static mneme_status copy_all(compaction *c, mneme_error *error)
{
    MDB_cursor *cursor = NULL;
    MDB_val key, value;
    mneme_status status = mn_store_update(c->target, make_dictionary, c, NULL, error);
    if (status == MNEME_OK) status = mn_cursor_open(&c->from, DB_NAMESPACES, &cursor, error);
    if (status != MNEME_OK) return status;
    int code = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    for (; code == 0 && status == MNEME_OK; code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT))
        status = copy_namespace(c, &key, &value, error);
    mdb_cursor_close(cursor);
    if (status == MNEME_OK && code != MDB_NOTFOUND) status = mn_lmdb_fail(error, code, "cannot read the store");
    return status == MNEME_OK ? mn_store_update(c->target, copy_meta, c, NULL, error) : status;
}

static mneme_status count_records(compaction *c, mneme_error *error)
{
    mn_arena arena = {0};
    mn_namespace *spaces = NULL;
    size_t n = 0;
    mneme_status status = mn_read_namespaces(&c->from, &arena, &spaces, &n, error);
    for (size_t i = 0; i < n; i++) c->total += spaces[i].n_records;
    mn_arena_free(&arena);
    return status;
}

mneme_status mn_check_space(const mn_store *store, MDB_txn *txn, uint64_t extra, mneme_error *error)
{
    struct statvfs info;
    uint64_t needed = SPARE_BYTES + extra; /* twice the pages that hold something */
    for (int i = 0; i < DB_COUNT; i++) {
        MDB_stat s;
        if (store->dbs[i] == UINT32_MAX) continue; /* format 1 has fewer */
        int code = mdb_stat(txn, store->dbs[i], &s);
        if (code != 0) return mn_lmdb_fail(error, code, "cannot read the store");
        needed += 2 * (uint64_t)(s.ms_branch_pages + s.ms_leaf_pages + s.ms_overflow_pages) * s.ms_psize;
    }
    if (fstatvfs(store->directory, &info) != 0) return mn_fail_errno(error, errno, "cannot compact %s", store->path);
    uint64_t free_bytes = (uint64_t)info.f_bavail * info.f_frsize;
    if (free_bytes >= needed) return MNEME_OK;
    return mn_fail(
        error, MNEME_ERR_DISK_FULL,
        "cannot compact %s: it takes up to %llu MB of free disk space, there are %llu MB; the store is as it was",
        store->path, (unsigned long long)((needed + 999999) / 1000000), (unsigned long long)(free_bytes / 1000000));
}

mneme_status mn_target_open(const mn_store *store, mn_store **target, mneme_error *error)
{
    *target = NULL;
    if (mkdirat(store->directory, MN_COMPACT_DIRECTORY, 0700) != 0)
        return mn_fail_errno(error, errno, "cannot compact %s", store->path);
    char *path = mn_path_join(store->real_path, MN_COMPACT_DIRECTORY);
    if (!path) return mn_fail_memory(error, "compaction");
    mneme_status status = mn_store_open_private(path, store, target, error);
    mn_free(path);
    return status;
}

mneme_status mn_target_write(const mn_store *store, mn_store **target, uint64_t *bytes, mneme_error *error)
{
    int fd = openat(store->directory, MN_COMPACT_FILE, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return mn_fail_errno(error, errno, "cannot compact %s", store->path);
    int code = mdb_env_copyfd2((*target)->env, fd, MDB_CP_COMPACT);
    mn_store_close(*target);
    *target = NULL;
    unlinkat(store->directory, MN_COMPACT_DIRECTORY "/data.mdb", 0);
    struct stat info;
    if (code == 0 && fstat(fd, &info) != 0) code = errno;
    if (code == 0) *bytes = (uint64_t)info.st_size;
    close(fd);
    if (code == 0) return MNEME_OK;
    return mn_lmdb_fail(error, mn_commit_code(store, code), "cannot write the compacted file");
}

/* Everything that happens inside the gate and the old file's write transaction. */
static mneme_status compact_held(compaction *c, bool *swapped, mneme_error *error)
{
    struct stat info;
    mn_compact_files_remove(c->store);
    mneme_status status = mn_load_generation(&c->from, error);
    if (status == MNEME_OK) status = count_records(c, error);
    if (status == MNEME_OK)
        status = mn_check_space(c->store, c->from.txn, c->recode ? c->recode->extra_bytes : 0, error);
    if (status == MNEME_OK && fstatat(c->store->directory, "data.mdb", &info, 0) != 0)
        status = mn_fail_errno(error, errno, "cannot compact %s", c->store->path);
    if (status == MNEME_OK) c->result->bytes_before = (uint64_t)info.st_size;
    if (status == MNEME_OK) status = mn_target_open(c->store, &c->target, error);
    if (status == MNEME_OK) status = copy_all(c, error);
    if (status == MNEME_OK) status = mn_target_write(c->store, &c->target, &c->result->bytes_after, error);
    if (status == MNEME_OK) status = mn_swap_data(c->store, &c->gate, c->from.txn, MN_COMPACT_FILE, swapped, error);
    mn_store_close(c->target);
    /* Swapped, but not known to be on the disk: the directory stays, as the sign of it. */
    if (status == MNEME_OK || !*swapped) mn_compact_files_remove(c->store);
    return status;
}

static mneme_status compact_store(compaction *c, bool *swapped, mneme_error *error)
{
    mn_store *store = c->store;
    *swapped = false;
    *c->result = (mneme_compact_result){0};
    if (store->read_only) return mn_fail(error, MNEME_ERR_READ_ONLY, "store %s is open for reading only", store->path);
    c->from.store = store;
    mneme_status status = mn_gate_enter_swapping(store, &c->gate, error);
    if (status != MNEME_OK) return status;
    status = mn_txn_begin(store, TXN_SWAP, &c->from.txn, error);
    if (status == MNEME_OK) {
        status = compact_held(c, swapped, error);
        mdb_txn_abort(c->from.txn);
        pthread_rwlock_unlock(&store->map_lock);
    }
    mn_gate_leave(&c->gate);
    mn_unpacker_free(&c->from);
    mn_arena_free(&c->from.arena);
    mn_arena_free(&c->arena);
    mn_buffer_free(&c->text);
    if (!*swapped) return status;
    mneme_status opened = mn_store_reopen(store, status == MNEME_OK ? error : NULL);
    return status == MNEME_OK ? opened : status;
}

mneme_status mn_store_compact(mn_store *store, const mn_vector_type *type, mneme_progress progress, void *context,
                              mneme_compact_result *result, mneme_error *error)
{
    compaction c = {.store = store, .type = type, .progress = progress, .context = context, .result = result};
    bool swapped;
    return compact_store(&c, &swapped, error);
}

mneme_status mn_store_recode(mn_store *store, const mn_recode *recode, mneme_compact_result *result, bool *swapped,
                             mneme_error *error)
{
    compaction c = {
        .store = store, .recode = recode, .progress = recode->progress, .context = recode->context, .result = result};
    return compact_store(&c, swapped, error);
}
