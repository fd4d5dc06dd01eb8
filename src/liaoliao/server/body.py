"""Request bodies: JSON read strictly, off the event loop where it is large.

`StrictRoute` gives every route of a router this reading. What JSON leaves open is refused, as each reading of
it has misled some program: NaN and Infinity, numbers beyond any size, a name twice in an object, half a
surrogate pair, nesting without end, and more values than any honest request has (each of them may be a mistake
to be told of): lists of token ids alone may be long.

    {"a": 1, "a": 2}  ->  400 'The body has the name "a" twice in one object.'
"""

import asyncio
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Final, ParamSpec, TypeVar

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

P = ParamSpec("P")
T = TypeVar("T")

MAX_DEPTH: Final = 100
MAX_VALUES: Final = 50_000
_TOKEN_FIELDS: Final = ("prompt", "input", "tokens")  # where token ids may stand
_LARGE_BYTES: Final = 1 << 15
_HALF_PAIR: Final = re.compile(rb"\\u[dD][89a-fA-F]")


class StrictRoute(APIRoute):
    """A route whose JSON body is read by `parse_json`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The framework's handler, given a request that reads strictly."""
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handler(_StrictRequest(request.scope, request.receive))

        return strict


class _StrictRequest(Request):
    async def json(self) -> Any:
        body = await self.body()
        try:
            return await off_loop(len(body) > _LARGE_BYTES, parse_json, body)
        except ValueError as error:
            raise HTTPException(400, f"We could not parse the JSON body of your request: {error}") from error


async def off_loop(large: bool, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do it here and now, or, where it is `large`, in a thread, so that other replies go on meanwhile."""
    if large:
        return await asyncio.to_thread(work, *args, **kwargs)
    return work(*args, **kwargs)


def parse_json(body: bytes) -> Any:
    """The value of a JSON text. Raises ValueError for what is not JSON, or not safe to read."""
    try:
        value = json.loads(
            body.decode("utf-8"),
            parse_float=_finite, parse_constant=_refuse_constant, object_pairs_hook=_without_repeats,
        )  # fmt: skip
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if (
        body.count(b"[") + body.count(b"{") > MAX_DEPTH
        or _HALF_PAIR.search(body)
        or body.count(b",") >= MAX_VALUES
    ):
        _check(_without_token_ids(value))
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is too large a number")
    return number


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        [(name, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"it has the name {name[:80]!r} twice in one object")
    return found


def _without_token_ids(value: Any) -> Any:
    """The body but for fields that hold token ids, which may be many."""
    if not isinstance(value, dict):
        return value
    return {name: item for name, item in value.items() if not (name in _TOKEN_FIELDS and _is_token_ids(item))}


def _is_token_ids(value: Any) -> bool:
    kinds = set(map(type, value)) if isinstance(value, list) else set()
    return kinds == {int} or (kinds == {list} and all(set(map(type, row)) <= {int} for row in value))


def _check(value: Any) -> None:
    """A ValueError for too many values, nesting too deep, or text that is not Unicode."""
    level, depth, count = [value], 0, 0
    while level:
        count += len(level)
        if count > MAX_VALUES:
            raise ValueError(f"it holds more than {MAX_VALUES} values")
        if depth == MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
        level, depth = [part for item in level for part in _parts(item)], depth + 1


def _parts(item: Any) -> Collection[Any]:
    """What stands in a value."""
    if isinstance(item, str):
        _check_text(item)
    elif isinstance(item, dict):
        for name in item:
            _check_text(name)
        return item.values()
    return item if isinstance(item, list) else ()


def _check_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        half = f"U+{ord(text[error.start]):04X}"
        raise ValueError(f"it holds half a surrogate pair ({half}), which is no Unicode") from None
