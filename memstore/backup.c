/* backup.c -- a live store into another directory, as of one generation.
 *
 *     DIR/data.mdb.partial   the copy on its way; what an interrupted backup has written stays for the next one
 *     DIR/data.mdb           the last whole backup; replaced by one rename
 *     DIR/mneme.yaml         the store's own settings file, where it has one
 *     DIR/backup.json        that it is a backup, and of which generation (backup_mark.h)
 *
 * A backup is a store: it opens as one. lock.mdb is not copied, LMDB makes it anew. The copy itself is backup_copy.c's.
 */
#include "memstore/backup_copy.h"
#include "memstore/backup_mark.h"

#include "common/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SETTINGS_MAX ((size_t)1 << 20)

typedef struct backup {
    mn_store *store;
    const char *target;                           /* as given */
    char *data, *partial, *lock, *settings, *own; /* paths; own: the store's mneme.yaml */
    int fd;                                       /* of the partial file; locked */
    int64_t created;                              /* the store when the backup began: its stamp, */
    uint64_t generation, bytes;                   /* generation and size */
} backup;

/* ---- where to ---- */

/* The real path of the longest part of `path` that exists; owned by the C library (free). */
static char *real_part(const char *path)
{
    char *at = mn_strdup(path), *real = NULL;
    while (at && !(real = realpath(at, NULL)) && errno == ENOENT) {
        char *slash = strrchr(at, '/');
        if (!slash && strcmp(at, ".") == 0) break;
        if (!slash)
            strcpy(at, *at ? "." : "");
        else if (slash == at && slash[1])
            slash[1] = '\0';
        else if (slash == at)
            break;
        else
            *slash = '\0';
    }
    mn_free(at);
    return real;
}

mneme_status mn_store_refuse_inside(const mn_store *store, const char *target, mneme_error *error)
{
    char *real = real_part(target);
    bool inside = false;
    struct stat info;
    for (char *slash = real; slash && !inside;) {
        inside = stat(real, &info) == 0 && info.st_dev == store->device && info.st_ino == store->inode;
        slash = strrchr(real, '/');
        if (slash == real && real[1])
            slash[1] = '\0';
        else if (slash == real)
            slash = NULL;
        else if (slash)
            *slash = '\0';
    }
    free(real);
    if (!inside) return MNEME_OK;
    return mn_fail(error, MNEME_ERR_USAGE, "%s is in store %s itself; name a directory outside of it", target,
                   mn_store_path(store));
}

static bool may_be_there(const char *name)
{
    static const char *const known[] = {".",           "..",     "data.mdb", "data.mdb.partial",   "lock.mdb",
                                        "mneme.yaml",  "models", "index",    MN_COMPACT_DIRECTORY, MN_COMPACT_FILE,
                                        MN_BACKUP_MARK};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(name, known[i]) == 0) return true;
    /* of a backup that was killed */
    return strncmp(name, "mneme.yaml.tmp-", 15) == 0 ||
           strncmp(name, MN_BACKUP_MARK ".tmp-", sizeof MN_BACKUP_MARK ".tmp-" - 1) == 0;
}

static mneme_status prepare_directory(const backup *b, mneme_error *error)
{
    mneme_status status = mn_make_directories(b->target, 0700, error);
    DIR *dir = status == MNEME_OK ? opendir(b->target) : NULL;
    if (status != MNEME_OK) return status;
    if (!dir) return mn_fail_errno(error, errno, "cannot open directory %s", b->target);
    for (const struct dirent *entry = readdir(dir); entry && status == MNEME_OK; entry = readdir(dir))
        if (!may_be_there(entry->d_name))
            status = mn_fail(error, MNEME_ERR_USAGE,
                             "directory %s holds other files (%s); a backup needs a directory of its own", b->target,
                             entry->d_name);
    closedir(dir);
    return status;
}

static mneme_status compare_with_old(const backup *b, mn_data_file *old, mneme_error *error)
{
    if (old->created != b->created)
        return mn_fail(error, MNEME_ERR_USAGE, "%s holds a backup of another store than %s; name another directory",
                       b->target, mn_store_path(b->store));
    if (old->generation > b->generation)
        return mn_fail(error, MNEME_ERR_USAGE,
                       "%s is at generation %llu, newer than store %s with %llu; name another directory", b->target,
                       (unsigned long long)old->generation, mn_store_path(b->store), (unsigned long long)b->generation);
    mn_read *read = NULL;
    mneme_status status = mn_read_begin(b->store, &read, error);
    if (status == MNEME_OK) status = mn_backup_may_replace(b->target, old, read, error);
    mn_read_end(read);
    return status;
}

/* An older backup of this very store may be replaced; nothing else. */
static mneme_status look_at_old(const backup *b, mneme_error *error)
{
    mn_data_file old;
    if (!mn_file_exists(b->data)) return MNEME_OK;
    if (mn_store_is_open(b->target))
        return mn_fail(error, MNEME_ERR_BUSY, "%s is open as a store in this process; close it first", b->target);
    mneme_status status = mn_data_file_open(b->data, false, &old, error);
    if (status == MNEME_ERR_DAMAGED || status == MNEME_ERR_NOT_A_STORE)
        mn_error_prefix(error, "what is there is no backup to be replaced; remove it or name another directory: ");
    if (status == MNEME_OK) status = compare_with_old(b, &old, error);
    mn_data_file_close(&old);
    return status;
}

static mneme_status open_partial(backup *b, mneme_error *error)
{
    b->fd = open(b->partial, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (b->fd < 0) return mn_fail_errno(error, errno, "cannot write %s", b->partial);
    if (flock(b->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return mn_fail(error, MNEME_ERR_BUSY, "another backup is being written to %s at this moment", b->target);
    return MNEME_OK;
}

/* ---- the steps ---- */

static mneme_status source_facts(backup *b, mneme_error *error)
{
    mn_read *read = NULL;
    MDB_envinfo info;
    MDB_stat stat_of;
    mneme_status status = mn_read_begin(b->store, &read, error);
    if (status != MNEME_OK) return status;
    status = mn_read_created(read, &b->created, error);
    b->generation = mn_read_generation(read);
    mdb_env_info(b->store->env, &info);
    mdb_env_stat(b->store->env, &stat_of);
    b->bytes = ((uint64_t)info.me_last_pgno + 1) * stat_of.ms_psize;
    mn_read_end(read);
    return status;
}

/* A copy with damage is of no use to the next backup, and must not take the place of a sound one. */
static mneme_status refuse_damaged(const backup *b, const mneme_error *found, mneme_error *error)
{
    (void)unlink(b->partial);
    return mn_fail(
        error, MNEME_ERR_DAMAGED,
        "the copy of store %s is damaged (%.250s)%s; `mneme check` lists all damage, `mneme export --salvage` "
        "writes what can be read",
        mn_store_path(b->store), found->message, mn_file_exists(b->data) ? "; the older backup stays as it is" : "");
}

/* The partial file is complete: is it what it should be, and is it on the disk? */
static mneme_status check_copy(const backup *b, mneme_backup_result *result, mneme_error *error)
{
    mn_data_file copy;
    mneme_error found;
    mneme_status status = mn_data_file_open(b->partial, true, &copy, &found);
    if (status == MNEME_OK && (copy.created != b->created || copy.generation < b->generation))
        status = mn_fail(&found, MNEME_ERR_DAMAGED, "it is not what was copied");
    if (status == MNEME_OK) status = mn_data_file_check(&copy, &found);
    result->generation = copy.generation;
    mn_data_file_close(&copy);
    if (status == MNEME_ERR_DAMAGED || status == MNEME_ERR_NOT_A_STORE) return refuse_damaged(b, &found, error);
    if (status != MNEME_OK) return mn_fail(error, status, "%s", found.message);
    return fsync(b->fd) == 0 ? MNEME_OK : mn_fail_errno(error, errno, "cannot sync %s", b->partial);
}

static mneme_status copy_settings(const backup *b, mneme_error *error)
{
    mn_buffer text = {0};
    mneme_status status = MNEME_OK;
    if (!mn_file_exists(b->own)) {
        /* An older one would give the restored store settings that this one does not have. */
        if (unlink(b->settings) != 0 && errno != ENOENT)
            status = mn_fail_errno(error, errno, "cannot remove %s", b->settings);
        return status;
    }
    status = mn_file_read(b->own, SETTINGS_MAX, &text, error);
    if (status == MNEME_OK) status = mn_file_write_atomic(b->settings, text.data ? text.data : "", text.size, error);
    mn_buffer_free(&text);
    return status;
}

/* Whoever has the older backup open shares its lock file with all who open it later, and would read the old pages with
 * them: so nobody may have it open. LMDB holds a lock on the first byte as long as a store is open. */
static mneme_status move_into_place(const backup *b, mneme_error *error)
{
    struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    int lock = mn_store_is_open(b->target) ? -1 : open(b->lock, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    mneme_status status = MNEME_OK;
    if (lock >= 0 && fcntl(lock, F_SETLK, &all) != 0 && (errno == EACCES || errno == EAGAIN))
        status = mn_fail(error, MNEME_ERR_BUSY, "the older backup in %s is open in another process; close it there",
                         b->target);
    if (status == MNEME_OK && rename(b->partial, b->data) != 0)
        status = mn_fail_errno(error, errno, "cannot rename %s to %s", b->partial, b->data);
    if (lock >= 0) close(lock);
    return status == MNEME_OK ? mn_directory_sync(b->target, error) : status;
}

static mneme_status make_paths(backup *b, mneme_error *error)
{
    b->data = mn_path_join(b->target, "data.mdb");
    b->partial = mn_path_join(b->target, "data.mdb.partial");
    b->lock = mn_path_join(b->target, "lock.mdb");
    b->settings = mn_path_join(b->target, "mneme.yaml");
    b->own = mn_path_join(mn_store_path(b->store), "mneme.yaml");
    bool all = b->data && b->partial && b->lock && b->settings && b->own;
    return all ? MNEME_OK : mn_fail_memory(error, "backup");
}

static void free_backup(backup *b)
{
    char *const paths[] = {b->data, b->partial, b->lock, b->settings, b->own};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) mn_free(paths[i]);
    if (b->fd >= 0) close(b->fd);
}

mneme_status mn_store_backup(mn_store *store, const char *target, const mneme_backup_options *options,
                             mneme_backup_result *result, mneme_error *error)
{
    *result = (mneme_backup_result){0};
    if (!target || !*target) return mn_fail(error, MNEME_ERR_USAGE, "no directory given for the backup");
    backup b = {.store = store, .target = target, .fd = -1};
    mneme_status status = make_paths(&b, error);
    if (status == MNEME_OK) status = mn_store_refuse_inside(store, target, error);
    if (status == MNEME_OK) status = prepare_directory(&b, error);
    if (status == MNEME_OK) status = source_facts(&b, error);
    if (status == MNEME_OK) status = look_at_old(&b, error);
    if (status == MNEME_OK) status = open_partial(&b, error);
    const mn_backup_copy copy = {store, b.fd, b.partial, b.bytes, options};
    if (status == MNEME_OK) status = mn_backup_copy_run(&copy, result, error);
    if (status == MNEME_OK) status = check_copy(&b, result, error);
    if (status == MNEME_OK) status = copy_settings(&b, error);
    if (status == MNEME_OK) status = move_into_place(&b, error);
    if (status == MNEME_OK) status = mn_backup_mark_write(target, b.created, result->generation, error);
    free_backup(&b);
    return status;
}
