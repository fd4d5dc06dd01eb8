"""The parts of a forward pass that one thread carries out, compiled: products, norms, rotation, attention.

Everything takes addresses and sizes; which thread does which part is decided in `step`.

    normalise(x, gain, width, eps, row)
    prepare(INT8, row, width, inputs, 0, 0, width // 32)
    matmul(matrix, 0, matrix.tiles, inputs, 1, out, 0)
"""

from typing import Any

import numpy as np

from liaoliao.engine.cpu.amx import matmul_amx, multiplies_tiles
from liaoliao.engine.cpu.attention_tiles import mix_tile, score_tile
from liaoliao.engine.cpu.dots import BF16_INPUT, INT8_INPUT
from liaoliao.engine.cpu.emit import compiled, num_registers
from liaoliao.engine.cpu.layout import (
    BF16,
    BLOCK,
    INT4_BYTES,
    INT4_HEADER,
    INT8,
    INT8_BYTES,
    MAX_QUERIES,
    ROW_GAP,
)
from liaoliao.engine.cpu.loops import MANY_REGISTERS
from liaoliao.engine.cpu.simd import (
    broadcast,
    exponential,
    from_bf16,
    from_f16,
    fused,
    get_f32,
    get_i64,
    get_u8,
    get_u16,
    larger,
    largest,
    load,
    magnitude,
    put_f32,
    put_i32,
    put_u16,
    store,
    store_bf16_inputs,
    store_f16,
    store_int4_inputs,
    store_int8_inputs,
    total,
)
from liaoliao.engine.cpu.tiles import bf16_tile, int4_tile, int8_tile

ZERO, ONE = np.float32(0), np.float32(1)
_UNSEEN = np.float32(-1e30)  # a score that must not be seen
_TO_UNIT = np.float32(1 / 127)
_SMALLEST = np.float32(1e-30)  # below it a group is zero: 127 divided by it would overflow

FEW = 2 if num_registers() >= MANY_REGISTERS else 1  # columns for which two tiles of bf16 are taken together
MOST = 4 if num_registers() >= MANY_REGISTERS else 8  # columns of bytes that share a pass over the weights
_bf16_1, _bf16_2, _bf16_4, _bf16_8 = (bf16_tile(columns) for columns in (1, 2, 4, 8))
_bf16_1x2, _bf16_2x2 = (bf16_tile(columns, tiles=2) for columns in (1, 2))
_int8_1, _int8_2, _int8_4, _int8_most = (int8_tile(columns) for columns in (1, 2, 4, MOST))
_int4_1, _int4_2, _int4_4, _int4_most = (int4_tile(columns) for columns in (1, 2, 4, MOST))
_score_1, _score_2, _score_4, _score_8 = (score_tile(queries) for queries in (1, 2, 4, 8))
_mix_1, _mix_2, _mix_4, _mix_8 = (mix_tile(queries) for queries in (1, 2, 4, 8))


# ---------------------------------------------------------------- matrix products


@compiled
def prepare(kind: int, source: int, inner: int, inputs: Any, column: int, first: int, last: int) -> None:
    """Make groups `first` to `last` of an input row, which begin at `source`, ready for a matrix of `kind`."""
    if kind == BF16:
        codes = inputs.codes + column * (BF16_INPUT * inner + ROW_GAP) + 32 * BF16_INPUT * first
        for i in range(2 * (last - first)):
            store_bf16_inputs(codes + 16 * BF16_INPUT * i, load(source + 64 * i))
        return
    size = INT8_INPUT if kind == INT8 else 1  # bytes of an input number
    codes, place = inputs.codes + column * (size * inner + ROW_GAP), 4 * column * (inner // 32)
    for group in range(first, last):
        low, high = load(source), load(source + 64)
        most = magnitude(low, high)
        inverse = broadcast(np.float32(127) / most if most > _SMALLEST else ZERO)
        low, high, scale = low * inverse, high * inverse, most * _TO_UNIT
        at, half = codes + 32 * size * group, 16 * size
        put_f32(inputs.scales + place + 4 * group, scale)
        if kind == INT8:
            sum_ = store_int8_inputs(at, low) + store_int8_inputs(at + half, high)
            put_i32(inputs.sums + place + 4 * group, -128 * sum_)
        else:
            sum_ = store_int4_inputs(at, low) + store_int4_inputs(at + half, high)
            put_f32(inputs.sums + place + 4 * group, scale * np.float32(sum_))
        source += 128


@compiled
def _matmul_bf16(
    matrix: Any, first: int, last: int, inputs: Any, columns: int, out: int, stride: int
) -> None:
    inner, x, step, tile = matrix.inner, inputs.codes, BF16_INPUT * matrix.inner + ROW_GAP, first
    pairs, tile_bytes = inner // 2, matrix.tile_bytes
    while columns <= FEW and tile + 2 <= last:
        w, y = matrix.data + tile_bytes * tile, out + 128 * tile
        if columns == 2:
            _bf16_2x2(w, tile_bytes, x, step, pairs, y, stride)
        elif columns == 1:
            _bf16_1x2(w, tile_bytes, x, step, pairs, y, stride)
        tile += 2
    while tile < last:
        w, y, c = matrix.data + tile_bytes * tile, out + 128 * tile, 0
        while c + 8 <= columns:
            _bf16_8(w, 0, x + c * step, step, pairs, y, stride)
            c, y = c + 8, y + 8 * stride
        if c + 4 <= columns:
            _bf16_4(w, 0, x + c * step, step, pairs, y, stride)
            c, y = c + 4, y + 4 * stride
        if c + 2 <= columns:
            _bf16_2(w, 0, x + c * step, step, pairs, y, stride)
            c, y = c + 2, y + 2 * stride
        if c < columns:
            _bf16_1(w, 0, x + c * step, step, pairs, y, stride)
        tile += 1


@compiled
def _matmul_int8(
    matrix: Any, first: int, last: int, inputs: Any, columns: int, out: int, stride: int
) -> None:
    step, groups = INT8_INPUT * matrix.inner + ROW_GAP, matrix.inner // 32
    x, s, t, scale_step = inputs.codes, inputs.scales, inputs.sums, 4 * groups
    for tile in range(first, last):
        w, y, c, g = matrix.data + matrix.tile_bytes * tile, out + 128 * tile, 0, 0
        while c + MOST <= columns:
            _int8_most(w, x + c * step, step, s + g, t + g, scale_step, groups, y, stride)
            c, g, y = c + MOST, g + MOST * scale_step, y + MOST * stride
        if c + 4 <= columns:
            _int8_4(w, x + c * step, step, s + g, t + g, scale_step, groups, y, stride)
            c, g, y = c + 4, g + 4 * scale_step, y + 4 * stride
        if c + 2 <= columns:
            _int8_2(w, x + c * step, step, s + g, t + g, scale_step, groups, y, stride)
            c, g, y = c + 2, g + 2 * scale_step, y + 2 * stride
        if c < columns:
            _int8_1(w, x + c * step, step, s + g, t + g, scale_step, groups, y, stride)


@compiled
def _matmul_int4(
    matrix: Any, first: int, last: int, inputs: Any, columns: int, out: int, stride: int
) -> None:
    step, groups = matrix.inner + ROW_GAP, matrix.inner // 32
    x, s, t, scale_step = inputs.codes, inputs.scales, inputs.sums, 4 * groups
    for tile in range(first, last):
        w, y, c, g = matrix.data + matrix.tile_bytes * tile, out + 128 * tile, 0, 0
        while c + MOST <= columns:
            _int4_most(w, x + c * step, step, s + g, t + g, scale_step, groups, y, stride)
            c, g, y = c + MOST, g + MOST * scale_step, y + MOST * stride
        if c + 4 <= columns:
            _int4_4(w, x + c * step, step, s + g, t + g, scale_step, groups, y, stride)
            c, g, y = c + 4, g + 4 * scale_step, y + 4 * stride
        if c + 2 <= columns:
            _int4_2(w, x + c * step, step, s + g, t + g, scale_step, groups, y, stride)
            c, g, y = c + 2, g + 2 * scale_step, y + 2 * stride
        if c < columns:
            _int4_1(w, x + c * step, step, s + g, t + g, scale_step, groups, y, stride)


_product_bf16 = matmul_amx if multiplies_tiles() else _matmul_bf16


@compiled
def matmul(matrix: Any, first: int, last: int, inputs: Any, columns: int, out: int, stride: int) -> None:
    """Rows of tiles `first` to `last` of matrix times each input row: fp32, `stride` bytes from column to column."""
    if matrix.kind == BF16:
        _product_bf16(matrix, first, last, inputs, columns, out, stride)
    elif matrix.kind == INT8:
        _matmul_int8(matrix, first, last, inputs, columns, out, stride)
    else:
        _matmul_int4(matrix, first, last, inputs, columns, out, stride)


@compiled
def gather(matrix: Any, row: int, out: int) -> None:
    """One row of a packed matrix, as fp32: a token's embedding."""
    inner, tile, r = matrix.inner, row // 32, row % 32
    lane = 64 * (r // 16) + 4 * (r % 16)  # of the row within each pair of lines
    if matrix.kind == BF16:
        start = matrix.data + matrix.tile_bytes * tile + lane
        for k in range(inner):
            put_f32(out + 4 * k, from_bf16(get_u16(start + 128 * (k // 2) + 2 * (k % 2))))
    elif matrix.kind == INT8:
        start = matrix.data + matrix.tile_bytes * tile
        for k in range(inner):
            group = start + INT8_BYTES * (k // 32)
            code = get_u8(group + 128 * (k % 32 // 4) + lane + k % 4) - 128
            put_f32(out + 4 * k, np.float32(code) * from_f16(get_u16(group + 1024 + 2 * r)))
    else:
        start = matrix.data + matrix.tile_bytes * tile
        unit, low_unit = from_f16(get_u16(start + 2 * r)), from_f16(get_u16(start + 64 + 2 * r))
        for k in range(inner):
            group = start + INT4_HEADER + INT4_BYTES * (k // 32)
            code = get_u8(group + 128 * (k % 32 // 8) + lane + k % 4)
            code = code >> 4 if k & 4 else code & 15
            scale, low = (
                unit * np.float32(get_u8(group + 512 + r)),
                low_unit * np.float32(get_u8(group + 544 + r)),
            )
            put_f32(out + 4 * k, np.float32(code) * scale - low)


# ---------------------------------------------------------------- one row at a time


@compiled
def normalise(x: int, gain: int, width: int, eps: float, out: int) -> None:
    """Root-mean-square norm of a row of `width` numbers."""
    even, odd = broadcast(ZERO), broadcast(ZERO)
    for i in range(0, 4 * width, 128):
        a, b = load(x + i), load(x + i + 64)
        even, odd = fused(a, a, even), fused(b, b, odd)
    scale = broadcast(ONE / np.sqrt(total(even + odd) / np.float32(width) + eps))
    for i in range(0, 4 * width, 64):
        store(out + i, load(x + i) * scale * load(gain + i))


@compiled
def rotate(head: int, gain: int, dims: int, eps: float, rotary: int) -> None:
    """Turn a query or key head to its position, in place; before that its norm, where there is a gain.

    `rotary` holds the cosines and then the sines of the position's angles.
    """
    half, scale = 2 * dims, broadcast(ONE)
    if gain:
        squares = broadcast(ZERO)
        for i in range(0, 2 * half, 64):
            squares = fused(load(head + i), load(head + i), squares)
        scale = broadcast(ONE / np.sqrt(total(squares) / np.float32(dims) + eps))
    for i in range(0, half, 64):
        a, b = load(head + i) * scale, load(head + half + i) * scale
        if gain:
            a, b = a * load(gain + i), b * load(gain + half + i)
        cos, sin = load(rotary + i), load(rotary + half + i)
        store(head + i, a * cos - b * sin)
        store(head + half + i, fused(b, cos, a * sin))


@compiled
def add_to(x: int, y: int, start: int, stop: int) -> None:
    """x += y, over bytes `start` to `stop` of two rows of fp32."""
    for i in range(start, stop, 64):
        store(x + i, load(x + i) + load(y + i))


@compiled
def gated(gate_up: int, first: int, last: int, out: int) -> None:
    """silu(gate) * up of tiles `first` to `last`, each 16 gates and then their 16 ups."""
    for tile in range(first, last):
        gate, up = load(gate_up + 128 * tile), load(gate_up + 128 * tile + 64)
        store(out, gate / (broadcast(ONE) + exponential(broadcast(ZERO) - gate)) * up)
        out += 64


@compiled
def log_probability(logits: int, vocab: int, token: int) -> float:
    """The logprob of a token under a row of logits, whose padding to a whole vector this fills in."""
    end = (vocab + 15) // 16 * 64
    for i in range(4 * vocab, end, 4):
        put_f32(logits + i, _UNSEEN)
    top = load(logits)
    for i in range(64, end, 64):
        top = larger(load(logits + i), top)
    peak, mass = largest(top), broadcast(ZERO)
    for i in range(0, end, 64):
        mass = mass + exponential(load(logits + i) - broadcast(peak))
    own: float = get_f32(logits + 4 * token) - peak - np.log(total(mass))
    return own


# ---------------------------------------------------------------- attention


@compiled
def remember(key: int, value: int, dims: int, keys: int, values: int, place: int, row: int) -> None:
    """Write a key and a value at position `place` of a block; `row` is room for `dims` numbers."""
    for i in range(0, dims, 16):
        store_f16(values + 2 * (place * dims + i), load(value + 4 * i))
        store_f16(row + 2 * i, load(key + 4 * i))
    for i in range(dims):
        put_u16(keys + 2 * (i * BLOCK + place), get_u16(row + 2 * i))


@compiled
def softmax(scores: int, count: int, padded: int, scale: float) -> None:
    """In place over `count` scores; what follows, up to `padded`, becomes 0."""
    end = (count + 15) // 16 * 16
    for i in range(count, end):
        put_f32(scores + 4 * i, _UNSEEN)
    top = load(scores)
    for i in range(64, 4 * end, 64):
        top = larger(load(scores + i), top)
    peak, factor, mass = broadcast(largest(top)), broadcast(scale), broadcast(ZERO)
    for i in range(0, 4 * end, 64):
        share = exponential((load(scores + i) - peak) * factor)
        store(scores + i, share)
        mass = mass + share
    norm = broadcast(ONE / total(mass))
    for i in range(0, 4 * end, 64):
        store(scores + i, load(scores + i) * norm)
    for i in range(count, padded):
        put_f32(scores + 4 * i, ZERO)


@compiled
def attend(
    queries: int,
    scratch: Any,
    dims: int,
    counts: tuple[int, int],
    group: int,
    memory: Any,
    tables: int,
    scale: float,
) -> None:
    """Attention of `counts[1]` query heads over stored positions of one key-value head; results in `scratch.mixed`.

    Query q belongs to the q // group-th of neighbouring tokens, the first of which sees `counts[0]` positions. `memory` is
    where the head's keys and values of block 0 lie, and the bytes from block to block.
    """
    first, queries_here = counts
    keys, values, block_bytes = memory
    seen = first + (queries_here - 1) // group  # positions of the last token
    blocks = (seen + BLOCK - 1) // BLOCK
    for b in range(blocks):
        _score_block(
            queries, queries_here, dims, keys + get_i64(tables + 8 * b) * block_bytes, scratch, 64 * b
        )
    for q in range(queries_here):
        softmax(scratch.scores + q * scratch.score_bytes, first + q // group, BLOCK * blocks, scale)
    for i in range(0, 4 * dims * queries_here, 64):
        store(scratch.mixed + i, broadcast(ZERO))
    for b in range(blocks):
        block, count = values + get_i64(tables + 8 * b) * block_bytes, min(BLOCK, seen - BLOCK * b)
        for i in range(0, dims, 32):
            _mix_block(block + 2 * i, count, queries_here, dims, scratch, 64 * b, 4 * i)


@compiled
def _score_block(queries: int, count: int, dims: int, keys: int, scratch: Any, offset: int) -> None:
    step, out, stride, q = 4 * dims, scratch.scores + offset, scratch.score_bytes, 0
    while q + 8 <= count:
        _score_8(keys, queries + q * step, step, dims, out + q * stride, stride)
        q += 8
    if q + 4 <= count:
        _score_4(keys, queries + q * step, step, dims, out + q * stride, stride)
        q += 4
    if q + 2 <= count:
        _score_2(keys, queries + q * step, step, dims, out + q * stride, stride)
        q += 2
    if q < count:
        _score_1(keys, queries + q * step, step, dims, out + q * stride, stride)


@compiled
def _mix_block(
    values: int, positions: int, count: int, dims: int, scratch: Any, offset: int, to: int
) -> None:
    shares, stride, step, q = scratch.scores + offset, scratch.score_bytes, 4 * dims, 0
    out = scratch.mixed + to
    while q + 8 <= count:
        _mix_8(values, 2 * dims, shares + q * stride, stride, positions, out + q * step, step)
        q += 8
    if q + 4 <= count:
        _mix_4(values, 2 * dims, shares + q * stride, stride, positions, out + q * step, step)
        q += 4
    if q + 2 <= count:
        _mix_2(values, 2 * dims, shares + q * stride, stride, positions, out + q * step, step)
        q += 2
    if q < count:
        _mix_1(values, 2 * dims, shares + q * stride, stride, positions, out + q * step, step)


@compiled
def tokens_together(group: int) -> int:
    """Neighbouring tokens of one row whose query heads share a pass over the keys."""
    return max(1, MAX_QUERIES // group)
