/* fuzz_tokenizer_thaw.c -- damaged frozen tokenizers. The input is not an image, which would be too large to change
 * well, but changes of one: byte 0: bit 0 = make the hash of the head right again, bit 1 = cut short at the first
 * change; then changes of five bytes: where (u32, little-endian; even: in the first 4096 bytes, odd: anywhere), value.
 */
#include "fuzz_support.h"

#include "encoder/tokenizer_image.h"

#include <xxhash.h>

static const char vocabulary[] =
    "[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\nfox\n##es\n##e\nantidisestablish\n##mentarianism\nstraw\n"
    "\xC3\xA9\n##\xE4\xB8\xAD\n0\n##1\n";
static const char words[] =
    "The foxes, antidisestablishmentarianism [MASK] straw \xC3\xA9t\xC3\xA9 x\xE4\xB8\xAD 01 \xEA\xB0\x80 \xFF zz";

/* The image to change; made once. */
static mn_tokenizer_image *make_image(void)
{
    static mn_tokenizer_image *image;
    if (image) return image;
    const mn_tokenizer_file files[MN_TOKENIZER_FILES] = {
        {.name = "tokenizer.json"},
        {.name = "tokenizer_config.json"},
        {.name = "vocab.txt", .data = vocabulary, .size = sizeof vocabulary - 1}};
    mn_tokenizer_settings settings;
    fuzz_require(mn_tokenizer_settings_parse("folder", files, &settings, NULL) == MNEME_OK);
    fuzz_require(mn_image_build("folder", &settings, &image, NULL) == MNEME_OK);
    mn_tokenizer_settings_free(&settings);
    return image;
}

/* Damaged or not, ids stay in range and every read inside the image. */
static void use(const mn_tokenizer *tokenizer)
{
    mn_tokens tokens = {.with_offsets = true};
    fuzz_require(mn_tokenizer_encode(tokenizer, words, sizeof words - 1, SIZE_MAX, &tokens, NULL) == MNEME_OK);
    fuzz_require(mn_tokenizer_count(tokenizer, words, sizeof words - 1) == tokens.n);
    for (size_t i = 0; i < tokens.n; i++) {
        size_t size;
        const char *token = mn_tokenizer_token(tokenizer, tokens.ids[i], &size);
        volatile char read = '\0';
        for (size_t j = 0; j < size; j++) read = (char)(read ^ token[j]);
        fuzz_require(tokens.ids[i] < mn_tokenizer_vocabulary(tokenizer));
        fuzz_require(tokens.starts[i] <= tokens.ends[i] && tokens.ends[i] < sizeof words);
    }
    fuzz_require(mn_tokenizer_cls(tokenizer) < mn_tokenizer_vocabulary(tokenizer));
    fuzz_require(mn_tokenizer_sep(tokenizer) < mn_tokenizer_vocabulary(tokenizer));
    mn_tokens_free(&tokens);
}

static void sign(char *bytes, size_t size)
{
    if (size < sizeof(mn_tokenizer_image)) return;
    size_t from = offsetof(mn_tokenizer_image, version);
    uint64_t hash = XXH3_64bits(bytes + from, sizeof(mn_tokenizer_image) - from);
    memcpy(bytes + offsetof(mn_tokenizer_image, head_hash), &hash, sizeof hash);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const mn_tokenizer_image *image = make_image();
    size_t image_size = (size_t)image->size, used = image_size;
    unsigned flags = size ? data[0] : 0;
    char *bytes = mn_alloc_aligned(64, image_size);
    memcpy(bytes, image, image_size);
    for (size_t at = 1; at + 5 <= size; at += 5) {
        uint32_t offset;
        memcpy(&offset, data + at, sizeof offset);
        size_t place = offset % 2 ? (offset >> 1) % image_size : (offset >> 1) % 4096;
        if ((flags & 2) && at == 1)
            used = place;
        else
            bytes[place] = (char)data[at + 4];
    }
    if (flags & 1) sign(bytes, used);
    char *exact = mn_alloc_aligned(64, used ? used : 1); /* so that a sanitizer sees its end */
    memcpy(exact, bytes, used);
    mn_tokenizer *tokenizer = NULL;
    mneme_error error;
    mneme_status status = mn_tokenizer_thaw(exact, used, &tokenizer, &error);
    if (status == MNEME_OK)
        use(tokenizer);
    else
        fuzz_check_failure(status, &error, tokenizer);
    mn_tokenizer_close(tokenizer);
    mn_free(exact);
    mn_free(bytes);
    return 0;
}
