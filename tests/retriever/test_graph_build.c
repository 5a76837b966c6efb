/* Graphs of our own making: that they are sound, that as much is found in them as in FAISS's, by the walk and by FAISS,
 * and that FAISS reads, writes and extends them. */
#include "retriever/graph_build.h"

#include "retriever/graph_layout.h"

#include "retriever/graph_world.h"

enum { LINKS = 16, EFFORT = 40 };

static void put_codes(world *w, mn_graph_builder *builder)
{
    float *prepared = prepare_world(w);
    for (size_t i = 0; i < w->shape.n; i++)
        mn_index_encode(w->shape.kind, prepared + i * w->shape.padded, w->shape.padded,
                        mn_graph_builder_codes(builder, i));
    free(prepared);
}

static mn_graph_builder *new_builder(world *w, unsigned n_threads)
{
    mn_graph_builder *builder = NULL;
    const mn_graph_recipe recipe = {LINKS, EFFORT, n_threads};
    assert_ok(mn_graph_builder_new(&w->shape, &recipe, &builder, test_error()));
    put_codes(w, builder);
    return builder;
}

static void build(world *w, unsigned n_threads)
{
    mn_graph_builder *builder = new_builder(w, n_threads);
    assert_true(mn_graph_builder_add(builder, w->shape.n, NULL, NULL));
    assert_ok(mn_graph_builder_write(builder, w->path, test_error()));
    mn_graph_builder_free(builder);
    open_graph(w);
}

static world make_world(mn_index_kind kind, size_t n, uint32_t dimension, unsigned n_threads)
{
    world w = draw_world(kind, n, dimension);
    build(&w, n_threads);
    return w;
}

/* ---- sound ---- */

static uint32_t levels_of(const mn_graph_layout *layout, uint32_t node)
{
    uint64_t offsets[2];
    memcpy(offsets, layout->offsets + node * sizeof *offsets, sizeof offsets);
    for (uint32_t level = 0; level <= layout->n_levels; level++)
        if (offsets[1] - offsets[0] == layout->level_starts[level]) return level;
    fail_msg("node %u has %u places for links", node, (unsigned)(offsets[1] - offsets[0]));
    return 0;
}

static void expect_sound_list(const mn_graph_layout *layout, uint32_t node, uint32_t level)
{
    uint32_t links[MN_GRAPH_MOST_LINKS], room;
    const unsigned char *at = mn_graph_links(layout, node, level, &room);
    size_t n = mn_graph_list(layout, node, level, links);
    assert_int_equal(room, level ? LINKS : 2 * LINKS);
    for (size_t i = 0; i < n; i++) {
        assert_true(links[i] < layout->n && links[i] != node);
        assert_true(levels_of(layout, links[i]) > level);
        for (size_t j = 0; j < i; j++) assert_true(links[j] != links[i]);
    }
    for (size_t i = n; i < room; i++) assert_int_equal((int32_t)mn_graph_link(layout, at, i), -1);
}

/* How many nodes a walk over level 0 can come to. */
static size_t count_reached(const mn_graph_layout *layout)
{
    uint32_t links[MN_GRAPH_MOST_LINKS], *waiting = calloc((size_t)layout->n, sizeof *waiting);
    bool *seen = calloc((size_t)layout->n, sizeof *seen);
    size_t n = 1;
    waiting[0] = layout->entry;
    seen[layout->entry] = true;
    for (size_t done = 0; done < n; done++) {
        size_t n_links = mn_graph_list(layout, waiting[done], 0, links);
        for (size_t i = 0; i < n_links; i++)
            if (!seen[links[i]]) {
                seen[links[i]] = true;
                waiting[n++] = links[i];
            }
    }
    free(seen);
    free(waiting);
    return n;
}

static mn_graph_layout expect_sound(const world *w)
{
    mn_graph_layout layout;
    size_t n_above = 0;
    assert_ok(mn_graph_read_layout(w->file.data, w->file.size, &w->shape, &layout, test_error()));
    for (uint32_t node = 0; node < layout.n; node++) {
        uint32_t n_levels = levels_of(&layout, node);
        assert_in_range(n_levels, 1, layout.top_level + 1);
        for (uint32_t level = 0; level < n_levels; level++) expect_sound_list(&layout, node, level);
        n_above += n_levels > 1;
    }
    if (layout.n) assert_int_equal(levels_of(&layout, layout.entry), layout.top_level + 1);
    if (layout.n >= 2000) /* one in 16 on average; four times the standard deviation to both sides */
        assert_true(fabs((double)n_above - (double)layout.n / LINKS) < 4 * sqrt((double)layout.n / LINKS));
    return layout;
}

static void graphs_of_every_kind_are_sound_and_every_node_is_reached(void **state)
{
    (void)state;
    for (mn_index_kind kind = MN_INDEX_HNSW; kind <= MN_INDEX_HNSW_F32; kind++)
        for (unsigned n_threads = 1; n_threads <= 4; n_threads += 3) {
            world w = make_world(kind, 3000, 50, n_threads);
            mn_graph_layout layout = expect_sound(&w);
            size_t n = count_reached(&layout);
            if (n < 2997) fail_msg("%s, %u threads: %zu of 3000 reached", mn_index_kind_name(kind), n_threads, n);
            end_world(&w);
        }
}

static void small_graphs_are_sound_and_found_whole(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 2, 3, 17, 33, 34, 129};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (unsigned n_threads = 1; n_threads <= 2; n_threads++) {
            world w = make_world((mn_index_kind)(1 + s % 3), sizes[s], 33, n_threads);
            mn_graph_layout layout = expect_sound(&w);
            int64_t positions[200];
            bool seen[200] = {false};
            const mn_graph_question question = ask(&w, 0, 200, 1, NULL);
            if (sizes[s]) assert_int_equal(count_reached(&layout), sizes[s]);
            assert_ok(mn_graph_search(w.graph, &question, positions, test_error()));
            for (size_t i = 0; i < sizes[s]; i++) {
                assert_true(positions[i] >= 0 && (size_t)positions[i] < sizes[s] && !seen[positions[i]]);
                seen[positions[i]] = true;
            }
            end_world(&w);
        }
}

/* Of one thread. */
static void the_same_codes_give_the_same_file(void **state)
{
    (void)state;
    world w = make_world(MN_INDEX_HNSW, 2000, 40, 1), again = make_world(MN_INDEX_HNSW, 2000, 40, 1);
    assert_int_equal(w.file.size, again.file.size);
    assert_memory_equal(w.file.data, again.file.data, w.file.size);
    end_world(&w);
    end_world(&again);
}

/* ---- what is found ---- */

static void as_much_is_found_as_in_faiss_s_graph(void **state)
{
    (void)state;
    static const size_t efforts[] = {10, 24, 48, 100};
    for (mn_index_kind kind = MN_INDEX_HNSW; kind <= MN_INDEX_HNSW_F32; kind++)
        for (unsigned n_threads = 1; n_threads <= 3; n_threads += 2) {
            world w = make_world(kind, 4000, 50, n_threads), theirs = draw_world(kind, 4000, 50);
            build_by_faiss(&theirs);
            open_graph(&theirs);
            for (size_t i = 0; i < sizeof efforts / sizeof *efforts; i++) {
                size_t found = found_by_walk(&w, efforts[i], NULL), least = found_by_walk(&theirs, efforts[i], NULL);
                if (found + 15 < least) /* of 1,000 */
                    fail_msg("%s, %u threads, effort %zu: %zu found, in FAISS's graph %zu", mn_index_kind_name(kind),
                             n_threads, efforts[i], found, least);
            }
            assert_true(found_by_walk(&w, 48, NULL) >= QUESTIONS * BEST * 97 / 100);
            assert_true(found_by_walk(&w, 300, NULL) >= QUESTIONS * BEST * 995 / 1000);
            end_world(&theirs);
            end_world(&w);
        }
}

static void faiss_finds_as_much_in_it_as_the_walk(void **state)
{
    (void)state;
    for (mn_index_kind kind = MN_INDEX_HNSW; kind <= MN_INDEX_HNSW_F32; kind++) {
        world w = make_world(kind, 2500, 50, 1);
        size_t found = found_by_walk(&w, 60, NULL), theirs = found_by_faiss(&w, 60, NULL);
        if (found + 5 < theirs || theirs + 5 < found)
            fail_msg("%s: %zu found, by FAISS %zu", mn_index_kind_name(kind), found, theirs);
        end_world(&w);
    }
}

/* The questions of an index are added after it was tuned with them. */
static void what_is_added_later_is_found_and_the_graph_can_be_walked_before(void **state)
{
    (void)state;
    world w = draw_world(MN_INDEX_HNSW, 3000, 50);
    mn_graph_builder *builder = new_builder(&w, 2);
    mn_graph *half = NULL;
    int64_t positions[CANDIDATES];
    assert_true(mn_graph_builder_add(builder, 0, NULL, NULL));
    assert_ok(mn_graph_builder_walk(builder, &half, test_error()));
    const mn_graph_question question = ask(&w, 0, CANDIDATES, 50, NULL);
    assert_ok(mn_graph_search(half, &question, positions, test_error()));
    assert_int_equal(positions[0], -1);
    mn_graph_free(half);
    assert_true(mn_graph_builder_add(builder, 5, NULL, NULL));
    assert_true(mn_graph_builder_add(builder, 1500, NULL, NULL));
    assert_ok(mn_graph_builder_walk(builder, &w.graph, test_error()));
    w.shape.n = 1500;
    assert_true(found_by_walk(&w, 100, NULL) >= QUESTIONS * BEST * 99 / 100);
    w.shape.n = 3000;
    mn_graph_free(w.graph);
    assert_true(mn_graph_builder_add(builder, 3000, NULL, NULL));
    assert_ok(mn_graph_builder_write(builder, w.path, test_error()));
    mn_graph_builder_free(builder);
    open_graph(&w);
    expect_sound(&w);
    assert_true(found_by_walk(&w, 100, NULL) >= QUESTIONS * BEST * 99 / 100);
    end_world(&w);
}

/* ---- FAISS reads and extends it ---- */

static void faiss_writes_what_it_reads(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 700};
    for (mn_index_kind kind = MN_INDEX_HNSW; kind <= MN_INDEX_HNSW_F32; kind++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            world w = make_world(kind, sizes[s], 50, 1);
            char *path = mn_path_join(w.dir, "again");
            mn_faiss *index = NULL;
            mn_mapping again;
            assert_ok(mn_faiss_open(w.path, MN_FAISS_WHOLE, &index, test_error()));
            assert_int_equal(mn_faiss_count(index), sizes[s]);
            assert_ok(mn_faiss_write(index, path, test_error()));
            mn_faiss_free(index);
            assert_ok(mn_file_map(path, &again, test_error()));
            assert_int_equal(again.size, w.file.size);
            assert_memory_equal(again.data, w.file.data, w.file.size);
            mn_file_unmap(&again);
            mn_free(path);
            end_world(&w);
        }
}

static void faiss_extends_it(void **state)
{
    (void)state;
    for (mn_index_kind kind = MN_INDEX_HNSW; kind <= MN_INDEX_HNSW_F32; kind++) {
        world w = draw_world(kind, 3000, 50);
        mn_faiss *index = NULL;
        float *prepared = prepare_world(&w); /* with the scale of all */
        mn_graph_builder *builder = NULL;
        const mn_graph_shape shape = {kind, w.shape.padded, 2000};
        const mn_graph_recipe recipe = {LINKS, EFFORT, 1};
        assert_ok(mn_graph_builder_new(&shape, &recipe, &builder, test_error()));
        for (size_t i = 0; i < 2000; i++)
            mn_index_encode(kind, prepared + i * shape.padded, shape.padded, mn_graph_builder_codes(builder, i));
        assert_true(mn_graph_builder_add(builder, 2000, NULL, NULL));
        assert_ok(mn_graph_builder_write(builder, w.path, test_error()));
        mn_graph_builder_free(builder);
        assert_ok(mn_faiss_open(w.path, MN_FAISS_WHOLE, &index, test_error()));
        mn_faiss_set_threads(1);
        assert_ok(mn_faiss_add(index, prepared + (size_t)2000 * shape.padded, 1000, test_error()));
        assert_ok(mn_faiss_write(index, w.path, test_error()));
        mn_faiss_free(index);
        free(prepared);
        open_graph(&w);
        assert_true(found_by_walk(&w, 100, NULL) >= QUESTIONS * BEST * 99 / 100);
        end_world(&w);
    }
}

/* ---- copies ---- */

static void many_copies_of_one_vector_among_others_are_found(void **state)
{
    (void)state;
    enum { COPIES = 10000, OTHERS = 2000, N = COPIES + OTHERS };
    world w = draw_world(MN_INDEX_HNSW, N, 32);
    size_t padded = w.shape.padded;
    for (size_t i = 2; i < N; i++)
        if (i % (N / OTHERS)) memcpy(w.vectors + i * padded, w.vectors + padded, padded * sizeof *w.vectors);
    build(&w, 2);
    expect_sound(&w);
    memcpy(w.questions, w.vectors + padded, padded * sizeof *w.questions);
    int64_t positions[CANDIDATES];
    const mn_graph_question question = ask(&w, 0, CANDIDATES, 48, NULL);
    assert_ok(mn_graph_search(w.graph, &question, positions, test_error()));
    assert_int_equal(count_best(&w, 0, NULL, positions), BEST);
    end_world(&w);
}

static void copies_alone_make_a_graph(void **state)
{
    (void)state;
    world w = draw_world(MN_INDEX_HNSW_F32, 3000, 32);
    for (size_t i = 1; i < 3000; i++)
        memcpy(w.vectors + i * w.shape.padded, w.vectors, w.shape.padded * sizeof *w.vectors);
    build(&w, 1);
    expect_sound(&w);
    assert_int_equal(found_by_walk(&w, 48, NULL), QUESTIONS * BEST);
    end_world(&w);
}

/* ---- ends before the end ---- */

static bool stop_at_1000(void *context, uint64_t n_added)
{
    uint64_t *last = context;
    assert_true(n_added >= *last && n_added < 1000 + 1024);
    *last = n_added;
    return n_added < 1000;
}

static void a_build_ends_soon_when_it_is_not_wanted_any_more(void **state)
{
    (void)state;
    for (unsigned n_threads = 1; n_threads <= 2; n_threads++) {
        world w = draw_world(MN_INDEX_HNSW, 4000, 40);
        mn_graph_builder *builder = new_builder(&w, n_threads);
        uint64_t last = 0;
        assert_false(mn_graph_builder_add(builder, 4000, stop_at_1000, &last));
        assert_true(last >= 1000);
        mn_graph_builder_free(builder);
        end_world(&w);
    }
}

static void a_builder_without_memory_is_none(void **state)
{
    (void)state;
    const mn_graph_shape shape = {MN_INDEX_HNSW, 32, 100};
    const mn_graph_recipe recipe = {LINKS, EFFORT, 2};
    bool failed = true;
    for (size_t n = 1; failed; n++) {
        mn_graph_builder *builder = NULL;
        mn_alloc_fail_after(n);
        failed = mn_graph_builder_new(&shape, &recipe, &builder, NULL) == MNEME_ERR_MEMORY;
        mn_alloc_fail_after(0);
        assert_true(failed == (builder == NULL));
        mn_graph_builder_free(builder);
        assert_true(n < 100);
    }
}

static void a_graph_that_cannot_be_written_is_an_error(void **state)
{
    (void)state;
    world w = draw_world(MN_INDEX_HNSW, 10, 32);
    mn_graph_builder *builder = new_builder(&w, 1);
    assert_true(mn_graph_builder_add(builder, 10, NULL, NULL));
    assert_int_equal(mn_graph_builder_write(builder, "/dev/full", test_error()), MNEME_ERR_DISK_FULL);
    assert_int_equal(mn_graph_builder_write(builder, w.dir, test_error()), MNEME_ERR_IO);
    mn_graph_builder_free(builder);
    end_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(graphs_of_every_kind_are_sound_and_every_node_is_reached),
        cmocka_unit_test(small_graphs_are_sound_and_found_whole),
        cmocka_unit_test(the_same_codes_give_the_same_file),
        cmocka_unit_test(as_much_is_found_as_in_faiss_s_graph),
        cmocka_unit_test(faiss_finds_as_much_in_it_as_the_walk),
        cmocka_unit_test(what_is_added_later_is_found_and_the_graph_can_be_walked_before),
        cmocka_unit_test(faiss_writes_what_it_reads),
        cmocka_unit_test(faiss_extends_it),
        cmocka_unit_test(many_copies_of_one_vector_among_others_are_found),
        cmocka_unit_test(copies_alone_make_a_graph),
        cmocka_unit_test(a_build_ends_soon_when_it_is_not_wanted_any_more),
        cmocka_unit_test(a_builder_without_memory_is_none),
        cmocka_unit_test(a_graph_that_cannot_be_written_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
