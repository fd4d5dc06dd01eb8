"""Products of a line of weights: whatever the processor has for them, the same whole numbers come out."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from llvmlite import ir
from numba import types

from liaoliao.engine.cpu import dots, emit
from liaoliao.engine.cpu.emit import (
    F32X,
    I32X,
    I64,
    Builder,
    Value,
    compiled,
    i64,
    lanes,
    operation,
    read,
    write,
)
from liaoliao.engine.cpu.loops import moved
from liaoliao.engine.cpu.weights import aligned_memory
from tests.engine.cpu.assembly import assembly

WAYS = {"avx512vnni", "avxvnni", "avx2"}
STEPS = 8  # lines of a group: as many as may be added before `int4_sum`


def add_int8_lines(builder: Builder, weights: Value, inputs: Value) -> Value:
    """Eight lines of 16 rows of four bytes, times 32 inputs."""
    total: Value = lanes(I32X, 0)
    for j in range(STEPS):
        parts = dots.int8_parts(builder, line_at(builder, weights, j))
        for k, part in enumerate(parts):
            total = dots.add_int8(builder, total, part, moved(builder, inputs, 4 * (len(parts) * j + k)))
    return total


def add_int4_lines(builder: Builder, weights: Value, inputs: Value) -> Value:
    """Four lines of 16 rows of eight nibbles, times 32 inputs."""
    total: Value = lanes(I32X, 0)
    for j in range(STEPS // 2):
        for k, part in enumerate(dots.int4_parts(builder, line_at(builder, weights, j))):
            total = dots.add_int4(builder, total, part, moved(builder, inputs, 8 * j + 4 * k))
    return dots.int4_sum(builder, total)


def line_at(builder: Builder, weights: Value, j: int) -> Value:
    return read(builder, moved(builder, weights, 64 * j), I32X, 64)


LINES = {"int8": (add_int8_lines, dots.write_int8_inputs), "int4": (add_int4_lines, dots.write_bytes)}


def multiplier(kind: str) -> Callable[[int, int, int, int], None]:
    """Compiled anew, for what `has` says now: makes 32 fp32 numbers inputs, and multiplies lines of weights by them."""
    lines, write_inputs = LINES[kind]

    @operation(types.void, i64, i64, i64, i64)
    def multiply_lines(builder: Any, weights: Any, numbers: Any, inputs: Any, out: Any) -> None:
        size = 2 if kind == "int8" and not dots.multiplies_bytes() else 1
        for half in range(2):
            whole = builder.fptosi(read(builder, moved(builder, numbers, 64 * half), F32X, 4), I32X)
            write_inputs(builder, whole, moved(builder, inputs, 16 * size * half))
        write(builder, lines(builder, weights, inputs), out, 4)

    def multiply(weights: int, numbers: int, inputs: int, out: int) -> None:
        multiply_lines(weights, numbers, inputs, out)

    return compiled(multiply)


def to_multiply(kind: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights of 16 rows and inputs of a group of 32, the largest among them."""
    rng, most = np.random.default_rng(seed), 255 if kind == "int8" else 15
    w, x = rng.integers(0, most + 1, (16, 32)), rng.integers(-127, 128, 32)
    w[:3] = most
    if seed < 4:
        x = np.resize([[127], [-127], [127, -127], [127, 127, -127]][seed], 32)
    return w.astype(np.uint8), x.astype(np.float32)


def packed(kind: str, w: np.ndarray) -> np.ndarray:
    """As `layout` describes lines."""
    if kind == "int8":
        lines = w.reshape(16, 8, 4).transpose(1, 0, 2)
    else:
        low, high = w.reshape(16, 4, 2, 4).transpose(2, 1, 0, 3)
        lines = low | high << 4
    memory = aligned_memory(lines.size)
    memory[:] = lines.reshape(-1)
    return memory


@pytest.mark.parametrize("kind", LINES)
@pytest.mark.parametrize("way", [*sorted(WAYS), "in general"])
def test_sums_of_products_are_exact(kind: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way in WAYS and not emit.has(way):
        pytest.skip(f"this processor has no {way}")
    monkeypatch.setattr(dots, "has", lambda *names: set(names) <= {way})
    multiply = multiplier(kind)
    for seed in range(20):
        w, x = to_multiply(kind, seed)
        weights, inputs, out = packed(kind, w), np.zeros(64, np.uint8), np.zeros(16, np.int32)
        multiply(weights.ctypes.data, x.ctypes.data, inputs.ctypes.data, out.ctypes.data)
        assert out.tolist() == (w.astype(np.int64) @ x.astype(np.int64)).tolist()


@pytest.mark.parametrize(
    ("kind", "way", "features", "instruction"),
    [
        ("int8", "avx512vnni", "+avx512f,+avx512bw,+avx512vl,+avx512vnni", "vpdpbusd"),
        ("int4", "avx512vnni", "+avx512f,+avx512bw,+avx512vl,+avx512vnni", "vpdpbusd"),
        ("int8", "avxvnni", "+avx2,+avxvnni", "vpdpbusd"),
        ("int8", "avx2", "+avx2", "vpmaddwd"),
        ("int4", "avx2", "+avx2", "vpmaddubsw"),
    ],
)
def test_each_way_becomes_its_instruction(
    kind: str, way: str, features: str, instruction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for processors that this one is not."""
    if not emit.is_x86():
        pytest.skip("for Intel and AMD processors")
    monkeypatch.setattr(dots, "has", lambda *names: set(names) <= {way})
    module = ir.Module()
    function = ir.Function(module, ir.FunctionType(I32X, [I64] * 2), "f")
    builder = ir.IRBuilder(function.append_basic_block())
    builder.ret(LINES[kind][0](builder, *function.args))
    assert instruction in assembly(module, features)
