/* digest.c -- SHA-256 and git's blob SHA-1 through libcrypto, loaded when first needed (lazy_library.h).
 *
 * libcrypto, since it has both and libcurl brings it along; SHA-1 is here git's name for a file, not a seal. */
#include "cli/digest.h"

#include "cli/lazy_library.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct crypto {
    bool loaded;
    EVP_MD_CTX *(*new)(void);
    void (*free)(EVP_MD_CTX *);
    int (*init)(EVP_MD_CTX *, const EVP_MD *, ENGINE *);
    int (*update)(EVP_MD_CTX *, const void *, size_t);
    int (*final)(EVP_MD_CTX *, unsigned char *, unsigned int *);
    const EVP_MD *(*sha1)(void);
    const EVP_MD *(*sha256)(void);
} crypto;

static bool load_crypto(char *reason, size_t reason_size)
{
    static const char *const names[] = {"libcrypto.so.3", "libcrypto.so.1.1", NULL};
    const cli_lazy_symbol symbols[] = {
        {"EVP_MD_CTX_new", &crypto.new},       {"EVP_MD_CTX_free", &crypto.free},
        {"EVP_DigestInit_ex", &crypto.init},   {"EVP_DigestUpdate", &crypto.update},
        {"EVP_DigestFinal_ex", &crypto.final}, {"EVP_sha1", &crypto.sha1},
        {"EVP_sha256", &crypto.sha256},
    };
    if (!crypto.loaded)
        crypto.loaded = cli_lazy_load(names, symbols, sizeof symbols / sizeof *symbols, "libssl3", reason, reason_size);
    return crypto.loaded;
}

cli_digest cli_digest_kind(const char *text)
{
    size_t size = strspn(text, "0123456789abcdef");
    if (text[size]) return CLI_DIGEST_NONE;
    return size == 64 ? CLI_DIGEST_SHA256 : size == 40 ? CLI_DIGEST_GIT_BLOB : CLI_DIGEST_NONE;
}

const char *cli_digest_name(cli_digest kind)
{
    return kind == CLI_DIGEST_SHA256 ? "sha256" : kind == CLI_DIGEST_GIT_BLOB ? "git sha1" : "size";
}

/* Feed the rest of `fd`; false with errno when it cannot be read. */
static bool feed_file(EVP_MD_CTX *context, int fd)
{
    unsigned char piece[1 << 16];
    ssize_t size;
    while ((size = read(fd, piece, sizeof piece)) > 0)
        if (!crypto.update(context, piece, (size_t)size)) return errno = ENOMEM, false;
    return size == 0;
}

static bool digest_fd(EVP_MD_CTX *context, int fd, cli_digest kind, unsigned char *bytes, unsigned *n_bytes)
{
    struct stat info;
    errno = ENOMEM;
    if (!context || !crypto.init(context, kind == CLI_DIGEST_SHA256 ? crypto.sha256() : crypto.sha1(), NULL))
        return false;
    if (fstat(fd, &info) != 0) return false;
    char head[40];
    int head_size = snprintf(head, sizeof head, "blob %lld", (long long)info.st_size) + 1; /* the NUL belongs to it */
    if (kind == CLI_DIGEST_GIT_BLOB && !crypto.update(context, head, (size_t)head_size)) return false;
    return feed_file(context, fd) && crypto.final(context, bytes, n_bytes);
}

bool cli_digest_file(const char *path, cli_digest kind, char out[CLI_DIGEST_TEXT], char *reason, size_t reason_size)
{
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned n_bytes = 0;
    out[0] = '\0';
    if (!load_crypto(reason, reason_size)) return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    EVP_MD_CTX *context = crypto.new();
    bool fine = fd >= 0 && digest_fd(context, fd, kind, bytes, &n_bytes);
    if (!fine) snprintf(reason, reason_size, "cannot read %s: %s", path, strerror(errno));
    for (unsigned i = 0; fine && i < n_bytes && i < 32; i++) snprintf(out + 2 * i, 3, "%02x", bytes[i]);
    crypto.free(context);
    if (fd >= 0) close(fd);
    return fine;
}
