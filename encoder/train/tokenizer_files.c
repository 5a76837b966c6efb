/* tokenizer_files.c -- see tokenizer_files.h. The layout is that of `tokenizers` 0.23 and of BertTokenizer. */
#include "encoder/train/tokenizer_files.h"

#include "encoder/train/model_files.h"
#include "encoder/train/wordpiece_training.h"

/* A token as it is written. */
static void append_token(mn_buffer *out, const mn_vocabulary *vocabulary, const mn_vocabulary_token *token)
{
    if (token->continuing) mn_buffer_append(out, vocabulary->prefix, vocabulary->prefix_size);
    mn_buffer_append(out, vocabulary->bytes.data + token->offset, token->size);
}

static mneme_status write_list(const mn_vocabulary *vocabulary, const char *folder, mneme_error *error)
{
    mn_buffer lines = {0};
    for (size_t i = 0; i < vocabulary->n; i++) {
        append_token(&lines, vocabulary, &vocabulary->tokens[i]);
        mn_buffer_byte(&lines, '\n');
    }
    mneme_status status = lines.failed ? mn_fail_memory(error, "vocab.txt")
                                       : mn_model_write_file(folder, "vocab.txt", lines.data, lines.size, error);
    mn_buffer_free(&lines);
    return status;
}

/* ---- tokenizer.json -------------------------------------------------------------------------------------------- */

static json_t *list_vocabulary(const mn_vocabulary *vocabulary)
{
    json_t *object = json_object();
    mn_buffer token = {0};
    bool failed = !object;
    for (size_t i = 0; i < vocabulary->n && !failed; i++) {
        mn_buffer_clear(&token);
        append_token(&token, vocabulary, &vocabulary->tokens[i]);
        failed = token.failed ||
                 json_object_set_new(object, token.data, json_integer((json_int_t)vocabulary->tokens[i].id)) != 0;
    }
    mn_buffer_free(&token);
    if (!failed) return object;
    json_decref(object);
    return NULL;
}

static json_t *list_added(void)
{
    json_t *list = json_array();
    for (int i = 0; i < MN_SPECIAL_TOKENS; i++)
        json_array_append_new(list,
                              json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", i, "content", mn_special_tokens[i],
                                        "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0, "special", 1));
    return list;
}

static json_t *special_piece(int token, int type)
{
    return json_pack("{s:{s:s, s:i}}", "SpecialToken", "id", mn_special_tokens[token], "type_id", type);
}

static json_t *text_piece(const char *name, int type)
{
    return json_pack("{s:{s:s, s:i}}", "Sequence", "id", name, "type_id", type);
}

static json_t *special_ids(int token)
{
    return json_pack("{s:s, s:[i], s:[s]}", "id", mn_special_tokens[token], "ids", token, "tokens",
                     mn_special_tokens[token]);
}

/* [CLS] A [SEP], or [CLS] A [SEP] B [SEP] with B of type 1. */
static json_t *describe_template(void)
{
    json_t *single =
        json_pack("[o, o, o]", special_piece(MN_CLS_TOKEN, 0), text_piece("A", 0), special_piece(MN_SEP_TOKEN, 0));
    json_t *pair = json_pack("[o, o, o, o, o]", special_piece(MN_CLS_TOKEN, 0), text_piece("A", 0),
                             special_piece(MN_SEP_TOKEN, 0), text_piece("B", 1), special_piece(MN_SEP_TOKEN, 1));
    return json_pack("{s:s, s:o, s:o, s:{s:o, s:o}}", "type", "TemplateProcessing", "single", single, "pair", pair,
                     "special_tokens", mn_special_tokens[MN_CLS_TOKEN], special_ids(MN_CLS_TOKEN),
                     mn_special_tokens[MN_SEP_TOKEN], special_ids(MN_SEP_TOKEN));
}

static json_t *describe_tokenizer(const mn_tokenizer_settings *s)
{
    json_t *normalizer = json_pack("{s:s, s:b, s:b, s:b, s:b}", "type", "BertNormalizer", "clean_text",
                                   (int)s->clean_text, "handle_chinese_chars", (int)s->handle_chinese_chars,
                                   "strip_accents", (int)s->strip_accents, "lowercase", (int)s->lowercase);
    json_t *decoder = json_pack("{s:s, s:s, s:b}", "type", "WordPiece", "prefix", s->prefix, "cleanup", 1);
    json_t *model = json_pack("{s:s, s:s, s:s, s:i, s:o}", "type", "WordPiece", "unk_token", s->unk_token,
                              "continuing_subword_prefix", s->prefix, "max_input_chars_per_word",
                              (int)s->max_input_chars_per_word, "vocab", list_vocabulary(s->vocabulary));
    return json_pack("{s:s, s:n, s:n, s:o, s:o, s:{s:s}, s:o, s:o, s:o}", "version", "1.0", "truncation", "padding",
                     "added_tokens", list_added(), "normalizer", normalizer, "pre_tokenizer", "type",
                     "BertPreTokenizer", "post_processor", describe_template(), "decoder", decoder, "model", model);
}

/* ---- the small files ------------------------------------------------------------------------------------------- */

static json_t *name_special_tokens(void)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s}", "unk_token", mn_special_tokens[MN_UNK_TOKEN], "sep_token",
                     mn_special_tokens[MN_SEP_TOKEN], "pad_token", mn_special_tokens[MN_PAD_TOKEN], "cls_token",
                     mn_special_tokens[MN_CLS_TOKEN], "mask_token", mn_special_tokens[MN_MASK_TOKEN]);
}

static json_t *describe_config(const mn_tokenizer_settings *s, uint32_t max_tokens)
{
    json_t *config = json_pack("{s:s, s:b, s:b, s:b, s:i}", "tokenizer_class", "BertTokenizer", "do_lower_case",
                               (int)s->lowercase, "strip_accents", (int)s->strip_accents, "tokenize_chinese_chars",
                               (int)s->handle_chinese_chars, "model_max_length", (int)max_tokens);
    json_t *names = name_special_tokens();
    if (names) json_object_update(config, names);
    json_decref(names);
    return config;
}

mneme_status mn_tokenizer_files_write(const mn_tokenizer_settings *settings, uint32_t max_tokens, const char *folder,
                                      mneme_error *error)
{
    mneme_status status = write_list(settings->vocabulary, folder, error);
    if (status == MNEME_OK) status = mn_model_write_json(folder, "tokenizer.json", describe_tokenizer(settings), error);
    if (status == MNEME_OK)
        status = mn_model_write_json(folder, "tokenizer_config.json", describe_config(settings, max_tokens), error);
    if (status == MNEME_OK)
        status = mn_model_write_json(folder, "special_tokens_map.json", name_special_tokens(), error);
    return status;
}
