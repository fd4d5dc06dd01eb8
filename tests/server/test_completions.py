"""POST /v1/completions on the wire: text, echo, scores, several prompts and choices."""

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI

from liaoliao.server.openai_shapes import TextCompletion
from liaoliao.server.served import ServedModel
from tests.server.conftest import CONTEXT, Says, failure, frames, post

PATH = "/v1/completions"


def complete(app: FastAPI, **body: Any) -> dict[str, Any]:
    """A whole response, checked against its shape."""
    response = post(app, PATH, **body)
    assert response.status_code == 200, response.text
    TextCompletion.model_validate(response.json(), strict=True)
    whole: dict[str, Any] = response.json()
    return whole


def stream(app: FastAPI, **body: Any) -> list[dict[str, Any]]:
    *chunks, last = frames(post(app, PATH, stream=True, **body))
    assert last is None and len({(chunk["id"], chunk["created"], chunk["object"]) for chunk in chunks}) == 1
    for chunk in chunks:
        TextCompletion.model_validate(chunk, strict=True)
    return chunks


def refused(app: FastAPI, **body: Any) -> dict[str, Any]:
    response = post(app, PATH, **body)
    assert response.status_code == 400, response.text
    return failure(response)


def true_scores(served: ServedModel, ids: list[int]) -> list[float]:
    """What the engine itself says of given ids."""
    return asyncio.run(served.engine.score([ids]))[0]


def test_a_text_goes_on(app: FastAPI, says: Says) -> None:
    says.text(" sat on 猫鑫")
    whole = complete(app, prompt="the cat")
    assert whole["id"].startswith("cmpl-") and whole["object"] == "text_completion"
    assert whole["choices"] == [
        {"index": 0, "text": " sat on 猫鑫", "logprobs": None, "finish_reason": "stop"}
    ]
    assert says.requests[0].token_ids == tuple(says.tokenizer.encode("the cat"))
    assert whole["usage"]["completion_tokens"] == len(says.replies[0]) + 1
    chunks = stream(app, prompt="the cat", stream_options={"include_usage": True})
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks[:-1]) == " sat on 猫鑫"
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]][-2:] == [None, "stop"]
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"] == {
        **whole["usage"], "prompt_tokens_details": chunks[-1]["usage"]["prompt_tokens_details"]
    }  # fmt: skip


def test_sixteen_tokens_by_default(app: FastAPI, says: Says) -> None:
    says.text(" cat" * 50)
    whole = complete(app, prompt="the")
    assert whole["usage"]["completion_tokens"] == 16 and whole["choices"][0]["finish_reason"] == "length"


def test_forms_of_prompts(app: FastAPI, says: Says) -> None:
    says.text(" sat")
    ids = says.tokenizer.encode("the cat")
    forms: list[tuple[Any, int]] = [
        ("the cat", 1), (["the cat"], 1), (ids, 1), ([ids], 1), (["the cat", "two"], 2), ([ids, [5]], 2)
    ]  # fmt: skip
    for prompt, count in forms:
        says.requests.clear()
        whole = complete(app, prompt=prompt)
        assert [choice["index"] for choice in whole["choices"]] == list(range(count))
        assert tuple(ids) in [request.token_ids for request in says.requests] and len(says.requests) == count
        assert whole["usage"]["prompt_tokens"] == sum(len(request.token_ids) for request in says.requests)
    wrong: list[Any] = [[], [[]], [1.5], ["x", 1], None, {"a": 1}, [-1]]
    for prompt in wrong:
        assert refused(app, prompt=prompt)["param"].startswith("prompt")
    assert "outside of the vocabulary" in refused(app, prompt=[10**6])["message"]


def test_an_empty_prompt_is_the_beginning_of_a_document(app: FastAPI, says: Says) -> None:
    says.text("the")
    for body in ({}, {"prompt": ""}, {"prompt": [""]}):
        says.requests.clear()
        assert complete(app, echo=True, **body)["choices"][0]["text"] == "the"
        assert says.requests[0].token_ids == (says.tokenizer.opening_id,)


def test_a_typed_mark_is_text_unless_the_client_says_otherwise(app: FastAPI, says: Says) -> None:
    complete(app, prompt="a<|im_end|>", max_tokens=1)
    complete(app, prompt="a<|im_end|>", max_tokens=1, parse_special=True)
    assert says.requests[0].token_ids == tuple(says.tokenizer.encode("a<|im_end|>"))
    assert says.requests[1].token_ids == (
        *says.tokenizer.encode("a"),
        says.tokenizer.special_id("<|im_end|>"),
    )


def test_stop_strings_and_marks_that_are_shown(app: FastAPI, says: Says) -> None:
    says.ids(
        [
            *says.tokenizer.encode(" sat"),
            says.tokenizer.special_id("<think>"),
            *says.tokenizer.encode("on the mat"),
        ]
    )
    assert complete(app, prompt="the")["choices"][0]["text"] == " sat<think>on the mat"
    told = complete(app, prompt="the", stop=["e m"])["choices"][0]
    assert (told["text"], told["finish_reason"]) == (" sat<think>on th", "stop")
    assert "".join(c["choices"][0]["text"] for c in stream(app, prompt="the", stop="<th")) == " sat"


def check_columns(logprobs: dict[str, Any], text: str, num_top: int) -> None:
    """What holds for every list of logprobs."""
    columns = [logprobs[name] for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset")]
    assert len({len(column) for column in columns if column is not None}) == 1
    assert logprobs["text_offset"] == sorted(logprobs["text_offset"])
    for token, offset in zip(logprobs["tokens"], logprobs["text_offset"], strict=True):
        assert token.startswith(("bytes:", "<|")) or text[offset:].startswith(token)
    if num_top == 0:
        assert logprobs["top_logprobs"] is None
    for token, logprob, top in zip(*columns[:2], columns[2] or (), strict=False):
        assert (
            logprob is None if top is None else top[token] == logprob and num_top <= len(top) <= num_top + 1
        )


def test_logprobs_of_what_is_made(app: FastAPI, says: Says) -> None:
    says.text(" sat 鑫 on")
    for num_top in (0, 1, 3):
        told = complete(app, prompt="the cat", logprobs=num_top)["choices"][0]
        check_columns(told["logprobs"], told["text"], num_top)
        assert told["logprobs"]["tokens"][-1] == "<|im_end|>" and told["logprobs"]["text_offset"][-1] == len(
            told["text"]
        )
        assert len(told["logprobs"]["tokens"]) == len(says.replies[0]) + 1
        assert told["logprobs"]["tokens"].count("bytes:\\xe9") == 1
        pieces = [c["choices"][0]["logprobs"] for c in stream(app, prompt="the cat", logprobs=num_top)]
        for name in ("tokens", "token_logprobs", "text_offset"):
            assert [value for piece in pieces for value in piece[name]] == told["logprobs"][name]


@pytest.mark.parametrize("max_tokens", [0, 1])
@pytest.mark.parametrize("as_ids", [False, True])
def test_echo_scores_as_evaluation_harnesses_ask(
    app: FastAPI, says: Says, served: ServedModel, max_tokens: int, as_ids: bool
) -> None:
    says.text(" sat")
    texts = ["the cat 鑫 sat", "two and three"]
    ids = [says.tokenizer.encode(text) for text in texts]
    whole = complete(
        app,
        prompt=ids if as_ids else texts,
        temperature=0,
        max_tokens=max_tokens,
        logprobs=1,
        seed=1234,
        echo=True,
    )
    for text, prompt, told in zip(texts, ids, whole["choices"], strict=True):
        logprobs = told["logprobs"]
        assert told["text"] == text + (" sat" if max_tokens else "") and told["finish_reason"] == "length"
        assert len(logprobs["tokens"]) == len(prompt) + max_tokens
        assert logprobs["token_logprobs"][0] is None is logprobs["top_logprobs"][0]
        check_columns(logprobs, told["text"], 1)
        true = true_scores(served, prompt)
        assert logprobs["token_logprobs"][1 : len(prompt)] == pytest.approx(true[1:], abs=1e-5)
        greedy = [
            max(top.values()) == value
            for top, value in zip(logprobs["top_logprobs"][1:], logprobs["token_logprobs"][1:], strict=True)
        ]
        assert greedy.count(True) >= max_tokens
    assert whole["usage"]["completion_tokens"] == 2 * max_tokens
    assert len(says.requests) == 2 * max_tokens


def test_a_score_tells_the_likeliest_token_exactly(app: FastAPI, says: Says) -> None:
    says.text(" sat on")
    prompt = says.tokenizer.encode("the cat")
    complete(app, prompt=prompt)  # from now on the script knows what follows this prompt
    told = complete(app, prompt=[*prompt, *says.replies[0]], echo=True, max_tokens=0, logprobs=1)["choices"][
        0
    ]["logprobs"]
    for value, top in list(zip(told["token_logprobs"], told["top_logprobs"], strict=True))[len(prompt) :]:
        assert value == max(top.values()) and len(top) == 1


def test_echo_in_a_stream_and_without_logprobs(app: FastAPI, says: Says) -> None:
    says.text(" sat")
    assert complete(app, prompt="the cat", echo=True)["choices"][0]["text"] == "the cat sat"
    chunks = stream(app, prompt="the cat", echo=True, logprobs=1)
    assert chunks[0]["choices"][0]["text"] == "the cat" and chunks[0]["choices"][0]["logprobs"]["tokens"]
    assert "".join(c["choices"][0]["text"] for c in chunks) == "the cat sat"


def test_several_choices_of_several_prompts(app: FastAPI, says: Says) -> None:
    says.text(" sat")
    whole = complete(app, prompt=["the", "two"], n=2, seed=3, echo=True)
    assert [choice["text"] for choice in whole["choices"]] == ["the sat", "the sat", "two sat", "two sat"]
    assert [choice["index"] for choice in whole["choices"]] == [0, 1, 2, 3]
    assert sorted(request.params.seed or 0 for request in says.requests) == [3, 3, 4, 4]
    num_prompt = sum(len(says.tokenizer.encode(text)) for text in ("the", "two"))
    assert whole["usage"]["prompt_tokens"] == num_prompt and whole["usage"]["completion_tokens"] == 8


def test_the_best_of_several(app: FastAPI) -> None:
    whole = complete(app, prompt=[5, 6, 7], n=4, seed=3, temperature=1.5, logprobs=0, max_tokens=5)
    best = complete(app, prompt=[5, 6, 7], n=2, best_of=4, seed=3, temperature=1.5, logprobs=0, max_tokens=5)
    made, told = whole["choices"], best
    ranked = sorted(
        made, key=lambda c: -sum(c["logprobs"]["token_logprobs"]) / len(c["logprobs"]["token_logprobs"])
    )
    assert len({choice["text"] for choice in made}) > 1, "the choices must differ for this to mean anything"
    assert [choice["text"] for choice in told["choices"]] == [choice["text"] for choice in ranked[:2]]
    assert told["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"]


def test_what_makes_no_sense_is_refused(app: FastAPI) -> None:
    assert refused(app, prompt="x", max_tokens=0)["param"] == "max_tokens"
    assert refused(app, prompt="x", n=3, best_of=2)["param"] == "best_of"
    assert refused(app, prompt="x", best_of=2, stream=True)["param"] == "best_of"
    assert refused(app, prompt="x", suffix="y")["param"] == "suffix"
    assert refused(app, prompt="x", logprobs=21)["param"] == "logprobs"
    assert refused(app, prompt="x", stream_options={"include_usage": True})["param"] == "stream_options"
    assert refused(app, prompt="x", messages=[])["param"] == "messages"


@pytest.mark.parametrize("more", [{}, {"stream": True}, {"echo": True, "logprobs": 1, "max_tokens": 0}])
def test_a_prompt_that_is_too_long(app: FastAPI, more: dict[str, Any]) -> None:
    for prompt in ("鑫" * CONTEXT, [5] * (CONTEXT + 1), "x" * 10**6):
        error = refused(app, prompt=prompt, **more)
        assert error["code"] == "context_length_exceeded"
        assert error["message"].startswith(
            f"This model's maximum context length is {CONTEXT} tokens. However,"
        )


def test_the_longest_prompt_that_can_be_scored(app: FastAPI) -> None:
    told = complete(app, prompt=[5] * CONTEXT, echo=True, logprobs=0, max_tokens=0)["choices"][0]["logprobs"]
    assert len(told["token_logprobs"]) == CONTEXT
