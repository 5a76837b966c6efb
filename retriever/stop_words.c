/* stop_words.c -- Snowball's list for English (snowballstem.org/algorithms/english/stop.txt), without its contractions
 * that are spelt like other words once the apostrophe is gone ("can't", "won't"). */
#include "retriever/stop_words.h"

#include <stddef.h>
#include <string.h>

static const char g_english[] =
    "i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her hers herself it "
    "its itself they them their theirs themselves what which who whom this that these those am is are was were be been "
    "being have has had having do does did doing would should could ought isn't aren't wasn't weren't hasn't haven't "
    "hadn't doesn't don't didn't wouldn't shouldn't couldn't mustn't cannot a an the and but if or because as until "
    "while of at by for with about against between into through during before after above below to from up down in out "
    "on off over under again further then once here there when where why how all any both each few more most other some "
    "such no nor not only own same so than too very";

const char *mn_stop_words(const char *language)
{
    return strcmp(language, "english") == 0 || strcmp(language, "porter") == 0 ? g_english : NULL;
}
