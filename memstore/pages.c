/* pages.c -- what a page of an LMDB file must be like before LMDB may see it. Every number is checked before it is
 * used; a page that passes can be walked without further checks. */
#include "memstore/pages.h"

#include <string.h>

/* Flags of trees, as in lmdb.h: this file reads pages and needs nothing else from there. */
enum { TREE_DUPLICATES = 0x04, TREE_NUMBERS = 0x08, TREE_FIXED_DUPLICATES = 0x10, TREE_NUMBER_DUPLICATES = 0x20 };
enum { NODE_HEADER = 8, KEY_LIMIT = 511 };

uint16_t mn_get_u16(const unsigned char *bytes)
{
    uint16_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

uint32_t mn_get_u32(const unsigned char *bytes)
{
    uint32_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

uint64_t mn_get_u64(const unsigned char *bytes)
{
    uint64_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

/* ---- trees ---- */

mn_tree mn_tree_read(const unsigned char *bytes)
{
    return (mn_tree){.pad = mn_get_u32(bytes),
                     .flags = mn_get_u16(bytes + 4),
                     .depth = mn_get_u16(bytes + 6),
                     .n_branch = mn_get_u64(bytes + 8),
                     .n_leaf = mn_get_u64(bytes + 16),
                     .n_overflow = mn_get_u64(bytes + 24),
                     .n_entries = mn_get_u64(bytes + 32),
                     .root = mn_get_u64(bytes + 40)};
}

static bool is_tree_page(const mn_page_space *space, uint64_t number)
{
    return number >= 2 && number < space->n_pages;
}

const char *mn_tree_problem(const mn_page_space *space, const mn_tree *tree, uint16_t flags)
{
    if (tree->flags != flags) return "has other flags than it was made with";
    if (tree->root == MN_NO_PAGE)
        return tree->depth == 0 && tree->n_entries == 0 ? NULL : "counts entries, but has no root page";
    if (!is_tree_page(space, tree->root)) return "has a root page outside the file";
    if (tree->depth == 0 || tree->depth > MN_TREE_DEPTH_MAX) return "has an impossible depth";
    return NULL;
}

uint16_t mn_duplicates_flags(const mn_tree *tree)
{
    unsigned fixed = tree->flags & TREE_FIXED_DUPLICATES ? TREE_FIXED_DUPLICATES : 0;
    unsigned numbers = tree->flags & TREE_NUMBER_DUPLICATES ? TREE_NUMBERS : 0;
    return (uint16_t)(fixed | numbers);
}

/* ---- nodes ---- */

static const unsigned char *node_bytes(const unsigned char *page, unsigned i)
{
    return page + mn_get_u16(page + MN_PAGE_HEADER + 2 * i);
}

mn_page_node mn_page_node_at(const unsigned char *page, unsigned i)
{
    const unsigned char *node = node_bytes(page, i);
    mn_page_node out = {.flags = mn_get_u16(node + 4),
                        .key = {.bytes = node + NODE_HEADER, .size = mn_get_u16(node + 6)}};
    if (mn_page_flags(page) & MN_PAGE_BRANCH) {
        out.child = mn_get_u32(node) | (uint64_t)out.flags << 32;
        out.flags = 0;
        return out;
    }
    out.data_size = mn_get_u32(node);
    out.data = out.key.bytes + out.key.size;
    if (out.flags & MN_NODE_BIG) out.child = mn_get_u64(out.data);
    return out;
}

int mn_key_order(mn_page_key a, mn_page_key b, bool numbers)
{
    if (numbers && a.size == b.size && (a.size == 4 || a.size == 8)) {
        uint64_t left = a.size == 4 ? mn_get_u32(a.bytes) : mn_get_u64(a.bytes);
        uint64_t right = b.size == 4 ? mn_get_u32(b.bytes) : mn_get_u64(b.bytes);
        return left < right ? -1 : left > right;
    }
    int order = memcmp(a.bytes, b.bytes, a.size < b.size ? a.size : b.size);
    if (order) return order;
    return a.size < b.size ? -1 : a.size > b.size;
}

/* Many values of a key that lie in the node itself, as a page within the page. */
static const char *duplicates_problem(const mn_page_space *space, const mn_tree *tree, const mn_page_node *node)
{
    if (node->flags & MN_NODE_TREE) {
        if (node->data_size != MN_TREE_BYTES) return "has a tree of the wrong size";
        mn_tree below = mn_tree_read(node->data);
        if (below.root == MN_NO_PAGE) return "has an empty tree of values";
        if ((tree->flags & TREE_FIXED_DUPLICATES) && below.pad != sizeof(uint32_t)) return "has values of a wrong size";
        return mn_tree_problem(space, &below, mn_duplicates_flags(tree));
    }
    const unsigned char *page = node->data;
    if (node->data_size < MN_PAGE_HEADER) return "has values without a header";
    unsigned lower = mn_get_u16(page + 12), upper = mn_get_u16(page + 14), size = mn_get_u16(page + 8);
    if (!(tree->flags & TREE_FIXED_DUPLICATES)) return "has values of a kind that mneme does not use";
    if ((mn_page_flags(page) & ~0x10u) != (MN_PAGE_LEAF | MN_PAGE_FIXED | MN_PAGE_SUB))
        return "has values with wrong flags";
    if (size != sizeof(uint32_t)) return "has values of a wrong size";
    if (lower < MN_PAGE_HEADER + 2 || lower % 2 || upper > node->data_size || lower > upper)
        return "has values out of bounds";
    unsigned n = (lower - MN_PAGE_HEADER) / 2;
    if (upper != node->data_size - n * (size - 2)) return "has values out of bounds";
    for (unsigned i = 1; i < n; i++)
        if (mn_get_u32(page + MN_PAGE_HEADER + 4 * (i - 1)) >= mn_get_u32(page + MN_PAGE_HEADER + 4 * i))
            return "has values out of order";
    return NULL;
}

static const char *leaf_node_problem(const mn_page_space *space, const mn_tree *tree, const mn_page_node *node)
{
    if (node->flags & MN_NODE_DUPLICATES) {
        bool allowed = (tree->flags & TREE_DUPLICATES) && !(node->flags & MN_NODE_BIG);
        return allowed ? duplicates_problem(space, tree, node) : "has a node with wrong flags";
    }
    if (node->flags & MN_NODE_TREE) return node->data_size == MN_TREE_BYTES ? NULL : "has a tree of the wrong size";
    if (!(node->flags & MN_NODE_BIG)) return NULL;
    uint64_t n = ((uint64_t)node->data_size + MN_PAGE_HEADER + space->page_size - 1) / space->page_size;
    if (!is_tree_page(space, node->child) || n > space->n_pages - node->child) return "has a value outside the file";
    return NULL;
}

/* Where node i ends, counted from the page's start; 0: it does not lie within the page. */
static size_t node_end(const mn_page_space *space, const unsigned char *page, unsigned i, bool branch)
{
    size_t place = mn_get_u16(page + MN_PAGE_HEADER + 2 * i), upper = mn_get_u16(page + 14);
    if (place < upper || place % 2 || place + NODE_HEADER > space->page_size) return 0;
    const unsigned char *node = page + place;
    size_t key = mn_get_u16(node + 6), end = place + NODE_HEADER + key;
    if (key > KEY_LIMIT) return 0;
    if (!branch) {
        if (mn_get_u16(node + 4) & ~(MN_NODE_BIG | MN_NODE_TREE | MN_NODE_DUPLICATES)) return 0;
        end += mn_get_u16(node + 4) & MN_NODE_BIG ? sizeof(uint64_t) : mn_get_u32(node);
    }
    return end <= space->page_size ? (end + 1) / 2 * 2 : 0;
}

/* ---- pages ---- */

/* A leaf of numbers without data. */
static const char *fixed_leaf_problem(const mn_page_space *space, const unsigned char *page)
{
    unsigned lower = mn_get_u16(page + 12), upper = mn_get_u16(page + 14), n = mn_page_nodes(page);
    if (mn_get_u16(page + 8) != sizeof(uint32_t)) return "has keys of a wrong size";
    if (upper != space->page_size - 2 * n || lower > upper) return "has bounds that cannot be";
    for (unsigned i = 1; i < n; i++)
        if (mn_get_u32(page + MN_PAGE_HEADER + 4 * (i - 1)) >= mn_get_u32(page + MN_PAGE_HEADER + 4 * i))
            return "has keys out of order";
    return NULL;
}

static const char *nodes_problem(const mn_page_space *space, const unsigned char *page, const mn_tree *tree,
                                 bool branch)
{
    unsigned n = mn_page_nodes(page);
    bool numbers = (tree->flags & TREE_NUMBERS) != 0;
    size_t used = 0;
    mn_page_key before = {0};
    for (unsigned i = 0; i < n; i++) {
        size_t end = node_end(space, page, i, branch);
        if (end == 0) return "has a node outside the page";
        mn_page_node node = mn_page_node_at(page, i);
        used += end - (size_t)(node.key.bytes - NODE_HEADER - page);
        if (branch && !is_tree_page(space, node.child)) return "leads to a page outside the file";
        if (node.key.size == 0 && !(branch && i == 0)) return "has a node without a key";
        if (numbers && node.key.size != 4 && node.key.size != 8 && !(branch && i == 0))
            return "has a key of a wrong size";
        if (before.bytes && mn_key_order(before, node.key, numbers) >= 0) return "has keys out of order";
        const char *problem = branch ? NULL : leaf_node_problem(space, tree, &node);
        if (problem) return problem;
        if (!branch || i > 0) before = node.key;
    }
    /* LMDB keeps nodes packed at the end; when they overlap, this does not come out even. */
    return used == space->page_size - mn_get_u16(page + 14) ? NULL : "has nodes that overlap";
}

const char *mn_page_problem(const mn_page_space *space, uint64_t number, const mn_tree *tree, unsigned level)
{
    if (!is_tree_page(space, number)) return "is outside the file";
    const unsigned char *page = mn_page_at(space, number);
    unsigned lower = mn_get_u16(page + 12), upper = mn_get_u16(page + 14);
    bool branch = level < tree->depth,
         fixed = !branch && (tree->flags & (TREE_DUPLICATES | TREE_FIXED_DUPLICATES)) == TREE_FIXED_DUPLICATES;
    unsigned flags = branch ? MN_PAGE_BRANCH : MN_PAGE_LEAF | (fixed ? MN_PAGE_FIXED : 0u);
    if (mn_get_u64(page) != number) return "has the number of another page";
    if (mn_page_flags(page) != flags) return branch ? "is not a branch page" : "is not a leaf page";
    if (lower < MN_PAGE_HEADER || lower % 2 || lower > upper || upper > space->page_size)
        return "has bounds that cannot be";
    unsigned least =
        branch && !(tree->flags & TREE_NUMBERS) ? 2 : 1; /* LMDB leaves thin branches in its list of free pages */
    if (mn_page_nodes(page) < least) return "has too few nodes";
    return fixed ? fixed_leaf_problem(space, page) : nodes_problem(space, page, tree, branch);
}

const char *mn_overflow_problem(const mn_page_space *space, uint64_t number, uint32_t size, uint64_t *n_pages)
{
    *n_pages = 0;
    if (!is_tree_page(space, number)) return "is outside the file";
    const unsigned char *page = mn_page_at(space, number);
    uint64_t least = ((uint64_t)size + MN_PAGE_HEADER + space->page_size - 1) / space->page_size,
             n = mn_get_u32(page + 12);
    if (mn_get_u64(page) != number) return "has the number of another page";
    if (mn_page_flags(page) != MN_PAGE_OVERFLOW) return "is not the first page of a value";
    if (n < least || n > space->n_pages - number) return "has another number of pages than its value";
    *n_pages = n;
    return NULL;
}
