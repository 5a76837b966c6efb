/* store.c -- opening a store, and opening it anew when its data file was swapped for another. */
#include "memstore/store_internal.h"

#include "common/clock.h"
#include "common/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

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
    store->process = getpid(); /* a forked child has this list too, but none of the locks */
    mneme_status status = MNEME_OK;
    pthread_mutex_lock(&g_registry_lock);
    for (const mn_store *other = g_open_stores; other; other = other->next_open)
        if (other->process == store->process && other->device == store->device && other->inode == store->inode)
            status = MNEME_ERR_BUSY;
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

bool mn_store_is_open(const char *path)
{
    struct stat info;
    bool found = false;
    if (stat(path, &info) != 0) return false;
    pthread_mutex_lock(&g_registry_lock);
    for (const mn_store *store = g_open_stores; store; store = store->next_open)
        if (store->device == info.st_dev && store->inode == info.st_ino) found = true;
    pthread_mutex_unlock(&g_registry_lock);
    return found;
}

/* ---- the directory ---- */

static bool may_lie_beside(const char *name)
{
    static const char *const known[] = {
        ".", "..", "lock.mdb", "mneme.yaml", "models", "index", MN_COMPACT_DIRECTORY, MN_COMPACT_FILE, "data.mdb.partial", MN_BACKUP_MARK};
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
    unsigned flags = MDB_NOTLS | (store->read_only ? MDB_RDONLY : 0u);
    if (store->is_private) flags |= MDB_NOLOCK | MDB_NOSYNC;
    if (store->is_alone) flags |= MDB_NOLOCK;
    int code = mdb_env_create(&store->env);
    if (code == 0) code = mdb_env_set_maxdbs(store->env, DB_COUNT);
    if (code == 0) code = mdb_env_set_maxreaders(store->env, 1022);
    if (code == 0) code = mdb_env_set_mapsize(store->env, (size_t)map_bytes);
    if (code == 0) code = mdb_env_open(store->env, store->real_path, flags, 0600);
    if (code != 0 && store->env) { /* LMDB asks for this even after a failed open */
        mdb_env_close(store->env);
        store->env = NULL;
    }
    return code;
}

/* Which file env has open. */
static int note_data_file(mn_store *store)
{
    int fd = -1, code = mdb_env_get_fd(store->env, &fd);
    struct stat info;
    if (code == 0 && fstat(fd, &info) != 0) code = errno;
    if (code != 0) return code;
    store->data_device = info.st_dev;
    store->data_inode = info.st_ino;
    return 0;
}

/* Reserve as much as asked, or as much as the system gives (ulimit -v, containers). */
static mneme_status open_env_in_steps(mn_store *store, mneme_error *error)
{
    mn_gate gate;
    int code = ENOMEM;
    uint64_t bytes = store->map_bytes ? store->map_bytes : (uint64_t)1 << 40;
    mneme_status status = mn_gate_enter_opening(store, &gate, error);
    if (status != MNEME_OK) return status;
    for (; code == ENOMEM && bytes >= (1u << 20); bytes /= 4) code = open_env(store, bytes);
    if (code == 0) code = note_data_file(store);
    mn_gate_leave(&gate);
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

/* ERR_FORMAT unless it is the wanted one; then the language, too. */
static mneme_status read_format(mn_store *store, MDB_txn *txn, uint32_t wanted, mneme_error *error)
{
    mn_read read = {.store = store, .txn = txn};
    MDB_val value;
    mneme_status status = mn_meta_get(&read, "format", &value, error);
    if (status == MNEME_ERR_NOT_FOUND || (status == MNEME_OK && value.mv_size != sizeof(uint32_t)))
        return mn_fail(error, MNEME_ERR_NOT_A_STORE, "%s/data.mdb is an LMDB file, but not a mneme store", store->path);
    uint32_t format = 0;
    if (status == MNEME_OK) memcpy(&format, value.mv_data, sizeof format);
    if (status == MNEME_OK && format != wanted && format < MN_STORE_FORMAT)
        return mn_fail(
            error, MNEME_ERR_FORMAT,
            "store %s has format %u; `mneme compact`, and whatever else may write to it, brings it to format %u",
            store->path, format, MN_STORE_FORMAT);
    if (status == MNEME_OK && format != wanted)
        return mn_fail(error, MNEME_ERR_FORMAT, "store %s has format %u, this mneme reads format %u; use a newer mneme",
                       store->path, format, MN_STORE_FORMAT);
    if (status == MNEME_OK) status = mn_meta_get(&read, "language", &value, error);
    if (status == MNEME_ERR_NOT_FOUND)
        return mn_fail(error, MNEME_ERR_DAMAGED, "store %s is damaged: it does not say its language", store->path);
    if (status != MNEME_OK || store->language) return status; /* opened anew: it is the same store */
    store->language = mn_strndup(value.mv_data, value.mv_size);
    return store->language ? MNEME_OK : mn_fail_memory(error, "store");
}

static mneme_status check_format(mn_store *store, MDB_txn *txn, mneme_error *error)
{
    return read_format(store, txn, MN_STORE_FORMAT, error);
}

int mn_commit_code(const mn_store *store, int code)
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
        if (mn_map_follow_alone(store, NULL) != MNEME_OK) return ENOMEM;
        code = mdb_txn_begin(store->env, NULL, flags, txn);
    }
    return code;
}

/* A transaction in which the store exists: a reading one, or the one that makes it (*created). Looks again once it may
 * write: another process may have been first. */
static int begin_open(mn_store *store, bool may_create, MDB_txn **txn, bool *created)
{
    *created = false;
    int code = begin_adopting_size(store, MDB_RDONLY, txn);
    if (code == 0) code = mdb_dbi_open(*txn, db_names[DB_META], 0, &store->dbs[DB_META]);
    if (code != MDB_NOTFOUND || !may_create) return code;
    mdb_txn_abort(*txn);
    *txn = NULL;
    mn_gate gate;
    if (mn_gate_enter_writing(store, &gate, NULL) != MNEME_OK) return ENOLCK;
    code = mn_data_is_current(store) ? begin_adopting_size(store, 0, txn) : EAGAIN;
    mn_gate_leave(&gate);
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

/* Open the named databases; a store that has none yet gets them, with `language` (NULL: it must have them). */
static mneme_status open_databases(mn_store *store, const char *language, mneme_error *error)
{
    MDB_txn *txn = NULL;
    MDB_stat stat_of = {0};
    bool create = false;
    mneme_status status = MNEME_OK;
    int code = begin_open(store, language && !store->read_only, &txn, &create);
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
    return code == 0 ? MNEME_OK : mn_lmdb_fail(error, mn_commit_code(store, code), store->path);
}

/* The directory's descriptor and its absolute path: a store stays the same when the process changes its directory. */
static mneme_status open_directory(mn_store *store, const char *path, mneme_error *error)
{
    store->directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (store->directory < 0) return mn_fail_errno(error, errno, "cannot open store %s", path);
    char *absolute = realpath(path, NULL);
    store->path = mn_strdup(path);
    store->real_path = absolute ? mn_strdup(absolute) : mn_strdup(path);
    free(absolute);
    return store->path && store->real_path ? MNEME_OK : mn_fail_memory(error, "store");
}

/* A transaction of its own for each: after one error, LMDB has no more use for a transaction. */
static void open_one_if_there(mn_store *store, int i)
{
    MDB_txn *txn = NULL;
    store->dbs[i] = UINT32_MAX; /* LMDB refuses it with EINVAL */
    if (begin_adopting_size(store, MDB_RDONLY, &txn) != 0) return;
    if (mdb_dbi_open(txn, db_names[i], flags_of(i), &store->dbs[i]) != 0) {
        store->dbs[i] = UINT32_MAX;
        mdb_txn_abort(txn);
    } else if (mdb_txn_commit(txn) != 0) {
        store->dbs[i] = UINT32_MAX;
    }
}

/* Of a damaged store: what is there. The records must be. */
static mneme_status open_what_is_there(mn_store *store, mneme_error *error)
{
    MDB_txn *txn = NULL;
    mneme_status status = MNEME_OK;
    for (int i = 0; i < DB_COUNT; i++) open_one_if_there(store, i);
    if (store->dbs[DB_RECORDS] == UINT32_MAX)
        return mn_fail(error, MNEME_ERR_DAMAGED, "%s/data.mdb: the database of the records cannot be opened",
                       store->path);
    int code = begin_adopting_size(store, MDB_RDONLY, &txn);
    if (code != 0) return mn_lmdb_fail(error, code, store->path);
    status = check_format(store, txn, error);
    mdb_txn_abort(txn);
    if (status == MNEME_ERR_FORMAT || status == MNEME_ERR_MEMORY) return status;
    if (!store->language) store->language = mn_strdup("english"); /* nothing is analysed here */
    return store->language ? MNEME_OK : mn_fail_memory(error, "store");
}

static mneme_status open_all(mn_store *store, const char *path, const char *language, mneme_error *error)
{
    mneme_status status = open_directory(store, path, error);
    if (status == MNEME_OK) status = register_open(store, error);
    if (status == MNEME_OK && !store->read_only && !store->is_private) mn_remove_leftovers(store);
    if (status == MNEME_OK) status = open_env_in_steps(store, error);
    if (status == MNEME_ERR_NOT_A_STORE && store->damaged)
        status = mn_fail(
            error, MNEME_ERR_DAMAGED,
            "%s/data.mdb: its head pages (the first two) are damaged, without which LMDB finds nothing in it", path);
    if (status == MNEME_OK) status = mn_map_fill_short_file(store, error);
    if (status == MNEME_OK) mdb_reader_check(store->env, NULL); /* free the slots of readers that were killed */
    if (status == MNEME_OK)
        status = store->damaged ? open_what_is_there(store, error) : open_databases(store, language, error);
    return status;
}

static mn_store *new_store(mneme_clock clock, void *clock_context)
{
    mn_store *store = mn_alloc_zeroed(1, sizeof *store);
    if (!store) return NULL;
    pthread_rwlock_init(&store->map_lock, NULL);
    pthread_mutex_init(&store->dictionary_lock, NULL);
    pthread_mutex_init(&store->reopen_lock, NULL);
    pthread_mutex_init(&store->queue_lock, NULL);
    pthread_cond_init(&store->queue_moved, NULL);
    store->directory = store->other_lock = -1;
    store->clock = clock ? clock : mn_clock_system;
    store->clock_context = clock_context;
    return store;
}

mneme_status mn_store_open(const char *path, const mn_store_options *options, mn_store **out, mneme_error *error)
{
    *out = NULL;
    mneme_status status = look_at_directory(path, options->existing || options->read_only || options->damaged, error);
    if (status != MNEME_OK) return status;
    mn_store *store = new_store(options->clock, options->clock_context);
    if (!store) return mn_fail_memory(error, "store");
    store->read_only = options->read_only || options->damaged;
    store->damaged = options->damaged;
    store->vector_type = options->vector_type;
    store->map_bytes = options->map_bytes;
    store->pinned_bytes = options->pinned_bytes;
    status = open_all(store, path, options->language ? options->language : "english", error);
    if (status != MNEME_OK)
        mn_store_close(store);
    else
        *out = store;
    return status;
}

mneme_status mn_store_open_private(const char *path, const mn_store *like, mn_store **out, mneme_error *error)
{
    *out = NULL;
    mn_store *store = new_store(like->clock, like->clock_context);
    if (!store) return mn_fail_memory(error, "store");
    store->is_private = true;
    mneme_status status = open_all(store, path, like->language, error);
    mn_store_set_analyzer(store, like->analyze, like->analyze_context);
    if (status != MNEME_OK)
        mn_store_close(store);
    else
        *out = store;
    return status;
}

/* Lock lock.mdb as LMDB does when it opens a store that nobody has open (mdb_env_excl_lock): others wait. */
static mneme_status lock_out_others(mn_store *store, mneme_error *error)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    store->other_lock = openat(store->directory, "lock.mdb", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (store->other_lock < 0) return mn_fail_errno(error, errno, "cannot lock store %s", store->path);
    if (fcntl(store->other_lock, F_SETLK, &lock) == 0) return MNEME_OK;
    if (errno != EAGAIN && errno != EACCES) return mn_fail_errno(error, errno, "cannot lock store %s", store->path);
    return mn_fail(error, MNEME_ERR_BUSY,
                   "store %s has an older format, and another program has it open; try again when it has not",
                   store->path);
}

mneme_status mn_store_open_alone(const char *path, uint32_t format, mn_store **out, mneme_error *error)
{
    *out = NULL;
    mn_store *store = new_store(NULL, NULL);
    if (!store) return mn_fail_memory(error, "store");
    store->read_only = store->is_alone = true;
    mneme_status status = open_directory(store, path, error);
    if (status == MNEME_OK) status = register_open(store, error);
    if (status == MNEME_OK) status = lock_out_others(store, error);
    if (status == MNEME_OK) status = open_env_in_steps(store, error);
    if (status == MNEME_OK) status = mn_map_fill_short_file(store, error);
    for (int i = 0; i < DB_COUNT && status == MNEME_OK; i++) open_one_if_there(store, i);
    MDB_txn *txn = NULL;
    int code = status == MNEME_OK ? begin_adopting_size(store, MDB_RDONLY, &txn) : 0;
    if (code != 0) status = mn_lmdb_fail(error, code, path);
    if (status == MNEME_OK) status = read_format(store, txn, format, error);
    if (txn) mdb_txn_abort(txn);
    if (status != MNEME_OK)
        mn_store_close(store);
    else
        *out = store;
    return status;
}

/* The directory may have been moved away, and another lie where it was. */
static mneme_status find_directory_again(const mn_store *store, mneme_error *error)
{
    struct stat info;
    if (stat(store->real_path, &info) == 0 && info.st_dev == store->device && info.st_ino == store->inode)
        return MNEME_OK;
    return mn_fail(error, MNEME_ERR_IO, "store %s was compacted and moved away while it was open; open it again",
                   store->path);
}

/* Close env and open it on the current data.mdb; map_lock is held exclusively. */
static mneme_status open_anew(mn_store *store, mneme_error *error)
{
    mneme_status status = find_directory_again(store, error);
    if (status != MNEME_OK) return status;
    if (store->env) mdb_env_close(store->env);
    store->env = NULL;
    __atomic_store_n(&store->env_failed, false, __ATOMIC_RELAXED);
    status = open_env_in_steps(store, error);
    if (status == MNEME_OK) status = mn_map_fill_short_file(store, error);
    if (status == MNEME_OK) status = open_databases(store, NULL, error);
    /* Whoever put the file there may have been killed before this: what is committed to it must not lose its name. */
    if (status == MNEME_OK && !store->read_only && fsync(store->directory) != 0)
        status = mn_fail_errno(error, errno, "cannot open store %s", store->path);
    if (status != MNEME_OK && store->env) {
        mdb_env_close(store->env);
        store->env = NULL;
    }
    return status;
}

mneme_status mn_store_reopen(mn_store *store, mneme_error *error)
{
    mneme_status status = MNEME_OK;
    /* One thread at a time waits for map_lock: when it has it, the others need not, and those that began since find env
     * stale and wait here, so that it gets it. */
    pthread_mutex_lock(&store->reopen_lock);
    pthread_rwlock_rdlock(&store->map_lock);
    bool failed = __atomic_load_n(&store->env_failed, __ATOMIC_RELAXED);
    bool current = store->env && !failed && mn_data_is_current(store);
    pthread_rwlock_unlock(&store->map_lock);
    if (!current) {
        pthread_rwlock_wrlock(&store->map_lock);
        status = open_anew(store, error);
        pthread_rwlock_unlock(&store->map_lock);
    }
    pthread_mutex_unlock(&store->reopen_lock);
    return status;
}

void mn_store_close(mn_store *store)
{
    if (!store) return;
    if (store->env) mdb_env_close(store->env);
    unregister(store);
    if (store->directory >= 0) close(store->directory);
    if (store->other_lock >= 0) close(store->other_lock);
    pthread_rwlock_destroy(&store->map_lock);
    pthread_mutex_destroy(&store->dictionary_lock);
    mn_dictionaries_free(store);
    pthread_mutex_destroy(&store->reopen_lock);
    pthread_mutex_destroy(&store->queue_lock);
    pthread_cond_destroy(&store->queue_moved);
    mn_free(store->language);
    mn_free(store->real_path);
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

int64_t mn_store_now(const mn_store *store)
{
    return store->clock(store->clock_context);
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
