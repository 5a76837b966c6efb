/* nearest.h -- the best rows through an index: its candidates, re-scored exactly, and an exact scan of what it does not
 * cover.
 *
 * Scores are those of the exact scan, bit for bit; which rows come is the same up to the index's recall. */
#ifndef MN_RETRIEVER_NEAREST_H
#define MN_RETRIEVER_NEAREST_H

#include "retriever/index_file.h"
#include "retriever/row_ranges.h"
#include "retriever/scan.h"

/* Put the best rows into `top` (from mn_top_init; left unsorted).
 *
 * index   of the rows' namespace and numbering, and not newer than the read.
 * ranges  NULL = all rows; else only these.
 * filter  rows that it does not pass are left out; check its status afterwards.
 * used    false: the exact scan is the better way here (so narrow a filter, so many rows wanted), and `top` is empty.
 *
 * Single-threaded up to the scan of newer rows. ERR_MEMORY, ERR_INTERNAL. */
mneme_status mn_nearest_top(mn_index *index, const mn_scan *scan, const mn_row_ranges *ranges, mn_row_filter *filter,
                            mn_arena *arena, mn_top *top, bool *used, mneme_error *error);

#endif
