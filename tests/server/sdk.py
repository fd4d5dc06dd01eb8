"""The official SDKs' own types as oracles for what the server sends.

events = named_events(response)                  the events of a stream of named events, as they came
known(TypeAdapter(ResponseStreamEvent), event)   valid, strictly, and with no field that the SDK does not know
"""

import json
from collections.abc import Collection, Iterator
from typing import Any

import httpx
import pydantic


def named_events(response: httpx.Response) -> list[dict[str, Any]]:
    """The events of a stream, each of which must be named by its type; comments left out."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    blocks = [block for block in response.text.split("\n\n") if block and not block.startswith(":")]
    return [_event(*block.split("\n")) for block in blocks]


def _event(name: str, data: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(data.removeprefix("data: "))
    assert name == f"event: {event['type']}"
    return event


def known(adapter: pydantic.TypeAdapter[Any], wire: object, *, more: Collection[str] = ()) -> Any:
    """The wire form as the SDK's type, which must know every field of it but those named in `more`."""
    value = adapter.validate_json(json.dumps(wire), strict=True)
    unknown = sorted(set(_unknown(value)) - set(more))
    assert not unknown, f"the SDK does not know {unknown}"
    return value


def _unknown(value: object) -> Iterator[str]:
    if isinstance(value, pydantic.BaseModel):
        yield from value.model_extra or ()
        for _, inner in value:
            yield from _unknown(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _unknown(inner)
    elif isinstance(value, dict):
        yield from _unknown(list(value.values()))
