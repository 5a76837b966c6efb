/* safetensors.h -- reading tensors from a .safetensors file in place (format:
 * huggingface.co/docs/safetensors: 8 bytes header size, JSON header, data). */
#ifndef MN_ENCODER_SAFETENSORS_H
#define MN_ENCODER_SAFETENSORS_H

#include "common/error.h"

typedef struct mn_safetensors mn_safetensors;

/* SCALED_I8: a matrix of I8 beside which there is a vector NAME.scale of F32, a factor for each row: number = integer x
 * factor. Other I8 is OTHER. */
typedef enum mn_tensor_type {
    MN_TENSOR_F32,
    MN_TENSOR_F16,
    MN_TENSOR_BF16,
    MN_TENSOR_SCALED_I8,
    MN_TENSOR_OTHER
} mn_tensor_type;

enum { MN_TENSOR_RANK_MAX = 8 };

typedef struct mn_tensor {
    const char *name; /* borrowed until close */
    mn_tensor_type type;
    const char *dtype; /* as the file calls it: "F32", "I8", ...; borrowed until close */
    size_t rank;
    uint64_t shape[MN_TENSOR_RANK_MAX];
    uint64_t n_elements;
    const void *scale; /* SCALED_I8: the factors, (shape[0]) F32, as data */
    const void *data;  /* in the map, little-endian, row-major; alignment is the file's */
    size_t size_bytes;
} mn_tensor;

/* Map the file and check its header: sizes, offsets, overlaps of tensors and of the end of the file, shapes against
 * byte counts. ERR_MODEL says what is wrong at which offset. *out: owned, mn_safetensors_close. */
mneme_status mn_safetensors_open(const char *path, mn_safetensors **out, mneme_error *error);
/* The same of bytes in memory, borrowed until close; `name` is for messages. */
mneme_status mn_safetensors_parse(const char *name, const void *data, size_t size, mn_safetensors **out,
                                  mneme_error *error);
/* Several files as one: its tensors are all of theirs. parts: what succeeds takes them over and sets them to NULL.
 * ERR_MODEL: a name is in two of them. path: what the whole is called in messages. */
mneme_status mn_safetensors_join(const char *path, mn_safetensors **parts, size_t n, mn_safetensors **out,
                                 mneme_error *error);
void mn_safetensors_close(mn_safetensors *file);

/* What it was opened as, for messages; borrowed until close. */
const char *mn_safetensors_path(const mn_safetensors *file);

size_t mn_safetensors_count(const mn_safetensors *file);
/* In the order of their names. */
const mn_tensor *mn_safetensors_at(const mn_safetensors *file, size_t index);
/* NULL: no tensor of that name. */
const mn_tensor *mn_safetensors_find(const mn_safetensors *file, const char *name);

/* Write n_elements from element `first` on as f32 into out. The tensor's type must not be OTHER. */
void mn_tensor_to_f32(const mn_tensor *tensor, uint64_t first, size_t n_elements, float *out);

/* Tell the system that the mapped pages are not needed any more (they come back from the file when read). */
void mn_safetensors_release_pages(const mn_safetensors *file);

#endif
