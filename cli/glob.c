/* glob.c -- patterns of file names, as git's wildmatch reads them.
 *
 * A pattern becomes a list of tokens, and matching keeps the set of tokens that could come next (Thompson's
 * simulation), so that no pattern takes exponential time. States of token i:
 *
 *   2i      the token is about to begin
 *   2i + 1  inside it (only FOLDERS: part of a folder's name has been read) */
#include "cli/glob.h"

#include "cli/text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

typedef enum token_kind {
    TOKEN_SET,     /* one byte of a set; single bytes and ? are sets, too */
    TOKEN_STAR,    /* any run without '/' */
    TOKEN_FOLDERS, /* "**" + "/": any number of "name/" */
    TOKEN_REST     /* "**" at the end: anything */
} token_kind;

typedef struct glob_token {
    token_kind kind;
    unsigned char set[32]; /* 256 bits */
} glob_token;

struct cli_glob {
    glob_token *tokens;
    size_t n;
    bool broken;
};

static bool in_set(const glob_token *token, unsigned char byte)
{
    return token->set[byte >> 3] >> (byte & 7) & 1;
}

static void put_in_set(glob_token *token, unsigned char byte)
{
    token->set[byte >> 3] = (unsigned char)(token->set[byte >> 3] | 1u << (byte & 7));
}

/* Bytes of "[:name:]" at text, its set added; 0 when it is none. */
static size_t read_class(const char *text, size_t size, glob_token *out)
{
    static const struct {
        const char *name;
        int (*holds)(int);
    } classes[] = {{"alnum", isalnum}, {"alpha", isalpha}, {"blank", isblank}, {"cntrl", iscntrl},
                   {"digit", isdigit}, {"graph", isgraph}, {"lower", islower}, {"print", isprint},
                   {"punct", ispunct}, {"space", isspace}, {"upper", isupper}, {"xdigit", isxdigit}};
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        size_t length = strlen(classes[i].name);
        if (size < length + 4 || memcmp(text + 2, classes[i].name, length) != 0) continue;
        if (text[length + 2] != ':' || text[length + 3] != ']') continue;
        for (int byte = 1; byte < 128; byte++)
            if (classes[i].holds(byte)) put_in_set(out, (unsigned char)byte);
        return length + 4;
    }
    return 0;
}

/* Read "[...]" at pattern[at]; returns one past it, 0 when it does not end or names an unknown class. */
static size_t read_set(const char *pattern, size_t size, size_t at, glob_token *out)
{
    at++;
    bool negated = at < size && (pattern[at] == '!' || pattern[at] == '^');
    if (negated) at++;
    int before = -1; /* the byte that a "-" would begin a range from */
    for (bool first = true;; first = false) {
        if (at >= size) return 0;
        if (pattern[at] == ']' && !first) break;
        if (pattern[at] == '[' && at + 1 < size && pattern[at + 1] == ':') {
            size_t length = read_class(pattern + at, size - at, out);
            if (length == 0) return 0;
            at += length;
            before = -1;
            continue;
        }
        bool range = pattern[at] == '-' && before >= 0 && at + 1 < size && pattern[at + 1] != ']';
        if (range) at++;
        if (pattern[at] == '\\' && ++at >= size) return 0;
        int byte = (unsigned char)pattern[at++];
        for (int b = range ? before : byte; b <= byte; b++) put_in_set(out, (unsigned char)b);
        before = range ? -1 : byte;
    }
    if (negated)
        for (size_t i = 0; i < sizeof out->set; i++) out->set[i] = (unsigned char)~out->set[i];
    out->set['/' >> 3] = (unsigned char)(out->set['/' >> 3] & ~(1u << ('/' & 7)));
    return at + 1;
}

/* No character in pattern[0, size) that means something else than itself? */
static bool is_plain(const char *pattern, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (strchr("*?[\\", pattern[i])) return false;
    return true;
}

/* Read a run of stars at pattern[at]; returns one past it. "**" counts as folders only between slashes or ends. A
 * beginning without special characters counts as an end, too ("a**" + "/b" leaves out a/x/b): git compares that part
 * first and then matches the rest by itself. */
static size_t read_stars(const char *pattern, size_t size, size_t at, glob_token *out)
{
    bool begins = at == 0 || pattern[at - 1] == '/' || is_plain(pattern, at);
    size_t end = at;
    while (end < size && pattern[end] == '*') end++;
    out->kind = TOKEN_STAR;
    if (end - at < 2 || !begins) return end;
    if (end == size) out->kind = TOKEN_REST;
    else if (pattern[end] == '/') {
        out->kind = TOKEN_FOLDERS;
        end++;
    }
    return end;
}

/* One token at pattern[at]; returns one past it, 0 when it cannot be read. */
static size_t read_token(const char *pattern, size_t size, size_t at, glob_token *out)
{
    *out = (glob_token){.kind = TOKEN_SET};
    switch (pattern[at]) {
    case '*': return read_stars(pattern, size, at, out);
    case '[': return read_set(pattern, size, at, out);
    case '?':
        memset(out->set, 0xFF, sizeof out->set);
        out->set['/' >> 3] = (unsigned char)(out->set['/' >> 3] & ~(1u << ('/' & 7)));
        return at + 1;
    case '\\':
        if (++at >= size) return 0;
        break;
    default: break;
    }
    put_in_set(out, (unsigned char)pattern[at]);
    return at + 1;
}

cli_glob *cli_glob_new(const char *pattern, size_t size)
{
    cli_glob *glob = cli_alloc(1, sizeof *glob);
    *glob = (cli_glob){.tokens = cli_alloc(size, sizeof(glob_token))};
    for (size_t at = 0; at < size && !glob->broken;) {
        size_t next = read_token(pattern, size, at, &glob->tokens[glob->n]);
        glob->broken = next == 0;
        glob->n++;
        at = next;
    }
    return glob;
}

void cli_glob_free(cli_glob *glob)
{
    if (!glob) return;
    free(glob->tokens);
    free(glob);
}

/* Add state 2i and what can be reached from it without reading a byte. */
static void enter(const cli_glob *glob, bool *states, size_t i)
{
    for (;; i++) {
        states[2 * i] = true;
        if (i == glob->n || glob->tokens[i].kind == TOKEN_SET) return;
    }
}

/* Where token i can be after reading `byte`. */
static void step(const cli_glob *glob, bool *next, size_t i, unsigned char byte)
{
    switch (glob->tokens[i].kind) {
    case TOKEN_SET:
        if (in_set(&glob->tokens[i], byte)) enter(glob, next, i + 1);
        break;
    case TOKEN_STAR:
        if (byte != '/') enter(glob, next, i);
        break;
    case TOKEN_FOLDERS:
        if (byte != '/') next[2 * i + 1] = true;
        else enter(glob, next, i);
        break;
    case TOKEN_REST: enter(glob, next, i); break;
    }
}

bool cli_glob_match(const cli_glob *glob, const char *text, size_t size)
{
    if (glob->broken) return false;
    size_t n_states = 2 * glob->n + 2;
    bool *states = cli_alloc(2 * n_states, sizeof *states), *now = states, *next = states + n_states;
    memset(states, 0, 2 * n_states * sizeof *states);
    enter(glob, now, 0);
    for (size_t at = 0; at < size; at++) {
        memset(next, 0, n_states * sizeof *next);
        for (size_t state = 0; state < 2 * glob->n; state++)
            if (now[state]) step(glob, next, state / 2, (unsigned char)text[at]);
        bool *swap = now;
        now = next;
        next = swap;
    }
    bool matched = now[2 * glob->n];
    free(states);
    return matched;
}
