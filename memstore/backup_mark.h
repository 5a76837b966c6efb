/* backup_mark.h -- what says of a directory that it is a backup which nobody has gone on with.
 *
 * The copy itself cannot say it: it is page by page the store's. So a file backup.json lies beside it, with the store's
 * created stamp and the generation: as long as data.mdb has both, nothing was added to it. */
#ifndef MN_MEMSTORE_BACKUP_MARK_H
#define MN_MEMSTORE_BACKUP_MARK_H

#include "memstore/data_file.h"

/* After the copy is in its place: an interruption between the two leaves a mark of another generation, which says
 * nothing. */
mneme_status mn_backup_mark_write(const char *directory, int64_t created, uint64_t generation, mneme_error *error);

/* Would replacing the older data file in `directory` lose nothing that the store of `source` ever had? True for a state
 * that its change log shows; where the log does not reach back so far, for a marked backup. Else ERR_USAGE. */
mneme_status mn_backup_may_replace(const char *directory, mn_data_file *old, const mn_read *source, mneme_error *error);

#endif
