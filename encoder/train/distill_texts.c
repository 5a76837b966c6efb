/* distill_texts.c -- choosing tokens, and making texts up. */
#include "encoder/train/distill_texts.h"

#include "common/memory.h"
#include "common/random.h"
#include "encoder/tokenizer_settings.h"

#include <stdio.h>
#include <string.h>

/* Group sizes of made-up texts, and how far a numbering of [unused] tokens may have gaps. */
enum { GROUP_LEAST = 2, GROUP_MOST = 8, UNUSED_GAP = 128 };

/* ---- tokens ---- */

static bool is_kept_special(const char *content, uint32_t id, uint32_t unknown)
{
    return id == unknown || strcmp(content, "[PAD]") == 0;
}

static void leave_out(bool *out, uint32_t vocabulary, uint32_t id)
{
    if (id < vocabulary) out[id] = true;
}

static void leave_out_unused(bool *out, uint32_t size, const mn_vocabulary *vocabulary)
{
    char token[32];
    for (uint32_t number = 0, gap = 0; gap < UNUSED_GAP; number++) {
        snprintf(token, sizeof token, "[unused%u]", number);
        uint32_t id = mn_vocabulary_find_token(vocabulary, token);
        gap = id == MN_NO_TOKEN ? gap + 1 : 0;
        leave_out(out, size, id);
    }
}

mneme_status mn_kept_tokens_find(const char *folder, uint32_t unknown, mn_kept_tokens *out, mneme_error *error)
{
    mn_tokenizer_settings settings;
    mneme_status status = mn_tokenizer_settings_read(folder, &settings, error);
    if (status != MNEME_OK) return status;
    uint32_t size = out->vocabulary;
    bool *is_out = mn_alloc_zeroed(size, sizeof *is_out);
    out->ids = mn_alloc_array(size, sizeof *out->ids);
    out->n = 0;
    if (!is_out || !out->ids) status = mn_fail_memory(error, "vocabulary");
    if (status == MNEME_OK) {
        for (size_t i = 0; i < settings.n_added; i++)
            if (!is_kept_special(settings.added[i].content, settings.added[i].id, unknown))
                leave_out(is_out, size, settings.added[i].id);
        leave_out_unused(is_out, size, settings.vocabulary);
        for (uint32_t id = 0; id < size; id++)
            if (!is_out[id]) out->ids[out->n++] = id;
    }
    mn_free(is_out);
    mn_tokenizer_settings_free(&settings);
    return status;
}

/* ---- lists ---- */

static mneme_status reserve(mn_id_lists *lists, size_t n_ids, mneme_error *error)
{
    if (lists->n_ids + n_ids > UINT32_MAX)
        return mn_fail(error, MNEME_ERR_TOO_LARGE, "over 2^32 tokens to distil from; give fewer texts");
    if (lists->n_ids + n_ids > lists->ids_capacity) {
        size_t capacity = (lists->n_ids + n_ids) * 2;
        uint32_t *ids = mn_realloc_array(lists->ids, capacity, sizeof *ids);
        if (!ids) return mn_fail_memory(error, "texts to distil from");
        lists->ids = ids;
        lists->ids_capacity = capacity;
    }
    if (lists->n + 2 > lists->capacity) {
        size_t capacity = lists->capacity ? lists->capacity * 2 : 1024;
        uint32_t *offsets = mn_realloc_array(lists->offsets, capacity, sizeof *offsets);
        if (!offsets) return mn_fail_memory(error, "texts to distil from");
        lists->offsets = offsets;
        lists->capacity = capacity;
    }
    return MNEME_OK;
}

static void close_list(mn_id_lists *lists)
{
    lists->offsets[0] = 0;
    lists->offsets[++lists->n] = (uint32_t)lists->n_ids;
}

mneme_status mn_distill_texts_append(mn_distill_texts *texts, const uint32_t *ids, size_t n, mneme_error *error)
{
    mneme_status status = reserve(&texts->teacher, n + 2, error);
    if (status == MNEME_OK) status = reserve(&texts->table, n, error);
    if (status != MNEME_OK) return status;
    mn_id_lists *teacher = &texts->teacher, *table = &texts->table;
    teacher->ids[teacher->n_ids++] = texts->cls;
    for (size_t i = 0; i < n; i++) {
        teacher->ids[teacher->n_ids++] = ids[i];
        if (ids[i] != texts->unknown) table->ids[table->n_ids++] = ids[i];
    }
    teacher->ids[teacher->n_ids++] = texts->sep;
    close_list(teacher);
    close_list(table);
    return MNEME_OK;
}

void mn_distill_texts_free(mn_distill_texts *texts)
{
    mn_free(texts->teacher.ids);
    mn_free(texts->teacher.offsets);
    mn_free(texts->table.ids);
    mn_free(texts->table.offsets);
    texts->teacher = texts->table = (mn_id_lists){0};
}

/* ---- made-up texts ---- */

static void shuffle(mn_random *random, uint32_t *ids, uint32_t n)
{
    for (uint32_t i = n; i > 1; i--) {
        uint32_t j = mn_random_below(random, i), swap = ids[i - 1];
        ids[i - 1] = ids[j];
        ids[j] = swap;
    }
}

/* sums[r]: the sum of 1 / (rank + 2) up to rank r. */
static uint32_t draw_by_zipf(mn_random *random, const double *sums, uint32_t n)
{
    double at = (double)(mn_random_next(random) >> 11) * 0x1p-53 * sums[n - 1];
    uint32_t low = 0, high = n - 1;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (sums[middle] > at)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static mneme_status make_up_round(mn_distill_texts *texts, const mn_kept_tokens *kept, const double *sums,
                                  uint32_t *order, mn_random *random, mneme_error *error)
{
    memcpy(order, kept->ids, kept->n * sizeof *order);
    shuffle(random, order, kept->n);
    mneme_status status = MNEME_OK;
    for (uint32_t at = 0; at < kept->n && status == MNEME_OK;) {
        uint32_t group[2 * GROUP_MOST], left = kept->n - at;
        uint32_t size = GROUP_LEAST + mn_random_below(random, GROUP_MOST - GROUP_LEAST + 1);
        if (size > left) size = left;
        memcpy(group, order + at, size * sizeof *group);
        at += size;
        uint32_t n = size + mn_random_below(random, size + 1);
        for (uint32_t i = size; i < n; i++) group[i] = kept->ids[draw_by_zipf(random, sums, kept->n)];
        shuffle(random, group, n);
        status = mn_distill_texts_append(texts, group, n, error);
    }
    return status;
}

mneme_status mn_distill_make_up(mn_distill_texts *texts, const mn_kept_tokens *kept, uint32_t rounds,
                                mneme_error *error)
{
    if (kept->n == 0) return MNEME_OK;
    double *sums = mn_alloc_array(kept->n, sizeof *sums), sum = 0;
    uint32_t *order = mn_alloc_array(kept->n, sizeof *order);
    mneme_status status = sums && order ? MNEME_OK : mn_fail_memory(error, "texts to distil from");
    for (uint32_t i = 0; status == MNEME_OK && i < kept->n; i++) sums[i] = sum += 1.0 / (i + 2.0);
    mn_random random = {1};
    for (uint32_t round = 0; round < rounds && status == MNEME_OK; round++)
        status = make_up_round(texts, kept, sums, order, &random, error);
    mn_free(sums);
    mn_free(order);
    return status;
}
