/* lm.c -- the public door to language models (encoder/train/). */
#include "common/memory.h"
#include "encoder/train/lm_folder.h"
#include "encoder/train/lm_generate.h"
#include "encoder/train/lm_train.h"

#include <string.h>

struct mneme_lm {
    mn_language_model *model;
    mn_lm_vocabulary vocabulary;
};

mneme_status mneme_train_lm(const mneme_lm_options *options, const char *folder, mneme_train_result *result,
                            mneme_error *error)
{
    if (result) *result = (mneme_train_result){0};
    if (!options) return mn_fail(error, MNEME_ERR_USAGE, "no options: there are no texts to learn from");
    if (!folder || !*folder) return mn_fail(error, MNEME_ERR_USAGE, "no folder to train into");
    mneme_lm_options own = MNEME_LM_OPTIONS_INIT;
    mneme_train_options train = MNEME_TRAIN_OPTIONS_INIT;
    memcpy(&own, options, options->size < sizeof own ? options->size : sizeof own);
    if (own.train) memcpy(&train, own.train, own.train->size < sizeof train ? own.train->size : sizeof train);
    own.train = &train;
    return mn_lm_train(&own, folder, result, error);
}

mneme_status mneme_lm_open(const char *folder, mneme_lm **out, mneme_error *error)
{
    *out = NULL;
    mneme_lm *lm = mn_alloc_zeroed(1, sizeof *lm);
    if (!lm) return mn_fail_memory(error, "a language model");
    mneme_status status = folder && *folder ? mn_lm_folder_load(folder, &lm->model, &lm->vocabulary, error)
                                            : mn_fail(error, MNEME_ERR_USAGE, "no folder given");
    if (status == MNEME_OK)
        *out = lm;
    else
        mn_free(lm);
    return status;
}

void mneme_lm_close(mneme_lm *lm)
{
    if (!lm) return;
    mn_language_model_free(lm->model);
    mn_lm_vocabulary_free(&lm->vocabulary);
    mn_free(lm);
}

mneme_lm_info mneme_lm_get_info(const mneme_lm *lm)
{
    const mn_lm_config *c = &lm->model->config;
    return (mneme_lm_info){.cell = c->cell,
                           .layers = c->layers,
                           .hidden = c->hidden,
                           .steps_back = c->steps_back,
                           .vocabulary = c->vocabulary,
                           .n_parameters = mn_parameters_count(&lm->model->parameters)};
}

mneme_status mneme_lm_generate(mneme_lm *lm, const char *prompt, size_t prompt_size,
                               const mneme_lm_generate_options *options, mneme_lm_output **out, mneme_error *error)
{
    *out = NULL;
    mneme_lm_generate_options own = MNEME_LM_GENERATE_OPTIONS_INIT;
    if (options) memcpy(&own, options, options->size < sizeof own ? options->size : sizeof own);
    mn_buffer text = {0};
    const mneme_lm_text asked = {"the prompt", prompt ? prompt : "", prompt ? prompt_size : 0};
    mneme_status status = mn_lm_write(lm->model, &lm->vocabulary, &asked, &own, &text, error);
    if (status == MNEME_OK) {
        mneme_lm_output *output = mn_alloc(sizeof *output + text.size + 1);
        char *copy = (char *)(output + 1);
        if (output) {
            if (text.size) memcpy(copy, text.data, text.size);
            copy[text.size] = '\0';
            *output = (mneme_lm_output){copy, text.size};
            *out = output;
        } else {
            status = mn_fail_memory(error, "generated text");
        }
    }
    mn_buffer_free(&text);
    return status;
}

void mneme_lm_output_free(mneme_lm_output *output)
{
    mn_free(output);
}
