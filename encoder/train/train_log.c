/* train_log.c -- see train_log.h. */
#include "encoder/train/train_log.h"

#include "common/file.h"
#include "common/json.h"
#include "common/memory.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#define LOG_MAX_BYTES ((size_t)1 << 30)

/* The step of one line; 0: it is not whole. */
static uint64_t step_of(const char *line, size_t size)
{
    json_t *object = mn_json_deeper_than(line, size, 1) ? NULL : json_loadb(line, size, 0, NULL);
    json_int_t step = json_integer_value(json_object_get(object, "step"));
    json_decref(object);
    return step > 0 ? (uint64_t)step : 0;
}

/* The bytes of the lines that are kept. */
static size_t kept_size(const mn_buffer *text, uint64_t last_step)
{
    size_t at = 0;
    while (at < text->size) {
        const char *end = memchr(text->data + at, '\n', text->size - at);
        if (!end) break;
        uint64_t step = step_of(text->data + at, (size_t)(end - text->data) - at);
        if (step == 0 || step > last_step) break;
        at = (size_t)(end - text->data) + 1;
    }
    return at;
}

static mneme_status cut(const char *path, uint64_t last_step, mneme_error *error)
{
    mn_buffer text = {0};
    mneme_status status = mn_file_read(path, LOG_MAX_BYTES, &text, error);
    if (status == MNEME_OK && truncate(path, (off_t)kept_size(&text, last_step)) != 0)
        status = mn_fail_errno(error, errno, "cannot write %s", path);
    mn_buffer_free(&text);
    return status;
}

mneme_status mn_train_log_open(mn_train_log *log, const char *folder, uint64_t first_step, mneme_error *error)
{
    log->path = mn_path_join(folder, MN_TRAIN_LOG_FILE);
    if (!log->path) return mn_fail_memory(error, "log");
    bool goes_on = first_step > 0 && mn_file_exists(log->path);
    mneme_status status = goes_on ? cut(log->path, first_step, error) : MNEME_OK;
    if (status != MNEME_OK) return status;
    log->file = fopen(log->path, goes_on ? "ae" : "we");
    return log->file ? MNEME_OK : mn_fail_errno(error, errno, "cannot write %s", log->path);
}

static mneme_status flush(mn_train_log *log, mneme_error *error)
{
    if (fflush(log->file) != 0 || ferror(log->file)) return mn_fail_errno(error, errno, "cannot write %s", log->path);
    return MNEME_OK;
}

static void add(FILE *file, const char *name, double value)
{
    if (isfinite(value)) fprintf(file, ", \"%s\": %.7g", name, value);
}

mneme_status mn_train_log_write(mn_train_log *log, const mneme_train_progress *p, mneme_error *error)
{
    fprintf(log->file, "{\"step\": %llu, \"epoch\": %llu", (unsigned long long)p->step, (unsigned long long)p->epoch);
    add(log->file, "loss", p->loss);
    if (p->evaluated) add(log->file, "validation_loss", p->validation_loss);
    add(log->file, "learning_rate", p->learning_rate);
    add(log->file, "gradient_norm", p->gradient_norm);
    add(log->file, "tokens_per_second", p->tokens_per_second);
    add(log->file, "seconds", p->seconds);
    fprintf(log->file, "}\n");
    return flush(log, error); /* for those who watch the file */
}

void mn_train_log_close(mn_train_log *log)
{
    if (log->file) fclose(log->file);
    mn_free(log->path);
    *log = (mn_train_log){0};
}
