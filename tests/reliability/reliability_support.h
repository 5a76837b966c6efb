/* reliability_support.h -- what the tests of durability and faults share: random numbers with a printed seed, records
 * that can be made again from their number and version, handles that need no model, and children that may crash.
 *
 * Every record has a vector of its own, so no encoder is loaded. */
#ifndef MN_TESTS_RELIABILITY_SUPPORT_H
#define MN_TESTS_RELIABILITY_SUPPORT_H

#include "test_support.h"

#include <math.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { REL_DIM = 24 };

/* The long forms (scripts/reliability, scripts/test --long). */
static inline bool rel_long(void)
{
    return getenv("MNEME_TEST_LONG") != NULL;
}

static inline int64_t rel_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static inline void rel_sleep_us(int64_t us)
{
    struct timespec time = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    while (nanosleep(&time, &time) != 0) continue;
}

/* splitmix64 (Steele, Lea and Flood 2014). */
static inline uint64_t rel_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static inline uint64_t rel_below(uint64_t *state, uint64_t n)
{
    return rel_random(state) % n;
}

/* $MNEME_TEST_SEED, else another one each time; printed. */
static inline uint64_t rel_seed(void)
{
    const char *given = getenv("MNEME_TEST_SEED");
    uint64_t seed =
        given ? strtoull(given, NULL, 10) : ((uint64_t)rel_now_us() ^ ((uint64_t)getpid() << 20)) % 1000000000;
    printf("MNEME_TEST_SEED=%llu\n", (unsigned long long)seed);
    fflush(stdout);
    return seed;
}

/* ---- records ---- */

/* The record `number` in its `version`: everything in it follows from the two. */
typedef struct rel_record {
    mneme_record record; /* points into this struct */
    char id[24], session[24], metadata[64], *text;
    float vector[REL_DIM];
} rel_record;

static inline void rel_record_make(rel_record *out, uint32_t number, uint32_t version)
{
    static const char *const words[] = {"lighthouse", "pier",   "snow", "harbour", "keeper", "lantern", "gull", "storm",
                                        "rope",       "anchor", "tide", "captain", "chart",  "sail",    "fog",  "bell"};
    uint64_t state = ((uint64_t)version << 32 | number) * 2 + 1;
    /* A few texts are long, in several parts: 64 KiB is one part. */
    size_t n_words = rel_below(&state, 40) == 0 ? 12000 : 5 + rel_below(&state, 60), size = 0;
    snprintf(out->id, sizeof out->id, "record-%u", number);
    snprintf(out->session, sizeof out->session, "session-%u", number % 7);
    snprintf(out->metadata, sizeof out->metadata, "{\"number\":%u,\"version\":%u}", number, version);
    out->text = malloc(n_words * 12 + 80);
    size += (size_t)sprintf(out->text, "Record %u in version %u.", number, version);
    for (size_t i = 0; i < n_words; i++) size += (size_t)sprintf(out->text + size, " %s", words[rel_below(&state, 16)]);
    double squares = 0;
    for (int i = 0; i < REL_DIM; i++) {
        out->vector[i] = (float)((double)rel_below(&state, 2001) / 1000.0 - 1.0);
        squares += (double)out->vector[i] * (double)out->vector[i];
    }
    if (squares < 1e-3) out->vector[0] = 1;
    out->record = (mneme_record){.id = out->id,
                                 .text = out->text,
                                 .text_size = size,
                                 .session = number % 3 ? out->session : NULL,
                                 .metadata = out->metadata,
                                 .has_time = true,
                                 .time_ms = (int64_t)number * 1000 + version,
                                 .vector = out->vector,
                                 .dimension = REL_DIM};
}

static inline void rel_record_free(rel_record *record)
{
    free(record->text);
    record->text = NULL;
}

/* Add the records first .. first + n - 1 in `version`, in one call. */
static inline mneme_status rel_add(mneme *memory, uint32_t first, uint32_t n, uint32_t version, mneme_error *error)
{
    rel_record *made = calloc(n, sizeof *made);
    mneme_record *records = calloc(n, sizeof *records);
    for (uint32_t i = 0; i < n; i++) {
        rel_record_make(&made[i], first + i, version);
        records[i] = made[i].record;
    }
    mneme_add_options options = MNEME_ADD_OPTIONS_INIT;
    options.strict = true;
    mneme_status status = mneme_add(memory, records, n, &options, NULL, error);
    for (uint32_t i = 0; i < n; i++) rel_record_free(&made[i]);
    free(made);
    free(records);
    return status;
}

static inline mneme_status rel_forget(mneme *memory, uint32_t first, uint32_t n, mneme_error *error)
{
    char(*names)[24] = calloc(n, sizeof *names);
    const char **ids = calloc(n, sizeof *ids);
    for (uint32_t i = 0; i < n; i++) {
        snprintf(names[i], sizeof names[i], "record-%u", first + i);
        ids[i] = names[i];
    }
    mneme_forget_options options = MNEME_FORGET_OPTIONS_INIT;
    options.ids = ids;
    options.n_ids = n;
    mneme_status status = mneme_forget(memory, &options, NULL, error);
    free(names);
    free(ids);
    return status;
}

/* ---- handles ---- */

static inline mneme_settings *rel_settings(void)
{
    static mneme_settings *settings;
    if (!settings && mneme_settings_new(&settings, NULL) != MNEME_OK) abort();
    return settings;
}

static inline mneme_status rel_open(const char *path, unsigned flags, mneme **out, mneme_error *error)
{
    return mneme_open(path, rel_settings(), flags, out, error);
}

/* What is wrong with a store's own record of itself, as text; empty when `check` finds nothing. */
typedef struct rel_lines {
    char text[4000];
} rel_lines;

static inline void rel_note_line(void *context, const char *line)
{
    rel_lines *lines = context;
    size_t used = strlen(lines->text);
    snprintf(lines->text + used, sizeof lines->text - used, "%s\n", line);
}

/* Fails the test unless the store is sound; gives what it counted. */
static inline mneme_check_report rel_assert_sound(mneme *memory, const char *when)
{
    rel_lines lines = {""};
    mneme_check_report report = {0};
    mneme_status status = mneme_check(memory, rel_note_line, NULL, &lines, &report, test_error());
    if (status != MNEME_OK) fail_msg("%s: check: %s", when, test_error()->message);
    if (report.problems) fail_msg("%s: check finds damage:\n%s", when, lines.text);
    return report;
}

/* ---- what is stored, against what should be ---- */

/* Versions of the records 0 .. n - 1; 0: not there. */
typedef struct rel_model {
    uint32_t *versions;
    uint32_t n;
} rel_model;

static inline uint32_t rel_version_of(const mneme_record *record)
{
    unsigned number = 0, version = 0;
    if (!record->metadata || sscanf(record->metadata, "{\"number\":%u,\"version\":%u}", &number, &version) != 2)
        return UINT32_MAX;
    return version;
}

/* Is `got` the record that it says it is, to the last byte? */
static inline bool rel_record_is_whole(const mneme_record *got, uint32_t *number, uint32_t *version)
{
    rel_record made;
    if (sscanf(got->id, "record-%u", number) != 1) return false;
    *version = rel_version_of(got);
    if (*version == UINT32_MAX) return false;
    rel_record_make(&made, *number, *version);
    const mneme_record *want = &made.record;
    bool same = strcmp(got->id, want->id) == 0 && got->text_size == want->text_size &&
                memcmp(got->text, want->text, got->text_size) == 0 && strcmp(got->metadata, want->metadata) == 0 &&
                got->has_time && got->time_ms == want->time_ms && !got->session == !want->session &&
                (!got->session || strcmp(got->session, want->session) == 0);
    rel_record_free(&made);
    return same;
}

/* Read every record of the unnamed namespace into found->versions; fails the test on one that is not whole. */
static inline void rel_read_all(mneme *memory, rel_model *found, const char *when)
{
    char *after = NULL;
    memset(found->versions, 0, found->n * sizeof *found->versions);
    do {
        mneme_list_options options = MNEME_LIST_OPTIONS_INIT;
        options.limit = 256;
        options.after = after;
        options.select.name_space = "";
        mneme_record_list *list = NULL;
        mneme_status status = mneme_list(memory, &options, &list, test_error());
        if (status != MNEME_OK) fail_msg("%s: list: %s", when, test_error()->message);
        for (size_t i = 0; i < list->n; i++) {
            uint32_t number = 0, version = 0;
            if (!rel_record_is_whole(&list->items[i], &number, &version) || number >= found->n)
                fail_msg("%s: record \"%s\" is not what was stored", when, list->items[i].id);
            found->versions[number] = version;
        }
        free(after);
        after = list->next ? strdup(list->next) : NULL;
        mneme_record_list_free(list);
    } while (after);
}

/* Its vector is stored too: asked for by it, the record comes first, at cosine 1 but for the rounding of store.vectors.
 */
static inline void rel_assert_found_by_vector(mneme *memory, uint32_t number, uint32_t version, const char *when)
{
    rel_record made;
    rel_record_make(&made, number, version);
    mneme_query_options options = MNEME_QUERY_OPTIONS_INIT;
    options.mode = MNEME_MODE_DENSE;
    options.k = 1;
    options.select.name_space = "";
    options.vector = made.vector;
    options.dimension = REL_DIM;
    mneme_hits *hits = NULL;
    mneme_status status = mneme_query(memory, "", &options, &hits, test_error());
    if (status != MNEME_OK) fail_msg("%s: query: %s", when, test_error()->message);
    if (hits->n != 1 || strcmp(hits->items[0].id, made.id) != 0 || fabs((double)hits->items[0].dense - 1) > 1e-3)
        fail_msg("%s: the vector of %s finds %s", when, made.id, hits->n ? hits->items[0].id : "nothing");
    mneme_hits_free(hits);
    rel_record_free(&made);
}

/* ---- children ---- */

/* fork() with a child in which a crash is a crash: cmocka's own handlers would go on with the tests. */
static inline pid_t rel_fork(void)
{
    fflush(stdout);
    fflush(stderr);
    pid_t child = fork();
    if (child != 0) return child;
    const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM};
    for (size_t i = 0; i < sizeof crashes / sizeof crashes[0]; i++) signal(crashes[i], SIG_DFL);
    return 0;
}

#endif
