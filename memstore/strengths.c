/* strengths.c -- what the life of a memory has added to it: uses, a pin, an end.
 *
 *     key    ns | rec                         value  strength_value
 *     key    ns | 0 | expires (8) | rec       value  empty: the records that end, in the order in which they do
 *
 * Only a memory that is not as it was written has an entry, and only one that ends and is not pinned has the second
 * key, so a store that uses none of this pays nothing for it. Times in keys are ms since 1970 with the sign bit turned
 * over, so that they sort. Writing here is bookkeeping: it commits, but makes no generation and no entry in the change
 * log. */
#include "memstore/store_internal.h"

#include <math.h>
#include <string.h>

enum { STRENGTH_PINNED = 1, STRENGTH_EXPIRES = 2, STRENGTH_USED = 4, STRENGTH_FLAGS = 7 };

typedef struct strength_value {
    int64_t last_ms, expires_ms;
    float level, half_life_days;
    uint32_t uses;
    uint32_t flags; /* STRENGTH_... */
} strength_value;

enum { EXPIRY_KEY = 20 };

static key_bytes expiry_key(uint32_t ns, int64_t expires_ms, uint32_t rec)
{
    uint64_t sortable = (uint64_t)expires_ms ^ (UINT64_C(1) << 63);
    key_bytes key = key_numbers(3, ns, 0, (uint32_t)(sortable >> 32));
    key_u32(&key, (uint32_t)sortable);
    key_u32(&key, rec);
    return key;
}

static int64_t expiry_of(const MDB_val *key)
{
    uint64_t sortable = (uint64_t)mn_key_number(key, 8) << 32 | mn_key_number(key, 12);
    return (int64_t)(sortable ^ (UINT64_C(1) << 63));
}

static bool ends(const mn_strength *strength)
{
    return strength->has_expires && !strength->pinned;
}

static bool is_as_written(const mn_strength *s)
{
    return !s->pinned && !s->has_expires && !s->used && s->uses == 0;
}

/* False: not a value that was ever written. */
static bool parse(const MDB_val *value, mn_strength *out)
{
    strength_value v;
    *out = (mn_strength){0};
    if (value->mv_size != sizeof v) return false;
    memcpy(&v, value->mv_data, sizeof v);
    if (v.flags & ~(uint32_t)STRENGTH_FLAGS) return false;
    if (!isfinite(v.level) || v.level < 0 || !isfinite(v.half_life_days) || v.half_life_days < 0) return false;
    *out = (mn_strength){.used = (v.flags & STRENGTH_USED) != 0,
                         .level = v.level,
                         .half_life_days = v.half_life_days,
                         .uses = v.uses,
                         .last_ms = v.last_ms,
                         .pinned = (v.flags & STRENGTH_PINNED) != 0,
                         .has_expires = (v.flags & STRENGTH_EXPIRES) != 0,
                         .expires_ms = v.expires_ms};
    return true;
}

mneme_status mn_read_strength(mn_read *read, uint32_t ns, uint32_t rec, mn_strength *out, mneme_error *error)
{
    *out = (mn_strength){0};
    key_bytes key = key_numbers(2, ns, rec, 0);
    MDB_val value;
    mneme_status status = mn_db_get(read, DB_STRENGTHS, &key, &value, error);
    if (status == MNEME_ERR_NOT_FOUND) return MNEME_OK;
    if (status == MNEME_OK && !parse(&value, out)) return mn_damaged(error, "the strength of record", ns, rec);
    return status;
}

static mneme_status put_value(mn_write *write, uint32_t ns, uint32_t rec, const mn_strength *strength,
                              mneme_error *error)
{
    strength_value v;
    memset(&v, 0, sizeof v); /* padding goes to disk */
    v.last_ms = strength->last_ms;
    v.expires_ms = strength->has_expires ? strength->expires_ms : 0;
    v.level = strength->level;
    v.half_life_days = strength->half_life_days;
    v.uses = strength->uses;
    v.flags = (strength->pinned ? STRENGTH_PINNED : 0u) | (strength->has_expires ? STRENGTH_EXPIRES : 0u) |
              (strength->used ? STRENGTH_USED : 0u);
    key_bytes key = key_numbers(2, ns, rec, 0);
    return mn_db_put(write, DB_STRENGTHS, &key, &v, sizeof v, error);
}

mneme_status mn_write_strength(mn_write *write, uint32_t ns, uint32_t rec, const mn_strength *strength,
                               mneme_error *error)
{
    mn_strength old;
    mneme_status status = mn_read_strength(&write->read, ns, rec, &old, error);
    key_bytes key;
    if (status == MNEME_OK && ends(&old) && !(ends(strength) && strength->expires_ms == old.expires_ms)) {
        key = expiry_key(ns, old.expires_ms, rec);
        status = mn_db_delete(write, DB_STRENGTHS, &key, error);
    }
    if (status == MNEME_OK && ends(strength)) {
        key = expiry_key(ns, strength->expires_ms, rec);
        status = mn_db_put(write, DB_STRENGTHS, &key, "", 0, error);
    }
    if (status != MNEME_OK) return status;
    if (!is_as_written(strength)) return put_value(write, ns, rec, strength, error);
    if (is_as_written(&old)) return MNEME_OK;
    key = key_numbers(2, ns, rec, 0);
    return mn_db_delete(write, DB_STRENGTHS, &key, error);
}

mneme_status mn_read_expired(mn_read *read, uint32_t ns, int64_t now_ms, mn_arena *arena, uint32_t **recs, size_t *n,
                             mneme_error *error)
{
    *recs = NULL;
    *n = 0;
    MDB_cursor *cursor = NULL;
    mneme_status status = mn_cursor_open(read, DB_STRENGTHS, &cursor, error);
    if (status != MNEME_OK) return status;
    key_bytes from = key_numbers(2, ns, 0, 0);
    MDB_val key = key_value(&from), value;
    size_t capacity = 0;
    int code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    for (; code == 0; code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        if (mn_key_number(&key, 0) != ns || mn_key_number(&key, 4) != 0) break;
        if (key.mv_size != EXPIRY_KEY) continue;
        if (expiry_of(&key) > now_ms) break;
        if (*n == capacity) {
            capacity = capacity ? capacity * 2 : 16;
            uint32_t *larger = mn_arena_array(arena, capacity, sizeof *larger);
            if (!larger) {
                mdb_cursor_close(cursor);
                return mn_fail_memory(error, "records that have ended");
            }
            if (*n) memcpy(larger, *recs, *n * sizeof *larger);
            *recs = larger;
        }
        (*recs)[(*n)++] = mn_key_number(&key, 16);
    }
    if (code != 0 && code != MDB_NOTFOUND) status = mn_lmdb_fail(error, code, "cannot read the store");
    mdb_cursor_close(cursor);
    return status;
}

/* ---- check ---- */

static const char *problem_of_value(mn_read *read, uint32_t ns, uint32_t rec, const MDB_val *value)
{
    mn_strength strength;
    MDB_val found;
    key_bytes key = key_numbers(3, ns, rec, 0);
    if (mn_db_get(read, DB_RECORDS, &key, &found, NULL) != MNEME_OK) return "its strength belongs to no record";
    if (!parse(value, &strength)) return "its strength cannot be read";
    key = expiry_key(ns, strength.expires_ms, rec);
    if (ends(&strength) && mn_db_get(read, DB_STRENGTHS, &key, &found, NULL) != MNEME_OK)
        return "it ends, but is not in the list of those that do";
    return NULL;
}

static const char *problem_of_expiry(mn_read *read, uint32_t ns, const MDB_val *key)
{
    mn_strength strength;
    if (key->mv_size != EXPIRY_KEY) return "a key of the list of those that end is damaged";
    if (mn_read_strength(read, ns, mn_key_number(key, 16), &strength, NULL) != MNEME_OK || !ends(&strength) ||
        strength.expires_ms != expiry_of(key))
        return "it is in the list of those that end, but does not end then";
    return NULL;
}

mneme_status mn_check_strengths(mn_read *read, uint32_t ns,
                                void (*problem)(void *context, uint32_t rec, const char *what), void *context,
                                mneme_error *error)
{
    MDB_cursor *cursor = NULL;
    mneme_status status = mn_cursor_open(read, DB_STRENGTHS, &cursor, error);
    if (status != MNEME_OK) return status;
    key_bytes from = key_numbers(1, ns, 0, 0);
    MDB_val key = key_value(&from), value;
    int code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    for (; code == 0 && mn_key_number(&key, 0) == ns; code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        uint32_t rec = mn_key_number(&key, 4);
        const char *what = rec != 0 && key.mv_size == 8 ? problem_of_value(read, ns, rec, &value)
                           : rec != 0                   ? "the key of its strength is damaged"
                                                        : problem_of_expiry(read, ns, &key);
        if (what) problem(context, rec ? rec : mn_key_number(&key, 16), what);
    }
    if (code != 0 && code != MDB_NOTFOUND) problem(context, 0, mdb_strerror(code));
    mdb_cursor_close(cursor);
    return MNEME_OK;
}
