/* pdf.c -- the text of a PDF file, through the program pdftotext. */
#include "cli/pdf.h"

#include "cli/output.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* Start pdftotext with its output in a pipe; returns 0 or an errno. *fd: the end to read. */
static int start(const char *path, pid_t *child, int *fd)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return errno;
    char *file = path[0] == '-' ? cli_format("./%s", path) : cli_strdup(path);
    char program[] = "pdftotext", quiet[] = "-q", encoding[] = "-enc", utf8[] = "UTF-8", out[] = "-";
    char *arguments[] = {program, quiet, encoding, utf8, file, out, NULL};
    sigset_t ordinary;
    sigemptyset(&ordinary);
    sigaddset(&ordinary, SIGPIPE); /* the command ignores it; its child must not */
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigdefault(&attributes, &ordinary);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    int failure = posix_spawnp(child, program, &actions, &attributes, arguments, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    free(file);
    close(ends[1]);
    if (failure) close(ends[0]);
    else *fd = ends[0];
    return failure;
}

/* Read to the end or to the limit; false: over the limit. A page's end (form feed) becomes a blank line. */
static bool collect(int fd, uint64_t max_size, cli_text *out)
{
    char piece[65536];
    size_t begin = out->size;
    ssize_t size;
    while ((size = read(fd, piece, sizeof piece)) > 0 || (size < 0 && errno == EINTR)) {
        for (ssize_t i = 0; i < size; i++) {
            if (piece[i] == '\f') cli_text_string(out, "\n\n");
            else cli_text_byte(out, piece[i]);
        }
        if (out->size - begin > max_size) return false;
    }
    return true;
}

static int wait_for(pid_t child)
{
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    return status;
}

bool cli_pdf_text(const char *path, uint64_t max_size, cli_text *out, char *reason, size_t reason_size)
{
    pid_t child = 0;
    int fd = -1, failure;
    if (access(path, R_OK) != 0) {
        snprintf(reason, reason_size, "%s", strerror(errno));
        return false;
    }
    failure = start(path, &child, &fd);
    if (failure == ENOENT) {
        snprintf(reason, reason_size,
                 "PDF needs the program pdftotext, which is not installed (package poppler-utils)");
        return false;
    }
    if (failure) {
        snprintf(reason, reason_size, "cannot run pdftotext: %s", strerror(failure));
        return false;
    }
    bool fits = collect(fd, max_size, out);
    close(fd);
    if (!fits) kill(child, SIGTERM);
    int status = wait_for(child);
    if (!fits) snprintf(reason, reason_size, "its text is over the size limit of %s (--max-size)", cli_bytes(max_size));
    else if (status != 0) snprintf(reason, reason_size, "pdftotext cannot read it: broken, or protected by a password");
    return fits && status == 0;
}
