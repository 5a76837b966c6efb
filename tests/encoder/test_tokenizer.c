/* test_tokenizer.c -- ids against those of the official tokenizer, offsets, and broken tokenizer files. */
#include "test_support.h"

#include "encoder/tokenizer.h"

#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* Every line of a JSONL file of {"text", "ids"}; `special`: the ids stand between [CLS] and [SEP] and stop at 256. */
static size_t check_file(const mn_tokenizer *tokenizer, const char *path, bool special)
{
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t capacity = 0, n_lines = 0;
    assert_non_null(file);
    for (; getline(&line, &capacity, file) > 0; n_lines++) {
        json_t *object = json_loads(line, JSON_ALLOW_NUL, NULL);
        const json_t *text = json_object_get(object, "text"), *ids = json_object_get(object, "ids");
        mn_tokens tokens = {0};
        assert_ok(mn_tokenizer_encode(tokenizer, json_string_value(text), json_string_length(text),
                                      special ? 254 : SIZE_MAX, &tokens, test_error()));
        size_t shift = special ? 1 : 0;
        if (tokens.n + 2 * shift != json_array_size(ids))
            fail_msg("%s:%zu: %zu tokens, expected %zu", path, n_lines + 1, tokens.n, json_array_size(ids) - 2 * shift);
        for (size_t i = 0; i < tokens.n; i++)
            if (tokens.ids[i] != (uint32_t)json_integer_value(json_array_get(ids, i + shift)))
                fail_msg("%s:%zu: token %zu is %u, expected %lld", path, n_lines + 1, i, tokens.ids[i],
                         (long long)json_integer_value(json_array_get(ids, i + shift)));
        mn_tokens_free(&tokens);
        json_decref(object);
    }
    free(line);
    fclose(file);
    return n_lines;
}

static void tokenizer_on_golden_file_gives_official_ids(void **state)
{
    (void)state;
    mn_tokenizer *tokenizer = open_tokenizer(test_model_dir());
    assert_int_equal(check_file(tokenizer, in_source("golden/minilm.jsonl"), true), 64);
    assert_int_equal(mn_tokenizer_vocabulary(tokenizer), 30522);
    assert_int_equal(mn_tokenizer_cls(tokenizer), 101);
    assert_int_equal(mn_tokenizer_sep(tokenizer), 102);
    mn_tokenizer_close(tokenizer);
}

static void tokenizer_on_many_scripts_and_random_text_gives_official_ids(void **state)
{
    (void)state;
    mn_tokenizer *tokenizer = open_tokenizer(test_model_dir());
    assert_true(check_file(tokenizer, in_source("tokenizer/cases.jsonl"), false) > 200);
    mn_tokenizer_close(tokenizer);
}

static void tokenizer_with_a_cased_vocabulary_gives_official_ids(void **state)
{
    (void)state;
    mn_tokenizer *tokenizer = open_tokenizer(in_source("tokenizer/cased"));
    assert_true(check_file(tokenizer, in_source("tokenizer/cased/cases.jsonl"), false) > 5);
    mn_tokenizer_close(tokenizer);
}

static void copy_file(const char *from, const char *to)
{
    char command[3000];
    snprintf(command, sizeof command, "cp '%s' '%s'", from, to);
    assert_int_equal(system(command), 0);
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void check_cases(const mn_tokenizer *tokenizer, const json_t *cases, size_t line)
{
    size_t i;
    const json_t *one;
    json_array_foreach(cases, i, one)
    {
        const json_t *text = json_object_get(one, "text"), *ids = json_object_get(one, "ids");
        mn_tokens tokens = {0};
        assert_ok(mn_tokenizer_encode(tokenizer, json_string_value(text), json_string_length(text), SIZE_MAX, &tokens,
                                      test_error()));
        if (tokens.n != json_array_size(ids))
            fail_msg("settings.jsonl:%zu: case %zu: %zu tokens, expected %zu", line, i, tokens.n, json_array_size(ids));
        for (size_t j = 0; j < tokens.n; j++)
            if (tokens.ids[j] != (uint32_t)json_integer_value(json_array_get(ids, j)))
                fail_msg("settings.jsonl:%zu: case %zu: token %zu is %u, expected %lld", line, i, j, tokens.ids[j],
                         (long long)json_integer_value(json_array_get(ids, j)));
        assert_int_equal(mn_tokenizer_count(tokenizer, json_string_value(text), json_string_length(text)), tokens.n);
        mn_tokens_free(&tokens);
    }
}

static void tokenizer_with_other_settings_gives_official_ids(void **state)
{
    (void)state;
    char folder[1100], path[1200], *line = NULL;
    size_t capacity = 0, n_lines = 0;
    snprintf(folder, sizeof folder, "%s/settings", g_dir);
    mkdir(folder, 0700);
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    FILE *file = fopen(in_source("tokenizer/settings.jsonl"), "r");
    assert_non_null(file);
    for (; getline(&line, &capacity, file) > 0; n_lines++) {
        json_t *object = json_loads(line, JSON_ALLOW_NUL, NULL);
        char *spec = json_dumps(json_object_get(object, "tokenizer"), 0);
        write_text(path, spec);
        free(spec);
        mn_tokenizer *tokenizer = open_tokenizer(folder);
        check_cases(tokenizer, json_object_get(object, "cases"), n_lines + 1);
        mn_tokenizer_close(tokenizer);
        json_decref(object);
    }
    assert_int_equal(n_lines, 9);
    free(line);
    fclose(file);
}

/* tokenizer_config.json may say as much as tokenizer.json: a model with capitals, without a prefix of its own. */
static void tokenizer_from_a_cased_config_alone_keeps_capitals(void **state)
{
    (void)state;
    char folder[1100], path[1200];
    snprintf(folder, sizeof folder, "%s/cased", g_dir);
    mkdir(folder, 0700);
    snprintf(path, sizeof path, "%s/vocab.txt", folder);
    copy_file(in_source("tokenizer/cased/vocab.txt"), path);
    snprintf(path, sizeof path, "%s/tokenizer_config.json", folder);
    write_text(path, "{\"do_lower_case\": false, \"tokenizer_class\": \"BertTokenizerFast\", \"mask_token\": "
                     "{\"content\": \"fox\"}}");
    mn_tokenizer *tokenizer = open_tokenizer(folder);
    const char *text = "The quick Brown the brown caf\xC3\xA9 quickfoxs";
    const uint32_t expected[] = {5, 7, 8, 6, 1, 13, 12, 7, 10, 1}; /* fox is an added token: found inside of words */
    mn_tokens tokens = {0};
    assert_ok(mn_tokenizer_encode(tokenizer, text, strlen(text), SIZE_MAX, &tokens, test_error()));
    assert_int_equal(tokens.n, sizeof expected / sizeof *expected);
    assert_memory_equal(tokens.ids, expected, sizeof expected);
    mn_tokens_free(&tokens);
    mn_tokenizer_close(tokenizer);
}

static void tokenizer_from_json_alone_or_from_vocab_alone_is_the_same(void **state)
{
    (void)state;
    char folder[1100], to[1200], from[1200];
    for (int alone = 0; alone < 2; alone++) {
        snprintf(folder, sizeof folder, "%s/alone%d", g_dir, alone);
        mkdir(folder, 0700);
        const char *names[] = {"tokenizer.json", "vocab.txt"};
        snprintf(from, sizeof from, "%s/%s", test_model_dir(), names[alone]);
        snprintf(to, sizeof to, "%s/%s", folder, names[alone]);
        copy_file(from, to);
        snprintf(to, sizeof to, "%s/tokenizer_config.json", folder);
        write_text(to, "{\"do_lower_case\": true, \"tokenizer_class\": \"BertTokenizer\"}");
        mn_tokenizer *tokenizer = open_tokenizer(folder);
        check_file(tokenizer, in_source("tokenizer/cases.jsonl"), false);
        mn_tokenizer_close(tokenizer);
    }
}

static void tokenizer_offsets_name_the_bytes_of_each_token(void **state)
{
    (void)state;
    mn_tokenizer *tokenizer = open_tokenizer(test_model_dir());
    const char *text = "  Hello, \xC3\x89lan unaffable\xE4\xB8\xAD"
                       "x\x01y [SEP]!";
    const char *expected[] = {"Hello",        ",", "\xC3\x89l", "an",    "una", "ffa", "ble",
                              "\xE4\xB8\xAD", "x", "y",         "[SEP]", "!"};
    mn_tokens tokens = {.with_offsets = true};
    assert_ok(mn_tokenizer_encode(tokenizer, text, strlen(text), SIZE_MAX, &tokens, test_error()));
    assert_int_equal(tokens.n, 12);
    for (size_t i = 0; i < tokens.n; i++) {
        assert_int_equal(tokens.ends[i] - tokens.starts[i], strlen(expected[i]));
        assert_memory_equal(text + tokens.starts[i], expected[i], strlen(expected[i]));
    }
    mn_tokens_free(&tokens);
    mn_tokenizer_close(tokenizer);
}

static void tokenizer_with_a_limit_gives_the_first_tokens(void **state)
{
    (void)state;
    mn_tokenizer *tokenizer = open_tokenizer(test_model_dir());
    const char *text = "antidisestablishmentarianism is a long word \xF0\x9F\x98\x80zz";
    mn_tokens all = {0};
    assert_ok(mn_tokenizer_encode(tokenizer, text, strlen(text), SIZE_MAX, &all, test_error()));
    for (size_t limit = 0; limit <= all.n; limit++) {
        mn_tokens some = {0};
        assert_ok(mn_tokenizer_encode(tokenizer, text, strlen(text), limit, &some, test_error()));
        assert_int_equal(some.n, limit);
        if (limit) assert_memory_equal(some.ids, all.ids, limit * sizeof *all.ids);
        mn_tokens_free(&some);
    }
    mn_tokens_free(&all);
    mn_tokenizer_close(tokenizer);
}

#define JSON_HEAD "{\"normalizer\":{\"type\":\"BertNormalizer\"},\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"

static void tokenizer_with_broken_files_is_refused_by_name(void **state)
{
    (void)state;
    const struct {
        const char *json, *config, *vocab, *word;
    } cases[] = {
        {NULL, NULL, NULL, "neither"},
        {NULL, NULL, "", "empty"},
        {NULL, NULL, "[PAD]\n[CLS]\n[SEP]\n", "[UNK]"},
        {NULL, NULL, "[UNK]\n[SEP]\n", "[CLS]"},
        {NULL, NULL, "[UNK]\n[CLS]\n", "[SEP]"},
        {NULL, "{\"tokenizer_class\": \"XLMRobertaTokenizer\"}", "[UNK]\n[CLS]\n[SEP]\n", "XLMRobertaTokenizer"},
        {"{\"normalizer\":", NULL, "[UNK]\n[CLS]\n[SEP]\n", "tokenizer.json:1"},
        {"[]", NULL, "[UNK]\n[CLS]\n[SEP]\n", "not an object"},
        {"{}", NULL, "[UNK]\n[CLS]\n[SEP]\n", "normalizer"},
        {"{\"normalizer\":{\"type\":\"NFC\"}}", NULL, "[UNK]\n", "NFC"},
        {"{\"normalizer\":{\"type\":\"BertNormalizer\"},\"pre_tokenizer\":{\"type\":\"ByteLevel\"}}", NULL, "[UNK]\n",
         "ByteLevel"},
        {"{\"normalizer\":{\"type\":\"BertNormalizer\"},\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},\"model\":{"
         "\"type\":\"BPE\"}}",
         NULL, "[UNK]\n", "BPE"},
        {"{\"normalizer\":{\"type\":\"BertNormalizer\"},\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},\"model\":{"
         "\"type\":"
         "\"WordPiece\",\"max_input_chars_per_word\":0}}",
         NULL, "[UNK]\n", "max_input_chars_per_word"},
        {"{\"normalizer\":null,\"model\":{\"type\":\"Unigram\"}}", NULL, NULL, "\"Unigram\""},
        {"{\"normalizer\":{\"type\":\"Replace\"},\"model\":{\"type\":\"WordLevel\"}}", NULL, "[UNK]\n",
         "\"WordLevel\""},
        {"{\"normalizer\":null,\"model\":{\"merges\":[\"a b\"],\"vocab\":{\"a\":0}}}", NULL, "[UNK]\n", "\"BPE\""},
        {"{\"normalizer\":null,\"model\":{\"vocab\":[[\"a\",0.5]]}}", NULL, "[UNK]\n", "\"Unigram\""},
        {JSON_HEAD "\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"[UNK]\":-1}}}", NULL, NULL, "[UNK]"},
        {JSON_HEAD "\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"[UNK]\":4194304}}}", NULL, NULL, "4194304"},
        {JSON_HEAD "\"model\":{\"type\":\"WordPiece\",\"vocab\":{}}}", NULL, NULL, "no vocabulary"},
        {JSON_HEAD "\"model\":{\"type\":\"WordPiece\"},\"added_tokens\":[{\"content\":\"x\",\"id\":4294967295}]}", NULL,
         "[UNK]\n[CLS]\n[SEP]\n", "added token 0"},
        {JSON_HEAD
         "\"model\":{\"type\":\"WordPiece\"},\"added_tokens\":[{\"content\":\"x\",\"id\":1,\"normalized\":true}]}",
         NULL, "[UNK]\n[CLS]\n[SEP]\n", "normalized"},
        {NULL, "{\"tokenizer_class\": \"GPT2Tokenizer\"}", "[UNK]\n[CLS]\n[SEP]\n", "GPT2Tokenizer"},
        {NULL, "{\"unk_token\": \"\"}", "\n\n", "vocabulary has no"},
        {"{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"
         "]]]]]]]]]]]]]]]"
         "]]]]]]]]]]]]]]]]]]}",
         NULL, "[UNK]\n", "nested"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char folder[1100], path[1200];
        snprintf(folder, sizeof folder, "%s/bad%zu", g_dir, i);
        mkdir(folder, 0700);
        const char *names[] = {"tokenizer.json", "tokenizer_config.json", "vocab.txt"};
        const char *contents[] = {cases[i].json, cases[i].config, cases[i].vocab};
        for (size_t j = 0; j < 3; j++) {
            snprintf(path, sizeof path, "%s/%s", folder, names[j]);
            if (contents[j]) write_text(path, contents[j]);
        }
        mn_tokenizer *tokenizer = (mn_tokenizer *)1;
        mneme_error error;
        assert_int_equal(mn_tokenizer_open(folder, &tokenizer, &error), MNEME_ERR_MODEL);
        assert_null(tokenizer);
        if (!strstr(error.message, cases[i].word)) fail_msg("\"%s\" does not say \"%s\"", error.message, cases[i].word);
    }
}

static void tokenizer_files_with_random_changes_never_crash(void **state)
{
    (void)state;
    char folder[1100], path[1200];
    snprintf(folder, sizeof folder, "%s/fuzz", g_dir);
    mkdir(folder, 0700);
    snprintf(path, sizeof path, "%s/vocab.txt", folder);
    copy_file(in_source("tokenizer/cased/vocab.txt"), path);
    FILE *file = fopen(in_source("tokenizer/cased/tokenizer.json"), "r");
    char good[8192], bytes[8192];
    size_t size = fread(good, 1, sizeof good, file);
    fclose(file);
    uint32_t seed = 99, accepted = 0;
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    for (int trial = 0; trial < 1000; trial++) {
        memcpy(bytes, good, size);
        for (int change = 0; change < 1 + trial % 4; change++) {
            seed = seed * 1664525u + 1013904223u;
            bytes[(seed >> 8) % size] = (char)(seed >> 24);
        }
        file = fopen(path, "wb");
        fwrite(bytes, 1, trial % 3 ? size : size - (seed >> 16) % size, file);
        fclose(file);
        mn_tokenizer *tokenizer = NULL;
        if (mn_tokenizer_open(folder, &tokenizer, NULL) != MNEME_OK) continue;
        accepted++;
        mn_tokens tokens = {0};
        assert_ok(mn_tokenizer_encode(tokenizer, bytes, size, SIZE_MAX, &tokens, test_error()));
        mn_tokens_free(&tokens);
        mn_tokenizer_close(tokenizer);
    }
    assert_true(accepted > 0 && accepted < 1000);
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
        cmocka_unit_test(tokenizer_on_golden_file_gives_official_ids),
        cmocka_unit_test(tokenizer_on_many_scripts_and_random_text_gives_official_ids),
        cmocka_unit_test(tokenizer_with_a_cased_vocabulary_gives_official_ids),
        cmocka_unit_test(tokenizer_with_other_settings_gives_official_ids),
        cmocka_unit_test(tokenizer_from_a_cased_config_alone_keeps_capitals),
        cmocka_unit_test(tokenizer_from_json_alone_or_from_vocab_alone_is_the_same),
        cmocka_unit_test(tokenizer_offsets_name_the_bytes_of_each_token),
        cmocka_unit_test(tokenizer_with_a_limit_gives_the_first_tokens),
        cmocka_unit_test(tokenizer_with_broken_files_is_refused_by_name),
        cmocka_unit_test(tokenizer_files_with_random_changes_never_crash),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
