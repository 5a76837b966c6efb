/* cpu.h -- what this processor can do. */
#ifndef MN_COMMON_CPU_H
#define MN_COMMON_CPU_H

#include <stdbool.h>
#include <stddef.h>

typedef enum mn_cpu_level {
    MN_CPU_GENERIC = 0,
    MN_CPU_AVX2 = 1,   /* AVX2, FMA, F16C */
    MN_CPU_AVX512 = 2, /* AVX-512 F, CD, BW, DQ, VL */
    MN_CPU_AMX = 3,    /* all of AVX512, and AMX tiles with bfloat16 and int8 that the system lets this process use */
} mn_cpu_level;

/* What processors of level AVX512 and up may have besides. */
typedef enum mn_cpu_extra { MN_CPU_AVX512_VNNI, MN_CPU_AVX512_BF16 } mn_cpu_extra;

/* The best level that processor and operating system support. */
mn_cpu_level mn_cpu_detect(void);
bool mn_cpu_has(mn_cpu_extra extra);

/* "generic", "avx2", "avx512", "amx"; static. */
const char *mn_cpu_level_name(mn_cpu_level level);

/* "AMD EPYC 9B14 (avx512 vnni bf16)": the processor's own name, the level and the extras. */
void mn_cpu_describe(char *buffer, size_t size);

#endif
