/* index_build.c -- vectors out of the store into a graph or lists, tuning, and the file.
 *
 *     rows that live, without a sample of them --> added
 *     the sample --> questions: two thirds tune efSearch, the others measure it --> added last
 *     ID.faiss.new --fsync, rename--> ID.faiss --> rows that died meanwhile are scrubbed --> the store's stamp
 *
 * A new graph is our own work (graph_build.h). FAISS adds to one that is there, and makes the lists, in batches. Of
 * lists, the centres and the codes are learned first, from as many of the rows as come first then, and nprobe and
 * the number of candidates are tuned.
 *
 * The questions are vectors of the store that the index does not have yet: a vector that is in the graph is found more
 * easily than one that is not, and would make the recall look better than it is. */
#include "memory/index_build.h"

#include "common/blas.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/threads.h"
#include "memory/index_tuning.h"
#include "retriever/faiss_adapter.h"
#include "retriever/graph_build.h"
#include "retriever/index_scrub.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* READ: vectors that are taken out of the store in one read of it. SAMPLE: questions to tune and measure with: an exact
 * scan each, a tenth of the time of a build. */
enum { READ = 8192, BATCH = 131072, BACKGROUND_BATCH = 8192, TOGETHER = 64, SAMPLE = 450, SCALE_ROWS = 20000 };
/* PASSES: of k-means, over the sample that lists are learned from; the batches that are then added to them, which have
 * no part in how good they are, only in when a build can end; with so few rows, learning is many small steps, after
 * each of which threads would wait. */
enum { PASSES = 10, LISTS_BATCH = 32768, ONE_THREAD_ROWS = 50000 };

typedef struct build {
    mn_store *store;
    const mn_namespace *space;
    const mn_index_plan *plan;
    mneme_error *error;
    mn_index_owner owner;
    mn_index_facts facts;
    uint32_t *rows; /* of each position: those of the present index, then what is to be added, the sample last */
    size_t n, n_old, n_sample;
    mn_graph_builder *graph; /* a new one; NULL: faiss */
    mn_faiss *faiss;
    float *codes; /* a batch; of a new graph one row */
} build;

/* ---- one at a time ---- */

mneme_status mn_index_build_lock(const mn_store *store, int *lock, mneme_error *error)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char *folder = mn_index_folder(mn_store_folder(store)), *path = folder ? mn_path_join(folder, "lock") : NULL;
    mneme_status status = path ? mn_make_directories(folder, 0700, error) : mn_fail_memory(error, "index");
    *lock = status == MNEME_OK ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (status == MNEME_OK && *lock < 0) status = mn_fail_errno(error, errno, "cannot open %s", path);
    if (status == MNEME_OK && fcntl(*lock, F_OFD_SETLK, &whole) != 0) {
        status =
            errno == EAGAIN || errno == EACCES
                ? mn_fail(error, MNEME_ERR_BUSY, "another program is building an index of store %s; try again later",
                          mn_store_path(store))
                : mn_fail_errno(error, errno, "cannot lock %s", path);
        mn_index_build_unlock(*lock);
        *lock = -1;
    }
    mn_free(path);
    mn_free(folder);
    return status;
}

void mn_index_build_unlock(int lock)
{
    if (lock >= 0) close(lock);
}

/* ---- which rows ---- */

static mneme_status give_identity(void *context, mn_write *write, mneme_error *error)
{
    (void)context;
    return mn_write_identity(write, error);
}

mneme_status mn_index_check_epoch(mn_read *read, const mn_store *store, uint64_t epoch, mneme_error *error)
{
    mn_identity now;
    mneme_status status = mn_read_identity(read, &now, error);
    if (status != MNEME_OK || now.epoch == epoch) return status;
    return mn_fail(error, MNEME_ERR_BUSY, "store %s was compacted while its index was built; build it again",
                   mn_store_path(store));
}

mneme_status mn_index_report(const mn_index_plan *plan, uint64_t done, uint64_t total, mneme_error *error)
{
    if (!plan->progress || plan->progress(plan->context, done, total, "vectors")) return MNEME_OK;
    return mn_fail(error, MNEME_ERR_CANCELLED, "building the index was cancelled; the store is as it was");
}

static uint64_t draw(uint64_t *state, uint64_t below)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (*state >> 33) % below;
}

static void swap_rows(uint32_t *a, uint32_t *b)
{
    uint32_t row = *a;
    *a = *b;
    *b = row;
}

/* FAISS adds a batch from the highest level of the graph down, and in an order of its own: the more at once, the
 * better. With 87,408 in one, efSearch 56 found what took 128 with many small ones. */
static size_t batch_of(const build *b)
{
    if (mn_index_has_lists(b->facts.kind)) return LISTS_BATCH;
    return b->plan->in_background ? BACKGROUND_BATCH : BATCH;
}

static unsigned threads_of(const build *b)
{
    unsigned cores = mn_cpu_count();
    if (mn_index_has_lists(b->facts.kind) && b->n < ONE_THREAD_ROWS) return 1;
    return b->plan->in_background && cores > 1 ? cores / 2 : cores;
}

static bool makes_graph(const build *b)
{
    return b->n_old == 0 && !mn_index_has_lists(b->facts.kind);
}

/* The sample to the end; where FAISS takes more than one batch, what is before it in pieces of TOGETHER rows, shuffled;
 * the same on every run. Texts of one topic follow each other: batch after batch in their order, they made a graph that
 * found 0.5 % less, and shuffled one by one, a graph whose neighbours lie apart in memory, which took half as long
 * again to build and to search. */
static void shuffle(build *b)
{
    size_t n_new = b->n - b->n_old;
    uint32_t *rows = b->rows + b->n_old;
    uint64_t state = 1;
    b->n_sample = n_new / 4 < SAMPLE ? n_new / 4 : SAMPLE;
    for (size_t i = n_new; i > n_new - b->n_sample; i--) swap_rows(&rows[draw(&state, i)], &rows[i - 1]);
    if (makes_graph(b) || n_new <= batch_of(b)) return;
    for (size_t i = (n_new - b->n_sample) / TOGETHER; i > 1; i--) {
        uint32_t *one = rows + draw(&state, i) * TOGETHER, *other = rows + (i - 1) * TOGETHER;
        for (size_t j = 0; j < TOGETHER && one != other; j++) swap_rows(&one[j], &other[j]);
    }
}

/* The rows from `first` on that live and have a vector. */
static mneme_status list_rows(build *b, mn_read *read, uint32_t first, const uint32_t *old_rows)
{
    mn_arena arena = {0};
    mn_rows rows;
    mn_vector_blocks vectors;
    mneme_status status = mn_read_rows(read, b->space->ns, &arena, &rows, b->error);
    if (status == MNEME_OK) status = mn_read_vectors(read, b->space->ns, &arena, &vectors, b->error);
    if (status == MNEME_OK) b->rows = mn_alloc_array(b->n_old + rows.n_rows - first, sizeof *b->rows);
    if (status == MNEME_OK && !b->rows) status = mn_fail_memory(b->error, "index");
    if (status == MNEME_OK && b->n_old) memcpy(b->rows, old_rows, b->n_old * sizeof *b->rows);
    b->n = b->n_old;
    for (size_t i = 0; i < vectors.n && status == MNEME_OK; i++) {
        const mn_vector_block *block = &vectors.items[i];
        for (uint32_t j = 0; j < block->n_rows; j++)
            if (block->first_row + j >= first && mn_row_at(&rows, block->first_row + j)->rec)
                b->rows[b->n++] = block->first_row + j;
    }
    b->facts.n_rows = rows.n_rows;
    b->facts.generation = mn_read_generation(read);
    mn_arena_free(&arena);
    return status;
}

/* The largest number in the vectors of a share of the rows. */
static mneme_status find_scale(build *b, mn_read *read)
{
    mn_arena arena = {0};
    mn_vector_blocks vectors;
    float largest = 0, *vector = mn_alloc_array(b->space->dimension, sizeof *vector);
    mneme_status status =
        vector ? mn_read_vectors(read, b->space->ns, &arena, &vectors, b->error) : mn_fail_memory(b->error, "index");
    size_t step = b->n / SCALE_ROWS + 1;
    for (size_t i = 0; i < b->n && status == MNEME_OK; i += step) {
        if (!mn_vector_of(&vectors, b->rows[i], vector)) continue;
        for (uint32_t d = 0; d < b->space->dimension; d++) largest = fmaxf(largest, fabsf(vector[d]));
    }
    b->facts.scale = mn_index_scale(b->facts.kind, largest);
    mn_free(vector);
    mn_arena_free(&arena);
    return status;
}

static mneme_status begin(build *b, const mn_index *present)
{
    mn_read *read = NULL;
    mneme_status status = mn_store_update(b->store, give_identity, NULL, NULL, b->error);
    if (status == MNEME_OK) status = mn_read_begin(b->store, &read, b->error);
    if (status == MNEME_OK) status = mn_index_owner_of(read, b->space, &b->owner, b->error);
    if (status == MNEME_OK) {
        b->facts = (mn_index_facts){.kind = b->plan->kind,
                                    .epoch = b->owner.identity.epoch,
                                    .ns = b->space->ns,
                                    .dimension = b->space->dimension,
                                    .padded = mn_index_padded(b->space->dimension),
                                    .recall_asked = b->plan->recall};
        memcpy(b->facts.identity, b->owner.identity.id, sizeof b->facts.identity);
        b->n_old = present ? (size_t)mn_index_get_facts(present)->n_codes : 0;
        status = list_rows(b, read, present ? mn_index_get_facts(present)->n_rows : 0,
                           present ? mn_index_rows(present) : NULL);
    }
    b->facts.scrubbed = b->facts.generation;
    if (status == MNEME_OK && present) {
        b->facts.scale = mn_index_get_facts(present)->scale;
        b->facts.scrubbed = mn_index_get_facts(present)->scrubbed;
        b->facts.effort = mn_index_get_facts(present)->effort;
        b->facts.recall = mn_index_get_facts(present)->recall;
        b->facts.oversampling = mn_index_get_facts(present)->oversampling;
        b->facts.n_lists = mn_index_get_facts(present)->n_lists;
    } else if (status == MNEME_OK) {
        if (mn_index_has_lists(b->facts.kind) && b->n < MN_INDEX_FEWEST_LISTED) b->facts.kind = MN_INDEX_HNSW;
        status = find_scale(b, read);
    }
    mn_read_end(read);
    if (status == MNEME_OK) shuffle(b);
    b->facts.n_codes = b->n;
    return status;
}

/* ---- codes ---- */

/* The codes of positions first .. first + n - 1, as FAISS gets them or into the new graph. A row that has died since
 * has zeros until it is scrubbed. */
static mneme_status prepare(build *b, size_t first, size_t n)
{
    mn_arena arena = {0};
    mn_read *read = NULL;
    mn_vector_blocks vectors;
    float *vector = mn_alloc_zeroed(b->facts.dimension, sizeof *vector);
    mneme_status status = vector ? mn_read_begin(b->store, &read, b->error) : mn_fail_memory(b->error, "index");
    if (status == MNEME_OK) status = mn_index_check_epoch(read, b->store, b->facts.epoch, b->error);
    if (status == MNEME_OK) status = mn_read_vectors(read, b->space->ns, &arena, &vectors, b->error);
    for (size_t i = 0; i < n && status == MNEME_OK; i++) {
        if (!mn_vector_of(&vectors, b->rows[first + i], vector)) memset(vector, 0, b->facts.dimension * sizeof *vector);
        float *codes = b->graph ? b->codes : b->codes + i * b->facts.padded;
        mn_index_prepare(b->facts.kind, b->facts.scale, vector, b->facts.dimension, codes);
        if (b->graph)
            mn_index_encode(b->facts.kind, codes, b->facts.padded, mn_graph_builder_codes(b->graph, first + i));
    }
    mn_read_end(read);
    mn_arena_free(&arena);
    mn_free(vector);
    return status;
}

static mneme_status report(const build *b, size_t done)
{
    return mn_index_report(b->plan, done - b->n_old, b->n - b->n_old, b->error);
}

/* With the sample as questions to all that is there but it: a new graph, or FAISS's (graph: NULL). */
static mneme_status tune(build *b, mn_graph *graph, const char *scratch_path)
{
    const mn_tuning tuning = {.store = b->store,
                              .space = b->space,
                              .graph = graph,
                              .faiss = b->faiss,
                              .scratch_path = scratch_path,
                              .rows = b->rows,
                              .n_added = b->n - b->n_sample,
                              .n_questions = b->n_sample,
                              .n_threads = threads_of(b),
                              .plan = b->plan};
    return mn_index_tune(&tuning, &b->facts, b->error);
}

/* ---- a new graph ---- */

static bool go_on(void *context, uint64_t n_added)
{
    return report(context, (size_t)n_added) == MNEME_OK;
}

static mneme_status add_to_graph(build *b, size_t end)
{
    return mn_graph_builder_add(b->graph, end, go_on, b) ? MNEME_OK : MNEME_ERR_CANCELLED;
}

static mneme_status begin_graph(build *b)
{
    const mn_graph_shape shape = {b->facts.kind, b->facts.padded, b->n};
    const mn_graph_recipe recipe = {MN_INDEX_LINKS, MN_INDEX_EFFORT, threads_of(b)};
    b->codes = mn_alloc_array(b->facts.padded, sizeof *b->codes);
    mneme_status status = b->codes ? MNEME_OK : mn_fail_memory(b->error, "index");
    if (status == MNEME_OK) status = mn_graph_builder_new(&shape, &recipe, &b->graph, b->error);
    for (size_t at = 0; at < b->n && status == MNEME_OK; at += READ) {
        status = report(b, 0);
        if (status == MNEME_OK) status = prepare(b, at, b->n - at < READ ? b->n - at : READ);
    }
    return status;
}

static mneme_status fill_graph(build *b)
{
    size_t without_sample = b->n - b->n_sample;
    mn_graph *graph = NULL;
    mneme_status status = begin_graph(b);
    if (status == MNEME_OK) status = add_to_graph(b, without_sample);
    if (status == MNEME_OK) status = mn_graph_builder_walk(b->graph, &graph, b->error);
    if (status == MNEME_OK) status = tune(b, graph, NULL);
    mn_graph_free(graph);
    return status == MNEME_OK ? add_to_graph(b, b->n) : status;
}

/* ---- into FAISS ---- */

static mneme_status add_positions(build *b, size_t first, size_t end)
{
    mneme_status status = report(b, first);
    size_t batch = batch_of(b);
    for (size_t at = first; at < end && status == MNEME_OK; at += batch) {
        size_t n = end - at < batch ? end - at : batch;
        status = prepare(b, at, n);
        if (status == MNEME_OK) status = mn_faiss_add(b->faiss, b->codes, n, b->error);
        if (status == MNEME_OK) status = report(b, at + n);
    }
    return status;
}

/* An empty index with lists, learned from the first `n` positions, which are a sample of all. */
static mneme_status learn_lists(build *b, size_t n)
{
    mn_faiss_centres *centres = NULL;
    mneme_status status = prepare(b, 0, n);
    if (status == MNEME_OK)
        status = mn_faiss_centres_new(b->facts.padded, mn_index_lists_for(b->n, n), &centres, b->error);
    for (int pass = 0; pass < PASSES && status == MNEME_OK; pass++) {
        status = report(b, 0);
        if (status == MNEME_OK) status = mn_faiss_centres_pass(centres, b->codes, n, b->error);
    }
    if (status == MNEME_OK)
        status = mn_faiss_new_lists(centres, b->codes, n, mn_index_code_bytes(b->facts.kind, b->facts.padded),
                                    &b->faiss, b->error);
    if (status == MNEME_OK) b->facts.n_lists = mn_faiss_n_lists(b->faiss);
    mn_faiss_centres_free(centres);
    return status;
}

/* The present index, or empty lists, and room for a batch. */
static mneme_status begin_index(build *b, const char *present_path)
{
    bool has_lists = mn_index_has_lists(b->facts.kind);
    size_t n_new = b->n - b->n_old, batch = batch_of(b), n_learned = 0;
    if (has_lists && b->n_old == 0) {
        n_learned = n_new - b->n_sample < MN_INDEX_LISTS_SAMPLE ? n_new - b->n_sample : MN_INDEX_LISTS_SAMPLE;
        if (batch < n_learned) batch = n_learned;
    }
    b->codes = mn_alloc_array(n_new < batch ? n_new : batch, b->facts.padded * sizeof *b->codes);
    if (!b->codes) return mn_fail_memory(b->error, "index");
    mneme_status status = has_lists ? mn_blas_load(b->error) : MNEME_OK;
    mn_faiss_set_threads(threads_of(b));
    if (status != MNEME_OK) return status;
    if (n_learned) return learn_lists(b, n_learned);
    return mn_faiss_open(present_path, MN_FAISS_WHOLE, &b->faiss, b->error);
}

static mneme_status fill_faiss(build *b, const char *present_path, const char *fresh)
{
    size_t without_sample = b->n - b->n_sample;
    mneme_status status = begin_index(b, present_path);
    if (status == MNEME_OK && mn_faiss_count(b->faiss) != b->n_old)
        status = mn_fail(b->error, MNEME_ERR_BUSY, "the index file was replaced while it was read; try again");
    if (status == MNEME_OK) status = add_positions(b, b->n_old, without_sample);
    if (status == MNEME_OK) status = tune(b, NULL, fresh);
    return status == MNEME_OK ? add_positions(b, without_sample, b->n) : status;
}

/* ---- into the file ---- */

static mneme_status write_stamp(void *context, mn_write *write, mneme_error *error)
{
    const build *b = context;
    char *path = mn_index_path(mn_store_folder(b->store), b->space->ns);
    mn_file_stamp stamp = path ? mn_index_stamp_of(path) : (mn_file_stamp){0};
    mn_free(path);
    return stamp.inode ? mn_write_index_stamp(write, b->space->ns, &stamp, error) : MNEME_OK;
}

/* What died while it was built, in this process or another. A read that begins after the rename sees all that was
 * scrubbed in the old file alone. */
static mneme_status scrub_new(build *b, const char *path, mn_index_built *out)
{
    mn_read *read = NULL;
    mn_index *index = NULL;
    mn_file_stamp stamp = mn_index_stamp_of(path);
    mneme_status status = mn_read_begin(b->store, &read, b->error);
    if (status == MNEME_OK) status = mn_index_open(path, &b->owner, &stamp, &index, b->error);
    if (status == MNEME_OK) status = mn_index_scrub(index, read, b->space->ns, b->error);
    if (status == MNEME_OK) out->bytes = mn_index_bytes(index);
    mn_read_end(read);
    mn_index_release(index);
    if (status != MNEME_OK) unlink(path);
    return status;
}

static mneme_status write_file(build *b, const char *path, const char *fresh)
{
    mneme_status status =
        b->graph ? mn_graph_builder_write(b->graph, fresh, b->error) : mn_faiss_write(b->faiss, fresh, b->error);
    mn_graph_builder_free(b->graph); /* its memory is as large as the file */
    mn_faiss_free(b->faiss);
    b->graph = NULL;
    b->faiss = NULL;
    if (status == MNEME_OK) chmod(fresh, 0600);
    if (status == MNEME_OK) status = mn_index_complete(fresh, &b->facts, b->rows, b->error);
    if (status == MNEME_OK && rename(fresh, path) != 0)
        status = mn_fail_errno(b->error, errno, "cannot rename %s", fresh);
    if (status != MNEME_OK) unlink(fresh);
    return status;
}

static mneme_status put_in_place(build *b, const char *path, const char *fresh, mn_index_built *out)
{
    char *folder = mn_index_folder(mn_store_folder(b->store));
    mneme_status status = folder ? write_file(b, path, fresh) : mn_fail_memory(b->error, "index");
    if (status == MNEME_OK) status = mn_directory_sync(folder, b->error);
    if (status == MNEME_OK) status = scrub_new(b, path, out);
    if (status == MNEME_OK) status = mn_store_update(b->store, write_stamp, b, NULL, b->error);
    mn_free(folder);
    return status;
}

static char *path_of_new(const char *path)
{
    char *fresh = mn_alloc(strlen(path) + sizeof ".new");
    if (fresh) sprintf(fresh, "%s.new", path);
    return fresh;
}

mneme_status mn_index_build(mn_store *store, const mn_namespace *space, const mn_index_plan *plan, mn_index *present,
                            mn_index_built *out, mneme_error *error)
{
    build b = {.store = store, .space = space, .plan = plan, .error = error};
    double started = mn_clock_monotonic();
    bool extends = present && !plan->anew && mn_index_get_facts(present)->kind == plan->kind;
    char *path = mn_index_path(mn_store_folder(store), space->ns), *fresh = path ? path_of_new(path) : NULL;
    *out = (mn_index_built){.extended = extends};
    mneme_status status = fresh ? begin(&b, extends ? present : NULL) : mn_fail_memory(error, "index");
    if (status == MNEME_OK) status = makes_graph(&b) ? fill_graph(&b) : fill_faiss(&b, path, fresh);
    b.facts.build_ms = (uint64_t)((mn_clock_monotonic() - started) * 1000.0);
    if (status == MNEME_OK) status = put_in_place(&b, path, fresh, out);
    out->facts = b.facts;
    mn_graph_builder_free(b.graph);
    mn_faiss_free(b.faiss);
    mn_free(b.codes);
    mn_free(b.rows);
    mn_free(fresh);
    mn_free(path);
    return status;
}
