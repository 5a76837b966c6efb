/* fuzz_safetensors.c -- the reader of weights: any file is refused with a reason, or all its tensors lie inside. */
#include "fuzz_support.h"

#include "encoder/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mn_safetensors *file = NULL;
    mneme_error error;
    mneme_status status = mn_safetensors_parse("input", data, size, &file, &error);
    if (status != MNEME_OK) {
        fuzz_check_failure(status, &error, file);
        return 0;
    }
    for (size_t i = 0; i < mn_safetensors_count(file); i++) {
        const mn_tensor *tensor = mn_safetensors_at(file, i);
        const uint8_t *start = tensor->data;
        fuzz_require(start >= data && start + tensor->size_bytes <= data + size);
        fuzz_require(mn_safetensors_find(file, tensor->name) == tensor);
        if (tensor->type == MN_TENSOR_OTHER || tensor->n_elements == 0) continue;
        float first[64], last;
        mn_tensor_to_f32(tensor, 0, tensor->n_elements < 64 ? (size_t)tensor->n_elements : 64, first);
        mn_tensor_to_f32(tensor, tensor->n_elements - 1, 1, &last);
    }
    mn_safetensors_close(file);
    return 0;
}
