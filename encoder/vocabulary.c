/* vocabulary.c -- WordPiece tokens to ids.
 *
 * Tokens lie one after the other in one block of bytes. The table has twice as many slots as tokens (a power of two),
 * linear probing; a slot holds the hash's upper half and the token's place, so that a miss rarely touches the bytes. A
 * token that goes on a word is kept without its prefix under another hash seed: both kinds share one table. */
#include "encoder/vocabulary.h"

#include "common/buffer.h"
#include "common/file.h"
#include "common/memory.h"

#include <string.h>
#include <xxhash.h>

typedef struct token_entry {
    uint32_t offset, id; /* into bytes */
    uint16_t size;       /* without the prefix */
    bool continuing;
} token_entry;

typedef struct slot {
    uint32_t check;     /* upper half of the hash */
    uint32_t token;     /* place + 1; 0 = empty */
} slot;

struct mn_vocabulary {
    mn_buffer bytes;
    char *prefix;
    size_t prefix_size;
    token_entry *tokens;
    size_t n, capacity;
    slot *slots;
    size_t mask;
    uint32_t largest_id;
    size_t longest;
};

enum { VOCABULARY_MAX = 1 << 22, TOKEN_BYTES_MAX = 1 << 12, FILE_MAX = 256 << 20 };

static uint64_t hash_piece(const char *piece, size_t size, bool continuing)
{
    return XXH3_64bits_withSeed(piece, size, continuing ? 0x23u : 0);
}

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

mneme_status mn_vocabulary_add(mn_vocabulary *vocabulary, const char *token, size_t size, uint32_t id, mneme_error *error)
{
    if (vocabulary->n == vocabulary->capacity) {
        size_t capacity = vocabulary->capacity ? vocabulary->capacity * 2 : 32768;
        token_entry *grown = mn_realloc_array(vocabulary->tokens, capacity, sizeof *grown);
        if (!grown) return mn_fail_memory(error, "vocabulary");
        vocabulary->tokens = grown;
        vocabulary->capacity = capacity;
    }
    if (id >= VOCABULARY_MAX || vocabulary->n >= VOCABULARY_MAX)
        return mn_fail(error, MNEME_ERR_MODEL, "token id %u; at most %d tokens are supported", id, VOCABULARY_MAX);
    if (size > TOKEN_BYTES_MAX) return mn_fail(error, MNEME_ERR_MODEL, "a token of %zu bytes (id %u)", size, id);
    size_t prefix = vocabulary->prefix_size;
    bool continuing = size > prefix && prefix > 0 && memcmp(token, vocabulary->prefix, prefix) == 0;
    if (continuing) {
        token += prefix;
        size -= prefix;
    }
    vocabulary->tokens[vocabulary->n++] = (token_entry){
        .offset = (uint32_t)vocabulary->bytes.size, .id = id, .size = (uint16_t)size, .continuing = continuing};
    mn_buffer_append(&vocabulary->bytes, token, size);
    if (vocabulary->bytes.failed || vocabulary->bytes.size > UINT32_MAX) return mn_fail_memory(error, "vocabulary");
    if (id > vocabulary->largest_id) vocabulary->largest_id = id;
    if (size > vocabulary->longest) vocabulary->longest = size;
    return MNEME_OK;
}

/* Where a piece is, or the empty slot where it would be. */
static slot *probe(const mn_vocabulary *vocabulary, const char *piece, size_t size, bool continuing, uint64_t hash)
{
    uint32_t check = (uint32_t)(hash >> 32);
    for (size_t i = (size_t)hash & vocabulary->mask;; i = (i + 1) & vocabulary->mask) {
        slot *s = &vocabulary->slots[i];
        if (s->token == 0) return s;
        const token_entry *token = &vocabulary->tokens[s->token - 1];
        if (s->check == check && token->size == size && token->continuing == continuing &&
            memcmp(vocabulary->bytes.data + token->offset, piece, size) == 0)
            return s;
    }
}

mneme_status mn_vocabulary_freeze(mn_vocabulary *vocabulary, mneme_error *error)
{
    size_t n_slots = 64;
    while (n_slots < vocabulary->n * 2) n_slots *= 2;
    vocabulary->slots = mn_alloc_zeroed(n_slots, sizeof *vocabulary->slots);
    if (!vocabulary->slots) return mn_fail_memory(error, "vocabulary");
    vocabulary->mask = n_slots - 1;
    for (size_t i = 0; i < vocabulary->n; i++) {
        const token_entry *token = &vocabulary->tokens[i];
        const char *bytes = vocabulary->bytes.data + token->offset;
        uint64_t hash = hash_piece(bytes, token->size, token->continuing);
        slot *s = probe(vocabulary, bytes, token->size, token->continuing, hash);
        *s = (slot){.check = (uint32_t)(hash >> 32), .token = (uint32_t)i + 1}; /* of equal ones the last counts */
    }
    return MNEME_OK;
}

static mneme_status read_lines(mn_vocabulary *vocabulary, const char *path, const mn_mapping *map, mneme_error *error)
{
    const char *at = (const char *)map->data, *end = at + map->size;
    for (uint32_t id = 0; at < end; id++) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        const char *next = line_end ? line_end + 1 : end;
        size_t size = (size_t)((line_end ? line_end : end) - at);
        if (size > 0 && at[size - 1] == '\r') size--;
        mneme_status status = mn_vocabulary_add(vocabulary, at, size, id, error);
        if (status != MNEME_OK) {
            mn_error_prefix(error, "%s:%u: ", path, id + 1);
            return status;
        }
        at = next;
    }
    return MNEME_OK;
}

mneme_status mn_vocabulary_read(const char *path, const char *prefix, mn_vocabulary **out, mneme_error *error)
{
    *out = NULL;
    mn_mapping map;
    mneme_status status = mn_file_map(path, &map, error);
    if (status != MNEME_OK) return status == MNEME_ERR_NOT_FOUND ? mn_fail(error, MNEME_ERR_MODEL, "%s is missing", path) : status;
    mn_vocabulary *vocabulary = NULL;
    if (map.size > FILE_MAX) status = mn_fail(error, MNEME_ERR_MODEL, "%s has %zu bytes; that is no vocabulary", path, map.size);
    if (status == MNEME_OK) status = mn_vocabulary_new(prefix, &vocabulary, error);
    if (status == MNEME_OK) status = read_lines(vocabulary, path, &map, error);
    if (status == MNEME_OK) status = mn_vocabulary_freeze(vocabulary, error);
    if (status == MNEME_OK && vocabulary->n == 0) status = mn_fail(error, MNEME_ERR_MODEL, "%s is empty", path);
    mn_file_unmap(&map);
    if (status != MNEME_OK) mn_vocabulary_free(vocabulary);
    else *out = vocabulary;
    return status;
}

void mn_vocabulary_free(mn_vocabulary *vocabulary)
{
    if (!vocabulary) return;
    mn_buffer_free(&vocabulary->bytes);
    mn_free(vocabulary->prefix);
    mn_free(vocabulary->tokens);
    mn_free(vocabulary->slots);
    mn_free(vocabulary);
}

uint32_t mn_vocabulary_size(const mn_vocabulary *vocabulary)
{
    return vocabulary->n ? vocabulary->largest_id + 1 : 0;
}

size_t mn_vocabulary_longest(const mn_vocabulary *vocabulary)
{
    return vocabulary->longest;
}

uint64_t mn_vocabulary_fingerprint(const mn_vocabulary *vocabulary)
{
    uint64_t bytes = XXH3_64bits(vocabulary->bytes.data, vocabulary->bytes.size);
    const uint64_t parts[] = {bytes, vocabulary->n, vocabulary->largest_id};
    return XXH3_64bits(parts, sizeof parts);
}

uint32_t mn_vocabulary_find(const mn_vocabulary *vocabulary, const char *piece, size_t size, bool continuing)
{
    const slot *s = probe(vocabulary, piece, size, continuing, hash_piece(piece, size, continuing));
    return s->token ? vocabulary->tokens[s->token - 1].id : MN_NO_TOKEN;
}

uint32_t mn_vocabulary_find_token(const mn_vocabulary *vocabulary, const char *token)
{
    size_t size = strlen(token), prefix = vocabulary->prefix_size;
    bool continuing = size > prefix && prefix > 0 && memcmp(token, vocabulary->prefix, prefix) == 0;
    return mn_vocabulary_find(vocabulary, continuing ? token + prefix : token, continuing ? size - prefix : size, continuing);
}
