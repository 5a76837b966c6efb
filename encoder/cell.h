/* cell.h -- the kinds of recurrent cells (gate_kernels.h has their formulas). */
#ifndef MN_ENCODER_CELL_H
#define MN_ENCODER_CELL_H

#include <stdint.h>

typedef enum mn_cell { MN_CELL_LSTM, MN_CELL_GRU } mn_cell;
enum { MN_CELL_COUNT = 2 };

static inline uint32_t mn_cell_gates(mn_cell cell)
{
    return cell == MN_CELL_LSTM ? 4 : 3;
}

#endif
