/* backup_copy.c -- the pages of a live store into a file.
 *
 *     mdb_env_copyfd2 --pipe--> compare with what the file holds --> write the runs of pages that differ
 *      (its own thread)                    (the caller's thread)
 *
 * LMDB takes one snapshot and writes its pages in order, without locking anybody out. An interrupted copy is gone
 * through again, but only what is missing or has changed since is written. */
#include "memstore/backup_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 1 << 20, PAGE = 4096 };

/* ---- LMDB's side ---- */

typedef struct sender {
    MDB_env *env;
    int fd, code;
} sender;

static void *send_pages(void *context)
{
    sender *s = context;
    s->code = mdb_env_copyfd2(s->env, s->fd, 0);
    close(s->fd);
    return NULL;
}

/* Signals stay with the program's own threads; and SIGPIPE, which comes when the copy is given up, with nobody. */
static int start_sender(sender *s, pthread_t *thread)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(thread, NULL, send_pages, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code;
}

/* ---- the file's side ---- */

typedef struct receiver {
    const mn_backup_copy *copy;
    mn_gate gate; /* held until LMDB's snapshot has begun: store_swap.c says why */
    mneme_backup_result *result;
    uint64_t old_size;          /* what the file held before */
    unsigned char *fresh, *old; /* CHUNK bytes each */
} receiver;

static mneme_status write_run(receiver *r, const unsigned char *data, size_t size, uint64_t at, mneme_error *error)
{
    while (size > 0) {
        ssize_t put = pwrite(r->copy->fd, data, size, (off_t)at);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0)
            return mn_fail_errno(error, put < 0 ? errno : ENOSPC,
                                 "cannot write %s at byte %llu (what is there stays for the next run)", r->copy->path,
                                 (unsigned long long)at);
        data += put;
        size -= (size_t)put;
        at += (uint64_t)put;
        r->result->bytes_written += (uint64_t)put;
    }
    return MNEME_OK;
}

/* How much of `size` bytes at `at` the file held before, read into r->old. What cannot be read is not there. */
static size_t read_old(receiver *r, uint64_t at, size_t size)
{
    size_t have = 0;
    if (at >= r->old_size) return 0;
    while (have < size) {
        ssize_t got = pread(r->copy->fd, r->old + have, size - have, (off_t)(at + have));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        have += (size_t)got;
    }
    return have;
}

/* Write what of the chunk differs from the file, page run by page run. */
static mneme_status put_chunk(receiver *r, size_t size, mneme_error *error)
{
    uint64_t at = r->result->bytes;
    size_t old = read_old(r, at, size), from = 0; /* [from, i): a run that differs */
    mneme_status status = MNEME_OK;
    for (size_t i = 0; i < size && status == MNEME_OK;) {
        size_t page = size - i < PAGE ? size - i : PAGE;
        bool equal = i + page <= old && memcmp(r->fresh + i, r->old + i, page) == 0;
        if (equal && from < i) status = write_run(r, r->fresh + from, i - from, at + from, error);
        i += page;
        if (equal) from = i;
    }
    if (status == MNEME_OK && from < size) status = write_run(r, r->fresh + from, size - from, at + from, error);
    r->result->bytes += size;
    return status;
}

/* Fill r->fresh from the pipe; less only at its end. */
static mneme_status read_chunk(receiver *r, int pipe_fd, size_t *size, mneme_error *error)
{
    *size = 0;
    while (*size < CHUNK) {
        ssize_t got = read(pipe_fd, r->fresh + *size, CHUNK - *size);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return mn_fail_errno(error, errno, "cannot copy the store");
        if (got == 0) break;
        *size += (size_t)got;
    }
    return MNEME_OK;
}

static mneme_status receive(receiver *r, int pipe_fd, mneme_error *error)
{
    const mneme_backup_options *options = r->copy->options;
    uint64_t total = r->copy->expected;
    size_t size = 0;
    for (;;) {
        mneme_status status = read_chunk(r, pipe_fd, &size, error);
        mn_gate_leave(&r->gate); /* LMDB writes after it has let go of its write lock, or at least has had it */
        if (status == MNEME_OK && size == 0) return MNEME_OK;
        if (status == MNEME_OK) status = put_chunk(r, size, error);
        if (status != MNEME_OK) return status;
        if (r->result->bytes > total) total = r->result->bytes;
        if (options && options->progress && !options->progress(options->context, r->result->bytes, total, "bytes"))
            return mn_fail(error, MNEME_ERR_CANCELLED, "the backup was cancelled; the next one goes on where it ended");
    }
}

/* ---- both ---- */

/* One attempt, on the current data file and with map_lock held shared; *code: what LMDB said. */
static mneme_status copy_once(receiver *r, int *code, mneme_error *error)
{
    int ends[2];
    pthread_t thread;
    *code = 0;
    if (pipe2(ends, O_CLOEXEC) != 0) return mn_fail_errno(error, errno, "cannot copy the store");
    (void)fcntl(ends[0], F_SETPIPE_SZ, CHUNK); /* fewer switches between the threads; the system may refuse */
    sender s = {.env = r->copy->store->env, .fd = ends[1]};
    int failed = start_sender(&s, &thread);
    mneme_status status = MNEME_OK;
    if (failed) {
        close(ends[1]);
        status = mn_fail_errno(error, failed, "cannot start the copy's thread");
    } else {
        status = receive(r, ends[0], error);
    }
    close(ends[0]); /* ends the sender where it still writes */
    if (!failed) pthread_join(thread, NULL);
    *code = failed || status != MNEME_OK ? 0 : s.code;
    return status;
}

/* Begin on the data file that is current, and stay with it: what compaction puts in its place holds the same. */
static mneme_status copy_current(receiver *r, int *code, bool *stale, mneme_error *error)
{
    mn_store *store = r->copy->store;
    *code = 0;
    *stale = false;
    mneme_status status = mn_gate_enter_writing(store, &r->gate, error);
    if (status != MNEME_OK) return status;
    pthread_rwlock_rdlock(&store->map_lock);
    *stale = !store->env || !mn_data_is_current(store);
    if (!*stale) status = copy_once(r, code, error);
    pthread_rwlock_unlock(&store->map_lock);
    mn_gate_leave(&r->gate);
    return status;
}

static mneme_status copy_all(receiver *r, mneme_error *error)
{
    mn_store *store = r->copy->store;
    for (int attempt = 0;; attempt++) {
        int code = 0;
        bool stale = false;
        r->result->bytes = 0;
        mneme_status status = copy_current(r, &code, &stale, error);
        if (status != MNEME_OK || (code == 0 && !stale)) return status;
        if (stale)
            status = mn_store_reopen(store, error);
        else if (code == MDB_MAP_RESIZED && attempt < 100)
            status = mn_map_follow(store, error);
        else if (code == MDB_READERS_FULL && attempt == 0)
            mdb_reader_check(store->env, NULL);
        else
            return mn_lmdb_fail(error, code, "cannot copy the store");
        if (status != MNEME_OK) return status;
    }
}

mneme_status mn_backup_copy_run(const mn_backup_copy *copy, mneme_backup_result *result, mneme_error *error)
{
    struct stat info;
    if (fstat(copy->fd, &info) != 0) return mn_fail_errno(error, errno, "cannot read %s", copy->path);
    receiver r = {.copy = copy, .gate = {-1}, .result = result, .old_size = (uint64_t)info.st_size};
    r.fresh = mn_alloc(CHUNK);
    r.old = mn_alloc(CHUNK);
    mneme_status status = r.fresh && r.old ? MNEME_OK : mn_fail_memory(error, "backup");
    if (status == MNEME_OK) status = copy_all(&r, error);
    if (status == MNEME_OK && result->bytes < r.old_size && ftruncate(copy->fd, (off_t)result->bytes) != 0)
        status = mn_fail_errno(error, errno, "cannot write %s", copy->path);
    mn_free(r.fresh);
    mn_free(r.old);
    return status;
}
