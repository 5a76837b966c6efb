/* encoder.h -- what every kind of encoder (Transformer, LSTM, GRU, static table) offers to the rest of mneme.
 *
 * A kind fills in the operations below; mn_encoder_open looks at the model folder's config.json and picks the kind.
 * An encoder is read-only after opening: any number of threads may use one. */
#ifndef MN_ENCODER_ENCODER_H
#define MN_ENCODER_ENCODER_H

#include "common/crew.h"
#include "common/threads.h"
#include "encoder/tokenizer.h"

typedef struct mn_encoder mn_encoder;

typedef struct mn_encoder_options {
    const char *folder;    /* a Hugging Face model folder */
    const char *precision; /* "auto", "f32", "bf16", "int16", "int8" */
    const char *kernels;   /* "auto"; "amx", "avx512", "avx2": at most these instructions; "reference": plain C */
    unsigned threads;      /* 0 = one per core */
    const char *cache;     /* folder for packed files (packed_file.h); NULL or "" = none */
} mn_encoder_options;

/* Sequences of token ids laid end to end, without padding: sequence i is ids[offsets[i] .. offsets[i+1]). Special
 * tokens are already there; each length is operations.n_special..info.max_tokens. */
typedef struct mn_token_batch {
    const uint32_t *ids;
    const uint32_t *offsets; /* n + 1 */
    size_t n;
} mn_token_batch;

/* What one kind of encoder implements. */
typedef struct mn_encoder_operations {
    /* vectors: batch->n rows of info.dimension floats, unit length. worker: 0..workers-1, no two calls at once with
     * the same one. crew: NULL, or threads to share the work with, where shares_packs; then no other call is made
     * meanwhile. */
    mneme_status (*encode)(mn_encoder *encoder, const mn_token_batch *batch, unsigned worker, mn_crew *crew,
                           float *vectors, mneme_error *error);
    void (*destroy)(mn_encoder *encoder); /* copes with every stage of a half-built one */
    uint32_t n_special;                   /* 2: texts go in as [CLS] text [SEP]; 0: as they are */
    bool shares_packs;                    /* several threads can work on one pack */
    uint32_t pack_tokens_least;           /* of a call's sequences, so many tokens go to a thread at a time, */
    uint32_t pack_tokens_most; /* from enough for its products to run at full speed to what it has room for */
} mn_encoder_operations;

mneme_status mn_encoder_open(const mn_encoder_options *options, mn_encoder **out, mneme_error *error);
void mn_encoder_close(mn_encoder *encoder);

const mneme_encoder_info *mn_encoder_info(const mn_encoder *encoder); /* borrowed */
const mn_tokenizer *mn_encoder_tokenizer(const mn_encoder *encoder);  /* borrowed */
mn_threads *mn_encoder_threads(const mn_encoder *encoder); /* borrowed; not while encoding from this thread */
/* 2: sequences are [CLS] ... [SEP]; 0: as they are. */
uint32_t mn_encoder_special_tokens(const mn_encoder *encoder);
/* Tokens that a prompt and the special tokens take from the window for this kind of text. */
uint32_t mn_encoder_overhead(const mn_encoder *encoder, mneme_text_kind kind);

/* Encode n texts, in parallel. texts, sizes: n each. vectors: n x dimension, caller's. progress: NULL = none, counts
 * texts. Results do not depend on the number of threads or on what else is in the call. */
mneme_status mn_encoder_encode(mn_encoder *encoder, const char *const *texts, const size_t *sizes, size_t n,
                               mneme_text_kind kind, float *vectors, mneme_progress progress, void *context,
                               mneme_error *error);

/* The same for one text. crew: NULL, or one that the caller has begun; it is used if it has as many threads as the
 * encoder, which takes one of its own else. */
mneme_status mn_encoder_encode_one(mn_encoder *encoder, const char *text, mneme_text_kind kind, mn_crew *crew,
                                   float *vector, mneme_error *error);

/* The same behind a prompt of the caller's own: each vector is that of prompt and text written as one. "" = none.
 * ERR_USAGE: the model does not pool its prompts, which is not supported. */
mneme_status mn_encoder_encode_prompted(mn_encoder *encoder, const char *prompt, const char *const *texts,
                                        const size_t *sizes, size_t n, float *vectors, mneme_progress progress,
                                        void *context, mneme_error *error);
/* What mn_encoder_encode puts before texts of this kind; "" = nothing. Borrowed until close. */
const char *mn_encoder_prompt_of(const mn_encoder *encoder, mneme_text_kind kind);
/* The model's prompts by number: the name, and the text in *text; NULL: there are no more. Borrowed until close. */
const char *mn_encoder_named_prompt(const mn_encoder *encoder, size_t index, const char **text);

/* The same for sequences of ids that are ready: special tokens included, no prompt. progress counts sequences
 * ("tokens" is its unit, as one token each is what distillation sends). */
mneme_status mn_encoder_encode_ids(mn_encoder *encoder, const mn_token_batch *batch, float *vectors,
                                   mneme_progress progress, void *context, mneme_error *error);

#endif
