/* index_scrub.c -- rows that have died lose their codes in the index file, too.
 *
 *     trailer: is_being_scrubbed 1 --> codes --fdatasync--> sums --> trailer: is_being_scrubbed 0, the new mark
 *
 * A dead node stays in the graph, as a step on the way to others, with the vector of a living row near it: zeros would
 * be nearer to most questions than any row, and draw every search to them. When that row dies, those that have its
 * vector get another one. Killed at any point, the file says that its tail's checksums cannot be relied on, and the
 * next writer begins again at the old mark.
 *
 * Lists need no such step: the living are moved together and holes are left at the end, list by list, so that what is
 * around a place does not tell whose it was. A search that reads a list meanwhile may miss one that lives, and sees
 * none twice. It cannot be done again half-way, so that a file in which it was interrupted is given up. */
#include "retriever/index_scrub.h"

#include "retriever/index_lists.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

/* SEARCHED: for that many the nearest row is searched in the graph (0.2 ms each); for more, any living one has to do.
 */
enum { SEARCHED = 10000, NEIGHBOURS = 32, SEARCH_EFFORT = 64 };

typedef struct scrub {
    mn_index *index;
    mn_index_facts facts; /* as they lie in the file now */
    mn_rows rows;
    mn_arena arena;
    uint64_t *positions; /* to be scrubbed, ascending; of lists: the numbers of those to be written again */
    size_t n;
    mn_index_lists lists; /* of kinds that have them */
    int fd;
    mneme_error *error;
} scrub;

static bool is_live(const scrub *s, uint64_t position)
{
    uint32_t row = mn_index_rows(s->index)[position];
    return row < s->rows.n_rows && mn_row_at(&s->rows, row)->rec != 0;
}

static mneme_status write_at(const scrub *s, const void *data, size_t size, uint64_t at)
{
    for (const char *from = data; size;) {
        ssize_t n = pwrite(s->fd, from, size, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return mn_fail_errno(s->error, errno, "cannot write to the index");
        from += n;
        at += (uint64_t)n;
        size -= (size_t)n;
    }
    return MNEME_OK;
}

static mneme_status write_facts(scrub *s)
{
    s->facts.sum = mn_index_facts_sum(&s->facts);
    return write_at(s, &s->facts, sizeof s->facts, mn_index_bytes(s->index) - sizeof s->facts);
}

/* One process at a time; the trailer may have changed since the file was opened. */
static mneme_status lock_and_read(scrub *s)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    s->fd = mn_index_open_writable(s->index);
    if (s->fd < 0) return mn_fail_errno(s->error, errno, "cannot write to the index");
    int code;
    do code = fcntl(s->fd, F_OFD_SETLKW, &whole);
    while (code != 0 && errno == EINTR);
    if (code != 0) return mn_fail_errno(s->error, errno, "cannot lock the index");
    uint64_t at = mn_index_bytes(s->index) - sizeof s->facts;
    if (pread(s->fd, &s->facts, sizeof s->facts, (off_t)at) != (ssize_t)sizeof s->facts ||
        s->facts.sum != mn_index_facts_sum(&s->facts))
        return mn_fail(s->error, MNEME_ERR_DAMAGED, "its trailer is damaged");
    return MNEME_OK;
}

/* ---- which positions ---- */

static void mark_range(unsigned char *marks, uint32_t n_rows, uint32_t first, uint32_t n)
{
    for (uint32_t row = first; row < n_rows && row - first < n; row++) marks[row] = 1;
}

/* One byte a row that the log says has died since the mark; all rows, when it does not reach back so far. */
static mneme_status mark_rows(scrub *s, mn_read *read, uint32_t ns, unsigned char **out)
{
    mn_change *changes = NULL;
    size_t n = 0;
    bool complete = false;
    unsigned char *marks = *out = mn_arena_alloc(&s->arena, s->facts.n_rows);
    if (!marks) return mn_fail_memory(s->error, "index");
    memset(marks, 0, s->facts.n_rows);
    mneme_status status = mn_read_changes(read, s->facts.scrubbed, &s->arena, &changes, &n, &complete, s->error);
    if (status != MNEME_OK) return status;
    if (!complete || s->facts.is_being_scrubbed) memset(marks, 1, s->facts.n_rows);
    for (size_t i = 0; i < n; i++)
        if (changes[i].ns == ns && changes[i].removed)
            mark_range(marks, s->facts.n_rows, changes[i].first_row, changes[i].n_rows);
    return MNEME_OK;
}

static int by_number(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static bool holds(const uint64_t *sorted, size_t n, uint64_t number)
{
    return n && bsearch(&number, sorted, n, sizeof number, by_number);
}

static uint64_t codes_sum(const mn_index *index, uint64_t position)
{
    const mn_index_facts *facts = mn_index_get_facts(index);
    return XXH3_64bits(mn_index_codes(index, position), mn_index_code_bytes(facts->kind, facts->padded));
}

/* Rows that died earlier and were given the codes of one that has died now: they lose them, too. */
static mneme_status add_borrowers(scrub *s)
{
    size_t n = s->n;
    uint64_t *sums = mn_arena_array(&s->arena, n, sizeof *sums);
    if (!sums) return mn_fail_memory(s->error, "index");
    for (size_t i = 0; i < n; i++) sums[i] = codes_sum(s->index, s->positions[i]);
    qsort(sums, n, sizeof *sums, by_number);
    for (uint64_t p = 0; p < s->facts.n_codes; p++)
        if (!is_live(s, p) && holds(sums, n, codes_sum(s->index, p)) && !holds(s->positions, n, p))
            s->positions[s->n++] = p;
    if (s->n > n) qsort(s->positions, s->n, sizeof *s->positions, by_number);
    return MNEME_OK;
}

/* The lists that dead rows are in take the place of the positions. One in which nobody lives any more has a centre that
 * is the mean of dead vectors alone. */
static mneme_status find_lists(scrub *s)
{
    mneme_status status = mn_index_lists_of(s->index, &s->arena, &s->lists, s->error);
    if (status != MNEME_OK) return status;
    s->n = 0;
    s->positions = mn_arena_array(&s->arena, s->lists.n_lists, sizeof *s->positions);
    if (!s->positions) return mn_fail_memory(s->error, "index");
    for (size_t list = 0; list < s->lists.n_lists; list++) {
        size_t n_living = 0, n_dead = 0;
        for (size_t i = 0; i < mn_index_list_size(&s->lists, list); i++) {
            if (mn_index_list_lives(&s->lists, &s->rows, list, i))
                n_living++;
            else
                n_dead += mn_index_list_position(&s->lists, list, i) != MN_INDEX_HOLE;
        }
        if (n_dead && !n_living) return mn_fail(s->error, MNEME_ERR_TOO_LARGE, "all rows of one of its lists are dead");
        if (n_dead) s->positions[s->n++] = list;
    }
    return MNEME_OK;
}

static mneme_status find_positions(scrub *s, mn_read *read, uint32_t ns)
{
    unsigned char *marks = NULL;
    const uint32_t *rows = mn_index_rows(s->index);
    size_t n_dead = 0;
    mneme_status status = mn_read_rows(read, ns, &s->arena, &s->rows, s->error);
    if (status == MNEME_OK) status = mark_rows(s, read, ns, &marks);
    if (status != MNEME_OK) return status;
    for (uint64_t p = 0; p < s->facts.n_codes; p++) n_dead += !is_live(s, p);
    s->positions = mn_arena_array(&s->arena, n_dead, sizeof *s->positions);
    if (!s->positions) return mn_fail_memory(s->error, "index");
    for (uint64_t p = 0; p < s->facts.n_codes; p++)
        if (rows[p] < s->facts.n_rows && marks[rows[p]] && !is_live(s, p)) s->positions[s->n++] = p;
    if ((double)n_dead > MN_INDEX_MOST_DEAD * (double)s->facts.n_codes)
        return mn_fail(s->error, MNEME_ERR_TOO_LARGE, "too many of its rows are dead");
    if (s->n == 0) return MNEME_OK;
    return mn_index_has_lists(s->facts.kind) ? find_lists(s) : add_borrowers(s);
}

/* ---- what they get ---- */

/* The living position next to this one; UINT64_MAX: none lives. */
static uint64_t next_living(const scrub *s, uint64_t position)
{
    for (uint64_t step = 1; step <= s->facts.n_codes; step++) {
        if (step <= position && is_live(s, position - step)) return position - step;
        if (position + step < s->facts.n_codes && is_live(s, position + step)) return position + step;
    }
    return UINT64_MAX;
}

static uint64_t nearest_living(scrub *s, uint64_t position)
{
    const mn_index_question nearby = {NULL, NEIGHBOURS, SEARCH_EFFORT, NULL};
    int64_t *found = NULL;
    mn_arena arena = {0};
    uint64_t nearest = UINT64_MAX;
    if (mn_index_search_near(s->index, position, &nearby, &arena, &found, NULL) == MNEME_OK)
        for (size_t i = 0; i < NEIGHBOURS && nearest == UINT64_MAX; i++)
            if (found[i] >= 0 && (uint64_t)found[i] < s->facts.n_codes && is_live(s, (uint64_t)found[i]))
                nearest = (uint64_t)found[i];
    mn_arena_free(&arena);
    return nearest != UINT64_MAX ? nearest : next_living(s, position);
}

/* Where in the tail the i-th of what is changed lies. */
static uint64_t place_of(const scrub *s, size_t i, size_t *size)
{
    if (s->lists.starts) {
        *size = (size_t)(s->lists.starts[s->positions[i] + 1] - s->lists.starts[s->positions[i]]);
        return s->lists.starts[s->positions[i]];
    }
    *size = mn_index_code_bytes(s->facts.kind, s->facts.padded);
    return s->positions[i] * *size;
}

static mneme_status overwrite_one(scrub *s, size_t i)
{
    size_t size;
    mn_arena arena = {0};
    uint64_t at = place_of(s, i, &size), from = UINT64_MAX;
    unsigned char *bytes = mn_arena_alloc(&arena, size);
    mneme_status status = bytes ? MNEME_OK : mn_fail_memory(s->error, "index");
    if (status == MNEME_OK && s->lists.starts) {
        mn_index_list_without_dead(&s->lists, &s->rows, (size_t)s->positions[i], bytes);
    } else if (status == MNEME_OK) {
        from = s->n <= SEARCHED ? nearest_living(s, s->positions[i]) : next_living(s, s->positions[i]);
        if (from == UINT64_MAX)
            memset(bytes, 0, size);
        else
            memcpy(bytes, mn_index_codes(s->index, from), size);
    }
    if (status == MNEME_OK) status = write_at(s, bytes, size, s->facts.tail_start + at);
    mn_arena_free(&arena);
    return status;
}

static mneme_status overwrite(scrub *s)
{
    mneme_status status = MNEME_OK;
    for (size_t i = 0; i < s->n && status == MNEME_OK; i++) status = overwrite_one(s, i);
    if (status == MNEME_OK && fdatasync(s->fd) != 0)
        status = mn_fail_errno(s->error, errno, "cannot write to the index");
    return status;
}

/* The sums of the blocks that were changed; of all, when an earlier scrub was interrupted. */
static mneme_status update_sums(scrub *s, bool all)
{
    size_t n, size;
    const uint64_t *old = mn_index_sums(s->index, &n);
    uint64_t *sums = mn_arena_copy(&s->arena, old, n * sizeof *old);
    if (!sums) return mn_fail_memory(s->error, "index");
    for (uint64_t b = 0; b < n && all; b++) sums[b] = mn_index_block_sum(s->index, b);
    uint64_t done = UINT64_MAX;
    for (size_t i = 0; i < s->n && !all; i++) {
        uint64_t at = place_of(s, i, &size);
        for (uint64_t b = at / MN_INDEX_BLOCK_BYTES; b <= (at + size - 1) / MN_INDEX_BLOCK_BYTES; b++) {
            if (b != done) sums[b] = mn_index_block_sum(s->index, b);
            done = b;
        }
    }
    s->facts.sums_sum = XXH3_64bits(sums, n * sizeof *sums);
    return write_at(s, sums, n * sizeof *sums, mn_index_bytes(s->index) - sizeof s->facts - n * sizeof *sums);
}

static mneme_status change_file(scrub *s, uint64_t generation)
{
    bool interrupted = s->facts.is_being_scrubbed;
    if (interrupted && mn_index_has_lists(s->facts.kind))
        return mn_fail(s->error, MNEME_ERR_DAMAGED, "its lists were being written when a program was killed");
    if (s->n == 0 && !interrupted) return MNEME_OK; /* the mark in the file may stay: the log is read again */
    s->facts.is_being_scrubbed = 1;
    mneme_status status = write_facts(s);
    if (status == MNEME_OK) status = overwrite(s);
    if (status == MNEME_OK) status = update_sums(s, interrupted);
    if (status != MNEME_OK) return status;
    s->facts.is_being_scrubbed = 0;
    s->facts.scrubbed = generation;
    return write_facts(s);
}

mneme_status mn_index_scrub(mn_index *index, mn_read *read, uint32_t ns, mneme_error *error)
{
    scrub s = {.index = index, .fd = -1, .error = error};
    uint64_t generation = mn_read_generation(read);
    mneme_status status = lock_and_read(&s);
    if (status == MNEME_OK && (s.facts.scrubbed < generation || s.facts.is_being_scrubbed)) {
        status = find_positions(&s, read, ns);
        if (status == MNEME_OK) status = change_file(&s, generation);
    }
    if (s.fd >= 0) close(s.fd);
    mn_arena_free(&s.arena);
    return status;
}

/* ---- counting ---- */

mneme_status mn_index_count(mn_index *index, const mn_rows *rows, const mn_vector_blocks *vectors, mn_index_census *out,
                            mneme_error *error)
{
    const mn_index_facts *facts = mn_index_get_facts(index);
    size_t n_sums = 0;
    if (mn_index_has_lists(facts->kind)) return mn_index_lists_count(index, rows, vectors, out, error);
    mn_arena arena = {0};
    uint64_t *living = mn_arena_array(&arena, (size_t)facts->n_codes, sizeof *living);
    float *scratch = mn_arena_array(&arena, 2 * (size_t)facts->padded, sizeof *scratch);
    *out = (mn_index_census){0};
    if (!living || !scratch) {
        mn_arena_free(&arena);
        return mn_fail_memory(error, "index");
    }
    for (uint64_t p = 0; p < facts->n_codes; p++) {
        uint32_t row = mn_index_rows(index)[p];
        if (row < rows->n_rows && mn_row_at(rows, row)->rec == 0) continue;
        if (!mn_index_has_vector(index, p, vectors, scratch))
            out->wrong++;
        else
            out->live++;
        living[n_sums++] = codes_sum(index, p);
    }
    qsort(living, n_sums, sizeof *living, by_number);
    for (uint64_t p = 0; p < facts->n_codes; p++) {
        uint32_t row = mn_index_rows(index)[p];
        if (row >= rows->n_rows || mn_row_at(rows, row)->rec != 0) continue;
        if (holds(living, n_sums, codes_sum(index, p)))
            out->dead++;
        else
            out->wrong++;
    }
    mn_arena_free(&arena);
    return MNEME_OK;
}
