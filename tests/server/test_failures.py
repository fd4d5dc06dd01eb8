"""Every failure has the same envelope, and says what the client should look at."""

from typing import Any

import pytest
from fastapi import FastAPI

from liaoliao.errors import (
    CheckpointError,
    ContextLengthError,
    DataError,
    OverloadedError,
    RequestError,
    TemplateError,
    UsageError,
)
from liaoliao.server.failures import ApiError, as_api_error, envelope, error_response
from tests.server.conftest import failure, post
from tests.server.plain import ask


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (RequestError("no"), 400, None),
        (DataError("no"), 400, None),
        (UsageError("no", code="last_admin"), 400, "last_admin"),
        (TemplateError("no"), 400, None),
        (ContextLengthError("no", num_tokens=70, max_length=64), 400, "context_length_exceeded"),
        (OverloadedError("no", retry_after_s=2.4), 503, "overloaded"),
        (CheckpointError("no"), 500, None),
        (RuntimeError("a secret"), 500, None),
        (ApiError("no", status=418, code="teapot"), 418, "teapot"),
    ],
)
def test_errors_become_failures(error: Exception, status: int, code: str | None) -> None:
    shown = as_api_error(error)
    assert (shown.status, shown.code) == (status, code)
    assert envelope(shown)["error"].keys() == {"message", "type", "param", "code"}
    assert "secret" not in shown.message


def test_the_words_that_clients_match() -> None:
    too_long = as_api_error(ContextLengthError("no", num_tokens=70, max_length=64))
    assert too_long.message.startswith("This model's maximum context length is 64 tokens. However, your")
    assert (
        error_response(as_api_error(OverloadedError("no", retry_after_s=2.4))).headers["retry-after"] == "2"
    )
    assert (
        error_response(as_api_error(OverloadedError("no", retry_after_s=0.1))).headers["retry-after"] == "1"
    )


def test_anthropics_envelope_under_its_route() -> None:
    assert envelope(ApiError("no", status=503), "/v1/messages") == {
        "type": "error", "error": {"type": "overloaded_error", "message": "no"}
    }  # fmt: skip
    assert envelope(ApiError("no", status=501), "/v1/messages/count_tokens")["error"]["type"] == "api_error"


@pytest.mark.parametrize(
    ("change", "param", "words"),
    [
        ({"temprature": 1}, "temprature", "Unrecognized request argument supplied: temprature"),
        ({"messages": None}, "messages", "list"),
        ({"messages": []}, "messages", "at least 1"),
        ({"messages": "hi"}, "messages", "list"),
        ({"messages": [{"role": "user"}, {"role": "elf"}]}, "messages[1].role", "'system'"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "string; or: "),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]},
            None,
            "messages[0].content",
        ),
        (
            {"messages": [{"role": "user", "content": "x", "name": "Ann"}]},
            "messages[0]",
            "'name' is not supported",
        ),
        ({"messages": [{"role": "user", "content": "x", "colour": 1}]}, "messages[0].colour", "Unrecognized"),
        ({"temperature": "hot"}, "temperature", "number"),
        ({"temperature": True}, "temperature", "number"),
        ({"temperature": 2.5}, "temperature", "less than or equal to 2"),
        ({"top_p": -1}, "top_p", "greater than or equal to 0"),
        ({"n": 0}, "n", "greater than or equal to 1"),
        ({"max_tokens": 1.5}, "max_tokens", "integer"),
        ({"seed": 10**30}, "seed", "9223372036854775807"),
        ({"stop": ""}, "stop", "at least 1 character"),
        ({"logit_bias": {"x": 1}}, "logit_bias.x", "match"),
        ({"logit_bias": {"999999": 1}}, "logit_bias", "not in the vocabulary"),
        ({"audio": {"voice": "x"}}, "audio", "text only"),
        ({"functions": []}, "functions", "'tools'"),
        ({"store": True}, "store", "nothing is stored"),
        ({"service_tier": "flex"}, "service_tier", "but one"),
        ({"modalities": ["text", "audio"]}, "modalities", "text only"),
    ],
)
def test_a_wrong_field_is_named(app: FastAPI, change: dict[str, Any], param: str | None, words: str) -> None:
    body = {"messages": [{"role": "user", "content": "hi"}], **change}
    response = post(app, "/v1/chat/completions", **body)
    error = failure(response)
    assert response.status_code == 400 and words in error["message"], error
    assert error["type"] == "invalid_request_error"
    assert param is None or error["param"] == param


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b'{"model": ', "application/json"), (b"[]", "application/json"), (b'"x"', "application/json"),
        (b"null", "application/json"), (b"", "application/json"), (b"{}", "text/plain"),
        (b"a=b", "application/x-www-form-urlencoded"), (b'{"model": NaN}', "application/json"),
        (b'{"model": "a", "model": "b"}', "application/json"), (b"[" * 200_000, "application/json"),
        (b'{"model": "\\ud800", "messages": [{"role": "user", "content": "x"}]}', "application/json"),
        (b'{"model": "scripted", "messages": [{"role": "user", "content": "\\udfff"}]}', "application/json"),
        (b'{"model": "scripted", "seed": ' + b"7" * 5000 + b"}", "application/json"),
        (b"\xff\xff", "application/json"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/tokenize"])
def test_bodies_that_are_none(app: FastAPI, path: str, content: bytes, kind: str) -> None:
    response = ask(app, path, method="POST", content=content, headers={"content-type": kind})
    assert response.status_code == 400 and failure(response)["message"]


def test_routes_and_methods_that_are_not_there(app: FastAPI) -> None:
    missing, wrong = ask(app, "/v1/nowhere"), ask(app, "/v1/chat/completions")
    assert missing.status_code == 404 and failure(missing)["code"] == "not_found"
    assert wrong.status_code == 405 and failure(wrong)["code"] == "method_not_allowed"
    assert wrong.headers["allow"] == "POST"
    assert (
        ask(app, "/v1/models/").status_code
        == 404
        == ask(app, "/v1/chat/completions/", method="POST").status_code
    )


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/tokenize"])
def test_an_unknown_model(app: FastAPI, path: str) -> None:
    message: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}
    body: dict[str, dict[str, Any]] = {"/v1/chat/completions": message, "/v1/embeddings": {"input": "x"}}
    response = ask(app, path, method="POST", json={"model": "gpt-9", **body.get(path, {"prompt": "x"})})
    assert response.status_code == 404
    error = failure(response)
    assert error["code"] == "model_not_found" and error["param"] == "model" and "scripted" in error["message"]


def test_what_is_missing_is_named(app: FastAPI) -> None:
    error = failure(ask(app, "/v1/chat/completions", method="POST", json={"model": "scripted"}))
    assert error["message"] == "Missing required parameter: 'messages'." and error["param"] == "messages"
