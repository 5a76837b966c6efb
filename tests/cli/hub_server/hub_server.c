/* hub_server.c -- a model hub on this machine, for tests: serves a folder in the hub's layout, and misbehaves when
 * told.
 *
 *     hub_server ROOT
 *
 *     ROOT/models/ORG/NAME/listing.REV.json    the answer to /api/models/ORG/NAME/revision/REV; REV as in the URL
 *     ROOT/models/ORG/NAME/files/FILE          the answer to /ORG/NAME/resolve/COMMIT/FILE; *.safetensors are
 * redirected to another address ("the CDN"), as the hub does with files in LFS ROOT/models/ORG/NAME/linked_etag
 * X-Linked-ETag of the redirect, when it is there ROOT/address                             written when it is ready:
 * the hub's URL, the CDN's URL ROOT/log                                 a line per request: who, path, Range, If-Range,
 * Authorization ROOT/control                             read at each request: lines RULE WHERE VALUE [TIMES]
 *
 * A rule is for requests whose "hub /path" or "cdn /path" holds WHERE: the first TIMES of them; all, where it is left
 * out; all but the first N, where it is +N. status CODE     answer with it; "401:GatedRepo" adds X-Error-Code cut BYTES
 * break the connection after so many bytes of the body wrong OFFSET    change the byte there endless MB      a body
 * without a length that goes on for so long norange 1       take no notice of Range etag TEXT       the ETag of the
 * body, instead of one that follows from the file's size and time redirect URL    send elsewhere commit SHA
 * X-Repo-Commit Two threads, one per address; the rules' counters are under a lock. Ends with SIGTERM, or after ten
 * minutes. */
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RULES_MAX = 16, LIFE_SECONDS = 600 };

typedef struct rule {
    char name[16], where[200], value[200];
    long times; /* it is still to be applied; -1 = always */
    long skip;  /* requests before it begins */
} rule;

static struct server {
    const char *root;
    unsigned cdn_port;
    pthread_mutex_t lock;
    char control[4096]; /* what the rules were read from */
    rule rules[RULES_MAX];
    size_t n_rules;
} server = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- rules ---- */

static void read_rules(void)
{
    char path[1024], text[sizeof server.control] = "";
    snprintf(path, sizeof path, "%s/control", server.root);
    FILE *file = fopen(path, "r");
    if (file) {
        text[fread(text, 1, sizeof text - 1, file)] = '\0';
        fclose(file);
    }
    if (strcmp(text, server.control) == 0) return;
    memcpy(server.control, text, sizeof text);
    server.n_rules = 0;
    for (char *save = NULL, *line = strtok_r(text, "\n", &save); line && server.n_rules < RULES_MAX;
         line = strtok_r(NULL, "\n", &save)) {
        rule *r = &server.rules[server.n_rules];
        char times[20] = "";
        if (sscanf(line, "%15s %199s %199s %19s", r->name, r->where, r->value, times) < 3) continue;
        r->skip = times[0] == '+' ? strtol(times + 1, NULL, 10) : 0;
        r->times = times[0] && times[0] != '+' ? strtol(times, NULL, 10) : -1;
        server.n_rules++;
    }
}

/* The value of the rule for this request, counted; "" when there is none. */
static void rule_value(const char *name, const char *request, char value[200])
{
    value[0] = '\0';
    pthread_mutex_lock(&server.lock);
    read_rules();
    for (size_t i = 0; i < server.n_rules && !value[0]; i++) {
        rule *r = &server.rules[i];
        if (strcmp(r->name, name) != 0 || !strstr(request, r->where) || r->times == 0) continue;
        if (r->skip > 0) {
            r->skip--;
            continue;
        }
        if (r->times > 0) r->times--;
        memcpy(value, r->value, sizeof r->value);
    }
    pthread_mutex_unlock(&server.lock);
}

/* ---- bodies ---- */

typedef struct body {
    int fd;
    uint64_t start;   /* offset in the file of the body's first byte */
    int64_t cut;      /* break after so many bytes; -1 = not */
    int64_t wrong;    /* offset in the file of a byte to change; -1 = none */
    uint64_t endless; /* bytes of a body that is in no file; 0 = not */
} body;

static ssize_t read_body(void *context, uint64_t at, char *out, size_t room)
{
    const body *b = context;
    if (b->endless) {
        if (at >= b->endless) return MHD_CONTENT_READER_END_OF_STREAM;
        memset(out, 'x', room);
        return (ssize_t)room;
    }
    if (b->cut >= 0 && at >= (uint64_t)b->cut) return MHD_CONTENT_READER_END_WITH_ERROR;
    if (b->cut >= 0 && room > (uint64_t)b->cut - at) room = (size_t)((uint64_t)b->cut - at);
    ssize_t size = pread(b->fd, out, room, (off_t)(b->start + at));
    if (size <= 0) return MHD_CONTENT_READER_END_WITH_ERROR;
    int64_t wrong = b->wrong - (int64_t)(b->start + at);
    if (b->wrong >= 0 && wrong >= 0 && wrong < size) out[wrong] = (char)(out[wrong] ^ 1);
    return size;
}

static void free_body(void *context)
{
    body *b = context;
    if (b->fd >= 0) close(b->fd);
    free(b);
}

static enum MHD_Result send_and_drop(struct MHD_Connection *connection, unsigned status, struct MHD_Response *response)
{
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static struct MHD_Response *text_response(const char *text)
{
    return MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
}

static enum MHD_Result send_status(struct MHD_Connection *connection, const char *status)
{
    struct MHD_Response *response = text_response("{\"error\":\"as told\"}");
    const char *code = strchr(status, ':');
    if (code) MHD_add_response_header(response, "X-Error-Code", code + 1);
    return send_and_drop(connection, (unsigned)strtoul(status, NULL, 10), response);
}

static enum MHD_Result send_redirect(struct MHD_Connection *connection, const char *url, struct MHD_Response *response)
{
    if (!response) response = text_response("elsewhere");
    MHD_add_response_header(response, "Location", url);
    return send_and_drop(connection, MHD_HTTP_FOUND, response);
}

/* ---- files ---- */

static const char *header(struct MHD_Connection *connection, const char *name)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

static long long rule_number(const char *name, const char *request)
{
    char value[200];
    rule_value(name, request, value);
    return value[0] ? strtoll(value, NULL, 10) : -1;
}

static void make_etag(const char *request, const struct stat *info, char etag[240])
{
    char value[200];
    rule_value("etag", request, value);
    if (value[0])
        snprintf(etag, 240, "\"%s\"", value);
    else
        snprintf(etag, 240, "\"%llx-%llx%llx\"", (unsigned long long)info->st_size,
                 (unsigned long long)info->st_mtim.tv_sec, (unsigned long long)info->st_mtim.tv_nsec);
}

/* The first byte that Range asks for; 0: all of it, also where If-Range names another file. */
static uint64_t range_start(struct MHD_Connection *connection, const char *request, const char *etag)
{
    const char *range = header(connection, "Range"), *condition = header(connection, "If-Range");
    if (!range || strncmp(range, "bytes=", 6) != 0 || rule_number("norange", request) > 0) return 0;
    if (condition && strcmp(condition, etag) != 0) return 0;
    return strtoull(range + 6, NULL, 10);
}

static enum MHD_Result send_file(struct MHD_Connection *connection, const char *request, const char *path,
                                 const char *commit)
{
    struct stat info;
    char etag[240], told[200], text[120];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) != 0) return send_status(connection, "404:EntryNotFound");
    uint64_t size = (uint64_t)info.st_size;
    make_etag(request, &info, etag);
    uint64_t start = range_start(connection, request, etag);
    if (start > 0 && start >= size) {
        close(fd);
        return send_status(connection, "416");
    }
    long long endless = rule_number("endless", request);
    body *b = calloc(1, sizeof *b);
    *b = (body){.fd = fd,
                .start = start,
                .cut = rule_number("cut", request),
                .wrong = rule_number("wrong", request),
                .endless = endless > 0 ? (uint64_t)endless << 20 : 0};
    struct MHD_Response *response =
        MHD_create_response_from_callback(b->endless ? MHD_SIZE_UNKNOWN : size - start, 4096, read_body, b, free_body);
    rule_value("commit", request, told);
    if (told[0] || commit) MHD_add_response_header(response, "X-Repo-Commit", told[0] ? told : commit);
    MHD_add_response_header(response, "ETag", etag);
    snprintf(text, sizeof text, "bytes %llu-%llu/%llu", (unsigned long long)start, (unsigned long long)size - 1,
             (unsigned long long)size);
    if (start > 0) MHD_add_response_header(response, "Content-Range", text);
    return send_and_drop(connection, start > 0 ? MHD_HTTP_PARTIAL_CONTENT : MHD_HTTP_OK, response);
}

/* ---- the hub's paths ---- */

static enum MHD_Result send_to_cdn(struct MHD_Connection *connection, const char *model, const char *file,
                                   const char *commit)
{
    char url[1024], path[1024], etag[128] = "";
    snprintf(path, sizeof path, "%s/models/%s/linked_etag", server.root, model);
    FILE *linked = fopen(path, "r");
    struct MHD_Response *response = text_response("at the CDN");
    if (linked && fgets(etag, sizeof etag, linked)) {
        etag[strcspn(etag, "\n")] = '\0';
        MHD_add_response_header(response, "X-Linked-ETag", etag);
    }
    if (linked) fclose(linked);
    MHD_add_response_header(response, "X-Repo-Commit", commit);
    snprintf(url, sizeof url, "http://127.0.0.2:%u/cdn/%s/%s", server.cdn_port, model, file);
    return send_redirect(connection, url, response);
}

static enum MHD_Result answer_listing(struct MHD_Connection *connection, const char *request, const char *url)
{
    char model[256], path[1024];
    const char *revision = strstr(url, "/revision/");
    if (!revision) return send_status(connection, "404");
    snprintf(model, sizeof model, "%.*s", (int)(revision - url), url);
    snprintf(path, sizeof path, "%s/models/%s", server.root, model);
    if (access(path, F_OK) != 0) return send_status(connection, "404:RepoNotFound");
    snprintf(path, sizeof path, "%s/models/%s/listing.%s.json", server.root, model, revision + 10);
    if (access(path, F_OK) != 0) return send_status(connection, "404:RevisionNotFound");
    return send_file(connection, request, path, NULL);
}

static enum MHD_Result answer_resolve(struct MHD_Connection *connection, const char *request, const char *url)
{
    char model[256], commit[128], path[1024];
    const char *resolve = strstr(url, "/resolve/"), *file = resolve ? strchr(resolve + 9, '/') : NULL;
    if (!file) return send_status(connection, "404");
    snprintf(model, sizeof model, "%.*s", (int)(resolve - url - 1), url + 1);
    snprintf(commit, sizeof commit, "%.*s", (int)(file - resolve - 9), resolve + 9);
    file++;
    const char *ending = strstr(file, ".safetensors");
    if (ending && !strchr(ending + 1, '.')) return send_to_cdn(connection, model, file, commit);
    snprintf(path, sizeof path, "%s/models/%s/files/%s", server.root, model, file);
    return send_file(connection, request, path, commit);
}

static enum MHD_Result answer_cdn(struct MHD_Connection *connection, const char *request, const char *url)
{
    char model[256], path[1024];
    const char *file = strrchr(url, '/');
    if (strncmp(url, "/cdn/", 5) != 0) return send_status(connection, "404");
    snprintf(model, sizeof model, "%.*s", (int)(file - url - 5), url + 5);
    snprintf(path, sizeof path, "%s/models/%s/files/%s", server.root, model, file + 1);
    return send_file(connection, request, path, NULL);
}

static void log_request(struct MHD_Connection *connection, const char *request)
{
    char path[1024], line[2048];
    const char *range = header(connection, "Range"), *condition = header(connection, "If-Range");
    const char *token = header(connection, "Authorization");
    int size = snprintf(line, sizeof line, "%s range=%s if-range=%s authorization=%s\n", request, range ? range : "-",
                        condition ? condition : "-", token ? token : "-");
    snprintf(path, sizeof path, "%s/log", server.root);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, line, (size_t)size) != size)
        fprintf(stderr, "hub_server: cannot log: %s\n", strerror(errno));
    if (fd >= 0) close(fd);
}

static enum MHD_Result answer(void *who, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *upload, size_t *upload_size, void **state)
{
    char request[1024], value[200];
    (void)method, (void)version, (void)upload, (void)upload_size, (void)state;
    snprintf(request, sizeof request, "%s %s", (const char *)who, url);
    log_request(connection, request);
    rule_value("status", request, value);
    if (value[0]) return send_status(connection, value);
    rule_value("redirect", request, value);
    if (value[0]) return send_redirect(connection, value, NULL);
    if (strcmp(who, "cdn") == 0) return answer_cdn(connection, request, url);
    if (strncmp(url, "/api/models/", 12) == 0) return answer_listing(connection, request, url + 12);
    return answer_resolve(connection, request, url);
}

/* ---- start and end ---- */

/* Paths stay as they were sent: %2F in a revision is not a folder. */
static size_t leave_escapes(void *context, struct MHD_Connection *connection, char *text)
{
    (void)context, (void)connection;
    return strlen(text);
}

static struct MHD_Daemon *start(const char *who, uint32_t host, unsigned *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(host)}};
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, answer, (void *)(uintptr_t)who, MHD_OPTION_SOCK_ADDR,
        (struct sockaddr *)&address, MHD_OPTION_UNESCAPE_CALLBACK, leave_escapes, NULL, MHD_OPTION_END);
    const union MHD_DaemonInfo *info = daemon ? MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT) : NULL;
    *port = info ? info->port : 0;
    return daemon;
}

int main(int argc, char **argv)
{
    sigset_t ends;
    int number;
    unsigned port = 0;
    if (argc != 2) return fputs("usage: hub_server ROOT\n", stderr), 2;
    server.root = argv[1];
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &ends, NULL);
    signal(SIGPIPE, SIG_IGN);
    alarm(LIFE_SECONDS);
    struct MHD_Daemon *cdn = start("cdn", 0x7f000002, &server.cdn_port), *hub = start("hub", 0x7f000001, &port);
    char path[1024], ready[1024];
    snprintf(path, sizeof path, "%s/address.part", server.root);
    snprintf(ready, sizeof ready, "%s/address", server.root);
    FILE *file = cdn && hub ? fopen(path, "w") : NULL;
    if (!file) return fputs("hub_server: cannot listen on 127.0.0.1 and 127.0.0.2, or write to ROOT\n", stderr), 1;
    fprintf(file, "http://127.0.0.1:%u\nhttp://127.0.0.2:%u\n", port, server.cdn_port);
    fclose(file);
    if (rename(path, ready) != 0) return 1;
    sigwait(&ends, &number);
    MHD_stop_daemon(hub);
    MHD_stop_daemon(cdn);
    return 0;
}
