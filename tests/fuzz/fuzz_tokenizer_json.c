/* fuzz_tokenizer_json.c -- the files of a tokenizer, cut at lines "%%": tokenizer.json, tokenizer_config.json,
 * vocab.txt, and a text for the tokenizer that they make. */
#include "fuzz_support.h"

#include "encoder/tokenizer_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[MN_TOKENIZER_FILES] = {"tokenizer.json", "tokenizer_config.json", "vocab.txt"};
    fuzz_part parts[MN_TOKENIZER_FILES + 1];
    mn_tokenizer_file files[MN_TOKENIZER_FILES];
    mn_tokenizer_settings settings;
    mn_tokenizer_image *image = NULL;
    mn_tokenizer *tokenizer = NULL;
    mneme_error error;
    fuzz_cut(data, size, parts, MN_TOKENIZER_FILES + 1);
    for (size_t i = 0; i < MN_TOKENIZER_FILES; i++)
        files[i] = (mn_tokenizer_file){.name = names[i], .data = parts[i].data, .size = parts[i].size};
    mneme_status status = mn_tokenizer_settings_parse("folder", files, &settings, &error);
    if (status == MNEME_OK) {
        status = mn_image_build("folder", &settings, &image, &error);
        mn_tokenizer_settings_free(&settings);
    }
    if (status == MNEME_OK) {
        fuzz_require(mn_tokenizer_thaw(image, (size_t)image->size, &tokenizer, &error) == MNEME_OK);
        fuzz_tokenize(tokenizer, (const char *)data, size);
        const fuzz_part *text = &parts[MN_TOKENIZER_FILES];
        if (text->data) fuzz_tokenize(tokenizer, text->data, text->size);
    } else {
        fuzz_check_failure(status, &error, image);
    }
    mn_tokenizer_close(tokenizer);
    mn_free(image);
    for (size_t i = 0; i <= MN_TOKENIZER_FILES; i++) free(parts[i].data);
    return 0;
}
