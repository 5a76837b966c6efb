/* error.h -- filling in the caller's error record. */
#ifndef MN_COMMON_ERROR_H
#define MN_COMMON_ERROR_H

#include "mneme.h"

#if defined(__GNUC__)
#define MN_PRINTF(format_index, first) __attribute__((format(printf, format_index, first)))
#else
#define MN_PRINTF(format_index, first)
#endif

/* Write `code` and the formatted line to `error` (NULL allowed) and return `code`: `return mn_fail(error, ...)`.
 * The line says what was wrong, where, and what to do. Line breaks in it become spaces. */
mneme_status mn_fail(mneme_error *error, mneme_status code, const char *format, ...) MN_PRINTF(3, 4);

/* The same for a failed system call: maps `errno_value` to a status (ENOSPC and EDQUOT: DISK_FULL, EACCES, EPERM and
 * EROFS: PERMISSION, ENOENT: NOT_FOUND, ENOMEM: MEMORY, else IO) and appends its text. */
mneme_status mn_fail_errno(mneme_error *error, int errno_value, const char *format, ...) MN_PRINTF(3, 4);

/* "out of memory (<what>)". */
mneme_status mn_fail_memory(mneme_error *error, const char *what);

/* Put a formatted prefix before the message that is there already ("notes.jsonl:12: " + message). */
void mn_error_prefix(mneme_error *error, const char *format, ...) MN_PRINTF(2, 3);

#endif
