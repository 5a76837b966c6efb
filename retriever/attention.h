/* attention.h -- how much of the answer each hit is. */
#ifndef MN_RETRIEVER_ATTENTION_H
#define MN_RETRIEVER_ATTENTION_H

#include "retriever/retrieve.h"

/* attention = softmax(scale * score) over the n hits: sums to 1. It is the read-out weight of a modern Hopfield network
 * (Ramsauer et al. 2020, "Hopfield Networks is All You Need", equation 3) with the hits' scores in the place of the
 * inner products. Nothing for n = 0. */
void mn_attention(mn_ranked *hits, size_t n, float scale);

#endif
