"""What a model says, token by token, as deltas: text, reasoning and tool calls.

The way back from `chat_template`: rendering a reply and feeding its ids gives the same message. Marks count
only as special tokens; the same letters in words are words. Bytes that are half a character are held back
until the rest has come, and so are line breaks, as those that the template puts around a mark are no part of
the text. A tool call that is not the JSON it should be comes back as text: nothing that a model says is lost.

    ids of "<think>⏎2+3⏎</think>⏎⏎5<|im_end|>"  ->  ReasoningDelta("2+3"), TextDelta("5")
"""

import codecs
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from liaoliao.messages import Message, ToolCall
from liaoliao.text.call import OpenCall
from liaoliao.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """More of the thinking before the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A tool call: number `index` of this message (from 0). It is whole, but for a Parser that `stream_calls`: there it
    is a piece, and `arguments` is what is new of them.
    """

    index: int
    id: str
    name: str
    arguments: str


Delta: TypeAlias = TextDelta | ReasoningDelta | ToolCallDelta

_END_NAMES: Final = ("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>")


def end_ids(tokenizer: Tokenizer, stop_ids: Iterable[int]) -> frozenset[int]:
    """The tokens that end a reply and are no part of it: a template's, and those known by name."""
    return frozenset((*stop_ids, *(i for name, i in tokenizer.special_ids.items() if name in _END_NAMES)))


class Parser:
    """Reads one assistant message. `feed` every generated token, then call `finish` once; `message` is what
    was said so far.

    `stop_ids` are further tokens that end a reply (the template's). `first_call` is the number in the id of
    the first tool call ("call_0"), for a conversation that has calls already. `in_reasoning` is for prompts
    that end in an open <think>.

    With `stream_calls` a call is told while it is written, as soon as its name is known: a first piece without
    arguments, then more of them (the last piece may bring none). One that turns out to be no call has been told by
    then: what was told are not whole arguments, the rest of it is left out, `message` does not have it, and
    `broke_off` is True from there on.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        stop_ids: Iterable[int] = (),
        first_call: int = 0,
        in_reasoning: bool = False,
        stream_calls: bool = False,
    ) -> None:
        self._tokenizer = tokenizer
        self._name_of = {token_id: name for name, token_id in tokenizer.special_ids.items()}
        self._ends = end_ids(tokenizer, stop_ids)
        self._first_call = first_call
        self._mode: Literal["text", "reasoning", "call"] = "reasoning" if in_reasoning else "text"
        self._after_mark = in_reasoning
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""  # line breaks that may belong to a mark to come
        self._stream_calls = stream_calls
        self._call = OpenCall()
        self._num_calls = 0  # those that were told
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._calls: list[ToolCall] = []
        self.broke_off = False

    @property
    def in_reasoning(self) -> bool:
        """Whether what comes next is thought."""
        return self._mode == "reasoning"

    def feed(self, token_id: int) -> list[Delta]:
        """The deltas that one more token completes; often none. Ids beyond the vocabulary, of which some models
        have a few, stand for nothing.
        """
        if token_id in self._ends or token_id >= self._tokenizer.vocab_size:
            return []
        name = self._name_of.get(token_id)
        if name is None:
            return self._words(self._decoder.decode(self._tokenizer.token_bytes(token_id)))
        return self._words(self._decoder.decode(b"", final=True)) + self._mark(name)

    def finish(self) -> list[Delta]:
        """What was held back: half a character (as U+FFFD), line breaks, a tool call never closed."""
        deltas = self._words(self._decoder.decode(b"", final=True))
        if self._call.name is not None:
            self.broke_off = True
        elif self._mode == "call":
            deltas += self._not_a_call(f"<tool_call>{self._call.text}")
        return deltas + self._release()

    def message(self) -> Message:
        """The message so far."""
        return Message.assistant(
            "".join(self._text), reasoning="".join(self._reasoning), tool_calls=self._calls
        )

    def _words(self, words: str) -> list[Delta]:
        if self._mode == "call":
            return self._in_call(words)
        if self._after_mark:
            words = words.lstrip("\n")
        if not words:
            return []
        self._after_mark = False
        words = self._held + words
        said = words.rstrip("\n")
        self._held = words[len(said) :]
        return self._say(said)

    def _mark(self, name: str) -> list[Delta]:
        match self._mode, name:
            case "text", "<think>":
                deltas = self._release()
                self._enter("reasoning")
                return deltas
            case "reasoning", "</think>":
                self._held = ""
                self._enter("text")
                return []
            case "text", "<tool_call>":
                self._mode, self._call = "call", OpenCall()
                return []  # the held line breaks wait: they count if this is no call
            case "call", "</tool_call>":
                return self._close_call()
            case _:
                return self._words(name)

    def _enter(self, mode: Literal["text", "reasoning"]) -> None:
        self._mode, self._after_mark = mode, True

    def _release(self) -> list[Delta]:
        held, self._held = self._held, ""
        return self._say(held)

    def _say(self, words: str) -> list[Delta]:
        if not words:
            return []
        if self._mode == "reasoning":
            self._reasoning.append(words)
            return [ReasoningDelta(words)]
        self._text.append(words)
        return [TextDelta(words)]

    def _in_call(self, words: str) -> list[Delta]:
        """More of an open call, and what can be told of it."""
        self._call.text += words
        if not self._stream_calls:
            return []
        was_known = self._call.name is not None
        more = self._call.more()
        if self._call.name is None:
            return []
        self._held = ""
        pieces = [*([] if was_known else [""]), *([more] if more else [])]
        return [self._call_delta(self._call.name, piece) for piece in pieces]

    def _close_call(self) -> list[Delta]:
        call, whole = self._call, self._call.whole()
        if whole is not None:
            delta = self._call_delta(whole[0], whole[1].removeprefix(call.told))
            self._calls.append(ToolCall(delta.id, *whole))
        elif call.name is not None:
            delta = self._call_delta(call.name, "")
            self.broke_off = True
        else:
            return self._not_a_call(f"<tool_call>{call.text}</tool_call>")
        self._held, self._call = "", OpenCall()
        self._num_calls += 1
        self._enter("text")
        return [delta]

    def _call_delta(self, name: str, arguments: str) -> ToolCallDelta:
        number = self._first_call + self._num_calls
        return ToolCallDelta(self._num_calls, f"call_{number}", name, arguments)

    def _not_a_call(self, words: str) -> list[Delta]:
        self._mode, self._after_mark, self._call = "text", False, OpenCall()
        return self._words(words)
