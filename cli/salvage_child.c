/* salvage_child.c -- the process that reads a damaged store.
 *
 * Every frame is written at once: what was read before a crash is out by then. */
#include "cli/salvage_child.h"

#include "cli/export_line.h"
#include "cli/output.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

typedef struct child {
    const cli_salvage_work *work;
    mneme *memory;
    cli_text line;
} child;

static uint64_t number_of(const mneme_salvage_place *place)
{
    return (uint64_t)place->name_space << 32 | place->record;
}

/* False: the parent has gone. */
static bool send_frame(const child *c, cli_salvage_kind kind, uint64_t place, const char *data, size_t size)
{
    cli_salvage_frame head = {.kind = (uint64_t)kind, .place = place, .size = size};
    struct iovec parts[2] = {{.iov_base = &head, .iov_len = sizeof head},
                             {.iov_base = (void *)(uintptr_t)data, .iov_len = size}};
    for (size_t i = 0; i < 2;) {
        ssize_t put = writev(c->work->fd, parts + i, (int)(2 - i));
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return false;
        for (size_t left = (size_t)put; i < 2; i++) {
            size_t taken = left < parts[i].iov_len ? left : parts[i].iov_len;
            parts[i].iov_base = (char *)parts[i].iov_base + taken;
            parts[i].iov_len -= taken;
            left -= taken;
            if (parts[i].iov_len > 0) break;
        }
    }
    return true;
}

static void at_place(void *context, const mneme_salvage_place *place)
{
    child *c = context;
    c->work->board->place = *place;
}

static void send_problem(void *context, const char *line)
{
    const child *c = context;
    send_frame(c, CLI_SALVAGE_AGAIN, 0, line, strlen(line));
}

char *cli_salvage_name_of(const cli_salvage_names *names, uint32_t number)
{
    for (size_t i = 0; i < names->n; i++)
        if (names->items[i].number == number) return cli_format("namespace \"%s\"", names->items[i].name);
    return cli_format("namespace number %u", number);
}

static void tell_name(void *context, uint32_t number, const char *name, uint64_t n_records)
{
    const child *c = context;
    send_frame(c, CLI_SALVAGE_COUNT, n_records, NULL, 0);
    send_frame(c, CLI_SALVAGE_NAME, number, name, strlen(name));
}

static void name_record(cli_text *out, const mneme_salvage_place *place, const mneme_record *record)
{
    if (record)
        cli_text_format(out, "record \"%s\" in namespace \"%s\"", record->id,
                        record->name_space ? record->name_space : "");
    else
        cli_text_format(out, "record number %u of namespace number %u", place->record, place->name_space);
}

static bool take_record(void *context, const mneme_salvage_place *place, const mneme_record *record,
                        const char *problem)
{
    child *c = context;
    if (problem) {
        cli_text_clear(&c->line);
        name_record(&c->line, place, record);
        cli_text_format(&c->line, ": %s%s", record ? "" : "lost: ", problem);
        if (!send_frame(c, CLI_SALVAGE_PROBLEM, 0, c->line.data, c->line.size)) return false;
    }
    /* Nothing of it can be used: its id may still be named by what leads to it. */
    if (!record) return problem || send_frame(c, CLI_SALVAGE_SEEN, number_of(place), NULL, 0);
    cli_text_clear(&c->line);
    cli_export_record_line(&c->line, record);
    return send_frame(c, CLI_SALVAGE_RECORD, number_of(place), c->line.data, c->line.size);
}

static void send_header(void *context, const char *name, uint64_t fingerprint, uint32_t dimension)
{
    child *c = context;
    const mneme_stats stats = {.encoder = name, .fingerprint = fingerprint, .dimension = dimension};
    cli_text_clear(&c->line);
    cli_export_header_line(&c->line, &stats);
    send_frame(c, CLI_SALVAGE_HEADER, 0, c->line.data, c->line.size);
}

static int by_number(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return a < b ? -1 : a > b;
}

static bool look_at_id(void *context, uint32_t name_space, uint32_t record, const char *id)
{
    child *c = context;
    const cli_salvage_found *found = c->work->found;
    uint64_t number = (uint64_t)name_space << 32 | record;
    if (found->n && bsearch(&number, found->items, found->n, sizeof number, by_number)) return true;
    cli_text_clear(&c->line);
    char *name = cli_salvage_name_of(c->work->names, name_space);
    cli_text_format(&c->line, "record \"%s\" in %s: lost", id, name);
    free(name);
    return send_frame(c, CLI_SALVAGE_LOST, 0, c->line.data, c->line.size);
}

static mneme_status walk(child *c, mneme_error *error)
{
    const cli_salvage_work *work = c->work;
    mneme_salvage_options options = MNEME_SALVAGE_OPTIONS_INIT;
    options.select = work->salvage->select;
    options.vectors = work->vectors;
    options.encoder = work->header ? send_header : NULL;
    options.name_space = work->from.name_space;
    options.record = work->from.record;
    options.without_first_vectors = work->from.step == MNEME_SALVAGE_VECTORS;
    options.without_namespaces = work->without_namespaces;
    options.only_look = work->task == CLI_SALVAGE_LOOK;
    options.known_namespace = tell_name;
    options.at = at_place;
    options.take = take_record;
    options.damage = send_problem;
    options.context = c;
    return mneme_salvage(c->memory, &options, error);
}

/* No core file, no words of LMDB's, and signals that end the process as they always do. */
static void prepare_to_die(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGINT, SIGTERM};
    const struct rlimit none = {0, 0};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) signal(signals[i], SIG_DFL);
    setrlimit(RLIMIT_CORE, &none);
    int nowhere = open("/dev/null", O_WRONLY);
    if (nowhere >= 0) dup2(nowhere, STDERR_FILENO);
}

_Noreturn void cli_salvage_child(const cli_salvage_work *work)
{
    child c = {.work = work};
    mneme_error error = {MNEME_OK, ""};
    prepare_to_die();
    mneme_status status =
        mneme_open(work->salvage->store, work->salvage->settings, MNEME_OPEN_DAMAGED, &c.memory, &error);
    if (status == MNEME_OK) {
        work->board->opened = true;
        status = work->task == CLI_SALVAGE_IDS ? mneme_salvage_ids(c.memory, look_at_id, &c, &error) : walk(&c, &error);
    }
    bool gave_up =
        work->board->opened && status != MNEME_OK && status != MNEME_ERR_SYNTAX && status != MNEME_ERR_MEMORY;
    if (status != MNEME_OK && !gave_up)
        send_frame(&c, CLI_SALVAGE_FAILED, (uint64_t)(uint32_t)status, error.message, strlen(error.message));
    _exit(gave_up ? CLI_SALVAGE_GAVE_UP : 0); /* nothing of the parent's may be written twice */
}
