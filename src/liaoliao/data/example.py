"""What the model learns from: an `Example` is one document, a `Batch` is what one forward pass sees.

Place in the flow: records -> tokenizer and chat template -> **Example** -> shards -> packing -> **Batch** ->
objective.

    Example([5, 6, 7], [0, 1, 1])   learn to predict 6 after 5, and 7 after 5 6

`loss_weights[i]`, and entry `i` of every column, speak about *predicting* `token_ids[i]` from the tokens
before it in its own document; so the first token of a document is never a target and its weight counts as 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from liaoliao.errors import DataError

PAD_ID = 0  # what stands in padded places; segment id 0 marks them, so the value is never looked at

_T = TypeVar("_T", bound=np.generic)
Ids = Sequence[int] | NDArray[np.integer]
Numbers = Sequence[int | float] | NDArray[np.floating] | NDArray[np.integer]


class Example:
    """One document to learn from: `token_ids` (T,) int64, `loss_weights` (T,) float32, named `columns` (T,)
    float32.

    Without `loss_weights` every token counts (pretraining). Raises `DataError` where lengths differ.
    """

    __slots__ = ("columns", "loss_weights", "token_ids")

    def __init__(
        self,
        token_ids: Ids,
        loss_weights: Numbers | None = None,
        columns: Mapping[str, Numbers] | None = None,
    ) -> None:
        self.token_ids: NDArray[np.int64] = np.asarray(token_ids, dtype=np.int64)
        size = len(self.token_ids)
        ones = np.ones(size, dtype=np.float32)
        self.loss_weights = ones if loss_weights is None else np.asarray(loss_weights, dtype=np.float32)
        self.columns = {
            name: np.asarray(values, dtype=np.float32) for name, values in (columns or {}).items()
        }
        for name, values in {"loss_weights": self.loss_weights, **self.columns}.items():
            if values.shape != (size,):
                raise DataError(
                    f"an example of {size} tokens has {name} of shape {values.shape}; give one number a token"
                )

    def __len__(self) -> int:
        return len(self.token_ids)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Example):
            return NotImplemented
        return (
            np.array_equal(self.token_ids, other.token_ids)
            and np.array_equal(self.loss_weights, other.loss_weights)
            and self.columns.keys() == other.columns.keys()
            and all(np.array_equal(values, other.columns[name]) for name, values in self.columns.items())
        )

    __hash__ = None  # type: ignore[assignment]  # arrays inside

    def __repr__(self) -> str:
        return (
            f"Example({len(self)} tokens, weight {self.loss_weights.sum():g}, columns {sorted(self.columns)})"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Rows of packed documents. `num_items` is what the loss is averaged over: summed target weights, or
    pairs.

    `segment_ids` number the documents of a row from 1, 0 is padding; `positions` restart at 0 with each
    document; the first token of every document has weight 0.
    """

    token_ids: Int[Tensor, "B T"]
    loss_weights: Float[Tensor, "B T"]
    segment_ids: Int[Tensor, "B T"]
    positions: Int[Tensor, "B T"]
    num_items: float
    columns: dict[str, Float[Tensor, "B T"]] = field(default_factory=dict)

    @property
    def num_tokens(self) -> int:
        """Tokens that are not padding."""
        return int((self.segment_ids > 0).sum())


def collate(examples: Sequence[Example], *, per_pair: bool = False) -> Batch:
    """One example a row, padded on the right to the longest; with `per_pair` rows 2i and 2i+1 are chosen and
    rejected.

    `num_items` is the sum of the target weights, or the number of pairs. Raises `DataError` for no or odd
    rows, for an empty example and where the examples' columns have different names.
    """
    _check(examples, per_pair)
    length = max(map(len, examples))
    token_ids = _padded([e.token_ids for e in examples], length)
    weights = _padded([e.loss_weights for e in examples], length)
    weights[:, 0] = 0
    sizes = torch.tensor([len(e) for e in examples])
    real = (torch.arange(length) < sizes[:, None]).long()  # (B, T)
    return Batch(
        token_ids=torch.from_numpy(token_ids),
        loss_weights=torch.from_numpy(weights),
        segment_ids=real,
        positions=torch.arange(length) * real,
        num_items=len(examples) / 2 if per_pair else float(weights.sum(dtype=np.float64)),
        columns={
            name: torch.from_numpy(_padded([e.columns[name] for e in examples], length))
            for name in examples[0].columns
        },
    )


def _check(examples: Sequence[Example], per_pair: bool) -> None:
    if not examples or (per_pair and len(examples) % 2):
        raise DataError(
            f"cannot make a batch of {len(examples)} examples" + (" in pairs" if per_pair else "")
        )
    for i, example in enumerate(examples):
        if not len(example):
            raise DataError(f"example {i} of the batch has no tokens; leave it out")
        if example.columns.keys() != examples[0].columns.keys():
            raise DataError(
                f"example {i} has the columns {sorted(example.columns)}, "
                f"example 0 {sorted(examples[0].columns)}"
            )


def _padded(rows: Sequence[NDArray[_T]], length: int) -> NDArray[_T]:
    out: NDArray[_T] = np.zeros((len(rows), length), dtype=rows[0].dtype)
    for line, row in zip(out, rows, strict=True):
        line[: len(row)] = row
    return out
