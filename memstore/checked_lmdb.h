/* checked_lmdb.h -- lmdb.h, with calls that look at the pages first.
 *
 * LMDB trusts the file: a damaged page can stop the program. Behind these names, which are LMDB's own, each page on the
 * way to a key is looked at (pages.h) before LMDB goes there; where something is wrong the call returns MDB_CORRUPTED.
 * A page is looked at once per open store, so that what it costs is paid by the first touch, not by the size of the
 * store:
 *
 *     mdb_env_open    both meta pages
 *     mdb_txn_begin   the snapshot's meta page, the page with the named trees; for a writer the list of free pages
 *     reads           the path to the key; with a cursor that leaves a leaf, the path to the next one
 *     writes          the path, the pages beside it, which LMDB may merge with, and the old value's own pages
 *
 * What this does not see: a page that is free and in use at once. mn_pages_check (page_check.h) does.
 * A store that was made by this process, or all of whose pages were found sound, is not looked at any more: by `check`, or
 * when a transaction begins after so many looks that all pages at once would not have taken longer. */
#ifndef MN_MEMSTORE_CHECKED_LMDB_H
#define MN_MEMSTORE_CHECKED_LMDB_H

#include "memstore/pages.h"

#include <lmdb.h>

int mn_checked_env_open(MDB_env *env, const char *path, unsigned flags, mdb_mode_t mode);
void mn_checked_env_close(MDB_env *env);
int mn_checked_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **txn);
int mn_checked_txn_commit(MDB_txn *txn);
void mn_checked_txn_abort(MDB_txn *txn);
int mn_checked_dbi_open(MDB_txn *txn, const char *name, unsigned flags, MDB_dbi *dbi);
int mn_checked_get(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *data);
int mn_checked_put(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *data, unsigned flags);
int mn_checked_del(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *data);
int mn_checked_drop(MDB_txn *txn, MDB_dbi dbi, int del);
int mn_checked_cursor_get(MDB_cursor *cursor, MDB_val *key, MDB_val *data, MDB_cursor_op op);
int mn_checked_cursor_put(MDB_cursor *cursor, MDB_val *key, MDB_val *data, unsigned flags);
int mn_checked_cursor_del(MDB_cursor *cursor, unsigned flags);

/* What a transaction began with. */
typedef struct mn_snapshot {
    mn_page_space space;
    uint64_t last_page; /* that the snapshot uses */
    mn_tree free, main;
} mn_snapshot;
/* false: the store is empty. Valid until the transaction ends. */
bool mn_checked_snapshot(MDB_txn *txn, mn_snapshot *out);
/* Every page of the snapshot was found sound: look no more. */
void mn_checked_trust(MDB_txn *txn);

#ifndef MN_LMDB_ITSELF
#define mdb_env_open   mn_checked_env_open
#define mdb_env_close  mn_checked_env_close
#define mdb_txn_begin  mn_checked_txn_begin
#define mdb_txn_commit mn_checked_txn_commit
#define mdb_txn_abort  mn_checked_txn_abort
#define mdb_dbi_open   mn_checked_dbi_open
#define mdb_get        mn_checked_get
#define mdb_put        mn_checked_put
#define mdb_del        mn_checked_del
#define mdb_drop       mn_checked_drop
#define mdb_cursor_get mn_checked_cursor_get
#define mdb_cursor_put mn_checked_cursor_put
#define mdb_cursor_del mn_checked_cursor_del
#endif

#endif
