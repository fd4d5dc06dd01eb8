"""The torch runner: equal to the model without a cache, whatever the tables, pieces, company and garbage."""

import random
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from liaoliao.engine.runner import (
    BLOCK_SIZE,
    SPAN_TOKENS,
    Row,
    Runner,
    TorchRunner,
    affordable_blocks,
    free_memory,
)
from liaoliao.errors import RequestError
from liaoliao.model.config import ModelConfig
from liaoliao.model.transformer import Transformer
from tests.engine.fake_runner import FakeRunner
from tests.engine.models import CONTEXT, MODEL, VOCAB, make_model, prompts

CPU = torch.device("cpu")
SMALL = 2**18  # bytes: 64 blocks of the tiny model


def test_both_runners_are_runners() -> None:
    assert isinstance(TorchRunner(MODEL, kv_cache_bytes=SMALL), Runner)
    assert isinstance(FakeRunner(), Runner)


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    num_texts=st.integers(1, 6),
    garbage=st.sampled_from([0.0, torch.nan, torch.inf]),
)
def test_logits_equal_the_model_s(seed: int, num_texts: int, garbage: float) -> None:
    """Texts read side by side in random pieces into random blocks, some pieces of one token, all logits asked."""
    rng = random.Random(seed)
    runner = TorchRunner(MODEL, kv_cache_bytes=SMALL)
    runner._cache.keys.fill_(garbage)
    runner._cache.values.fill_(garbage)
    free = rng.sample(range(runner.num_blocks), runner.num_blocks)
    texts = [[rng.randrange(VOCAB) for _ in range(rng.randint(1, CONTEXT))] for _ in range(num_texts)]
    tables = [[free.pop() for _ in range(CONTEXT // BLOCK_SIZE)] for _ in texts]
    starts, got = [0] * num_texts, [torch.empty(0, VOCAB)] * num_texts
    while unread := [i for i in range(num_texts) if starts[i] < len(texts[i])]:
        some = rng.sample(unread, rng.randint(1, len(unread)))
        pieces = [texts[i][starts[i] :][: rng.choice([1, 1, 3, CONTEXT])] for i in some]
        rows = [Row(p, starts[i], tables[i], len(p)) for i, p in zip(some, pieces, strict=True)]
        parts = torch.split(runner.forward(rows), [len(piece) for piece in pieces])
        for i, piece, logits in zip(some, pieces, parts, strict=True):
            starts[i] += len(piece)
            got[i] = torch.cat([got[i], logits])
    for text, logits in zip(texts, got, strict=True):
        with torch.no_grad():
            torch.testing.assert_close(logits, MODEL(torch.tensor([text]))[0], atol=1e-4, rtol=1e-4)


def test_not_even_the_last_bit_depends_on_company_or_pieces() -> None:
    """Where the library sums up in one order; see `model/cache.py`."""
    sample, weight = torch.randn(64, 256), torch.randn(300, 256)
    if not torch.equal(F.linear(sample[:4], weight), F.linear(sample, weight)[:4]):
        pytest.skip("this machine's BLAS library sums up in other orders")
    rng = random.Random(0)
    model = Transformer(ModelConfig.from_depth(2, 300, max_position_embeddings=256)).init_weights(0).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    runner = TorchRunner(model, kv_cache_bytes=2**24)
    texts = [[rng.randrange(300) for _ in range(length)] for length in (230, 17, 64, 150, 1)]
    alone = [runner.forward([Row(text, 0, range(90, 106), len(text))]).clone() for text in texts]
    tables, starts = [range(16 * i, 16 * (i + 1)) for i in range(5)], [0] * 5
    while unread := [i for i in range(5) if starts[i] < len(texts[i])]:
        some = rng.sample(unread, rng.randint(1, len(unread)))
        pieces = [texts[i][starts[i] :][: rng.choice([1, 1, 1, 2, 5, 40])] for i in some]
        rows = [Row(p, starts[i], tables[i], len(p)) for i, p in zip(some, pieces, strict=True)]
        for i, logits in zip(some, torch.split(runner.forward(rows), [len(p) for p in pieces]), strict=True):
            assert torch.equal(logits, alone[i][starts[i] : starts[i] + len(logits)])
            starts[i] += len(logits)


def test_only_the_wanted_logits_come_in_the_order_of_the_rows() -> None:
    runner = TorchRunner(MODEL, kv_cache_bytes=SMALL)
    texts = [list(ids) for ids in prompts(4, seed=2, longest=15)]
    wanted = [1, 0, len(texts[2]), 1]
    got = runner.forward([Row(t, 0, [9 - i], n) for i, (t, n) in enumerate(zip(texts, wanted, strict=True))])
    with torch.no_grad():
        expected = [MODEL(torch.tensor([t]))[0][len(t) - n :] for t, n in zip(texts, wanted, strict=True)]
    torch.testing.assert_close(got, torch.cat(expected), atol=1e-4, rtol=1e-4)
    assert runner.forward([Row((1, 2), 0, [0])]).shape == (0, VOCAB)


def test_beginnings_can_be_shared() -> None:
    runner = TorchRunner(MODEL, kv_cache_bytes=SMALL)
    text = [int(i) for i in torch.randint(0, VOCAB, (30,))]
    runner.forward([Row(text[:16], 0, [5])])
    got = runner.forward([Row(text[16:], 16, [5, 1], 1), Row(text[16:20], 16, [5, 2], 1)])
    with torch.no_grad():
        expected = torch.stack([MODEL(torch.tensor([text[:n]]))[0, -1] for n in (30, 20)])
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


def test_a_long_prompt_is_read_in_chunks_of_queries() -> None:
    """More queries than one chunk holds, and two prompts of a length that attend together."""
    model = Transformer(ModelConfig.from_depth(1, 300)).init_weights(0).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        texts = torch.randint(0, 300, (2, 300))
        expected = model(texts)
    runner = TorchRunner(model, kv_cache_bytes=2**24)
    tables = list(range(20)), list(range(20, 40))
    for row, (first, second) in enumerate((tables, reversed(tables))):
        text = texts[row].tolist()
        runner.forward([Row(text[:7], 0, first), Row(text[:7], 0, second)])
        got = runner.forward([Row(text[7:], 7, first, 293), Row(text[7:], 7, second, 293)])
        torch.testing.assert_close(got[:293], expected[row, 7:], atol=1e-3, rtol=1e-3)
        assert torch.equal(got[:293], got[293:])


def test_a_long_text_is_read_in_spans_and_others_go_on_in_between() -> None:
    model = Transformer(ModelConfig.from_depth(1, 300)).init_weights(0).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    runner = TorchRunner(model, kv_cache_bytes=2**24)
    text: list[int] = torch.randint(0, 300, (2 * SPAN_TOKENS + 90,)).tolist()
    states, pieces = [], []
    for state, piece in zip(runner.text_hidden(text), runner.text_logits(text), strict=True):
        states.append(state)
        pieces.append(piece)
        runner.forward([Row(text[:5], 0, [0], 1)])
    sizes = [SPAN_TOKENS, SPAN_TOKENS, 90]
    assert [len(state) for state in states] == [len(piece) for piece in pieces] == sizes
    with torch.no_grad():
        hidden = model.hidden(torch.tensor([text]))[0]
        torch.testing.assert_close(torch.cat(states), hidden, atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(torch.cat(pieces), model.logits(hidden), atol=1e-3, rtol=1e-3)
    [whole] = runner.text_hidden(text[:SPAN_TOKENS])  # one that is no longer is read in one pass, as ever
    with torch.no_grad():
        assert torch.equal(whole, model.hidden(torch.tensor([text[:SPAN_TOKENS]]))[0])


def test_score_is_the_log_softmax_of_the_logits() -> None:
    texts = [list(ids) for ids in prompts(7, seed=3, longest=CONTEXT)] + [[], [5]]
    for text, score in zip(texts, TorchRunner(MODEL, kv_cache_bytes=SMALL).score(texts), strict=True):
        assert len(score) == len(text)
        if len(text) > 1:
            with torch.no_grad():
                logprobs = MODEL(torch.tensor([text]))[0].log_softmax(-1)
            expected = logprobs[:-1].gather(1, torch.tensor(text[1:])[:, None]).flatten()
            assert score[0] == 0.0 and score[1:] == pytest.approx(expected.tolist(), abs=1e-4)


def test_embeddings_are_means_of_hidden_states() -> None:
    texts = [list(ids) for ids in prompts(5, seed=4)]
    runner = TorchRunner(MODEL, kv_cache_bytes=SMALL)
    with torch.no_grad():
        expected = torch.stack([MODEL.hidden(torch.tensor([text]))[0].mean(0) for text in texts])
    torch.testing.assert_close(runner.embed(texts), expected, atol=1e-5, rtol=1e-4)
    assert runner.embed([]).shape == (0, runner.hidden_size)
    with pytest.raises(RequestError, match="empty"):
        runner.embed([[1], []])


def test_texts_are_scored_and_embedded_alike_in_any_company(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = TorchRunner(MODEL, kv_cache_bytes=SMALL)
    texts = [list(ids) for ids in prompts(9, seed=5)]
    scores, means = runner.score(texts), runner.embed(texts)
    monkeypatch.setattr("liaoliao.engine.runner.BATCH_TOKENS", 40)
    assert runner.embed(texts).numpy() == pytest.approx(means.numpy(), abs=1e-5)
    for some, all_together in zip(runner.score(texts), scores, strict=True):
        assert some == pytest.approx(all_together, abs=1e-5)


def test_a_model_of_half_precision_gives_full_logits() -> None:
    half = make_model().to(torch.bfloat16)
    runner = TorchRunner(half, kv_cache_bytes=SMALL)
    logits = runner.forward([Row((1, 2, 3), 0, [0], 1)])
    assert logits.dtype == torch.float32
    with torch.no_grad():
        assert logits[0].numpy() == pytest.approx(MODEL(torch.tensor([[1, 2, 3]]))[0, -1].numpy(), abs=0.3)


# ---------------------------------------------------------------- memory


def test_blocks_follow_the_budget() -> None:
    assert affordable_blocks(1000, 4096, CPU, 64_999) == 64
    assert affordable_blocks(1, 160, CPU, None) == 64 * 10  # sixty-four contexts are enough
    assert affordable_blocks(2**30, 2**20, CPU, None) <= free_memory(CPU) // 2**30
    with pytest.raises(RequestError, match="holds no block"):
        TorchRunner(MODEL, kv_cache_bytes=100)


def test_memory_is_taken_when_it_is_used() -> None:
    def resident_bytes() -> int:
        return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * 4096

    if not Path("/proc/self/statm").exists():
        pytest.skip("needs Linux")
    before = resident_bytes()
    runner = TorchRunner(MODEL, kv_cache_bytes=2**30)
    runner.forward([Row((1, 2, 3), 0, [0], 1)])
    assert runner._cache.keys.nbytes == 2**29
    assert resident_bytes() - before < 2**28
