/* test_walk.c -- which files a folder stands for, held against `git ls-files` where both should agree. */
#include "test_support.h"

#include "cli/source_id.h"
#include "cli/walk.h"

#include <sys/stat.h>
#include <unistd.h>

static char *root;

static int set_up(void **state)
{
    (void)state;
    root = test_make_dir();
    return chdir(root);
}

static int tear_down(void **state)
{
    (void)state;
    if (chdir("/") != 0) return 1;
    test_remove_dir(root);
    return 0;
}

static void shell(const char *command)
{
    char line[8192];
    snprintf(line, sizeof line, "export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1; %s", command);
    if (system(line) != 0) fail_msg("%s", command);
}

static void count_refused(void *context, const char *path, const char *reason)
{
    (void)path, (void)reason;
    ++*(size_t *)context;
}

/* The walk's files, one a line, sorted as `LC_ALL=C sort` does; owned (free). */
static char *walked(const char *path, const cli_walk_options *options)
{
    cli_files files = {0};
    char *sorted = calloc(1, 1 << 16);
    assert_true(cli_walk(path, options, &files));
    FILE *list = fopen("../walk-list", "w");
    for (size_t i = 0; i < files.n; i++) fprintf(list, "%s\n", files.items[i].path);
    fclose(list);
    cli_files_free(&files);
    shell("LC_ALL=C sort ../walk-list > ../walk-sorted");
    list = fopen("../walk-sorted", "r");
    if (fread(sorted, 1, (1 << 16) - 1, list) == 0) sorted[0] = '\0';
    fclose(list);
    shell("rm -f ../walk-list ../walk-sorted");
    return sorted;
}

static void assert_walk(const char *path, const cli_walk_options *options, const char *expected)
{
    char *files = walked(path, options);
    assert_string_equal(files, expected);
    free(files);
}

static void walk_repository_lists_what_git_lists(void **state)
{
    (void)state;
    if (system("command -v git >/dev/null 2>&1") != 0) skip();
    shell("mkdir repo && cd repo && git init -q . && "
          "mkdir -p src/gen docs/api/v1 build/out logs vendor/lib/tests a/b/c && "
          "touch top.txt top.o src/main.c src/main.o src/gen/x.c src/gen/keep.c docs/api/v1/i.md docs/draft.md build/out/x "
          "  logs/a.log logs/important.log vendor/lib/a.c vendor/lib/tests/t.c a/b/c/deep.txt a/b/skip.txt a/skip.txt 'sp ace.txt' && "
          "printf '*.o\\n/build/\\n*.log\\n!important.log\\nvendor/**/tests\\n' > .gitignore && "
          "printf 'gen/*\\n!gen/keep.c\\n' > src/.gitignore && printf '/draft.md\\n' > docs/.gitignore && "
          "printf 'skip.txt\\n' > a/.gitignore && printf '!skip.txt\\n' > a/b/.gitignore");
    if (chdir("repo") != 0) fail();
    shell("git ls-files --others --exclude-standard | grep -v '\\(^\\|/\\)\\.' | LC_ALL=C sort > ../git-says");
    char expected[4096] = "";
    FILE *file = fopen("../git-says", "r");
    if (fread(expected, 1, sizeof expected - 1, file) == 0) fail();
    fclose(file);
    const cli_walk_options options = {0};
    assert_walk(".", &options, expected);
    /* A folder of the repository: the ignore files above it count. */
    assert_walk("a", &options, "a/b/c/deep.txt\na/b/skip.txt\n");
    assert_walk("src/", &options, "src/gen/keep.c\nsrc/main.c\n");
    if (chdir("..") != 0) fail();
}

static void walk_mnemeignore_wins_over_gitignore(void **state)
{
    (void)state;
    shell("mkdir -p own/sub && cd own && touch a.txt b.txt c.txt sub/a.txt && printf 'a.txt\\n' > .gitignore && "
          "printf '!/a.txt\\nb.txt\\n' > .mnemeignore");
    const cli_walk_options options = {0};
    assert_walk("own", &options, "own/a.txt\nown/c.txt\n");
}

static void walk_hidden_links_and_store_left_out(void **state)
{
    (void)state;
    shell("mkdir -p plain/.hidden plain/store plain/real outside && cd plain && touch .secret .hidden/a real/a store/data.mdb ../outside/o && "
          "ln -s ../outside link && ln -s ../outside/o filelink && ln -s . loop && mkfifo pipe");
    const cli_walk_options options = {.store = "plain/store"};
    assert_walk("plain", &options, "plain/real/a\n");
    /* What the user names is read, whatever it is called and whether or not it is a link. */
    assert_walk("plain/.secret", &options, "plain/.secret\n");
    assert_walk("plain/link", &options, "plain/link/o\n");
    assert_walk("plain/filelink", &options, "plain/filelink\n");
}

static void walk_include_and_exclude_choose(void **state)
{
    (void)state;
    shell("mkdir -p pick/docs/old && cd pick && touch a.md b.txt docs/c.md docs/old/d.md docs/e.html");
    cli_list include = {0}, exclude = {0};
    cli_walk_options options = {.include = &include, .exclude = &exclude};
    cli_list_add(&include, "*.md");
    assert_walk("pick", &options, "pick/a.md\npick/docs/c.md\npick/docs/old/d.md\n");
    cli_list_add(&include, "docs/*.html");
    cli_list_add(&exclude, "old/");
    assert_walk("pick", &options, "pick/a.md\npick/docs/c.md\npick/docs/e.html\n");
    assert_walk("pick/b.txt", &options, "");
    cli_list_free(&include);
    cli_list_free(&exclude);
}

static void walk_missing_and_unreadable_are_told(void **state)
{
    (void)state;
    size_t refused = 0;
    cli_files files = {0};
    const cli_walk_options options = {.refused = count_refused, .context = &refused};
    assert_false(cli_walk("no-such-file", &options, &files));
    assert_int_equal(refused, 0);
    shell("mkdir -p locked/in && touch locked/in/a && mkfifo fifo");
    assert_true(cli_walk("fifo", &options, &files));
    assert_int_equal(refused, 1);
    if (geteuid() != 0) { /* root reads everything */
        chmod("locked/in", 0);
        assert_true(cli_walk("locked", &options, &files));
        chmod("locked/in", 0755);
        assert_int_equal(refused, 2);
    }
    assert_int_equal(files.n, 0);
    cli_files_free(&files);
}

static void walk_order_is_by_name(void **state)
{
    (void)state;
    shell("mkdir -p order/b && cd order && touch c a b/z b/y");
    const cli_walk_options options = {0};
    cli_files files = {0};
    assert_true(cli_walk("order", &options, &files));
    static const char *const expected[] = {"order/a", "order/b/y", "order/b/z", "order/c"};
    assert_int_equal(files.n, 4);
    for (size_t i = 0; i < 4; i++) assert_string_equal(files.items[i].path, expected[i]);
    cli_files_free(&files);
}

static void assert_id(const char *path, const char *store, const char *expected)
{
    char *id = cli_source_id(path, store);
    assert_string_equal(id, expected);
    free(id);
}

static void source_id_in_project_is_relative_to_it(void **state)
{
    (void)state;
    char store[1200], inside[1200], elsewhere[1200];
    shell("mkdir -p project/.mneme project/docs/sub && touch project/docs/a && ln -s project linked");
    snprintf(store, sizeof store, "%s/project/.mneme", root);
    snprintf(inside, sizeof inside, "%s/project/docs/a", root);
    snprintf(elsewhere, sizeof elsewhere, "%s/other/x", root);
    assert_id("project/docs/a", store, "docs/a");
    assert_id("project/docs/", store, "docs");
    assert_id("project", store, ".");
    assert_id(inside, store, "docs/a");
    assert_id("linked/docs/a", store, "docs/a");
    assert_id("other/./x/../y", store, "other/y");
    assert_id(elsewhere, store, elsewhere);
    if (chdir("project/docs/sub") != 0) fail();
    assert_id("../a", store, "docs/a");
    assert_id(".", "../../.mneme", "docs/sub");
    if (chdir("../../..") != 0) fail();
    assert_id("project/docs/a", "plainstore", "project/docs/a");
    assert_id("./project//docs/../docs/a", "plainstore", "project/docs/a");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(walk_repository_lists_what_git_lists),
        cmocka_unit_test(walk_mnemeignore_wins_over_gitignore),
        cmocka_unit_test(walk_hidden_links_and_store_left_out),
        cmocka_unit_test(walk_include_and_exclude_choose),
        cmocka_unit_test(walk_missing_and_unreadable_are_told),
        cmocka_unit_test(walk_order_is_by_name),
        cmocka_unit_test(source_id_in_project_is_relative_to_it),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
