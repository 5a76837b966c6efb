/* compress_model.h -- a smaller copy of a model's folder: weights as bytes, or the small ones as zeros.
 *
 * Bytes: every matrix of 16 rows and more becomes I8 with one scale a row, symmetric (Jacob et al. 2018, "Quantization
 * and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", weights alone); safetensors.h has
 * the layout. A static encoder's table becomes I8 as model2vec reads it, its rows' scales part of the tokens' weights.
 * Zeros: of each matrix of products the largest magnitudes are kept (Han et al. 2015, "Learning both Weights and
 * Connections for Efficient Neural Networks", without training anew); tables stay as they are. */
#ifndef MN_ENCODER_TRAIN_COMPRESS_MODEL_H
#define MN_ENCODER_TRAIN_COMPRESS_MODEL_H

#include "common/error.h"

/* Write folder `to`, whole or not at all, from the model in folder `from`. options: every field set (mneme.h).
 * ERR_USAGE: `to` exists, an option makes no sense, or there is nothing to make smaller; ERR_MODEL: `from` is no model.
 */
mneme_status mn_compress_model(const char *from, const mneme_compress_options *options, const char *to,
                               mneme_error *error);

#endif
