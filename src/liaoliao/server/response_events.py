"""A reply told in the words of OpenAI's Responses API: one fold for the stream and for the whole.

    writer = ResponseWriter(opening_response(...))
    writer.begin()                     ->  response.created, response.in_progress
    writer.feed(ReplyText("5"))        ->  output_item.added, content_part.added, output_text.delta
    writer.feed(ReplyDone(...))        ->  output_text.done, content_part.done, output_item.done, response.completed
    writer.response                    what a request without `stream` is answered with

The output is a list of items, in the order in which the model said them: reasoning, messages, function calls.
Each event carries the next `sequence_number`.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias
from uuid import uuid4

from liaoliao.server.failures import ApiError
from liaoliao.server.reply import (
    ReplyDone,
    ReplyEvent,
    ReplyReasoning,
    ReplyText,
    ReplyToolCall,
    TokenLogprob,
    Usage,
)

Wire: TypeAlias = dict[str, Any]
ItemStatus: TypeAlias = Literal["in_progress", "completed", "incomplete"]
_Told: TypeAlias = tuple[str, Wire]  # an event's type without "response.", and what it says beside its place


class ResponseWriter:
    """Folds the events of one reply into `response`, and tells each step as stream events."""

    def __init__(self, response: Mapping[str, Any]) -> None:
        self.response: Wire = {**response, "status": "in_progress", "output": []}
        self._item: _Item | None = None
        self._num_told = 0

    def begin(self) -> list[Wire]:
        """The events before anything is said."""
        return [self._whole("response.created"), self._whole("response.in_progress")]

    def feed(self, event: ReplyEvent) -> list[Wire]:
        """The events that tell of one step of the reply."""
        match event:
            case ReplyText():
                told = self._enter(_MessageItem, isinstance(self._item, _MessageItem))
                return told + self._tell(self._open.add(event.text, event.logprobs))
            case ReplyReasoning():
                told = self._enter(_ReasoningItem, isinstance(self._item, _ReasoningItem))
                return told + self._tell(self._open.add(event.text))
            case ReplyToolCall():
                return self._call(event)
            case ReplyDone():
                return self._finish(event)

    def fail(self, error: ApiError) -> list[Wire]:
        """The events that end a stream in which something went wrong; what was said is kept."""
        told = [] if self._num_told else self.begin()
        if self._item is not None:
            self._keep(self._item.wire("incomplete"))
        self.response |= {
            "status": "failed",
            "error": {"code": _failure_code(error), "message": error.message},
        }
        return [*told, self._whole("response.failed")]

    @property
    def _open(self) -> "_Item":
        assert self._item is not None, "an item was entered"
        return self._item

    def _call(self, event: ReplyToolCall) -> list[Wire]:
        same = isinstance(self._item, _CallItem) and self._item.call_id == event.id
        told = self._enter(_CallItem, same, call_id=event.id, name=event.name)
        return told + (self._tell(self._open.add(event.arguments_delta)) if event.arguments_delta else [])

    def _enter(self, kind: "type[_Item]", already: bool, **named: str) -> list[Wire]:
        """Open an item of this kind, unless it stands open."""
        if already:
            return []
        told = self._leave("completed")
        self._item = kind(id=f"{kind.prefix}_{uuid4().hex}", index=len(self.response["output"]), **named)
        return [*told, self._item_event("added", "in_progress"), *self._tell(*self._item.opening())]

    def _leave(self, status: ItemStatus) -> list[Wire]:
        """Close the open item, if there is one."""
        if self._item is None:
            return []
        told = [*self._tell(*self._item.closing()), self._item_event("done", status)]
        self._keep(self._item.wire(status))
        return told

    def _keep(self, item: Wire) -> None:
        self.response["output"] = [*self.response["output"], item]
        self._item = None

    def _finish(self, done: ReplyDone) -> list[Wire]:
        cut = done.finish_reason == "length"
        nothing_said = self._item is None and not self.response["output"]
        told = self._enter(_MessageItem, already=False) if nothing_said else []
        told += self._leave("incomplete" if cut else "completed")
        self.response |= {
            "status": "incomplete" if cut else "completed",
            "completed_at": None if cut else int(time.time()),
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "usage": usage_wire(done.usage),
        }
        return [*told, self._whole("response.incomplete" if cut else "response.completed")]

    def _whole(self, kind: str) -> Wire:
        return self._event(kind, {"response": dict(self.response)})

    def _item_event(self, step: str, status: ItemStatus) -> Wire:
        item = self._open
        shown = item.wire(status) if step == "done" else item.empty(status)
        return self._event(f"response.output_item.{step}", {"output_index": item.index, "item": shown})

    def _tell(self, *told: _Told) -> list[Wire]:
        """Events of the open item."""
        place = {"item_id": self._open.id, "output_index": self._open.index}
        return [self._event(f"response.{kind}", {**place, **said}) for kind, said in told]

    def _event(self, kind: str, said: Wire) -> Wire:
        self._num_told += 1
        return {"type": kind, "sequence_number": self._num_told - 1, **said}


# The items of the output


@dataclass(slots=True)
class _Item:
    """An item that is being said, and number `index` of the output."""

    prefix: ClassVar[str]
    id: str
    index: int
    words: str = ""

    def add(self, words: str, logprobs: tuple[TokenLogprob, ...] = ()) -> _Told:
        """Say more."""
        raise NotImplementedError

    def opening(self) -> Iterator[_Told]:
        """What is told before the first words."""
        return iter(())

    def closing(self) -> Iterator[_Told]:
        """What is told after the last words."""
        raise NotImplementedError

    def empty(self, status: ItemStatus) -> Wire:
        """The item before its first words."""
        raise NotImplementedError

    def wire(self, status: ItemStatus) -> Wire:
        """The item with all that was said."""
        raise NotImplementedError


@dataclass(slots=True)
class _MessageItem(_Item):
    prefix = "msg"
    logprobs: list[Wire] = field(default_factory=list)

    def add(self, words: str, logprobs: tuple[TokenLogprob, ...] = ()) -> _Told:
        new = [_logprob_wire(logprob) for logprob in logprobs]
        self.words += words
        self.logprobs += new
        return "output_text.delta", {"content_index": 0, "delta": words, "logprobs": new}

    def opening(self) -> Iterator[_Told]:
        yield "content_part.added", {"content_index": 0, "part": _output_text("", [])}

    def closing(self) -> Iterator[_Told]:
        part = _output_text(self.words, self.logprobs)
        yield "output_text.done", {"content_index": 0, "text": self.words, "logprobs": part["logprobs"]}
        yield "content_part.done", {"content_index": 0, "part": part}

    def empty(self, status: ItemStatus) -> Wire:
        return {"id": self.id, "type": "message", "role": "assistant", "status": status, "content": []}

    def wire(self, status: ItemStatus) -> Wire:
        return {**self.empty(status), "content": [_output_text(self.words, self.logprobs)]}


@dataclass(slots=True)
class _ReasoningItem(_Item):
    """Reasoning is shown as it is (`content`); nobody here writes a `summary` of it."""

    prefix = "rs"

    def add(self, words: str, logprobs: tuple[TokenLogprob, ...] = ()) -> _Told:
        self.words += words
        return "reasoning_text.delta", {"content_index": 0, "delta": words}

    def opening(self) -> Iterator[_Told]:
        yield "content_part.added", {"content_index": 0, "part": _reasoning_text("")}

    def closing(self) -> Iterator[_Told]:
        yield "reasoning_text.done", {"content_index": 0, "text": self.words}
        yield "content_part.done", {"content_index": 0, "part": _reasoning_text(self.words)}

    def empty(self, status: ItemStatus) -> Wire:
        return {"id": self.id, "type": "reasoning", "status": status, "summary": [], "content": []}

    def wire(self, status: ItemStatus) -> Wire:
        return {**self.empty(status), "content": [_reasoning_text(self.words)]}


@dataclass(slots=True)
class _CallItem(_Item):
    prefix = "fc"
    call_id: str = ""
    name: str = ""

    def add(self, words: str, logprobs: tuple[TokenLogprob, ...] = ()) -> _Told:
        self.words += words
        return "function_call_arguments.delta", {"delta": words}

    def closing(self) -> Iterator[_Told]:
        yield "function_call_arguments.done", {"name": self.name, "arguments": self.words}

    def empty(self, status: ItemStatus) -> Wire:
        call = {"id": self.id, "type": "function_call", "status": status}
        return {**call, "call_id": self.call_id, "name": self.name, "arguments": ""}

    def wire(self, status: ItemStatus) -> Wire:
        return {**self.empty(status), "arguments": self.words}


def usage_wire(usage: Usage) -> Wire:
    """Token counts in the words of the Responses API."""
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def _output_text(text: str, logprobs: list[Wire]) -> Wire:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": list(logprobs)}


def _reasoning_text(text: str) -> Wire:
    return {"type": "reasoning_text", "text": text}


def _logprob_wire(logprob: TokenLogprob) -> Wire:
    top = [{"token": token, "bytes": list(raw), "logprob": value} for token, raw, value in logprob.top]
    chosen = {"token": logprob.token, "bytes": list(logprob.bytes), "logprob": logprob.logprob}
    return {**chosen, "top_logprobs": top}


def _failure_code(error: ApiError) -> str:
    """The nearest of the codes that the API has for a response that failed."""
    if error.status >= 500:
        return "server_error"
    return "rate_limit_exceeded" if error.status == 429 else "invalid_prompt"
