import numpy as np
import pytest
import torch

from liaoliao.data.example import Example, collate
from liaoliao.errors import DataError


def test_without_weights_every_token_counts() -> None:
    assert Example([5, 6]) == Example([5, 6], [1.0, 1.0])
    assert Example([5, 6]) != Example([5, 6], [0.0, 1.0])
    assert Example([5, 6]) != Example([5, 6], columns={"advantages": [0, 0]})


def test_lengths_must_agree() -> None:
    with pytest.raises(DataError, match=r"3 tokens has loss_weights of shape \(2,\)"):
        Example([1, 2, 3], [1, 1])
    with pytest.raises(DataError, match="ref_logprobs"):
        Example([1, 2, 3], columns={"ref_logprobs": [0.0]})


def test_collate_pads_and_never_asks_for_a_first_token() -> None:
    short = Example([7], [1], {"advantages": [0.5]})
    long = Example([5, 6, 8], [1, 0.25, 1], {"advantages": [1, 2, 3]})
    batch = collate([short, long])
    assert batch.token_ids.tolist() == [[7, 0, 0], [5, 6, 8]]
    assert batch.loss_weights.tolist() == [[0, 0, 0], [0, 0.25, 1]]
    assert batch.segment_ids.tolist() == [[1, 0, 0], [1, 1, 1]]
    assert batch.positions.tolist() == [[0, 0, 0], [0, 1, 2]]
    assert batch.columns["advantages"].tolist() == [[0.5, 0, 0], [1, 2, 3]]
    assert (batch.num_items, batch.num_tokens) == (1.25, 4)
    assert batch.token_ids.dtype == torch.int64
    assert batch.loss_weights.dtype == torch.float32


def test_collate_leaves_the_examples_alone() -> None:
    example = Example([1, 2])
    collate([example])
    assert np.array_equal(example.loss_weights, [1, 1])


def test_pairs_are_counted_as_pairs() -> None:
    assert collate([Example([1, 2])] * 4, per_pair=True).num_items == 2


@pytest.mark.parametrize(
    ("examples", "per_pair"),
    [
        ([], False),
        ([Example([1])] * 3, True),
        ([Example([])], False),
        ([Example([1]), Example([1], [1], {"a": [1]})], False),
    ],
)
def test_collate_refuses(examples: list[Example], per_pair: bool) -> None:
    with pytest.raises(DataError):
        collate(examples, per_pair=per_pair)
