/* model_list.c -- mneme model list: the models in the folders of encoder.path.
 *
 * A model is not opened for it, which would read its weights: what is shown is what its config.json says. */
#include "cli/model_folders.h"
#include "cli/model_verbs.h"
#include "cli/output.h"
#include "cli/path.h"
#include "cli/shard_names.h"

#include <dirent.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct model_row {
    char *name, *path, *kind;  /* kind: config.json's model_type; "" = it says none */
    uint64_t dimension, bytes; /* dimension 0: not said */
    bool used, link, has_weights;
} model_row;

typedef struct model_rows {
    model_row *items;
    size_t n, capacity;
} model_rows;

/* ---- gathering ---- */

static uint64_t summed_bytes; /* nftw has no context */

static int add_size(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)path, (void)place;
    if (kind == FTW_F && S_ISREG(info->st_mode)) summed_bytes += (uint64_t)info->st_size;
    return 0;
}

/* Bytes of all files below the folder; symbolic links inside are followed, as the hub's own cache is made of them. */
static uint64_t folder_bytes(const char *path)
{
    char *real = realpath(path, NULL);
    summed_bytes = 0;
    if (real) nftw(real, add_size, 16, 0);
    free(real);
    return summed_bytes;
}

static model_row describe(const char *name, const char *path)
{
    struct stat info;
    json_t *config = cli_model_json(path, "config.json");
    const char *kind = json_string_value(json_object_get(config, "model_type"));
    const json_t *output = json_object_get(config, "output_size"); /* of a recurrent encoder; its hidden size differs */
    json_int_t dimension = json_integer_value(output ? output : json_object_get(config, "hidden_size"));
    model_row row = {.name = cli_strdup(name),
                     .path = cli_strdup(path),
                     .kind = cli_strdup(kind ? kind : ""),
                     .dimension = dimension > 0 ? (uint64_t)dimension : 0,
                     .bytes = folder_bytes(path),
                     .link = lstat(path, &info) == 0 && S_ISLNK(info.st_mode),
                     .has_weights = cli_weights_bytes(path) > 0};
    json_decref(config);
    return row;
}

static int visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* A model is a folder with a config.json. */
static void gather(model_rows *rows, const char *folder)
{
    struct dirent **entries = NULL;
    int n = scandir(folder, &entries, visible, by_name);
    for (int i = 0; i < n; i++) {
        char *path = cli_path_join(folder, entries[i]->d_name), *config = cli_path_join(path, "config.json");
        if (access(config, F_OK) == 0) {
            if (rows->n == rows->capacity) {
                rows->capacity = rows->capacity ? 2 * rows->capacity : 8;
                rows->items = cli_realloc(rows->items, rows->capacity, sizeof *rows->items);
            }
            rows->items[rows->n++] = describe(entries[i]->d_name, path);
        }
        free(config);
        free(path);
        free(entries[i]);
    }
    free(entries);
}

/* The first of the name in use is the one; encoder.model may also name a folder. */
static void mark_used(model_rows *rows, const char *in_use)
{
    bool found = false;
    for (size_t i = 0; i < rows->n; i++) {
        model_row *row = &rows->items[i];
        char *wanted = strchr(in_use, '/') ? cli_path_absolute(in_use) : NULL;
        row->used = !found && strcmp(wanted ? wanted : in_use, wanted ? row->path : row->name) == 0;
        found = found || row->used;
        free(wanted);
    }
}

/* ---- showing ---- */

static int widest_name(const model_rows *rows)
{
    size_t width = 0;
    for (size_t i = 0; i < rows->n; i++) {
        size_t columns = cli_columns(rows->items[i].name, strlen(rows->items[i].name));
        if (columns > width) width = columns;
    }
    return width < 60 ? (int)width : 60;
}

/* "* all-MiniLM-L6-v2  bert   384 floats    91 MB  /home/..." */
static void print_row(const model_row *row, int width)
{
    int gap = width - (int)cli_columns(row->name, strlen(row->name));
    char dimension[32] = "?";
    if (row->dimension) snprintf(dimension, sizeof dimension, "%llu", (unsigned long long)row->dimension);
    cli_print("%s %s%s%s%*s  %-8s %5s floats  %8s  %s%s\n", row->used ? "*" : " ",
              cli_style_on(row->used ? CLI_BOLD : CLI_PLAIN), row->name, cli_style_off(), gap > 0 ? gap : 0, "",
              *row->kind ? row->kind : "?", dimension, row->has_weights ? cli_bytes(row->bytes) : "no weights",
              row->path, row->link ? " (link)" : "");
}

static json_t *row_json(const model_row *row)
{
    json_t *object = json_object();
    cli_json_put(object, "name", row->name);
    cli_json_put(object, "path", row->path);
    cli_json_put(object, "kind", *row->kind ? row->kind : NULL);
    if (row->dimension) cli_json_count(object, "dimension", row->dimension);
    cli_json_count(object, "bytes", row->bytes);
    json_object_set_new(object, "link", json_boolean(row->link));
    json_object_set_new(object, "weights", json_boolean(row->has_weights));
    json_object_set_new(object, "in_use", json_boolean(row->used));
    return object;
}

static void show(const cli_global *global, const model_rows *rows, const char *in_use, const char *path)
{
    if (global->json) {
        json_t *object = json_object(), *list = json_array();
        for (size_t i = 0; i < rows->n; i++) json_array_append_new(list, row_json(&rows->items[i]));
        json_object_set_new(object, "models", list);
        cli_json_put(object, "path", path);
        cli_json_put(object, "encoder.model", in_use);
        cli_print_json(object);
        return;
    }
    bool used = false;
    for (size_t i = 0; i < rows->n; i++) {
        print_row(&rows->items[i], widest_name(rows));
        used = used || rows->items[i].used;
    }
    if (rows->n == 0)
        cli_say("no model in %s; scripts/setup fetches the default one, 'mneme model pull NAME' one from a hub, 'mneme "
                "model add DIR' takes yours",
                *path ? path : "encoder.path, which is empty");
    else if (!used)
        cli_say("the one in use, encoder.model = %s, is not among them", in_use);
}

int cli_model_list(const cli_global *global, const mneme_settings *settings)
{
    const char *path = cli_setting_text(settings, "encoder.path", NULL), *at = path;
    const char *in_use = cli_setting_text(settings, "encoder.model", NULL);
    model_rows rows = {0};
    for (char *folder = cli_next_folder(&at); folder; folder = cli_next_folder(&at)) {
        gather(&rows, folder);
        free(folder);
    }
    mark_used(&rows, in_use);
    show(global, &rows, in_use, path);
    for (size_t i = 0; i < rows.n; i++) {
        free(rows.items[i].name);
        free(rows.items[i].path);
        free(rows.items[i].kind);
    }
    free(rows.items);
    return rows.n ? CLI_EXIT_DONE : CLI_EXIT_NO;
}
