/* fuzz_where.c -- a --where expression, and after "%%" the metadata of a record that it is asked of: a mistake is named
 * with its column, `not` turns every answer round, and the index's keys of the record are few, short and different. */
#include "fuzz_support.h"

#include "memory/where.h"
#include "memstore/field_index.h"

/* NUL-terminated, in the arena; ends at the first NUL. */
static const char *text_of(const fuzz_part *part, mn_arena *arena)
{
    return part->data ? mn_arena_copy(arena, part->data, part->size) : "";
}

static void check_keys(const mn_record *record, mn_arena *arena)
{
    field_keys keys;
    const field_source source = mn_field_source_of(7, record);
    fuzz_require(mn_field_keys(&source, arena, &keys, NULL) == MNEME_OK);
    fuzz_require(keys.n <= MN_FIELD_VALUES_MAX + 3);
    for (size_t i = 0; i < keys.n; i++) {
        fuzz_require(keys.items[i].size >= 6 && keys.items[i].size <= KEY_MAX);
        for (size_t j = 0; j < i; j++)
            fuzz_require(keys.items[i].size != keys.items[j].size ||
                         memcmp(keys.items[i].bytes, keys.items[j].bytes, keys.items[i].size) != 0);
    }
}

static void check_expression(const char *expression, const mn_record *record, mn_arena *arena)
{
    const mn_where *where = NULL, *turned = NULL;
    mneme_error error;
    if (mn_where_compile(expression, arena, &where, &error) != MNEME_OK) {
        fuzz_require(error.code == MNEME_ERR_SYNTAX && !where && strncmp(error.message, "where: ", 7) == 0);
        return;
    }
    char *whole = mn_arena_alloc(arena, strlen(expression) + 8);
    snprintf(whole, strlen(expression) + 8, "not (%s)", expression);
    bool matches = mn_where_matches(where, "space", record);
    /* One part deeper, or some bytes longer, may be too much. */
    if (mn_where_compile(whole, arena, &turned, &error) == MNEME_OK)
        fuzz_require(mn_where_matches(turned, "space", record) == !matches);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_part parts[2];
    mn_arena arena = {0};
    fuzz_cut(data, size, parts, 2);
    const mn_record record = {.rec = 1,
                              .id = "r1",
                              .session = "monday",
                              .speaker = "Ann",
                              .has_time = true,
                              .time_ms = 1683554160000,
                              .metadata = parts[1].data ? text_of(&parts[1], &arena) : NULL};
    check_expression(text_of(&parts[0], &arena), &record, &arena);
    check_keys(&record, &arena);
    mn_arena_free(&arena);
    free(parts[0].data);
    free(parts[1].data);
    return 0;
}
