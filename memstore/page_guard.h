/* page_guard.h -- which pages of a store have been looked at, and the way to a key through pages that have.
 *
 * Between checked_lmdb.c, which stands before LMDB's calls, and pages.c, which knows what a page must be like. */
#ifndef MN_MEMSTORE_PAGE_GUARD_H
#define MN_MEMSTORE_PAGE_GUARD_H

#include "memstore/pages.h"

/* For each page a bit that it was found sound, and one that all pages below it were. Any thread. */
typedef struct mn_page_marks mn_page_marks;
mn_page_marks *mn_page_marks_new(void); /* NULL: out of memory */
void mn_page_marks_free(mn_page_marks *marks);
bool mn_page_is_marked(mn_page_marks *marks, uint64_t number);
void mn_page_mark(mn_page_marks *marks, uint64_t number);

/* A tree of a snapshot. */
typedef struct mn_guarded_tree {
    const mn_page_space *space;
    mn_page_marks *marks;
    mn_tree tree;
} mn_guarded_tree;

enum mn_path_end { MN_PATH_KEY, MN_PATH_FIRST, MN_PATH_LAST };
enum { MN_BESIDE_LEFT = 1, MN_BESIDE_RIGHT = 2, MN_OLD_VALUE = 4 };

/* Look at all pages from the root to where `key` is or would be (end MN_PATH_KEY), or to the first or last leaf.
 * also: MN_BESIDE_LEFT, _RIGHT: the pages left or right of the path at each level, and the way from there to the
 * nearest leaf; MN_OLD_VALUE: the first page of the value that the key has. false: a page is damaged. */
bool mn_path_is_sound(const mn_guarded_tree *guarded, mn_page_key key, enum mn_path_end end, unsigned also);

/* Look at all pages of a tree: one of few pages, one key's values, or one that is dropped. with_values: at the first
 * page of each long value, and at the trees of values, too. */
bool mn_tree_is_sound(const mn_guarded_tree *guarded, bool with_values);

/* The data of a key's node in a tree of one leaf, sound; NULL: not there. */
const unsigned char *mn_leaf_find(const unsigned char *page, const char *name, uint32_t *size, uint16_t *flags);

/* Is `key`, as LMDB gave it, the first (last: `last`) of its page in the map? true too where that cannot be told. */
bool mn_key_is_at_edge(const mn_page_space *space, const void *key, bool last);

#endif
