/* pages.h -- the pages of an LMDB 0.9 file, looked at with suspicion.
 *
 * LMDB trusts its pages: where one is damaged, it can stop the program (an assertion, a wild pointer). So each page is
 * looked at here before LMDB sees it for the first time. What the numbers below mean is in LMDB's mdb.c; the layout is
 * part of data version 1 and does not change within LMDB 0.9.
 *
 *     page     | number 8 | pad 2 | flags 2 | lower 2, upper 2 | places of nodes, 2 each ->  ...free...  <- nodes |
 *              | ...                        | pages 4, for a value over several pages     | the value ...        |
 *     node     | data size 4, or with the flags child's page 6 | flags 2 | key size 2 | key | data, even in all |
 *     tree     | pad 4 | flags 2 | depth 2 | branch, leaf, overflow pages, entries, root: 8 each |
 *
 * Only memstore/ includes this. All functions may be called from any thread; nothing is written. */
#ifndef MN_MEMSTORE_PAGES_H
#define MN_MEMSTORE_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MN_NO_PAGE UINT64_MAX /* the root of an empty tree */

enum {
    MN_PAGE_HEADER = 16,
    MN_TREE_BYTES = 48,
    MN_TREE_DEPTH_MAX = 32, /* LMDB's own limit */
    MN_PAGE_BRANCH = 0x01,
    MN_PAGE_LEAF = 0x02,
    MN_PAGE_OVERFLOW = 0x04,
    MN_PAGE_META = 0x08,
    MN_PAGE_FIXED = 0x20, /* a leaf of keys of one size without data */
    MN_PAGE_SUB = 0x40,
    MN_NODE_BIG = 1,  /* the value lies on pages of its own */
    MN_NODE_TREE = 2, /* the value is a tree */
    MN_NODE_DUPLICATES = 4,
};

/* The file as one snapshot sees it. */
typedef struct mn_page_space {
    const unsigned char *base; /* of page 0, mapped */
    uint32_t page_size;
    uint64_t n_pages; /* that may be touched: within the file and the snapshot */
} mn_page_space;

typedef struct mn_tree {
    uint32_t pad;
    uint16_t flags, depth;
    uint64_t n_branch, n_leaf, n_overflow, n_entries, root;
} mn_tree;

typedef struct mn_page_key {
    const unsigned char *bytes; /* NULL: no bound */
    size_t size;
} mn_page_key;

typedef struct mn_page_node {
    mn_page_key key;
    uint16_t flags;
    uint64_t child; /* of a branch: the page below; of MN_NODE_BIG: the first page of the value */
    uint32_t data_size;
    const unsigned char *data; /* of a leaf */
} mn_page_node;

uint16_t mn_get_u16(const unsigned char *bytes);
uint32_t mn_get_u32(const unsigned char *bytes);
uint64_t mn_get_u64(const unsigned char *bytes);

static inline const unsigned char *mn_page_at(const mn_page_space *space, uint64_t number)
{
    return space->base + number * space->page_size;
}
static inline uint16_t mn_page_flags(const unsigned char *page)
{
    return mn_get_u16(page + 10);
}
static inline unsigned mn_page_nodes(const unsigned char *page)
{
    return (unsigned)(mn_get_u16(page + 12) - MN_PAGE_HEADER) / 2;
}

/* A tree's 48 bytes. */
mn_tree mn_tree_read(const unsigned char *bytes);
/* What is wrong with it; NULL: nothing. `flags`: that it was made with. */
const char *mn_tree_problem(const mn_page_space *space, const mn_tree *tree, uint16_t flags);

/* Node i of a page that mn_page_problem found nothing wrong with; not of a MN_PAGE_FIXED one. */
mn_page_node mn_page_node_at(const unsigned char *page, unsigned i);

/* As LMDB orders keys: by bytes, the shorter first; with MDB_INTEGERKEY (`numbers`): as u32 or u64. */
int mn_key_order(mn_page_key a, mn_page_key b, bool numbers);

/* What is wrong with page `number` of `tree`, as a few static words; NULL: nothing, and then every node, value and
 * child that it names lies within its page or the file, and its keys rise. level: 1 for the root; the leaves have
 * tree->depth. A value's own pages are not read: see mn_overflow_problem. */
const char *mn_page_problem(const mn_page_space *space, uint64_t number, const mn_tree *tree, unsigned level);

/* What is wrong with the first page of a value of `size` bytes; *n_pages: how many it has. */
const char *mn_overflow_problem(const mn_page_space *space, uint64_t number, uint32_t size, uint64_t *n_pages);

/* The tree of many values under one key (MN_NODE_DUPLICATES | MN_NODE_TREE) within a tree. */
uint16_t mn_duplicates_flags(const mn_tree *tree);

#endif
