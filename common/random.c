/* random.c -- see random.h. */
#include "common/random.h"

#include <math.h>

uint64_t mn_random_next(mn_random *random)
{
    uint64_t z = random->state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

uint32_t mn_random_below(mn_random *random, uint32_t n)
{
    return (uint32_t)((mn_random_next(random) >> 32) * n >> 32);
}

float mn_random_unit(mn_random *random)
{
    return (float)(mn_random_next(random) >> 40) * 0x1p-24f;
}

float mn_random_normal(mn_random *random)
{
    double first = ((double)(mn_random_next(random) >> 11) + 1) * 0x1p-53;
    double second = (double)(mn_random_next(random) >> 11) * 0x1p-53;
    return (float)(sqrt(-2 * log(first)) * cos(6.283185307179586 * second));
}

mn_random mn_random_of(uint64_t seed, uint64_t step, uint64_t part)
{
    mn_random random = {seed};
    random.state = mn_random_next(&random) ^ step;
    random.state = mn_random_next(&random) ^ part;
    random.state = mn_random_next(&random);
    return random;
}
