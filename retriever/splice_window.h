/* splice_window.h -- the window while it is being filled: which pieces of which records are in it, and what they cost.
 *
 *     window
 *       group      a session, or a record without one; stands under one source line
 *         part     a record of the group
 *           unit   a byte range of its text; the units of a part are sorted and do not overlap
 *
 * Tokens are counted once for each unit as it comes in, and summed. The sum is an estimate: a tokenizer may join what
 * the sum keeps apart. mn_splice counts the finished text. */
#ifndef MN_RETRIEVER_SPLICE_WINDOW_H
#define MN_RETRIEVER_SPLICE_WINDOW_H

#include "retriever/splice.h"
#include "retriever/splice_template.h"

typedef struct mn_unit {
    uint64_t start, end;
} mn_unit;

typedef struct mn_group {
    uint32_t ns_index;
    bool is_session;
    uint32_t number;   /* session_number, or rec */
    uint32_t rank;     /* order in which the groups came in: of the best hit */
    uint64_t n_units;  /* in all of its parts */
    uint64_t n_spoken; /* of these, of records with a speaker */
    uint64_t header_tokens;
} mn_group;

typedef struct mn_part {
    uint32_t ns_index;
    mn_record record; /* borrowed from the read */
    mn_group *group;
    bool is_accepted; /* may it be shown? */
    mn_unit *units;
    size_t n_units, capacity;
    uint64_t prefix_tokens; /* of the marks around a passage: "speaker: " */
} mn_part;

typedef struct mn_placed {
    mn_part *part;
    mn_unit unit;
    uint64_t tokens; /* as estimated when it came in */
} mn_placed;

typedef struct mn_sentence mn_sentence; /* splice_repeats.c */

typedef struct mn_splice_window {
    mn_read *read;
    const mn_namespace *namespaces;
    const mn_splice_options *options;
    const mn_template *form;
    mn_arena *arena;
    mneme_error *error;
    mn_part **parts; /* by namespace and record */
    size_t n_parts, parts_capacity;
    mn_group **groups; /* in the order in which they came */
    size_t n_groups, groups_capacity;
    mn_placed *placed; /* in the order in which they came */
    size_t n_placed, placed_capacity;
    mn_sentence *sentences; /* that are shown: a table of n_slots, a power of two */
    size_t n_sentences, n_slots;
    uint64_t used;         /* tokens, estimated */
    uint64_t frame_tokens; /* of what opens and closes the window */
    uint64_t gap_tokens;
    bool is_bare;      /* without source lines, in templates that can: the budget is too small for them */
    mn_buffer scratch; /* text being looked at; mn_window_free */
    mn_buffer written; /* marks and text as the template writes them, to be counted; mn_window_free */
} mn_splice_window;

mneme_status mn_window_init(mn_splice_window *window, mn_read *read, const mn_namespace *namespaces,
                            const mn_splice_options *options, mn_arena *arena, mneme_error *error);
void mn_window_free(mn_splice_window *window);

mneme_status mn_window_count(const mn_splice_window *window, const char *text, size_t size, uint64_t *n_tokens);
/* The same for text of the part, as the template writes it. */
mneme_status mn_window_count_text(mn_splice_window *window, const mn_part *part, const char *text, size_t size,
                                  uint64_t *n_tokens);
/* How the template sees the part's group when `part` is the first of it. */
mn_template_group mn_window_group(const mn_splice_window *window, const mn_part *part);
/* text[start, end) of the part's record in window->scratch, until the next call. */
mneme_status mn_window_text(mn_splice_window *window, const mn_part *part, uint64_t start, uint64_t end);

/* The part of a record, made at first use. is_hit: it needs no accepting any more. */
mneme_status mn_window_part(mn_splice_window *window, uint32_t ns_index, uint32_t rec, bool is_hit, mn_part **out);

/* The unit that covers the byte at `at`, or NULL. */
const mn_unit *mn_part_covering(const mn_part *part, uint64_t at);
/* The first range of [start, end) that no unit covers; false when there is none. */
bool mn_part_hole(const mn_part *part, uint64_t start, uint64_t end, mn_unit *hole);

/* Does `start` in part b come straight after `end` in part a, of the same group: with nothing but white space between?
 */
mneme_status mn_window_follows(mn_splice_window *window, const mn_part *a, uint64_t end, const mn_part *b,
                               uint64_t start, bool *follows);

/* Tokens that placing a range that nothing covers adds to the window: its text, a source line if it is the first of its
 * group, the speaker's name if it begins a passage, and the gap marks that it makes necessary less those it closes. */
mneme_status mn_window_cost(mn_splice_window *window, const mn_part *part, mn_unit unit, uint64_t *tokens);
/* The same without its text; below 0 when it joins what was apart. */
mneme_status mn_window_overhead(mn_splice_window *window, const mn_part *part, mn_unit unit, int64_t *tokens);
/* Put it in. */
mneme_status mn_window_place(mn_splice_window *window, mn_part *part, mn_unit unit, uint64_t tokens);
/* Take out what came last. */
mneme_status mn_window_undo(mn_splice_window *window);

/* Count the sentences of a unit as shown, or no more shown. */
mneme_status mn_window_note(mn_splice_window *window, const mn_part *part, mn_unit unit, bool shown);

typedef struct mn_repeat {
    const mn_part *by; /* a record that shows what the unit says; NULL: it says something new */
    size_t n_bytes;    /* of the text that is said again */
} mn_repeat;
/* Do other records show every sentence of the unit, said by the same speaker? */
mneme_status mn_window_repeats(mn_splice_window *window, const mn_part *part, mn_unit unit, mn_repeat *out);

/* Write the window: text from {0}, passages (weights 0) in the arena in the order of the text. splice_render.c */
mneme_status mn_window_render(mn_splice_window *window, mn_buffer *text, mn_spliced **passages, size_t *n);

#endif
