"""A runner without a model: what comes next is a hash of all that stands in a row's blocks, so that a mistake about
blocks, positions or rows shows at once. And fast: ten thousand requests take seconds.

    runner = FakeRunner(num_blocks=8)
    Engine(runner).generate([Request((1, 2, 3), SamplingParams(temperature=0.0, max_tokens=4))])
    runner.greedy((1, 2, 3), 4)       # what the engine has to say
"""

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from liaoliao.engine.runner import BLOCK_SIZE, Row

_ODD = np.uint64(0x9E3779B97F4A7C15)


class FakeRunner:
    """Follows `next_token(ids so far)` where given, and a hash otherwise. `fail` is raised by the next forward, after it
    has stored half of its rows; `delay_s` is how long a forward takes. `poison` is a token after which logits are NaN.
    """

    def __init__(
        self,
        *,
        num_blocks: int = 64,
        vocab_size: int = 61,
        max_length: int = 64,
        eos_token_ids: tuple[int, ...] = (),
        next_token: Callable[[Sequence[int]], int] | None = None,
        seed: int = 0,
        delay_s: float = 0.0,
    ) -> None:
        self.num_blocks, self.vocab_size, self.max_length = num_blocks, vocab_size, max_length
        self.hidden_size, self.device, self.eos_token_ids = 4, torch.device("cpu"), eos_token_ids
        self.next_token, self.seed, self.delay_s = next_token, seed, delay_s
        self.memory = np.full((num_blocks, BLOCK_SIZE), -1)
        self.fail: Exception | None = None
        self.poison: int | None = None
        self.steps: list[list[tuple[int, int]]] = []  # (start, new tokens) of every row of every forward

    def forward(self, rows: Sequence[Row]) -> Float[Tensor, "N V"]:
        time.sleep(self.delay_s)
        self.steps.append([(row.start, len(row.token_ids)) for row in rows])
        if self.fail is not None:
            error, self.fail = self.fail, None
            for row in rows[: len(rows) // 2]:
                self._store(row)
            raise error
        for row in rows:
            self._store(row)
        logits = [self._logits(ids) for row in rows for ids in self._wanted(row)]
        return torch.from_numpy(np.stack(logits) if logits else np.empty((0, self.vocab_size))).float()

    def score(self, batch: Sequence[Sequence[int]]) -> list[list[float]]:
        return [[self._logprob(ids, i) for i in range(len(ids))] for ids in batch]

    def text_logits(self, token_ids: Sequence[int]) -> Iterator[Float[Tensor, "N V"]]:
        for end in range(1, len(token_ids) + 1):
            yield torch.from_numpy(self._logits(token_ids[:end])[None]).float()

    def text_hidden(self, token_ids: Sequence[int]) -> Iterator[Float[Tensor, "N D"]]:
        """States whose mean is what `embed` says, one token at a time."""
        mean = self.embed([token_ids])[0]
        for i in range(len(token_ids)):
            time.sleep(self.delay_s)
            yield (mean * 2 * i / max(1, len(token_ids) - 1) if len(token_ids) > 1 else mean)[None]

    def embed(self, batch: Sequence[Sequence[int]]) -> Float[Tensor, "B D"]:
        return torch.tensor([[float(sum(ids)), len(ids), min(ids), max(ids)] for ids in batch])

    def greedy(self, token_ids: Sequence[int], count: int) -> list[int]:
        """The likeliest continuation."""
        ids = list(token_ids)
        for _ in range(count):
            ids.append(int(self._logits(ids).argmax()))
        return ids[len(token_ids) :]

    def _store(self, row: Row) -> None:
        for position, token_id in enumerate(row.token_ids, row.start):
            self.memory[row.block_ids[position // BLOCK_SIZE], position % BLOCK_SIZE] = token_id

    def _wanted(self, row: Row) -> list[list[int]]:
        """What stands before each wanted token and that token, read from the blocks."""
        end = row.start + len(row.token_ids)
        ids = self.memory[list(row.block_ids)].reshape(-1)[:end].tolist()
        return [ids[: end - i] for i in range(row.num_logits - 1, -1, -1)]

    def _logprob(self, ids: Sequence[int], i: int) -> float:
        logits = self._logits(ids[:i]) - self._logits(ids[:i]).max()
        return float(logits[ids[i]] - np.log(np.exp(logits).sum())) if i else 0.0

    def _logits(self, ids: Sequence[int]) -> np.ndarray:
        if self.poison in ids:
            return np.full(self.vocab_size, np.nan)
        with np.errstate(over="ignore"):
            powers = _ODD ** np.arange(1, len(ids) + 1, dtype=np.uint64)
            state = (np.asarray(ids).astype(np.uint64) * powers).sum() + np.uint64(self.seed)
            mixed = (state + np.arange(self.vocab_size, dtype=np.uint64)) * _ODD
            mixed = (mixed ^ (mixed >> np.uint64(29))) * _ODD
        logits: np.ndarray = (mixed >> np.uint64(40)).astype(np.float64) / 2**22  # 0 to 4
        if self.next_token is not None:
            logits[self.next_token(ids)] = 9.0
        return logits
