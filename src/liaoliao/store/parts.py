"""The parts of a message as JSON and back, exactly: order, emptiness and pictures included.

    (Reasoning("hm"), Text("5"))  <->  [{"type": "reasoning", "text": "hm"}, {"type": "text", "text": "5"}]

This is the form in the database and in our export. OpenAI's form (`Message.to_openai`) joins texts and loses their
order among the other parts, so it is not the one to keep things in.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from liaoliao.errors import DataError
from liaoliao.messages import Image, Part, Reasoning, Text, ToolCall, ToolResult

_Fields: TypeAlias = tuple[type[Part], tuple[str, ...]]
_KINDS: Mapping[str, _Fields] = {
    "text": (Text, ("text",)),
    "reasoning": (Reasoning, ("text",)),
    "tool_call": (ToolCall, ("id", "name", "arguments")),
    "tool_result": (ToolResult, ("call_id", "output")),
    "image": (Image, ("media_type", "data")),
}
_NAMES = {cls: name for name, (cls, _) in _KINDS.items()}


def parts_to_json(parts: Iterable[Part]) -> list[dict[str, str]]:
    """The parts as JSON objects; pictures in base64."""
    return [_to_json(part) for part in parts]


def parts_from_json(data: object) -> tuple[Part, ...]:
    """Read them back. Raises DataError for anything that `parts_to_json` does not write."""
    if not isinstance(data, list):
        raise DataError(f"parts: expected a list, got {type(data).__name__}")
    return tuple(map(_from_json, data))


def said(parts: Iterable[Part]) -> str:
    """What can be found of a message: its texts, without what was thought and what tools were asked or gave."""
    return "".join(part.text for part in parts if isinstance(part, Text))


def _to_json(part: Part) -> dict[str, str]:
    name = _NAMES[type(part)]
    values = {field: getattr(part, field) for field in _KINDS[name][1]}
    if isinstance(part, Image):
        values["data"] = base64.b64encode(part.data).decode("ascii")
    return {"type": name, **values}


def _from_json(data: object) -> Part:
    kind = data.get("type") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(kind, str) or kind not in _KINDS:
        raise DataError(f"part.type: expected one of {', '.join(_KINDS)}, got {str(kind)[:50]!r}")
    cls, names = _KINDS[kind]
    if set(data) != {"type", *names} or not all(isinstance(data[name], str) for name in names):
        raise DataError(f"a {kind} part has the strings {', '.join(names)} and nothing else")
    values: dict[str, Any] = {name: data[name] for name in names}
    if kind == "image":
        values["data"] = _decoded(values["data"])
    return cls(**values)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"image part: the base64 data is damaged: {error}") from error
