/* settings.c -- the table of all settings, their values and where each value came from.
 *
 * A value has a rank: default < file < environment < command line (anything given to mneme_settings_set). A later value
 * of a lower rank does not replace one of a higher rank, so the order of the calls does not matter. YAML is read in
 * settings_yaml.c. */
#include "memory/settings.h"

#include "common/buffer.h"
#include "common/memory.h"
#include "memory/number.h"
#include "memory/settings_table.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* docs/settings.md has the same list; a test compares. Where a default is tuned, docs/retrieval.md has the data. */
#define FIELD(name)               .field = offsetof(mn_settings_values, name)
#define TEXT(fewest_bytes)        .type = MN_SETTING_TEXT, .least = fewest_bytes
#define CHOICE(of)                .type = MN_SETTING_TEXT, .choices = of
#define INTEGER(from, to)         .type = MN_SETTING_INTEGER, .least = from, .most = to
#define ZERO_OR_INTEGER(from, to) INTEGER(from, to), .or_zero = true
#define NUMBER(from, to)          .type = MN_SETTING_NUMBER, .least = from, .most = to
static const mn_setting_spec table[] = {
    {.name = "encoder.model",
     .fallback = "all-MiniLM-L6-v2",
     TEXT(1),
     FIELD(encoder_model),
     .summary = "the model: a name to look up in encoder.path, or a folder (with a /). Not set: a store that names "
                "another one gets that one, if it is there"},
    {.name = "encoder.path",
     .fallback = "",
     TEXT(0),
     FIELD(encoder_path),
     .summary = "folders that hold models, separated by :"},
    {.name = "encoder.precision",
     .fallback = "auto",
     CHOICE("auto|f32|bf16|int16|int8"),
     FIELD(encoder_precision),
     .summary = "number format of the encoder's products"},
    {.name = "encoder.kernels",
     .fallback = "auto",
     CHOICE("auto|amx|avx512|avx2|reference"),
     FIELD(encoder_kernels),
     .summary = "instructions to use at most; reference is plain C, for proof"},
    {.name = "encoder.cache",
     .fallback = "",
     TEXT(0),
     FIELD(encoder_cache),
     .summary = "folder where packed weights are kept for the next process; empty = nowhere"},
    {.name = "encoder.threads",
     .fallback = "0",
     INTEGER(0, 1024),
     FIELD(encoder_threads),
     .summary = "threads that encode; 0 = one per core"},
    {.name = "chunk.max_tokens",
     .fallback = "0",
     ZERO_OR_INTEGER(16, 8192),
     FIELD(chunk_max_tokens),
     .summary = "longest chunk; 0 = what fits the encoder's window"},
    {.name = "chunk.overlap_tokens",
     .fallback = "32",
     INTEGER(0, 4096),
     FIELD(chunk_overlap_tokens),
     .summary = "whole sentences of up to this many tokens begin the next chunk again"},
    {.name = "lexical.language",
     .fallback = "english",
     TEXT(1),
     FIELD(lexical_language),
     .summary = "stemmer of a new store: a libstemmer name, or none"},
    {.name = "lexical.k1",
     .fallback = "1.2",
     NUMBER(0, 10),
     FIELD(lexical_k1),
     .summary = "BM25: how soon more of the same word stops counting"},
    {.name = "lexical.b",
     .fallback = "0.75",
     NUMBER(0, 1),
     FIELD(lexical_b),
     .summary = "BM25: how much long chunks are held back"},
    {.name = "retrieval.mode",
     .fallback = "hybrid",
     CHOICE("hybrid|dense|lexical"),
     FIELD(retrieval_mode),
     .summary = "what a query looks at: vectors and words, or one of them"},
    {.name = "retrieval.k", .fallback = "10", INTEGER(1, 10000), FIELD(retrieval_k), .summary = "hits of a query"},
    {.name = "retrieval.candidates",
     .fallback = "100",
     INTEGER(1, 100000),
     FIELD(retrieval_candidates),
     .summary = "candidates that vectors and words each put up"},
    {.name = "retrieval.dense_weight",
     .fallback = "0.55",
     NUMBER(0, 1),
     FIELD(retrieval_dense_weight),
     .summary = "share of the vectors in a hybrid score; words have the rest"},
    {.name = "retrieval.neighbour_share",
     .fallback = "0.5",
     NUMBER(0, 1),
     FIELD(retrieval_neighbour_share),
     .summary = "how much of a hit's score its neighbours get"},
    {.name = "retrieval.neighbour_reach",
     .fallback = "2",
     INTEGER(0, 100),
     FIELD(retrieval_neighbour_reach),
     .summary = "how many places away a neighbour may be"},
    {.name = "retrieval.nearby_words",
     .fallback = "0.6",
     NUMBER(0, 1),
     FIELD(retrieval_nearby_words),
     .summary = "what a word of the question is worth for a hit one place away from it, squared two places away; 0 = nothing"},
    {.name = "retrieval.feedback_weight",
     .fallback = "0.7",
     NUMBER(0, 100),
     FIELD(retrieval_feedback_weight),
     .summary = "how much the vectors of the ten best hits count beside the question's, which counts 1"},
    {.name = "retrieval.expansion_weight",
     .fallback = "0.3",
     NUMBER(0, 100),
     FIELD(retrieval_expansion_weight),
     .summary = "how much the words of the ten best hits count beside the question's, which count 1"},
    {.name = "retrieval.feedback_scale",
     .fallback = "5",
     NUMBER(0, 1000),
     FIELD(retrieval_feedback_scale),
     .summary = "sharpness of the attention over the ten best hits for these two"},
    {.name = "retrieval.speaker_weight",
     .fallback = "0.1",
     NUMBER(0, 100),
     FIELD(retrieval_speaker_weight),
     .summary = "how much it counts beside relevance, which counts 1, that the question names who speaks"},
    {.name = "retrieval.time_weight",
     .fallback = "0.3",
     NUMBER(0, 100),
     FIELD(retrieval_time_weight),
     .summary = "the same for how near a memory's time is to the days that the question names"},
    {.name = "retrieval.threads",
     .fallback = "0",
     INTEGER(0, 1024),
     FIELD(retrieval_threads),
     .summary = "threads that scan a large store, or share a hybrid question (two at most); 0 = one per core"},
    {.name = "retrieval.kernels",
     .fallback = "auto",
     CHOICE("auto|avx512|avx2|reference"),
     FIELD(retrieval_kernels),
     .summary = "instructions to scan with at most; no answer depends on it"},
    {.name = "retrieval.attention_scale",
     .fallback = "10",
     NUMBER(0, 1000),
     FIELD(retrieval_attention_scale),
     .summary = "sharpness of the attention over the hits"},
    {.name = "retrieval.importance_weight",
     .fallback = "0",
     NUMBER(0, 100),
     FIELD(retrieval_importance_weight),
     .summary = "how much a memory's importance at writing counts beside its relevance, which counts 1"},
    {.name = "retrieval.session_importance_weight",
     .fallback = "0.2",
     NUMBER(0, 100),
     FIELD(retrieval_session_importance_weight),
     .summary = "as much more for the records of a session (a conversation), in hybrid questions"},
    {.name = "retrieval.strength_weight",
     .fallback = "0",
     NUMBER(0, 100),
     FIELD(retrieval_strength_weight),
     .summary = "the same for its strength now, which changes with use and time"},
    {.name = "retrieval.recency_weight",
     .fallback = "0",
     NUMBER(0, 100),
     FIELD(retrieval_recency_weight),
     .summary = "the same for how recent a memory or its last use is"},
    {.name = "retrieval.recency_half_life_days",
     .fallback = "5.76",
     NUMBER(0, 1000000),
     FIELD(retrieval_recency_half_life_days),
     .summary = "after so many days recency is half"},
    {.name = "memory.strengthen",
     .fallback = "auto",
     CHOICE("auto|on|off"),
     FIELD(memory_strengthen),
     .summary = "does use strengthen? auto: where the store is open for writing; on: query and context open it so"},
    {.name = "memory.flush_seconds",
     .fallback = "1",
     NUMBER(0, 3600),
     FIELD(memory_flush_seconds),
     .summary = "uses are written together, this often at most"},
    {.name = "memory.importance",
     .fallback = "auto",
     CHOICE("auto|fixed"),
     FIELD(memory_importance),
     .summary = "strength at writing of a record that is given none: by how much its text says, or the same for all"},
    {.name = "memory.importance_level",
     .fallback = "0.5",
     NUMBER(0, 1),
     FIELD(memory_importance_level),
     .summary = "importance where it is fixed"},
    {.name = "memory.importance_half",
     .fallback = "2",
     NUMBER(0, 1000),
     FIELD(memory_importance_half),
     .summary = "how much a text must say for an importance of 0.5"},
    {.name = "memory.answer_factor",
     .fallback = "1.5",
     NUMBER(0, 100),
     FIELD(memory_answer_factor),
     .summary = "a text after a question in its session counts as saying so many times more"},
    {.name = "memory.half_life_days",
     .fallback = "365",
     NUMBER(0, 1000000),
     FIELD(memory_half_life_days),
     .summary = "after so many days without use a new memory's strength is half; 0 = it never fades"},
    {.name = "memory.use_gain",
     .fallback = "0.5",
     NUMBER(0, 1),
     FIELD(memory_use_gain),
     .summary = "share of the way to full strength that one use with all attention goes"},
    {.name = "memory.half_life_growth",
     .fallback = "1.5",
     NUMBER(0, 100),
     FIELD(memory_half_life_growth),
     .summary = "how much a well-spaced use with all attention adds to the half-life, as a share of it"},
    {.name = "memory.spacing",
     .fallback = "0.1",
     NUMBER(0, 1),
     FIELD(memory_spacing),
     .summary = "a use is well spaced after this share of the half-life"},
    {.name = "memory.duplicate_cosine",
     .fallback = "0.95",
     NUMBER(0, 1),
     FIELD(memory_duplicate_cosine),
     .summary = "consolidate: least cosine of two memories that say the same"},
    {.name = "memory.duplicate_terms",
     .fallback = "0.8",
     NUMBER(0, 1),
     FIELD(memory_duplicate_terms),
     .summary = "consolidate: least share of their terms that both have"},
    {.name = "clock.now",
     .fallback = "",
     TEXT(0),
     FIELD(clock_now),
     .summary = "the time, ISO 8601, for results that repeat; empty = the system's clock"},
    {.name = "context.budget",
     .fallback = "1024",
     INTEGER(1, 10000000),
     FIELD(context_budget),
     .summary = "tokens of a spliced window"},
    {.name = "context.k",
     .fallback = "50",
     INTEGER(1, 10000),
     FIELD(context_k),
     .summary = "memories that a spliced window may draw from"},
    {.name = "context.tokens",
     .fallback = "encoder",
     CHOICE("encoder|bytes/4"),
     FIELD(context_tokens),
     .summary = "what counts a window's tokens: the encoder's tokenizer, or one for every four bytes"},
    {.name = "context.template",
     .fallback = "plain",
     CHOICE("plain|markdown|xml|chat"),
     FIELD(context_template),
     .summary = "form of a spliced window"},
    {.name = "store.vectors",
     .fallback = "int12",
     CHOICE("f32|bf16|int12|int8"),
     FIELD(store_vectors),
     .summary = "how new namespaces keep their vectors: 4, 2, 1.5 or 1 byte a number"},
    {.name = "store.map_gib",
     .fallback = "0",
     INTEGER(0, 65536),
     FIELD(store_map_gib),
     .summary = "address space to reserve for a store; 0 = 1024, less where the system refuses"},
    {.name = "store.pinned_mib",
     .fallback = "1024",
     INTEGER(0, 1048576),
     FIELD(store_pinned_mib),
     .summary = "refuse to write when a reader that does not end keeps more than this from being used again; 0 = no limit"},
    {.name = "index.max_record_mib",
     .fallback = "64",
     INTEGER(1, 4095),
     FIELD(index_max_record_mib),
     .summary = "larger records are refused"},
    {.name = "index.batch_records",
     .fallback = "256",
     INTEGER(1, 100000),
     FIELD(index_batch_records),
     .summary = "records that index stores in one transaction, at most"},
    {.name = "index.kind",
     .fallback = "auto",
     CHOICE("auto|none|hnsw|hnsw-bf16|hnsw-f32|ivfpq"),
     FIELD(index_kind),
     .summary = "what vectors are searched through: auto = nothing if small, hnsw if large, ivfpq if huge"},
    {.name = "index.min_rows",
     .fallback = "20000",
     INTEGER(1000, 4000000000),
     FIELD(index_min_rows),
     .summary = "auto: namespaces with fewer chunks are scanned exactly"},
    {.name = "index.recall",
     .fallback = "0.99",
     NUMBER(0.5, 0.9999),
     FIELD(index_recall),
     .summary = "share of the ten best chunks that an index is tuned to find"},
    {.name = "index.build",
     .fallback = "auto",
     CHOICE("auto|manual"),
     FIELD(index_build),
     .summary = "auto = in the background of whoever writes; manual = by 'mneme optimize' alone"},
    {.name = "index.memory_mib",
     .fallback = "2048",
     INTEGER(1, 1048576),
     FIELD(index_memory_mib),
     .summary = "auto: a larger graph gives way to ivfpq, and nothing larger is built"},
    {.name = "output.color",
     .fallback = "auto",
     CHOICE("auto|always|never"),
     FIELD(output_color),
     .summary = "colours on a terminal"},
};
#undef FIELD
#undef TEXT
#undef CHOICE
#undef INTEGER
#undef ZERO_OR_INTEGER
#undef NUMBER
enum { SETTING_COUNT = sizeof table / sizeof table[0] };

typedef struct setting_value {
    char *text;   /* owned */
    char *origin; /* owned; NULL = "default" */
    mn_setting_rank rank;
} setting_value;

struct mneme_settings {
    setting_value values[SETTING_COUNT];
};

/* ---- life ---- */

mneme_status mneme_settings_new(mneme_settings **out, mneme_error *error)
{
    *out = NULL;
    mneme_settings *settings = mn_alloc_zeroed(1, sizeof *settings);
    if (!settings) return mn_fail_memory(error, "settings");
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        settings->values[i].text = mn_strdup(table[i].fallback);
        if (settings->values[i].text) continue;
        mneme_settings_free(settings);
        return mn_fail_memory(error, "settings");
    }
    *out = settings;
    return MNEME_OK;
}

void mneme_settings_free(mneme_settings *settings)
{
    if (!settings) return;
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        mn_free(settings->values[i].text);
        mn_free(settings->values[i].origin);
    }
    mn_free(settings);
}

mneme_status mn_settings_copy(const mneme_settings *settings, mneme_settings **out, mneme_error *error)
{
    mneme_status status = mneme_settings_new(out, error);
    for (size_t i = 0; i < SETTING_COUNT && status == MNEME_OK; i++) {
        const setting_value *from = &settings->values[i];
        setting_value *to = &(*out)->values[i];
        mn_free(to->text);
        to->text = mn_strdup(from->text);
        to->origin = mn_strdup(from->origin);
        to->rank = from->rank;
        if (!to->text || (from->origin && !to->origin)) status = mn_fail_memory(error, "settings");
    }
    if (status != MNEME_OK) {
        mneme_settings_free(*out);
        *out = NULL;
    }
    return status;
}

void mn_settings_swap(mneme_settings *a, mneme_settings *b)
{
    mneme_settings old = *a;
    *a = *b;
    *b = old;
}

/* ---- names ---- */

static size_t find_index(const char *name)
{
    size_t i = 0;
    while (i < SETTING_COUNT && strcmp(table[i].name, name) != 0) i++;
    return i;
}

/* Levenshtein's edit distance, for names of at most 60 letters. */
static size_t edit_distance(const char *a, const char *b)
{
    enum { LONGEST = 60 };
    size_t n = strlen(a), m = strlen(b), row[LONGEST + 1];
    if (n > LONGEST || m > LONGEST) return LONGEST;
    for (size_t j = 0; j <= m; j++) row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t above = row[j], change = diagonal + (a[i - 1] != b[j - 1]);
            size_t step = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            row[j] = change < step ? change : step;
            diagonal = above;
        }
    }
    return row[m];
}

static const char *nearest_name(const char *name)
{
    const char *dot = strrchr(name, '.');
    size_t best = 0, least = SIZE_MAX;
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        size_t distance = edit_distance(name, table[i].name);
        /* The right name in the wrong section is near, too. */
        const char *own = strrchr(table[i].name, '.');
        if (strcmp(dot ? dot : name, dot ? own : own + 1) == 0 && distance > 2) distance = 2;
        if (distance < least) {
            least = distance;
            best = i;
        }
    }
    return table[best].name;
}

/* ---- values ---- */

static bool is_choice(const char *choices, const char *value)
{
    size_t size = strlen(value);
    for (const char *at = choices; *at;) {
        size_t part = strcspn(at, "|");
        if (part == size && memcmp(at, value, size) == 0) return true;
        at += part;
        if (*at == '|') at++;
    }
    return false;
}

static void describe(const mn_setting_spec *spec, char *out, size_t size)
{
    if (spec->choices) {
        snprintf(out, size, "one of %s", spec->choices);
    } else if (spec->type == MN_SETTING_TEXT) {
        snprintf(out, size, "a text");
    } else {
        /* Every bound of the table is whole: no exponents for people to read. */
        snprintf(out, size, "%s%s from %.0f to %.0f", spec->or_zero ? "0, or " : "",
                 spec->type == MN_SETTING_INTEGER ? "a whole number" : "a number", spec->least, spec->most);
    }
}

static bool is_allowed(const mn_setting_spec *spec, const char *value)
{
    if (spec->choices) return is_choice(spec->choices, value);
    if (spec->type == MN_SETTING_TEXT) return strlen(value) >= (size_t)spec->least;
    mn_number number;
    size_t size = mn_number_read(value, &number);
    if (size == 0 || value[size] != '\0') return false;
    if (spec->type == MN_SETTING_INTEGER && !number.is_integer) return false;
    if (spec->or_zero && number.real == 0) return true;
    return number.real >= spec->least && number.real <= spec->most;
}

static mneme_status check_value(const mn_setting_spec *spec, const char *value, mneme_error *error)
{
    if (is_allowed(spec, value)) return MNEME_OK;
    char wanted[160];
    describe(spec, wanted, sizeof wanted);
    return mn_fail(error, MNEME_ERR_SETTING, "%s: \"%.60s\" is not %s", spec->name, value,
                   *value || spec->type != MN_SETTING_TEXT || spec->choices ? wanted : "a value");
}

mneme_status mn_settings_assign(mneme_settings *settings, const char *name, const char *value, const char *origin,
                                mn_setting_rank rank, mneme_error *error)
{
    size_t i = find_index(name);
    if (i == SETTING_COUNT)
        return mn_fail(error, MNEME_ERR_SETTING, "unknown setting %.80s; did you mean %s?", name, nearest_name(name));
    mneme_status status = check_value(&table[i], value, error);
    setting_value *slot = &settings->values[i];
    if (status != MNEME_OK || rank < slot->rank) return status;
    char *text = mn_strdup(value), *from = mn_strdup(origin);
    if (!text || (origin && !from)) {
        mn_free(text);
        mn_free(from);
        return mn_fail_memory(error, "settings");
    }
    mn_free(slot->text);
    mn_free(slot->origin);
    *slot = (setting_value){.text = text, .origin = from, .rank = rank};
    return MNEME_OK;
}

mneme_status mneme_settings_set(mneme_settings *settings, const char *name, const char *value, const char *origin,
                                mneme_error *error)
{
    return mn_settings_assign(settings, name, value, origin ? origin : "program", MN_RANK_COMMAND_LINE, error);
}

/* ---- the environment ---- */

static void variable_name(const char *setting, char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, "MNEME_%s", setting);
    for (size_t i = 0; i < n && i < size; i++) {
        if (out[i] == '.')
            out[i] = '_';
        else if (out[i] >= 'a' && out[i] <= 'z')
            out[i] = (char)(out[i] - 'a' + 'A');
    }
}

/* Append $variable/mneme/name, behind a colon where something is there already; without the variable, under $HOME as
 * the XDG specification has it; with neither, nothing. */
static mneme_status xdg_folder(mn_buffer *out, const char *variable, const char *under_home, const char *name,
                               mneme_error *error)
{
    const char *home = getenv("HOME"), *base = getenv(variable);
    bool given = base && base[0] == '/'; /* the specification: relative paths are to be ignored */
    if (!given && !home) return MNEME_OK;
    mn_buffer_format(out, "%s%s%s/mneme/%s", out->size ? ":" : "", given ? base : home, given ? "" : under_home, name);
    return out->failed ? mn_fail_memory(error, "settings") : MNEME_OK;
}

static mneme_status model_path(mn_buffer *out, mneme_error *error)
{
    mneme_status status = xdg_folder(out, "XDG_DATA_HOME", "/.local/share", "models", error);
    return status == MNEME_OK ? xdg_folder(out, "XDG_CACHE_HOME", "/.cache", "models", error) : status;
}

mneme_status mneme_settings_load_environment(mneme_settings *settings, mneme_error *error)
{
    mneme_status status = MNEME_OK;
    for (size_t i = 0; i < SETTING_COUNT && status == MNEME_OK; i++) {
        char variable[80];
        variable_name(table[i].name, variable, sizeof variable);
        const char *value = getenv(variable);
        if (!value || !*value) continue; /* set to nothing counts as not set, as with the XDG variables */
        status = mn_settings_assign(settings, table[i].name, value, "environment", MN_RANK_ENVIRONMENT, error);
        if (status != MNEME_OK) mn_error_prefix(error, "$%s: ", variable);
    }
    mn_buffer path = {0};
    if (status == MNEME_OK) status = model_path(&path, error);
    /* Only a default: a file's value replaces it. */
    if (status == MNEME_OK && path.size)
        status = mn_settings_assign(settings, "encoder.path", path.data, "default", MN_RANK_DEFAULT, error);
    mn_buffer_clear(&path);
    if (status == MNEME_OK) status = xdg_folder(&path, "XDG_CACHE_HOME", "/.cache", "packed", error);
    if (status == MNEME_OK && path.size)
        status = mn_settings_assign(settings, "encoder.cache", path.data, "default", MN_RANK_DEFAULT, error);
    mn_buffer_free(&path);
    return status;
}

/* ---- reading them ---- */

static const char *type_name(const mn_setting_spec *spec)
{
    if (spec->choices) return spec->choices;
    return spec->type == MN_SETTING_INTEGER ? "integer" : spec->type == MN_SETTING_NUMBER ? "number" : "text";
}

bool mneme_settings_get(const mneme_settings *settings, size_t index, mneme_setting *out)
{
    if (index >= SETTING_COUNT) return false;
    const setting_value *value = &settings->values[index];
    *out = (mneme_setting){.name = table[index].name,
                           .value = value->text,
                           .origin = value->origin ? value->origin : "default",
                           .type = type_name(&table[index]),
                           .summary = table[index].summary};
    return true;
}

bool mneme_settings_find(const mneme_settings *settings, const char *name, mneme_setting *out)
{
    return mneme_settings_get(settings, find_index(name), out);
}

void mn_settings_values_get(const mneme_settings *settings, mn_settings_values *out)
{
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        char *field = (char *)out + table[i].field;
        const char *text = settings->values[i].text;
        mn_number number;
        if (table[i].type == MN_SETTING_TEXT) {
            *(const char **)(void *)field = text;
            continue;
        }
        mn_number_read(text, &number); /* it was checked when it was set; the defaults by a test */
        if (table[i].type == MN_SETTING_NUMBER)
            *(double *)(void *)field = number.real;
        else
            *(int64_t *)(void *)field = number.integer;
    }
}
