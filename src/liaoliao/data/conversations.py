"""Chat records of the three forms people have, as `Conversation`.

Place in the flow: records -> **conversations** -> chat template -> examples.

    {"messages": [{"role": "user", "content": "hi"}, …], "tools": […]}          OpenAI
    {"conversations": [{"from": "human", "value": "hi"}, …], "system": "…"}     ShareGPT
    {"instruction": "Translate", "input": "水", "output": "water"}              Alpaca
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from liaoliao.data.records import Record, parse, place, raw_records
from liaoliao.errors import DataError
from liaoliao.messages import Conversation, Message, Tool, ToolCall


def is_conversation(record: Mapping[str, Any]) -> bool:
    """Whether the record has one of the three forms."""
    return any(isinstance(record.get(key), kind) for key, kind in _FORMS.items())


def to_conversation(record: Record) -> Conversation:
    """Read a record of any of the three forms. Raises `DataError` that says what is wrong with it."""
    form = next((key for key, kind in _FORMS.items() if isinstance(record.get(key), kind)), "")
    if not form:
        keys = ", ".join(sorted(record)) or "nothing"
        raise DataError(
            f"a chat record has 'messages', 'conversations' (lists) or 'instruction' (text), not {keys}"
        )
    read = {"messages": _openai, "conversations": _sharegpt, "instruction": _alpaca}[form]
    messages, tools = tuple(read(record)), _tools(record.get("tools"))
    if not any(message.role == "assistant" for message in messages):
        raise DataError("the conversation has no assistant message, so there is nothing to learn from it")
    return Conversation(messages, tools)


def read_conversations(path: str | Path) -> Iterator[Conversation]:
    """The conversations of a file, in order. Raises `DataError` that names the file and the line."""
    for _, conversation in _placed(Path(path)):
        yield conversation


def find_conversation(paths: Iterable[Path], wanted: Conversation) -> str | None:
    """Where the first conversation like this one stands in the files: `chats.jsonl, line 7`; None where it is in none."""
    found = (where for path in paths for where, conversation in _placed(path) if conversation == wanted)
    return next(found, None)


def _placed(path: Path) -> Iterator[tuple[str, Conversation]]:
    for number, raw in raw_records(path):
        record = parse(raw, path, number)
        try:
            yield place(path, number), to_conversation(record)
        except DataError as error:
            raise DataError(f"{place(path, number)}: {error}") from error


# OpenAI


def _openai(record: Record) -> list[Message]:
    return [Message.from_openai(_object(wire, "messages")) for wire in _list(record, "messages")]


def _tools(tools: object) -> tuple[Tool, ...]:
    """A list of definitions, or that list as JSON text; bare `{"name", …}` definitions are taken as
    functions."""
    if isinstance(tools, str):
        tools = _json(tools, "tools") if tools.strip() else []
    if not isinstance(tools, list | None):
        raise DataError(f"'tools' must be a list of definitions, not {type(tools).__name__}")
    definitions = [_object(tool, "tools") for tool in tools or ()]
    return tuple(
        Tool.from_openai(d if "function" in d else {"type": "function", "function": d}) for d in definitions
    )


# ShareGPT

_ROLES = {
    "system": "system", "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant",
    "chatgpt": "assistant", "bard": "assistant", "bing": "assistant", "function_call": "call",
    "observation": "tool", "tool": "tool", "function_response": "tool",
}  # fmt: skip


def _sharegpt(record: Record) -> list[Message]:
    messages = _system(record)
    calls = 0
    waiting: list[str] = []  # ids of the calls that have no result yet
    for turn in _list(record, "conversations"):
        role, value = _role(_object(turn, "conversations")), _text(turn, "value")
        if role == "call":
            made = _calls(value, calls)
            calls += len(made)
            waiting = [call.id for call in made]
            messages.append(Message.assistant(tool_calls=made))
        elif role == "tool":
            messages.append(Message.tool(value, waiting.pop(0) if waiting else ""))
        else:
            messages.append(
                {"system": Message.system, "user": Message.user}.get(role, Message.assistant)(value)
            )
    return messages


def _system(record: Record) -> list[Message]:
    return [Message.system(_text(record, "system"))] if record.get("system") else []


def _role(turn: Mapping[str, Any]) -> str:
    name = turn.get("from")
    if name not in _ROLES:
        raise DataError(f"'from' is {name!r}; known are {', '.join(_ROLES)}")
    return _ROLES[name]


def _calls(value: str, first: int) -> tuple[ToolCall, ...]:
    wires = _json(value, "function_call")
    wires = wires if isinstance(wires, list) else [wires]
    return tuple(_call(_object(wire, "function_call"), f"call_{first + i}") for i, wire in enumerate(wires))


def _call(wire: Mapping[str, Any], call_id: str) -> ToolCall:
    arguments = wire.get("arguments", wire.get("parameters", {}))
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return ToolCall(call_id, _text(wire, "name"), text)


# Alpaca


def _alpaca(record: Record) -> list[Message]:
    messages = _system(record)
    for exchange in record.get("history") or ():
        if not (
            isinstance(exchange, Sequence)
            and len(exchange) == 2
            and all(isinstance(t, str) for t in exchange)
        ):
            raise DataError("'history' must be a list of [question, answer] pairs")
        messages += [Message.user(exchange[0]), Message.assistant(exchange[1])]
    asked = [_text(record, "instruction"), _text(record, "input") if record.get("input") else ""]
    return [
        *messages,
        Message.user("\n".join(filter(None, asked))),
        Message.assistant(_text(record, "output")),
    ]


# Values

_FORMS = {"messages": list, "conversations": list, "instruction": str}


def _list(record: Mapping[str, Any], key: str) -> list[Any]:
    if not isinstance(record[key], list) or not record[key]:
        raise DataError(f"{key!r} must be a list of messages with at least one in it")
    return list(record[key])


def _object(value: object, key: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise DataError(f"{key!r} holds {type(value).__name__} where an object is expected")
    return value


def _text(record: Mapping[str, Any], key: str) -> str:
    if not isinstance(record.get(key), str):
        raise DataError(f"{key!r} must be text, not {type(record.get(key)).__name__}")
    return str(record[key])


def _json(text: str, key: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{key!r} is not valid JSON ({error.msg}, column {error.colno})") from error
