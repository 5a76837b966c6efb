/* eval_compare.h -- is one run better than another, or only lucky with these questions?
 *
 * The paired randomisation test (Smucker, Allan, Carterette 2007, "A Comparison of Statistical Significance Tests for
 * Information Retrieval Evaluation"): if the two runs were alike, each question's two values might as well be swapped.
 * p is the share of all such swappings under which the means differ at least as much as they do, either way.
 *
 * With few questions all swappings are tried, and p is exact. Else a sample of them is drawn, and the observed one
 * counts as one more: p = (hits + 1) / (sample + 1) (Phipson, Smyth 2010), which is never 0. */
#ifndef MN_CLI_EVAL_COMPARE_H
#define MN_CLI_EVAL_COMPARE_H

#include "cli/eval_table.h"

typedef struct cli_paired_test {
    double mean_a, mean_b;
    double p;                    /* two-sided */
    bool exact;                  /* all swappings were tried */
    size_t better, worse, equal; /* questions: b against a */
} cli_paired_test;

typedef struct cli_permutations {
    uint64_t n;    /* how many swappings to draw; all are tried where there are not more */
    uint64_t seed; /* of the draw */
} cli_permutations;
#define CLI_PERMUTATIONS_DEFAULT                                                                                       \
    {                                                                                                                  \
        100000, 1                                                                                                      \
    }

/* a, b: n values each, of the same questions. n > 0. */
void cli_paired_randomisation(const double *a, const double *b, size_t n, const cli_permutations *permutations,
                              cli_paired_test *out);

typedef struct cli_comparison {
    const cli_eval_table *a, *b; /* the same questions and columns */
    const char *name_a, *name_b;
    cli_permutations permutations;
} cli_comparison;

/* All columns, as a table or, with `json`,
 * {"a","b","queries","permutations","seed","measures":{NAME:{"a","b","difference",
 * "p","exact","better","worse","equal"}}}. */
void cli_compare_print(const cli_comparison *comparison, bool json);

#endif
