/* page_check.c -- walks all trees of a snapshot from their roots: every page sound, its keys between its parent's, no
 * page in two places or both free and in use, and as many pages and entries as each tree counts. */
#include "memstore/page_check.h"

#include "common/error.h"
#include "common/memory.h"

#include <stdio.h>
#include <string.h>

typedef struct walk {
    mn_page_space space;
    uint64_t last_page;
    unsigned char *used; /* one bit for each page up to last_page; NULL: not kept */
    void (*problem)(void *context, const char *line);
    void *context;
    uint64_t n_problems;
    char name[64]; /* of the tree that is walked */
} walk;

/* A tree with what was counted in it. */
typedef struct counted {
    mn_tree tree;
    uint64_t n_branch, n_leaf, n_overflow, n_entries;
} counted;

typedef struct bounds {
    mn_page_key low, high; /* bytes NULL: none */
} bounds;

static void report(walk *w, uint64_t number, const char *what)
{
    char line[200];
    snprintf(line, sizeof line, "page %llu of %s %s", (unsigned long long)number, w->name, what);
    w->n_problems++;
    if (w->problem) w->problem(w->context, line);
}

static void report_tree(walk *w, const char *what)
{
    char line[200];
    snprintf(line, sizeof line, "%s %s", w->name, what);
    w->n_problems++;
    if (w->problem) w->problem(w->context, line);
}

/* Take pages number .. number + n - 1 for the tree; false: one of them is taken. */
static bool take_pages(walk *w, uint64_t number, uint64_t n)
{
    bool fresh = true;
    for (uint64_t i = number; w->used && i < number + n && i <= w->last_page; i++) {
        unsigned char bit = (unsigned char)(1u << (i % 8));
        if (w->used[i / 8] & bit) fresh = false;
        w->used[i / 8] |= bit;
    }
    return fresh;
}

/* ---- trees ---- */

static void walk_page(walk *w, counted *tree, uint64_t number, unsigned level, bounds between);

static void compare_counts(walk *w, const counted *c)
{
    const mn_tree *t = &c->tree;
    if (t->n_branch != c->n_branch || t->n_leaf != c->n_leaf || t->n_overflow != c->n_overflow)
        report_tree(w, "counts other pages than it has");
    if (t->n_entries != c->n_entries) report_tree(w, "counts other entries than it has");
}

static void walk_tree(walk *w, const mn_tree *tree, uint64_t *n_entries)
{
    counted c = {.tree = *tree};
    uint64_t before = w->n_problems;
    if (tree->root != MN_NO_PAGE) walk_page(w, &c, tree->root, 1, (bounds){0});
    if (w->n_problems == before) compare_counts(w, &c);
    *n_entries = c.n_entries;
}

/* How many entries a leaf's node stands for; its value's pages are taken. */
static uint64_t walk_node(walk *w, counted *tree, uint64_t number, const mn_page_node *node)
{
    uint64_t n = 1;
    if (node->flags & MN_NODE_BIG) {
        const char *problem = mn_overflow_problem(&w->space, node->child, node->data_size, &n);
        if (problem)
            report(w, node->child, problem);
        else if (!take_pages(w, node->child, n))
            report(w, node->child, "is in two places");
        tree->n_overflow += n;
        return 1;
    }
    if (!(node->flags & MN_NODE_DUPLICATES)) return 1;
    if (!(node->flags & MN_NODE_TREE)) return mn_page_nodes(node->data);
    mn_tree below = mn_tree_read(node->data);
    const char *problem = mn_tree_problem(&w->space, &below, mn_duplicates_flags(&tree->tree));
    if (problem)
        report(w, number, problem);
    else
        walk_tree(w, &below, &n);
    return n;
}

static void walk_leaf(walk *w, counted *tree, uint64_t number)
{
    const unsigned char *page = mn_page_at(&w->space, number);
    unsigned n = mn_page_nodes(page);
    tree->n_leaf++;
    if (mn_page_flags(page) & MN_PAGE_FIXED) {
        tree->n_entries += n;
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        mn_page_node node = mn_page_node_at(page, i);
        tree->n_entries += walk_node(w, tree, number, &node);
    }
}

static bool is_between(const unsigned char *page, const mn_tree *tree, bounds between)
{
    bool branch = (mn_page_flags(page) & MN_PAGE_BRANCH) != 0, numbers = (tree->flags & MDB_INTEGERKEY) != 0;
    unsigned first = branch ? 1 : 0, n = mn_page_nodes(page);
    if (first >= n) return true;
    mn_page_key low, high;
    if (mn_page_flags(page) & MN_PAGE_FIXED) {
        low = (mn_page_key){.bytes = page + MN_PAGE_HEADER, .size = 4};
        high = (mn_page_key){.bytes = page + MN_PAGE_HEADER + 4 * (size_t)(n - 1), .size = 4};
    } else {
        low = mn_page_node_at(page, first).key;
        high = mn_page_node_at(page, n - 1).key;
    }
    if (between.low.bytes && mn_key_order(low, between.low, numbers) < 0) return false;
    return !between.high.bytes || mn_key_order(high, between.high, numbers) < 0;
}

static void walk_page(walk *w, counted *tree, uint64_t number, unsigned level, bounds between)
{
    const char *problem = mn_page_problem(&w->space, number, &tree->tree, level);
    const unsigned char *page = mn_page_at(&w->space, number);
    if (!problem && !is_between(page, &tree->tree, between)) problem = "has keys that belong to another page";
    if (!problem && !take_pages(w, number, 1)) problem = "is in two places";
    if (problem) {
        report(w, number, problem);
        return;
    }
    if (level == tree->tree.depth) {
        walk_leaf(w, tree, number);
        return;
    }
    tree->n_branch++;
    unsigned n = mn_page_nodes(page);
    for (unsigned i = 0; i < n; i++) {
        bounds of_child = between;
        mn_page_node node = mn_page_node_at(page, i);
        if (i > 0) of_child.low = node.key;
        if (i + 1 < n) of_child.high = mn_page_node_at(page, i + 1).key;
        walk_page(w, tree, node.child, level + 1, of_child);
    }
}

/* ---- the list of free pages: transaction -> how many, page numbers falling ---- */

static const unsigned char *free_numbers(const mn_page_space *space, const mn_page_node *node)
{
    uint64_t n_pages;
    if (!(node->flags & MN_NODE_BIG)) return node->data;
    if (mn_overflow_problem(space, node->child, node->data_size, &n_pages)) return NULL;
    return mn_page_at(space, node->child) + MN_PAGE_HEADER;
}

static const char *free_node_problem(walk *w, const mn_page_node *node)
{
    const unsigned char *numbers = free_numbers(&w->space, node);
    if (!numbers || node->data_size < 8 || node->data_size % 8 || mn_get_u64(numbers) > node->data_size / 8 - 1)
        return "has a list of free pages that cannot be read";
    uint64_t n = mn_get_u64(numbers), before = UINT64_MAX;
    for (uint64_t i = 1; i <= n; i++) {
        uint64_t number = mn_get_u64(numbers + 8 * i);
        if (number < 2 || number > w->last_page || number >= before) return "lists free pages that cannot be";
        if (!take_pages(w, number, 1)) return "lists a page as free that is in use or listed before";
        before = number;
    }
    return NULL;
}

static void walk_free(walk *w, const mn_tree *tree, uint64_t number, unsigned level)
{
    const unsigned char *page = mn_page_at(&w->space, number);
    for (unsigned i = 0; i < mn_page_nodes(page); i++) {
        mn_page_node node = mn_page_node_at(page, i);
        if (level < tree->depth) {
            walk_free(w, tree, node.child, level + 1);
        } else {
            const char *problem = free_node_problem(w, &node);
            if (problem) report(w, number, problem);
        }
    }
}

/* No bit for each page: then it is not seen when one comes twice. */
static unsigned char *new_used(uint64_t last_page)
{
    return mn_alloc_zeroed(1, (size_t)(last_page / 8 + 1));
}

bool mn_free_list_is_sound(const mn_page_space *space, const mn_tree *tree, uint64_t last_page)
{
    if (tree->root == MN_NO_PAGE) return true;
    walk w = {.space = *space, .last_page = last_page, .used = new_used(last_page)};
    walk_free(&w, tree, tree->root, 1);
    mn_free(w.used);
    return w.n_problems == 0;
}

/* ---- everything ---- */

static void walk_named(walk *w, const mn_tree *main)
{
    const unsigned char *page = mn_page_at(&w->space, main->root);
    for (unsigned i = 0; i < mn_page_nodes(page); i++) {
        mn_page_node node = mn_page_node_at(page, i);
        uint64_t n_entries;
        snprintf(w->name, sizeof w->name, "\"%.*s\"", (int)(node.key.size < 40 ? node.key.size : 40),
                 (const char *)node.key.bytes);
        if (node.flags != MN_NODE_TREE) {
            report_tree(w, "is not a database");
            continue;
        }
        mn_tree tree = mn_tree_read(node.data);
        const char *problem = mn_tree_problem(&w->space, &tree, tree.flags); /* opening it compared the flags */
        if (problem)
            report_tree(w, problem);
        else
            walk_tree(w, &tree, &n_entries);
    }
}

mneme_status mn_pages_check(MDB_txn *txn, void (*problem)(void *context, const char *line), void *context,
                            uint64_t *n_problems, mneme_error *error)
{
    mn_snapshot snapshot;
    *n_problems = 0;
    if (!mn_checked_snapshot(txn, &snapshot)) return MNEME_OK;
    walk w = {.space = snapshot.space, .last_page = snapshot.last_page, .problem = problem, .context = context};
    w.used = new_used(w.last_page);
    if (!w.used) return mn_fail_memory(error, "page check");
    uint64_t n_entries;
    (void)take_pages(&w, snapshot.main.root, 1);
    walk_named(&w, &snapshot.main);
    snprintf(w.name, sizeof w.name, "the list of free pages");
    const char *wrong = mn_tree_problem(&w.space, &snapshot.free, MDB_INTEGERKEY);
    uint64_t before = w.n_problems;
    if (wrong)
        report_tree(&w, wrong);
    else
        walk_tree(&w, &snapshot.free, &n_entries);
    if (w.n_problems == before && snapshot.free.root != MN_NO_PAGE)
        walk_free(&w, &snapshot.free, snapshot.free.root, 1);
    mn_free(w.used);
    *n_problems = w.n_problems;
    return MNEME_OK;
}
