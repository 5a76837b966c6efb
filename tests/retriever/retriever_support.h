/* retriever_support.h -- small stores to ask questions of. */
#ifndef MN_TESTS_RETRIEVER_SUPPORT_H
#define MN_TESTS_RETRIEVER_SUPPORT_H

#include "memstore/store.h"
#include "retriever/analyzer.h"
#include "retriever/retrieve.h"

#include "test_support.h"

typedef struct test_memory {
    char *dir;
    mn_store *store;
    mn_analyzer *analyzer;
} test_memory;

static inline test_memory test_memory_open(void)
{
    test_memory memory = {.dir = test_make_dir()};
    assert_ok(mn_analyzer_open("english", &memory.analyzer, test_error()));
    assert_ok(mn_store_open(memory.dir, &(mn_store_options){.language = "english"}, &memory.store, test_error()));
    mn_store_set_analyzer(memory.store, mn_analyzer_run, memory.analyzer);
    return memory;
}

static inline void test_memory_close(test_memory *memory)
{
    mn_store_close(memory->store);
    mn_analyzer_close(memory->analyzer);
    test_remove_dir(memory->dir);
}

typedef struct test_batch {
    const mn_new_record *records;
    size_t n;
} test_batch;

static inline mneme_status test_put_batch(void *context, mn_write *write, mneme_error *error)
{
    const test_batch *batch = context;
    for (size_t i = 0; i < batch->n; i++) {
        mneme_status status = mn_write_put(write, &batch->records[i], error);
        if (status != MNEME_OK) return status;
    }
    return MNEME_OK;
}

/* Put n records, each with its chunks, in one transaction. */
static inline void test_put(test_memory *memory, const mn_new_record *records, size_t n)
{
    test_batch batch = {records, n};
    assert_ok(mn_store_update(memory->store, test_put_batch, &batch, NULL, test_error()));
}

/* Put one record whose text is one chunk. vector: dimension floats or NULL. */
static inline void test_put_turn(test_memory *memory, const mneme_record *record, const float *vector, uint32_t dimension)
{
    mneme_record copy = *record;
    copy.text_size = strlen(copy.text);
    mn_new_chunk chunk = {0, (uint32_t)copy.text_size, vector};
    mn_new_record new_record = {.record = &copy,
                                .hash = {1, 2},
                                .chunks = &chunk,
                                .n_chunks = 1,
                                .dimension = vector ? dimension : 0};
    test_put(memory, &new_record, 1);
}

typedef struct test_name {
    const char *name_space, *id;
} test_name;

static inline mneme_status test_forget_change(void *context, mn_write *write, mneme_error *error)
{
    const test_name *name = context;
    mn_namespace space;
    uint32_t rec;
    mneme_status status = mn_read_namespace(mn_write_read(write), name->name_space, &space, error);
    if (status == MNEME_OK) status = mn_read_find(mn_write_read(write), space.ns, name->id, &rec, error);
    return status == MNEME_OK ? mn_write_forget(write, space.ns, rec, error) : status;
}

static inline void test_forget(test_memory *memory, const char *name_space, const char *id)
{
    test_name name = {name_space, id};
    assert_ok(mn_store_update(memory->store, test_forget_change, &name, NULL, test_error()));
}

/* A number in [0, 1) from a seed that it moves on. */
static inline double test_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (double)(*seed >> 11) / 9007199254740992.0;
}

static inline uint32_t test_below(uint64_t *seed, uint32_t n)
{
    return (uint32_t)(test_random(seed) * n);
}

/* Every step of a hybrid question, with the defaults of the settings. */
static inline mn_retrieve_options test_all_steps(void)
{
    return (mn_retrieve_options){.mode = MNEME_MODE_HYBRID,
                                 .k = 10,
                                 .n_candidates = 50,
                                 .dense_weight = 0.55f,
                                 .k1 = 1.2f,
                                 .b = 0.75f,
                                 .neighbour_share = 0.5f,
                                 .neighbour_reach = 2,
                                 .nearby_words = 0.6f,
                                 .feedback_weight = 0.7f,
                                 .expansion_weight = 0.3f,
                                 .feedback_scale = 5,
                                 .speaker_weight = 0.1f,
                                 .time_weight = 0.3f,
                                 .attention_scale = 10};
}

#endif
