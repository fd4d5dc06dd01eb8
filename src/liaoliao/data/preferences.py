"""Preference records as `Preference`: a prompt, the better answer and the worse one.

Place in the flow: records -> **preferences** -> chat template -> pairs of examples -> reward model, DPO.
Texts or message lists, in any mixture; without "prompt" both lists hold the whole talk and what they share is
the prompt.

    {"prompt": "hi", "chosen": "Hello!", "rejected": "What."}
    {"prompt": [{"role": "user", "content": "hi"}], "chosen": [{"role": "assistant", …}], "rejected": […]}
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from liaoliao.data.records import Record, parse, place, raw_records
from liaoliao.errors import DataError
from liaoliao.messages import Message, Preference


def is_preference(record: Mapping[str, Any]) -> bool:
    """Whether the record holds two answers, one of them preferred."""
    return "chosen" in record and "rejected" in record


def to_preference(record: Record) -> Preference:
    """Read a preference record. Raises `DataError` that says what is wrong with it."""
    if not is_preference(record):
        raise DataError("a preference record has 'chosen' and 'rejected'")
    chosen, rejected = (_messages(record, key, Message.assistant) for key in ("chosen", "rejected"))
    prompt = _messages(record, "prompt", Message.user) if "prompt" in record else _shared(chosen, rejected)
    if not prompt:
        raise DataError(
            "the prompt is empty: give 'prompt', or start 'chosen' and 'rejected' with the same messages"
        )
    good, bad = (_answer(messages, prompt, "prompt" in record) for messages in (chosen, rejected))
    if good == bad:
        raise DataError("'chosen' and 'rejected' are equal, so there is nothing to learn from them")
    return Preference(prompt, good, bad)


def read_preferences(path: str | Path) -> Iterator[Preference]:
    """The preferences of a file, in order. Raises `DataError` that names the file and the line."""
    for number, raw in raw_records(Path(path)):
        record = parse(raw, Path(path), number)
        try:
            yield to_preference(record)
        except DataError as error:
            raise DataError(f"{place(Path(path), number)}: {error}") from error


def _messages(record: Record, key: str, from_text: Any) -> tuple[Message, ...]:
    value = record[key]
    if isinstance(value, str):
        return (from_text(value),)
    if not isinstance(value, list) or not all(isinstance(wire, Mapping) for wire in value):
        raise DataError(f"{key!r} must be text or a list of messages, not {type(value).__name__}")
    return tuple(map(Message.from_openai, value))


def _shared(chosen: tuple[Message, ...], rejected: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages that both talks begin with, their last ones apart."""
    shared = []
    for left, right in zip(chosen[:-1], rejected[:-1], strict=False):
        if left != right:
            break
        shared.append(left)
    return tuple(shared)


def _answer(messages: tuple[Message, ...], prompt: tuple[Message, ...], prompt_given: bool) -> Message:
    """The one assistant message after the prompt; some data sets repeat the prompt in front of it."""
    repeats = not prompt_given or (len(messages) > 1 and messages[: len(prompt)] == prompt)
    rest = messages[len(prompt) :] if repeats else messages
    if len(rest) != 1 or rest[0].role != "assistant":
        roles = ", ".join(message.role for message in rest) or "nothing"
        raise DataError(f"an answer must be one assistant message after the prompt; found {roles}")
    return rest[0]
