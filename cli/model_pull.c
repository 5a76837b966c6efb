/* model_pull.c -- mneme model pull: a model from a hub into the folder of models.
 *
 *     list the files -> (several with weights: fetch their index, which names them) -> fetch all but the weights
 *     -> would they load? -> fetch the weights -> do they load? -> rename
 *
 * The first question spares the user a download that could only be refused. Until the rename nothing is in place; what
 * broke off stays in the staging folder, what was refused does not. */
#include "cli/commands.h"
#include "cli/copy_folder.h"
#include "cli/hub_file.h"
#include "cli/model_folders.h"
#include "cli/model_verbs.h"
#include "cli/staging.h"
#include "cli/stop.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct pull {
    const cli_global *global;
    const mneme_settings *settings;
    const char *name; /* what the model is to be called here */
    cli_hub hub;
    cli_model_place place;
    cli_staging staging;
    cli_progress progress;
    uint64_t sizes[CLI_HUB_FILES_MAX], received[CLI_HUB_FILES_MAX]; /* per file of hub */
    char kind[32];                                                  /* what was opened */
    uint32_t dimension;
} pull;

/* ---- does it load? ---- */

/* The library names the staging folder, which nobody needs to know. */
static void say_refused(const pull *p, const mneme_error *error)
{
    char *prefix = cli_format("model %s: ", p->staging.files), *inside = cli_format("%s/", p->staging.files);
    cli_text text = {0};
    for (const char *at = error->message; *at;) {
        const char *skip = strncmp(at, prefix, strlen(prefix)) == 0   ? prefix
                           : strncmp(at, inside, strlen(inside)) == 0 ? inside
                                                                      : NULL;
        if (skip)
            at += strlen(skip);
        else
            cli_text_byte(&text, *at++);
    }
    cli_complain("%s is no model that can be used: %s", p->hub.model, text.data ? text.data : "");
    cli_text_free(&text);
    free(inside);
    free(prefix);
}

/* Without its weights a model fails to load: with ERR_MODEL naming them when all else is fine (mneme.h). */
static int judge_without_weights(const pull *p)
{
    mneme_error error = {MNEME_OK, ""};
    mneme_status status = cli_model_try(p->settings, p->staging.files, NULL, &error);
    if (status == MNEME_OK || (status == MNEME_ERR_MODEL && strstr(error.message, CLI_WEIGHTS))) return CLI_GO_ON;
    say_refused(p, &error);
    cli_staging_remove(&p->staging);
    return cli_exit_code(status);
}

static int judge_whole(pull *p)
{
    mneme_error error = {MNEME_OK, ""};
    mneme_encoder *encoder = NULL;
    mneme_status status = cli_model_try(p->settings, p->staging.files, &encoder, &error);
    if (status != MNEME_OK) {
        say_refused(p, &error);
        cli_staging_remove(&p->staging);
        return cli_exit_code(status);
    }
    mneme_encoder_info info = mneme_encoder_get_info(encoder);
    snprintf(p->kind, sizeof p->kind, "%s", info.kind);
    p->dimension = info.dimension;
    mneme_encoder_close(encoder);
    return CLI_GO_ON;
}

/* ---- fetching ---- */

static int check_room(const pull *p, uint64_t total)
{
    uint64_t there = 0;
    for (size_t i = 0; i < p->hub.n_files; i++) there += cli_hub_fetched(p->staging.folder, &p->hub.files[i]);
    return there < total ? cli_staging_room(&p->staging, total - there) : CLI_GO_ON;
}

static int fetch_all(pull *p, uint64_t total)
{
    cli_hub_fetch fetch = {.hub = &p->hub, .staging = p->staging.folder, .progress = &p->progress};
    int code = CLI_GO_ON;
    char *label = cli_format("pulling %s", p->name);
    cli_progress_begin(&p->progress, label, "bytes", total);
    for (size_t i = 0; i < p->hub.n_files && code == CLI_GO_ON; i++) {
        if (i == p->hub.n_before_weights) code = judge_without_weights(p);
        if (code == CLI_GO_ON && p->sizes[i] == 0)
            code = cli_hub_fetch_file(&fetch, &p->hub.files[i], &p->sizes[i], &p->received[i]);
        fetch.before += p->sizes[i];
    }
    cli_progress_end(&p->progress);
    free(label);
    return code;
}

/* The index says which files there are to fetch, so it comes before what is known of them: room, progress. */
static int fetch_index(pull *p)
{
    cli_hub_fetch fetch = {.hub = &p->hub, .staging = p->staging.folder, .progress = &p->progress};
    size_t last = p->hub.n_files - 1;
    cli_progress_begin(&p->progress, "pulling " CLI_WEIGHTS_INDEX, "bytes", p->hub.files[last].size);
    int code = cli_hub_fetch_file(&fetch, &p->hub.files[last], &p->sizes[last], &p->received[last]);
    cli_progress_end(&p->progress);
    if (code != CLI_GO_ON) return code;
    code = cli_hub_add_shards(&p->hub, p->staging.files);
    if (code != CLI_GO_ON) cli_staging_remove(&p->staging);
    return code;
}

static int fetch_model(pull *p)
{
    uint64_t total = 0;
    int code = cli_hub_list(&p->hub);
    if (code == CLI_GO_ON) code = cli_staging_open(&p->staging, p->place.home, p->hub.model);
    if (code == CLI_GO_ON && p->hub.sharded) code = fetch_index(p);
    if (code != CLI_GO_ON) return code;
    cli_staging_tidy(&p->staging, &p->hub);
    for (size_t i = 0; i < p->hub.n_files; i++) total += p->hub.files[i].size;
    code = check_room(p, total);
    if (code == CLI_GO_ON) code = fetch_all(p, total);
    if (code == CLI_GO_ON) code = judge_whole(p);
    return code;
}

/* ---- putting in place, and the report ---- */

static int put_in_place(const pull *p)
{
    char reason[600];
    if (!cli_place_folder(p->staging.files, p->place.folder, p->place.replace, reason, sizeof reason)) {
        cli_complain("%s", reason);
        return CLI_EXIT_FAILURE;
    }
    int home = open(p->place.home, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* so that the rename outlives a power cut */
    if (home >= 0) {
        fsync(home);
        close(home);
    }
    cli_staging_remove(&p->staging);
    return CLI_GO_ON;
}

static uint64_t sum(const uint64_t *values, size_t n)
{
    uint64_t total = 0;
    for (size_t i = 0; i < n; i++) total += values[i];
    return total;
}

static void report_json(const pull *p)
{
    json_t *object = json_object(), *files = json_array();
    for (size_t i = 0; i < p->hub.n_files; i++) {
        json_t *file = json_object();
        cli_json_put(file, "name", p->hub.files[i].name);
        cli_json_count(file, "bytes", p->sizes[i]);
        cli_json_count(file, "received", p->received[i]);
        cli_json_put(file, "checked", cli_digest_name(p->hub.files[i].kind));
        json_array_append_new(files, file);
    }
    cli_json_put(object, "name", p->name);
    cli_json_put(object, "path", p->place.folder);
    cli_json_put(object, "model", p->hub.model);
    cli_json_put(object, "revision", p->hub.revision);
    cli_json_put(object, "commit", p->hub.commit);
    cli_json_put(object, "endpoint", p->hub.endpoint);
    cli_json_put(object, "kind", p->kind);
    cli_json_count(object, "dimension", p->dimension);
    cli_json_count(object, "bytes", sum(p->sizes, p->hub.n_files));
    cli_json_count(object, "received", sum(p->received, p->hub.n_files));
    json_object_set_new(object, "files", files);
    cli_print_json(object);
}

/* Files of which the hub gave nothing but the size, or not even that. */
static void say_unchecked(const pull *p)
{
    for (size_t i = 0; i < p->hub.n_files; i++)
        if (p->hub.files[i].kind == CLI_DIGEST_NONE)
            cli_say("%s: %s names no checksum; only its size is checked", p->hub.files[i].name, p->hub.endpoint);
}

static void report(const pull *p)
{
    if (p->global->json)
        report_json(p);
    else
        cli_print("%s\n", p->place.folder);
    say_unchecked(p);
    cli_say(
        "%s at %.12s: %s, %u floats, %zu files of %s, checked; use it with --set encoder.model=%s, or write that into "
        "the settings file",
        p->hub.model, p->hub.commit, p->kind, p->dimension, p->hub.n_files, cli_bytes(sum(p->sizes, p->hub.n_files)),
        p->name);
}

int cli_model_pull(const cli_global *global, const mneme_settings *settings, const char *model,
                   const cli_model_options *options)
{
    pull p = {.global = global, .settings = settings, .staging = {.lock = -1}};
    const char *slash = strrchr(model, '/');
    p.name = options->name ? options->name : slash ? slash + 1 : model;
    int code = cli_hub_open(&p.hub, model, options->revision ? options->revision : "main");
    if (code == CLI_GO_ON) code = cli_model_place_find(settings, p.name, options->force, &p.place);
    if (code == CLI_GO_ON) {
        cli_stop_prepare();
        code = fetch_model(&p);
    }
    if (code == CLI_GO_ON) code = put_in_place(&p);
    if (code == CLI_GO_ON) {
        report(&p);
        code = CLI_EXIT_DONE;
    }
    cli_staging_close(&p.staging);
    cli_model_place_free(&p.place);
    cli_hub_close(&p.hub);
    return code;
}
