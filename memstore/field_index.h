/* field_index.h -- what memstore/ itself needs of the index of fields: its keys, and how a write keeps it.
 *
 * Reading is in store.h (mn_read_field); the layout in docs/architecture.md. */
#ifndef MN_MEMSTORE_FIELD_INDEX_H
#define MN_MEMSTORE_FIELD_INDEX_H

#include "memstore/store_internal.h"

/* What of a record is indexed. */
typedef struct field_source {
    uint32_t ns, rec;
    const char *speaker, *source, *metadata; /* NULL = none */
    bool has_time;
    int64_t time_ms;
} field_source;

/* The keys of one record, each once, in the arena. */
typedef struct field_keys {
    struct field_key {
        const unsigned char *bytes;
        size_t size;
    } items[MN_FIELD_VALUES_MAX + 3]; /* metadata, then time, speaker, source */
    size_t n;
} field_keys;

static inline field_source mn_field_source_of(uint32_t ns, const mn_record *record)
{
    return (field_source){.ns = ns,
                          .rec = record->rec,
                          .speaker = record->speaker,
                          .source = record->source,
                          .metadata = record->metadata,
                          .has_time = record->has_time,
                          .time_ms = record->time_ms};
}

/* ns | field | 00 */
void mn_field_key_begin(key_bytes *key, uint32_t ns, const char *field);
/* Append the type and the value. `whole`: a long text ends with its hash, as it is stored; else it ends where it is
 * cut, as bounds need it. */
void mn_field_key_value(key_bytes *key, const mn_field_value *value, bool whole);

/* The text part of a stored key, behind `header` bytes; false: it is only the beginning of the text. */
bool mn_field_text_of(const MDB_val *key, size_t header, const char **text, size_t *size);

/* The same function serves writing, forgetting and checking. Metadata that cannot be parsed has no keys. */
mneme_status mn_field_keys(const field_source *source, mn_arena *arena, field_keys *out, mneme_error *error);

/* Keep the keys of a record for the flush; its number is higher than that of every record in the index. */
mneme_status mn_append_fields(mn_write *write, const field_source *source, mneme_error *error);
mneme_status mn_remove_fields(mn_write *write, const field_source *source, mneme_error *error);
mneme_status mn_flush_fields(mn_write *write, mneme_error *error);

/* Hold the index of a namespace against its records, both ways; damage(context, line) gets each difference. */
typedef struct field_check {
    mn_read *read;
    uint32_t ns;
    const char *name;
    uint64_t n_found; /* entries of records checked so far that are there */
    void (*damage)(void *context, const char *line);
    void *context;
} field_check;
/* One record: is each of its keys there? */
mneme_status mn_check_fields_of(field_check *check, const mn_record *record, mneme_error *error);
/* After all records: is there anything else? */
mneme_status mn_check_fields_left(field_check *check, mneme_error *error);

#endif
