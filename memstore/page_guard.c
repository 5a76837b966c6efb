/* page_guard.c -- the way to a key, each page of it looked at before LMDB goes there.
 *
 * A page that was once found sound is marked; later visits compare only what ties it to its parent: its number, its
 * kind and that its keys lie between its parent's. The values of one key can be a tree of their own, which is looked at
 * as a whole and then marked at its root. The marks outlive snapshots: a page that is written anew is written by LMDB,
 * from pages that were looked at. */
#include "memstore/page_guard.h"

#include "common/memory.h"

#include <string.h>

/* ---- marks: chunks of 65,536 bits, made when needed; pages beyond the last chunk are looked at each time ---- */

enum { CHUNK_BITS = 16, N_CHUNKS = 4096, CHUNK_BYTES = 1 << (CHUNK_BITS - 3) };

typedef unsigned char *mark_chunks[N_CHUNKS]; /* each set once, atomically */

struct mn_page_marks {
    mark_chunks pages, trees;
};

mn_page_marks *mn_page_marks_new(void)
{
    return mn_alloc_zeroed(1, sizeof(mn_page_marks));
}

void mn_page_marks_free(mn_page_marks *marks)
{
    for (size_t i = 0; marks && i < N_CHUNKS; i++) {
        mn_free(marks->pages[i]);
        mn_free(marks->trees[i]);
    }
    mn_free(marks);
}

static bool has_mark(mark_chunks chunks, uint64_t number)
{
    uint64_t chunk = number >> CHUNK_BITS, bit = number & ((1u << CHUNK_BITS) - 1);
    const unsigned char *bits = chunk < N_CHUNKS ? __atomic_load_n(&chunks[chunk], __ATOMIC_ACQUIRE) : NULL;
    return bits && (__atomic_load_n(&bits[bit / 8], __ATOMIC_ACQUIRE) >> (bit % 8) & 1);
}

static void set_mark(mark_chunks chunks, uint64_t number)
{
    uint64_t chunk = number >> CHUNK_BITS, bit = number & ((1u << CHUNK_BITS) - 1);
    if (chunk >= N_CHUNKS) return;
    unsigned char *bits = __atomic_load_n(&chunks[chunk], __ATOMIC_ACQUIRE);
    if (!bits) {
        unsigned char *made = mn_alloc_zeroed(1, CHUNK_BYTES);
        if (!made) return; /* looked at again next time */
        if (__atomic_compare_exchange_n(&chunks[chunk], &bits, made, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
            bits = made;
        else
            mn_free(made);
    }
    __atomic_or_fetch(&bits[bit / 8], (unsigned char)(1u << (bit % 8)), __ATOMIC_RELEASE);
}

bool mn_page_is_marked(mn_page_marks *marks, uint64_t number)
{
    return has_mark(marks->pages, number);
}

void mn_page_mark(mn_page_marks *marks, uint64_t number)
{
    set_mark(marks->pages, number);
}

/* ---- one page ---- */

/* Where a page hangs: keys below it are >= low and < high. */
typedef struct place {
    uint64_t number;
    unsigned level; /* the root's is 1 */
    mn_page_key low, high;
} place;

static bool is_fixed(const unsigned char *page)
{
    return (mn_page_flags(page) & MN_PAGE_FIXED) != 0;
}

static mn_page_key key_at(const unsigned char *page, unsigned i)
{
    if (is_fixed(page)) return (mn_page_key){.bytes = page + MN_PAGE_HEADER + 4 * (size_t)i, .size = 4};
    return mn_page_node_at(page, i).key;
}

static bool has_numbers(const mn_tree *tree)
{
    return (tree->flags & 0x08) != 0; /* MDB_INTEGERKEY */
}

/* The page, if it is sound and hangs where it should; else NULL. */
static const unsigned char *look_at(const mn_guarded_tree *guarded, const place *where)
{
    const mn_page_space *space = guarded->space;
    if (where->level > guarded->tree.depth || where->number < 2 || where->number >= space->n_pages) return NULL;
    const unsigned char *page = mn_page_at(space, where->number);
    bool branch = where->level < guarded->tree.depth, numbers = has_numbers(&guarded->tree);
    if (!mn_page_is_marked(guarded->marks, where->number)) {
        if (mn_page_problem(space, where->number, &guarded->tree, where->level)) return NULL;
        mn_page_mark(guarded->marks, where->number);
    } else if (mn_get_u64(page) != where->number || branch != ((mn_page_flags(page) & MN_PAGE_BRANCH) != 0)) {
        return NULL;
    }
    unsigned first = branch ? 1 : 0, n = mn_page_nodes(page);
    if (first < n && where->low.bytes && mn_key_order(key_at(page, first), where->low, numbers) < 0) return NULL;
    if (first < n && where->high.bytes && mn_key_order(key_at(page, n - 1), where->high, numbers) >= 0) return NULL;
    return page;
}

/* The place of child i of a branch page. */
static place child_of(const unsigned char *page, const place *where, unsigned i)
{
    return (place){.number = mn_page_node_at(page, i).child,
                   .level = where->level + 1,
                   .low = i > 0 ? key_at(page, i) : where->low,
                   .high = i + 1 < mn_page_nodes(page) ? key_at(page, i + 1) : where->high};
}

/* How many keys of a page are <= key; a branch's first key counts as the lowest of all. */
static unsigned count_not_above(const unsigned char *page, mn_page_key key, bool numbers)
{
    unsigned low = mn_page_flags(page) & MN_PAGE_BRANCH ? 1 : 0, high = mn_page_nodes(page);
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (mn_key_order(key_at(page, middle), key, numbers) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---- values and whole trees ---- */

/* The tree of one key's values, whose pages are looked at once. */
static bool tree_of_values_is_sound(const mn_guarded_tree *guarded, mn_page_node node)
{
    const mn_guarded_tree below = {.space = guarded->space, .marks = guarded->marks, .tree = mn_tree_read(node.data)};
    if (mn_tree_problem(guarded->space, &below.tree, mn_duplicates_flags(&guarded->tree))) return false;
    const place root = {.number = below.tree.root, .level = 1};
    if (has_mark(guarded->marks->trees, root.number)) return look_at(&below, &root) != NULL;
    if (!mn_tree_is_sound(&below, false)) return false;
    set_mark(guarded->marks->trees, root.number);
    return true;
}

/* The values of the nodes around `at`, where they are trees, and the old value's page. */
static bool values_are_sound(const mn_guarded_tree *guarded, const unsigned char *page, unsigned at, unsigned also)
{
    bool duplicates = (guarded->tree.flags & 0x04) != 0; /* MDB_DUPSORT */
    if (is_fixed(page) || (!duplicates && !(also & MN_OLD_VALUE))) return true;
    unsigned from = duplicates && at > 0 ? at - 1 : at;
    for (unsigned i = from; i < mn_page_nodes(page) && i <= at + 1; i++) {
        mn_page_node node = mn_page_node_at(page, i);
        uint64_t n_pages;
        if (node.flags & MN_NODE_BIG) {
            if (i == at && mn_overflow_problem(guarded->space, node.child, node.data_size, &n_pages)) return false;
        } else if ((node.flags & MN_NODE_DUPLICATES) && (node.flags & MN_NODE_TREE)) {
            if (!tree_of_values_is_sound(guarded, node)) return false;
        }
    }
    return true;
}

static bool subtree_is_sound(const mn_guarded_tree *guarded, const place *where, bool with_values)
{
    const unsigned char *page = look_at(guarded, where);
    if (!page) return false;
    if (where->level == guarded->tree.depth) {
        for (unsigned i = 0; with_values && i < mn_page_nodes(page); i++)
            if (!values_are_sound(guarded, page, i, MN_OLD_VALUE)) return false;
        return true;
    }
    for (unsigned i = 0; i < mn_page_nodes(page); i++) {
        place child = child_of(page, where, i);
        if (!subtree_is_sound(guarded, &child, with_values)) return false;
    }
    return true;
}

bool mn_tree_is_sound(const mn_guarded_tree *guarded, bool with_values)
{
    const place root = {.number = guarded->tree.root, .level = 1};
    return guarded->tree.root == MN_NO_PAGE || subtree_is_sound(guarded, &root, with_values);
}

/* ---- the path to a key ---- */

/* From a page beside the path down to the nearest leaf: along first children, or last ones. */
static bool edge_is_sound(const mn_guarded_tree *guarded, place where, bool along_last)
{
    for (;;) {
        const unsigned char *page = look_at(guarded, &where);
        if (!page) return false;
        unsigned n = mn_page_nodes(page);
        if (where.level == guarded->tree.depth) return values_are_sound(guarded, page, along_last ? n - 1 : 0, 0);
        where = child_of(page, &where, along_last ? n - 1 : 0);
    }
}

bool mn_path_is_sound(const mn_guarded_tree *guarded, mn_page_key key, enum mn_path_end end, unsigned also)
{
    if (guarded->tree.root == MN_NO_PAGE) return true;
    place where = {.number = guarded->tree.root, .level = 1};
    for (;;) {
        const unsigned char *page = look_at(guarded, &where);
        if (!page) return false;
        unsigned n = mn_page_nodes(page);
        unsigned count = end == MN_PATH_FIRST  ? 1
                         : end == MN_PATH_LAST ? n
                                               : count_not_above(page, key, has_numbers(&guarded->tree));
        unsigned at = count > 0 ? count - 1 : 0;
        if (where.level == guarded->tree.depth) return values_are_sound(guarded, page, at, also);
        place left = at > 0 ? child_of(page, &where, at - 1) : where;
        place right = at + 1 < n ? child_of(page, &where, at + 1) : where;
        if ((also & MN_BESIDE_LEFT) && at > 0 && !edge_is_sound(guarded, left, true)) return false;
        if ((also & MN_BESIDE_RIGHT) && at + 1 < n && !edge_is_sound(guarded, right, false)) return false;
        where = child_of(page, &where, at);
    }
}

/* ---- small things ---- */

const unsigned char *mn_leaf_find(const unsigned char *page, const char *name, uint32_t *size, uint16_t *flags)
{
    const mn_page_key wanted = {.bytes = (const unsigned char *)name, .size = strlen(name)};
    for (unsigned i = 0; i < mn_page_nodes(page); i++) {
        mn_page_node node = mn_page_node_at(page, i);
        if (mn_key_order(node.key, wanted, false) != 0) continue;
        *size = node.data_size;
        *flags = node.flags;
        return node.data;
    }
    return NULL;
}

bool mn_key_is_at_edge(const mn_page_space *space, const void *key, bool last)
{
    uintptr_t at = (uintptr_t)key, base = (uintptr_t)space->base;
    if (at < base || at - base >= space->n_pages * space->page_size) return true; /* on a page that is being written */
    uint64_t number = (at - base) / space->page_size;
    const unsigned char *page = mn_page_at(space, number);
    if (mn_get_u64(page) != number || !(mn_page_flags(page) & MN_PAGE_LEAF) || is_fixed(page)) return true;
    unsigned n = mn_page_nodes(page);
    return n == 0 || mn_page_node_at(page, last ? n - 1 : 0).key.bytes == (const unsigned char *)key;
}
