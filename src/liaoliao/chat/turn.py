"""One assistant turn as a state machine: no I/O, no threads, no event loop. `drive` runs it.

    messages --request()--> Request --(engine)--> TokenEvents --feed()--> deltas, MessageDone
                 ^                                                              |
                 '---- resolve(results) <--(tools)---- pending tool calls <-----'        until `done`

A turn may take several replies: each that calls tools is answered with their results, up to `max_tool_rounds`
times. How it begins can be given as token ids (`opening`): `recite` says them before the engine is asked.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

from liaoliao.chat.stop import StopGate
from liaoliao.engine.request import Grammar, Request, SamplingParams, TokenEvent
from liaoliao.errors import RequestError
from liaoliao.messages import Message, Tool, ToolCall, ToolResult
from liaoliao.text.chat_template import Template
from liaoliao.text.parse import Delta, Parser, ReasoningDelta, TextDelta, ToolCallDelta, end_ids
from liaoliao.text.tokenizer import Tokenizer

_DEFAULT_PARAMS = SamplingParams()
_NO_OPTIONS: Final[Mapping[str, Any]] = MappingProxyType({})

TurnFinish: TypeAlias = Literal["stop", "length", "tool_calls", "tool_limit"]


@dataclass(frozen=True, slots=True)
class MessageDone:
    """A whole message: a reply of the assistant, or the result of a tool (whose `finish_reason` is None).

    "tool_calls": tools are pending; "tool_limit": tools were called once too often, the calls stay
    unanswered.
    """

    message: Message
    finish_reason: TurnFinish | None = None


ChatEvent: TypeAlias = TextDelta | ReasoningDelta | ToolCallDelta | MessageDone


class Turn:
    """From a conversation to the assistant's answer. `messages` grows by what is said; `new_messages` is just
    that.

    `tools` are described in the prompt; calls of other tools are pending all the same. `stop` are strings
    that end the reply and are no part of it. Token ids that end a reply come from the template, unless
    `params.ignore_eos`. A `grammar` binds the first reply. With `continue_final` the first reply goes on with
    the last message, an assistant's, and the two become one of `messages`; the events tell of what is new.
    `template_options` are variables of the chat template, such as `enable_thinking`. With `stream_calls` tool calls
    are told while they are written (see Parser); a reply in which one breaks off leaves none pending.

    `opening` holds the first tokens of the answer: they are said as if the engine had made them, and do not count
    for `max_tokens`. Like `token_ids`, which is all that was said so far, it may go through several replies, each
    but the last with the token that ended it.
    """

    def __init__(
        self,
        messages: Sequence[Message],
        template: Template,
        tokenizer: Tokenizer,
        *,
        tools: Sequence[Tool] = (),
        params: SamplingParams = _DEFAULT_PARAMS,
        stop: Sequence[str] = (),
        max_tool_rounds: int = 4,
        grammar: Grammar | None = None,
        continue_final: bool = False,
        template_options: Mapping[str, Any] = _NO_OPTIONS,
        opening: Sequence[int] = (),
        stream_calls: bool = False,
    ) -> None:
        if not messages:
            raise RequestError("there is no message to answer")
        if any(not text for text in stop):
            raise RequestError("stop must not hold an empty string")
        if opening and (grammar is not None or min(opening) < 0):
            raise RequestError("an opening is made of token ids, from 0 on, and goes with no grammar")
        if continue_final:
            _check_open(messages[-1])
        self.messages = list(messages)
        self.tools, self.stop = tuple(tools), tuple(stop)
        stop_ids = () if params.ignore_eos else template.stop_ids
        self.params = replace(params, stop_token_ids=(*params.stop_token_ids, *stop_ids))
        self.token_ids: list[int] = []
        self.pending: tuple[ToolCall, ...] = ()
        self.finish_reason: TurnFinish | None = None
        self.done = False
        self.generating = False
        self._template, self._tokenizer = template, tokenizer
        self._options, self._grammar, self._continued = template_options, grammar, continue_final
        self._num_given, self._rounds_left = len(messages) - continue_final, max_tool_rounds
        self._stream_calls = stream_calls
        self._parser, self._gate = Parser(tokenizer), StopGate(self.stop)
        self._opening = deque(opening)
        self._begun: list[int] | None = None  # prompt and recited tokens of a reply still to be asked for

    @property
    def thinking(self) -> bool:
        """Whether the reply stands inside its reasoning."""
        return self._parser.in_reasoning

    @property
    def stop_string(self) -> str | None:
        """The one of `stop` that ended the reply."""
        return self._gate.met

    @property
    def new_messages(self) -> tuple[Message, ...]:
        """What this turn has added: replies, tool results, the final answer."""
        return tuple(self.messages[self._num_given :])

    def recite(self) -> list[ChatEvent]:
        """Say what the opening has for the next reply, if anything; `request` then asks for the rest. The reply may be
        over with it, so that nothing is to be asked: tool calls are `pending`, or the turn is `done`.

        Raises RequestError for an opening that goes on where the answer has ended.
        """
        events: list[ChatEvent] = []
        if self._opening:
            self._begun = self._begin()
        while self._opening and self._begun is not None:
            token_id = self._opening.popleft()
            self._begun.append(token_id)
            events += self.feed(TokenEvent(token_id, 0.0, finish_reason=self._ending(token_id)))
            self._begun = self._begun if self.generating else None
        if self._opening and self.done:
            raise RequestError(f"the answer ends {len(self._opening)} tokens before its opening does")
        return events

    def request(self) -> Request:
        """The next thing to ask of the engine; every event of its answer goes to `feed`."""
        assert not self._opening, "recite the opening first"
        ids, self._begun = self._begun or self._begin(), None
        grammar, self._grammar = self._grammar, None
        return Request(tuple(ids), self.params, grammar)

    def _begin(self) -> list[int]:
        """Get ready for a reply; its prompt."""
        assert not (self.pending or self.done or self.generating), (
            "resolve the tool calls, or stop: the turn is done"
        )
        ids = self._template.prompt(
            self.messages, self.tools, continue_final=self._continued, options=self._options
        )
        self._parser = Parser(
            self._tokenizer,
            stop_ids=self._template.stop_ids,
            first_call=sum(len(message.tool_calls) for message in self.messages),
            in_reasoning=self._opens_reasoning(ids),
            stream_calls=self._stream_calls,
        )
        self._gate = StopGate(self.stop)
        self.generating = True
        return ids

    def feed(self, event: TokenEvent) -> list[ChatEvent]:
        """One token of the reply. Once `generating` is False no more are wanted, whatever the engine would
        still say.
        """
        assert self.generating, "the reply is over"
        self.token_ids.append(event.token_id)
        events = self._through_gate(self._parser.feed(event.token_id))
        if event.finish_reason is not None and not self._gate.closed:
            events += self._through_gate(self._parser.finish()) + _text(self._gate.flush())
        if event.finish_reason is None and not self._gate.closed:
            return events
        return [
            *events,
            self._end("stop" if self._gate.closed or event.finish_reason == "stop" else "length"),
        ]

    def resolve(self, results: Sequence[ToolResult]) -> list[ChatEvent]:
        """Answer the pending calls, each with the result of its id; the turn can then go on with
        `request`.
        """
        assert [r.call_id for r in results] == [c.id for c in self.pending], (
            "one result for each pending call, in order"
        )
        answers = [Message("tool", (result,)) for result in results]
        self.messages += answers
        self.pending = ()
        return [MessageDone(answer) for answer in answers]

    def cut_short(self) -> None:
        """End the turn as it stands, for lack of room: its last message may be a tool's result."""
        self.pending, self.generating, self.done, self.finish_reason = (), False, True, "length"

    def _end(self, reason: TurnFinish) -> MessageDone:
        reply = self._parser.message()
        if self._gate.closed:
            reply = Message.assistant(
                self._gate.passed, reasoning=reply.reasoning, tool_calls=reply.tool_calls
            )
        if reply.tool_calls and not self._parser.broke_off:
            reason = "tool_calls" if self._rounds_left > 0 else "tool_limit"
        if reason == "tool_calls":
            self._rounds_left -= 1
            self.pending = reply.tool_calls
        self._add(reply)
        self.generating, self.done, self.finish_reason = False, not self.pending, reason
        return MessageDone(reply, reason)

    def _add(self, reply: Message) -> None:
        if self._continued:
            self.messages.append(_joined(self.messages.pop(), reply))
        else:
            self.messages.append(reply)
        self._continued = False

    def _through_gate(self, deltas: Sequence[Delta]) -> list[ChatEvent]:
        if not self.stop:
            return list(deltas)
        events: list[ChatEvent] = []
        for delta in deltas:
            if self._gate.closed:
                break
            if isinstance(delta, TextDelta):
                events += _text(self._gate.feed(delta.text))
            else:
                events += [*_text(self._gate.flush()), delta]
        return events

    def _ending(self, token_id: int) -> Literal["stop"] | None:
        """What the engine would say of a token: whether it ends the reply."""
        known = () if self.params.ignore_eos else end_ids(self._tokenizer, self._template.stop_ids)
        return "stop" if token_id in known or token_id in self.params.stop_token_ids else None

    def _opens_reasoning(self, ids: Sequence[int]) -> bool:
        """Whether the prompt ends inside <think>, as the templates of some reasoning models make it."""
        names = {token_id: name for name, token_id in self._tokenizer.special_ids.items()}
        return next((names[token_id] for token_id in reversed(ids) if token_id in names), "") == "<think>"


def _check_open(last: Message) -> None:
    """A RequestError for a message that cannot be gone on with."""
    if last.role != "assistant" or last.tool_calls:
        raise RequestError(
            "only an assistant's message without tool calls can be continued; the last message is "
            + ("one with tool calls" if last.tool_calls else f"of the role {last.role!r}")
        )


def _joined(begun: Message, rest: Message) -> Message:
    return Message.assistant(
        begun.text + rest.text, reasoning=begun.reasoning + rest.reasoning, tool_calls=rest.tool_calls
    )


def _text(text: str) -> list[ChatEvent]:
    return [TextDelta(text)] if text else []
