/* vocabulary.c -- reading lists of WordPiece tokens. Looking them up is tokenizer_image.c's and pieces.h's. */
#include "encoder/vocabulary.h"

#include "common/memory.h"

#include <string.h>
#include <xxhash.h>

enum { TOKEN_BYTES_MAX = 1 << 12, FILE_MAX = 256 << 20 };

mneme_status mn_vocabulary_new(const char *prefix, mn_vocabulary **out, mneme_error *error)
{
    *out = NULL;
    mn_vocabulary *vocabulary = mn_alloc_zeroed(1, sizeof *vocabulary);
    if (!vocabulary) return mn_fail_memory(error, "vocabulary");
    vocabulary->prefix = mn_strdup(prefix);
    vocabulary->prefix_size = strlen(prefix);
    if (!vocabulary->prefix) {
        mn_vocabulary_free(vocabulary);
        return mn_fail_memory(error, "vocabulary");
    }
    *out = vocabulary;
    return MNEME_OK;
}

static bool has_prefix(const mn_vocabulary *vocabulary, const char *token, size_t size)
{
    size_t prefix = vocabulary->prefix_size;
    return size > prefix && prefix > 0 && memcmp(token, vocabulary->prefix, prefix) == 0;
}

mneme_status mn_vocabulary_add(mn_vocabulary *vocabulary, const char *token, size_t size, uint32_t id,
                               mneme_error *error)
{
    if (vocabulary->n == vocabulary->capacity) {
        size_t capacity = vocabulary->capacity ? vocabulary->capacity * 2 : 32768;
        mn_vocabulary_token *grown = mn_realloc_array(vocabulary->tokens, capacity, sizeof *grown);
        if (!grown) return mn_fail_memory(error, "vocabulary");
        vocabulary->tokens = grown;
        vocabulary->capacity = capacity;
    }
    if (id >= MN_VOCABULARY_MAX || vocabulary->n >= MN_VOCABULARY_MAX)
        return mn_fail(error, MNEME_ERR_MODEL, "token id %u; at most %d tokens are supported", id, MN_VOCABULARY_MAX);
    if (size > TOKEN_BYTES_MAX) return mn_fail(error, MNEME_ERR_MODEL, "a token of %zu bytes (id %u)", size, id);
    bool continuing = has_prefix(vocabulary, token, size);
    if (continuing) {
        token += vocabulary->prefix_size;
        size -= vocabulary->prefix_size;
    }
    vocabulary->tokens[vocabulary->n++] = (mn_vocabulary_token){
        .offset = (uint32_t)vocabulary->bytes.size, .id = id, .size = (uint16_t)size, .continuing = continuing};
    mn_buffer_append(&vocabulary->bytes, token, size);
    if (vocabulary->bytes.failed || vocabulary->bytes.size > INT32_MAX) return mn_fail_memory(error, "vocabulary");
    if (id > vocabulary->largest_id) vocabulary->largest_id = id;
    return MNEME_OK;
}

static mneme_status read_lines(mn_vocabulary *vocabulary, const char *name, const char *text, size_t size,
                               mneme_error *error)
{
    const char *at = text, *end = text + size;
    for (uint32_t id = 0; at < end; id++) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        const char *next = line_end ? line_end + 1 : end;
        size_t line = (size_t)((line_end ? line_end : end) - at);
        if (line > 0 && at[line - 1] == '\r') line--;
        mneme_status status = mn_vocabulary_add(vocabulary, at, line, id, error);
        if (status != MNEME_OK) {
            mn_error_prefix(error, "%s:%u: ", name, id + 1);
            return status;
        }
        at = next;
    }
    return vocabulary->n ? MNEME_OK : mn_fail(error, MNEME_ERR_MODEL, "%s is empty", name);
}

mneme_status mn_vocabulary_parse(const char *name, const char *text, size_t size, const char *prefix,
                                 mn_vocabulary **out, mneme_error *error)
{
    *out = NULL;
    mn_vocabulary *vocabulary = NULL;
    if (size > FILE_MAX) return mn_fail(error, MNEME_ERR_MODEL, "%s has %zu bytes; that is no vocabulary", name, size);
    mneme_status status = mn_vocabulary_new(prefix, &vocabulary, error);
    if (status == MNEME_OK) status = read_lines(vocabulary, name, text, size, error);
    if (status != MNEME_OK)
        mn_vocabulary_free(vocabulary);
    else
        *out = vocabulary;
    return status;
}

void mn_vocabulary_free(mn_vocabulary *vocabulary)
{
    if (!vocabulary) return;
    mn_buffer_free(&vocabulary->bytes);
    mn_free(vocabulary->prefix);
    mn_free(vocabulary->tokens);
    mn_free(vocabulary);
}

uint64_t mn_vocabulary_fingerprint(const mn_vocabulary *vocabulary)
{
    uint64_t bytes = XXH3_64bits(vocabulary->bytes.data, vocabulary->bytes.size);
    const uint64_t parts[] = {bytes, vocabulary->n, vocabulary->largest_id};
    return XXH3_64bits(parts, sizeof parts);
}

uint32_t mn_vocabulary_find_token(const mn_vocabulary *vocabulary, const char *token)
{
    size_t size = strlen(token);
    if (size == 0) return MN_NO_TOKEN;
    bool continuing = has_prefix(vocabulary, token, size);
    if (continuing) {
        token += vocabulary->prefix_size;
        size -= vocabulary->prefix_size;
    }
    for (size_t i = vocabulary->n; i > 0; i--) {
        const mn_vocabulary_token *t = &vocabulary->tokens[i - 1];
        if (t->size == size && t->continuing == continuing &&
            memcmp(vocabulary->bytes.data + t->offset, token, size) == 0)
            return t->id;
    }
    return MN_NO_TOKEN;
}
