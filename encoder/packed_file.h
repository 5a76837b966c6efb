/* packed_file.h -- what opening a model works out, kept in a file that the next process maps: the tokenizer's tables
 * and the weights as the products want them.
 *
 * A derived file: the model folder holds the truth. It is stamped with what it was made from and for (files,
 * processor's kernel, precision) and with a checksum of all of its bytes; missing, stale, cut short or damaged, it is
 * made anew. */
#ifndef MN_ENCODER_PACKED_FILE_H
#define MN_ENCODER_PACKED_FILE_H

#include "common/file.h"

enum { MN_PACKED_TOKENIZER, MN_PACKED_WEIGHTS, MN_PACKED_PARTS };

typedef struct mn_packed_part {
    const void *data; /* 64-byte aligned */
    size_t size;
} mn_packed_part;

typedef struct mn_packed_file {
    mn_mapping map;
    mn_packed_part parts[MN_PACKED_PARTS]; /* in the map */
} mn_packed_file;

/* A stamp of the files in `folder` that decide what an encoder does, each shard of its weights too: which there are,
 * their size, inode, and times of content and metadata. Two folders or two versions of one never have the same. */
uint64_t mn_packed_stamp(const char *folder);

/* Map the file and read all of it once. Anything but a whole file of this very stamp is ERR_NOT_FOUND or ERR_DAMAGED:
 * the caller makes it anew. *out: mn_packed_close. */
mneme_status mn_packed_open(const char *path, uint64_t stamp, mn_packed_file *out, mneme_error *error);
void mn_packed_close(mn_packed_file *file);

/* Written beside its place and moved there: a reader sees the old file or the new one. Missing directories are made,
 * the last one with mode 0700. */
mneme_status mn_packed_write(const char *path, uint64_t stamp, const mn_packed_part parts[MN_PACKED_PARTS],
                             mneme_error *error);

#endif
