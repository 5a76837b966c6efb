/* encoder_run.h -- what the training of an encoder works on: the model, its texts, what the teacher says of them, and
 * the units of training, a text each or a question with its passages. Of encoder_training.c alone. */
#ifndef MN_ENCODER_TRAIN_ENCODER_RUN_H
#define MN_ENCODER_TRAIN_ENCODER_RUN_H

#include "encoder/train/own_vocabulary.h"
#include "encoder/train/train_loop.h"
#include "encoder/train/trainable.h"
#include "encoder/train/training_texts.h"

#include <math.h>

/* A shard's part of a batch. */
typedef struct mn_encoder_part {
    mn_token_batch sequences;
    size_t n;
    float *vectors;
    void *saved;
} mn_encoder_part;

/* A question about a held-out passage. */
typedef struct mn_encoder_question {
    size_t question, passage; /* texts */
} mn_encoder_question;

/* As mneme_train_encoder_result has them; NAN: not measured. */
typedef struct mn_encoder_measure {
    double loss, agreement, found_1, found_10;
} mn_encoder_measure;
#define MN_ENCODER_UNMEASURED ((mn_encoder_measure){NAN, NAN, NAN, NAN})

typedef struct mn_encoder_run {
    mn_encoder *teacher; /* borrowed; NULL = none */
    const mneme_train_encoder_options *options;
    mneme_train_options train;
    mn_trainable *model;
    mn_tokenizer *own_tokenizer;     /* without a teacher */
    mn_own_vocabulary vocabulary;    /* where one is asked for: then the teacher's ids are others than the model's */
    const mn_tokenizer *tokenizer;   /* the model's */
    mn_training_texts texts;         /* as the model's ids */
    mn_training_texts teacher_texts; /* with a vocabulary of its own: the same texts as the teacher's ids */
    const mn_training_texts *asked;  /* what the teacher is asked: the one or the other */
    uint64_t *text_hashes;           /* of each text's ids as asked: equal texts are no negatives of each other */
    float *teacher_vectors;          /* (texts.n, dimension), at first as the teacher has them; NULL without those */
    double teacher_seconds;
    size_t n_documents;
    /* unit i is the texts texts_of[units[i] .. units[i+1]); those to train on come first, then those held out */
    size_t *units, *texts_of;
    size_t n_trained, n_held_out;
    mn_encoder_question *questions;
    size_t n_questions;
    size_t *passages; /* that questions are asked of: the held-out ones, then others */
    size_t n_passages;
    size_t *anchor_passages; /* (n_anchor_passages): all passages that are trained on */
    size_t *anchors;         /* (n_anchors): those of the batch */
    size_t n_anchor_passages, n_anchors;
    mn_encoder_measure before, best; /* of the teacher, or before training; when the loss was least */
    /* the present batch */
    mn_batches batches;
    uint32_t n_shards;
    mn_encoder_part *parts; /* n_shards */
    mn_room room;
    size_t *batch; /* n_batch texts: first those that are first in their units, then the second, then others */
    size_t n_batch, n_units;
    float *vectors, *gradients; /* (n_batch, dimension) */
    double loss;
    mn_shard *loss_shard;
} mn_encoder_run;

/* Is a document (a pair) held out? By its number alone: adding documents leaves what is held out as it was. */
bool mn_encoder_run_holds_out(const mn_encoder_run *run, uint64_t number);
/* Is options->texts[i] the first of its document? */
bool mn_encoder_begins_document(const mneme_train_encoder_options *options, size_t i);

/* ERR_USAGE: options that make no sense. */
mneme_status mn_encoder_run_check(const mn_encoder_run *run, mneme_error *error);
/* The model and the tokenizer; a vocabulary of its own is learnt here. */
mneme_status mn_encoder_run_open(mn_encoder_run *run, mneme_error *error);
/* Texts, units, questions (encoder_units.c). ERR_USAGE: too few. */
mneme_status mn_encoder_run_texts(mn_encoder_run *run, mneme_error *error);
/* DISTILL: the teacher's vectors, as long as it has them, kept in folder/teacher.safetensors for a run that goes on. */
mneme_status mn_encoder_run_ask_teacher(mn_encoder_run *run, const char *folder, mneme_error *error);
/* Bring the teacher's vectors to the model's dimension, and fill a new static table (encoder_begin.c). After
 * mn_encoder_run_ask_teacher. */
mneme_status mn_encoder_run_meet_teacher(mn_encoder_run *run, mneme_error *error);
/* What makes the run what it is, for train_loop.h; release with free(). NULL: out of memory. */
char *mn_encoder_run_describe(const mn_encoder_run *run);
void mn_encoder_run_free(mn_encoder_run *run);

/* out: for the texts of n units, places in texts_of, in a batch's order: first texts, second ones, others. */
void mn_encoder_run_order(const mn_encoder_run *run, const size_t *units, size_t n, size_t *out);
/* The anchors of a batch. */
void mn_encoder_run_choose_anchors(mn_encoder_run *run, uint64_t number);
/* The loss of some units' vectors (n_texts, dimension), in a batch's order, and its gradient. */
mneme_status mn_encoder_run_loss(const mn_encoder_run *run, const size_t *texts, size_t n_texts, size_t n_units,
                                 const float *vectors, mn_shard *shard, float *gradients, double *value,
                                 mneme_error *error);

#endif
