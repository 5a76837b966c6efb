/* model_files.c -- see model_files.h. */
#include "encoder/train/model_files.h"

#include "common/file.h"
#include "common/memory.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define TOKENIZER_MAX_BYTES ((size_t)256 << 20)

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

mneme_status mn_model_copy_tokenizer(const char *from, const char *folder, mneme_error *error)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json", "vocab.txt",
                                        "special_tokens_map.json"};
    mneme_status status = MNEME_OK;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && status == MNEME_OK; i++) {
        mn_buffer text = {0};
        char *path = mn_path_join(from, names[i]);
        if (!path)
            status = mn_fail_memory(error, names[i]);
        else if (mn_file_exists(path)) {
            status = mn_file_read(path, TOKENIZER_MAX_BYTES, &text, error);
            if (status == MNEME_OK) status = mn_model_write_file(folder, names[i], text.data, text.size, error);
        }
        mn_buffer_free(&text);
        mn_free(path);
    }
    return status;
}
