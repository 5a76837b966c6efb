/* handle.c -- opening and closing a memory, and its encoder, which is loaded when something must be encoded. */
#include "memory/handle.h"

#include "common/cpu.h"
#include "common/file.h"
#include "memory/index_keeper.h"
#include "memory/optimize.h"
#include "memory/reindex_file.h"

#include <string.h>

/* FAISS is built for one processor level (scripts/setup); its code must not run on less. */
static mneme_status check_processor(mneme_error *error)
{
    mn_cpu_level needed = strcmp(MN_FAISS_LEVEL, "avx512") == 0 ? MN_CPU_AVX512
                          : strcmp(MN_FAISS_LEVEL, "avx2") == 0 ? MN_CPU_AVX2
                                                                : MN_CPU_GENERIC;
    if (mn_cpu_detect() >= needed) return MNEME_OK;
    return mn_fail(
        error, MNEME_ERR_UNSUPPORTED,
        "this mneme was built for processors with %s, which this one lacks; run scripts/setup here to build again",
        MN_FAISS_LEVEL);
}

/* Settings of the caller's, copied, or the defaults with what the environment says. */
static mneme_status own_settings(const mneme_settings *given, mneme_settings **out, mneme_error *error)
{
    if (given) return mn_settings_copy(given, out, error);
    mneme_status status = mneme_settings_new(out, error);
    if (status == MNEME_OK) status = mneme_settings_load_environment(*out, error);
    if (status != MNEME_OK) {
        mneme_settings_free(*out);
        *out = NULL;
    }
    return status;
}

static int64_t fixed_clock(void *context)
{
    const mneme *memory = context;
    return memory->fixed_now;
}

/* The setting clock.now. */
static mneme_status set_clock(mneme *memory, mneme_error *error)
{
    const char *now = memory->values.clock_now;
    if (!*now) return MNEME_OK;
    if (mneme_time_parse(now, &memory->fixed_now, error) != MNEME_OK) {
        mn_error_prefix(error, "clock.now: ");
        if (error) error->code = MNEME_ERR_SETTING;
        return MNEME_ERR_SETTING;
    }
    mn_store_set_clock(memory->store, fixed_clock, memory);
    return MNEME_OK;
}

static mneme_status make_analyzer(void *context, const char *language, mn_analyze *analyze, void **analyze_context,
                                  mneme_error *error)
{
    mn_analyzer **analyzer = context;
    mneme_status status = mn_analyzer_open(language, analyzer, error);
    *analyze = mn_analyzer_run;
    *analyze_context = *analyzer;
    return status;
}

/* Open the store; one of an older format is brought to the present one first, if it may be written to. */
static mneme_status open_store(const char *path, const mn_store_options *options, mn_store **out, mneme_error *error)
{
    mneme_status status = mn_store_open(path, options, out, error);
    if (status != MNEME_ERR_FORMAT || options->read_only || options->damaged) return status;
    mn_analyzer *analyzer = NULL;
    status = mn_store_upgrade(path, make_analyzer, &analyzer, error);
    mn_analyzer_close(analyzer);
    return status == MNEME_OK ? mn_store_open(path, options, out, error) : status;
}

/* What has died must be in no file beside the store. */
static void scrub_files(void *context)
{
    mneme *memory = context;
    mn_index_table_scrub(memory->indexes);
    mn_ready_scrub_store(memory->store);
}

/* What died while nobody could take it out of the index files is taken out now. */
static mneme_status open_indexes(mneme *memory, mneme_error *error)
{
    mneme_status status = mn_index_table_open(memory->store, &memory->indexes, error);
    if (status != MNEME_OK || memory->read_only) return status;
    scrub_files(memory);
    mn_store_set_removed(memory->store, scrub_files, memory);
    if (strcmp(memory->values.index_build, "auto") != 0) return MNEME_OK;
    status = mn_index_keeper_open(memory, &memory->keeper, error);
    if (status == MNEME_OK && mn_index_is_wanted(memory)) mn_index_keeper_note(memory->keeper, 0);
    return status;
}

static mneme_status open_parts(mneme *memory, const char *path, unsigned flags, mneme_error *error)
{
    const mn_settings_values *values = &memory->values;
    mn_vector_type type = MN_VECTORS_F32;
    mn_vector_type_parse(values->store_vectors, &type);
    const mn_store_options options = {.read_only = (flags & MNEME_OPEN_READ_ONLY) != 0,
                                      .existing = (flags & (MNEME_OPEN_READ_ONLY | MNEME_OPEN_EXISTING)) != 0,
                                      .damaged = (flags & MNEME_OPEN_DAMAGED) != 0,
                                      .pinned_bytes = (uint64_t)values->store_pinned_mib << 20,
                                      .map_bytes = (uint64_t)values->store_map_gib << 30,
                                      .vector_type = type,
                                      .language = values->lexical_language};
    mneme_status status = open_store(path, &options, &memory->store, error);
    if (status == MNEME_OK) status = mn_analyzer_open(mn_store_language(memory->store), &memory->analyzer, error);
    if (options.damaged && memory->store && !memory->analyzer) /* its language may be damaged, too */
        status = mn_analyzer_open("english", &memory->analyzer, error);
    if (status == MNEME_OK) mn_store_set_analyzer(memory->store, mn_analyzer_run, memory->analyzer);
    if (status == MNEME_OK) status = set_clock(memory, error);
    memory->model = mn_strength_model_of(values);
    memory->read_only = options.read_only || options.damaged;
    if (status == MNEME_OK && !options.damaged) status = open_indexes(memory, error);
    if (status == MNEME_OK && !options.read_only && strcmp(values->memory_strengthen, "off") != 0)
        status = mn_uses_open(memory->store, &memory->model, values->memory_flush_seconds, &memory->uses, error);
    return status;
}

mneme_status mneme_open(const char *path, const mneme_settings *settings, unsigned flags, mneme **out,
                        mneme_error *error)
{
    *out = NULL;
    if (!path || !*path) return mn_fail(error, MNEME_ERR_USAGE, "no directory given for the store");
    mneme_status status = check_processor(error);
    if (status != MNEME_OK) return status;
    mneme *memory = mn_alloc_zeroed(1, sizeof *memory);
    if (!memory) return mn_fail_memory(error, "memory");
    pthread_mutex_init(&memory->encoder_lock, NULL);
    mn_question_crew_init(&memory->crew);
    status = own_settings(settings, &memory->settings, error);
    if (status == MNEME_OK) {
        mn_settings_values_get(memory->settings, &memory->values);
        status = open_parts(memory, path, flags, error);
    }
    if (status != MNEME_OK)
        mneme_close(memory);
    else
        *out = memory;
    return status;
}

void mneme_close(mneme *memory)
{
    if (!memory) return;
    mn_index_keeper_close(memory->keeper);
    mn_uses_close(memory->uses);
    while (memory->encoders) mn_memory_take_encoder(memory, memory->encoders);
    if (memory->indexes && !memory->read_only) mn_index_table_note_stamps(memory->indexes);
    mn_index_table_close(memory->indexes);
    mn_store_close(memory->store);
    mn_analyzer_close(memory->analyzer);
    mneme_settings_free(memory->settings);
    mn_question_crew_close(&memory->crew);
    pthread_mutex_destroy(&memory->encoder_lock);
    mn_free(memory);
}

void mneme_set_clock(mneme *memory, mneme_clock clock, void *context)
{
    mn_store_set_clock(memory->store, clock, context);
}

int64_t mn_memory_now(const mneme *memory)
{
    return mn_store_now(memory->store);
}

int64_t mneme_now(const mneme *memory)
{
    return mn_memory_now(memory);
}

/* ---- the encoder -------------------------------------------------------------------------------------------- */

/* The folder that a name stands for in encoder.path; NULL with MNEME_OK: there is none. *out: owned. */
static mneme_status look_up_model(const mn_settings_values *values, const char *name, char **out, mneme_error *error)
{
    *out = NULL;
    for (const char *at = values->encoder_path; *at;) {
        size_t size = strcspn(at, ":");
        char *folder = mn_strndup(at, size);
        char *path = folder ? mn_path_join(folder, name) : NULL;
        mn_free(folder);
        if (!path) return mn_fail_memory(error, "model path");
        if (size > 0 && mn_is_directory(path)) {
            *out = path;
            return MNEME_OK;
        }
        mn_free(path);
        at += size;
        if (*at == ':') at++;
    }
    return MNEME_OK;
}

/* The folder of a model: a path, or a name looked up in encoder.path. *out: owned. */
static mneme_status find_model(const mn_settings_values *values, const char *model, char **out, mneme_error *error)
{
    *out = NULL;
    if (strchr(model, '/')) {
        *out = mn_strdup(model);
        return *out ? MNEME_OK : mn_fail_memory(error, "model path");
    }
    mneme_status status = look_up_model(values, model, out, error);
    if (status != MNEME_OK || *out) return status;
    return mn_fail(error, MNEME_ERR_MODEL,
                   "model \"%s\" is not in %s; scripts/setup fetches the default one, encoder.model may name a folder",
                   model, *values->encoder_path ? values->encoder_path : "encoder.path, which is empty");
}

static mneme_status open_encoder(const mn_settings_values *values, const char *model, mneme_encoder **out,
                                 mneme_error *error)
{
    *out = NULL;
    char *folder = NULL;
    mneme_status status = find_model(values, model, &folder, error);
    if (status != MNEME_OK) return status;
    mneme_encoder *encoder = mn_alloc_zeroed(1, sizeof *encoder);
    if (!encoder) status = mn_fail_memory(error, "encoder");
    const mn_encoder_options options = {.folder = folder,
                                        .precision = values->encoder_precision,
                                        .kernels = values->encoder_kernels,
                                        .threads = (unsigned)values->encoder_threads,
                                        .cache = values->encoder_cache};
    if (status == MNEME_OK) status = mn_encoder_open(&options, &encoder->encoder, error);
    mn_free(folder);
    if (status != MNEME_OK)
        mneme_encoder_close(encoder);
    else
        *out = encoder;
    return status;
}

mneme_status mneme_encoder_open(const mneme_settings *settings, mneme_encoder **out, mneme_error *error)
{
    *out = NULL;
    mneme_settings *own = NULL;
    mneme_status status = own_settings(settings, &own, error);
    if (status != MNEME_OK) return status;
    mn_settings_values values;
    mn_settings_values_get(own, &values);
    status = open_encoder(&values, values.encoder_model, out, error);
    mneme_settings_free(own);
    return status;
}

void mneme_encoder_close(mneme_encoder *encoder)
{
    if (!encoder) return;
    mn_encoder_close(encoder->encoder);
    mn_free(encoder);
}

mneme_encoder_info mneme_encoder_get_info(const mneme_encoder *encoder)
{
    return *mn_encoder_info(encoder->encoder);
}

const char *mneme_encoder_prompt(const mneme_encoder *encoder, size_t index, const char **text)
{
    return mn_encoder_named_prompt(encoder->encoder, index, text);
}

/* ---- the encoder of an open memory ---- */

mn_encoder_stamp mn_memory_stamp(const mneme_encoder *encoder)
{
    const mneme_encoder_info *info = mn_encoder_info(encoder->encoder);
    return (mn_encoder_stamp){.name = info->name, .fingerprint = info->fingerprint, .dimension = info->dimension};
}

mneme_status mn_memory_encoder_changed(mn_read *read, const mneme_encoder *encoder, bool *changed, mneme_error *error)
{
    mn_encoder_stamp stored;
    mneme_status status = mn_read_encoder(read, &stored, error);
    *changed = status == MNEME_OK && *stored.name && stored.fingerprint != mn_memory_stamp(encoder).fingerprint;
    return status;
}

mneme_status mn_memory_load_encoder(mneme *memory, const char *model, mneme_encoder **out, mneme_error *error)
{
    return open_encoder(&memory->values, model ? model : memory->values.encoder_model, out, error);
}

void mn_memory_give_encoder(mneme *memory, mneme_encoder *encoder)
{
    pthread_mutex_lock(&memory->encoder_lock);
    encoder->next = memory->encoders;
    memory->encoders = encoder;
    pthread_mutex_unlock(&memory->encoder_lock);
}

void mn_memory_take_encoder(mneme *memory, mneme_encoder *encoder)
{
    pthread_mutex_lock(&memory->encoder_lock);
    for (mneme_encoder **link = &memory->encoders; *link; link = &(*link)->next) {
        if (*link != encoder) continue;
        *link = encoder->next;
        break;
    }
    pthread_mutex_unlock(&memory->encoder_lock);
    mneme_encoder_close(encoder);
}

/* The model to load for a store of `stored`: the one of the settings; where they leave it to the default, the one that
 * the store names, if there is one of that name. *out: owned. */
static mneme_status choose_model(const mneme *memory, const mn_encoder_stamp *stored, char **out, mneme_error *error)
{
    mneme_setting setting;
    bool given =
        mneme_settings_find(memory->settings, "encoder.model", &setting) && strcmp(setting.origin, "default") != 0;
    *out = NULL;
    mneme_status status = MNEME_OK;
    if (!given && *stored->name && stored->name[0] != '.' && !strchr(stored->name, '/'))
        status = look_up_model(&memory->values, stored->name, out, error);
    if (status != MNEME_OK || *out) return status;
    *out = mn_strdup(memory->values.encoder_model);
    return *out ? MNEME_OK : mn_fail_memory(error, "model path");
}

/* Refuse an encoder whose vectors would not mean what the stored ones mean. */
static mneme_status check_stamp(const mneme *memory, const mn_encoder_stamp *stored, const mneme_encoder *encoder,
                                mneme_error *error)
{
    mn_encoder_stamp now = mn_memory_stamp(encoder);
    if (!*stored->name || stored->fingerprint == now.fingerprint) return MNEME_OK;
    if (strcmp(stored->name, now.name) == 0)
        return mn_fail(
            error, MNEME_ERR_ENCODER,
            "store %s was made with an encoder %s (%016llx), but %s is another one of that name (%016llx); set "
            "encoder.model to the folder of the first, or bring the store to the other with mneme reindex",
            mn_store_path(memory->store), stored->name, (unsigned long long)stored->fingerprint,
            mneme_encoder_get_info(encoder).path, (unsigned long long)now.fingerprint);
    return mn_fail(error, MNEME_ERR_ENCODER,
                   "store %s was made with encoder %s (%016llx), not with %s (%016llx); set encoder.model to it, or "
                   "bring the store to another one with mneme reindex",
                   mn_store_path(memory->store), stored->name, (unsigned long long)stored->fingerprint, now.name,
                   (unsigned long long)now.fingerprint);
}

static mneme_status load_for(mneme *memory, const mn_encoder_stamp *stored, mneme_encoder **out, mneme_error *error)
{
    char *model = NULL;
    mneme_encoder *encoder = NULL;
    mneme_status status = choose_model(memory, stored, &model, error);
    if (status == MNEME_OK) status = open_encoder(&memory->values, model, &encoder, error);
    if (status == MNEME_OK) status = check_stamp(memory, stored, encoder, error);
    mn_free(model);
    if (status != MNEME_OK) {
        mneme_encoder_close(encoder);
        return status;
    }
    encoder->next = memory->encoders;
    *out = memory->encoders = encoder;
    return MNEME_OK;
}

/* stored: of the store as it is now. */
static mneme_status encoder_for(mneme *memory, const mn_encoder_stamp *stored, mneme_encoder **out, mneme_error *error)
{
    mneme_status status = MNEME_OK;
    pthread_mutex_lock(&memory->encoder_lock);
    for (mneme_encoder *e = memory->encoders; e && !*out; e = e->next)
        if (!*stored->name || mn_memory_stamp(e).fingerprint == stored->fingerprint) *out = e;
    if (!*out) status = load_for(memory, stored, out, error);
    pthread_mutex_unlock(&memory->encoder_lock);
    return status;
}

mneme_status mn_memory_encoder(mneme *memory, mneme_encoder **out, mneme_error *error)
{
    *out = NULL;
    mn_read *read = NULL;
    mn_encoder_stamp stored;
    mneme_status status = mn_read_begin(memory->store, &read, error);
    if (status != MNEME_OK) return status;
    status = mn_read_encoder(read, &stored, error);
    char *name = status == MNEME_OK ? mn_strdup(stored.name) : NULL;
    mn_read_end(read); /* a model is not loaded inside a read */
    if (status == MNEME_OK && !name) status = mn_fail_memory(error, "encoder stamp");
    stored.name = name;
    if (status == MNEME_OK) status = encoder_for(memory, &stored, out, error);
    mn_free(name);
    return status;
}

mneme_status mneme_get_encoder(mneme *memory, const mneme_encoder **out, mneme_error *error)
{
    mneme_encoder *encoder = NULL;
    mneme_status status = mn_memory_encoder(memory, &encoder, error);
    *out = encoder;
    return status;
}
