/* fuzz_vocabulary.c -- vocab.txt: each line is found again under the last id that it has, and texts made of the lines
 * are cut as WordPiece's definition says. */
#include "fuzz_support.h"

#include "encoder/pieces.h"

enum { LINES_MAX = 64, WORD_MAX = 80 };

typedef struct line {
    const char *data;
    size_t size;
} line;

static size_t cut_lines(const char *text, size_t size, line *lines)
{
    size_t n = 0;
    for (const char *at = text, *end = text + size; at < end && n < LINES_MAX; n++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t length = (size_t)((stop ? stop : end) - at);
        lines[n] = (line){.data = at, .size = length && at[length - 1] == '\r' ? length - 1 : length};
        at = stop ? stop + 1 : end;
    }
    return n;
}

/* Id of prefix + piece: the last line that is equal. */
static uint32_t find(const line *lines, size_t n, const char *prefix, const char *piece, size_t size)
{
    size_t skip = strlen(prefix);
    for (size_t i = n; i > 0; i--)
        if (lines[i - 1].size == skip + size && memcmp(lines[i - 1].data, prefix, skip) == 0 &&
            memcmp(lines[i - 1].data + skip, piece, size) == 0)
            return (uint32_t)i - 1;
    return MN_NO_TOKEN;
}

/* The longest piece that does not end inside a character, against plain search. */
static void check_word(const mn_tokenizer *tokenizer, const line *lines, size_t n, const char *word, size_t word_size)
{
    for (size_t at = 0; at < word_size && at < 40; at++) {
        uint32_t expected = MN_NO_TOKEN;
        size_t size = word_size - at, found = 0;
        for (; size > 0 && expected == MN_NO_TOKEN; size--)
            if (size == word_size - at || ((unsigned char)word[at + size] & 0xC0u) != 0x80u)
                expected = find(lines, n, at ? "##" : "", word + at, size);
        uint32_t id = mn_longest_piece(tokenizer, word, word_size, at, &found);
        fuzz_require(id == expected && (id == MN_NO_TOKEN || found == size + 1));
    }
}

static void check_words(const mn_tokenizer *tokenizer, const char *text, size_t size)
{
    line lines[LINES_MAX];
    size_t n = cut_lines(text, size, lines);
    char word[WORD_MAX + MN_WORD_PADDING] = {0};
    for (size_t i = 3; i < n && i < 15; i++) { /* plain search is slow */
        const line *one = &lines[i], *two = &lines[3 + (i * 7) % (n - 3)];
        if (one->size + two->size > WORD_MAX) continue;
        memcpy(word, one->data, one->size);
        memcpy(word + one->size, two->data, two->size);
        /* A line that begins like one that goes on a word would be found under both names: no text has such a word. */
        if (one->size + two->size > 0 && word[0] != '#') check_word(tokenizer, lines, n, word, one->size + two->size);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char specials[] = "[UNK]\n[CLS]\n[SEP]\n";
    mn_tokenizer_settings settings;
    mn_tokenizer_image *image = NULL;
    mn_tokenizer *tokenizer = NULL;
    size_t text_size = sizeof specials - 1 + size;
    char *text = malloc(text_size);
    memcpy(text, specials, sizeof specials - 1);
    if (size) memcpy(text + sizeof specials - 1, data, size);
    const mn_tokenizer_file files[MN_TOKENIZER_FILES] = {{.name = "tokenizer.json"},
                                                         {.name = "tokenizer_config.json"},
                                                         {.name = "vocab.txt", .data = text, .size = text_size}};
    mneme_error error;
    mneme_status status = mn_tokenizer_settings_parse("folder", files, &settings, &error);
    if (status == MNEME_OK) {
        fuzz_require(mn_image_build("folder", &settings, &image, &error) == MNEME_OK);
        fuzz_require(mn_tokenizer_thaw(image, (size_t)image->size, &tokenizer, &error) == MNEME_OK);
        fuzz_tokenize(tokenizer, text, text_size);
        if (settings.vocabulary->n <= LINES_MAX) check_words(tokenizer, text, text_size);
        mn_tokenizer_settings_free(&settings);
    } else {
        fuzz_check_failure(status, &error, image);
    }
    mn_tokenizer_close(tokenizer);
    mn_free(image);
    free(text);
    return 0;
}
