"""Weights in 8 and 4 bits: how far the nearest grid point is, and that the search for a grid pays."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from liaoliao.model.quantize import GROUP, quantize_int4, quantize_int8


def weights(seed: int, rows: int, groups: int, spread: float = 0.0) -> Tensor:
    """Random rows; with `spread`, each group has a size and a mean of its own."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, groups, GROUP, generator=generator)
    x = x * torch.exp(spread * torch.randn(rows, groups, 1, generator=generator))
    return (x + spread * torch.randn(rows, groups, 1, generator=generator)).flatten(1)


def relative_error(weight: Tensor, again: Tensor) -> float:
    return float((weight - again).norm() / weight.norm())


@given(seed=st.integers(0, 10**6), rows=st.integers(1, 40), groups=st.integers(1, 5), spread=st.floats(0, 2))
def test_int8_is_the_nearest_of_its_grid(seed: int, rows: int, groups: int, spread: float) -> None:
    weight = weights(seed, rows, groups, spread)
    quantized = quantize_int8(weight)
    step = quantized.scales.float().repeat_interleave(GROUP, dim=1)
    largest = weight.view(len(weight), -1, GROUP).abs().amax(-1).repeat_interleave(GROUP, dim=1)
    distance = (quantized.dequantize() - weight).abs()
    # Half a step, and what rounding the step itself to fp16 (11 bits) can add for the largest numbers.
    assert bool((distance <= step / 2 + largest / 2**10).all())


@given(seed=st.integers(0, 10**6), rows=st.integers(1, 40), groups=st.integers(1, 5))
def test_int4_is_at_least_as_good_as_a_grid_from_least_to_largest(seed: int, rows: int, groups: int) -> None:
    weight = weights(seed, rows, groups)
    x = weight.view(len(weight), -1, GROUP)
    low, high = x.amin(-1, keepdim=True), x.amax(-1, keepdim=True)
    step = (high - low) / 15
    plain = ((x - low) / step).round() * step + low
    again = quantize_int4(weight).dequantize()
    assert relative_error(weight, again) <= relative_error(weight, plain.flatten(1)) * 1.02


def test_int4_of_normal_weights_is_known() -> None:
    """16 steps for 32 normal numbers cost some 8% at best; a change for the worse shows here."""
    weight = weights(0, 256, 24)
    assert relative_error(weight, quantize_int4(weight).dequantize()) < 0.0805
    assert relative_error(weight, quantize_int8(weight).dequantize()) < 0.006


@pytest.mark.parametrize("quantize", [quantize_int8, quantize_int4])
def test_what_the_grid_holds_comes_back(quantize: object) -> None:
    assert callable(quantize)
    zero = torch.zeros(3, 64)
    torch.testing.assert_close(quantize(zero).dequantize(), zero)
    steps = torch.arange(64.0).remainder(16).expand(3, 64) - 4
    torch.testing.assert_close(quantize(steps.contiguous()).dequantize(), steps, atol=0.05, rtol=0)


def test_rows_do_not_look_at_each_other() -> None:
    """Many rows are worked on in chunks, and each row gives what it gives alone."""
    weight = weights(3, 5000, 2, spread=1.0)
    for quantize in (quantize_int8, quantize_int4):
        whole = quantize(weight).dequantize()
        torch.testing.assert_close(whole[4321:4322], quantize(weight[4321:4322]).dequantize())
