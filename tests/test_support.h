/* test_support.h -- what most tests need: cmocka, folders to work in, and where data lies. */
#ifndef MN_TESTS_TEST_SUPPORT_H
#define MN_TESTS_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/memory.h"
#include "mneme.h"

/* Fail the test with the error's own line. */
#define assert_ok(call)                                                                                       \
    do {                                                                                                      \
        mneme_status status_of_call = (call);                                                                 \
        if (status_of_call != MNEME_OK)                                                                       \
            fail_msg("%s: %s: %s", #call, mneme_status_name(status_of_call), test_error()->message);          \
    } while (0)

/* The error record that assert_ok reads: pass it as the last parameter of what you assert. */
static inline mneme_error *test_error(void)
{
    static mneme_error error;
    return &error;
}

/* $MNEME_SOURCE_DIR, or the current folder. */
static inline const char *test_source_dir(void)
{
    const char *dir = getenv("MNEME_SOURCE_DIR");
    return dir ? dir : ".";
}

/* Path of a file of ../shared/data, in a static buffer; prints "skipped: no ../shared/data" and ends the program with
 * ctest's skip code when the folder is not there. */
static inline const char *test_shared_data(const char *name)
{
    static char path[1024];
    const char *dir = getenv("MNEME_SHARED_DATA");
    snprintf(path, sizeof path, "%s/%s", dir ? dir : "../shared/data", name);
    FILE *file = fopen(path, "r");
    if (!file) {
        printf("skipped: no ../shared/data\n");
        exit(77);
    }
    fclose(file);
    return path;
}

/* The folder of all-MiniLM-L6-v2 that scripts/setup fetched, in a static buffer. */
static inline const char *test_model_dir(void)
{
    static char path[1024];
    const char *cache = getenv("XDG_CACHE_HOME");
    if (cache && *cache) snprintf(path, sizeof path, "%s/mneme/models/all-MiniLM-L6-v2", cache);
    else snprintf(path, sizeof path, "%s/.cache/mneme/models/all-MiniLM-L6-v2", getenv("HOME"));
    return path;
}

/* A new empty folder, owned by the caller (free); removed with test_remove_dir. */
static inline char *test_make_dir(void)
{
    const char *base = getenv("TMPDIR");
    char *path = malloc(1024);
    snprintf(path, 1024, "%s/mneme-test-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(path)) abort();
    return path;
}

/* DIR/NAME, in one of four buffers that take turns. */
static inline const char *test_inside(const char *dir, const char *name)
{
    static char paths[4][1200];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    return path;
}

static inline void test_remove_dir(char *path)
{
    char command[1200];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    if (system(command) != 0) printf("could not remove %s\n", path);
    free(path);
}

#endif
