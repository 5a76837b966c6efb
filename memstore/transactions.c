/* transactions.c -- beginning transactions on the current data file, and reads.
 *
 * Another process, or this one, may swap data.mdb for a compacted one at any time (store_swap.c). A read looks for that
 * after it has begun: what it holds then is a snapshot of the file that was current when it began. A write looks before
 * it asks for LMDB's write lock, in a gate that keeps the file current until it has the lock. */
#include "memstore/store_internal.h"

#include <string.h>

/* One attempt, with map_lock held shared. *stale: env is not that of the current data.mdb. */
static int begin_once(mn_store *store, txn_kind kind, MDB_txn **txn, bool *stale)
{
    bool reads = kind == TXN_READ;
    *stale = !store->env || (!reads && !mn_data_is_current(store));
    if (*stale) return 0;
    int code = mdb_txn_begin(store->env, NULL, reads ? MDB_RDONLY : 0, txn);
    /* It cannot even begin where the last transaction's number is of the file that took this one's place. */
    if (reads) *stale = !mn_data_is_current(store);
    if (code == 0 && *stale) mdb_txn_abort(*txn);
    if (code == MDB_PANIC) { /* it could not write a meta page, and gives up until it is opened anew */
        __atomic_store_n(&store->env_failed, true, __ATOMIC_RELAXED);
        *stale = true;
    }
    /* Slots of readers that were killed */
    if (code == MDB_READERS_FULL) mdb_reader_check(store->env, NULL);
    return code;
}

static mneme_status begin_in_gate(mn_store *store, txn_kind kind, MDB_txn **txn, mneme_error *error)
{
    mneme_status status = MNEME_OK;
    for (int attempt = 0; status == MNEME_OK; attempt++) {
        bool stale = false;
        pthread_rwlock_rdlock(&store->map_lock);
        int code = begin_once(store, kind, txn, &stale);
        if (code == 0 && !stale) return MNEME_OK;
        pthread_rwlock_unlock(&store->map_lock);
        if (stale)
            status = mn_store_reopen(store, error);
        else if (code == MDB_MAP_RESIZED && attempt < 100)
            status = mn_map_follow(store, error);
        else if (code != MDB_READERS_FULL || attempt > 0)
            status = mn_lmdb_fail(error, code, "cannot be read");
    }
    return mn_name_store(store, status, error);
}

mneme_status mn_txn_begin(mn_store *store, txn_kind kind, MDB_txn **txn, mneme_error *error)
{
    *txn = NULL;
    if (kind != TXN_WRITE) return begin_in_gate(store, kind, txn, error);
    mn_gate gate;
    mneme_status status = mn_gate_enter_writing(store, &gate, error);
    if (status != MNEME_OK) return status;
    status = begin_in_gate(store, kind, txn, error);
    mn_gate_leave(&gate);
    return status;
}

mneme_status mn_name_store(const mn_store *store, mneme_status status, mneme_error *error)
{
    bool of_store = status == MNEME_ERR_IO || status == MNEME_ERR_DISK_FULL || status == MNEME_ERR_DAMAGED ||
                    status == MNEME_ERR_INTERNAL;
    if (!error || !of_store || strstr(error->message, store->path)) return status;
    const mneme_error before = *error;
    return mn_fail(error, status, "store %s: %s", store->path, before.message);
}

mneme_status mn_load_generation(mn_read *read, mneme_error *error)
{
    MDB_val value;
    mneme_status status = mn_meta_get(read, "generation", &value, error);
    if (status == MNEME_ERR_NOT_FOUND || (status == MNEME_OK && value.mv_size != sizeof read->generation))
        return mn_fail(error, MNEME_ERR_DAMAGED, "store %s has no generation number", read->store->path);
    if (status == MNEME_OK) memcpy(&read->generation, value.mv_data, sizeof read->generation);
    return status;
}

/* Without a generation: the read goes on in a transaction that has not seen the error. On failure there is none. */
static mneme_status renew_damaged(mn_read *read, mneme_error *error)
{
    mdb_txn_abort(read->txn);
    pthread_rwlock_unlock(&read->store->map_lock);
    read->generation = 0;
    return mn_txn_begin(read->store, TXN_READ, &read->txn, error);
}

mneme_status mn_read_begin(mn_store *store, mn_read **out, mneme_error *error)
{
    *out = NULL;
    mn_read *read = mn_alloc_zeroed(1, sizeof *read);
    if (!read) return mn_fail_memory(error, "read");
    read->store = store;
    mneme_status status = mn_txn_begin(store, TXN_READ, &read->txn, error);
    if (status == MNEME_OK) {
        status = mn_load_generation(read, error);
        if (status != MNEME_OK && store->damaged)
            status = renew_damaged(read, error);
        else if (status != MNEME_OK) {
            mn_read_end(read);
            return status;
        }
    }
    if (status == MNEME_OK)
        *out = read;
    else
        mn_free(read);
    return status;
}

void mn_read_end(mn_read *read)
{
    if (!read) return;
    mdb_txn_abort(read->txn);
    pthread_rwlock_unlock(&read->store->map_lock);
    mn_unpacker_free(read);
    mn_arena_free(&read->arena);
    mn_free(read);
}

uint64_t mn_read_generation(const mn_read *read)
{
    return read->generation;
}

mn_read *mn_write_read(mn_write *write)
{
    return &write->read;
}
