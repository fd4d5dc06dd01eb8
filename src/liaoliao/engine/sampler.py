"""From logits to the next token of every running sequence at once.

Randomness is counter-based: the n-th token of a request draws one uniform number that depends on (seed, n)
alone, so what a request says does not depend on its company, nor on being interrupted. What nobody asks for
costs nothing: where all rows are greedy, an argmax is all that chooses.

    logits -> bias and penalties -> grammar mask -> temperature -> top-k, top-p, min-p -> draw

The first step lives in `penalties`, the last two in `filters`. A request keeps its slot from `assign` to
`release`:

    sampler.assign(3, request)
    sampled = sampler.sample([3], logits)  ->  Sampled(token_ids=[9], logprobs=[-0.2], top_logprobs=None)
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from liaoliao.engine.filters import Filters, draw, draw_filtered, uniform
from liaoliao.engine.penalties import Penalties
from liaoliao.engine.request import GrammarState, Request
from liaoliao.errors import CheckpointError, RequestError

_TopLogprobs = tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Sampled:
    """The chosen tokens of B rows, their logprobs, and the likeliest alternatives where asked for."""

    token_ids: Int[Tensor, "B"]
    logprobs: Float[Tensor, "B"]
    top_logprobs: list[_TopLogprobs] | None


class Sampler:
    """The sampling settings of every slot, as arrays, and how far each slot has come."""

    def __init__(self, num_slots: int, vocab_size: int, device: torch.device) -> None:
        self.vocab_size, self.device = vocab_size, device
        self.temperature = np.ones(num_slots, dtype=np.float32)
        self.top_p = np.ones(num_slots, dtype=np.float32)
        self.top_k = np.zeros(num_slots, dtype=np.int64)
        self.min_p = np.zeros(num_slots, dtype=np.float32)
        self.num_top = np.zeros(num_slots, dtype=np.int64)
        self.seed = np.zeros(num_slots, dtype=np.uint64)
        self.count = np.zeros(num_slots, dtype=np.uint64)  # tokens drawn so far
        self._penalties = Penalties(num_slots, vocab_size, device)
        self._states: dict[int, GrammarState] = {}
        self._failures: dict[int, RequestError] = {}

    def check(self, request: Request) -> None:
        """Raises RequestError for what only the vocabulary can tell: a biased token that it does not have."""
        for token_id, _ in request.params.logit_bias:
            if token_id >= self.vocab_size:
                raise RequestError(
                    f"logit_bias: token id {token_id} is outside of the vocabulary (0 to {self.vocab_size - 1})"
                )

    def assign(self, slot: int, request: Request, generated: Sequence[int] = ()) -> None:
        """Give a slot to a request, which has said `generated` before it was interrupted."""
        params = request.params
        self.temperature[slot] = params.temperature
        self.top_p[slot] = params.top_p
        self.top_k[slot] = min(params.top_k, self.vocab_size)
        self.min_p[slot] = params.min_p
        self.num_top[slot] = min(params.logprobs, self.vocab_size)
        self.seed[slot] = (secrets.randbits(64) if params.seed is None else params.seed) % 2**64
        self.count[slot] = len(generated)
        self._penalties.assign(slot, request, generated)
        self._forget_grammar(slot)
        if request.grammar is not None:
            self._states[slot] = request.grammar.start()
            for token_id in generated:
                self._accept(slot, token_id)

    def release(self, slot: int) -> None:
        """Take a slot back: what its request asked for costs nothing from now on."""
        self.num_top[slot] = 0
        self._penalties.release(slot)
        self._forget_grammar(slot)

    def finished(self, slot: int) -> bool:
        """Whether the reply in this slot is over: its grammar allows nothing more, or could not be followed."""
        return slot in self._failures or (slot in self._states and self._states[slot].done)

    def failure(self, slot: int) -> RequestError | None:
        """Why the grammar of a slot could not be followed further; the token sampled last is then no part of it."""
        return self._failures.get(slot)

    def sample(self, slots: Sequence[int], logits: Float[Tensor, "B V"]) -> Sampled:
        """Choose the next token of each slot from its row of logits. Raises CheckpointError on NaN or infinite
        logits.

        A slot may stand in several rows (the positions of a draft) if its request is greedy and has neither
        penalties nor a grammar.
        """
        rows = np.asarray(slots, dtype=np.int64)
        logits = logits.float()
        logprobs = logits.log_softmax(-1)  # unlike logsumexp, it sums a row alike however many rows there are
        if bool(logprobs[:, 0].isnan().any()):  # one NaN or +inf makes its whole row NaN
            raise CheckpointError(
                "the model gave NaN or infinite logits; its weights are damaged, use another checkpoint"
            )
        token_ids = self._choose(rows, self._masked(rows, self._penalties.apply(rows, logits)))
        self._advance(rows, token_ids)
        chosen = logprobs.gather(-1, token_ids.unsqueeze(-1)).squeeze(-1)
        return Sampled(token_ids, chosen, self._alternatives(rows, logprobs))

    def _choose(self, rows: NDArray[np.int64], scores: Tensor) -> Int[Tensor, "B"]:
        drawn = np.flatnonzero(self.temperature[rows] > 0)
        if len(drawn) == len(rows):
            return self._draw(rows, scores)
        greedy = scores.argmax(-1)
        if not len(drawn):
            return greedy
        index = self._tensor(drawn)
        return greedy.index_copy_(0, index, self._draw(rows[drawn], scores[index]))

    def _draw(self, rows: NDArray[np.int64], scores: Tensor) -> Int[Tensor, "B"]:
        heat = self._tensor(self.temperature[rows]).unsqueeze(-1)
        scores = (scores - scores.amax(-1, keepdim=True)) / heat  # the best is 0: no heat is too small for it
        uniforms = self._tensor(uniform(self.seed[rows], self.count[rows]))
        top_k, top_p, min_p = self.top_k[rows], self.top_p[rows], self.min_p[rows]
        if not ((top_k > 0) | (top_p < 1) | (min_p > 0)).any():
            return draw(scores, uniforms)
        filters = Filters(self._tensor(top_k), self._tensor(top_p), self._tensor(min_p))
        return draw_filtered(scores, filters, uniforms)

    def _advance(self, rows: NDArray[np.int64], token_ids: Int[Tensor, "B"]) -> None:
        self.count[rows] += np.uint64(1)
        self._penalties.count(rows, token_ids)
        if self._states:
            for slot, token_id in zip(rows.tolist(), token_ids.tolist(), strict=True):
                if slot in self._states:
                    self._accept(slot, token_id)

    # ------------------------------------------------------------ grammars

    def _masked(self, rows: NDArray[np.int64], scores: Tensor) -> Tensor:
        """Scores of tokens that a row's grammar does not allow here become -inf."""
        if not self._states:
            return scores
        masks = {i: mask for i, slot in enumerate(rows.tolist()) if (mask := self._mask(slot)) is not None}
        if not masks:
            return scores
        index = torch.tensor(list(masks), device=self.device)
        allowed = self._tensor(np.stack(list(masks.values())))
        return scores.index_copy(0, index, scores[index].masked_fill(~allowed, -torch.inf))

    def _mask(self, slot: int) -> Bool[np.ndarray, "V"] | None:
        """What a slot may say next; None if it has no grammar, or one that has failed."""
        if slot not in self._states or slot in self._failures:
            return None
        try:
            known = self._states[slot].mask()[: self.vocab_size]
        except RequestError as error:  # it is this request's failure, and no reason for the others to fail
            self._failures[slot] = error
            return None
        if not known.any():
            self._failures[slot] = RequestError("no token of the vocabulary can go on with this grammar")
            return None
        return np.pad(known, (0, self.vocab_size - len(known)))  # logits may be wider than the vocabulary

    def _accept(self, slot: int, token_id: int) -> None:
        if slot not in self._failures:
            try:
                self._states[slot].accept(token_id)
            except RequestError as error:
                self._failures[slot] = error

    def _forget_grammar(self, slot: int) -> None:
        self._states.pop(slot, None)
        self._failures.pop(slot, None)

    # ------------------------------------------------------------ inside

    def _alternatives(self, rows: NDArray[np.int64], logprobs: Tensor) -> list[_TopLogprobs] | None:
        asked = self.num_top[rows]
        if not asked.any():
            return None
        best, ids = logprobs.topk(int(asked.max()), dim=-1)
        pairs = zip(best.tolist(), ids.tolist(), asked.tolist(), strict=True)
        return [tuple(zip(names[:n], values[:n], strict=True)) for values, names, n in pairs]

    def _tensor(self, values: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(values).to(self.device)
