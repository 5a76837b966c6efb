/* cues.c -- who and when: speakers whom a question names, and days. */
#include "retriever/retrieval.h"
#include "retriever/terms.h"

#include <stdlib.h>
#include <string.h>

enum { SPEAKERS_MAX = 256 }; /* remembered per namespace; further ones are looked at each time */

static int by_bytes(const void *left, const void *right)
{
    return mn_term_order(left, right);
}

/* The share of the name's terms that stand in the question. */
static mneme_status compare(mn_retrieval *run, const char *name, float *named)
{
    mn_term_list terms = {0};
    const mn_question *question = run->question;
    mneme_status status =
        question->analyze(question->analyze_context, name, strlen(name), run->arena, &terms, run->error);
    if (status != MNEME_OK || terms.n == 0) return status;
    size_t found = 0;
    for (size_t i = 0; i < terms.n; i++)
        found += bsearch(&terms.items[i], run->terms.items, run->terms.n, sizeof *run->terms.items, by_bytes) != NULL;
    *named = (float)found / (float)terms.n;
    return MNEME_OK;
}

static bool remember(mn_retrieval *run, mn_speakers *speakers, const char *name, float named)
{
    if (speakers->n == SPEAKERS_MAX) return true;
    if (speakers->n == speakers->capacity) {
        size_t capacity = speakers->capacity ? speakers->capacity * 4 : 4;
        mn_speaker *items = mn_arena_array(run->arena, capacity, sizeof *items);
        if (!items) return false;
        if (speakers->n) memcpy(items, speakers->items, speakers->n * sizeof *items);
        speakers->items = items;
        speakers->capacity = capacity;
    }
    mn_speaker speaker = {mn_arena_strdup(run->arena, name), named};
    if (speaker.name) speakers->items[speakers->n++] = speaker;
    return speaker.name != NULL;
}

static mneme_status find_named(mn_retrieval *run, mn_speakers *speakers, const char *name, float *named)
{
    *named = 0;
    for (size_t i = 0; i < speakers->n; i++) {
        if (strcmp(speakers->items[i].name, name) != 0) continue;
        *named = speakers->items[i].named;
        return MNEME_OK;
    }
    mneme_status status = compare(run, name, named);
    if (status == MNEME_OK && !remember(run, speakers, name, *named))
        status = mn_fail_memory(run->error, "names of speakers");
    return status;
}

/* Does any record of the namespace have this field? */
static mneme_status look_for(mn_retrieval *run, const mn_space_search *search, const char *field, bool *out)
{
    const mn_field_range any = {.field = field, .match = MN_FIELD_EXISTS};
    size_t n = 0;
    mneme_status status = mn_count_field(run->read, search->space->ns, &any, 1, &n, run->error);
    *out = n > 0;
    return status;
}

/* Which of speakers and times there are, where the question could name one. */
static mneme_status look_for_cues(mn_retrieval *run, mn_space_search *search)
{
    mneme_status status = MNEME_OK;
    if (run->options->speaker_weight > 0 && run->terms.n > 0)
        status = look_for(run, search, "speaker", &search->has_speakers);
    if (run->options->time_weight > 0 && run->dates.n > 0 && status == MNEME_OK)
        status = look_for(run, search, "time", &search->has_times);
    return status;
}

/* parts.speaker and parts.time, weights included. */
static mneme_status read_cues(mn_retrieval *run, mn_candidate *candidate)
{
    mn_space_search *search = &run->spaces[candidate->ns_index];
    mn_record record;
    float named = 0;
    if (!search->has_speakers && !search->has_times) return MNEME_OK;
    mneme_status status = mn_read_record(run->read, search->space->ns, candidate->rec, &record, run->error);
    if (status == MNEME_OK && search->has_speakers && record.speaker)
        status = find_named(run, &search->speakers, record.speaker, &named);
    if (status != MNEME_OK) return status;
    candidate->parts.speaker = run->options->speaker_weight * named;
    if (search->has_times && record.has_time)
        candidate->parts.time = run->options->time_weight * mn_dates_nearness(&run->dates, record.time_ms);
    return MNEME_OK;
}

static void divide(mn_candidate *candidate, float all)
{
    mneme_parts *parts = &candidate->parts;
    float *const values[] = {&candidate->own, &candidate->neighbour, &parts->dense,
                             &parts->lexical, &parts->importance,    &parts->strength,
                             &parts->recency, &parts->speaker,       &parts->time};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) *values[i] /= all;
}

mneme_status mn_add_cues(mn_retrieval *run)
{
    const mn_retrieve_options *options = run->options;
    bool has_dates = options->time_weight > 0 && run->dates.n > 0, any_named = false;
    bool any_speaker = false, any_time = false;
    for (size_t i = 0; i < run->n_spaces; i++) {
        mneme_status status = look_for_cues(run, &run->spaces[i]);
        if (status != MNEME_OK) return status;
        any_speaker = any_speaker || run->spaces[i].has_speakers;
        any_time = any_time || run->spaces[i].has_times;
    }
    size_t n = any_time ? run->n : any_speaker ? (options->k > MN_CUE_HITS ? options->k : MN_CUE_HITS) : 0;
    mn_top best;
    mneme_status status = mn_best_candidates(run, 0, run->n, n, &best);
    for (size_t i = 0; status == MNEME_OK && i < best.n; i++) {
        mn_candidate *candidate = &run->candidates[best.items[i].row];
        status = read_cues(run, candidate);
        any_named = any_named || candidate->parts.speaker > 0;
    }
    if (status != MNEME_OK) return status;
    float all = 1 + (any_named ? options->speaker_weight : 0) + (has_dates ? options->time_weight : 0);
    for (size_t i = 0; i < run->n && all > 1; i++) divide(&run->candidates[i], all);
    return MNEME_OK;
}
