"""Rotary position tables: the angle of every (position, pair) of a head.

RotaryTable(config)(positions)  ->  cos, sin of shape (b, T, head_dim / 2)
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from liaoliao.model.config import ModelConfig, RopeScaling


def inverse_frequencies(config: ModelConfig) -> Float[Tensor, "h"]:
    """theta^(-2i/d) for each pair i (Su et al. 2021, section 3.2.2), stretched for Llama 3 where configured."""
    exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim
    frequencies = 1.0 / config.rope_theta**exponents
    return frequencies if config.rope_scaling is None else _llama3(frequencies, config.rope_scaling)


def _llama3(frequencies: Tensor, scaling: RopeScaling) -> Tensor:
    """Long waves are divided by `factor`, short ones kept, those between blended (Llama 3.1 report, section 3.4)."""
    turns = (
        scaling.original_max_position_embeddings * frequencies / (2 * math.pi)
    )  # over the original context
    blend = ((turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)).clamp(
        0, 1
    )
    return frequencies * (blend + (1 - blend) / scaling.factor)


class RotaryTable(nn.Module):
    """Cosines and sines by position, computed in fp32 and kept for the positions asked so far."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.cos: Tensor | None = None
        self.sin: Tensor | None = None

    def forward(
        self, positions: Int[Tensor, "b T"], dtype: torch.dtype, length: int | None = None
    ) -> tuple[Float[Tensor, "b T h"], Float[Tensor, "b T h"]]:
        """cos and sin of the angles at `positions`, in `dtype`. Who knows that all are below `length` saves a look at
        them, for which a GPU would have to be waited for.
        """
        if length is None:
            length = int(positions.max()) + 1 if positions.numel() else 1
        if (
            self.cos is None
            or self.sin is None
            or self.cos.shape[0] < length
            or self.cos.device != positions.device
        ):
            length = max(length, min(2 * length, self.config.max_position_embeddings))
            frequencies = inverse_frequencies(self.config)
            angles = torch.outer(torch.arange(length, dtype=torch.float32), frequencies).to(positions.device)
            self.cos, self.sin = angles.cos(), angles.sin()
        return self.cos[positions].to(dtype), self.sin[positions].to(dtype)
