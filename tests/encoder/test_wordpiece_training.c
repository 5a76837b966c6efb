/* test_wordpiece_training.c -- vocabularies learned from texts, against those of the official trainer
 * (make_wordpiece_cases.py) and a plain one that counts everything anew for each merge; tokenizers written from them.
 */
#include "model_folder.h"

#include "common/random.h"
#include "encoder/train/own_vocabulary.h"
#include "encoder/train/tokenizer_files.h"
#include "encoder/train/wordpiece_training.h"

#include <unistd.h>

static char *g_dir, *g_out;

static int set_up(void **state)
{
    (void)state;
    g_dir = test_make_dir();
    g_out = test_make_dir();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    test_remove_dir(g_dir);
    test_remove_dir(g_out);
    return 0;
}

static void write_text(const char *folder, const char *name, const char *text)
{
    FILE *file = model_create(folder, name);
    fputs(text, file);
    fclose(file);
}

/* A tokenizer that treats characters as a case's settings say; it knows no words. */
static mn_tokenizer *open_splitter(const json_t *settings)
{
    json_t *config =
        json_pack("{s:s, s:O, s:O, s:O}", "tokenizer_class", "BertTokenizer", "do_lower_case",
                  json_object_get(settings, "lowercase"), "strip_accents", json_object_get(settings, "strip_accents"),
                  "tokenize_chinese_chars", json_object_get(settings, "handle_chinese_chars"));
    model_write_json(g_dir, "tokenizer_config.json", config);
    write_text(g_dir, "vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n");
    json_decref(config);
    mn_tokenizer *tokenizer = NULL;
    assert_ok(mn_tokenizer_open(g_dir, &tokenizer, test_error()));
    return tokenizer;
}

static void count_texts(const json_t *one, const mn_tokenizer *splitter, mn_word_counts *words)
{
    json_t *texts = json_incref(json_object_get(one, "texts")), *lines = NULL, *line;
    size_t i;
    if (!texts) {
        texts = json_array();
        lines = model_read_lines("golden/minilm.jsonl");
        json_array_foreach(json_object_get(one, "golden"), i, line)
            json_array_append(texts, json_object_get(json_array_get(lines, (size_t)json_integer_value(line)), "text"));
        assert_true(json_array_size(texts) > 50);
    }
    json_array_foreach(texts, i, line) assert_ok(
        mn_word_counts_add_text(words, splitter, json_string_value(line), json_string_length(line), test_error()));
    json_decref(texts);
    json_decref(lines);
}

static void token_text(const mn_vocabulary *vocabulary, size_t i, char *out, size_t room)
{
    const mn_vocabulary_token *token = &vocabulary->tokens[i];
    assert_int_equal(token->id, i);
    snprintf(out, room, "%s%.*s", token->continuing ? "##" : "", (int)token->size,
             vocabulary->bytes.data + token->offset);
}

static void check_vocabulary(const mn_vocabulary *vocabulary, const json_t *expected, size_t line)
{
    char text[500];
    for (size_t i = 0; i < vocabulary->n && i < json_array_size(expected); i++) {
        token_text(vocabulary, i, text, sizeof text);
        if (strcmp(text, json_string_value(json_array_get(expected, i))) != 0)
            fail_msg("case %zu: token %zu is \"%s\", expected \"%s\"", line, i, text,
                     json_string_value(json_array_get(expected, i)));
    }
    assert_int_equal(vocabulary->n, json_array_size(expected));
}

static uint32_t number_of(const json_t *one, const char *key)
{
    return (uint32_t)json_integer_value(json_object_get(one, key));
}

/* ---- against the official trainer ------------------------------------------------------------------------------ */

static void vocabularies_equal_the_official_trainers(void **state)
{
    (void)state;
    json_t *cases = model_read_lines("train/wordpiece_cases.jsonl"), *one;
    size_t i;
    assert_true(json_array_size(cases) >= 12);
    json_array_foreach(cases, i, one)
    {
        mn_tokenizer *splitter = open_splitter(json_object_get(one, "settings"));
        mn_word_counts words = {0};
        count_texts(one, splitter, &words);
        const mn_wordpiece_options options = {.n_tokens = number_of(one, "n_tokens"),
                                              .alphabet_most = number_of(one, "limit"),
                                              .least_count = number_of(one, "least_count")};
        mn_vocabulary *vocabulary = NULL;
        assert_ok(mn_wordpiece_train(&words, &options, &vocabulary, test_error()));
        check_vocabulary(vocabulary, json_object_get(one, "vocabulary"), i + 1);
        mn_vocabulary_free(vocabulary);
        mn_word_counts_free(&words);
        mn_tokenizer_close(splitter);
    }
    json_decref(cases);
}

static void check_ids(const char *folder, const json_t *asked, size_t line)
{
    mn_tokenizer *tokenizer = NULL;
    assert_ok(mn_tokenizer_open(folder, &tokenizer, test_error()));
    json_t *one;
    size_t i;
    json_array_foreach(asked, i, one)
    {
        const json_t *text = json_object_get(one, "text"), *ids = json_object_get(one, "ids");
        mn_tokens tokens = {0};
        assert_ok(mn_tokenizer_encode(tokenizer, json_string_value(text), json_string_length(text), SIZE_MAX, &tokens,
                                      test_error()));
        if (tokens.n != json_array_size(ids))
            fail_msg("case %zu, text %zu: %zu tokens, expected %zu", line, i, tokens.n, json_array_size(ids));
        for (size_t k = 0; k < tokens.n; k++)
            assert_int_equal(tokens.ids[k], json_integer_value(json_array_get(ids, k)));
        mn_tokens_free(&tokens);
    }
    mn_tokenizer_close(tokenizer);
}

static void remove_file(const char *folder, const char *name)
{
    char path[1200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(unlink(path), 0);
}

/* tokenizer.json is what `tokenizers` writes for it; alone, or vocab.txt without it, gives the official ids. */
static void check_files(const mn_own_vocabulary *own, const json_t *one, size_t line)
{
    char path[1200];
    assert_ok(mn_tokenizer_files_write(&own->settings, 77, g_out, test_error()));
    check_ids(g_out, json_object_get(one, "ids"), line);
    snprintf(path, sizeof path, "%s/tokenizer.json", g_out);
    json_t *written = json_load_file(path, 0, NULL), *model = json_object_get(written, "model");
    assert_int_equal(json_object_size(json_object_get(model, "vocab")), own->n);
    json_object_del(model, "vocab");
    assert_true(json_equal(written, json_object_get(one, "tokenizer")));
    json_decref(written);
    remove_file(g_out, "vocab.txt");
    check_ids(g_out, json_object_get(one, "ids"), line);
    assert_ok(mn_tokenizer_files_write(&own->settings, 77, g_out, test_error()));
    remove_file(g_out, "tokenizer.json");
    check_ids(g_out, json_object_get(one, "ids"), line);
    snprintf(path, sizeof path, "%s/tokenizer_config.json", g_out);
    json_t *config = json_load_file(path, 0, NULL);
    assert_int_equal(number_of(config, "model_max_length"), 77);
    assert_string_equal(json_string_value(json_object_get(config, "pad_token")), "[PAD]");
    json_decref(config);
}

static void tokenizers_of_learned_vocabularies_give_official_ids(void **state)
{
    (void)state;
    json_t *cases = model_read_lines("train/wordpiece_cases.jsonl"), *one;
    size_t i, n = 0;
    json_array_foreach(cases, i, one)
    {
        if (!json_object_get(one, "ids")) continue;
        mn_tokenizer *splitter = open_splitter(json_object_get(one, "settings"));
        mn_word_counts words = {0};
        count_texts(one, splitter, &words);
        mn_own_vocabulary own = {0};
        assert_ok(mn_own_vocabulary_learn(&words, number_of(one, "n_tokens"), g_dir, splitter, &own, test_error()));
        check_vocabulary(own.settings.vocabulary, json_object_get(one, "vocabulary"), i + 1);
        check_files(&own, one, i + 1);
        mn_own_vocabulary_free(&own);
        mn_word_counts_free(&words);
        mn_tokenizer_close(splitter);
        n++;
    }
    assert_true(n >= 3);
    json_decref(cases);
}

/* ---- against counting everything anew -------------------------------------------------------------------------- */

enum { WORDS = 24, LENGTH = 10, TOKENS = 300, ENTRIES = 8192 };

typedef struct plain_entry {
    int a, b;
    long count;
    bool done, in[WORDS];
} plain_entry;

typedef struct plain_trainer {
    int n_words, lengths[WORDS], symbols[WORDS][LENGTH];
    long counts[WORDS];
    char tokens[TOKENS + 1][LENGTH + 4];
    int n_tokens;
    long kept[TOKENS + 1][TOKENS + 1]; /* what a merged pair keeps of its count */
    plain_entry entries[ENTRIES];
    int n_entries;
} plain_trainer;

static int find_or_add(plain_trainer *t, const char *token)
{
    for (int i = 0; i < t->n_tokens; i++)
        if (strcmp(t->tokens[i], token) == 0) return i;
    assert_true(t->n_tokens <= TOKENS);
    strcpy(t->tokens[t->n_tokens], token);
    return t->n_tokens++;
}

static long recount(const plain_trainer *t, int a, int b)
{
    long count = 0;
    for (int w = 0; w < t->n_words; w++)
        for (int i = 0; i + 1 < t->lengths[w]; i++)
            if (t->symbols[w][i] == a && t->symbols[w][i + 1] == b) count += t->counts[w];
    return count;
}

/* Pair (a, b) has come up in word w: an entry from `first` on knows it. */
static void note(plain_trainer *t, int first, int a, int b, int w)
{
    int e = first;
    while (e < t->n_entries && (t->entries[e].a != a || t->entries[e].b != b)) e++;
    if (e == t->n_entries) {
        assert_true(t->n_entries < ENTRIES);
        t->entries[t->n_entries++] = (plain_entry){.a = a, .b = b};
    }
    t->entries[e].in[w] = true;
}

static void count_entries(plain_trainer *t, int first)
{
    for (int e = first; e < t->n_entries; e++) {
        plain_entry *entry = &t->entries[e];
        entry->count = recount(t, entry->a, entry->b) + t->kept[entry->a][entry->b];
        entry->done = entry->count <= 0;
    }
}

static plain_entry *best_entry(plain_trainer *t)
{
    plain_entry *best = NULL;
    for (int e = 0; e < t->n_entries; e++) {
        plain_entry *one = &t->entries[e];
        if (one->done) continue;
        bool before = !best || one->count > best->count ||
                      (one->count == best->count && (one->a < best->a || (one->a == best->a && one->b < best->b)));
        if (before) best = one;
    }
    return best;
}

static void merge_plainly(plain_trainer *t, const plain_entry *entry, int id)
{
    int a = entry->a, b = entry->b, first = t->n_entries;
    long overlapping = 0;
    for (int w = 0; w < t->n_words; w++) {
        int *s = t->symbols[w], n = t->lengths[w], to = 0;
        if (!entry->in[w]) continue;
        for (int i = 0; i < n;) {
            if (i + 1 == n || s[i] != a || s[i + 1] != b) {
                s[to++] = s[i++];
                continue;
            }
            if (to > 0) note(t, first, s[to - 1], id, w);
            if (i + 2 < n) {
                note(t, first, id, s[i + 2], w);
                if (a == b && s[i + 2] == a) overlapping += t->counts[w];
            }
            s[to++] = id;
            i += 2;
        }
        t->lengths[w] = to;
    }
    t->kept[a][b] = entry->count - overlapping - recount(t, a, b);
    count_entries(t, first);
}

static void begin_plainly(plain_trainer *t, char words[WORDS][LENGTH + 1])
{
    t->n_tokens = t->n_entries = 0;
    memset(t->kept, 0, sizeof t->kept);
    for (int i = 0; i < MN_SPECIAL_TOKENS; i++) find_or_add(t, mn_special_tokens[i]);
    for (int inside = 0; inside < 2; inside++)
        for (char c = 'a'; c <= 'z'; c++)
            for (int w = 0; w < t->n_words; w++) {
                char token[4] = {'#', '#', c, 0};
                if (strchr(words[w] + inside, c)) find_or_add(t, inside ? token : token + 2);
            }
    for (int w = 0; w < t->n_words; w++) {
        t->lengths[w] = (int)strlen(words[w]);
        for (int i = 0; words[w][i]; i++) {
            char token[4] = {'#', '#', words[w][i], 0};
            t->symbols[w][i] = find_or_add(t, i ? token : token + 2);
        }
        for (int i = 0; i + 1 < t->lengths[w]; i++) note(t, 0, t->symbols[w][i], t->symbols[w][i + 1], w);
    }
    count_entries(t, 0);
}

static void train_plainly(plain_trainer *t, int n_tokens, long least)
{
    for (plain_entry *entry; t->n_tokens < n_tokens && (entry = best_entry(t));) {
        long count = recount(t, entry->a, entry->b) + t->kept[entry->a][entry->b];
        if (entry->count != count) {
            entry->count = count;
            continue;
        }
        if (count < least || count < 1) break;
        char token[2 * LENGTH + 8];
        snprintf(token, sizeof token, "%s%s", t->tokens[entry->a], t->tokens[entry->b] + 2);
        entry->done = true;
        merge_plainly(t, entry, find_or_add(t, token));
    }
}

static void merges_equal_those_of_counting_everything_anew(void **state)
{
    (void)state;
    static plain_trainer plain;
    mn_random random = {29};
    size_t merged = 0;
    for (int trial = 0; trial < 400; trial++) {
        char text[WORDS][LENGTH + 1];
        mn_word_counts words = {0};
        uint32_t letters = 1 + mn_random_below(&random, 4);
        plain.n_words = 0;
        for (int w = 0; w < WORDS; w++) {
            uint32_t size = 1 + mn_random_below(&random, LENGTH);
            char *word = text[plain.n_words];
            for (uint32_t i = 0; i < size; i++) word[i] = (char)('a' + mn_random_below(&random, letters));
            word[size] = 0;
            if (mn_word_counts_find(&words, word, size) != SIZE_MAX) continue;
            plain.counts[plain.n_words] = 1 + (long)mn_random_below(&random, trial % 2 ? 3 : 50);
            assert_ok(
                mn_word_counts_add(&words, word, size, (uint64_t)plain.counts[plain.n_words], NULL, test_error()));
            plain.n_words++;
        }
        uint32_t least = mn_random_below(&random, 4), n_tokens = 20 + mn_random_below(&random, TOKENS - 20);
        begin_plainly(&plain, text);
        size_t single = (size_t)plain.n_tokens;
        train_plainly(&plain, (int)n_tokens, (long)least);
        const mn_wordpiece_options options = {.n_tokens = n_tokens, .least_count = least};
        mn_vocabulary *vocabulary = NULL;
        assert_ok(mn_wordpiece_train(&words, &options, &vocabulary, test_error()));
        for (size_t i = 0; i < vocabulary->n && i < (size_t)plain.n_tokens; i++) {
            char token[64];
            token_text(vocabulary, i, token, sizeof token);
            if (strcmp(token, plain.tokens[i]) != 0)
                fail_msg("trial %d: token %zu is \"%s\", expected \"%s\"", trial, i, token, plain.tokens[i]);
        }
        assert_int_equal(vocabulary->n, plain.n_tokens);
        merged += vocabulary->n - single;
        mn_vocabulary_free(vocabulary);
        mn_word_counts_free(&words);
    }
    assert_true(merged > 10000);
}

/* ---- the rest -------------------------------------------------------------------------------------------------- */

static void the_order_of_words_changes_nothing(void **state)
{
    (void)state;
    const char *texts[] = {"shell", "shells", "hello", "yellow", "bellow", "cello", "ellipse"};
    char lists[2][2000] = {"", ""};
    for (int backwards = 0; backwards < 2; backwards++) {
        mn_word_counts words = {0};
        for (size_t i = 0; i < 7; i++) {
            size_t w = backwards ? 6 - i : i;
            assert_ok(mn_word_counts_add(&words, texts[w], strlen(texts[w]), 2 + w % 3, NULL, test_error()));
        }
        const mn_wordpiece_options options = {.n_tokens = 60};
        mn_vocabulary *vocabulary = NULL;
        assert_ok(mn_wordpiece_train(&words, &options, &vocabulary, test_error()));
        for (size_t i = 0; i < vocabulary->n; i++) {
            char token[64];
            token_text(vocabulary, i, token, sizeof token);
            strcat(strcat(lists[backwards], token), " ");
        }
        mn_vocabulary_free(vocabulary);
        mn_word_counts_free(&words);
    }
    assert_string_equal(lists[0], lists[1]);
    assert_non_null(strstr(lists[0], " ##ell"));
}

static void a_vocabulary_too_small_for_the_characters_is_refused(void **state)
{
    (void)state;
    mn_word_counts words = {0};
    assert_ok(mn_word_counts_add(&words, "abc", 3, 5, NULL, test_error()));
    mn_wordpiece_options options = {.n_tokens = 9}; /* 5, a b c, ##b ##c */
    mn_vocabulary *vocabulary = NULL;
    assert_int_equal(mn_wordpiece_train(&words, &options, &vocabulary, test_error()), MNEME_ERR_USAGE);
    assert_null(vocabulary);
    assert_non_null(strstr(test_error()->message, "expected 10 or more"));
    options.n_tokens = 10;
    assert_ok(mn_wordpiece_train(&words, &options, &vocabulary, test_error()));
    assert_int_equal(vocabulary->n, 10);
    mn_vocabulary_free(vocabulary);
    options.n_tokens = 100; /* and abc in two merges: then there is nothing left */
    assert_ok(mn_wordpiece_train(&words, &options, &vocabulary, test_error()));
    assert_int_equal(vocabulary->n, 12);
    mn_vocabulary_free(vocabulary);
    mn_own_vocabulary own = {0};
    assert_int_equal(mn_own_vocabulary_learn(&words, (1u << 20) + 1, g_dir, NULL, &own, test_error()), MNEME_ERR_USAGE);
    mn_word_counts_free(&words);
}

static void words_that_no_token_can_be_of_are_left_out(void **state)
{
    (void)state;
    json_t *settings = json_pack("{s:b, s:b, s:b}", "lowercase", 1, "strip_accents", 1, "handle_chinese_chars", 1);
    mn_tokenizer *splitter = open_splitter(settings);
    mn_word_counts words = {0};
    char text[300] = "";
    memset(text, 'x', 101);
    strcat(text, " Caf\xC3\xA9, caf\xC3\xA9 [MASK] \xFFok ");
    size_t size = strlen(text);
    memset(text + size, 'y', 100);
    assert_ok(mn_word_counts_add_text(&words, splitter, text, size + 100, test_error()));
    const struct {
        const char *word;
        uint64_t count;
    } expected[] = {{"cafe", 2}, {",", 1}, {"[", 1}, {"mask", 1}, {"]", 1}, {"ok", 1}};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        size_t place = mn_word_counts_find(&words, expected[i].word, strlen(expected[i].word));
        assert_int_equal(place, i);
        assert_int_equal(words.items[place].count, expected[i].count);
    }
    assert_int_equal(words.n, 7); /* and the y's */
    assert_int_equal(words.items[6].size, 100);
    mn_word_counts_free(&words);
    mn_tokenizer_close(splitter);
    json_decref(settings);
}

/* What a token begins as: the teacher's token of the same text, or tokens that are its text together. */
static void tokens_are_put_together_of_the_teachers(void **state)
{
    (void)state;
    char folder[1100];
    snprintf(folder, sizeof folder, "%s/teacher", g_dir);
    write_text(folder, "tokenizer_config.json", "{\"do_lower_case\": true}");
    model_write_vocabulary(folder);
    mn_tokenizer *teacher = NULL;
    assert_ok(mn_tokenizer_open(folder, &teacher, test_error()));
    mn_word_counts words = {0};
    const char *text = "the fishing beautiful king, thinking speaking \xE2\x88\x9E";
    for (int i = 0; i < 3; i++) assert_ok(mn_word_counts_add_text(&words, teacher, text, strlen(text), test_error()));
    mn_own_vocabulary own = {0};
    assert_ok(mn_own_vocabulary_learn(&words, 120, folder, teacher, &own, test_error()));
    size_t same = 0, joined = 0, unknown = 0;
    for (uint32_t i = 0; i < own.n; i++) {
        char token[64], together[128] = "";
        token_text(own.settings.vocabulary, i, token, sizeof token);
        size_t n = own.offsets[i + 1] - own.offsets[i];
        assert_true(n >= 1);
        for (uint32_t k = own.offsets[i]; k < own.offsets[i + 1]; k++) {
            size_t size = 0;
            const char *piece = mn_tokenizer_token(teacher, own.ids[k], &size);
            bool first = k == own.offsets[i];
            if (!first) assert_memory_equal(piece, "##", 2);
            snprintf(together + strlen(together), 60, "%.*s", (int)size - (first ? 0 : 2), piece + (first ? 0 : 2));
        }
        bool is_unknown = strcmp(together, "[UNK]") == 0 && i != MN_UNK_TOKEN;
        if (!is_unknown) assert_string_equal(together, token);
        unknown += is_unknown;
        same += n == 1;
        joined += n > 1;
    }
    assert_int_equal(unknown, 1); /* the infinity */
    assert_true(same > 20 && joined > 3);
    mn_own_vocabulary_free(&own);
    mn_word_counts_free(&words);
    mn_tokenizer_close(teacher);
}

static void learning_without_memory_fails_cleanly(void **state)
{
    (void)state;
    json_t *settings = json_pack("{s:b, s:b, s:b}", "lowercase", 1, "strip_accents", 1, "handle_chinese_chars", 1);
    mn_tokenizer *splitter = open_splitter(settings);
    mneme_status status = MNEME_ERR_MEMORY;
    size_t n = 0;
    while (status == MNEME_ERR_MEMORY) {
        mn_word_counts words = {0};
        mn_own_vocabulary own = {0};
        mn_alloc_fail_after(++n);
        status = mn_word_counts_add_text(&words, splitter, "shell shells hello yellow shell", 31, test_error());
        if (status == MNEME_OK) status = mn_own_vocabulary_learn(&words, 40, g_dir, splitter, &own, test_error());
        if (status == MNEME_OK) status = mn_tokenizer_files_write(&own.settings, 9, g_out, test_error());
        mn_alloc_fail_after(0);
        mn_own_vocabulary_free(&own);
        mn_word_counts_free(&words);
    }
    assert_ok(status);
    assert_true(n > 20);
    mn_tokenizer_close(splitter);
    json_decref(settings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vocabularies_equal_the_official_trainers),
        cmocka_unit_test(tokenizers_of_learned_vocabularies_give_official_ids),
        cmocka_unit_test(merges_equal_those_of_counting_everything_anew),
        cmocka_unit_test(the_order_of_words_changes_nothing),
        cmocka_unit_test(a_vocabulary_too_small_for_the_characters_is_refused),
        cmocka_unit_test(words_that_no_token_can_be_of_are_left_out),
        cmocka_unit_test(tokens_are_put_together_of_the_teachers),
        cmocka_unit_test(learning_without_memory_fails_cleanly),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
