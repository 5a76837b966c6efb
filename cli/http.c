/* http.c -- one GET, by libcurl. The only file that knows libcurl, which is loaded at the first call (lazy_library.h).
 *
 * What is trusted: nothing that a server says about itself. Protocols are limited to http and https, redirects to five
 * and never from https down to http, the body to the bytes that the caller allows. The token goes to the host that the
 * caller named, and after a redirect to another host, port or protocol no more (libcurl's rule for credentials). */
#include "cli/http.h"

#include "cli/lazy_library.h"
#include "cli/stop.h"
#include "cli/text.h"
#include "mneme.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/* A connection must stand within CONNECT_SECONDS; a transfer that brings nothing for STALL_SECONDS is given up. */
enum { CONNECT_SECONDS = 20, STALL_SECONDS = 30, REDIRECTS_MAX = 5 };

#undef curl_easy_setopt /* the macros that check types would go around the table */
#undef curl_easy_getinfo

static struct curl_functions {
    bool loaded;
    CURLcode (*global_init)(long);
    CURL *(*init)(void);
    CURLcode (*setopt)(CURL *, CURLoption, ...);
    CURLcode (*perform)(CURL *);
    CURLcode (*getinfo)(CURL *, CURLINFO, ...);
    void (*cleanup)(CURL *);
    const char *(*error_text)(CURLcode);
    struct curl_slist *(*list_append)(struct curl_slist *, const char *);
    void (*list_free)(struct curl_slist *);
} curl;

static bool load_curl(char *reason, size_t reason_size)
{
    static const char *const names[] = {"libcurl.so.4", "libcurl-gnutls.so.4", NULL};
    const cli_lazy_symbol symbols[] = {
        {"curl_global_init", &curl.global_init},  {"curl_easy_init", &curl.init},
        {"curl_easy_setopt", &curl.setopt},       {"curl_easy_perform", &curl.perform},
        {"curl_easy_getinfo", &curl.getinfo},     {"curl_easy_cleanup", &curl.cleanup},
        {"curl_easy_strerror", &curl.error_text}, {"curl_slist_append", &curl.list_append},
        {"curl_slist_free_all", &curl.list_free},
    };
    if (curl.loaded) return true;
    if (!cli_lazy_load(names, symbols, sizeof symbols / sizeof *symbols, "libcurl4", reason, reason_size)) return false;
    if (curl.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        snprintf(reason, reason_size, "libcurl could not be started");
        return false;
    }
    return curl.loaded = true;
}

/* ---- one transfer ---- */

typedef struct transfer {
    const cli_http_request *request;
    cli_http_answer *answer;
    CURL *easy;
    uint64_t taken;
    bool begun, refused, too_long;
} transfer;

/* Copy a header's value, without the blanks around it, when `line` is that header. Too long a value counts as none. */
static bool header_value(const char *line, size_t size, const char *name, char *out, size_t out_size)
{
    size_t name_size = strlen(name);
    if (size <= name_size || line[name_size] != ':' || strncasecmp(line, name, name_size) != 0) return false;
    const char *start = line + name_size + 1, *end = line + size;
    while (start < end && (*start == ' ' || *start == '\t')) start++;
    while (end > start && strchr(" \t\r\n", end[-1])) end--;
    size_t value_size = (size_t)(end - start);
    if (value_size >= out_size) value_size = 0;
    memcpy(out, start, value_size);
    out[value_size] = '\0';
    return true;
}

static void first_header(const char *line, size_t size, const char *name, char *out, size_t out_size)
{
    char value[200];
    if (!out[0] && header_value(line, size, name, value, sizeof value) && strlen(value) < out_size)
        memcpy(out, value, strlen(value) + 1);
}

static size_t on_header(char *line, size_t one, size_t size, void *context)
{
    transfer *t = context;
    cli_http_answer *answer = t->answer;
    char value[80];
    (void)one;
    if (size > 5 && strncasecmp(line, "HTTP/", 5) == 0) { /* a new response: after a redirect, or 100 */
        answer->etag[0] = '\0';
        answer->ranged = false;
        answer->range_start = 0;
        answer->retry_after = 0;
    }
    header_value(line, size, "ETag", answer->etag, sizeof answer->etag);
    first_header(line, size, "X-Linked-ETag", answer->linked_etag, sizeof answer->linked_etag);
    first_header(line, size, "X-Repo-Commit", answer->commit, sizeof answer->commit);
    first_header(line, size, "X-Error-Code", answer->error_code, sizeof answer->error_code);
    if (header_value(line, size, "Retry-After", value, sizeof value)) answer->retry_after = strtol(value, NULL, 10);
    if (header_value(line, size, "Content-Range", value, sizeof value) && strncasecmp(value, "bytes ", 6) == 0 &&
        value[6] >= '0' && value[6] <= '9') {
        answer->ranged = true;
        answer->range_start = strtoull(value + 6, NULL, 10);
    }
    return size;
}

static size_t on_body(char *data, size_t one, size_t size, void *context)
{
    transfer *t = context;
    const cli_http_request *request = t->request;
    (void)one;
    if (!t->begun) {
        t->begun = true;
        curl.getinfo(t->easy, CURLINFO_RESPONSE_CODE, &t->answer->status);
        t->answer->ranged = t->answer->ranged && t->answer->status == 206;
        bool good = t->answer->status >= 200 && t->answer->status < 300;
        t->refused = good && request->begin && !request->begin(request->context, t->answer);
    }
    if (t->refused) return 0;
    t->too_long = size > request->max_bytes - t->taken;
    if (t->too_long) return 0;
    t->taken += size;
    if (t->answer->status < 200 || t->answer->status >= 300) return size;
    t->refused = !request->take(request->context, data, size);
    return t->refused ? 0 : size;
}

static int on_progress(void *context, curl_off_t total, curl_off_t now, curl_off_t up_total, curl_off_t up_now)
{
    (void)context, (void)total, (void)now, (void)up_total, (void)up_now;
    return cli_stop_asked();
}

static void set_options(transfer *t, struct curl_slist *headers, char *curl_words)
{
    const cli_http_request *request = t->request;
    CURL *easy = t->easy;
    const char *protocols = strncasecmp(request->url, "https:", 6) == 0 ? "https" : "http,https";
    curl.setopt(easy, CURLOPT_URL, request->url);
    curl.setopt(easy, CURLOPT_PROTOCOLS_STR, protocols);
    curl.setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, protocols);
    curl.setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
    curl.setopt(easy, CURLOPT_MAXREDIRS, (long)REDIRECTS_MAX);
    curl.setopt(easy, CURLOPT_USERAGENT, "mneme/" MNEME_VERSION);
    curl.setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl.setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl.setopt(easy, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    curl.setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl.setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)STALL_SECONDS);
    curl.setopt(easy, CURLOPT_ERRORBUFFER, curl_words);
    curl.setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl.setopt(easy, CURLOPT_HEADERDATA, t);
    curl.setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl.setopt(easy, CURLOPT_WRITEDATA, t);
    curl.setopt(easy, CURLOPT_NOPROGRESS, 0L);
    curl.setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
    if (request->token) {
        curl.setopt(easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER);
        curl.setopt(easy, CURLOPT_XOAUTH2_BEARER, request->token);
    }
}

static struct curl_slist *range_headers(const cli_http_request *request)
{
    if (request->from == 0) return NULL;
    char *range = cli_format("Range: bytes=%llu-", (unsigned long long)request->from);
    struct curl_slist *headers = curl.list_append(NULL, range);
    free(range);
    if (request->if_range && headers) {
        char *condition = cli_format("If-Range: %s", request->if_range);
        headers = curl.list_append(headers, condition);
        free(condition);
    }
    return headers;
}

static cli_http_result judge(const transfer *t, CURLcode code, const char *words, char *reason, size_t reason_size)
{
    if (code == CURLE_OK) return CLI_HTTP_DONE;
    if (t->refused) return CLI_HTTP_TAKER;
    if (code == CURLE_ABORTED_BY_CALLBACK && cli_stop_asked()) return CLI_HTTP_STOPPED;
    if (t->too_long)
        snprintf(reason, reason_size, "%s sends more than the %llu bytes that are allowed", t->request->url,
                 (unsigned long long)t->request->max_bytes);
    else
        snprintf(reason, reason_size, "%s: %s", t->request->url, words[0] ? words : curl.error_text(code));
    switch (code) {
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM: return CLI_HTTP_BROKEN;
    default: return CLI_HTTP_REFUSED;
    }
}

cli_http_result cli_http_get(const cli_http_request *request, cli_http_answer *answer, char *reason, size_t reason_size)
{
    *answer = (cli_http_answer){0};
    reason[0] = '\0';
    if (!load_curl(reason, reason_size)) return CLI_HTTP_UNAVAILABLE;
    transfer t = {.request = request, .answer = answer, .easy = curl.init()};
    if (!t.easy) {
        snprintf(reason, reason_size, "libcurl could not be started");
        return CLI_HTTP_UNAVAILABLE;
    }
    char words[CURL_ERROR_SIZE] = "";
    struct curl_slist *headers = range_headers(request);
    set_options(&t, headers, words);
    CURLcode code = curl.perform(t.easy);
    curl.getinfo(t.easy, CURLINFO_RESPONSE_CODE, &answer->status);
    /* An empty body never reaches on_body. */
    bool good = answer->status >= 200 && answer->status < 300;
    if (code == CURLE_OK && good && !t.begun && request->begin && !request->begin(request->context, answer))
        code = CURLE_WRITE_ERROR, t.refused = true;
    cli_http_result result = judge(&t, code, words, reason, reason_size);
    curl.cleanup(t.easy);
    curl.list_free(headers);
    return result;
}

/* ---- around it ---- */

char *cli_url_part(const char *text)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    cli_text out = {0};
    for (; *text; text++) {
        if (strchr(plain, *text))
            cli_text_byte(&out, *text);
        else
            cli_text_format(&out, "%%%02X", (unsigned char)*text);
    }
    return cli_text_take(&out);
}

bool cli_http_wait(unsigned attempt, long retry_after)
{
    long tenths = 5L << (attempt - 1 < 6 ? attempt - 1 : 6);
    if (retry_after > 0) tenths = retry_after < 30 ? retry_after * 10 : 300;
    if (tenths > 300) tenths = 300;
    for (; tenths > 0 && !cli_stop_asked(); tenths--) {
        struct timespec tenth = {0, 100000000};
        nanosleep(&tenth, NULL);
    }
    return !cli_stop_asked();
}
