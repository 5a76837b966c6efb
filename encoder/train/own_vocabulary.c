/* own_vocabulary.c -- see own_vocabulary.h. */
#include "encoder/train/own_vocabulary.h"

#include "common/memory.h"
#include "encoder/train/wordpiece_training.h"

#include <string.h>

/* As BertWordPieceTokenizer of `tokenizers` has them, but that a large vocabulary may have a large alphabet: of
 * Chinese, the thousand most frequent characters are nine tenths of a text. */
enum { LEAST_COUNT = 2, ALPHABET_LEAST = 1000 };

void mn_own_vocabulary_free(mn_own_vocabulary *vocabulary)
{
    mn_tokenizer_close(vocabulary->tokenizer);
    mn_tokenizer_settings_free(&vocabulary->settings);
    mn_free(vocabulary->ids);
    mn_free(vocabulary->offsets);
    *vocabulary = (mn_own_vocabulary){0};
}

static bool set_text(char **text, const char *value)
{
    mn_free(*text);
    return (*text = mn_strdup(value)) != NULL;
}

/* Of the teacher's settings, what is said of tokens gives way to the new ones. */
static mneme_status set_tokens(mn_tokenizer_settings *settings, mn_vocabulary *vocabulary, mneme_error *error)
{
    mn_vocabulary_free(settings->vocabulary);
    settings->vocabulary = vocabulary;
    for (size_t i = 0; i < settings->n_added; i++) mn_free(settings->added[i].content);
    settings->n_added = 0; /* there is room for MN_ADDED_TOKENS_MAX */
    for (uint32_t i = 0; i < MN_SPECIAL_TOKENS; i++) {
        char *content = mn_strdup(mn_special_tokens[i]);
        if (!content) return mn_fail_memory(error, "vocabulary");
        settings->added[settings->n_added++] = (mn_added_token){content, strlen(content), i};
    }
    bool set = set_text(&settings->unk_token, mn_special_tokens[MN_UNK_TOKEN]) &&
               set_text(&settings->cls_token, mn_special_tokens[MN_CLS_TOKEN]) &&
               set_text(&settings->sep_token, mn_special_tokens[MN_SEP_TOKEN]) &&
               set_text(&settings->prefix, vocabulary->prefix);
    return set ? MNEME_OK : mn_fail_memory(error, "vocabulary");
}

/* A piece that goes on a word may be unknown to the teacher where the same letters as a word are not. */
static mneme_status ask_for_pieces(const mn_tokenizer *teacher, const char *text, const mn_vocabulary_token *token,
                                   mn_tokens *out, mneme_error *error)
{
    size_t had = out->n;
    mneme_status status = mn_tokenizer_pieces(teacher, text, token->size, token->continuing, out, error);
    if (status != MNEME_OK || !token->continuing || out->ids[out->n - 1] != mn_tokenizer_unk(teacher)) return status;
    out->n = had;
    return mn_tokenizer_pieces(teacher, text, token->size, false, out, error);
}

static mneme_status find_pieces(mn_own_vocabulary *own, const mn_tokenizer *teacher, mneme_error *error)
{
    const mn_vocabulary *vocabulary = own->settings.vocabulary;
    mn_tokens tokens = {0};
    mneme_status status = MNEME_OK;
    own->offsets = mn_alloc_array((size_t)own->n + 1, sizeof *own->offsets);
    if (!own->offsets) return mn_fail_memory(error, "vocabulary");
    for (uint32_t i = 0; i < own->n && status == MNEME_OK; i++) {
        const mn_vocabulary_token *token = &vocabulary->tokens[i];
        const char *text = vocabulary->bytes.data + token->offset;
        own->offsets[i] = (uint32_t)tokens.n;
        status = i < MN_SPECIAL_TOKENS ? mn_tokenizer_encode(teacher, text, token->size, SIZE_MAX, &tokens, error)
                                       : ask_for_pieces(teacher, text, token, &tokens, error);
    }
    own->offsets[own->n] = (uint32_t)tokens.n;
    own->ids = tokens.ids;
    return status;
}

mneme_status mn_own_vocabulary_learn(const mn_word_counts *words, uint32_t n_tokens, const char *folder,
                                     const mn_tokenizer *teacher, mn_own_vocabulary *out, mneme_error *error)
{
    *out = (mn_own_vocabulary){.n_wanted = n_tokens};
    if (n_tokens > MN_OWN_VOCABULARY_MOST)
        return mn_fail(error, MNEME_ERR_USAGE, "a vocabulary of %u tokens; expected at most %d", n_tokens,
                       MN_OWN_VOCABULARY_MOST);
    const mn_wordpiece_options options = {.n_tokens = n_tokens,
                                          .alphabet_most =
                                              n_tokens / 4 > ALPHABET_LEAST ? n_tokens / 4 : ALPHABET_LEAST,
                                          .least_count = LEAST_COUNT};
    mn_vocabulary *vocabulary = NULL;
    mneme_status status = mn_tokenizer_settings_read(folder, &out->settings, error);
    if (status == MNEME_OK) status = mn_wordpiece_train(words, &options, &vocabulary, error);
    if (status == MNEME_OK) out->n = (uint32_t)vocabulary->n;
    if (status == MNEME_OK) status = set_tokens(&out->settings, vocabulary, error);
    if (status == MNEME_OK) status = mn_tokenizer_new(&out->settings, folder, &out->tokenizer, error);
    if (status == MNEME_OK) status = find_pieces(out, teacher, error);
    if (status != MNEME_OK) mn_own_vocabulary_free(out);
    return status;
}
