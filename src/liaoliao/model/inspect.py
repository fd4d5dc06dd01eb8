"""Looking inside a model while it reads: what it would have said after each layer, and where each head looked.

    inspector = Inspector(model)
    inspector.score([5, 9, 7], start=1)     ->  Scored(9, prob=0.31, rank=2, entropy_bits=4.2), Scored(7, ...)
    look = inspector.look([5, 9, 7], 2)     # why 7? The model stood at 9 then, and saw 5 and 9
    look.lens[-1][0]                        ->  Choice(token_id=7, prob=0.8): what the last layer says is what is said
    look.attention.shape                    ->  (layers, heads, 2)

The text that was read last stays read, as keys and values: another look at it costs one step of decoding, and a text
that begins like it is read from where they part. The lens puts each layer's state through the final norm and the head
(nostalgebraist 2020, "interpreting GPT: the logit lens").
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from liaoliao.errors import ContextLengthError, RequestError
from liaoliao.model.cache import BLOCK_SIZE, CacheView, PagedCache, Span
from liaoliao.model.transformer import Transformer

READ_TOKENS = 512  # read in one pass: bounds the memory of a long text's states
PIECE_BYTES = 2**26  # of logits alive at a time
NUM_ALTERNATIVES = 20
NUM_LENS = 5
_FLOOR = -1e30  # for the logarithm of zero, so that zero times it is zero


@dataclass(frozen=True, slots=True)
class Choice:
    """A token that could have come, and how probable it was."""

    token_id: int
    prob: float


@dataclass(frozen=True, slots=True)
class Scored:
    """A token in its place: how probable it was, how many were likelier (`rank` 1: none), and how open the choice was,
    as the entropy of the whole distribution (0: no choice; log2 of the vocabulary: no idea).
    """

    token_id: int
    prob: float
    rank: int
    entropy_bits: float


@dataclass(frozen=True, slots=True)
class Look:
    """One choice of the model from inside. `lens` holds the likeliest tokens of the embedding and after each layer,
    L + 1 in all; `attention` how each head of each layer spread over the positions that came before.
    """

    token: Scored
    alternatives: tuple[Choice, ...]
    lens: tuple[tuple[Choice, ...], ...]
    attention: Float[Tensor, "L H n"]


class Inspector:
    """A model under glass; one thread at a time. All figures are the bare model's, before temperature and penalties.

    `memory_bytes` bounds what is kept of a text, and so its length; left out, all that the model was made for is
    possible. On a CPU memory is taken as texts grow.
    """

    def __init__(self, model: Transformer, *, memory_bytes: int | None = None) -> None:
        config, weight = model.config, model.output_weight
        self.model = model
        self.dtype, self.device = model.compute_dtype or weight.dtype, weight.device
        most = config.max_position_embeddings
        if memory_bytes is not None:
            width = 2 * config.num_key_value_heads * config.head_dim * config.num_hidden_layers
            most = min(most, max(1, memory_bytes // (width * BLOCK_SIZE * self.dtype.itemsize)) * BLOCK_SIZE)
        self.max_tokens = most
        num_blocks = -(-most // BLOCK_SIZE)
        self._cache = PagedCache(config, num_blocks, dtype=self.dtype, device=self.device)
        self._read: list[int] = []  # the text whose keys and values are in the cache
        # and its states (T, D) after the final norm
        self._hidden = torch.empty(0, config.hidden_size, dtype=self.dtype, device=self.device)

    @torch.inference_mode()
    def score(self, token_ids: Sequence[int], start: int = 1) -> list[Scored]:
        """The tokens of a text from place `start` on, which is 1 at least: the first has nothing before it.

        Raises ContextLengthError for a text that is too long, RequestError for foreign ids or a bad `start`.
        """
        self._check(token_ids, start)
        self._look_over(token_ids)
        scored: list[Scored] = []
        for states in torch.split(self._hidden[start - 1 : len(token_ids) - 1], self._rows_at_a_time()):
            targets = token_ids[start + len(scored) : start + len(scored) + len(states)]
            scored += _scored(targets, self.model.logits(states).float())
        return scored

    @torch.inference_mode()
    def look(self, token_ids: Sequence[int], position: int) -> Look:
        """The choice of the token at `position`, at least 1. Raises as `score` does."""
        self._check(token_ids, position)
        self._look_over(token_ids)
        logits = self.model.logits(self._hidden[position - 1 : position]).float()
        [token] = _scored(token_ids[position : position + 1], logits)
        states, attention = self._step(token_ids[position - 1], position - 1)
        layers = self.model.logits(self.model.model.norm(states)).float()
        [alternatives] = _likeliest(logits, NUM_ALTERNATIVES)
        return Look(token, alternatives, tuple(_likeliest(layers, NUM_LENS)), attention)

    def _check(self, token_ids: Sequence[int], position: int) -> None:
        if len(token_ids) > self.max_tokens:
            raise ContextLengthError(
                f"a text of {len(token_ids)} tokens is too long to look into; {self.max_tokens} are possible",
                num_tokens=len(token_ids),
                max_length=self.max_tokens,
            )
        if not 1 <= position < len(token_ids):
            raise RequestError(
                f"there is no choice to look at in place {position}: a text of {len(token_ids)} tokens has "
                f"them from 1 to {len(token_ids) - 1}"
            )
        size = self.model.config.vocab_size
        if not (min(token_ids) >= 0 and max(token_ids) < size):
            raise RequestError(f"the text has a token id outside of the vocabulary (0 to {size - 1})")

    def _rows_at_a_time(self) -> int:
        return max(1, PIECE_BYTES // (4 * self.model.config.vocab_size))

    def _look_over(self, token_ids: Sequence[int]) -> None:
        """Have the text in the cache: read what is new of it."""
        same = num_alike(self._read, token_ids)
        if same == len(token_ids):
            return
        self._read, self._hidden = self._read[:same], self._hidden[:same]  # should reading fail half way
        pieces = [self._hidden]
        for start in range(same, len(token_ids), READ_TOKENS):
            ids = token_ids[start : start + READ_TOKENS]
            pieces.append(self._pass(ids, start))
        self._read, self._hidden = list(token_ids), torch.cat(pieces)

    def _pass(self, token_ids: Sequence[int], start: int) -> Float[Tensor, "t D"]:
        """Read on at `start`; the states after the final norm."""
        view = self._cache.view([Span(range(self._cache.num_blocks), start, len(token_ids))])
        padding = [0] * (view.positions.shape[1] - len(token_ids))
        columns = torch.tensor([[*token_ids, *padding]], device=self.device)
        return self.model.hidden(columns, cache=view)[0, : len(token_ids)]

    def _step(self, token_id: int, position: int) -> tuple[Float[Tensor, "L1 D"], Float[Tensor, "L H n"]]:
        """One token that has been read goes through the layers again: its residual stream before and after each of
        them, and its attention.
        """
        place = torch.tensor([[position]], device=self.device)
        watch = _Watch(self._cache, place, place[0, :0], (), position + 1)
        states = self.model.residuals(torch.tensor([[token_id]], device=self.device), cache=watch)
        streams = torch.cat([state[0] for state in states])
        return streams, torch.stack(watch.weights).cpu()


@dataclass(frozen=True, slots=True)
class _Watch(CacheView):
    """A view for one token that has been read before: it writes nothing, and keeps what the heads attend to.

    The blocks must be those of one text, in order.
    """

    weights: list[Float[Tensor, "Hq n"]] = field(default_factory=list)

    def attend(
        self,
        layer: int,
        query: Float[Tensor, "Hq 1 1 d"],
        key: Float[Tensor, "Hkv 1 1 d"],
        value: Float[Tensor, "Hkv 1 1 d"],
    ) -> Float[Tensor, "Hq 1 1 d"]:
        """Attention of the token over all up to itself, which the cache holds (`length` of them)."""
        tables = (self.cache.keys[layer], self.cache.values[layer])
        keys, values = (table.flatten(1, 2)[:, : self.length] for table in tables)  # (Hkv, n, d)
        heads = query.view(len(keys), -1, query.shape[3])  # (Hkv, G, d)
        scores = heads @ keys.transpose(-1, -2) * query.shape[3] ** -0.5
        weights = scores.float().softmax(-1)
        self.weights.append(weights.flatten(0, 1))
        fetched: Tensor = weights.to(values.dtype) @ values
        return fetched.view(query.shape)


def _scored(token_ids: Sequence[int], logits: Float[Tensor, "N V"]) -> Iterator[Scored]:
    logprobs = logits.log_softmax(-1)
    chosen = logprobs.gather(-1, torch.tensor(token_ids, device=logits.device).unsqueeze(-1))
    ranks = (logprobs > chosen).sum(-1) + 1
    probs = logprobs.exp()
    bits = -(probs * logprobs.clamp_min(_FLOOR)).sum(-1) / math.log(2)
    columns = (chosen.exp().squeeze(-1).tolist(), ranks.tolist(), bits.clamp_min(0.0).tolist())
    for token_id, prob, rank, entropy in zip(token_ids, *columns, strict=True):
        yield Scored(token_id, prob, rank, entropy)


def _likeliest(logits: Float[Tensor, "N V"], count: int) -> Iterator[tuple[Choice, ...]]:
    probs, ids = logits.softmax(-1).topk(min(count, logits.shape[-1]), dim=-1)
    for row in zip(ids.tolist(), probs.tolist(), strict=True):
        yield tuple(Choice(token_id, prob) for token_id, prob in zip(*row, strict=True))


def num_alike(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two texts have in common at their beginning."""
    shorter = min(len(first), len(second))
    return next((i for i in range(shorter) if first[i] != second[i]), shorter)
