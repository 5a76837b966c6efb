/* cmd_bench.c -- mneme bench: how fast is it here, on your text? The figures that bench/ builds on. */
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/store_option.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PARAGRAPH_BYTES = 900, QUERY_WORDS = 8, FRESH_RUNS = 7 };

extern char **environ;

/* The texts that are measured: paragraphs of the files given, about PARAGRAPH_BYTES long. */
typedef struct bench_texts {
    const char **items; /* owned, each too */
    size_t *sizes;
    size_t n, capacity, bytes;
} bench_texts;

typedef struct bench_result {
    uint64_t tokens;
    double encode_tokens_per_s, records_per_s, query_p50_ms, query_p99_ms, fresh_query_ms;
    double peak_memory_mb;
    uint64_t bytes_on_disk, chunks;
} bench_result;

static int by_value(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return a < b ? -1 : a > b;
}

/* ---- texts ---- */

static void add_text(bench_texts *texts, const char *data, size_t size)
{
    if (texts->n == texts->capacity) {
        texts->capacity = texts->capacity ? texts->capacity * 2 : 256;
        texts->items = cli_realloc((void *)texts->items, texts->capacity, sizeof *texts->items);
        texts->sizes = cli_realloc(texts->sizes, texts->capacity, sizeof *texts->sizes);
    }
    texts->items[texts->n] = cli_strndup(data, size);
    texts->sizes[texts->n++] = size;
    texts->bytes += size;
}

/* Cut at blank lines, gathering until a paragraph is long enough. */
static void add_paragraphs(bench_texts *texts, const char *data, size_t size)
{
    size_t start = 0;
    for (size_t at = 0; at + 1 < size; at++) {
        bool blank = data[at] == '\n' && data[at + 1] == '\n';
        if (!blank || at < start + PARAGRAPH_BYTES) continue;
        add_text(texts, data + start, at - start);
        start = at + 2;
    }
    if (size > start) add_text(texts, data + start, size - start);
}

static void add_lines(bench_texts *texts, const char *data, size_t size)
{
    for (size_t start = 0, end; start < size; start = end + 1) {
        const char *line_end = memchr(data + start, '\n', size - start);
        end = line_end ? (size_t)(line_end - data) : size;
        if (end > start) add_text(texts, data + start, end - start);
    }
}

static int read_texts(const cli_words *words, bool lines, bench_texts *texts)
{
    for (size_t i = 0; i < words->n; i++) {
        FILE *file = fopen(words->items[i], "rb");
        if (!file) {
            cli_complain("cannot open %s: %s", words->items[i], strerror(errno));
            return CLI_EXIT_USAGE;
        }
        cli_text text = {0};
        char piece[65536];
        for (size_t got; (got = fread(piece, 1, sizeof piece, file)) > 0;) cli_text_append(&text, piece, got);
        fclose(file);
        if (text.data) (lines ? add_lines : add_paragraphs)(texts, text.data, text.size);
        cli_text_free(&text);
    }
    if (texts->n > 0) return CLI_GO_ON;
    cli_complain("no text to measure with");
    return CLI_EXIT_USAGE;
}

static void free_texts(bench_texts *texts)
{
    for (size_t i = 0; i < texts->n; i++) free((char *)(uintptr_t)texts->items[i]);
    free((void *)texts->items);
    free(texts->sizes);
}

/* ---- measuring ---- */

/* Whole passes over the texts until `seconds` are over; the first pass warms up and is not counted. */
static int measure_encoding(const mneme_encoder *encoder, const bench_texts *texts, double seconds,
                            bench_result *result)
{
    mneme_error error = {MNEME_OK, ""};
    mneme_encoder_info info = mneme_encoder_get_info(encoder);
    uint64_t tokens = 0;
    for (size_t i = 0; i < texts->n; i++) {
        uint64_t n = 0;
        if (mneme_count_tokens(encoder, texts->items[i], texts->sizes[i], &n, &error) != MNEME_OK)
            return cli_failed(&error);
        tokens += n + 2 < info.max_tokens ? n + 2 : info.max_tokens;
    }
    float *vectors = cli_alloc(texts->n * info.dimension, sizeof *vectors);
    size_t warm_up = texts->n < 64 ? texts->n : 64, passes = 0;
    mneme_status status = mneme_encode(encoder, texts->items, texts->sizes, warm_up, NULL, vectors, &error);
    double started = cli_seconds(), took = 0;
    while (status == MNEME_OK && (passes == 0 || took < seconds)) {
        status = mneme_encode(encoder, texts->items, texts->sizes, texts->n, NULL, vectors, &error);
        passes++;
        took = cli_seconds() - started;
    }
    free(vectors);
    if (status != MNEME_OK) return cli_failed(&error);
    result->tokens = tokens;
    result->encode_tokens_per_s = (double)tokens * (double)passes / took;
    return CLI_GO_ON;
}

static int measure_indexing(mneme *memory, const bench_texts *texts, bench_result *result)
{
    enum { BATCH = 256 };
    mneme_record records[BATCH];
    char ids[BATCH][24];
    mneme_error error = {MNEME_OK, ""};
    double started = cli_seconds();
    for (size_t first = 0; first < texts->n; first += BATCH) {
        size_t n = texts->n - first < BATCH ? texts->n - first : BATCH;
        for (size_t i = 0; i < n; i++) {
            snprintf(ids[i], sizeof ids[i], "%zu", first + i);
            records[i] =
                (mneme_record){.id = ids[i], .text = texts->items[first + i], .text_size = texts->sizes[first + i]};
        }
        mneme_add_result added;
        if (mneme_add(memory, records, n, NULL, &added, &error) != MNEME_OK) return cli_failed(&error);
        result->chunks += added.chunks;
    }
    result->records_per_s = (double)texts->n / (cli_seconds() - started);
    return CLI_GO_ON;
}

/* The first words of a text, as a stand-in for a question. */
static char *question_of(const bench_texts *texts, size_t i)
{
    const char *text = texts->items[i % texts->n];
    size_t end = 0, words = 0;
    for (; text[end] && words < QUERY_WORDS; end++) words += text[end] == ' ' || text[end] == '\n';
    return cli_strndup(text, end);
}

static int measure_queries(mneme *memory, const bench_texts *texts, double seconds, bench_result *result)
{
    enum { MOST = 100000 };
    double *took = cli_alloc(MOST, sizeof *took), started = cli_seconds();
    size_t n = 0;
    int code = CLI_GO_ON;
    while (code == CLI_GO_ON && n < MOST && (n < 20 || cli_seconds() - started < seconds)) {
        mneme_error error = {MNEME_OK, ""};
        mneme_hits *hits = NULL;
        char *question = question_of(texts, n * 7919);
        double before = cli_seconds();
        if (mneme_query(memory, question, NULL, &hits, &error) != MNEME_OK) code = cli_failed(&error);
        took[n++] = (cli_seconds() - before) * 1000.0;
        mneme_hits_free(hits);
        free(question);
    }
    qsort(took, n, sizeof *took, by_value);
    result->query_p50_ms = took[n / 2];
    result->query_p99_ms = took[(size_t)ceil(0.99 * (double)n) - 1];
    free(took);
    return code;
}

/* `mneme query` in a process of its own, started and waited for: the median of several. */
static int measure_fresh_process(const char *store, const bench_texts *texts, bench_result *result)
{
    double took[FRESH_RUNS];
    char *question = question_of(texts, 1);
    char *argv[] = {"mneme", "--store", (char *)(uintptr_t)store, "--quiet", "query", question, "--json", NULL};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    bool ok = true;
    for (size_t i = 0; i < FRESH_RUNS && ok; i++) {
        pid_t child;
        int status = 0;
        double before = cli_seconds();
        ok = posix_spawn(&child, "/proc/self/exe", &actions, NULL, argv, environ) == 0 &&
             waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) <= CLI_EXIT_NO;
        took[i] = (cli_seconds() - before) * 1000.0;
    }
    posix_spawn_file_actions_destroy(&actions);
    free(question);
    if (!ok) {
        cli_complain("a query in a process of its own failed");
        return CLI_EXIT_FAILURE;
    }
    qsort(took, FRESH_RUNS, sizeof *took, by_value);
    result->fresh_query_ms = took[FRESH_RUNS / 2];
    return CLI_GO_ON;
}

static int measure_store(const cli_global *global, const char *path, const bench_texts *texts, double seconds,
                         bench_result *result)
{
    cli_global local = *global;
    mneme *memory = NULL;
    mneme_stats *stats = NULL;
    mneme_error error = {MNEME_OK, ""};
    local.store = path;
    int code = cli_open_store(&local, 0, &memory, NULL);
    if (code == CLI_GO_ON) code = measure_indexing(memory, texts, result);
    if (code == CLI_GO_ON) code = measure_queries(memory, texts, seconds, result);
    if (code == CLI_GO_ON && mneme_get_stats(memory, &stats, &error) != MNEME_OK) code = cli_failed(&error);
    if (code == CLI_GO_ON) result->bytes_on_disk = stats->bytes_on_disk;
    mneme_stats_free(stats);
    mneme_close(memory);
    if (code == CLI_GO_ON) code = measure_fresh_process(path, texts, result);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    result->peak_memory_mb = (double)usage.ru_maxrss / 1024.0;
    return code;
}

/* ---- showing ---- */

static void processor_name(char *out, size_t size)
{
    FILE *file = fopen("/proc/cpuinfo", "r");
    char line[300];
    snprintf(out, size, "unknown");
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, "model name", 10) != 0 || !strchr(line, ':')) continue;
        snprintf(out, size, "%.*s", (int)strcspn(strchr(line, ':') + 2, "\n"), strchr(line, ':') + 2);
        break;
    }
    if (file) fclose(file);
}

static void print_result(const mneme_encoder *encoder, const bench_texts *texts, const bench_result *r)
{
    mneme_encoder_info info = mneme_encoder_get_info(encoder);
    char processor[200];
    processor_name(processor, sizeof processor);
    json_t *object = json_pack("{s:s, s:I, s:s, s:s, s:s}", "processor", processor, "cores",
                               (json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "encoder", info.name, "precision",
                               info.precision, "kernels", info.kernels);
    cli_json_count(object, "texts", texts->n);
    cli_json_count(object, "text_bytes", texts->bytes);
    cli_json_count(object, "tokens", r->tokens);
    json_object_set_new(object, "encode_tokens_per_s", cli_json_float((float)r->encode_tokens_per_s));
    if (r->chunks == 0) { /* the encoder alone was measured */
        cli_print_json(object);
        return;
    }
    cli_json_count(object, "chunks", r->chunks);
    const struct {
        const char *name;
        double value;
    } figures[] = {{"index_records_per_s", r->records_per_s},
                   {"query_p50_ms", r->query_p50_ms},
                   {"query_p99_ms", r->query_p99_ms},
                   {"fresh_process_query_ms", r->fresh_query_ms},
                   {"peak_memory_mb", r->peak_memory_mb}};
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++)
        json_object_set_new(object, figures[i].name, cli_json_float((float)figures[i].value));
    cli_json_count(object, "bytes_on_disk", r->bytes_on_disk);
    cli_print_json(object);
}

static int measure_all(const cli_global *global, const bench_texts *texts, double seconds, bool encode_only)
{
    char folder[] = "/tmp/mneme-bench-XXXXXX";
    bench_result result = {0};
    mneme_encoder *encoder = NULL;
    if (!mkdtemp(folder)) {
        cli_complain("cannot make a folder in /tmp: %s", strerror(errno));
        return CLI_EXIT_FAILURE;
    }
    char *store = cli_format("%s/store", folder), *data = cli_format("%s/store/data.mdb", folder),
         *lock = cli_format("%s/store/lock.mdb", folder);
    int code = cli_open_encoder(global, &encoder);
    if (code == CLI_GO_ON) code = measure_encoding(encoder, texts, seconds, &result);
    if (code == CLI_GO_ON && !encode_only) code = measure_store(global, store, texts, seconds, &result);
    if (code == CLI_GO_ON) print_result(encoder, texts, &result);
    mneme_encoder_close(encoder);
    unlink(data), unlink(lock), rmdir(store), rmdir(folder);
    free(store), free(data), free(lock);
    return code == CLI_GO_ON ? CLI_EXIT_DONE : code;
}

static int run(cli_global *global, int argc, char **argv)
{
    double seconds = 5;
    bool lines = false, encode_only = false;
    const cli_option options[] = {
        {0, "seconds", CLI_NUMBER, &seconds, "S", "how long encoding and querying are measured, each (default 5)"},
        {0, "lines", CLI_FLAG, &lines, NULL, "every line is a text of its own"},
        {0, "encode-only", CLI_FLAG, &encode_only, NULL, "measure the encoder alone"},
        CLI_OPTIONS_END,
    };
    cli_words words = {0};
    bench_texts texts = {0};
    int code = cli_parse(global, &cli_command_bench, options, argc, argv, &words);
    if (code == CLI_GO_ON && words.n == 0)
        code = cli_usage_error(&cli_command_bench, "name text files to measure with");
    if (code == CLI_GO_ON) code = read_texts(&words, lines, &texts);
    if (code == CLI_GO_ON) code = measure_all(global, &texts, seconds, encode_only);
    free_texts(&texts);
    cli_list_free(&words);
    return code;
}

const cli_command cli_command_bench = {
    .name = "bench",
    .usage = "FILE... [OPTIONS]",
    .summary = "measure speed and size on your own text",
    .details =
        "Cuts the files into paragraphs, then encodes, stores and asks for them in a temporary store. Prints one JSON\n"
        "object: tokens per second, records per second end to end, query times warm and in a fresh process, peak\n"
        "memory and bytes on disk.",
    .example = "mneme bench examples/grimms-fairy-tales.txt",
    .run = run,
};
