/* spool.c -- standard input that must be read twice. */
#include "cli/spool.h"

#include "cli/output.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

FILE *cli_spool_stdin(void)
{
    char piece[65536];
    ssize_t size = 0;
    FILE *spool = tmpfile();
    bool fine = spool != NULL;
    while (fine && (size = read(STDIN_FILENO, piece, sizeof piece)) > 0)
        fine = fwrite(piece, 1, (size_t)size, spool) == (size_t)size;
    fine = fine && size == 0 && fflush(spool) == 0;
    if (fine) return spool;
    cli_complain("cannot keep standard input for --strict: %s", strerror(errno));
    if (spool) fclose(spool);
    return NULL;
}
