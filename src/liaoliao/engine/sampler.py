"""From logits to the next token of every running sequence at once: no loop over rows.

Randomness is counter-based: the n-th token of a request draws one uniform number that depends on (seed, n)
alone, so what a request says does not depend on its company. Where all rows are greedy, an argmax is all that
runs.

    uniform(seeds=[7, 7], counters=[0, 1])  ->  two numbers in [0, 1), the same in every process
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from liaoliao.engine.request import SamplingParams
from liaoliao.errors import CheckpointError

_TopLogprobs = tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Sampled:
    """The chosen tokens of B rows, their logprobs, and the likeliest alternatives where asked for."""

    token_ids: Int[Tensor, "B"]
    logprobs: Float[Tensor, "B"]
    top_logprobs: list[_TopLogprobs] | None


class Sampler:
    """Sampling settings of every slot, as arrays, and the tokens each slot has seen (for the repetition
    penalty).
    """

    def __init__(self, num_slots: int, vocab_size: int, device: torch.device) -> None:
        self.vocab_size, self.device = vocab_size, device
        self.temperature = np.ones(num_slots, dtype=np.float32)
        self.top_p = np.ones(num_slots, dtype=np.float32)
        self.top_k = np.zeros(num_slots, dtype=np.int64)
        self.min_p = np.zeros(num_slots, dtype=np.float32)
        self.penalty = np.ones(num_slots, dtype=np.float32)
        self.num_top = np.zeros(num_slots, dtype=np.int64)
        self.seed = np.zeros(num_slots, dtype=np.uint64)
        self.count = np.zeros(num_slots, dtype=np.uint64)  # tokens drawn so far
        self.seen: Bool[Tensor, "S V"] | None = None  # made when the first request with a penalty arrives

    def assign(self, slot: int, params: SamplingParams, prompt: Sequence[int]) -> None:
        """Give a slot to a request."""
        self.temperature[slot] = params.temperature
        self.top_p[slot] = params.top_p
        self.top_k[slot] = min(params.top_k, self.vocab_size)
        self.min_p[slot] = params.min_p
        self.penalty[slot] = params.repetition_penalty
        self.num_top[slot] = min(params.logprobs, self.vocab_size)
        self.seed[slot] = (secrets.randbits(64) if params.seed is None else params.seed) % 2**64
        self.count[slot] = 0
        if params.repetition_penalty != 1.0:
            if self.seen is None:
                shape = (len(self.seed), self.vocab_size)
                self.seen = torch.zeros(shape, dtype=torch.bool, device=self.device)
            self.seen[slot] = False
            self.seen[slot, torch.as_tensor(prompt, device=self.device)] = True

    def move(self, source: int, target: int) -> None:
        """The request of slot `source` now lives in slot `target`."""
        for values in (
            self.temperature,
            self.top_p,
            self.top_k,
            self.min_p,
            self.penalty,
            self.num_top,
            self.seed,
            self.count,
        ):
            values[target] = values[source]
        if self.seen is not None:
            self.seen[target] = self.seen[source]

    def sample(self, slots: Sequence[int], logits: Float[Tensor, "B V"]) -> Sampled:
        """Choose the next token of each slot from its row of logits. Raises CheckpointError on NaN or
        infinite logits.
        """
        rows = np.asarray(slots, dtype=np.int64)
        logits = logits.float()
        total = logits.logsumexp(-1)
        if not bool(total.isfinite().all()):  # one NaN or +inf in a row reaches its sum
            raise CheckpointError(
                "the model gave NaN or infinite logits; its weights are damaged, use another checkpoint"
            )
        token_ids = self._choose(rows, logits)
        self.count[rows] += np.uint64(1)
        logprobs = logits.gather(-1, token_ids.unsqueeze(-1)).squeeze(-1) - total
        return Sampled(token_ids, logprobs, self._alternatives(rows, logits, total))

    def _choose(self, rows: NDArray[np.int64], logits: Tensor) -> Int[Tensor, "B"]:
        scores = self._penalised(rows, logits)
        drawn = np.flatnonzero(self.temperature[rows] > 0)
        if len(drawn) == 0:
            token_ids = scores.argmax(-1)
        else:
            some = rows[drawn]
            heat = self._tensor(self.temperature[some]).unsqueeze(-1)
            all_drawn = len(drawn) == len(rows)
            kept = self._filtered(some, (scores if all_drawn else scores[self._tensor(drawn)]) / heat)
            picked = draw(kept, self._tensor(uniform(self.seed[some], self.count[some])))
            token_ids = picked if all_drawn else scores.argmax(-1).index_copy_(0, self._tensor(drawn), picked)
        if self.seen is not None:
            self.seen[self._tensor(rows), token_ids] = True
        return token_ids

    def _penalised(self, rows: NDArray[np.int64], logits: Tensor) -> Tensor:
        """Seen tokens become less likely by the factor (Keskar et al. 2019, CTRL, section 4.1)."""
        if self.seen is None or bool((self.penalty[rows] == 1.0).all()):
            return logits
        factor = self._tensor(self.penalty[rows]).unsqueeze(-1)
        factor = torch.where(self.seen[self._tensor(rows)], factor, 1.0)
        return torch.where(logits > 0, logits / factor, logits * factor)

    def _filtered(self, rows: NDArray[np.int64], scores: Tensor) -> Tensor:
        if (self.top_k[rows] > 0).any():
            scores = keep_top_k(scores, self._tensor(self.top_k[rows]))
        if (self.top_p[rows] < 1).any():
            scores = keep_top_p(scores, self._tensor(self.top_p[rows]))
        if (self.min_p[rows] > 0).any():
            scores = keep_min_p(scores, self._tensor(self.min_p[rows]))
        return scores

    def _alternatives(
        self, rows: NDArray[np.int64], logits: Tensor, total: Tensor
    ) -> list[_TopLogprobs] | None:
        asked = self.num_top[rows]
        if not asked.any():
            return None
        best, ids = logits.topk(int(asked.max()), dim=-1)
        pairs = zip((best - total.unsqueeze(-1)).tolist(), ids.tolist(), asked.tolist(), strict=True)
        return [tuple(zip(names[:n], values[:n], strict=True)) for values, names, n in pairs]

    def _tensor(self, values: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(values).to(self.device)


def keep_top_k(scores: Float[Tensor, "B V"], top_k: Int[Tensor, "B"]) -> Float[Tensor, "B V"]:
    """All but the `top_k` best of each row become -inf; 0 keeps the whole row. Ties at the border stay."""
    best = scores.topk(int(top_k.max()), dim=-1).values  # (B, K)
    border = best.gather(-1, (top_k - 1).clamp(min=0).unsqueeze(-1))
    return scores.masked_fill((scores < border) & (top_k > 0).unsqueeze(-1), -torch.inf)


def keep_top_p(scores: Float[Tensor, "B V"], top_p: Float[Tensor, "B"]) -> Float[Tensor, "B V"]:
    """Keep the smallest set of likeliest tokens whose mass reaches `top_p` (Holtzman et al. 2020, nucleus
    sampling).
    """
    ordered, ids = scores.sort(dim=-1, descending=True)
    weights = ordered.softmax(-1)
    before = weights.cumsum(-1) - weights  # mass of the better ones
    drop = (before >= top_p.unsqueeze(-1)) & (top_p < 1).unsqueeze(-1)
    drop[:, 0] = False
    return scores.masked_fill(torch.zeros_like(drop).scatter_(-1, ids, drop), -torch.inf)


def keep_min_p(scores: Float[Tensor, "B V"], min_p: Float[Tensor, "B"]) -> Float[Tensor, "B V"]:
    """Drop tokens less likely than `min_p` times the likeliest (Nguyen et al. 2024, min-p sampling)."""
    border = scores.amax(-1, keepdim=True) + min_p.log().unsqueeze(-1)
    return scores.masked_fill(scores < border, -torch.inf)


def draw(scores: Float[Tensor, "B V"], uniforms: Float[Tensor, "B"]) -> Int[Tensor, "B"]:
    """The token at which the running sum of each row's probabilities passes its uniform number."""
    mass = (
        scores.double().softmax(-1).cumsum(-1)
    )  # double: a sum over 150,000 tokens must not lose the small ones
    return torch.searchsorted(mass, uniforms.unsqueeze(-1) * mass[:, -1:], right=True).squeeze(-1)


def uniform(seeds: NDArray[np.uint64], counters: NDArray[np.uint64]) -> NDArray[np.float64]:
    """One number in [0, 1) for each (seed, counter): the finaliser of SplitMix64 (Steele et al. 2014) over
    both.
    """
    with np.errstate(over="ignore"):
        mixed = _mix(
            _mix(seeds + np.uint64(0x9E3779B97F4A7C15))
            ^ ((counters + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15))
        )
    return (mixed >> np.uint64(32)).astype(np.float64) / 2**32


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
