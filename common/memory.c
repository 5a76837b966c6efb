/* memory.c -- checked allocation and the arena. */
#include "common/memory.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Allocations left before they fail, for out-of-memory tests; 0 = off. */
static atomic_size_t g_fail_countdown;

void mn_alloc_fail_after(size_t n)
{
    atomic_store(&g_fail_countdown, n);
}

static bool must_fail(void)
{
    size_t left = atomic_load_explicit(&g_fail_countdown, memory_order_relaxed);
    if (left == 0) return false;
    if (left == 1) return true;
    atomic_store_explicit(&g_fail_countdown, left - 1, memory_order_relaxed);
    return false;
}

bool mn_multiply(size_t a, size_t b, size_t *product)
{
    return !__builtin_mul_overflow(a, b, product);
}

void *mn_alloc(size_t size)
{
    return must_fail() ? NULL : malloc(size ? size : 1);
}

void *mn_alloc_array(size_t n, size_t size)
{
    size_t total = 0;
    return mn_multiply(n, size, &total) ? mn_alloc(total) : NULL;
}

void *mn_alloc_zeroed(size_t n, size_t size)
{
    if (must_fail()) return NULL;
    return n && size ? calloc(n, size) : calloc(1, 1);
}

void *mn_realloc_array(void *pointer, size_t n, size_t size)
{
    size_t total = 0;
    if (!mn_multiply(n, size, &total) || must_fail()) return NULL;
    return realloc(pointer, total ? total : 1);
}

void *mn_alloc_aligned(size_t alignment, size_t size)
{
    if (must_fail() || size > SIZE_MAX - alignment) return NULL;
    size_t rounded = (size + alignment - 1) / alignment * alignment;
    return aligned_alloc(alignment, rounded ? rounded : alignment);
}

char *mn_strdup(const char *text)
{
    return text ? mn_strndup(text, strlen(text)) : NULL;
}

char *mn_strndup(const char *text, size_t size)
{
    if (size == SIZE_MAX) return NULL;
    char *copy = mn_alloc(size + 1);
    if (!copy) return NULL;
    if (size) memcpy(copy, text, size);
    copy[size] = '\0';
    return copy;
}

void mn_free(void *pointer)
{
    free(pointer);
}

struct mn_arena_block {
    mn_arena_block *next;
    size_t used, capacity;
    _Alignas(16) unsigned char data[];
};

enum { ARENA_FIRST = 4096, ARENA_LARGEST = 1 << 20 };

static mn_arena_block *arena_grow(mn_arena *arena, size_t size)
{
    size_t capacity = arena->blocks ? arena->blocks->capacity * 2 : ARENA_FIRST;
    if (capacity > ARENA_LARGEST) capacity = ARENA_LARGEST;
    if (capacity < size) capacity = size;
    if (capacity > SIZE_MAX - sizeof(mn_arena_block)) return NULL;
    mn_arena_block *block = mn_alloc(sizeof *block + capacity);
    if (!block) return NULL;
    *block = (mn_arena_block){.next = arena->blocks, .used = 0, .capacity = capacity};
    arena->blocks = block;
    return block;
}

void *mn_arena_alloc(mn_arena *arena, size_t size)
{
    if (size > SIZE_MAX - 15) return NULL;
    size_t rounded = (size + 15) & ~(size_t)15;
    mn_arena_block *block = arena->blocks;
    if (!block || block->capacity - block->used < rounded) block = arena_grow(arena, rounded);
    if (!block) return NULL;
    void *piece = block->data + block->used;
    block->used += rounded;
    return piece;
}

void *mn_arena_array(mn_arena *arena, size_t n, size_t size)
{
    size_t total = 0;
    return mn_multiply(n, size, &total) ? mn_arena_alloc(arena, total) : NULL;
}

void *mn_arena_copy(mn_arena *arena, const void *data, size_t size)
{
    if (size == SIZE_MAX) return NULL;
    char *copy = mn_arena_alloc(arena, size + 1);
    if (!copy) return NULL;
    if (size) memcpy(copy, data, size);
    copy[size] = '\0';
    return copy;
}

char *mn_arena_strdup(mn_arena *arena, const char *text)
{
    return text ? mn_arena_copy(arena, text, strlen(text)) : NULL;
}

void mn_arena_free(mn_arena *arena)
{
    mn_arena_block *block = arena->blocks;
    while (block) {
        mn_arena_block *next = block->next;
        mn_free(block);
        block = next;
    }
    arena->blocks = NULL;
}
