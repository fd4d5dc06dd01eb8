"""Recorded steps of decoding say what the plain runner says, and nothing of the first step is baked into the recording.

There is no GPU where the tests run. A CUDA graph replays the same kernels on the same memory; `make_fx` records a step in
the same sense: whatever Python worked out from the example's numbers would be a constant in it, and a look at numbers on
the device (which a graph cannot hold) is an error.
"""

import logging
import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from liaoliao.engine import Engine, Request
from liaoliao.engine.graph_runner import GraphRunner, Step
from liaoliao.engine.runner import BLOCK_SIZE, Row, TorchRunner
from liaoliao.errors import RequestError
from liaoliao.model.transformer import Transformer
from tests.engine.models import BLOCK_BYTES, CONTEXT, GREEDY, MODEL, VOCAB, drive, prompts, uncached

SMALL = 2**18  # bytes: 64 blocks of the tiny model


class Recorder:
    """Records with `make_fx`, and remembers what it was asked to."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, step: Step, example: Tensor) -> Step:
        self.shapes.append(tuple(example.shape))
        try:
            recorded: Callable[[Tensor], Tensor] = make_fx(partial(step))(example)  # it does not count `self`
        except RuntimeError as error:
            raise AssertionError("a step could not be recorded") from error  # a runner would put up with it
        return recorded


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), garbage=st.sampled_from([0.0, torch.nan, torch.inf]))
def test_steps_equal_the_model_s(seed: int, garbage: float) -> None:
    """Sequences of many lengths come and go; every step's logits are those of the whole text without a cache."""
    rng = random.Random(seed)
    record = Recorder()
    runner = GraphRunner(MODEL, kv_cache_bytes=SMALL, record=record)
    runner._cache.keys[:, :, : runner.num_blocks].fill_(garbage)
    runner._cache.values[:, :, : runner.num_blocks].fill_(garbage)
    free = rng.sample(range(runner.num_blocks), runner.num_blocks)
    texts = [[rng.randrange(VOCAB) for _ in range(rng.randint(1, CONTEXT - 8))] for _ in range(6)]
    tables = [[free.pop() for _ in range(CONTEXT // BLOCK_SIZE)] for _ in texts]
    for text, table in zip(texts, tables, strict=True):
        runner.forward([Row(text, 0, table)])
    for _ in range(8):
        some = rng.sample(range(6), rng.randint(1, 6))
        for i in some:
            texts[i].append(rng.randrange(VOCAB))
        got = runner.forward([Row(texts[i][-1:], len(texts[i]) - 1, tables[i], 1) for i in some])
        with torch.no_grad():
            expected = torch.stack([MODEL(torch.tensor([texts[i]]))[0, -1] for i in some])
        torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)
    assert len(record.shapes) == len(set(record.shapes))
    assert {size for size, _ in record.shapes} <= {1, 2, 4, 8}


def test_an_engine_says_the_same_through_it() -> None:
    """More requests than run at once, in few blocks: shapes change, prompts are read in between, some are preempted."""
    record = Recorder()
    engine = Engine(GraphRunner(MODEL, kv_cache_bytes=10 * BLOCK_BYTES, record=record), max_running=5)
    texts = prompts(12)
    said: dict[int, list[int]] = {}
    ids = [engine.add(Request(text, GREEDY)) for text in texts]
    drive(engine, said)
    assert [said[i] for i in ids] == [uncached(text, 12) for text in texts]
    assert len(record.shapes) > 1


def test_steps_that_read_more_than_a_token_are_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    record = Recorder()
    runner = GraphRunner(MODEL, kv_cache_bytes=SMALL, record=record)
    runner.forward([Row((1, 2), 0, [3], 1)])
    runner.forward([Row((1,), 2, [3], 1), Row((1, 2), 0, [4], 2)])
    assert runner.forward([Row((1,), 3, [3])]).shape == (0, VOCAB)
    monkeypatch.setattr(runner, "_most_blocks", 3)
    runner.forward([Row((1,), 4, [3], 1)])
    assert record.shapes == []


def test_where_recording_fails_steps_run_unrecorded(caplog: pytest.LogCaptureFixture) -> None:
    def fails(step: Step, example: Tensor) -> Step:
        raise RuntimeError("operation not permitted when stream is capturing")

    runner, plain = GraphRunner(MODEL, kv_cache_bytes=SMALL, record=fails), TorchRunner(MODEL)
    with caplog.at_level(logging.WARNING):
        for start in range(2):
            for table in ([7], [7, 8, 9, 10, 11]):
                row = [Row((5,), start, table, 1)]
                torch.testing.assert_close(runner.forward(row), plain.forward(row), atol=1e-4, rtol=1e-4)
    assert len(caplog.records) == 1
    assert "operation not permitted" in caplog.text


def test_a_context_shorter_than_the_narrowest_table_has_its_angles_before_it_is_recorded() -> None:
    """Replacing the rotary table within a recording is nothing that a graph could hold."""
    model = Transformer(replace(MODEL.config, max_position_embeddings=BLOCK_SIZE)).eval()
    runner = GraphRunner(model, kv_cache_bytes=SMALL, record=Recorder())
    table = model.rotary.cos
    runner.forward([Row((5,), 3, [2], 1)])
    assert model.rotary.cos is table


def test_a_memory_of_one_block_is_refused() -> None:
    with pytest.raises(RequestError, match="holds one block"):
        GraphRunner(MODEL, kv_cache_bytes=BLOCK_BYTES, record=Recorder())
