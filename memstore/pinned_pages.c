/* pinned_pages.c -- a reader that does not end (a process that is stopped inside a read) keeps every page of its
 * snapshot from being used again, so each commit makes the file longer. Writers look how much that is by now, and
 * refuse to go on when it is over the limit: then the file grows by the limit at most, and the message says whom to
 * wake.
 *
 * LMDB's list of free pages has, for each transaction, the pages that it no longer needs; those of transactions after
 * the oldest reader's snapshot wait for it. The list was looked at (checked_lmdb.h) when the write transaction began.
 */
#define MN_LMDB_ITSELF
#include "memstore/store_internal.h"

#include <stdio.h>
#include <string.h>

/* Readers this many transactions behind are not looked at: theirs are a few pages. */
enum { LAG_LEAST = 16 };

typedef struct oldest_reader {
    size_t txnid; /* 0 = nobody reads */
    int pid;
} oldest_reader;

/* A line of mdb_reader_list: "pid thread txnid", txnid "-" between reads; the first line is a heading. */
static int note_reader(const char *line, void *context)
{
    oldest_reader *oldest = context;
    int pid = 0;
    size_t thread, txnid;
    if (sscanf(line, "%d %zx %zu", &pid, &thread, &txnid) != 3) return 0;
    if (oldest->txnid == 0 || txnid < oldest->txnid) *oldest = (oldest_reader){.txnid = txnid, .pid = pid};
    return 0;
}

/* Pages freed by transactions after `txnid`. */
static int count_waiting(MDB_txn *reading, size_t txnid, uint64_t *n_pages)
{
    enum { FREE_PAGES = 0 }; /* the number of LMDB's own database of them */
    MDB_cursor *cursor = NULL;
    size_t from = txnid + 1, count;
    MDB_val key = {.mv_size = sizeof from, .mv_data = &from}, value;
    int code = mdb_cursor_open(reading, FREE_PAGES, &cursor);
    if (code != 0) return code;
    code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    for (; code == 0; code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        if (value.mv_size < sizeof count) continue;
        memcpy(&count, value.mv_data, sizeof count);
        *n_pages += count;
    }
    mdb_cursor_close(cursor);
    return code == MDB_NOTFOUND ? 0 : code;
}

mneme_status mn_check_pinned(mn_store *store, MDB_txn *writing, mneme_error *error)
{
    oldest_reader oldest = {0};
    uint64_t n_pages = 0;
    size_t last = (size_t)mdb_txn_id(writing) - 1;
    MDB_txn *reading = NULL;
    MDB_stat stat_of;
    if (store->pinned_bytes == 0 || store->is_private) return MNEME_OK;
    int code = mdb_reader_list(store->env, note_reader, &oldest) < 0 ? MDB_CORRUPTED : 0;
    if (code != 0 || oldest.txnid == 0 || oldest.txnid + LAG_LEAST > last) return MNEME_OK;
    code = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &reading);
    if (code == 0) code = count_waiting(reading, oldest.txnid, &n_pages);
    if (reading) mdb_txn_abort(reading);
    if (code == 0) code = mdb_env_stat(store->env, &stat_of);
    if (code != 0 || n_pages * stat_of.ms_psize <= store->pinned_bytes) return MNEME_OK;
    return mn_fail(error, MNEME_ERR_DISK_FULL,
                   "store %s: process %d has been reading for %zu commits and keeps %llu MB from being used again; let "
                   "it go on or end it, or raise store.pinned_mib",
                   store->path, oldest.pid, last - oldest.txnid,
                   (unsigned long long)(n_pages * stat_of.ms_psize / 1000000));
}
