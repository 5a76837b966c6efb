/* test_tokenizer_image.c -- the frozen form of a tokenizer: the same ids, and refused or harmless when it is damaged;
 * the table of pieces against plain search. */
#include "test_support.h"

#include "encoder/tokenizer.h"
#include "encoder/tokenizer_image.h"

#include <jansson.h>
#include <sys/stat.h>
#include <xxhash.h>

static char *g_dir;

static const char *in_source(const char *name)
{
    static char path[1200];
    snprintf(path, sizeof path, "%s/tests/data/%s", test_source_dir(), name);
    return path;
}

static mn_tokenizer *open_tokenizer(const char *folder)
{
    mn_tokenizer *tokenizer = NULL;
    assert_ok(mn_tokenizer_open(folder, &tokenizer, test_error()));
    return tokenizer;
}

/* The frozen form, alone in memory of exactly its size. Owned (mn_free). */
static char *freeze(const mn_tokenizer *tokenizer, size_t *size)
{
    mn_buffer buffer = {0};
    assert_ok(mn_tokenizer_freeze(tokenizer, &buffer, test_error()));
    *size = buffer.size;
    char *data = mn_alloc_aligned(64, buffer.size);
    assert_non_null(data);
    memcpy(data, buffer.data, buffer.size);
    mn_buffer_free(&buffer);
    return data;
}

/* A new folder of vocab.txt alone; path in a static buffer. */
static const char *make_folder(const char *name, const char *vocabulary)
{
    static char folder[1100];
    char path[1200];
    snprintf(folder, sizeof folder, "%s/%s", g_dir, name);
    mkdir(folder, 0700);
    snprintf(path, sizeof path, "%s/vocab.txt", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(vocabulary, file);
    fclose(file);
    return folder;
}

/* Same tokens, offsets and count of a text from both. */
static void check_same(const mn_tokenizer *one, const mn_tokenizer *other, const char *text, size_t size)
{
    mn_tokens left = {.with_offsets = true}, right = {.with_offsets = true}, bare = {0};
    assert_ok(mn_tokenizer_encode(one, text, size, SIZE_MAX, &left, test_error()));
    assert_ok(mn_tokenizer_encode(other, text, size, SIZE_MAX, &right, test_error()));
    assert_ok(mn_tokenizer_encode(other, text, size, SIZE_MAX, &bare, test_error()));
    assert_int_equal(left.n, right.n);
    assert_int_equal(left.n, bare.n);
    assert_int_equal(left.n, mn_tokenizer_count(other, text, size));
    if (left.n) {
        assert_memory_equal(left.ids, right.ids, left.n * sizeof *left.ids);
        assert_memory_equal(left.ids, bare.ids, left.n * sizeof *left.ids);
        assert_memory_equal(left.starts, right.starts, left.n * sizeof *left.starts);
        assert_memory_equal(left.ends, right.ends, left.n * sizeof *left.ends);
    }
    mn_tokens_free(&left);
    mn_tokens_free(&right);
    mn_tokens_free(&bare);
}

static void thawed_tokenizer_is_the_same(void **state)
{
    (void)state;
    mn_tokenizer *tokenizer = open_tokenizer(test_model_dir()), *thawed = NULL;
    size_t size, capacity = 0;
    char *data = freeze(tokenizer, &size), *line = NULL;
    assert_ok(mn_tokenizer_thaw(data, size, &thawed, test_error()));
    assert_true(mn_tokenizer_fingerprint(thawed) == mn_tokenizer_fingerprint(tokenizer));
    assert_int_equal(mn_tokenizer_cls(thawed), 101);
    assert_int_equal(mn_tokenizer_sep(thawed), 102);
    assert_int_equal(mn_tokenizer_vocabulary(thawed), 30522);
    FILE *file = fopen(in_source("tokenizer/cases.jsonl"), "r");
    assert_non_null(file);
    while (getline(&line, &capacity, file) > 0) {
        json_t *object = json_loads(line, JSON_ALLOW_NUL, NULL);
        const json_t *text = json_object_get(object, "text");
        check_same(tokenizer, thawed, json_string_value(text), json_string_length(text));
        json_decref(object);
    }
    fclose(file);
    free(line);
    /* Frozen again, it is the same bytes. */
    size_t again_size;
    char *again = freeze(thawed, &again_size);
    assert_int_equal(again_size, size);
    assert_memory_equal(again, data, size);
    mn_free(again);
    mn_tokenizer_close(thawed);
    mn_free(data);
    mn_tokenizer_close(tokenizer);
}

static void fingerprint_of_the_default_model_stays(void **state)
{
    (void)state;
    mn_tokenizer *tokenizer = open_tokenizer(test_model_dir());
    assert_true(mn_tokenizer_fingerprint(tokenizer) == UINT64_C(0xae605026d81381a4)); /* stores keep a hash of it */
    mn_tokenizer_close(tokenizer);
}

static void token_texts_are_the_lines_of_the_vocabulary(void **state)
{
    (void)state;
    mn_tokenizer *tokenizer = open_tokenizer(test_model_dir());
    char path[1200], *line = NULL;
    size_t capacity = 0, size;
    snprintf(path, sizeof path, "%s/vocab.txt", test_model_dir());
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    uint32_t id = 0;
    for (ssize_t n; (n = getline(&line, &capacity, file)) > 0; id++) {
        const char *token = mn_tokenizer_token(tokenizer, id, &size);
        assert_int_equal(size, (size_t)n - 1);
        assert_memory_equal(token, line, size);
    }
    assert_int_equal(id, 30522);
    mn_tokenizer_token(tokenizer, id, &size);
    assert_int_equal(size, 0);
    mn_tokenizer_token(tokenizer, UINT32_MAX, &size);
    assert_int_equal(size, 0);
    fclose(file);
    free(line);
    mn_tokenizer_close(tokenizer);
}

static void expect_refused(const void *data, size_t size)
{
    mn_tokenizer *tokenizer = (mn_tokenizer *)1;
    mneme_error error;
    assert_int_equal(mn_tokenizer_thaw(data, size, &tokenizer, &error), MNEME_ERR_MODEL);
    assert_null(tokenizer);
    assert_non_null(strstr(error.message, "frozen tokenizer"));
}

static void frozen_tokenizer_cut_short_is_refused(void **state)
{
    (void)state;
    mn_tokenizer *tokenizer = open_tokenizer(in_source("tokenizer/cased"));
    size_t size;
    char *data = freeze(tokenizer, &size);
    mn_tokenizer_close(tokenizer);
    for (size_t cut = 0; cut < size; cut += cut < 2000 || cut + 200 > size ? 1 : 97) {
        char *part = mn_alloc_aligned(64, cut ? cut : 1);
        memcpy(part, data, cut);
        expect_refused(part, cut);
        mn_free(part);
    }
    char *shifted = mn_alloc_aligned(64, size + 1);
    memcpy(shifted + 1, data, size);
    expect_refused(shifted + 1, size);
    mn_free(shifted);
    mn_free(data);
}

/* Use everything that reads the image: ids stay in range, tokens have some text or none. */
static void use(const mn_tokenizer *tokenizer)
{
    static const char text[] =
        "The quick Brownn fox cafés caf\xC3\xA9 \xE4\xB8\x96\xE7\x95\x8C [MASK]! antidisestablishmentarianismus "
        "\xC4\xB0stanbul x\x01y \xFF\xEA\xB0\x80 Z-A.a\xCC\x81 0123456789abcdef";
    mn_tokens tokens = {.with_offsets = true};
    assert_ok(mn_tokenizer_encode(tokenizer, text, sizeof text - 1, SIZE_MAX, &tokens, test_error()));
    assert_int_equal(mn_tokenizer_count(tokenizer, text, sizeof text - 1), tokens.n);
    for (size_t i = 0; i < tokens.n; i++) {
        assert_true(tokens.ids[i] < mn_tokenizer_vocabulary(tokenizer));
        assert_true(tokens.starts[i] <= tokens.ends[i] && tokens.ends[i] < sizeof text);
        size_t size;
        const char *token = mn_tokenizer_token(tokenizer, tokens.ids[i], &size);
        volatile char read = '\0';
        if (size) read = (char)(token[0] ^ token[size - 1]);
        (void)read;
    }
    assert_true(mn_tokenizer_cls(tokenizer) < mn_tokenizer_vocabulary(tokenizer));
    assert_true(mn_tokenizer_sep(tokenizer) < mn_tokenizer_vocabulary(tokenizer));
    mn_tokens_free(&tokens);
}

/* head_hash made right again, as one who means harm would. */
static void sign(char *data)
{
    mn_tokenizer_image head;
    memcpy(&head, data, sizeof head);
    size_t from = offsetof(mn_tokenizer_image, version);
    head.head_hash = XXH3_64bits((const char *)&head + from, sizeof head - from);
    memcpy(data, &head, sizeof head);
}

static void frozen_tokenizer_with_random_changes_is_refused_or_harmless(void **state)
{
    (void)state;
    mn_tokenizer *tokenizer = open_tokenizer(in_source("tokenizer/cased"));
    size_t size;
    char *data = freeze(tokenizer, &size), *bytes = mn_alloc_aligned(64, size);
    uint32_t seed = 4711, n_used = 0, n_refused = 0;
    for (int trial = 0; trial < 6000; trial++) {
        memcpy(bytes, data, size);
        /* One in three anywhere, one in the head, one in the head and signed. */
        size_t reach = trial % 3 ? sizeof(mn_tokenizer_image) : size;
        for (int change = 0; change < 1 + trial % 5; change++) {
            seed = seed * 1664525u + 1013904223u;
            size_t at = (seed >> 4) % reach;
            seed = seed * 1664525u + 1013904223u;
            bytes[at] = (char)(seed & 0x10000 ? seed >> 24 : (unsigned)bytes[at] ^ 1u << (seed >> 24) % 8);
        }
        if (trial % 3 == 2) sign(bytes);
        mn_tokenizer *thawed = NULL;
        if (mn_tokenizer_thaw(bytes, size, &thawed, NULL) == MNEME_OK) {
            n_used++;
            use(thawed);
        } else {
            assert_null(thawed);
            n_refused++;
        }
        mn_tokenizer_close(thawed);
    }
    assert_true(n_used > 1500 && n_refused > 1500);
    mn_free(bytes);
    mn_free(data);
    mn_tokenizer_close(tokenizer);
}

static void frozen_tokenizer_with_a_full_table_ends_its_searches(void **state)
{
    (void)state;
    mn_tokenizer *tokenizer = open_tokenizer(in_source("tokenizer/cased"));
    size_t size;
    char *data = freeze(tokenizer, &size);
    mn_tokenizer_close(tokenizer);
    mn_tokenizer_image *head = (mn_tokenizer_image *)(void *)data;
    memset(data + head->offsets[MN_SECTION_SLOTS], 0xFF, (size_t)head->sizes[MN_SECTION_SLOTS]);
    head->probes_max = (1u << head->slot_bits) - 1;
    sign(data);
    mn_tokenizer *thawed = NULL;
    assert_ok(mn_tokenizer_thaw(data, size, &thawed, test_error()));
    use(thawed);
    mn_tokenizer_close(thawed);
    mn_free(data);
}

/* ---- pieces against plain search ---- */

static uint32_t find_line(char *const *lines, size_t n, const char *prefix, const char *piece, size_t size)
{
    size_t skip = strlen(prefix);
    for (size_t i = n; i > 0; i--)
        if (strncmp(lines[i - 1], prefix, skip) == 0 && strlen(lines[i - 1]) == skip + size &&
            memcmp(lines[i - 1] + skip, piece, size) == 0)
            return (uint32_t)i - 1;
    return UINT32_MAX;
}

/* WordPiece as its definition says; *n = 1 and id 0, [UNK], where a part is in no piece. */
static void split_plainly(char *const *lines, size_t n_lines, const char *word, uint32_t *ids, size_t *n)
{
    size_t size = strlen(word);
    *n = 0;
    for (size_t at = 0, end; at < size; at = end) {
        uint32_t id = UINT32_MAX;
        for (end = size; end > at; end--) {
            id = find_line(lines, n_lines, at ? "##" : "", word + at, end - at);
            if (id != UINT32_MAX) break;
        }
        if (id == UINT32_MAX) {
            ids[0] = 0;
            *n = 1;
            return;
        }
        ids[(*n)++] = id;
    }
}

static uint32_t g_seed = 20250101;

static uint32_t draw(uint32_t limit)
{
    g_seed = g_seed * 1664525u + 1013904223u;
    return (g_seed >> 8) % limit;
}

/* A word over three letters, one of them of two bytes. */
static void draw_word(char *out, size_t n_chars)
{
    static const char *const letters[] = {"a", "b", "\xCE\xB3"};
    *out = '\0';
    for (size_t i = 0; i < n_chars; i++) strcat(out, letters[draw(3)]);
}

static void pieces_of_random_words_are_those_of_plain_search(void **state)
{
    (void)state;
    enum { LINES = 1500 };
    static char text[LINES * 128];
    char *lines[LINES], word[512];
    snprintf(text, sizeof text, "%s", "[UNK]\n[CLS]\n[SEP]\n##a\na\nb\n");
    for (size_t i = 6; i < LINES; i++) { /* short ones repeat; some are longer than a slot, than 31 bytes */
        draw_word(word, 1 + (i % 50 == 0 ? draw(40) : i % 5 == 0 ? draw(16) : draw(6)));
        snprintf(text + strlen(text), 128, "%s%.100s\n", draw(2) ? "##" : "", word);
    }
    mn_tokenizer *tokenizer = open_tokenizer(make_folder("random", text));
    size_t n_lines = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) lines[n_lines++] = line;
    assert_int_equal(n_lines, LINES);
    for (int trial = 0; trial < 1500; trial++) {
        if (trial % 3) {
            draw_word(word, 1 + draw(30));
        } else { /* two pieces of the list */
            const char *one = lines[6 + draw(LINES - 6)], *two = lines[6 + draw(LINES - 6)];
            snprintf(word, sizeof word, "%s%s", one + (*one == '#' ? 2 : 0), two + (*two == '#' ? 2 : 0));
        }
        uint32_t expected[512];
        size_t n;
        split_plainly(lines, n_lines, word, expected, &n);
        mn_tokens tokens = {0};
        assert_ok(mn_tokenizer_encode(tokenizer, word, strlen(word), SIZE_MAX, &tokens, test_error()));
        if (tokens.n != n || memcmp(tokens.ids, expected, n * sizeof *expected) != 0)
            fail_msg("word %s (seed 20250101): %zu tokens, expected %zu", word, tokens.n, n);
        mn_tokens_free(&tokens);
    }
    mn_tokenizer_close(tokenizer);
}

/* Runs of letters at every length and place beside the end of the text: what stands behind is never read as part of it.
 */
static void words_at_the_end_of_the_text_are_whole(void **state)
{
    (void)state;
    mn_tokenizer *tokenizer = open_tokenizer(make_folder("ends", "[UNK]\n[CLS]\n[SEP]\nx\n##x\n"));
    for (size_t n = 1; n <= 100; n++) {
        char *text = malloc(n); /* of exactly this size: a sanitizer sees what is read beyond */
        memset(text, 'X', n);
        mn_tokens tokens = {.with_offsets = true};
        assert_ok(mn_tokenizer_encode(tokenizer, text, n, SIZE_MAX, &tokens, test_error()));
        assert_int_equal(tokens.n, n);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(tokens.ids[i], i ? 4 : 3);
            assert_int_equal(tokens.starts[i], i);
            assert_int_equal(tokens.ends[i], i + 1);
        }
        mn_tokens_free(&tokens);
        free(text);
    }
    char long_word[101];
    memset(long_word, 'x', sizeof long_word);
    assert_int_equal(mn_tokenizer_count(tokenizer, long_word, sizeof long_word), 1); /* over 100 characters: [UNK] */
    mn_tokenizer_close(tokenizer);
}

static void tokenizer_without_memory_says_so_and_keeps_nothing(void **state)
{
    (void)state;
    const char *text = "The quick Brownn fox";
    const char *folder = in_source("tokenizer/cased");
    size_t n_failed = 0;
    mneme_status status = MNEME_ERR_MEMORY;
    for (size_t n = 1; status != MNEME_OK; n++, n_failed += status != MNEME_OK) {
        mn_tokenizer *tokenizer = NULL;
        mn_tokens tokens = {.with_offsets = true};
        mn_buffer frozen = {0};
        mn_alloc_fail_after(n);
        status = mn_tokenizer_open(folder, &tokenizer, test_error());
        if (status == MNEME_OK) status = mn_tokenizer_freeze(tokenizer, &frozen, test_error());
        if (status == MNEME_OK)
            status = mn_tokenizer_encode(tokenizer, text, strlen(text), SIZE_MAX, &tokens, test_error());
        mn_alloc_fail_after(0);
        assert_true(status == MNEME_OK || status == MNEME_ERR_MEMORY);
        assert_true(status == MNEME_OK || tokens.n == 0);
        mn_tokens_free(&tokens);
        mn_buffer_free(&frozen);
        mn_tokenizer_close(tokenizer);
    }
    assert_true(n_failed > 15);
}

static int make_dir(void **state)
{
    (void)state;
    g_dir = test_make_dir();
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    test_remove_dir(g_dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thawed_tokenizer_is_the_same),
        cmocka_unit_test(fingerprint_of_the_default_model_stays),
        cmocka_unit_test(token_texts_are_the_lines_of_the_vocabulary),
        cmocka_unit_test(frozen_tokenizer_cut_short_is_refused),
        cmocka_unit_test(frozen_tokenizer_with_random_changes_is_refused_or_harmless),
        cmocka_unit_test(frozen_tokenizer_with_a_full_table_ends_its_searches),
        cmocka_unit_test(pieces_of_random_words_are_those_of_plain_search),
        cmocka_unit_test(words_at_the_end_of_the_text_are_whole),
        cmocka_unit_test(tokenizer_without_memory_says_so_and_keeps_nothing),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
