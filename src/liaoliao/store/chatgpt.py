"""ChatGPT's export (`conversations.json`) as conversations of ours.

    [{"title": "Ferries", "create_time": 1.7e9, "current_node": "c", "mapping": {
        "a": {"id": "a", "parent": null, "children": ["b"], "message": null},
        "b": {"id": "b", "parent": "a", "children": ["c"], "message": {"author": {"role": "user"},
              "content": {"content_type": "text", "parts": ["When does it leave?"]}, "create_time": 1.7e9}}, …}}]

The tree is kept: edited and regenerated messages are siblings there as here. Words of people and of the assistant come
over, and the assistant's thoughts into the reply that follows them. Nodes without words, and those of kinds that we
have no place for (pictures, tool runs, hidden system messages), are left out, and what hung below them hangs below what
was above; the kinds are named in the report. The format is nowhere specified, so nothing is taken for granted.
"""

import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from liaoliao.errors import DataError
from liaoliao.messages import Message, Reasoning
from liaoliao.store.conversations import MAX_TITLE
from liaoliao.store.parts import parts_to_json
from liaoliao.store.wire import ExportedConversation, ExportedMessage

_LATEST = 1e11


@dataclass(frozen=True, slots=True)
class _Above:
    """What a node finds above it: the nearest message that was kept, and thoughts that wait for their reply."""

    kept: str | None = None
    thoughts: str = ""


@dataclass(slots=True)
class _Reading:
    """A conversation while it is read."""

    mapping: Mapping[str, Mapping[str, Any]]
    began: float
    children: dict[str | None, list[str]] = field(default_factory=dict)
    messages: list[ExportedMessage] = field(default_factory=list)
    kept: dict[str, str | None] = field(default_factory=dict)  # every node -> itself or the nearest one above
    left_out: Counter[str] = field(default_factory=Counter)


def read_chatgpt(data: Mapping[str, Any]) -> tuple[ExportedConversation, Counter[str]]:
    """A conversation, and how many of which kinds were left out. Raises DataError for what is no conversation."""
    mapping = data.get("mapping")
    if not isinstance(mapping, dict) or not all(isinstance(node, dict) for node in mapping.values()):
        raise DataError("mapping: expected an object of nodes")
    began = _time(data.get("create_time"), time.time())
    reading = _Reading(mapping, began)
    _find_children(reading)
    _walk(reading)
    current = data.get("current_node")
    head = reading.kept.get(current) if isinstance(current, str) else None
    if head is None and reading.messages:
        head = reading.messages[-1].id
    talk = ExportedConversation(
        id="",
        title=_words(data.get("title"))[:MAX_TITLE],
        created_at=began,
        updated_at=_time(data.get("update_time"), began),
        messages=tuple(reading.messages),
        head_id=head,
    )
    return talk, reading.left_out


def _find_children(reading: _Reading) -> None:
    """Whose children are whose, from the parents that nodes name, in the order in which parents name them."""
    places: dict[str, int] = {}
    for node in reading.mapping.values():
        named = node.get("children")
        for place, child in enumerate(named if isinstance(named, list) else []):
            if isinstance(child, str):
                places.setdefault(child, place)
    for id, node in reading.mapping.items():
        parent = node.get("parent")
        known = isinstance(parent, str) and parent in reading.mapping
        reading.children.setdefault(parent if known else None, []).append(id)
    for ids in reading.children.values():
        ids.sort(key=lambda id: places.get(id, len(places)))


def _walk(reading: _Reading) -> None:
    waiting = deque((id, _Above()) for id in reading.children.get(None, ()))
    seen = 0
    while waiting:
        id, above = waiting.popleft()
        seen += 1
        below = _visit(reading, id, above)
        reading.kept[id] = below.kept
        waiting.extend((child, below) for child in reading.children.get(id, ()))
    if seen < len(reading.mapping):
        raise DataError("the messages go in a circle")


def _visit(reading: _Reading, id: str, above: _Above) -> _Above:
    """Keep the node's message, if there is something to keep; what its children find above them."""
    wire = reading.mapping[id].get("message")
    message = _message(wire, reading.left_out) if isinstance(wire, dict) else None
    if message is None:
        return above
    if not message.text and reading.children.get(id):
        return _Above(above.kept, above.thoughts + message.reasoning)
    if message.role == "assistant" and above.thoughts:
        message = Message("assistant", (Reasoning(above.thoughts), *message.parts))
    parts = tuple(parts_to_json(message.parts))
    created = _time(wire.get("create_time"), reading.began) if isinstance(wire, dict) else reading.began
    reading.messages.append(ExportedMessage(id, above.kept, message.role, parts, created))
    return _Above(id)


def _message(wire: Mapping[str, Any], left_out: Counter[str]) -> Message | None:
    """What a node says; None for nothing that we keep."""
    author, content = wire.get("author"), wire.get("content")
    role = author.get("role") if isinstance(author, dict) else None
    if not isinstance(content, dict):
        return None
    kind = _words(content.get("content_type"))[:50] or "unknown"
    if kind == "thoughts" and role == "assistant":
        return Message.assistant(reasoning=_thoughts(content)) if _thoughts(content) else None
    said = _said(content, kind, left_out)
    if not said.strip():
        return None
    if role == "user":
        return Message.user(said)
    if role == "assistant" and wire.get("recipient") in (None, "all"):
        return Message.assistant(said)
    left_out["message to a tool" if role == "assistant" else f"{_words(role)[:50] or 'unknown'} message"] += 1
    return None


def _said(content: Mapping[str, Any], kind: str, left_out: Counter[str]) -> str:
    if kind == "code":
        return f"```\n{_words(content.get('text'))}\n```" if content.get("text") else ""
    parts = content.get("parts")
    if kind not in ("text", "multimodal_text") or not isinstance(parts, list):
        left_out[kind] += 1
        return ""
    for part in parts:
        if isinstance(part, dict):
            left_out[_words(part.get("content_type"))[:50] or "unknown"] += 1
        elif not isinstance(part, str):
            left_out[type(part).__name__] += 1
    return "\n".join(_words(part) for part in parts if isinstance(part, str))


def _thoughts(content: Mapping[str, Any]) -> str:
    thoughts = content.get("thoughts")
    each = [
        thought for thought in (thoughts if isinstance(thoughts, list) else []) if isinstance(thought, dict)
    ]
    return "\n\n".join(filter(None, (_words(thought.get("content")) for thought in each)))


def _words(value: object) -> str:
    """Text that can be kept; halves of surrogate pairs and NUL become the replacement character."""
    if not isinstance(value, str):
        return ""
    clean = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return clean.replace("\0", "\ufffd")


def _time(value: object, otherwise: float) -> float:
    """Unix seconds; what is none of that becomes `otherwise`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return otherwise
    return float(value) if 0 <= value < _LATEST else otherwise
