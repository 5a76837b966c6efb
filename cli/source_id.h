/* source_id.h -- the name under which a file's records are kept.
 *
 * If the store's folder is called .mneme, a path below the folder that holds it is named from there, whatever folder
 * the command runs in. Any other path is named as it was given, normalized. */
#ifndef MN_CLI_SOURCE_ID_H
#define MN_CLI_SOURCE_ID_H

/* Owned (free). store: the path of the store in use. */
char *cli_source_id(const char *path, const char *store);

#endif
