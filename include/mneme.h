/* mneme.h -- the long-term memory of language models: encode, store, retrieve, splice.
 *
 * One directory is one memory. Text goes in as records; a record is cut into chunks, each chunk gets an
 * embedding; a query finds the chunks that matter and mneme_context() splices them into a window of text that a
 * language model can read as it is.
 *
 *     mneme *memory = NULL;
 *     mneme_error error;
 *     if (mneme_open("notes", NULL, 0, &memory, &error) != MNEME_OK) { puts(error.message); return 1; }
 *     mneme_record record = {.id = "1", .text = "The spare key is under the third flower pot."};
 *     mneme_add(memory, &record, 1, NULL, NULL, &error);
 *     mneme_hits *hits = NULL;
 *     mneme_query(memory, "where is the key?", NULL, &hits, &error);
 *     printf("%.*s\n", (int)hits->items[0].text_size, hits->items[0].text);
 *     mneme_hits_free(hits);
 *     mneme_close(memory);
 *
 * CONVENTIONS
 *   Errors    A call returns MNEME_OK (0) or a negative mneme_status. The last parameter may point to a mneme_error
 *             of yours (NULL allowed): on failure it holds one line that says what was wrong, where, and what to do.
 *   Results   Come back through out-parameters, which are set to NULL or 0 first. Each result owns its memory in one
 *             block; release it with the named _free call (NULL is fine).
 *   Strings   `const char *` is NUL-terminated UTF-8, borrowed for the call and copied where it is kept. Text is
 *             pointer and size; NUL bytes in it are data. Invalid UTF-8 in a text is replaced by U+FFFD and counted.
 *   Options   Start from the _INIT macro, then set what you need; NULL means all defaults.
 *   Threads   A `mneme *` may be used by many threads at once; writers wait for each other, and those that come at once
 *             share a commit. A result belongs to the thread that uses it. Many processes may read and write one
 * directory at once. Caveats   Never carry an open `mneme *` over fork(), never open one directory twice in one process
 * (refused with MNEME_ERR_BUSY), and keep the directory off network file systems (LMDB needs real mmap and locks).
 */
#ifndef MNEME_H
#define MNEME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MNEME_VERSION_MAJOR 0
#define MNEME_VERSION_MINOR 1
#define MNEME_VERSION_PATCH 0
#define MNEME_VERSION       "0.1.0"
/* Changes when a program must be compiled again. */
#define MNEME_ABI 1

#if defined(__GNUC__)
#define MNEME_API __attribute__((visibility("default")))
#else
#define MNEME_API
#endif

/* ---- status and error ------------------------------------------------------------------------------------- */

/* name, value, what it means. Values are ABI: append only. */
#define MNEME_STATUS_MAP(X)                                                                                            \
    X(OK, 0, "done")                                                                                                   \
    X(ERR_USAGE, -1, "a call or option that makes no sense")                                                           \
    X(ERR_MEMORY, -2, "out of memory")                                                                                 \
    X(ERR_IO, -3, "reading or writing failed")                                                                         \
    X(ERR_DISK_FULL, -4, "no space left on the device")                                                                \
    X(ERR_PERMISSION, -5, "permission denied")                                                                         \
    X(ERR_NOT_FOUND, -6, "no such record, namespace, file or model")                                                   \
    X(ERR_NOT_A_STORE, -7, "the directory is not a mneme store")                                                       \
    X(ERR_FORMAT, -8, "the store was written in a format that this version cannot read")                               \
    X(ERR_DAMAGED, -9, "stored data is damaged")                                                                       \
    X(ERR_BUSY, -10, "the store is already open in this process")                                                      \
    X(ERR_MODEL, -11, "the model folder is missing, incomplete or unusable")                                           \
    X(ERR_ENCODER, -12, "the store was made with another encoder")                                                     \
    X(ERR_DIMENSION, -13, "a vector of the wrong dimension")                                                           \
    X(ERR_TOO_LARGE, -14, "over a size limit")                                                                         \
    X(ERR_RECORD, -15, "a record that cannot be stored as it is")                                                      \
    X(ERR_SETTING, -16, "an unknown setting, or a value out of its range")                                             \
    X(ERR_SYNTAX, -17, "JSON, YAML or an expression that cannot be parsed")                                            \
    X(ERR_CANCELLED, -18, "cancelled by the caller's callback")                                                        \
    X(ERR_READ_ONLY, -19, "the store was opened for reading only")                                                     \
    X(ERR_UNSUPPORTED, -20, "not supported by this build or this processor")                                           \
    X(ERR_INTERNAL, -21, "a library below failed in a way that it should not")                                         \
    X(ERR_DIVERGED, -22, "training led to a number that is not finite")

typedef enum mneme_status {
#define MNEME_STATUS_ENUM(name, value, text) MNEME_##name = value,
    MNEME_STATUS_MAP(MNEME_STATUS_ENUM)
#undef MNEME_STATUS_ENUM
} mneme_status;

typedef struct mneme_error {
    mneme_status code;
    char message[508]; /* one line, NUL-terminated UTF-8, never empty after a failure */
} mneme_error;

/* "MNEME_ERR_IO" and "reading or writing failed"; never NULL, static. */
MNEME_API const char *mneme_status_name(mneme_status status);
MNEME_API const char *mneme_status_text(mneme_status status);

/* Version and ABI of the library that is linked now. */
MNEME_API const char *mneme_version(void);
MNEME_API int mneme_abi(void);

/* ---- settings ----------------------------------------------------------------------------------------------- */

/* A set of named values ("retrieval.k", "encoder.model"); docs/settings.md and `mneme config` list them all. */
typedef struct mneme_settings mneme_settings;

/* New settings with every value at its default. *out: owned, mneme_settings_free. */
MNEME_API mneme_status mneme_settings_new(mneme_settings **out, mneme_error *error);
MNEME_API void mneme_settings_free(mneme_settings *settings);

/* Set one value from its text form; `origin` (copied, e.g. "command line") is reported by mneme_settings_get.
 * A value set from a higher origin is not overwritten by a later load: see mneme_settings_load_*.
 * ERR_SETTING names the nearest known name, or the allowed range. */
MNEME_API mneme_status mneme_settings_set(mneme_settings *settings, const char *name, const char *value,
                                          const char *origin, mneme_error *error);

/* Read a YAML file. Unknown names and wrong types are ERR_SETTING with file:line; syntax is ERR_SYNTAX.
 * After a failure the settings are as before. */
MNEME_API mneme_status mneme_settings_load_file(mneme_settings *settings, const char *path, mneme_error *error);

/* Take $MNEME_<NAME> (dots as underscores) for every setting, and the model folders of the XDG directories: with
 * mneme_open and mneme_encoder_open when their settings are NULL, the only call that reads the environment. */
MNEME_API mneme_status mneme_settings_load_environment(mneme_settings *settings, mneme_error *error);

typedef struct mneme_setting {
    const char *name;    /* "retrieval.k" */
    const char *value;   /* text form in force */
    const char *origin;  /* "default", "mneme.yaml:3", "environment", "command line" */
    const char *type;    /* "integer", "number", "boolean", "text" or "a|b|c" */
    const char *summary; /* one line */
} mneme_setting;

/* The index-th setting in the documented order; false past the end. Strings borrowed until the settings change. */
MNEME_API bool mneme_settings_get(const mneme_settings *settings, size_t index, mneme_setting *out);
/* The same by name. */
MNEME_API bool mneme_settings_find(const mneme_settings *settings, const char *name, mneme_setting *out);

/* ---- opening ------------------------------------------------------------------------------------------------- */

typedef struct mneme mneme;

#define MNEME_OPEN_READ_ONLY 1u /* no writes; the store must exist */
#define MNEME_OPEN_EXISTING  2u /* do not create: ERR_NOT_A_STORE if there is none */
#define MNEME_OPEN_DAMAGED   4u /* whatever can be opened of a damaged store: for mneme_salvage, and nothing else */

/* Open the store in directory `path`, creating it (mode 0700) when missing or empty, unless flags forbid.
 * settings: copied; NULL = defaults and what mneme_settings_load_environment adds. The encoder's model is loaded at
 * first use, not here: the one that encoder.model names; where that is not set, the one that the store names, if it is in
 * encoder.path. ERR_NOT_A_STORE, ERR_FORMAT, ERR_PERMISSION, ERR_BUSY, ERR_DAMAGED, ERR_IO. */
MNEME_API mneme_status mneme_open(const char *path, const mneme_settings *settings, unsigned flags, mneme **out,
                                  mneme_error *error);
MNEME_API void mneme_close(mneme *memory);

/* Milliseconds since 1970-01-01T00:00:00Z. A clock of the caller's makes results that depend on time repeatable. */
typedef int64_t (*mneme_clock)(void *context);
MNEME_API void mneme_set_clock(mneme *memory, mneme_clock clock, void *context);
/* The time by the memory's clock: the caller's, else the setting clock.now, else the system's. */
MNEME_API int64_t mneme_now(const mneme *memory);

/* ---- records -------------------------------------------------------------------------------------------------- */

/* A piece of a record's text with its vector. */
typedef struct mneme_chunk {
    uint64_t start, end; /* byte range in the text */
    const float *vector; /* the record's `dimension` floats, unit length */
} mneme_chunk;

typedef struct mneme_record {
    const char *id;         /* 1..480 bytes, unique in its namespace; an existing id is replaced */
    const char *name_space; /* NULL or "": the unnamed one. Namespaces are walls: see mneme_query_options */
    const char *text;       /* what is remembered */
    size_t text_size;       /* bytes; 0 with a text means NUL-terminated */
    const char *title;      /* NULL = none; goes before every chunk's text when encoded ("title. text") */
    const char *session;    /* NULL = none; records of one session are neighbours in the order they were added */
    const char *speaker;    /* NULL = none; encoded as "speaker: text" */
    const char *metadata;   /* NULL = none; a JSON object */
    const char *source;     /* NULL = none; the file or address the record was read from */
    bool has_time;          /* is time_ms set? */
    int64_t time_ms;        /* milliseconds since 1970-01-01T00:00:00Z */
    const float *vector;    /* NULL: encode the text. Else `dimension` floats: stored (scaled to unit length) as the
                               record's only chunk */
    uint32_t dimension;     /* of `vector`, or of those of `chunks` */
    bool has_importance;    /* is importance set? */
    float importance;       /* [0,1], kept in steps of 1/200; see docs/dynamics.md. Not set: estimated from the text */
    bool pinned;        /* never fades, never ends, is never pruned. Adding again without it leaves a pin as it is */
    bool has_expires;   /* is expires_ms set? */
    int64_t expires_ms; /* the record is answered no more from this moment on, and mneme_prune removes it */
    int64_t ttl_ms;     /* > 0 and not has_expires: it ends so long after it is added, by the memory's clock */
    const mneme_chunk *chunks; /* NULL: cut and encode the text. Else the n_chunks chunks that it was cut into before,
                                  with their vectors, as mneme_export gives them: see mneme_add_options.encoder */
    size_t n_chunks;
} mneme_record;

/* done out of total units ("chunks", "records", "bytes"); return false to cancel. */
typedef bool (*mneme_progress)(void *context, uint64_t done, uint64_t total, const char *unit);

typedef struct mneme_add_options {
    size_t size;             /* sizeof(mneme_add_options) */
    bool strict;             /* one refused record refuses the whole call */
    bool dry_run;            /* count what would happen, store nothing */
    mneme_progress progress; /* NULL = none */
    /* Called for every refused record with its place in the array; NULL = none. */
    void (*refused)(void *context, size_t index, const mneme_error *error);
    void *context; /* for both */
    /* Where vectors come from that records bring along out of another store: the name and fingerprint of its encoder
     * (mneme_stats), which this store is then stamped with. NULL: records bring none but vectors of their own. */
    const char *encoder;
    uint64_t fingerprint;
    /* How a namespace that has no vectors yet keeps them ("f32", "bf16", "int12", "int8"), where store.vectors is not
     * set: vectors that come from a store that keeps them so stay the same, bit for bit. NULL: as store.vectors says.
     */
    const char *vectors;
} mneme_add_options;
#define MNEME_ADD_OPTIONS_INIT                                                                                         \
    {                                                                                                                  \
        sizeof(mneme_add_options), false, false, NULL, NULL, NULL, NULL, 0, NULL                                       \
    }

typedef struct mneme_add_result {
    uint64_t added, updated, unchanged, refused; /* records */
    uint64_t chunks;                             /* chunks encoded and stored */
    uint64_t replaced_characters;                /* invalid UTF-8 sequences that became U+FFFD */
    uint64_t generation;                         /* of the store after the call */
} mneme_add_result;

/* Encode and store `n` records in one atomic batch: when this returns MNEME_OK they survive kill -9 and power loss.
 * Records whose content is what the store already has are counted as unchanged and cost no encoding.
 * Records that cannot be stored (see mneme_add_options.refused) are left out, unless strict.
 * Records that bring their chunks need no encoder here: ERR_ENCODER when the store has another one than
 * options->encoder. Their chunks must begin in order, lie within the text on borders of its characters, and have finite
 * vectors; one whose squares add up to 1 within 1e-2 (bf16 rounds as much) is stored as it is, else scaled. Where the
 * text and all that describes it are what the store has already, they are unchanged, whatever the chunks. options,
 * result: NULL allowed. On any failure the store is as before. */
MNEME_API mneme_status mneme_add(mneme *memory, const mneme_record *records, size_t n, const mneme_add_options *options,
                                 mneme_add_result *result, mneme_error *error);

/* Parse one JSON object (`_id` or `id`, text, title, namespace, session, time, speaker, metadata, source, vector,
 * chunks) into a record. *out is owned (mneme_record_free) and holds everything its pointers name. ERR_SYNTAX,
 * ERR_RECORD. */
MNEME_API mneme_status mneme_record_parse(const char *json, size_t size, mneme_record **out, mneme_error *error);
MNEME_API void mneme_record_free(mneme_record *record);

/* How strong a memory is, and why: docs/dynamics.md. */
typedef struct mneme_strength {
    float strength;       /* [0,1], now */
    float importance;     /* [0,1]: what it was at writing */
    float half_life_days; /* how fast it fades now; 0 = not at all */
    uint32_t uses;        /* by questions and mneme_reinforce */
    int64_t written_ms;   /* when it was stored, to the second */
    bool has_last_use;
    int64_t last_use_ms;
    bool pinned; /* strength is 1 */
    bool has_expires;
    int64_t expires_ms;
    bool expired; /* its end has come, and no pin holds it */
} mneme_strength;

typedef struct mneme_record_list {
    size_t n;
    const mneme_record *items;       /* text is complete; vector is NULL */
    const uint32_t *n_chunks;        /* per record */
    char *next;                      /* NULL: this was the last page; else pass as mneme_list_options.after */
    const mneme_strength *strengths; /* per record */
} mneme_record_list;
MNEME_API void mneme_record_list_free(mneme_record_list *list);

/* One record. name_space NULL = "". ERR_NOT_FOUND names the id; a record whose end has come is not there. */
MNEME_API mneme_status mneme_get(mneme *memory, const char *name_space, const char *id, mneme_record_list **out,
                                 mneme_error *error);

/* Which records a call is about: all conditions that are set must hold. */
typedef struct mneme_selection {
    const char *name_space; /* NULL = every namespace, "" = the unnamed one */
    const char *where;      /* NULL = all; an expression, see docs/where.md */
    const char *session;    /* NULL = any */
    const char *source;     /* NULL = any; records whose source is this file, or lies in this folder */
    bool has_since, has_until;
    int64_t since_ms, until_ms; /* since <= time < until; a record without time is out when either is set */
    bool include_expired;       /* records whose end has come, too; mneme_forget means them in any case */
} mneme_selection;

typedef struct mneme_list_options {
    size_t size;
    mneme_selection select;
    size_t limit;      /* records a page; 0 = 100 */
    const char *after; /* NULL = from the start; else `next` of the page before */
    bool omit_text;
} mneme_list_options;
#define MNEME_LIST_OPTIONS_INIT                                                                                        \
    {                                                                                                                  \
        sizeof(mneme_list_options), {0}, 0, NULL, false                                                                \
    }

/* A page of records, by namespace, then in the order in which they were added. */
MNEME_API mneme_status mneme_list(mneme *memory, const mneme_list_options *options, mneme_record_list **out,
                                  mneme_error *error);

typedef struct mneme_forget_options {
    size_t size;
    const char *const *ids; /* n_ids ids in select.name_space (NULL = ""); NULL: every record that `select` names */
    size_t n_ids;
    mneme_selection select;
    bool dry_run;
} mneme_forget_options;
#define MNEME_FORGET_OPTIONS_INIT                                                                                      \
    {                                                                                                                  \
        sizeof(mneme_forget_options), NULL, 0, {0}, false                                                              \
    }

/* Remove records: text, vectors and postings. *n_forgotten: how many there were (NULL allowed); ids that do not
 * exist are not an error. With neither ids nor any condition: ERR_USAGE. */
MNEME_API mneme_status mneme_forget(mneme *memory, const mneme_forget_options *options, uint64_t *n_forgotten,
                                    mneme_error *error);

/* ---- questions --------------------------------------------------------------------------------------------------- */

typedef enum mneme_mode {
    MNEME_MODE_DEFAULT = 0, /* as the setting retrieval.mode says */
    MNEME_MODE_HYBRID = 1,  /* vectors and words */
    MNEME_MODE_DENSE = 2,   /* vectors alone */
    MNEME_MODE_LEXICAL = 3, /* words alone: needs no encoder */
} mneme_mode;

typedef struct mneme_query_options {
    size_t size;
    uint32_t k; /* hits wanted; 0 = the setting retrieval.k (10) */
    mneme_mode mode;
    mneme_selection select; /* name_space NULL: every namespace, each with its own statistics */
    bool one_per_record;    /* a record comes once, as its best chunk */
    const float *vector;    /* NULL: encode the text; else `dimension` floats used as the question's embedding */
    uint32_t dimension;
    bool leave_strength; /* this question is no use of what it finds: see mneme_reinforce */
    bool explain;        /* fill in the `terms` of the answer; its `parts` are there in any case */
} mneme_query_options;
#define MNEME_QUERY_OPTIONS_INIT                                                                                       \
    {                                                                                                                  \
        sizeof(mneme_query_options), 0, MNEME_MODE_DEFAULT, {0}, false, NULL, 0, false, false                          \
    }

/* What a score is made of: the parts add up to it, rounding apart. Each is >= 0, weights included. */
typedef struct mneme_parts {
    float dense, lexical;                /* of vectors and words: scaled over the candidates where both count */
    float neighbour;                     /* of hits nearby in the session or document */
    float importance, strength, recency; /* of the record itself, where settings give them weight */
    float speaker, time;                 /* of a question that names the speaker, or days near the record's time */
} mneme_parts;

typedef struct mneme_hit {
    const char *id, *name_space, *title, *session, *speaker, *metadata, *source; /* NULL where the record has none */
    bool has_time;
    int64_t time_ms;
    uint32_t chunk;      /* 0, 1, ... within the record */
    uint64_t start, end; /* byte range of the chunk in the record's text */
    const char *text;    /* the chunk's text */
    size_t text_size;
    float score;     /* [0,1]: what the hits are sorted by */
    float dense;     /* [0,1]: cosine of question and chunk; below 0 reads 0 */
    float lexical;   /* [0,1]: BM25 as a share of the most that the question's terms could give */
    float neighbour; /* [0,1]: what hits nearby in the session or document added to the score */
    float attention; /* softmax over the hits' scores: sums to 1 */
    float strength;  /* [0,1]: of the record, now; in the score only with the setting retrieval.strength_weight */
    float recency;   /* [0,1]: in the score only with the setting retrieval.recency_weight */
    mneme_parts parts;
    size_t n_terms; /* with explain: the question's terms (stems) that the chunk or its title or speaker has, */
    const char *const *terms; /* sorted by bytes */
} mneme_hit;

typedef struct mneme_hits {
    size_t n;
    const mneme_hit *items; /* best first; equal scores by namespace, then what was written first */
    double took_ms;
    uint64_t generation; /* of the store that answered */
    bool is_unknown;     /* the encoder knows no token of the question: words alone were compared */
} mneme_hits;
MNEME_API void mneme_hits_free(mneme_hits *hits);

/* Answer one question. No hit is not an error: n = 0, as for a namespace that is not there and a question without a
 * word. question: NUL-terminated, may be "" when a vector is given. ERR_USAGE: the vector has NaN, infinity or length
 * 0; ERR_DIMENSION: no namespace that is asked has vectors of its dimension, and one has others; else errors of encoder
 * and store. */
MNEME_API mneme_status mneme_query(mneme *memory, const char *question, const mneme_query_options *options,
                                   mneme_hits **out, mneme_error *error);

/* What counts the tokens of a window. */
typedef enum mneme_counting {
    MNEME_COUNT_DEFAULT = 0, /* as the setting context.tokens says */
    MNEME_COUNT_ENCODER = 1, /* the encoder's tokenizer */
    MNEME_COUNT_BYTES_4 = 2, /* a token for every four bytes begun: needs no model */
} mneme_counting;

/* The form in which a window is written; docs/context.md shows each. In none of them can stored text pass for a mark of
 * the template's own. */
typedef enum mneme_template {
    MNEME_TEMPLATE_DEFAULT = 0,  /* as the setting context.template says */
    MNEME_TEMPLATE_PLAIN = 1,    /* "[source, date]" lines, "speaker: text" */
    MNEME_TEMPLATE_MARKDOWN = 2, /* headings and block quotes */
    MNEME_TEMPLATE_XML = 3,      /* <memory>, <session>, <document>, <passage>: well-formed XML 1.0 */
    MNEME_TEMPLATE_CHAT = 4,     /* a JSON array of {"role","name","content"} */
} mneme_template;

typedef struct mneme_context_options {
    size_t size;
    uint32_t budget;           /* tokens of the whole text, marks included; 0 = the setting context.budget (1024) */
    mneme_query_options query; /* how to find; its k bounds the memories considered (0 = setting context.k) */
    mneme_template form;
    mneme_counting counting;
    /* NULL: as `counting` says. Else a tokenizer of the caller's own: how many tokens has text[0, size)? Called from
     * this thread only, a few hundred times a window, while the store is being read: do not use the memory in it.
     * Anything but MNEME_OK ends the call with that status, and its error's message when it sets one. */
    mneme_status (*count_tokens)(void *context, const char *text, size_t size, uint64_t *n_tokens, mneme_error *error);
    void *count_context;
} mneme_context_options;
#define MNEME_CONTEXT_OPTIONS_INIT                                                                                     \
    {                                                                                                                  \
        sizeof(mneme_context_options), 0, MNEME_QUERY_OPTIONS_INIT, MNEME_TEMPLATE_DEFAULT, MNEME_COUNT_DEFAULT, NULL, \
            NULL                                                                                                       \
    }

typedef struct mneme_passage {
    const char *id, *name_space, *title, *session, *speaker, *source;
    bool has_time;
    int64_t time_ms;
    uint64_t start, end; /* byte range in the record's text */
    const char *text;
    size_t text_size;
    float weight;      /* attention that fell on it; 0 for one that is only a neighbour */
    uint32_t n_hits;   /* how many hits it shows; 0: it came in beside others */
    float score;       /* of the best of these; 0 without any */
    mneme_parts parts; /* of that score */
    size_t n_terms;    /* as in mneme_hit */
    const char *const *terms;
} mneme_passage;

typedef struct mneme_window {
    uint32_t tokens;  /* of `text`, as the options count them; never over the budget */
    const char *text; /* what a language model reads: passages in their original order under their sources; empty when
                         there are none, in every template */
    size_t text_size;
    size_t n;
    const mneme_passage *items; /* in the order of the text */
    double took_ms;
    uint64_t generation;
    bool is_unknown; /* as in mneme_hits */
    size_t n_found;  /* memories it was made from: with n = 0 and n_found > 0 the budget has no room for any */
} mneme_window;
MNEME_API void mneme_window_free(mneme_window *window);

/* Splice the memories that matter for `question` into one window of at most `budget` tokens. Needs the encoder's model
 * where the mode or the counting does. ERR_USAGE: a template or way of counting that does not exist. */
MNEME_API mneme_status mneme_context(mneme *memory, const char *question, const mneme_context_options *options,
                                     mneme_window **out, mneme_error *error);

/* ---- strength ---------------------------------------------------------------------------------------------------- */

/* A memory's strength rises by use, by mneme_reinforce, and starts from its importance; it fades with time, the slower
 * the more often and the better spaced it was used. docs/dynamics.md has the formulas.
 *
 * mneme_query and mneme_context on a memory that is open for writing count as use of what they answer, each record by
 * the attention it got (setting memory.strengthen). They do not wait for that to be written: a thread of the memory's
 * own writes what has gathered, once a memory.flush_seconds at most. A crash loses that much. It makes no new
 * generation. */

/* Write the uses that have gathered, and wait for it. */
MNEME_API mneme_status mneme_flush(mneme *memory, mneme_error *error);

/* Count one use of each record, with `amount` as the attention: 1 is all that a question gives. 0 < amount <= 100.
 * All or none: ERR_NOT_FOUND names the first id that is not there. name_space NULL = "". */
MNEME_API mneme_status mneme_reinforce(mneme *memory, const char *name_space, const char *const *ids, size_t n,
                                       double amount, mneme_error *error);
/* Pin records (or unpin them): a pinned one never fades, never ends and is never pruned. As above. */
MNEME_API mneme_status mneme_pin(mneme *memory, const char *name_space, const char *const *ids, size_t n, bool pinned,
                                 mneme_error *error);

typedef enum mneme_prune_strategy {
    MNEME_PRUNE_STRENGTH = 0, /* the weakest go first */
    MNEME_PRUNE_NEWEST = 1,   /* the newest stay: what was written first goes first */
    MNEME_PRUNE_RANDOM = 2,   /* any, by `seed`: to compare with */
} mneme_prune_strategy;

typedef enum mneme_prune_reason {
    MNEME_PRUNE_EXPIRED = 0, /* its end has come */
    MNEME_PRUNE_WEAK = 1,    /* weaker than min_strength */
    MNEME_PRUNE_BUDGET = 2,  /* there was no room for it */
} mneme_prune_reason;

/* A record that goes. Borrowed for the call. */
typedef struct mneme_victim {
    const char *id, *name_space;
    mneme_prune_reason reason;
    mneme_strength strength;
    uint32_t chunks;
    uint64_t bytes;          /* about what it takes: text, labels, vectors, postings */
    const char *archived_id; /* its id in the archive, see mneme_prune; NULL = it is not there */
} mneme_victim;

typedef struct mneme_prune_options {
    size_t size;
    const char *name_space;                      /* NULL: every namespace, each with the whole budget */
    uint64_t max_records, max_chunks, max_bytes; /* what may be left; 0 = no such limit */
    double min_strength;                         /* with MNEME_PRUNE_STRENGTH: what is weaker goes in any case */
    mneme_prune_strategy strategy;
    uint64_t seed;       /* of MNEME_PRUNE_RANDOM */
    const char *archive; /* NULL, or the directory of a store (made when missing) that what goes for its weakness or for
                            lack of room is moved to, with its vectors and strength; what has ended is not kept */
    bool dry_run;        /* report, change nothing */
    void (*victim)(void *context, const mneme_victim *victim); /* each record that went; NULL = none */
    void *context;                                             /* for victim and progress */
    mneme_progress progress; /* NULL = none; counts "records" of a namespace before each transaction, may cancel */
} mneme_prune_options;
#define MNEME_PRUNE_OPTIONS_INIT                                                                                       \
    {                                                                                                                  \
        sizeof(mneme_prune_options), NULL, 0, 0, 0, 0, MNEME_PRUNE_STRENGTH, 0, NULL, false, NULL, NULL, NULL          \
    }

typedef struct mneme_prune_result {
    uint64_t expired, weak, over_budget; /* records that went, by reason */
    uint64_t chunks, bytes;              /* of these */
    uint64_t archived;                   /* of these, records that are in the archive now */
    uint64_t kept_records, kept_chunks, kept_bytes;
} mneme_prune_result;

/* Forget what has ended, then the weakest (or as the strategy says; equal ones by age) until the budgets hold. Pinned
 * records are never forgotten, so that a budget may not be reached: see kept_*. Without budgets only what has ended
 * goes. Works in transactions of a few hundred records each: after a failure, and when it is cancelled, those before it
 * stay done, and result counts them (kept_*: of the namespaces that it came to). A record is forgotten here only when
 * the archive has it durably. Where the archive has another record under its id, that one stays, and it goes in under
 * the first free of "ID (2)", "ID (3)", ... (of a long ID the end is cut). options NULL = what has ended, everywhere.
 * ERR_USAGE (the archive is this store or lies in it, too); ERR_CANCELLED: by progress; ERR_BUSY: it is open in this
 * process; ERR_ENCODER, ERR_DIMENSION: the archive holds vectors of another kind. */
MNEME_API mneme_status mneme_prune(mneme *memory, const mneme_prune_options *options, mneme_prune_result *result,
                                   mneme_error *error);

/* Two records that say the same. Borrowed for the call. */
typedef struct mneme_merge {
    const char *name_space;
    const char *id, *merged_id; /* what stays, and what has gone into it */
    float cosine, terms;        /* of their vectors; shared terms / all terms */
} mneme_merge;

typedef struct mneme_consolidate_options {
    size_t size;
    const char *name_space; /* NULL: every namespace, each by itself */
    double cosine, terms;   /* least of each; 0 = the settings memory.duplicate_cosine, memory.duplicate_terms */
    bool dry_run;           /* report, change nothing */
    void (*merged)(void *context, const mneme_merge *merge); /* each that was merged; NULL = none */
    void *context;                                           /* for merged and progress */
    mneme_progress progress; /* NULL = none; counts "records", looked at and then merged; may cancel */
} mneme_consolidate_options;
#define MNEME_CONSOLIDATE_OPTIONS_INIT                                                                                 \
    {                                                                                                                  \
        sizeof(mneme_consolidate_options), NULL, 0, 0, false, NULL, NULL, NULL                                         \
    }

typedef struct mneme_consolidate_result {
    uint64_t records; /* looked at */
    uint64_t groups;  /* memories that others were merged into */
    uint64_t merged;  /* records that are gone */
} mneme_consolidate_result;

/* Merge near-duplicates: same speaker, same numbers, cosine and common terms at least as asked, and the terms of one
 * are those of the other, in the same order, with some left out: neither says something else. The newest stays and gets
 * stronger (its time is the last at which it was said); nothing of the others is lost: its metadata has under
 * "consolidated" a list of {"id","title","source","session","speaker","time","text","metadata"}, each where there is
 * one, text where it differs from its own. One whose metadata has another "consolidated" takes none in. Works in
 * transactions of a few hundred records. Same store, same result. options NULL = everywhere, by the settings.
 * ERR_USAGE; ERR_CANCELLED: by progress; what was merged before stays so, and result counts it. */
MNEME_API mneme_status mneme_consolidate(mneme *memory, const mneme_consolidate_options *options,
                                         mneme_consolidate_result *result, mneme_error *error);

/* ---- encoder ------------------------------------------------------------------------------------------------------
 */

/* An encoder on its own, without a store. Threads: encode from any number at once. */
typedef struct mneme_encoder mneme_encoder;

typedef enum mneme_text_kind { MNEME_TEXT_PASSAGE = 0, MNEME_TEXT_QUERY = 1 } mneme_text_kind;

typedef struct mneme_encoder_info {
    const char *name;      /* folder name of the model */
    const char *path;      /* folder */
    const char *kind;      /* "transformer", "lstm", "gru", or "static": a table of token vectors */
    const char *precision; /* "f32", "bf16", "int16", "int8" */
    const char
        *kernels; /* what its products run on: "amx", "avx512-bf16", "avx512-vnni", "avx512", "avx2", "reference" */
    const char *reason;  /* why this precision, in a few words */
    const char *pooling; /* "mean", "cls", "max" or "attentive" */
    uint32_t dimension;  /* floats in an embedding */
    uint32_t max_tokens; /* the window, special tokens included */
    uint32_t n_layers, n_heads, vocabulary;
    uint64_t n_parameters;
    const char *query_prompt, *passage_prompt; /* put before questions, texts; NULL = none */
    const char *packed_file; /* what this processor's packed weights are mapped from or were kept in; NULL = nothing */
    const char *distilled_from; /* the teacher and the settings in one line; NULL = not distilled, or not known */
    const char *trained_from, *trained_on; /* what its weights were at the start, and the texts; NULL = not known */
    const char *measured;                  /* how good it was found to be: "cosine 0.93, ..."; NULL = not known */
    const char *compressed;                /* how its weights were made smaller; NULL = not, or not known */
    const char *vocabulary_from; /* what its own tokens were learnt from; NULL = its teacher's, or not known */
    uint64_t fingerprint;        /* equal for equal weights, tokenizer and pooling */
} mneme_encoder_info;

/* Load the model that settings (NULL = as in mneme_open) name. ERR_MODEL says which file is missing or wrong. */
MNEME_API mneme_status mneme_encoder_open(const mneme_settings *settings, mneme_encoder **out, mneme_error *error);
MNEME_API void mneme_encoder_close(mneme_encoder *encoder);
/* Strings borrowed until close. */
MNEME_API mneme_encoder_info mneme_encoder_get_info(const mneme_encoder *encoder);

/* The prompts that the model names (config_sentence_transformers.json), by number from 0 on: the name, and the prompt in
 * *text. NULL: there are no more. Borrowed until close. */
MNEME_API const char *mneme_encoder_prompt(const mneme_encoder *encoder, size_t index, const char **text);

typedef struct mneme_encode_options {
    size_t size;
    mneme_text_kind kind; /* a model may put another prompt before questions than before passages */
    uint32_t dimension;   /* 0 = all of them; else 1..info.dimension: only the first numbers of each vector, scaled to
                             unit length again (for models trained for that: Kusupati et al. 2022, "Matryoshka
                             Representation Learning") */
    mneme_progress progress; /* NULL = none; counts "texts", may cancel: ERR_CANCELLED */
    void *context;           /* for progress */
    const char *prompt; /* put before every text instead of what `kind` says, as if the text began with it; "" = none;
                           NULL = as `kind` says. One of the model's: mneme_encoder_prompt */
} mneme_encode_options;
#define MNEME_ENCODE_OPTIONS_INIT                                                                                      \
    {                                                                                                                  \
        sizeof(mneme_encode_options), MNEME_TEXT_PASSAGE, 0, NULL, NULL, NULL                                          \
    }

/* Encode n texts at once. A text over the window is cut there; invalid UTF-8 is read as U+FFFD. The result depends on
 * the text alone, bit for bit: not on the number of threads, nor on what else is in the call.
 *
 * texts    n texts, borrowed for the call. sizes: their bytes; NULL = NUL-terminated texts.
 * options  NULL = passages, whole vectors. progress comes from the thread that encodes, one call at a time.
 * vectors  yours: n x d floats, row-major, each row of unit length; d = options->dimension, or info.dimension.
 *
 * ERR_USAGE for a dimension out of range, or a prompt for a model that leaves prompts out of its pooling; ERR_MEMORY,
 * ERR_CANCELLED; after a failure the vectors are undefined.
 * Memory: a few MB beside the vectors, however many texts there are.
 * Threads: any number may encode with one encoder at once; the calls share its worker threads in turn. */
MNEME_API mneme_status mneme_encode(const mneme_encoder *encoder, const char *const *texts, const size_t *sizes,
                                    size_t n, const mneme_encode_options *options, float *vectors, mneme_error *error);

/* Where mneme_encode_each gets its texts: set *text and *size and return true; leave *text NULL at the end; return
 * false to cancel. The text is borrowed until the next call. */
typedef bool (*mneme_next_text)(void *context, const char **text, size_t *size);
/* Where it puts its vectors: d floats, borrowed for the call; index = 0, 1, ... in the order of the texts. Return false
 * to cancel. */
typedef bool (*mneme_take_vector)(void *context, uint64_t index, const float *vector);

/* Encode texts that come one by one, as many as there are, in bounded memory: batches are gathered inside (1,024 texts
 * or 256 KB), so `next` runs ahead of `take`. Each vector is what mneme_encode gives for its text.
 *
 * next, take  called from the calling thread only, never at once; both get `context`.
 * options     NULL = passages, whole vectors. progress: total is 0, for it is not known.
 *
 * ERR_CANCELLED when a callback returned false; after any failure `take` has had the vectors 0..k-1 for some k, in
 * order, and those of texts that were gathered behind them are lost. Threads: as mneme_encode. */
MNEME_API mneme_status mneme_encode_each(const mneme_encoder *encoder, mneme_next_text next, mneme_take_vector take,
                                         void *context, const mneme_encode_options *options, mneme_error *error);

/* Tokens of a text, without special tokens and without the window's limit. */
MNEME_API mneme_status mneme_count_tokens(const mneme_encoder *encoder, const char *text, size_t size,
                                          uint64_t *n_tokens, mneme_error *error);

typedef struct mneme_tokens {
    size_t n;
    const uint32_t *ids;
    const uint64_t *starts, *ends; /* the bytes of the text that each stands for; NULL without offsets */
} mneme_tokens;
MNEME_API void mneme_tokens_free(mneme_tokens *tokens);

/* The tokens of a text, as mneme_count_tokens counts them. Invalid UTF-8 is read as U+FFFD. */
MNEME_API mneme_status mneme_tokenize(const mneme_encoder *encoder, const char *text, size_t size, bool with_offsets,
                                      mneme_tokens **out, mneme_error *error);
/* A token as the vocabulary writes it ("##ing"): *size bytes, not NUL-terminated, borrowed until close. *size = 0:
 * there is no such id. */
MNEME_API const char *mneme_token_text(const mneme_encoder *encoder, uint32_t id, size_t *size);

typedef struct mneme_distill_options {
    size_t size;        /* sizeof(mneme_distill_options) */
    uint32_t dimension; /* floats in a vector of the new encoder; at most the teacher's */
    double sif;         /* in (0,1): the smaller, the less frequent tokens count */
    uint32_t
        rounds; /* how often each token comes in the made-up texts that the table is fitted to; 0 = no such texts */
    bool replace;            /* the model that is in the folder */
    mneme_progress progress; /* NULL = none; counts what the teacher has encoded ("tokens") */
    void *context;
} mneme_distill_options;
#define MNEME_DISTILL_OPTIONS_INIT                                                                                     \
    {                                                                                                                  \
        sizeof(mneme_distill_options), 256, 1e-4, 6, false, NULL, NULL                                                 \
    }

/* Make a static encoder (kind "static": a table of token vectors, thousands of times faster than its teacher, less
 * exact) out of `teacher` alone, and write it to `folder`, whole or not at all. It is a model like any other then.
 * mneme_train_encoder with MNEME_CELL_STATIC makes a better one where there are texts. docs/static-encoder.md has the
 * methods and figures. options: NULL = all defaults. The same result on every run of one build on one machine.
 * ERR_USAGE: the folder exists, or an option makes no sense; ERR_CANCELLED, ERR_DISK_FULL, ERR_IO, ERR_MEMORY. */
MNEME_API mneme_status mneme_distill_static(const mneme_encoder *teacher, const mneme_distill_options *options,
                                            const char *folder, mneme_error *error);

typedef struct mneme_compress_options {
    size_t size;  /* sizeof(mneme_compress_options) */
    bool int8;    /* weights as bytes with one scale a row: a quarter of f32's size */
    double keep;  /* or, below 1: the share of each product's weights, the largest, that do not become zero */
    bool replace; /* the model that is in the folder */
} mneme_compress_options;
#define MNEME_COMPRESS_OPTIONS_INIT                                                                                    \
    {                                                                                                                  \
        sizeof(mneme_compress_options), false, 1.0, false                                                              \
    }

/* Write a smaller copy of the model in folder `from` to `folder`, whole or not at all; it is a model like any other
 * then. docs/compression.md says what is gained and lost. Both: one after the other.
 * ERR_USAGE: the folder exists, not one of int8 and keep is asked for, or there is nothing to change; ERR_MODEL: `from`
 * is no model; ERR_DISK_FULL, ERR_IO, ERR_MEMORY. */
MNEME_API mneme_status mneme_compress_model(const char *from, const mneme_compress_options *options, const char *folder,
                                            mneme_error *error);

/* The encoder that an open store is of now, loaded if need be; borrowed until mneme_close. */
MNEME_API mneme_status mneme_get_encoder(mneme *memory, const mneme_encoder **out, mneme_error *error);

/* ---- training -------------------------------------------------------------------------------------------------------
 * docs/training.md has the methods, the files of a folder, and figures.
 */

/* Where a training run is. Losses are in nats. */
typedef struct mneme_train_progress {
    uint64_t step, n_steps;              /* done; in all */
    uint64_t epoch;                      /* from 1 on */
    double loss;                         /* of this step's batch, before the step changed the model */
    double validation_loss;              /* of the newest evaluation; NAN before the first */
    double best_loss;                    /* the best validation loss; NAN before the first */
    bool evaluated;                      /* validation_loss is of this step */
    double learning_rate, gradient_norm; /* gradient_norm: before clipping */
    double tokens_per_second;            /* of late, evaluations left out */
    double seconds, seconds_left;        /* since this run began; till its end, as it looks now */
} mneme_train_progress;

/* Called after each step from the thread that trains. Return false to stop: a checkpoint is written. */
typedef bool (*mneme_train_watch)(void *context, const mneme_train_progress *progress);

/* What training has in common, whatever is trained. AdamW with a rate that rises over warm_up steps and falls to
 * final_rate along a cosine. */
typedef struct mneme_train_options {
    size_t size;               /* sizeof(mneme_train_options) */
    uint64_t steps;            /* 0 = as many as `epochs` are */
    double epochs;             /* passes through the data */
    double learning_rate;      /* > 0, the highest */
    double final_rate;         /* the last step's, as a share of it: 0..1 */
    uint64_t warm_up;          /* steps */
    double weight_decay;       /* of weights of products and tables; 0 = none */
    double clip;               /* the gradient's norm is at most this; 0 = no limit */
    uint32_t batch;            /* sequences in a step */
    uint32_t accumulate;       /* batches of which the gradients are summed before a step */
    uint64_t evaluate_every;   /* steps; 0 = once an epoch */
    uint64_t checkpoint_every; /* steps; 0 = with each evaluation */
    uint32_t patience;         /* stop after so many evaluations without a better one; 0 = never */
    uint64_t seed;             /* equal seeds, options and data give equal results on one machine */
    uint32_t threads;          /* 0 = one per core; changes no result */
    uint32_t shards;           /* parts of a batch that go to threads; 0 = one per core; changes the last bits */
    bool bf16;                 /* products of bfloat16, sums of floats: for processors with instructions for it */
    bool resume;               /* go on from the folder's checkpoint: same options, same data, same bits */
    bool replace;              /* what is in the folder */
    mneme_train_watch watch;   /* NULL = none */
    void *context;
} mneme_train_options;
#define MNEME_TRAIN_OPTIONS_INIT                                                                                       \
    {                                                                                                                  \
        sizeof(mneme_train_options), 0, 10, 2e-3, 0, 100, 0.01, 1, 64, 1, 0, 0, 0, 1, 0, 0, false, false, false, NULL, \
            NULL                                                                                                       \
    }

/* How it ended. */
typedef struct mneme_train_result {
    uint64_t steps; /* done in all, those before a resumption included */
    uint64_t n_parameters;
    double loss, validation_loss, best_loss; /* as in mneme_train_progress; NAN: there was none */
    double tokens_per_second, seconds;       /* of this run */
    bool cancelled, stopped_early;
} mneme_train_result;

typedef enum mneme_cell {
    MNEME_CELL_LSTM,
    MNEME_CELL_GRU,
    MNEME_CELL_TRANSFORMER,
    MNEME_CELL_STATIC, /* of encoders alone: a table of token vectors; a text is their mean */
} mneme_cell;

/* One text to learn from. */
typedef struct mneme_lm_text {
    const char *name; /* for messages */
    const char *data; /* borrowed for the call */
    size_t size;
} mneme_lm_text;

/* A language model of characters: embedding, `layers` of `hidden` units, softmax over the characters of the texts. */
typedef struct mneme_lm_options {
    size_t size; /* sizeof(mneme_lm_options) */
    mneme_cell cell;
    uint32_t layers, hidden;
    uint32_t heads;      /* Transformer: hidden / heads floats each */
    uint32_t steps_back; /* characters in a sequence: what gradients flow through; of a Transformer, all that it sees */
    double dropout;      /* 0..1, not including 1 */
    bool tied;           /* the embedding is the output layer's weight too */
    bool bytes;          /* the vocabulary is the 256 bytes, not the texts' characters */
    const mneme_lm_text *texts;
    size_t n_texts;
    const mneme_train_options *train; /* NULL = defaults */
} mneme_lm_options;
#define MNEME_LM_OPTIONS_INIT                                                                                          \
    {                                                                                                                  \
        sizeof(mneme_lm_options), MNEME_CELL_LSTM, 2, 256, 4, 64, 0, false, false, NULL, 0, NULL                       \
    }

/* Train a language model and keep it in `folder`: config.json, model.safetensors (the best by the loss on the last
 * tenth of the texts), training.safetensors (to go on from), log.jsonl. Written whole or not at all, at each
 * checkpoint. *result may be NULL.
 * ERR_USAGE: an option out of its range, texts too short or not UTF-8 (named, with the offset), a folder that is there
 * already, a checkpoint of other options or texts. ERR_DIVERGED: a loss or gradient that is no finite number; the
 * folder keeps the last good checkpoint. ERR_MODEL: a damaged checkpoint. ERR_DISK_FULL, ERR_IO: the checkpoint before
 * is still there. Cancelled by `watch`: MNEME_OK, result->cancelled. */
MNEME_API mneme_status mneme_train_lm(const mneme_lm_options *options, const char *folder, mneme_train_result *result,
                                      mneme_error *error);

typedef struct mneme_lm mneme_lm;

typedef struct mneme_lm_info {
    mneme_cell cell;
    uint32_t layers, hidden, steps_back;
    uint32_t vocabulary; /* characters that it knows */
    uint64_t n_parameters;
} mneme_lm_info;

/* A trained language model. ERR_MODEL says which file is missing or wrong. */
MNEME_API mneme_status mneme_lm_open(const char *folder, mneme_lm **out, mneme_error *error);
MNEME_API void mneme_lm_close(mneme_lm *lm);
MNEME_API mneme_lm_info mneme_lm_get_info(const mneme_lm *lm);

typedef struct mneme_lm_generate_options {
    size_t size;        /* sizeof(mneme_lm_generate_options) */
    uint64_t length;    /* characters to write */
    double temperature; /* logits are divided by it; 0 = always the likeliest */
    uint32_t top_k;     /* only of the likeliest so many; 0 = of all */
    uint64_t seed;
} mneme_lm_generate_options;
#define MNEME_LM_GENERATE_OPTIONS_INIT                                                                                 \
    {                                                                                                                  \
        sizeof(mneme_lm_generate_options), 500, 0.8, 0, 1                                                              \
    }

typedef struct mneme_lm_output {
    const char *text; /* what follows the prompt; NUL-terminated */
    size_t size;
} mneme_lm_output;
MNEME_API void mneme_lm_output_free(mneme_lm_output *output);

/* Write on from a prompt (size bytes; empty: from a line break, or the vocabulary's first character). options: NULL =
 * defaults. The same seed writes the same text. ERR_USAGE: a character of the prompt that the model does not know, an
 * option out of its range; ERR_MEMORY. One thread at a time for one model. */
MNEME_API mneme_status mneme_lm_generate(mneme_lm *lm, const char *prompt, size_t prompt_size,
                                         const mneme_lm_generate_options *options, mneme_lm_output **out,
                                         mneme_error *error);

/* How an encoder is trained. */
typedef enum mneme_train_method {
    MNEME_TRAIN_DISTILL,   /* to come near a teacher's vectors and similarities on the texts given */
    MNEME_TRAIN_PAIRS,     /* questions with passages that answer them, the batch's other passages being wrong */
    MNEME_TRAIN_NEIGHBOURS /* the same with what stands next to each other in the texts: no labels */
} mneme_train_method;

typedef struct mneme_train_text {
    const char *text; /* borrowed for the call; as a store would encode it: "title. text", "speaker: text" */
    size_t size;
    uint64_t document; /* texts of one document or conversation have the same number, and follow each other */
    size_t title_size; /* bytes of the title that the text begins with; 0 = none. NEIGHBOURS: asks for what follows */
} mneme_train_text;

typedef struct mneme_train_pair {
    const char *query, *positive; /* NUL-terminated, borrowed for the call */
    const char *const *negatives; /* n_negatives passages that do not answer it; may be NULL */
    size_t n_negatives;
} mneme_train_pair;

typedef struct mneme_train_encoder_options {
    size_t size; /* sizeof(mneme_train_encoder_options) */
    mneme_train_method method;
    const char *from; /* a folder of any kind of encoder to train on; NULL = a new one */
    mneme_cell cell;  /* of a new one; a Transformer begins with `layers` of the teacher's, evenly chosen */
    uint32_t layers, hidden;
    bool one_way;                  /* from left to right alone */
    bool mean_pooling;             /* not attentive */
    uint32_t dimension;            /* of its vectors; 0 = the teacher's, of a static table at most 256 */
    double dropout;                /* between layers; of a static table, of tokens */
    const mneme_train_text *texts; /* n_texts; DISTILL and NEIGHBOURS */
    size_t n_texts;
    const mneme_train_pair *pairs; /* n_pairs; PAIRS */
    size_t n_pairs;
    double held_out; /* share of the documents (or pairs) that are not trained on, to measure with; 0..0.5 */
    const mneme_train_options *train; /* NULL = defaults of mneme_train_encoder_defaults */
    mneme_progress progress;          /* NULL = none; of the teacher's work before training ("texts"), may cancel */
    void *context;
    uint32_t vocabulary; /* of a new LSTM, GRU or static table: so many WordPiece tokens, learnt from the texts that are
                            trained on (at most 2^20; fewer when the texts have no more); 0 = the teacher's */
} mneme_train_encoder_options;
#define MNEME_TRAIN_ENCODER_OPTIONS_INIT                                                                               \
    {                                                                                                                  \
        sizeof(mneme_train_encoder_options), MNEME_TRAIN_DISTILL, NULL, MNEME_CELL_LSTM, 1, 256, false, false, 0, 0,   \
            NULL, 0, NULL, 0, 0.05, NULL, NULL, NULL, 0                                                                \
    }

/* How a trained encoder does on texts that it has not seen. Questions are spans of words of the held-out passages (or
 * the held-out pairs' queries), and an answer is right when it is the passage that the span is of. */
typedef struct mneme_train_encoder_result {
    mneme_train_result train;
    size_t n_trained, n_held_out; /* texts: passages, sentences, spans; or pairs */
    size_t n_questions, n_passages;
    double agreement;         /* mean cosine of its and the teacher's vectors; NAN without a teacher */
    double found_1, found_10; /* share of the questions whose passage is the first, among the first ten */
    double teacher_found_1, teacher_found_10; /* the same of the teacher, or of the model before training; NAN: none */
    double teacher_seconds;                   /* for the teacher's vectors */
    uint32_t vocabulary;                      /* rows of its token table */
} mneme_train_encoder_result;

/* The options for `train` that suit a method, a cell and a model to go on from (NULL = defaults); change what you like. */
MNEME_API mneme_train_options mneme_train_encoder_defaults(const mneme_train_encoder_options *options);

/* Train an encoder on texts of one's own and keep it in `folder`, as mneme_train_lm does: it is a model like any other
 * then. teacher: whose vectors are learnt (DISTILL), whose tokenizer and token table a new model begins with; NULL is
 * allowed with `from` and without DISTILL. docs/training.md has the method and figures. *result may be NULL.
 * ERR_USAGE: an option out of its range, too few texts; ERR_MODEL: the teacher or `from` cannot be used; others as
 * mneme_train_lm. */
MNEME_API mneme_status mneme_train_encoder(const mneme_encoder *teacher, const mneme_train_encoder_options *options,
                                           const char *folder, mneme_train_encoder_result *result, mneme_error *error);

/* ---- care -----------------------------------------------------------------------------------------------------------
 */

typedef struct mneme_namespace_stats {
    const char *name;
    uint32_t dimension; /* 0: no vectors yet */
    uint64_t records, chunks, terms, sessions;
    const char *vectors; /* how its vectors are kept: "f32", "bf16", "int12", "int8"; "" = none yet */
} mneme_namespace_stats;

/* The index that a namespace's vectors are searched through. docs/index-files.md. */
typedef struct mneme_index_info {
    const char *kind;   /* "hnsw", "hnsw-bf16", "hnsw-f32", "ivfpq"; "none": vectors are scanned exactly */
    const char *reason; /* of "none": why there is none, or why the file that is there is not used; else "" */
    uint64_t covered;   /* chunks that it finds */
    uint64_t newer;     /* chunks that are scanned beside it */
    uint64_t dead;      /* chunks that it holds a place for, and that are gone */
    uint64_t bytes;     /* of its file */
    double recall;      /* share of the best ten that it finds, measured when it was built; 0 = not measured */
    double recall_asked;
    uint32_t effort; /* what it was tuned to: efSearch, of ivfpq nprobe */
    uint64_t build_ms;
    uint64_t generation; /* of the store when it was begun */
} mneme_index_info;

typedef struct mneme_stats {
    uint64_t records, chunks, generation;
    uint64_t bytes_on_disk;
    uint32_t format;
    const char *path;
    const char *encoder;  /* name of the model that the store was made with; "" before the first record */
    uint64_t fingerprint; /* of that model */
    const char *language; /* of the stemmer */
    size_t n_namespaces;
    const mneme_namespace_stats *namespaces;
    uint32_t dimension;              /* of the encoder's vectors; 0 before the first */
    const mneme_index_info *indexes; /* of the namespaces, in their order */
} mneme_stats;
MNEME_API void mneme_stats_free(mneme_stats *stats);
MNEME_API mneme_status mneme_get_stats(mneme *memory, mneme_stats **out, mneme_error *error);

typedef struct mneme_check_report {
    uint64_t problems;                           /* 0: sound */
    uint64_t records, chunks, vectors, postings; /* read and found right */
} mneme_check_report;

/* Read everything and hold it against itself. `problem` (NULL = none) is called with one line for each damage.
 * Damage is not a failure of the call: see report->problems. */
MNEME_API mneme_status mneme_check(mneme *memory, void (*problem)(void *context, const char *line),
                                   mneme_progress progress, void *context, mneme_check_report *report,
                                   mneme_error *error);

typedef struct mneme_compact_options {
    size_t size;
    const char *vectors; /* "f32", "bf16", "int12" or "int8": keep all vectors so from now on; NULL = as they are. What
                            fewer bits have lost, more bits do not bring back */
    mneme_progress progress; /* NULL = none; counts "records", may cancel: ERR_CANCELLED */
    void *context;
} mneme_compact_options;
#define MNEME_COMPACT_OPTIONS_INIT                                                                                     \
    {                                                                                                                  \
        sizeof(mneme_compact_options), NULL, NULL, NULL                                                                \
    }

typedef struct mneme_compact_result {
    uint64_t bytes_before, bytes_after; /* of the data file */
    uint64_t records, chunks;           /* kept: all that were there */
} mneme_compact_result;

/* Write all that lives into a new data file and put it in the place of the old one: gives back the space of what was
 * forgotten and replaced, and makes sure that none of its bytes are left in the store's files. Meanwhile, in all
 * processes, questions go on and writers wait. Needs free disk space for up to two copies of what lives: ERR_DISK_FULL
 * before anything is done. After any failure, and when the process is killed, the store is as it was. options,
 * result: NULL allowed. Other processes that have the store open let go of the old file, and of its disk space, when
 * they next use the store. */
MNEME_API mneme_status mneme_compact(mneme *memory, const mneme_compact_options *options, mneme_compact_result *result,
                                     mneme_error *error);

typedef struct mneme_reindex_options {
    size_t size;
    const char *encoder;     /* a name to look up in encoder.path, or a folder (with a /); NULL = the setting encoder.model,
                                which must be set then */
    bool dry_run;            /* count what would be done, change nothing */
    mneme_progress progress; /* NULL = none; counts "chunks" that are encoded, then "records" that are written; may cancel:
                                ERR_CANCELLED. `total` of chunks is an estimate until all records are cut */
    /* NULL = none. Called for each namespace that has records with vectors of their own (mneme_record.vector): they keep
     * them. Borrowed for the call. */
    void (*kept)(void *context, const char *name_space, uint64_t n_records);
    void *context; /* for both */
} mneme_reindex_options;
#define MNEME_REINDEX_OPTIONS_INIT                                                                                     \
    {                                                                                                                  \
        sizeof(mneme_reindex_options), NULL, false, NULL, NULL, NULL                                                   \
    }

typedef struct mneme_reindex_result {
    bool changed; /* the store is of another encoder than before. False: a dry run, a failure, it was of this one already,
                     or nothing in it comes from an encoder (before is "") */
    char encoder[256], before[256]; /* names of the new encoder and of the one before; cut off where they are longer */
    uint64_t fingerprint;           /* of the new one */
    uint32_t dimension;
    uint64_t records, chunks;           /* with vectors of the new encoder */
    uint64_t encoded;                   /* of the chunks: encoded by this call; dry run: that would be */
    uint64_t ready;                     /* of the chunks: ready from a call before, or equal to another chunk */
    double seconds;                     /* of the call */
    uint64_t bytes_before, bytes_after; /* of the data file */
} mneme_reindex_result;

/* Bring the store to another encoder: every record whose vectors come from an encoder is cut into chunks and encoded anew,
 * and the store is then what it would be if it had been made with the new encoder. Ids, record numbers, times, sessions,
 * metadata, importance, pins and strengths stay; records with vectors of their own keep them. docs/reindex.md.
 *
 * While it encodes, the store answers with its old encoder and takes writes, in all processes. Then a new data file is
 * written and takes the place of the old one by one rename, as mneme_compact does it: meanwhile questions go on and writers
 * wait. A process that has the store open loads the new encoder when it next needs one: the one that the store names, if
 * its encoder.model is not set; if it is, to another one, ERR_ENCODER. This memory has it already.
 *
 * Vectors that are ready are kept in the store's folder (reindex.vectors) until all are: cancelled, failed or killed at any
 * point, the store is as it was, and the next call for the same encoder goes on from there. A call for another encoder
 * begins anew; one for the encoder that the store has removes the file.
 *
 * ERR_MODEL: the model does not load; ERR_DIMENSION: a namespace has encoded records beside ones with vectors of their own,
 * and the dimensions differ; ERR_BUSY: another reindex of the store runs; ERR_DISK_FULL: it takes room for the vectors, and
 * up to two copies of what lives; ERR_READ_ONLY, ERR_DAMAGED, ERR_CANCELLED. result: NULL allowed; after a failure it says
 * how far it came. */
MNEME_API mneme_status mneme_reindex(mneme *memory, const mneme_reindex_options *options, mneme_reindex_result *result,
                                     mneme_error *error);

typedef struct mneme_optimize_options {
    size_t size;
    const char *name_space; /* NULL = every namespace */
    const char *kind;       /* "auto", "none" or a kind of mneme_index_info; NULL = the setting index.kind */
    double recall;          /* of the best ten, in (0,1); 0 = the setting index.recall */
    bool anew;              /* build again what is there, too */
    bool only_wanted;       /* only where the background would: much is not covered (setting index.build) */
    mneme_progress
        progress; /* NULL = none; counts "vectors", may cancel between batches of 131,072 (seconds): ERR_CANCELLED */
    /* NULL = none. What was done to a namespace's index: "built", "extended", "kept", "removed", "none". Borrowed for
     * the call. */
    void (*done)(void *context, const char *name_space, const char *what, const mneme_index_info *index);
    void *context; /* for both */
} mneme_optimize_options;
#define MNEME_OPTIMIZE_OPTIONS_INIT                                                                                    \
    {                                                                                                                  \
        sizeof(mneme_optimize_options), NULL, NULL, 0, false, false, NULL, NULL, NULL                                  \
    }

/* Build the indexes that large namespaces are searched through, or bring them up to date: a file beside the store for
 * each, which is derived from it and never trusted. Without one, and for what is newer than it, vectors are scanned
 * exactly. Questions and writers go on meanwhile, in all processes. A store that is open for writing does the same by
 * itself (setting index.build). After a failure, and when the process is killed, the old index is as it was. options
 * NULL = everywhere, by the settings. ERR_BUSY: another process is building one; ERR_NOT_FOUND: no such namespace;
 * ERR_USAGE; ERR_CANCELLED; ERR_DISK_FULL. Needs memory for the index while it is built. */
MNEME_API mneme_status mneme_optimize(mneme *memory, const mneme_optimize_options *options, mneme_error *error);

/* ---- getting a memory out --------------------------------------------------------------------------------------- */

typedef struct mneme_backup_options {
    size_t size;
    mneme_progress progress; /* NULL = none; counts "bytes", may cancel: ERR_CANCELLED */
    void *context;           /* for progress */
} mneme_backup_options;
#define MNEME_BACKUP_OPTIONS_INIT                                                                                      \
    {                                                                                                                  \
        sizeof(mneme_backup_options), NULL, NULL                                                                       \
    }

typedef struct mneme_backup_result {
    uint64_t bytes;         /* of the store's data */
    uint64_t bytes_written; /* of them; the rest was there already, from a backup that was interrupted */
    uint64_t generation;    /* of the store that the backup holds */
} mneme_backup_result;

/* Copy the store, as of one generation, into directory `target`, while others read and write it. The copy is a store:
 * it opens like any other.
 *
 * target   is made (mode 0700) when missing; else it may hold nothing, an interrupted backup, which is gone on with, or
 * an older backup of this store, which is replaced by one rename once the new one is whole and on the disk. A directory
 * with anything else in it, within the store, with a backup of another store, with a newer one of this, or with one
 * that has changes of its own (docs/backup.md): ERR_USAGE. The copy turns out damaged, as the store then is:
 * ERR_DAMAGED. Open elsewhere, or another backup is being written to it: ERR_BUSY. options, result  NULL allowed.
 *
 * mneme.yaml comes along, models/ do not. ERR_DISK_FULL, ERR_IO, ERR_CANCELLED: the store is untouched, an older backup
 * is as before, and what was written stays in data.mdb.partial for the next call. Pages that writers free during the
 * copy are used again only after it. Any thread. */
MNEME_API mneme_status mneme_backup(mneme *memory, const char *target, const mneme_backup_options *options,
                                    mneme_backup_result *result, mneme_error *error);

typedef struct mneme_export_options {
    size_t size;
    mneme_selection select;
    bool vectors;            /* chunks and vectors, too; a vector that was given with a record always comes with it */
    mneme_progress progress; /* NULL = none; counts "records", may cancel: ERR_CANCELLED */
    void *context;           /* for progress */
} mneme_export_options;
#define MNEME_EXPORT_OPTIONS_INIT                                                                                      \
    {                                                                                                                  \
        sizeof(mneme_export_options), {0}, false, NULL, NULL                                                           \
    }

typedef struct mneme_export_result {
    uint64_t records;    /* handed out */
    uint64_t vanished;   /* replaced or forgotten between the start and their turn: left out */
    uint64_t generation; /* of the store at the start */
} mneme_export_result;

/* Takes one record: with `vector` where the record was given one, with `chunks` where its text was encoded and vectors
 * are wanted. Borrowed for the call. Return false to end the export with ERR_CANCELLED. */
typedef bool (*mneme_take_record)(void *context, const mneme_record *record);

/* Hand out every record that options->select names: by namespace, in the order of adding, but the records of each
 * session in its order, so that adding them to another store in this order makes the same memory.
 *
 * One generation: which records there are is fixed in one read at the start. They are then read in pages of about 4 MB,
 * each in a short read of its own, so that nothing of the store is held while `take` runs. A record never changes once
 * it is stored, so each is as it was at the start, or, if it was replaced or forgotten before its turn, left out and
 * counted: result->vanished = 0 is the store at result->generation, exactly; and so is everything that fits the first
 * page.
 *
 * options, result  NULL allowed. Memory: 16 bytes a record and a page. `take` may use the memory as it likes.
 * ERR_SYNTAX for a bad expression; ERR_DAMAGED names what cannot be read (records before it were handed out). */
MNEME_API mneme_status mneme_export(mneme *memory, const mneme_export_options *options, mneme_take_record take,
                                    void *context, mneme_export_result *result, mneme_error *error);

/* A step of mneme_salvage: what it is about to read. Order of name_space, then record, is the order of the walk. */
typedef enum mneme_salvage_step {
    MNEME_SALVAGE_NAMESPACES = 1, /* the list of namespaces */
    MNEME_SALVAGE_NEXT = 2,       /* which is the first record from here on */
    MNEME_SALVAGE_RECORD = 3,     /* this record's text */
    MNEME_SALVAGE_VECTORS = 4,    /* what lies elsewhere: this record's strength, chunks and vectors */
    MNEME_SALVAGE_ENCODER = 5,    /* which encoder the vectors are from */
} mneme_salvage_step;
typedef struct mneme_salvage_place {
    mneme_salvage_step step;
    uint32_t name_space, record; /* their numbers in the store */
} mneme_salvage_place;

typedef struct mneme_salvage_options {
    size_t size;
    mneme_selection select;
    bool vectors;                /* chunks and vectors, too */
    uint32_t name_space, record; /* begin at this record; 0, 0 = at the first */
    bool without_namespaces;     /* do not read their list: they get made-up names */
    bool without_first_vectors;  /* leave out strength and vectors of the record to begin at */
    bool only_look;              /* find the first record, take nothing */
    /* NULL = do not ask. Called first, with what mneme_add_options wants to know and the vectors' dimension; not called
     * when that cannot be read: then vectors of encoded text are left out. */
    void (*encoder)(void *context, const char *name, uint64_t fingerprint, uint32_t dimension);
    /* NULL = not wanted. Called first for each namespace that is known, with how many records it should have. */
    void (*known_namespace)(void *context, uint32_t number, const char *name, uint64_t n_records);
    /* Called before each step. */
    void (*at)(void *context, const mneme_salvage_place *place);
    /* Called for each record that is found. record NULL: nothing of it can be used, or it is not selected (problem
     * NULL). problem: what is missing of it, one line; NULL = nothing that can be told. Return false to end:
     * ERR_CANCELLED. */
    bool (*take)(void *context, const mneme_salvage_place *place, const mneme_record *record, const char *problem);
    /* Other damage, one line. */
    void (*damage)(void *context, const char *line);
    void *context;
} mneme_salvage_options;
#define MNEME_SALVAGE_OPTIONS_INIT                                                                                     \
    {                                                                                                                  \
        sizeof(mneme_salvage_options), {0}, false, 0, 0, false, false, false, NULL, NULL, NULL, NULL, NULL, NULL       \
    }

/* Hand out what can be read of a damaged store (opened with MNEME_OPEN_DAMAGED), record by record in the order of
 * adding; whatever is damaged in a record's own values is left out of it and named.
 *
 * LMDB trusts its pages: damage there may end the process inside this call. Run it in a child process (fork before the
 * store is opened), keep what at() says last in shared memory, and start again behind that: `mneme export --salvage`
 * does. ERR_DAMAGED: LMDB itself gave up at the last place; begin again at another one. at, take and damage must be
 * set. */
MNEME_API mneme_status mneme_salvage(mneme *memory, const mneme_salvage_options *options, mneme_error *error);

/* Every id with the numbers of its namespace and record, as far as they can be read, until visit returns false: those
 * that `take` never saw are lost. The same warnings hold. */
MNEME_API mneme_status mneme_salvage_ids(mneme *memory,
                                         bool (*visit)(void *context, uint32_t name_space, uint32_t record,
                                                       const char *id),
                                         void *context, mneme_error *error);

/* ---- time
 * ------------------------------------------------------------------------------------------------------------ */

/* ISO 8601 date or date and time ("2023-05-08", "2023-05-08T13:56:00Z", "...+02:00"; no zone = UTC). */
MNEME_API mneme_status mneme_time_parse(const char *text, int64_t *time_ms, mneme_error *error);
/* "2023-05-08T13:56:00Z" (milliseconds only where there are some); buffer of at least 32 bytes. */
MNEME_API void mneme_time_format(int64_t time_ms, char *buffer, size_t size);

#ifdef __cplusplus
}
#endif
#endif
