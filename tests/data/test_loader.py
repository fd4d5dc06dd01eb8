import json
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from liaoliao.data.example import Batch, Example
from liaoliao.data.loader import PackedSource, Phase
from liaoliao.data.shards import ShardWriter, TokenShards
from liaoliao.errors import DataError

VOCAB = 50_000


def shards_of(folder: Path, lengths: Sequence[int], first_id: int = 0) -> TokenShards:
    """Every token of every example is a number of its own."""
    writer, token = ShardWriter(folder, vocab_size=VOCAB), first_id
    for length in lengths:
        writer.add(Example(np.arange(token, token + length)))
        token += length
    return writer.finish()


@pytest.fixture
def shards(tmp_path: Path) -> TokenShards:
    return shards_of(tmp_path / "a", np.random.default_rng(0).integers(1, 60, 300).tolist())


@pytest.fixture
def other(tmp_path: Path) -> TokenShards:
    return shards_of(tmp_path / "b", np.random.default_rng(1).integers(1, 90, 100).tolist(), first_id=20_000)


def tokens(items: Sequence[Sequence[Batch]]) -> list[int]:
    rows = [batch.token_ids[batch.segment_ids > 0] for item in items for batch in item]
    return [int(token) for row in rows for token in row]


def same(left: Sequence[Batch], right: Sequence[Batch]) -> bool:
    names = ("token_ids", "loss_weights", "segment_ids", "positions")
    return len(left) == len(right) and all(
        a.num_items == b.num_items and all(torch.equal(getattr(a, name), getattr(b, name)) for name in names)
        for a, b in zip(left, right, strict=True)
    )


def source(shards: TokenShards | Sequence[TokenShards], **settings: Any) -> PackedSource:
    return PackedSource(
        shards, **{"row_length": 64, "rows_per_microbatch": 4, "microbatches_per_step": 2, **settings}
    )


@pytest.mark.parametrize("block_tokens", [300, 1000, 1 << 19])
def test_an_epoch_has_every_token_once(shards: TokenShards, other: TokenShards, block_tokens: int) -> None:
    items = list(source([shards, other], num_epochs=1, block_tokens=block_tokens))
    total = shards.meta.num_tokens + other.meta.num_tokens
    assert Counter(tokens(items)) == Counter(
        [*range(shards.meta.num_tokens), *range(20_000, 20_000 + other.meta.num_tokens)]
    )
    assert all([tuple(batch.token_ids.shape) for batch in item] == [(4, 64)] * 2 for item in items[:-1])
    assert sum(batch.num_tokens for item in items for batch in item) == total


def test_epochs_come_one_after_the_other_in_new_orders(shards: TokenShards) -> None:
    stream = source(shards, num_epochs=3)
    seen = tokens(list(stream))
    size = shards.meta.num_tokens
    epochs = [seen[i : i + size] for i in range(0, 3 * size, size)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(size))] * 3
    assert epochs[0] != epochs[1] != epochs[2]
    assert stream.epochs == (3.0,)
    assert list(stream) == []  # the end is the end


def test_without_num_epochs_there_is_no_end(shards: TokenShards) -> None:
    steps = 4 * shards.meta.num_tokens // (8 * 64)
    items = list(islice(source(shards), steps))
    assert len(items) == steps
    assert min(Counter(tokens(items)).values()) >= 3


def test_the_seed_decides(shards: TokenShards) -> None:
    one, again, other = (list(islice(source(shards, seed=seed), 3)) for seed in (1, 1, 2))
    assert all(map(same, one, again))
    assert not any(map(same, one, other))


SETTINGS: list[dict[str, Any]] = [
    {},
    {"block_tokens": 700, "num_epochs": 2},
    {"block_tokens": 900, "weights": (3, 1)},
    {"block_tokens": 900, "phases": (Phase(4, (1, 0)), Phase(3, (1, 5)), Phase(1, (0, 1)))},
]


@given(st.sampled_from(SETTINGS), st.integers(0, 14), st.integers(0, 3))
def test_a_resumed_source_goes_on_with_the_very_next_item(
    two_shards: list[TokenShards], settings: dict[str, Any], steps: int, seed: int
) -> None:
    straight = source(two_shards, seed=seed, **settings)
    list(islice(straight, steps))
    state = json.loads(json.dumps(straight.state_dict()))
    resumed = source(two_shards, seed=seed, **settings)
    list(islice(resumed, 2))  # wherever it stood before
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    for _ in range(6):
        wanted, found = next(straight, []), next(resumed, [])
        assert same(wanted, found)


@pytest.fixture(scope="module")
def two_shards(tmp_path_factory: pytest.TempPathFactory) -> list[TokenShards]:
    folder = tmp_path_factory.mktemp("data")
    lengths = np.random.default_rng(2).integers(1, 150, 80).tolist()
    return [shards_of(folder / "a", lengths[:50]), shards_of(folder / "b", lengths[50:], first_id=20_000)]


def share_of_second(items: Sequence[Sequence[Batch]]) -> float:
    seen = tokens(items)
    return sum(token >= 20_000 for token in seen) / len(seen)


def test_weights_are_shares_of_tokens(shards: TokenShards, other: TokenShards) -> None:
    items = list(islice(source([shards, other], weights=(3, 1), block_tokens=2000), 60))
    assert share_of_second(items) == pytest.approx(0.25, abs=0.01)
    assert share_of_second(items[:20]) == pytest.approx(0.25, abs=0.04)


def test_an_example_longer_than_several_blocks_ends_nothing(tmp_path: Path) -> None:
    """What it has taken beyond its share is owed by the blocks after it: more is added until something is drawn."""
    long = shards_of(tmp_path / "long", [5000, *[20] * 40])
    settings: dict[str, Any] = {"weights": (1,), "block_tokens": 300, "seed": 3}
    straight = source(long, **settings)
    items = [next(straight) for _ in range(60)]
    assert all([tuple(batch.token_ids.shape) for batch in item] == [(4, 64)] * 2 for item in items)
    counts = Counter(tokens(items))
    assert set(counts) == set(range(long.meta.num_tokens))
    for steps in range(0, 30, 3):
        before = source(long, **settings)
        list(islice(before, steps))
        resumed = source(long, **settings)
        resumed.load_state_dict(json.loads(json.dumps(before.state_dict())))
        assert all(same(next(resumed), item) for item in items[steps : steps + 4])


def test_phases_follow_each_other(shards: TokenShards, other: TokenShards) -> None:
    phases = (Phase(20, (1, 0)), Phase(10, (0, 1)), Phase(1, (1, 1)))
    items = list(islice(source([shards, other], phases=phases, block_tokens=4096), 60))
    assert share_of_second(items[:20]) == 0
    assert share_of_second(items[21:29]) == 1
    assert share_of_second(items[32:]) == pytest.approx(0.5, abs=0.05)


def test_a_state_of_something_else_is_refused(shards: TokenShards, other: TokenShards) -> None:
    state = source(shards).state_dict()
    for changed, name in (
        (source(other), "digests"),
        (source(shards, seed=1), "seed"),
        (source(shards, row_length=32), "row_length"),
    ):
        with pytest.raises(DataError, match=f"the data source's {name} was .*; resume with the same data"):
            changed.load_state_dict(state)


def test_padding_is_reported(shards: TokenShards) -> None:
    stream = source(shards, row_length=512, num_epochs=1)
    assert (stream.rows_per_step, stream.tokens_per_step) == (8, 4096)
    padding = stream.padding_fraction
    assert 0 <= padding < 0.03
    batches = [batch for item in stream for batch in item]  # a single block
    places = sum(batch.token_ids.numel() for batch in batches)
    assert 1 - sum(batch.num_tokens for batch in batches) / places == pytest.approx(padding)


def test_settings_that_make_no_sense(shards: TokenShards, other: TokenShards, tmp_path: Path) -> None:
    empty = ShardWriter(tmp_path / "empty", vocab_size=VOCAB).finish()
    foreign = ShardWriter(tmp_path / "foreign", vocab_size=9)
    foreign.add(Example([1]))
    for given_shards, settings, message in (
        ([shards], {"rows_per_microbatch": 0}, "must be at least 1"),
        ([shards], {"weights": (1, 1)}, "1 shards, weights"),
        ([shards, other], {"weights": (-1, 2)}, "give one >= 0"),
        ([shards], {"weights": (1,), "num_epochs": 1}, "no common epoch"),
        ([shards], {"weights": (1,), "phases": (Phase(1, (1,)),)}, "give one of"),
        ([shards], {"seed": -1}, "seed must be >= 0"),
        ([shards], {"num_epochs": 0}, "num_epochs >= 1"),
        ([], {}, "not empty"),
        ([empty], {}, "not empty"),
        ([shards, foreign.finish()], {}, "different vocabularies"),
        ([shards], {"row_length": 1}, "row_length is 1"),
    ):
        with pytest.raises(DataError, match=message):
            source(given_shards, **settings)
