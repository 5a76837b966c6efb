/* static_folder.c -- config.json, modules.json, model.safetensors and the teacher's tokenizer, in model2vec's layout.
 */
#include "encoder/train/static_folder.h"

#include "common/file.h"
#include "common/memory.h"
#include "encoder/train/model_files.h"

#include <errno.h>
#include <ftw.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

static mneme_status write_config(const mn_static_folder *what, const char *folder, mneme_error *error)
{
    char fingerprint[20];
    snprintf(fingerprint, sizeof fingerprint, "%016llx", (unsigned long long)what->teacher_fingerprint);
    json_t *config = json_pack(
        "{s:s, s:[s], s:s, s:i, s:f, s:i, s:i, s:b, s:s, s:s, s:{s:s, s:s, s:s, s:s}}", "model_type", "model2vec",
        "architectures", "StaticModel", "tokenizer_name", what->teacher, "apply_pca", (int)what->dimension,
        "sif_coefficient", what->sif, "hidden_dim", (int)what->dimension, "seq_length", 1000000, "normalize", 1,
        "pooling", "mean", "embedding_dtype", "float16", "mneme", "version", MNEME_VERSION, "teacher", what->teacher,
        "teacher_fingerprint", fingerprint, "distilled_from", what->distilled_from);
    mneme_status status = mn_model_write_json(folder, "config.json", config, error);
    if (status != MNEME_OK) return status;
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

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)info, (void)kind, (void)place;
    return remove(path);
}

static void remove_folder(const char *folder)
{
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

mneme_status mn_static_folder_check(const mn_static_folder *what, mneme_error *error)
{
    struct stat info;
    if (lstat(what->folder, &info) != 0)
        return errno == ENOENT ? MNEME_OK : mn_fail_errno(error, errno, "cannot write %s", what->folder);
    if (!what->replace)
        return mn_fail(error, MNEME_ERR_USAGE, "%s exists already; give another name, or replace it (--force)",
                       what->folder);
    char *config = mn_path_join(what->folder, "config.json");
    bool is_model = config && S_ISDIR(info.st_mode) && mn_file_exists(config);
    mneme_status status = config ? MNEME_OK : mn_fail_memory(error, "path");
    if (config && !is_model)
        status = mn_fail(error, MNEME_ERR_USAGE, "%s is no model's folder, and is not replaced; give another name",
                         what->folder);
    mn_free(config);
    return status;
}

/* Put `part` where what->folder is, and remove what was there. */
static mneme_status move_into_place(const mn_static_folder *what, const char *part, const char *old, mneme_error *error)
{
    bool had = what->replace && mn_is_directory(what->folder);
    if (had && rename(what->folder, old) != 0)
        return mn_fail_errno(error, errno, "cannot rename %s to %s", what->folder, old);
    if (rename(part, what->folder) == 0) {
        if (had) remove_folder(old);
        return MNEME_OK;
    }
    mneme_status status = mn_fail_errno(error, errno, "cannot rename %s to %s", part, what->folder);
    if (had && rename(old, what->folder) != 0)
        status = mn_fail_errno(error, errno, "cannot rename %s back to %s", old, what->folder);
    return status;
}

mneme_status mn_static_folder_write(const mn_static_folder *what, mneme_error *error)
{
    mn_buffer part = {0}, old = {0};
    mn_buffer_format(&part, "%s.part-%ld", what->folder, (long)getpid());
    mn_buffer_format(&old, "%s.old-%ld", what->folder, (long)getpid());
    bool made = false;
    mneme_status status =
        part.failed || old.failed ? mn_fail_memory(error, "path") : mn_static_folder_check(what, error);
    if (status == MNEME_OK) {
        status = mn_make_directories(part.data, 0755, error);
        made = status == MNEME_OK;
    }
    if (status == MNEME_OK) status = mn_model_copy_tokenizer(what->tokenizer_folder, part.data, error);
    if (status == MNEME_OK) status = write_tensor(what, part.data, error);
    if (status == MNEME_OK) status = write_config(what, part.data, error);
    if (status == MNEME_OK) status = move_into_place(what, part.data, old.data, error);
    if (status != MNEME_OK && made) remove_folder(part.data);
    mn_buffer_free(&part);
    mn_buffer_free(&old);
    return status;
}
