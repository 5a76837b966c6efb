/* cpu.c -- what this processor can do (x86-64; anything else is generic). */
#include "common/cpu.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The system saves and restores the tiles (XCR0 bits 17 and 18), and lets this process use them: since Linux 5.16 it
 * must be asked (Documentation/arch/x86/xstate.rst: ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA). */
static bool may_use_tiles(void)
{
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18 };
    uint32_t a, b, c, d, low, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return false;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if ((low >> 17 & 3u) != 3u) return false;
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) == 0;
}

/* CPUID leaf 7: EDX bits 22 (AMX-BF16), 24 (AMX-TILE), 25 (AMX-INT8). */
static bool has_amx(void)
{
    uint32_t a, b, c, d;
    const uint32_t wanted = 1u << 22 | 1u << 24 | 1u << 25;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & wanted) == wanted && may_use_tiles();
}

static mn_cpu_level detect(void)
{
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return MN_CPU_GENERIC;
    bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512cd") &&
                  __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
    if (!avx512) return MN_CPU_AVX2;
    bool extras = __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16");
    return extras && has_amx() ? MN_CPU_AMX : MN_CPU_AVX512;
}

mn_cpu_level mn_cpu_detect(void)
{
    static _Atomic int known = -1; /* every thread that comes first finds the same */
    int level = atomic_load_explicit(&known, memory_order_relaxed);
    if (level < 0) atomic_store_explicit(&known, level = (int)detect(), memory_order_relaxed);
    return (mn_cpu_level)level;
}

bool mn_cpu_has(mn_cpu_extra extra)
{
    if (mn_cpu_detect() < MN_CPU_AVX512) return false;
    return extra == MN_CPU_AVX512_VNNI ? __builtin_cpu_supports("avx512vnni") : __builtin_cpu_supports("avx512bf16");
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

bool mn_cpu_has(mn_cpu_extra extra)
{
    (void)extra;
    return false;
}

static void brand(char name[49])
{
    memcpy(name, "unknown processor", 18);
}
#endif

const char *mn_cpu_level_name(mn_cpu_level level)
{
    static const char *const names[] = {"generic", "avx2", "avx512", "amx"};
    return names[level];
}

void mn_cpu_describe(char *buffer, size_t size)
{
    char name[49];
    brand(name);
    const char *start = name + strspn(name, " ");
    size_t length = strlen(start);
    while (length > 0 && start[length - 1] == ' ') length--;
    snprintf(buffer, size, "%.*s (%s%s%s)", (int)length, start, mn_cpu_level_name(mn_cpu_detect()),
             mn_cpu_has(MN_CPU_AVX512_VNNI) ? " vnni" : "", mn_cpu_has(MN_CPU_AVX512_BF16) ? " bf16" : "");
}
