"""Talk as values: a conversation is a list of messages, a message is a role and its parts.

Nothing else in the system stands for talk. Datasets, the terminal, the API and the towns' talks all become
`Message`; `liaoliao.text.chat_template` turns messages into token ids and `liaoliao.text.parse` turns ids
back into a message. The OpenAI wire form is read and written here (`from_openai`, `to_openai`), strictly: an
unknown key is an error.

    Message.user("2+3?").to_openai()  ->  {"role": "user", "content": "2+3?"}
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast

from liaoliao.errors import DataError


@dataclass(frozen=True, slots=True)
class Text:
    """Words that are said."""

    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """Words that are thought before speaking; a person may look, but they are no part of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A wish of the assistant: run the tool `name` with `arguments`, a JSON object as text."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool gave back for the call with the id `call_id`."""

    call_id: str
    output: str


@dataclass(frozen=True, slots=True)
class Image:
    """A picture; `media_type` is such as "image/png". Templates that cannot render it refuse it."""

    media_type: str
    data: bytes


Part: TypeAlias = Text | Reasoning | ToolCall | ToolResult | Image
Role: TypeAlias = Literal["system", "user", "assistant", "tool"]

_PARTS_OF_ROLE: Mapping[str, tuple[type, ...]] = {
    "system": (Text,),
    "user": (Text, Image),
    "assistant": (Reasoning, Text, ToolCall),
    "tool": (ToolResult,),
}


@dataclass(frozen=True, slots=True)
class Message:
    """One turn: who speaks, and what, in order.

    A system message holds Text; a user message Text and Image; an assistant message Reasoning, Text and
    ToolCall; a tool message exactly one ToolResult. Anything else is a DataError.
    """

    role: Role
    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        if self.role not in _PARTS_OF_ROLE:
            raise DataError(f"{self.role!r} is not a role; the roles are {', '.join(_PARTS_OF_ROLE)}")
        for part in self.parts:
            if not isinstance(part, _PARTS_OF_ROLE[self.role]):
                raise DataError(f"a {self.role} message cannot hold a {type(part).__name__}")
        if self.role == "tool" and len(self.parts) != 1:
            raise DataError(f"a tool message holds exactly one ToolResult, not {len(self.parts)} parts")

    @classmethod
    def system(cls, text: str) -> "Message":
        """A system message."""
        return cls("system", _text_parts(text))

    @classmethod
    def user(cls, text: str) -> "Message":
        """A user message of plain text."""
        return cls("user", _text_parts(text))

    @classmethod
    def assistant(
        cls, text: str = "", *, reasoning: str = "", tool_calls: Iterable[ToolCall] = ()
    ) -> "Message":
        """An assistant message in the canonical order: reasoning, text, tool calls; empty ones left out."""
        thought = (Reasoning(reasoning),) if reasoning else ()
        return cls("assistant", (*thought, *_text_parts(text), *tool_calls))

    @classmethod
    def tool(cls, output: str, call_id: str = "") -> "Message":
        """The result of one tool call."""
        return cls("tool", (ToolResult(call_id, output),))

    @property
    def text(self) -> str:
        """What is said: the texts and tool outputs, joined."""
        said = (
            p.text if isinstance(p, Text) else p.output
            for p in self.parts
            if isinstance(p, Text | ToolResult)
        )
        return "".join(said)

    @property
    def reasoning(self) -> str:
        """What is thought, joined."""
        return "".join(p.text for p in self.parts if isinstance(p, Reasoning))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls, in order."""
        return tuple(p for p in self.parts if isinstance(p, ToolCall))

    @property
    def images(self) -> tuple[Image, ...]:
        """The pictures, in order."""
        return tuple(p for p in self.parts if isinstance(p, Image))

    def to_openai(self) -> dict[str, Any]:
        """The message in OpenAI's wire form; several texts come together as one `content`."""
        if self.role == "tool":
            result = cast(ToolResult, self.parts[0])
            return {"role": "tool", "tool_call_id": result.call_id, "content": result.output}
        if self.images:
            return {"role": self.role, "content": [_part_to_openai(part) for part in self.parts]}
        wire: dict[str, Any] = {"role": self.role, "content": self.text}
        if self.reasoning:
            wire["reasoning_content"] = self.reasoning
        if self.tool_calls:
            wire["content"] = self.text or None
            wire["tool_calls"] = [_call_to_openai(call) for call in self.tool_calls]
        return wire

    @classmethod
    def from_openai(cls, wire: Mapping[str, Any]) -> "Message":
        """Read OpenAI's wire form; "developer" means system. What we do not know is a DataError."""
        role = _string(wire, "role", where="message")
        role = "system" if role == "developer" else role
        if role not in _PARTS_OF_ROLE:
            raise DataError(
                f"message.role: {role!r} is not a role; the roles are {', '.join(_PARTS_OF_ROLE)}"
            )
        _refuse_unknown(wire, _KEYS_OF_ROLE[role], where=f"{role} message")
        if role == "tool":
            return cls.tool(
                _joined_text(wire.get("content")), _string(wire, "tool_call_id", "message", default="")
            )
        content = _content_from_openai(wire.get("content"))
        if role != "assistant":
            return cls(cast(Role, role), content)
        reasoning = _string(wire, "reasoning_content", "message", default="")
        calls = tuple(map(_call_from_openai, _list(wire, "tool_calls", "message")))
        return cls("assistant", (*((Reasoning(reasoning),) if reasoning else ()), *content, *calls))


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that the assistant may call; `parameters` is the JSON schema of its arguments object."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})

    def to_openai(self) -> dict[str, Any]:
        """The definition in OpenAI's wire form."""
        function = {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}
        return {"type": "function", "function": function}

    @classmethod
    def from_openai(cls, wire: Mapping[str, Any]) -> "Tool":
        """Read OpenAI's wire form; only tools of the type "function" are known."""
        _refuse_unknown(wire, ("type", "function"), where="tool")
        if wire.get("type") != "function":
            raise DataError(f"tool.type: {wire.get('type')!r} is not known; use 'function'")
        function = _mapping(wire, "function", "tool")
        _refuse_unknown(function, ("name", "description", "parameters"), where="tool.function")
        name = _string(function, "name", where="tool.function")
        description = _string(function, "description", "tool.function", default="")
        if function.get("parameters") is None:
            return cls(name, description)
        return cls(name, description, dict(_mapping(function, "parameters", "tool.function")))


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages, and the tools that stood open to the assistant in them."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()


@dataclass(frozen=True, slots=True)
class Preference:
    """Two assistant messages that could follow the same prompt, the better one named."""

    prompt: tuple[Message, ...]
    chosen: Message
    rejected: Message


# The wire form. Keys that clients echo back with nothing in them ("refusal": null) are no news and pass.

_KEYS_OF_ROLE: Mapping[str, tuple[str, ...]] = {
    "system": ("role", "content"),
    "user": ("role", "content"),
    "assistant": ("role", "content", "reasoning_content", "tool_calls"),
    "tool": ("role", "content", "tool_call_id", "name"),  # the name is that of the call: nothing new in it
}


def _text_parts(text: str) -> tuple[Text, ...]:
    return (Text(text),) if text else ()


def _refuse_unknown(wire: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key, value in wire.items():
        if key not in known and value not in (None, [], {}, ""):
            raise DataError(f"{where}: {key!r} is not supported; known are {', '.join(known)}")


def _string(wire: Mapping[str, Any], key: str, where: str, default: str | None = None) -> str:
    value = wire.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise DataError(f"{where}.{key}: expected a string, got {_kind(value)}")
    return value


def _mapping(wire: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    value = wire.get(key)
    if not isinstance(value, Mapping):
        raise DataError(f"{where}.{key}: expected an object, got {_kind(value)}")
    return value


def _list(wire: Mapping[str, Any], key: str, where: str) -> list[Any]:
    value = wire.get(key)
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        raise DataError(f"{where}.{key}: expected a list, got {_kind(value)}")
    return list(value)


def _kind(value: object) -> str:
    return "nothing" if value is None else type(value).__name__


def _content_from_openai(content: object) -> tuple[Text | Image, ...]:
    if content is None or isinstance(content, str):
        return _text_parts(content or "")
    if not isinstance(content, list | tuple):
        raise DataError(f"message.content: expected a string or a list of parts, got {_kind(content)}")
    return tuple(map(_part_from_openai, content))


def _joined_text(content: object) -> str:
    parts = _content_from_openai(content)
    if any(isinstance(part, Image) for part in parts):
        raise DataError("message.content: a tool result is text; it cannot hold an image")
    return "".join(part.text for part in parts if isinstance(part, Text))


def _part_from_openai(wire: object) -> Text | Image:
    if not isinstance(wire, Mapping):
        raise DataError(f"message.content[]: expected an object, got {_kind(wire)}")
    kind = wire.get("type")
    if kind == "text":
        _refuse_unknown(wire, ("type", "text"), where="text part")
        return Text(_string(wire, "text", where="message.content[]"))
    if kind == "image_url":
        _refuse_unknown(wire, ("type", "image_url"), where="image part")
        return image_from_url(
            _string(_mapping(wire, "image_url", "message.content[]"), "url", where="image_url")
        )
    raise DataError(f"message.content[].type: {kind!r} is not known; known are 'text', 'image_url'")


def image_from_url(url: str) -> Image:
    """The picture that a data URL holds; other URLs are a DataError."""
    head, comma, payload = url.partition(",")
    if not (head.startswith("data:") and head.endswith(";base64") and comma):
        raise DataError("image_url.url: only data URLs are read, such as 'data:image/png;base64,...'")
    try:
        data = base64.b64decode(payload, validate=True)
    except ValueError as error:  # binascii.Error is one; text that is not ASCII is a plain one
        raise DataError(f"image_url.url: the base64 data is damaged: {error}") from error
    return Image(head.removeprefix("data:").removesuffix(";base64"), data)


def _part_to_openai(part: Part) -> dict[str, Any]:
    if isinstance(part, Image):
        url = f"data:{part.media_type};base64,{base64.b64encode(part.data).decode('ascii')}"
        return {"type": "image_url", "image_url": {"url": url}}
    return {"type": "text", "text": cast(Text, part).text}


def _call_to_openai(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _call_from_openai(wire: object) -> ToolCall:
    if not isinstance(wire, Mapping):
        raise DataError(f"message.tool_calls[]: expected an object, got {_kind(wire)}")
    _refuse_unknown(wire, ("id", "type", "function", "index"), where="tool call")
    if wire.get("type", "function") != "function":
        raise DataError(f"message.tool_calls[].type: {wire.get('type')!r} is not known; use 'function'")
    function = _mapping(wire, "function", "message.tool_calls[]")
    _refuse_unknown(function, ("name", "arguments"), where="tool call function")
    return ToolCall(
        _string(wire, "id", "message.tool_calls[]", default=""),
        _string(function, "name", where="message.tool_calls[].function"),
        _string(function, "arguments", where="message.tool_calls[].function"),
    )
