/* strength.h -- how strong a memory is: the formulas, and nothing else. Pure functions; docs/dynamics.md explains them.
 *
 *     at writing    S = importance (0..1; importance.h), H = half_life, last = the time of writing
 *     at a time t   S(t) = S * 2^(-(t - last) / H)                                   fading
 *     a use at t with attention a, after the gap g = t - last:
 *                   S = S(t) + gain * a * (1 - S(t))                                 strengthening
 *                   H = H * (1 + growth * a * min(1, g / (spacing * H)))             spacing
 *                   last = t
 *
 * Fading: the forgetting curve (Ebbinghaus 1885) as an exponential whose stability rehearsal raises: MemoryBank (Zhong
 * et al. 2023), R = e^(-t / S); as a half-life in Settles, Meeder 2016, "A Trainable Spaced Repetition Model for
 * Language Learning". Departures: MemoryBank adds a day to S at every recall and makes R 1 again; here a use counts by
 * the attention it got and goes a share of the way to 1, and it lengthens the half-life in proportion to the gap before
 * it, in full from `spacing` of the half-life on (the best gap is 10 to 20 % of the time that is to be bridged: Cepeda
 * et al. 2008, "Spacing Effects in Learning"). growth 1.5 is SM-2's first ease factor of 2.5 (Wozniak 1990). A use at
 * once after another lengthens nothing. */
#ifndef MN_MEMORY_STRENGTH_H
#define MN_MEMORY_STRENGTH_H

#include "memory/settings.h"
#include "memstore/store.h"

typedef struct mn_strength_model {
    double importance;     /* of a record that has none */
    double half_life_days; /* of a new memory; 0 = it never fades */
    double use_gain, half_life_growth, spacing;
} mn_strength_model;

mn_strength_model mn_strength_model_of(const mn_settings_values *values);

/* What the formulas work on. */
typedef struct mn_strength_state {
    double level, half_life_days; /* at last_ms; half_life_days 0 = it never fades */
    int64_t last_ms;              /* the last use, else the writing */
} mn_strength_state;

/* The state that a record and what is kept of its life stand for. */
mn_strength_state mn_strength_state_of(const mn_strength_model *model, const mn_record *record,
                                       const mn_strength *kept);
/* Strength at a time, [0,1]. A time before the last use counts as it. */
double mn_strength_at(const mn_strength_state *state, int64_t now_ms);
/* One use. attention: 0..1 of a query's; more from an explicit call. */
mn_strength_state mn_strength_used(const mn_strength_model *model, const mn_strength_state *state, double attention,
                                   int64_t now_ms);
/* The same, kept: counts it in kept->uses. */
void mn_strength_keep_use(const mn_strength_model *model, const mn_record *record, double attention, int64_t now_ms,
                          mn_strength *kept);

/* 2^(-age / half_life): 1 for an age below 0, and for a half-life of 0. */
double mn_fade(double age_days, double half_life_days);

#endif
