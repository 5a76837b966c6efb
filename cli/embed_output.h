/* embed_output.h -- where embed puts its vectors: standard output, or a file that is whole or not there.
 *
 *     FILE.part        the rows so far; moved to FILE at the end
 *     FILE.part.state  JSON: how many rows and bytes of FILE.part count, where the input stood after them, and the
 * stamp: all that must be the same for another run to go on
 *
 * The state is written after FILE.part has reached the disk, through a file of its own, so that at any moment, after
 * any kind of stop, it tells the truth about the bytes that it counts. A lock on FILE.part keeps a second run away. */
#ifndef MN_CLI_EMBED_OUTPUT_H
#define MN_CLI_EMBED_OUTPUT_H

#include "cli/embed_input.h"
#include "cli/output.h"
#include "cli/vector_type.h"

typedef enum cli_embed_container { CLI_EMBED_STDOUT, CLI_EMBED_JSON, CLI_EMBED_NPY, CLI_EMBED_RAW } cli_embed_container;

typedef struct cli_embed_output {
    cli_embed_container container;
    cli_vector_type type;
    uint32_t dimension;
    json_t *stamp;             /* owned */
    char *path, *part, *state; /* owned; NULL on standard output */
    FILE *file;
    void *row;            /* one, converted */
    uint64_t rows, bytes; /* written */
    uint64_t saved_rows;  /* that the state counts */
    double saved_at;      /* seconds */
    bool failed;          /* writing failed: said on stderr */
} cli_embed_output;

/* Container, and type when it is CLI_VECTOR_TYPES (not given), from a name: .npy, .jsonl, or a raw type's own (.f32).
 * path NULL: standard output. Returns NULL, or what is wrong (static). */
const char *cli_embed_output_kind(const char *path, cli_embed_container *container, cli_vector_type *type);

/* Open the file; container, type, dimension and stamp are set, the rest is 0. restart: whatever is there, begin anew.
 * *found: there is a state that fits; then *position is where the input stood: call cli_embed_output_resume or
 * cli_embed_output_begin. False: said on stderr. */
bool cli_embed_output_open(cli_embed_output *out, const char *path, bool restart, cli_embed_position *position,
                           bool *found);
bool cli_embed_output_resume(cli_embed_output *out);
bool cli_embed_output_begin(cli_embed_output *out);

/* Write one vector. id: NULL = none; only JSON lines carry it. */
bool cli_embed_output_put(cli_embed_output *out, const char *id, const float *vector);
/* Save the state, unless that was done less than a second ago. position: after the text of the last vector put. */
bool cli_embed_output_save(cli_embed_output *out, const cli_embed_position *position);

/* All is written: put the file in its place. */
bool cli_embed_output_finish(cli_embed_output *out);

/* The run ends before that: save what is done, with the position after the last row put. Without a row, nothing stays.
 */
void cli_embed_output_stop(cli_embed_output *out, const cli_embed_position *position);
/* Remove what is there. */
void cli_embed_output_discard(cli_embed_output *out);
/* Release everything. */
void cli_embed_output_close(cli_embed_output *out);

#endif
