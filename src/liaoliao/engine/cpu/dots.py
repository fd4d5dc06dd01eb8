"""Weights times inputs, a line of weights (64 bytes) at a time, in the processor's own way.

Processors that multiply bf16 or bytes and add up in one instruction take both as they are stored. For others a line is
first taken apart, and inputs lie in memory the way those parts want them, so that nothing is done to an input more than
once. The sums of bytes are whole numbers, the same in every way. (AMX multiplies not lines but tiles: `amx`.)

    kind    a line holds            inputs where it is native     and where it is not
    bf16    16 rows, 2 columns      pairs of bf16                 fp32, rounded to bf16
    int8    16 rows, 4 columns      bytes                         words: columns 0 and 2, then 1 and 3
    int4    16 rows, 8 columns      bytes                         bytes
"""

from llvmlite import ir

from liaoliao.engine.cpu.emit import (
    BF16,
    F32,
    F32X,
    I8,
    I8X,
    I16,
    I16X,
    I32,
    I32X,
    LANES,
    Builder,
    Value,
    call,
    drop_bits,
    has,
    lanes,
    multiply_add,
    write,
)
from liaoliao.engine.cpu.loops import spread_at

BYTES, PAIRS, WORDS = ir.VectorType(I8, 64), ir.VectorType(BF16, 32), ir.VectorType(I16, 32)
_HALF_BYTES, _HALF_WORDS, _HALF_I32 = ir.VectorType(I8, 32), ir.VectorType(I16, 16), ir.VectorType(I32, 8)
_EVEN_FIRST = [4 * (i // 4) + (0, 2, 1, 3)[i % 4] for i in range(LANES)]


def multiplies_bf16() -> bool:
    """Whether pairs of bf16 are multiplied and added in one instruction."""
    return has("avx512bf16")


def multiplies_bytes() -> bool:
    """Whether four bytes are multiplied and added in one instruction."""
    return has("avx512vnni") or has("avxvnni")


BF16_INPUT = 2 if multiplies_bf16() else 4  # bytes of an input number
INT8_INPUT = 1 if multiplies_bytes() else 2

# ---------------------------------------------------------------- bf16


def write_bf16_inputs(builder: Builder, value: Value, address: Value) -> None:
    """16 numbers, each rounded to bf16."""
    if multiplies_bf16():
        write(builder, builder.fptrunc(value, ir.VectorType(BF16, LANES)), address, 2)
    else:
        bits = drop_bits(builder, builder.bitcast(value, I32X), 16)
        write(builder, builder.shl(bits, lanes(I32X, 16)), address, 4)


def bf16_parts(builder: Builder, line: Value) -> list[Value]:
    """What the inputs of two columns are multiplied by, in turn: the pairs; or one column and the other, as fp32."""
    if multiplies_bf16():
        return [builder.bitcast(line, PAIRS)]
    return split_pairs(builder, line)


def split_pairs(builder: Builder, pairs: Value) -> list[Value]:
    """The first and the second of 16 pairs of bf16, as fp32."""
    parts = [builder.shl(pairs, lanes(I32X, 16)), builder.and_(pairs, lanes(I32X, -0x10000))]
    return [builder.bitcast(part, F32X) for part in parts]


def add_bf16(builder: Builder, total: Value, part: Value, address: Value) -> Value:
    """total + part * the input at `address`, 4 bytes."""
    if multiplies_bf16():
        pair = builder.bitcast(spread_at(builder, address, I32), PAIRS)
        return call(builder, "llvm.x86.avx512bf16.dpbf16ps.512", F32X, total, part, pair)
    return multiply_add(builder, part, spread_at(builder, address, F32), total)


# ---------------------------------------------------------------- int8


def write_bytes(builder: Builder, whole: Value, address: Value) -> None:
    """16 whole numbers of -128 to 127, as bytes."""
    write(builder, builder.trunc(whole, I8X), address, 1)


def write_int8_inputs(builder: Builder, whole: Value, address: Value) -> None:
    """16 whole numbers of -128 to 127, for weights of int8."""
    if multiplies_bytes():
        write_bytes(builder, whole, address)
        return
    words = builder.trunc(whole, I16X)
    words = builder.shuffle_vector(words, words, ir.Constant(I32X, _EVEN_FIRST))
    write(builder, words, address, 2)


def int8_parts(builder: Builder, line: Value) -> list[Value]:
    """What the inputs of four columns are multiplied by, in turn: the bytes; or even and odd ones, as words."""
    if multiplies_bytes():
        return [line]
    line = builder.bitcast(line, WORDS)
    return [builder.and_(line, lanes(WORDS, 255)), builder.lshr(line, lanes(WORDS, 8))]


def add_int8(builder: Builder, total: Value, part: Value, address: Value) -> Value:
    """total + part . the input at `address`, 4 bytes: whole numbers."""
    x = spread_at(builder, address, I32)
    if multiplies_bytes():
        return dot4(builder, total, part, x)
    x = builder.bitcast(x, WORDS)
    if has("avx2"):
        return builder.add(total, _by_halves(builder, "llvm.x86.avx2.pmadd.wd", _HALF_WORDS, (part, x)))
    part, x = (builder.bitcast(v, I32X) for v in (part, x))
    sixteen = lanes(I32X, 16)
    for left, right in ((builder.shl(v, sixteen) for v in (part, x)), (part, x)):
        total = builder.add(total, builder.mul(builder.ashr(left, sixteen), builder.ashr(right, sixteen)))
    return total


# ---------------------------------------------------------------- int4


def int4_parts(builder: Builder, line: Value) -> list[Value]:
    """What the inputs of eight columns are multiplied by, in turn: low nibbles, high nibbles."""
    mask = lanes(I32X, 0x0F0F0F0F)
    return [builder.and_(line, mask), builder.and_(builder.lshr(line, lanes(I32X, 4)), mask)]


def _adds_words() -> bool:
    """Whether products of nibbles and bytes are added up in 16 bits."""
    return has("avx2") and not multiplies_bytes()


def add_int4(builder: Builder, total: Value, part: Value, address: Value) -> Value:
    """total + part . the 4 input bytes at `address`; up to eight times, then `int4_sum`.

    Where there are products of bytes with sums of 16 bits, `total` is sums of two: 8 x 2 x 15 x 128 still fits.
    """
    x = spread_at(builder, address, I32)
    if not _adds_words():
        return dot4(builder, total, part, x)
    sums = _by_halves(builder, "llvm.x86.avx2.pmadd.ub.sw", _HALF_BYTES, (part, x))
    return builder.bitcast(builder.add(builder.bitcast(total, WORDS), builder.bitcast(sums, WORDS)), I32X)


def int4_sum(builder: Builder, total: Value) -> Value:
    """The whole numbers that `add_int4` has added up."""
    if not _adds_words():
        return total
    return _by_halves(builder, "llvm.x86.avx2.pmadd.wd", _HALF_WORDS, (total, lanes(WORDS, 1)))


# ---------------------------------------------------------------- bytes


def dot4(builder: Builder, total: Value, w: Value, x: Value) -> Value:
    """total[i] += w[i] . x[i] over 4 bytes, w unsigned and x signed; all are <16 x i32>."""
    if has("avx512vnni"):
        bytes_ = [builder.bitcast(v, BYTES) for v in (w, x)]
        return call(builder, "llvm.x86.avx512.vpdpbusd.512", I32X, total, *bytes_)
    if has("avxvnni"):
        return _by_halves(builder, "llvm.x86.avx512.vpdpbusd.256", _HALF_BYTES, (w, x), total)
    for byte in range(4):
        left = builder.and_(builder.lshr(w, lanes(I32X, 8 * byte)), lanes(I32X, 255))
        right = builder.ashr(builder.shl(x, lanes(I32X, 24 - 8 * byte)), lanes(I32X, 24))
        total = builder.add(total, builder.mul(left, right))
    return total


def _by_halves(
    builder: Builder, name: str, kind: ir.Type, operands: tuple[Value, Value], total: Value | None = None
) -> Value:
    """An instruction of 256 bits on both halves of vectors of 512; its operands are taken as vectors of `kind`."""
    wide = ir.VectorType(kind.element, 2 * kind.count)
    left, right = (builder.bitcast(v, wide) for v in operands)
    returns = _HALF_WORDS if name.endswith(".ub.sw") else _HALF_I32
    halves = []
    for start in (0, 1):
        pair = [_part(builder, v, start * kind.count, kind.count) for v in (left, right)]
        sums = [_part(builder, total, start * 8, 8)] if total is not None else []
        halves.append(builder.bitcast(call(builder, name, returns, *sums, *pair), _HALF_I32))
    return builder.shuffle_vector(*halves, ir.Constant(I32X, list(range(LANES))))


def _part(builder: Builder, value: Value, start: int, count: int) -> Value:
    """Some lanes that stand beside each other."""
    places = ir.Constant(ir.VectorType(I32, count), list(range(start, start + count)))
    return builder.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), places)
