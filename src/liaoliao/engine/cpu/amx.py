"""Products of bf16 by AMX: 16 columns x 16 rows x 32 numbers in one instruction, on registers of a kilobyte each.

A register holds up to 16 rows of 64 bytes. A matrix as `layout` has it is already what the instruction wants: a line for
each pair of columns; so are the inputs, a row for each. Every sum is formed in the same order whatever the number of
columns, so that a result does not depend on its neighbours; it is not the order of `tiles`, so one processor takes one way
for all of its products of bf16.

    set_rows(16, 4)                              from now on registers hold 16 columns' inputs and sums, and 4 more columns'
    amx_tile(2)(weights, 0, codes, stride, steps, out, out_stride)                           20 columns x 32 rows -> out
    release()                                    before other code runs for long: nothing to save when threads change
"""

from itertools import product
from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.core import cgutils

from liaoliao.engine.cpu.emit import (
    I8,
    I16,
    Build,
    Builder,
    Value,
    call,
    compiled,
    fetch_ahead,
    has,
    i64,
    number,
    operation,
    pointer,
)
from liaoliao.engine.cpu.layout import ROW_GAP
from liaoliao.engine.cpu.loops import HALVES, LINE, addresses, moved, repeat
from liaoliao.engine.cpu.tiles import AHEAD

ROWS: Final = 16  # of a register, at most
SPAN: Final = 32  # numbers of a row: two bytes each
_INPUTS, _WEIGHTS = (4, 5), (6, 7)  # registers; those before hold sums


def multiplies_tiles() -> bool:
    """Whether this process may multiply bf16 by AMX."""
    return has("amx-tile", "amx-bf16")


@operation(types.void, i64, i64)
def set_rows(builder: Builder, first: Value, further: Value) -> None:
    """Registers of inputs and sums get this many rows (1 to 16): those of the first 16 columns, and of the further ones."""
    rows = [first, first, further, further, first, further, number(ROWS), number(ROWS)]
    config = cgutils.alloca_once(builder, ir.ArrayType(I8, LINE))
    start = builder.ptrtoint(config, number(0).type)
    zero = ir.Constant(ir.ArrayType(I8, LINE), None)
    builder.store(zero, config)
    _put(builder, start, 0, ir.Constant(I8, 1))  # the one palette there is
    for register, count in enumerate(rows):
        _put(builder, start, 16 + 2 * register, ir.Constant(I16, LINE))  # bytes of a row
        _put(builder, start, 48 + register, builder.trunc(count, I8))
    call(builder, "llvm.x86.ldtilecfg", ir.VoidType(), pointer(builder, start))


def _put(builder: Builder, start: Value, offset: int, value: Value) -> None:
    builder.store(value, pointer(builder, moved(builder, start, offset)), align=1)


@operation(types.void)
def release(builder: Builder) -> None:
    """Registers are empty, and need not be saved."""
    call(builder, "llvm.x86.tilerelease", ir.VoidType())


def amx_tile(blocks: int, tiles: int = 1) -> Build:
    """32 rows of bf16 weights times one or two blocks of up to 16 rows of inputs; or those of two tiles, `tile_bytes`
    apart, times one block. `steps` are the spans of 32 numbers that a row has.
    """

    @operation(types.void, *[i64] * 7)
    def tile(
        builder: Builder,
        weights: Value,
        tile_bytes: Value,
        codes: Value,
        stride: Value,
        steps: Value,
        out: Value,
        out_stride: Value,
    ) -> None:
        streams = addresses(builder, weights, tile_bytes, tiles)
        inputs, targets = (
            addresses(builder, start, builder.mul(by, number(ROWS)), blocks)
            for start, by in ((codes, stride), (out, out_stride))
        )
        multiply(builder, streams, (inputs, stride), steps, (targets, out_stride))

    return tile


def multiply(
    builder: Builder,
    streams: list[Value],
    inputs: tuple[list[Value], Value],
    steps: Value,
    targets: tuple[list[Value], Value],
) -> None:
    """Each tile that begins in `streams` times each block of inputs; inputs and targets are blocks, and bytes from row to
    row. There are registers for four half tiles of sums.
    """
    sums: dict[tuple[int, int, int], int] = {}
    for t, b, half in product(range(len(streams)), range(len(inputs[0])), HALVES):
        sums[t, b, half] = len(sums)
        _do(builder, "tilezero", sums[t, b, half])

    def step(i: Value) -> None:
        for b, start in enumerate(inputs[0]):
            _load(builder, _INPUTS[b], moved(builder, start, builder.mul(i, number(LINE))), inputs[1])
        for t, start in enumerate(streams):
            here = moved(builder, start, builder.mul(i, number(2 * LINE * ROWS)))
            for offset in range(0, 2 * LINE * ROWS, LINE):
                fetch_ahead(builder, moved(builder, here, AHEAD + offset))
            for half in HALVES:
                _load(builder, _WEIGHTS[half], moved(builder, here, LINE * half), number(2 * LINE))
                for b in range(len(inputs[0])):
                    _do(builder, "tdpbf16ps", sums[t, b, half], _INPUTS[b], _WEIGHTS[half])

    repeat(builder, steps, step)
    for (t, b, half), register in sums.items():
        target = pointer(builder, moved(builder, targets[0][b], 2 * LINE * t + LINE * half))
        _do(builder, "tilestored64", register, target, targets[1])


def _load(builder: Builder, register: int, address: Value, stride: Value) -> None:
    _do(builder, "tileloadd64", register, pointer(builder, address), stride)


def _do(builder: Builder, name: str, *operands: int | Value) -> None:
    """An instruction on registers, given as numbers, and on other values."""
    values = (ir.Constant(I8, each) if isinstance(each, int) else each for each in operands)
    call(builder, f"llvm.x86.{name}", ir.VoidType(), *values)


_one, _one_by_two, _two = amx_tile(1), amx_tile(1, tiles=2), amx_tile(2)


@compiled
def matmul_amx(matrix: Any, first: int, last: int, inputs: Any, columns: int, out: int, stride: int) -> None:
    """See `ops.matmul`."""
    step, steps, tile_bytes = 2 * matrix.inner + ROW_GAP, matrix.inner // SPAN, matrix.tile_bytes
    x, tile, rest = inputs.codes, first, columns % (2 * ROWS)
    whole = columns - rest
    if not columns:
        return  # registers must have rows
    if whole:
        set_rows(ROWS, ROWS)
    elif columns > ROWS:
        set_rows(ROWS, columns - ROWS)
    else:
        set_rows(columns, columns)
        while tile + 2 <= last:
            w, y = matrix.data + tile_bytes * tile, out + 128 * tile
            _one_by_two(w, tile_bytes, x, step, steps, y, stride)
            tile += 2
    while tile < last:
        w, y = matrix.data + tile_bytes * tile, out + 128 * tile
        for c in range(0, whole, 2 * ROWS):
            _two(w, 0, x + c * step, step, steps, y + c * stride, stride)
        if whole and rest:
            set_rows(min(rest, ROWS), max(rest - ROWS, 1))
        if rest > ROWS:
            _two(w, 0, x + whole * step, step, steps, y + whole * stride, stride)
        elif rest:
            _one(w, 0, x + whole * step, step, steps, y + whole * stride, stride)
        if whole and rest:
            set_rows(ROWS, ROWS)
        tile += 1
    release()
