/* attention.c -- softmax over scores, in double and in order. */
#include "retriever/attention.h"

#include <math.h>

void mn_attention(mn_ranked *hits, size_t n, float scale)
{
    if (n == 0) return;
    float highest = hits[0].score;
    for (size_t i = 1; i < n; i++)
        if (hits[i].score > highest) highest = hits[i].score;
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += exp((double)scale * (hits[i].score - highest));
    for (size_t i = 0; i < n; i++)
        hits[i].attention = (float)(exp((double)scale * (hits[i].score - highest)) / sum);
}
