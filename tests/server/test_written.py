"""Answers of any size: the same bytes in pieces as in one, and written off the event loop where they are large."""

import threading
from types import ModuleType
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import Response

from liaoliao.server.routes import chat, completions, embeddings, tokens
from liaoliao.server.sse import encode
from liaoliao.server.written import json_response
from tests.server.conftest import Says, frames, post

HI = [{"role": "user", "content": "hi"}]
ECHO: dict[str, Any] = {"prompt": ["the cat", "two and"], "echo": True, "logprobs": 2, "n": 2, "seed": 1}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_pieces_are_the_same_bytes(value: Any) -> None:
    assert json_response(value, in_pieces=True).body == json_response(value, in_pieces=False).body
    assert encode({"a": value}, in_pieces=True) == encode({"a": value})


@pytest.mark.parametrize("in_pieces", [False, True])
def test_what_is_no_json_is_not_written(in_pieces: bool) -> None:
    with pytest.raises(ValueError, match="JSON"):
        json_response([float("inf")], in_pieces=in_pieces)


@pytest.mark.parametrize(
    ("route", "path", "body"),
    [
        (completions, "/v1/completions", ECHO),
        (completions, "/v1/completions", {"prompt": "the cat", "logprobs": 0}),
        (chat, "/v1/chat/completions", {"messages": HI, "logprobs": True, "top_logprobs": 3}),
        (embeddings, "/v1/embeddings", {"input": ["the cat", "two"]}),
        (tokens, "/tokenize", {"messages": HI}),
    ],
    ids=["echo", "completion", "chat", "embeddings", "tokenize"],
)
def test_a_large_answer_is_the_same_and_written_elsewhere(
    app: FastAPI,
    says: Says,
    monkeypatch: pytest.MonkeyPatch,
    route: ModuleType,
    path: str,
    body: dict[str, Any],
) -> None:
    says.text(" sat on the mat")
    small = post(app, path, **body).json()
    here, told = threading.current_thread(), list[tuple[bool, bool]]()

    def written(content: Any, *, in_pieces: bool) -> Response:
        told.append((threading.current_thread() is here, in_pieces))
        return json_response(content, in_pieces=in_pieces)

    monkeypatch.setattr(route, "json_response", written)
    monkeypatch.setattr(route, "LARGE_VALUES", 0)
    large = post(app, path, **body).json()
    assert told == [(False, True)]
    for answer in (small, large):
        for name in ("id", "created", "usage"):  # the second prompt is found in the cache
            answer.pop(name, None)
    assert large == small


def test_a_large_piece_of_a_stream_is_the_same(
    app: FastAPI, says: Says, monkeypatch: pytest.MonkeyPatch
) -> None:
    says.text(" sat on the mat")

    def told() -> list[Any]:
        chunks = frames(post(app, "/v1/completions", stream=True, **ECHO))
        return sorted((chunk["choices"][0] for chunk in chunks if chunk), key=lambda choice: choice["index"])

    small = told()
    monkeypatch.setattr(completions, "LARGE_VALUES", 0)
    monkeypatch.setattr(completions, "LARGE_CHARS", 0)
    assert told() == small and len(small) > 8
