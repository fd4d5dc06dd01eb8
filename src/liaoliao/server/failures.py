"""Whatever goes wrong becomes one error envelope, with the words that clients look for.

    ApiError("...", status=404, param="model", code="model_not_found")
        ->  404 {"error": {"message": "...", "type": "invalid_request_error", "param": "model",
                           "code": "model_not_found"}}

Routes raise LiaoErrors or ApiErrors; the handlers that `install_failures` puts into the app turn these, the
framework's own (validation, 404, 405) into responses. Under /v1/messages the same facts come in Anthropic's
envelope. Middleware that answers before any route, or for an app that failed, uses `error_response` itself.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from liaoliao.errors import (
    CheckpointError,
    ContextLengthError,
    LiaoError,
    NotFoundError,
    OverloadedError,
    StoreError,
)

_LOG = logging.getLogger(__name__)
_ANTHROPIC_PREFIX: Final = "/v1/messages"
_STORE_RETRY_S: Final = 1.0
_FIELD: Final = re.compile(r"[a-z_][a-z0-9_]*")
_KINDS: Final = frozenset(("str", "int", "float", "bool", "list", "dict", "none"))


class ApiError(LiaoError):
    """A failure as a client sees it: HTTP status, message, and OpenAI's type, param and code."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        type: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, code=code)
        self.message, self.status, self.type = message, status, type
        self.param, self.headers = param, dict(headers or {})


def unauthorized(message: str = "Incorrect API key provided.") -> ApiError:
    """401 in the words that clients match."""
    return ApiError(message, status=401, code="invalid_api_key", headers={"www-authenticate": "Bearer"})


def rate_limited(message: str, *, retry_after_s: float) -> ApiError:
    """429: this caller has had enough for now."""
    return ApiError(
        message,
        status=429,
        type="rate_limit_error",
        code="rate_limit_exceeded",
        headers=_later(retry_after_s),
    )


def overloaded(message: str, *, retry_after_s: float) -> ApiError:
    """503: everyone has had enough for now."""
    return ApiError(
        message, status=503, type="server_error", code="overloaded", headers=_later(retry_after_s)
    )


def context_exceeded(num_tokens: str, max_length: int) -> ApiError:
    """400: a prompt longer than the context; clients look for the code and for the first words."""
    message = (
        f"This model's maximum context length is {max_length} tokens. However, your request has {num_tokens} "
        "tokens, and the reply needs room too. Please reduce the length of the messages or the prompt."
    )
    return ApiError(message, code="context_length_exceeded")


def as_api_error(error: Exception) -> ApiError:
    """Any exception as the failure to show; what is not ours is a 500 that tells nothing of the inside."""
    match error:
        case ApiError():
            return error
        case ContextLengthError():
            return context_exceeded(str(error.num_tokens), error.max_length)
        case OverloadedError():
            return overloaded(str(error), retry_after_s=error.retry_after_s)
        case NotFoundError():
            return ApiError(str(error), status=404, code="not_found")
        case StoreError():
            return overloaded(str(error), retry_after_s=_STORE_RETRY_S)
        case CheckpointError():
            return ApiError(str(error), status=500, type="server_error")
        case LiaoError():
            return ApiError(str(error), code=error.code)
        case RequestValidationError():
            return _invalid(error.errors())
        case HTTPException():
            return _from_framework(error)
    return ApiError("The server had an error while processing your request.", status=500, type="server_error")


def envelope(error: ApiError, path: str = "") -> dict[str, Any]:
    """The JSON body of a failure, in the form that clients of this path expect."""
    if path.startswith(_ANTHROPIC_PREFIX):
        kind = _ANTHROPIC_TYPES.get(
            error.status, "api_error" if error.status >= 500 else "invalid_request_error"
        )
        details = {"details": {"error_code": error.code}} if error.code in _ANTHROPIC_CODES else {}
        return {"type": "error", "error": {"type": kind, "message": error.message, **details}}
    return {"error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code}}


def error_response(error: ApiError, path: str = "") -> Response:
    """The whole HTTP response of a failure."""
    return JSONResponse(envelope(error, path), status_code=error.status, headers=error.headers)


def install_failures(app: FastAPI) -> None:
    """Make every failure of the app's routes an envelope."""

    async def answer(request: Request, error: Exception) -> Response:
        shown = as_api_error(error)
        if shown.status == 500:
            _LOG.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return error_response(shown, request.url.path)

    for kind in (LiaoError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, answer)


_ANTHROPIC_CODES: Final = ("thread_unsupported_request",)  # those on which its SDK acts
_ANTHROPIC_TYPES: Mapping[int, str] = {
    401: "authentication_error", 403: "permission_error", 404: "not_found_error",
    413: "request_too_large", 429: "rate_limit_error", 503: "overloaded_error",
}  # fmt: skip


def _later(retry_after_s: float) -> dict[str, str]:
    return {"retry-after": str(max(1, round(retry_after_s)))}


def _invalid(errors: Sequence[Mapping[str, Any]]) -> ApiError:
    """Validation failures as one: the first field that is wrong, with all that was said of it."""
    first = errors[0]
    param = _param(first["loc"])
    if first["type"] == "extra_forbidden":
        return ApiError(
            f"Unrecognized request argument supplied: {param}", param=param, code="unknown_parameter"
        )
    if first["type"] == "missing" and param:
        return ApiError(
            f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter"
        )
    if not param:
        return ApiError("The body must be a JSON object, sent as content-type: application/json.")
    said = dict.fromkeys(_words(e) for e in errors if _param(e["loc"]) == param)
    return ApiError(f"Invalid value for '{param}': {'; or: '.join(said)}", param=param, code="invalid_value")


def _words(error: Mapping[str, Any]) -> str:
    return str(error["msg"]).removeprefix("Value error, ")


def _param(loc: Sequence[str | int]) -> str | None:
    """Where in the body, such as "messages[0].content"; the kinds of a union that were tried are no place."""
    path = ""
    for step in loc[1:]:
        if isinstance(step, int):
            path += f"[{step}]"
        elif _FIELD.fullmatch(step) and step not in _KINDS:
            path += f".{step}"
    return path.removeprefix(".") or None


def _from_framework(error: HTTPException) -> ApiError:
    if error.status_code == 404:
        return ApiError(
            "There is no such route; docs/guides/serving.md lists them.", status=404, code="not_found"
        )
    if error.status_code == 405:
        message = "This route does not take this method."
        return ApiError(message, status=405, code="method_not_allowed", headers=error.headers)
    kind = "invalid_request_error" if error.status_code < 500 else "server_error"
    return ApiError(str(error.detail), status=error.status_code, type=kind, headers=error.headers)
