/* test_corruption.c -- a store file with random damage: every call ends, with a result or with a status that says what
 * is wrong; none crashes, none runs on.
 *
 * Each trial damages a copy of a small store (two namespaces, sessions, forgotten records), of which an older image is
 * kept too, for torn writes; then a child does everything with it under an alarm. 200 trials; MNEME_TEST_LONG: 10,000;
 * MNEME_TEST_TRIALS: as many. MNEME_TEST_SEED repeats a run exactly. */
#include "reliability_support.h"

#include <sys/mman.h>

enum { N_RECORDS = 240, PAGE = 4096, ALARM_SECONDS = 20 };

static char *g_dir;

typedef struct image {
    unsigned char *bytes;
    size_t size;
} image;

/* ---- kinds of damage ---- */

typedef struct damaged {
    image now;          /* being damaged */
    const image *older; /* of the same store, some commits before; shorter or as long */
    uint64_t *random;
} damaged;

static size_t random_page(damaged *d)
{
    return (size_t)rel_below(d->random, d->now.size / PAGE) * PAGE;
}

static void flip_bit(damaged *d)
{
    size_t at = (size_t)rel_below(d->random, d->now.size);
    d->now.bytes[at] ^= (unsigned char)(1u << rel_below(d->random, 8));
}

static void change_bytes(damaged *d)
{
    for (uint64_t n = 1 + rel_below(d->random, 16); n > 0; n--)
        d->now.bytes[rel_below(d->random, d->now.size)] = (unsigned char)rel_random(d->random);
}

/* Page number, flags, bounds and node places lie in the first bytes of a page. */
static void change_page_head(damaged *d)
{
    size_t page = random_page(d);
    for (uint64_t n = 1 + rel_below(d->random, 4); n > 0; n--)
        d->now.bytes[page + rel_below(d->random, 48)] = (unsigned char)rel_random(d->random);
}

/* Nodes lie at the end of a page: lengths, flags, page numbers of children. */
static void change_page_end(damaged *d)
{
    size_t page = random_page(d);
    for (uint64_t n = 1 + rel_below(d->random, 4); n > 0; n--)
        d->now.bytes[page + PAGE - 1 - rel_below(d->random, 200)] = (unsigned char)rel_random(d->random);
}

static void zero_page(damaged *d)
{
    memset(d->now.bytes + random_page(d), 0, PAGE);
}

static void fill_page_with_noise(damaged *d)
{
    size_t page = random_page(d);
    for (size_t i = 0; i < PAGE; i++) d->now.bytes[page + i] = (unsigned char)rel_random(d->random);
}

/* A write that went to the wrong place. */
static void copy_page_over_another(damaged *d)
{
    size_t from = random_page(d), to = random_page(d);
    memmove(d->now.bytes + to, d->now.bytes + from, PAGE);
}

/* A page that was not written, or only in part, in whole sectors. */
static void tear_pages(damaged *d)
{
    for (uint64_t n = 1 + rel_below(d->random, 8); n > 0; n--) {
        size_t page = (size_t)rel_below(d->random, d->older->size / PAGE) * PAGE;
        size_t kept = (size_t)rel_below(d->random, 8) * 512;
        memcpy(d->now.bytes + page + kept, d->older->bytes + page + kept, PAGE - kept);
    }
}

static void cut_file(damaged *d)
{
    size_t size = (size_t)rel_below(d->random, d->now.size);
    d->now.size = rel_below(d->random, 2) ? size : size / PAGE * PAGE;
}

static void change_meta(damaged *d)
{
    for (uint64_t n = 1 + rel_below(d->random, 4); n > 0; n--)
        d->now.bytes[rel_below(d->random, 2) * PAGE + rel_below(d->random, 152)] = (unsigned char)rel_random(d->random);
}

/* The same byte in both meta pages, so that none is left to fall back to. */
static void change_both_metas(damaged *d)
{
    for (uint64_t n = 1 + rel_below(d->random, 3); n > 0; n--) {
        size_t at = (size_t)rel_below(d->random, 152);
        d->now.bytes[at] = d->now.bytes[PAGE + at] = (unsigned char)rel_random(d->random);
    }
}

static const struct {
    const char *name;
    void (*damage)(damaged *d);
} kinds[] = {
    {"one bit flipped", flip_bit},
    {"bytes changed", change_bytes},
    {"page head changed", change_page_head},
    {"page end changed", change_page_end},
    {"page of zeros", zero_page},
    {"page of noise", fill_page_with_noise},
    {"page over another", copy_page_over_another},
    {"pages torn", tear_pages},
    {"file cut", cut_file},
    {"one meta changed", change_meta},
    {"both metas changed", change_both_metas},
};
enum { N_KINDS = sizeof kinds / sizeof kinds[0] };

/* ---- what is done with each ---- */

/* In shared memory: what the child was at. */
typedef struct progress {
    char step[40];
    unsigned problems, wrong; /* wrong: records that were read, but are not what was stored */
} progress;

static progress *g_progress;

static void begin_step(const char *name)
{
    snprintf(g_progress->step, sizeof g_progress->step, "%s", name);
}

/* A failure must say what is wrong. */
static bool good(mneme_status status, const mneme_error *error)
{
    if (status != MNEME_OK) g_progress->problems++;
    return status == MNEME_OK || (error->code == status && error->message[0]);
}

static void note_problem(void *context, const char *line)
{
    (void)context;
    if (line[0]) g_progress->problems++;
}

static bool check_store(mneme *memory)
{
    mneme_check_report report;
    mneme_error error = {0};
    begin_step("check");
    return good(mneme_check(memory, note_problem, NULL, NULL, &report, &error), &error);
}

static bool ask_store(mneme *memory, mneme_mode mode, const char *space)
{
    float vector[REL_DIM] = {0.3f, 1, -0.4f};
    mneme_query_options ask = MNEME_QUERY_OPTIONS_INIT;
    mneme_hits *hits = NULL;
    mneme_error error = {0};
    begin_step(mode == MNEME_MODE_LEXICAL ? "lexical query" : "query by vector");
    ask.mode = mode;
    ask.select.name_space = space;
    ask.vector = mode == MNEME_MODE_LEXICAL ? NULL : vector;
    ask.dimension = mode == MNEME_MODE_LEXICAL ? 0 : REL_DIM;
    bool fine = good(mneme_query(memory, "lighthouse keeper in the storm", &ask, &hits, &error), &error);
    mneme_hits_free(hits);
    return fine;
}

static bool list_store(mneme *memory)
{
    mneme_list_options options = MNEME_LIST_OPTIONS_INIT;
    mneme_record_list *list = NULL;
    mneme_error error = {0};
    begin_step("list");
    options.limit = 2 * N_RECORDS;
    bool fine = good(mneme_list(memory, &options, &list, &error), &error);
    for (size_t i = 0; list && i < list->n; i++) {
        uint32_t number = 0, version = 0;
        g_progress->wrong += !rel_record_is_whole(&list->items[i], &number, &version);
    }
    if (list && list->n != N_RECORDS - 10 + 30) g_progress->wrong++; /* forgotten 50..69, of which 60..69 came back */
    mneme_record_list_free(list);
    return fine;
}

static bool get_some(mneme *memory)
{
    bool fine = true;
    begin_step("get");
    for (uint32_t i = 0; i < N_RECORDS && fine; i += 23) {
        char id[24];
        mneme_record_list *list = NULL;
        mneme_error error = {0};
        snprintf(id, sizeof id, "record-%u", i);
        fine = good(mneme_get(memory, NULL, id, &list, &error), &error);
        mneme_record_list_free(list);
    }
    return fine;
}

static bool write_store(mneme *memory)
{
    mneme_error error = {0};
    begin_step("add");
    if (!good(rel_add(memory, 10, 12, 77, &error), &error)) return false;
    begin_step("forget");
    return good(rel_forget(memory, 100, 12, &error), &error);
}

static bool use_store(const char *path)
{
    mneme *memory = NULL;
    mneme_error error = {0};
    begin_step("open");
    mneme_status status = rel_open(path, MNEME_OPEN_EXISTING, &memory, &error);
    if (status != MNEME_OK) return good(status, &error);
    bool fine = ask_store(memory, MNEME_MODE_LEXICAL, NULL) && ask_store(memory, MNEME_MODE_DENSE, "") &&
                ask_store(memory, MNEME_MODE_HYBRID, "second") && list_store(memory) && get_some(memory) &&
                check_store(memory);
    if (fine) fine = write_store(memory) && check_store(memory);
    begin_step("close");
    mneme_close(memory);
    return fine;
}

/* ---- the trials ---- */

static void write_image(const char *path, const unsigned char *bytes, size_t size)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static image read_image(const char *path)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    image out = {0};
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    out.size = (size_t)ftell(file);
    out.bytes = malloc(out.size);
    rewind(file);
    assert_int_equal(fread(out.bytes, 1, out.size, file), out.size);
    fclose(file);
    return out;
}

static void add_second_namespace(mneme *memory, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        rel_record made;
        rel_record_make(&made, i, 3);
        made.record.name_space = "second";
        assert_ok(mneme_add(memory, &made.record, 1, NULL, NULL, test_error()));
        rel_record_free(&made);
    }
}

/* Many commits, so that there are free pages and values of all sizes. */
static void make_images(const char *store, const char *data, image *older, image *now)
{
    mneme *memory = NULL;
    assert_ok(rel_open(store, 0, &memory, test_error()));
    for (uint32_t first = 0; first < N_RECORDS; first += 30) assert_ok(rel_add(memory, first, 30, 1, test_error()));
    add_second_namespace(memory, 30);
    mneme_close(memory);
    *older = read_image(data);
    assert_ok(rel_open(store, 0, &memory, test_error()));
    assert_ok(rel_forget(memory, 50, 20, test_error()));
    assert_ok(rel_add(memory, 60, 40, 2, test_error()));
    assert_ok(rel_add(memory, 30, 5, 2, test_error()));
    rel_assert_sound(memory, "before any damage");
    mneme_close(memory);
    *now = read_image(data);
    assert_true(now->size >= older->size);
}

typedef struct outcome {
    unsigned trials, seen, unseen, crashed, endless, silent; /* seen: damage was reported by some call */
    unsigned wrong;                                          /* of the unseen: a record differs from what was stored */
} outcome;

static void run_trial(const char *store, outcome *sums, unsigned trial, const char *kind)
{
    memset(g_progress, 0, sizeof *g_progress);
    pid_t child = rel_fork();
    if (child == 0) {
        alarm(ALARM_SECONDS);
        _exit(use_store(store) ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    sums->trials++;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        sums->endless++;
    else if (WIFSIGNALED(status))
        sums->crashed++;
    else if (WEXITSTATUS(status) != 0)
        sums->silent++;
    else if (g_progress->problems)
        sums->seen++;
    else
        sums->unseen++, sums->wrong += g_progress->wrong != 0;
    if (WIFSIGNALED(status) || WEXITSTATUS(status) != 0)
        printf("trial %u, %s: %s in %s\n", trial, kind,
               WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "a failure without a message", g_progress->step);
}

static void store_with_random_damage_is_named_or_read_but_never_crashes(void **state)
{
    (void)state;
    char store[1100], data[1200], lock[1200];
    image older, now;
    outcome sums[N_KINDS] = {0}, all = {0};
    uint64_t random = rel_seed();
    const char *only = getenv("MNEME_TEST_ONLY"); /* one trial of a seed; its file is kept as damaged.mdb */
    unsigned trials = rel_long() ? 10000 : 200;
    if (getenv("MNEME_TEST_TRIALS")) trials = (unsigned)atoi(getenv("MNEME_TEST_TRIALS"));
    snprintf(store, sizeof store, "%s/store", g_dir);
    snprintf(data, sizeof data, "%s/data.mdb", store);
    snprintf(lock, sizeof lock, "%s/lock.mdb", store);
    make_images(store, data, &older, &now);
    unsigned char *bytes = malloc(now.size);
    for (unsigned trial = 0; trial < trials; trial++) {
        unsigned kind = trial % N_KINDS;
        memcpy(bytes, now.bytes, now.size);
        damaged d = {.now = {.bytes = bytes, .size = now.size}, .older = &older, .random = &random};
        kinds[kind].damage(&d);
        if (only && (unsigned)atoi(only) != trial) continue;
        unlink(lock);
        write_image(data, bytes, d.now.size);
        if (only) write_image("damaged.mdb", bytes, d.now.size);
        run_trial(store, &sums[kind], trial, kinds[kind].name);
    }
    printf("%-20s %6s %8s %8s %8s %8s %8s\n", "damage", "trials", "reported", "harmless", "unseen", "crashed",
           "endless");
    for (unsigned kind = 0; kind < N_KINDS; kind++) {
        const outcome *o = &sums[kind];
        printf("%-20s %6u %8u %8u %8u %8u %8u\n", kinds[kind].name, o->trials, o->seen, o->unseen - o->wrong, o->wrong,
               o->crashed, o->endless);
        all.crashed += o->crashed, all.endless += o->endless, all.silent += o->silent, all.seen += o->seen;
    }
    free(bytes);
    free(older.bytes);
    free(now.bytes);
    assert_int_equal(all.crashed, 0);
    assert_int_equal(all.endless, 0);
    assert_int_equal(all.silent, 0);
    assert_true(all.seen > trials / 3);
}

/* ---- every page in turn ---- */

static void note_page(void *context, const char *line)
{
    g_progress->problems++;
    if (strncmp(line, context, strlen(context)) == 0) g_progress->wrong++; /* here: named */
}

static void check_without_page(const char *path, size_t number)
{
    char wanted[40];
    mneme *memory = NULL;
    mneme_check_report report;
    snprintf(wanted, sizeof wanted, "page %zu of ", number);
    alarm(ALARM_SECONDS);
    mneme_status status = rel_open(path, MNEME_OPEN_EXISTING | MNEME_OPEN_READ_ONLY, &memory, NULL);
    if (status != MNEME_OK) _exit(status == MNEME_ERR_DAMAGED ? 1 : 2); /* what opening needs */
    status = mneme_check(memory, note_page, NULL, wanted, &report, NULL);
    mneme_close(memory);
    _exit(status == MNEME_OK ? 0 : 3);
}

static void page_of_zeros_is_named_by_its_number(void **state)
{
    (void)state;
    char store[1100], data[1200];
    image older, now;
    unsigned named = 0, unused = 0, refused = 0;
    snprintf(store, sizeof store, "%s/pages", g_dir);
    snprintf(data, sizeof data, "%s/data.mdb", store);
    make_images(store, data, &older, &now);
    unsigned char *bytes = malloc(now.size);
    for (size_t number = 2; number < now.size / PAGE; number++) {
        int status = 0;
        uint64_t own = 0;
        memcpy(&own, now.bytes + number * PAGE, sizeof own);
        if (own != number) continue; /* behind the first page of a long value: no header */
        memcpy(bytes, now.bytes, now.size);
        memset(bytes + number * PAGE, 0, PAGE);
        write_image(data, bytes, now.size);
        memset(g_progress, 0, sizeof *g_progress);
        pid_t child = rel_fork();
        if (child == 0) check_without_page(store, number);
        waitpid(child, &status, 0);
        if (!WIFEXITED(status) || WEXITSTATUS(status) > 1) fail_msg("page %zu: status %d", number, status);
        if (WEXITSTATUS(status) == 1)
            refused++;
        else if (g_progress->wrong)
            named++;
        else if (g_progress->problems == 0)
            unused++;
        else
            fail_msg("page %zu is in use and of zeros, but is not named", number);
    }
    printf("pages of zeros: %u named, %u not in use, %u without which the store cannot be opened\n", named, unused,
           refused);
    assert_true(named > 20 && refused <= 3);
    free(bytes);
    free(older.bytes);
    free(now.bytes);
}

static int make_dir(void **state)
{
    (void)state;
    g_progress = mmap(NULL, sizeof *g_progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if ((const void *)g_progress == MAP_FAILED) return -1;
    if (access("/dev/shm", W_OK) == 0) setenv("TMPDIR", "/dev/shm", 1); /* no crash of the machine is tried here */
    g_dir = test_make_dir();
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    test_remove_dir(g_dir);
    munmap(g_progress, sizeof *g_progress);
    return 0;
}

/* ---- a page that much asking went past ---- */

static int status_of(mneme *memory, uint32_t number)
{
    char id[24];
    mneme_record_list *list = NULL;
    mneme_error error = {0};
    snprintf(id, sizeof id, "record-%u", number);
    mneme_status status = mneme_get(memory, NULL, id, &list, &error);
    mneme_record_list_free(list);
    return (int)status;
}

enum { NOTHING_DAMAGED = 1, ALL_DAMAGED, STAYS_DAMAGED, WRONG };

/* Asks for records whose pages are sound until the store would be looked at as a whole, then for one whose page is not.
 */
static int ask_past_damage(const char *path)
{
    enum { MUCH = 25000 };
    mneme *memory = NULL;
    uint32_t broken = N_RECORDS, sound = N_RECORDS;
    alarm(4 * ALARM_SECONDS);
    if (rel_open(path, MNEME_OPEN_EXISTING | MNEME_OPEN_READ_ONLY, &memory, NULL) != MNEME_OK) return ALL_DAMAGED;
    for (uint32_t i = 0; i < N_RECORDS; i++) {
        int status = status_of(memory, i);
        if (status == (int)MNEME_ERR_DAMAGED) broken = i;
        if (status == (int)MNEME_OK) sound = i;
    }
    if (broken == N_RECORDS || sound == N_RECORDS) {
        mneme_close(memory);
        return broken == N_RECORDS ? NOTHING_DAMAGED : ALL_DAMAGED;
    }
    bool right = true;
    for (unsigned i = 0; i < MUCH && right; i++) right = status_of(memory, sound) == (int)MNEME_OK;
    right = right && status_of(memory, broken) == (int)MNEME_ERR_DAMAGED;
    mneme_close(memory);
    return right ? STAYS_DAMAGED : WRONG;
}

static void page_of_another_place_is_refused_however_much_was_asked_before(void **state)
{
    (void)state;
    enum { WANTED = 3 };
    char store[1100], data[1200];
    image older, now;
    unsigned n_tried = 0;
    size_t before = 0; /* a page that has a head */
    snprintf(store, sizeof store, "%s/much", g_dir);
    snprintf(data, sizeof data, "%s/data.mdb", store);
    make_images(store, data, &older, &now);
    unsigned char *bytes = malloc(now.size);
    for (size_t number = 2; number < now.size / PAGE && n_tried < WANTED; number++) {
        int status = 0;
        uint64_t own = 0;
        memcpy(&own, now.bytes + number * PAGE, sizeof own);
        if (own != number) continue; /* behind the first page of a long value: no header */
        size_t other = before;
        before = number;
        if (other == 0) continue;
        memcpy(bytes, now.bytes, now.size);
        memcpy(bytes + number * PAGE, now.bytes + other * PAGE, PAGE); /* LMDB would believe it */
        write_image(data, bytes, now.size);
        pid_t child = rel_fork();
        if (child == 0) _exit(ask_past_damage(store));
        waitpid(child, &status, 0);
        if (!WIFEXITED(status) || WEXITSTATUS(status) == WRONG) fail_msg("page %zu: status %d", number, status);
        n_tried += WEXITSTATUS(status) == STAYS_DAMAGED;
    }
    assert_int_equal(n_tried, WANTED);
    free(bytes);
    free(older.bytes);
    free(now.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(store_with_random_damage_is_named_or_read_but_never_crashes),
        cmocka_unit_test(page_of_zeros_is_named_by_its_number),
        cmocka_unit_test(page_of_another_place_is_refused_however_much_was_asked_before),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
