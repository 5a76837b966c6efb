/* cpu.h -- what this processor can do. */
#ifndef MN_COMMON_CPU_H
#define MN_COMMON_CPU_H

#include <stdbool.h>
#include <stddef.h>

typedef enum mn_cpu_level {
    MN_CPU_GENERIC = 0,
    MN_CPU_AVX2 = 1,   /* AVX2, FMA, F16C */
    MN_CPU_AVX512 = 2, /* AVX-512 F, CD, BW, DQ, VL */
} mn_cpu_level;

/* The best level that processor and operating system support. */
mn_cpu_level mn_cpu_detect(void);

/* "generic", "avx2", "avx512"; static. */
const char *mn_cpu_level_name(mn_cpu_level level);

/* "AMD EPYC 9B14 (AVX512)": the processor's own name and the level. */
void mn_cpu_describe(char *buffer, size_t size);

#endif
