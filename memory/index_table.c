/* index_table.c -- one entry for each namespace that has, or may have, an index file.
 *
 * A file is looked at when its namespace is asked about (one stat call). One that is refused is remembered by its
 * stamp, so that its checksums are not compared again with each question. A file that is replaced keeps its inode
 * number for itself as long as it is open here, so equal numbers mean the same file; that its times change is the work
 * of mn_index_scrub. */
#include "memory/index_table.h"

#include "common/file.h"
#include "memory/index_build.h"
#include "retriever/index_scrub.h"

#include <dirent.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FEWEST_ROWS = 1000 }; /* the least that the setting index.min_rows allows */

typedef struct entry {
    uint32_t ns;
    char *path;
    mn_index *index; /* NULL: none is open */
    bool unnoted;    /* the store's stamp is not the file's */
    mn_file_stamp refused;
    char reason[MN_INDEX_REASON_SIZE];
} entry;

struct mn_index_table {
    mn_store *store;
    pthread_mutex_t lock;
    entry *entries;
    size_t n, capacity;
};

mneme_status mn_index_table_open(mn_store *store, mn_index_table **out, mneme_error *error)
{
    *out = mn_alloc_zeroed(1, sizeof **out);
    if (!*out) return mn_fail_memory(error, "memory");
    (*out)->store = store;
    pthread_mutex_init(&(*out)->lock, NULL);
    return MNEME_OK;
}

void mn_index_table_close(mn_index_table *table)
{
    if (!table) return;
    for (size_t i = 0; i < table->n; i++) {
        mn_index_release(table->entries[i].index);
        mn_free(table->entries[i].path);
    }
    mn_free(table->entries);
    pthread_mutex_destroy(&table->lock);
    mn_free(table);
}

mneme_status mn_index_owner_of(mn_read *read, const mn_namespace *space, mn_index_owner *out, mneme_error *error)
{
    *out = (mn_index_owner){.ns = space->ns, .dimension = space->dimension};
    return mn_read_identity(read, &out->identity, error);
}

static entry *entry_of(mn_index_table *table, uint32_t ns)
{
    for (size_t i = 0; i < table->n; i++)
        if (table->entries[i].ns == ns) return &table->entries[i];
    if (table->n == table->capacity) {
        size_t capacity = table->capacity ? table->capacity * 2 : 8;
        entry *larger = mn_realloc_array(table->entries, capacity, sizeof *larger);
        if (!larger) return NULL;
        table->entries = larger;
        table->capacity = capacity;
    }
    entry *fresh = &table->entries[table->n];
    *fresh = (entry){.ns = ns, .path = mn_index_path(mn_store_folder(table->store), ns)};
    if (fresh->path) table->n++;
    return fresh->path ? fresh : NULL;
}

/* Do its codes fit the vectors that the store has? */
static mneme_status compare_with_store(mn_index *index, mn_read *read, uint32_t ns, mneme_error *error)
{
    mn_arena arena = {0};
    mn_rows rows;
    mn_vector_blocks vectors;
    mneme_status status = mn_read_rows(read, ns, &arena, &rows, error);
    if (status == MNEME_OK) status = mn_read_vectors(read, ns, &arena, &vectors, error);
    if (status == MNEME_OK && !mn_index_fits(index, &rows, &vectors, &arena))
        status = mn_fail(error, MNEME_ERR_FORMAT, "its vectors are not the store's");
    mn_arena_free(&arena);
    return status;
}

static mneme_status open_entry(entry *e, mn_read *read, const mn_index_owner *owner, mneme_error *error)
{
    mn_file_stamp known;
    mneme_status status = mn_read_index_stamp(read, e->ns, &known, error);
    if (status == MNEME_OK) status = mn_index_open(e->path, owner, &known, &e->index, error);
    if (status != MNEME_OK || !mn_index_was_compared(e->index)) return status;
    e->unnoted = true;
    if (mn_index_get_facts(e->index)->generation <= mn_read_generation(read))
        status = compare_with_store(e->index, read, e->ns, error);
    if (status != MNEME_OK) {
        mn_index_release(e->index);
        e->index = NULL;
    }
    return status;
}

/* Have the present file open, or know why not. */
static void refresh(entry *e, mn_read *read, const mn_index_owner *owner)
{
    mneme_error error = {MNEME_OK, ""};
    mn_file_stamp now = mn_index_stamp_of(e->path);
    if (e->index) {
        const mn_file_stamp *open = mn_index_stamp(e->index);
        if (now.inode == open->inode && now.device == open->device) return;
        mn_index_release(e->index);
        e->index = NULL;
        e->unnoted = false;
    }
    if (now.inode == 0) {
        e->reason[0] = '\0';
        return;
    }
    if (mn_file_stamps_equal(&now, &e->refused) || open_entry(e, read, owner, &error) == MNEME_OK) return;
    e->refused = now;
    snprintf(e->reason, sizeof e->reason, "%.150s", error.message);
}

static const char newer[] = "it is newer than this view of the store";

/* Why it is not used; NULL: nothing speaks against it. */
static const char *reason_against(const entry *e, const mn_read *read, const mn_index_owner *owner)
{
    if (!e->index) return e->reason;
    const mn_index_facts *facts = mn_index_get_facts(e->index);
    if (facts->epoch != owner->identity.epoch) return "the store was compacted since";
    if (facts->generation > mn_read_generation(read)) return newer;
    return NULL;
}

mn_index *mn_index_table_get(mn_index_table *table, mn_read *read, const mn_namespace *space, char *reason)
{
    mn_index_owner owner;
    mn_index *found = NULL;
    if (reason) reason[0] = '\0';
    if (space->dimension == 0 || space->next_row < FEWEST_ROWS) return NULL;
    if (mn_index_owner_of(read, space, &owner, NULL) != MNEME_OK || !owner.identity.is_known) return NULL;
    pthread_mutex_lock(&table->lock);
    entry *e = entry_of(table, space->ns);
    if (e) {
        refresh(e, read, &owner);
        const char *against = reason_against(e, read, &owner);
        if (!against)
            found = mn_index_keep(e->index);
        else if (reason)
            snprintf(reason, MN_INDEX_REASON_SIZE, "%s", against);
    }
    pthread_mutex_unlock(&table->lock);
    return found;
}

/* ---- forgetting ---- */

/* Every namespace that has an index file. */
static size_t namespaces_with_files(mn_index_table *table, mn_read *read, mn_arena *arena, mn_namespace **out)
{
    mn_namespace *all = NULL;
    size_t n = 0, kept = 0;
    if (mn_read_namespaces(read, arena, &all, &n, NULL) != MNEME_OK) return 0;
    for (size_t i = 0; i < n; i++) {
        char *path = mn_index_path(mn_store_folder(table->store), all[i].ns);
        if (path && mn_file_exists(path)) all[kept++] = all[i];
        mn_free(path);
    }
    *out = all;
    return kept;
}

static void note_change(mn_index_table *table, const mn_index *index, uint32_t ns)
{
    pthread_mutex_lock(&table->lock);
    entry *e = entry_of(table, ns);
    if (e && e->index == index) {
        mn_file_stamp now = mn_index_stamp_of(e->path);
        e->unnoted |= !mn_file_stamps_equal(&now, mn_index_stamp(index));
    }
    pthread_mutex_unlock(&table->lock);
}

/* A file that is newer than the read was begun after these rows died, and its builder looks for the rest. */
static void scrub_one(mn_index_table *table, mn_read *read, const mn_namespace *space)
{
    char reason[MN_INDEX_REASON_SIZE];
    mn_index *index = mn_index_table_get(table, read, space, reason);
    if (!index && strcmp(reason, newer) == 0) return;
    mneme_status status = index ? mn_index_scrub(index, read, space->ns, NULL) : MNEME_ERR_DAMAGED;
    char *path = mn_index_path(mn_store_folder(table->store), space->ns);
    if (status != MNEME_OK && path) unlink(path);
    if (status == MNEME_OK) note_change(table, index, space->ns);
    mn_free(path);
    mn_index_release(index);
}

/* What a builder that was killed has left may hold what is forgotten now. One that is alive has the lock, and looks for
 * what has died when it is done. */
static void remove_unfinished(const mn_store *store, const char *folder)
{
    int lock = -1;
    DIR *dir = opendir(folder);
    for (const struct dirent *item = dir ? readdir(dir) : NULL; item; item = readdir(dir)) {
        size_t size = strlen(item->d_name);
        if (size < 4 || strcmp(item->d_name + size - 4, ".new") != 0) continue;
        if (lock < 0 && mn_index_build_lock(store, &lock, NULL) != MNEME_OK) break;
        unlinkat(dirfd(dir), item->d_name, 0);
    }
    if (dir) closedir(dir);
    mn_index_build_unlock(lock);
}

void mn_index_table_scrub(void *context)
{
    mn_index_table *table = context;
    mn_arena arena = {0};
    mn_read *read = NULL;
    mn_namespace *spaces = NULL;
    char *folder = mn_index_folder(mn_store_folder(table->store));
    bool any = folder && mn_is_directory(folder);
    if (any) remove_unfinished(table->store, folder);
    mn_free(folder);
    if (!any || mn_read_begin(table->store, &read, NULL) != MNEME_OK) return;
    size_t n = namespaces_with_files(table, read, &arena, &spaces);
    for (size_t i = 0; i < n; i++) scrub_one(table, read, &spaces[i]);
    mn_read_end(read);
    mn_arena_free(&arena);
}

/* ---- stamps ---- */

static mneme_status write_stamps(void *context, mn_write *write, mneme_error *error)
{
    mn_index_table *table = context;
    mneme_status status = MNEME_OK;
    for (size_t i = 0; i < table->n && status == MNEME_OK; i++) {
        entry *e = &table->entries[i];
        if (!e->unnoted || !e->index) continue;
        const mn_file_stamp now = mn_index_stamp_of(e->path);
        if (now.inode == mn_index_stamp(e->index)->inode) status = mn_write_index_stamp(write, e->ns, &now, error);
    }
    return status;
}

void mn_index_table_note_stamps(mn_index_table *table)
{
    bool any = false;
    for (size_t i = 0; i < table->n; i++) any |= table->entries[i].unnoted && table->entries[i].index;
    if (any) mn_store_update(table->store, write_stamps, table, NULL, NULL);
    for (size_t i = 0; i < table->n; i++) table->entries[i].unnoted = false;
}
