/* trainable.h -- an encoder that can be trained: what every kind (recurrent, Transformer, static) offers to
 * train_encoder.c. */
#ifndef MN_ENCODER_TRAIN_TRAINABLE_H
#define MN_ENCODER_TRAIN_TRAINABLE_H

#include "encoder/encoder.h"
#include "encoder/train/own_vocabulary.h"
#include "encoder/train/recurrent.h"

typedef struct mn_trainable mn_trainable;

typedef struct mn_trainable_operations {
    /* vectors (batch->n, dimension), of unit length, and what backward needs, in the shard's room; batch is borrowed
     * until then. Sequences are as operations.n_special of the encoder that comes out says. */
    mneme_status (*forward)(mn_trainable *trainable, mn_shard *shard, const mn_token_batch *batch, float **vectors,
                            void **saved, mneme_error *error);
    mneme_status (*backward)(mn_trainable *trainable, mn_shard *shard, void *saved, const float *d_vectors,
                             mneme_error *error);
    /* Write what mn_encoder_open reads into a folder that is there. about: an object for config.json's key "mneme". */
    mneme_status (*save)(mn_trainable *trainable, const char *folder, const char *about_json, mneme_error *error);
    void (*destroy)(mn_trainable *trainable); /* copes with every stage */
} mn_trainable_operations;

struct mn_trainable {
    const mn_trainable_operations *operations;
    mn_parameters parameters;
    mn_train_arithmetic arithmetic;
    uint32_t dimension;  /* floats in a vector */
    uint32_t max_tokens; /* special tokens included */
    uint32_t n_special;  /* 2: [CLS] text [SEP]; 0: as they are */
    uint32_t vocabulary;
    char *tokenizer_folder;       /* owned: whose tokenizer files are copied */
    const mn_own_vocabulary *own; /* borrowed: whose tokenizer is written instead; NULL = none */
};

typedef struct mn_trainable_recurrent_options {
    mn_cell cell;
    uint32_t n_hidden, n_layers, dimension;
    bool bidirectional, attentive, join_tokens;
    float dropout;                /* between layers */
    const char *teacher_folder;   /* whose tokenizer it shares, and whose token table it begins with */
    const mn_own_vocabulary *own; /* NULL = none. Else its tokenizer, and the table begins with the mean of the
                                     teacher's rows of each token's pieces; borrowed as long as the encoder */
    uint64_t seed;
    const mn_train_arithmetic *arithmetic; /* copied */
} mn_trainable_recurrent_options;

/* A token table, LSTM or GRU layers, pooling over time, one output layer:
 *
 *     h      = recurrent(e)                             e_t: row of the table
 *     a      = softmax over the text of w . h_t + b     attentive; else 1 / length
 *     joined = [ sum a_t h_t ; sum a_t e_t ]            the second part with join_tokens
 *     vector = (W joined + b) / its length
 *
 * ERR_MODEL: the teacher has no tokenizer or table that can be used. */
mneme_status mn_trainable_recurrent_new(const mn_trainable_recurrent_options *options, mn_trainable **out,
                                        mneme_error *error);
/* One that was saved, to train it on. ERR_MODEL. */
mneme_status mn_trainable_recurrent_open(const char *folder, const mn_train_arithmetic *arithmetic, mn_trainable **out,
                                         mneme_error *error);
void mn_trainable_free(mn_trainable *trainable);

#endif
