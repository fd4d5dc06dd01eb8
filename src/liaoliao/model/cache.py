"""Keys and values of the positions seen so far, one slot a sequence.

    cache = KVCache(config, num_slots=8, max_length=512)
    hidden = model.hidden(token_ids, cache=cache.view([3, 5], num_new=[7, 2]))    # appends 7 and 2 positions

A forward pass writes into the slots of its view; the slots' lengths grow by `num_new` once the pass is over.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from liaoliao.errors import RequestError
from liaoliao.model.config import ModelConfig

QUERY_CHUNK = 128  # queries per block: bounds the memory of the scores of a long prompt


class KVCache:
    """Key and value tables (num_layers, num_slots, num_kv_heads, max_length, head_dim) and the length of each
    slot.
    """

    def __init__(
        self,
        config: ModelConfig,
        num_slots: int,
        max_length: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        shape = (config.num_hidden_layers, num_slots, config.num_key_value_heads, max_length, config.head_dim)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)
        self.lengths = torch.zeros(num_slots, dtype=torch.long, device=device)

    @property
    def num_slots(self) -> int:
        """Sequences it can hold."""
        return self.keys.shape[1]

    @property
    def max_length(self) -> int:
        """Positions a slot can hold."""
        return self.keys.shape[3]

    def view(self, slots: Sequence[int] | Tensor, num_new: Sequence[int] | Tensor) -> "CacheView":
        """The rows a forward pass works on: row b appends its first num_new[b] tokens to slot slots[b]."""
        device = self.lengths.device
        slot_ids = torch.as_tensor(slots, dtype=torch.long, device=device)
        new = torch.as_tensor(num_new, dtype=torch.long, device=device)
        starts = self.lengths[slot_ids]
        span = int((starts + new).max())
        if span > self.max_length:
            raise RequestError(f"a sequence would outgrow its cache slot of {self.max_length} positions")
        return CacheView(self, slot_ids, new, starts, span, _neighbours(slot_ids))

    def free(self, slots: Sequence[int]) -> None:
        """Empty the slots; their memory is reused by whoever comes next."""
        self.lengths[torch.as_tensor(slots, dtype=torch.long)] = 0

    def move(self, source: int, target: int) -> None:
        """Let slot `target` hold what slot `source` holds."""
        length = int(self.lengths[source])
        for table in (self.keys, self.values):
            table[:, target, :, :length] = table[:, source, :, :length]
        self.lengths[target] = length

    def grow(self, num_slots: int, max_length: int) -> None:
        """Make room for more slots or longer sequences; what is stored stays."""
        layers, slots, heads, positions, head_dim = self.keys.shape
        for name in ("keys", "values"):
            old: Tensor = getattr(self, name)
            new = old.new_zeros(layers, max(slots, num_slots), heads, max(positions, max_length), head_dim)
            new[:, :slots, :, :positions] = old
            setattr(self, name, new)
        self.lengths = torch.cat([self.lengths, self.lengths.new_zeros(max(0, num_slots - slots))])


@dataclass(frozen=True, slots=True)
class CacheView:
    """One forward pass's window on a cache. `starts` are the slots' lengths before the pass, `span` the
    longest after it.
    """

    cache: KVCache
    slots: Int[Tensor, "B"]
    num_new: Int[Tensor, "B"]
    starts: Int[Tensor, "B"]
    span: int
    window: slice | Tensor  # the slots as a slice where they lie side by side: then reading copies nothing

    def positions(self, width: int) -> Int[Tensor, "B T"]:
        """Position of each of the `width` new tokens of each row."""
        return self.starts[:, None] + torch.arange(width, device=self.starts.device)

    def mask(self, width: int) -> Tensor:
        """(B, width, S) True where a new token may look: stored positions up to its own."""
        return torch.arange(self.span, device=self.starts.device) <= self.positions(width).unsqueeze(-1)

    def append(
        self, layer: int, key: Float[Tensor, "B Hkv T d"], value: Float[Tensor, "B Hkv T d"]
    ) -> tuple[Float[Tensor, "B Hkv S d"], Float[Tensor, "B Hkv S d"]]:
        """Store the new rows of one layer and return all stored keys and values of the view's slots."""
        keys, values = self.cache.keys[layer], self.cache.values[layer]
        if key.shape[2] == 1:
            keys[self.slots, :, self.starts] = key[:, :, 0].to(keys.dtype)
            values[self.slots, :, self.starts] = value[:, :, 0].to(values.dtype)
        else:
            for b, (slot, start, new) in enumerate(self._rows()):
                keys[slot, :, start : start + new] = key[b, :, :new]
                values[slot, :, start : start + new] = value[b, :, :new]
        keys, values = keys[self.window, :, : self.span], values[self.window, :, : self.span]
        return keys.to(key.dtype), values.to(value.dtype)

    def commit(self) -> None:
        """Let the slots grow, once every layer has stored its rows."""
        self.cache.lengths[self.slots] = self.starts + self.num_new

    def _rows(self) -> Iterator[tuple[int, int, int]]:
        return zip(self.slots.tolist(), self.starts.tolist(), self.num_new.tolist(), strict=True)


def _neighbours(slots: Int[Tensor, "B"]) -> slice | Tensor:
    first, count = int(slots[0]), len(slots)
    side_by_side = torch.equal(slots, torch.arange(first, first + count, device=slots.device))
    return slice(first, first + count) if side_by_side else slots


def cached_attention(
    query: Float[Tensor, "Hq B T d"],
    key: Float[Tensor, "B Hkv S d"],
    value: Float[Tensor, "B Hkv S d"],
    mask: Float[Tensor, "B T S"],
) -> Float[Tensor, "Hq B T d"]:
    """Softmax attention of new tokens over stored ones, in the arithmetic that training uses
    (`fused.causal_attention`).

    PyTorch's own kernel on a CPU is two to five times slower here in bf16, and for one token a row in fp32
    too.
    """
    num_kv, dim = key.shape[1], key.shape[3]
    key = key if key.dtype == torch.float32 else key.contiguous()  # bf16: a copy costs less than strides
    heads = query.view(num_kv, -1, *query.shape[1:]).permute(2, 0, 1, 3, 4)  # (B, Hkv, G, T, d)
    groups, scale, blocks = heads.shape[2], dim**-0.5, []
    for start in range(0, heads.shape[3], QUERY_CHUNK):
        block = heads[:, :, :, start : start + QUERY_CHUNK].flatten(2, 3)  # (B, Hkv, G * t, d)
        scores = (block @ key.transpose(-1, -2)).mul_(scale)
        scores.view(*scores.shape[:2], groups, -1, scores.shape[-1]).add_(
            mask[:, None, None, start : start + QUERY_CHUNK]
        )
        out = scores.softmax(-1) @ value
        blocks.append(out.view(*out.shape[:2], groups, -1, dim))
    return torch.cat(blocks, dim=3).permute(1, 2, 0, 3, 4).flatten(0, 1)
