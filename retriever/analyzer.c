/* analyzer.c -- words (words.c) to stems (Snowball: Porter 2001, "Snowball: a language for stemming algorithms",
 * through libstemmer) to counted terms (terms.c).
 *
 * A libstemmer object serves one thread at a time: each call borrows a worker from a pool, which holds a stemmer and a
 * cache of the stems it gave. The cache only saves time: a stem is a function of its word alone.
 *
 * Accents are kept for the stemmer and folded away after it, so that "cafe" finds "café"; the apostrophes that English
 * stems keep ("don't") go as well, so that "dont" finds it. The index has every word; questions leave some out. */
#include "retriever/analyzer.h"

#include "retriever/stop_words.h"
#include "retriever/terms.h"
#include "retriever/words.h"

#include <libstemmer.h>
#include <pthread.h>
#include <string.h>
#include <xxhash.h>

enum {
    CACHE_ENTRIES = 4096, /* 196 kB, about what a second-level cache spares */
    CACHE_WORD_MAX = 23,
    STEM_MAX = 1024
};

typedef struct cached_stem {
    unsigned char word_size, stem_size; /* word_size 0: free */
    char word[CACHE_WORD_MAX], stem[CACHE_WORD_MAX];
} cached_stem;

typedef struct worker {
    struct worker *next;
    struct sb_stemmer *stemmer; /* NULL: no stemming */
    cached_stem *cache;
    mn_term_counter counter;
    mn_buffer *sequence; /* NULL, or where the hashes of terms go in their order, instead of being counted */
    bool keep_apostrophe;
} worker;

struct mn_analyzer {
    char *language; /* NULL: "none" */
    bool keep_apostrophe;
    pthread_mutex_t lock; /* guards idle */
    worker *idle;
    mn_arena arena; /* of stop_terms */
    mn_term_list stop_terms;
};

static void worker_free(worker *self)
{
    if (!self) return;
    sb_stemmer_delete(self->stemmer);
    mn_free(self->cache);
    mn_term_counter_free(&self->counter);
    mn_free(self);
}

static worker *worker_new(const mn_analyzer *analyzer)
{
    worker *self = mn_alloc_zeroed(1, sizeof *self);
    if (!self) return NULL;
    self->keep_apostrophe = analyzer->keep_apostrophe;
    self->cache = mn_alloc_zeroed(CACHE_ENTRIES, sizeof *self->cache);
    if (analyzer->language) self->stemmer = sb_stemmer_new(analyzer->language, "UTF_8");
    if (!self->cache || (analyzer->language && !self->stemmer)) {
        worker_free(self);
        return NULL;
    }
    return self;
}

static worker *borrow(mn_analyzer *analyzer)
{
    pthread_mutex_lock(&analyzer->lock);
    worker *self = analyzer->idle;
    if (self) analyzer->idle = self->next;
    pthread_mutex_unlock(&analyzer->lock);
    return self ? self : worker_new(analyzer);
}

static void give_back(mn_analyzer *analyzer, worker *self)
{
    mn_term_counter_clear(&self->counter);
    pthread_mutex_lock(&analyzer->lock);
    self->next = analyzer->idle;
    analyzer->idle = self;
    pthread_mutex_unlock(&analyzer->lock);
}

/* ---- one word --------------------------------------------------------------------------------------------------- */

/* The word without what English appends to others: "Caroline's", "she'll" (which must not become "shell"). */
static size_t without_clitic(const char *word, size_t size)
{
    static const char *const clitics[] = {"'s", "'d", "'m", "'ll", "'re", "'ve"};
    for (size_t i = 0; i < sizeof clitics / sizeof clitics[0]; i++) {
        size_t n = strlen(clitics[i]);
        if (size > n && memcmp(word + size - n, clitics[i], n) == 0) return size - n;
    }
    return size;
}

static size_t drop_apostrophes(char *word, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < size; i++)
        if (word[i] != '\'') word[n++] = word[i];
    return n;
}

static bool is_ascii(const char *text, size_t size)
{
    unsigned char all = 0;
    for (size_t i = 0; i < size; i++) all |= (unsigned char)text[i];
    return all < 0x80;
}

/* Write the term of a word (at most STEM_MAX bytes) to out, return its size; SIZE_MAX: out of memory. */
static size_t make_term(worker *self, const char *word, size_t size, char *out)
{
    const char *stem = word;
    size = without_clitic(word, size);
    if (self->stemmer) {
        stem = (const char *)sb_stemmer_stem(self->stemmer, (const sb_symbol *)word, (int)size);
        if (!stem) return SIZE_MAX;
        size = (size_t)sb_stemmer_length(self->stemmer);
    }
    if (size > STEM_MAX) size = STEM_MAX;
    if (is_ascii(stem, size))
        memcpy(out, stem, size); /* not a matter of the word: Turkish stems can gain a cedilla */
    else
        size = mn_words_fold_accents(stem, size, out);
    return drop_apostrophes(out, size);
}

static bool take_term(worker *self, const char *term, size_t size)
{
    if (!self->sequence) return mn_term_counter_add(&self->counter, term, size);
    uint64_t hash = XXH3_64bits(term, size);
    if (size) mn_buffer_append(self->sequence, &hash, sizeof hash);
    return !self->sequence->failed;
}

static bool take_word(void *context, const char *word, size_t size, mn_word_kind kind)
{
    worker *self = context;
    if (kind == MN_WORD_PAIR) return take_term(self, word, size);
    cached_stem *cached = NULL;
    if (size <= CACHE_WORD_MAX) {
        cached = &self->cache[XXH3_64bits(word, size) % CACHE_ENTRIES];
        if (cached->word_size == size && memcmp(cached->word, word, size) == 0)
            return take_term(self, cached->stem, cached->stem_size);
    }
    char term[STEM_MAX];
    if (size > STEM_MAX) size = STEM_MAX;
    size_t n = make_term(self, word, size, term);
    if (n == SIZE_MAX) return false;
    if (cached && n <= CACHE_WORD_MAX) {
        cached->word_size = (unsigned char)size;
        cached->stem_size = (unsigned char)n;
        memcpy(cached->word, word, size);
        memcpy(cached->stem, term, n);
    }
    return take_term(self, term, n);
}

mneme_status mn_analyzer_run(void *context, const char *text, size_t size, mn_arena *arena, mn_term_list *out,
                             mneme_error *error)
{
    mn_analyzer *analyzer = context;
    *out = (mn_term_list){0};
    worker *self = borrow(analyzer);
    if (!self) return mn_fail_memory(error, "stemmer");
    bool done = mn_words(text, size, self->keep_apostrophe, take_word, self) &&
                mn_term_counter_list(&self->counter, arena, out);
    give_back(analyzer, self);
    return done ? MNEME_OK : mn_fail_memory(error, "terms of a text");
}

mneme_status mn_analyzer_sequence(mn_analyzer *analyzer, const char *text, size_t size, mn_buffer *hashes,
                                  mneme_error *error)
{
    worker *self = borrow(analyzer);
    if (!self) return mn_fail_memory(error, "stemmer");
    self->sequence = hashes;
    bool done = mn_words(text, size, self->keep_apostrophe, take_word, self);
    self->sequence = NULL;
    give_back(analyzer, self);
    return done ? MNEME_OK : mn_fail_memory(error, "terms of a text");
}

/* Take out of `terms` what is in `stops`; both sorted by bytes. */
static void subtract(mn_term_list *terms, const mn_term_list *stops)
{
    size_t kept = 0, s = 0;
    for (size_t i = 0; i < terms->n; i++) {
        while (s < stops->n && mn_term_order(&stops->items[s], &terms->items[i]) < 0) s++;
        if (s < stops->n && mn_term_order(&stops->items[s], &terms->items[i]) == 0)
            terms->total -= terms->items[i].count;
        else
            terms->items[kept++] = terms->items[i];
    }
    terms->n = kept;
}

mneme_status mn_analyzer_question(void *context, const char *text, size_t size, mn_arena *arena, mn_term_list *out,
                                  mneme_error *error)
{
    const mn_analyzer *analyzer = context;
    mneme_status status = mn_analyzer_run(context, text, size, arena, out, error);
    if (status != MNEME_OK || out->n == 0) return status;
    mn_term_list telling = *out;
    telling.items = mn_arena_copy(arena, out->items, out->n * sizeof *out->items);
    if (!telling.items) return mn_fail_memory(error, "terms of a question");
    subtract(&telling, &analyzer->stop_terms);
    if (telling.n) *out = telling;
    return MNEME_OK;
}

/* ---- opening ---------------------------------------------------------------------------------------------------- */

static bool is_known(const char *language)
{
    for (const char **name = sb_stemmer_list(); *name; name++)
        if (strcmp(*name, language) == 0) return true;
    return false;
}

static mneme_status fail_unknown(const char *language, mneme_error *error)
{
    mn_buffer names = {0};
    for (const char **name = sb_stemmer_list(); *name; name++) {
        mn_buffer_text(&names, *name);
        mn_buffer_text(&names, ", ");
    }
    mneme_status status =
        mn_fail(error, MNEME_ERR_SETTING, "unknown language \"%.40s\" for stemming; known are: %snone", language,
                names.data && !names.failed ? names.data : "");
    mn_buffer_free(&names);
    return status;
}

mneme_status mn_analyzer_open(const char *language, mn_analyzer **out, mneme_error *error)
{
    *out = NULL;
    bool stems = strcmp(language, "none") != 0;
    if (stems && !is_known(language)) return fail_unknown(language, error);
    mn_analyzer *analyzer = mn_alloc_zeroed(1, sizeof *analyzer);
    if (!analyzer) return mn_fail_memory(error, "analyzer");
    if (pthread_mutex_init(&analyzer->lock, NULL) != 0) {
        mn_free(analyzer);
        return mn_fail_memory(error, "analyzer's lock");
    }
    /* In English the apostrophe is part of the word; elsewhere it mostly parts an article or a suffix from it. */
    analyzer->keep_apostrophe = !stems || strcmp(language, "english") == 0 || strcmp(language, "porter") == 0;
    const char *stop_words = mn_stop_words(language);
    mneme_status status = MNEME_OK;
    if (stems && !(analyzer->language = mn_strdup(language))) status = mn_fail_memory(error, "analyzer");
    if (status == MNEME_OK && stop_words)
        status =
            mn_analyzer_run(analyzer, stop_words, strlen(stop_words), &analyzer->arena, &analyzer->stop_terms, error);
    if (status == MNEME_OK)
        *out = analyzer;
    else
        mn_analyzer_close(analyzer);
    return status;
}

void mn_analyzer_close(mn_analyzer *analyzer)
{
    if (!analyzer) return;
    while (analyzer->idle) {
        worker *self = analyzer->idle;
        analyzer->idle = self->next;
        worker_free(self);
    }
    pthread_mutex_destroy(&analyzer->lock);
    mn_arena_free(&analyzer->arena);
    mn_free(analyzer->language);
    mn_free(analyzer);
}
