"""Many choices of one request: what does not fit is found out once, no more begin than there are places, and what is
half said is not refused.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI

from liaoliao.chat.tools import BoundTool, ToolBox
from liaoliao.engine.request import SamplingParams
from liaoliao.errors import ContextLengthError
from liaoliao.messages import Message, ToolCall
from liaoliao.server.openai import AT_ONCE
from liaoliao.server.reply import LARGE_MESSAGES, ChatJob, ReplyDone, reply
from liaoliao.server.served import ServedModel
from tests.server.conftest import CALCULATOR, Says, failure, post

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
HI = {"role": "user", "content": "hi"}
CALL = ToolCall("call_0", "calculator", '{"expression": "2+3"}')


@pytest.fixture
def laid_out_by(served: ServedModel, monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    """The threads that laid out prompts, one for each prompt."""
    threads: list[threading.Thread] = []
    kind = type(served.template)
    prompt: Callable[..., list[int]] = kind.prompt

    def seen(self: Any, *args: Any, **more: Any) -> list[int]:
        threads.append(threading.current_thread())
        return prompt(self, *args, **more)

    monkeypatch.setattr(kind, "prompt", seen)
    return threads


# Prompts that do not fit


@pytest.mark.parametrize("stream", [False, True])
def test_a_chat_that_does_not_fit_is_laid_out_once(
    app: FastAPI, says: Says, laid_out_by: list[threading.Thread], stream: bool
) -> None:
    blank = {"role": "user", "content": ""}  # of no length that could be told beforehand
    response = post(app, CHAT, messages=[blank] * 500, n=100, stream=stream)
    assert response.status_code == 400 and failure(response)["code"] == "context_length_exceeded"
    assert len(laid_out_by) == 1 and not says.requests


def test_many_short_messages_are_laid_out_off_the_event_loop(
    served: ServedModel, laid_out_by: list[threading.Thread]
) -> None:
    async def go() -> None:
        job = ChatJob((Message.user(""),) * (LARGE_MESSAGES + 1), params=SamplingParams(max_tokens=1))
        with suppress(ContextLengthError):
            async for _ in reply(served, job):
                pass

    asyncio.run(go())
    assert laid_out_by and threading.current_thread() not in laid_out_by


@pytest.mark.parametrize("more", [{}, {"stream": True}, {"echo": True, "logprobs": 1, "max_tokens": 0}])
def test_no_text_goes_on_where_one_has_foreign_tokens(app: FastAPI, says: Says, more: dict[str, Any]) -> None:
    response = post(app, TEXT, prompt=[[5]] * 40 + [[2**31 - 1]], **more)
    assert response.status_code == 400 and "vocabulary" in failure(response)["message"]
    assert not says.requests


def test_there_is_an_end_to_choices(app: FastAPI, says: Says) -> None:
    for param in ("n", "best_of"):
        error = failure(post(app, TEXT, prompt=["a"] * 17, **{param: 128}))
        assert error["param"] == param and "2048" in error["message"]
    error = failure(post(app, TEXT, prompt=[[5] * 500] * 110, echo=True, logprobs=20, max_tokens=0))
    assert error["param"] == "prompt" and "1048576" in error["message"]
    assert not says.requests


# Places


def test_later_choices_take_the_places_of_those_that_have_ended(app: FastAPI, says: Says) -> None:
    expected = [False] * AT_ONCE + [True] * 2
    says.chat(Message.assistant("5"))
    assert post(app, CHAT, messages=[HI], n=AT_ONCE + 2).status_code == 200
    assert [request.begun for request in says.requests] == expected
    says.text(" sat")
    assert post(app, TEXT, prompt=["the cat"] * (AT_ONCE + 2)).status_code == 200
    assert [request.begun for request in says.requests] == expected


def test_a_reply_goes_on_after_its_tool_though_the_queue_is_full_by_then(
    served: ServedModel, says: Says, monkeypatch: pytest.MonkeyPatch
) -> None:
    def filled_meanwhile(arguments: str) -> str:
        monkeypatch.setattr(served.engine, "max_waiting", -1000)
        return "5"

    says.chat(Message.assistant("let me see", tool_calls=(CALL,)), Message.assistant("5"))
    model = replace(served, tools=ToolBox([BoundTool(CALCULATOR, filled_meanwhile)]))

    async def go() -> ReplyDone:
        job = ChatJob((Message.user("two and three"),), params=SamplingParams(temperature=0.0))
        *_, done = [event async for event in reply(model, job)]
        assert isinstance(done, ReplyDone)
        return done

    done = asyncio.run(go())
    assert done.message.text.startswith("let me see") and done.message.text.endswith("5")
    assert [request.begun for request in says.requests] == [False, True]
