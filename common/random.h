/* random.h -- random numbers that repeat: the same on every machine, from a seed. */
#ifndef MN_COMMON_RANDOM_H
#define MN_COMMON_RANDOM_H

#include <stdint.h>

/* splitmix64 (Steele, Lea, Flood 2014). */
typedef struct mn_random {
    uint64_t state;
} mn_random;
uint64_t mn_random_next(mn_random *random);
/* In 0..n-1; n > 0. */
uint32_t mn_random_below(mn_random *random, uint32_t n);
float mn_random_unit(mn_random *random);   /* in [0, 1) */
float mn_random_normal(mn_random *random); /* Box, Muller 1958 */
/* A stream of its own for each set of numbers. */
mn_random mn_random_of(uint64_t seed, uint64_t step, uint64_t part);

#endif
