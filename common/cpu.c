/* cpu.c -- what this processor can do (x86-64; anything else is generic). */
#include "common/cpu.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>

mn_cpu_level mn_cpu_detect(void)
{
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return MN_CPU_GENERIC;
    bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512cd") &&
                  __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
    return avx512 ? MN_CPU_AVX512 : MN_CPU_AVX2;
}

static void brand(char name[49])
{
    memset(name, 0, 49);
    for (unsigned leaf = 0; leaf < 3; leaf++) {
        uint32_t registers[4] = {0};
        if (!__get_cpuid(0x80000002u + leaf, &registers[0], &registers[1], &registers[2], &registers[3])) return;
        memcpy(name + 16 * leaf, registers, 16);
    }
}
#else
mn_cpu_level mn_cpu_detect(void)
{
    return MN_CPU_GENERIC;
}

static void brand(char name[49])
{
    memcpy(name, "unknown processor", 18);
}
#endif

const char *mn_cpu_level_name(mn_cpu_level level)
{
    static const char *const names[] = {"generic", "avx2", "avx512"};
    return names[level];
}

void mn_cpu_describe(char *buffer, size_t size)
{
    char name[49];
    brand(name);
    const char *start = name + strspn(name, " ");
    size_t length = strlen(start);
    while (length > 0 && start[length - 1] == ' ') length--;
    snprintf(buffer, size, "%.*s (%s)", (int)length, start, mn_cpu_level_name(mn_cpu_detect()));
}
