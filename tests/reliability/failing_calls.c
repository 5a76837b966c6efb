/* failing_calls.c -- the C library's file calls, of which one can be made to fail; see failing_calls.h.
 *
 * A program's own functions come before those of its shared libraries, also for the calls that liblmdb makes. */
#include "failing_calls.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

static struct {
    bool armed, on, short_write_done;
    unsigned n, seen;
    fail_kind kind;
    const char *failed;
} g_fail = {.failed = ""};

void fail_calls(unsigned n, fail_kind kind, bool on)
{
    g_fail.armed = n > 0;
    g_fail.n = n;
    g_fail.kind = kind;
    g_fail.on = on;
    g_fail.short_write_done = false;
    if (n == 0) return;
    g_fail.seen = 0;
    g_fail.failed = "";
}

unsigned calls_seen(void)
{
    return g_fail.seen;
}

const char *call_failed(void)
{
    return g_fail.failed;
}

/* Does this call fail? */
static bool fails(const char *name)
{
    if (!g_fail.armed) return false;
    g_fail.seen++;
    bool now = g_fail.seen == g_fail.n || (g_fail.on && g_fail.seen > g_fail.n) ||
               (g_fail.short_write_done && g_fail.seen == g_fail.n + 1);
    if (now && !*g_fail.failed) g_fail.failed = name;
    return now;
}

static int fail_with(int no_space, int io)
{
    errno = g_fail.kind == FAIL_IO ? io : no_space;
    return -1;
}

/* How much of a write of `size` bytes goes through: -1: it fails. */
static ssize_t part_of_write(size_t size)
{
    if (g_fail.kind != FAIL_SHORT_WRITE || g_fail.short_write_done || size < 2) return fail_with(ENOSPC, EIO);
    g_fail.short_write_done = true;
    return (ssize_t)(size / 2);
}

/* The C library's own function. ISO C has no conversion from an object pointer; POSIX asks for this one. */
#define REAL(name) (*(__typeof__(&name) *)(void *)&(void *){dlsym(RTLD_NEXT, #name)})

int open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    if (fails("open")) return fail_with(ENOSPC, EIO);
    return REAL(open)(path, flags, mode);
}

ssize_t write(int fd, const void *data, size_t size)
{
    if (!fails("write")) return REAL(write)(fd, data, size);
    ssize_t part = part_of_write(size);
    return part < 0 ? part : REAL(write)(fd, data, (size_t)part);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    if (!fails("pwrite")) return REAL(pwrite)(fd, data, size, at);
    ssize_t part = part_of_write(size);
    return part < 0 ? part : REAL(pwrite)(fd, data, (size_t)part, at);
}

ssize_t writev(int fd, const struct iovec *parts, int n)
{
    if (!fails("writev")) return REAL(writev)(fd, parts, n);
    ssize_t part = part_of_write(parts[0].iov_len);
    return part < 0 ? part : REAL(write)(fd, parts[0].iov_base, (size_t)part);
}

ssize_t pread(int fd, void *data, size_t size, off_t at)
{
    if (fails("pread")) return fail_with(EIO, EIO);
    return REAL(pread)(fd, data, size, at);
}

int fsync(int fd)
{
    return fails("fsync") ? fail_with(ENOSPC, EIO) : REAL(fsync)(fd);
}

int fdatasync(int fd)
{
    return fails("fdatasync") ? fail_with(ENOSPC, EIO) : REAL(fdatasync)(fd);
}

int msync(void *at, size_t size, int flags)
{
    return fails("msync") ? fail_with(EIO, EIO) : REAL(msync)(at, size, flags);
}

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    if (fd < 0 || !fails("mmap")) return REAL(mmap)(at, size, protection, flags, fd, offset);
    errno = ENOMEM;
    return MAP_FAILED;
}

int ftruncate(int fd, off_t size)
{
    return fails("ftruncate") ? fail_with(ENOSPC, EIO) : REAL(ftruncate)(fd, size);
}

int fallocate(int fd, int mode, off_t at, off_t size)
{
    return fails("fallocate") ? fail_with(ENOSPC, EIO) : REAL(fallocate)(fd, mode, at, size);
}

int posix_fallocate(int fd, off_t at, off_t size)
{
    if (fails("posix_fallocate")) return g_fail.kind == FAIL_IO ? EIO : ENOSPC;
    return REAL(posix_fallocate)(fd, at, size);
}
