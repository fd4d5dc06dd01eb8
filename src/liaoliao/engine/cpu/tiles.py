"""The innermost loops: 32 rows of a matrix times a few columns, 16 positions' scores, a mix of values.

Each maker returns an operation for a fixed number of columns, in LLVM IR: the running sums stay in registers, the weights
come as one stream, and each column's sum is formed in the same order whatever the number of columns, so that a result
does not depend on its neighbours.

    int8_tile(4)(weights, codes, stride, scales, sums, scale_stride, groups, out, out_stride)    4 columns x 32 rows -> out
"""

from collections.abc import Callable
from typing import Any, TypeAlias

from llvmlite import ir
from numba import types
from numba.core import cgutils

from liaoliao.engine.cpu.emit import (
    F32,
    F32X,
    I8,
    I16X,
    I32,
    I32X,
    I64,
    LANES,
    Build,
    Builder,
    Value,
    dot2,
    dot4,
    fetch_ahead,
    i64,
    lanes,
    multiply_add,
    number,
    operation,
    read,
    spread,
    widen_half,
    write,
)
from liaoliao.engine.cpu.layout import INT4_BYTES, INT4_HEADER, INT8_BYTES

AHEAD = 4352  # bytes between what is multiplied and what is asked for; found by measurement
LINE = 64
HALVES = range(2)  # rows 0..15 and 16..31 of a tile
Sums: TypeAlias = list[list[Any]]


def _loop(builder: Builder, count: Value, body: Callable[[Value], None]) -> None:
    with cgutils.for_range(builder, count, intp=I64) as loop:
        body(loop.index)


def _at(builder: Builder, address: Value, *offsets: Value | int) -> Value:
    for offset in offsets:
        address = builder.add(address, number(offset) if isinstance(offset, int) else offset)
    return address


def _each(builder: Builder, address: Value, stride: Value, count: int) -> list[Value]:
    """`count` addresses, `stride` bytes apart."""
    return [builder.add(address, builder.mul(stride, number(i))) for i in range(count)]


class _Sum:
    """A running vector sum; LLVM keeps it in a register."""

    def __init__(self, builder: Builder) -> None:
        self.builder, self.place = builder, cgutils.alloca_once(builder, F32X)
        builder.store(lanes(F32X, 0.0), self.place)

    def get(self) -> Value:
        return self.builder.load(self.place, typ=F32X)

    def put(self, value: Value) -> None:
        self.builder.store(value, self.place)

    def add_product(self, x: Value, y: Value) -> None:
        self.put(multiply_add(self.builder, x, y, self.get()))


def _sums(builder: Builder, rows: int, columns: int) -> list[list[_Sum]]:
    return [[_Sum(builder) for _ in range(columns)] for _ in range(rows)]


def _spread_at(builder: Builder, address: Value, kind: ir.Type) -> Value:
    return spread(builder, read(builder, address, kind, 4))


# ---------------------------------------------------------------- matrices


def bf16_tile(columns: int, tiles: int = 1) -> Build:
    """32 rows of bf16 weights times `columns` rows of bf16 inputs; or those of two tiles, `tile_bytes` apart.

    A sum waits for the one before it. Few columns keep too few sums going; then the rows of two tiles fill the time.
    """

    @operation(types.void, *[i64] * 7)
    def tile(
        builder: Builder,
        weights: Value,
        tile_bytes: Value,
        codes: Value,
        stride: Value,
        pairs: Value,
        out: Value,
        out_stride: Value,
    ) -> None:
        halves = [(t, half) for t in range(tiles) for half in HALVES]
        sums, inputs = _sums(builder, len(halves), columns), _each(builder, codes, stride, columns)
        streams = _each(builder, weights, tile_bytes, tiles)

        def pair(i: Value) -> None:
            lines = [
                _at(builder, streams[t], builder.mul(i, number(2 * LINE)), LINE * half) for t, half in halves
            ]
            for line in lines:
                fetch_ahead(builder, _at(builder, line, AHEAD))
            w = [read(builder, line, I32X, LINE) for line in lines]
            for c in range(columns):
                x = _spread_at(builder, _at(builder, inputs[c], builder.mul(i, number(4))), I32)
                for row, line in enumerate(w):
                    sums[row][c].put(dot2(builder, sums[row][c].get(), line, x))

        _loop(builder, pairs, pair)
        for c, address in enumerate(_each(builder, out, out_stride, columns)):
            for row in range(len(halves)):
                write(builder, sums[row][c].get(), _at(builder, address, row * LINE), 4)

    return tile


def _fetch_group(builder: Builder, address: Value, size: int) -> None:
    for offset in range(0, size, LINE):
        fetch_ahead(builder, _at(builder, address, AHEAD + offset))


def int8_tile(columns: int) -> Build:
    """32 rows of int8 weights times `columns` rows of int8 inputs; `sums` holds -128 times the sum of each input group."""

    @operation(types.void, *[i64] * 9)
    def tile(
        builder: Builder,
        weights: Value,
        codes: Value,
        stride: Value,
        scales: Value,
        sums: Value,
        scale_stride: Value,
        groups: Value,
        out: Value,
        out_stride: Value,
    ) -> None:
        results, inputs = _sums(builder, 2, columns), _each(builder, codes, stride, columns)
        input_scales, input_sums = (_each(builder, a, scale_stride, columns) for a in (scales, sums))

        def group(i: Value) -> None:
            start, place = (
                _at(builder, weights, builder.mul(i, number(INT8_BYTES))),
                builder.mul(i, number(4)),
            )
            _fetch_group(builder, start, INT8_BYTES)
            shift = [_spread_at(builder, _at(builder, input_sums[c], place), I32) for c in range(columns)]
            dots: Sums = [list(shift) for _ in HALVES]
            for j in range(8):
                x = _input_bytes(builder, inputs, i, 4 * j)
                for half in HALVES:
                    w = read(builder, _at(builder, start, LINE * (2 * j + half)), I32X, LINE)
                    dots[half] = [dot4(builder, dots[half][c], w, x[c]) for c in range(columns)]
            scale = [_spread_at(builder, _at(builder, input_scales[c], place), F32) for c in range(columns)]
            for half in HALVES:
                halves = read(builder, _at(builder, start, 16 * LINE + 32 * half), I16X, 32)
                own = widen_half(builder, halves)
                for c in range(columns):
                    both = builder.fmul(own, scale[c])
                    results[half][c].add_product(builder.sitofp(dots[half][c], F32X), both)

        _loop(builder, groups, group)
        for c, address in enumerate(_each(builder, out, out_stride, columns)):
            for half in HALVES:
                write(builder, results[half][c].get(), _at(builder, address, half * LINE), 4)

    return tile


def int4_tile(columns: int) -> Build:
    """32 rows of int4 weights times `columns` rows of int8 inputs; `sums` holds scale times sum of each input group."""

    @operation(types.void, *[i64] * 9)
    def tile(
        builder: Builder,
        weights: Value,
        codes: Value,
        stride: Value,
        scales: Value,
        sums: Value,
        scale_stride: Value,
        groups: Value,
        out: Value,
        out_stride: Value,
    ) -> None:
        scaled, lifted = _sums(builder, 2, columns), _sums(builder, 2, columns)
        inputs = _each(builder, codes, stride, columns)
        input_scales, input_sums = (_each(builder, a, scale_stride, columns) for a in (scales, sums))
        first = _at(builder, weights, INT4_HEADER)

        def group(i: Value) -> None:
            start, place = _at(builder, first, builder.mul(i, number(INT4_BYTES))), builder.mul(i, number(4))
            _fetch_group(builder, start, INT4_BYTES)
            dots: Sums = [[lanes(I32X, 0)] * columns for _ in HALVES]
            for j in range(4):
                x = [_input_bytes(builder, inputs, i, 8 * j + 4 * upper) for upper in range(2)]
                for half in HALVES:
                    line = read(builder, _at(builder, start, LINE * (2 * j + half)), I32X, LINE)
                    for upper, w in enumerate(_nibbles(builder, line)):
                        dots[half] = [dot4(builder, dots[half][c], w, x[upper][c]) for c in range(columns)]
            scale = [_spread_at(builder, _at(builder, input_scales[c], place), F32) for c in range(columns)]
            sum_ = [_spread_at(builder, _at(builder, input_sums[c], place), F32) for c in range(columns)]
            for half in HALVES:
                own, low = (_small_numbers(builder, _at(builder, start, at + 16 * half)) for at in (512, 544))
                for c in range(columns):
                    product = builder.fmul(builder.sitofp(dots[half][c], F32X), own)
                    scaled[half][c].add_product(product, scale[c])
                    lifted[half][c].add_product(low, sum_[c])

        _loop(builder, groups, group)
        for half in HALVES:
            unit, low_unit = (
                widen_half(builder, read(builder, _at(builder, weights, at + 32 * half), I16X, 32))
                for at in (0, 64)
            )
            for c, address in enumerate(_each(builder, out, out_stride, columns)):
                value = builder.fmul(unit, scaled[half][c].get())
                value = builder.fsub(value, builder.fmul(low_unit, lifted[half][c].get()))
                write(builder, value, _at(builder, address, half * LINE), 4)

    return tile


def _input_bytes(builder: Builder, inputs: list[Value], group: Value, offset: int) -> list[Value]:
    """4 input bytes of each column, in every lane."""
    place = builder.mul(group, number(32))
    return [_spread_at(builder, _at(builder, address, place, offset), I32) for address in inputs]


def _nibbles(builder: Builder, line: Value) -> tuple[Value, Value]:
    mask = lanes(I32X, 0x0F0F0F0F)
    return builder.and_(line, mask), builder.and_(builder.lshr(line, lanes(I32X, 4)), mask)


def _small_numbers(builder: Builder, address: Value) -> Value:
    """16 bytes, 0 to 255, as fp32."""
    wide = builder.zext(read(builder, address, ir.VectorType(I8, LANES), 16), I32X)
    return builder.sitofp(wide, F32X)


# ---------------------------------------------------------------- attention


def score_tile(queries: int) -> Build:
    """Scores of one block's 16 positions for `queries` heads: keys fp16 [dim][16], queries fp32 side by side."""

    @operation(types.void, *[i64] * 6)
    def tile(
        builder: Builder, keys: Value, query: Value, stride: Value, dims: Value, out: Value, out_stride: Value
    ) -> None:
        sums, heads = _sums(builder, 2, queries), _each(builder, query, stride, queries)

        def two_dims(i: Value) -> None:
            for odd in range(2):
                key = _at(builder, keys, builder.mul(i, number(64)), 32 * odd)
                row = widen_half(builder, read(builder, key, I16X, 32))
                for q in range(queries):
                    x = _at(builder, heads[q], builder.mul(i, number(8)), 4 * odd)
                    sums[odd][q].add_product(row, _spread_at(builder, x, F32))

        _loop(builder, builder.lshr(dims, number(1)), two_dims)
        for q, address in enumerate(_each(builder, out, out_stride, queries)):
            write(builder, builder.fadd(sums[0][q].get(), sums[1][q].get()), address, 4)

    return tile


def mix_tile(queries: int) -> Build:
    """32 dims of one block's values, added up by probability: values fp16 [position][dim], onto what `out` holds."""

    @operation(types.void, *[i64] * 7)
    def tile(
        builder: Builder,
        values: Value,
        row_bytes: Value,
        probabilities: Value,
        stride: Value,
        positions: Value,
        out: Value,
        out_stride: Value,
    ) -> None:
        sums, shares = _sums(builder, 2, queries), _each(builder, probabilities, stride, queries)
        targets = _each(builder, out, out_stride, queries)
        for q, half in ((q, half) for q in range(queries) for half in HALVES):
            sums[half][q].put(read(builder, _at(builder, targets[q], LINE * half), F32X, 4))

        def position(i: Value) -> None:
            row = _at(builder, values, builder.mul(i, row_bytes))
            parts = [
                widen_half(builder, read(builder, _at(builder, row, 32 * half), I16X, 32)) for half in HALVES
            ]
            for q in range(queries):
                share = _spread_at(builder, _at(builder, shares[q], builder.mul(i, number(4))), F32)
                for half in HALVES:
                    sums[half][q].add_product(parts[half], share)

        _loop(builder, positions, position)
        for q, half in ((q, half) for q in range(queries) for half in HALVES):
            write(builder, sums[half][q].get(), _at(builder, targets[q], LINE * half), 4)

    return tile
