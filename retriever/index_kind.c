/* index_kind.c -- vectors to codes and back. */
#include "retriever/index_kind.h"

#include "memstore/vector_codes.h"

#include <math.h>
#include <string.h>

/* SAMPLE_A_LIST: what FAISS wants at least for a centre. LISTS_A_ROOT: lists for each root of the rows, so that the
 * centres and the lists that are looked through cost about as much. */
enum { PAD = 32, SAMPLE_A_LIST = 39, LISTS_A_ROOT = 4, LARGE_DIMENSION = 256 };

typedef struct kind_spec {
    const char *name;
    size_t number_bytes;
} kind_spec;

static const kind_spec kinds[MN_INDEX_KINDS] = {
    {"none", 0}, {"hnsw", 1}, {"hnsw-bf16", 2}, {"hnsw-f32", 4}, {"ivfpq", 0},
};

const char *mn_index_kind_name(uint32_t kind)
{
    return kind < MN_INDEX_KINDS ? kinds[kind].name : NULL;
}

bool mn_index_kind_parse(const char *name, mn_index_kind *out)
{
    for (unsigned i = 0; i < MN_INDEX_KINDS; i++) {
        if (strcmp(name, kinds[i].name) != 0) continue;
        *out = (mn_index_kind)i;
        return true;
    }
    return false;
}

bool mn_index_has_lists(uint32_t kind)
{
    return kind == MN_INDEX_IVFPQ;
}

uint32_t mn_index_lists_for(size_t n_rows, size_t n_sample)
{
    size_t most = n_sample / SAMPLE_A_LIST, lists = (size_t)(LISTS_A_ROOT * sqrt((double)n_rows));
    if (lists > most) lists = most;
    return lists ? (uint32_t)lists : 1;
}

uint32_t mn_index_padded(uint32_t dimension)
{
    return (dimension + PAD - 1) / PAD * PAD;
}

size_t mn_index_code_bytes(mn_index_kind kind, uint32_t padded)
{
    if (mn_index_has_lists(kind)) return padded < LARGE_DIMENSION ? padded / 4 : padded / 8;
    return kinds[kind].number_bytes * padded;
}

size_t mn_index_place_bytes(mn_index_kind kind, uint32_t padded)
{
    return mn_index_code_bytes(kind, padded) + (mn_index_has_lists(kind) ? sizeof(int64_t) : 0);
}

size_t mn_index_row_bytes(mn_index_kind kind, uint32_t padded)
{
    if (mn_index_has_lists(kind)) return mn_index_place_bytes(kind, padded) + sizeof(uint32_t);
    return mn_index_code_bytes(kind, padded) + 64 * 4 + 20; /* 64 links, shares of the upper levels, level and offset */
}

float mn_index_scale(mn_index_kind kind, float largest)
{
    return kind == MN_INDEX_HNSW && largest > 0 ? 127 / largest : 1;
}

static float byte_of(float number, float scale)
{
    float code = rintf(number * scale) + 128;
    return code < 0 ? 0 : code > 255 ? 255 : code;
}

void mn_index_prepare(mn_index_kind kind, float scale, const float *vector, uint32_t dimension, float *out)
{
    bool bytes = kind == MN_INDEX_HNSW;
    uint32_t padded = mn_index_padded(dimension);
    for (uint32_t i = 0; i < dimension; i++) out[i] = bytes ? byte_of(vector[i], scale) : vector[i];
    for (uint32_t i = dimension; i < padded; i++) out[i] = bytes ? 128 : 0;
}

void mn_index_encode(mn_index_kind kind, const float *prepared, uint32_t padded, unsigned char *codes)
{
    if (kind == MN_INDEX_HNSW_F32) memcpy(codes, prepared, padded * sizeof *prepared);
    for (uint32_t i = 0; i < padded && kind == MN_INDEX_HNSW; i++) codes[i] = (unsigned char)prepared[i];
    for (uint32_t i = 0; i < padded && kind == MN_INDEX_HNSW_BF16; i++) {
        uint16_t half = mn_vector_half_of(prepared[i]);
        memcpy(codes + i * sizeof half, &half, sizeof half);
    }
}

void mn_index_decode(mn_index_kind kind, const unsigned char *codes, uint32_t padded, float *out)
{
    if (kind == MN_INDEX_HNSW) {
        for (uint32_t i = 0; i < padded; i++) out[i] = codes[i];
    } else if (kind == MN_INDEX_HNSW_F32) {
        memcpy(out, codes, padded * sizeof *out);
    } else {
        for (uint32_t i = 0; i < padded; i++) {
            uint16_t half;
            memcpy(&half, codes + i * sizeof half, sizeof half);
            out[i] = mn_vector_half(half);
        }
    }
}

void mn_index_center(mn_index_kind kind, uint32_t padded, float *codes)
{
    for (uint32_t i = 0; i < padded && kind == MN_INDEX_HNSW; i++) codes[i] -= 128;
}
