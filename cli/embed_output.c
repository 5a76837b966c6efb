/* embed_output.c -- where embed puts its vectors. */
#include "cli/embed_output.h"

#include "cli/npy.h"
#include "cli/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SAVE_SECONDS  1.0
#define STATE_VERSION 1

static bool fail_write(cli_embed_output *out, const char *path)
{
    cli_complain("cannot write %s: %s", path, strerror(errno));
    out->failed = true;
    return false;
}

const char *cli_embed_output_kind(const char *path, cli_embed_container *container, cli_vector_type *type)
{
    static const char wanted[] = "expected a name that ends in .npy, .jsonl, .f32, .f16, .int8, .binary or .ubinary";
    bool given = *type != CLI_VECTOR_TYPES;
    const char *dot = path ? strrchr(path, '.') : NULL;
    if (!given) *type = CLI_VECTOR_F32;
    *container = CLI_EMBED_STDOUT;
    if (!path) return NULL;
    if (!dot || dot == path || dot[-1] == '/') return wanted;
    *container = strcmp(dot, ".npy") == 0 ? CLI_EMBED_NPY : strcmp(dot, ".jsonl") == 0 ? CLI_EMBED_JSON : CLI_EMBED_RAW;
    if (*container != CLI_EMBED_RAW) return NULL;
    for (cli_vector_type named = CLI_VECTOR_F32; named < CLI_VECTOR_TYPES; named++) {
        if (strcmp(dot + 1, cli_vector_name(named)) != 0) continue;
        if (given && *type != named) return "the name's ending says another type than --type";
        *type = named;
        return NULL;
    }
    return wanted;
}

/* ---- the state ---- */

/* Let a rename or a new file in the folder of `path` reach the disk; file systems that cannot do that are let be. */
static void sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = !slash          ? cli_strdup(".")
                   : slash == path ? cli_strdup("/")
                                   : cli_strndup(path, (size_t)(slash - path));
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)!fsync(fd);
        close(fd);
    }
    free(folder);
}

static bool write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "wbe");
    if (!file) return false;
    bool fine = fputs(text, file) >= 0 && fflush(file) == 0 && fsync(fileno(file)) == 0;
    int error = errno;
    fine = fclose(file) == 0 && fine;
    if (!fine) {
        if (error) errno = error;
        error = errno;
        unlink(path);
        errno = error;
    }
    return fine;
}

static bool save(cli_embed_output *out, const cli_embed_position *position)
{
    if (fflush(out->file) != 0 || fdatasync(fileno(out->file)) != 0) return fail_write(out, out->part);
    char hash[24];
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)position->hash);
    json_t *state = json_pack("{s:i,s:O}", "mneme_embed", STATE_VERSION, "stamp", out->stamp);
    cli_json_count(state, "rows", out->rows);
    cli_json_count(state, "bytes", out->bytes);
    cli_json_count(state, "input", position->file);
    cli_json_count(state, "offset", position->offset);
    cli_json_count(state, "line", position->line);
    cli_json_put(state, "hash", hash);
    cli_json_count(state, "refused", position->refused);
    cli_json_count(state, "replaced", position->replaced);
    char *text = json_dumps(state, JSON_COMPACT), *fresh = cli_format("%s~", out->state);
    bool fine = write_file(fresh, text) && rename(fresh, out->state) == 0;
    if (!fine)
        fail_write(out, out->state);
    else if (out->saved_rows == 0)
        sync_folder(out->state);
    if (fine) out->saved_rows = out->rows;
    out->saved_at = cli_seconds();
    free(fresh);
    free(text);
    json_decref(state);
    return fine;
}

static bool read_count(const json_t *state, const char *key, uint64_t *out)
{
    const json_t *value = json_object_get(state, key);
    *out = (uint64_t)json_integer_value(value);
    return json_is_integer(value) && json_integer_value(value) >= 0;
}

/* The numbers of a state; false: it is none of ours, or damaged. */
static bool read_numbers(cli_embed_output *out, const json_t *state, cli_embed_position *position)
{
    uint64_t version = 0, file = 0;
    const char *hash = json_string_value(json_object_get(state, "hash"));
    bool fine = read_count(state, "mneme_embed", &version) && version == STATE_VERSION && hash;
    fine = fine && read_count(state, "rows", &out->rows) && read_count(state, "bytes", &out->bytes);
    fine = fine && read_count(state, "input", &file) && read_count(state, "offset", &position->offset);
    fine = fine && read_count(state, "line", &position->line) && read_count(state, "refused", &position->refused);
    fine = fine && read_count(state, "replaced", &position->replaced);
    position->file = (size_t)file;
    position->hash = hash ? strtoull(hash, NULL, 16) : 0;
    return fine;
}

/* What so many rows take, but as JSON; too many to count: UINT64_MAX. */
static uint64_t bytes_of_rows(const cli_embed_output *out)
{
    uint64_t size = cli_vector_bytes(out->type, out->dimension),
             header = out->container == CLI_EMBED_NPY ? CLI_NPY_HEADER : 0;
    return out->rows > (UINT64_MAX - header) / size ? UINT64_MAX : header + out->rows * size;
}

/* The first key whose values differ; NULL: none does. */
static const char *difference(json_t *stamp, const json_t *stored)
{
    const char *key;
    json_t *value;
    json_object_foreach(stamp, key, value) if (!json_equal(value, json_object_get(stored, key))) return key;
    return NULL;
}

/* Is there something that this run can go on from? Says why not when there was something. */
static bool find_state(cli_embed_output *out, cli_embed_position *position)
{
    struct stat info;
    json_t *state = json_load_file(out->state, 0, NULL);
    if (!state) return false;
    const char *differs = difference(out->stamp, json_object_get(state, "stamp"));
    bool sound = read_numbers(out, state, position);
    sound = sound && (out->container == CLI_EMBED_JSON || out->bytes == bytes_of_rows(out));
    bool whole = sound && fstat(fileno(out->file), &info) == 0 && (uint64_t)info.st_size >= out->bytes;
    if (!sound)
        cli_say("starting anew: %s cannot be read", out->state);
    else if (differs)
        cli_say("starting anew: %s was made with another %s", out->part, differs);
    else if (!whole)
        cli_say("starting anew: %s is shorter than it was", out->part);
    json_decref(state);
    return whole && !differs;
}

/* ---- opening ---- */

/* The file that the name stands for: behind links, and none that is not a file, which a rename would replace. */
static bool find_file(cli_embed_output *out, const char *path)
{
    struct stat info;
    char *real = realpath(path, NULL);
    out->path = real ? real : cli_strdup(path);
    if (stat(out->path, &info) != 0 || S_ISREG(info.st_mode)) return true;
    cli_complain("cannot write %s: it is no file; without --output vectors go to standard output", out->path);
    out->failed = true;
    return false;
}

/* Open FILE.part and lock it. Another run may move it to its place before the lock is ours: then look again. */
static bool open_part(cli_embed_output *out)
{
    for (;;) {
        int fd = open(out->part, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (fd < 0) return fail_write(out, out->part);
        struct stat here, there;
        if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
            cli_complain("%s: another mneme embed is writing it", out->part);
            out->failed = true;
            close(fd);
            return false;
        }
        bool same = fstat(fd, &here) == 0 && stat(out->part, &there) == 0 && here.st_ino == there.st_ino &&
                    here.st_dev == there.st_dev;
        if (same) {
            out->file = fdopen(fd, "r+b");
            if (out->file) return true;
            close(fd);
            return fail_write(out, out->part);
        }
        close(fd);
    }
}

bool cli_embed_output_open(cli_embed_output *out, const char *path, bool restart, cli_embed_position *position,
                           bool *found)
{
    size_t size = cli_vector_bytes(out->type, out->dimension);
    out->row = cli_alloc((size + 7) / 8, 8);
    *found = false;
    if (!path) return true;
    if (!find_file(out, path)) return false;
    out->part = cli_format("%s.part", out->path);
    out->state = cli_format("%s.part.state", out->path);
    if (!open_part(out)) return false;
    *found = !restart && find_state(out, position);
    return true;
}

/* Only the first `bytes` of FILE.part count. */
static bool cut_part(cli_embed_output *out)
{
    if (ftruncate(fileno(out->file), (off_t)out->bytes) != 0) return fail_write(out, out->part);
    if (fseeko(out->file, (off_t)out->bytes, SEEK_SET) != 0) return fail_write(out, out->part);
    out->saved_at = cli_seconds();
    return true;
}

bool cli_embed_output_resume(cli_embed_output *out)
{
    out->saved_rows = out->rows;
    return cut_part(out);
}

static bool write_bytes(cli_embed_output *out, const void *data, size_t size)
{
    out->bytes += size;
    return fwrite(data, 1, size, out->file) == size || fail_write(out, out->part);
}

bool cli_embed_output_begin(cli_embed_output *out)
{
    out->rows = out->bytes = 0;
    if (!out->file) return true;
    unlink(out->state);
    char header[CLI_NPY_HEADER];
    cli_npy_header(cli_vector_dtype(out->type), 0, cli_vector_columns(out->type, out->dimension), header);
    return cut_part(out) && (out->container != CLI_EMBED_NPY || write_bytes(out, header, sizeof header));
}

/* ---- rows ---- */

/* {"id":...,"vector":[...]} */
static bool write_json(cli_embed_output *out, const char *id)
{
    cli_text line = {0};
    cli_text_byte(&line, '{');
    if (id) {
        json_t *name = cli_json_string(id);
        char *quoted = json_dumps(name, JSON_ENCODE_ANY);
        cli_text_format(&line, "\"id\":%s,", quoted);
        free(quoted);
        json_decref(name);
    }
    cli_text_string(&line, "\"vector\":[");
    uint32_t columns = cli_vector_columns(out->type, out->dimension);
    int digits = cli_vector_digits(out->type);
    for (uint32_t i = 0; i < columns; i++)
        cli_text_format(&line, "%s%.*g", i ? "," : "", digits, cli_vector_number(out->type, out->row, i));
    cli_text_string(&line, "]}\n");
    bool fine = out->file ? write_bytes(out, line.data, line.size) : cli_print_bytes(line.data, line.size);
    if (!fine) out->failed = true;
    cli_text_free(&line);
    return fine;
}

bool cli_embed_output_put(cli_embed_output *out, const char *id, const float *vector)
{
    cli_vector_convert(out->type, vector, out->dimension, out->row);
    bool json = out->container == CLI_EMBED_STDOUT || out->container == CLI_EMBED_JSON;
    bool fine = json ? write_json(out, id) : write_bytes(out, out->row, cli_vector_bytes(out->type, out->dimension));
    out->rows += fine;
    return fine;
}

bool cli_embed_output_save(cli_embed_output *out, const cli_embed_position *position)
{
    return !out->file || cli_seconds() - out->saved_at < SAVE_SECONDS || save(out, position);
}

/* ---- the end ---- */

bool cli_embed_output_finish(cli_embed_output *out)
{
    if (!out->file) return true;
    char header[CLI_NPY_HEADER];
    cli_npy_header(cli_vector_dtype(out->type), out->rows, cli_vector_columns(out->type, out->dimension), header);
    bool fine = out->container != CLI_EMBED_NPY ||
                (fseeko(out->file, 0, SEEK_SET) == 0 && fwrite(header, sizeof header, 1, out->file) == 1);
    struct stat before;
    if (stat(out->path, &before) == 0) (void)!fchmod(fileno(out->file), before.st_mode & 07777); /* it keeps its mode */
    fine = fine && fflush(out->file) == 0 && fsync(fileno(out->file)) == 0 && rename(out->part, out->path) == 0;
    if (!fine) return fail_write(out, out->path);
    unlink(out->state);
    sync_folder(out->path);
    fclose(out->file);
    out->file = NULL;
    return true;
}

void cli_embed_output_discard(cli_embed_output *out)
{
    if (!out->file) return;
    unlink(out->state);
    unlink(out->part);
    out->saved_rows = 0;
}

void cli_embed_output_stop(cli_embed_output *out, const cli_embed_position *position)
{
    if (!out->file) return;
    if (!out->failed && out->rows > out->saved_rows) save(out, position);
    if (out->saved_rows == 0)
        cli_embed_output_discard(out);
    else
        cli_say("%llu vectors are kept in %s; the same command goes on from there", (unsigned long long)out->saved_rows,
                out->part);
}

void cli_embed_output_close(cli_embed_output *out)
{
    if (out->file) fclose(out->file);
    free(out->row);
    free(out->path);
    free(out->part);
    free(out->state);
    json_decref(out->stamp);
    *out = (cli_embed_output){0};
}
