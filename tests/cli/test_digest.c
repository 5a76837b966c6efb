/* test_digest.c -- checksums against published values, libraries that are loaded late, and parts of URLs. */
#include "test_support.h"

#include "cli/digest.h"
#include "cli/http.h"
#include "cli/lazy_library.h"

#include <unistd.h>

static char reason[300];

/* The digest of a file with this content. */
static const char *digest_of(const char *content, cli_digest kind)
{
    static char digest[CLI_DIGEST_TEXT];
    char path[] = "/tmp/mneme-digest-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    close(fd);
    assert_true(cli_digest_file(path, kind, digest, reason, sizeof reason));
    unlink(path);
    return digest;
}

/* SHA-256: FIPS 180-4's examples. Git: what `git hash-object` prints. */
static void digest_of_known_content_is_the_published_one(void **state)
{
    (void)state;
    assert_string_equal(digest_of("", CLI_DIGEST_SHA256),
                        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_string_equal(digest_of("abc", CLI_DIGEST_SHA256),
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_string_equal(digest_of("", CLI_DIGEST_GIT_BLOB), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    assert_string_equal(digest_of("hello\n", CLI_DIGEST_GIT_BLOB), "ce013625030ba8dba906f756967f9e9ca394464a");
}

static void digest_of_a_file_that_cannot_be_read_is_said(void **state)
{
    (void)state;
    char digest[CLI_DIGEST_TEXT] = "x";
    assert_false(cli_digest_file("/nowhere/at/all", CLI_DIGEST_SHA256, digest, reason, sizeof reason));
    assert_non_null(strstr(reason, "/nowhere/at/all"));
    assert_false(cli_digest_file("/", CLI_DIGEST_SHA256, digest, reason, sizeof reason));
    assert_string_equal(digest, "");
}

static void digest_kind_goes_by_length_and_digits(void **state)
{
    (void)state;
    assert_int_equal(cli_digest_kind("e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"), CLI_DIGEST_GIT_BLOB);
    assert_int_equal(cli_digest_kind("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
                     CLI_DIGEST_SHA256);
    assert_int_equal(cli_digest_kind("E69de29bb2d1d6434b8b29ae775ad8c2e48c5391"), CLI_DIGEST_NONE);
    assert_int_equal(cli_digest_kind("e69de29bb2d1d6434b8b29ae775ad8c2e48c539"), CLI_DIGEST_NONE);
    assert_int_equal(cli_digest_kind("../../2bb2d1d6434b8b29ae775ad8c2e48c5391"), CLI_DIGEST_NONE);
    assert_int_equal(cli_digest_kind(""), CLI_DIGEST_NONE);
}

static void library_that_is_missing_or_too_old_is_named(void **state)
{
    (void)state;
    static const char *const none[] = {"libnosuch-mneme.so.9", NULL}, *const c[] = {"libnosuch-mneme.so.9", "libc.so.6",
                                                                                    NULL};
    size_t (*length)(const char *) = NULL;
    void (*lost)(void) = NULL;
    const cli_lazy_symbol one[] = {{"strlen", &length}}, two[] = {{"strlen", &length}, {"no_such_function", &lost}};
    assert_false(cli_lazy_load(none, one, 1, "libnosuch9", reason, sizeof reason));
    assert_non_null(strstr(reason, "libnosuch-mneme.so.9"));
    assert_non_null(strstr(reason, "libnosuch9"));
    assert_false(cli_lazy_load(c, two, 2, "libc6", reason, sizeof reason));
    assert_non_null(strstr(reason, "no_such_function"));
    assert_true(length == NULL);
    assert_true(cli_lazy_load(c, one, 1, "libc6", reason, sizeof reason));
    assert_int_equal(length("four"), 4);
}

static void url_part_escapes_all_but_plain_characters(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"main", "main"},           {"refs/pr/1", "refs%2Fpr%2F1"}, {"a b?c#d%", "a%20b%3Fc%23d%25"},
        {"v1.0_x-y~", "v1.0_x-y~"}, {"\xC3\xA9", "%C3%A9"},         {"", ""}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char *part = cli_url_part(pairs[i][0]);
        assert_string_equal(part, pairs[i][1]);
        free(part);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digest_of_known_content_is_the_published_one),
        cmocka_unit_test(digest_of_a_file_that_cannot_be_read_is_said),
        cmocka_unit_test(digest_kind_goes_by_length_and_digits),
        cmocka_unit_test(library_that_is_missing_or_too_old_is_named),
        cmocka_unit_test(url_part_escapes_all_but_plain_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
