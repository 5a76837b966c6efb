/* tokenizer_settings.c -- reading tokenizer.json, tokenizer_config.json and the vocabulary.
 *
 * tokenizer.json repeats the vocabulary, which is nearly all of it. Where vocab.txt is there as well, the "vocab"
 * object is cut out before the rest is parsed: it is part of every command's start. */
#include "encoder/tokenizer_settings.h"

#include "common/buffer.h"
#include "common/file.h"
#include "common/json.h"
#include "common/memory.h"

#include <jansson.h>
#include <string.h>

enum { JSON_MAX = 64 << 20, DEPTH_MAX = 32 };

typedef struct settings_reader {
    const char *folder;
    const char *json_path, *config_path; /* for messages */
    json_t *json, *config;               /* NULL: no such file */
    mn_tokenizer_settings *out;
} settings_reader;

/* ---- loading JSON ---- */

/* The text without what the object behind the key "vocab" holds. */
static mneme_status without_vocabulary(const mn_tokenizer_file *file, mn_buffer *out, mneme_error *error)
{
    static const char key[] = "\"vocab\"";
    const char *end = file->data + file->size, *behind = NULL;
    const char *at = file->size ? memmem(file->data, file->size, key, sizeof key - 1) : NULL;
    if (at) {
        at += sizeof key - 1;
        while (at < end && strchr(" \t\r\n:", *at)) at++;
        if (at < end && *at == '{') behind = mn_json_matching_end(at, (size_t)(end - at));
    }
    if (behind) {
        mn_buffer_append(out, file->data, (size_t)(at - file->data));
        mn_buffer_text(out, "{}");
        mn_buffer_append(out, behind, (size_t)(end - behind));
    } else {
        mn_buffer_append(out, file->data, file->size);
    }
    return out->failed ? mn_fail_memory(error, file->name) : MNEME_OK;
}

static mneme_status parse_object(const char *name, const char *text, size_t size, size_t flags, json_t **out,
                                 mneme_error *error)
{
    if (size > JSON_MAX)
        return mn_fail(error, MNEME_ERR_MODEL, "%s has %zu bytes, at most %d are read", name, size, JSON_MAX);
    if (mn_json_deeper_than(text, size, DEPTH_MAX))
        return mn_fail(error, MNEME_ERR_MODEL, "%s is nested deeper than %d", name, DEPTH_MAX);
    json_error_t problem;
    *out = json_loadb(text, size, flags, &problem);
    if (json_is_object(*out)) return MNEME_OK;
    return mn_fail(error, MNEME_ERR_MODEL, "%s:%d: %s", name, *out ? 1 : problem.line,
                   *out ? "not an object" : problem.text);
}

static mneme_status load(const mn_tokenizer_file *file, bool cut_vocabulary, size_t flags, json_t **out,
                         mneme_error *error)
{
    *out = NULL;
    if (!file->data) return MNEME_OK;
    if (!cut_vocabulary) return parse_object(file->name, file->data, file->size, flags, out, error);
    mn_buffer text = {0};
    mneme_status status = without_vocabulary(file, &text, error);
    if (status == MNEME_OK) status = parse_object(file->name, text.data ? text.data : "", text.size, flags, out, error);
    mn_buffer_free(&text);
    return status;
}

/* ---- pieces ---- */

static mneme_status refuse_kind(const char *path, const char *what, const char *kind, const char *wanted,
                                mneme_error *error)
{
    return mn_fail(error, MNEME_ERR_MODEL, "%s: %s \"%s\" is not supported; it must be %s", path, what,
                   kind ? kind : "(none)", wanted);
}

static bool flag(const json_t *object, const char *key, bool fallback)
{
    const json_t *value = json_object_get(object, key);
    return json_is_boolean(value) ? json_is_true(value) : fallback;
}

static mneme_status keep_text(const char *text, char **out, mneme_error *error)
{
    mn_free(*out);
    *out = mn_strdup(text);
    return *out ? MNEME_OK : mn_fail_memory(error, "tokenizer");
}

/* The text of a key, or of the "content" of an object there. */
static const char *token_text(const json_t *object, const char *key, const char *fallback)
{
    const json_t *value = json_object_get(object, key);
    if (json_is_object(value)) value = json_object_get(value, "content");
    return json_is_string(value) ? json_string_value(value) : fallback;
}

static mneme_status add_token(settings_reader *r, const char *content, uint32_t id, mneme_error *error)
{
    mn_tokenizer_settings *out = r->out;
    if (!content || !*content) return MNEME_OK;
    if (out->n_added == MN_ADDED_TOKENS_MAX)
        return mn_fail(error, MNEME_ERR_MODEL, "%s: over %d added tokens", r->json_path, MN_ADDED_TOKENS_MAX);
    mn_added_token *token = &out->added[out->n_added];
    *token = (mn_added_token){.content = mn_strdup(content), .size = strlen(content), .id = id};
    if (!token->content) return mn_fail_memory(error, "tokenizer");
    out->n_added++;
    return MNEME_OK;
}

/* ---- tokenizer.json ---- */

/* The kind of the model; NULL: nothing says. Older files leave the type out. */
static const char *model_kind(const json_t *model)
{
    const char *kind = json_string_value(json_object_get(model, "type"));
    if (kind) return kind;
    if (json_object_get(model, "merges")) return "BPE";
    if (json_is_array(json_object_get(model, "vocab"))) return "Unigram";
    return json_object_get(model, "max_input_chars_per_word") ? "WordPiece" : NULL;
}

static mneme_status check_kind(const settings_reader *r, mneme_error *error)
{
    const char *kind = model_kind(json_object_get(r->json, "model"));
    if (!kind || strcmp(kind, "WordPiece") == 0) return MNEME_OK; /* none: the normalizer says more about what it is */
    return refuse_kind(r->json_path, "tokenizer", kind, "WordPiece", error);
}

static mneme_status read_normalizer(settings_reader *r, mneme_error *error)
{
    const json_t *normalizer = json_object_get(r->json, "normalizer");
    const char *kind = json_string_value(json_object_get(normalizer, "type"));
    if (!kind || strcmp(kind, "BertNormalizer") != 0)
        return refuse_kind(r->json_path, "normalizer", kind, "BertNormalizer", error);
    r->out->clean_text = flag(normalizer, "clean_text", true);
    r->out->handle_chinese_chars = flag(normalizer, "handle_chinese_chars", true);
    r->out->lowercase = flag(normalizer, "lowercase", true);
    r->out->strip_accents = flag(normalizer, "strip_accents", r->out->lowercase); /* null follows lowercase */
    const json_t *pre = json_object_get(r->json, "pre_tokenizer");
    kind = json_string_value(json_object_get(pre, "type"));
    if (!kind || strcmp(kind, "BertPreTokenizer") != 0)
        return refuse_kind(r->json_path, "pre_tokenizer", kind, "BertPreTokenizer", error);
    return MNEME_OK;
}

static mneme_status read_model(settings_reader *r, mneme_error *error)
{
    const json_t *model = json_object_get(r->json, "model");
    if (!model_kind(model)) return refuse_kind(r->json_path, "tokenizer", NULL, "WordPiece", error);
    const json_t *limit = json_object_get(model, "max_input_chars_per_word");
    json_int_t chars = json_is_integer(limit) ? json_integer_value(limit) : 100;
    if (chars < 1 || chars > 1000)
        return mn_fail(error, MNEME_ERR_MODEL, "%s: max_input_chars_per_word must be 1 to 1000", r->json_path);
    r->out->max_input_chars_per_word = (uint32_t)chars;
    mneme_status status = keep_text(token_text(model, "unk_token", "[UNK]"), &r->out->unk_token, error);
    if (status == MNEME_OK)
        status = keep_text(token_text(model, "continuing_subword_prefix", "##"), &r->out->prefix, error);
    return status;
}

static mneme_status read_added_tokens(settings_reader *r, mneme_error *error)
{
    const json_t *added = json_object_get(r->json, "added_tokens"), *token;
    size_t i;
    json_array_foreach(added, i, token)
    {
        const char *content = json_string_value(json_object_get(token, "content"));
        const json_t *number = json_object_get(token, "id");
        json_int_t id = json_is_integer(number) ? json_integer_value(number) : -1;
        if (!content || id < 0 || id >= MN_VOCABULARY_MAX)
            return mn_fail(error, MNEME_ERR_MODEL, "%s: added token %zu has no content, or an id that is not 0 to %d",
                           r->json_path, i, MN_VOCABULARY_MAX - 1);
        if (flag(token, "single_word", false) || flag(token, "normalized", false))
            return mn_fail(error, MNEME_ERR_MODEL,
                           "%s: added token \"%s\" is single_word or normalized, which is not supported", r->json_path,
                           content);
        /* As the official tokenizer does it: the vocabulary's id counts more than the one that stands here. */
        uint32_t known = mn_vocabulary_find_token(r->out->vocabulary, content);
        if (known != MN_NO_TOKEN) id = known;
        mneme_status status = add_token(r, content, (uint32_t)id, error);
        if (status != MNEME_OK) return status;
    }
    return MNEME_OK;
}

static mneme_status read_json_vocabulary(settings_reader *r, mneme_error *error)
{
    const json_t *vocab = json_object_get(json_object_get(r->json, "model"), "vocab");
    if (json_object_size(vocab) == 0)
        return mn_fail(error, MNEME_ERR_MODEL, "%s: no vocabulary, and no vocab.txt", r->json_path);
    mneme_status status = mn_vocabulary_new(r->out->prefix, &r->out->vocabulary, error);
    const char *token;
    json_t *id;
    json_object_foreach((json_t *)(uintptr_t)vocab, token, id)
    {
        json_int_t number = json_is_integer(id) ? json_integer_value(id) : -1;
        if (status == MNEME_OK && (number < 0 || number > UINT32_MAX))
            status = mn_fail(error, MNEME_ERR_MODEL, "%s: token \"%s\" has no id", r->json_path, token);
        if (status == MNEME_OK)
            status = mn_vocabulary_add(r->out->vocabulary, token, strlen(token), (uint32_t)number, error);
    }
    return status;
}

/* ---- tokenizer_config.json alone ---- */

static mneme_status read_config_alone(settings_reader *r, mneme_error *error)
{
    const char *kind = token_text(r->config, "tokenizer_class", "BertTokenizer");
    if (strcmp(kind, "BertTokenizer") != 0 && strcmp(kind, "BertTokenizerFast") != 0)
        return refuse_kind(r->config_path, "tokenizer_class", kind, "BertTokenizer", error);
    r->out->clean_text = true;
    r->out->handle_chinese_chars = flag(r->config, "tokenize_chinese_chars", true);
    r->out->lowercase = flag(r->config, "do_lower_case", true);
    r->out->strip_accents = flag(r->config, "strip_accents", r->out->lowercase);
    r->out->max_input_chars_per_word = 100;
    mneme_status status = keep_text(token_text(r->config, "unk_token", "[UNK]"), &r->out->unk_token, error);
    if (status == MNEME_OK) status = keep_text("##", &r->out->prefix, error);
    return status;
}

static mneme_status add_named_tokens(settings_reader *r, mneme_error *error)
{
    static const char *const names[][2] = {{"unk_token", "[UNK]"},
                                           {"sep_token", "[SEP]"},
                                           {"pad_token", "[PAD]"},
                                           {"cls_token", "[CLS]"},
                                           {"mask_token", "[MASK]"}};
    mneme_status status = MNEME_OK;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && status == MNEME_OK; i++) {
        const char *content = token_text(r->config, names[i][0], names[i][1]);
        uint32_t id = mn_vocabulary_find_token(r->out->vocabulary, content);
        if (id != MN_NO_TOKEN) status = add_token(r, content, id, error);
    }
    return status;
}

/* ---- all ---- */

/* A tokenizer.json without a post_processor (model2vec's) puts nothing around a text, and its vocabulary need not have
 * [CLS] and [SEP]: the unknown token's name stands in for theirs. */
static mneme_status keep_special(const settings_reader *r, const char *key, const char *fallback, char **out,
                                 mneme_error *error)
{
    const char *content = token_text(r->config, key, fallback);
    bool unused = r->json && !json_is_object(json_object_get(r->json, "post_processor"));
    if (unused && mn_vocabulary_find_token(r->out->vocabulary, content) == MN_NO_TOKEN) content = r->out->unk_token;
    return keep_text(content, out, error);
}

static mneme_status read_texts(settings_reader *r, const mn_tokenizer_file files[MN_TOKENIZER_FILES],
                               mneme_error *error)
{
    const mn_tokenizer_file *vocab = &files[MN_VOCAB_TXT];
    mneme_status status = load(&files[MN_TOKENIZER_JSON], vocab->data != NULL, 0, &r->json, error);
    /* Whole numbers as real ones: model_max_length is 10^30 where nobody has set it. */
    if (status == MNEME_OK)
        status = load(&files[MN_TOKENIZER_CONFIG], false, JSON_DECODE_INT_AS_REAL, &r->config, error);
    if (status != MNEME_OK) return status;
    if (!r->json && !vocab->data)
        return mn_fail(error, MNEME_ERR_MODEL, "%s has neither tokenizer.json nor vocab.txt", r->folder);
    if (r->json) status = check_kind(r, error);
    if (status == MNEME_OK) status = r->json ? read_normalizer(r, error) : read_config_alone(r, error);
    if (status == MNEME_OK && r->json) status = read_model(r, error);
    if (status == MNEME_OK)
        status = vocab->data ? mn_vocabulary_parse(vocab->name, vocab->data, vocab->size, r->out->prefix,
                                                   &r->out->vocabulary, error)
                             : read_json_vocabulary(r, error);
    if (status == MNEME_OK) status = r->json ? read_added_tokens(r, error) : add_named_tokens(r, error);
    if (status == MNEME_OK) status = keep_special(r, "cls_token", "[CLS]", &r->out->cls_token, error);
    if (status == MNEME_OK) status = keep_special(r, "sep_token", "[SEP]", &r->out->sep_token, error);
    return status;
}

mneme_status mn_tokenizer_settings_parse(const char *folder, const mn_tokenizer_file files[MN_TOKENIZER_FILES],
                                         mn_tokenizer_settings *out, mneme_error *error)
{
    *out = (mn_tokenizer_settings){0};
    settings_reader r = {.folder = folder, .out = out};
    r.json_path = files[MN_TOKENIZER_JSON].name;
    r.config_path = files[MN_TOKENIZER_CONFIG].name;
    out->added = mn_alloc_zeroed(MN_ADDED_TOKENS_MAX, sizeof *out->added);
    mneme_status status = out->added ? read_texts(&r, files, error) : mn_fail_memory(error, "tokenizer");
    json_decref(r.json);
    json_decref(r.config);
    if (status != MNEME_OK) mn_tokenizer_settings_free(out);
    return status;
}

mneme_status mn_tokenizer_settings_read(const char *folder, mn_tokenizer_settings *out, mneme_error *error)
{
    static const char *const names[MN_TOKENIZER_FILES] = {"tokenizer.json", "tokenizer_config.json", "vocab.txt"};
    *out = (mn_tokenizer_settings){0};
    char *paths[MN_TOKENIZER_FILES] = {0};
    mn_mapping maps[MN_TOKENIZER_FILES] = {0};
    mn_tokenizer_file files[MN_TOKENIZER_FILES] = {0};
    mneme_status status = MNEME_OK;
    for (size_t i = 0; i < MN_TOKENIZER_FILES && status == MNEME_OK; i++) {
        paths[i] = mn_path_join(folder, names[i]);
        if (!paths[i]) status = mn_fail_memory(error, "tokenizer");
        bool exists = paths[i] && mn_file_exists(paths[i]);
        if (exists) status = mn_file_map(paths[i], &maps[i], error);
        const char *data = maps[i].data ? (const char *)maps[i].data : ""; /* of an empty file there is no map */
        files[i] = (mn_tokenizer_file){.name = paths[i], .data = exists ? data : NULL, .size = maps[i].size};
    }
    if (status == MNEME_OK) status = mn_tokenizer_settings_parse(folder, files, out, error);
    for (size_t i = 0; i < MN_TOKENIZER_FILES; i++) {
        mn_file_unmap(&maps[i]);
        mn_free(paths[i]);
    }
    return status;
}

void mn_tokenizer_settings_free(mn_tokenizer_settings *settings)
{
    for (size_t i = 0; i < settings->n_added; i++) mn_free(settings->added[i].content);
    mn_free(settings->added);
    mn_free(settings->unk_token);
    mn_free(settings->cls_token);
    mn_free(settings->sep_token);
    mn_free(settings->prefix);
    mn_vocabulary_free(settings->vocabulary);
    *settings = (mn_tokenizer_settings){0};
}
