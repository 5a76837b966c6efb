/* fuzz_driver.c -- runs a fuzz target without a fuzzer: every file of the corpus, then mutations of them.
 *
 *     fuzz_TARGET CORPUS_FOLDER [MUTATIONS [SEED]]
 *
 * The same seed gives the same inputs; the input in hand is written to fuzz_TARGET.input when the target crashes. */
#include "fuzz_support.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

enum { FILES_MAX = 256, INPUT_MAX = 1 << 16 };

typedef struct corpus_file {
    uint8_t *data;
    size_t size;
} corpus_file;

static corpus_file g_files[FILES_MAX];
static size_t g_n_files;
static uint64_t g_random;
static const uint8_t *g_input; /* in hand */
static size_t g_input_size;
static char g_crash_path[1024];

static uint32_t draw(uint32_t limit)
{
    g_random = g_random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(g_random >> 33) % limit;
}

static int visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* In the order of their names, so that a seed means the same everywhere. */
static void read_corpus(const char *folder)
{
    struct dirent **entries;
    int n = scandir(folder, &entries, visible, alphasort);
    for (int i = 0; i < n; i++) {
        char path[2048];
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        FILE *file = g_n_files < FILES_MAX ? fopen(path, "rb") : NULL;
        if (file) {
            uint8_t *data = malloc(INPUT_MAX);
            size_t size = fread(data, 1, INPUT_MAX, file);
            g_files[g_n_files++] = (corpus_file){.data = data, .size = size};
            fclose(file);
        }
        free(entries[i]);
    }
    if (n > 0) free(entries);
}

static void write_crash(int signal_number)
{
    int fd = open(g_crash_path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    ssize_t written = fd >= 0 ? write(fd, g_input, g_input_size) : -1;
    static const char words[] = "the input in hand is in the file fuzz_*.input of the working directory\n";
    if (written >= 0) written = write(STDERR_FILENO, words, sizeof words - 1);
    (void)written;
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

/* In memory of exactly its size, so that a sanitizer sees what is read beyond. */
static void run(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (size) memcpy(copy, data, size);
    g_input = copy;
    g_input_size = size;
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

/* One small change of data[0..size), in place; the new size. */
static size_t mutate(uint8_t *data, size_t size)
{
    static const char *const words[] = {"\n%%\n", "{",    "}",    "[",  "]",          "\"",
                                        ":",      ",",    "-1",   "0",  "4294967296", "9223372036854775807",
                                        "1e999",  "null", "true", "##", "\xC3\xA9",   "\xFF",
                                        "\\u0000"};
    size_t at = size ? draw((uint32_t)size) : 0;
    const corpus_file *other = &g_files[draw((uint32_t)g_n_files)];
    const char *word = words[draw(sizeof words / sizeof *words)];
    size_t word_size = strlen(word), n;
    switch (draw(7)) {
    case 0: /* a bit */
        if (size) data[at] ^= (uint8_t)(1u << draw(8));
        return size;
    case 1: /* a byte */
        if (size) data[at] = (uint8_t)draw(256);
        return size;
    case 2: /* some bytes less */
        n = size ? 1 + draw((uint32_t)(size - at < 16 ? size - at : 16)) : 0;
        memmove(data + at, data + at + n, size - at - n);
        return size - n;
    case 3: /* the end less */ return draw(4) ? size : at;
    case 4: /* a word more */
        if (size + word_size > INPUT_MAX) return size;
        memmove(data + at + word_size, data + at, size - at);
        memcpy(data + at, word, word_size);
        return size + word_size;
    case 5: /* the end of another file */
        n = other->size ? draw((uint32_t)other->size) : 0;
        if (at + (other->size - n) > INPUT_MAX) return size;
        memcpy(data + at, other->data + n, other->size - n);
        return at + (other->size - n);
    default: /* a part again */
        n = size ? 1 + draw((uint32_t)(size - at < 64 ? size - at : 64)) : 0;
        if (size + n > INPUT_MAX) return size;
        memmove(data + at + n, data + at, size - at);
        return size + n;
    }
}

int main(int argc, char **argv)
{
    unsigned long mutations = argc > 2 ? strtoul(argv[2], NULL, 10) : 2000;
    unsigned long seed = argc > 3 ? strtoul(argv[3], NULL, 10) : 1;
    if (argc < 2) return fprintf(stderr, "usage: %s CORPUS_FOLDER [MUTATIONS [SEED]]\n", argv[0]), 2;
    const char *name = strrchr(argv[0], '/');
    snprintf(g_crash_path, sizeof g_crash_path, "%s.input", name ? name + 1 : argv[0]);
    read_corpus(argv[1]);
    if (g_n_files == 0) return fprintf(stderr, "%s: no corpus\n", argv[1]), 1;
    signal(SIGABRT, write_crash);
    signal(SIGSEGV, write_crash);
    for (size_t i = 0; i < g_n_files; i++) run(g_files[i].data, g_files[i].size);
    g_random = seed;
    static uint8_t input[INPUT_MAX];
    for (unsigned long i = 0; i < mutations; i++) {
        const corpus_file *file = &g_files[draw((uint32_t)g_n_files)];
        size_t size = file->size;
        memcpy(input, file->data, size);
        for (uint32_t changes = 1 + draw(6); changes > 0; changes--) size = mutate(input, size);
        run(input, size);
    }
    printf("%zu files and %lu mutations (seed %lu)\n", g_n_files, mutations, seed);
    for (size_t i = 0; i < g_n_files; i++) free(g_files[i].data);
    return 0;
}
