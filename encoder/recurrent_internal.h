/* recurrent_internal.h -- an open recurrent encoder, as recurrent_model.c (weights) and recurrent_forward.c share it.
 *
 * E: columns of the token table, H: hidden size, G: gates, W: columns of a layer's states (H x directions), J: columns
 * of what the last product reads (W, or W + E). */
#ifndef MN_ENCODER_RECURRENT_INTERNAL_H
#define MN_ENCODER_RECURRENT_INTERNAL_H

#include "encoder/model_weights.h"
#include "encoder/recurrent_model.h"
#include "encoder/step_plan.h"

enum { MN_DIRECTIONS_MAX = 2 };

/* One direction of one layer. Where both biases only ever stand in one sum they are the input's; the recurrent one is
 * then zeros. */
typedef struct mn_direction {
    mn_linear input;     /* (G H, E or W) */
    mn_linear recurrent; /* (G H, H) */
} mn_direction;

/* What running one direction needs; B: rows of a block. */
typedef struct mn_direction_space {
    float *gates;      /* rows of G H: the input's products of the distinct tokens, or of some steps */
    float *sums;       /* (B, G H): recurrent products */
    float *c;          /* (texts, H) */
    uint32_t *operand; /* (texts, groups of H): the states, as the next product reads them */
    uint32_t *rows;    /* (B, groups of E or W) */
    float *scales, *lows;
} mn_direction_space;

/* One worker's activations. */
typedef struct mn_recurrent_model_space {
    mn_step_plan plan;
    void *block; /* of all that follows */
    size_t size;
    float *tokens;    /* (distinct, E): rows of the table */
    float *states[2]; /* (rows, W): of this layer, and of the one below */
    float *scores;    /* (rows): of pooling */
    float *largest, *sums;
    float *joined;                                    /* (texts, J) */
    mn_direction_space directions[MN_DIRECTIONS_MAX]; /* the second: for a crew alone */
} mn_recurrent_model_space;

struct mn_recurrent_model {
    mn_recurrent_config config;
    mn_arithmetic arithmetic, output_arithmetic;
    const mn_gate_kernels *gates;
    uint32_t unknown;
    mn_safetensors *file;
    const mn_tensor *table;
    mn_direction (*layers)[MN_DIRECTIONS_MAX];
    float *attention; /* (W + 1): w and b */
    mn_linear output;
    float *scales, *lows; /* (step rows at most): the same number in all: of operands (mn_gate_scale) */
    void *owned_image;    /* NULL when the image is the caller's */
    mn_image image;
    mn_recurrent_model_space *spaces;
    unsigned workers;
};

static inline mn_model_weights mn_recurrent_model_weights(const mn_recurrent_model *model)
{
    return (mn_model_weights){.file = model->file, .prefix = ""};
}

static inline uint32_t mn_recurrent_model_joined(const mn_recurrent_config *config)
{
    return mn_recurrent_config_width(config) + (config->join_tokens ? config->embedding : 0);
}

/* Columns that a layer reads. */
static inline uint32_t mn_recurrent_model_inputs(const mn_recurrent_config *config, size_t layer)
{
    return layer == 0 ? config->embedding : mn_recurrent_config_width(config);
}

void mn_recurrent_model_free_space(mn_recurrent_model_space *space);

#endif
