/* static_table.h -- the static encoder: a table with one vector for each token; a text is the mean of its tokens'
 * vectors.
 *
 * Model2Vec (Tulkens, van Dongen 2024, "Model2Vec: Fast State-of-the-Art Static Embeddings") in its folder layout, so
 * that folders of model2vec load here and ours load there:
 *
 *     config.json        model_type "model2vec", hidden_dim; our own key "mneme" says what it was distilled from
 *     model.safetensors  embeddings (rows, dimension): F32, F16, BF16 or I8
 *                        weights (vocabulary): F32 or F64, optional: what each token counts
 *                        mapping (vocabulary): I32 or I64, optional: each token's row, where tokens share rows
 *     tokenizer.json ... WordPiece, read by tokenizer.h
 *
 * No position, no attention, no special tokens; unknown tokens are left out, as model2vec does. Read-only after
 * opening: any number of threads. */
#ifndef MN_ENCODER_STATIC_TABLE_H
#define MN_ENCODER_STATIC_TABLE_H

#include "common/error.h"
#include "encoder/static_kernels.h"

typedef struct mn_static_table mn_static_table;

/* Tokens of one text that are looked at, and so the longest chunk: model2vec's own default. The method has no limit,
 * but a mean over more says less. */
enum { MN_STATIC_MAX_TOKENS = 512 };

/* Does folder/config.json say that this is a static encoder? False as well when it cannot be read: the caller goes on
 * and says why. */
bool mn_static_is(const char *folder);

typedef struct mn_static_options {
    const char *folder;
    uint32_t vocabulary; /* of the tokenizer: every id below it must have a row */
    uint32_t unknown;    /* id of the token for unknown words, left out of every mean */
    mn_cpu_level level;  /* kernels of at most this level; GENERIC: plain C */
} mn_static_options;

/* Map the table. ERR_MODEL names the file and what is missing, of the wrong shape or type, or not finite.
 * *out: owned, mn_static_table_close. */
mneme_status mn_static_table_open(const mn_static_options *options, mn_static_table **out, mneme_error *error);
void mn_static_table_close(mn_static_table *table);

/* vector (dimension) = the weighted mean of the n tokens' rows, scaled to unit length. Where nothing is left (no
 * tokens, only unknown ones, or rows that cancel out) it is the unknown token's own vector, so that every text has a
 * direction. ids: each below `vocabulary`. The same bits on every processor and in every batch. Any thread. */
void mn_static_pool(const mn_static_table *table, const uint32_t *ids, size_t n, float *vector);

/* row (dimension): what the token adds to a sum: its row by its weight. token: below `vocabulary`. */
void mn_static_row(const mn_static_table *table, uint32_t token, float *row);

uint32_t mn_static_dimension(const mn_static_table *table);
uint64_t mn_static_parameters(const mn_static_table *table);
const char *mn_static_precision(const mn_static_table *table); /* "f32", "f16", "bf16", "int8"; static */
const char *mn_static_kernels(const mn_static_table *table);   /* "avx512", "avx2", "reference"; static */
/* What it was distilled from, in one line ("all-MiniLM-L6-v2 (0123456789abcdef), ..."); NULL = unknown. Borrowed. */
const char *mn_static_origin(const mn_static_table *table);
/* Hash of everything in the table that decides vectors. */
uint64_t mn_static_fingerprint(const mn_static_table *table);

#endif
