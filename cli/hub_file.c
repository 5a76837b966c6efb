/* hub_file.c -- fetching one file: going on where it broke off, and checking it.
 *
 * Two things keep parts of different versions apart. The note beside a .part names the digest that the whole must have:
 * when the hub now names another, the part is dropped. And a continued request carries If-Range with the ETag of the
 * first part, so that a server whose file has changed sends the new one from its start. What comes out is held against
 * the digest in any case. */
#include "cli/hub_file.h"

#include "cli/arguments.h"
#include "cli/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct download {
    const cli_hub_fetch *fetch;
    cli_hub_file *file;
    char *part, *note, *whole; /* paths; owned */
    int fd;                    /* of the part */
    uint64_t have, received;   /* bytes in the part; of them, over the network */
    char etag[160];            /* under which the part came; "" = none */
    cli_http_request request;
    char problem[400]; /* why begin or take said no */
} download;

/* ---- the part and its note ---- */

static bool fail(download *d, const char *what, const char *path)
{
    snprintf(d->problem, sizeof d->problem, "cannot %s %s: %s", what, path, strerror(errno));
    return false;
}

static char *staged_path(const char *staging, const char *name, const char *end)
{
    char *base = cli_strdup(name);
    for (char *slash = strchr(base, '/'); slash; slash = strchr(slash, '/')) *slash = '-';
    char *path = cli_format("%s/%s%s", staging, base, end);
    free(base);
    return path;
}

static char *whole_path(const char *staging, const char *name)
{
    return cli_format("%s/" CLI_STAGING_FILES "/%s", staging, name);
}

static uint64_t file_size(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0 && S_ISREG(info.st_mode) ? (uint64_t)info.st_size : 0;
}

uint64_t cli_hub_fetched(const char *staging, const cli_hub_file *file)
{
    char *whole = whole_path(staging, file->name), *part = staged_path(staging, file->name, ".part");
    uint64_t size = access(whole, F_OK) == 0 ? file_size(whole) : file_size(part);
    free(part);
    free(whole);
    return size;
}

static void drop_part(const download *d)
{
    unlink(d->part);
    unlink(d->note);
}

/* Does the note say that the part belongs to the file as the hub has it now? Fills d->etag. */
static bool note_agrees(download *d)
{
    char digest[CLI_DIGEST_TEXT + 1] = "";
    FILE *file = fopen(d->note, "r");
    if (!file) return false;
    bool read = fgets(digest, sizeof digest, file) && fgets(d->etag, sizeof d->etag, file);
    fclose(file);
    digest[strcspn(digest, "\n")] = d->etag[strcspn(d->etag, "\n")] = '\0';
    return read && strcmp(digest, d->file->digest) == 0 && (digest[0] || d->etag[0]);
}

static bool write_note(download *d)
{
    FILE *file = fopen(d->note, "w");
    if (!file) return fail(d, "write", d->note);
    bool fine = fprintf(file, "%s\n%s\n", d->file->digest, d->etag) > 0;
    return (fclose(file) == 0 && fine) || fail(d, "write", d->note);
}

static bool restart_part(download *d)
{
    d->have = d->received = 0;
    return ftruncate(d->fd, 0) == 0 || fail(d, "write", d->part);
}

static bool open_part(download *d)
{
    if (!note_agrees(d)) {
        drop_part(d);
        d->etag[0] = '\0';
    }
    d->fd = open(d->part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (d->fd < 0) return fail(d, "write", d->part);
    d->have = file_size(d->part);
    return !d->file->has_size || d->have <= d->file->size || restart_part(d);
}

/* ---- taking the answer ---- */

/* Where the listing names no digest, the answer may: X-Linked-ETag (files in LFS), else ETag. */
static void adopt_digest(cli_hub_file *file, const cli_http_answer *answer)
{
    if (file->kind != CLI_DIGEST_NONE) return;
    const char *etag = answer->linked_etag[0] ? answer->linked_etag : answer->etag;
    if (strncmp(etag, "W/", 2) == 0) etag += 2;
    size_t size = strcspn(etag + (etag[0] == '"'), "\"");
    char *text = cli_strndup(etag + (etag[0] == '"'), size);
    file->kind = cli_digest_kind(text);
    if (file->kind != CLI_DIGEST_NONE) memcpy(file->digest, text, size + 1);
    free(text);
}

static bool begin(void *context, const cli_http_answer *answer)
{
    download *d = context;
    const cli_hub *hub = d->fetch->hub;
    if (answer->commit[0] && strcmp(answer->commit, hub->commit) != 0) {
        snprintf(d->problem, sizeof d->problem, "%s: %s sent %s of commit %.40s, not %.40s", hub->model, hub->endpoint,
                 d->file->name, answer->commit, hub->commit);
        return false;
    }
    if (answer->ranged && answer->range_start == d->have && d->have > 0) return true;
    if (answer->status == 206) {
        snprintf(d->problem, sizeof d->problem, "%s: %s sent a part of %s that was not asked for", hub->model,
                 hub->endpoint, d->file->name);
        return false;
    }
    adopt_digest(d->file, answer);
    snprintf(d->etag, sizeof d->etag, "%s", answer->etag);
    return restart_part(d) && write_note(d);
}

static bool take(void *context, const void *data, size_t size)
{
    download *d = context;
    const cli_hub_file *file = d->file;
    uint64_t most = file->has_size ? file->size : file->max_bytes;
    if (size > most - d->have) {
        snprintf(d->problem, sizeof d->problem, "%s: %s is longer than the %llu bytes %s: thrown away",
                 d->fetch->hub->model, file->name, (unsigned long long)most,
                 file->has_size ? "that the hub lists" : "that are taken");
        restart_part(d);
        return false;
    }
    for (size_t at = 0; at < size;) {
        ssize_t wrote = pwrite(d->fd, (const char *)data + at, size - at, (off_t)d->have);
        if (wrote < 0) return fail(d, "write", d->part);
        at += (size_t)wrote;
        d->have += (uint64_t)wrote;
    }
    d->received += size;
    cli_progress_update(d->fetch->progress, d->fetch->before + d->have);
    return true;
}

static uint64_t prepare(void *context, const cli_http_answer *before)
{
    download *d = context;
    /* 416: the server's file ends before what is here does. */
    if (before && before->status == 416) restart_part(d);
    d->request.if_range = d->etag[0] == '"' ? d->etag : NULL; /* a weak ETag does not stand for bytes */
    return d->have;
}

/* ---- checking ---- */

/* Hold a file against what the hub says of it. False: *wrong is set when the content is, d->problem says why. */
static bool check(download *d, const char *path, bool *wrong)
{
    const cli_hub_file *file = d->file;
    char digest[CLI_DIGEST_TEXT];
    uint64_t size = file_size(path);
    *wrong = file->has_size && size != file->size;
    if (*wrong) {
        snprintf(d->problem, sizeof d->problem,
                 "%s: %s has %llu bytes instead of the %llu that the hub lists: thrown away", d->fetch->hub->model,
                 file->name, (unsigned long long)size, (unsigned long long)file->size);
        return false;
    }
    if (file->kind == CLI_DIGEST_NONE) return true;
    if (!cli_digest_file(path, file->kind, digest, d->problem, sizeof d->problem)) return false;
    *wrong = strcmp(digest, file->digest) != 0;
    if (*wrong)
        snprintf(d->problem, sizeof d->problem, "%s: %s has the %s %.12s... instead of %.12s...: thrown away",
                 d->fetch->hub->model, file->name, cli_digest_name(file->kind), digest, file->digest);
    return !*wrong;
}

/* From the part to the whole file, on the disk before it gets its name. */
static bool finish(download *d)
{
    char *slash = strrchr(d->whole, '/');
    *slash = '\0';
    bool fine = mkdir(d->whole, 0777) == 0 || errno == EEXIST || fail(d, "make", d->whole);
    *slash = '/';
    fine = fine && (fsync(d->fd) == 0 || fail(d, "write", d->part));
    fine = fine && (rename(d->part, d->whole) == 0 || fail(d, "make", d->whole));
    unlink(d->note);
    return fine;
}

static int receive(download *d)
{
    cli_http_answer answer;
    int code = CLI_GO_ON;
    bool wrong = false;
    d->request = (cli_http_request){.max_bytes = d->file->max_bytes, .begin = begin, .take = take, .context = d};
    if (!d->file->has_size || d->have != d->file->size || d->have == 0)
        code = cli_hub_get(d->fetch->hub, d->file->name, &d->request, prepare, &answer);
    if (code == CLI_GO_ON && check(d, d->part, &wrong) && finish(d)) return CLI_GO_ON;
    if (wrong) drop_part(d);
    if (d->problem[0]) cli_complain("%s", d->problem);
    return code == CLI_GO_ON || code == CLI_HUB_TAKER ? CLI_EXIT_FAILURE : code;
}

int cli_hub_fetch_file(const cli_hub_fetch *fetch, cli_hub_file *file, uint64_t *size, uint64_t *received)
{
    download d = {.fetch = fetch, .file = file, .fd = -1};
    d.part = staged_path(fetch->staging, file->name, ".part");
    d.note = staged_path(fetch->staging, file->name, ".note");
    d.whole = whole_path(fetch->staging, file->name);
    int code = CLI_GO_ON;
    bool wrong = false;
    bool there = access(d.whole, F_OK) == 0 && file->kind != CLI_DIGEST_NONE && check(&d, d.whole, &wrong);
    if (!there) {
        unlink(d.whole);
        d.problem[0] = '\0';
        if (open_part(&d))
            code = receive(&d);
        else
            code = CLI_EXIT_FAILURE, cli_complain("%s", d.problem);
    }
    *size = code == CLI_GO_ON ? file_size(d.whole) : 0;
    *received = d.received;
    if (d.fd >= 0) close(d.fd);
    free(d.whole);
    free(d.note);
    free(d.part);
    return code;
}
