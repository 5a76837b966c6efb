/* distill.c -- the public door to the making of encoders (encoder/train/). */
#include "encoder/recurrent_config.h"
#include "encoder/static_table.h"
#include "encoder/train/compress_model.h"
#include "encoder/train/distill_static.h"
#include "encoder/train/encoder_training.h"
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

static mneme_train_encoder_options whole_options(const mneme_train_encoder_options *options)
{
    mneme_train_encoder_options own = MNEME_TRAIN_ENCODER_OPTIONS_INIT;
    if (options) memcpy(&own, options, options->size < sizeof own ? options->size : sizeof own);
    return own;
}

typedef enum kind { TRANSFORMER, RECURRENT, TABLE } kind;

static kind kind_of(const mneme_train_encoder_options *options)
{
    if (options->from)
        return mn_static_is(options->from) ? TABLE : mn_recurrent_is(options->from) ? RECURRENT : TRANSFORMER;
    return options->cell == MNEME_CELL_STATIC        ? TABLE
           : options->cell == MNEME_CELL_TRANSFORMER ? TRANSFORMER
                                                     : RECURRENT;
}

/* A recurrent model takes ten times the steps of a Transformer, which was trained on far more than what is here. A
 * table's: docs/static-encoder.md has the rates that were tried. */
mneme_train_options mneme_train_encoder_defaults(const mneme_train_encoder_options *options)
{
    static const struct {
        double distill, other;
    } rates[] = {[TRANSFORMER] = {3e-4, 3e-5}, [RECURRENT] = {3e-3, 3e-4}, [TABLE] = {1.5e-3, 3e-3}};
    mneme_train_encoder_options own = whole_options(options);
    mneme_train_options train = MNEME_TRAIN_OPTIONS_INIT;
    bool distill = own.method == MNEME_TRAIN_DISTILL;
    kind model = kind_of(&own);
    train.epochs = !distill ? 3 : model == TABLE ? 8 : 5;
    train.learning_rate = distill ? rates[model].distill : rates[model].other;
    train.warm_up = distill ? 100 : 10;
    train.weight_decay = 0;
    train.batch = 128;
    return train;
}

mneme_status mneme_train_encoder(const mneme_encoder *teacher, const mneme_train_encoder_options *options,
                                 const char *folder, mneme_train_encoder_result *result, mneme_error *error)
{
    mneme_train_encoder_options own = whole_options(options);
    mneme_train_options train = mneme_train_encoder_defaults(&own);
    if (own.train) memcpy(&train, own.train, own.train->size < sizeof train ? own.train->size : sizeof train);
    own.train = &train;
    mneme_train_encoder_result unwanted;
    if (!folder || !*folder) return mn_fail(error, MNEME_ERR_USAGE, "no folder to train into");
    return mn_train_encoder(teacher ? teacher->encoder : NULL, &own, folder, result ? result : &unwanted, error);
}

mneme_status mneme_compress_model(const char *from, const mneme_compress_options *options, const char *folder,
                                  mneme_error *error)
{
    mneme_compress_options own = MNEME_COMPRESS_OPTIONS_INIT;
    if (options) memcpy(&own, options, options->size < sizeof own ? options->size : sizeof own);
    if (!from || !*from || !folder || !*folder)
        return mn_fail(error, MNEME_ERR_USAGE, "no folder to compress, or none to write to");
    return mn_compress_model(from, &own, folder, error);
}
