"""The vector vocabulary against NumPy and torch, on whole ranges of numbers."""

import numpy as np
import pytest
import torch

from liaoliao.engine.cpu import dots, emit
from liaoliao.engine.cpu.emit import (
    compiled,
)
from liaoliao.engine.cpu.simd import (
    broadcast,
    exponential,
    from_f16,
    get_u16,
    load,
    magnitude,
    put_f32,
    store,
    store_bf16_inputs,
    store_f16,
)


@compiled
def exponentials(source: int, target: int, count: int) -> None:
    for i in range(0, 4 * count, 64):
        store(target + i, exponential(load(source + i)))


@compiled
def to_bf16_inputs(source: int, target: int, count: int, size: int) -> None:
    for i in range(0, count, 16):
        store_bf16_inputs(target + size * i, load(source + 4 * i))


@compiled
def to_f16(source: int, target: int, count: int) -> None:
    for i in range(0, count, 16):
        store_f16(target + 2 * i, load(source + 4 * i))


@compiled
def back_from_f16(source: int, target: int, count: int) -> None:
    for i in range(count):
        put_f32(target + 4 * i, from_f16(get_u16(source + 2 * i)))


@compiled
def sizes(source: int, target: int) -> None:
    put_f32(target, magnitude(load(source), broadcast(np.float32(-2))))


def test_exponential_is_exact_to_a_few_units_and_keeps_nan() -> None:
    x = np.concatenate([np.linspace(-86, 87, 15_984), [0, -1e30, 1e30, np.nan] * 4]).astype(np.float32)
    out = np.empty_like(x)
    exponentials(x.ctypes.data, out.ctypes.data, len(x))
    exact = np.exp(np.clip(x, -87, 88).astype(np.float64))
    assert np.isnan(out[np.isnan(x)]).all()
    real = ~np.isnan(x)
    assert np.abs(out[real] / exact[real] - 1).max() < 3e-7


def half_numbers() -> np.ndarray:
    """Every fp16 that is a number, and what lies between neighbours."""
    bits = np.arange(2**16, dtype=np.uint16)
    return bits[np.isfinite(bits.view(np.float16))]


@pytest.mark.parametrize("native", [True, False])
def test_halves_are_numpy_s(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once with the processor's conversion, once with the one in shifts and sums."""
    if not native:
        monkeypatch.setattr(emit, "_converts_half", lambda: False)
    widen, narrow = (compiled(function.py_func) for function in (back_from_f16, to_f16))  # type: ignore[attr-defined]
    bits = half_numbers()
    wide = np.empty(len(bits), np.float32)
    widen(bits.ctypes.data, wide.ctypes.data, len(bits))
    assert np.array_equal(wide, bits.view(np.float16).astype(np.float32))
    generator = np.random.default_rng(0)
    x = (wide * generator.uniform(0.999, 1.001, len(wide)))[: len(wide) // 16 * 16].astype(np.float32)
    x = np.clip(x, -65504, 65504)
    got = np.empty(len(x), np.uint16)
    narrow(x.ctypes.data, got.ctypes.data, len(x))
    assert np.array_equal(got, x.astype(np.float16).view(np.uint16))


@pytest.mark.parametrize("native", [True, False])
def test_bf16_inputs_are_rounded_as_torch_rounds(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As bf16 where the processor multiplies it, else as fp32."""
    if native and not dots.multiplies_bf16():
        pytest.skip("this processor has no products of bf16")
    if not native:
        monkeypatch.setattr(dots, "has", lambda *names: False)
    convert = compiled(to_bf16_inputs.py_func)  # type: ignore[attr-defined]
    x = torch.randn(4096, generator=torch.Generator().manual_seed(0)) * torch.logspace(-30, 30, 4096)
    got = torch.empty(4096, dtype=torch.bfloat16 if native else torch.float32)
    convert(x.data_ptr(), got.data_ptr(), 4096, got.element_size())
    assert torch.equal(got.float(), x.bfloat16().float())


@pytest.mark.parametrize(("value", "expected"), [(0.5, 2.0), (-7.0, 7.0), (np.inf, np.inf), (np.nan, np.nan)])
def test_magnitude_sees_nan(value: float, expected: float) -> None:
    x, out = np.zeros(16, np.float32), np.zeros(1, np.float32)
    x[11] = value
    sizes(x.ctypes.data, out.ctypes.data)
    assert np.array_equal(out, np.array([expected], np.float32), equal_nan=True)
