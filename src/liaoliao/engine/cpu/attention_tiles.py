"""The innermost loops of attention: 16 positions' scores, a mix of values; made as those of `tiles` are.

score_tile(8)(keys, query, stride, dims, out, out_stride)        8 query heads x 16 positions -> out
"""

from numba import types

from liaoliao.engine.cpu.emit import (
    F32,
    I16X,
    Build,
    Builder,
    Value,
    i64,
    number,
    operation,
    read,
    widen_half,
    write,
)
from liaoliao.engine.cpu.loops import (
    Places,
    Sums,
    addresses,
    columns_together,
    fresh_sums,
    moved,
    passes_over,
    read_sums,
    repeat,
    spread_at,
    write_sums,
)


def score_tile(queries: int) -> Build:
    """Scores of one block's 16 positions for `queries` heads: keys fp16 [dim][16], queries fp32 side by side."""

    @operation(types.void, *[i64] * 6)
    def tile(
        builder: Builder, keys: Value, query: Value, stride: Value, dims: Value, out: Value, out_stride: Value
    ) -> None:
        heads, targets = (addresses(builder, a, s, queries) for a, s in ((query, stride), (out, out_stride)))
        for some in columns_together(queries, sums_each=2):
            sums = fresh_sums(builder, range(2), some)

            def two_dims(i: Value, some: Places = some, sums: Sums = sums) -> None:
                for odd in range(2):
                    key = moved(builder, keys, builder.mul(i, number(64)), 32 * odd)
                    row = widen_half(builder, read(builder, key, I16X, 32))
                    for q in some:
                        x = moved(builder, heads[q], builder.mul(i, number(8)), 4 * odd)
                        sums[odd, q].add_product(row, spread_at(builder, x, F32))

            repeat(builder, builder.lshr(dims, number(1)), two_dims)
            for q in some:
                write(builder, builder.fadd(sums[0, q].get(), sums[1, q].get()), targets[q], 4)

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
        shares, targets = (
            addresses(builder, a, s, queries) for a, s in ((probabilities, stride), (out, out_stride))
        )
        for halves, some in passes_over(2, queries):
            sums = fresh_sums(builder, halves, some)
            read_sums(builder, sums, targets)

            def position(i: Value, halves: Places = halves, some: Places = some, sums: Sums = sums) -> None:
                row = moved(builder, values, builder.mul(i, row_bytes))
                parts = {
                    half: widen_half(builder, read(builder, moved(builder, row, 32 * half), I16X, 32))
                    for half in halves
                }
                for q in some:
                    share = spread_at(builder, moved(builder, shares[q], builder.mul(i, number(4))), F32)
                    for half in halves:
                        sums[half, q].add_product(parts[half], share)

            repeat(builder, positions, position)
            write_sums(builder, sums, targets)

    return tile
