/* test_ignore.c -- ignore files and globs against git itself: `git check-ignore` in a temporary repository decides what
 * each pattern leaves out. */
#include "test_support.h"

#include "cli/glob.h"
#include "cli/ignore.h"

#include <unistd.h>

static char *repository;

static void run_git(const char *arguments)
{
    char command[4096];
    snprintf(command, sizeof command,
             "cd '%s' && GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 git -c core.excludesFile=/dev/null %s", repository,
             arguments);
    int code = system(command);
    if (code != 0 && code != 256) fail_msg("git failed: %s", command); /* 1: no path is ignored */
}

static void write_file(const char *name, const char *data, size_t size)
{
    char path[1200];
    snprintf(path, sizeof path, "%s/%s", repository, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    fclose(file);
}

static int set_up(void **state)
{
    (void)state;
    if (system("command -v git >/dev/null 2>&1") != 0) {
        printf("skipped: no git\n");
        exit(77);
    }
    repository = test_make_dir();
    run_git("init -q .");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    test_remove_dir(repository);
    return 0;
}

/* What the walk does: a folder that is left out takes everything in it along. */
static bool is_left_out(const cli_ignore *ignore, const char *path)
{
    char prefix[256];
    size_t size = strlen(path);
    for (size_t at = 1; at < size; at++) {
        if (path[at] != '/') continue;
        memcpy(prefix, path, at);
        prefix[at] = '\0';
        if (cli_ignore_judge(ignore, prefix, true) == CLI_VERDICT_OUT) return true;
    }
    return cli_ignore_judge(ignore, path, false) == CLI_VERDICT_OUT;
}

#define PATHS_MAX 512

/* Hold cli_ignore against git for one ignore file and n paths (files, none exists). */
static void compare(const char *patterns, size_t size, const char *const *paths, size_t n)
{
    bool expected[PATHS_MAX] = {false};
    char list[PATHS_MAX * 64], name[512];
    size_t list_size = 0;
    assert_true(n <= PATHS_MAX);
    for (size_t i = 0; i < n; i++) {
        memcpy(list + list_size, paths[i], strlen(paths[i]) + 1); /* paths end with NUL: see -z */
        list_size += strlen(paths[i]) + 1;
    }
    write_file(".gitignore", patterns, size);
    write_file(".git/paths", list, list_size);
    run_git("check-ignore --no-index --stdin -z < .git/paths > .git/answer");
    snprintf(name, sizeof name, "%s/.git/answer", repository);
    FILE *answer = fopen(name, "r");
    assert_non_null(answer);
    size_t answer_size = fread(list, 1, sizeof list, answer);
    fclose(answer);
    for (size_t at = 0; at < answer_size; at += strlen(list + at) + 1)
        for (size_t i = 0; i < n; i++)
            if (strcmp(list + at, paths[i]) == 0) expected[i] = true;
    cli_ignore *ignore = cli_ignore_parse(patterns, size);
    for (size_t i = 0; i < n; i++)
        if (is_left_out(ignore, paths[i]) != expected[i])
            fail_msg("patterns \"%.*s\", path %s: git says %s", (int)size, patterns, paths[i],
                     expected[i] ? "ignored" : "not ignored");
    cli_ignore_free(ignore);
}

static const char *const common_paths[] = {
    "a",          "b",          "abc",         "a.c",        "b.c",          "a.o",        "sub/a",         "sub/a.c",
    "sub/b.o",    "sub/deep/a", "sub/deep/b",  "build/a",    "build/x/y.c",  "sub/build/a", "foo",          "foo/bar",
    "foo/a/bar",  "foo/a/b/bar", "a/foo",      "a/foo/bar",  "foobar",       "doc/frotz",  "a/doc/frotz",   "doc/x/frotz",
    "hello.c",    "file with space", "trailing ", "#hash",   "!bang",        "x[1]",       "x1",            "x2",
    "back\\slash", "A",         "aB",          "z-",         "z]",           "debug.log",  "logs/debug.log", "logs/keep.log",
    "logs/sub/keep.log", "a*b", "axb",         "a/x/b",      "a/b",          "ab",         "x/a/b/c/d",     "x/d",
    "file.tar.gz", "\xC3\xA4.txt", "tab\there", "a/b/c/a.txt", "b/c",         "node_modules/m/index.js",
};
#define N_COMMON (sizeof common_paths / sizeof *common_paths)

static void ignore_patterns_decide_as_git(void **state)
{
    (void)state;
    static const char *const files[] = {
        "a", "*.c", "/a", "/*.c", "build", "build/", "/build/", "sub/", "foo/*", "foo/**", "foo/**/bar", "**/foo", "**/foo/bar",
        "foo/", "doc/frotz", "/doc/frotz", "doc/frotz/", "frotz/", "*", "*/", "*/*", "**", "**/", "/**", "/**/", "***",
        "?", "??", "a?c", "[ab]", "[!ab]", "[^ab]*", "[a-z].c", "[z-a]", "[]-a]*", "z[]]", "z[!]]", "z[-]", "z[a-]", "[[:alpha:]]",
        "[[:upper:]]", "[[:digit:]]", "x[[:digit:]]", "[[:nope:]]", "[", "[a", "a[", "x\\[1\\]", "x[1]", "\\#hash", "#hash", "\\!bang",
        "!bang", "back\\\\slash", "back\\slash", "a\\", "a\\b", "trailing ", "trailing\\ ", "trailing", "  a", "a  ", "",
        "\n\n", " ", "*.log\n!keep.log", "*.log\n!logs/keep.log", "logs/\n!logs/keep.log", "logs/*\n!logs/keep.log", "/*\n!/foo\n/foo/*\n!/foo/bar",
        "!a\na", "a\n!a", "a\r\nb\r\n", "a\r", "\xEF\xBB\xBF\141\nb", "a*b", "a\\*b", "a**b", "a/**/b", "a/**b", "a**/b", "a/*/b", "**/b/**/d",
        "x/**/d", "**/**/d", "x/**/**/d", "*/b", "**a", "**/a*", "sub/deep", "deep", "deep/a", "/deep/a", "sub//deep", "./a", "a/.", "../a",
        "a/", "a//", "/", "//a", "file with space", "*space", "\xC3\xA4.txt", "?.txt", "??.txt", "*.txt", "[\xC3\xA4]*", "tab\there",
        "*.tar.gz", "*.gz", "node_modules", "node_modules/*", "!node_modules\nnode_modules/m", "/[a-b]/[f]oo", "\\a", "\\*", "[*]", "a[*]b", "[/]", "a[/]b", "foo[!a]bar",
        "foo[/]bar", "foo?bar", "[[:alpha:][:digit:]]", "[a[:digit:]]", "[[:digit:]-z]", "[\\]]*", "[\\a]", "z[\\]", "x[0-9]", "x[!0-9]", "x[9-0]",
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) compare(files[i], strlen(files[i]), common_paths, N_COMMON);
}

/* Patterns of random letters: the same verdicts as git's for every one. */
static void ignore_random_patterns_decide_as_git(void **state)
{
    (void)state;
    static const char letters[] = "aab*/*?b[]!-\\.*/ab";
    static const char *const paths[] = {"a", "b", "ab", "ba", "aa", "a/a", "a/b", "b/a", "b/b", "a/b/a", "a/a/b", "b/a/b/a", "a.b", "a-b",
                                        "a/.b", "ab/ab", "aab", "abb", "a/ab/b", "b/ab", "!a", "[a]", "a]", "a-", "-", "!", "]", "a\\b"};
    unsigned seed = 20240607;
    printf("seed %u\n", seed);
    for (int round = 0; round < 400; round++) {
        char pattern[16];
        size_t size = 1 + (size_t)rand_r(&seed) % 8;
        for (size_t i = 0; i < size; i++) pattern[i] = letters[(size_t)rand_r(&seed) % (sizeof letters - 1)];
        compare(pattern, size, paths, sizeof paths / sizeof *paths);
    }
}

/* Exponential in naive matchers; here it must simply end. */
static void glob_many_stars_end(void **state)
{
    (void)state;
    char pattern[202], text[4000];
    for (size_t i = 0; i < 200; i += 2) memcpy(pattern + i, "*a", 2);
    pattern[200] = 'b';
    memset(text, 'a', sizeof text);
    cli_glob *glob = cli_glob_new(pattern, 201);
    assert_false(cli_glob_match(glob, text, sizeof text));
    text[sizeof text - 1] = 'b';
    assert_true(cli_glob_match(glob, text, sizeof text));
    assert_false(cli_glob_match(glob, text + sizeof text - 100, 100)); /* 99 a, one too few */
    cli_glob_free(glob);
}

static void glob_bytes_and_ends_are_exact(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *text;
        bool matches;
    } cases[] = {
        {"", "", true},         {"", "a", false},     {"a", "", false},        {"*", "", true},      {"*", "a/b", false},
        {"**", "a/b", true},    {"a/**", "a", false}, {"a/**", "a/b/c", true}, {"**/b", "b", true},  {"**/b", "a/c/b", true},
        {"a/**/b", "a/b", true}, {"a/**/b", "axb", false}, {"[a", "[a", false}, {"a\\", "a\\", false}, {"\\*", "*", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cli_glob *glob = cli_glob_new(cases[i].pattern, strlen(cases[i].pattern));
        if (cli_glob_match(glob, cases[i].text, strlen(cases[i].text)) != cases[i].matches)
            fail_msg("\"%s\" against \"%s\"", cases[i].pattern, cases[i].text);
        cli_glob_free(glob);
    }
}

static void ignore_file_missing_is_null(void **state)
{
    (void)state;
    assert_null(cli_ignore_load("/nonexistent/.gitignore"));
    assert_null(cli_ignore_load("/"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ignore_patterns_decide_as_git),
        cmocka_unit_test(ignore_random_patterns_decide_as_git),
        cmocka_unit_test(glob_many_stars_end),
        cmocka_unit_test(glob_bytes_and_ends_are_exact),
        cmocka_unit_test(ignore_file_missing_is_null),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
