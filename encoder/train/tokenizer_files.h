/* tokenizer_files.h -- writing a WordPiece tokenizer as the files of a Hugging Face folder: vocab.txt, tokenizer.json,
 * tokenizer_config.json and special_tokens_map.json. mneme, `tokenizers` and `transformers` read the same ids from
 * them. */
#ifndef MN_ENCODER_TRAIN_TOKENIZER_FILES_H
#define MN_ENCODER_TRAIN_TOKENIZER_FILES_H

#include "encoder/tokenizer_settings.h"

/* settings: with a vocabulary whose ids are 0, 1, ... in order, the tokens of mn_special_tokens in it (which are the
 * added ones), and the prefix "##". max_tokens: of the model's window. The folder is there; each file is written whole
 * or not at all. ERR_DISK_FULL, ERR_IO, ERR_MEMORY. */
mneme_status mn_tokenizer_files_write(const mn_tokenizer_settings *settings, uint32_t max_tokens, const char *folder,
                                      mneme_error *error);

#endif
