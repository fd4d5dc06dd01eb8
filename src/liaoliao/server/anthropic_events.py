"""A reply told in the words of Anthropic's Messages API: one fold for the stream and for the whole.

    writer = MessageWriter("current", num_prompt=12, max_tokens=99)
    writer.begin()                     ->  message_start
    writer.feed(ReplyText("5"))        ->  content_block_start, ping, content_block_delta
    writer.feed(ReplyDone(...))        ->  content_block_stop, message_delta, message_stop
    writer.message                     what a request without `stream` is answered with

A message is a list of blocks, in the order in which the model said them: thinking, text, tool_use.
"""

import json
import math
import re
from typing import Any, Final, TypeAlias
from uuid import uuid4

from pydantic_core import from_json

from liaoliao.server.reply import ReplyDone, ReplyEvent, ReplyReasoning, ReplyText, ReplyToolCall, Usage

Wire: TypeAlias = dict[str, Any]
_HALF_PAIR: Final = re.compile("[\ud800-\udfff]")


class MessageWriter:
    """Tells each step of one reply as stream events, and all of it as a `message`.

    `num_prompt` is the number of tokens that were read, `max_tokens` of those that might be made.
    """

    def __init__(self, model: str, *, num_prompt: int, max_tokens: int) -> None:
        self._message: Wire = {
            "id": f"msg_{uuid4().hex}", "type": "message", "role": "assistant", "model": model, "content": [],
            "stop_reason": None, "stop_sequence": None, "usage": usage_wire(Usage(num_prompt, 0)),
        }  # fmt: skip
        self._max_tokens = max_tokens
        self._block: _Block | None = None
        self._said: list[_Block] = []  # the blocks before

    @property
    def message(self) -> Wire:
        """The message so far, but for the block that is being said."""
        return {**self._message, "content": [block.wire() for block in self._said]}

    def begin(self) -> list[Wire]:
        """The event before anything is said."""
        return [{"type": "message_start", "message": {**self._message, "content": []}}]

    def feed(self, event: ReplyEvent) -> list[Wire]:
        """The events that tell of one step of the reply."""
        match event:
            case ReplyText(text):
                return self._say({"type": "text", "text": ""}, text) if text else []
            case ReplyReasoning(text):
                return self._say({"type": "thinking", "thinking": "", "signature": ""}, text)
            case ReplyToolCall():
                opening = {"type": "tool_use", "id": event.id, "name": event.name, "input": {}}
                return self._say(opening, event.arguments_delta)
            case ReplyDone():
                return self._finish(event)

    def _say(self, opening: Wire, words: str) -> list[Wire]:
        """Say more, in the open block where it is the one that `opening` would open."""
        told: list[Wire] = []
        if self._block is None or self._block.opening != opening:
            told = self._leave()
            self._block = _Block(opening, index=len(self._said))
            told.append(self._block.event("start", content_block=opening))
            told += [{"type": "ping"}] if self._block.index == 0 else []
        if words:
            told.append(self._block.event("delta", delta=self._block.add(words)))
        return told

    def _leave(self) -> list[Wire]:
        if self._block is None:
            return []
        block, self._block = self._block, None
        self._said.append(block)
        return [block.event("stop")]

    def _finish(self, done: ReplyDone) -> list[Wire]:
        told = self._leave()
        end = {"stop_reason": self._stop_reason(done), "stop_sequence": done.stop_string}
        usage = usage_wire(done.usage)
        self._message |= {**end, "usage": usage}
        return [*told, {"type": "message_delta", "delta": end, "usage": usage}, {"type": "message_stop"}]

    def _stop_reason(self, done: ReplyDone) -> str:
        if done.finish_reason == "tool_calls":
            return "tool_use"
        if done.finish_reason == "length":
            full = done.usage.completion_tokens < self._max_tokens
            return "model_context_window_exceeded" if full else "max_tokens"
        return "end_turn" if done.stop_string is None else "stop_sequence"


class _Block:
    """Block number `index`, being said."""

    def __init__(self, opening: Wire, index: int) -> None:
        self.opening, self.index = opening, index
        self._words = ""

    def event(self, step: str, **said: Any) -> Wire:
        return {"type": f"content_block_{step}", "index": self.index, **said}

    def add(self, words: str) -> Wire:
        self._words += words
        match self.opening["type"]:
            case "text":
                return {"type": "text_delta", "text": words}
            case "thinking":
                return {"type": "thinking_delta", "thinking": words}
        return {"type": "input_json_delta", "partial_json": words}

    def wire(self) -> Wire:
        match self.opening["type"]:
            case "text":
                return {**self.opening, "text": self._words}
            case "thinking":
                return {**self.opening, "thinking": self._words}
        return {**self.opening, "input": _input(self._words)}


def _input(arguments: str) -> Any:
    """The arguments as a value; of a call that broke off, what is whole of them, as the SDK reads them. What can be written
    in JSON but not sent, half a surrogate pair or a number beyond any size, is replaced.
    """
    try:
        return _sendable(_read(arguments))
    except (ValueError, RecursionError):
        return {}


def _read(arguments: str) -> Any:
    try:
        return json.loads(arguments or "{}")
    except ValueError:
        return from_json(arguments, allow_partial=True)


def _sendable(value: Any) -> Any:
    match value:
        case str():
            return _HALF_PAIR.sub("\ufffd", value)
        case float() if not math.isfinite(value):
            return None
        case list():
            return [_sendable(item) for item in value]
        case dict():
            return {_sendable(name): _sendable(item) for name, item in value.items()}
    return value


def usage_wire(usage: Usage) -> Wire:
    """Token counts in Anthropic's words, whose input tokens are those that no cache had."""
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
    }
