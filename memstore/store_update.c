/* store_update.c -- write transactions: run a change, flush what it gathered, commit. */
#include "memstore/field_index.h"

static mneme_status flush(mn_write *write, mneme_error *error)
{
    mneme_status status = mn_flush_rows(write, error);
    if (status == MNEME_OK) status = mn_flush_vectors(write, error);
    if (status == MNEME_OK) status = mn_flush_postings(write, error);
    if (status == MNEME_OK) status = mn_flush_fields(write, error);
    if (status == MNEME_OK) status = mn_flush_namespaces(write, error);
    if (status != MNEME_OK || !write->changed) return status;
    uint64_t generation = write->read.generation + 1;
    status = mn_flush_log(write, generation, error);
    if (status == MNEME_OK) status = mn_meta_put(write, "generation", &generation, sizeof generation, error);
    if (status == MNEME_OK) write->read.generation = generation;
    return status;
}

static void free_write(mn_write *write)
{
    for (size_t i = 0; i < write->n_namespaces; i++) mn_free(write->namespaces[i].new_vectors);
    mn_free(write->namespaces);
    mn_free(write->postings);
    mn_free(write->terms);
    mn_free(write->term_slots);
    mn_free(write->fields);
    mn_free(write->dead_rows);
    mn_free(write->changes);
    mn_arena_free(&write->arena);
    mn_arena_free(&write->posting_arena);
    mn_arena_free(&write->field_arena);
    mn_packer_free(write);
    mn_unpacker_free(&write->read);
    mn_arena_free(&write->read.arena);
    mn_free(write);
}

/* One attempt; *map_full: grow the map and try again. */
static mneme_status update_once(mn_store *store, mneme_status (*change)(void *, mn_write *, mneme_error *),
                                void *context, uint64_t *generation, bool *map_full, mneme_error *error)
{
    *map_full = false;
    mn_write *write = mn_alloc_zeroed(1, sizeof *write);
    if (!write) return mn_fail_memory(error, "write");
    write->read.store = store;
    mneme_status status = mn_txn_begin(store, TXN_WRITE, &write->read.txn, error);
    if (status != MNEME_OK) {
        free_write(write);
        return status;
    }
    status = mn_load_generation(&write->read, error);
    if (status == MNEME_OK) status = change(context, write, error);
    if (status == MNEME_OK) status = flush(write, error);
    if (status == MNEME_OK && (write->changed || write->kept_books)) {
        int code = mdb_txn_commit(write->read.txn);
        if (code == MDB_MAP_FULL) write->map_full = true;
        if (code != 0) status = mn_lmdb_fail(error, mn_commit_code(store, code), "cannot commit");
    } else {
        mdb_txn_abort(write->read.txn);
    }
    pthread_rwlock_unlock(&store->map_lock);
    *map_full = status != MNEME_OK && write->map_full;
    if (status == MNEME_OK && generation) *generation = write->read.generation;
    free_write(write);
    return status;
}

mneme_status mn_store_update(mn_store *store,
                             mneme_status (*change)(void *context, mn_write *write, mneme_error *error), void *context,
                             uint64_t *generation, mneme_error *error)
{
    if (store->read_only) return mn_fail(error, MNEME_ERR_READ_ONLY, "store %s is open for reading only", store->path);
    for (;;) {
        bool map_full = false;
        mneme_status status = update_once(store, change, context, generation, &map_full, error);
        if (!map_full) return mn_name_store(store, status, error);
        status = mn_map_grow(store, error);
        if (status != MNEME_OK) return status;
    }
}
