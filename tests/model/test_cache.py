"""Attention over blocks equals attention over a row, for any company; memory and tables are kept apart."""

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from liaoliao.model import cache as module
from liaoliao.model.cache import BLOCK_SIZE, PagedCache, Span, fused_attention, plain_attention, shape_key
from liaoliao.model.config import ModelConfig

CONFIG = ModelConfig(
    vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, head_dim=8, max_position_embeddings=256,
)  # fmt: skip


@given(seed=st.integers(0, 10**6), garbage=st.sampled_from([0.0, torch.nan]))
def test_attention_over_blocks_is_attention_over_the_row(seed: int, garbage: float) -> None:
    """Several sequences that hold something already go on by a few or many positions in one pass."""
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    cache = PagedCache(CONFIG, num_blocks=64)
    cache.keys.fill_(garbage)
    cache.values.fill_(garbage)
    free = rng.sample(range(64), 64)
    lengths = [(rng.randint(0, 70), rng.choice([1, 1, 1, 2, 150])) for _ in range(rng.randint(1, 4))]
    tables = [[free.pop() for _ in range(-(-(start + new) // BLOCK_SIZE))] for start, new in lengths]
    size = sum(start + new for start, new in lengths)
    query, key, value = (torch.randn(heads, 1, size, 8, generator=generator) for heads in (4, 2, 2))
    whole = torch.split(torch.arange(size), [start + new for start, new in lengths])
    for done in (False, True):
        spans = [
            Span(t, done * start, new if done else start)
            for t, (start, new) in zip(tables, lengths, strict=True)
        ]
        order = sorted((i for i, span in enumerate(spans) if span.num_new), key=lambda i: shape_key(spans[i]))
        if not order:
            continue
        places = torch.cat([whole[i][spans[i].start : spans[i].end] for i in order])
        view = cache.view([spans[i] for i in order])
        columns = F.pad(places, (0, view.positions.shape[1] - len(places)))
        for layer in (1, 0):
            sign = 1 - 2 * layer  # each layer has keys of its own
            out = view.attend(
                layer, query[:, :, columns], sign * key[:, :, columns], sign * value[:, :, columns]
            )
            for i in order:
                mine, new = whole[i][: spans[i].end], whole[i][spans[i].start : spans[i].end]
                seen = mine <= new[:, None]
                expected = F.scaled_dot_product_attention(
                    query[:, 0, new], sign * key[:, 0, mine], sign * value[:, 0, mine], seen, enable_gqa=True
                )
                got = out[:, 0, : len(places)][:, torch.isin(places, new)]
                torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_the_kernel_for_gpus_is_the_same_attention() -> None:
    query, key, value = torch.randn(2, 3, 2, 5, 8), torch.randn(2, 3, 160, 8), torch.randn(2, 3, 160, 8)
    mask = torch.zeros(3, 1, 5, 20).masked_fill_(torch.rand(3, 1, 5, 20) < 0.5, -1e30)
    ours, theirs = (attend(query, key, value, mask) for attend in (plain_attention, fused_attention))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_positions_and_places_follow_the_tables() -> None:
    cache = PagedCache(CONFIG, num_blocks=8)
    view = cache.view([Span([5, 2], 15, 3), Span([7], 0, 2)])
    assert view.positions.tolist() == [[15, 16, 17, 0, 1, 0, 0, 0]]  # and columns up to a multiple of four
    assert view.places.tolist() == [5 * 16 + 15, 2 * 16, 2 * 16 + 1, 7 * 16, 7 * 16 + 1]


def test_only_what_is_alike_attends_together(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = PagedCache(CONFIG, num_blocks=64)
    table = list(range(20))
    spans = [
        Span(table, start, new)
        for start, new in ((3, 1), (20, 1), (37, 1), (290, 1), (300, 1), (0, 7), (30, 7))
    ]
    assert [group.size for group in cache.view(spans).groups] == [2, 1, 2, 1, 1]
    monkeypatch.setattr(module, "GATHER_BYTES", 1)
    assert [group.size for group in cache.view(spans).groups] == [1] * 7


@pytest.mark.parametrize(
    ("start", "num_new", "cleaned"),
    [
        (10, 7, [0]),
        (10, 6, []),
        (10, 3, []),
        (16, 1, [0]),
        (0, 1, [2]),
        (0, 32, []),
        (3, 31, [3]),
        (17, 1, []),
    ],
)
def test_a_block_that_is_entered_and_not_filled_is_cleaned(
    start: int, num_new: int, cleaned: list[int]
) -> None:
    """Filled ones are overwritten anyway, and what a sequence has stored before stays."""
    cache = PagedCache(CONFIG, num_blocks=4)
    cache.keys.fill_(7.0)
    cache.values.fill_(7.0)
    cache.view([Span([2, 0, 3], start, num_new)])
    for table in (cache.keys, cache.values):
        sums = table.abs().sum((0, 1, 3, 4)).tolist()
        assert [block for block in range(4) if sums[block] == 0.0] == cleaned
