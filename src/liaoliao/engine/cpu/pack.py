"""Weights cut into the tiles that `layout` describes.

pack_bf16(weight (64, 256))  ->  2 tiles of 32 rows, 16384 bytes each, one after the other
"""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from liaoliao.engine.cpu.layout import BF16, GROUP, INT4, INT4_BYTES, INT4_HEADER, INT8, INT8_BYTES, TILE
from liaoliao.errors import CheckpointError
from liaoliao.model.quantize import quantize_int4, quantize_int8

Bytes = UInt8[np.ndarray, "bytes"]


def packed_size(kind: int, rows: int, inner: int) -> int:
    """Bytes of a packed matrix; rows are filled up to whole tiles."""
    groups = inner // GROUP
    tile_bytes = {
        BF16: 2 * TILE * inner,
        INT8: INT8_BYTES * groups,
        INT4: INT4_HEADER + INT4_BYTES * groups,
    }[kind]
    return -(-rows // TILE) * tile_bytes


def pack(kind: int, weight: Float[Tensor, "N K"], out: Bytes) -> None:
    """Write a matrix into `out`, quantised where `kind` asks for it. Raises CheckpointError for NaN and infinities."""
    rows, inner = weight.shape
    if not bool(weight.isfinite().all()):
        raise CheckpointError(
            "the weights hold NaN or infinite numbers; the checkpoint is damaged, use another"
        )
    for start in range(0, rows, CHUNK_ROWS):
        part = weight[start : start + CHUNK_ROWS]
        if len(part) % TILE:
            part = torch.cat([part, part.new_zeros(-len(part) % TILE, inner)])
        begin = packed_size(kind, start, inner)
        packed = _PACKERS[kind](part)
        out[begin : begin + packed.size] = packed


CHUNK_ROWS = 32 * TILE  # packed at a time: bounds the memory it takes


def pack_bf16(weight: Float[Tensor, "N K"]) -> Bytes:
    """Pairs of columns, row by row of the tile."""
    tiles = weight.to(torch.bfloat16).view(torch.int16).view(-1, TILE, weight.shape[1] // 2, 2)
    return _flat(tiles.permute(0, 2, 1, 3).contiguous().view(torch.uint8))


def pack_int8(weight: Float[Tensor, "N K"]) -> Bytes:
    """Groups of 32 columns: the codes, four columns of each row at a time, and the scales."""
    quantized = quantize_int8(weight)
    groups = weight.shape[1] // GROUP
    codes = (quantized.codes.to(torch.int16) + 128).to(torch.uint8)
    lines = codes.view(-1, TILE, groups, 8, 4).permute(0, 2, 3, 1, 4).reshape(-1, groups, 8 * TILE * 4)
    return _flat(torch.cat([lines, _by_group(quantized.scales).view(torch.uint8)], dim=2))


def pack_int4(weight: Float[Tensor, "N K"]) -> Bytes:
    """Groups of 32 columns: the codes as nibbles, scales and mins; before them the tile's units."""
    quantized = quantize_int4(weight)
    groups = weight.shape[1] // GROUP
    low, high = quantized.codes.view(-1, TILE, groups, 4, 2, 4).unbind(4)  # columns 8j..8j+3 and 8j+4..8j+7
    lines = (low | (high << 4)).permute(0, 2, 3, 1, 4).reshape(-1, groups, 4 * TILE * 4)
    small = torch.cat([_by_group(quantized.scales), _by_group(quantized.mins)], dim=2)
    body = torch.cat([lines, small], dim=2).flatten(1)  # (tiles, bytes)
    units = [unit.view(-1, TILE) for unit in (quantized.scale_unit, quantized.min_unit)]
    return _flat(torch.cat([torch.cat(units, dim=1).view(torch.uint8), body], dim=1))


def _by_group(values: Tensor) -> Tensor:
    """One number a row and group, (N, G), in the order of the tiles: (tiles, G, 32)."""
    return values.view(-1, TILE, values.shape[1]).transpose(1, 2).contiguous()


def _flat(packed: Tensor) -> Bytes:
    flat: Bytes = packed.reshape(-1).numpy()
    return flat


_PACKERS = {BF16: pack_bf16, INT8: pack_int8, INT4: pack_int4}
