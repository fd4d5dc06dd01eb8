"""Packed matrices: what is packed can be read back, and products are those of the numbers that the codes stand for."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from liaoliao.engine.cpu.dots import BF16_INPUT, INT8_INPUT
from liaoliao.engine.cpu.layout import BF16, GROUP, INPUTS, INT4, INT8, MATRIX, ROW_GAP, TILE
from liaoliao.engine.cpu.ops import gather, matmul, prepare
from liaoliao.engine.cpu.pack import pack, packed_size
from liaoliao.engine.cpu.weights import aligned_memory
from liaoliao.errors import CheckpointError
from liaoliao.model.quantize import quantize_int4, quantize_int8

KINDS = (BF16, INT8, INT4)
ROWS, INNER = 5 * TILE + 9, 3 * GROUP  # an odd number of tiles, the last one not full
MOST = 70  # columns


def stood_for(kind: int, weight: Tensor) -> Tensor:
    """The numbers that a packed matrix holds."""
    if kind == BF16:
        return weight.bfloat16().float()
    return (quantize_int8 if kind == INT8 else quantize_int4)(weight).dequantize()


class Packed:
    """A matrix and its record."""

    def __init__(self, kind: int, weight: Tensor) -> None:
        self.memory = aligned_memory(packed_size(kind, *weight.shape))
        pack(kind, weight, self.memory)
        inner = weight.shape[1]
        place = (self.memory.ctypes.data, -(-len(weight) // TILE), inner, packed_size(kind, TILE, inner))
        self.record: Any = np.array([(kind, *place)], MATRIX)[0]


class Inputs:
    """Room for input rows of any kind."""

    def __init__(self, columns: int) -> None:
        self.codes = np.zeros(columns * (max(BF16_INPUT, INT8_INPUT) * INNER + ROW_GAP), np.uint8)
        self.scales = np.zeros((columns, INNER // GROUP), np.float32)
        self.sums = np.zeros((columns, INNER // GROUP), np.int32)
        fields = tuple(a.ctypes.data for a in (self.codes, self.scales, self.sums))
        self.record: Any = np.array([fields], INPUTS)[0]

    def fill(self, kind: int, x: Tensor) -> Tensor:
        """Prepare the rows of x, and return what they were rounded to."""
        for column, row in enumerate(x):
            prepare(kind, row.data_ptr(), INNER, self.record, column, 0, INNER // GROUP)
        if kind == BF16:
            return x.bfloat16().float()
        size = INT8_INPUT if kind == INT8 else 1
        rows = self.codes[: len(x) * (size * INNER + ROW_GAP)].reshape(len(x), -1)[:, : size * INNER]
        codes = torch.from_numpy(rows.view(np.int8 if size == 1 else np.int16).copy())
        if size == 2:
            codes = codes.view(len(x), -1, 4)[..., [0, 2, 1, 3]]  # even columns come before odd ones
        codes = codes.view(len(x), -1, GROUP)
        return (codes * torch.from_numpy(self.scales).unsqueeze(-1)).flatten(1)


@pytest.fixture(scope="module")
def weight() -> Tensor:
    return torch.randn(ROWS, INNER, generator=torch.Generator().manual_seed(0)) / 7


@pytest.mark.parametrize("kind", KINDS)
def test_rows_come_back(kind: int, weight: Tensor) -> None:
    packed, row = Packed(kind, weight), torch.empty(INNER)
    expected = stood_for(kind, weight)
    for index in (0, 1, 15, 16, 31, 32, ROWS - 1):
        gather(packed.record, index, row.data_ptr())
        torch.testing.assert_close(row, expected[index], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_products_are_those_of_the_rounded_numbers(kind: int, weight: Tensor) -> None:
    """These numbers of columns take every width of tile; each column gives the same bits as alone."""
    packed, inputs = Packed(kind, weight), Inputs(MOST)
    x = torch.randn(MOST, INNER, generator=torch.Generator().manual_seed(1))
    x *= torch.logspace(-3, 2, MOST).unsqueeze(1)
    rounded = inputs.fill(kind, x)
    assert float((rounded - x).norm() / x.norm()) < 0.007  # 8 bits
    tiles = -(-ROWS // TILE)
    exact = (rounded.double() @ stood_for(kind, weight).double().T).float()
    alone = torch.empty(MOST, tiles * TILE)
    for columns in (MOST, 64, 53, 48, 33, 32, 31, 19, 17, 16, 15, 8, 7, 4, 3, 2, 1, 0):
        out = torch.full((columns, tiles * TILE), torch.nan)
        matmul(packed.record, 0, tiles, inputs.record, columns, out.data_ptr(), 4 * tiles * TILE)
        if columns == MOST:
            alone = out
        size = exact[:columns].abs().amax(1, keepdim=True)
        assert bool((((out[:, :ROWS] - exact[:columns]) / size).abs() < 2e-6 * INNER**0.5).all())
        assert torch.equal(out, alone[:columns])


def test_a_share_of_the_tiles_is_left_alone(weight: Tensor) -> None:
    packed, inputs = Packed(BF16, weight), Inputs(1)
    inputs.fill(BF16, torch.ones(1, INNER))
    out = torch.full((6 * TILE,), torch.nan)
    matmul(packed.record, 1, 4, inputs.record, 1, out.data_ptr(), 0)
    assert bool(out[TILE : 4 * TILE].isfinite().all())
    assert bool(out[:TILE].isnan().all()) and bool(out[4 * TILE :].isnan().all())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_damaged_weights_are_refused(kind: int, bad: float, weight: Tensor) -> None:
    damaged = weight.clone()
    damaged[3, 4] = bad
    with pytest.raises(CheckpointError, match="damaged"):
        Packed(kind, damaged)
