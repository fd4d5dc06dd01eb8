"""Which tokens stay in the draw, and the draw: pure functions on rows of scores, the last step of the sampler.

Sorting a vocabulary of 150,000 for every token would cost more than a small model. Nearly always the tokens that
top-k, top-p or min-p keep are among the 256 likeliest, so `draw_filtered` looks at those; only a row where they
do not suffice is filtered whole. Each row takes the way that its own numbers ask for: its token does not depend
on the other rows.

    draw(scores=[[-inf, 0, -inf, 0]], uniforms=[0.6])  ->  [3]
    uniform(seeds=[7, 7], counters=[0, 1])  ->  two numbers in [0, 1), the same in every process
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

SHORTLIST: Final = 256


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of B rows; 0 (top_k, min_p) and 1 (top_p) keep all."""

    top_k: Int[Tensor, "B"]
    top_p: Float[Tensor, "B"]
    min_p: Float[Tensor, "B"]

    def rows(self, rows: Int[Tensor, "b"]) -> "Filters":
        """The filters of some of the rows."""
        return Filters(self.top_k[rows], self.top_p[rows], self.min_p[rows])


def draw_filtered(
    scores: Float[Tensor, "B V"], filters: Filters, uniforms: Float[Tensor, "B"]
) -> Int[Tensor, "B"]:
    """A token of each row, drawn from those that top-k, then top-p, then min-p keep."""
    best, ids = scores.topk(min(SHORTLIST, scores.shape[-1]), dim=-1)  # (B, K), falling
    probs = scores.softmax(-1).gather(-1, ids)
    kept = _kept_of_list(best, probs, filters)
    mass = torch.where(kept, probs, 0.0).double().cumsum(-1)
    token_ids = ids.gather(-1, _passed(mass, uniforms)).squeeze(-1)
    # A filter keeps what is above some border. If the last of the list is kept, tokens beyond it may be kept too.
    open_ended = kept[:, -1] | (filters.top_k > best.shape[-1])
    if not bool(open_ended.any()):
        return token_ids
    whole = open_ended.nonzero().squeeze(-1)
    picked = draw(_filtered(scores[whole], filters.rows(whole)), uniforms[whole])
    return token_ids.index_copy(0, whole, picked)


def _kept_of_list(best: Tensor, probs: Tensor, filters: Filters) -> Bool[Tensor, "B K"]:
    """What the filters keep of a falling list, if the list holds all of top-k."""
    border = best.gather(-1, (filters.top_k.clamp(1, best.shape[-1]) - 1).unsqueeze(-1))
    in_top_k = (best >= border) | (filters.top_k == 0).unsqueeze(-1)
    mass = torch.where(in_top_k, probs, 0.0).double()
    of_all = torch.where(filters.top_k == 0, 1.0, mass.sum(-1)) * filters.top_p  # top-p is a share of top-k
    in_top_p = (mass.cumsum(-1) - mass < of_all.unsqueeze(-1)) | (filters.top_p >= 1).unsqueeze(-1)
    kept = in_top_k & in_top_p & (probs >= filters.min_p.unsqueeze(-1) * probs[:, :1])
    kept[:, 0] = True
    return kept


def _filtered(scores: Float[Tensor, "B V"], filters: Filters) -> Float[Tensor, "B V"]:
    if bool((filters.top_k > 0).any()):
        scores = keep_top_k(scores, filters.top_k)
    if bool((filters.top_p < 1).any()):
        scores = keep_top_p(scores, filters.top_p)
    return keep_min_p(scores, filters.min_p) if bool((filters.min_p > 0).any()) else scores


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
    mass = scores.softmax(-1).cumsum(
        -1, dtype=torch.double
    )  # double: the small ones of 150,000 must not be lost
    return _passed(mass, uniforms).squeeze(-1)


def _passed(mass: Float[Tensor, "B K"], uniforms: Float[Tensor, "B"]) -> Int[Tensor, "B 1"]:
    """Where a running sum passes each row's share of the whole."""
    return torch.searchsorted(mass, uniforms.unsqueeze(-1) * mass[:, -1:], right=True)


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
