/* salvage.c -- getting records out of a damaged store, one child process after another.
 *
 *     walk from A .......... died at B --what was it doing?--> finding the next record: look for the nearest place
 * behind B from which one can be found (in larger steps, then halving) reading B: go on behind B reading B's vectors: B
 * again, without them
 *
 * At the end the ids are gone through: those that lead to no record that was found are named. */
#include "cli/salvage.h"

#include "cli/output.h"
#include "cli/salvage_child.h"
#include "cli/stop.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIECE        65536
#define SILENCE_MS   60000 /* a child that says nothing for so long runs in circles */
#define CHILDREN_MAX 200000

typedef enum outcome { DONE, DIED, FAILED, STOPPED } outcome;

typedef struct run {
    cli_salvage *salvage;
    cli_salvage_board *board;
    cli_salvage_found found;
    cli_salvage_names names;
    uint64_t count;    /* of the namespace that is named next */
    uint64_t lost_ids; /* named */
    cli_list said;     /* what is said once only; owned */
    mneme_salvage_place from;
    bool vectors, has_header, without_namespaces;
    uint64_t children;
    int code; /* for FAILED */
    cli_text words;
} run;

/* ---- what comes through the pipe ---- */

/* size bytes, waiting for them. False: the end, or silence. */
static bool read_all(int fd, void *out, size_t size)
{
    char *at = out;
    while (size > 0) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        int ready = poll(&wait, 1, SILENCE_MS);
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0) return false;
        ssize_t got = read(fd, at, size);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        at += got;
        size -= (size_t)got;
    }
    return true;
}

static void note_found(run *r, uint64_t place)
{
    cli_salvage_found *found = &r->found;
    if (found->n && found->items[found->n - 1] >= place) return; /* again, without its vectors */
    if (found->n == found->capacity) {
        found->capacity = found->capacity ? found->capacity * 2 : 1024;
        found->items = cli_realloc(found->items, found->capacity, sizeof *found->items);
    }
    found->items[found->n++] = place;
}

static void note_name(run *r, uint32_t number, const char *name)
{
    cli_salvage_names *names = &r->names;
    for (size_t i = 0; i < names->n; i++)
        if (names->items[i].number == number) return;
    names->items = cli_realloc(names->items, names->n + 1, sizeof *names->items);
    names->items[names->n].number = number;
    names->items[names->n].n_records = r->count;
    names->items[names->n++].name = cli_strdup(name);
}

static void complain(run *r, const char *words)
{
    cli_complain("%s", words);
    r->salvage->problems++;
}

static void complain_once(run *r, const char *words)
{
    for (size_t i = 0; i < r->said.n; i++)
        if (strcmp(r->said.items[i], words) == 0) return;
    cli_list_add(&r->said, cli_strdup(words));
    complain(r, words);
}

static outcome put_line(run *r)
{
    cli_salvage *salvage = r->salvage;
    if (salvage->put(salvage->context, r->words.data ? r->words.data : "", r->words.size)) return DONE;
    r->code = salvage->put_failed;
    return FAILED;
}

/* A line goes out only once all of it is here. */
static outcome take_frame(run *r, const cli_salvage_frame *head)
{
    const char *data = r->words.data ? r->words.data : "";
    switch (head->kind) {
    case CLI_SALVAGE_HEADER: r->has_header = true; return put_line(r);
    case CLI_SALVAGE_AGAIN: complain_once(r, data); return DONE;
    case CLI_SALVAGE_COUNT: r->count = head->place; return DONE;
    case CLI_SALVAGE_LOST:
        r->lost_ids++;
        complain(r, data);
        return DONE;
    case CLI_SALVAGE_NAME: note_name(r, (uint32_t)head->place, data); return DONE;
    case CLI_SALVAGE_RECORD:
        note_found(r, head->place);
        r->salvage->records++;
        return put_line(r);
    case CLI_SALVAGE_SEEN: note_found(r, head->place); return DONE;
    case CLI_SALVAGE_PROBLEM: complain(r, data); return DONE;
    default: break;
    }
    r->code = cli_exit_code((mneme_status)(int32_t)(uint32_t)head->place);
    cli_complain("%s", data);
    return FAILED;
}

static outcome listen_to(run *r, int fd)
{
    cli_salvage_frame head;
    outcome result = DONE;
    while (result == DONE && read_all(fd, &head, sizeof head)) {
        cli_text_clear(&r->words);
        cli_text_reserve(&r->words, head.size < PIECE ? (size_t)head.size : PIECE);
        for (uint64_t left = head.size; left > 0;) {
            char piece[PIECE];
            size_t size = left < PIECE ? (size_t)left : PIECE;
            if (!read_all(fd, piece, size)) return DIED;
            cli_text_append(&r->words, piece, size);
            left -= size;
        }
        result = take_frame(r, &head);
        if (cli_stop_asked()) result = STOPPED;
    }
    return result;
}

/* ---- children ---- */

static outcome system_failed(run *r, const char *what)
{
    cli_complain("cannot %s: %s", what, strerror(errno));
    r->code = CLI_EXIT_FAILURE;
    return FAILED;
}

static outcome run_child(run *r, cli_salvage_task task)
{
    int ends[2], status = 0;
    if (++r->children > CHILDREN_MAX) {
        complain(r, "the store is damaged in too many places; this is as far as it goes");
        return STOPPED;
    }
    if (pipe2(ends, O_CLOEXEC) != 0) return system_failed(r, "make a pipe");
    *r->board = (cli_salvage_board){0};
    pid_t child = fork();
    if (child == 0) {
        const cli_salvage_work work = {.salvage = r->salvage,
                                       .task = task,
                                       .from = r->from,
                                       .vectors = r->vectors,
                                       .header = r->vectors && !r->has_header,
                                       .without_namespaces = r->without_namespaces,
                                       .found = &r->found,
                                       .names = &r->names,
                                       .board = r->board,
                                       .fd = ends[1]};
        close(ends[0]);
        cli_salvage_child(&work);
    }
    close(ends[1]);
    outcome result = child < 0 ? system_failed(r, "start a process") : listen_to(r, ends[0]);
    close(ends[0]);
    if (child < 0) return result;
    /* Whoever is still at it has nothing more to say. */
    pid_t ended = waitpid(child, &status, WNOHANG);
    for (int wait = 0; ended == 0 && result == DONE && wait < 200; wait++) {
        usleep(1000);
        ended = waitpid(child, &status, WNOHANG);
    }
    if (ended == 0) {
        kill(child, SIGKILL);
        while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    }
    bool clean = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    return result == DONE && !clean ? DIED : result;
}

/* ---- going on after a death ---- */

static uint64_t number_of(const mneme_salvage_place *place)
{
    return (uint64_t)place->name_space << 32 | place->record;
}

static void go_to(run *r, uint64_t number)
{
    r->from = (mneme_salvage_place){MNEME_SALVAGE_NEXT, (uint32_t)(number >> 32), (uint32_t)number};
}

/* Records [first, behind) are lost; behind = 0: all from there on. */
static void say_unreachable(run *r, uint64_t first, uint64_t behind)
{
    uint64_t last = behind - 1;
    char *from = cli_salvage_name_of(&r->names, (uint32_t)(first >> 32));
    char *to = cli_salvage_name_of(&r->names, (uint32_t)(last >> 32)), *words;
    if (behind == 0)
        words = cli_format("records from number %u in %s on cannot be reached", (uint32_t)first, from);
    else if (first >> 32 == last >> 32)
        words = cli_format("records number %u to %u in %s cannot be reached", (uint32_t)first, (uint32_t)last, from);
    else
        words = cli_format("records from number %u in %s to number %u in %s cannot be reached", (uint32_t)first, from,
                           (uint32_t)last, to);
    complain(r, words);
    free(words);
    free(from);
    free(to);
}

/* From `bad` on no record can be found. The nearest place behind it from which one can: it becomes r->from. STOPPED:
 * there is none. */
static outcome find_way_on(run *r, uint64_t bad)
{
    uint64_t low = bad, high = 0;
    outcome result = DIED;
    for (uint64_t step = 1; result == DIED && step; step *= 2) {
        high = bad + step < bad ? UINT64_MAX : bad + step;
        go_to(r, high);
        result = run_child(r, CLI_SALVAGE_LOOK);
        if (result == DIED) low = high;
        if (high == UINT64_MAX) break;
    }
    if (result == DIED) {
        say_unreachable(r, bad, 0);
        return STOPPED;
    }
    while (result != FAILED && high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        go_to(r, middle);
        result = run_child(r, CLI_SALVAGE_LOOK);
        if (result == DIED)
            low = middle;
        else if (result == DONE)
            high = middle;
        else
            return result;
    }
    if (result == FAILED) return FAILED;
    say_unreachable(r, bad, high);
    go_to(r, high);
    return DONE;
}

static outcome go_on(run *r)
{
    const mneme_salvage_place place = r->board->place;
    uint64_t number = number_of(&place);
    char *words, *name;
    switch (place.step) {
    case MNEME_SALVAGE_ENCODER:
        complain(r, "which encoder made the vectors cannot be read: they are left out");
        r->vectors = false;
        return DONE;
    case MNEME_SALVAGE_NAMESPACES:
        complain(r, "the list of namespaces cannot be read");
        r->without_namespaces = true;
        return DONE;
    case MNEME_SALVAGE_VECTORS: r->from = place; return DONE;
    case MNEME_SALVAGE_RECORD:
        name = cli_salvage_name_of(&r->names, place.name_space);
        words = cli_format("record number %u in %s: lost: LMDB fails at it", place.record, name);
        complain(r, words);
        free(name);
        free(words);
        if (number == UINT64_MAX) return STOPPED;
        go_to(r, number + 1);
        return DONE;
    case MNEME_SALVAGE_NEXT: return find_way_on(r, number);
    }
    /* It died before the first step. */
    cli_complain("%s/data.mdb is so damaged that LMDB cannot open it; nothing can be read", r->salvage->store);
    r->code = CLI_EXIT_FAILURE;
    return FAILED;
}

static void look_for_lost_ids(run *r)
{
    uint64_t expected = 0;
    if (run_child(r, CLI_SALVAGE_IDS) == DIED)
        complain(r, "the ids cannot be read to their end: more records may be lost");
    for (size_t i = 0; i < r->names.n; i++) expected += r->names.items[i].n_records;
    uint64_t known = r->found.n + r->lost_ids;
    if (expected <= known) return;
    char *words =
        cli_format("%llu more records are lost, whose ids cannot be read", (unsigned long long)(expected - known));
    complain(r, words);
    free(words);
}

static int salvage_all(run *r)
{
    outcome result = DIED;
    while (result == DIED) {
        result = run_child(r, CLI_SALVAGE_WALK);
        if (!r->has_header && r->board->place.step != MNEME_SALVAGE_ENCODER) r->vectors = false;
        outcome way = result == DIED ? go_on(r) : DONE;
        if (way != DONE) result = way;
    }
    if (result == FAILED) return r->code;
    if (cli_stop_asked()) return cli_stop_code();
    look_for_lost_ids(r);
    return CLI_GO_ON;
}

int cli_salvage_run(cli_salvage *salvage)
{
    run r = {.salvage = salvage, .vectors = salvage->vectors};
    r.board = mmap(NULL, sizeof *r.board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (r.board == MAP_FAILED) {
        system_failed(&r, "share memory with a process");
        return r.code;
    }
    int code = salvage_all(&r);
    munmap(r.board, sizeof *r.board);
    for (size_t i = 0; i < r.names.n; i++) free(r.names.items[i].name);
    free(r.names.items);
    for (size_t i = 0; i < r.said.n; i++) free((char *)(uintptr_t)r.said.items[i]);
    cli_list_free(&r.said);
    free(r.found.items);
    cli_text_free(&r.words);
    return code;
}
