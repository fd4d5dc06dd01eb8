"""The innermost loops of matrix products: 32 rows of a matrix times a few columns.

Each maker returns an operation for a fixed number of columns, in LLVM IR: the running sums stay in registers, the weights
come as one stream, and each column's sum is formed in the same order whatever the number of columns, so that a result
does not depend on its neighbours.

    int8_tile(4)(weights, codes, stride, scales, sums, scale_stride, groups, out, out_stride)    4 columns x 32 rows -> out
"""

from collections.abc import Callable

from numba import types
from numba.core import cgutils

from liaoliao.engine.cpu.dots import (
    add_bf16,
    add_int4,
    add_int8,
    bf16_parts,
    int4_parts,
    int4_sum,
    int8_parts,
)
from liaoliao.engine.cpu.emit import (
    F32,
    F32X,
    I8X,
    I16X,
    I32,
    I32X,
    I64,
    Build,
    Builder,
    Value,
    fetch_ahead,
    i64,
    number,
    operation,
    read,
    widen_half,
    write,
)
from liaoliao.engine.cpu.layout import INT4_BYTES, INT4_HEADER, INT8_BYTES
from liaoliao.engine.cpu.loops import (
    HALVES,
    LINE,
    Places,
    Sums,
    addresses,
    fresh_sums,
    moved,
    passes_over,
    read_sums,
    repeat,
    repeat_few,
    spread_at,
    write_sums,
)

AHEAD = 4352  # bytes between what is multiplied and what is asked for; found by measurement
PIECE = 64  # pairs of columns of a tile that several passes go through, one after the other: 8 kB of weights


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
        inputs, targets = (addresses(builder, a, s, columns) for a, s in ((codes, stride), (out, out_stride)))
        streams = addresses(builder, weights, tile_bytes, tiles)
        lines = [moved(builder, streams[t], LINE * half) for t in range(tiles) for half in HALVES]
        passes = passes_over(len(lines), columns)
        if len(passes) == 1:
            sums = fresh_sums(builder, *passes[0])

            def pair(i: Value) -> None:
                for line in lines:
                    fetch_ahead(builder, moved(builder, line, builder.mul(i, number(2 * LINE)), AHEAD))
                _add_pair(builder, sums, lines, inputs, i)

            repeat(builder, pairs, pair)
            write_sums(builder, sums, targets)
        else:
            _bf16_pieces(builder, passes, lines, inputs, pairs, targets)

    return tile


def _bf16_pieces(
    builder: Builder,
    passes: list[tuple[Places, Places]],
    lines: list[Value],
    inputs: list[Value],
    pairs: Value,
    targets: list[Value],
) -> None:
    """A tile in several passes, a piece after the other: it comes from far once, and in each pass from close by."""
    for rows, some in passes:
        write_sums(builder, fresh_sums(builder, rows, some), targets)

    def piece(p: Value) -> None:
        begin = builder.mul(p, number(PIECE))
        end = builder.add(begin, number(PIECE))
        next_piece = moved(builder, lines[0], builder.mul(end, number(2 * LINE)))
        last = builder.select(builder.icmp_signed("<", end, pairs), end, pairs)
        for n, (rows, some) in enumerate(passes):
            sums = fresh_sums(builder, rows, some)
            read_sums(builder, sums, targets)
            with cgutils.for_range(builder, last, start=begin, intp=I64) as loop:
                share = 2 * LINE // len(passes)  # of the next piece's bytes, for each pair of this one
                place = builder.mul(builder.sub(loop.index, begin), number(share))
                fetch_ahead(builder, moved(builder, next_piece, place, n * share * PIECE))
                _add_pair(builder, sums, lines, inputs, loop.index)
            write_sums(builder, sums, targets)

    repeat(builder, builder.sdiv(builder.add(pairs, number(PIECE - 1)), number(PIECE)), piece)


def _add_pair(builder: Builder, sums: Sums, lines: list[Value], inputs: list[Value], i: Value) -> None:
    """Add the i-th pair of columns of some rows, times the inputs."""
    rows, columns = ({key[axis]: None for key in sums} for axis in (0, 1))
    here = {row: moved(builder, lines[row], builder.mul(i, number(2 * LINE))) for row in rows}
    parts = {row: bf16_parts(builder, read(builder, here[row], I32X, LINE)) for row in rows}
    for c in columns:
        for row in rows:
            at = builder.mul(i, number(4 * len(parts[row])))
            for k, part in enumerate(parts[row]):
                x = moved(builder, inputs[c], at, 4 * k)
                sums[row, c].put(add_bf16(builder, sums[row, c].get(), part, x))


def _fetch_group(builder: Builder, address: Value, size: int) -> None:
    for offset in range(0, size, LINE):
        fetch_ahead(builder, moved(builder, address, AHEAD + offset))


def _add_lines(
    builder: Builder,
    dots: Sums,
    group: tuple[Value, Value, int],
    inputs: list[Value],
    take_apart: Callable[[Builder, Value], list[Value]],
    add: Callable[[Builder, Value, Value, Value], Value],
) -> None:
    """Add a group's lines of weights times its inputs to `dots`. `group`: its address, its place, its pairs of lines."""
    start, i, count = group
    halves, some = ({key[axis]: None for key in dots} for axis in (0, 1))

    def pair_of_lines(j: Value) -> None:
        for half in halves:
            line = moved(builder, start, builder.mul(j, number(2 * LINE)), LINE * half)
            parts = take_apart(builder, read(builder, line, I32X, LINE))
            at = builder.mul(builder.add(builder.mul(i, number(count)), j), number(4 * len(parts)))
            for k, part in enumerate(parts):
                for c in some:
                    x = moved(builder, inputs[c], at, 4 * k)
                    dots[half, c].put(add(builder, dots[half, c].get(), part, x))

    repeat_few(builder, count, pair_of_lines)


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
        results, inputs = (
            fresh_sums(builder, HALVES, range(columns)),
            addresses(builder, codes, stride, columns),
        )
        input_scales, input_sums = (addresses(builder, a, scale_stride, columns) for a in (scales, sums))

        def group(i: Value) -> None:
            start, place = (
                moved(builder, weights, builder.mul(i, number(INT8_BYTES))),
                builder.mul(i, number(4)),
            )
            _fetch_group(builder, start, INT8_BYTES)
            for halves, some in passes_over(2, columns):
                shifts = {c: spread_at(builder, moved(builder, input_sums[c], place), I32) for c in some}
                dots = fresh_sums(builder, halves, some, I32X)
                for (_, c), dot in dots.items():
                    dot.put(shifts[c])
                _add_lines(builder, dots, (start, i, 8), inputs, int8_parts, add_int8)
                scales_at = [moved(builder, start, 16 * LINE + 32 * half) for half in HALVES]
                own = {half: widen_half(builder, read(builder, scales_at[half], I16X, 32)) for half in halves}
                for (half, c), dot in dots.items():
                    both = builder.fmul(
                        own[half], spread_at(builder, moved(builder, input_scales[c], place), F32)
                    )
                    results[half, c].add_product(builder.sitofp(dot.get(), F32X), both)

        repeat(builder, groups, group)
        write_sums(builder, results, addresses(builder, out, out_stride, columns))

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
        scaled, lifted = (fresh_sums(builder, HALVES, range(columns)) for _ in range(2))
        inputs = addresses(builder, codes, stride, columns)
        input_scales, input_sums = (addresses(builder, a, scale_stride, columns) for a in (scales, sums))
        first = moved(builder, weights, INT4_HEADER)

        def group(i: Value) -> None:
            start, place = (
                moved(builder, first, builder.mul(i, number(INT4_BYTES))),
                builder.mul(i, number(4)),
            )
            _fetch_group(builder, start, INT4_BYTES)
            for halves, some in passes_over(2, columns):
                dots = fresh_sums(builder, halves, some, I32X)
                _add_lines(builder, dots, (start, i, 4), inputs, int4_parts, add_int4)
                own, low = (
                    {half: _small_numbers(builder, moved(builder, start, at + 16 * half)) for half in halves}
                    for at in (512, 544)
                )
                for (half, c), dot in dots.items():
                    scale, sum_ = (
                        spread_at(builder, moved(builder, a[c], place), F32)
                        for a in (input_scales, input_sums)
                    )
                    whole = builder.sitofp(int4_sum(builder, dot.get()), F32X)
                    scaled[half, c].add_product(builder.fmul(whole, own[half]), scale)
                    lifted[half, c].add_product(low[half], sum_)

        repeat(builder, groups, group)
        targets = addresses(builder, out, out_stride, columns)
        for half in HALVES:
            unit, low_unit = (
                widen_half(builder, read(builder, moved(builder, weights, at + 32 * half), I16X, 32))
                for at in (0, 64)
            )
            for c, address in enumerate(targets):
                value = builder.fmul(unit, scaled[half, c].get())
                value = builder.fsub(value, builder.fmul(low_unit, lifted[half, c].get()))
                write(builder, value, moved(builder, address, half * LINE), 4)

    return tile


def _small_numbers(builder: Builder, address: Value) -> Value:
    """16 bytes, 0 to 255, as fp32."""
    wide = builder.zext(read(builder, address, I8X, 16), I32X)
    return builder.sitofp(wide, F32X)
