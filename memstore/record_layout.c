/* record_layout.c -- the bytes of a record's entry.
 *
 *     part 0   flags | hash 16 | first_row | n_chunks | text_size | written | [time] | [session number | place] |
 *              [importance u8] | strings | body | checksum u32
 *     part p   kind u8 | body | checksum u32                                            text[p * 64 KiB .. (p + 1) * 64 KiB)
 *
 * flags, numbers: unsigned varints (time in ms, and written in seconds since 2025, which is shorter: zigzag). Importance:
 * in steps of 1/200. Strings: id, then those that the flags name, each with its NUL. A body is text, or a zstd frame of
 * it (text_packing.c); for part 0 the flags say which. */
#include "memstore/store_internal.h"

#include <math.h>
#include <string.h>

enum {
    HAS_TIME = 1,
    OWN_VECTOR = 2,
    HAS_TITLE = 4,
    HAS_SESSION = 8,
    HAS_SPEAKER = 16,
    HAS_METADATA = 32,
    HAS_SOURCE = 64,
    KIND_SHIFT = 7, /* 2 bits: TEXT_... */
    HAS_IMPORTANCE = 512,
    IMPORTANCE_GIVEN = 1024,
    FLAGS_MOST = 2047,
};
#define WRITTEN_SINCE_S INT64_C(1735689600) /* 2025-01-01 */

/* ---- reading ---- */

typedef struct entry_cursor {
    const unsigned char *at, *end;
    bool failed;
} entry_cursor;

static uint64_t take_number(entry_cursor *cursor, uint64_t most)
{
    uint64_t value = 0;
    if (!mn_varint_read(&cursor->at, cursor->end, &value) || value > most) cursor->failed = true;
    return value;
}

static int64_t take_signed(entry_cursor *cursor)
{
    uint64_t zigzag = take_number(cursor, UINT64_MAX);
    return (int64_t)(zigzag >> 1 ^ (0 - (zigzag & 1)));
}

static float take_importance(entry_cursor *cursor)
{
    if (cursor->at >= cursor->end || *cursor->at > (unsigned)MN_IMPORTANCE_STEPS) cursor->failed = true;
    return cursor->failed ? 0 : (float)*cursor->at++ / MN_IMPORTANCE_STEPS;
}

static const char *take_string(entry_cursor *cursor, bool is_there)
{
    if (!is_there || cursor->failed) return NULL;
    const unsigned char *nul = memchr(cursor->at, 0, (size_t)(cursor->end - cursor->at));
    const char *string = (const char *)cursor->at;
    if (!nul)
        cursor->failed = true;
    else
        cursor->at = nul + 1;
    return string;
}

static void take_hash(entry_cursor *cursor, uint64_t hash[2])
{
    if (cursor->end - cursor->at < 16)
        cursor->failed = true;
    else
        memcpy(hash, cursor->at, 16);
    cursor->at = cursor->failed ? cursor->end : cursor->at + 16;
}

/* False: not even the strings are there. */
static bool parse(uint32_t rec, const MDB_val *value, mn_record *out, mn_packed_text *text)
{
    size_t size = value->mv_size < CHECKSUM_BYTES ? 0 : value->mv_size - CHECKSUM_BYTES;
    entry_cursor c = {.at = value->mv_data, .end = (const unsigned char *)value->mv_data + size};
    *out = (mn_record){.rec = rec};
    unsigned flags = (unsigned)take_number(&c, FLAGS_MOST);
    take_hash(&c, out->hash);
    out->first_row = (uint32_t)take_number(&c, UINT32_MAX);
    out->n_chunks = (uint32_t)take_number(&c, UINT32_MAX);
    out->text_size = take_number(&c, UINT32_MAX);
    out->has_time = (flags & HAS_TIME) != 0;
    out->own_vector = (flags & OWN_VECTOR) != 0;
    int64_t written_s = take_signed(&c);
    if (written_s < -WRITTEN_SINCE_S || written_s > UINT32_MAX) c.failed = true;
    else out->written_ms = (written_s + WRITTEN_SINCE_S) * 1000;
    if (out->has_time) out->time_ms = take_signed(&c);
    if (flags & HAS_SESSION) {
        out->session_number = (uint32_t)take_number(&c, UINT32_MAX);
        out->session_place = (uint32_t)take_number(&c, UINT32_MAX);
    }
    out->has_importance = (flags & HAS_IMPORTANCE) != 0;
    out->importance_given = (flags & IMPORTANCE_GIVEN) != 0;
    if (out->has_importance) out->importance = take_importance(&c);
    out->id = take_string(&c, true);
    out->title = take_string(&c, flags & HAS_TITLE);
    out->session = take_string(&c, flags & HAS_SESSION);
    out->speaker = take_string(&c, flags & HAS_SPEAKER);
    out->metadata = take_string(&c, flags & HAS_METADATA);
    out->source = take_string(&c, flags & HAS_SOURCE);
    *text = (mn_packed_text){.kind = (mn_text_kind)(flags >> KIND_SHIFT & 3),
                             .bytes = c.at,
                             .size = (size_t)(c.end - c.at),
                             .text_size = out->text_size < TEXT_PART ? (size_t)out->text_size : TEXT_PART};
    return !c.failed && *out->id && text->kind <= TEXT_WITH_DICTIONARY;
}

mneme_status mn_parse_record(uint32_t ns, uint32_t rec, const MDB_val *value, mn_record *out, mn_packed_text *text,
                             mneme_error *error)
{
    bool sound = parse(rec, value, out, text);
    if (sound && text->kind == TEXT_PLAIN) sound = text->size == text->text_size;
    if (sound) return MNEME_OK;
    *out = (mn_record){0};
    return mn_damaged(error, "record", ns, rec);
}

mneme_status mn_parse_damaged_record(uint32_t ns, uint32_t rec, const MDB_val *value, mn_record *out,
                                     mn_packed_text *text, mneme_error *error)
{
    if (parse(rec, value, out, text)) return MNEME_OK;
    *out = (mn_record){0};
    return mn_damaged(error, "record", ns, rec);
}

/* The part of a text behind the first. */
static mneme_status read_part(mn_read *read, uint32_t ns, const mn_record *record, uint32_t part, mn_packed_text *out,
                              mneme_error *error)
{
    key_bytes key = key_numbers(3, ns, record->rec, part);
    MDB_val value;
    mneme_status status = mn_db_get(read, DB_RECORDS, &key, &value, error);
    if (status == MNEME_ERR_NOT_FOUND) return MNEME_ERR_DAMAGED;
    if (status != MNEME_OK) return status;
    if (value.mv_size < 1 + CHECKSUM_BYTES || !mn_checksum_is_right(&value)) return MNEME_ERR_DAMAGED;
    const unsigned char *bytes = value.mv_data;
    uint64_t left = record->text_size - (uint64_t)part * TEXT_PART;
    *out = (mn_packed_text){.kind = (mn_text_kind)bytes[0],
                            .bytes = bytes + 1,
                            .size = value.mv_size - 1 - CHECKSUM_BYTES,
                            .text_size = left < TEXT_PART ? (size_t)left : TEXT_PART};
    return out->kind <= TEXT_WITH_DICTIONARY ? MNEME_OK : MNEME_ERR_DAMAGED;
}

/* A part's text, kept in the read: the chunks of a long record come one after the other. Borrowed until the next call.
 */
static mneme_status part_text(mn_read *read, uint32_t ns, const mn_record *record, uint32_t part,
                              const mn_packed_text *first, const char **out, mneme_error *error)
{
    *out = read->part.text;
    if (read->part.is_there && read->part.ns == ns && read->part.rec == record->rec && read->part.number == part)
        return MNEME_OK;
    mn_packed_text packed = *first;
    mneme_status status = part > 0 ? read_part(read, ns, record, part, &packed, error) : MNEME_OK;
    if (status != MNEME_OK) return status;
    *out = packed.bytes;
    if (packed.kind == TEXT_PLAIN) return packed.size == packed.text_size ? MNEME_OK : MNEME_ERR_DAMAGED;
    read->part.is_there = false;
    if (!read->part.text && !(read->part.text = mn_alloc(TEXT_PART))) return mn_fail_memory(error, "text");
    *out = read->part.text;
    status = mn_text_unpack(read, &packed, read->part.text, error);
    read->part.is_there = status == MNEME_OK;
    read->part.ns = ns;
    read->part.rec = record->rec;
    read->part.number = part;
    return status;
}

mneme_status mn_read_text(mn_read *read, uint32_t ns, uint32_t rec, uint64_t start, uint64_t end, mn_buffer *out,
                          mneme_error *error)
{
    mn_record record;
    MDB_val value;
    mn_packed_text first;
    key_bytes key = key_numbers(3, ns, rec, 0);
    mneme_status status = mn_db_get(read, DB_RECORDS, &key, &value, error);
    if (status == MNEME_ERR_NOT_FOUND) return mn_fail(error, status, "no record number %u", rec);
    if (status == MNEME_OK) status = mn_parse_record(ns, rec, &value, &record, &first, error);
    if (status == MNEME_OK && (start > end || end > record.text_size))
        return mn_damaged(error, "the text range of record", ns, rec);
    if (status == MNEME_OK && !mn_checksum_is_right(&value)) return mn_damaged(error, "the content of record", ns, rec);
    for (uint64_t at = start; at < end && status == MNEME_OK;) {
        uint64_t from = at % TEXT_PART, size = end - at < TEXT_PART - from ? end - at : TEXT_PART - from;
        const char *text = NULL;
        status = part_text(read, ns, &record, (uint32_t)(at / TEXT_PART), &first, &text, error);
        if (status == MNEME_OK) mn_buffer_append(out, text + from, (size_t)size);
        at += size;
    }
    if (status == MNEME_ERR_DAMAGED) return mn_damaged(error, "the text of record", ns, rec);
    return status == MNEME_OK && out->failed ? mn_fail_memory(error, "text") : status;
}

/* ---- writing ---- */

static void append_string(mn_buffer *value, const char *text)
{
    if (text) mn_buffer_append(value, text, strlen(text) + 1);
}

static void append_signed(mn_buffer *value, int64_t number)
{
    mn_buffer_varint(value, (uint64_t)number << 1 ^ (0 - (uint64_t)(number < 0)));
}

/* Whole seconds, from 1970 on. */
static int64_t written_seconds(const record_head *head)
{
    int64_t seconds = head->written_ms > 0 ? head->written_ms / 1000 : 0;
    return (seconds < UINT32_MAX ? seconds : UINT32_MAX) - WRITTEN_SINCE_S;
}

static void append_head(mn_buffer *value, const mneme_record *r, const record_head *head, mn_text_kind kind)
{
    unsigned flags = (unsigned)kind << KIND_SHIFT;
    const struct {
        bool is_there;
        unsigned flag;
    } parts[] = {{r->has_time, HAS_TIME},           {r->vector != NULL, OWN_VECTOR},
                 {r->title != NULL, HAS_TITLE},     {r->session != NULL, HAS_SESSION},
                 {r->speaker != NULL, HAS_SPEAKER}, {r->metadata != NULL, HAS_METADATA},
                 {r->source != NULL, HAS_SOURCE},   {head->has_importance, HAS_IMPORTANCE},
                 {head->has_importance && head->importance_given, IMPORTANCE_GIVEN}};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) flags |= parts[i].is_there ? parts[i].flag : 0u;
    mn_buffer_varint(value, flags);
    mn_buffer_append(value, head->hash, sizeof head->hash);
    mn_buffer_varint(value, head->first_row);
    mn_buffer_varint(value, head->n_chunks);
    mn_buffer_varint(value, r->text_size);
    append_signed(value, written_seconds(head));
    if (r->has_time) append_signed(value, r->time_ms);
    if (r->session) {
        mn_buffer_varint(value, head->session_number);
        mn_buffer_varint(value, head->session_place);
    }
    if (head->has_importance)
        mn_buffer_byte(value, (char)lroundf(fminf(fmaxf(head->importance, 0), 1) * MN_IMPORTANCE_STEPS));
    const char *strings[] = {r->id, r->title, r->session, r->speaker, r->metadata, r->source};
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) append_string(value, strings[i]);
}

static mneme_status put_part(mn_write *write, uint32_t ns, uint32_t rec, const mneme_record *record, size_t at,
                             mn_buffer *value, mneme_error *error)
{
    mn_packed_text packed;
    size_t size = record->text_size - at < TEXT_PART ? record->text_size - at : TEXT_PART;
    mneme_status status = mn_text_pack(write, record->text + at, size, &packed, error);
    if (status != MNEME_OK) return status;
    mn_buffer_clear(value);
    mn_buffer_byte(value, (char)packed.kind);
    mn_buffer_append(value, packed.bytes, packed.size);
    mn_buffer_checksum(value);
    key_bytes key = key_numbers(3, ns, rec, (uint32_t)(at / TEXT_PART));
    if (value->failed) return mn_fail_memory(error, "record");
    return mn_db_append(write, DB_RECORDS, &key, value->data, value->size, error);
}

mneme_status mn_put_record(mn_write *write, uint32_t ns, uint32_t rec, const mneme_record *record,
                           const record_head *head, mneme_error *error)
{
    mn_buffer value = {0};
    mn_packed_text packed;
    size_t in_head = record->text_size < TEXT_PART ? record->text_size : TEXT_PART;
    mneme_status status = mn_text_pack(write, record->text, in_head, &packed, error);
    if (status == MNEME_OK) {
        append_head(&value, record, head, packed.kind);
        mn_buffer_append(&value, packed.bytes, packed.size);
        mn_buffer_checksum(&value);
        key_bytes key = key_numbers(3, ns, rec, 0);
        status = value.failed ? mn_fail_memory(error, "record")
                              : mn_db_append(write, DB_RECORDS, &key, value.data, value.size, error);
    }
    for (size_t at = in_head; at < record->text_size && status == MNEME_OK; at += TEXT_PART)
        status = put_part(write, ns, rec, record, at, &value, error);
    mn_buffer_free(&value);
    return status;
}

mneme_status mn_write_importance(mn_write *write, uint32_t ns, uint32_t rec, float importance, mneme_error *error)
{
    static const float some_vector = 0;
    key_bytes key = key_numbers(3, ns, rec, 0);
    MDB_val value;
    mn_record old;
    mn_packed_text text;
    mneme_status status = mn_db_get(&write->read, DB_RECORDS, &key, &value, error);
    if (status == MNEME_ERR_NOT_FOUND) return mn_fail(error, status, "no record number %u", rec);
    if (status == MNEME_OK) status = mn_parse_record(ns, rec, &value, &old, &text, error);
    if (status != MNEME_OK) return status;
    if (!mn_checksum_is_right(&value)) return mn_damaged(error, "the content of record", ns, rec);
    const mneme_record record = {.id = old.id,
                                 .title = old.title,
                                 .session = old.session,
                                 .speaker = old.speaker,
                                 .metadata = old.metadata,
                                 .source = old.source,
                                 .has_time = old.has_time,
                                 .time_ms = old.time_ms,
                                 .text_size = (size_t)old.text_size,
                                 .vector = old.own_vector ? &some_vector : NULL};
    const record_head head = {.hash = {old.hash[0], old.hash[1]},
                              .first_row = old.first_row,
                              .n_chunks = old.n_chunks,
                              .session_number = old.session_number,
                              .session_place = old.session_place,
                              .written_ms = old.written_ms,
                              .has_importance = true,
                              .importance_given = true,
                              .importance = importance};
    mn_buffer bytes = {0};
    append_head(&bytes, &record, &head, text.kind);
    mn_buffer_append(&bytes, text.bytes, text.size);
    mn_buffer_checksum(&bytes);
    status = bytes.failed ? mn_fail_memory(error, "record")
                          : mn_db_put(write, DB_RECORDS, &key, bytes.data, bytes.size, error);
    mn_buffer_free(&bytes);
    return status;
}
