/* emulated.h -- the kernels for instructions that the testing processor may lack, built with those instructions in
 * plain C (encoder/instructions.h; tests/CMakeLists.txt renames them). */
#ifndef MN_TESTS_EMULATED_H
#define MN_TESTS_EMULATED_H

#include "encoder/gate_kernels.h"
#include "encoder/linear.h"

extern const mn_product_kernel emulated_avx512_f32, emulated_avx512_i16, emulated_avx512vnni_i16,
    emulated_avx512vnni_u8, emulated_avx512bf16_bf16, emulated_amx_bf16, emulated_amx_u8;
const mn_kernels *emulated_kernels_avx512(void);
const mn_gate_kernels *emulated_gate_kernels_avx512(void);

static const mn_product_kernel *const emulated_products[] = {
    &emulated_avx512_f32,      &emulated_avx512_i16, &emulated_avx512vnni_i16, &emulated_avx512vnni_u8,
    &emulated_avx512bf16_bf16, &emulated_amx_bf16,   &emulated_amx_u8};

/* The combinations that mn_arithmetic_for makes on processors with AVX-512 and above. */
static inline mn_arithmetic emulated_combination(mn_precision precision, const mn_product_kernel *product,
                                                 const mn_product_kernel *attention)
{
    const mn_row_format formats[] = {{.element = MN_ELEMENT_F32},
                                     {.element = MN_ELEMENT_BF16},
                                     {.element = MN_ELEMENT_I16, .limit = MN_INT16_ROW_LIMIT},
                                     {.element = MN_ELEMENT_U8, .from_zero = true, .limit = MN_INT8_ROW_LIMIT}};
    return (mn_arithmetic){.precision = precision,
                           .kernels = emulated_kernels_avx512(),
                           .product = product,
                           .rows = formats[product->element],
                           .weight_limit =
                               precision == MN_PRECISION_INT8 ? MN_INT8_WEIGHT_LIMIT : MN_INT16_WEIGHT_LIMIT,
                           .attention = attention,
                           .attention_rows = formats[attention->element]};
}

static inline size_t emulated_count(void)
{
    return 7;
}

static inline mn_arithmetic emulated_arithmetic(size_t i)
{
    switch (i) {
    case 0: return emulated_combination(MN_PRECISION_F32, &emulated_avx512_f32, &emulated_avx512_f32);
    case 1: return emulated_combination(MN_PRECISION_INT16, &emulated_avx512_i16, &emulated_avx512_i16);
    case 2: return emulated_combination(MN_PRECISION_BF16, &emulated_avx512bf16_bf16, &emulated_avx512bf16_bf16);
    case 3: return emulated_combination(MN_PRECISION_INT8, &emulated_avx512vnni_u8, &emulated_avx512vnni_i16);
    case 4: return emulated_combination(MN_PRECISION_BF16, &emulated_amx_bf16, &emulated_amx_bf16);
    case 5: return emulated_combination(MN_PRECISION_INT8, &emulated_avx512vnni_u8, &emulated_avx512bf16_bf16);
    default: return emulated_combination(MN_PRECISION_INT8, &emulated_amx_u8, &emulated_amx_bf16);
    }
}

static inline mn_arithmetic emulated_int8_bytes(void)
{
    return emulated_arithmetic(3);
}

#endif
