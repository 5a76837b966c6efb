/* path.c -- paths as text, for the command. */
#include "cli/path.h"

#include "cli/text.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *cli_path_join(const char *folder, const char *name)
{
    if (name[0] == '/' || !folder[0] || strcmp(folder, ".") == 0) return cli_strdup(name);
    bool slash = folder[strlen(folder) - 1] == '/';
    return cli_format("%s%s%s", folder, slash ? "" : "/", name);
}

/* Take the last part off `path`; false when there is none that ".." could take off. */
static bool drop_part(cli_text *path, bool absolute)
{
    size_t size = path->size;
    if (size == (size_t)absolute) return absolute; /* "/.." is "/" */
    size_t start = size;
    while (start > 0 && path->data[start - 1] != '/') start--;
    if (size - start == 2 && memcmp(path->data + start, "..", 2) == 0) return false;
    if (start > (size_t)absolute) start--;
    path->size = start;
    path->data[start] = '\0';
    return true;
}

char *cli_path_normalize(const char *path)
{
    bool absolute = path[0] == '/';
    cli_text out = {0};
    if (absolute) cli_text_byte(&out, '/');
    while (*path) {
        size_t size = strcspn(path, "/");
        bool up = size == 2 && path[0] == '.' && path[1] == '.';
        if (size > 0 && !(size == 1 && path[0] == '.') && !(up && drop_part(&out, absolute))) {
            if (out.size > (size_t)absolute) cli_text_byte(&out, '/');
            cli_text_append(&out, path, size);
        }
        path += size + (path[size] == '/');
    }
    if (out.size == 0) cli_text_byte(&out, '.');
    return cli_text_take(&out);
}

char *cli_path_absolute(const char *path)
{
    char *here = path[0] == '/' ? NULL : getcwd(NULL, 0);
    char *joined = here ? cli_path_join(here, path) : cli_strdup(path);
    char *normal = cli_path_normalize(joined);
    free(joined);
    free(here);
    return normal;
}

const char *cli_path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

const char *cli_path_below(const char *path, const char *folder)
{
    if (strcmp(path, folder) == 0) return ".";
    if (strcmp(folder, ".") == 0)
        return path[0] == '/' || (strncmp(path, "..", 2) == 0 && (!path[2] || path[2] == '/')) ? NULL : path;
    size_t size = strlen(folder);
    if (strncmp(path, folder, size) != 0) return NULL;
    if (folder[size - 1] == '/') return path + size;
    return path[size] == '/' ? path + size + 1 : NULL;
}

bool cli_is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}
