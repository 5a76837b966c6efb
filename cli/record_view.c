/* record_view.c -- records, hits and passages as JSON and as lines for people. */
#include "cli/record_view.h"

#include "cli/explain.h"
#include "cli/output.h"

#include <string.h>

static void put_metadata(json_t *object, const char *metadata)
{
    if (!metadata) return;
    json_t *value = json_loads(metadata, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    json_object_set_new(object, "metadata", value ? value : cli_json_string(metadata));
}

/* What every kind of result says about the record that it comes from. */
static void put_labels(json_t *object, const char *title, const char *session, const char *speaker, bool has_time,
                       int64_t time_ms, const char *source)
{
    cli_json_put(object, "title", title);
    cli_json_put(object, "session", session);
    cli_json_put(object, "speaker", speaker);
    cli_json_time(object, "time", has_time, time_ms);
    cli_json_put(object, "source", source);
}

void cli_put_strength(json_t *object, const mneme_strength *strength)
{
    json_object_set_new(object, "strength", cli_json_float(strength->strength));
    json_object_set_new(object, "half_life_days", cli_json_float(strength->half_life_days));
    cli_json_count(object, "uses", strength->uses);
    cli_json_time(object, "last_use", strength->has_last_use, strength->last_use_ms);
    cli_json_time(object, "written", true, strength->written_ms);
}

json_t *cli_record_json(const mneme_record *record, uint32_t n_chunks, const mneme_strength *strength, bool with_text)
{
    json_t *object = json_object();
    cli_json_put(object, "id", record->id);
    cli_json_put(object, "namespace", record->name_space ? record->name_space : "");
    put_labels(object, record->title, record->session, record->speaker, record->has_time, record->time_ms,
               record->source);
    put_metadata(object, record->metadata);
    if (record->has_importance) json_object_set_new(object, "importance", cli_json_float(record->importance));
    if (record->pinned) json_object_set_new(object, "pinned", json_true());
    cli_json_time(object, "expires", record->has_expires, record->expires_ms);
    cli_json_count(object, "chunks", n_chunks);
    if (strength) cli_put_strength(object, strength);
    if (with_text)
        json_object_set_new(object, "text", cli_json_text(record->text ? record->text : "", record->text_size));
    return object;
}

json_t *cli_hit_json(const mneme_hit *hit, bool with_strength, bool explain)
{
    json_t *object = json_object();
    cli_json_put(object, "id", hit->id);
    cli_json_put(object, "namespace", hit->name_space ? hit->name_space : "");
    cli_json_count(object, "chunk", hit->chunk);
    json_object_set_new(object, "score", cli_json_float(hit->score));
    json_object_set_new(object, "dense", cli_json_float(hit->dense));
    json_object_set_new(object, "lexical", cli_json_float(hit->lexical));
    json_object_set_new(object, "neighbour", cli_json_float(hit->neighbour));
    json_object_set_new(object, "attention", cli_json_float(hit->attention));
    if (with_strength) {
        json_object_set_new(object, "strength", cli_json_float(hit->strength));
        json_object_set_new(object, "recency", cli_json_float(hit->recency));
    }
    if (explain) {
        cli_explained item = cli_explain_hit(hit);
        json_object_set_new(object, "explain", cli_explain_json(&item));
    }
    cli_json_count(object, "start", hit->start);
    cli_json_count(object, "end", hit->end);
    put_labels(object, hit->title, hit->session, hit->speaker, hit->has_time, hit->time_ms, hit->source);
    put_metadata(object, hit->metadata);
    json_object_set_new(object, "text", cli_json_text(hit->text ? hit->text : "", hit->text_size));
    return object;
}

json_t *cli_passage_json(const mneme_passage *passage, bool explain)
{
    json_t *object = json_object();
    cli_json_put(object, "id", passage->id);
    cli_json_put(object, "namespace", passage->name_space ? passage->name_space : "");
    cli_json_count(object, "start", passage->start);
    cli_json_count(object, "end", passage->end);
    json_object_set_new(object, "weight", cli_json_float(passage->weight));
    if (explain) {
        cli_explained item = cli_explain_passage(passage);
        json_object_set_new(object, "score", cli_json_float(passage->score));
        cli_json_count(object, "hits", passage->n_hits);
        json_object_set_new(object, "explain", cli_explain_json(&item));
    }
    put_labels(object, passage->title, passage->session, passage->speaker, passage->has_time, passage->time_ms,
               passage->source);
    json_object_set_new(object, "text", cli_json_text(passage->text ? passage->text : "", passage->text_size));
    return object;
}

static void print_label(const char *text, bool *first)
{
    if (!text || !*text) return;
    cli_print("%s", *first ? "" : " | ");
    cli_print_text(text, strlen(text));
    *first = false;
}

void cli_print_labels(const char *name_space, const char *title, const char *speaker, bool has_time, int64_t time_ms)
{
    bool first = true;
    char time[40] = "";
    if (has_time) mneme_time_format(time_ms, time, sizeof time);
    if (name_space && *name_space) cli_print("[%s] ", name_space);
    print_label(title, &first);
    print_label(speaker, &first);
    print_label(time, &first);
}
