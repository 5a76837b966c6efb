/* index_tuning.c -- the best ten of sample questions, by exact scan and through the index, at growing effort.
 *
 * A row counts as found when its exact score reaches that of the tenth best: of equal ones, any will do. */
#include "memory/index_tuning.h"

#include "common/file.h"
#include "retriever/lists_effort.h"
#include "retriever/nearest.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    BEST = 10,
    CANDIDATES = 22,
    LEAST_QUESTIONS = 100,
    LEAST_EFFORT = 48,
    DEFAULT_EFFORT = 96,
    MOST_EFFORT = 4096,
    SCANS_A_READ = 16,
    PRODUCTS_MOST = 1 << 24,
    LEAST_LISTS = 2,
    DEFAULT_LISTS = 32,
    LEAST_OVERSAMPLING = 2,
    DEFAULT_OVERSAMPLING = 32,
    MOST_OVERSAMPLING = 64
};
_Static_assert(BEST == (int)MN_LISTS_TUNED_FOR, "what lists_effort.c reckons with");

static const uint32_t efforts[] = {48,  56,  64,  72,  80,  96,   112,  128,  160,  192,  224,  256, 320,
                                   384, 448, 512, 640, 768, 1024, 1280, 1536, 2048, 2560, 3072, 4096};

typedef struct question {
    float *vector;
    float least;   /* score of the tenth best row that the index has */
    size_t n_best; /* at most BEST */
} question;

typedef struct trial {
    const mn_tuning *tuning;
    const mn_index_facts *facts;
    mn_arena arena;
    mn_read *read; /* of what follows; renewed now and then, so that none is held for long */
    mn_arena read_arena;
    mn_rows rows;
    mn_vector_blocks vectors;
    question *questions;
    size_t n;
    mn_mapping file; /* the graph as it is now */
    mn_graph *graph;
    float *padded;
    mneme_error *error;
} trial;

static void end_read(trial *t)
{
    mn_read_end(t->read);
    mn_arena_free(&t->read_arena);
    t->read = NULL;
}

static mneme_status renew_read(trial *t)
{
    uint32_t ns = t->tuning->space->ns;
    end_read(t);
    mneme_status status = mn_read_begin(t->tuning->store, &t->read, t->error);
    if (status == MNEME_OK) status = mn_index_check_epoch(t->read, t->tuning->store, t->facts->epoch, t->error);
    if (status == MNEME_OK) status = mn_read_rows(t->read, ns, &t->read_arena, &t->rows, t->error);
    if (status == MNEME_OK) status = mn_read_vectors(t->read, ns, &t->read_arena, &t->vectors, t->error);
    return status;
}

/* ---- what is right ---- */

static bool is_question(const trial *t, uint32_t row)
{
    const uint32_t *asked = t->tuning->rows + t->tuning->n_added;
    for (size_t i = 0; i < t->tuning->n_questions; i++)
        if (asked[i] == row) return true;
    return false;
}

static mneme_status scan_of(const trial *t, const float *vector, mn_arena *arena, mn_scan *scan)
{
    bool ready = mn_scan_init(scan, &t->vectors, vector, mn_cpu_detect(), t->tuning->n_threads, arena);
    return ready ? MNEME_OK : mn_fail_memory(t->error, "index");
}

/* Of the best rows, those that the index has. */
static void take_best(const trial *t, mn_top *top, question *q)
{
    mn_top_sort(top);
    for (size_t i = 0; i < top->n && q->n_best < BEST; i++) {
        if (top->items[i].row >= t->facts->n_rows || is_question(t, top->items[i].row)) continue;
        q->least = top->items[i].score;
        q->n_best++;
    }
}

/* The exact answers to some of the questions, which read the vectors together. */
static mneme_status answer_exactly(trial *t, question *questions, size_t n)
{
    mn_arena arena = {0};
    size_t room = BEST + (t->n < t->rows.n_rows / 50 ? 40 : t->n);
    mn_scan *scans = mn_arena_array(&arena, n, sizeof *scans);
    mn_row_filter *filters = mn_arena_array(&arena, n, sizeof *filters);
    mn_top *tops = mn_arena_array(&arena, n, sizeof *tops);
    bool ready = scans && filters && tops;
    for (size_t i = 0; i < n && ready; i++)
        ready = scan_of(t, questions[i].vector, &arena, &scans[i]) == MNEME_OK && mn_top_init(&tops[i], room, &arena) &&
                mn_row_filter_init(&filters[i], NULL, t->tuning->space, &t->rows, &arena, NULL);
    ready = ready && mn_scan_top_of_each(scans, n, filters, &arena, tops);
    for (size_t i = 0; i < n && ready; i++) take_best(t, &tops[i], &questions[i]);
    mn_arena_free(&arena);
    return ready ? MNEME_OK : mn_fail_memory(t->error, "index");
}

/* How far it is does not change; whether to go on may. */
static mneme_status report(const trial *t)
{
    const mn_tuning *tuning = t->tuning;
    return mn_index_report(tuning->plan, tuning->n_added, tuning->n_added + tuning->n_questions, t->error);
}

/* Make every second question the middle of itself and the one before it: as far from all vectors as what people ask. Of
 * a million sentences that are like each other in elevens, the sentences found their best ten in 3 lists, Cranfield's
 * questions in 64 or more, and these in 64. */
static void blend_questions(trial *t)
{
    uint32_t d = t->facts->dimension;
    for (size_t i = 1; i < t->n; i += 2) {
        float *vector = t->questions[i].vector, squares = 0;
        for (uint32_t j = 0; j < d; j++) {
            vector[j] += t->questions[i - 1].vector[j];
            squares += vector[j] * vector[j];
        }
        for (uint32_t j = 0; j < d && squares > 0; j++) vector[j] /= sqrtf(squares);
    }
}

/* As many as a read is held for, and as have room for their products. */
static size_t scans_together(const trial *t)
{
    size_t n = PRODUCTS_MOST / ((size_t)t->rows.n_rows + 1);
    return n > SCANS_A_READ ? SCANS_A_READ : n ? n : 1;
}

static mneme_status prepare(trial *t)
{
    const mn_tuning *tuning = t->tuning;
    uint32_t d = t->facts->dimension;
    mneme_status status = renew_read(t);
    if (status != MNEME_OK) return status;
    t->questions = mn_arena_array(&t->arena, tuning->n_questions, sizeof *t->questions);
    t->padded = mn_arena_array(&t->arena, t->facts->padded, sizeof *t->padded);
    if (!t->questions || !t->padded) return mn_fail_memory(t->error, "index");
    for (size_t i = 0; i < tuning->n_questions; i++) {
        uint32_t row = tuning->rows[tuning->n_added + i];
        float *vector = mn_arena_array(&t->arena, d, sizeof *vector);
        if (!vector) return mn_fail_memory(t->error, "index");
        if (row < t->rows.n_rows && mn_row_at(&t->rows, row)->rec && mn_vector_of(&t->vectors, row, vector))
            t->questions[t->n++] = (question){.vector = vector};
    }
    if (t->facts->n_lists) blend_questions(t);
    size_t n_together = scans_together(t);
    for (size_t i = 0; i < t->n && status == MNEME_OK; i += n_together) {
        status = report(t);
        if (status == MNEME_OK) status = renew_read(t);
        if (status == MNEME_OK)
            status = answer_exactly(t, t->questions + i, t->n - i < n_together ? t->n - i : n_together);
    }
    return status;
}

/* ---- what the index finds ---- */

/* Is what lies at a position that was found one of the best rows? */
static bool is_best(const trial *t, const question *q, const mn_scan *scan, int64_t position)
{
    bool has_vector = false;
    if (position < 0 || (size_t)position >= t->tuning->n_added) return false;
    uint32_t row = t->tuning->rows[position];
    if (row >= t->rows.n_rows || !mn_row_at(&t->rows, row)->rec) return false;
    return mn_scan_one(scan, row, &has_vector) >= q->least && has_vector;
}

/* FAISS's graph is walked over in a file, which has no name any more once it is mapped, and is gone with the map. */
static mneme_status open_graph(trial *t)
{
    const mn_tuning *tuning = t->tuning;
    if (tuning->graph) {
        t->graph = tuning->graph;
        return MNEME_OK;
    }
    const mn_graph_shape shape = {(mn_index_kind)t->facts->kind, t->facts->padded, tuning->n_added};
    mneme_status status = mn_faiss_write(tuning->faiss, tuning->scratch_path, t->error);
    if (status == MNEME_OK) status = mn_file_map(tuning->scratch_path, &t->file, t->error);
    unlink(tuning->scratch_path);
    return status == MNEME_OK ? mn_graph_open(t->file.data, t->file.size, &shape, &t->graph, t->error) : status;
}

static mneme_status count_found(trial *t, const question *q, uint32_t effort, size_t *found)
{
    mn_arena arena = {0};
    mn_scan scan;
    int64_t positions[CANDIDATES];
    size_t n = 0;
    const mn_graph_question asked = {t->padded, CANDIDATES, effort, NULL};
    memset(t->padded, 0, t->facts->padded * sizeof *t->padded);
    memcpy(t->padded, q->vector, t->facts->dimension * sizeof *t->padded);
    mneme_status status = mn_graph_search(t->graph, &asked, positions, t->error);
    if (status == MNEME_OK) status = scan_of(t, q->vector, &arena, &scan);
    for (size_t i = 0; i < CANDIDATES && status == MNEME_OK; i++) n += is_best(t, q, &scan, positions[i]);
    *found += n < q->n_best ? n : q->n_best;
    mn_arena_free(&arena);
    return status;
}

static mneme_status recall_of(trial *t, uint32_t effort, size_t first, size_t end, double *recall)
{
    size_t found = 0, wanted = 0;
    mneme_status status = report(t);
    if (status == MNEME_OK) status = renew_read(t);
    for (size_t i = first; i < end && status == MNEME_OK; i++) {
        status = count_found(t, &t->questions[i], effort, &found);
        wanted += t->questions[i].n_best;
    }
    *recall = wanted ? (double)found / (double)wanted : 1;
    return status;
}

/* The least above this one. */
static uint32_t next_effort(uint32_t effort)
{
    size_t i = 0;
    while (i + 1 < sizeof efforts / sizeof efforts[0] && efforts[i] <= effort) i++;
    return efforts[i];
}

/* One effort after the other, up to the one that finds enough. A few questions have all of their
 * best rows in a corner that the graph hardly leads to, so that what 300 miss varies by 0.4 %; below LEAST_EFFORT there
 * are more of them than time is gained. */
static mneme_status climb(trial *t, mn_index_facts *facts)
{
    double wanted = t->tuning->plan->recall, recall = 0;
    size_t n_tuning = t->n / 3 * 2;
    mneme_status status = MNEME_OK;
    for (uint32_t effort = LEAST_EFFORT; status == MNEME_OK; effort = next_effort(effort)) {
        facts->effort = effort;
        status = recall_of(t, effort, 0, n_tuning, &recall);
        if (status != MNEME_OK || (recall < wanted && effort < MOST_EFFORT)) continue;
        status = recall_of(t, effort, n_tuning, t->n, &facts->recall);
        if (facts->recall >= wanted || effort >= MOST_EFFORT) break;
    }
    return status;
}

/* Half as much effort again: questions are not like the vectors that they look for, and a graph of these leads to these
 * sooner. Of the nearest of Cranfield's 225 questions among 87,408 sentences, what gave the sentences themselves 0.99
 * found 0.988, with the margin 0.994. */
static mneme_status add_margin(trial *t, mn_index_facts *facts)
{
    uint32_t effort = facts->effort;
    while (effort < facts->effort + facts->effort / 2 && effort < MOST_EFFORT) effort = next_effort(effort);
    facts->effort = effort;
    return recall_of(t, effort, t->n / 3 * 2, t->n, &facts->recall);
}

/* ---- the same of lists ---- */

/* How many of the best rows there are, and how many of them are found among the first 10, 20, ... candidates. */
typedef struct ranks {
    size_t wanted, found[MOST_OVERSAMPLING];
} ranks;

static mneme_status rank_found(trial *t, const question *q, uint32_t n_lists, ranks *out)
{
    enum { MOST = BEST * MOST_OVERSAMPLING };
    mn_arena arena = {0};
    mn_scan scan;
    float distances[MOST];
    int64_t positions[MOST];
    size_t n = 0;
    const mn_faiss_probe probe = {t->padded, MOST, n_lists, NULL};
    mn_index_prepare(t->facts->kind, t->facts->scale, q->vector, t->facts->dimension, t->padded);
    mneme_status status = mn_faiss_search_lists(t->tuning->faiss, &probe, distances, positions, t->error);
    if (status == MNEME_OK) status = scan_of(t, q->vector, &arena, &scan);
    for (size_t i = 0; i < MOST && status == MNEME_OK; i++) {
        n += is_best(t, q, &scan, positions[i]);
        if (i % BEST == BEST - 1) out->found[i / BEST] += n < q->n_best ? n : q->n_best;
    }
    out->wanted += q->n_best;
    mn_arena_free(&arena);
    return status;
}

/* The questions in four parts: the vectors and the blends of the first two thirds, then of the rest, with which the
 * recall is measured. */
enum { PARTS = 4, MEASURED = 2 };

static mneme_status ranks_of(trial *t, uint32_t n_lists, unsigned part, ranks *out)
{
    size_t n_tuning = t->n / 6 * 4; /* even */
    size_t first = (part >= MEASURED ? n_tuning : 0) + part % 2, end = part >= MEASURED ? t->n : n_tuning;
    *out = (ranks){0};
    mneme_status status = report(t);
    if (status == MNEME_OK) status = renew_read(t);
    for (size_t i = first; i < end && status == MNEME_OK; i += 2)
        status = rank_found(t, &t->questions[i], n_lists, out);
    return status;
}

static double recall_with(const ranks *r, size_t oversampling)
{
    return r->wanted ? (double)r->found[oversampling - 1] / (double)r->wanted : 1;
}

/* The least oversampling with which so many lists find enough of each part; more than there is: none does. */
static mneme_status find_oversampling(trial *t, uint32_t n_lists, uint32_t *least)
{
    double wanted = t->tuning->plan->recall;
    mneme_status status = MNEME_OK;
    *least = LEAST_OVERSAMPLING;
    for (unsigned part = PARTS; part-- > 0 && *least <= MOST_OVERSAMPLING && status == MNEME_OK;) {
        ranks r;
        status = ranks_of(t, n_lists, part, &r);
        while (*least <= MOST_OVERSAMPLING && recall_with(&r, *least) < wanted) (*least)++;
    }
    return status;
}

/* Of the numbers of lists with which enough is found, the one that costs least together with the candidates that it
 * takes: the more lists, the fewer of these. Where none does, all that there is. */
static mneme_status climb_lists(trial *t, mn_index_facts *facts)
{
    size_t least_cost = SIZE_MAX;
    mneme_status status = MNEME_OK;
    uint32_t most = facts->n_lists < MOST_EFFORT ? (uint32_t)facts->n_lists : MOST_EFFORT, candidates = 0;
    facts->effort = most;
    facts->oversampling = MOST_OVERSAMPLING;
    for (uint32_t n = LEAST_LISTS; n <= most && status == MNEME_OK; n += n / 4 + 1) {
        if (mn_lists_cost(facts, n, 0) >= least_cost) break;
        status = find_oversampling(t, n, &candidates);
        size_t cost = mn_lists_cost(facts, n, (size_t)BEST * candidates);
        if (status != MNEME_OK || candidates > MOST_OVERSAMPLING || cost >= least_cost) continue;
        least_cost = cost;
        facts->effort = n;
        facts->oversampling = candidates;
    }
    return status;
}

/* With the margin that a graph has, of both: where 64 lists and 320 candidates found 0.994 for the blends, Cranfield's
 * questions had 0.985 with them, and 0.990 with half as much again. */
static mneme_status tune_lists(trial *t, mn_index_facts *facts)
{
    mneme_status status = climb_lists(t, facts);
    uint32_t lists = facts->effort + facts->effort / 2, candidates = facts->oversampling + facts->oversampling / 2;
    facts->effort = lists < facts->n_lists ? lists : (uint32_t)facts->n_lists;
    facts->oversampling = candidates < MOST_OVERSAMPLING ? candidates : MOST_OVERSAMPLING;
    facts->recall = 1;
    for (unsigned part = MEASURED; part < PARTS && status == MNEME_OK; part++) {
        ranks r;
        status = ranks_of(t, facts->effort, part, &r);
        if (status == MNEME_OK) facts->recall = fmin(facts->recall, recall_with(&r, facts->oversampling));
    }
    return status;
}

static mneme_status tune_graph(trial *t, mn_index_facts *facts)
{
    mneme_status status = open_graph(t);
    if (status == MNEME_OK) status = climb(t, facts);
    return status == MNEME_OK ? add_margin(t, facts) : status;
}

mneme_status mn_index_tune(const mn_tuning *tuning, mn_index_facts *facts, mneme_error *error)
{
    trial t = {.tuning = tuning, .facts = facts, .error = error};
    const mn_index_facts before = *facts;
    bool lists = facts->n_lists != 0;
    if (before.effort == 0) facts->effort = lists ? DEFAULT_LISTS : DEFAULT_EFFORT;
    if (before.oversampling == 0) facts->oversampling = lists ? DEFAULT_OVERSAMPLING : 0;
    if (tuning->n_questions < LEAST_QUESTIONS) return MNEME_OK;
    mneme_status status = prepare(&t);
    if (status == MNEME_OK && t.n >= LEAST_QUESTIONS) status = lists ? tune_lists(&t, facts) : tune_graph(&t, facts);
    if (facts->effort < before.effort) facts->effort = before.effort; /* the new vectors are not all that there is */
    if (facts->oversampling < before.oversampling) facts->oversampling = before.oversampling;
    end_read(&t);
    if (!tuning->graph) mn_graph_free(t.graph);
    if (t.file.data) mn_file_unmap(&t.file);
    mn_arena_free(&t.arena);
    return status;
}
