/* bert.h -- the BERT family of Transformer encoders: weights from model.safetensors, the forward pass, pooling.
 *
 * Devlin et al. 2018, "BERT"; sentence embeddings after Reimers, Gurevych 2019, "Sentence-BERT". Inference only. */
#ifndef MN_ENCODER_BERT_H
#define MN_ENCODER_BERT_H

#include "common/cpu.h"
#include "encoder/encoder.h"
#include "encoder/model_config.h"

typedef struct mn_bert mn_bert;

/* Load the weights of folder/model.safetensors in the shapes that `config` gives. reference: plain C throughout;
 * else oneDNN's products and the vector kernels of at most `level`. workers: how many threads will call mn_bert_encode at once. ERR_MODEL names the tensor that is missing, of
 * the wrong shape, or not finite. */
mneme_status mn_bert_open(const char *folder, const mn_model_config *config, bool reference, mn_cpu_level level,
                          unsigned workers, mn_bert **out, mneme_error *error);
void mn_bert_close(mn_bert *bert);

/* See mn_encoder_operations.encode. */
mneme_status mn_bert_encode(mn_bert *bert, const mn_token_batch *batch, unsigned worker, float *vectors,
                            mneme_error *error);

uint64_t mn_bert_parameters(const mn_bert *bert);
const char *mn_bert_kernels(const mn_bert *bert); /* "oneDNN + avx512"; static */
/* Hash of the weights: name, shape, type and a sample of the bytes of every tensor. */
uint64_t mn_bert_fingerprint(const mn_bert *bert);

#endif
