/* product_amx.c -- tile products on AMX tiles: bfloat16, and bytes.
 *
 * A call takes 32 rows by a panel of 32 columns: four tiles of sums, so that each of the two tiles of rows and two of
 * weights that a step loads is used twice. A step is 16 groups of the depth, one tile's width.
 *
 *                    4 | 5      weights, 16 groups x 16 columns each
 *              6     0 | 1
 *              7     2 | 3      sums, 16 rows x 16 columns each
 *             rows
 *
 * Tiles belong to a thread: begin configures them, end releases them, so that the system need not save them. */
#if defined(__AMX_TILE__) || defined(MN_EMULATE_INSTRUCTIONS)
#include "encoder/instructions.h"
#include "encoder/product.h"

enum {
    STEP = 16,  /* groups */
    PANEL = 32, /* columns */
    /* One pass over the weights of a layer (3.5 MB as bfloat16) is shared by that many rows, or the tiles would wait
     * for the third-level cache. */
    BLOCK_ROWS = 256,
    /* 12 KB of a panel: they stay in half of a first-level cache of 48 KB, which two threads may share, while the rows
     * come from the second level, 32 bytes a cycle at full speed of its 48. Whole panels would need 66 to 76
     * (docs/encoder.md). */
    PART_STEPS = 6
};

/* Palette 1: every tile 16 rows of 64 bytes. */
typedef struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes_per_row[16];
    uint8_t rows[16];
} tile_config;

static void begin(void)
{
    static const tile_config config __attribute__((aligned(64))) = {
        .palette = 1, .bytes_per_row = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}};
    _tile_loadconfig(&config);
}

static void end(void)
{
    _tile_release();
}

/* Two tiles of sums, side by side. */
#define BEGIN_SUMS(left, right, from)                                                                                  \
    if (first) {                                                                                                       \
        _tile_zero(left);                                                                                              \
        _tile_zero(right);                                                                                             \
    } else {                                                                                                           \
        _tile_loadd(left, from, panel_bytes);                                                                          \
        _tile_loadd(right, (from) + 16, panel_bytes);                                                                  \
    }

/* Rows past n_rows are in place up to the next multiple of 16 (product.h), so a tile is always loaded whole. */
#define DEFINE_SUMS(name, load_rows, dot)                                                                              \
    static inline void name(const uint32_t *rows, size_t row_stride, uint32_t n_rows, const uint32_t *weights,         \
                            uint32_t n_groups, bool first, void *tile)                                                 \
    {                                                                                                                  \
        const size_t row_bytes = row_stride * 4, panel_bytes = PANEL * 4;                                              \
        float *sums = tile, *lower = sums + 16 * PANEL;                                                                \
        BEGIN_SUMS(0, 1, sums)                                                                                         \
        if (n_rows <= 16) {                                                                                            \
            for (size_t g = 0; g < n_groups; g += STEP) {                                                              \
                load_rows(6, rows + g, row_bytes);                                                                     \
                _tile_loadd(4, weights + g * PANEL, panel_bytes);                                                      \
                _tile_loadd(5, weights + g * PANEL + 16, panel_bytes);                                                 \
                dot(0, 6, 4);                                                                                          \
                dot(1, 6, 5);                                                                                          \
            }                                                                                                          \
        } else {                                                                                                       \
            BEGIN_SUMS(2, 3, lower)                                                                                    \
            for (size_t g = 0; g < n_groups; g += STEP) {                                                              \
                load_rows(6, rows + g, row_bytes);                                                                     \
                _tile_loadd(4, weights + g * PANEL, panel_bytes);                                                      \
                _tile_loadd(5, weights + g * PANEL + 16, panel_bytes);                                                 \
                load_rows(7, rows + 16 * row_stride + g, row_bytes);                                                   \
                dot(0, 6, 4);                                                                                          \
                dot(1, 6, 5);                                                                                          \
                dot(2, 7, 4);                                                                                          \
                dot(3, 7, 5);                                                                                          \
            }                                                                                                          \
            _tile_stored(2, lower, panel_bytes);                                                                       \
            _tile_stored(3, lower + 16, panel_bytes);                                                                  \
        }                                                                                                              \
        _tile_stored(0, sums, panel_bytes);                                                                            \
        _tile_stored(1, sums + 16, panel_bytes);                                                                       \
    }

#define DEFINE_KERNEL(suffix, which, dot)                                                                              \
    DEFINE_SUMS(sums_##suffix, _tile_loadd, dot)                                                                       \
    DEFINE_SUMS(multiply_part_##suffix, _tile_stream_loadd, dot)                                                       \
    static void multiply_##suffix(const uint32_t *rows, size_t row_stride, uint32_t n_rows, const uint32_t *weights,   \
                                  uint32_t n_groups, void *tile)                                                       \
    {                                                                                                                  \
        sums_##suffix(rows, row_stride, n_rows, weights, n_groups, true, tile);                                        \
    }                                                                                                                  \
    const mn_product_kernel mn_product_amx_##suffix = {.name = "amx",                                                  \
                                                       .element = which,                                               \
                                                       .panel = PANEL,                                                 \
                                                       .tile_rows = 32,                                                \
                                                       .group_multiple = STEP,                                         \
                                                       .block_rows = BLOCK_ROWS,                                       \
                                                       .part_groups = PART_STEPS * STEP,                               \
                                                       .begin = begin,                                                 \
                                                       .end = end,                                                     \
                                                       .multiply = multiply_##suffix,                                  \
                                                       .multiply_part = multiply_part_##suffix};

DEFINE_KERNEL(bf16, MN_ELEMENT_BF16, _tile_dpbf16ps)
DEFINE_KERNEL(u8, MN_ELEMENT_U8, _tile_dpbusd)
#endif
