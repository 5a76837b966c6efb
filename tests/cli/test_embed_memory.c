/* test_embed_memory.c -- embed's memory does not grow with its input: the peak resident size of the command (getrusage)
 * is at most the model's size and 100 MB, for many lines, for one line without end, and for JSONL of both kinds.
 *
 * MNEME_TEST_LONG=1: 100 MB for each, and one file of lines with words in them. */
#include "test_support.h"

#include <spawn.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { DIMENSION = 384 };
static char *g_dir;
static size_t g_megabytes = 20;

/* A file of `before`, then `unit` again and again up to g_megabytes, then `after`. Owned. */
static char *make_file(const char *name, const char *before, const char *unit, const char *after)
{
    char *path = malloc(1200), *piece = malloc(1 << 20);
    snprintf(path, 1200, "%s/%s", g_dir, name);
    size_t size = strlen(unit), units = (1 << 20) / size;
    for (size_t i = 0; i < units; i++) memcpy(piece + i * size, unit, size);
    FILE *file = fopen(path, "wb");
    fputs(before, file);
    for (size_t i = 0; i < g_megabytes; i++) fwrite(piece, size, units, file);
    fputs(after, file);
    assert_int_equal(fclose(file), 0);
    free(piece);
    return path;
}

static size_t size_of(const char *path)
{
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    return (size_t)info.st_size;
}

/* Embed the file; fails unless it gives so many vectors, and within the memory. */
static void embed(const char *name, char *input, size_t rows)
{
    char output[1200], model[1200];
    snprintf(output, sizeof output, "%s/out.f32", g_dir);
    snprintf(model, sizeof model, "%s/model.safetensors", test_model_dir());
    char *arguments[] = {"mneme", "--quiet", "embed", input, "--output", output, NULL};
    pid_t child;
    int status = -1;
    struct rusage usage = {0};
    assert_int_equal(posix_spawnp(&child, "mneme", NULL, NULL, arguments, environ), 0);
    assert_int_equal(wait4(child, &status, 0, &usage), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    size_t peak = (size_t)usage.ru_maxrss * 1024, allowed = size_of(model) + ((size_t)100 << 20);
    printf("%s: %zu MB, allowed %zu MB\n", name, peak >> 20, allowed >> 20);
    assert_int_equal(size_of(output), rows * DIMENSION * sizeof(float));
    assert_true(peak > 0);
    assert_true(peak <= allowed);
    unlink(input);
    unlink(output);
    free(input);
}

static void embed_of_one_line_without_end_stays_small(void **state)
{
    (void)state;
    embed("one line of words", make_file("words.txt", "", "the ship left the harbour. ", "\n"), 1);
    embed("one line of white space", make_file("space.txt", "a ship", " ", "left\nsecond\n"), 2);
    embed("one word", make_file("word.txt", "", "x", "\nsecond"), 2);
}

static void embed_of_one_record_without_end_stays_small(void **state)
{
    (void)state;
    embed("one record", make_file("one.jsonl", "{\"id\":1,\"text\":\"", "a \\\"ship\\\" ", "\"}\n{\"text\":\"b\"}\n"),
          2);
    embed("one record's metadata", make_file("meta.jsonl", "{\"text\":\"a\",\"metadata\":{\"m\":\"", "m ", "\"}}\n"),
          1);
}

static void embed_of_many_lines_stays_small(void **state)
{
    (void)state;
    embed("many blank records", make_file("blank.jsonl", "{\"text\":\"a\"}\n", "    \n", "{\"text\":\"b\"}\n"), 2);
    char line[20002]; /* 1,048 lines of 20 KB: each is cut at the window, or ends after a word */
    memset(line, ' ', sizeof line);
    memcpy(line, "harbour", 7);
    line[20000] = '\n';
    line[20001] = '\0';
    embed("many long lines", make_file("lines.txt", "", line, ""), g_megabytes * ((1 << 20) / 20001));
    if (!getenv("MNEME_TEST_LONG")) return;
    g_megabytes = 4;
    embed("words in lines", make_file("all.txt", "", "the ship left the harbour in the fog\n", ""),
          4 * ((1 << 20) / 37));
}

static int set_up(void **state)
{
    (void)state;
    if (getenv("MNEME_TEST_LONG")) g_megabytes = 100;
    setenv("MNEME_ENCODER_MODEL", test_model_dir(), 1);
    g_dir = test_make_dir();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    test_remove_dir(g_dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(embed_of_one_line_without_end_stays_small),
        cmocka_unit_test(embed_of_one_record_without_end_stays_small),
        cmocka_unit_test(embed_of_many_lines_stays_small),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
