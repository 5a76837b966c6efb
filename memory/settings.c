/* settings.c -- the table of all settings, their values and where each value came from.
 *
 * A value has a rank: default < file < environment < command line (anything given to mneme_settings_set). A later value
 * of a lower rank does not replace one of a higher rank, so the order of the calls does not matter. YAML is read in
 * settings_yaml.c. */
#include "memory/settings.h"

#include "common/buffer.h"
#include "common/memory.h"
#include "memory/settings_table.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* name, type, default, least, most (numbers), choices (texts), field of mn_settings_values, summary. docs/settings.md
 * has the same list; a test compares. Where a default is tuned, docs/retrieval.md has the data. */
static const mn_setting_spec table[] = {
    {"encoder.model", MN_SETTING_TEXT, "all-MiniLM-L6-v2", 0, 0, NULL, offsetof(mn_settings_values, encoder_model),
     "the model: a name to look up in encoder.path, or a folder (with a /)"},
    {"encoder.path", MN_SETTING_TEXT, "", 0, 0, NULL, offsetof(mn_settings_values, encoder_path),
     "folders that hold models, separated by :"},
    {"encoder.precision", MN_SETTING_TEXT, "auto", 0, 0, "auto|f32", offsetof(mn_settings_values, encoder_precision),
     "number format of the encoder's products"},
    {"encoder.kernels", MN_SETTING_TEXT, "auto", 0, 0, "auto|avx512|avx2|reference",
     offsetof(mn_settings_values, encoder_kernels), "instructions to use at most; reference is plain C, for proof"},
    {"encoder.threads", MN_SETTING_INTEGER, "0", 0, 1024, NULL, offsetof(mn_settings_values, encoder_threads),
     "threads that encode; 0 = one per core"},
    {"chunk.max_tokens", MN_SETTING_INTEGER, "0", 0, 8192, NULL, offsetof(mn_settings_values, chunk_max_tokens),
     "longest chunk; 0 = what fits the encoder's window"},
    {"chunk.overlap_tokens", MN_SETTING_INTEGER, "32", 0, 4096, NULL, offsetof(mn_settings_values, chunk_overlap_tokens),
     "whole sentences of up to this many tokens begin the next chunk again"},
    {"lexical.language", MN_SETTING_TEXT, "english", 0, 0, NULL, offsetof(mn_settings_values, lexical_language),
     "stemmer of a new store: a libstemmer name, or none"},
    {"lexical.k1", MN_SETTING_NUMBER, "1.2", 0, 10, NULL, offsetof(mn_settings_values, lexical_k1),
     "BM25: how soon more of the same word stops counting"},
    {"lexical.b", MN_SETTING_NUMBER, "0.75", 0, 1, NULL, offsetof(mn_settings_values, lexical_b),
     "BM25: how much long chunks are held back"},
    {"retrieval.mode", MN_SETTING_TEXT, "hybrid", 0, 0, "hybrid|dense|lexical", offsetof(mn_settings_values, retrieval_mode),
     "what a query looks at: vectors and words, or one of them"},
    {"retrieval.k", MN_SETTING_INTEGER, "10", 1, 10000, NULL, offsetof(mn_settings_values, retrieval_k), "hits of a query"},
    {"retrieval.candidates", MN_SETTING_INTEGER, "200", 1, 100000, NULL,
     offsetof(mn_settings_values, retrieval_candidates), "candidates that vectors and words each put up"},
    {"retrieval.dense_weight", MN_SETTING_NUMBER, "0.65", 0, 1, NULL, offsetof(mn_settings_values, retrieval_dense_weight),
     "share of the vectors in a hybrid score; words have the rest"},
    {"retrieval.neighbour_share", MN_SETTING_NUMBER, "0.5", 0, 1, NULL,
     offsetof(mn_settings_values, retrieval_neighbour_share), "how much of a hit's score its neighbours get"},
    {"retrieval.neighbour_reach", MN_SETTING_INTEGER, "2", 0, 100, NULL,
     offsetof(mn_settings_values, retrieval_neighbour_reach), "how many places away a neighbour may be"},
    {"retrieval.attention_scale", MN_SETTING_NUMBER, "10", 0, 1000, NULL,
     offsetof(mn_settings_values, retrieval_attention_scale), "sharpness of the attention over the hits"},
    {"context.budget", MN_SETTING_INTEGER, "1024", 1, 10000000, NULL, offsetof(mn_settings_values, context_budget),
     "tokens of a spliced window"},
    {"context.k", MN_SETTING_INTEGER, "50", 1, 10000, NULL, offsetof(mn_settings_values, context_k),
     "memories that a spliced window may draw from"},
    {"store.map_gib", MN_SETTING_INTEGER, "0", 0, 65536, NULL, offsetof(mn_settings_values, store_map_gib),
     "address space to reserve for a store; 0 = 1024, less where the system refuses"},
    {"index.max_record_mib", MN_SETTING_INTEGER, "64", 1, 4095, NULL, offsetof(mn_settings_values, index_max_record_mib),
     "larger records are refused"},
    {"index.batch_records", MN_SETTING_INTEGER, "256", 1, 100000, NULL, offsetof(mn_settings_values, index_batch_records),
     "records that index stores in one transaction, at most"},
    {"output.color", MN_SETTING_TEXT, "auto", 0, 0, "auto|always|never", offsetof(mn_settings_values, output_color),
     "colours on a terminal"},
};
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

static mneme_status check_value(const mn_setting_spec *spec, const char *value, mneme_error *error)
{
    char *end = NULL;
    if (spec->type == MN_SETTING_TEXT) {
        if (!spec->choices || is_choice(spec->choices, value)) return MNEME_OK;
        return mn_fail(error, MNEME_ERR_SETTING, "%s: \"%.60s\" is not one of %s", spec->name, value, spec->choices);
    }
    errno = 0;
    double number = spec->type == MN_SETTING_INTEGER ? (double)strtoll(value, &end, 10) : strtod(value, &end);
    if (end == value || *end != '\0' || errno != 0 || !isfinite(number) || number < spec->least || number > spec->most)
        return mn_fail(error, MNEME_ERR_SETTING, "%s: \"%.60s\" is not a %s from %g to %g", spec->name, value,
                       spec->type == MN_SETTING_INTEGER ? "whole number" : "number", spec->least, spec->most);
    return MNEME_OK;
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
        if (out[i] == '.') out[i] = '_';
        else if (out[i] >= 'a' && out[i] <= 'z') out[i] = (char)(out[i] - 'a' + 'A');
    }
}

/* $XDG_DATA_HOME/mneme/models:$XDG_CACHE_HOME/mneme/models, with the defaults that the XDG specification gives. */
static mneme_status model_path(mn_buffer *out, mneme_error *error)
{
    static const char *const places[2][2] = {{"XDG_DATA_HOME", "/.local/share"}, {"XDG_CACHE_HOME", "/.cache"}};
    const char *home = getenv("HOME");
    for (size_t i = 0; i < 2; i++) {
        const char *base = getenv(places[i][0]);
        bool given = base && base[0] == '/'; /* the specification: relative paths are to be ignored */
        if (!given && !home) continue;
        if (out->size) mn_buffer_byte(out, ':');
        mn_buffer_format(out, "%s%s/mneme/models", given ? base : home, given ? "" : places[i][1]);
    }
    return out->failed ? mn_fail_memory(error, "settings") : MNEME_OK;
}

mneme_status mneme_settings_load_environment(mneme_settings *settings, mneme_error *error)
{
    mneme_status status = MNEME_OK;
    for (size_t i = 0; i < SETTING_COUNT && status == MNEME_OK; i++) {
        char variable[80];
        variable_name(table[i].name, variable, sizeof variable);
        const char *value = getenv(variable);
        if (!value) continue;
        status = mn_settings_assign(settings, table[i].name, value, "environment", MN_RANK_ENVIRONMENT, error);
        if (status != MNEME_OK) mn_error_prefix(error, "$%s: ", variable);
    }
    mn_buffer path = {0};
    if (status == MNEME_OK) status = model_path(&path, error);
    /* Only a default: a file's value replaces it. */
    if (status == MNEME_OK && path.size)
        status = mn_settings_assign(settings, "encoder.path", path.data, "default", MN_RANK_DEFAULT, error);
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
        if (table[i].type == MN_SETTING_TEXT) {
            *(const char **)(void *)field = text;
        } else if (table[i].type == MN_SETTING_NUMBER) {
            *(double *)(void *)field = strtod(text, NULL);
        } else {
            *(int64_t *)(void *)field = strtoll(text, NULL, 10);
        }
    }
}
