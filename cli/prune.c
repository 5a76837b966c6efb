/* prune.c -- `index --prune`: records whose source was not there any more.
 *
 * The store is listed page by page; what must go from a page is forgotten before the next page is asked for, so memory
 * stays flat. */
#include "cli/prune.h"

#include "cli/path.h"
#include "cli/stop.h"

#include <stdlib.h>
#include <string.h>

#define PAGE_RECORDS 1000

static bool has_vanished(const cli_indexer *indexer, const mneme_record *record, const char *source)
{
    const char *name_space = record->name_space ? record->name_space : "";
    if (!record->source || !cli_path_below(record->source, source)) return false;
    if (strcmp(record->source, "-") == 0 && strcmp(source, "-") != 0) return false; /* standard input is no file here */
    return !cli_seen_has(&indexer->sources, record->source, "") &&
           !cli_seen_has(&indexer->seen, name_space, record->id);
}

static void show_removal(cli_indexer *indexer, const char *name_space, const char *id)
{
    if (indexer->changes) {
        json_t *object = json_object();
        cli_json_put(object, "id", id);
        cli_json_put(object, "namespace", name_space);
        cli_json_put(object, "change", "remove");
        json_array_append_new(indexer->changes, object);
    } else {
        cli_print("remove %s\n", id);
    }
}

/* Forget ids of one namespace. */
static bool forget(cli_indexer *indexer, const char *name_space, const cli_list *ids)
{
    mneme_forget_options options = MNEME_FORGET_OPTIONS_INIT;
    mneme_error error = {MNEME_OK, ""};
    uint64_t forgotten = 0;
    if (ids->n == 0) return true;
    options.ids = ids->items;
    options.n_ids = ids->n;
    options.select.name_space = name_space;
    options.dry_run = indexer->dry_run;
    for (size_t i = 0; indexer->dry_run && i < ids->n; i++) show_removal(indexer, name_space, ids->items[i]);
    if (mneme_forget(indexer->memory, &options, &forgotten, &error) != MNEME_OK) {
        indexer->failure = cli_failed(&error);
        return false;
    }
    indexer->totals.removed += forgotten;
    return true;
}

/* The vanished records of a page; records come by namespace, so ids are gathered until it changes. */
static bool prune_page(cli_indexer *indexer, const mneme_record_list *page, const char *source)
{
    cli_list ids = {0};
    const char *name_space = "";
    bool fine = true;
    for (size_t i = 0; i < page->n && fine; i++) {
        const mneme_record *record = &page->items[i];
        const char *now = record->name_space ? record->name_space : "";
        if (strcmp(now, name_space) != 0) {
            fine = forget(indexer, name_space, &ids);
            ids.n = 0;
            name_space = now;
        }
        if (has_vanished(indexer, record, source)) cli_list_add(&ids, record->id);
    }
    fine = fine && forget(indexer, name_space, &ids);
    cli_list_free(&ids);
    return fine;
}

bool cli_prune(cli_indexer *indexer, const char *source, const char *name_space, uint64_t *n_removed)
{
    mneme_list_options options = MNEME_LIST_OPTIONS_INIT;
    mneme_error error = {MNEME_OK, ""};
    uint64_t before = indexer->totals.removed;
    bool fine = true;
    options.select.source = source;
    options.select.name_space = name_space;
    options.limit = PAGE_RECORDS;
    options.omit_text = true;
    char *next = NULL;
    do {
        mneme_record_list *page = NULL;
        options.after = next;
        if (mneme_list(indexer->memory, &options, &page, &error) != MNEME_OK) indexer->failure = cli_failed(&error);
        free(next);
        next = page ? cli_strdup(page->next) : NULL;
        fine = page && prune_page(indexer, page, source) && !cli_stop_asked();
        mneme_record_list_free(page);
    } while (next && fine);
    free(next);
    *n_removed = indexer->totals.removed - before;
    return fine;
}
