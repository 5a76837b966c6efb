/* seen.h -- a set of pairs of strings, kept as 128-bit hashes: 16 to 32 bytes each however long they are.
 *
 * Two pairs fall together by chance with a probability of n * n / 2^129; then a record that has vanished stays. */
#ifndef MN_CLI_SEEN_H
#define MN_CLI_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct cli_seen {
    uint64_t (*slots)[2]; /* open addressing; {0, 0} = free */
    size_t n, capacity;   /* a power of two, at most three quarters full */
} cli_seen;               /* start from {0} */

/* True when the pair was not there before. */
bool cli_seen_add(cli_seen *seen, const char *a, const char *b);
bool cli_seen_has(const cli_seen *seen, const char *a, const char *b);
void cli_seen_free(cli_seen *seen);

#endif
