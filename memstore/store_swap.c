/* store_swap.c -- how data.mdb is replaced by a compacted one while other processes use the store, and why that is
 * safe.
 *
 * The swap is one rename(2). lock.mdb stays: it holds LMDB's write lock, the table of readers, and N, the number of the
 * last transaction. LMDB 0.9 reads the meta page N & 1 and believes it, so the new file, B, gets its newest meta page
 * in that slot with number N, and the same content as N - 1 in the other one. A process that has the old file, A, open
 * finds out by comparing the inode of data.mdb with its own, and opens its environment anew (mn_store_reopen).
 *
 * Locks. Three bytes far behind the end of data.mdb are locked with F_OFD_SETLKW (they belong to a descriptor, so
 * threads exclude each other as well; LMDB locks nothing in data.mdb). After locking, the name is looked up again: a
 * lock on a file that has just been replaced is let go, and the new file's taken.
 *
 *     TURN  writers: shared, only while they take WAIT           swapper: exclusive, all the time
 *     WAIT  writers: shared, until they have LMDB's write lock   swapper: exclusive, all the time, taken after TURN
 *     OPEN  who opens: shared, during mdb_env_open               swapper: exclusive, around the rename
 *
 * Order: swapper TURN, WAIT, LMDB's write lock, OPEN; writer TURN, WAIT, (TURN goes), LMDB's write lock. Nobody waits
 * for TURN while holding anything, so there is no circle, and since new writers stop at TURN, the swapper's wait ends.
 *
 * Writers. While one holds WAIT and has seen that A is current, the swapper cannot be inside its gate, so A stays
 * current until the writer has LMDB's write lock, and then until it ends its transaction, for the swapper needs that
 * lock too. So all commits to A come before the swap, all of its content goes into B, and all later commits go to B.
 * This is stricter than looking after the lock is there, and must be: when a writer is killed, the next one to get the
 * write lock sets N from the meta pages that *it* has mapped (mdb_mutex_failed). Someone who waited on A across the
 * swap would set N back to an old number, and commits to B would be lost.
 *
 * Readers look after they have begun. A reader that began before the rename has a snapshot of A, which nobody changes
 * any more, and which lives until the last process unmaps it. One that began after it and has A mapped may have picked
 * either meta page of A, but it sees the new inode and lets go before it has read anything. (Begun before, looked
 * after: it lets go as well.) A reader's slot says at most N, which only keeps pages of B from being used again. A
 * reader's lock (the table's) never changes N.
 *
 * Who opens. LMDB opens data.mdb twice (pages; meta pages), and a read-only environment opens it before it locks
 * lock.mdb, where the first one to come sets N from the file that it has. OPEN keeps all of that on one side of the
 * rename.
 *
 * Opening anew. POSIX locks end when any descriptor of the file is closed, so a process has lock.mdb open only through
 * one environment: it closes the old one, then opens the new one, with no transaction running (map_lock exclusive). In
 * between another process may find itself alone and set N from the file: that file is B, and N is right. Its readers'
 * slots are free then, so nobody misses them.
 *
 * Killed while building: leftovers, removed by the next one who opens or compacts (nobody is inside when TURN can be
 * locked). Killed with the write lock, before or after the rename: the next writer has the current file mapped and sets
 * N from it: N. Locks on descriptors end with the process. Power loss: B is complete and synced before the rename.
 * Whether the rename survives does not matter, for B holds what A holds, until someone commits to B: the swapper syncs
 * the directory before it lets go of the write lock, and everyone else who opens B anew, or finds leftovers of a killed
 * swapper, syncs it as well before using it. */
#include "memstore/store_internal.h"

#include "common/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOCK_TURN, LOCK_WAIT, LOCK_OPEN };
#define LOCK_FIRST ((off_t)1 << 62)

/* ---- the gates ---- */

/* `command` F_OFD_SETLKW waits, F_OFD_SETLK does not. Returns 0 or an errno. */
static int lock_byte(int fd, int byte, short type, int command)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = LOCK_FIRST + byte, .l_len = 1};
    int code;
    do code = fcntl(fd, command, &lock) == 0 ? 0 : errno;
    while (code == EINTR);
    return code;
}

/* Does the file system have no such locks? Then nobody can compact on it, and nothing needs to be locked. */
static bool cannot_lock(int code)
{
    return code == EINVAL || code == ENOLCK || code == ENOSYS || code == EOPNOTSUPP;
}

static bool is_current_file(const mn_store *store, dev_t device, ino_t inode)
{
    struct stat info;
    if (fstatat(store->directory, "data.mdb", &info, 0) != 0) return true; /* it has no other file to go to */
    return info.st_dev == device && info.st_ino == inode;
}

bool mn_data_is_current(const mn_store *store)
{
    return store->is_private || is_current_file(store, store->data_device, store->data_inode);
}

/* Open data.mdb, lock what `lock` locks, and see that it is still data.mdb. */
static mneme_status enter(const mn_store *store, int flags, int (*lock)(int fd), mn_gate *gate, mneme_error *error)
{
    gate->fd = -1;
    if (store->is_private) return MNEME_OK;
    for (;;) {
        struct stat info;
        int fd = openat(store->directory, "data.mdb", flags | O_CLOEXEC), code = fd < 0 ? errno : 0;
        if (code == ENOENT) return MNEME_OK; /* about to be made */
        if (code == 0) code = lock(fd);
        if (code == 0 && fstat(fd, &info) != 0) code = errno;
        if (code == 0 && is_current_file(store, info.st_dev, info.st_ino)) {
            gate->fd = fd;
            return MNEME_OK;
        }
        gate->fd = fd;
        mn_gate_leave(gate);
        if (cannot_lock(code) && flags == O_RDONLY) return MNEME_OK;
        if (code != 0) return mn_fail_errno(error, code, "cannot lock %s/data.mdb", store->path);
    }
}

static int lock_writing(int fd)
{
    int code = lock_byte(fd, LOCK_TURN, F_RDLCK, F_OFD_SETLKW);
    if (code == 0) code = lock_byte(fd, LOCK_WAIT, F_RDLCK, F_OFD_SETLKW);
    if (code == 0) code = lock_byte(fd, LOCK_TURN, F_UNLCK, F_OFD_SETLK);
    return code;
}

static int lock_opening(int fd)
{
    return lock_byte(fd, LOCK_OPEN, F_RDLCK, F_OFD_SETLKW);
}

static int lock_swapping(int fd)
{
    int code = lock_byte(fd, LOCK_TURN, F_WRLCK, F_OFD_SETLKW);
    return code == 0 ? lock_byte(fd, LOCK_WAIT, F_WRLCK, F_OFD_SETLKW) : code;
}

static int try_turn(int fd)
{
    return lock_byte(fd, LOCK_TURN, F_WRLCK, F_OFD_SETLK);
}

mneme_status mn_gate_enter_writing(const mn_store *store, mn_gate *gate, mneme_error *error)
{
    return enter(store, O_RDONLY, lock_writing, gate, error);
}

mneme_status mn_gate_enter_opening(const mn_store *store, mn_gate *gate, mneme_error *error)
{
    return enter(store, O_RDONLY, lock_opening, gate, error);
}

mneme_status mn_gate_enter_swapping(const mn_store *store, mn_gate *gate, mneme_error *error)
{
    return enter(store, O_RDWR, lock_swapping, gate, error);
}

/* Unlocks before it closes: a child that was forked meanwhile has the descriptor, and with it the locks. */
void mn_gate_leave(mn_gate *gate)
{
    struct flock all = {.l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = LOCK_FIRST};
    if (gate->fd < 0) return;
    fcntl(gate->fd, F_OFD_SETLK, &all);
    close(gate->fd);
    gate->fd = -1;
}

/* ---- leftovers ---- */

void mn_compact_files_remove(const mn_store *store)
{
    unlinkat(store->directory, MN_COMPACT_FILE, 0);
    unlinkat(store->directory, MN_COMPACT_DIRECTORY "/data.mdb", 0);
    unlinkat(store->directory, MN_COMPACT_DIRECTORY, AT_REMOVEDIR);
}

void mn_remove_leftovers(const mn_store *store)
{
    struct stat info;
    mn_gate gate;
    bool any = fstatat(store->directory, MN_COMPACT_DIRECTORY, &info, AT_SYMLINK_NOFOLLOW) == 0 ||
               fstatat(store->directory, MN_COMPACT_FILE, &info, AT_SYMLINK_NOFOLLOW) == 0;
    if (!any || fsync(store->directory) != 0) return;
    if (enter(store, O_RDWR, try_turn, &gate, NULL) != MNEME_OK) return; /* someone is compacting */
    if (gate.fd >= 0) mn_compact_files_remove(store);
    mn_gate_leave(&gate);
}

/* ---- the meta pages ---- */

/* LMDB 0.9's first two pages, on 64-bit machines (mdb.c: MDB_page, MDB_meta):
 *
 *     0      8     10      12    16      20        24        32        40              136           144
 *     | pgno | pad | flags | ... | magic | version | address | mapsize | 2 x MDB_db 48 | last page u64 | txnid u64 |
 */
typedef struct meta_page {
    uint64_t number;
    uint16_t pad, flags;
    uint32_t bounds;
    uint32_t magic, version;
    uint64_t address, map_size;
    unsigned char databases[2][48];
    uint64_t last_page, txnid;
} meta_page;
_Static_assert(sizeof(meta_page) == 152, "the layout of LMDB 0.9's meta page");
#define META_MAGIC 0xBEEFC0DEu
enum { META_FLAG = 0x08, META_VERSION = 1 };

static mneme_status read_metas(int fd, uint64_t page_size, meta_page pages[2], mneme_error *error)
{
    for (uint64_t i = 0; i < 2; i++) {
        ssize_t n = pread(fd, &pages[i], sizeof pages[i], (off_t)(i * page_size));
        if (n < 0) return mn_fail_errno(error, errno, "cannot read a meta page");
        if (n != sizeof pages[i] || !(pages[i].flags & META_FLAG) || pages[i].magic != META_MAGIC ||
            pages[i].version != META_VERSION)
            return mn_fail(error, MNEME_ERR_UNSUPPORTED,
                           "cannot compact: this LMDB's data files are not those of LMDB 0.9");
    }
    return MNEME_OK;
}

static const meta_page *newest(const meta_page pages[2])
{
    return &pages[pages[0].txnid < pages[1].txnid];
}

/* Number the new file's content as transaction `last` of the old one. The old file's pages must show what LMDB tells of
 * it: that the layout above is this LMDB's. */
static mneme_status number_metas(const mn_store *store, int fd, uint64_t last, mneme_error *error)
{
    MDB_envinfo info;
    MDB_stat stat_of;
    meta_page old[2], pages[2];
    int old_fd = -1, code = mdb_env_get_fd(store->env, &old_fd);
    if (code == 0) code = mdb_env_info(store->env, &info);
    if (code == 0) code = mdb_env_stat(store->env, &stat_of);
    if (code != 0) return mn_lmdb_fail(error, code, "cannot compact");
    mneme_status status = read_metas(old_fd, stat_of.ms_psize, old, error);
    if (status == MNEME_OK) status = read_metas(fd, stat_of.ms_psize, pages, error);
    if (status != MNEME_OK) return status;
    if (old[last & 1].txnid != last || old[last & 1].last_page != info.me_last_pgno || newest(pages)->txnid != 1)
        return mn_fail(error, MNEME_ERR_UNSUPPORTED,
                       "cannot compact: LMDB's meta pages are not where LMDB 0.9 has them");
    meta_page page = *newest(pages);
    for (uint64_t i = 0; i < 2; i++) {
        page.number = (last - i) & 1;
        page.txnid = last - i;
        ssize_t n = pwrite(fd, &page, sizeof page, (off_t)(page.number * stat_of.ms_psize));
        if (n != sizeof page) return mn_fail_errno(error, n < 0 ? errno : ENOSPC, "cannot write the compacted file");
    }
    return MNEME_OK;
}

/* ---- the swap ---- */

/* The new file belongs to whom the old one belongs to. */
static mneme_status keep_owner(const mn_store *store, int fd, mneme_error *error)
{
    struct stat old, info;
    if (fstatat(store->directory, "data.mdb", &old, AT_SYMLINK_NOFOLLOW) != 0 || fstat(fd, &info) != 0)
        return mn_fail_errno(error, errno, "cannot compact %s", store->path);
    if (!S_ISREG(old.st_mode))
        return mn_fail(error, MNEME_ERR_UNSUPPORTED, "cannot compact %s: its data.mdb is a link; compact where it lies",
                       store->path);
    bool same = old.st_uid == info.st_uid && old.st_gid == info.st_gid;
    if (!same && fchown(fd, old.st_uid, old.st_gid) != 0)
        return mn_fail_errno(error, errno, "cannot compact %s, which belongs to another user or group", store->path);
    if (fchmod(fd, old.st_mode & 07777) == 0) return MNEME_OK;
    return mn_fail_errno(error, errno, "cannot compact %s", store->path);
}

/* Nobody opens data.mdb while it gets the new content. Returns 0 or an errno. */
static int put_in_place(const mn_store *store, const mn_gate *gate, const char *name, bool *swapped)
{
    int code = gate ? lock_byte(gate->fd, LOCK_OPEN, F_WRLCK, F_OFD_SETLKW) : 0;
    if (code != 0) return code;
    *swapped = renameat(store->directory, name, store->directory, "data.mdb") == 0;
    if (!*swapped || fsync(store->directory) != 0) code = errno;
    if (gate) lock_byte(gate->fd, LOCK_OPEN, F_UNLCK, F_OFD_SETLK);
    return code;
}

mneme_status mn_swap_data(mn_store *store, const mn_gate *gate, MDB_txn *own, const char *name, bool *swapped,
                          mneme_error *error)
{
    *swapped = false;
    uint64_t last = mdb_txn_id(own);
    int fd = openat(store->directory, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return mn_fail_errno(error, errno, "cannot open the compacted file in %s", store->path);
    mneme_status status = keep_owner(store, fd, error);
    if (status == MNEME_OK) status = number_metas(store, fd, store->is_alone ? last : last - 1, error);
    int code = status == MNEME_OK && fsync(fd) != 0 ? errno : 0;
    if (status == MNEME_OK && code == 0) code = put_in_place(store, store->is_alone ? NULL : gate, name, swapped);
    close(fd);
    if (status == MNEME_OK && code != 0)
        status = mn_fail_errno(error, code, "cannot put the compacted file into store %s", store->path);
    return status;
}
