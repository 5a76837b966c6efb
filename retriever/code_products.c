/* code_products.c -- which kernel, and those in plain C. */
#include "retriever/code_products.h"

#define BYTES_KERNEL mn_code_bytes_generic
#define LANES        4
#define BF16_KERNEL  mn_code_bf16_generic
#define F32_KERNEL   mn_code_f32_generic
#include "retriever/code_products_simd.h"

mn_code_products mn_code_products_for(mn_index_kind kind, mn_cpu_level level)
{
    static const mn_code_products bf16[] = {mn_code_bf16_generic, mn_code_bf16_avx2, mn_code_bf16_avx512};
    static const mn_code_products f32[] = {mn_code_f32_generic, mn_code_f32_avx2, mn_code_f32_avx512};
    static const mn_code_products bytes[] = {mn_code_bytes_generic, mn_code_bytes_avx2, mn_code_bytes_avx512};
    size_t at = level >= MN_CPU_AVX512 ? 2 : level >= MN_CPU_AVX2 ? 1 : 0;
    if (kind == MN_INDEX_HNSW_BF16) return bf16[at];
    if (kind == MN_INDEX_HNSW_F32) return f32[at];
    return at == 2 && mn_cpu_has(MN_CPU_AVX512_VNNI) ? mn_code_bytes_avx512vnni : bytes[at];
}
