/* handle.h -- what the files of memory/ share: the open store as one object. */
#ifndef MN_MEMORY_HANDLE_H
#define MN_MEMORY_HANDLE_H

#include "encoder/encoder.h"
#include "memory/index_table.h"
#include "memory/question_crew.h"
#include "memory/settings.h"
#include "memory/strength.h"
#include "memory/uses.h"
#include "memory/where.h"
#include "memstore/store.h"
#include "retriever/analyzer.h"

#include <pthread.h>

struct mneme_encoder {
    mn_encoder *encoder;
    struct mneme_encoder *next; /* of the same memory */
};

struct mneme {
    mn_store *store;
    mn_analyzer *analyzer;
    mneme_settings *settings;
    mn_settings_values values;    /* texts borrowed from settings */
    pthread_mutex_t encoder_lock; /* guards encoders */
    mneme_encoder *encoders;      /* all that were needed, newest first; a reindex adds one. They live until close */
    mn_strength_model model;
    mn_index_table *indexes;        /* NULL: of a damaged store */
    struct mn_index_keeper *keeper; /* NULL: indexes are built by mneme_optimize alone */
    mn_question_crew crew;
    bool read_only;
    mn_uses *uses;     /* NULL: use does not strengthen here */
    int64_t fixed_now; /* the setting clock.now, when it is given */
};

/* By the memory's clock. */
int64_t mn_memory_now(const mneme *memory);

/* A record's strength as the caller sees it. */
mneme_status mn_strength_view(const mneme *memory, mn_read *read, uint32_t ns, const mn_record *record,
                              mneme_strength *out, mneme_error *error);

/* The encoder that the store is of now, loaded when it is first needed; of a store without vectors, the one of the
 * settings. ERR_ENCODER when the store's vectors come from another one than the settings name. Begins a read. Any
 * thread. */
mneme_status mn_memory_encoder(mneme *memory, mneme_encoder **out, mneme_error *error);
/* Is the store that this read sees of another encoder than this one? */
mneme_status mn_memory_encoder_changed(mn_read *read, const mneme_encoder *encoder, bool *changed, mneme_error *error);
/* Load the model of this name or folder, as the settings say; NULL: the one that they name. *out: owned. */
mneme_status mn_memory_load_encoder(mneme *memory, const char *model, mneme_encoder **out, mneme_error *error);
/* Have it at hand for when the store is of it; it is the memory's then, until it is taken back. */
void mn_memory_give_encoder(mneme *memory, mneme_encoder *encoder);
void mn_memory_take_encoder(mneme *memory, mneme_encoder *encoder);

/* The encoder's stamp for a store's vectors. */
mn_encoder_stamp mn_memory_stamp(const mneme_encoder *encoder);

/* Records of a namespace whose end has come. */
typedef struct mn_ended {
    const char *name_space;
    const uint32_t *recs; /* ascending */
    size_t n;
} mn_ended;

/* A mneme_selection made ready: evaluated on records inside a read. */
typedef struct mn_filter {
    mneme_selection select;
    size_t source_size;
    const mn_where *where; /* NULL = none */
    const mn_ended *ended; /* per namespace that has any: records that are not answered any more */
    size_t n_ended;
} mn_filter;

/* arena: keeps the compiled expression. ERR_SYNTAX points at the column. */
mneme_status mn_filter_compile(const mneme_selection *select, mn_arena *arena, mn_filter *out, mneme_error *error);
/* Leave out what has ended by now in these namespaces, unless the selection asks for it; for the length of this read.
 */
mneme_status mn_filter_hide_ended(mn_filter *filter, mn_read *read, const mn_namespace *namespaces, size_t n,
                                  int64_t now_ms, mn_arena *arena, mneme_error *error);
/* Does it leave anything out, apart from namespaces? */
bool mn_filter_is_open(const mn_filter *filter);
/* As mn_retrieve_options.accept: context is the mn_filter. The namespace itself is not looked at. */
bool mn_filter_accepts(void *filter, const char *name_space, const mn_record *record);

/* The namespaces that a selection names, in the arena; none when the one named does not exist. */
mneme_status mn_selected_namespaces(mn_read *read, const mneme_selection *select, mn_arena *arena, mn_namespace **out,
                                    size_t *n, mneme_error *error);

/* A namespace's index as the caller sees it; texts in the arena. */
mneme_status mn_index_describe(mneme *memory, mn_read *read, const mn_namespace *space, mn_arena *arena,
                               mneme_index_info *out, mneme_error *error);

/* What mneme_query and mneme_context have in common: the question's embedding, then the ranking inside one read. */
typedef struct mn_found {
    mn_arena arena; /* everything below lives here */
    mn_read *read;  /* open: end it with mn_found_end */
    mn_namespace *namespaces;
    size_t n_namespaces;
    mn_filter filter;
    mn_index **indexes; /* of the namespaces; NULL = none. References */
    struct mn_ranked *ranked;
    size_t n_ranked;
    bool is_unknown;    /* as in mneme_hits */
    mn_term_list asked; /* the question's terms, when it is to be explained */
    double started;     /* monotonic seconds */
} mn_found;

/* k: hits wanted. found is {0}; mn_found_end in any case. */
mneme_status mn_find(mneme *memory, const char *question, const mneme_query_options *options, uint32_t k,
                     mn_found *found, mneme_error *error);
void mn_found_end(mn_found *found);

/* The bytes [start, end) of a record's text in the arena, with a NUL after them. */
mneme_status mn_copy_text(mn_read *read, uint32_t ns, uint32_t rec, uint64_t start, uint64_t end, mn_arena *arena,
                          const char **out, mneme_error *error);

/* A piece of a record's text, and what its chunks are indexed with; title and speaker may be NULL. */
typedef struct mn_terms_of {
    const char *title, *speaker, *text;
    size_t text_size;
} mn_terms_of;
/* Which of found->asked it has, in their order; *n += how many. */
mneme_status mn_common_terms(const mneme *memory, const mn_found *found, const mn_terms_of *of, mn_arena *arena,
                             const char *const **out, size_t *n, mneme_error *error);

/* Does an answer to this count as use? */
bool mn_strengthens(const mneme *memory, const mneme_query_options *options);
/* What was answered has been used: one entry for each chunk, with its attention. items are changed. */
void mn_note_uses(mneme *memory, mn_use *items, size_t n);

#endif
