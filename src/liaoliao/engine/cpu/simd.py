"""A small vector vocabulary for Numba: values of 16 fp32 lanes, and loads, stores and arithmetic on them.

Numba's own types end at scalars and arrays. Here a `vector` is one value that compiled functions hold in a register, with
+ - * / between vectors; addresses are plain int64.

    @compiled
    def scale(source, target, factor):
        store(target, load(source) * broadcast(factor))
"""

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import lower_builtin, type_callable

from liaoliao.engine.cpu.dots import write_bf16_inputs, write_bytes, write_int8_inputs
from liaoliao.engine.cpu.emit import (
    F32,
    F32X,
    I8,
    I16,
    I32,
    I32X,
    I64,
    Builder,
    Value,
    Vector,
    call,
    f32,
    i32,
    i64,
    lanes,
    multiply_add,
    narrow_half,
    operation,
    read,
    spread,
    vector,
    widen_half,
    write,
)

# ---------------------------------------------------------------- vectors


@operation(vector, i64)
def load(builder: Builder, address: Value) -> Value:
    """16 fp32 numbers."""
    return read(builder, address, F32X, 4)


@operation(types.void, i64, vector)
def store(builder: Builder, address: Value, value: Value) -> None:
    """16 fp32 numbers."""
    write(builder, value, address, 4)


@operation(types.void, i64, vector)
def store_bf16_inputs(builder: Builder, address: Value, value: Value) -> None:
    """16 numbers, each rounded to bf16, for weights of bf16."""
    write_bf16_inputs(builder, value, address)


@operation(types.void, i64, vector)
def store_f16(builder: Builder, address: Value, value: Value) -> None:
    """16 numbers, each rounded to fp16."""
    write(builder, narrow_half(builder, value), address, 2)


def _store_whole(
    builder: Builder, address: Value, value: Value, put: Callable[[Builder, Value, Value], None]
) -> Value:
    whole = builder.fptosi(call(builder, "llvm.rint.v16f32", F32X, value), I32X)
    put(builder, whole, address)
    return call(builder, "llvm.vector.reduce.add.v16i32", I32, whole)


@operation(i32, i64, vector)
def store_int8_inputs(builder: Builder, address: Value, value: Value) -> Value:
    """16 numbers within -128 and 127, each rounded to a whole one, for weights of int8; returns their sum."""
    return _store_whole(builder, address, value, write_int8_inputs)


@operation(i32, i64, vector)
def store_int4_inputs(builder: Builder, address: Value, value: Value) -> Value:
    """The same for weights of int4."""
    return _store_whole(builder, address, value, write_bytes)


@operation(vector, f32)
def broadcast(builder: Builder, value: Value) -> Value:
    """A number in every lane."""
    return spread(builder, value)


@operation(vector, vector, vector, vector)
def fused(builder: Builder, x: Value, y: Value, z: Value) -> Value:
    """x * y + z."""
    return multiply_add(builder, x, y, z)


@operation(vector, vector, vector)
def larger(builder: Builder, x: Value, y: Value) -> Value:
    """The larger of each lane."""
    return builder.select(builder.fcmp_ordered(">", x, y), x, y)


@operation(f32, vector)
def largest(builder: Builder, x: Value) -> Value:
    """The largest lane."""
    return call(builder, "llvm.vector.reduce.fmax.v16f32", F32, x)


@operation(f32, vector, vector)
def magnitude(builder: Builder, x: Value, y: Value) -> Value:
    """The largest lane of two vectors, signs aside; NaN if any is. Patterns of positive floats are in order, NaN last."""
    sizes = [builder.and_(builder.bitcast(v, I32X), lanes(I32X, 0x7FFFFFFF)) for v in (x, y)]
    most = call(
        builder, "llvm.vector.reduce.smax.v16i32", I32, call(builder, "llvm.smax.v16i32", I32X, *sizes)
    )
    return builder.bitcast(most, F32)


@operation(f32, vector)
def total(builder: Builder, x: Value) -> Value:
    """The sum of the lanes."""
    kind = ir.FunctionType(F32, [F32, F32X])
    add = cgutils.get_or_insert_function(builder.module, kind, "llvm.vector.reduce.fadd.v16f32")
    return builder.call(add, [ir.Constant(F32, 0.0), x], fastmath=("reassoc",))  # a tree, not a chain


_EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)


@operation(vector, vector)
def exponential(builder: Builder, x: Value) -> Value:
    """e^x with the relative error of a few ulp; NaN stays NaN. Cephes' expf: 2^n times a polynomial of degree 7."""
    for sign, bound in (("<", -87.0), (">", 88.0)):
        x = builder.select(builder.fcmp_ordered(sign, x, lanes(F32X, bound)), lanes(F32X, bound), x)
    n = call(builder, "llvm.rint.v16f32", F32X, builder.fmul(x, lanes(F32X, 1.4426950408889634)))
    rest = multiply_add(builder, n, lanes(F32X, -0.693359375), x)  # ln 2 in two parts, the first exact
    rest = multiply_add(builder, n, lanes(F32X, 2.12194440e-4), rest)
    series = lanes(F32X, _EXP[0])
    for coefficient in _EXP[1:]:
        series = multiply_add(builder, series, rest, lanes(F32X, coefficient))
    one_more = builder.fadd(rest, lanes(F32X, 1.0))
    series = multiply_add(builder, series, builder.fmul(rest, rest), one_more)
    power = builder.shl(builder.add(builder.fptosi(n, I32X), lanes(I32X, 127)), lanes(I32X, 23))
    return builder.fmul(series, builder.bitcast(power, F32X))


def _overload(symbol: Callable[[Any, Any], Any], emit: Callable[[Builder, Value, Value], Value]) -> None:
    """Let compiled code write a + b, a - b, a * b and a / b on vectors."""

    def type_of(x: Any, y: Any) -> Any:
        return vector if isinstance(x, Vector) and isinstance(y, Vector) else None

    def lower(context: Any, builder: Builder, signature: Any, values: Any) -> Value:
        return emit(builder, *values)

    type_callable(symbol)(lambda context: type_of)
    lower_builtin(symbol, Vector, Vector)(lower)


_overload(operator.add, lambda builder, x, y: builder.fadd(x, y))
_overload(operator.sub, lambda builder, x, y: builder.fsub(x, y))
_overload(operator.mul, lambda builder, x, y: builder.fmul(x, y))
_overload(operator.truediv, lambda builder, x, y: builder.fdiv(x, y))


# ---------------------------------------------------------------- single numbers


@operation(f32, i64)
def get_f32(builder: Builder, address: Value) -> Value:
    """One fp32 number."""
    return read(builder, address, F32, 4)


@operation(types.void, i64, f32)
def put_f32(builder: Builder, address: Value, value: Value) -> None:
    """One fp32 number."""
    write(builder, value, address, 4)


@operation(types.void, i64, i32)
def put_i32(builder: Builder, address: Value, value: Value) -> None:
    """One 32-bit whole number."""
    write(builder, value, address, 4)


@operation(i64, i64)
def get_i64(builder: Builder, address: Value) -> Value:
    """One 64-bit whole number."""
    return read(builder, address, I64, 8)


@operation(i64, i64)
def get_u8(builder: Builder, address: Value) -> Value:
    """One byte, 0 to 255."""
    return builder.zext(read(builder, address, I8, 1), I64)


@operation(i64, i64)
def get_u16(builder: Builder, address: Value) -> Value:
    """Two bytes, 0 to 65535."""
    return builder.zext(read(builder, address, I16, 2), I64)


@operation(types.void, i64, i64)
def put_u16(builder: Builder, address: Value, value: Value) -> None:
    """The low two bytes."""
    write(builder, builder.trunc(value, I16), address, 2)


@operation(f32, i64)
def from_bf16(builder: Builder, bits: Value) -> Value:
    """The number that 16 bits stand for as bf16."""
    wide = builder.shl(builder.trunc(bits, I32), ir.Constant(I32, 16))
    return builder.bitcast(wide, F32)


@operation(f32, i64)
def from_f16(builder: Builder, bits: Value) -> Value:
    """The number that 16 bits stand for as fp16."""
    widened = widen_half(builder, spread(builder, builder.trunc(bits, I16)))
    return builder.extract_element(widened, ir.Constant(I32, 0))
