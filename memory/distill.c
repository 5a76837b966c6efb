/* distill.c -- the public door to distillation (encoder/train/). */
#include "encoder/train/distill_static.h"
#include "memory/handle.h"

#include <string.h>

mneme_status mneme_distill_static(const mneme_encoder *teacher, const mneme_distill_options *options,
                                  const char *folder, mneme_error *error)
{
    mneme_distill_options own = MNEME_DISTILL_OPTIONS_INIT;
    if (options) memcpy(&own, options, options->size < sizeof own ? options->size : sizeof own);
    if (!folder || !*folder) return mn_fail(error, MNEME_ERR_USAGE, "no folder to distil into");
    return mn_distill_static(teacher->encoder, &own, folder, error);
}
