/* adam.h -- Adam with decoupled weight decay: Kingma, Ba 2015; Loshchilov, Hutter 2019 (AdamW, as PyTorch has it).
 *
 * Gradients of shards are summed in their order, then those of further batches may be added, then one step is taken
 * with the gradient cut down to a largest norm (Pascanu, Mikolov, Bengio 2013). Threads take ranges of parameters: the
 * result does not depend on how many there are. Of a sparse parameter only the rows that the step touched change, their
 * moments included ("lazy" Adam, as PyTorch's SparseAdam): a row that no text has costs nothing. */
#ifndef MN_ENCODER_TRAIN_ADAM_H
#define MN_ENCODER_TRAIN_ADAM_H

#include "encoder/train/shard.h"

typedef struct mn_adam_options {
    float beta1, beta2, epsilon, weight_decay;
    float largest_norm; /* of the gradient; 0 = no limit */
} mn_adam_options;
#define MN_ADAM_OPTIONS                                                                                                \
    {                                                                                                                  \
        0.9f, 0.999f, 1e-8f, 0, 0                                                                                      \
    }

typedef struct mn_adam {
    mn_adam_options options;
    mn_parameters *parameters; /* borrowed */
    uint64_t step;             /* taken so far */
    float *first, *second;     /* moments; parameters->size floats each, in the same places */
    float *sums;               /* of gradients, the same; zero but between add and step */
    double *squares;           /* of ranges of the gradient, while its norm is taken */
    uint64_t *touched;         /* one bit for each row of the sparse parameters, in their order */
} mn_adam;

mneme_status mn_adam_new(mn_parameters *parameters, const mn_adam_options *options, mn_adam **out, mneme_error *error);
void mn_adam_free(mn_adam *adam);

/* Add the gradients of n shards, in their order. */
void mn_adam_add(mn_adam *adam, mn_shard *const *shards, size_t n, mn_threads *threads);
/* One step by the sums, times `scale`; they are zero afterwards.
 * norm: of the gradient before it is cut.
 * false: the norm is not finite, and nothing changed but the sums. The packings are not made anew. */
bool mn_adam_step(mn_adam *adam, float learning_rate, float scale, mn_threads *threads, double *norm);

/* The learning rate of step 0, 1, ...: rises in a line for `warm_up` steps, then falls along a cosine to `lowest` times
 * its peak at n_steps (Loshchilov, Hutter 2017). n_steps 0: stays at the peak. */
float mn_learning_rate(float peak, float lowest, uint64_t step, uint64_t warm_up, uint64_t n_steps);

#endif
