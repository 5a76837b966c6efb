/* spool.h -- standard input that must be read twice. */
#ifndef MN_CLI_SPOOL_H
#define MN_CLI_SPOOL_H

#include <stdio.h>

/* All of standard input in a file without a name, at its beginning (fclose it); NULL after saying why on stderr. */
FILE *cli_spool_stdin(void);

#endif
