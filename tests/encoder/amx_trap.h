/* amx_trap.h -- the AMX instructions that product_amx.c was compiled to, executed by a handler of the signal that they
 * raise on a processor without AMX (x86-64, System V). So the machine code itself is tested everywhere, slowly.
 * Encodings: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, and 19.3 of volume 1. */
#ifndef MN_TESTS_AMX_TRAP_H
#define MN_TESTS_AMX_TRAP_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

enum { AMX_TILES = 8, AMX_ROWS = 16, AMX_GROUPS = 16 };

typedef struct amx_state {
    bool configured; /* as product_amx.c does: eight tiles of 16 rows of 64 bytes */
    uint32_t tiles[AMX_TILES][AMX_ROWS][AMX_GROUPS];
    size_t n_streamed, n_dots; /* TILELOADDT1, and products, executed */
} amx_state;

static amx_state g_amx;

/* One instruction: three bytes of VEX, opcode, ModRM, SIB and displacement. */
typedef struct amx_instruction {
    const uint8_t *start, *end;
    unsigned prefix, opcode, mode, reg, rm, third; /* prefix: 0 none, 1 66, 2 F3, 3 F2; third: VEX.vvvv */
    char *address;
    size_t stride;
} amx_instruction;

static void amx_fail(const amx_instruction *i, const char *why)
{
    fprintf(stderr, "%s:", why);
    for (size_t k = 0; k < 12; k++) fprintf(stderr, " %02x", i->start[k]);
    fprintf(stderr, "\n");
    abort();
}

static uint64_t amx_register(const greg_t *registers, unsigned number)
{
    static const int places[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                   REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    return (uint64_t)registers[places[number]];
}

static void amx_decode_address(amx_instruction *i, const greg_t *registers, unsigned base_high, unsigned index_high)
{
    uint64_t address = 0;
    bool has_base = true, relative = i->mode == 0 && i->rm == 5;
    int32_t displacement = 0;
    if (i->rm == 4) {
        unsigned sib = *i->end++, index = (sib >> 3 & 7) | index_high;
        has_base = !(i->mode == 0 && (sib & 7) == 5);
        if (has_base) address = amx_register(registers, (sib & 7) | base_high);
        if (index != 4) i->stride = (size_t)amx_register(registers, index) << (sib >> 6);
    } else if (!relative) {
        address = amx_register(registers, i->rm | base_high);
    }
    if (i->mode == 1) {
        displacement = (int8_t)*i->end++;
    } else if (i->mode == 2 || relative || !has_base) {
        memcpy(&displacement, i->end, sizeof displacement);
        i->end += sizeof displacement;
    }
    if (relative) address = (uint64_t)(uintptr_t)i->end;
    i->address = (char *)(uintptr_t)(address + (uint64_t)(int64_t)displacement);
}

static amx_instruction amx_decode(const greg_t *registers)
{
    const uint8_t *p = (const uint8_t *)(uintptr_t)registers[REG_RIP];
    amx_instruction i = {.start = p,
                         .end = p + 5,
                         .prefix = p[2] & 3,
                         .opcode = p[3],
                         .mode = p[4] >> 6,
                         .reg = p[4] >> 3 & 7,
                         .rm = p[4] & 7,
                         .third = (unsigned)~p[2] >> 3 & 15};
    /* VEX.128, W0, map 0F38; R and vvvv's highest bit name no tile. */
    if (p[0] != 0xC4 || (p[1] & 0x9F) != 0x82 || (p[2] & 0x84) != 0 || i.third >= AMX_TILES)
        amx_fail(&i, "not an instruction of AMX");
    if (i.mode != 3) amx_decode_address(&i, registers, p[1] & 0x20 ? 0 : 8, p[1] & 0x40 ? 0 : 8);
    return i;
}

static void amx_configure(const amx_instruction *i)
{
    const uint8_t *config = (const uint8_t *)i->address;
    for (size_t t = 0; t < AMX_TILES; t++) {
        uint16_t bytes;
        memcpy(&bytes, config + 16 + 2 * t, sizeof bytes);
        if (config[0] != 1 || config[1] != 0 || bytes != 64 || config[48 + t] != AMX_ROWS)
            amx_fail(i, "not the configuration of product_amx.c");
    }
    memset(g_amx.tiles, 0, sizeof g_amx.tiles);
    g_amx.configured = true;
}

static float amx_bf16(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* One sum of TDPBF16PS: the even products and the odd ones apart, then both (denormal numbers are not taken for zero,
 * as the instruction does). */
static uint32_t amx_sum_bf16(uint32_t sum, const uint32_t *a, const uint32_t (*b)[AMX_GROUPS], size_t n)
{
    float even = 0, odd = 0, total = amx_bf16(sum);
    for (size_t k = 0; k < AMX_GROUPS; k++) {
        even += amx_bf16(a[k] << 16) * amx_bf16(b[k][n] << 16);
        odd += amx_bf16(a[k] & 0xFFFF0000u) * amx_bf16(b[k][n] & 0xFFFF0000u);
    }
    total += even + odd;
    memcpy(&sum, &total, sizeof sum);
    return sum;
}

/* One sum of TDPBUSD. */
static uint32_t amx_sum_bytes(uint32_t sum, const uint32_t *a, const uint32_t (*b)[AMX_GROUPS], size_t n)
{
    for (size_t k = 0; k < AMX_GROUPS; k++)
        for (unsigned shift = 0; shift < 32; shift += 8)
            sum += (uint32_t)((int32_t)(a[k] >> shift & 0xFF) * (int8_t)(b[k][n] >> shift & 0xFF));
    return sum;
}

static void amx_multiply(const amx_instruction *i)
{
    const uint32_t(*b)[AMX_GROUPS] = (const uint32_t(*)[AMX_GROUPS])g_amx.tiles[i->third];
    for (size_t m = 0; m < AMX_ROWS; m++)
        for (size_t n = 0; n < AMX_GROUPS; n++) {
            uint32_t *sum = &g_amx.tiles[i->reg][m][n];
            const uint32_t *a = g_amx.tiles[i->rm][m];
            *sum = i->opcode == 0x5C ? amx_sum_bf16(*sum, a, b, n) : amx_sum_bytes(*sum, a, b, n);
        }
    g_amx.n_dots++;
}

static void amx_move(const amx_instruction *i)
{
    bool store = i->prefix == 2;
    g_amx.n_streamed += i->prefix == 1;
    for (size_t r = 0; r < AMX_ROWS; r++) {
        char *there = i->address + r * i->stride;
        memcpy(store ? there : (char *)g_amx.tiles[i->reg][r], store ? (char *)g_amx.tiles[i->reg][r] : there, 64);
    }
}

static void amx_execute(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)info;
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const amx_instruction i = amx_decode(registers);
    bool memory = i.mode != 3;
    if (i.opcode == 0x49 && i.prefix == 0 && memory)
        amx_configure(&i);
    else if (!g_amx.configured)
        amx_fail(&i, "tiles are not configured");
    else if (i.opcode == 0x49 && i.prefix == 0)
        g_amx.configured = false; /* TILERELEASE */
    else if (i.opcode == 0x49 && i.prefix == 3 && !memory)
        memset(g_amx.tiles[i.reg], 0, sizeof g_amx.tiles[i.reg]);
    else if (i.opcode == 0x4B && i.prefix != 0 && memory)
        amx_move(&i);
    else if (!memory && ((i.opcode == 0x5C && i.prefix == 2) || (i.opcode == 0x5E && i.prefix == 1)))
        amx_multiply(&i); /* TDPBF16PS, TDPBUSD */
    else
        amx_fail(&i, "an instruction that this handler does not have");
    registers[REG_RIP] = (greg_t)(uintptr_t)i.end;
}

static inline void amx_trap_install(void)
{
    struct sigaction action = {.sa_sigaction = amx_execute, .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    sigaction(SIGILL, &action, NULL);
}

#endif
