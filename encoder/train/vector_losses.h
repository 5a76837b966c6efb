/* vector_losses.h -- losses of unit vectors, and their gradients: what an encoder is trained by.
 *
 * All vectors are rows of d floats of unit length, so products are cosines. Gradients are written, not added; they are
 * with respect to the vectors as they are, and mn_unit_backward takes them through the scaling to unit length. */
#ifndef MN_ENCODER_TRAIN_VECTOR_LOSSES_H
#define MN_ENCODER_TRAIN_VECTOR_LOSSES_H

#include "encoder/train/shard.h"

/* Distillation: a student's vectors s of n texts come near a teacher's t, and so do the similarities within the batch:
 *
 *     cosine_weight / n sum_i (1 - s_i . t_i)
 *     + similarity_weight / n sum_i KL( softmax_j!=i (scale t_i . t_j)  ||  softmax_j!=i (scale s_i . s_j) )
 *
 * The first after Reimers, Gurevych 2020, the second after Tejankar et al. 2021, "ISD". ds (n, d). n >= 1; with one
 * text alone the second part is 0. room and scratch lend memory. ERR_MEMORY. */
typedef struct mn_distillation {
    const float *student, *teacher; /* (n, d) */
    uint32_t n, d;
    float cosine_weight, similarity_weight, scale;
} mn_distillation;
mneme_status mn_distillation_loss(const mn_distillation *loss, mn_shard *shard, float *d_student, double *value,
                                  mneme_error *error);

/* Ranking: how a student's vectors s of n texts rank m anchors a, vectors of the teacher's, is to be as the teacher's
 * vectors t of them rank these:
 *
 *     weight / n sum_i KL( softmax_j (scale t_i . a_j)  ||  softmax_j (scale s_i . a_j) )
 *
 * (Fang et al. 2021, "SEED", with its queue of teacher's vectors.) text_ids (n), anchor_ids (m): an anchor that is the
 * text itself counts nothing. Adds to ds (n, d) and to *value. ERR_MEMORY. */
typedef struct mn_ranking {
    const float *student, *teacher, *anchors; /* (n, d), (n, d), (m, d) */
    uint32_t n, m, d;
    float weight, scale;
    const uint64_t *text_ids, *anchor_ids;
} mn_ranking;
mneme_status mn_ranking_loss(const mn_ranking *loss, mn_shard *shard, float *d_student, double *value,
                             mneme_error *error);

/* Contrastive, with the other passages of the batch as negatives (Henderson et al. 2017; van den Oord et al. 2018):
 *
 *     1/n sum_i -log softmax_j (scale q_i . p_j) [i]       passages 0..n-1 are the positives, n..m-1 negatives given
 *
 * passage_ids (m): NULL, or what each passage is: one that is the same as the positive of i, or that i forbids by being
 * its own text (query_ids (n), NULL: none), is no negative of it. dq (n, d), dp (m, d). ERR_MEMORY. */
typedef struct mn_contrast {
    const float *queries, *passages;
    uint32_t n, m, d;
    float scale;
    const uint64_t *query_ids, *passage_ids;
} mn_contrast;
mneme_status mn_contrastive_loss(const mn_contrast *loss, mn_shard *shard, float *d_queries, float *d_passages,
                                 double *value, mneme_error *error);

/* a . b, summed in sixteen strands. */
float mn_dot(const float *a, const float *b, size_t n);

/* v (n, d) = u / |u| for each row; lengths (n) = |u|. A row of zeros becomes a vector along the first axis, with length
 * 0, and gets no gradient. v may be u. */
void mn_unit_forward(const float *u, uint32_t n, uint32_t d, float *v, float *lengths);
/* du = (dv - v (v . dv)) / |u|; du may be dv. */
void mn_unit_backward(const float *v, const float *lengths, const float *dv, uint32_t n, uint32_t d, float *du);

#endif
