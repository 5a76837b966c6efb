/* meta_pages.c -- LMDB divides by the page size and maps as many pages as the meta pages name before it has looked at
 * anything: these numbers are looked at first. */
#include "memstore/meta_pages.h"

#include "common/file.h"
#include "common/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* LMDB's magic number and data version. */
static bool is_lmdb(const unsigned char *bytes)
{
    return mn_get_u32(bytes + 16) == 0xBEEFC0DEu && mn_get_u32(bytes + 20) == 1;
}

bool mn_meta_parse(const unsigned char *bytes, mn_meta *out)
{
    if (!(mn_get_u16(bytes + 10) & MN_PAGE_META) || !is_lmdb(bytes)) return false;
    out->free = mn_tree_read(bytes + 40);
    out->main = mn_tree_read(bytes + 88);
    out->last_page = mn_get_u64(bytes + 136);
    out->txnid = mn_get_u64(bytes + 144);
    out->page_size = out->free.pad;
    bool power = out->page_size >= 512 && out->page_size <= 32768 && (out->page_size & (out->page_size - 1)) == 0;
    return power && out->free.flags == MN_FREE_LIST_FLAGS && out->last_page >= 1 && out->last_page < (uint64_t)1 << 48;
}

/* Never written to: made while the disk was full. Page 0 has number 0 until the second commit. */
static bool is_unfinished(const mn_meta *first, uint64_t file_size)
{
    return file_size < 2 * (uint64_t)first->page_size && first->txnid == 0 && first->main.root == MN_NO_PAGE;
}

/* Could the newest be in use: in the page that its number says, with a file that may have been cut short, but not to a
 * trifle? (LMDB leaves the last pages of a file unwritten where they are free.) */
static bool is_plausible(const mn_meta metas[2], uint64_t file_size)
{
    const mn_meta *newest = &metas[metas[1].txnid > metas[0].txnid];
    if (metas[0].page_size != metas[1].page_size) return false;
    if (newest->txnid > 0 && newest != &metas[newest->txnid & 1]) return false;
    return newest->last_page <= (file_size + (64u << 20)) * 64 / newest->page_size;
}

static int look_at_file(int fd, bool *unfinished)
{
    unsigned char bytes[MN_META_BYTES];
    mn_meta metas[2];
    struct stat info;
    *unfinished = false;
    if (fstat(fd, &info) != 0) return errno;
    if (pread(fd, bytes, sizeof bytes, 0) != sizeof bytes || !is_lmdb(bytes)) return 0;
    if (!mn_meta_parse(bytes, &metas[0])) return MDB_CORRUPTED;
    *unfinished = is_unfinished(&metas[0], (uint64_t)info.st_size);
    if (*unfinished) return 0;
    if (pread(fd, bytes, sizeof bytes, (off_t)metas[0].page_size) != sizeof bytes) return MDB_CORRUPTED;
    return mn_meta_parse(bytes, &metas[1]) && is_plausible(metas, (uint64_t)info.st_size) ? 0 : MDB_CORRUPTED;
}

static int open_file(const char *path, const char *file, int flags)
{
    char *name = mn_path_join(path, file);
    int fd = name ? open(name, flags | O_CLOEXEC, 0600) : -1, code = name ? errno : ENOMEM;
    mn_free(name);
    errno = code;
    return fd;
}

/* With the lock: what another process began to make is finished now, or never will be. */
static int begin_creation(const char *path, mn_meta_state *state)
{
    bool unfinished = false;
    state->creation_lock = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (state->creation_lock < 0 || flock(state->creation_lock, LOCK_EX) != 0) return errno;
    int fd = open_file(path, "data.mdb", O_RDWR);
    state->is_new = fd < 0 && errno == ENOENT;
    if (fd < 0) return state->is_new ? 0 : errno;
    int code = look_at_file(fd, &unfinished);
    if (code == 0 && unfinished && ftruncate(fd, 0) != 0) code = errno;
    state->is_new = unfinished;
    close(fd);
    return code;
}

int mn_metas_look(const char *path, mn_meta_state *state)
{
    bool unfinished = false;
    *state = (mn_meta_state){.creation_lock = -1};
    int fd = open_file(path, "data.mdb", O_RDONLY);
    if (fd < 0) return errno == ENOENT ? begin_creation(path, state) : errno;
    int code = look_at_file(fd, &unfinished);
    close(fd);
    return code == 0 && unfinished ? begin_creation(path, state) : code;
}

int mn_metas_look_at_file(const char *file)
{
    bool unfinished = false;
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno;
    int code = look_at_file(fd, &unfinished);
    close(fd);
    return code == 0 && unfinished ? MDB_CORRUPTED : code;
}

int mn_lock_file_reserve(const char *path)
{
    enum { LOCK_BYTES = 65536 }; /* LMDB's header and 1,022 readers of 64 bytes */
    struct stat info;
    int fd = open_file(path, "lock.mdb", O_RDWR | O_CREAT), code = 0;
    if (fd < 0) return errno == ENOSPC ? ENOSPC : 0;
    if (fstat(fd, &info) == 0 && info.st_blocks * 512 < LOCK_BYTES && fallocate(fd, 0, 0, LOCK_BYTES) != 0)
        code = errno;
    close(fd);
    return code == ENOSPC || code == EFBIG || code == EDQUOT || code == EIO ? code : 0;
}

void mn_metas_end(mn_meta_state *state)
{
    if (state->creation_lock >= 0) close(state->creation_lock);
    state->creation_lock = -1;
}
