/* checkpoint.h -- a training run in one file, training.safetensors, to go on from with the same bits.
 *
 *     parameters.NAME, adam.first.NAME, adam.second.NAME    F32, of every parameter
 *     state.NAME                                            U8: what else the run carries along, as it lies in memory
 *     description                                           U8: the options of the run, a JSON object
 *     checksum                                              U64: XXH3 of all that stands before it
 *
 * Numbers are little-endian, as on every processor that mneme runs on. Written whole or not at all. */
#ifndef MN_ENCODER_TRAIN_CHECKPOINT_H
#define MN_ENCODER_TRAIN_CHECKPOINT_H

#include "encoder/train/adam.h"

#define MN_CHECKPOINT_FILE "training.safetensors"

/* A piece of memory that a run carries from step to step. */
typedef struct mn_train_region {
    const char *name;
    void *data; /* borrowed */
    size_t size;
} mn_train_region;

typedef struct mn_checkpoint {
    const char *folder;
    const char *description; /* a flat JSON object; a run that goes on must have the same */
    mn_adam *adam;           /* with its parameters; borrowed */
    const mn_train_region *regions;
    size_t n_regions;
} mn_checkpoint;

/* The folder must be there. After a failure the checkpoint before is still there. ERR_DISK_FULL, ERR_IO, ERR_MEMORY. */
mneme_status mn_checkpoint_save(const mn_checkpoint *checkpoint, mneme_error *error);

/* Everything is checked before anything is changed; packings are not made anew. ERR_NOT_FOUND: there is no checkpoint;
 * ERR_USAGE: one of other options (the first that differs is named); ERR_MODEL: cut short, damaged or of another shape.
 */
mneme_status mn_checkpoint_load(const mn_checkpoint *checkpoint, mneme_error *error);

/* ERR_NOT_FOUND: there is none. */
mneme_status mn_checkpoint_require(const char *folder, mneme_error *error);

#endif
