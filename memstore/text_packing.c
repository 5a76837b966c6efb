/* text_packing.c -- texts in fewer bytes: zstd frames, short texts with the help of a dictionary.
 *
 * A text part (at most 64 KiB) is kept as it is, or as a frame without checksum, size and dictionary number, whichever
 * is shorter. A sentence alone has nothing to repeat: the dictionary, made of a sample of the store's own texts when
 * first enough of them come in one write, holds what they have in common. There is one for the whole file, in meta
 * ("dictionary": XXH3-64 of it, then its bytes; and the same again, for without it every text that was packed with it
 * would be lost); `compact` makes it anew.
 *
 * The tables that zstd makes of a dictionary belong to the store and are kept until it is closed. After compact by
 * another process there may be a second dictionary: they are told apart by their hash. */
#include "memstore/store_internal.h"

#include <string.h>
#include <xxhash.h>
#include <zdict.h>
#include <zstd.h>
#include <zstd_errors.h>

/* LEVEL: 1 and 3 gave the same size within 1 % on sentences, 3 is 10 % smaller on 64 KiB parts and fast enough (300
 * MB/s). A dictionary of 16 KiB is within 3 % of one of 64 KiB on sentences, and a fresh process loads it in 40 us. */
enum {
    LEVEL = 3,
    DICTIONARY_BYTES = 16 << 10,
    SAMPLES_LEAST = 500,
    SAMPLE_BYTES = 1 << 20,
    SAMPLE_LEAST = 64 << 10,
    SAMPLE_PIECE = 1024
};

static const char *const copies[2] = {"dictionary", "dictionary 2"}; /* in meta */

struct mn_dictionary {
    uint64_t hash;
    void *bytes;
    size_t size;
    ZSTD_DDict *reading;
    ZSTD_CDict *writing; /* NULL until the first write */
    struct mn_dictionary *next;
};

static void free_dictionary(mn_dictionary *dictionary)
{
    if (!dictionary) return;
    ZSTD_freeDDict(dictionary->reading);
    ZSTD_freeCDict(dictionary->writing);
    mn_free(dictionary->bytes);
    mn_free(dictionary);
}

void mn_dictionaries_free(mn_store *store)
{
    while (store->dictionaries) {
        mn_dictionary *next = store->dictionaries->next;
        free_dictionary(store->dictionaries);
        store->dictionaries = next;
    }
}

static mn_dictionary *new_dictionary(const void *bytes, size_t size, uint64_t hash)
{
    mn_dictionary *dictionary = mn_alloc_zeroed(1, sizeof *dictionary);
    if (!dictionary) return NULL;
    dictionary->hash = hash;
    dictionary->size = size;
    dictionary->bytes = mn_alloc(size);
    if (dictionary->bytes) {
        memcpy(dictionary->bytes, bytes, size);
        dictionary->reading = ZSTD_createDDict(bytes, size);
    }
    if (dictionary->reading) return dictionary;
    free_dictionary(dictionary);
    return NULL;
}

/* One of the two copies, if it is what was written. */
static mneme_status read_copy(mn_read *read, const char *name, MDB_val *bytes, uint64_t *hash, mneme_error *error)
{
    mneme_status status = mn_meta_get(read, name, bytes, error);
    if (status != MNEME_OK) return status;
    if (bytes->mv_size > sizeof *hash) {
        memcpy(hash, bytes->mv_data, sizeof *hash);
        bytes->mv_data = (char *)bytes->mv_data + sizeof *hash;
        bytes->mv_size -= sizeof *hash;
        if (XXH3_64bits(bytes->mv_data, bytes->mv_size) == *hash) return MNEME_OK;
    }
    return mn_fail(error, MNEME_ERR_DAMAGED, "the dictionary of texts is damaged; `mneme check` lists all damage");
}

/* ERR_NOT_FOUND: there is none. */
static mneme_status read_either(mn_read *read, MDB_val *bytes, uint64_t *hash, mneme_error *error)
{
    mneme_status status = read_copy(read, copies[0], bytes, hash, error);
    if (status == MNEME_OK) return status;
    mneme_status second = read_copy(read, copies[1], bytes, hash, NULL);
    return second == MNEME_OK ? MNEME_OK : status;
}

mneme_status mn_dictionary_check(mn_read *read, mneme_error *error)
{
    for (size_t i = 0; i < 2; i++) {
        MDB_val bytes;
        uint64_t hash;
        mneme_status status = read_copy(read, copies[i], &bytes, &hash, error);
        if (i == 0 && status == MNEME_ERR_NOT_FOUND) return MNEME_OK;
        if (status == MNEME_ERR_NOT_FOUND)
            return mn_fail(error, MNEME_ERR_DAMAGED, "the second copy of the dictionary of texts is not there");
        if (status != MNEME_OK) return status;
    }
    return MNEME_OK;
}

/* The store's tables for the dictionary that this transaction sees; *out NULL: it has none. */
static mneme_status find_dictionary(mn_read *read, mn_dictionary **out, mneme_error *error)
{
    mn_store *store = read->store;
    MDB_val value;
    *out = read->dictionary;
    if (*out) return MNEME_OK;
    uint64_t hash = 0;
    mneme_status status = read_either(read, &value, &hash, error);
    if (status == MNEME_ERR_NOT_FOUND) return MNEME_OK;
    if (status != MNEME_OK) return status;
    pthread_mutex_lock(&store->dictionary_lock);
    mn_dictionary *found = store->dictionaries;
    while (found && found->hash != hash) found = found->next;
    if (!found && (found = new_dictionary(value.mv_data, value.mv_size, hash)) != NULL) {
        found->next = store->dictionaries;
        store->dictionaries = found;
    }
    pthread_mutex_unlock(&store->dictionary_lock);
    *out = read->dictionary = found;
    return found ? MNEME_OK : mn_fail_memory(error, "text dictionary");
}

/* ---- reading ---- */

mneme_status mn_text_unpack(mn_read *read, const mn_packed_text *packed, char *out, mneme_error *error)
{
    mn_dictionary *dictionary = NULL;
    if (packed->kind == TEXT_PLAIN) {
        if (packed->size != packed->text_size) return MNEME_ERR_DAMAGED;
        if (packed->size) memcpy(out, packed->bytes, packed->size);
        return MNEME_OK;
    }
    if (packed->kind == TEXT_WITH_DICTIONARY) {
        mneme_status status = find_dictionary(read, &dictionary, error);
        if (status != MNEME_OK) return status;
        if (!dictionary) return MNEME_ERR_DAMAGED;
    }
    if (!read->unpacker && !(read->unpacker = ZSTD_createDCtx())) return mn_fail_memory(error, "text");
    size_t size = dictionary ? ZSTD_decompress_usingDDict(read->unpacker, out, packed->text_size, packed->bytes,
                                                          packed->size, dictionary->reading)
                             : ZSTD_decompressDCtx(read->unpacker, out, packed->text_size, packed->bytes, packed->size);
    if (ZSTD_isError(size) && ZSTD_getErrorCode(size) == ZSTD_error_memory_allocation)
        return mn_fail_memory(error, "text");
    return !ZSTD_isError(size) && size == packed->text_size ? MNEME_OK : MNEME_ERR_DAMAGED;
}

void mn_unpacker_free(mn_read *read)
{
    ZSTD_freeDCtx(read->unpacker);
    mn_free(read->part.text);
}

/* ---- writing ---- */

/* The same settings for all frames. */
static ZSTD_CCtx *new_packer(void)
{
    ZSTD_CCtx *packer = ZSTD_createCCtx();
    if (!packer) return NULL;
    ZSTD_CCtx_setParameter(packer, ZSTD_c_compressionLevel, LEVEL);
    ZSTD_CCtx_setParameter(packer, ZSTD_c_contentSizeFlag, 0);
    ZSTD_CCtx_setParameter(packer, ZSTD_c_checksumFlag, 0);
    ZSTD_CCtx_setParameter(packer, ZSTD_c_dictIDFlag, 0);
    return packer;
}

/* Give the packer the dictionary, once in a write. */
static mneme_status use_dictionary(mn_write *write, mneme_error *error)
{
    if (write->packs_with_dictionary) return MNEME_OK;
    mn_dictionary *dictionary = NULL;
    mneme_status status = find_dictionary(&write->read, &dictionary, error);
    if (status != MNEME_OK || !dictionary) return status;
    pthread_mutex_lock(&write->read.store->dictionary_lock);
    if (!dictionary->writing) dictionary->writing = ZSTD_createCDict(dictionary->bytes, dictionary->size, LEVEL);
    pthread_mutex_unlock(&write->read.store->dictionary_lock);
    if (!dictionary->writing) return mn_fail_memory(error, "text dictionary");
    ZSTD_CCtx_refCDict(write->packer, dictionary->writing);
    write->packs_with_dictionary = true;
    return MNEME_OK;
}

mneme_status mn_text_pack(mn_write *write, const char *text, size_t size, mn_packed_text *out, mneme_error *error)
{
    *out = (mn_packed_text){.kind = TEXT_PLAIN, .bytes = text, .size = size, .text_size = size};
    if (size < 16) return MNEME_OK; /* a frame's own bytes are more than can be saved */
    if (!write->packer && !(write->packer = new_packer())) return mn_fail_memory(error, "text");
    mneme_status status = use_dictionary(write, error);
    if (status != MNEME_OK) return status;
    size_t room = ZSTD_compressBound(size);
    write->packed.size = 0;
    if (!mn_buffer_reserve(&write->packed, room)) return mn_fail_memory(error, "text");
    size_t packed = ZSTD_compress2(write->packer, write->packed.data, room, text, size);
    if (ZSTD_isError(packed)) return mn_fail_memory(error, "text");
    if (packed >= size) return MNEME_OK;
    out->kind = write->packs_with_dictionary ? TEXT_WITH_DICTIONARY : TEXT_FRAME;
    out->bytes = write->packed.data;
    out->size = packed;
    return MNEME_OK;
}

void mn_packer_free(mn_write *write)
{
    ZSTD_freeCCtx(write->packer);
    mn_buffer_free(&write->packed);
}

/* ---- the dictionary ---- */

/* Pieces of texts spread over all of them, one behind the other; *n how many, sizes[] theirs. */
static void take_sample(const mn_text *texts, size_t n_texts, mn_buffer *sample, size_t *sizes, size_t *n)
{
    uint64_t total = 0;
    for (size_t i = 0; i < n_texts; i++) total += texts[i].size < SAMPLE_PIECE ? texts[i].size : SAMPLE_PIECE;
    size_t step = (size_t)(total / SAMPLE_BYTES) + 1;
    *n = 0;
    for (size_t i = 0; i < n_texts; i += step) {
        size_t size = texts[i].size < SAMPLE_PIECE ? texts[i].size : SAMPLE_PIECE;
        if (size < 16) continue;
        mn_buffer_append(sample, texts[i].text, size);
        sizes[(*n)++] = size;
    }
}

static mneme_status put_copies(mn_write *write, const char *dictionary, size_t size, mneme_error *error)
{
    uint64_t hash = XXH3_64bits(dictionary, size);
    mn_buffer value = {0};
    mn_buffer_append(&value, &hash, sizeof hash);
    mn_buffer_append(&value, dictionary, size);
    mneme_status status = value.failed ? mn_fail_memory(error, "text dictionary") : MNEME_OK;
    for (size_t i = 0; i < 2 && status == MNEME_OK; i++)
        status = mn_meta_put(write, copies[i], value.data, value.size, error);
    mn_buffer_free(&value);
    return status;
}

mneme_status mn_write_dictionary(mn_write *write, const mn_text *texts, size_t n, mneme_error *error)
{
    MDB_val value;
    mneme_status status = mn_meta_get(&write->read, "dictionary", &value, error);
    if (status != MNEME_ERR_NOT_FOUND || n < SAMPLES_LEAST) return status == MNEME_ERR_NOT_FOUND ? MNEME_OK : status;
    mn_buffer sample = {0};
    size_t n_samples = 0, *sizes = mn_alloc_array(n, sizeof *sizes);
    char *dictionary = mn_alloc(DICTIONARY_BYTES);
    status = sizes && dictionary ? MNEME_OK : mn_fail_memory(error, "text dictionary");
    if (status == MNEME_OK) take_sample(texts, n, &sample, sizes, &n_samples);
    if (status == MNEME_OK && sample.failed) status = mn_fail_memory(error, "text dictionary");
    if (status == MNEME_OK && sample.size >= SAMPLE_LEAST && n_samples >= SAMPLES_LEAST) {
        size_t size = ZDICT_trainFromBuffer(dictionary, DICTIONARY_BYTES, sample.data, sizes, (unsigned)n_samples);
        /* Texts that have nothing in common make no dictionary: then there is none. */
        if (!ZDICT_isError(size)) status = put_copies(write, dictionary, size, error);
    }
    mn_free(dictionary);
    mn_free(sizes);
    mn_buffer_free(&sample);
    return status;
}
