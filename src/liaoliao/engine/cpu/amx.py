"""Products of bf16 by AMX: 16 columns x 16 rows x 32 numbers in one instruction, on registers of a kilobyte each.

A register holds up to 16 rows of 64 bytes. A matrix as `layout` has it is already what the instruction wants: a line for
each pair of columns; so are the inputs, a row for each. Every sum is formed in the same order whatever the number of
columns, so that a result does not depend on its neighbours; it is not the order of `tiles`, so here one or two columns,
too, have loops of their own.

    set_rows(16, 4)                              from now on registers hold 16 columns' inputs and sums, and 4 more columns'
    amx_tile(2)(weights, 0, codes, stride, steps, out, out_stride)                           20 columns x 32 rows -> out
    release()                                    before other code runs for long: nothing to save when threads change
"""

from itertools import product
from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.core import cgutils

from liaoliao.engine.cpu.dots import multiplies_bf16, split_pairs
from liaoliao.engine.cpu.emit import (
    I8,
    I16,
    I32,
    I32X,
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
    read,
    write,
)
from liaoliao.engine.cpu.layout import ROW_GAP
from liaoliao.engine.cpu.loops import (
    HALVES,
    LINE,
    addresses,
    fresh_sums,
    moved,
    repeat,
    spread_at,
    write_sums,
)
from liaoliao.engine.cpu.tiles import AHEAD

ROWS: Final = 16  # of a register, at most
SPAN: Final = 32  # numbers of a row: two bytes each
_INPUTS, _WEIGHTS = (4, 5), (6, 7)  # registers; those before hold sums


def multiplies_tiles() -> bool:
    """Whether this process may multiply bf16 by AMX, and inputs lie in memory as pairs of bf16."""
    return multiplies_bf16() and has("amx-tile", "amx-bf16")


@operation(types.void, i64, i64)
def set_rows(builder: Builder, first: Value, further: Value) -> None:
    """Registers of inputs and sums get this many rows (1 to 16): those of the first 16 columns, and of the further ones."""
    rows = [first, first, further, further, first, further, number(ROWS), number(ROWS)]
    config = cgutils.alloca_once(builder, ir.ArrayType(I8, LINE))
    start = builder.ptrtoint(config, number(0).type)
    zero = ir.Constant(ir.ArrayType(I8, LINE), None)
    builder.store(zero, config)
    write(builder, ir.Constant(I8, 1), start, 1)  # the one palette there is
    for register, count in enumerate(rows):
        write(builder, ir.Constant(I16, LINE), moved(builder, start, 16 + 2 * register), 1)  # bytes of a row
        write(builder, builder.trunc(count, I8), moved(builder, start, 48 + register), 1)
    call(builder, "llvm.x86.ldtilecfg", ir.VoidType(), pointer(builder, start))


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


def few_tile(columns: int) -> Build:
    """32 rows of bf16 weights times one or two rows of inputs, without those registers, in the order of `amx_tile`'s sums.

    AMX reads weights a little more slowly than AVX-512 does, and with so few columns nothing else counts. In a span it adds
    up even and odd numbers apart, then both, then that to the sum. (Products of bf16 are exact in fp32.)
    """

    @operation(types.void, *[i64] * 6)
    def tile(
        builder: Builder,
        weights: Value,
        codes: Value,
        stride: Value,
        steps: Value,
        out: Value,
        out_stride: Value,
    ) -> None:
        inputs, targets = (addresses(builder, a, s, columns) for a, s in ((codes, stride), (out, out_stride)))
        sums = fresh_sums(builder, HALVES, range(columns))

        def step(i: Value) -> None:
            evens, odds = (fresh_sums(builder, HALVES, range(columns)) for _ in range(2))
            for pair in range(ROWS):
                here = moved(builder, weights, builder.mul(i, number(2 * LINE * ROWS)), 2 * LINE * pair)
                at = moved(builder, builder.mul(i, number(LINE)), 4 * pair)
                xs = [split_pairs(builder, spread_at(builder, moved(builder, x, at), I32)) for x in inputs]
                for half in HALVES:
                    fetch_ahead(builder, moved(builder, here, AHEAD + LINE * half))
                    line = read(builder, moved(builder, here, LINE * half), I32X, LINE)
                    even, odd = split_pairs(builder, line)
                    for c, (even_x, odd_x) in enumerate(xs):
                        evens[half, c].add_product(even, even_x)
                        odds[half, c].add_product(odd, odd_x)
            for place, sum_ in sums.items():
                both = builder.fadd(evens[place].get(), odds[place].get())
                sum_.put(builder.fadd(sum_.get(), both))

        repeat(builder, steps, step)
        write_sums(builder, sums, targets)

    return tile


_few_1, _few_2 = few_tile(1), few_tile(2)


@compiled
def matmul_amx(matrix: Any, first: int, last: int, inputs: Any, columns: int, out: int, stride: int) -> None:
    """See `ops.matmul`."""
    if columns <= 2:
        _few_columns(matrix, first, last, inputs.codes, columns, out, stride)
    elif columns <= ROWS:
        _one_block(matrix, first, last, inputs.codes, columns, out, stride)
    else:
        _many_columns(matrix, first, last, inputs.codes, columns, out, stride)


@compiled
def _few_columns(matrix: Any, first: int, last: int, x: int, columns: int, out: int, stride: int) -> None:
    step, steps = 2 * matrix.inner + ROW_GAP, matrix.inner // SPAN
    for tile in range(first, last):
        w, y = matrix.data + matrix.tile_bytes * tile, out + 128 * tile
        if columns == 2:
            _few_2(w, x, step, steps, y, stride)
        elif columns == 1:
            _few_1(w, x, step, steps, y, stride)


@compiled
def _one_block(matrix: Any, first: int, last: int, x: int, columns: int, out: int, stride: int) -> None:
    """3 to 16 columns."""
    step, steps, tile_bytes = 2 * matrix.inner + ROW_GAP, matrix.inner // SPAN, matrix.tile_bytes
    w, y, left = matrix.data + tile_bytes * first, out + 128 * first, last - first
    set_rows(columns, columns)
    while left >= 2:
        _one_by_two(w, tile_bytes, x, step, steps, y, stride)
        w, y, left = w + 2 * tile_bytes, y + 256, left - 2
    if left:
        _one(w, 0, x, step, steps, y, stride)
    release()


@compiled
def _many_columns(matrix: Any, first: int, last: int, x: int, columns: int, out: int, stride: int) -> None:
    """Two blocks at a time; the last ones may have fewer columns, or be a single one."""
    step, steps = 2 * matrix.inner + ROW_GAP, matrix.inner // SPAN
    rest = columns % (2 * ROWS)
    whole = columns - rest
    for tile in range(first, last):
        w, y = matrix.data + matrix.tile_bytes * tile, out + 128 * tile
        if whole and (rest or tile == first):
            set_rows(ROWS, ROWS)
        for c in range(0, whole, 2 * ROWS):
            _two(w, 0, x + c * step, step, steps, y + c * stride, stride)
        if rest and (whole or tile == first):
            set_rows(min(rest, ROWS), max(rest - ROWS, 1))
        if rest > ROWS:
            _two(w, 0, x + whole * step, step, steps, y + whole * stride, stride)
        elif rest:
            _one(w, 0, x + whole * step, step, steps, y + whole * stride, stride)
    release()
