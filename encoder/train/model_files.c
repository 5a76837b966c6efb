/* model_files.c -- see model_files.h. */
#include "encoder/train/model_files.h"

#include "common/file.h"
#include "common/memory.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define TOKENIZER_MAX_BYTES ((size_t)256 << 20)
#define SETTINGS_MAX_BYTES  ((size_t)1 << 20)

mneme_status mn_model_write_file(const char *folder, const char *name, const void *data, size_t size,
                                 mneme_error *error)
{
    char *path = mn_path_join(folder, name);
    mneme_status status = path ? mn_file_write_atomic(path, data, size, error) : mn_fail_memory(error, name);
    /* mn_file_write_atomic makes its files private; a model may be read by everybody. */
    if (status == MNEME_OK && chmod(path, 0644) != 0) status = mn_fail_errno(error, errno, "cannot write %s", path);
    mn_free(path);
    return status;
}

mneme_status mn_model_write_json(const char *folder, const char *name, json_t *json, mneme_error *error)
{
    char *text = json ? json_dumps(json, JSON_INDENT(2) | JSON_PRESERVE_ORDER) : NULL;
    mneme_status status =
        text ? mn_model_write_file(folder, name, text, strlen(text), error) : mn_fail_memory(error, name);
    free(text);
    json_decref(json);
    return status;
}

/* A file that is not there is left out. */
static mneme_status copy_file(const char *from, const char *folder, const char *name, size_t most, mneme_error *error)
{
    mn_buffer content = {0};
    char *path = mn_path_join(from, name);
    mneme_status status = path ? MNEME_OK : mn_fail_memory(error, name);
    if (status == MNEME_OK && mn_file_exists(path)) {
        status = mn_file_read(path, most, &content, error);
        if (status == MNEME_OK) status = mn_model_write_file(folder, name, content.data, content.size, error);
    }
    mn_buffer_free(&content);
    mn_free(path);
    return status;
}

static mneme_status copy_files(const char *from, const char *folder, const char *const *names, size_t n, size_t most,
                               mneme_error *error)
{
    mneme_status status = MNEME_OK;
    for (size_t i = 0; i < n && status == MNEME_OK; i++) status = copy_file(from, folder, names[i], most, error);
    return status;
}

mneme_status mn_model_copy_tokenizer(const char *from, const char *folder, mneme_error *error)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json", "vocab.txt",
                                        "special_tokens_map.json"};
    return copy_files(from, folder, names, sizeof names / sizeof names[0], TOKENIZER_MAX_BYTES, error);
}

mneme_status mn_model_copy_settings(const char *from, const char *folder, mneme_error *error)
{
    static const char *const names[] = {"sentence_bert_config.json", "config_sentence_transformers.json",
                                        "modules.json"};
    mneme_status status = copy_files(from, folder, names, sizeof names / sizeof names[0], SETTINGS_MAX_BYTES, error);
    char *source = mn_path_join(from, "1_Pooling"), *target = mn_path_join(folder, "1_Pooling");
    if (status == MNEME_OK && (!source || !target)) status = mn_fail_memory(error, folder);
    if (status == MNEME_OK && mn_is_directory(source)) {
        status = mn_make_directories(target, 0755, error);
        if (status == MNEME_OK) status = copy_file(source, target, "config.json", SETTINGS_MAX_BYTES, error);
    }
    mn_free(source);
    mn_free(target);
    return status;
}
