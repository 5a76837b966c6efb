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

enum { STEP = 16, PANEL = 32 }; /* groups, columns */

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

/* Rows past n_rows are in place up to the next multiple of 16 (product.h), so a tile is always loaded whole. */
#define DEFINE_MULTIPLY(name, dot)                                                                                     \
    static void name(const uint32_t *rows, size_t row_stride, uint32_t n_rows, const uint32_t *weights,                \
                     uint32_t n_groups, void *tile)                                                                    \
    {                                                                                                                  \
        const size_t row_bytes = row_stride * 4, panel_bytes = PANEL * 4;                                              \
        float *sums = tile;                                                                                            \
        _tile_zero(0);                                                                                                 \
        _tile_zero(1);                                                                                                 \
        if (n_rows <= 16) {                                                                                            \
            for (size_t g = 0; g < n_groups; g += STEP) {                                                              \
                _tile_loadd(6, rows + g, row_bytes);                                                                   \
                _tile_loadd(4, weights + g * PANEL, panel_bytes);                                                      \
                _tile_loadd(5, weights + g * PANEL + 16, panel_bytes);                                                 \
                dot(0, 6, 4);                                                                                          \
                dot(1, 6, 5);                                                                                          \
            }                                                                                                          \
        } else {                                                                                                       \
            _tile_zero(2);                                                                                             \
            _tile_zero(3);                                                                                             \
            for (size_t g = 0; g < n_groups; g += STEP) {                                                              \
                _tile_loadd(6, rows + g, row_bytes);                                                                   \
                _tile_loadd(4, weights + g * PANEL, panel_bytes);                                                      \
                _tile_loadd(5, weights + g * PANEL + 16, panel_bytes);                                                 \
                _tile_loadd(7, rows + 16 * row_stride + g, row_bytes);                                                 \
                dot(0, 6, 4);                                                                                          \
                dot(1, 6, 5);                                                                                          \
                dot(2, 7, 4);                                                                                          \
                dot(3, 7, 5);                                                                                          \
            }                                                                                                          \
            _tile_stored(2, sums + 16 * PANEL, panel_bytes);                                                           \
            _tile_stored(3, sums + 16 * PANEL + 16, panel_bytes);                                                      \
        }                                                                                                              \
        _tile_stored(0, sums, panel_bytes);                                                                            \
        _tile_stored(1, sums + 16, panel_bytes);                                                                       \
    }

DEFINE_MULTIPLY(multiply_bf16, _tile_dpbf16ps)
DEFINE_MULTIPLY(multiply_u8, _tile_dpbusd)

/* 256 rows: one pass over the weights of a layer (3.5 MB as bfloat16) is shared by that many rows, or the tiles would
 * wait for the third-level cache. */
const mn_product_kernel mn_product_amx_bf16 = {.name = "amx",
                                               .element = MN_ELEMENT_BF16,
                                               .panel = PANEL,
                                               .tile_rows = 32,
                                               .group_multiple = STEP,
                                               .block_rows = 256,
                                               .begin = begin,
                                               .end = end,
                                               .multiply = multiply_bf16};
const mn_product_kernel mn_product_amx_u8 = {.name = "amx",
                                             .element = MN_ELEMENT_U8,
                                             .panel = PANEL,
                                             .tile_rows = 32,
                                             .group_multiple = STEP,
                                             .block_rows = 256,
                                             .begin = begin,
                                             .end = end,
                                             .multiply = multiply_u8};
#endif
