/* source_id.c -- the name under which a file's records are kept. */
#include "cli/source_id.h"

#include "cli/path.h"
#include "cli/text.h"

#include <stdlib.h>
#include <string.h>

/* The absolute path of the folder that holds the store; NULL when the store is not called .mneme. Owned. */
static char *project_folder(const char *store)
{
    char *absolute = cli_path_absolute(store);
    const char *name = cli_path_base(absolute);
    size_t size = (size_t)(name - absolute);
    bool is_project = strcmp(name, ".mneme") == 0;
    if (is_project) absolute[size > 1 ? size - 1 : size] = '\0';
    if (is_project) return absolute;
    free(absolute);
    return NULL;
}

/* `path` below `folder` by their letters, else by where they really lie; owned, NULL when it is not below. */
static char *below(const char *path, const char *folder)
{
    char *absolute = cli_path_absolute(path);
    char *name = cli_strdup(cli_path_below(absolute, folder));
    free(absolute);
    if (name) return name;
    char *real = realpath(path, NULL), *real_folder = realpath(folder, NULL);
    if (real && real_folder) name = cli_strdup(cli_path_below(real, real_folder));
    free(real_folder);
    free(real);
    return name;
}

char *cli_source_id(const char *path, const char *store)
{
    char *folder = project_folder(store);
    char *id = folder ? below(path, folder) : NULL;
    free(folder);
    return id ? id : cli_path_normalize(path);
}
