"""Products of bytes: whatever the processor has for them, the same whole numbers come out."""

from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from llvmlite import ir
from numba import types

from liaoliao.engine.cpu import emit
from liaoliao.engine.cpu.emit import I32X, compiled, dot4, i64, operation, read, write

WAYS = {"avx512vnni", "avxvnni", "avx2"}


def bytes_to_multiply(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unsigned and signed bytes, the largest among them, and sums to add to."""
    rng = np.random.default_rng(seed)
    w, x = rng.integers(0, 256, (16, 4), np.uint8), rng.integers(-128, 128, (16, 4), np.int8)
    w[:3], x[:3] = 255, [[-128] * 4, [127] * 4, [127, -128, 127, -128]]
    return w, x, rng.integers(-(2**24), 2**24, 16, np.int32)


def product() -> Callable[[int, int, int], None]:
    """Compiled anew, for what `has` says now."""

    @operation(types.void, i64, i64, i64)
    def add_products(builder: Any, total: Any, w: Any, x: Any) -> None:
        sums = dot4(builder, *(read(builder, address, I32X, 4) for address in (total, w, x)))
        write(builder, sums, total, 4)

    def multiply(total: int, w: int, x: int) -> None:
        add_products(total, w, x)

    return compiled(multiply)


@pytest.mark.parametrize("way", [*sorted(WAYS), "in general"])
def test_products_of_bytes_are_exact(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way in WAYS and not emit.has(way):
        pytest.skip(f"this processor has no {way}")
    monkeypatch.setattr(emit, "has", lambda *names: set(names) <= {way})
    multiply = product()
    for seed in range(20):
        w, x, total = bytes_to_multiply(seed)
        expected = total + (w.astype(np.int32) * x).sum(1)
        multiply(total.ctypes.data, w.ctypes.data, x.ctypes.data)
        assert total.tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("way", "features", "instruction"),
    [
        ("avx512vnni", "+avx512f,+avx512bw,+avx512vl,+avx512vnni", "vpdpbusd"),
        ("avxvnni", "+avx2,+avxvnni", "vpdpbusd"),
        ("avx2", "+avx2", "vpmaddwd"),
    ],
)
def test_each_way_becomes_its_instruction(
    way: str, features: str, instruction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for processors that this one is not."""
    if not emit.is_x86():
        pytest.skip("for Intel and AMD processors")
    monkeypatch.setattr(emit, "has", lambda *names: set(names) <= {way})
    module = ir.Module()
    function = ir.Function(module, ir.FunctionType(I32X, [I32X] * 3), "f")
    builder = ir.IRBuilder(function.append_basic_block())
    builder.ret(dot4(builder, *function.args))
    machine = llvm.Target.from_triple("x86_64-unknown-linux-gnu").create_target_machine(
        cpu="x86-64", features=features
    )
    assert instruction in machine.emit_assembly(llvm.parse_assembly(str(module)))
