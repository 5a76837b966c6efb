/* new_folder.c -- see new_folder.h. */
#include "encoder/train/new_folder.h"

#include "common/file.h"
#include "common/memory.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)info, (void)kind, (void)place;
    return remove(path);
}

static void remove_folder(const char *folder)
{
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

mneme_status mn_folder_holds_model(const char *folder, bool *holds, mneme_error *error)
{
    char *config = mn_path_join(folder, "config.json");
    if (!config) return mn_fail_memory(error, "path");
    *holds = mn_file_exists(config);
    mn_free(config);
    return MNEME_OK;
}

mneme_status mn_new_folder_check(const char *folder, bool replace, mneme_error *error)
{
    struct stat info;
    if (lstat(folder, &info) != 0)
        return errno == ENOENT ? MNEME_OK : mn_fail_errno(error, errno, "cannot write %s", folder);
    if (!replace)
        return mn_fail(error, MNEME_ERR_USAGE, "%s exists already; give another name, or replace it (--force)", folder);
    bool is_model = false;
    mneme_status status = S_ISDIR(info.st_mode) ? mn_folder_holds_model(folder, &is_model, error) : MNEME_OK;
    if (status == MNEME_OK && !is_model)
        status =
            mn_fail(error, MNEME_ERR_USAGE, "%s is no model's folder, and is not replaced; give another name", folder);
    return status;
}

mneme_status mn_new_folder_begin(mn_new_folder *out, const char *folder, bool replace, mneme_error *error)
{
    *out = (mn_new_folder){.folder = folder, .replace = replace};
    mn_buffer part = {0}, old = {0};
    mn_buffer_format(&part, "%s.part-%ld", folder, (long)getpid());
    mn_buffer_format(&old, "%s.old-%ld", folder, (long)getpid());
    mneme_status status = mn_new_folder_check(folder, replace, error);
    if (status == MNEME_OK && (part.failed || old.failed)) status = mn_fail_memory(error, "path");
    if (status != MNEME_OK) {
        mn_buffer_free(&part);
        mn_buffer_free(&old);
        return status;
    }
    out->part = part.data;
    out->old = old.data;
    status = mn_make_directories(out->part, 0755, error);
    out->made = status == MNEME_OK;
    return status;
}

static mneme_status move_into_place(const mn_new_folder *made, mneme_error *error)
{
    bool had = made->replace && mn_is_directory(made->folder);
    if (had && rename(made->folder, made->old) != 0)
        return mn_fail_errno(error, errno, "cannot rename %s to %s", made->folder, made->old);
    if (rename(made->part, made->folder) == 0) {
        if (had) remove_folder(made->old);
        return MNEME_OK;
    }
    mneme_status status = mn_fail_errno(error, errno, "cannot rename %s to %s", made->part, made->folder);
    if (had && rename(made->old, made->folder) != 0)
        status = mn_fail_errno(error, errno, "cannot rename %s back to %s", made->old, made->folder);
    return status;
}

mneme_status mn_new_folder_end(mn_new_folder *made, mneme_status so_far, mneme_error *error)
{
    mneme_status status = so_far == MNEME_OK ? move_into_place(made, error) : so_far;
    if (status != MNEME_OK && made->made) remove_folder(made->part);
    mn_free(made->part);
    mn_free(made->old);
    *made = (mn_new_folder){0};
    return status;
}
