/* field_ranges.c -- reading the index of fields: the records whose value lies in a range, and how many they are.
 *
 * "id" and "session" are answered from the databases of ids and sessions, which are sorted by name anyhow; all other
 * fields from DB_FIELDS. A range is a run of keys, from the first one >= low to the last one that is <= high or begins
 * with it: cut texts and open ends are then one case. */
#include "memstore/field_index.h"

#include <stdlib.h>
#include <string.h>

/* A key that must be looked at, not counted, costs: give up after so many for each record that may still be found. */
enum { LOOKS_PER_RECORD = 16 };

typedef struct walk {
    mn_read *read;
    uint32_t ns;
    const mn_field_range *range;
    int db;
    key_bytes low, high;
    size_t text_at;  /* where the texts of keys begin */
    size_t limit, n; /* of records; those counted so far */
    size_t n_looked;
    mn_recs *out; /* NULL: only count */
    mneme_error *error;
} walk;

/* ---- bounds -------------------------------------------------------------------------------------------------------
 */

static void type_alone(key_bytes *key, mn_field_type type, bool element)
{
    const mn_field_value boundary = {.type = type, .element = element, .text = ""};
    size_t size = key->size + 1;
    mn_field_key_value(key, &boundary, false);
    key->size = size;
}

static void bounds_of_fields(walk *w)
{
    const mn_field_range *range = w->range;
    const mn_field_value *low = &range->low, *high = &range->high;
    mn_field_key_begin(&w->low, w->ns, range->field);
    w->high = w->low;
    w->text_at = w->low.size + 1;
    switch (range->match) {
    case MN_FIELD_EQUAL:
        mn_field_key_value(&w->low, low, true);
        w->high = w->low;
        break;
    case MN_FIELD_BETWEEN:
        if (range->has_low)
            mn_field_key_value(&w->low, low, false);
        else
            type_alone(&w->low, high->type, high->element);
        if (range->has_high)
            mn_field_key_value(&w->high, high, false);
        else
            type_alone(&w->high, low->type, low->element);
        break;
    case MN_FIELD_PREFIX:
        mn_field_key_value(&w->low, low, false);
        w->high = w->low;
        break;
    case MN_FIELD_CONTAINS:
        type_alone(&w->low, MN_FIELD_TEXT, false);
        w->high = w->low;
        break;
    case MN_FIELD_EXISTS:
        type_alone(&w->low, MN_FIELD_BOOLEAN, false);
        type_alone(&w->high, MN_FIELD_OTHER, false);
        break;
    case MN_FIELD_LISTED: break;
    }
}

/* The databases of names: ns | name. */
static void bounds_of_names(walk *w)
{
    const mn_field_range *range = w->range;
    w->low = w->high = key_numbers(1, w->ns, 0, 0);
    w->text_at = w->low.size;
    bool from = range->match == MN_FIELD_EQUAL || range->match == MN_FIELD_PREFIX ||
                (range->match == MN_FIELD_BETWEEN && range->has_low);
    bool to = range->match == MN_FIELD_BETWEEN && range->has_high;
    if (from) key_text(&w->low, range->low.text, strlen(range->low.text));
    if (from && range->match != MN_FIELD_BETWEEN) w->high = w->low;
    if (to) key_text(&w->high, range->high.text, strlen(range->high.text));
}

static bool within(const walk *w, const MDB_val *key)
{
    if (w->range->match == MN_FIELD_EQUAL)
        return key->mv_size == w->low.size && memcmp(key->mv_data, w->low.bytes, w->low.size) == 0;
    size_t size = key->mv_size < w->high.size ? key->mv_size : w->high.size;
    return memcmp(key->mv_data, w->high.bytes, size) <= 0;
}

/* ---- what a key leads to ------------------------------------------------------------------------------------------
 */

static mneme_status take(walk *w, const void *recs, size_t size)
{
    size_t n = size / sizeof(uint32_t);
    if (size % sizeof(uint32_t) != 0)
        return mn_fail(w->error, MNEME_ERR_DAMAGED,
                       "the index of field \"%s\" is damaged; `mneme check` lists all damage", w->range->field);
    w->n += n;
    if (!w->out) return MNEME_OK;
    while (w->out->capacity < w->out->n + n) {
        size_t larger = w->out->capacity ? w->out->capacity * 2 : 256;
        uint32_t *grown = mn_realloc_array(w->out->items, larger, sizeof *grown);
        if (!grown) return mn_fail_memory(w->error, "records of a filter");
        w->out->items = grown;
        w->out->capacity = larger;
    }
    memcpy(w->out->items + w->out->n, recs, size);
    w->out->n += n;
    return MNEME_OK;
}

/* All records of the key that the cursor stands at. */
static mneme_status take_duplicates(walk *w, MDB_cursor *cursor, const MDB_val *first)
{
    size_t n = 0;
    int code = mdb_cursor_count(cursor, &n);
    if (code != 0) return mn_lmdb_fail(w->error, code, "cannot read the store");
    if (!w->out) {
        w->n += n;
        return MNEME_OK;
    }
    if (n == 1) return take(w, first->mv_data, first->mv_size);
    MDB_val key, values;
    code = mdb_cursor_get(cursor, &key, &values, MDB_GET_MULTIPLE);
    for (; code == 0; code = mdb_cursor_get(cursor, &key, &values, MDB_NEXT_MULTIPLE)) {
        mneme_status status = take(w, values.mv_data, values.mv_size);
        if (status != MNEME_OK) return status;
    }
    return code == MDB_NOTFOUND ? MNEME_OK : mn_lmdb_fail(w->error, code, "cannot read the store");
}

static mneme_status take_session(walk *w, const MDB_val *value)
{
    session_value session;
    if (value->mv_size != sizeof session) return mn_fail(w->error, MNEME_ERR_DAMAGED, "a session's entry is damaged");
    memcpy(&session, value->mv_data, sizeof session);
    MDB_cursor *cursor = NULL;
    mneme_status status = mn_cursor_open(w->read, DB_SESSION_RECORDS, &cursor, w->error);
    if (status != MNEME_OK) return status;
    key_bytes from = key_numbers(3, w->ns, session.number, 0);
    MDB_val key = key_value(&from), rec;
    int code = mdb_cursor_get(cursor, &key, &rec, MDB_SET_RANGE);
    for (; code == 0 && status == MNEME_OK && w->n < w->limit && mn_key_number(&key, 0) == w->ns &&
           mn_key_number(&key, 4) == session.number;
         code = mdb_cursor_get(cursor, &key, &rec, MDB_NEXT))
        status = take(w, rec.mv_data, rec.mv_size);
    if (status == MNEME_OK && code != 0 && code != MDB_NOTFOUND)
        status = mn_lmdb_fail(w->error, code, "cannot read the store");
    mdb_cursor_close(cursor);
    return status;
}

/* Can the key's text hold the one looked for? */
static bool holds(walk *w, const MDB_val *key)
{
    const char *text;
    size_t size;
    w->n_looked++;
    bool whole = w->db != DB_FIELDS || mn_field_text_of(key, w->text_at, &text, &size);
    if (w->db != DB_FIELDS) {
        text = (const char *)key->mv_data + w->text_at;
        size = key->mv_size - w->text_at;
    }
    return !whole || memmem(text, size, w->range->low.text, strlen(w->range->low.text)) != NULL;
}

/* ---- the walk -----------------------------------------------------------------------------------------------------
 */

static mneme_status visit(walk *w, MDB_cursor *cursor, const MDB_val *key, const MDB_val *value)
{
    if (w->range->match == MN_FIELD_CONTAINS && !holds(w, key)) return MNEME_OK;
    if (w->db == DB_FIELDS) return take_duplicates(w, cursor, value);
    if (w->db == DB_SESSIONS) return take_session(w, value);
    return take(w, value->mv_data, value->mv_size);
}

static mneme_status run(walk *w)
{
    const char *field = w->range->field;
    w->db = strcmp(field, "id") == 0 ? DB_IDS : strcmp(field, "session") == 0 ? DB_SESSIONS : DB_FIELDS;
    if (strlen(field) > MN_FIELD_NAME_MAX) return MNEME_OK; /* there is no such key */
    if (w->db == DB_FIELDS)
        bounds_of_fields(w);
    else
        bounds_of_names(w);
    MDB_cursor *cursor = NULL;
    mneme_status status = mn_cursor_open(w->read, w->db, &cursor, w->error);
    if (status != MNEME_OK) return status;
    MDB_val key = key_value(&w->low), value;
    int code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    while (code == 0 && status == MNEME_OK && w->n < w->limit && within(w, &key)) {
        status = visit(w, cursor, &key, &value);
        if (w->n_looked / LOOKS_PER_RECORD >= w->limit) w->n = w->limit;
        code = mdb_cursor_get(cursor, &key, &value, w->db == DB_FIELDS ? MDB_NEXT_NODUP : MDB_NEXT);
    }
    if (status == MNEME_OK && code != 0 && code != MDB_NOTFOUND)
        status = mn_lmdb_fail(w->error, code, "cannot read the store");
    mdb_cursor_close(cursor);
    return status;
}

mneme_status mn_read_field(mn_read *read, uint32_t ns, const mn_field_range *range, mn_recs *out, mneme_error *error)
{
    walk w = {.read = read, .ns = ns, .range = range, .limit = SIZE_MAX, .out = out, .error = error};
    return run(&w);
}

mneme_status mn_count_field(mn_read *read, uint32_t ns, const mn_field_range *range, size_t limit, size_t *n,
                            mneme_error *error)
{
    walk w = {.read = read, .ns = ns, .range = range, .limit = limit, .error = error};
    mneme_status status = run(&w);
    *n = w.n < limit ? w.n : limit;
    return status;
}

static int ascending(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

void mn_recs_sort(mn_recs *recs)
{
    bool sorted = true; /* one key alone is */
    for (size_t i = 1; i < recs->n && sorted; i++) sorted = recs->items[i - 1] < recs->items[i];
    if (sorted) return;
    qsort(recs->items, recs->n, sizeof *recs->items, ascending);
    size_t kept = 1;
    for (size_t i = 1; i < recs->n; i++)
        if (recs->items[i] != recs->items[kept - 1]) recs->items[kept++] = recs->items[i];
    recs->n = kept;
}
