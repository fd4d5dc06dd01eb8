"""How much fits the minutes: this machine's speed, and the deepest model that still reads enough at that speed.

    pace = measure_pace(stage, vocab_size=4096, document_length=100)      # 13,000 tokens/s at depth 4
    best_fit(pace, vocab_size=4096, seconds=560)                          # Fit(depth=3, num_tokens=12.9e6, ...)

Speed is measured on made-up documents, before there are others, so that no more of them are made than will be read.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import torch

from liaoliao.data.example import Batch
from liaoliao.model.config import ModelConfig
from liaoliao.model.transformer import Transformer
from liaoliao.recipes.stage import StageConfig
from liaoliao.train.loop import TrainState, train
from liaoliao.train.machine import pick_dtype
from liaoliao.train.objectives import next_token
from liaoliao.train.optim import build_optimizers

DEPTHS: Final = range(2, 13)
PROBE_DEPTH: Final = 4
# What a model must still see for each parameter in its layers. Depth 3 is worth having early; a deeper one is better only
# much later: on the town depth 3 knows more from 15M tokens than depth 4 from 12M, for two thirds of the time (LOG.md).
SMALL_DEPTH: Final = 3
TOKENS_PER_PARAMETER: Final = 1.9
TOKENS_PER_PARAMETER_BEYOND: Final = 5.0
_KEPT: Final = 0.95  # of the measured speed, for checkpoints and looks on the way


@dataclass(frozen=True, slots=True)
class Fit:
    """A depth, the tokens that its model reads in the time there is, and the parameters in its layers."""

    depth: int
    num_tokens: float
    num_parameters: int

    @property
    def reads_enough(self) -> bool:
        """Whether so large a model is worth it."""
        wanted = TOKENS_PER_PARAMETER if self.depth <= SMALL_DEPTH else TOKENS_PER_PARAMETER_BEYOND
        return self.num_tokens >= wanted * self.num_parameters


def measure_pace(stage: StageConfig, *, vocab_size: int, document_length: int, num_steps: int = 3) -> float:
    """Tokens a second of this machine at PROBE_DEPTH, the first step not counted, with documents of this length."""
    shape = ModelConfig.from_depth(PROBE_DEPTH, vocab_size, max_position_embeddings=stage.row_length)
    model = Transformer(shape).init_weights(0)
    model.compute_dtype = pick_dtype(stage.dtype)
    source = _MadeUp(_made_up_rows(stage, vocab_size, document_length))
    state = TrainState(model, source, build_optimizers(model, stage.optim), num_steps + 1)
    times: list[float] = []

    def clock(state: TrainState) -> None:
        times.append(time.perf_counter())

    train(state, next_token, schedule=lambda progress: 0.0, hooks=[clock])
    return stage.tokens_per_step / min(b - a for a, b in pairwise(times))


def best_fit(pace: float, *, vocab_size: int, seconds: float) -> Fit:
    """The deepest model that reads enough in these seconds, by the FLOPs of a token; else the shallowest."""
    fits = [fit_of(depth, pace, vocab_size=vocab_size, seconds=seconds) for depth in DEPTHS]
    enough = [fit for fit in fits if fit.reads_enough]
    return enough[-1] if enough else fits[0]


def fit_of(depth: int, pace: float, *, vocab_size: int, seconds: float) -> Fit:
    """What a model of this depth reads, where one of PROBE_DEPTH reads `pace` tokens a second."""
    shape, probe = (ModelConfig.from_depth(d, vocab_size) for d in (depth, PROBE_DEPTH))
    num_tokens = _KEPT * pace * max(0.0, seconds) * _work(probe) / _work(shape)
    return Fit(depth, num_tokens, shape.num_parameters(embeddings=False))


def _work(shape: ModelConfig) -> int:
    """Relative cost of a token: parameters that are multiplied, the vocabulary's among them."""
    return shape.num_parameters(embeddings=False) + shape.vocab_size * shape.hidden_size


def _made_up_rows(stage: StageConfig, vocab_size: int, document_length: int) -> list[Batch]:
    """One optimizer step of rows full of documents, all of the same length but the last of a row."""
    rows = stage.tokens_per_microbatch // stage.row_length
    place = torch.arange(stage.row_length).expand(rows, -1)
    weights = (place % document_length > 0).float()
    ids = torch.randint(vocab_size, place.shape, generator=torch.Generator().manual_seed(0))
    batch = Batch(ids, weights, place // document_length + 1, place % document_length, float(weights.sum()))
    return [batch] * (stage.tokens_per_step // stage.tokens_per_microbatch)


class _MadeUp:
    """The same step for ever."""

    def __init__(self, step: list[Batch]) -> None:
        self._step = step

    def __iter__(self) -> Iterator[list[Batch]]:
        while True:
            yield self._step

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to go to."""
