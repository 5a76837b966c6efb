/* stop.h -- Ctrl-C: the first one asks the running work to finish cleanly, the second ends the program at once. */
#ifndef MN_CLI_STOP_H
#define MN_CLI_STOP_H

#include <stdbool.h>

/* From now on SIGINT and SIGTERM are noted, each once; a second one has its ordinary effect. */
void cli_stop_prepare(void);
/* Has one come? Any thread. */
bool cli_stop_asked(void);
/* CLI_EXIT_SIGNAL + its number; 0 when none came. */
int cli_stop_code(void);

#endif
