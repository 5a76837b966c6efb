/* checksums.c -- all checksums of a snapshot. */
#include "memstore/store_internal.h"

#include <stdio.h>

typedef struct sums {
    const mn_read *read;
    void (*problem)(void *context, const char *line);
    void *context;
    uint64_t n_problems;
} sums;

/* Values of database `db`; what: of which the second number of the key is. */
static mneme_status compare(sums *s, int db, const char *what, mneme_error *error)
{
    MDB_cursor *cursor = NULL;
    MDB_val key, value;
    mneme_status status = mn_cursor_open(s->read, db, &cursor, error);
    if (status != MNEME_OK) return status;
    int code = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    for (; code == 0; code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        char line[120];
        if (mn_checksum_is_right(&value)) continue;
        snprintf(line, sizeof line, "%s %u of namespace number %u does not fit its checksum", what,
                 mn_key_number(&key, 4), mn_key_number(&key, 0));
        s->n_problems++;
        if (s->problem) s->problem(s->context, line);
    }
    mdb_cursor_close(cursor);
    return code == MDB_NOTFOUND ? MNEME_OK : mn_lmdb_fail(error, code, "cannot read the store");
}

mneme_status mn_checksums_check(const mn_read *read, void (*problem)(void *context, const char *line), void *context,
                                uint64_t *n_problems, mneme_error *error)
{
    sums s = {.read = read, .problem = problem, .context = context};
    mneme_status status = compare(&s, DB_RECORDS, "the content of record", error);
    if (status == MNEME_OK) status = compare(&s, DB_VECTORS, "the block of vectors from row", error);
    *n_problems = s.n_problems;
    return status;
}
