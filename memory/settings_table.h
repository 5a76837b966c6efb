/* settings_table.h -- what settings.c and settings_yaml.c share: a row of the table, and ranks. */
#ifndef MN_MEMORY_SETTINGS_TABLE_H
#define MN_MEMORY_SETTINGS_TABLE_H

#include "common/error.h"

typedef enum mn_setting_type { MN_SETTING_TEXT, MN_SETTING_INTEGER, MN_SETTING_NUMBER } mn_setting_type;

typedef enum mn_setting_rank {
    MN_RANK_DEFAULT,
    MN_RANK_FILE,
    MN_RANK_ENVIRONMENT,
    MN_RANK_COMMAND_LINE
} mn_setting_rank;

typedef struct mn_setting_spec {
    const char *name;
    mn_setting_type type;
    const char *fallback;
    double least, most;  /* numbers: the range. Texts: the fewest bytes; no upper limit */
    bool or_zero;        /* 0 is allowed below `least`, too: it stands for "choose for me" */
    const char *choices; /* "a|b|c"; NULL = any text */
    size_t field;        /* offset in mn_settings_values */
    const char *summary;
} mn_setting_spec;

/* Set a value unless one of a higher rank is there; origin NULL = "default". ERR_SETTING says which values are allowed,
 * or which name is the nearest known one. */
mneme_status mn_settings_assign(mneme_settings *settings, const char *name, const char *value, const char *origin,
                                mn_setting_rank rank, mneme_error *error);

/* Exchange all values. */
void mn_settings_swap(mneme_settings *a, mneme_settings *b);

#endif
