"""What a request adds to the logits and takes from them: bias, and penalties on tokens that it has seen.

In this order: logit bias; repetition penalty on the tokens of prompt and reply (Keskar et al. 2019, CTRL, section
4.1); presence and frequency penalty on the tokens of the reply alone, as the OpenAI API has them. Rows that ask
for none of it are not touched, and tables of seen tokens are made when the first request needs one.

    reply [5, 5, 7], presence 1, frequency 0.5  ->  logit of 5: -1 - 2 * 0.5, of 7: -1 - 0.5
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from liaoliao.engine.request import Request


class Penalties:
    """Bias and penalties of every slot. S slots, a vocabulary of V tokens."""

    def __init__(self, num_slots: int, vocab_size: int, device: torch.device) -> None:
        self._shape, self._device = (num_slots, vocab_size), device
        self._repetition = np.ones(num_slots, dtype=np.float32)
        self._presence = np.zeros(num_slots, dtype=np.float32)
        self._frequency = np.zeros(num_slots, dtype=np.float32)
        self._asks = np.zeros(num_slots, dtype=np.bool_)  # for anything at all
        self._bias: dict[int, tuple[NDArray[np.int64], NDArray[np.float32]]] = {}
        self._seen: tuple[Bool[Tensor, "S V"], Int[Tensor, "S V"]] | None = (
            None  # in the prompt; times in the reply
        )

    def assign(self, slot: int, request: Request, generated: Sequence[int]) -> None:
        """Give a slot to a request that has said `generated` so far."""
        params = request.params
        self.release(slot)
        self._repetition[slot] = params.repetition_penalty
        self._presence[slot], self._frequency[slot] = params.presence_penalty, params.frequency_penalty
        if params.logit_bias:
            ids, values = zip(*params.logit_bias, strict=True)
            self._bias[slot] = np.array(ids, dtype=np.int64), np.array(values, dtype=np.float32)
        penalised = (params.repetition_penalty, params.presence_penalty, params.frequency_penalty) != (
            1,
            0,
            0,
        )
        if penalised:
            self._remember(slot, request.token_ids, generated)
        self._asks[slot] = penalised or bool(params.logit_bias)

    def release(self, slot: int) -> None:
        """Forget the request of a slot."""
        self._repetition[slot], self._presence[slot], self._frequency[slot] = 1.0, 0.0, 0.0
        self._asks[slot] = False
        self._bias.pop(slot, None)

    def apply(self, slots: NDArray[np.int64], logits: Float[Tensor, "B V"]) -> Float[Tensor, "B V"]:
        """The logits of `slots` as their requests want them; the given tensor stays as it is."""
        rows = np.flatnonzero(self._asks[slots])
        if not len(rows):
            return logits
        index = self._tensor(rows)
        return logits.index_copy(
            0, index, self._penalised(slots[rows], self._biased(slots[rows], logits[index]))
        )

    def count(self, slots: NDArray[np.int64], token_ids: Int[Tensor, "B"]) -> None:
        """Take note of the tokens that were chosen."""
        if self._seen is not None:
            self._seen[1][self._tensor(slots), token_ids] += 1

    def _remember(self, slot: int, prompt: Sequence[int], generated: Sequence[int]) -> None:
        if self._seen is None:
            self._seen = (
                torch.zeros(self._shape, dtype=torch.bool, device=self._device),
                torch.zeros(self._shape, dtype=torch.int32, device=self._device),
            )
        in_prompt, counts = self._seen
        in_prompt[slot] = False
        in_prompt[slot, torch.tensor(prompt, dtype=torch.int64, device=self._device)] = True
        said = torch.tensor(generated, dtype=torch.int64, device=self._device)
        counts[slot] = said.bincount(minlength=self._shape[1])

    def _biased(self, slots: NDArray[np.int64], scores: Tensor) -> Tensor:
        """`scores` with the biases added, in place."""
        biased = [(row, *self._bias[slot]) for row, slot in enumerate(slots.tolist()) if slot in self._bias]
        if biased:
            rows = np.concatenate([np.full(len(ids), row) for row, ids, _ in biased])
            ids = np.concatenate([ids for _, ids, _ in biased])
            values = np.concatenate([values for _, _, values in biased])
            scores[self._tensor(rows), self._tensor(ids)] += self._tensor(values)
        return scores

    def _penalised(self, slots: NDArray[np.int64], scores: Tensor) -> Tensor:
        if self._seen is None:
            return scores
        index = self._tensor(slots)
        in_prompt, counts = self._seen[0][index], self._seen[1][index]
        said = counts > 0
        repetition, presence, frequency = (
            self._tensor(values[slots]).unsqueeze(-1)
            for values in (self._repetition, self._presence, self._frequency)
        )
        factor = torch.where(in_prompt | said, repetition, 1.0)
        scores = torch.where(scores > 0, scores / factor, scores * factor)
        return scores - presence * said - frequency * counts

    def _tensor(self, values: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(values).to(self._device)
