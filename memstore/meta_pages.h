/* meta_pages.h -- the two pages at the start of an LMDB file, from which it finds all others. Only memstore/ includes
 * this. */
#ifndef MN_MEMSTORE_META_PAGES_H
#define MN_MEMSTORE_META_PAGES_H

#include "memstore/pages.h"

enum { MN_META_BYTES = 152, MN_FREE_LIST_FLAGS = 0x08 };

typedef struct mn_meta {
    uint32_t page_size;
    uint64_t last_page, txnid;
    mn_tree free, main;
} mn_meta;

/* What LMDB needs of a meta page to read the others; false: it is none, or damaged. */
bool mn_meta_parse(const unsigned char *bytes, mn_meta *out);

typedef struct mn_meta_state {
    bool is_new;       /* there is no store yet */
    int creation_lock; /* start from -1; held until mn_metas_end when a store is to be made */
} mn_meta_state;

/* Before LMDB opens the store in directory `path`: 0, MDB_CORRUPTED for meta pages that it must not see, ENOMEM or an
 * errno. A file that holds less than two meta pages, because the disk was full when the store was made, is emptied, so
 * that it is made again; one who makes a store waits for others who do. What is no LMDB file at all is left to LMDB. */
int mn_metas_look(const char *path, mn_meta_state *state);
/* The same for a data file by its own name, which is there and is only read. */
int mn_metas_look_at_file(const char *file);
void mn_metas_end(mn_meta_state *state);

/* LMDB writes to its lock file through a map, and a full disk would stop the program with SIGBUS: give the file its
 * bytes first. 0, or the errno of a disk that has no room. Not while this process has the store open: closing a file
 * gives up its locks. */
int mn_lock_file_reserve(const char *path);

#endif
