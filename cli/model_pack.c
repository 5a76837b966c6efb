/* model_pack.c -- mneme model pack: make the packed file of a model now, so that the first query need not. */
#include "cli/model_folders.h"
#include "cli/model_verbs.h"
#include "cli/output.h"

#include <string.h>
#include <sys/stat.h>

/* Opening a model packs it where it can, and says nothing where it cannot. */
static void say_why_not(const mneme_settings *settings, const char *model)
{
    const char *cache = cli_setting_text(settings, "encoder.cache", NULL);
    if (strcmp(cli_setting_text(settings, "encoder.kernels", NULL), "reference") == 0)
        cli_complain("%s is not packed: encoder.kernels is reference, which packs nothing", model);
    else if (!*cache)
        cli_complain("%s is not packed: encoder.cache is empty", model);
    else
        cli_complain(
            "%s is not packed: cannot write into encoder.cache, %s; it must be a folder that may be written, with "
            "room for the weights",
            model, cache);
}

int cli_model_pack(const cli_global *global, mneme_settings *settings, const char *model)
{
    mneme_encoder *encoder = NULL;
    int code = cli_model_open(settings, model, &encoder);
    if (code != CLI_GO_ON) return code;
    mneme_encoder_info info = mneme_encoder_get_info(encoder);
    struct stat file;
    bool packed = info.packed_file && stat(info.packed_file, &file) == 0;
    if (!packed) {
        say_why_not(settings, info.name);
    } else if (global->json) {
        json_t *object = json_object();
        cli_json_put(object, "model", info.name);
        cli_json_put(object, "precision", info.precision);
        cli_json_put(object, "kernels", info.kernels);
        cli_json_put(object, "packed_file", info.packed_file);
        cli_json_count(object, "bytes", (uint64_t)file.st_size);
        cli_print_json(object);
    } else {
        cli_say("%s for %s on %s: %.1f MB in %s", info.name, info.precision, info.kernels, (double)file.st_size / 1e6,
                info.packed_file);
    }
    mneme_encoder_close(encoder);
    return packed ? CLI_EXIT_DONE : CLI_EXIT_FAILURE;
}
