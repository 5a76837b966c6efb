/* hub.c -- a model hub in the Hugging Face layout. File names come from the table below: what a server calls its files
 * is compared with it and never used as a path. */
#include "cli/hub.h"

#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/stop.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HUB_DEFAULT_ENDPOINT "https://huggingface.co"

enum { REPEATS_MAX = 3, ATTEMPTS_MAX = 100 };

#define MEGABYTE    ((uint64_t)1 << 20)
#define LISTING_MAX (16 * MEGABYTE)
#define WEIGHTS_MAX (16384 * MEGABYTE)

/* What the encoder reads (encoder/model_config.h, tokenizer_settings.h), but for the weights, which are fetched last:
 * what comes before them says whether they are worth it. */
static const struct {
    const char *name;
    uint64_t max_bytes;
} files_read[] = {
    {"config.json", MEGABYTE},
    {"tokenizer_config.json", MEGABYTE},
    {"special_tokens_map.json", MEGABYTE},
    {"modules.json", MEGABYTE},
    {"sentence_bert_config.json", MEGABYTE},
    {"config_sentence_transformers.json", MEGABYTE},
    {"1_Pooling/config.json", MEGABYTE},
    {"vocab.txt", 64 * MEGABYTE},
    {"tokenizer.json", 64 * MEGABYTE},
};
#define N_FILES_READ (sizeof files_read / sizeof *files_read)
_Static_assert(N_FILES_READ + 1 + CLI_SHARDS_MAX <= CLI_HUB_FILES_MAX, "a hub's files have room for the table");

/* ---- opening ---- */

/* "name" or "org/name" of letters, digits, '.', '_' and '-', no part beginning with '.' or '-'. */
static bool plausible_name(const char *name)
{
    size_t parts = 0;
    for (const char *at = name;; at++) {
        size_t size = strspn(at, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
        if (size == 0 || size > 96 || at[0] == '.' || at[0] == '-' || ++parts > 2) return false;
        at += size;
        if (!*at) return true;
        if (*at != '/') return false;
    }
}

/* The token goes into a header: printable and without blanks, so that it cannot add lines of its own. */
static bool plausible_token(const char *token)
{
    for (; *token; token++)
        if (*token <= ' ' || *token > '~') return false;
    return true;
}

int cli_hub_open(cli_hub *hub, const char *model, const char *revision)
{
    *hub = (cli_hub){.model = model, .revision = revision};
    const char *endpoint = getenv("HF_ENDPOINT"), *token = getenv("HF_TOKEN");
    if (!endpoint || !*endpoint) endpoint = HUB_DEFAULT_ENDPOINT;
    if (!plausible_name(model))
        return cli_usage_error(&cli_command_model, "pull '%s': expected a model's name on the hub, as in org/name",
                               model);
    if (!*revision || strlen(revision) > 200)
        return cli_usage_error(&cli_command_model, "--revision '%.40s': expected a branch, a tag or a commit",
                               revision);
    if ((strncasecmp(endpoint, "https://", 8) != 0 && strncasecmp(endpoint, "http://", 7) != 0) ||
        strpbrk(endpoint, "?#@ \t\r\n"))
        return cli_usage_error(&cli_command_model, "$HF_ENDPOINT '%s': expected an address, as in %s", endpoint,
                               HUB_DEFAULT_ENDPOINT);
    if (token && !plausible_token(token))
        return cli_usage_error(&cli_command_model, "$HF_TOKEN: holds a character that no token has");
    hub->token = token && *token ? token : NULL;
    hub->endpoint = cli_strdup(endpoint);
    for (size_t size = strlen(hub->endpoint); size > 0 && hub->endpoint[size - 1] == '/';) hub->endpoint[--size] = '\0';
    return CLI_GO_ON;
}

void cli_hub_close(cli_hub *hub)
{
    free(hub->endpoint);
    cli_shard_names_free(&hub->shards);
    json_decref(hub->listing);
    *hub = (cli_hub){0};
}

/* ---- requests ---- */

static bool worth_repeating(cli_http_result result, const cli_http_answer *answer)
{
    if (result == CLI_HTTP_BROKEN) return true;
    long status = answer->status;
    return result == CLI_HTTP_DONE && (status >= 500 || status == 429 || status == 408 || status == 416);
}

static int say_denied(const cli_hub *hub, const cli_http_answer *answer)
{
    if (strcmp(answer->error_code, "GatedRepo") == 0)
        cli_complain("%s is gated: accept its terms at %s/%s, then set HF_TOKEN to a token of that account%s",
                     hub->model, hub->endpoint, hub->model, hub->token ? " (the one that is set has no access)" : "");
    else if (hub->token)
        cli_complain("%s does not give %s to the token in HF_TOKEN (%ld): it is wrong, or there is no such model",
                     hub->endpoint, hub->model, answer->status);
    else
        cli_complain("%s is not there, or private: %s wants a token (%ld); check the name, or set HF_TOKEN", hub->model,
                     hub->endpoint, answer->status);
    return CLI_EXIT_USAGE;
}

static int say_missing(const cli_hub *hub, const char *file, const cli_http_answer *answer)
{
    if (strcmp(answer->error_code, "RevisionNotFound") == 0)
        cli_complain("%s has no revision %s at %s", hub->model, hub->revision, hub->endpoint);
    else if (file)
        cli_complain("%s: %s lists %s but does not have it (404)", hub->model, hub->endpoint, file);
    else
        cli_complain("there is no model %s, revision %s, at %s", hub->model, hub->revision, hub->endpoint);
    return file ? CLI_EXIT_FAILURE : CLI_EXIT_NO;
}

static int say_status(const cli_hub *hub, const char *file, const cli_http_answer *answer, unsigned attempts)
{
    if (answer->status == 401 || answer->status == 403) return say_denied(hub, answer);
    if (answer->status == 404) return say_missing(hub, file, answer);
    if (attempts > 1)
        cli_complain("%s answers %ld to %s, %u times: try again later", hub->endpoint, answer->status,
                     file ? file : hub->model, attempts);
    else
        cli_complain("%s answers %ld to %s", hub->endpoint, answer->status, file ? file : hub->model);
    return CLI_EXIT_FAILURE;
}

static int conclude(const cli_hub *hub, const char *file, cli_http_result result, const cli_http_answer *answer,
                    const char *reason, unsigned attempts)
{
    switch (result) {
    case CLI_HTTP_DONE:
        return answer->status == 200 || answer->status == 206 ? CLI_GO_ON : say_status(hub, file, answer, attempts);
    case CLI_HTTP_TAKER: return CLI_HUB_TAKER;
    case CLI_HTTP_STOPPED: return cli_stop_code();
    case CLI_HTTP_BROKEN:
        cli_complain("%s (tried %u times)%s", reason, attempts,
                     file ? "; what has come is kept, the same command goes on from there" : "");
        return CLI_EXIT_FAILURE;
    default: cli_complain("%s", reason); return CLI_EXIT_FAILURE;
    }
}

int cli_hub_get(const cli_hub *hub, const char *file, cli_http_request *request, cli_hub_prepare prepare,
                cli_http_answer *answer)
{
    char reason[600];
    char *revision = cli_url_part(hub->revision);
    char *url = file ? cli_format("%s/%s/resolve/%s/%s", hub->endpoint, hub->model, hub->commit, file)
                     : cli_format("%s/api/models/%s/revision/%s?blobs=true", hub->endpoint, hub->model, revision);
    request->url = url;
    request->token = hub->token;
    cli_http_result result = CLI_HTTP_STOPPED;
    unsigned attempts = 0, repeats = 0;
    for (bool again = true; again;) {
        uint64_t from = prepare ? prepare(request->context, attempts ? answer : NULL) : 0;
        if (from > request->from) repeats = 0;
        request->from = from;
        result = cli_http_get(request, answer, reason, sizeof reason);
        attempts++;
        again = worth_repeating(result, answer) && repeats++ < REPEATS_MAX && attempts < ATTEMPTS_MAX;
        if (again && !cli_http_wait(repeats, answer->retry_after)) again = false, result = CLI_HTTP_STOPPED;
    }
    int code = conclude(hub, file, result, answer, reason, attempts);
    free(url);
    free(revision);
    return code;
}

/* ---- the listing ---- */

static bool clear_listing(void *context, const cli_http_answer *answer)
{
    (void)answer;
    cli_text_clear(context);
    return true;
}

static bool take_listing(void *context, const void *data, size_t size)
{
    cli_text_append(context, data, size);
    return true;
}

/* What the hub says about one file; a size or a digest that is not one counts as not said. */
static void describe_file(cli_hub_file *file, const json_t *entry)
{
    const json_t *lfs = json_object_get(entry, "lfs");
    const json_t *size = json_object_get(json_is_object(lfs) ? lfs : entry, "size");
    if (!json_is_integer(size)) size = json_object_get(entry, "size");
    file->has_size = json_is_integer(size) && json_integer_value(size) >= 0;
    file->size = file->has_size ? (uint64_t)json_integer_value(size) : 0;
    /* The blobId of a file in LFS is that of the pointer which git keeps. */
    const char *digest =
        json_string_value(json_is_object(lfs) ? json_object_get(lfs, "sha256") : json_object_get(entry, "blobId"));
    file->kind = digest ? cli_digest_kind(digest) : CLI_DIGEST_NONE;
    if (file->kind != CLI_DIGEST_NONE) memcpy(file->digest, digest, strlen(digest) + 1);
}

static const json_t *find_entry(const json_t *siblings, const char *name)
{
    for (size_t i = 0; i < json_array_size(siblings); i++) {
        const json_t *entry = json_array_get(siblings, i);
        const char *file = json_string_value(json_object_get(entry, "rfilename"));
        if (file && strcmp(file, name) == 0) return entry;
    }
    return NULL;
}

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), end_size = strlen(end);
    return size >= end_size && strcmp(text + size - end_size, end) == 0;
}

/* The first file whose name, without its folder, begins and ends so; "" when there is none. Shown, never opened. */
static const char *find_like(const json_t *siblings, const char *start, const char *end)
{
    for (size_t i = 0; i < json_array_size(siblings); i++) {
        const char *file = json_string_value(json_object_get(json_array_get(siblings, i), "rfilename"));
        if (!file) continue;
        const char *slash = strrchr(file, '/'), *base = slash ? slash + 1 : file;
        if (strncmp(base, start, strlen(start)) == 0 && ends_with(base, end)) return file;
    }
    return "";
}

/* Why there is neither model.safetensors nor an index, in terms of what there is. */
static int refuse_weights(const cli_hub *hub, const json_t *siblings)
{
    const char *shard = find_like(siblings, "model-", ".safetensors"), *other = find_like(siblings, "", ".bin");
    if (!*other) other = find_like(siblings, "", ".onnx");
    if (!*other) other = find_like(siblings, "", ".safetensors");
    if (*shard)
        cli_complain("%s keeps its weights in several files (%.80s, ...) but has no " CLI_WEIGHTS_INDEX, hub->model,
                     shard);
    else if (*other)
        cli_complain("%s has no " CLI_WEIGHTS ", only %.80s, which is not read", hub->model, other);
    else
        cli_complain("%s has no " CLI_WEIGHTS ": it is no model that can be read", hub->model);
    return CLI_EXIT_USAGE;
}

/* False: said on stderr. Nothing is added where the hub does not list it. */
static bool add_file(cli_hub *hub, const char *name, uint64_t max_bytes)
{
    const json_t *entry = find_entry(json_object_get(hub->listing, "siblings"), name);
    if (!entry) return true;
    cli_hub_file *file = &hub->files[hub->n_files++];
    *file = (cli_hub_file){.name = name, .max_bytes = max_bytes};
    describe_file(file, entry);
    if (file->size <= max_bytes) return true;
    cli_complain("%s: %s has %s, more than the %s that are taken", hub->model, name, cli_bytes(file->size),
                 cli_bytes(max_bytes));
    return false;
}

static int choose_files(cli_hub *hub, const json_t *siblings)
{
    for (size_t i = 0; i < N_FILES_READ; i++)
        if (!add_file(hub, files_read[i].name, files_read[i].max_bytes)) return CLI_EXIT_USAGE;
    hub->n_before_weights = hub->n_files;
    if (!find_entry(siblings, "config.json")) {
        cli_complain("%s has no config.json: it is no model that can be read", hub->model);
        return CLI_EXIT_USAGE;
    }
    if (find_entry(siblings, CLI_WEIGHTS)) return add_file(hub, CLI_WEIGHTS, WEIGHTS_MAX) ? CLI_GO_ON : CLI_EXIT_USAGE;
    if (!find_entry(siblings, CLI_WEIGHTS_INDEX)) return refuse_weights(hub, siblings);
    hub->sharded = true;
    if (!add_file(hub, CLI_WEIGHTS_INDEX, MEGABYTE)) return CLI_EXIT_USAGE;
    hub->n_before_weights = hub->n_files;
    return CLI_GO_ON;
}

int cli_hub_add_shards(cli_hub *hub, const char *folder)
{
    char reason[400];
    if (!cli_shard_names_read(folder, &hub->shards, reason, sizeof reason)) {
        cli_complain("%s: %s", hub->model, reason);
        return CLI_EXIT_USAGE;
    }
    for (size_t i = 0; i < hub->shards.n; i++) {
        size_t before = hub->n_files;
        if (!add_file(hub, hub->shards.items[i], WEIGHTS_MAX)) return CLI_EXIT_USAGE;
        if (hub->n_files > before) continue;
        cli_complain("%s: " CLI_WEIGHTS_INDEX " names %s, which %s does not list", hub->model, hub->shards.items[i],
                     hub->endpoint);
        return CLI_EXIT_USAGE;
    }
    return CLI_GO_ON;
}

static int read_listing(cli_hub *hub, const cli_text *text)
{
    json_error_t problem;
    json_t *listing = json_loadb(text->data ? text->data : "", text->size, 0, &problem);
    const char *commit = json_string_value(json_object_get(listing, "sha"));
    const json_t *siblings = json_object_get(listing, "siblings");
    int code = CLI_EXIT_FAILURE;
    if (!listing)
        cli_complain("%s: the list of files of %s is not JSON (line %d: %s)", hub->endpoint, hub->model, problem.line,
                     problem.text);
    else if (!commit || cli_digest_kind(commit) == CLI_DIGEST_NONE || !json_is_array(siblings))
        cli_complain("%s: the list of files of %s lacks \"sha\" (a commit) or \"siblings\" (files)", hub->endpoint,
                     hub->model);
    else {
        memcpy(hub->commit, commit, strlen(commit) + 1);
        json_decref(hub->listing);
        hub->listing = json_incref(listing);
        code = choose_files(hub, siblings);
    }
    json_decref(listing);
    return code;
}

int cli_hub_list(cli_hub *hub)
{
    cli_text text = {0};
    cli_http_answer answer;
    cli_http_request request = {
        .max_bytes = LISTING_MAX, .begin = clear_listing, .take = take_listing, .context = &text};
    hub->n_files = 0;
    hub->sharded = false;
    int code = cli_hub_get(hub, NULL, &request, NULL, &answer);
    if (code == CLI_GO_ON) code = read_listing(hub, &text);
    cli_text_free(&text);
    return code;
}
