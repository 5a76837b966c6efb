/* export_file.h -- where an export goes: standard output, or a file that is there only once it is whole. */
#ifndef MN_CLI_EXPORT_FILE_H
#define MN_CLI_EXPORT_FILE_H

#include "cli/text.h"

typedef struct cli_export_file {
    const char *path; /* NULL: standard output */
    char *target;     /* where links lead to; owned */
    char *temporary;  /* owned; NULL: written in place (a pipe or a device) */
    int fd;
    cli_text ahead; /* not written yet */
    uint64_t bytes;
} cli_export_file;

/* path: NULL or "-" = standard output. A file of the store itself (folder `store`) is refused. CLI_GO_ON, or an exit
 * code after saying why. */
int cli_export_file_open(cli_export_file *file, const char *path, const char *store);
/* Write what is in file->ahead when there is enough of it, or `all` of it. False: failed, said on stderr; or the reader
 * of standard output has gone away. */
bool cli_export_file_write(cli_export_file *file, bool all);
/* Make the file last and give it its name. False as above. */
bool cli_export_file_commit(cli_export_file *file);
/* Release; without a commit before, nothing is left of the file. */
void cli_export_file_close(cli_export_file *file);

#endif
