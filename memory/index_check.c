/* index_check.c -- index files, read and compared from end to end. */
#include "memory/index_check.h"

#include "retriever/index_scrub.h"

typedef struct check {
    mneme *memory;
    mn_read *read;
    void (*problem)(void *context, const char *line);
    void *context;
    mneme_check_report *report;
    mneme_error *error;
} check;

static void complain(const check *c, const mn_namespace *space, const char *what)
{
    mneme_error line;
    c->report->problems++;
    mn_fail(&line, MNEME_ERR_DAMAGED, "the index of namespace \"%s\": %s; 'mneme optimize' makes it anew", space->name,
            what);
    if (c->problem) c->problem(c->context, line.message);
}

static mneme_status check_vectors(const check *c, const mn_namespace *space, mn_index *index)
{
    mn_arena arena = {0};
    mn_rows rows;
    mn_vector_blocks vectors;
    mn_index_census census = {0};
    mneme_status status = mn_read_rows(c->read, space->ns, &arena, &rows, c->error);
    if (status == MNEME_OK) status = mn_read_vectors(c->read, space->ns, &arena, &vectors, c->error);
    if (status == MNEME_OK) status = mn_index_count(index, &rows, &vectors, &census, c->error);
    if (status == MNEME_OK && census.wrong) {
        char what[100];
        snprintf(what, sizeof what, "%llu of its vectors are not those of living rows",
                 (unsigned long long)census.wrong);
        complain(c, space, what);
    }
    mn_arena_free(&arena);
    return status;
}

static mneme_status check_one(const check *c, const mn_namespace *space)
{
    mn_index_owner owner;
    mn_index *index = NULL;
    mneme_error reason = {MNEME_OK, ""};
    char *path = mn_index_path(mn_store_folder(c->memory->store), space->ns);
    mneme_status status =
        path ? mn_index_owner_of(c->read, space, &owner, c->error) : mn_fail_memory(c->error, "index");
    if (status == MNEME_OK) {
        mneme_status opened = mn_index_open(path, &owner, NULL, &index, &reason);
        if (opened == MNEME_ERR_MEMORY)
            status = mn_fail_memory(c->error, "index");
        else if (opened != MNEME_OK && opened != MNEME_ERR_NOT_FOUND && opened != MNEME_ERR_FORMAT)
            complain(c, space, reason.message);
        else if (index && mn_index_get_facts(index)->generation <= mn_read_generation(c->read))
            status = check_vectors(c, space, index);
    }
    mn_index_release(index);
    mn_free(path);
    return status;
}

mneme_status mn_check_indexes(mneme *memory, void (*problem)(void *context, const char *line), void *context,
                              mneme_check_report *report, mneme_error *error)
{
    check c = {.memory = memory, .problem = problem, .context = context, .report = report, .error = error};
    mn_arena arena = {0};
    mn_namespace *spaces = NULL;
    size_t n = 0;
    mneme_status status = mn_read_begin(memory->store, &c.read, error);
    if (status == MNEME_OK) status = mn_read_namespaces(c.read, &arena, &spaces, &n, error);
    for (size_t i = 0; i < n && status == MNEME_OK; i++) status = check_one(&c, &spaces[i]);
    mn_read_end(c.read);
    mn_arena_free(&arena);
    return status;
}
