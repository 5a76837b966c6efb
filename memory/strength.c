/* strength.c -- the formulas of strength.h. */
#include "memory/strength.h"

#include <math.h>

#define DAY_MS             86400000.0
#define HALF_LIFE_MAX_DAYS 1000000.0 /* the setting's own limit */

mn_strength_model mn_strength_model_of(const mn_settings_values *values)
{
    return (mn_strength_model){.importance = values->memory_importance_level,
                               .half_life_days = values->memory_half_life_days,
                               .use_gain = values->memory_use_gain,
                               .half_life_growth = values->memory_half_life_growth,
                               .spacing = values->memory_spacing};
}

double mn_fade(double age_days, double half_life_days)
{
    if (!(age_days > 0) || !(half_life_days > 0)) return 1;
    return exp2(-age_days / half_life_days);
}

static double days_since(int64_t then_ms, int64_t now_ms)
{
    return now_ms > then_ms ? ((double)now_ms - (double)then_ms) / DAY_MS : 0;
}

mn_strength_state mn_strength_state_of(const mn_strength_model *model, const mn_record *record, const mn_strength *kept)
{
    if (kept->used)
        return (mn_strength_state){
            .level = (double)kept->level, .half_life_days = (double)kept->half_life_days, .last_ms = kept->last_ms};
    return (mn_strength_state){.level = record->has_importance ? (double)record->importance : model->importance,
                               .half_life_days = model->half_life_days,
                               .last_ms = record->written_ms};
}

double mn_strength_at(const mn_strength_state *state, int64_t now_ms)
{
    double strength = state->level * mn_fade(days_since(state->last_ms, now_ms), state->half_life_days);
    return strength > 1 ? 1 : strength;
}

/* How much of the growth a gap earns. */
static double spaced(const mn_strength_model *model, double gap_days, double half_life_days)
{
    double full = model->spacing * half_life_days;
    if (!(half_life_days > 0) || gap_days >= full) return gap_days > 0 ? 1 : 0;
    return gap_days / full;
}

mn_strength_state mn_strength_used(const mn_strength_model *model, const mn_strength_state *state, double attention,
                                   int64_t now_ms)
{
    double gap = days_since(state->last_ms, now_ms), gain = model->use_gain * attention;
    double strength = mn_strength_at(state, now_ms), half_life = state->half_life_days;
    if (gain > 1) gain = 1;
    half_life *= 1 + model->half_life_growth * attention * spaced(model, gap, half_life);
    return (mn_strength_state){.level = strength + gain * (1 - strength),
                               .half_life_days = half_life < HALF_LIFE_MAX_DAYS ? half_life : HALF_LIFE_MAX_DAYS,
                               .last_ms = now_ms > state->last_ms ? now_ms : state->last_ms};
}

void mn_strength_keep_use(const mn_strength_model *model, const mn_record *record, double attention, int64_t now_ms,
                          mn_strength *kept)
{
    mn_strength_state state = mn_strength_state_of(model, record, kept);
    state = mn_strength_used(model, &state, attention, now_ms);
    kept->used = true;
    kept->level = (float)state.level;
    kept->half_life_days = (float)state.half_life_days;
    kept->last_ms = state.last_ms;
    if (kept->uses < UINT32_MAX) kept->uses++;
}
