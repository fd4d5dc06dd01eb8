"""The smaller routes: models, embeddings, tokens."""

import base64
import struct
from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI

from liaoliao.errors import UsageError
from liaoliao.messages import Message, Tool
from liaoliao.server.app import create_app
from liaoliao.server.openai_shapes import EmbeddingList, ModelList, TokenList
from liaoliao.server.routes.tokens import MAX_SIZE
from liaoliao.server.served import ServedModel
from liaoliao.server.settings import Settings
from liaoliao.text.tokenizer import Tokenizer
from tests.server.conftest import CONTEXT, failure, post
from tests.server.plain import ask


def test_models(app: FastAPI, served: ServedModel) -> None:
    listed = ask(app, "/v1/models").json()
    ModelList.model_validate(listed, strict=True)
    assert listed["data"] == [ask(app, "/v1/models/scripted").json()]
    assert listed["data"][0] == {
        "id": "scripted", "object": "model", "created": 1, "owned_by": "liaoliao", "max_model_len": CONTEXT
    }  # fmt: skip
    missing = ask(app, "/v1/models/a/b")
    assert missing.status_code == 404 and failure(missing)["code"] == "model_not_found"
    with pytest.raises(UsageError, match="same name"):
        create_app(Settings(), [served, served])


def test_names_with_slashes(served: ServedModel) -> None:
    app = create_app(Settings(), [replace(served, id="org/model"), served])
    assert ask(app, "/v1/models/org/model").json()["id"] == "org/model"
    assert [model["id"] for model in ask(app, "/v1/models").json()["data"]] == ["org/model", "scripted"]


def embed(app: FastAPI, **body: Any) -> list[list[float]]:
    response = post(app, "/v1/embeddings", encoding_format="float", **body)
    assert response.status_code == 200, response.text
    EmbeddingList.model_validate(response.json(), strict=True)
    assert [entry["index"] for entry in response.json()["data"]] == list(range(len(response.json()["data"])))
    return [entry["embedding"] for entry in response.json()["data"]]


def test_embeddings_are_of_length_one_in_every_form(app: FastAPI, tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("the cat")
    [vector] = embed(app, input="the cat")
    assert sum(x * x for x in vector) == pytest.approx(1, abs=1e-5)
    raw = [float(sum(ids)), len(ids), min(ids), max(ids)]  # what the scripted runner gives
    assert vector == pytest.approx([x / sum(y * y for y in raw) ** 0.5 for x in raw], abs=1e-5)
    for form in (["the cat"], ids, [ids]):
        assert embed(app, input=form) == [vector]
    both = embed(app, input=["the cat", "two"])
    assert both[0] == vector and both[1] != vector
    assert embed(app, input="the cat", dimensions=4) == [vector]


def test_embeddings_in_base64_are_little_endian_floats(app: FastAPI) -> None:
    response = post(app, "/v1/embeddings", input="the cat", encoding_format="base64").json()
    packed = base64.b64decode(response["data"][0]["embedding"])
    assert list(struct.unpack(f"<{len(packed) // 4}f", packed)) == pytest.approx(
        embed(app, input="the cat")[0]
    )
    assert response["usage"]["prompt_tokens"] == response["usage"]["total_tokens"] > 0


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input": ""}, "input"), ({"input": []}, "input"), ({"input": ["a", ""]}, "input"), ({"input": [[]]}, "input"),
        ({"dimensions": 3}, "dimensions"), ({"encoding_format": "int8"}, "encoding_format"), ({"input": None}, "input"),
    ],
)  # fmt: skip
def test_embeddings_that_make_no_sense(app: FastAPI, change: dict[str, Any], param: str) -> None:
    response = post(app, "/v1/embeddings", **{"input": "x", **change})
    assert response.status_code == 400 and (failure(response)["param"] or "").startswith(param)


def test_embeddings_of_a_text_that_is_too_long(app: FastAPI) -> None:
    for text in ("鑫" * CONTEXT, [5] * (CONTEXT + 1)):
        assert failure(post(app, "/v1/embeddings", input=text))["code"] == "context_length_exceeded"


def tokenize(app: FastAPI, **body: Any) -> list[int]:
    response = ask(app, "/tokenize", method="POST", json=body)
    assert response.status_code == 200, response.text
    TokenList.model_validate(response.json(), strict=True)
    ids: list[int] = response.json()["tokens"]
    assert response.json()["count"] == len(ids) and response.json()["max_model_len"] == CONTEXT
    return ids


def test_tokens_of_a_text_and_back(app: FastAPI, tokenizer: Tokenizer) -> None:
    text = "the cat<|im_end|>猫 鑫"
    ids = tokenize(app, prompt=text, add_special_tokens=False)
    assert ids == [
        *tokenizer.encode("the cat"),
        tokenizer.special_id("<|im_end|>"),
        *tokenizer.encode("猫 鑫"),
    ]
    assert tokenize(app, model="scripted", prompt=text, parse_special=False) == tokenizer.encode(text)
    back = ask(app, "/detokenize", method="POST", json={"tokens": ids})
    assert back.json() == {"prompt": text}
    assert tokenize(app, prompt="") == []
    named = ask(app, "/tokenize", method="POST", json={"prompt": "the 鑫", "return_token_strs": True}).json()
    assert named["token_strs"][0] == "the" and named["token_strs"][-1] == "\\xab"


def test_tokens_of_a_conversation_are_what_a_chat_sends(app: FastAPI, served: ServedModel) -> None:
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "the cat"}]
    tool = {"type": "function", "function": {"name": "f"}}
    talk = [Message.user("hi"), Message.assistant("the cat")]
    assert tokenize(app, messages=messages, tools=[tool]) == served.template.prompt(talk, [Tool("f")])
    assert tokenize(app, messages=messages, continue_final_message=True) == served.template.prompt(
        talk, continue_final=True
    )


def test_messages_are_bounded_as_a_text_is(app: FastAPI) -> None:
    half = {"role": "user", "content": "x" * (MAX_SIZE // 2 + 1)}
    response = ask(app, "/tokenize", method="POST", json={"messages": [half, half]})
    assert response.status_code == 400 and failure(response)["param"] == "messages"


def test_what_lm_evaluation_harness_asks_of_a_tokenizer(app: FastAPI, tokenizer: Tokenizer) -> None:
    info = ask(app, "/tokenizer_info").json()
    assert info["chat_template"].startswith("{%-") and info["eos_token"] == "<|im_end|>"
    assert tokenize(app, prompt=info["eos_token"], add_special_tokens=False) == [tokenizer.eos_id]
    assert tokenize(app, prompt=info["bos_token"], add_special_tokens=False) == [tokenizer.opening_id]
    assert tokenize(app, prompt=info["pad_token"], add_special_tokens=False) == [tokenizer.pad_id]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/tokenize", {}), ("/tokenize", {"prompt": "x", "messages": [{"role": "user", "content": "x"}]}),
        ("/tokenize", {"prompt": 1}), ("/detokenize", {"tokens": [10**6]}), ("/detokenize", {"tokens": [-1]}),
        ("/detokenize", {}), ("/detokenize", {"tokens": "x"}),
        ("/tokenize", {"messages": [{"role": "user", "content": "x"}], "continue_final_message": True}),
        ("/tokenize", {"messages": [{"role": "user", "content": "x"}], "chat_template_kwargs": {"a": 1}}),
    ],
)  # fmt: skip
def test_tokens_that_make_no_sense(app: FastAPI, path: str, body: dict[str, Any]) -> None:
    response = ask(app, path, method="POST", json=body)
    assert response.status_code == 400 and failure(response)["message"]


def test_where_several_models_are_served_the_tokenizer_must_be_named(served: ServedModel) -> None:
    app = create_app(Settings(), [served, replace(served, id="other")])
    assert failure(ask(app, "/tokenizer_info"))["param"] == "model"
    assert ask(app, "/tokenizer_info?model=other").status_code == 200
