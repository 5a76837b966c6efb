/* http.h -- one GET over http or https. Nothing else in the command opens a connection. One thread. */
#ifndef MN_CLI_HTTP_H
#define MN_CLI_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct cli_http_answer {
    long status; /* of the last response; 0: there was none */
    bool ranged; /* the body starts at range_start (206) */
    uint64_t range_start;
    char etag[160];   /* of the last response, as sent, quotes included; "" = none */
    long retry_after; /* seconds that the server asks for; 0 = none */
    /* What a model hub says beside: from the first response of a chain of redirects that has it; "" = none. */
    char linked_etag[160], commit[72], error_code[64];
} cli_http_answer;

typedef struct cli_http_request {
    const char *url;
    const char *token;    /* sent as bearer token to the url's host only; NULL = none */
    uint64_t from;        /* first byte wanted; 0 = all */
    const char *if_range; /* with from: the ETag under which the bytes before it came; NULL = none */
    uint64_t max_bytes;   /* a body that is longer is refused */
    /* Called once before the body of a 2xx response, then with its pieces; false ends the transfer (CLI_HTTP_TAKER).
     * begin may be NULL. Bodies of other responses are passed over. */
    bool (*begin)(void *context, const cli_http_answer *answer);
    bool (*take)(void *context, const void *data, size_t size);
    void *context;
} cli_http_request;

typedef enum cli_http_result {
    CLI_HTTP_DONE,       /* answered, with whatever status, and the body is whole */
    CLI_HTTP_BROKEN,     /* no connection, a timeout, or cut off: trying again may help */
    CLI_HTTP_REFUSED,    /* a certificate, a redirect or a body that is not accepted: it will not */
    CLI_HTTP_TAKER,      /* begin or take said no */
    CLI_HTTP_STOPPED,    /* Ctrl-C */
    CLI_HTTP_UNAVAILABLE /* no libcurl */
} cli_http_result;

/* Redirects (5 at most) stay on https when the url is https. reason: one line when the result is neither DONE nor TAKER
 * nor STOPPED. */
cli_http_result cli_http_get(const cli_http_request *request, cli_http_answer *answer, char *reason,
                             size_t reason_size);

/* `text` as one part of a URL's path ('/' becomes %2F); owned (free). */
char *cli_url_part(const char *text);

/* Wait before attempt number `attempt` (1 = the first repeat): 0.5 s, 1 s, 2 s, ..., or what the server asked for, 30 s
 * at most. False when Ctrl-C came. */
bool cli_http_wait(unsigned attempt, long retry_after);

#endif
