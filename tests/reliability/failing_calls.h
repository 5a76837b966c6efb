/* failing_calls.h -- lets the n-th file call from now fail. failing_calls.c stands before the C library's functions in
 * the test program that includes this: for mneme and for LMDB alike.
 *
 * Counted are open, write, writev, pwrite, pread, fsync, fdatasync, msync, mmap (of files), ftruncate,
 * fallocate and posix_fallocate. One thread. */
#ifndef MN_TESTS_FAILING_CALLS_H
#define MN_TESTS_FAILING_CALLS_H

#include <stdbool.h>

typedef enum fail_kind {
    FAIL_NO_SPACE,    /* ENOSPC where the call can give it, else EIO or ENOMEM */
    FAIL_IO,          /* EIO, or what the call has */
    FAIL_SHORT_WRITE, /* half is written; the call after that finds no space */
} fail_kind;

/* The n-th call from now (1: the next) fails, and with `on` every one after it. n = 0: none, and counting ends. */
void fail_calls(unsigned n, fail_kind kind, bool on);
/* Calls since fail_calls, and the name of the first that failed ("": none did). */
unsigned calls_seen(void);
const char *call_failed(void);

#endif
