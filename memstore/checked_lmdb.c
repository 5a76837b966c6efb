/* checked_lmdb.c -- LMDB's calls behind a look at the pages; see checked_lmdb.h.
 *
 * The environment's user context is a guard: the marks, the names of the open trees, and one view for each transaction
 * that runs: where the map lies and the roots of its snapshot. A transaction without a view belongs to an empty store.
 *
 * A writer's view is of what was committed before it. Its own changed pages come from pages that were looked at. */
#define MN_LMDB_ITSELF
#include "memstore/checked_lmdb.h"

#include "memstore/meta_pages.h"
#include "memstore/page_check.h"
#include "memstore/page_guard.h"

#include "common/memory.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_TREES = 32, ATTEMPTS = 100 };
enum { TRY_AGAIN = -1 }; /* beside LMDB's codes: the snapshot's meta page was being written */

typedef struct view {
    struct view *next;
    MDB_txn *txn;
    mn_page_space space;
    uint64_t last_page;
    mn_tree free, main;
    mn_tree trees[MAX_TREES]; /* by the guard's slots; root 0: not in this snapshot */
    unsigned char page[];     /* a copy of the main tree's only page */
} view;

typedef struct guard {
    pthread_mutex_t lock; /* of views and of the slots */
    view *views;
    mn_page_marks *marks;
    int fd; /* LMDB's own */
    uint32_t page_size;
    bool trusted, free_list_known, whole_known; /* whole_known: the walk over all pages has been begun */
    uint64_t n_looks;
    size_t n_slots;
    struct slot {
        MDB_dbi dbi;
        uint16_t flags;
        char name[24];
    } slots[MAX_TREES];
} guard;

/* ---- the environment ---- */

static guard *guard_of(MDB_env *env)
{
    return mdb_env_get_userctx(env);
}

static bool is_trusted(const guard *g)
{
    return __atomic_load_n(&g->trusted, __ATOMIC_RELAXED);
}

static guard *guard_of_txn(MDB_txn *txn)
{
    return guard_of(mdb_txn_env(txn));
}

static void free_guard(guard *g)
{
    if (!g) return;
    pthread_mutex_destroy(&g->lock);
    mn_page_marks_free(g->marks);
    mn_free(g);
}

int mn_checked_env_open(MDB_env *env, const char *path, unsigned flags, mdb_mode_t mode)
{
    MDB_stat stat_of;
    mn_meta_state state = {.creation_lock = -1};
    int code = flags & MDB_NOSUBDIR ? mn_metas_look_at_file(path) : mn_metas_look(path, &state);
    if (code == 0 && !(flags & MDB_NOLOCK)) code = mn_lock_file_reserve(path);
    guard *g = code == 0 ? mn_alloc_zeroed(1, sizeof *g) : NULL;
    if (code == 0 && (!g || !(g->marks = mn_page_marks_new()))) code = ENOMEM;
    if (g) pthread_mutex_init(&g->lock, NULL);
    if (code == 0) code = mdb_env_open(env, path, flags, mode);
    mn_metas_end(&state);
    if (code == 0) code = mdb_env_stat(env, &stat_of);
    if (code == 0) code = mdb_env_get_fd(env, &g->fd);
    if (code == 0) code = mdb_env_set_userctx(env, g);
    if (code != 0) {
        free_guard(g);
        return code;
    }
    g->page_size = stat_of.ms_psize;
    g->trusted = state.is_new;
    return 0;
}

void mn_checked_env_close(MDB_env *env)
{
    guard *g = guard_of(env);
    mdb_env_close(env);
    free_guard(g);
}

/* ---- views ---- */

static view *find_view(guard *g, const MDB_txn *txn)
{
    pthread_mutex_lock(&g->lock);
    view *found = g->views;
    while (found && found->txn != txn) found = found->next;
    pthread_mutex_unlock(&g->lock);
    return found;
}

static void drop_view(guard *g, const MDB_txn *txn)
{
    view *dropped = NULL;
    pthread_mutex_lock(&g->lock);
    for (view **link = &g->views; *link; link = &(*link)->next) {
        if ((*link)->txn != txn) continue;
        dropped = *link;
        *link = dropped->next;
        break;
    }
    pthread_mutex_unlock(&g->lock);
    mn_free(dropped);
}

static int read_meta(const guard *g, uint64_t txnid, mn_meta *out)
{
    unsigned char bytes[MN_META_BYTES], again[MN_META_BYTES];
    off_t at = (off_t)(txnid & 1) * g->page_size;
    if (pread(g->fd, bytes, sizeof bytes, at) != sizeof bytes || pread(g->fd, again, sizeof again, at) != sizeof again)
        return EIO;
    if (memcmp(bytes, again, sizeof bytes) != 0) return TRY_AGAIN;
    if (!mn_meta_parse(bytes, out) || out->page_size != g->page_size) return MDB_CORRUPTED;
    return out->txnid == txnid ? 0 : TRY_AGAIN;
}

/* Where LMDB's map lies: from the address that it gives for the first key of the main tree, whose page is known. */
static int find_base(view *v)
{
    MDB_cursor *cursor = NULL;
    MDB_dbi dbi;
    MDB_val key, data;
    int code = mdb_dbi_open(v->txn, NULL, 0, &dbi);
    if (code == 0) code = mdb_cursor_open(v->txn, dbi, &cursor);
    if (code == 0) code = mdb_cursor_get(cursor, &key, &data, MDB_FIRST);
    if (code == 0) {
        size_t within = (size_t)(mn_page_node_at(v->page, 0).key.bytes - v->page);
        v->space.base = (const unsigned char *)key.mv_data - within - v->main.root * v->space.page_size;
    }
    if (cursor) mdb_cursor_close(cursor);
    return code;
}

/* The main tree: named trees only, so few that they fit on one page. A bigger one is not mneme's. */
static int read_main_page(const guard *g, view *v)
{
    const off_t at = (off_t)(v->main.root * g->page_size);
    const char *problem = mn_tree_problem(&v->space, &v->main, 0);
    if (problem) return MDB_CORRUPTED;
    if (v->main.depth != 1) return MDB_INCOMPATIBLE;
    ssize_t got = pread(g->fd, v->page, g->page_size, at);
    if (got != (ssize_t)g->page_size) return got < 0 ? errno : MDB_CORRUPTED;
    mn_page_space alone = v->space; /* in which the copy lies where the page would */
    alone.base = (const unsigned char *)((uintptr_t)v->page - (uintptr_t)at);
    return mn_page_problem(&alone, v->main.root, &v->main, 1) ? MDB_CORRUPTED : 0;
}

/* The tree of a slot in this snapshot; root 0 where there is none. */
static int read_tree(const view *v, const struct slot *slot, mn_tree *out)
{
    uint32_t size = 0;
    uint16_t flags = 0;
    const unsigned char *bytes = v->main.root == MN_NO_PAGE ? NULL : mn_leaf_find(v->page, slot->name, &size, &flags);
    *out = (mn_tree){0};
    if (!bytes || flags != MN_NODE_TREE) return 0; /* LMDB refuses what is no tree */
    *out = mn_tree_read(bytes);
    return size == MN_TREE_BYTES && !mn_tree_problem(&v->space, out, slot->flags) ? 0 : MDB_CORRUPTED;
}

/* The pages of the list of free pages; once per open store, what it lists too: pages of the file, rising, each once. */
static bool free_list_is_sound(const guard *g, const view *v)
{
    const mn_guarded_tree guarded = {.space = &v->space, .marks = g->marks, .tree = v->free};
    if (mn_tree_problem(&v->space, &v->free, MN_FREE_LIST_FLAGS) || !mn_tree_is_sound(&guarded, false)) return false;
    return g->free_list_known || mn_free_list_is_sound(&v->space, &v->free, v->last_page);
}

static int fill_view(guard *g, view *v, bool writes)
{
    struct stat info;
    mn_meta now;
    int code = read_meta(g, mdb_txn_id(v->txn) - writes, &now);
    if (code == 0 && fstat(g->fd, &info) != 0) code = errno;
    if (code != 0) return code;
    uint64_t in_file = (uint64_t)info.st_size / g->page_size, in_use = now.last_page + 1;
    v->space = (mn_page_space){.page_size = g->page_size, .n_pages = in_use < in_file ? in_use : in_file};
    v->last_page = now.last_page;
    v->free = now.free;
    v->main = now.main;
    if (v->main.root != MN_NO_PAGE) code = read_main_page(g, v);
    if (code == 0 && v->main.root != MN_NO_PAGE) code = find_base(v);
    for (size_t i = 0; code == 0 && i < g->n_slots; i++) code = read_tree(v, &g->slots[i], &v->trees[i]);
    if (code != 0 || !writes || is_trusted(g)) return code;
    if (!v->space.base) return v->free.root == MN_NO_PAGE ? 0 : MDB_CORRUPTED;
    if (!free_list_is_sound(g, v)) return MDB_CORRUPTED;
    g->free_list_known = true; /* one writer at a time */
    return 0;
}

static int add_view(guard *g, MDB_txn *txn, bool writes)
{
    view *v = mn_alloc_zeroed(1, sizeof *v + g->page_size);
    if (!v) return ENOMEM;
    v->txn = txn;
    int code = fill_view(g, v, writes);
    if (code != 0) {
        mn_free(v);
        return code;
    }
    pthread_mutex_lock(&g->lock);
    v->next = g->views;
    g->views = v;
    pthread_mutex_unlock(&g->lock);
    return 0;
}

/* Who asks or writes much looks at all pages once, rather than at the same ones again and again: 12 ms for 60,000 chunks
 * in 138 MB, where 20,000 looks take about as long. So after three looks for every five pages. */
static void maybe_look_at_all(guard *g, MDB_txn *txn)
{
    enum { MANY_LOOKS = 20000 };
    uint64_t n_problems = 1, n_looks = __atomic_load_n(&g->n_looks, __ATOMIC_RELAXED);
    const view *v = is_trusted(g) ? NULL : find_view(g, txn);
    if (!v || n_looks < MANY_LOOKS || n_looks < v->space.n_pages / 5 * 3) return;
    if (__atomic_exchange_n(&g->whole_known, true, __ATOMIC_RELAXED)) return;
    if (mn_pages_check(txn, NULL, NULL, &n_problems, NULL) == MNEME_OK && n_problems == 0) mn_checked_trust(txn);
}

int mn_checked_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **txn)
{
    guard *g = guard_of(env);
    int code = TRY_AGAIN;
    for (int attempt = 0; code == TRY_AGAIN && attempt < ATTEMPTS; attempt++) {
        code = mdb_txn_begin(env, parent, flags, txn);
        if (code != 0) return code;
        code = add_view(g, *txn, !(flags & MDB_RDONLY));
        if (code != 0) mdb_txn_abort(*txn);
    }
    if (code == 0) maybe_look_at_all(g, *txn);
    if (code != 0) *txn = NULL;
    return code == TRY_AGAIN ? MDB_CORRUPTED : code;
}

int mn_checked_txn_commit(MDB_txn *txn)
{
    drop_view(guard_of_txn(txn), txn);
    return mdb_txn_commit(txn);
}

void mn_checked_txn_abort(MDB_txn *txn)
{
    if (!txn) return;
    drop_view(guard_of_txn(txn), txn);
    mdb_txn_abort(txn);
}

/* ---- trees ---- */

int mn_checked_dbi_open(MDB_txn *txn, const char *name, unsigned flags, MDB_dbi *dbi)
{
    guard *g = guard_of_txn(txn);
    view *v = find_view(g, txn);
    struct slot made = {.flags = (uint16_t)(flags & ~(unsigned)MDB_CREATE)};
    if (!name || strlen(name) >= sizeof made.name) return EINVAL;
    memcpy(made.name, name, strlen(name) + 1);
    mn_tree tree = {0};
    int code = v ? read_tree(v, &made, &tree) : 0;
    if (code == 0) code = mdb_dbi_open(txn, name, flags, dbi);
    if (code != 0) return code;
    made.dbi = *dbi;
    pthread_mutex_lock(&g->lock);
    size_t i = 0;
    while (i < g->n_slots && strcmp(g->slots[i].name, name) != 0) i++;
    if (i < MAX_TREES) {
        g->slots[i] = made;
        if (i == g->n_slots) g->n_slots++;
        if (v) v->trees[i] = tree;
    } else {
        code = MDB_DBS_FULL;
    }
    pthread_mutex_unlock(&g->lock);
    return code;
}

/* The tree to look at; false: none, LMDB goes alone. */
static bool guarded_tree(MDB_txn *txn, MDB_dbi dbi, mn_guarded_tree *out)
{
    guard *g = guard_of_txn(txn);
    const view *v = is_trusted(g) ? NULL : find_view(g, txn);
    for (size_t i = 0; v && i < g->n_slots; i++) {
        if (g->slots[i].dbi != dbi) continue;
        __atomic_fetch_add(&g->n_looks, 1, __ATOMIC_RELAXED);
        *out = (mn_guarded_tree){.space = &v->space, .marks = g->marks, .tree = v->trees[i]};
        return v->trees[i].root != 0 && v->trees[i].root != MN_NO_PAGE;
    }
    return false;
}

static bool key_path_is_sound(MDB_txn *txn, MDB_dbi dbi, const MDB_val *key, unsigned also)
{
    mn_guarded_tree guarded;
    if (!guarded_tree(txn, dbi, &guarded)) return true;
    return mn_path_is_sound(&guarded, (mn_page_key){.bytes = key->mv_data, .size = key->mv_size}, MN_PATH_KEY, also);
}

enum { FOR_WRITING = MN_BESIDE_LEFT | MN_BESIDE_RIGHT | MN_OLD_VALUE };

/* MDB_APPEND goes to the last leaf, wherever the key belongs. */
static bool put_is_sound(MDB_txn *txn, MDB_dbi dbi, const MDB_val *key, unsigned flags)
{
    mn_guarded_tree guarded;
    if (!key_path_is_sound(txn, dbi, key, FOR_WRITING)) return false;
    if (!(flags & MDB_APPEND) || !guarded_tree(txn, dbi, &guarded)) return true;
    return mn_path_is_sound(&guarded, (mn_page_key){0}, MN_PATH_LAST, MN_BESIDE_LEFT);
}

int mn_checked_get(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *data)
{
    return key_path_is_sound(txn, dbi, key, 0) ? mdb_get(txn, dbi, key, data) : MDB_CORRUPTED;
}

int mn_checked_put(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *data, unsigned flags)
{
    return put_is_sound(txn, dbi, key, flags) ? mdb_put(txn, dbi, key, data, flags) : MDB_CORRUPTED;
}

int mn_checked_del(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *data)
{
    return key_path_is_sound(txn, dbi, key, FOR_WRITING) ? mdb_del(txn, dbi, key, data) : MDB_CORRUPTED;
}

int mn_checked_drop(MDB_txn *txn, MDB_dbi dbi, int del)
{
    mn_guarded_tree guarded;
    bool sound = !guarded_tree(txn, dbi, &guarded) || mn_tree_is_sound(&guarded, true);
    return sound ? mdb_drop(txn, dbi, del) : MDB_CORRUPTED;
}

/* ---- cursors ---- */

/* The way to the neighbour of the cursor's key. */
static bool step_is_sound(MDB_cursor *cursor, const mn_guarded_tree *guarded, bool forward)
{
    MDB_val key = {0}, data;
    if (mdb_cursor_get(cursor, &key, &data, MDB_GET_CURRENT) != 0 ||
        !key.mv_data) /* not placed yet: the first step is to an end */
        return mn_path_is_sound(guarded, (mn_page_key){0}, forward ? MN_PATH_FIRST : MN_PATH_LAST, 0);
    bool duplicates = (guarded->tree.flags & MDB_DUPSORT) != 0;
    if (!duplicates && !mn_key_is_at_edge(guarded->space, key.mv_data, forward)) return true;
    return mn_path_is_sound(guarded, (mn_page_key){.bytes = key.mv_data, .size = key.mv_size}, MN_PATH_KEY,
                            forward ? MN_BESIDE_RIGHT : MN_BESIDE_LEFT);
}

static bool move_is_sound(MDB_cursor *cursor, const mn_guarded_tree *guarded, const MDB_val *key, MDB_cursor_op op)
{
    const mn_page_key none = {0};
    switch (op) {
    case MDB_FIRST: return mn_path_is_sound(guarded, none, MN_PATH_FIRST, 0);
    case MDB_LAST: return mn_path_is_sound(guarded, none, MN_PATH_LAST, 0);
    case MDB_NEXT:
    case MDB_NEXT_NODUP: return step_is_sound(cursor, guarded, true);
    case MDB_PREV:
    case MDB_PREV_NODUP: return step_is_sound(cursor, guarded, false);
    case MDB_SET:
    case MDB_SET_KEY:
    case MDB_SET_RANGE:
    case MDB_GET_BOTH:
    case MDB_GET_BOTH_RANGE:
        return mn_path_is_sound(guarded, (mn_page_key){.bytes = key->mv_data, .size = key->mv_size}, MN_PATH_KEY,
                                op == MDB_SET_RANGE ? MN_BESIDE_RIGHT : 0);
    default: return true; /* among the values of the key that it stands on */
    }
}

int mn_checked_cursor_get(MDB_cursor *cursor, MDB_val *key, MDB_val *data, MDB_cursor_op op)
{
    mn_guarded_tree guarded;
    bool looks = guarded_tree(mdb_cursor_txn(cursor), mdb_cursor_dbi(cursor), &guarded);
    if (looks && !move_is_sound(cursor, &guarded, key, op)) return MDB_CORRUPTED;
    return mdb_cursor_get(cursor, key, data, op);
}

int mn_checked_cursor_put(MDB_cursor *cursor, MDB_val *key, MDB_val *data, unsigned flags)
{
    bool sound = put_is_sound(mdb_cursor_txn(cursor), mdb_cursor_dbi(cursor), key, flags);
    return sound ? mdb_cursor_put(cursor, key, data, flags) : MDB_CORRUPTED;
}

int mn_checked_cursor_del(MDB_cursor *cursor, unsigned flags)
{
    MDB_val key, data;
    bool placed = mdb_cursor_get(cursor, &key, &data, MDB_GET_CURRENT) == 0 && key.mv_data;
    bool sound = !placed || key_path_is_sound(mdb_cursor_txn(cursor), mdb_cursor_dbi(cursor), &key, FOR_WRITING);
    return sound ? mdb_cursor_del(cursor, flags) : MDB_CORRUPTED;
}

/* ---- for the check ---- */

bool mn_checked_snapshot(MDB_txn *txn, mn_snapshot *out)
{
    guard *g = guard_of_txn(txn);
    const view *v = find_view(g, txn);
    if (!v || !v->space.base) return false;
    *out = (mn_snapshot){.space = v->space, .last_page = v->last_page, .free = v->free, .main = v->main};
    return true;
}

void mn_checked_trust(MDB_txn *txn)
{
    __atomic_store_n(&guard_of_txn(txn)->trusted, true, __ATOMIC_RELAXED);
}
