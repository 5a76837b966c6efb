/* model_weights.c -- finding, checking and copying the weights of a model. */
#include "encoder/model_weights.h"

#include "common/memory.h"

#include <string.h>
#include <xxhash.h>

mneme_status mn_weights_find(const mn_model_weights *weights, const char *name, uint64_t rows, uint64_t columns,
                             const mn_tensor **out, mneme_error *error)
{
    char full[256];
    snprintf(full, sizeof full, "%s%s", weights->prefix, name);
    const mn_tensor *tensor = mn_safetensors_find(weights->file, full);
    if (!tensor)
        return mn_fail(error, MNEME_ERR_MODEL, "%s: tensor %s is missing", mn_safetensors_path(weights->file), full);
    if (tensor->type == MN_TENSOR_OTHER)
        return mn_fail(error, MNEME_ERR_MODEL, "%s: tensor %s is not F32, F16, BF16 or I8 with a scale",
                       mn_safetensors_path(weights->file), full);
    bool vector = columns == 0 && tensor->rank == 1 && tensor->shape[0] == rows;
    bool matrix = columns != 0 && tensor->rank == 2 && tensor->shape[0] == rows && tensor->shape[1] == columns;
    if (!vector && !matrix)
        return mn_fail(error, MNEME_ERR_MODEL, "%s: tensor %s is (%llu, %llu) where config.json asks for (%llu, %llu)",
                       mn_safetensors_path(weights->file), full, (unsigned long long)tensor->shape[0],
                       (unsigned long long)(tensor->rank > 1 ? tensor->shape[1] : 0), (unsigned long long)rows,
                       (unsigned long long)columns);
    *out = tensor;
    return MNEME_OK;
}

bool mn_all_finite(const float *values, size_t n)
{
    float poison = 0; /* stays 0 unless something is not finite: x * 0 is NaN then */
    for (size_t i = 0; i < n; i++) poison += values[i] * 0.0f;
    return poison == 0;
}

static mneme_status fail_not_finite(const mn_model_weights *weights, const mn_tensor *tensor, mneme_error *error)
{
    return mn_fail(error, MNEME_ERR_MODEL, "%s: tensor %s holds NaN or infinity", mn_safetensors_path(weights->file),
                   tensor->name);
}

mneme_status mn_weights_copy(const mn_model_weights *weights, const char *name, uint64_t rows, uint64_t columns,
                             float *out, mneme_error *error)
{
    const mn_tensor *tensor = NULL;
    mneme_status status = mn_weights_find(weights, name, rows, columns, &tensor, error);
    if (status != MNEME_OK) return status;
    size_t n = (size_t)tensor->n_elements;
    mn_tensor_to_f32(tensor, 0, n, out);
    return mn_all_finite(out, n) ? MNEME_OK : fail_not_finite(weights, tensor, error);
}

mneme_status mn_weights_fill(const mn_model_weights *weights, const mn_arithmetic *arithmetic, const char *weight,
                             const char *bias, uint32_t index, uint32_t n_out, mn_linear *linear, mneme_error *error)
{
    size_t size = 0;
    if (!mn_multiply(n_out, (size_t)linear->n_in + 1, &size)) return mn_fail_memory(error, "weights");
    float *values = mn_alloc_array(size, sizeof(float));
    if (!values) return mn_fail_memory(error, "weights");
    float *biases = values + (size_t)n_out * linear->n_in;
    memset(biases, 0, n_out * sizeof *biases);
    mneme_status status = mn_weights_copy(weights, weight, n_out, linear->n_in, values, error);
    if (status == MNEME_OK && bias) status = mn_weights_copy(weights, bias, n_out, 0, biases, error);
    if (status == MNEME_OK) mn_linear_fill(linear, arithmetic, index * n_out, n_out, values, biases);
    mn_free(values);
    return status;
}

mneme_status mn_weights_check(const mn_model_weights *weights, const mn_tensor *table, mneme_error *error)
{
    size_t columns = (size_t)table->shape[1];
    float *row = mn_alloc_array(columns, sizeof *row);
    if (!row) return mn_fail_memory(error, "weights");
    mneme_status status = MNEME_OK;
    for (uint64_t r = 0; r < table->shape[0] && status == MNEME_OK; r++) {
        mn_tensor_to_f32(table, r * columns, columns, row);
        if (!mn_all_finite(row, columns)) status = fail_not_finite(weights, table, error);
    }
    mn_free(row);
    return status;
}

uint64_t mn_weights_parameters(const mn_safetensors *file)
{
    uint64_t n = 0;
    for (size_t i = 0; i < mn_safetensors_count(file); i++) {
        const mn_tensor *tensor = mn_safetensors_at(file, i);
        if (tensor->type != MN_TENSOR_OTHER) n += tensor->n_elements;
        if (tensor->type == MN_TENSOR_SCALED_I8) n -= tensor->shape[0]; /* its scales, which count by themselves */
    }
    return n;
}

uint64_t mn_weights_fingerprint(const mn_safetensors *file)
{
    enum { SAMPLE = 1024 }; /* bytes at both ends of a tensor: training changes every weight, and all would be 90 MB */
    uint64_t hash = 0;
    for (size_t i = 0; i < mn_safetensors_count(file); i++) {
        const mn_tensor *tensor = mn_safetensors_at(file, i);
        size_t sample = tensor->size_bytes < SAMPLE ? tensor->size_bytes : SAMPLE;
        const unsigned char *last = (const unsigned char *)tensor->data + tensor->size_bytes - sample;
        hash = XXH3_64bits_withSeed(tensor->name, strlen(tensor->name), hash);
        hash = XXH3_64bits_withSeed(tensor->shape, tensor->rank * sizeof tensor->shape[0], hash);
        hash = XXH3_64bits_withSeed(tensor->data, sample, hash);
        hash = XXH3_64bits_withSeed(last, sample, hash);
    }
    return hash;
}
