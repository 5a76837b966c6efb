/* index_file.c -- reading and completing index files.
 *
 * The file is mapped once, and the graph in it is searched where it lies (graph.h). Lists are FAISS's to search, which
 * maps the file by itself when it is first asked: by its descriptor (/proc/self/fd), so that the file is the one that
 * was checked. */
#include "retriever/index_file.h"

#include "common/file.h"
#include "retriever/faiss_adapter.h"
#include "retriever/graph.h"
#include "retriever/index_lists.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

_Static_assert(sizeof(mn_index_facts) == 256, "the trailer's size is format");

static const char magic[8] = "mnemeIX";

struct mn_index {
    atomic_uint references;
    int fd;
    mn_file_stamp stamp;
    bool compared;
    const unsigned char *map;
    size_t size;
    mn_index_facts facts;
    const uint32_t *rows;
    const uint64_t *sums;
    mn_graph *graph;      /* NULL: lists */
    pthread_mutex_t lock; /* of faiss */
    mn_faiss *faiss;      /* lists: NULL until needed */
};

/* ---- names and stamps ---- */

char *mn_index_folder(const char *store_folder)
{
    return mn_path_join(store_folder, "index");
}

char *mn_index_path(const char *store_folder, uint32_t ns)
{
    char name[40];
    snprintf(name, sizeof name, "index/%u.faiss", ns);
    return mn_path_join(store_folder, name);
}

static mn_file_stamp stamp_of(const struct stat *info)
{
    return (mn_file_stamp){.device = info->st_dev,
                           .inode = info->st_ino,
                           .size = (uint64_t)info->st_size,
                           .modified_ns = (int64_t)info->st_mtim.tv_sec * 1000000000 + info->st_mtim.tv_nsec,
                           .changed_ns = (int64_t)info->st_ctim.tv_sec * 1000000000 + info->st_ctim.tv_nsec};
}

mn_file_stamp mn_index_stamp_of(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 ? stamp_of(&info) : (mn_file_stamp){0};
}

bool mn_file_stamps_equal(const mn_file_stamp *a, const mn_file_stamp *b)
{
    return a->inode && memcmp(a, b, sizeof *a) == 0;
}

/* ---- layout ---- */

static uint64_t round_up_8(uint64_t size)
{
    return (size + 7) / 8 * 8;
}

static uint64_t n_blocks(const mn_index_facts *facts)
{
    return (facts->graph_bytes - facts->tail_start + MN_INDEX_BLOCK_BYTES - 1) / MN_INDEX_BLOCK_BYTES;
}

static uint64_t rows_start(const mn_index_facts *facts)
{
    return round_up_8(facts->graph_bytes);
}

static uint64_t sums_start(const mn_index_facts *facts)
{
    return rows_start(facts) + round_up_8(facts->n_codes * sizeof(uint32_t));
}

static uint64_t file_size(const mn_index_facts *facts)
{
    return sums_start(facts) + n_blocks(facts) * sizeof(uint64_t) + sizeof *facts;
}

uint64_t mn_index_facts_sum(const mn_index_facts *facts)
{
    return XXH3_64bits(facts, offsetof(mn_index_facts, sum));
}

static uint64_t block_sum(const unsigned char *part, const mn_index_facts *facts, uint64_t block)
{
    uint64_t at = facts->tail_start + block * MN_INDEX_BLOCK_BYTES, left = facts->graph_bytes - at;
    return XXH3_64bits(part + at, left < MN_INDEX_BLOCK_BYTES ? left : MN_INDEX_BLOCK_BYTES);
}

/* ---- opening ---- */

static mneme_status read_facts(mn_index *index, mneme_error *error)
{
    mn_index_facts *facts = &index->facts;
    if (index->size < sizeof *facts) return mn_fail(error, MNEME_ERR_DAMAGED, "it is cut short");
    memcpy(facts, index->map + index->size - sizeof *facts, sizeof *facts);
    if (memcmp(facts->magic, magic, sizeof magic) != 0)
        return mn_fail(error, MNEME_ERR_DAMAGED, "it is cut short, or no index");
    if (facts->sum != mn_index_facts_sum(facts)) return mn_fail(error, MNEME_ERR_DAMAGED, "its trailer is damaged");
    if (facts->version != MN_INDEX_VERSION)
        return mn_fail(error, MNEME_ERR_FORMAT, "it has format %u, this mneme reads %u", facts->version,
                       MN_INDEX_VERSION);
    size_t code_bytes = facts->kind < MN_INDEX_KINDS ? mn_index_place_bytes(facts->kind, facts->padded) : 0, codes = 0;
    bool sound = code_bytes && facts->graph_bytes < index->size && facts->n_codes <= facts->n_rows &&
                 mn_multiply((size_t)facts->n_codes, code_bytes, &codes) && codes <= facts->graph_bytes &&
                 facts->tail_start == facts->graph_bytes - codes &&
                 facts->padded == mn_index_padded(facts->dimension) && file_size(facts) == index->size;
    return sound ? MNEME_OK : mn_fail(error, MNEME_ERR_DAMAGED, "its parts do not have the sizes that they should");
}

static mneme_status check_owner(const mn_index_facts *facts, const mn_index_owner *owner, mneme_error *error)
{
    if (!owner->identity.is_known || memcmp(facts->identity, owner->identity.id, sizeof facts->identity) != 0)
        return mn_fail(error, MNEME_ERR_FORMAT, "it is of another store");
    if (facts->ns != owner->ns) return mn_fail(error, MNEME_ERR_FORMAT, "it is of another namespace");
    if (facts->epoch != owner->identity.epoch) return mn_fail(error, MNEME_ERR_FORMAT, "the store was compacted since");
    if (facts->dimension != owner->dimension)
        return mn_fail(error, MNEME_ERR_FORMAT, "its vectors have dimension %u, the namespace's %u", facts->dimension,
                       owner->dimension);
    return MNEME_OK;
}

/* Of what does not change once the file is there, and, unless the tail is being changed, of that. */
static mneme_status compare_sums(mn_index *index, mneme_error *error)
{
    const mn_index_facts *facts = &index->facts;
    uint64_t blocks = n_blocks(facts);
    if (XXH3_64bits(index->map, facts->tail_start) != facts->head_sum)
        return mn_fail(error, MNEME_ERR_DAMAGED, "its %s does not fit its checksum",
                       mn_index_has_lists(facts->kind) ? "head" : "graph");
    if (XXH3_64bits(index->rows, facts->n_codes * sizeof *index->rows) != facts->rows_sum)
        return mn_fail(error, MNEME_ERR_DAMAGED, "its rows do not fit their checksum");
    index->compared = true;
    if (facts->is_being_scrubbed) return MNEME_OK;
    if (XXH3_64bits(index->sums, blocks * sizeof *index->sums) != facts->sums_sum)
        return mn_fail(error, MNEME_ERR_DAMAGED, "its checksums are damaged");
    for (uint64_t b = 0; b < blocks; b++)
        if (block_sum(index->map, facts, b) != index->sums[b])
            return mn_fail(error, MNEME_ERR_DAMAGED, "its vectors do not fit their checksum, %llu bytes into them",
                           (unsigned long long)b * MN_INDEX_BLOCK_BYTES);
    return MNEME_OK;
}

static mneme_status map_file(mn_index *index, const char *path, mneme_error *error)
{
    struct stat info;
    index->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (index->fd < 0 || fstat(index->fd, &info) != 0) return mn_fail_errno(error, errno, "it cannot be opened");
    index->stamp = stamp_of(&info);
    index->size = (size_t)info.st_size;
    if (!S_ISREG(info.st_mode) || index->size == 0) return mn_fail(error, MNEME_ERR_DAMAGED, "it is empty");
    void *map = mmap(NULL, index->size, PROT_READ, MAP_SHARED, index->fd, 0);
    if (map == MAP_FAILED) return mn_fail_errno(error, errno, "it cannot be mapped");
    index->map = map;
    return MNEME_OK;
}

/* FAISS must find in the file what the trailer says. */
static mneme_status open_lists(mn_index *index, mneme_error *error)
{
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", index->fd);
    mn_faiss *faiss = NULL;
    mneme_status status = mn_faiss_open(path, MN_FAISS_MAPPED, &faiss, error);
    if (status == MNEME_OK &&
        (mn_faiss_count(faiss) != index->facts.n_codes || mn_faiss_dimension(faiss) != index->facts.padded ||
         mn_faiss_n_lists(faiss) != index->facts.n_lists))
        status = mn_fail(error, MNEME_ERR_DAMAGED, "it does not hold as many vectors as it should");
    if (status == MNEME_OK)
        index->faiss = faiss;
    else
        mn_faiss_free(faiss);
    return status;
}

mneme_status mn_index_faiss(mn_index *index, const mn_faiss **out, mneme_error *error)
{
    mneme_status status = MNEME_OK;
    pthread_mutex_lock(&index->lock);
    if (!index->faiss) status = open_lists(index, error);
    *out = index->faiss;
    pthread_mutex_unlock(&index->lock);
    return status;
}

static mneme_status open_graph(mn_index *index, mneme_error *error)
{
    const mn_graph_shape shape = {(mn_index_kind)index->facts.kind, index->facts.padded, index->facts.n_codes};
    return mn_graph_open(index->map, (size_t)index->facts.graph_bytes, &shape, &index->graph, error);
}

mneme_status mn_index_open(const char *path, const mn_index_owner *owner, const mn_file_stamp *known, mn_index **out,
                           mneme_error *error)
{
    *out = NULL;
    mn_index *index = mn_alloc_zeroed(1, sizeof *index);
    if (!index) return mn_fail_memory(error, "index");
    atomic_init(&index->references, 1);
    pthread_mutex_init(&index->lock, NULL);
    index->fd = -1;
    mneme_status status = map_file(index, path, error);
    if (status == MNEME_OK) status = read_facts(index, error);
    if (status == MNEME_OK) status = check_owner(&index->facts, owner, error);
    if (status == MNEME_OK) {
        index->rows = (const uint32_t *)(const void *)(index->map + rows_start(&index->facts));
        index->sums = (const uint64_t *)(const void *)(index->map + sums_start(&index->facts));
        if (!known || !mn_file_stamps_equal(known, &index->stamp)) status = compare_sums(index, error);
    }
    if (status == MNEME_OK && !mn_index_has_lists(index->facts.kind)) status = open_graph(index, error);
    if (status == MNEME_OK)
        *out = index;
    else
        mn_index_release(index);
    return status;
}

mn_index *mn_index_keep(mn_index *index)
{
    atomic_fetch_add(&index->references, 1);
    return index;
}

void mn_index_release(mn_index *index)
{
    if (!index || atomic_fetch_sub(&index->references, 1) != 1) return;
    mn_graph_free(index->graph);
    mn_faiss_free(index->faiss);
    pthread_mutex_destroy(&index->lock);
    if (index->map) munmap((void *)(uintptr_t)index->map, index->size);
    if (index->fd >= 0) close(index->fd);
    mn_free(index);
}

/* ---- what it says ---- */

const mn_file_stamp *mn_index_stamp(const mn_index *index)
{
    return &index->stamp;
}

bool mn_index_was_compared(const mn_index *index)
{
    return index->compared;
}

const mn_index_facts *mn_index_get_facts(const mn_index *index)
{
    return &index->facts;
}

const uint32_t *mn_index_rows(const mn_index *index)
{
    return index->rows;
}

const unsigned char *mn_index_codes(const mn_index *index, uint64_t position)
{
    return index->map + index->facts.tail_start +
           position * mn_index_code_bytes(index->facts.kind, index->facts.padded);
}

const unsigned char *mn_index_tail(const mn_index *index)
{
    return index->map + index->facts.tail_start;
}

const uint64_t *mn_index_sums(const mn_index *index, size_t *n)
{
    *n = (size_t)n_blocks(&index->facts);
    return index->sums;
}

uint64_t mn_index_block_sum(const mn_index *index, uint64_t block)
{
    return block_sum(index->map, &index->facts, block);
}

uint64_t mn_index_bytes(const mn_index *index)
{
    return index->size;
}

int mn_index_open_writable(const mn_index *index)
{
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", index->fd);
    return open(path, O_RDWR | O_CLOEXEC);
}

/* As close as 16 bits a number come. */
static bool nearly_equal(const float *a, const float *b, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        float difference = a[i] > b[i] ? a[i] - b[i] : b[i] - a[i];
        if (!(difference <= 0.01f * (b[i] < 0 ? -b[i] : b[i]) + 1e-6f)) return false;
    }
    return true;
}

bool mn_index_has_vector(const mn_index *index, uint64_t position, const mn_vector_blocks *vectors, float *scratch)
{
    const mn_index_facts *facts = &index->facts;
    float *codes = scratch, *expected = scratch + facts->padded;
    if (!mn_vector_of(vectors, index->rows[position], codes)) return false;
    mn_index_prepare(facts->kind, facts->scale, codes, facts->dimension, expected);
    mn_index_decode(facts->kind, mn_index_codes(index, position), facts->padded, codes);
    return nearly_equal(codes, expected, facts->padded);
}

bool mn_index_fits(mn_index *index, const mn_rows *rows, const mn_vector_blocks *vectors, mn_arena *arena)
{
    enum { SAMPLES = 64 };
    const mn_index_facts *facts = &index->facts;
    uint64_t step = facts->n_codes / SAMPLES + 1;
    if (facts->n_rows > rows->n_rows) return false;
    if (mn_index_has_lists(facts->kind)) return mn_index_lists_fit(index, rows, vectors, step, arena);
    float *scratch = mn_arena_array(arena, 2 * (size_t)facts->padded, sizeof *scratch);
    if (!scratch) return false;
    for (uint64_t p = 0; p < facts->n_codes; p += step) {
        uint32_t row = index->rows[p];
        if (row >= rows->n_rows) return false;
        if (mn_row_at(rows, row)->rec != 0 && !mn_index_has_vector(index, p, vectors, scratch)) return false;
    }
    return true;
}

/* ---- searching ---- */

/* vector: facts->padded floats. */
static mneme_status search_graph(mn_index *index, const float *vector, const mn_index_question *question,
                                 mn_arena *arena, int64_t **positions, mneme_error *error)
{
    const mn_graph_question asked = {vector, question->k, question->effort, question->allowed};
    *positions = mn_arena_array(arena, question->k, sizeof **positions);
    if (!*positions) return mn_fail_memory(error, "search");
    return mn_graph_search(index->graph, &asked, *positions, error);
}

static mneme_status search_lists(mn_index *index, const mn_index_question *question, mn_arena *arena,
                                 int64_t **positions, mneme_error *error)
{
    const mn_faiss *faiss = NULL;
    float *codes = mn_arena_array(arena, index->facts.padded, sizeof *codes);
    float *distances = mn_arena_array(arena, question->k, sizeof *distances);
    *positions = mn_arena_array(arena, question->k, sizeof **positions);
    if (!codes || !distances || !*positions) return mn_fail_memory(error, "search");
    const mn_faiss_probe probe = {codes, question->k, (uint32_t)question->effort, question->allowed};
    mn_index_prepare(index->facts.kind, index->facts.scale, question->vector, index->facts.dimension, codes);
    mneme_status status = mn_index_faiss(index, &faiss, error);
    return status == MNEME_OK ? mn_faiss_search_lists(faiss, &probe, distances, *positions, error) : status;
}

mneme_status mn_index_search(mn_index *index, const mn_index_question *question, mn_arena *arena, int64_t **positions,
                             mneme_error *error)
{
    const mn_index_facts *facts = &index->facts;
    if (mn_index_has_lists(facts->kind)) return search_lists(index, question, arena, positions, error);
    float *vector = mn_arena_array(arena, facts->padded, sizeof *vector);
    if (!vector) return mn_fail_memory(error, "search");
    memcpy(vector, question->vector, facts->dimension * sizeof *vector);
    for (uint32_t i = facts->dimension; i < facts->padded; i++) vector[i] = 0;
    return search_graph(index, vector, question, arena, positions, error);
}

mneme_status mn_index_search_near(mn_index *index, uint64_t position, const mn_index_question *question,
                                  mn_arena *arena, int64_t **positions, mneme_error *error)
{
    const mn_index_facts *facts = &index->facts;
    float *vector = mn_arena_array(arena, facts->padded, sizeof *vector);
    if (!vector) return mn_fail_memory(error, "search");
    mn_index_decode(facts->kind, mn_index_codes(index, position), facts->padded, vector);
    mn_index_center(facts->kind, facts->padded, vector);
    return search_graph(index, vector, question, arena, positions, error);
}

/* ---- completing ---- */

static mneme_status pad_to_8(int fd, const char *path, uint64_t size, mneme_error *error)
{
    static const char zeros[8] = {0};
    return mn_file_write_all(fd, path, zeros, round_up_8(size) - size, error);
}

static mneme_status append_parts(int fd, const char *path, const mn_index_facts *facts, const uint32_t *rows,
                                 const uint64_t *sums, mneme_error *error)
{
    uint64_t rows_bytes = facts->n_codes * sizeof *rows;
    if (lseek(fd, 0, SEEK_END) < 0) return mn_fail_errno(error, errno, "cannot write %s", path);
    mneme_status status = pad_to_8(fd, path, facts->graph_bytes, error);
    if (status == MNEME_OK) status = mn_file_write_all(fd, path, rows, rows_bytes, error);
    if (status == MNEME_OK) status = pad_to_8(fd, path, rows_bytes, error);
    if (status == MNEME_OK) status = mn_file_write_all(fd, path, sums, n_blocks(facts) * sizeof *sums, error);
    if (status == MNEME_OK) status = mn_file_write_all(fd, path, facts, sizeof *facts, error);
    if (status == MNEME_OK && fsync(fd) != 0) status = mn_fail_errno(error, errno, "cannot write %s", path);
    return status;
}

mneme_status mn_index_complete(const char *path, mn_index_facts *facts, const uint32_t *rows, mneme_error *error)
{
    mn_mapping part;
    size_t codes = facts->n_codes * mn_index_place_bytes(facts->kind, facts->padded);
    mneme_status status = mn_file_map(path, &part, error);
    if (status != MNEME_OK) return status;
    memcpy(facts->magic, magic, sizeof magic);
    facts->version = MN_INDEX_VERSION;
    facts->graph_bytes = part.size;
    facts->tail_start = part.size - codes;
    uint64_t *sums = mn_alloc_array((size_t)n_blocks(facts), sizeof *sums);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (!sums)
        status = mn_fail_memory(error, "index");
    else if (fd < 0)
        status = mn_fail_errno(error, errno, "cannot write %s", path);
    if (status == MNEME_OK) {
        for (uint64_t b = 0; b < n_blocks(facts); b++) sums[b] = block_sum(part.data, facts, b);
        facts->head_sum = XXH3_64bits(part.data, facts->tail_start);
        facts->rows_sum = XXH3_64bits(rows, facts->n_codes * sizeof *rows);
        facts->sums_sum = XXH3_64bits(sums, n_blocks(facts) * sizeof *sums);
        facts->sum = mn_index_facts_sum(facts);
        status = append_parts(fd, path, facts, rows, sums, error);
    }
    if (fd >= 0) close(fd);
    mn_free(sums);
    mn_file_unmap(&part);
    return status;
}
