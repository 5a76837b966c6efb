/* embed_input.h -- the texts that embed encodes: lines or JSONL records of files and streams, one after the other.
 *
 * Never holds more than one line, and of a long one only what an encoder can take in (long_line.h). Says after each
 * text where reading stands, with a hash of all bytes up to there, so that a later run can go on behind the text and
 * know that what lies before is what it was. */
#ifndef MN_CLI_EMBED_INPUT_H
#define MN_CLI_EMBED_INPUT_H

#include "cli/arguments.h"
#include "cli/lines.h"

enum { CLI_EMBED_AUTO, CLI_EMBED_LINES, CLI_EMBED_JSONL };
#define CLI_EMBED_FORMATS "auto|lines|jsonl"

typedef struct cli_embed_position {
    size_t file;                /* index of the input */
    uint64_t offset, line;      /* bytes and lines of it that are done */
    uint64_t hash;              /* of all bytes before, those of earlier inputs included */
    uint64_t refused, replaced; /* so far: lines and files; invalid UTF-8 sequences */
} cli_embed_position;

typedef struct cli_embed_input {
    const cli_words *files; /* borrowed; "-" is standard input */
    int format;             /* CLI_EMBED_... */
    size_t limit;           /* bytes kept of a text */
    cli_embed_position now; /* after the text in hand */
    bool is_open, jsonl;
    cli_lines lines;
    cli_text text;   /* in hand, valid UTF-8 */
    char *id;        /* of its record; NULL = none; owned */
    size_t n_opened; /* files that could be, whatever was in them */
    uint64_t read;   /* bytes of all inputs, for progress */
    bool failed;     /* reading failed: said on stderr */
} cli_embed_input;

/* max_tokens: the encoder's window. */
void cli_embed_input_begin(cli_embed_input *input, const cli_words *files, int format, uint32_t max_tokens);
void cli_embed_input_end(cli_embed_input *input);

/* The next text into input->text; false at the end and after a failure. What is refused is named on stderr, counted in
 * now.refused, and passed over. */
bool cli_embed_input_next(cli_embed_input *input);

/* Read up to a position that an earlier run had; from the beginning only. False: what lies there now is something else;
 * the input is at the beginning again, but for streams, which cannot be read twice. */
bool cli_embed_input_resume(cli_embed_input *input, const cli_embed_position *to);

/* Can this input be read once only? */
bool cli_embed_is_stream(const char *name);

#endif
