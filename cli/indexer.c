/* indexer.c -- records on their way into the store. */
#include "cli/indexer.h"

#include "cli/output.h"
#include "cli/stop.h"

#include <stdlib.h>
#include <string.h>

#define BATCH_TEXT ((uint64_t)1 << 20)
#define BATCH_SECONDS 2.0
#define REFUSALS_LISTED 1000

static void clear_batch(cli_indexer *indexer)
{
    for (size_t i = 0; i < indexer->n_items; i++) {
        cli_item *item = &indexer->items[i];
        mneme_record_free(item->parsed);
        free(item->id);
        free(item->text);
        free(item->title);
    }
    indexer->n_items = 0;
    indexer->batch_text = indexer->batch_input = 0;
}

void cli_indexer_free(cli_indexer *indexer)
{
    clear_batch(indexer);
    free(indexer->items);
    free(indexer->from.encoder);
    cli_seen_free(&indexer->seen);
    cli_seen_free(&indexer->sources);
    json_decref(indexer->refusals);
    json_decref(indexer->changes);
    *indexer = (cli_indexer){0};
}

/* ---- what cannot be stored ---- */

static void list_refusal(cli_indexer *indexer, const char *source, uint64_t line, const char *reason)
{
    if (!indexer->refusals || json_array_size(indexer->refusals) >= REFUSALS_LISTED) return;
    json_t *object = json_object();
    cli_json_put(object, "source", source);
    if (line) cli_json_count(object, "line", line);
    cli_json_put(object, "reason", reason);
    json_array_append_new(indexer->refusals, object);
}

void cli_indexer_refuse(cli_indexer *indexer, const char *source, uint64_t line, const char *reason)
{
    indexer->totals.refused++;
    if (indexer->remember) cli_seen_add(&indexer->sources, source, ""); /* what is stored of it stays */
    if (line) cli_complain("%s:%llu: %s", source, (unsigned long long)line, reason);
    else cli_complain("%s: %s", source, reason);
    list_refusal(indexer, source, line, reason);
}

static void refused_by_store(void *context, size_t index, const mneme_error *error)
{
    cli_indexer *indexer = context;
    const cli_item *item = &indexer->items[index];
    cli_indexer_refuse(indexer, item->source, item->line, error->message);
}

/* ---- progress ---- */

static bool show_progress(void *context, uint64_t done, uint64_t total, const char *unit)
{
    cli_indexer *indexer = context;
    double share = total ? (double)done / (double)total : 0;
    (void)unit;
    if (cli_stop_asked() && !indexer->stop_said) {
        cli_say("stopping after this batch (Ctrl-C again: at once, which loses nothing that is stored)");
        indexer->stop_said = true;
    }
    cli_progress_update(&indexer->progress, indexer->bytes_done + (uint64_t)(share * (double)indexer->batch_input));
    return true; /* Ctrl-C ends the run after the batch, which is work done already */
}

void cli_indexer_pass(cli_indexer *indexer, uint64_t input_bytes)
{
    indexer->bytes_done += input_bytes;
    cli_progress_update(&indexer->progress, indexer->bytes_done);
}

/* ---- batches ---- */

static mneme_status store_batch(cli_indexer *indexer, mneme_add_result *result, mneme_error *error)
{
    mneme_record *records = cli_alloc(indexer->n_items, sizeof *records);
    for (size_t i = 0; i < indexer->n_items; i++) records[i] = indexer->items[i].record;
    mneme_add_options options = MNEME_ADD_OPTIONS_INIT;
    options.strict = indexer->strict && !indexer->dry_run;
    options.dry_run = indexer->dry_run;
    options.progress = show_progress;
    options.refused = refused_by_store;
    options.context = indexer;
    options.encoder = indexer->from.encoder;
    options.fingerprint = indexer->from.fingerprint;
    options.vectors = indexer->from.vectors;
    mneme_status status = mneme_add(indexer->memory, records, indexer->n_items, &options, result, error);
    free(records);
    return status;
}

/* On a dry run with `show`, batches are single records: name what would happen to this one. */
static void show_change(cli_indexer *indexer, const mneme_add_result *result)
{
    const mneme_record *record = &indexer->items[0].record;
    const char *change = result->added ? "add" : result->updated ? "update" : NULL;
    if (!change) return;
    if (indexer->changes) {
        json_t *object = json_object();
        cli_json_put(object, "id", record->id);
        cli_json_put(object, "namespace", record->name_space ? record->name_space : "");
        cli_json_put(object, "change", change);
        json_array_append_new(indexer->changes, object);
    } else {
        cli_print("%s %s\n", change, record->id);
    }
}

static void count(cli_indexer *indexer, const mneme_add_result *result)
{
    cli_totals *totals = &indexer->totals;
    totals->added += result->added;
    totals->updated += result->updated;
    totals->unchanged += result->unchanged;
    totals->chunks += result->chunks;
    totals->replaced_characters += result->replaced_characters;
    totals->generation = result->generation;
    if (indexer->show) show_change(indexer, result);
}

bool cli_indexer_flush(cli_indexer *indexer)
{
    mneme_add_result result = {0};
    mneme_error error = {MNEME_OK, ""};
    if (indexer->failure) return false;
    if (indexer->n_items == 0) return !cli_stop_asked();
    mneme_status status = MNEME_OK;
    if (indexer->memory) status = store_batch(indexer, &result, &error);
    else result.added = indexer->n_items;
    if (status == MNEME_OK) count(indexer, &result);
    else indexer->failure = cli_failed(&error);
    cli_indexer_pass(indexer, indexer->batch_input);
    clear_batch(indexer);
    return status == MNEME_OK && !cli_stop_asked();
}

bool cli_indexer_from(cli_indexer *indexer, const cli_export_header *header)
{
    bool going = true;
    if (indexer->from.encoder || header) going = cli_indexer_flush(indexer);
    free(indexer->from.encoder);
    indexer->from = header ? *header : (cli_export_header){0};
    return going;
}

static void remember(cli_indexer *indexer, const cli_item *item)
{
    if (!indexer->remember) return;
    const char *name_space = item->record.name_space ? item->record.name_space : "";
    if (item->line) cli_seen_add(&indexer->seen, name_space, item->record.id);
    else cli_seen_add(&indexer->sources, item->source, "");
}

bool cli_indexer_add(cli_indexer *indexer, cli_item *item)
{
    size_t capacity = indexer->show ? 1 : indexer->batch_records;
    if (!indexer->items) indexer->items = cli_alloc(capacity, sizeof *indexer->items);
    if (indexer->n_items == 0) indexer->batch_started = cli_seconds();
    if (!item->record.name_space) item->record.name_space = indexer->name_space;
    remember(indexer, item);
    indexer->items[indexer->n_items++] = *item;
    indexer->batch_text += item->record.text_size;
    indexer->batch_input += item->input_bytes;
    bool full = indexer->n_items >= capacity || indexer->batch_text >= BATCH_TEXT ||
                cli_seconds() - indexer->batch_started >= BATCH_SECONDS;
    return full || cli_stop_asked() ? cli_indexer_flush(indexer) : true;
}
