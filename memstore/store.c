/* store.c -- opening a store, read transactions and the update loop. */
#include "memstore/store_internal.h"

#include "common/clock.h"
#include "common/file.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

static const char *const db_names[DB_COUNT] = {"meta",      "namespaces", "ids",      "records",         "rows",
                                               "vectors",   "postings",   "sessions", "session_records", "log",
                                               "strengths", "fields"};

/* The flags that a database is made with. */
static unsigned flags_of(int db)
{
    return db == DB_FIELDS ? MDB_DUPSORT | MDB_DUPFIXED | MDB_INTEGERDUP : 0;
}

/* ---- the registry: POSIX file locks belong to the process, so LMDB loses its lock when the same file is opened a
 * second time and closed. One list for the process is the only way to refuse that. ---- */

static pthread_mutex_t g_registry_lock = PTHREAD_MUTEX_INITIALIZER;
static mn_store *g_open_stores;

static mneme_status register_open(mn_store *store, mneme_error *error)
{
    struct stat info;
    if (stat(store->path, &info) != 0) return mn_fail_errno(error, errno, "cannot open store %s", store->path);
    store->device = info.st_dev;
    store->inode = info.st_ino;
    mneme_status status = MNEME_OK;
    pthread_mutex_lock(&g_registry_lock);
    for (const mn_store *other = g_open_stores; other; other = other->next_open)
        if (other->device == store->device && other->inode == store->inode) status = MNEME_ERR_BUSY;
    if (status == MNEME_OK) {
        store->next_open = g_open_stores;
        g_open_stores = store;
    }
    pthread_mutex_unlock(&g_registry_lock);
    if (status == MNEME_OK) return MNEME_OK;
    return mn_fail(error, status, "store %s is already open in this process; share the handle", store->path);
}

static void unregister(const mn_store *store)
{
    pthread_mutex_lock(&g_registry_lock);
    for (mn_store **link = &g_open_stores; *link; link = &(*link)->next_open) {
        if (*link != store) continue;
        *link = store->next_open;
        break;
    }
    pthread_mutex_unlock(&g_registry_lock);
}

/* ---- the directory ---- */

static bool may_lie_beside(const char *name)
{
    static const char *const known[] = {".", "..", "lock.mdb", "mneme.yaml", "models"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(name, known[i]) == 0) return true;
    return false;
}

/* Is there a store, or a place for one? */
static mneme_status look_at_directory(const char *path, bool must_exist, mneme_error *error)
{
    DIR *dir = opendir(path);
    if (!dir && errno == ENOENT && must_exist)
        return mn_fail(error, MNEME_ERR_NOT_A_STORE, "there is no store at %s; `mneme init`, `index` or `add` make one",
                       path);
    if (!dir && errno == ENOENT) return mn_make_directories(path, 0700, error);
    if (!dir && errno == ENOTDIR)
        return mn_fail(error, MNEME_ERR_NOT_A_STORE, "%s is a file; a store is a directory", path);
    if (!dir) return mn_fail_errno(error, errno, "cannot open store %s", path);
    bool has_data = false, has_other = false;
    for (const struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        if (strcmp(entry->d_name, "data.mdb") == 0)
            has_data = true;
        else if (!may_lie_beside(entry->d_name))
            has_other = true;
    }
    closedir(dir);
    if (has_data || (!must_exist && !has_other)) return MNEME_OK;
    return mn_fail(error, MNEME_ERR_NOT_A_STORE, "directory %s is not a mneme store%s", path,
                   has_other ? " and holds other files; name another one" : "; `mneme init` makes one");
}

/* ---- opening ---- */

static int open_env(mn_store *store, uint64_t map_bytes)
{
    int code = mdb_env_create(&store->env);
    if (code == 0) code = mdb_env_set_maxdbs(store->env, DB_COUNT);
    if (code == 0) code = mdb_env_set_maxreaders(store->env, 1022);
    if (code == 0) code = mdb_env_set_mapsize(store->env, (size_t)map_bytes);
    if (code == 0) code = mdb_env_open(store->env, store->path, MDB_NOTLS | (store->read_only ? MDB_RDONLY : 0u), 0600);
    if (code != 0 && store->env) { /* LMDB asks for this even after a failed open */
        mdb_env_close(store->env);
        store->env = NULL;
    }
    return code;
}

/* Reserve as much as asked, or as much as the system gives (ulimit -v, containers). */
static mneme_status open_env_in_steps(mn_store *store, uint64_t map_bytes, mneme_error *error)
{
    int code = ENOMEM;
    for (uint64_t bytes = map_bytes ? map_bytes : (uint64_t)1 << 40; code == ENOMEM && bytes >= (1u << 20); bytes /= 4)
        code = open_env(store, bytes);
    if (code == 0) return MNEME_OK;
    char what[300];
    snprintf(what, sizeof what, "cannot open store %s", store->path);
    return mn_lmdb_fail(error, code, what);
}

static mneme_status initialize(mn_store *store, const char *language, MDB_txn *txn, mneme_error *error)
{
    mn_write write = {.read = {.store = store, .txn = txn}};
    uint32_t format = MN_STORE_FORMAT, next_ns = 1;
    uint64_t generation = 0;
    int64_t now = mn_clock_system(NULL);
    mneme_status status = mn_meta_put(&write, "format", &format, sizeof format, error);
    if (status == MNEME_OK) status = mn_meta_put(&write, "generation", &generation, sizeof generation, error);
    if (status == MNEME_OK) status = mn_meta_put(&write, "next_ns", &next_ns, sizeof next_ns, error);
    if (status == MNEME_OK) status = mn_meta_put(&write, "created", &now, sizeof now, error);
    if (status == MNEME_OK) status = mn_meta_put(&write, "language", language, strlen(language), error);
    return status;
}

static mneme_status check_format(mn_store *store, MDB_txn *txn, mneme_error *error)
{
    mn_read read = {.store = store, .txn = txn};
    MDB_val value;
    mneme_status status = mn_meta_get(&read, "format", &value, error);
    if (status == MNEME_ERR_NOT_FOUND || (status == MNEME_OK && value.mv_size != sizeof(uint32_t)))
        return mn_fail(error, MNEME_ERR_NOT_A_STORE, "%s/data.mdb is an LMDB file, but not a mneme store", store->path);
    uint32_t format = 0;
    if (status == MNEME_OK) memcpy(&format, value.mv_data, sizeof format);
    if (status == MNEME_OK && format != MN_STORE_FORMAT)
        return mn_fail(error, MNEME_ERR_FORMAT, "store %s has format %u, this mneme reads format %u; use a newer mneme",
                       store->path, format, MN_STORE_FORMAT);
    if (status == MNEME_OK) status = mn_meta_get(&read, "language", &value, error);
    if (status != MNEME_OK) return status;
    store->language = mn_strndup(value.mv_data, value.mv_size);
    return store->language ? MNEME_OK : mn_fail_memory(error, "store");
}

/* LMDB reports the short write of a full disk as EIO: ask the file system whether it is full. */
static int commit_code(const mn_store *store, int code)
{
    struct statvfs info;
    if (code != EIO || statvfs(store->path, &info) != 0) return code;
    return (uint64_t)info.f_bavail * info.f_frsize < (1u << 20) ? ENOSPC : code;
}

/* Another process may have grown the file since this one mapped it. */
static int begin_adopting_size(mn_store *store, unsigned flags, MDB_txn **txn)
{
    int code = mdb_txn_begin(store->env, NULL, flags, txn);
    for (int attempt = 0; code == MDB_MAP_RESIZED && attempt < 100; attempt++) {
        if (mn_map_follow(store, NULL) != MNEME_OK) return ENOMEM;
        code = mdb_txn_begin(store->env, NULL, flags, txn);
    }
    return code;
}

/* A transaction in which the store exists: a reading one, or the one that makes it (*created). Looks again once it may
 * write: another process may have been first. */
static int begin_open(mn_store *store, MDB_txn **txn, bool *created)
{
    *created = false;
    int code = begin_adopting_size(store, MDB_RDONLY, txn);
    if (code == 0) code = mdb_dbi_open(*txn, db_names[DB_META], 0, &store->dbs[DB_META]);
    if (code != MDB_NOTFOUND || store->read_only) return code;
    mdb_txn_abort(*txn);
    *txn = NULL;
    code = begin_adopting_size(store, 0, txn);
    if (code == 0) code = mdb_dbi_open(*txn, db_names[DB_META], 0, &store->dbs[DB_META]);
    *created = code == MDB_NOTFOUND;
    return *created ? 0 : code;
}

/* The status for what LMDB says while a file is opened that may be anything. */
static mneme_status fail_opening(const mn_store *store, int code, mneme_error *error)
{
    if (code == MDB_NOTFOUND || code == MDB_INCOMPATIBLE)
        return mn_fail(error, MNEME_ERR_NOT_A_STORE, "%s/data.mdb is an LMDB file, but not a mneme store", store->path);
    return mn_lmdb_fail(error, code, store->path);
}

/* Open the named databases; a store that has none yet gets them. */
static mneme_status open_databases(mn_store *store, const char *language, mneme_error *error)
{
    MDB_txn *txn = NULL;
    MDB_stat stat_of = {0};
    bool create = false;
    mneme_status status = MNEME_OK;
    int code = begin_open(store, &txn, &create);
    /* A foreign LMDB file has entries in its main database, but no "meta". */
    if (code == 0 && create) code = mdb_env_stat(store->env, &stat_of);
    if (code == 0 && stat_of.ms_entries > 0) code = MDB_NOTFOUND;
    /* The format first: another one may have other databases. */
    if (code == 0 && !create) status = check_format(store, txn, error);
    for (int i = 0; i < DB_COUNT && code == 0 && status == MNEME_OK; i++)
        code = mdb_dbi_open(txn, db_names[i], flags_of(i) | (create ? MDB_CREATE : 0u), &store->dbs[i]);
    if (code != 0) status = fail_opening(store, code, error);
    if (status == MNEME_OK && create) status = initialize(store, language, txn, error);
    if (status == MNEME_OK && create) status = check_format(store, txn, error);
    if (status != MNEME_OK) {
        if (txn) mdb_txn_abort(txn);
        return status;
    }
    code = mdb_txn_commit(txn);
    return code == 0 ? MNEME_OK : mn_lmdb_fail(error, commit_code(store, code), store->path);
}

mneme_status mn_store_open(const char *path, const mn_store_options *options, mn_store **out, mneme_error *error)
{
    *out = NULL;
    mneme_status status = look_at_directory(path, options->existing || options->read_only, error);
    if (status != MNEME_OK) return status;
    mn_store *store = mn_alloc_zeroed(1, sizeof *store);
    if (!store) return mn_fail_memory(error, "store");
    pthread_rwlock_init(&store->map_lock, NULL);
    pthread_mutex_init(&store->dictionary_lock, NULL);
    store->read_only = options->read_only;
    store->vector_type = options->vector_type;
    store->clock = options->clock ? options->clock : mn_clock_system;
    store->clock_context = options->clock_context;
    store->path = mn_strdup(path);
    status = store->path ? register_open(store, error) : mn_fail_memory(error, "store");
    if (status == MNEME_OK) status = open_env_in_steps(store, options->map_bytes, error);
    if (status == MNEME_OK) status = mn_map_fill_short_file(store, error);
    if (status == MNEME_OK) mdb_reader_check(store->env, NULL); /* free the slots of readers that were killed */
    if (status == MNEME_OK) status = open_databases(store, options->language ? options->language : "english", error);
    if (status != MNEME_OK)
        mn_store_close(store);
    else
        *out = store;
    return status;
}

void mn_store_close(mn_store *store)
{
    if (!store) return;
    if (store->env) mdb_env_close(store->env);
    unregister(store);
    pthread_rwlock_destroy(&store->map_lock);
    pthread_mutex_destroy(&store->dictionary_lock);
    mn_dictionaries_free(store);
    mn_free(store->language);
    mn_free(store->path);
    mn_free(store);
}

const char *mn_store_path(const mn_store *store)
{
    return store->path;
}

const char *mn_store_language(const mn_store *store)
{
    return store->language;
}

void mn_store_set_analyzer(mn_store *store, mn_analyze analyze, void *context)
{
    store->analyze = analyze;
    store->analyze_context = context;
}

void mn_store_set_clock(mn_store *store, mneme_clock clock, void *context)
{
    store->clock = clock ? clock : mn_clock_system;
    store->clock_context = context;
}

uint64_t mn_store_bytes_on_disk(const mn_store *store)
{
    uint64_t total = 0;
    static const char *const names[] = {"data.mdb", "lock.mdb"};
    for (size_t i = 0; i < 2; i++) {
        char *path = mn_path_join(store->path, names[i]);
        struct stat info;
        if (path && stat(path, &info) == 0) total += (uint64_t)info.st_size;
        mn_free(path);
    }
    return total;
}

/* ---- transactions ---- */

/* Begin a transaction with map_lock held shared; on failure it is not held. */
static mneme_status begin(mn_store *store, unsigned flags, MDB_txn **txn, mneme_error *error)
{
    for (int attempt = 0;; attempt++) {
        pthread_rwlock_rdlock(&store->map_lock);
        int code = mdb_txn_begin(store->env, NULL, flags, txn);
        if (code == 0) return MNEME_OK;
        pthread_rwlock_unlock(&store->map_lock);
        mneme_status status = MNEME_OK;
        if (code == MDB_MAP_RESIZED && attempt < 100)
            status = mn_map_follow(store, error);
        else if (code == MDB_READERS_FULL && attempt == 0)
            mdb_reader_check(store->env, NULL);
        else
            return mn_lmdb_fail(error, code, "cannot read the store");
        if (status != MNEME_OK) return status;
    }
}

static mneme_status read_generation(mn_read *read, mneme_error *error)
{
    MDB_val value;
    mneme_status status = mn_meta_get(read, "generation", &value, error);
    if (status == MNEME_ERR_NOT_FOUND || (status == MNEME_OK && value.mv_size != sizeof read->generation))
        return mn_fail(error, MNEME_ERR_DAMAGED, "store %s has no generation number", read->store->path);
    if (status == MNEME_OK) memcpy(&read->generation, value.mv_data, sizeof read->generation);
    return status;
}

mneme_status mn_read_begin(mn_store *store, mn_read **out, mneme_error *error)
{
    *out = NULL;
    mn_read *read = mn_alloc_zeroed(1, sizeof *read);
    if (!read) return mn_fail_memory(error, "read");
    read->store = store;
    mneme_status status = begin(store, MDB_RDONLY, &read->txn, error);
    if (status != MNEME_OK) {
        mn_free(read);
        return status;
    }
    status = read_generation(read, error);
    if (status != MNEME_OK)
        mn_read_end(read);
    else
        *out = read;
    return status;
}

void mn_read_end(mn_read *read)
{
    if (!read) return;
    mdb_txn_abort(read->txn);
    pthread_rwlock_unlock(&read->store->map_lock);
    mn_unpacker_free(read);
    mn_arena_free(&read->arena);
    mn_free(read);
}

uint64_t mn_read_generation(const mn_read *read)
{
    return read->generation;
}

mn_read *mn_write_read(mn_write *write)
{
    return &write->read;
}

static mneme_status flush(mn_write *write, mneme_error *error)
{
    mneme_status status = mn_flush_rows(write, error);
    if (status == MNEME_OK) status = mn_flush_vectors(write, error);
    if (status == MNEME_OK) status = mn_flush_postings(write, error);
    if (status == MNEME_OK) status = mn_flush_namespaces(write, error);
    if (status != MNEME_OK || !write->changed) return status;
    uint64_t generation = write->read.generation + 1;
    status = mn_flush_log(write, generation, error);
    if (status == MNEME_OK) status = mn_meta_put(write, "generation", &generation, sizeof generation, error);
    if (status == MNEME_OK) write->read.generation = generation;
    return status;
}

static void free_write(mn_write *write)
{
    for (size_t i = 0; i < write->n_namespaces; i++) mn_free(write->namespaces[i].new_vectors);
    mn_free(write->namespaces);
    mn_free(write->postings);
    mn_free(write->terms);
    mn_free(write->term_slots);
    mn_free(write->dead_rows);
    mn_free(write->changes);
    mn_arena_free(&write->arena);
    mn_arena_free(&write->posting_arena);
    mn_packer_free(write);
    mn_unpacker_free(&write->read);
    mn_arena_free(&write->read.arena);
    mn_free(write);
}

/* One attempt; *map_full: grow the map and try again. */
static mneme_status update_once(mn_store *store, mneme_status (*change)(void *, mn_write *, mneme_error *),
                                void *context, uint64_t *generation, bool *map_full, mneme_error *error)
{
    *map_full = false;
    mn_write *write = mn_alloc_zeroed(1, sizeof *write);
    if (!write) return mn_fail_memory(error, "write");
    write->read.store = store;
    mneme_status status = begin(store, 0, &write->read.txn, error);
    if (status != MNEME_OK) {
        free_write(write);
        return status;
    }
    status = read_generation(&write->read, error);
    if (status == MNEME_OK) status = change(context, write, error);
    if (status == MNEME_OK) status = flush(write, error);
    if (status == MNEME_OK && write->changed) {
        int code = mdb_txn_commit(write->read.txn);
        if (code == MDB_MAP_FULL) write->map_full = true;
        if (code != 0) status = mn_lmdb_fail(error, commit_code(store, code), "cannot commit to the store");
    } else {
        mdb_txn_abort(write->read.txn);
    }
    pthread_rwlock_unlock(&store->map_lock);
    *map_full = status != MNEME_OK && write->map_full;
    if (status == MNEME_OK && generation) *generation = write->read.generation;
    free_write(write);
    return status;
}

mneme_status mn_store_update(mn_store *store,
                             mneme_status (*change)(void *context, mn_write *write, mneme_error *error), void *context,
                             uint64_t *generation, mneme_error *error)
{
    if (store->read_only) return mn_fail(error, MNEME_ERR_READ_ONLY, "store %s is open for reading only", store->path);
    for (;;) {
        bool map_full = false;
        mneme_status status = update_once(store, change, context, generation, &map_full, error);
        if (!map_full) return status;
        status = mn_map_grow(store, error);
        if (status != MNEME_OK) return status;
    }
}
