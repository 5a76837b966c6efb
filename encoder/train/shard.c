/* shard.c -- see shard.h. */
#include "encoder/train/shard.h"

#include <string.h>

/* ---- room ------------------------------------------------------------------------------------------------------ */

enum { LINE = 64, BLOCK_LEAST = 1 << 20 };

struct mn_room_block {
    mn_room_block *older;
    size_t size; /* of what follows this head, from the next line on */
};

static void *start_of(mn_room_block *block)
{
    return (char *)block + LINE;
}

static mn_room_block *new_block(size_t size, mn_room_block *older)
{
    mn_room_block *block = size < SIZE_MAX / 2 ? mn_alloc_aligned(LINE, size + LINE) : NULL;
    if (block) *block = (mn_room_block){older, size};
    return block;
}

void *mn_room_take(mn_room *room, size_t n, size_t size)
{
    size_t bytes;
    if (!mn_multiply(n, size, &bytes) || bytes > SIZE_MAX / 4) return NULL;
    bytes = (bytes + 2 * LINE - 1) / LINE * LINE; /* a line to spare: kernels may read behind the last row */
    if (!room->blocks || room->blocks->size - room->used < bytes) {
        size_t wanted = room->blocks ? 2 * room->blocks->size : BLOCK_LEAST;
        mn_room_block *block = new_block(bytes > wanted ? bytes : wanted, room->blocks);
        if (!block) return NULL;
        room->blocks = block;
        room->used = 0;
    }
    void *piece = (char *)start_of(room->blocks) + room->used;
    room->used += bytes;
    return piece;
}

/* What did not fit one block gets a block of its whole size the next time. */
void mn_room_clear(mn_room *room)
{
    size_t total = 0;
    for (const mn_room_block *block = room->blocks; block; block = block->older) total += block->size;
    room->used = 0;
    if (!room->blocks || !room->blocks->older) return;
    mn_room_free(room);
    room->blocks = new_block(total, NULL);
}

void mn_room_free(mn_room *room)
{
    for (mn_room_block *block = room->blocks, *older; block; block = older) {
        older = block->older;
        mn_free(block);
    }
    *room = (mn_room){0};
}

/* ---- shards ---------------------------------------------------------------------------------------------------- */

mneme_status mn_shard_new(const mn_parameters *parameters, mn_shard **out, mneme_error *error)
{
    *out = NULL;
    mn_shard *shard = mn_alloc_zeroed(1, sizeof *shard);
    if (!shard) return mn_fail_memory(error, "training");
    shard->arithmetic = parameters->arithmetic;
    shard->parameters = parameters;
    shard->gradients = mn_alloc_aligned(LINE, parameters->dense_size * sizeof(float) + LINE);
    if (!shard->gradients) {
        mn_shard_free(shard);
        return mn_fail_memory(error, "gradients");
    }
    *out = shard;
    return MNEME_OK;
}

void mn_shard_free(mn_shard *shard)
{
    if (!shard) return;
    mn_free(shard->gradients);
    mn_free(shard->scratch.block);
    mn_room_free(&shard->room);
    mn_free(shard);
}

void mn_shard_begin(mn_shard *shard, uint64_t seed, uint64_t step, uint64_t index)
{
    memset(shard->gradients, 0, shard->parameters->dense_size * sizeof(float));
    mn_room_clear(&shard->room);
    shard->sparse = NULL;
    shard->sparse_end = &shard->sparse;
    shard->random = mn_random_of(seed, step, index);
}

mneme_status mn_shard_add_rows(mn_shard *shard, const mn_parameter *parameter, const uint32_t *ids, const float *rows,
                               size_t n, mneme_error *error)
{
    mn_sparse_gradient *gradient = mn_room_take(&shard->room, 1, sizeof *gradient);
    if (!gradient) return mn_fail_memory(error, "gradients");
    *gradient = (mn_sparse_gradient){.parameter = parameter, .ids = ids, .rows = rows, .n = n};
    *shard->sparse_end = gradient;
    shard->sparse_end = &gradient->next;
    return MNEME_OK;
}

mneme_status mn_shard_floats(mn_shard *shard, size_t n, float **out, mneme_error *error)
{
    *out = mn_room_take(&shard->room, n, sizeof **out);
    return *out ? MNEME_OK : mn_fail_memory(error, "activations");
}
