/* store_update.c -- write transactions: run changes, flush what they gathered, commit.
 *
 * A commit waits for the disk, so threads of one process that write at once share one (group commit). Who comes while
 * nobody leads becomes the leader: when it has the write lock, it runs its own change and those that wait by then, one
 * after the other in one transaction, each with a mn_write of its own, as if each had been committed. Whoever comes
 * meanwhile waits, for the leader of the next group to take his. When a change of a group fails, or the commit, the
 * transaction is undone and each change is run in one of its own, so that errors go to their owners and nobody loses
 * by the company.
 *
 *     queue:  leader's | b | c | d | ...      group: leader's, b, c     one generation, one entry of the change log
 */
#include "memstore/field_index.h"

enum {
    GROUP_CHANGES = 64,
    GROUP_ROWS = 8192 /* a group is not added to any more: a large write gains nothing from company */
};

struct update_request {
    mneme_status (*change)(void *context, mn_write *write, mneme_error *error);
    void *context;
    mneme_error *error; /* the owner's; NULL allowed */
    uint64_t generation;
    mneme_status status;
    bool done;
    struct update_request *next;
};

/* The requests that one transaction runs. */
typedef struct group {
    update_request *items[GROUP_CHANGES];
    size_t n;
    mn_write *sum; /* of the log's changes; the transaction */
    uint64_t n_rows;
    bool map_full, kept_books, removed;
} group;

/* Into the database, so that the next change finds it there. */
static mneme_status flush(mn_write *write, mneme_error *error)
{
    mneme_status status = mn_flush_rows(write, error);
    if (status == MNEME_OK) status = mn_flush_vectors(write, error);
    if (status == MNEME_OK) status = mn_flush_postings(write, error);
    if (status == MNEME_OK) status = mn_flush_fields(write, error);
    return status == MNEME_OK ? mn_flush_namespaces(write, error) : status;
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

static mn_write *new_write(mn_store *store, MDB_txn *txn, uint64_t generation)
{
    mn_write *write = mn_alloc_zeroed(1, sizeof *write);
    if (!write) return NULL;
    write->read.store = store;
    write->read.txn = txn;
    write->read.generation = generation;
    return write;
}

/* ---- a group in a transaction ---- */

/* Run one change and add what it did to the group's sum. */
static mneme_status run_change(group *g, update_request *request, mneme_error *error)
{
    mn_write *sum = g->sum, *write = new_write(sum->read.store, sum->read.txn, sum->read.generation);
    if (!write) return mn_fail_memory(error, "write");
    mneme_status status = request->change(request->context, write, error);
    if (status == MNEME_OK) status = flush(write, error);
    for (size_t i = 0; i < write->n_changes && status == MNEME_OK; i++) {
        g->removed |= write->changes[i].removed != 0;
        status = mn_log_change(sum, write->changes[i], error);
        g->n_rows += write->changes[i].n_rows + write->changes[i].n_recs;
    }
    sum->changed |= write->changed;
    g->kept_books |= write->kept_books;
    g->map_full |= write->map_full;
    sum->read.generation = write->read.generation; /* a copy of a store goes on from that one's */
    free_write(write);
    return status;
}

/* The next generation and its entry in the log. */
static mneme_status close_group(group *g, mneme_error *error)
{
    if (!g->sum->changed) return MNEME_OK;
    uint64_t generation = g->sum->read.generation + 1;
    mneme_status status = mn_flush_log(g->sum, generation, error);
    if (status == MNEME_OK) status = mn_meta_put(g->sum, "generation", &generation, sizeof generation, error);
    g->map_full |= g->sum->map_full;
    g->sum->read.generation = generation;
    return status;
}

static update_request *take_next(mn_store *store)
{
    pthread_mutex_lock(&store->queue_lock);
    update_request *request = store->queue;
    if (request) {
        store->queue = request->next;
        store->n_queued--;
    }
    pthread_mutex_unlock(&store->queue_lock);
    return request;
}

/* Run what the group holds, and, if it `grows`, what waits in the queue. */
static mneme_status run_all(mn_store *store, group *g, bool grows, mneme_error *error)
{
    mneme_status status = MNEME_OK;
    for (size_t i = 0; status == MNEME_OK; i++) {
        if (i == g->n) {
            update_request *next = grows && i < GROUP_CHANGES && g->n_rows < GROUP_ROWS ? take_next(store) : NULL;
            if (!next) break;
            g->items[g->n++] = next;
        }
        status = run_change(g, g->items[i], error);
    }
    return status == MNEME_OK ? close_group(g, error) : status;
}

/* One attempt; g->map_full: grow the map and try again. */
static mneme_status commit_once(mn_store *store, group *g, bool grows, mneme_error *error)
{
    g->map_full = g->kept_books = g->removed = false;
    g->n_rows = 0;
    g->sum = new_write(store, NULL, 0);
    if (!g->sum) return mn_fail_memory(error, "write");
    mneme_status status = mn_txn_begin(store, TXN_WRITE, &g->sum->read.txn, error);
    if (status == MNEME_OK) {
        status = mn_load_generation(&g->sum->read, error);
        if (status == MNEME_OK) status = mn_check_pinned(store, g->sum->read.txn, error);
        if (status == MNEME_OK) status = run_all(store, g, grows, error);
        if (status == MNEME_OK && (g->sum->changed || g->kept_books)) {
            int code = mdb_txn_commit(g->sum->read.txn);
            if (code == MDB_MAP_FULL) g->map_full = true;
            if (code != 0) status = mn_lmdb_fail(error, mn_commit_code(store, code), "cannot commit");
        } else {
            mdb_txn_abort(g->sum->read.txn);
        }
        pthread_rwlock_unlock(&store->map_lock);
    }
    for (size_t i = 0; i < g->n && status == MNEME_OK; i++) g->items[i]->generation = g->sum->read.generation;
    g->map_full = g->map_full && status != MNEME_OK;
    free_write(g->sum);
    return status;
}

static mneme_status commit_group(mn_store *store, group *g, bool grows, mneme_error *error)
{
    for (;;) {
        mneme_status status = commit_once(store, g, grows, error);
        if (!g->map_full) return status;
        status = mn_map_grow(store, error);
        if (status != MNEME_OK) return status;
    }
}

/* ---- who leads, who waits ---- */

/* Run the leader's request together with those that wait, or, when that fails, each of them alone. */
static void lead(mn_store *store, update_request *own)
{
    group g = {.items = {own}, .n = 1};
    mneme_error error = {MNEME_OK, ""};
    mneme_status status = commit_group(store, &g, true, &error);
    if (g.n == 1 && own->error && status != MNEME_OK) *own->error = error;
    bool removed = status == MNEME_OK && g.removed;
    for (size_t i = 0; i < g.n; i++) {
        group alone = {.items = {g.items[i]}, .n = 1};
        g.items[i]->status =
            g.n == 1 || status == MNEME_OK ? status : commit_group(store, &alone, false, g.items[i]->error);
        removed |= g.items[i]->status == MNEME_OK && alone.removed;
    }
    if (removed && store->removed) store->removed(store->removed_context);
    pthread_mutex_lock(&store->queue_lock);
    for (size_t i = 0; i < g.n; i++) g.items[i]->done = true;
    store->has_leader = false;
    pthread_cond_broadcast(&store->queue_moved);
    pthread_mutex_unlock(&store->queue_lock);
}

/* Join the queue; true: leave it again to lead, false: another leader has run the request. */
static bool wait_to_lead(mn_store *store, update_request *own)
{
    pthread_mutex_lock(&store->queue_lock);
    update_request **link = &store->queue;
    while (*link) link = &(*link)->next;
    *link = own;
    store->n_queued++;
    while (!own->done && store->has_leader) pthread_cond_wait(&store->queue_moved, &store->queue_lock);
    bool leads = !own->done;
    if (leads) {
        store->has_leader = true;
        for (link = &store->queue; *link != own;) link = &(*link)->next;
        *link = own->next;
        store->n_queued--;
    }
    pthread_mutex_unlock(&store->queue_lock);
    return leads;
}

mneme_status mn_store_update(mn_store *store,
                             mneme_status (*change)(void *context, mn_write *write, mneme_error *error), void *context,
                             uint64_t *generation, mneme_error *error)
{
    if (store->read_only) return mn_fail(error, MNEME_ERR_READ_ONLY, "store %s is open for reading only", store->path);
    update_request own = {.change = change, .context = context, .error = error};
    if (wait_to_lead(store, &own)) lead(store, &own);
    if (own.status == MNEME_OK && generation) *generation = own.generation;
    return mn_name_store(store, own.status, error);
}
