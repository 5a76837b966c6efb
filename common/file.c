/* file.c -- files and paths (POSIX). */
#include "common/file.h"

#include "common/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static mneme_status open_regular(const char *path, int *fd, size_t *size, mneme_error *error)
{
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0) return mn_fail_errno(error, errno, "cannot open %s", path);
    struct stat info;
    mneme_status status = MNEME_OK;
    if (fstat(*fd, &info) != 0)
        status = mn_fail_errno(error, errno, "cannot read %s", path);
    else if (!S_ISREG(info.st_mode))
        status = mn_fail(error, MNEME_ERR_IO, "%s is not a regular file", path);
    if (status != MNEME_OK) {
        close(*fd);
        *fd = -1;
        return status;
    }
    *size = (size_t)info.st_size;
    return MNEME_OK;
}

mneme_status mn_file_map(const char *path, mn_mapping *out, mneme_error *error)
{
    *out = (mn_mapping){0};
    int fd = -1;
    size_t size = 0;
    mneme_status status = open_regular(path, &fd, &size, error);
    if (status != MNEME_OK) return status;
    if (size > 0) {
        void *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
            status = mn_fail_errno(error, errno, "cannot map %s", path);
        else
            *out = (mn_mapping){.data = data, .size = size};
    }
    close(fd);
    return status;
}

void mn_file_unmap(mn_mapping *mapping)
{
    if (mapping->data) munmap((void *)(uintptr_t)mapping->data, mapping->size);
    *mapping = (mn_mapping){0};
}

mneme_status mn_file_read(const char *path, size_t max_size, mn_buffer *out, mneme_error *error)
{
    int fd = -1;
    size_t size = 0;
    mneme_status status = open_regular(path, &fd, &size, error);
    if (status != MNEME_OK) return status;
    size_t total = 0;
    mn_buffer_reserve(out, size < max_size ? size + 1 : 0);
    for (;;) {
        if (!mn_buffer_reserve(out, 65536)) {
            status = mn_fail_memory(error, path);
            break;
        }
        ssize_t got = read(fd, out->data + out->size, 65536);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) status = mn_fail_errno(error, errno, "cannot read %s", path);
        if (got <= 0) break;
        out->size += (size_t)got;
        total += (size_t)got;
        if (total > max_size) {
            status = mn_fail(error, MNEME_ERR_TOO_LARGE, "%s is over the limit of %zu bytes", path, max_size);
            break;
        }
    }
    close(fd);
    if (out->data) out->data[out->size] = '\0';
    return status;
}

mneme_status mn_file_write_all(int fd, const char *path, const void *data, size_t size, mneme_error *error)
{
    const char *at = data;
    while (size > 0) {
        ssize_t put = write(fd, at, size);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return mn_fail_errno(error, errno, "cannot write %s", path);
        at += put;
        size -= (size_t)put;
    }
    return MNEME_OK;
}

mneme_status mn_directory_sync(const char *path, mneme_error *error)
{
    mneme_status status = MNEME_OK;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0) status = mn_fail_errno(error, errno, "cannot sync directory %s", path);
    if (fd >= 0) close(fd);
    return status;
}

static mneme_status sync_parent(const char *path, mneme_error *error)
{
    const char *base = mn_path_base(path);
    char *parent = base == path ? mn_strdup(".") : mn_strndup(path, (size_t)(base - path));
    if (!parent) return mn_fail_memory(error, "path");
    mneme_status status = mn_directory_sync(parent, error);
    mn_free(parent);
    return status;
}

mneme_status mn_file_write_atomic(const char *path, const void *data, size_t size, mneme_error *error)
{
    mn_buffer temporary = {0};
    mn_buffer_format(&temporary, "%s.tmp-XXXXXX", path);
    if (temporary.failed) {
        mn_buffer_free(&temporary);
        return mn_fail_memory(error, path);
    }
    mneme_status status = MNEME_OK;
    int fd = mkstemp(temporary.data);
    if (fd < 0) {
        status = mn_fail_errno(error, errno, "cannot create %s", temporary.data);
        goto cleanup;
    }
    status = mn_file_write_all(fd, path, data, size, error);
    if (status == MNEME_OK && fsync(fd) != 0) status = mn_fail_errno(error, errno, "cannot sync %s", path);
    if (close(fd) != 0 && status == MNEME_OK) status = mn_fail_errno(error, errno, "cannot write %s", path);
    if (status == MNEME_OK && rename(temporary.data, path) != 0)
        status = mn_fail_errno(error, errno, "cannot rename %s to %s", temporary.data, path);
    if (status != MNEME_OK)
        unlink(temporary.data);
    else
        status = sync_parent(path, error);
cleanup:
    mn_buffer_free(&temporary);
    return status;
}

bool mn_file_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

bool mn_is_directory(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* The path's parent cannot hold it, or a file is in its way: the system's failure, not something that was looked for
 * and is not there. */
static mneme_status fail_directory(const char *path, int errno_value, mneme_error *error)
{
    struct stat info;
    if (errno_value == EEXIST && lstat(path, &info) == 0 && S_ISLNK(info.st_mode))
        return mn_fail(error, MNEME_ERR_IO, "cannot create directory %s: it is a symbolic link that leads nowhere",
                       path);
    mneme_status status = mn_fail_errno(error, errno_value, "cannot create directory %s", path);
    if (status != MNEME_ERR_NOT_FOUND) return status;
    if (error) error->code = MNEME_ERR_IO;
    return MNEME_ERR_IO;
}

mneme_status mn_make_directories(const char *path, unsigned mode, mneme_error *error)
{
    if (mn_is_directory(path)) return MNEME_OK;
    char *copy = mn_strdup(path);
    if (!copy) return mn_fail_memory(error, "path");
    mneme_status status = MNEME_OK;
    for (char *slash = strchr(copy + 1, '/'); slash && status == MNEME_OK; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int code = mkdir(copy, 0777) == 0 ? 0 : errno;
        if (code != 0 && !mn_is_directory(copy)) status = fail_directory(copy, code, error);
        *slash = '/';
    }
    if (status == MNEME_OK && mkdir(copy, mode) != 0) {
        int code = errno;
        if (code != EEXIST || !mn_is_directory(copy)) status = fail_directory(path, code, error);
    }
    mn_free(copy);
    return status;
}

char *mn_path_join(const char *directory, const char *name)
{
    if (name[0] == '/' || directory[0] == '\0') return mn_strdup(name);
    mn_buffer path = {0};
    mn_buffer_text(&path, directory);
    if (path.size && path.data[path.size - 1] != '/') mn_buffer_byte(&path, '/');
    mn_buffer_text(&path, name);
    if (path.failed) mn_buffer_free(&path);
    return path.data;
}

/* Drop the last part of an output path; false when there is none that may go (root, or it is ".." itself). */
static bool drop_last_part(mn_buffer *out)
{
    size_t from = out->size;
    while (from > 0 && out->data[from - 1] != '/') from--;
    size_t part = out->size - from;
    if (part == 0 || (part == 2 && memcmp(out->data + from, "..", 2) == 0)) return false;
    out->size = from > 1 ? from - 1 : from;
    out->data[out->size] = '\0';
    return true;
}

char *mn_path_normalize(const char *path)
{
    mn_buffer out = {0};
    bool absolute = path[0] == '/';
    mn_buffer_text(&out, absolute ? "/" : "");
    for (const char *at = path; *at && !out.failed;) {
        size_t part = strcspn(at, "/");
        bool is_dot = part == 0 || (part == 1 && at[0] == '.');
        bool is_parent = part == 2 && at[0] == '.' && at[1] == '.';
        bool skip = is_dot || (is_parent && (drop_last_part(&out) || absolute));
        if (!skip) {
            if (out.size && out.data[out.size - 1] != '/') mn_buffer_byte(&out, '/');
            mn_buffer_append(&out, at, part);
        }
        at += part;
        if (*at == '/') at++;
    }
    if (out.size == 0) mn_buffer_text(&out, ".");
    if (out.failed) mn_buffer_free(&out);
    return out.data;
}

const char *mn_path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}
