/* packed_file.c -- the packed file.
 *
 *     0                                                            64
 *     | "mnPACK02" | stamp u64 | 2 x (offset, size) u64 | checksum | zeros to 64 | part 0 | zeros to 64 | part 1 |
 *
 * Numbers are in the processor's own order: the file never leaves its machine, and one of another order fails its
 * stamp. The checksum is XXH3 over the header before it and all bytes after it. */
#include "encoder/packed_file.h"

#include "common/memory.h"
#include "encoder/weight_shards.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <xxhash.h>

typedef struct packed_header {
    char magic[8]; /* counts up when the layout of the file or of a part changes */
    uint64_t stamp;
    struct {
        uint64_t offset, size;
    } parts[MN_PACKED_PARTS];
    uint64_t checksum;
    uint64_t zero;
} packed_header;

_Static_assert(sizeof(packed_header) == 64, "parts begin 64-byte aligned");

static const char magic[8] = {'m', 'n', 'P', 'A', 'C', 'K', '0', '2'};

static bool stamp_file(const char *folder, const char *name, uint64_t place, uint64_t *hash)
{
    char *path = mn_path_join(folder, name);
    struct stat info;
    uint64_t facts[8] = {place};
    bool there = path && stat(path, &info) == 0;
    if (there) {
        const uint64_t found[8] = {place,
                                   (uint64_t)info.st_dev,
                                   (uint64_t)info.st_ino,
                                   (uint64_t)info.st_size,
                                   (uint64_t)info.st_mtim.tv_sec,
                                   (uint64_t)info.st_mtim.tv_nsec,
                                   (uint64_t)info.st_ctim.tv_sec,
                                   (uint64_t)info.st_ctim.tv_nsec};
        memcpy(facts, found, sizeof facts);
    }
    mn_free(path);
    *hash = XXH3_64bits_withSeed(facts, sizeof facts, *hash);
    return there;
}

/* The shards that the index names; an index that cannot be read stops the model from opening anyway. */
static void stamp_shards(const char *folder, const char *index_name, uint64_t place, uint64_t *hash)
{
    mn_weight_index *index = NULL;
    char *path = mn_path_join(folder, index_name);
    if (path && mn_weight_index_read(path, &index, NULL) == MNEME_OK)
        for (size_t i = 0; i < mn_weight_index_count(index); i++)
            stamp_file(folder, mn_weight_index_shard(index, i), place + i, hash);
    mn_weight_index_free(index);
    mn_free(path);
}

uint64_t mn_packed_stamp(const char *folder)
{
    static const char *const names[] = {"config.json", "vocab.txt", "tokenizer.json", "tokenizer_config.json",
                                        "special_tokens_map.json"};
    static const char weights[] = "model.safetensors", index[] = "model.safetensors" MN_WEIGHT_INDEX_ENDING;
    enum { N = sizeof names / sizeof names[0] };
    uint64_t hash = XXH3_64bits(magic, sizeof magic);
    for (size_t i = 0; i < N; i++) stamp_file(folder, names[i], i, &hash);
    if (!stamp_file(folder, weights, N, &hash) && stamp_file(folder, index, N + 1, &hash))
        stamp_shards(folder, index, N + 2, &hash);
    return hash;
}

static uint64_t checksum(const packed_header *header, const unsigned char *rest, size_t rest_size)
{
    uint64_t seed = XXH3_64bits(header, offsetof(packed_header, checksum));
    return XXH3_64bits_withSeed(rest, rest_size, seed);
}

static bool fits(const packed_header *header, size_t file_size)
{
    for (size_t i = 0; i < MN_PACKED_PARTS; i++) {
        uint64_t offset = header->parts[i].offset, size = header->parts[i].size;
        if (offset % 64 != 0 || offset < sizeof *header || offset > file_size || size > file_size - offset)
            return false;
    }
    return true;
}

mneme_status mn_packed_open(const char *path, uint64_t stamp, mn_packed_file *out, mneme_error *error)
{
    *out = (mn_packed_file){0};
    mneme_status status = mn_file_map(path, &out->map, error);
    if (status != MNEME_OK) return status;
    /* All of it is read at once now: let the pages be mapped in one go (Linux 5.14; elsewhere they come one by one). */
    if (out->map.size) madvise((void *)(uintptr_t)out->map.data, out->map.size, MADV_POPULATE_READ);
    packed_header header;
    const char *wrong = NULL;
    if (out->map.size < sizeof header) {
        wrong = "it is cut short";
    } else {
        memcpy(&header, out->map.data, sizeof header);
        if (memcmp(header.magic, magic, sizeof magic) != 0)
            wrong = "it is not a packed file of this version";
        else if (header.stamp != stamp)
            wrong = "it belongs to other files, another processor or another precision";
        else if (!fits(&header, out->map.size))
            wrong = "it is cut short";
        else if (header.checksum != checksum(&header, out->map.data + sizeof header, out->map.size - sizeof header))
            wrong = "its checksum does not match";
    }
    if (wrong) {
        mn_packed_close(out);
        return mn_fail(error, MNEME_ERR_DAMAGED, "%s: %s", path, wrong);
    }
    for (size_t i = 0; i < MN_PACKED_PARTS; i++)
        out->parts[i] = (mn_packed_part){out->map.data + header.parts[i].offset, (size_t)header.parts[i].size};
    return MNEME_OK;
}

void mn_packed_close(mn_packed_file *file)
{
    mn_file_unmap(&file->map);
    *file = (mn_packed_file){0};
}

mneme_status mn_packed_write(const char *path, uint64_t stamp, const mn_packed_part parts[MN_PACKED_PARTS],
                             mneme_error *error)
{
    packed_header header = {.stamp = stamp};
    memcpy(header.magic, magic, sizeof magic);
    size_t size = sizeof header;
    for (size_t i = 0; i < MN_PACKED_PARTS; i++) {
        header.parts[i].offset = size;
        header.parts[i].size = parts[i].size;
        if (parts[i].size > SIZE_MAX / 4) return mn_fail_memory(error, path);
        size += (parts[i].size + 63) / 64 * 64;
    }
    const char *base = mn_path_base(path);
    char *folder = mn_strndup(path, (size_t)(base - path));
    unsigned char *bytes = folder ? mn_alloc_zeroed(size, 1) : NULL;
    mneme_status status = bytes ? MNEME_OK : mn_fail_memory(error, path);
    if (status == MNEME_OK && base != path) status = mn_make_directories(folder, 0700, error);
    if (status == MNEME_OK) {
        for (size_t i = 0; i < MN_PACKED_PARTS; i++)
            if (parts[i].size) memcpy(bytes + header.parts[i].offset, parts[i].data, parts[i].size);
        header.checksum = checksum(&header, bytes + sizeof header, size - sizeof header);
        memcpy(bytes, &header, sizeof header);
        status = mn_file_write_atomic(path, bytes, size, error);
    }
    mn_free(bytes);
    mn_free(folder);
    return status;
}
