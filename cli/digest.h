/* digest.h -- the checksums by which a model hub names its files. */
#ifndef MN_CLI_DIGEST_H
#define MN_CLI_DIGEST_H

#include <stdbool.h>
#include <stddef.h>

/* SHA-256 of the content (files in Git LFS), or git's name of a blob: SHA-1 of "blob SIZE", a NUL and the content. */
typedef enum cli_digest { CLI_DIGEST_NONE, CLI_DIGEST_SHA256, CLI_DIGEST_GIT_BLOB } cli_digest;

#define CLI_DIGEST_TEXT 65 /* 64 hexadecimal digits and a NUL */

/* The kind that `text` is: 64 lower-case hexadecimal digits, or 40; else NONE. */
cli_digest cli_digest_kind(const char *text);
const char *cli_digest_name(cli_digest kind); /* "sha256", "git sha1", "size" */

/* The digest of a file into `out`. False: `reason` is one line (the file cannot be read; libcrypto is missing). */
bool cli_digest_file(const char *path, cli_digest kind, char out[CLI_DIGEST_TEXT], char *reason, size_t reason_size);

#endif
