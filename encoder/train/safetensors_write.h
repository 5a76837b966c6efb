/* safetensors_write.h -- writing a .safetensors file (format: safetensors.h), whole or not at all. */
#ifndef MN_ENCODER_TRAIN_SAFETENSORS_WRITE_H
#define MN_ENCODER_TRAIN_SAFETENSORS_WRITE_H

#include "encoder/safetensors.h"

/* The fields that are read of each tensor: name, dtype, rank, shape, data, size_bytes. Names are plain ASCII. Written
 * beside `path`, flushed, renamed: afterwards the file is the old or the new one. ERR_IO, ERR_MEMORY. */
mneme_status mn_safetensors_write(const char *path, const mn_tensor *tensors, size_t n, mneme_error *error);

#endif
