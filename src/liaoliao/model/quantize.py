"""Weights in 8 and 4 bits: groups of 32 neighbouring columns of a row share a scale.

    quantize_int8(weight)  ->  codes -127..127, one fp16 scale a group:                        8.5 bits a weight
    quantize_int4(weight)  ->  codes 0..15, one byte each for scale and minimum of a group:    4.5 bits a weight

Rounding is by value alone: no data is looked at. `dequantize` gives the weights that the codes stand for, which is what a
quantised model is tested against.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float16, Int8, UInt8
from torch import Tensor

GROUP = 32
CHUNK = 2**16  # weights worked on at a time: they stay in the processor's cache
_SHRINK = (
    1.0,
    0.95,
    0.9,
    0.85,
    0.8,
    0.75,
)  # of a group's range, tried in turn: a tighter grid may be worth its clipping
_TINY = 1e-8


@dataclass(frozen=True, slots=True)
class Int8Weight:
    """w = scale * code."""

    codes: Int8[Tensor, "N K"]
    scales: Float16[Tensor, "N G"]

    def dequantize(self) -> Float[Tensor, "N K"]:
        """The weights in fp32."""
        grouped = self.codes.view(*self.scales.shape, GROUP).float()
        return (grouped * self.scales.float().unsqueeze(-1)).view_as(self.codes)


@dataclass(frozen=True, slots=True)
class Int4Weight:
    """w = scale_unit * scale * code - min_unit * min, the units being a row's."""

    codes: UInt8[Tensor, "N K"]
    scales: UInt8[Tensor, "N G"]
    mins: UInt8[Tensor, "N G"]
    scale_unit: Float16[Tensor, "N"]
    min_unit: Float16[Tensor, "N"]

    def dequantize(self) -> Float[Tensor, "N K"]:
        """The weights in fp32."""
        scale = self.scales.float() * self.scale_unit.float().unsqueeze(-1)
        low = self.mins.float() * self.min_unit.float().unsqueeze(-1)
        grouped = self.codes.view(*self.scales.shape, GROUP).float()
        return (grouped * scale.unsqueeze(-1) - low.unsqueeze(-1)).view_as(self.codes)


def quantize_int8(weight: Float[Tensor, "N K"]) -> Int8Weight:
    """The nearest of 255 even steps up to each group's largest number. K is a multiple of 32."""
    parts = [_int8_rows(part.float()) for part in torch.split(weight, _chunk_rows(weight))]
    codes, scales = (torch.cat(column) for column in zip(*parts, strict=True))
    return Int8Weight(codes, scales)


def quantize_int4(weight: Float[Tensor, "N K"]) -> Int4Weight:
    """16 even steps for each group, placed where the squared error is least. K is a multiple of 32."""
    parts = [_int4_rows(part.float()) for part in torch.split(weight, _chunk_rows(weight))]
    return Int4Weight(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _chunk_rows(weight: Tensor) -> int:
    return max(1, CHUNK // weight.shape[1])


def _int8_rows(weight: Tensor) -> tuple[Tensor, Tensor]:
    grouped = weight.reshape(len(weight), -1, GROUP)  # (n, G, 32)
    scales = (grouped.abs().amax(-1) / 127).half()
    steps = scales.float().clamp_min(_TINY).unsqueeze(-1)
    codes = (grouped / steps).round_().clamp_(-127, 127)
    return codes.to(torch.int8).view_as(weight), scales


def _int4_rows(weight: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    x = weight.reshape(len(weight), -1, GROUP)  # (n, G, 32)
    scale, low = _best_grid(x)
    scales, scale_unit = _in_bytes(scale, least=1)
    scale = scales * scale_unit.float()
    codes = _codes(x, scale, low)
    low = (codes * scale.unsqueeze(-1) - x).mean(-1).clamp_min_(0)  # the best minimum for the rounded scale
    mins, min_unit = _in_bytes(low, least=0)
    codes = _codes(x, scale, mins * min_unit.float())
    bytes_ = (codes.to(torch.uint8).view_as(weight), scales.to(torch.uint8), mins.to(torch.uint8))
    return *bytes_, scale_unit.squeeze(1), min_unit.squeeze(1)


def _best_grid(x: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and minimum of each group: of several first guesses, each refitted, the one with the least squared error."""
    bottom, top = x.amin(-1).clamp_max_(0), x.amax(-1).clamp_min_(0)
    best = torch.full_like(bottom, torch.inf)
    scale, low = torch.ones_like(best), torch.zeros_like(best)
    for shrink in _SHRINK:
        new_scale, new_low = ((top - bottom) * (shrink / 15)).clamp_min_(_TINY), bottom * -shrink
        for _ in range(2):
            new_scale, new_low = _refit(x, _codes(x, new_scale, new_low))
        error = _error(x, new_scale, new_low)
        better = error < best
        best = torch.where(better, error, best)
        scale, low = torch.where(better, new_scale, scale), torch.where(better, new_low, low)
    return scale, low


def _codes(x: Tensor, scale: Tensor, low: Tensor) -> Tensor:
    return (x + low.unsqueeze(-1)).div_(scale.clamp_min(_TINY).unsqueeze(-1)).round_().clamp_(0, 15)


def _refit(x: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
    """Least squares: the scale and minimum that suit given codes best."""
    code_mean, x_mean = codes.mean(-1, keepdim=True), x.mean(-1, keepdim=True)
    apart = codes - code_mean
    scale = ((x - x_mean) * apart).sum(-1) / apart.square().sum(-1).clamp_min_(_TINY)
    scale = scale.clamp_min_(_TINY)
    low = scale * code_mean.squeeze(-1) - x_mean.squeeze(-1)
    return scale, low.clamp_min_(0)


def _error(x: Tensor, scale: Tensor, low: Tensor) -> Tensor:
    again = _codes(x, scale, low).mul_(scale.unsqueeze(-1)).sub_(low.unsqueeze(-1))
    return again.sub_(x).square_().sum(-1)


def _in_bytes(values: Tensor, least: int) -> tuple[Tensor, Tensor]:
    """Values of a row as whole multiples, up to 255, of one fp16 unit."""
    unit = (values.amax(1, keepdim=True) / 255).half()
    return (values / unit.float().clamp_min(_TINY)).round_().clamp_(least, 255), unit
