/* fuzz_support.h -- what the fuzz targets share.
 *
 * A target is libFuzzer's LLVMFuzzerTestOneInput: it must cope with any bytes. What must hold of what it computed it
 * says with fuzz_require. Linked with fuzz_driver.c it runs in the ordinary tests, with -fsanitize=fuzzer in
 * scripts/fuzz. */
#ifndef MN_TESTS_FUZZ_SUPPORT_H
#define MN_TESTS_FUZZ_SUPPORT_H

#include "common/memory.h"
#include "encoder/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define fuzz_require(condition)                                                                                        \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);                             \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

typedef struct fuzz_part {
    char *data; /* NULL: no such part; else a copy of exactly `size` bytes (1 when empty), so that a sanitizer sees its
                   end */
    size_t size;
} fuzz_part;

/* Cut the input at lines "%%" into up to n parts; a part that is empty is left out. Release each with free(data). */
static inline void fuzz_cut(const uint8_t *data, size_t size, fuzz_part *parts, size_t n)
{
    static const char mark[] = "\n%%\n";
    const char *at = (const char *)data, *end = at + size;
    for (size_t i = 0; i < n; i++) {
        parts[i] = (fuzz_part){NULL, 0};
        const char *found = i + 1 < n && at < end ? memmem(at, (size_t)(end - at), mark, sizeof mark - 1) : NULL;
        size_t part = (size_t)((found ? found : end) - at);
        if (part > 0) {
            parts[i].data = malloc(part);
            parts[i].size = part;
            memcpy(parts[i].data, at, part);
        }
        at = found ? found + sizeof mark - 1 : end;
    }
}

/* A failed call says why, and hands nothing out. */
static inline void fuzz_check_failure(mneme_status status, const mneme_error *error, const void *out)
{
    fuzz_require(status == error->code && error->message[0] && !out);
    fuzz_require(status == MNEME_ERR_MODEL || status == MNEME_ERR_MEMORY);
}

/* Tokenize a text in every way: ids are in range and the same with offsets, without, counted and cut off. */
static inline void fuzz_tokenize(const mn_tokenizer *tokenizer, const char *text, size_t size)
{
    mn_tokens all = {.with_offsets = true}, some = {0};
    fuzz_require(mn_tokenizer_encode(tokenizer, text, size, SIZE_MAX, &all, NULL) == MNEME_OK);
    fuzz_require(mn_tokenizer_count(tokenizer, text, size) == all.n);
    for (size_t i = 0; i < all.n; i++) {
        size_t token_size;
        const char *token = mn_tokenizer_token(tokenizer, all.ids[i], &token_size);
        fuzz_require(token && token_size < SIZE_MAX && all.ids[i] < mn_tokenizer_vocabulary(tokenizer));
        fuzz_require(all.starts[i] <= all.ends[i] && all.ends[i] <= size);
        fuzz_require(i == 0 || all.starts[i] >= all.starts[i - 1]);
    }
    size_t limit = all.n / 2;
    fuzz_require(mn_tokenizer_encode(tokenizer, text, size, limit, &some, NULL) == MNEME_OK);
    fuzz_require(some.n == limit && (limit == 0 || memcmp(some.ids, all.ids, limit * sizeof *all.ids) == 0));
    mn_tokens_free(&all);
    mn_tokens_free(&some);
}

#endif
