/* parameters.c -- see parameters.h. */
#include "encoder/train/parameters.h"

#include "encoder/train/safetensors_write.h"
#include "encoder/train/shard.h"
#include "encoder/weight_shards.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

enum { NAME_MAX_BYTES = 256, ALIGNMENT = 16 /* floats */ };

static bool grow(mn_parameters *set)
{
    if (set->n < set->capacity) return true;
    size_t capacity = set->capacity ? 2 * set->capacity : 16;
    mn_parameter **items = mn_realloc_array(set->items, capacity, sizeof(mn_parameter *));
    if (!items) return false;
    set->items = items;
    set->capacity = capacity;
    return true;
}

mn_parameter *mn_parameters_add(mn_parameters *set, const mn_parameter_options *options, const char *name, ...)
{
    char text[NAME_MAX_BYTES];
    va_list arguments;
    va_start(arguments, name);
    vsnprintf(text, sizeof text, name, arguments);
    va_end(arguments);
    mn_parameter *parameter = grow(set) ? mn_arena_alloc(&set->arena, sizeof *parameter) : NULL;
    if (!parameter) return NULL;
    *parameter = (mn_parameter){.name = mn_arena_strdup(&set->arena, text), .options = *options};
    if (!parameter->name) return NULL;
    set->items[set->n++] = parameter;
    return parameter;
}

static size_t size_of(const mn_parameter *parameter)
{
    return (size_t)parameter->options.rows * parameter->options.columns;
}

/* Dense ones first, so that a shard's gradients are one block without holes for the others. */
static void place(mn_parameters *set)
{
    size_t offset = 0;
    for (int sparse = 0; sparse < 2; sparse++) {
        for (size_t i = 0; i < set->n; i++) {
            if (set->items[i]->options.sparse != (sparse == 1)) continue;
            set->items[i]->offset = offset;
            offset += (size_of(set->items[i]) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        }
        if (!sparse) set->dense_size = offset;
    }
    set->size = offset;
}

static void fill(mn_parameter *parameter, uint64_t seed)
{
    const mn_parameter_options *options = &parameter->options;
    mn_random random = mn_random_of(seed, 0, XXH3_64bits(parameter->name, strlen(parameter->name)));
    for (size_t i = 0; i < size_of(parameter); i++) switch (options->initial) {
        case MN_INITIAL_ZERO: parameter->value[i] = 0; break;
        case MN_INITIAL_ONE: parameter->value[i] = 1; break;
        case MN_INITIAL_UNIFORM: parameter->value[i] = options->scale * (2 * mn_random_unit(&random) - 1); break;
        case MN_INITIAL_NORMAL: parameter->value[i] = options->scale * mn_random_normal(&random); break;
        }
}

static size_t rounded(size_t size)
{
    return (size + 63) / 64 * 64;
}

/* Both packings of every packed parameter, in one block; base NULL: only the size. */
static size_t place_packings(mn_parameters *set, char *base)
{
    size_t size = 0;
    for (size_t i = 0; i < set->n; i++) {
        mn_parameter *p = set->items[i];
        if (!p->options.packed) continue;
        p->forward = (mn_right){.depth = p->options.columns, .columns = p->options.rows};
        p->backward = (mn_right){.depth = p->options.rows, .columns = p->options.columns};
        mn_right *both[] = {&p->forward, &p->backward};
        for (size_t j = 0; j < 2; j++) {
            if (base) both[j]->panels = (uint32_t *)(void *)(base + size);
            size += rounded(mn_right_size(set->arithmetic, both[j]->depth, both[j]->columns));
        }
    }
    return size;
}

mneme_status mn_parameters_ready(mn_parameters *set, uint64_t seed, mneme_error *error)
{
    place(set);
    set->values = mn_alloc_aligned(64, (set->size + ALIGNMENT) * sizeof(float));
    size_t packed = place_packings(set, NULL);
    set->packings = mn_alloc_aligned(64, packed + 64);
    if (!set->values || !set->packings) return mn_fail_memory(error, "a model's parameters");
    memset(set->values, 0, (set->size + ALIGNMENT) * sizeof(float));
    place_packings(set, set->packings);
    for (size_t i = 0; i < set->n; i++) {
        set->items[i]->value = set->values + set->items[i]->offset;
        fill(set->items[i], seed);
    }
    return MNEME_OK;
}

void mn_parameters_free(mn_parameters *set)
{
    mn_free(set->items);
    mn_free(set->values);
    mn_free(set->packings);
    mn_arena_free(&set->arena);
    *set = (mn_parameters){0};
}

mn_parameter *mn_parameters_find(const mn_parameters *set, const char *name)
{
    for (size_t i = 0; i < set->n; i++)
        if (strcmp(set->items[i]->name, name) == 0) return set->items[i];
    return NULL;
}

/* Two items for each parameter: forward and backward. */
static void pack_item(void *context, size_t item, unsigned worker)
{
    (void)worker;
    mn_parameters *set = context;
    mn_parameter *p = set->items[item / 2];
    if (!p->options.packed) return;
    bool forward = item % 2 == 0;
    mn_right_pack(set->arithmetic, p->value, p->options.columns, forward, forward ? &p->forward : &p->backward);
}

void mn_parameters_pack(mn_parameters *set, mn_threads *threads)
{
    mn_threads_run(threads, 2 * set->n, pack_item, set);
}

uint64_t mn_parameters_count(const mn_parameters *set)
{
    uint64_t n = 0;
    for (size_t i = 0; i < set->n; i++) n += size_of(set->items[i]);
    return n;
}

/* ---- files ----------------------------------------------------------------------------------------------------- */

mneme_status mn_parameters_save(const mn_parameters *set, const char *path, mneme_error *error)
{
    mn_tensor *tensors = mn_alloc_zeroed(set->n, sizeof *tensors);
    if (!tensors) return mn_fail_memory(error, path);
    for (size_t i = 0; i < set->n; i++) {
        const mn_parameter *p = set->items[i];
        /* Tables and weights are matrices even where they have one row. */
        bool vector = p->options.rows == 1 && !p->options.packed && !p->options.decays && !p->options.sparse;
        tensors[i] = (mn_tensor){.name = p->name,
                                 .dtype = "F32",
                                 .rank = vector ? 1 : 2,
                                 .shape = {vector ? p->options.columns : p->options.rows, p->options.columns},
                                 .data = p->value,
                                 .size_bytes = size_of(p) * sizeof(float)};
    }
    mneme_status status = mn_safetensors_write(path, tensors, set->n, error);
    mn_free(tensors);
    return status;
}

static mneme_status load_one(mn_parameter *p, const mn_safetensors *file, const char *path, const char *prefix,
                             mneme_error *error)
{
    char name[2 * NAME_MAX_BYTES];
    snprintf(name, sizeof name, "%s%s", prefix, p->name);
    const mn_tensor *tensor = mn_safetensors_find(file, name);
    if (!tensor) return mn_fail(error, MNEME_ERR_MODEL, "%s: there is no tensor %s", path, name);
    if (tensor->type == MN_TENSOR_OTHER)
        return mn_fail(error, MNEME_ERR_MODEL, "%s: tensor %s is %s; expected F32, F16 or BF16", path, name,
                       tensor->dtype);
    uint64_t rows = tensor->rank == 2 ? tensor->shape[0] : 1,
             columns = tensor->rank ? tensor->shape[tensor->rank - 1] : 1;
    if (tensor->rank > 2 || rows != p->options.rows || columns != p->options.columns)
        return mn_fail(error, MNEME_ERR_MODEL, "%s: tensor %s is %llu x %llu; expected %u x %u", path, name,
                       (unsigned long long)rows, (unsigned long long)columns, p->options.rows, p->options.columns);
    mn_tensor_to_f32(tensor, 0, size_of(p), p->value);
    for (size_t i = 0; i < size_of(p); i++)
        if (!isfinite(p->value[i]))
            return mn_fail(error, MNEME_ERR_MODEL, "%s: element %zu of tensor %s is not a finite number", path, i,
                           name);
    return MNEME_OK;
}

mneme_status mn_parameters_load(mn_parameters *set, const char *path, const char *prefix, mneme_error *error)
{
    mn_safetensors *file = NULL;
    mneme_status status = mn_weights_open(path, &file, error);
    for (size_t i = 0; i < set->n && status == MNEME_OK; i++)
        status = load_one(set->items[i], file, mn_safetensors_path(file), prefix, error);
    mn_safetensors_close(file);
    return status;
}
