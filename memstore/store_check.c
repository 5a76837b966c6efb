/* store_check.c -- reads everything and holds it against itself.
 *
 *   pages     each is whole, in its place, and in one only (page_check.h)
 *   ids       each names a live record that has this id
 *   records   head, strings and text parts are whole, and no part is left over; the id entry leads back; rows and session
 *             place are there
 *   rows      each live row belongs to its record's range; its byte range lies in the text
 *   postings  the terms of each live chunk, computed again, are exactly the postings of its row; no posting is left over
 *   vectors   every row below next_row is in one run; live ones are finite and of unit length, dead ones zero
 *   fields    the index's entries are exactly those that the records give, computed again
 *   sessions  each place leads to a record that says the same
 *   totals    the namespace's records, chunks, terms, sessions
 *   strengths each belongs to a record and can be read; the list of those that end is that of the entries
 *   log       generations rise to the store's
 *
 * Every damage is one line; the check goes on behind it. Postings are compared by a sum of hashes over (term, row,
 * count), which is the same in any order; only where the sums differ are the rows looked at one by one. */
#include "memstore/field_index.h"
#include "memstore/page_check.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <xxhash.h>

typedef struct checker {
    mn_store *store;
    mn_read *read;
    void (*problem)(void *context, const char *line);
    mneme_progress progress;
    void *context;
    mneme_check_report *report;
    uint64_t total; /* records, for the progress */
    mn_namespace space; /* being checked */
    mn_rows rows;
    mn_vector_blocks vectors;
    uint64_t *row_sums; /* per row: sum of hashes of (term, count), computed from texts minus postings */
    uint64_t n_records, n_chunks, n_terms, n_session_places;
    field_check fields;
    mn_arena arena; /* of the namespace */
} checker;

MN_PRINTF(2, 3) static void damage(checker *c, const char *format, ...)
{
    char line[600];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    c->report->problems++;
    if (c->problem) c->problem(c->context, line);
}

static void take_damage(void *context, const char *line)
{
    damage(context, "%s", line);
}

static uint64_t posting_hash(const char *term, size_t size, uint32_t count)
{
    return XXH3_64bits_withSeed(term, size, count);
}

/* ---- records and their chunks ---- */

static mneme_status check_chunk(checker *c, const mn_record *record, uint32_t i, mn_buffer *text, size_t header,
                                mneme_error *error)
{
    uint32_t number = record->first_row + i;
    const mn_row *row = mn_row_at(&c->rows, number);
    if (row->rec != record->rec || row->start > row->end || row->end > record->text_size) {
        damage(c, "record \"%s\" in namespace \"%s\": chunk %u: row %u says record %u, bytes %u..%u", record->id,
               c->space.name, i, number, row->rec, row->start, row->end);
        return MNEME_OK;
    }
    mn_arena arena = {0};
    mn_term_list terms = {0};
    text->size = header;
    mneme_status status = mn_read_text(c->read, c->space.ns, record->rec, row->start, row->end, text, error);
    if (status == MNEME_OK && c->store->analyze)
        status = c->store->analyze(c->store->analyze_context, text->data ? text->data : "", text->size, &arena, &terms, error);
    for (size_t j = 0; j < terms.n; j++)
        c->row_sums[number] += posting_hash(terms.items[j].text, terms.items[j].size, terms.items[j].count);
    if (status == MNEME_OK && terms.total != row->n_terms)
        damage(c, "record \"%s\" in namespace \"%s\": chunk %u has %llu terms, its row says %u", record->id, c->space.name, i,
               (unsigned long long)terms.total, row->n_terms);
    c->n_chunks++;
    c->n_terms += row->n_terms;
    c->report->chunks++;
    mn_arena_free(&arena);
    return status;
}

static void check_id_entry(checker *c, const mn_record *record)
{
    uint32_t rec = 0;
    if (mn_read_find(c->read, c->space.ns, record->id, &rec, NULL) != MNEME_OK || rec != record->rec)
        damage(c, "record number %u in namespace \"%s\": its id \"%s\" leads to record %u", record->rec, c->space.name,
               record->id, rec);
}

static void check_session_entry(checker *c, const mn_record *record)
{
    if (!record->session) return;
    mn_record back;
    c->n_session_places++;
    mneme_status status = mn_read_session_step(c->read, c->space.ns, record, 0, &back, NULL);
    if (status != MNEME_OK || back.rec != record->rec)
        damage(c, "record \"%s\" in namespace \"%s\": its place %u in session \"%s\" is not there", record->id, c->space.name,
               record->session_place, record->session);
}

/* Errors of the record itself become damage; only the lack of memory ends the check. */
static mneme_status check_record(checker *c, const mn_record *record, mneme_error *error)
{
    check_id_entry(c, record);
    check_session_entry(c, record);
    if (record->first_row > c->rows.n_rows || record->n_chunks > c->rows.n_rows - record->first_row) {
        damage(c, "record \"%s\" in namespace \"%s\": rows %u + %u are past the last row", record->id, c->space.name,
               record->first_row, record->n_chunks);
        return MNEME_OK;
    }
    mn_buffer text = {0};
    mneme_error problem;
    mneme_status status = mn_read_text(c->read, c->space.ns, record->rec, 0, record->text_size, &text, &problem);
    mn_buffer_clear(&text);
    mn_record_header(record->title, record->speaker, &text);
    size_t header = text.size;
    for (uint32_t i = 0; i < record->n_chunks && status == MNEME_OK; i++)
        status = check_chunk(c, record, i, &text, header, &problem);
    mn_buffer_free(&text);
    if (status == MNEME_ERR_MEMORY) return mn_fail(error, status, "%s", problem.message);
    if (status != MNEME_OK) damage(c, "record \"%s\" in namespace \"%s\": %s", record->id, c->space.name, problem.message);
    c->n_records++;
    c->report->records++;
    if (status == MNEME_OK) status = mn_check_fields_of(&c->fields, record, error);
    else status = MNEME_OK;
    if (status != MNEME_OK) return status;
    if (c->progress && !c->progress(c->context, c->report->records, c->total, "records"))
        return mn_fail(error, MNEME_ERR_CANCELLED, "cancelled while checking");
    return MNEME_OK;
}

static mneme_status check_records(checker *c, mneme_error *error)
{
    MDB_cursor *cursor = NULL;
    mneme_status status = mn_cursor_open(c->read, DB_RECORDS, &cursor, error);
    if (status != MNEME_OK) return status;
    key_bytes from = key_numbers(3, c->space.ns, 0, 0);
    MDB_val key = key_value(&from), value;
    mn_packed_text text;
    uint32_t of_record = 0, n_parts = 0; /* of the record before: its parts follow it */
    int code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    for (; code == 0 && status == MNEME_OK && mn_key_number(&key, 0) == c->space.ns;
         code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        mn_record record = {0};
        uint32_t rec = mn_key_number(&key, 4), part = mn_key_number(&key, 8);
        if (part != 0) { /* read with its record */
            if (rec != of_record || part >= n_parts)
                damage(c, "record number %u in namespace \"%s\": text part %u belongs to nothing", rec, c->space.name, part);
            continue;
        }
        bool readable = mn_parse_record(c->space.ns, rec, &value, &record, &text, NULL) == MNEME_OK;
        of_record = rec;
        n_parts = readable ? (uint32_t)((record.text_size + TEXT_PART - 1) / TEXT_PART) : UINT32_MAX;
        if (!readable)
            damage(c, "record number %u in namespace \"%s\": its entry cannot be read", rec, c->space.name);
        else status = check_record(c, &record, error);
    }
    if (status == MNEME_OK && code != 0 && code != MDB_NOTFOUND) damage(c, "records of namespace \"%s\": %s", c->space.name, mdb_strerror(code));
    mdb_cursor_close(cursor);
    return status;
}

/* ---- postings ---- */

typedef struct term_check {
    checker *c;
    const char *term;
    size_t size;
} term_check;

static bool check_posting(void *context, uint32_t row, uint32_t count)
{
    term_check *t = context;
    if (row >= t->c->rows.n_rows || mn_row_at(&t->c->rows, row)->rec == 0) {
        damage(t->c, "postings of \"%.*s\" in namespace \"%s\": row %u is not live", (int)t->size, t->term, t->c->space.name, row);
        return true;
    }
    t->c->row_sums[row] -= posting_hash(t->term, t->size, count);
    t->c->report->postings++;
    return true;
}

static mneme_status check_postings(checker *c, mneme_error *error)
{
    MDB_cursor *cursor = NULL;
    mneme_status status = mn_cursor_open(c->read, DB_POSTINGS, &cursor, error);
    if (status != MNEME_OK) return status;
    key_bytes from = key_numbers(1, c->space.ns, 0, 0);
    MDB_val key = key_value(&from), value;
    int code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    for (; code == 0 && mn_key_number(&key, 0) == c->space.ns; code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        if (key.mv_size < 10) {
            damage(c, "a postings key in namespace \"%s\" is too short", c->space.name);
            continue;
        }
        term_check t = {.c = c, .term = (const char *)key.mv_data + 4, .size = key.mv_size - 9};
        if (!mn_decode_postings(mn_key_number(&key, key.mv_size - 4), &value, check_posting, &t))
            damage(c, "postings of \"%.*s\" in namespace \"%s\", block %u, cannot be decoded", (int)t.size, t.term,
                   c->space.name, mn_key_number(&key, key.mv_size - 4));
    }
    mdb_cursor_close(cursor);
    for (uint32_t row = 0; row < c->rows.n_rows; row++)
        if (c->row_sums[row] != 0)
            damage(c, "row %u in namespace \"%s\": its postings are not those of its text", row, c->space.name);
    return MNEME_OK;
}

/* ---- vectors, totals, ids, log ---- */

static void check_vector(checker *c, uint32_t row, float *vector)
{
    bool live = mn_row_at(&c->rows, row)->rec != 0;
    if (!mn_vector_of(&c->vectors, row, vector)) {
        damage(c, "row %u in namespace \"%s\" has no vector", row, c->space.name);
        return;
    }
    double squares = 0;
    for (uint32_t i = 0; i < c->vectors.dimension; i++) squares += (double)vector[i] * (double)vector[i];
    if (live && !(fabs(squares - 1.0) < mn_vector_slack(c->vectors.type)))
        damage(c, "row %u in namespace \"%s\": its vector has length %g, not 1", row, c->space.name, sqrt(squares));
    else if (!live && !(squares == 0)) damage(c, "row %u in namespace \"%s\" is dead, but has a vector", row, c->space.name);
    else if (live) c->report->vectors++;
}

static void name_vectors(void *context, uint32_t ns, uint32_t first_row)
{
    (void)ns;
    checker *c = context;
    damage(c, "the vectors of rows %u ... in namespace \"%s\" do not fit their checksum", first_row, c->space.name);
}

static mneme_status check_vectors(checker *c, mneme_error *error)
{
    float *vector = mn_arena_array(&c->arena, c->vectors.dimension, sizeof *vector);
    if (!vector) return mn_fail_memory(error, "check");
    mneme_error problem;
    mneme_status status = mn_checksums_compare(c->read, DB_VECTORS, c->space.ns, name_vectors, c, &problem);
    if (status != MNEME_OK) damage(c, "vectors of namespace \"%s\": %s", c->space.name, problem.message);
    for (uint32_t row = 0; c->space.dimension && row < c->rows.n_rows; row++) check_vector(c, row, vector);
    return MNEME_OK;
}

static void check_totals(checker *c)
{
    const mn_namespace *s = &c->space;
    const struct {
        const char *what;
        uint64_t stored, found;
    } totals[] = {{"records", s->n_records, c->n_records}, {"chunks", s->n_chunks, c->n_chunks}, {"terms", s->n_terms, c->n_terms}};
    for (size_t i = 0; i < sizeof totals / sizeof totals[0]; i++)
        if (totals[i].stored != totals[i].found)
            damage(c, "namespace \"%s\" counts %llu %s, found %llu", s->name, (unsigned long long)totals[i].stored,
                   totals[i].what, (unsigned long long)totals[i].found);
    uint64_t live = 0;
    for (uint32_t row = 0; row < c->rows.n_rows; row++) live += mn_row_at(&c->rows, row)->rec != 0;
    if (live != c->n_chunks)
        damage(c, "namespace \"%s\": %llu live rows for %llu chunks", s->name, (unsigned long long)live,
               (unsigned long long)c->n_chunks);
}

/* Entries of a database whose keys begin with the namespace's number. */
static uint64_t count_entries(checker *c, int db)
{
    MDB_cursor *cursor = NULL;
    if (mn_cursor_open(c->read, db, &cursor, NULL) != MNEME_OK) return 0;
    key_bytes from = key_numbers(1, c->space.ns, 0, 0);
    MDB_val key = key_value(&from), value;
    uint64_t n = 0;
    int code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    for (; code == 0 && mn_key_number(&key, 0) == c->space.ns; code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) n++;
    mdb_cursor_close(cursor);
    return n;
}

static void check_counts(checker *c)
{
    uint64_t ids = count_entries(c, DB_IDS), sessions = count_entries(c, DB_SESSIONS);
    uint64_t places = count_entries(c, DB_SESSION_RECORDS);
    if (ids != c->n_records)
        damage(c, "namespace \"%s\" has %llu ids for %llu records", c->space.name, (unsigned long long)ids,
               (unsigned long long)c->n_records);
    if (sessions != c->space.n_sessions)
        damage(c, "namespace \"%s\" counts %llu sessions, found %llu", c->space.name,
               (unsigned long long)c->space.n_sessions, (unsigned long long)sessions);
    if (places != c->n_session_places)
        damage(c, "namespace \"%s\" has %llu session places for %llu records", c->space.name, (unsigned long long)places,
               (unsigned long long)c->n_session_places);
}

static void strength_problem(void *context, uint32_t rec, const char *what)
{
    checker *c = context;
    damage(c, "record number %u in namespace \"%s\": %s", rec, c->space.name, what);
}

static mneme_status check_namespace(checker *c, mneme_error *error)
{
    c->n_records = c->n_chunks = c->n_terms = c->n_session_places = 0;
    mneme_error problem;
    mneme_status status = mn_read_rows(c->read, c->space.ns, &c->arena, &c->rows, &problem);
    if (status == MNEME_OK) status = mn_read_vectors(c->read, c->space.ns, &c->arena, &c->vectors, &problem);
    if (status == MNEME_ERR_MEMORY) return mn_fail(error, status, "%s", problem.message);
    if (status != MNEME_OK) {
        damage(c, "namespace \"%s\": %s", c->space.name, problem.message);
        return MNEME_OK;
    }
    c->row_sums = mn_arena_array(&c->arena, c->rows.n_rows, sizeof *c->row_sums);
    if (!c->row_sums) return mn_fail_memory(error, "check");
    memset(c->row_sums, 0, c->rows.n_rows * sizeof *c->row_sums);
    c->fields = (field_check){
        .read = c->read, .ns = c->space.ns, .name = c->space.name, .damage = take_damage, .context = c};
    status = check_records(c, error);
    if (status == MNEME_OK) status = mn_check_fields_left(&c->fields, error);
    if (status == MNEME_OK) status = check_postings(c, error);
    if (status == MNEME_OK) status = check_vectors(c, error);
    if (status == MNEME_OK) check_totals(c);
    if (status == MNEME_OK) check_counts(c);
    if (status == MNEME_OK) status = mn_check_strengths(c->read, c->space.ns, strength_problem, c, error);
    return status;
}

static mneme_status check_dictionary(checker *c, mneme_error *error)
{
    mneme_error problem;
    mneme_status status = mn_dictionary_check(c->read, &problem);
    if (status == MNEME_ERR_MEMORY) return mn_fail(error, status, "%s", problem.message);
    if (status != MNEME_OK) damage(c, "%s", problem.message);
    return MNEME_OK;
}

static mneme_status check_log(checker *c, mneme_error *error)
{
    mn_arena arena = {0};
    mn_change *changes = NULL;
    size_t n = 0;
    bool complete = false;
    mneme_error problem;
    uint64_t now = c->read->generation, since = now > LOG_GENERATIONS ? now - LOG_GENERATIONS : 0, start = 0;
    mneme_status status = mn_log_start(c->read, &start, &problem);
    if (start > since) since = start;
    if (status == MNEME_OK) status = mn_read_changes(c->read, since, &arena, &changes, &n, &complete, &problem);
    if (status == MNEME_ERR_MEMORY) mn_fail(error, status, "%s", problem.message);
    else if (status != MNEME_OK) damage(c, "%s", problem.message);
    else if (!complete) damage(c, "the change log does not lead to generation %llu", (unsigned long long)now);
    mn_arena_free(&arena);
    return status == MNEME_ERR_MEMORY ? status : MNEME_OK;
}

static void damaged_page(void *context, const char *line)
{
    damage(context, "%s", line);
}

/* The pages first. Where one is damaged, what lies below it cannot be read, and comes up again in what follows. */
static mneme_status check_pages(checker *c, mneme_error *error)
{
    uint64_t n_problems = 0;
    mneme_status status = mn_pages_check(c->read->txn, damaged_page, c, &n_problems, error);
    if (status == MNEME_OK && n_problems == 0) mn_checked_trust(c->read->txn);
    return status;
}

mneme_status mn_store_check(mn_store *store, void (*problem)(void *context, const char *line), mneme_progress progress,
                            void *context, mneme_check_report *report, mneme_error *error)
{
    *report = (mneme_check_report){0};
    checker c = {.store = store, .problem = problem, .progress = progress, .context = context, .report = report};
    mn_arena arena = {0};
    mn_namespace *spaces = NULL;
    size_t n = 0;
    mneme_error unreadable;
    mneme_status status = mn_read_begin(store, &c.read, error);
    if (status != MNEME_OK) return status;
    status = check_pages(&c, error);
    mneme_status listed = mn_read_namespaces(c.read, &arena, &spaces, &n, &unreadable);
    if (listed == MNEME_ERR_MEMORY) status = mn_fail(error, listed, "%s", unreadable.message);
    else if (listed != MNEME_OK) damage(&c, "%s", unreadable.message);
    for (size_t i = 0; i < n; i++) c.total += spaces[i].n_records;
    for (size_t i = 0; i < n && status == MNEME_OK; i++) {
        c.space = spaces[i];
        status = check_namespace(&c, error);
        mn_arena_free(&c.arena);
    }
    if (status == MNEME_OK) status = check_dictionary(&c, error);
    if (status == MNEME_OK) status = check_log(&c, error);
    mn_read_end(c.read);
    mn_arena_free(&arena);
    return status;
}
