/* store_internal.h -- what the files of memstore/ share: the environment, transactions, keys, and the state of a write.
 *
 * Only memstore/ includes this and lmdb.h. Keys are written big-endian, so that they sort as numbers; values are the
 * structs below in the machine's order (little-endian; the format is not for big-endian machines). */
#ifndef MN_MEMSTORE_STORE_INTERNAL_H
#define MN_MEMSTORE_STORE_INTERNAL_H

#include "memstore/checked_lmdb.h"
#include "memstore/store.h"

#include <pthread.h>
#include <sys/types.h>

enum {
    DB_META,            /* name -> value: format, generation, next_ns, language, encoder, created */
    DB_NAMESPACES,      /* 'n' name -> namespace_value */
    DB_IDS,             /* ns id -> rec */
    DB_RECORDS,         /* ns rec part -> record_head, strings, text (part 0); text (others) */
    DB_ROWS,            /* ns block -> mn_row[<= MN_BLOCK_ROWS] */
    DB_VECTORS,         /* ns first_row -> n rows, coded (vector_codes.h) */
    DB_POSTINGS,        /* ns term 0 first_row -> (delta row, count) varints */
    DB_SESSIONS,        /* ns name -> session_value */
    DB_SESSION_RECORDS, /* ns number place -> rec */
    DB_LOG,             /* generation -> time, change_value[] */
    DB_STRENGTHS,       /* ns rec -> strength_value: only of memories that are not as they were written */
    DB_FIELDS,          /* ns field 0 type value -> rec, many (DUPSORT): the index that filters use (field_keys.c) */
    DB_COUNT
};

enum {
    TEXT_PART = 65536,       /* bytes of a record's text in one value */
    POSTINGS_BYTES = 4080,   /* the most in a postings block: what LMDB keeps on one overflow page */
    LOG_GENERATIONS = 10000, /* how far the change log reaches back */
    KEY_MAX = 511,           /* LMDB's own limit */
};

typedef struct namespace_value {
    uint32_t ns, dimension, own_vectors, vector_type, next_row, next_rec, next_session, unused;
    uint64_t n_records, n_chunks, n_terms, n_sessions;
} namespace_value;

typedef struct session_value {
    uint32_t number, next_place;
} session_value;

/* What the store adds to a record (record_layout.c). */
typedef struct record_head {
    uint64_t hash[2];
    uint32_t first_row, n_chunks, session_number, session_place;
    int64_t written_ms;
    bool has_importance, importance_given;
    float importance;
} record_head;

/* How a piece of text is kept. Values are format. */
typedef enum mn_text_kind { TEXT_PLAIN = 0, TEXT_FRAME = 1, TEXT_WITH_DICTIONARY = 2 } mn_text_kind;
typedef struct mn_packed_text {
    mn_text_kind kind;
    const void *bytes;
    size_t size, text_size; /* as kept; unpacked */
} mn_packed_text;

typedef struct mn_dictionary mn_dictionary;

typedef struct update_request update_request;

typedef struct change_value {
    uint32_t ns, rec, n_recs, removed, first_row, n_rows;
} change_value;

struct mn_store {
    MDB_env *env;
    MDB_dbi dbs[DB_COUNT];
    char *path, *language;
    char *real_path; /* absolute */
    bool read_only, damaged;
    mn_vector_type vector_type; /* for namespaces without vectors */
    bool is_private; /* nobody else knows of it: no lock file, no fsync */
    bool is_alone;   /* no other process can open it: other_lock keeps lock.mdb locked */
    int other_lock;
    uint64_t map_bytes, pinned_bytes;
    int directory;     /* descriptor: the store's files are found through it, wherever the process goes */
    dev_t data_device; /* of the data.mdb that env has open */
    ino_t data_inode;
    dev_t device; /* of the directory: the registry's key */
    ino_t inode;
    pid_t process;
    struct mn_store *next_open; /* in the registry */
    pthread_rwlock_t map_lock;  /* shared: a transaction runs; exclusive: the map is resized, or
                                   env opened anew (NULL when that failed; the next transaction tries again) */
    bool env_failed; /* LMDB gave it up (MDB_PANIC): it is opened anew; atomic */
    pthread_mutex_t reopen_lock; /* who opens env anew */
    pthread_mutex_t queue_lock;  /* of what follows (store_update.c) */
    pthread_cond_t queue_moved;
    update_request *queue; /* changes that wait for a leader */
    size_t n_queued;
    bool has_leader;
    mn_analyze analyze;
    void *analyze_context;
    mneme_clock clock;
    void *clock_context;
    void (*removed)(void *context); /* mn_store_set_removed; NULL = none */
    void *removed_context;
    pthread_mutex_t dictionary_lock;
    mn_dictionary *dictionaries; /* all that were ever needed; freed at close */
};

struct mn_read {
    mn_store *store;
    MDB_txn *txn;
    mn_arena arena; /* names that are handed out */
    uint64_t generation;
    mn_encoder_stamp encoder;
    struct ZSTD_DCtx_s *unpacker; /* NULL until needed */
    mn_dictionary *dictionary;    /* the store's, once looked up */
    struct {
        char *text; /* room for TEXT_PART bytes; NULL until needed */
        bool is_there;
        uint32_t ns, rec, number;
    } part; /* the text part that was unpacked last: a record's text never changes */
    struct {
        const void *of; /* the value; NULL = none */
        size_t size;
        bool right;
    } run; /* the run of vectors whose checksum was compared last */
};

/* ---- keys -------------------------------------------------------------------------------------------------------- */

typedef struct key_bytes {
    unsigned char bytes[KEY_MAX];
    size_t size;
} key_bytes;

static inline void key_u32(key_bytes *key, uint32_t value)
{
    for (int shift = 24; shift >= 0; shift -= 8) key->bytes[key->size++] = (unsigned char)(value >> shift);
}

static inline void key_text(key_bytes *key, const char *text, size_t size)
{
    for (size_t i = 0; i < size && key->size < KEY_MAX; i++) key->bytes[key->size++] = (unsigned char)text[i];
}

static inline MDB_val key_value(key_bytes *key)
{
    return (MDB_val){.mv_size = key->size, .mv_data = key->bytes};
}

/* One, two or three numbers. */
static inline key_bytes key_numbers(size_t n, uint32_t a, uint32_t b, uint32_t c)
{
    const uint32_t numbers[3] = {a, b, c};
    key_bytes key = {.size = 0};
    for (size_t i = 0; i < n; i++) key_u32(&key, numbers[i]);
    return key;
}

/* The number at byte `offset` of a stored key; 0 past its end. */
uint32_t mn_key_number(const MDB_val *key, size_t offset);

key_bytes mn_key_namespace(const char *name);
key_bytes mn_key_named(uint32_t ns, const char *name); /* ids and sessions */
key_bytes mn_key_posting(uint32_t ns, const char *term, size_t size, uint32_t first_row);

/* ---- LMDB, with our errors --------------------------------------------------------------------------------------- */

/* The status for an LMDB code, with `what` and LMDB's own text in the error. NOTFOUND gives ERR_NOT_FOUND. */
mneme_status mn_lmdb_fail(mneme_error *error, int code, const char *what);

/* ERR_NOT_FOUND (error untouched) when the key is not there. */
mneme_status mn_db_get(const mn_read *read, int db, key_bytes *key, MDB_val *value, mneme_error *error);
mneme_status mn_db_put(mn_write *write, int db, key_bytes *key, const void *data, size_t size, mneme_error *error);
/* The same for a key that is likely the last of its database: pages that are filled in order become full. */
mneme_status mn_db_append(mn_write *write, int db, key_bytes *key, const void *data, size_t size, mneme_error *error);
/* Deleting what is not there is fine. */
mneme_status mn_db_delete(mn_write *write, int db, key_bytes *key, mneme_error *error);
mneme_status mn_cursor_open(const mn_read *read, int db, MDB_cursor **out, mneme_error *error);
/* The last entry at or before `key` that shares its first `prefix` bytes; false: none, or *status tells. */
bool mn_cursor_floor(MDB_cursor *cursor, key_bytes *key, size_t prefix, MDB_val *found, MDB_val *value,
                     mneme_status *status, mneme_error *error);

/* LMDB reports the short write of a full disk as EIO: the code, ENOSPC where the file system is full. */
int mn_commit_code(const mn_store *store, int code);

mneme_status mn_damaged(mneme_error *error, const char *what, uint32_t ns, uint32_t number);

/* Values that nothing else in the store says a second time (records, text parts, vectors) end with the low 32 bits of
 * XXH3-64 of what stands before. */
enum { CHECKSUM_BYTES = 4 };
uint32_t mn_checksum(const void *bytes, size_t size);
/* Does a value end with its checksum? */
bool mn_checksum_is_right(const MDB_val *value);
void mn_buffer_checksum(mn_buffer *value); /* append that of what is there */
/* Compare the checksums of DB_RECORDS or DB_VECTORS, of namespace `ns`, or of all (0). `wrong` is called with the numbers in
 * the key of each value that does not fit its own: the namespace's, and the record's or the first row's. */
typedef void (*mn_wrong_checksum)(void *context, uint32_t ns, uint32_t number);
mneme_status mn_checksums_compare(const mn_read *read, int db, uint32_t ns, mn_wrong_checksum wrong, void *context,
                                  mneme_error *error);

/* ---- the map (store_map.c) --------------------------------------------------------------------------------------- */

/* All wait until no transaction of this process runs: never call them inside one. ERR_MEMORY: there is no address space
 * for it; the map is then as it was. */
mneme_status mn_map_grow(mn_store *store, mneme_error *error);
/* Another process has made the file longer than this one's map: follow. */
mneme_status mn_map_follow(mn_store *store, mneme_error *error);
/* The same where no other thread can use the store, or map_lock is held exclusively. */
mneme_status mn_map_follow_alone(mn_store *store, mneme_error *error);
/* After the environment is opened, before anything is read: give a file that was cut short its length back. */
mneme_status mn_map_fill_short_file(mn_store *store, mneme_error *error);

/* ---- the data file may be swapped for another (store_swap.c says how, and why it is safe) --------------------------
 */

/* Is the data.mdb in the directory the one that env has open? */
bool mn_data_is_current(const mn_store *store);
/* Open env and its databases anew when they are not those of the current data.mdb. Waits until no transaction of this
 * process runs. */
mneme_status mn_store_reopen(mn_store *store, mneme_error *error);

/* A descriptor that holds locks on data.mdb; -1: none. */
typedef struct mn_gate {
    int fd;
} mn_gate;
/* Held while a writer checks that its env is current and waits for LMDB's write lock. */
mneme_status mn_gate_enter_writing(const mn_store *store, mn_gate *gate, mneme_error *error);
/* Held while data.mdb and lock.mdb are being opened. */
mneme_status mn_gate_enter_opening(const mn_store *store, mn_gate *gate, mneme_error *error);
/* Held by the one who makes a new data.mdb, from before its write transaction begins: nobody else is waiting for
 * LMDB's write lock then, nor comes to wait for it. */
mneme_status mn_gate_enter_swapping(const mn_store *store, mn_gate *gate, mneme_error *error);
void mn_gate_leave(mn_gate *gate);

/* The file `name` in the store's directory, complete, becomes data.mdb. `own`: the write transaction (never to be
 * committed) that holds the old file; of a store that is open alone, any transaction. *swapped: data.mdb is the new one,
 * even if the status tells of a failure. */
mneme_status mn_swap_data(mn_store *store, const mn_gate *gate, MDB_txn *own, const char *name, bool *swapped,
                          mneme_error *error);

/* What a compaction keeps in the store's directory while it runs; left over only by one that was killed. The directory
 * goes last: while it is there, the new data.mdb may not be safe from power loss under its name. */
#define MN_COMPACT_DIRECTORY "data.mdb.compact"
#define MN_COMPACT_FILE      "data.mdb.new"
/* What a backup keeps beside its data.mdb (backup_mark.c). */
#define MN_BACKUP_MARK "backup.json"
/* By one who is in the gate for swapping. */
void mn_compact_files_remove(const mn_store *store);
/* By one who opens the store: unless someone is compacting. */
void mn_remove_leftovers(const mn_store *store);

/* Begin a transaction on the current data.mdb, with map_lock held shared; on failure it is not held. */
typedef enum txn_kind {
    TXN_READ,
    TXN_WRITE,
    TXN_SWAP /* a write transaction of whoever is in the gate for swapping */
} txn_kind;
mneme_status mn_txn_begin(mn_store *store, txn_kind kind, MDB_txn **txn, mneme_error *error);
mneme_status mn_load_generation(mn_read *read, mneme_error *error);

/* The parts of a compaction that an upgrade shares (store_compact.c). */
/* ERR_DISK_FULL unless there is room for what the store's databases hold, twice, and `extra` bytes. */
mneme_status mn_check_space(const mn_store *store, MDB_txn *txn, uint64_t extra, mneme_error *error);
/* A new private store in the store's directory, like it. */
mneme_status mn_target_open(const mn_store *store, mn_store **target, mneme_error *error);
/* Close it and keep it, without its free pages, as MN_COMPACT_FILE; its directory stays. */
mneme_status mn_target_write(const mn_store *store, mn_store **target, uint64_t *bytes, mneme_error *error);
/* The last write to it: what stands in meta, but for what is new; then the generation after the old one's, and a log that
 * says that all is new. */
mneme_status mn_copy_meta(mn_read *from, mn_write *write, mneme_error *error);

/* Open an existing store of an older format for reading, when no other process has it open, and keep all others waiting.
 * ERR_BUSY: one has; ERR_FORMAT: it is of another format. */
mneme_status mn_store_open_alone(const char *path, uint32_t format, mn_store **out, mneme_error *error);
#define MN_FORMAT_1_FILE "data.mdb.format-1"

/* A new store in an existing, empty directory of which only the caller knows, with the language, analyzer and clock of
 * `like`: without locks, without fsync. */
mneme_status mn_store_open_private(const char *path, const mn_store *like, mn_store **out, mneme_error *error);

/* Inside a write transaction, before anything is written: ERR_DISK_FULL when a reader that does not end keeps more than
 * the store's limit from being used again (pinned_pages.c). */
mneme_status mn_check_pinned(mn_store *store, MDB_txn *writing, mneme_error *error);

/* ---- the state of a write ---------------------------------------------------------------------------------------- */

typedef struct namespace_state {
    namespace_value value;
    char *name; /* in the write's arena */
    uint32_t first_new_rec; /* records from here on were put by this write */
    bool dirty;
    float *new_vectors; /* rows new_first .. new_first + n_new - 1, not in the database yet; heap */
    uint32_t new_first, n_new, new_capacity;
} namespace_state;

/* A term that this write has new postings of. */
typedef struct pending_term {
    uint32_t ns, size;
    uint64_t hash;
    const char *text; /* in the write's posting arena */
    size_t n;         /* its postings */
} pending_term;

typedef struct pending_posting {
    uint32_t term, row, count; /* term: index into the pending terms */
} pending_posting;

typedef struct dead_row {
    uint32_t ns, row;
} dead_row;

typedef struct pending_field {
    const unsigned char *key; /* in the write's field arena */
    uint32_t size, rec;
} pending_field;

struct mn_write {
    mn_read read;
    mn_arena arena, posting_arena, field_arena;
    bool map_full; /* a put ran out of map: the update loop grows it and starts again */
    bool changed;  /* a new generation */
    bool kept_books; /* strengths were written: commit, but no new generation */
    namespace_state *namespaces;
    size_t n_namespaces, namespace_capacity;
    pending_term *terms;
    size_t n_terms, term_capacity;
    uint32_t *term_slots; /* hash table: index of a term + 1, or 0; a power of two, at least twice the terms */
    size_t n_term_slots;
    pending_posting *postings; /* in the order of the rows */
    size_t n_postings, posting_capacity;
    pending_field *fields;
    size_t n_fields, field_capacity;
    dead_row *dead_rows; /* their vectors are zeroed at the end */
    size_t n_dead_rows, dead_capacity;
    struct ZSTD_CCtx_s *packer; /* NULL until needed */
    bool packs_with_dictionary;
    mn_buffer packed;
    change_value *changes;
    size_t n_changes, change_capacity;
    struct {
        uint32_t ns, block, n;
        bool loaded, dirty;
        mn_row rows[MN_BLOCK_ROWS];
    } rows; /* the one row block that is being written */
};

/* Make room for one more item in a heap array. */
mneme_status mn_grow(void **items, size_t n, size_t *capacity, size_t item_size, mneme_error *error);

/* The state of a namespace inside this write; created on demand when `create`. Valid until the next call. */
mneme_status mn_write_namespace(mn_write *write, const char *name, bool create, namespace_state **out,
                                mneme_error *error);
mneme_status mn_write_namespace_number(mn_write *write, uint32_t ns, namespace_state **out, mneme_error *error);
mneme_status mn_flush_namespaces(mn_write *write, mneme_error *error);

mneme_status mn_append_row(mn_write *write, namespace_state *space, const mn_row *row, mneme_error *error);
mneme_status mn_kill_row(mn_write *write, uint32_t ns, uint32_t row, mn_row *old, mneme_error *error);
mneme_status mn_flush_rows(mn_write *write, mneme_error *error);

mneme_status mn_append_vector(mn_write *write, namespace_state *space, uint32_t row, const float *vector,
                              mneme_error *error);
mneme_status mn_flush_vectors(mn_write *write, mneme_error *error);

/* Count the terms of a chunk's lexical text and keep them for the flush; *n_terms: its length. */
mneme_status mn_append_postings(mn_write *write, uint32_t ns, uint32_t row, const char *text, size_t size,
                                uint32_t *n_terms, mneme_error *error);
mneme_status mn_remove_postings(mn_write *write, uint32_t ns, uint32_t row, const char *text, size_t size,
                                mneme_error *error);
mneme_status mn_flush_postings(mn_write *write, mneme_error *error);

/* The place of a record that joins a session; *number and *place as in record_head. */
mneme_status mn_join_session(mn_write *write, namespace_state *space, const char *name, uint32_t rec, uint32_t *number,
                             uint32_t *place, mneme_error *error);
mneme_status mn_leave_session(mn_write *write, namespace_state *space, const char *name, uint32_t number,
                              uint32_t place, mneme_error *error);

key_bytes mn_key_log(uint64_t generation);
mneme_status mn_log_change(mn_write *write, change_value change, mneme_error *error);
mneme_status mn_flush_log(mn_write *write, uint64_t generation, mneme_error *error);
/* The generation in which the log begins because all rows got new numbers; 0: it does not begin so. */
mneme_status mn_log_start(const mn_read *read, uint64_t *generation, mneme_error *error);

/* Hold the strengths of a namespace against its records; problem is called once for each damage. */
mneme_status mn_check_strengths(mn_read *read, uint32_t ns,
                                void (*problem)(void *context, uint32_t rec, const char *what), void *context,
                                mneme_error *error);

/* Read part 0 of a record; strings and text point into `value`. */
mneme_status mn_parse_record(uint32_t ns, uint32_t rec, const MDB_val *value, mn_record *out, mn_packed_text *text,
                             mneme_error *error);
/* The same without asking whether the text is as long as it should be. */
mneme_status mn_parse_damaged_record(uint32_t ns, uint32_t rec, const MDB_val *value, mn_record *out,
                                     mn_packed_text *text, mneme_error *error);
/* Write all parts of a record. */
mneme_status mn_put_record(mn_write *write, uint32_t ns, uint32_t rec, const mneme_record *record,
                           const record_head *head, mneme_error *error);

/* Pack a text of at most TEXT_PART bytes; out->bytes borrowed until the next call, or the text itself. */
mneme_status mn_text_pack(mn_write *write, const char *text, size_t size, mn_packed_text *out, mneme_error *error);
/* out: room for packed->text_size bytes. ERR_DAMAGED leaves the error to the caller, who knows which record it is. */
mneme_status mn_text_unpack(mn_read *read, const mn_packed_text *packed, char *out, mneme_error *error);
void mn_packer_free(mn_write *write);
void mn_unpacker_free(mn_read *read);
void mn_dictionaries_free(mn_store *store);
/* Are both copies of the dictionary there and whole? ERR_DAMAGED says what is not. No dictionary is fine. */
mneme_status mn_dictionary_check(mn_read *read, mneme_error *error);

/* Rows in a value of vectors; 0: it is none. */
size_t mn_vector_rows(size_t value_size, mn_vector_type type, uint32_t dimension);

/* Decode one postings block: calls visit for each; false = damaged. */
bool mn_decode_postings(uint32_t first_row, const MDB_val *value,
                        bool (*visit)(void *context, uint32_t row, uint32_t count), void *context);

/* meta values */
mneme_status mn_meta_get(const mn_read *read, const char *name, MDB_val *value, mneme_error *error);
mneme_status mn_meta_put(mn_write *write, const char *name, const void *data, size_t size, mneme_error *error);

/* The stamp of the store's encoder, whatever it was before. */
mneme_status mn_put_encoder(mn_write *write, const mn_encoder_stamp *stamp, mneme_error *error);

/* The next epoch (index_marks.c), where the store has an identity: its rows have new numbers. */
mneme_status mn_next_epoch(mn_write *write, mneme_error *error);

/* Put the store's path into the message, where LMDB or the system failed: their words do not tell which store it is.
 * Gives `status`. */
mneme_status mn_name_store(const mn_store *store, mneme_status status, mneme_error *error);

#endif
