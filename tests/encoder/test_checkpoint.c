/* test_checkpoint.c -- training.safetensors: what is saved comes back to the bit; cut short, damaged, of another shape
 * or other options it is refused and nothing changes; with calls that fail, the one before is still there. */
#include "test_support.h"

#include "encoder/train/checkpoint.h"
#include "reliability/failing_calls.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- a run to save --------------------------------------------------------------------------------------------- */

typedef struct fixture {
    mn_train_arithmetic arithmetic;
    mn_parameters parameters;
    mn_adam *adam;
    unsigned char carried[100];
    mn_train_region region;
    mn_checkpoint checkpoint;
} fixture;

static char g_folder[] = "/tmp/mneme-checkpoint-XXXXXX";

static const char *path_in(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", g_folder, name);
    return path;
}

static void make(fixture *f, uint32_t width, const char *description)
{
    memset(f, 0, sizeof *f);
    f->arithmetic = mn_train_arithmetic_for(false, MN_CPU_GENERIC, true);
    f->parameters.arithmetic = &f->arithmetic;
    const mn_parameter_options weight = {.rows = 3, .columns = width, .initial = MN_INITIAL_NORMAL, .scale = 1},
                               table = {
                                   .rows = 4, .columns = 5, .initial = MN_INITIAL_NORMAL, .scale = 1, .sparse = true};
    const mn_adam_options options = MN_ADAM_OPTIONS;
    assert_non_null(mn_parameters_add(&f->parameters, &weight, "weight"));
    assert_non_null(mn_parameters_add(&f->parameters, &table, "table"));
    assert_ok(mn_parameters_ready(&f->parameters, 1, test_error()));
    assert_ok(mn_adam_new(&f->parameters, &options, &f->adam, test_error()));
    f->region = (mn_train_region){"carried", f->carried, sizeof f->carried};
    f->checkpoint = (mn_checkpoint){g_folder, description, f->adam, &f->region, 1};
}

static void release(fixture *f)
{
    mn_adam_free(f->adam);
    mn_parameters_free(&f->parameters);
}

/* Every number of a run by a rule of its own. */
static void fill(fixture *f, float by)
{
    for (size_t i = 0; i < f->parameters.n; i++) {
        const mn_parameter *p = f->parameters.items[i];
        for (size_t j = 0; j < (size_t)p->options.rows * p->options.columns; j++) {
            f->parameters.values[p->offset + j] = by + (float)j;
            f->adam->first[p->offset + j] = 2 * by + (float)j;
            f->adam->second[p->offset + j] = 3 * by + (float)j;
        }
    }
    f->adam->step = (uint64_t)(100 * by);
    memset(f->carried, (int)(10 * by), sizeof f->carried);
}

static bool is_filled(const fixture *f, float by)
{
    for (size_t i = 0; i < f->parameters.n; i++) {
        const mn_parameter *p = f->parameters.items[i];
        for (size_t j = 0; j < (size_t)p->options.rows * p->options.columns; j++)
            if (f->parameters.values[p->offset + j] != by + (float)j ||
                f->adam->first[p->offset + j] != 2 * by + (float)j ||
                f->adam->second[p->offset + j] != 3 * by + (float)j)
                return false;
    }
    for (size_t i = 0; i < sizeof f->carried; i++)
        if (f->carried[i] != (int)(10 * by)) return false;
    return f->adam->step == (uint64_t)(100 * by);
}

static char *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *bytes = malloc(1 << 20);
    *size = fread(bytes, 1, 1 << 20, file);
    fclose(file);
    return bytes;
}

static void write_file(const char *path, const char *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

#define DESCRIPTION "{\"cell\": \"lstm\", \"layers\": 2, \"rate\": 0.5}"

/* ---- tests ----------------------------------------------------------------------------------------------------- */

static void what_is_saved_comes_back_to_the_bit(void **state)
{
    (void)state;
    fixture a, b;
    make(&a, 7, DESCRIPTION);
    make(&b, 7, DESCRIPTION);
    fill(&a, 1.5f);
    assert_ok(mn_checkpoint_save(&a.checkpoint, test_error()));
    assert_int_equal(mn_checkpoint_require(g_folder, NULL), MNEME_OK);
    fill(&b, 2.5f);
    assert_ok(mn_checkpoint_load(&b.checkpoint, test_error()));
    assert_true(is_filled(&b, 1.5f));
    release(&a);
    release(&b);
}

static void a_missing_checkpoint_is_not_found(void **state)
{
    (void)state;
    fixture f;
    make(&f, 7, DESCRIPTION);
    unlink(path_in(MN_CHECKPOINT_FILE));
    assert_int_equal(mn_checkpoint_load(&f.checkpoint, test_error()), MNEME_ERR_NOT_FOUND);
    assert_non_null(strstr(test_error()->message, MN_CHECKPOINT_FILE));
    release(&f);
}

static void refused(const fixture *f, mneme_status expected, const char *word)
{
    mneme_error error;
    assert_int_equal(mn_checkpoint_load(&f->checkpoint, &error), expected);
    assert_non_null(strstr(error.message, MN_CHECKPOINT_FILE));
    if (word && !strstr(error.message, word)) fail_msg("'%s' does not say %s", error.message, word);
    assert_true(is_filled(f, 2.5f));
}

static void other_options_and_shapes_are_named(void **state)
{
    (void)state;
    fixture a, wide, other;
    make(&a, 7, DESCRIPTION);
    fill(&a, 1.5f);
    assert_ok(mn_checkpoint_save(&a.checkpoint, test_error()));
    make(&wide, 8, DESCRIPTION);
    fill(&wide, 2.5f);
    refused(&wide, MNEME_ERR_MODEL, "3 x 7; expected F32 of 3 x 8");
    make(&other, 7, "{\"cell\": \"lstm\", \"layers\": 3, \"rate\": 0.5}");
    fill(&other, 2.5f);
    refused(&other, MNEME_ERR_USAGE, "layers 2, not 3");
    release(&a);
    release(&wide);
    release(&other);
}

static void cuts_and_changed_bytes_do_not_go_unseen(void **state)
{
    (void)state;
    fixture a, b;
    make(&a, 7, DESCRIPTION);
    make(&b, 7, DESCRIPTION);
    fill(&a, 1.5f);
    fill(&b, 2.5f);
    assert_ok(mn_checkpoint_save(&a.checkpoint, test_error()));
    char path[256];
    snprintf(path, sizeof path, "%s", path_in(MN_CHECKPOINT_FILE));
    size_t size;
    char *bytes = read_file(path, &size);
    size_t n_refused = 0;
    for (size_t cut = 0; cut < size; cut += 5) {
        write_file(path, bytes, cut);
        refused(&b, MNEME_ERR_MODEL, NULL);
    }
    for (size_t at = 0; at < size; at += 3) {
        mneme_error error;
        bytes[at] ^= 0x11;
        write_file(path, bytes, size);
        mneme_status status = mn_checkpoint_load(&b.checkpoint, &error);
        /* Of the header, what nobody reads may change: then all numbers are as they were. */
        if (!is_filled(&b, status == MNEME_OK ? 1.5f : 2.5f)) fail_msg("byte %zu of %zu changes unseen", at, size);
        n_refused += status != MNEME_OK;
        bytes[at] ^= 0x11;
        fill(&b, 2.5f);
    }
    assert_true(n_refused > size / 3 - 16);
    write_file(path, bytes, size);
    assert_ok(mn_checkpoint_load(&b.checkpoint, test_error()));
    free(bytes);
    release(&a);
    release(&b);
}

static void a_full_disk_leaves_the_checkpoint_before(void **state)
{
    (void)state;
    fixture a, b;
    make(&a, 7, DESCRIPTION);
    make(&b, 7, DESCRIPTION);
    fill(&a, 1.5f);
    assert_ok(mn_checkpoint_save(&a.checkpoint, test_error()));
    fill(&a, 3.5f);
    for (int kind = FAIL_NO_SPACE; kind <= FAIL_SHORT_WRITE; kind++)
        for (unsigned n = 1;; n++) {
            mneme_error error = {MNEME_OK, ""};
            fail_calls(n, (fail_kind)kind, false);
            mneme_status status = mn_checkpoint_save(&a.checkpoint, &error);
            bool failed = *call_failed() != 0;
            char name[32];
            snprintf(name, sizeof name, "%s", call_failed());
            fail_calls(0, FAIL_IO, false);
            if (!failed) {
                assert_int_equal(status, MNEME_OK);
                assert_true(n > 3); /* open, writes and fsync were among them */
                break;
            }
            if (status == MNEME_OK) fail_msg("call %u (%s) failed unseen", n, name);
            assert_true(status == MNEME_ERR_DISK_FULL || status == MNEME_ERR_IO);
            assert_true(error.message[0] != 0);
            /* The rename is the last but the folder's own flush: before it, the old one; after it, the new one. */
            fill(&b, 2.5f);
            assert_ok(mn_checkpoint_load(&b.checkpoint, test_error()));
            assert_true(is_filled(&b, 1.5f) || is_filled(&b, 3.5f));
            if (is_filled(&b, 3.5f)) {
                fill(&a, 1.5f);
                assert_ok(mn_checkpoint_save(&a.checkpoint, test_error()));
                fill(&a, 3.5f);
            }
        }
    release(&a);
    release(&b);
}

static void every_allocation_that_fails_is_an_error(void **state)
{
    (void)state;
    fixture a;
    make(&a, 7, DESCRIPTION);
    fill(&a, 1.5f);
    assert_ok(mn_checkpoint_save(&a.checkpoint, test_error()));
    for (int load = 0; load < 2; load++)
        for (size_t n = 1;; n++) {
            mn_alloc_fail_after(n);
            mneme_status status =
                load ? mn_checkpoint_load(&a.checkpoint, NULL) : mn_checkpoint_save(&a.checkpoint, NULL);
            mn_alloc_fail_after(0);
            if (status == MNEME_OK) break;
            assert_int_equal(status, MNEME_ERR_MEMORY);
            assert_true(n < 100);
        }
    assert_true(is_filled(&a, 1.5f));
    release(&a);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(g_folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path_in(MN_CHECKPOINT_FILE));
    return rmdir(g_folder); /* nothing half-written is left in it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_saved_comes_back_to_the_bit),
        cmocka_unit_test(a_missing_checkpoint_is_not_found),
        cmocka_unit_test(other_options_and_shapes_are_named),
        cmocka_unit_test(cuts_and_changed_bytes_do_not_go_unseen),
        cmocka_unit_test(a_full_disk_leaves_the_checkpoint_before),
        cmocka_unit_test(every_allocation_that_fails_is_an_error),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
