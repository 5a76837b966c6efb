/* memory.h -- allocation with checked sizes, and an arena for things that live and die together. */
#ifndef MN_COMMON_MEMORY_H
#define MN_COMMON_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* All return NULL when out of memory or when the size overflows; n = 0 gives a pointer that can be freed. */
void *mn_alloc(size_t size);
void *mn_alloc_array(size_t n, size_t size);       /* uninitialised */
void *mn_alloc_zeroed(size_t n, size_t size);
void *mn_realloc_array(void *pointer, size_t n, size_t size); /* on failure `pointer` stays valid */
void *mn_alloc_aligned(size_t alignment, size_t size);        /* release with mn_free too */
char *mn_strdup(const char *text);                 /* NULL in, NULL out */
char *mn_strndup(const char *text, size_t size);   /* adds the NUL */
void mn_free(void *pointer);

/* *product = a * b; false when it does not fit. */
bool mn_multiply(size_t a, size_t b, size_t *product);

/* For tests: let the n-th allocation from now (1 = next) fail, and every one after it; 0 = none. One thread only. */
void mn_alloc_fail_after(size_t n);

/* Arena: many small pieces, freed at once. Not for threads at once. */
typedef struct mn_arena_block mn_arena_block;
typedef struct mn_arena {
    mn_arena_block *blocks; /* newest first */
} mn_arena;                 /* start from {0} */

void *mn_arena_alloc(mn_arena *arena, size_t size); /* 16-byte aligned, uninitialised; NULL: out of memory */
void *mn_arena_array(mn_arena *arena, size_t n, size_t size);
void *mn_arena_copy(mn_arena *arena, const void *data, size_t size);       /* adds a NUL after the copy */
char *mn_arena_strdup(mn_arena *arena, const char *text);                  /* NULL in, NULL out */
void mn_arena_free(mn_arena *arena);                                       /* the arena is {0} again */

#endif
