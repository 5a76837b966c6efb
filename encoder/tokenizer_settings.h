/* tokenizer_settings.h -- what a model folder says about its tokenizer: tokenizer.json, else tokenizer_config.json. */
#ifndef MN_ENCODER_TOKENIZER_SETTINGS_H
#define MN_ENCODER_TOKENIZER_SETTINGS_H

#include "encoder/vocabulary.h"

enum { MN_ADDED_TOKENS_MAX = 256 };

/* A token that is recognised in the raw text, before anything is normalised. (That some take white space beside them
 * along, lstrip and rstrip, changes no id: white space gives no tokens.) */
typedef struct mn_added_token {
    char *content; /* owned */
    size_t size;
    uint32_t id;
} mn_added_token;

typedef struct mn_tokenizer_settings {
    bool clean_text, handle_chinese_chars, strip_accents, lowercase;
    uint32_t max_input_chars_per_word;
    char *unk_token, *cls_token, *sep_token, *prefix; /* owned */
    mn_added_token *added;                            /* owned */
    size_t n_added;
    mn_vocabulary *vocabulary; /* owned */
} mn_tokenizer_settings;

/* ERR_MODEL: names the file and what is missing, wrong or of a kind that is not supported. */
mneme_status mn_tokenizer_settings_read(const char *folder, mn_tokenizer_settings *out, mneme_error *error);

/* The same from the texts of the files. */
enum { MN_TOKENIZER_JSON, MN_TOKENIZER_CONFIG, MN_VOCAB_TXT, MN_TOKENIZER_FILES };
typedef struct mn_tokenizer_file {
    const char *name; /* for messages */
    const char *data; /* NULL: there is no such file */
    size_t size;
} mn_tokenizer_file;
mneme_status mn_tokenizer_settings_parse(const char *folder, const mn_tokenizer_file files[MN_TOKENIZER_FILES],
                                         mn_tokenizer_settings *out, mneme_error *error);

void mn_tokenizer_settings_free(mn_tokenizer_settings *settings);

#endif
