/* index_lists.c -- places, rows and codes of lists.
 *
 * Codes are compared through FAISS: the vector is encoded again, and where that gives another list or other codes (two
 * are equally near, and sums of floats depend on how many vectors are encoded at once), what the kept codes stand for
 * must be about as near to the vector. */
#include "retriever/index_lists.h"

#include <string.h>

/* Squared distance of the vector that is kept, in that of the one that it is encoded as now. */
#define NEARLY 1.2
enum { COMPARED = 20000 };

mneme_status mn_index_lists_of(mn_index *index, mn_arena *arena, mn_index_lists *out, mneme_error *error)
{
    const mn_index_facts *facts = mn_index_get_facts(index);
    size_t place_bytes = mn_index_place_bytes(facts->kind, facts->padded);
    *out = (mn_index_lists){.index = index, .code_bytes = mn_index_code_bytes(facts->kind, facts->padded)};
    mneme_status status = mn_index_faiss(index, &out->faiss, error);
    if (status != MNEME_OK) return status;
    out->n_lists = mn_faiss_n_lists(out->faiss);
    out->starts = mn_arena_array(arena, out->n_lists + 1, sizeof *out->starts);
    if (!out->starts) return mn_fail_memory(error, "index");
    out->starts[0] = 0;
    for (size_t i = 0; i < out->n_lists; i++)
        out->starts[i + 1] = out->starts[i] + place_bytes * mn_faiss_list_size(out->faiss, i);
    if (out->starts[out->n_lists] != facts->n_codes * place_bytes)
        return mn_fail(error, MNEME_ERR_DAMAGED, "its lists do not hold as many vectors as they should");
    return MNEME_OK;
}

size_t mn_index_list_size(const mn_index_lists *lists, size_t list)
{
    return (size_t)(lists->starts[list + 1] - lists->starts[list]) / (lists->code_bytes + sizeof(int64_t));
}

static const unsigned char *codes_of(const mn_index_lists *lists, size_t list, size_t place)
{
    return mn_index_tail(lists->index) + lists->starts[list] + place * lists->code_bytes;
}

int64_t mn_index_list_position(const mn_index_lists *lists, size_t list, size_t place)
{
    int64_t position;
    const unsigned char *positions = codes_of(lists, list, mn_index_list_size(lists, list));
    memcpy(&position, positions + place * sizeof position, sizeof position);
    return position;
}

static bool is_position(const mn_index_lists *lists, int64_t position)
{
    return position >= 0 && (uint64_t)position < mn_index_get_facts(lists->index)->n_codes;
}

bool mn_index_list_lives(const mn_index_lists *lists, const mn_rows *rows, size_t list, size_t place)
{
    int64_t position = mn_index_list_position(lists, list, place);
    if (!is_position(lists, position)) return false;
    uint32_t row = mn_index_rows(lists->index)[position];
    return row < rows->n_rows && mn_row_at(rows, row)->rec != 0;
}

void mn_index_list_without_dead(const mn_index_lists *lists, const mn_rows *rows, size_t list, unsigned char *out)
{
    const int64_t hole = MN_INDEX_HOLE;
    size_t n = mn_index_list_size(lists, list), kept = 0;
    unsigned char *positions = out + n * lists->code_bytes;
    for (size_t i = 0; i < n; i++) {
        if (!mn_index_list_lives(lists, rows, list, i)) continue;
        int64_t position = mn_index_list_position(lists, list, i);
        memcpy(out + kept * lists->code_bytes, codes_of(lists, list, i), lists->code_bytes);
        memcpy(positions + kept++ * sizeof position, &position, sizeof position);
    }
    memset(out + kept * lists->code_bytes, 0, (n - kept) * lists->code_bytes);
    for (; kept < n; kept++) memcpy(positions + kept * sizeof hole, &hole, sizeof hole);
}

/* ---- codes ---- */

typedef struct comparison {
    const mn_index_lists *lists;
    const mn_vector_blocks *vectors;
    size_t encoded_bytes;
    unsigned char *now, *kept;
    float *raw, *vector, *decoded;
} comparison;

static bool comparison_init(comparison *c, const mn_index_lists *lists, const mn_vector_blocks *vectors,
                            mn_arena *arena)
{
    size_t padded = mn_index_get_facts(lists->index)->padded, bytes = mn_faiss_encoded_bytes(lists->faiss);
    if (bytes < lists->code_bytes) return false;
    *c = (comparison){.lists = lists, .vectors = vectors, .encoded_bytes = bytes};
    c->now = mn_arena_alloc(arena, bytes);
    c->kept = mn_arena_alloc(arena, bytes);
    c->raw = mn_arena_array(arena, padded, sizeof *c->raw);
    c->vector = mn_arena_array(arena, padded, sizeof *c->vector);
    c->decoded = mn_arena_array(arena, padded, sizeof *c->decoded);
    return c->now && c->kept && c->raw && c->vector && c->decoded;
}

static double squared_distance(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    return sum;
}

/* Are the codes in a living row's place those of its vector in the store? */
static bool has_vector(const comparison *c, size_t list, size_t place)
{
    const mn_index_lists *lists = c->lists;
    const mn_index_facts *facts = mn_index_get_facts(lists->index);
    size_t list_bytes = c->encoded_bytes - lists->code_bytes;
    uint32_t row = mn_index_rows(lists->index)[mn_index_list_position(lists, list, place)];
    if (!mn_vector_of(c->vectors, row, c->raw)) return false;
    mn_index_prepare(facts->kind, facts->scale, c->raw, facts->dimension, c->vector);
    for (size_t i = 0; i < list_bytes; i++) c->kept[i] = (unsigned char)(list >> 8 * i);
    memcpy(c->kept + list_bytes, codes_of(lists, list, place), lists->code_bytes);
    if (mn_faiss_encode(lists->faiss, c->vector, c->now, NULL) != MNEME_OK) return false;
    if (memcmp(c->now, c->kept, c->encoded_bytes) == 0) return true;
    if (mn_faiss_decode(lists->faiss, c->now, c->decoded, NULL) != MNEME_OK) return false;
    double least = squared_distance(c->vector, c->decoded, facts->padded);
    if (mn_faiss_decode(lists->faiss, c->kept, c->decoded, NULL) != MNEME_OK) return false;
    return squared_distance(c->vector, c->decoded, facts->padded) <= NEARLY * least + 1e-6;
}

bool mn_index_lists_fit(mn_index *index, const mn_rows *rows, const mn_vector_blocks *vectors, uint64_t step,
                        mn_arena *arena)
{
    mn_index_lists lists;
    comparison c;
    uint64_t nth = 0;
    if (mn_index_lists_of(index, arena, &lists, NULL) != MNEME_OK) return false;
    if (!comparison_init(&c, &lists, vectors, arena)) return false;
    for (size_t list = 0; list < lists.n_lists; list++)
        for (size_t i = 0; i < mn_index_list_size(&lists, list); i++)
            if (nth++ % step == 0 && mn_index_list_lives(&lists, rows, list, i) && !has_vector(&c, list, i))
                return false;
    return true;
}

/* ---- counting ---- */

static bool is_hole(const mn_index_lists *lists, size_t list, size_t place)
{
    const unsigned char *codes = codes_of(lists, list, place);
    size_t n_zero = 0;
    while (n_zero < lists->code_bytes && codes[n_zero] == 0) n_zero++;
    return n_zero == lists->code_bytes && mn_index_list_position(lists, list, place) == MN_INDEX_HOLE;
}

static bool first_time(unsigned char *seen, int64_t position)
{
    bool first = !seen[position];
    seen[position] = 1;
    return first;
}

/* One byte a position: is it in a list? */
static void count_places(const comparison *c, const mn_rows *rows, unsigned char *seen, mn_index_census *out)
{
    const mn_index_lists *lists = c->lists;
    uint64_t nth = 0, step = mn_index_get_facts(lists->index)->n_codes / COMPARED + 1;
    for (size_t list = 0; list < lists->n_lists; list++)
        for (size_t i = 0; i < mn_index_list_size(lists, list); i++, nth++) {
            if (is_hole(lists, list, i)) {
                out->dead++;
            } else if (!mn_index_list_lives(lists, rows, list, i) ||
                       !first_time(seen, mn_index_list_position(lists, list, i)) ||
                       (nth % step == 0 && !has_vector(c, list, i))) {
                out->wrong++;
            } else {
                out->live++;
            }
        }
}

mneme_status mn_index_lists_count(mn_index *index, const mn_rows *rows, const mn_vector_blocks *vectors,
                                  mn_index_census *out, mneme_error *error)
{
    mn_arena arena = {0};
    mn_index_lists lists;
    comparison c;
    uint64_t n_codes = mn_index_get_facts(index)->n_codes;
    *out = (mn_index_census){0};
    mneme_status status = mn_index_lists_of(index, &arena, &lists, error);
    unsigned char *seen = mn_arena_alloc(&arena, (size_t)n_codes + 1);
    if (status == MNEME_OK && (!seen || !comparison_init(&c, &lists, vectors, &arena)))
        status = mn_fail_memory(error, "index");
    if (status == MNEME_OK) {
        memset(seen, 0, (size_t)n_codes + 1);
        count_places(&c, rows, seen, out);
        for (uint64_t p = 0; p < n_codes; p++) {
            uint32_t row = mn_index_rows(index)[p];
            bool lives = row < rows->n_rows && mn_row_at(rows, row)->rec != 0;
            if (lives && !seen[p]) out->wrong++; /* in no list */
        }
    }
    if (status == MNEME_ERR_DAMAGED) {
        out->wrong = n_codes;
        status = MNEME_OK;
    }
    mn_arena_free(&arena);
    return status;
}
