"""What a route asks of a model before and around the engine's work: does a prompt fit, and who pays."""

import asyncio
from typing import Any

import pytest

from liaoliao.errors import ContextLengthError, OverloadedError, RequestError
from liaoliao.server.openai_completions import CompletionRequest, fitting_prompts
from liaoliao.server.routes import completions, embeddings
from liaoliao.server.served import ServedModel, paid_ahead, refuse_unfit
from tests.server.conftest import CONTEXT, Says

FULL = OverloadedError("full", retry_after_s=1.0)
ECHO: dict[str, Any] = {"prompt": [[5, 6, 7], [8]], "echo": True, "logprobs": 1, "n": 2, "temperature": 0.0}


async def gone(*args: Any) -> Any:
    """The work for a client who leaves."""
    raise asyncio.CancelledError


async def full(*args: Any) -> Any:
    """The work of an engine that has no room for it."""
    raise FULL


def writing(served: ServedModel, charged: list[int], **body: Any) -> completions._Writing:
    asked = CompletionRequest.model_validate({"model": "scripted", **ECHO, **body})
    return completions._Writing(asked, served, fitting_prompts(asked, served), charged.append)


def test_a_prompt_is_refused_as_the_engine_would(served: ServedModel) -> None:
    last = served.engine.vocab_size - 1
    refuse_unfit(served, (0, last, *[5] * (CONTEXT - 3)))
    refuse_unfit(served, (5,) * CONTEXT, room=0)
    for num_tokens, room in ((CONTEXT, 1), (CONTEXT + 1, 0)):
        with pytest.raises(ContextLengthError) as caught:
            refuse_unfit(served, (5,) * num_tokens, room=room)
        assert (caught.value.num_tokens, caught.value.max_length) == (num_tokens, CONTEXT)
    for token_id in (-1, last + 1):
        with pytest.raises(RequestError, match=f"0 to {last}"):
            refuse_unfit(served, (5, token_id))


def test_work_is_paid_for_before_it_is_done_and_refusals_cost_nothing() -> None:
    charged: list[int] = []
    with paid_ahead(charged.append, 7):
        assert charged == [7]
    with pytest.raises(OverloadedError), paid_ahead(charged.append, 5):
        raise FULL
    assert sum(charged) == 7
    with pytest.raises(asyncio.CancelledError), paid_ahead(charged.append, 3):
        raise asyncio.CancelledError
    assert sum(charged) == 10


@pytest.mark.parametrize(("work", "paid"), [(gone, 2 * 4), (full, 0)])
def test_prompts_that_are_scored_are_paid_for_also_by_who_leaves(
    served: ServedModel, monkeypatch: pytest.MonkeyPatch, work: Any, paid: int
) -> None:
    monkeypatch.setattr(served.engine, "score_top", work)
    charged: list[int] = []
    with pytest.raises((asyncio.CancelledError, OverloadedError)):
        asyncio.run(completions._whole(writing(served, charged, max_tokens=0)))
    assert sum(charged) == paid


@pytest.mark.parametrize("logprobs", [None, 1])
@pytest.mark.parametrize("max_tokens", [0, 1])
def test_an_echoed_prompt_is_paid_for_once_a_choice(
    served: ServedModel, says: Says, logprobs: int | None, max_tokens: int
) -> None:
    says.text(" sat")
    charged: list[int] = []
    asyncio.run(completions._whole(writing(served, charged, logprobs=logprobs, max_tokens=max_tokens)))
    assert sum(charged) == 2 * (4 + 2 * max_tokens)


@pytest.mark.parametrize(("work", "paid"), [(gone, 4), (full, 0)])
def test_vectors_are_paid_for_also_by_who_leaves(
    served: ServedModel, monkeypatch: pytest.MonkeyPatch, work: Any, paid: int
) -> None:
    monkeypatch.setattr(served.engine, "embed", work)
    body = embeddings.EmbeddingRequest.model_validate({"model": "scripted", "input": [[5, 6, 7], [8]]})
    charged: list[int] = []
    with pytest.raises((asyncio.CancelledError, OverloadedError)):
        asyncio.run(embeddings._pooled(body, served, charged.append))
    assert sum(charged) == paid
