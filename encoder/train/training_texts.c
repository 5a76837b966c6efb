/* training_texts.c -- see training_texts.h. */
#include "encoder/train/training_texts.h"

#include "encoder/chunker.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum {
    SPAN_WORDS_LEAST = 4, /* questions of Cranfield and LoCoMo have 4 to 18 words, most of them */
    SPAN_WORDS_MOST = 18,
    SENTENCE_TOKENS_LEAST = 4,
};

void mn_training_texts_free(mn_training_texts *texts)
{
    mn_free(texts->ids);
    mn_free(texts->items);
    *texts = (mn_training_texts){0};
}

/* item: what is known of the text, but where its ids are. */
static mneme_status append(mn_training_texts *texts, const uint32_t *ids, mn_training_text item, mneme_error *error)
{
    uint32_t n = item.n;
    if (texts->n_ids + n > texts->ids_capacity) {
        size_t capacity = 2 * (texts->n_ids + n) + 1024;
        uint32_t *grown = mn_realloc_array(texts->ids, capacity, sizeof *grown);
        if (!grown) return mn_fail_memory(error, "texts to train on");
        texts->ids = grown;
        texts->ids_capacity = capacity;
    }
    if (texts->n == texts->capacity) {
        size_t capacity = 2 * texts->n + 256;
        mn_training_text *items = mn_realloc_array(texts->items, capacity, sizeof *items);
        if (!items) return mn_fail_memory(error, "texts to train on");
        texts->items = items;
        texts->capacity = capacity;
    }
    memcpy(texts->ids + texts->n_ids, ids, n * sizeof *ids);
    item.first = texts->n_ids;
    texts->items[texts->n++] = item;
    texts->n_ids += n;
    return MNEME_OK;
}

/* A word piece that goes on with the word before it. */
static bool continues(const mn_tokenizer *tokenizer, uint32_t id)
{
    size_t size = 0;
    const char *token = mn_tokenizer_token(tokenizer, id, &size);
    return size > 2 && token[0] == '#' && token[1] == '#';
}

/* words (n + 1): where each word of ids begins, and their end. Returns how many. */
static uint32_t find_words(const mn_tokenizer *tokenizer, const uint32_t *ids, uint32_t n, uint32_t *words)
{
    uint32_t n_words = 0;
    for (uint32_t i = 0; i < n; i++)
        if (i == 0 || !continues(tokenizer, ids[i])) words[n_words++] = i;
    words[n_words] = n;
    return n_words;
}

/* The ids of a text in place of what is in `tokens`. */
static mneme_status encode_item(const mn_tokenizer *tokenizer, const mn_training_text *item, uint32_t max_tokens,
                                mn_tokens *tokens, mneme_error *error)
{
    size_t before = item->hole_size ? item->hole : item->size, after = item->hole + item->hole_size;
    tokens->n = 0;
    mneme_status status = mn_tokenizer_encode(tokenizer, item->text, before, max_tokens, tokens, error);
    if (status != MNEME_OK || item->hole_size == 0 || tokens->n >= max_tokens) return status;
    return mn_tokenizer_encode(tokenizer, item->text + after, item->size - after, max_tokens, tokens, error);
}

/* What stands around the last text added, a span of a passage. */
static mneme_status add_rest(mn_training_texts *texts, const mn_cutting *cutting, const mn_training_text *passage,
                             mn_tokens *tokens, mneme_error *error)
{
    const mn_training_text *span = &texts->items[texts->n - 1];
    mn_training_text rest = *passage;
    rest.part = MN_PART_REST;
    rest.hole = (size_t)(span->text - passage->text);
    rest.hole_size = span->size;
    mneme_status status = encode_item(cutting->tokenizer, &rest, cutting->max_tokens, tokens, error);
    rest.n = (uint32_t)tokens->n;
    return status == MNEME_OK && rest.n > 0 ? append(texts, tokens->ids, rest, error) : status;
}

/* Of a passage, and its tokens with their offsets. */
static mneme_status add_spans(mn_training_texts *texts, const mn_cutting *cutting, const mn_tokens *tokens,
                              const mn_training_text *passage, mneme_error *error)
{
    uint32_t *words = mn_alloc_array(tokens->n + 1, sizeof *words);
    if (!words) return mn_fail_memory(error, "texts to train on");
    uint32_t n_words = find_words(cutting->tokenizer, tokens->ids, (uint32_t)tokens->n, words);
    mn_random random =
        mn_random_of(cutting->seed, passage->document, XXH3_64bits(tokens->ids, tokens->n * sizeof *tokens->ids));
    uint32_t n_spans = (n_words + cutting->words_per_span / 2) / cutting->words_per_span;
    mn_tokens rest = {0};
    mneme_status status = MNEME_OK;
    for (uint32_t i = 0; i < n_spans && n_words > SPAN_WORDS_LEAST && status == MNEME_OK; i++) {
        uint32_t most = n_words - 1 < SPAN_WORDS_MOST ? n_words - 1 : SPAN_WORDS_MOST;
        uint32_t n = SPAN_WORDS_LEAST + mn_random_below(&random, most - SPAN_WORDS_LEAST + 1);
        uint32_t first = mn_random_below(&random, n_words - n + 1), from = words[first], to = words[first + n];
        const mn_training_text span = {.n = to - from,
                                       .document = passage->document,
                                       .part = MN_PART_SPAN,
                                       .text = passage->text + tokens->starts[from],
                                       .size = (size_t)(tokens->ends[to - 1] - tokens->starts[from])};
        status = append(texts, tokens->ids + from, span, error);
        if (status == MNEME_OK && cutting->rests) status = add_rest(texts, cutting, passage, &rest, error);
    }
    mn_tokens_free(&rest);
    mn_free(words);
    return status;
}

static mneme_status add_sentences(mn_training_texts *texts, const mn_cutting *cutting, const char *text, size_t size,
                                  uint32_t document, mneme_error *error)
{
    size_t at = 0, start = 0, end = 0;
    bool heading = false;
    mn_tokens tokens = {0};
    mneme_status status = MNEME_OK;
    while (status == MNEME_OK && mn_next_sentence(text, size, &at, &start, &end, &heading)) {
        if (start == 0 && end == size) break; /* the passage itself */
        mn_training_text sentence = {
            .document = document, .part = MN_PART_SENTENCE, .text = text + start, .size = end - start};
        status = encode_item(cutting->tokenizer, &sentence, cutting->max_tokens, &tokens, error);
        sentence.n = (uint32_t)tokens.n;
        if (status != MNEME_OK || sentence.n < SENTENCE_TOKENS_LEAST) continue;
        status = append(texts, tokens.ids, sentence, error);
    }
    mn_tokens_free(&tokens);
    return status;
}

static mn_training_text passage_of(const mn_tokens *tokens, const char *text, size_t size, uint32_t document)
{
    return (mn_training_text){
        .n = (uint32_t)tokens->n, .document = document, .part = MN_PART_PASSAGE, .text = text, .size = size};
}

/* The title as a span, and the rest. */
static mneme_status add_title(mn_training_texts *texts, const mn_cutting *cutting, const mn_training_text *passage,
                              size_t title_size, mneme_error *error)
{
    mn_tokens tokens = {0};
    mn_training_text title = {
        .document = passage->document, .part = MN_PART_SPAN, .text = passage->text, .size = title_size};
    mneme_status status = encode_item(cutting->tokenizer, &title, cutting->max_tokens, &tokens, error);
    title.n = (uint32_t)tokens.n;
    if (status == MNEME_OK && title.n > 0) {
        status = append(texts, tokens.ids, title, error);
        if (status == MNEME_OK) status = add_rest(texts, cutting, passage, &tokens, error);
    }
    mn_tokens_free(&tokens);
    return status;
}

static mneme_status add_passage(mn_training_texts *texts, const mn_cutting *cutting, const mn_training_source *source,
                                const mn_chunk_span *range, mneme_error *error)
{
    const char *text = source->text + range->start;
    size_t size = range->end - range->start;
    bool titled = cutting->rests && range->start == 0 && source->title_size > 0 && source->title_size < size;
    mn_tokens tokens = {.with_offsets = true};
    mneme_status status = mn_tokenizer_encode(cutting->tokenizer, text, size, cutting->max_tokens, &tokens, error);
    if (status == MNEME_OK && tokens.n > 0) {
        const mn_training_text passage = passage_of(&tokens, text, size, source->document);
        status = append(texts, tokens.ids, passage, error);
        if (status == MNEME_OK && cutting->sentences)
            status = add_sentences(texts, cutting, text, size, source->document, error);
        if (status == MNEME_OK && titled)
            status = add_title(texts, cutting, &passage, source->title_size, error);
        else if (status == MNEME_OK && cutting->words_per_span)
            status = add_spans(texts, cutting, &tokens, &passage, error);
    }
    mn_tokens_free(&tokens);
    return status;
}

mneme_status mn_training_texts_cut(mn_training_texts *texts, const mn_cutting *cutting,
                                   const mn_training_source *source, mneme_error *error)
{
    const mn_chunk_options limits = {.max_tokens = cutting->max_tokens};
    mn_chunk_spans spans = {0};
    mneme_status status = mn_chunk_text(cutting->tokenizer, source->text, source->size, &limits, &spans, error);
    for (size_t i = 0; i < spans.n && status == MNEME_OK; i++)
        status = add_passage(texts, cutting, source, &spans.items[i], error);
    mn_chunk_spans_free(&spans);
    return status;
}

mneme_status mn_training_texts_append(mn_training_texts *texts, const mn_cutting *cutting, const char *text,
                                      size_t size, uint32_t document, size_t *index, mneme_error *error)
{
    mn_tokens tokens = {0};
    *index = SIZE_MAX;
    mneme_status status = mn_tokenizer_encode(cutting->tokenizer, text, size, cutting->max_tokens, &tokens, error);
    if (status == MNEME_OK && tokens.n > 0) {
        *index = texts->n;
        status = append(texts, tokens.ids, passage_of(&tokens, text, size, document), error);
    }
    mn_tokens_free(&tokens);
    return status;
}

mneme_status mn_training_texts_retokenize(const mn_training_texts *texts, const mn_tokenizer *tokenizer,
                                          uint32_t max_tokens, mn_training_texts *out, mneme_error *error)
{
    const uint32_t unknown = mn_tokenizer_unk(tokenizer);
    mn_tokens tokens = {0};
    mneme_status status = MNEME_OK;
    for (size_t i = 0; i < texts->n && status == MNEME_OK; i++) {
        mn_training_text item = texts->items[i];
        status = encode_item(tokenizer, &item, max_tokens, &tokens, error);
        item.n = tokens.n ? (uint32_t)tokens.n : 1; /* no text is empty: what one tokenizer drops, another may keep */
        if (status == MNEME_OK) status = append(out, tokens.n ? tokens.ids : &unknown, item, error);
    }
    mn_tokens_free(&tokens);
    return status;
}

mneme_status mn_training_sequences(const mn_training_texts *texts, const mn_tokenizer *tokenizer, uint32_t n_special,
                                   uint32_t max_tokens, const size_t *indices, size_t n, mn_room *room,
                                   mn_token_batch *batch, mneme_error *error)
{
    uint32_t most = max_tokens - n_special, begin = n_special / 2;
    size_t total = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t length = texts->items[indices[i]].n;
        total += (length < most ? length : most) + n_special;
    }
    uint32_t *offsets = mn_room_take(room, n + 1, sizeof *offsets), *ids = mn_room_take(room, total, sizeof *ids);
    if (!offsets || !ids) return mn_fail_memory(error, "a batch");
    offsets[0] = 0;
    for (size_t i = 0; i < n; i++) {
        const mn_training_text *text = &texts->items[indices[i]];
        uint32_t length = text->n < most ? text->n : most, at = offsets[i];
        if (begin) ids[at] = mn_tokenizer_cls(tokenizer);
        memcpy(ids + at + begin, texts->ids + text->first, length * sizeof *ids);
        if (begin) ids[at + 1 + length] = mn_tokenizer_sep(tokenizer);
        offsets[i + 1] = at + length + n_special;
    }
    *batch = (mn_token_batch){.ids = ids, .offsets = offsets, .n = n};
    return MNEME_OK;
}

/* ---- batches --------------------------------------------------------------------------------------------------- */

/* Up to 8 tokens, to 12, 16, 24, 32, 48, ...: a band's longest has at most half as much again as its shortest. */
static uint32_t band_of(uint32_t length)
{
    uint32_t band = 0, end = 8;
    for (; length > end; band++) end += band % 2 == 0 ? end / 2 : end / 3;
    return band;
}

static uint32_t band_end(uint32_t band)
{
    uint32_t end = 8;
    for (uint32_t i = 0; i < band; i++) end += i % 2 == 0 ? end / 2 : end / 3;
    return end;
}

void mn_batches_free(mn_batches *batches)
{
    mn_free(batches->units);
    mn_free(batches->starts);
    mn_free(batches->sizes);
    mn_free(batches->order);
    mn_free(batches->band_ends);
    *batches = (mn_batches){0};
}

static uint32_t units_of_band(uint32_t band, uint32_t most, uint32_t most_tokens)
{
    uint32_t units = most_tokens / band_end(band);
    return units < 2 ? 2 : units < most ? units : most;
}

/* The batches of the present order: each band cut evenly, so that none is left with a single unit at its end. */
static void cut_bands(mn_batches *b, uint32_t most, uint32_t most_tokens)
{
    b->n_batches = 0;
    for (uint32_t band = 0, start = 0; band < b->n_bands; start = (uint32_t)b->band_ends[band++]) {
        uint32_t n = (uint32_t)b->band_ends[band] - start, each = units_of_band(band, most, most_tokens);
        uint32_t parts = (n + each - 1) / each;
        for (uint32_t i = 0; i < parts; i++) {
            uint32_t from = (uint32_t)((uint64_t)n * i / parts), to = (uint32_t)((uint64_t)n * (i + 1) / parts);
            b->starts[b->n_batches] = start + from;
            b->sizes[b->n_batches++] = to - from;
        }
    }
}

mneme_status mn_batches_new(const uint32_t *lengths, size_t n_units, uint32_t most, uint32_t most_tokens, uint64_t seed,
                            mn_batches *out, mneme_error *error)
{
    mn_batches b = {.n_units = n_units, .seed = seed, .epoch = UINT64_MAX};
    for (size_t i = 0; i < n_units; i++)
        if (band_of(lengths[i]) >= b.n_bands) b.n_bands = band_of(lengths[i]) + 1;
    b.units = mn_alloc_array(n_units, sizeof *b.units);
    b.starts = mn_alloc_array(n_units, sizeof *b.starts);
    b.sizes = mn_alloc_array(n_units, sizeof *b.sizes);
    b.order = mn_alloc_array(n_units, sizeof *b.order);
    b.band_ends = mn_alloc_zeroed(b.n_bands + 1, sizeof *b.band_ends);
    if (!b.units || !b.starts || !b.sizes || !b.order || !b.band_ends || n_units > UINT32_MAX) {
        mn_batches_free(&b);
        return mn_fail_memory(error, "batches");
    }
    size_t n = 0;
    for (uint32_t band = 0; band < b.n_bands; band++) {
        for (size_t i = 0; i < n_units; i++)
            if (band_of(lengths[i]) == band) b.units[n++] = i;
        b.band_ends[band] = n;
    }
    cut_bands(&b, most, most_tokens);
    *out = b;
    return MNEME_OK;
}

/* From the order of the band before: so an epoch's order is made from a fixed one, sorted first. */
static int compare_units(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

static void shuffle_epoch(mn_batches *b, uint64_t epoch)
{
    size_t start = 0;
    for (uint32_t band = 0; band < b->n_bands; start = b->band_ends[band++]) {
        size_t n = b->band_ends[band] - start;
        mn_random random = mn_random_of(b->seed, epoch, band);
        qsort(b->units + start, n, sizeof *b->units, compare_units);
        for (size_t i = n; i > 1; i--) {
            size_t j = mn_random_below(&random, (uint32_t)i), unit = b->units[start + i - 1];
            b->units[start + i - 1] = b->units[start + j];
            b->units[start + j] = unit;
        }
    }
    mn_random random = mn_random_of(b->seed, epoch, UINT32_MAX);
    for (uint32_t i = 0; i < b->n_batches; i++) {
        uint32_t j = mn_random_below(&random, i + 1);
        b->order[i] = b->order[j];
        b->order[j] = i;
    }
    b->epoch = epoch;
}

const size_t *mn_batches_at(mn_batches *batches, uint64_t number, size_t *n)
{
    uint64_t epoch = number / batches->n_batches, place = number % batches->n_batches;
    if (epoch != batches->epoch) shuffle_epoch(batches, epoch);
    size_t batch = batches->order[place];
    *n = batches->sizes[batch];
    return batches->units + batches->starts[batch];
}
