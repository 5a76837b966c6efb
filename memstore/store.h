/* store.h -- long-term memory on disk: records, chunks, vectors, postings, sessions and the change log in LMDB.
 *
 * How the keys and values lie is in docs/architecture.md. What the rest of mneme sees:
 *
 *   namespace  a wall: a name, its own number `ns`, its own record and row numbers, statistics and vector dimension
 *   record     `rec` 1, 2, ... in its namespace, in the order of adding; never used twice
 *   row        one chunk: 0, 1, ... in its namespace; a record's chunks are rows first_row .. first_row + n_chunks - 1.
 *              A deleted record's rows are dead: their postings are gone, their vectors are skipped
 *
 * Threads: a mn_store may be used by many threads; a mn_read or mn_write belongs to one thread at a time.
 * Everything borrowed from a mn_read is valid until mn_read_end; from a mn_write until its next write. */
#ifndef MN_MEMSTORE_STORE_H
#define MN_MEMSTORE_STORE_H

#include "common/buffer.h"
#include "common/memory.h"
#include "memstore/vector_codes.h"

#define MN_STORE_FORMAT 2u
#define MN_BLOCK_ROWS   1024u /* rows of a full vector block, and of a row block */
#define MN_ID_MAX       480u  /* bytes of an id, a namespace or a session name */
#define MN_TERM_MAX     64u   /* bytes of a term */
#define MN_NO_ROW       UINT32_MAX
#define MN_IMPORTANCE_STEPS 200.0f /* importance is kept in so many steps */

typedef struct mn_store mn_store;
typedef struct mn_read mn_read;
typedef struct mn_write mn_write;

/* The terms of one text, unique, each with how often it occurs. */
typedef struct mn_term {
    const char *text; /* size bytes, not NUL-terminated, 1..MN_TERM_MAX */
    uint32_t size;
    uint32_t count;
} mn_term;
typedef struct mn_term_list {
    mn_term *items;
    size_t n;
    uint64_t total; /* sum of counts: the text's length in BM25 */
} mn_term_list;     /* memory comes from the arena that is passed along */

/* Turns text into terms. The same function serves writing, deleting and checking, so that postings always match. */
typedef mneme_status (*mn_analyze)(void *context, const char *text, size_t size, mn_arena *arena, mn_term_list *out,
                                   mneme_error *error);

typedef struct mn_store_options {
    bool read_only;
    bool existing;        /* do not create */
    bool damaged;         /* open whatever can be opened of it, for salvage_read.h; read-only */
    uint64_t pinned_bytes; /* refuse to write when a reader that does not end keeps more than this from being used
                              again; 0 = no limit */
    uint64_t map_bytes;   /* address space to reserve; 0 = 1 TiB, less where the system refuses */
    mn_vector_type vector_type; /* for namespaces that have no vectors yet */
    const char *language; /* kept at creation; an existing store keeps its own */
    mneme_clock clock;    /* NULL = the system's */
    void *clock_context;
} mn_store_options;

/* Open or create. ERR_NOT_A_STORE, ERR_FORMAT, ERR_PERMISSION, ERR_BUSY, ERR_DISK_FULL, ERR_DAMAGED, ERR_IO. */
mneme_status mn_store_open(const char *path, const mn_store_options *options, mn_store **out, mneme_error *error);
void mn_store_close(mn_store *store);

/* Make the analyzer of a language; what it gives is the caller's, and used until mn_store_upgrade returns. */
typedef mneme_status (*mn_make_analyzer)(void *context, const char *language, mn_analyze *analyze, void **analyze_context,
                                         mneme_error *error);
/* Bring a store of an older format, for which mn_store_open has ERR_FORMAT, to the present one: a new file is written from
 * the old one, which stays beside it as data.mdb.format-1. ERR_FORMAT: not an older format; ERR_BUSY: another process has
 * it open; as mn_store_compact. After a failure, and when it is killed, the store is as it was. */
mneme_status mn_store_upgrade(const char *path, mn_make_analyzer make, void *context, mneme_error *error);
const char *mn_store_path(const mn_store *store);
const char *mn_store_language(const mn_store *store);
/* Must be set before the first write; borrowed until close. */
void mn_store_set_analyzer(mn_store *store, mn_analyze analyze, void *context);
void mn_store_set_clock(mn_store *store, mneme_clock clock, void *context);
int64_t mn_store_now(const mn_store *store); /* by its clock */
uint64_t mn_store_bytes_on_disk(const mn_store *store);
/* Is the directory open as a store in this process? Any thread. */
bool mn_store_is_open(const char *path);

/* ---- reading ------------------------------------------------------------------------------------------------- */

/* One consistent view of the whole store. Keep it short: no encoding, no network, no user time inside. */
mneme_status mn_read_begin(mn_store *store, mn_read **out, mneme_error *error);
void mn_read_end(mn_read *read);
uint64_t mn_read_generation(const mn_read *read);

/* The encoder that the store's vectors come from; name "" before the first vector. Borrowed. */
typedef struct mn_encoder_stamp {
    const char *name;
    uint64_t fingerprint;
    uint32_t dimension;
} mn_encoder_stamp;
mneme_status mn_read_encoder(mn_read *read, mn_encoder_stamp *out, mneme_error *error);

typedef struct mn_namespace {
    const char *name; /* borrowed, NUL-terminated */
    uint32_t ns;
    uint32_t dimension; /* 0 = no vector yet */
    bool own_vectors;   /* its vectors were given with the records, not encoded here */
    mn_vector_type vector_type; /* how they are kept */
    uint32_t next_row, next_rec;
    uint64_t n_records, n_chunks; /* live */
    uint64_t n_terms;             /* sum of the live rows' lengths */
    uint64_t n_sessions;
} mn_namespace;

/* ERR_NOT_FOUND without a record of that name ever. name NULL = "". */
mneme_status mn_read_namespace(mn_read *read, const char *name, mn_namespace *out, mneme_error *error);
/* All of them, by name; array and names in the arena. */
mneme_status mn_read_namespaces(mn_read *read, mn_arena *arena, mn_namespace **out, size_t *n, mneme_error *error);

typedef struct mn_record {
    uint32_t rec;
    const char *id, *title, *session, *speaker, *metadata, *source; /* borrowed, NUL-terminated; NULL = none */
    bool has_time, own_vector;
    int64_t time_ms;
    uint64_t text_size;
    uint32_t first_row, n_chunks;
    uint32_t session_number, session_place; /* place in the session: ascending, may have gaps */
    uint64_t hash[2];                       /* XXH3-128 of the content, as given to mn_write_put */
    int64_t written_ms;                     /* when it was put, to the second */
    bool has_importance;   /* is there one? */
    bool importance_given; /* with the record, not estimated from its text */
    float importance;      /* [0,1], in steps of 1/200 */
} mn_record;

mneme_status mn_read_find(mn_read *read, uint32_t ns, const char *id, uint32_t *rec, mneme_error *error);
/* ERR_NOT_FOUND for one that is deleted; ERR_DAMAGED names it. */
mneme_status mn_read_record(mn_read *read, uint32_t ns, uint32_t rec, mn_record *out, mneme_error *error);
/* The first live record with number >= rec; ERR_NOT_FOUND at the end. */
mneme_status mn_read_next_record(mn_read *read, uint32_t ns, uint32_t rec, mn_record *out, mneme_error *error);
/* The record `steps` places after (before: negative) `record` in its session; ERR_NOT_FOUND past either end. */
mneme_status mn_read_session_step(mn_read *read, uint32_t ns, const mn_record *record, int steps, mn_record *out,
                                  mneme_error *error);
/* The last record of a session; ERR_NOT_FOUND without one. */
mneme_status mn_read_session_last(mn_read *read, uint32_t ns, const char *session, mn_record *out, mneme_error *error);
/* Append text[start, end) of a record. */
mneme_status mn_read_text(mn_read *read, uint32_t ns, uint32_t rec, uint64_t start, uint64_t end, mn_buffer *out,
                          mneme_error *error);

/* What a record's life has added to what was written; all zero where nothing has. docs/dynamics.md has the meaning. */
typedef struct mn_strength {
    bool used; /* level, half_life_days and last_ms mean something */
    float level, half_life_days; /* finite, >= 0 */
    uint32_t uses;
    int64_t last_ms; /* of the last use */
    bool pinned;
    bool has_expires;
    int64_t expires_ms; /* a record that is not pinned is answered no more from here on */
} mn_strength;
mneme_status mn_read_strength(mn_read *read, uint32_t ns, uint32_t rec, mn_strength *out, mneme_error *error);
/* The records of a namespace that have ended by now and are still there, by the time of their end; in the arena. */
mneme_status mn_read_expired(mn_read *read, uint32_t ns, int64_t now_ms, mn_arena *arena, uint32_t **recs, size_t *n,
                             mneme_error *error);

/* What goes before a chunk's text when it is encoded and analysed: "title. " and "speaker: ". */
void mn_record_header(const char *title, const char *speaker, mn_buffer *out);

/* One chunk, as it lies in its row block. */
typedef struct mn_row {
    uint32_t rec; /* 0 = dead */
    uint32_t start, end;
    uint32_t n_terms;
} mn_row;

/* All rows of a namespace, block by block, read in place. */
typedef struct mn_rows {
    const mn_row **blocks; /* blocks[row / MN_BLOCK_ROWS][row % MN_BLOCK_ROWS] */
    uint32_t n_rows;       /* next_row of the namespace, dead ones included */
} mn_rows;
mneme_status mn_read_rows(mn_read *read, uint32_t ns, mn_arena *arena, mn_rows *out, mneme_error *error);
/* The same for a namespace that this read has given, without looking for it among all of them. */
mneme_status mn_read_rows_of(mn_read *read, const mn_namespace *space, mn_arena *arena, mn_rows *out, mneme_error *error);
static inline const mn_row *mn_row_at(const mn_rows *rows, uint32_t row)
{
    return &rows->blocks[row / MN_BLOCK_ROWS][row % MN_BLOCK_ROWS];
}

/* All vectors of a namespace, block by block (vector_codes.h), dead rows included, read in place. */
typedef struct mn_vector_blocks {
    mn_vector_block *items; /* ascending, they do not overlap; rows without a vector are in none */
    size_t n;
    uint32_t dimension;
    mn_vector_type type;
} mn_vector_blocks;
mneme_status mn_read_vectors(mn_read *read, uint32_t ns, mn_arena *arena, mn_vector_blocks *out, mneme_error *error);
/* The block that has a row, and the row's place in it; NULL when the row has no vector. */
const mn_vector_block *mn_vector_find(const mn_vector_blocks *blocks, uint32_t row, uint32_t *place);
/* The vector of one row as `dimension` floats; false when it has none. */
bool mn_vector_of(const mn_vector_blocks *blocks, uint32_t row, float *out);

/* One row, one vector by its row: `dimension` floats, copied to `out`. ERR_DAMAGED when it is not there as it should be,
 * or (then `out` holds what is there) when the vectors that it lies with do not fit their checksum. Outside writes only. */
mneme_status mn_read_row(mn_read *read, const mn_namespace *space, uint32_t row, mn_row *out, mneme_error *error);
mneme_status mn_read_row_vector(mn_read *read, const mn_namespace *space, uint32_t row, float *out, mneme_error *error);

/* The postings of one term: rows ascending (live rows only) with counts, decoded into the arena. n = 0: unknown term. */
typedef struct mn_posting {
    uint32_t row, count;
} mn_posting;
mneme_status mn_read_postings(mn_read *read, uint32_t ns, const char *term, size_t size, mn_arena *arena,
                              mn_posting **out, size_t *n, mneme_error *error);

/* ---- the index of fields: which records have a value, without reading them ---- */

#define MN_FIELD_NAME_MAX   200u /* bytes of a field's name; longer ones are not indexed */
#define MN_FIELD_VALUES_MAX 32u  /* metadata values indexed of one record */
#define MN_FIELD_UNLISTED   "*"  /* the field of records whose metadata is not indexed: too many values, names too long */

typedef enum mn_field_type { /* values are on disk */
    MN_FIELD_NULL = 1,
    MN_FIELD_BOOLEAN,
    MN_FIELD_NUMBER,
    MN_FIELD_TIME,
    MN_FIELD_TEXT,
    MN_FIELD_OTHER, /* an array or object */
} mn_field_type;

typedef struct mn_field_value {
    mn_field_type type;
    bool element; /* of an array, not the field's own value */
    bool boolean;
    double number;
    int64_t time_ms;
    const char *text;
} mn_field_value;

typedef enum mn_field_match {
    MN_FIELD_EQUAL,
    MN_FIELD_BETWEEN,  /* low <= value <= high, of low's or high's type */
    MN_FIELD_PREFIX,   /* texts that begin with low.text */
    MN_FIELD_CONTAINS, /* texts that hold low.text; looks at every text of the field */
    MN_FIELD_EXISTS,   /* any value but null */
    MN_FIELD_LISTED,   /* all of the field; for MN_FIELD_UNLISTED */
} mn_field_match;

/* field  "id", "session", "speaker", "source" (texts), "time" (times), MN_FIELD_UNLISTED, or "." and a key of the
 *        metadata: ".city", ".answer.score". A text in metadata that is a date is found as TIME, too. */
typedef struct mn_field_range {
    const char *field;
    mn_field_match match;
    bool has_low, has_high; /* of BETWEEN */
    mn_field_value low, high;
} mn_field_range;

typedef struct mn_recs {
    uint32_t *items; /* heap: mn_free */
    size_t n, capacity;
} mn_recs; /* start from {0} */

/* Append the records that have such a value, and maybe more: bounds of texts look at 64 bytes, those of times at steps
 * of 70 minutes. A record whose metadata is not indexed is missing. In the order of the values: neither sorted nor
 * unique. ERR_DAMAGED, ERR_MEMORY. */
mneme_status mn_read_field(mn_read *read, uint32_t ns, const mn_field_range *range, mn_recs *out, mneme_error *error);
/* How many that would be, counted up to `limit`: *n == limit means as many or more. Work is O(limit). */
mneme_status mn_count_field(mn_read *read, uint32_t ns, const mn_field_range *range, size_t limit, size_t *n,
                            mneme_error *error);
/* Ascending, each once. */
void mn_recs_sort(mn_recs *recs);

/* In how many rows a term is: exact for a list of up to 256 rows, else estimated from how dense its first and last block
 * begin, so that it costs the same for every term. */
mneme_status mn_read_term_rows(mn_read *read, uint32_t ns, const char *term, size_t size, uint64_t *n, mneme_error *error);

/* The change log, newest last: what each of the last generations did. */
typedef struct mn_change {
    uint64_t generation;
    int64_t time_ms;
    uint32_t ns;
    uint32_t rec, n_recs; /* records rec .. rec + n_recs - 1 */
    bool removed;         /* else added */
    uint32_t first_row, n_rows; /* of all of them */
} mn_change;
/* Changes with generation > since, in order; *complete false when the log does not reach back that far. */
mneme_status mn_read_changes(mn_read *read, uint64_t since, mn_arena *arena, mn_change **out, size_t *n, bool *complete,
                             mneme_error *error);

/* ---- index files: what ties a file beside data.mdb to this store (index_marks.c) ------------------------------- */

/* Which store it is, and how often its rows were given new numbers: equal for equal rows. A store has none (is_known
 * false) until the first index is built. A copy of a store has the same. */
typedef struct mn_identity {
    bool is_known;
    unsigned char id[16]; /* random */
    uint64_t epoch;       /* one more with each compaction */
} mn_identity;
mneme_status mn_read_identity(mn_read *read, mn_identity *out, mneme_error *error);

/* What a file looked like to the one who last found it whole. All zero: nobody has. */
typedef struct mn_file_stamp {
    uint64_t device, inode, size;
    int64_t modified_ns, changed_ns;
} mn_file_stamp;
mneme_status mn_read_index_stamp(mn_read *read, uint32_t ns, mn_file_stamp *out, mneme_error *error);

/* The absolute path of the store's directory. */
const char *mn_store_folder(const mn_store *store);

/* ---- writing -------------------------------------------------------------------------------------------------- */

/* Run `change` inside one write transaction and commit durably. When the map must grow, the transaction is undone, the
 * map grown and `change` run again from the start: it must be repeatable. An error from `change` undoes everything and
 * is returned. Writers in all processes wait for each other; those of one process that wait at once are committed
 * together (store_update.c), so `change` may be run by another thread than the caller's, and be run again when the change
 * of another one failed. generation (NULL allowed): of the store afterwards; when nothing was written, the old one. Not
 * inside a read or a write of the same thread. */
mneme_status mn_store_update(mn_store *store,
                             mneme_status (*change)(void *context, mn_write *write, mneme_error *error), void *context,
                             uint64_t *generation, mneme_error *error);

/* Called after each commit of this process by which rows died, before mn_store_update returns, by one thread at a time.
 * It may read, but not write. Set it before the first write; NULL = none. */
void mn_store_set_removed(mn_store *store, void (*removed)(void *context), void *context);

/* The view inside the transaction; borrowed, do not end it. */
mn_read *mn_write_read(mn_write *write);

/* Stamp the store with its encoder; ERR_ENCODER when it has another one. */
mneme_status mn_write_encoder(mn_write *write, const mn_encoder_stamp *stamp, mneme_error *error);

typedef struct mn_text {
    const char *text;
    size_t size;
} mn_text;

/* Before the first put of a large write: when the store has no dictionary for short texts yet, and these are enough to
 * make one of (500 texts, 64 KiB), make it. */
mneme_status mn_write_dictionary(mn_write *write, const mn_text *texts, size_t n, mneme_error *error);

typedef struct mn_new_chunk {
    uint32_t start, end;
    const float *vector; /* `dimension` floats, unit length; NULL = none */
} mn_new_chunk;

typedef struct mn_new_record {
    const mneme_record *record; /* text_size is exact here; text is valid UTF-8 */
    uint64_t hash[2];
    const mn_new_chunk *chunks;
    uint32_t n_chunks;
    uint32_t dimension;     /* of the vectors; must equal the namespace's, once it has one: ERR_DIMENSION */
    const mn_vector_type *vector_type; /* of a namespace that has no vectors yet; NULL = the store's */
    uint32_t rec;           /* 0 = the next number; else not below it (for copies of whole stores) */
    uint32_t session_place; /* 0 = the next place; else this one, which must be free */
    bool has_estimate;      /* importance for a record that is given none */
    float estimate;
    int64_t written_ms; /* 0 = now */
    /* NULL: the strength of the record that is replaced, pinned if either is, with this one's end. */
    const mn_strength *strength;
} mn_new_record;

/* Store a record; one with the same id is replaced and keeps its place in the session if that is the same. */
mneme_status mn_write_put(mn_write *write, const mn_new_record *record, mneme_error *error);

/* Replace what is kept of a live record's life. Makes no new generation. */
mneme_status mn_write_strength(mn_write *write, uint32_t ns, uint32_t rec, const mn_strength *strength,
                               mneme_error *error);
/* Give a live record an importance and change nothing else; makes a new generation. */
mneme_status mn_write_importance(mn_write *write, uint32_t ns, uint32_t rec, float importance, mneme_error *error);

/* Delete a record: ERR_NOT_FOUND when there is none. */
mneme_status mn_write_forget(mn_write *write, uint32_t ns, uint32_t rec, mneme_error *error);

/* Give the store an identity, if it has none. Makes no new generation. */
mneme_status mn_write_identity(mn_write *write, mneme_error *error);
/* Note that an index file was found whole. Makes no new generation. */
mneme_status mn_write_index_stamp(mn_write *write, uint32_t ns, const mn_file_stamp *stamp, mneme_error *error);

/* Make the index of fields anew from the records. */
mneme_status mn_write_rebuild_fields(mn_write *write, mneme_error *error);

/* ---- compact ----------------------------------------------------------------------------------------------------- */

/* Write everything that lives into a new file, and put that in the place of the old one. Record numbers stay, row
 * numbers change; the change log begins anew. Readers in all processes go on, writers wait. A store that fails to be
 * compacted is as it was; ERR_DAMAGED: something in it cannot be read, ERR_DISK_FULL, ERR_CANCELLED.
 *
 * type      how all vectors are kept from now on; NULL = each namespace as it is.
 * progress  counts "records"; NULL = none.
 *
 * Not inside a read or a write of the same thread. */
mneme_status mn_store_compact(mn_store *store, const mn_vector_type *type, mneme_progress progress, void *context,
                              mneme_compact_result *result, mneme_error *error);

/* Chunks and vectors by another encoder, for mn_store_recode. */
typedef struct mn_recode {
    mn_encoder_stamp stamp; /* what made the new vectors */
    uint64_t extra_bytes;   /* disk space that the new file takes beyond what the old one holds, estimated */
    /* The chunks that a record gets: `from` as it is stored, `record` the same with its text. The result is in the
     * arena, or lives until the next call. Called by one thread, in the order of the records, while writers wait; a
     * record may come again. */
    mneme_status (*chunks)(void *context, uint32_t ns, const mn_record *from, const mneme_record *record,
                           mn_arena *arena, mn_new_chunk **out, uint32_t *n, mneme_error *error);
    mneme_progress progress; /* as in mn_store_compact */
    void *context;           /* of both */
} mn_recode;

/* Compact the store, with new chunks and vectors for every record whose vectors come from the encoder; the store is of
 * the new encoder from then on. Records with a vector of their own keep it; a namespace of them alone is copied as it is.
 * ERR_DIMENSION: a namespace has both, and the two encoders' dimensions differ. Else as mn_store_compact. result->chunks
 * counts the new ones. *swapped: the store is the new one, even if the status tells of a failure. */
mneme_status mn_store_recode(mn_store *store, const mn_recode *recode, mneme_compact_result *result, bool *swapped,
                             mneme_error *error);

/* ---- check ------------------------------------------------------------------------------------------------------ */

/* Read everything and hold it against itself (docs/architecture.md lists what is compared). */
mneme_status mn_store_check(mn_store *store, void (*problem)(void *context, const char *line), mneme_progress progress,
                            void *context, mneme_check_report *report, mneme_error *error);

/* ---- backup ------------------------------------------------------------------------------------------------------ */

/* ERR_USAGE when the directory (which need not exist) is the store itself or lies in it: what is put there goes with it. */
mneme_status mn_store_refuse_inside(const mn_store *store, const char *target, mneme_error *error);
/* As mneme_backup. result: not NULL. */
mneme_status mn_store_backup(mn_store *store, const char *target, const mneme_backup_options *options,
                             mneme_backup_result *result, mneme_error *error);

#endif
