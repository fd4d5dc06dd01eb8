"""Tokens of given texts with their alternatives: the same figures as the score's, from either way of asking."""

import asyncio

import pytest
import torch

from liaoliao.engine.async_engine import AsyncEngine
from liaoliao.engine.engine import Engine
from liaoliao.engine.rank import rank_pieces
from liaoliao.engine.request import TokenEvent
from liaoliao.engine.runner import TorchRunner
from liaoliao.errors import ContextLengthError
from tests.engine.models import CONTEXT, MODEL, VOCAB, prompts


def test_a_worked_example() -> None:
    logits = torch.tensor([[0.0, 1.0, 3.0], [2.0, 2.0, 2.0]])
    pieces = list(rank_pieces((1, 2, 0), [logits[:1], logits[1:]], 2))
    assert [len(piece) for piece in pieces] == [1, 1, 1]
    [first], [second], [third] = pieces
    total = float(logits[0].logsumexp(0))
    assert first == TokenEvent(1, 0.0)
    assert second.logprob == pytest.approx(3 - total) and second.logprob == second.top_logprobs[0][1]
    assert [token_id for token_id, _ in second.top_logprobs] == [2, 1]
    assert third.logprob == pytest.approx(-1.0986123)
    assert list(rank_pieces((), [], 2)) == []
    _, [event] = rank_pieces((0, 0), [logits[:1]], 9)
    assert len(event.top_logprobs) == 3


def test_it_agrees_with_score_and_with_the_whole_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("liaoliao.engine.runner.PIECE_BYTES", 4 * VOCAB * 7)  # several pieces
    engine, texts = Engine(TorchRunner(MODEL)), [*prompts(9), (5,), (), tuple([3] * CONTEXT)]
    ranked = engine.score_top(texts, 3)
    assert [[e.token_id for e in events] for events in ranked] == [list(text) for text in texts]
    for events, scores, text in zip(ranked, engine.score(texts), texts, strict=True):
        assert [event.logprob for event in events] == pytest.approx(scores, abs=1e-5)
        for i, event in list(enumerate(events))[1:]:
            with torch.no_grad():
                best = MODEL(torch.tensor([text[:i]]))[0, -1].log_softmax(-1).topk(3)
            assert [token_id for token_id, _ in event.top_logprobs] == best.indices.tolist()
            assert [logprob for _, logprob in event.top_logprobs] == pytest.approx(
                best.values.tolist(), abs=1e-4
            )
    engine.check_integrity()


def test_the_asynchronous_engine_gives_the_same() -> None:
    engine = Engine(TorchRunner(MODEL))
    expected = engine.score_top(prompts(5), 2)
    wrapped = AsyncEngine(engine)
    try:
        assert asyncio.run(wrapped.score_top(prompts(5), 2)) == expected
        with pytest.raises(ContextLengthError):
            asyncio.run(wrapped.score_top([[1] * (CONTEXT + 1)], 2))
    finally:
        wrapped.close()
