"""How compiled code gets operations that Numba lacks: pieces of LLVM IR behind `@operation`.

LLVM cuts vectors of 16 lanes into whatever the processor has, so the same code runs on AVX-512, AVX2, SSE and NEON. What
asks for the processor by name is the arithmetic of `dots`; how many running sums a loop may have follows `num_registers`.

    @operation(f32, f32)
    def twice(builder, x):
        return builder.fadd(x, x)               # compiled code may now call twice(x)
"""

import ctypes
import inspect
import platform
import sys
from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias, TypeVar, cast

import llvmlite.binding
import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

LANES = 16
Builder: TypeAlias = ir.IRBuilder
Value: TypeAlias = ir.Value
Build: TypeAlias = Callable[..., Any]
Number: TypeAlias = int | float
Function = TypeVar("Function", bound=Callable[..., Any])


class BFloatType(ir.Type):  # type: ignore[misc]  # llvmlite has no types for mypy
    """LLVM's `bfloat`, which llvmlite does not name."""

    is_pointer = False

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BFloatType)

    def __hash__(self) -> int:
        return hash(BFloatType)


I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
F16, F32, BF16 = ir.HalfType(), ir.FloatType(), BFloatType()
F32X, I32X, I16X, I8X, F16X = (ir.VectorType(kind, LANES) for kind in (F32, I32, I16, I8, F16))

f32, i32, i64 = types.float32, types.int32, types.int64


class Vector(types.Type):  # type: ignore[misc]  # Numba has no types of its own for mypy
    """The Numba type of a value of 16 lanes."""

    def __init__(self, name: str, llvm: ir.Type) -> None:
        self.llvm = llvm
        super().__init__(name=name)


vector = Vector("vector", F32X)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, kind.llvm)


def compiled(function: Function) -> Function:
    """Numba's njit without the interpreter's lock. Checks that the test run wraps around a function are taken off first."""
    jit = numba.njit(nogil=True, error_model="numpy", boundscheck=False)
    return cast(Function, jit(inspect.unwrap(function)))


def operation(returns: Any, *arguments: Any) -> Callable[[Build], Build]:
    """Make `build(builder, *values)`, which emits LLVM IR, a function that compiled code can call."""

    def wrap(build: Build) -> Build:
        def define(context: Any, *given: Any) -> tuple[Any, Build]:
            return returns(*arguments), emit

        def emit(context: Any, builder: Builder, signature: Any, values: Any) -> Value:
            value = build(builder, *values)
            return context.get_dummy_value() if returns is types.void else value

        names = ["context", *(f"argument{i}" for i in range(len(arguments)))]
        kind = (
            inspect.Parameter.POSITIONAL_OR_KEYWORD
        )  # Numba reads the number of arguments from the signature
        define.__signature__ = inspect.Signature([inspect.Parameter(n, kind) for n in names])  # type: ignore[attr-defined]
        return cast(Build, intrinsic(define))

    return wrap


# ---------------------------------------------------------------- the processor

# Linux on x86-64: SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA
_ARCH_PRCTL, _REQUEST_STATE, _TILE_DATA = 158, 0x1023, 18


def cpu_features() -> frozenset[str]:
    """Instruction sets that compiled code may use: the host's, unless NUMBA_CPU_FEATURES names others.

    AMX's are among them where the system lets this process have its registers.
    """
    forced = numba.config.CPU_FEATURES
    if forced is not None:
        names = [name[1:] for name in forced.split(",") if name.startswith("+")]
    else:
        names = [name for name, there in llvmlite.binding.get_host_cpu_features().items() if there]
    has_tiles = "amx-tile" in names and _may_use_tiles()
    return frozenset(name for name in names if has_tiles or not name.startswith("amx"))


@cache
def _may_use_tiles() -> bool:
    """Ask Linux for AMX's registers, which a process has on request: they make what is saved between threads larger."""
    if sys.platform != "linux" or not is_x86():
        return False
    return bool(ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST_STATE, _TILE_DATA) == 0)


def has(*names: str) -> bool:
    """Whether compiled code may use all of these instruction sets."""
    return cpu_features().issuperset(names)


def is_x86() -> bool:
    """Whether this is an Intel or AMD processor of 64 bits."""
    return platform.machine().lower() in ("x86_64", "amd64")


def num_registers() -> int:
    """Vectors of 16 lanes that the processor's registers hold: what a loop has at hand without going to memory."""
    if has("avx512f"):
        return 32
    return 8 if has("avx") or not is_x86() else 4  # 16 registers of 8 lanes, or 32 of 4; 16 of 4


def _converts_half() -> bool:
    return has("f16c") if is_x86() else platform.machine() in ("arm64", "aarch64")


# ---------------------------------------------------------------- pieces of IR, for `tiles` too


def call(builder: Builder, name: str, returns: ir.Type, *arguments: Value) -> Value:
    """Call an LLVM intrinsic or a C function."""
    kind = ir.FunctionType(returns, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def number(value: int) -> Value:
    """A 64-bit constant."""
    return ir.Constant(I64, value)


def lanes(kind: ir.VectorType, value: Number) -> Value:
    """A vector constant with the same value in every lane."""
    return ir.Constant(kind, [value] * kind.count)


def pointer(builder: Builder, address: Value) -> Value:
    """An address as LLVM's pointer."""
    return builder.inttoptr(address, ir.PointerType())


def read(builder: Builder, address: Value, kind: ir.Type, align: int) -> Value:
    """The value at an address."""
    return builder.load(pointer(builder, address), align=align, typ=kind)


def write(builder: Builder, value: Value, address: Value, align: int) -> None:
    """Put a value at an address."""
    builder.store(value, pointer(builder, address), align=align)


def spread(builder: Builder, value: Value) -> Value:
    """A scalar in every lane."""
    empty = ir.Constant(ir.VectorType(value.type, LANES), ir.Undefined)
    first = builder.insert_element(empty, value, ir.Constant(I32, 0))
    return builder.shuffle_vector(first, empty, ir.Constant(I32X, None))


def multiply_add(builder: Builder, x: Value, y: Value, z: Value) -> Value:
    """x * y + z, in one rounding where the processor has it."""
    return call(builder, "llvm.fmuladd.v16f32", F32X, x, y, z)


def widen_half(builder: Builder, half: Value) -> Value:
    """16 fp16 numbers, as <16 x i16>, to fp32."""
    if _converts_half():
        return builder.fpext(builder.bitcast(half, F16X), F32X)
    bits = builder.zext(half, I32X)
    sign = builder.shl(builder.and_(bits, lanes(I32X, 0x8000)), lanes(I32X, 16))
    magnitude = builder.shl(builder.and_(bits, lanes(I32X, 0x7FFF)), lanes(I32X, 13))
    scaled = builder.fmul(
        builder.bitcast(magnitude, F32X), lanes(F32X, 2.0**112)
    )  # the two exponents' biases
    return builder.bitcast(builder.or_(builder.bitcast(scaled, I32X), sign), F32X)


def narrow_half(builder: Builder, value: Value) -> Value:
    """16 fp32 numbers to the nearest fp16, as <16 x i16>."""
    if _converts_half():
        return builder.bitcast(builder.fptrunc(value, F16X), I16X)
    sign = builder.lshr(builder.and_(builder.bitcast(value, I32X), lanes(I32X, -0x80000000)), lanes(I32X, 16))
    size = call(builder, "llvm.fabs.v16f32", F32X, value)
    largest = lanes(F32X, 65504.0)
    size = builder.select(builder.fcmp_ordered(">", size, largest), largest, size)
    bits = builder.bitcast(builder.fmul(size, lanes(F32X, 2.0**-112)), I32X)
    return builder.trunc(builder.or_(drop_bits(builder, bits, 13), sign), I16X)


def drop_bits(builder: Builder, bits: Value, count: int) -> Value:
    """The upper bits of a float's pattern, rounded to the nearest even."""
    odd = builder.and_(builder.lshr(bits, lanes(I32X, count)), lanes(I32X, 1))
    half = builder.add(odd, lanes(I32X, (1 << (count - 1)) - 1))
    return builder.lshr(builder.add(bits, half), lanes(I32X, count))


def fetch_ahead(builder: Builder, address: Value) -> None:
    """Ask for the cache line at an address, which need not be valid."""
    hints = (
        ir.Constant(I32, 0),
        ir.Constant(I32, 2),
        ir.Constant(I32, 1),
    )  # to read, into the second level, data
    call(builder, "llvm.prefetch.p0", ir.VoidType(), pointer(builder, address), *hints)
