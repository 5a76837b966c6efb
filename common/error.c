/* error.c -- status names and texts, and the caller's error record. */
#include "common/error.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

const char *mneme_status_name(mneme_status status)
{
    switch (status) {
#define NAME_CASE(name, value, text) case MNEME_##name: return "MNEME_" #name;
        MNEME_STATUS_MAP(NAME_CASE)
#undef NAME_CASE
    }
    return "MNEME_ERR_UNKNOWN";
}

const char *mneme_status_text(mneme_status status)
{
    switch (status) {
#define TEXT_CASE(name, value, text) case MNEME_##name: return text;
        MNEME_STATUS_MAP(TEXT_CASE)
#undef TEXT_CASE
    }
    return "unknown status";
}

const char *mneme_version(void)
{
    return MNEME_VERSION;
}

int mneme_abi(void)
{
    return MNEME_ABI;
}

/* Keep the record one line of whole UTF-8 characters, whatever a file name or a backend put into it. */
static void tidy(char *message, size_t capacity)
{
    size_t size = strnlen(message, capacity - 1);
    if (size == capacity - 1) { /* cut by snprintf: drop a torn last character */
        while (size > 0 && ((unsigned char)message[size - 1] & 0xC0u) == 0x80u) size--;
        if (size > 0 && (unsigned char)message[size - 1] >= 0xC0u) size--;
    }
    message[size] = '\0';
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)message[i] < 0x20) message[i] = ' ';
}

static void write_message(mneme_error *error, mneme_status code, const char *format, va_list arguments)
{
    error->code = code;
    vsnprintf(error->message, sizeof error->message, format, arguments);
    tidy(error->message, sizeof error->message);
}

mneme_status mn_fail(mneme_error *error, mneme_status code, const char *format, ...)
{
    if (error) {
        va_list arguments;
        va_start(arguments, format);
        write_message(error, code, format, arguments);
        va_end(arguments);
    }
    return code;
}

static mneme_status status_of_errno(int errno_value)
{
    switch (errno_value) {
    case ENOSPC:
    case EDQUOT: return MNEME_ERR_DISK_FULL;
    case EACCES:
    case EPERM:
    case EROFS: return MNEME_ERR_PERMISSION;
    case ENOENT: return MNEME_ERR_NOT_FOUND;
    case ENOMEM: return MNEME_ERR_MEMORY;
    default: return MNEME_ERR_IO;
    }
}

mneme_status mn_fail_errno(mneme_error *error, int errno_value, const char *format, ...)
{
    mneme_status code = status_of_errno(errno_value);
    if (error) {
        va_list arguments;
        va_start(arguments, format);
        write_message(error, code, format, arguments);
        va_end(arguments);
        char buffer[128];
        const char *reason = strerror_r(errno_value, buffer, sizeof buffer); /* the GNU form: never NULL */
        size_t used = strlen(error->message);
        snprintf(error->message + used, sizeof error->message - used, ": %s", reason);
        tidy(error->message, sizeof error->message);
    }
    return code;
}

mneme_status mn_fail_memory(mneme_error *error, const char *what)
{
    return mn_fail(error, MNEME_ERR_MEMORY, "out of memory (%s)", what);
}

void mn_error_prefix(mneme_error *error, const char *format, ...)
{
    if (!error) return;
    char before[sizeof error->message];
    memcpy(before, error->message, sizeof before);
    va_list arguments;
    va_start(arguments, format);
    int used = vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    if (used < 0) used = 0;
    if ((size_t)used < sizeof error->message)
        snprintf(error->message + used, sizeof error->message - (size_t)used, "%s", before);
    tidy(error->message, sizeof error->message);
}
