/* vector_losses.c -- see vector_losses.h. All similarities of a batch are one product on the tile kernels. */
#include "encoder/train/vector_losses.h"

#include <math.h>
#include <string.h>

/* out (n, m) = a (n, d) b (m, d)^T, or with `turned`, out (n, d) = a (n, m) b (m, d). */
static mneme_status multiply(mn_shard *shard, const float *a, uint32_t n, const float *b, uint32_t m, uint32_t d,
                             bool turned, float *out, mneme_error *error)
{
    mn_right right = {.depth = turned ? m : d, .columns = turned ? d : m};
    right.panels = mn_room_take(&shard->room, mn_right_size(shard->arithmetic, right.depth, right.columns), 1);
    if (!right.panels) return mn_fail_memory(error, "a loss");
    mn_right_pack(shard->arithmetic, b, d, !turned, &right);
    const mn_product_out to = {.c = out, .stride = right.columns};
    return mn_multiply_right(shard->arithmetic, &shard->scratch, a, right.depth, n, &right, &to, error);
}

/* row (n) = softmax(scale row), without the places where it is -infinity; all zeros when there is no other. Returns log
 * of the sum of exponentials. */
static double softmax(float *row, uint32_t n, float scale)
{
    double largest = -INFINITY, total = 0;
    for (uint32_t j = 0; j < n; j++) largest = fmax(largest, (double)(scale * row[j]));
    for (uint32_t j = 0; j < n; j++) {
        float e = isinf(row[j]) ? 0 : expf(scale * row[j] - (float)largest);
        row[j] = e;
        total += (double)e;
    }
    for (uint32_t j = 0; j < n; j++) row[j] = total > 0 ? (float)((double)row[j] / total) : 0;
    return largest + log(total);
}

/* student and teacher (n, n): similarities. student becomes the gradient with respect to them. */
static double similarity_divergence(float *student, float *teacher, uint32_t n, float scale, float weight)
{
    double value = 0;
    for (uint32_t i = 0; i < n; i++) {
        float *s = student + (size_t)i * n, *t = teacher + (size_t)i * n;
        s[i] = t[i] = -INFINITY;
        softmax(s, n, scale);
        softmax(t, n, scale);
        for (uint32_t j = 0; j < n; j++) {
            if (t[j] > 0) value += (double)t[j] * (log((double)t[j]) - log(fmax((double)s[j], 1e-30)));
            s[j] = weight * scale * (s[j] - t[j]);
        }
    }
    return value * (double)weight;
}

/* The similarity of i and j is in two rows: both gradients count for both vectors. */
static void add_turned(float *x, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < i; j++) {
            float both = x[(size_t)i * n + j] + x[(size_t)j * n + i];
            x[(size_t)i * n + j] = x[(size_t)j * n + i] = both;
        }
}

mneme_status mn_distillation_loss(const mn_distillation *loss, mn_shard *shard, float *d_student, double *value,
                                  mneme_error *error)
{
    uint32_t n = loss->n, d = loss->d;
    size_t all = (size_t)n * d;
    double cosines = 0;
    float *student = NULL, *teacher = NULL, share = loss->cosine_weight / (float)n;
    *value = 0;
    memset(d_student, 0, all * sizeof *d_student);
    if (n > 1 && loss->similarity_weight > 0) {
        mneme_status status = mn_shard_floats(shard, (size_t)n * n, &student, error);
        if (status == MNEME_OK) status = mn_shard_floats(shard, (size_t)n * n, &teacher, error);
        if (status == MNEME_OK) status = multiply(shard, loss->student, n, loss->student, n, d, false, student, error);
        if (status == MNEME_OK) status = multiply(shard, loss->teacher, n, loss->teacher, n, d, false, teacher, error);
        if (status != MNEME_OK) return status;
        *value = similarity_divergence(student, teacher, n, loss->scale, loss->similarity_weight / (float)n);
        add_turned(student, n);
        status = multiply(shard, student, n, loss->student, n, d, true, d_student, error);
        if (status != MNEME_OK) return status;
    }
    for (size_t i = 0; i < all; i++) {
        cosines += (double)loss->student[i] * (double)loss->teacher[i];
        d_student[i] -= share * loss->teacher[i];
    }
    *value += (double)loss->cosine_weight * (1 - cosines / n);
    return MNEME_OK;
}

/* student, teacher (m): similarities with the anchors; student becomes the gradient. */
static double ranking_divergence(float *student, float *teacher, uint32_t m, float scale, float weight)
{
    double value = 0;
    softmax(student, m, scale);
    softmax(teacher, m, scale);
    for (uint32_t j = 0; j < m; j++) {
        if (teacher[j] > 1e-12f)
            value += (double)teacher[j] * log((double)teacher[j] / fmax((double)student[j], 1e-30));
        student[j] = weight * scale * (student[j] - teacher[j]);
    }
    return value * (double)weight;
}

mneme_status mn_ranking_loss(const mn_ranking *loss, mn_shard *shard, float *d_student, double *value,
                             mneme_error *error)
{
    uint32_t n = loss->n, m = loss->m, d = loss->d;
    float *student = NULL, *teacher = NULL, *gradient = NULL;
    mneme_status status = mn_shard_floats(shard, (size_t)n * m, &student, error);
    if (status == MNEME_OK) status = mn_shard_floats(shard, (size_t)n * m, &teacher, error);
    if (status == MNEME_OK) status = mn_shard_floats(shard, (size_t)n * d, &gradient, error);
    if (status == MNEME_OK) status = multiply(shard, loss->student, n, loss->anchors, m, d, false, student, error);
    if (status == MNEME_OK) status = multiply(shard, loss->teacher, n, loss->anchors, m, d, false, teacher, error);
    if (status != MNEME_OK) return status;
    for (uint32_t i = 0; i < n; i++) {
        float *s = student + (size_t)i * m, *t = teacher + (size_t)i * m;
        for (uint32_t j = 0; j < m; j++)
            if (loss->anchor_ids[j] == loss->text_ids[i]) s[j] = t[j] = -INFINITY;
        *value += ranking_divergence(s, t, m, loss->scale, loss->weight / (float)n);
    }
    status = multiply(shard, student, n, loss->anchors, m, d, true, gradient, error);
    for (size_t i = 0; i < (size_t)n * d && status == MNEME_OK; i++) d_student[i] += gradient[i];
    return status;
}

static bool is_negative(const mn_contrast *loss, uint32_t i, uint32_t j)
{
    if (!loss->passage_ids) return true;
    uint64_t id = loss->passage_ids[j];
    return id != loss->passage_ids[i] && !(loss->query_ids && id == loss->query_ids[i]);
}

mneme_status mn_contrastive_loss(const mn_contrast *loss, mn_shard *shard, float *d_queries, float *d_passages,
                                 double *value, mneme_error *error)
{
    uint32_t n = loss->n, m = loss->m, d = loss->d;
    float *rows = NULL, *turned = NULL, share = loss->scale / (float)n;
    mneme_status status = mn_shard_floats(shard, (size_t)n * m, &rows, error);
    if (status == MNEME_OK) status = mn_shard_floats(shard, (size_t)n * m, &turned, error);
    if (status == MNEME_OK) status = multiply(shard, loss->queries, n, loss->passages, m, d, false, rows, error);
    if (status != MNEME_OK) return status;
    *value = 0;
    for (uint32_t i = 0; i < n; i++) {
        float *row = rows + (size_t)i * m;
        for (uint32_t j = 0; j < m; j++)
            if (j != i && !is_negative(loss, i, j)) row[j] = -INFINITY;
        double right = (double)(loss->scale * row[i]);
        *value += (softmax(row, m, loss->scale) - right) / n;
        row[i] -= 1;
        for (uint32_t j = 0; j < m; j++) row[j] *= share;
    }
    shard->arithmetic->train_kernels->transpose(rows, m, n, m, turned, n);
    status = multiply(shard, rows, n, loss->passages, m, d, true, d_queries, error);
    if (status == MNEME_OK) status = multiply(shard, turned, m, loss->queries, n, d, true, d_passages, error);
    return status;
}

float mn_dot(const float *a, const float *b, size_t n)
{
    enum { LANES = 16 };
    float sums[LANES] = {0}, total = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < LANES; j++) sums[j] += a[i + j] * b[i + j];
    for (; i < n; i++) total += a[i] * b[i];
    for (size_t j = 0; j < LANES; j++) total += sums[j];
    return total;
}

void mn_unit_forward(const float *u, uint32_t n, uint32_t d, float *v, float *lengths)
{
    for (uint32_t i = 0; i < n; i++, u += d, v += d) {
        double squares = 0;
        for (uint32_t j = 0; j < d; j++) squares += (double)u[j] * (double)u[j];
        lengths[i] = (float)sqrt(squares);
        float scale = lengths[i] > 0 ? 1 / lengths[i] : 0;
        for (uint32_t j = 0; j < d; j++) v[j] = u[j] * scale;
        if (!(lengths[i] > 0)) v[0] = 1;
    }
}

void mn_unit_backward(const float *v, const float *lengths, const float *dv, uint32_t n, uint32_t d, float *du)
{
    for (uint32_t i = 0; i < n; i++, v += d, dv += d, du += d) {
        double along = 0;
        for (uint32_t j = 0; j < d; j++) along += (double)v[j] * (double)dv[j];
        float scale = lengths[i] > 0 ? 1 / lengths[i] : 0, part = (float)along;
        for (uint32_t j = 0; j < d; j++) du[j] = (dv[j] - v[j] * part) * scale;
    }
}
