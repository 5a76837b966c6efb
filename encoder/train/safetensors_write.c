/* safetensors_write.c -- 8 bytes of size, the JSON header padded with spaces to a multiple of 8, the tensors one after
 * the other. */
#include "encoder/train/safetensors_write.h"

#include "common/buffer.h"
#include "common/file.h"
#include "common/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void add_header(mn_buffer *file, const mn_tensor *tensors, size_t n)
{
    mn_buffer header = {0};
    size_t offset = 0;
    mn_buffer_byte(&header, '{');
    for (size_t i = 0; i < n; i++) {
        const mn_tensor *t = &tensors[i];
        mn_buffer_format(&header, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", i ? "," : "", t->name, t->dtype);
        for (size_t d = 0; d < t->rank; d++)
            mn_buffer_format(&header, "%s%llu", d ? "," : "", (unsigned long long)t->shape[d]);
        mn_buffer_format(&header, "],\"data_offsets\":[%zu,%zu]}", offset, offset + t->size_bytes);
        offset += t->size_bytes;
    }
    mn_buffer_byte(&header, '}');
    while (header.size % 8 != 0 && !header.failed) mn_buffer_byte(&header, ' ');
    for (unsigned i = 0; i < 8; i++) mn_buffer_byte(file, (char)(header.size >> (8 * i) & 0xFF));
    mn_buffer_append(file, header.data, header.size);
    file->failed |= header.failed;
    mn_buffer_free(&header);
}

static mneme_status write_all(int fd, const char *path, const mn_tensor *tensors, size_t n, mneme_error *error)
{
    mn_buffer header = {0};
    add_header(&header, tensors, n);
    mneme_status status =
        header.failed ? mn_fail_memory(error, path) : mn_file_write_all(fd, path, header.data, header.size, error);
    for (size_t i = 0; i < n && status == MNEME_OK; i++)
        status = mn_file_write_all(fd, path, tensors[i].data, tensors[i].size_bytes, error);
    if (status == MNEME_OK && fsync(fd) != 0) status = mn_fail_errno(error, errno, "cannot flush %s", path);
    mn_buffer_free(&header);
    return status;
}

mneme_status mn_safetensors_write(const char *path, const mn_tensor *tensors, size_t n, mneme_error *error)
{
    mn_buffer part = {0};
    mn_buffer_format(&part, "%s.part-%ld", path, (long)getpid());
    if (part.failed) return mn_fail_memory(error, path);
    int fd = open(part.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    mneme_status status = fd >= 0 ? write_all(fd, part.data, tensors, n, error)
                                  : mn_fail_errno(error, errno, "cannot write %s", part.data);
    if (fd >= 0 && close(fd) != 0 && status == MNEME_OK) status = mn_fail_errno(error, errno, "cannot write %s", path);
    if (status == MNEME_OK && rename(part.data, path) != 0)
        status = mn_fail_errno(error, errno, "cannot rename %s to %s", part.data, path);
    if (status != MNEME_OK && fd >= 0) unlink(part.data);
    mn_buffer_free(&part);
    return status;
}
