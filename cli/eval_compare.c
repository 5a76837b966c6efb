/* eval_compare.c -- the paired randomisation test, and a table of it. */
#include "cli/eval_compare.h"

#include "cli/output.h"

#include <math.h>
#include <stdlib.h>

/* ---- the test ---- */

/* Sums of eight differences under each of the 256 ways to swap them, so that a swapping of n costs n / 8 additions. */
typedef struct swappings {
    double (*sums)[256];
    size_t n_bytes;
    double least; /* the absolute sum that counts as "at least as different" */
} swappings;

/* splitmix64 (Steele, Lea, Flood 2014) */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static void prepare(swappings *s, const double *differences, size_t n)
{
    double sum = 0, size = 0;
    s->n_bytes = (n + 7) / 8;
    s->sums = cli_alloc(s->n_bytes + 1, sizeof *s->sums);
    for (size_t byte = 0; byte < s->n_bytes; byte++)
        for (size_t pattern = 0; pattern < 256; pattern++) {
            double part = 0;
            for (size_t i = byte * 8; i < n && i < byte * 8 + 8; i++)
                part += pattern >> (i - byte * 8) & 1 ? -differences[i] : differences[i];
            s->sums[byte][pattern] = part;
        }
    for (size_t i = 0; i < n; i++) {
        sum += differences[i];
        size += fabs(differences[i]);
    }
    /* Equal sums differ by rounding when their parts are added in another order. */
    s->least = fabs(sum) - 1e-12 * size;
}

/* How many of all 2^n. */
static uint64_t count_all(const swappings *s, size_t n)
{
    uint64_t hits = 0;
    for (uint64_t pattern = 0; pattern < UINT64_C(1) << n; pattern++) {
        double sum = 0;
        for (size_t byte = 0; byte < s->n_bytes; byte++) sum += s->sums[byte][pattern >> (8 * byte) & 255];
        hits += fabs(sum) >= s->least;
    }
    return hits;
}

static uint64_t count_drawn(const swappings *s, const cli_permutations *permutations)
{
    uint64_t hits = 0, state = permutations->seed, bits = 0;
    for (uint64_t i = 0; i < permutations->n; i++) {
        double sum = 0;
        for (size_t byte = 0; byte < s->n_bytes; byte++) {
            bits = byte % 8 == 0 ? next_random(&state) : bits >> 8;
            sum += s->sums[byte][bits & 255];
        }
        hits += fabs(sum) >= s->least;
    }
    return hits;
}

void cli_paired_randomisation(const double *a, const double *b, size_t n, const cli_permutations *permutations,
                              cli_paired_test *out)
{
    double *differences = cli_alloc(n + 1, sizeof *differences);
    size_t different = 0;
    *out = (cli_paired_test){0};
    for (size_t i = 0; i < n; i++) {
        out->mean_a += a[i] / (double)n;
        out->mean_b += b[i] / (double)n;
        double difference = b[i] - a[i];
        if (fabs(difference) < 1e-12) continue; /* swapping it changes nothing */
        differences[different++] = difference;
        out->better += difference > 0;
    }
    out->equal = n - different;
    out->worse = different - out->better;
    swappings s;
    prepare(&s, differences, different);
    out->exact = different < 40 && UINT64_C(1) << different <= permutations->n;
    if (out->exact)
        out->p = (double)count_all(&s, different) / (double)(UINT64_C(1) << different);
    else
        out->p = ((double)count_drawn(&s, permutations) + 1) / ((double)permutations->n + 1);
    free(s.sums);
    free(differences);
}

/* ---- the table ---- */

static void test_column(const cli_comparison *c, size_t column, cli_paired_test *out)
{
    size_t n = c->a->n_rows;
    double *a = cli_alloc(2 * n + 1, sizeof *a), *b = a + n;
    for (size_t i = 0; i < n; i++) {
        a[i] = cli_eval_row(c->a, i)[column];
        b[i] = cli_eval_row(c->b, i)[column];
    }
    cli_paired_randomisation(a, b, n, &c->permutations, out);
    free(a);
}

static json_t *test_json(const cli_paired_test *t)
{
    json_t *object = json_object();
    json_object_set_new(object, "a", cli_json_float((float)t->mean_a));
    json_object_set_new(object, "b", cli_json_float((float)t->mean_b));
    json_object_set_new(object, "difference", cli_json_float((float)(t->mean_b - t->mean_a)));
    json_object_set_new(object, "p", cli_json_float((float)t->p));
    json_object_set_new(object, "exact", json_boolean(t->exact));
    cli_json_count(object, "better", t->better);
    cli_json_count(object, "worse", t->worse);
    cli_json_count(object, "equal", t->equal);
    return object;
}

static void print_json(const cli_comparison *c)
{
    json_t *object = json_object(), *measures = json_object();
    cli_json_put(object, "a", c->name_a);
    cli_json_put(object, "b", c->name_b);
    cli_json_count(object, "queries", c->a->n_rows);
    cli_json_count(object, "permutations", c->permutations.n);
    cli_json_count(object, "seed", c->permutations.seed);
    for (size_t i = 0; i < c->a->n_columns; i++) {
        cli_paired_test test;
        test_column(c, i, &test);
        json_object_set_new(measures, c->a->names[i], test_json(&test));
    }
    json_object_set_new(object, "measures", measures);
    cli_print_json(object);
}

void cli_compare_print(const cli_comparison *c, bool json)
{
    if (json) {
        print_json(c);
        return;
    }
    cli_print("a: %s\nb: %s\n%zu questions; better, worse, equal: questions, b against a\n\n", c->name_a, c->name_b,
              c->a->n_rows);
    cli_print("%-22s %8s %8s %8s %9s %7s %7s %7s\n", "measure", "a", "b", "b - a", "p", "better", "worse", "equal");
    for (size_t i = 0; i < c->a->n_columns; i++) {
        cli_paired_test t;
        test_column(c, i, &t);
        cli_print("%-22s %8.4f %8.4f %+8.4f %8.5f%s %7zu %7zu %7zu\n", c->a->names[i], t.mean_a, t.mean_b,
                  t.mean_b - t.mean_a, t.p, t.exact ? "=" : " ", t.better, t.worse, t.equal);
    }
    cli_print("\np: two-sided paired randomisation test, %llu permutations, seed %llu; =: exact, all were tried\n",
              (unsigned long long)c->permutations.n, (unsigned long long)c->permutations.seed);
}
