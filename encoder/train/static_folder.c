/* static_folder.c -- config.json, modules.json, model.safetensors and the teacher's tokenizer, in model2vec's layout.
 */
#include "encoder/train/static_folder.h"

#include "common/buffer.h"
#include "encoder/train/model_files.h"
#include "encoder/train/new_folder.h"

#include <string.h>

/* ---- numbers ---- */

uint16_t mn_half_from_float(float number)
{
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000u, rest = bits & 0x7FFFFFFFu;
    if (rest > 0x7F800000u) return (uint16_t)(sign | 0x7E00u);
    if (rest >= 0x47800000u) return (uint16_t)(sign | 0x7C00u); /* 65536 and more */
    int exponent = (int)(rest >> 23) - 127;
    if (exponent < -25) return (uint16_t)sign;
    uint32_t mantissa = (rest & 0x7FFFFFu) | 0x800000u;
    /* 13 bits go, and more below 2^-14, where halves have a fixed step of 2^-24. */
    uint32_t drop = exponent < -14 ? (uint32_t)(13 + -14 - exponent) : 13, half = 1u << (drop - 1);
    uint32_t kept = mantissa >> drop, lost = mantissa & ((1u << drop) - 1);
    if (lost > half || (lost == half && (kept & 1))) kept++;
    /* Rounding up may carry into the exponent, which is what it should do. */
    uint32_t result = exponent < -14 ? kept : ((uint32_t)(exponent + 15) << 10) + (kept - 0x400u);
    return (uint16_t)(sign | result);
}

/* ---- files ---- */

static json_t *about(const mn_static_folder *what)
{
    char fingerprint[20];
    if (what->about_json) return json_loads(what->about_json, 0, NULL);
    snprintf(fingerprint, sizeof fingerprint, "%016llx", (unsigned long long)what->teacher_fingerprint);
    return json_pack("{s:s, s:s, s:s, s:s}", "version", MNEME_VERSION, "teacher", what->teacher, "teacher_fingerprint",
                     fingerprint, "distilled_from", what->distilled_from);
}

static mneme_status write_config(const mn_static_folder *what, const char *folder, mneme_error *error)
{
    json_t *config =
        json_pack("{s:s, s:[s], s:s, s:i, s:f, s:i, s:i, s:b, s:s, s:s, s:o}", "model_type", "model2vec",
                  "architectures", "StaticModel", "tokenizer_name", what->teacher, "apply_pca", (int)what->dimension,
                  "sif_coefficient", what->sif, "hidden_dim", (int)what->dimension, "seq_length", 1000000, "normalize",
                  1, "pooling", "mean", "embedding_dtype", "float16", "mneme", about(what));
    return mn_model_write_json(folder, "config.json", config, error);
}

static mneme_status write_modules(const char *folder, mneme_error *error)
{
    json_t *modules = json_pack("[{s:i, s:s, s:s, s:s}, {s:i, s:s, s:s, s:s}]", "idx", 0, "name", "0", "path", ".",
                                "type", "sentence_transformers.models.StaticEmbedding", "idx", 1, "name", "1", "path",
                                "1_Normalize", "type", "sentence_transformers.models.Normalize");
    return mn_model_write_json(folder, "modules.json", modules, error);
}

/* 8 bytes of size, the JSON padded with spaces to a multiple of 8, the halves. */
static mneme_status write_tensor(const mn_static_folder *what, const char *folder, mneme_error *error)
{
    size_t n = (size_t)what->n_rows * what->dimension;
    mn_buffer file = {0}, header = {0};
    mn_buffer_format(&header, "{\"embeddings\":{\"dtype\":\"F16\",\"shape\":[%u,%u],\"data_offsets\":[0,%zu]}}",
                     what->n_rows, what->dimension, n * 2);
    while (header.size % 8 != 0 && !header.failed) mn_buffer_byte(&header, ' ');
    for (unsigned i = 0; i < 8; i++) mn_buffer_byte(&file, (char)(header.size >> (8 * i) & 0xFF));
    mn_buffer_append(&file, header.data, header.size);
    if (mn_buffer_reserve(&file, n * 2))
        for (size_t i = 0; i < n; i++) {
            uint16_t half = mn_half_from_float(what->table[i]);
            file.data[file.size++] = (char)(half & 0xFF);
            file.data[file.size++] = (char)(half >> 8);
        }
    mneme_status status = file.failed || header.failed
                              ? mn_fail_memory(error, "model.safetensors")
                              : mn_model_write_file(folder, "model.safetensors", file.data, file.size, error);
    mn_buffer_free(&header);
    mn_buffer_free(&file);
    return status;
}

/* ---- folders ---- */

mneme_status mn_static_folder_check(const mn_static_folder *what, mneme_error *error)
{
    return mn_new_folder_check(what->folder, what->replace, error);
}

mneme_status mn_static_files_write(const mn_static_folder *what, const char *folder, mneme_error *error)
{
    mneme_status status = write_tensor(what, folder, error);
    if (status == MNEME_OK) status = write_modules(folder, error);
    return status == MNEME_OK ? write_config(what, folder, error) : status;
}

mneme_status mn_static_folder_write(const mn_static_folder *what, mneme_error *error)
{
    mn_new_folder made;
    mneme_status status = mn_new_folder_begin(&made, what->folder, what->replace, error);
    if (status == MNEME_OK) status = mn_model_copy_tokenizer(what->tokenizer_folder, made.part, error);
    if (status == MNEME_OK) status = mn_static_files_write(what, made.part, error);
    return mn_new_folder_end(&made, status, error);
}
