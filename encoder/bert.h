/* bert.h -- the BERT family of Transformer encoders: weights from model.safetensors, the forward pass, pooling.
 *
 * Devlin et al. 2018, "BERT"; sentence embeddings after Reimers, Gurevych 2019, "Sentence-BERT". Inference only. */
#ifndef MN_ENCODER_BERT_H
#define MN_ENCODER_BERT_H

#include "common/crew.h"
#include "encoder/encoder.h"
#include "encoder/linear.h"
#include "encoder/model_config.h"

typedef struct mn_bert mn_bert;

/* Load the weights of folder/model.safetensors in the shapes that `config` gives, packed for `arithmetic`. packed:
 * NULL, or the image that an earlier call made of the same weights for the same arithmetic (mn_bert_image), 64-byte
 * aligned, borrowed until close; ERR_DAMAGED when its size is not what is needed. workers: how many threads will call
 * mn_bert_encode at once. ERR_MODEL names the tensor that is missing, of the wrong shape, or not finite. */
mneme_status mn_bert_open(const char *folder, const mn_model_config *config, const mn_arithmetic *arithmetic,
                          const void *packed, size_t packed_size, unsigned workers, mn_bert **out, mneme_error *error);
void mn_bert_close(mn_bert *bert);

/* See mn_encoder_operations.encode. crew: NULL, or between its begin and end, at most as many as `workers`; then worker
 * is 0, and no other thread encodes meanwhile. */
mneme_status mn_bert_encode(mn_bert *bert, const mn_token_batch *batch, unsigned worker, mn_crew *crew, float *vectors,
                            mneme_error *error);

uint64_t mn_bert_parameters(const mn_bert *bert);
/* The packed weights; borrowed until close. */
const void *mn_bert_image(const mn_bert *bert, size_t *size);
/* Hash of the weights: name, shape, type and a sample of the bytes of every tensor. */
uint64_t mn_bert_fingerprint(const mn_bert *bert);

#endif
