"""A chat job becomes events: the one place where the server makes a model talk.

Chat completions, responses and Anthropic's messages read their wire form into a `ChatJob`, and write the
events of `reply(served, job)` in their own way:

    ReplyReasoning("2 and 3") ReplyText("5") ReplyDone(message, "stop", Usage(...))

Calls of tools that the client declared come back as `ReplyToolCall`, while they are written, and end the reply with
"tool_calls". Where the client declared none, the model's own tools are run here, between replies and unseen.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias

from liaoliao.chat.turn import ChatEvent, MessageDone, Turn
from liaoliao.engine.request import Grammar, Request, SamplingParams, TokenEvent
from liaoliao.errors import RequestError, TemplateError
from liaoliao.messages import Message, Tool, ToolCall
from liaoliao.server.body import off_loop
from liaoliao.server.constrain import AfterMark, ThinkingBudget, barred
from liaoliao.server.logprobs import Ledger
from liaoliao.server.logprobs import TokenLogprob as TokenLogprob
from liaoliao.server.served import Charge, ServedModel, free_of_charge, refuse_hopeless, refuse_unfit
from liaoliao.text.parse import ReasoningDelta, TextDelta, ToolCallDelta, end_ids

LARGE_CHARS: Final = 4000  # a text of this size takes milliseconds to tokenize
LARGE_MESSAGES: Final = 50  # and so do so many messages, however short they are
_DEFAULT_PARAMS = SamplingParams()

OnToken: TypeAlias = Callable[[int], None]  # is told of a token id


@dataclass(frozen=True, slots=True)
class ChatJob:
    """What is asked of a model. `stop` are strings that end the reply and are no part of it.

    `logprobs` asks for the logprob of every token of the text (and `params.logprobs` alternatives beside
    each). `continue_final`: go on with the last assistant message. `template_options` reach the chat template;
    "enable_thinking" is understood for every model. Without `allow_calls` the model is kept from calling
    tools, its own too; `one_call` ends the reply after its first call. `max_thinking` bounds the tokens of
    its reasoning.

    `opening`: the first tokens of the reply (see Turn), said as if the model had made them; they go with neither
    `grammar` nor `logprobs`, and count for neither `params.max_tokens` nor `max_thinking`.

    `begun`: other answers to the same question were given already, so the engine takes this one however many wait.
    """

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    params: SamplingParams = _DEFAULT_PARAMS
    stop: tuple[str, ...] = ()
    grammar: Grammar | None = None
    continue_final: bool = False
    template_options: Mapping[str, Any] = field(default_factory=dict)
    logprobs: bool = False
    allow_calls: bool = True
    one_call: bool = False
    max_thinking: int | None = None
    opening: tuple[int, ...] = ()
    begun: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens read and made: of the client's own prompt with the opening, and of all replies. `cached_tokens` of the
    prompt came from the prefix cache; `reasoning_tokens` of the completion were thought, not said.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True, slots=True)
class ReplyText:
    """More of the answer. The bytes of all `logprobs` add up to all text, but a token that is not settled yet
    comes with a later piece, whose own text may be empty.
    """

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class ReplyReasoning:
    """More of the thinking."""

    text: str


@dataclass(frozen=True, slots=True)
class ReplyToolCall:
    """A piece of tool call number `index`: first its id and name with no arguments, then its arguments in one
    piece or more, with the same id and name. All pieces together are a JSON object, or, where the call broke off, the
    beginning of one.
    """

    index: int
    id: str
    name: str
    arguments_delta: str


@dataclass(frozen=True, slots=True)
class ReplyDone:
    """The end, always the last event: all that was said as one message, why it ended, what it cost. It ends in
    "tool_calls" only if all of its calls are whole. `stop_string` is the one of the job's that ended it.

    `token_ids` are those of the reply as it was made, from the opening on, without the one that ended it. Where the
    model's own tools were run in between it has made several (`num_rounds`): they stand there one after the other,
    each but the last with its end. As the `opening` of the same job they give the same words again.
    """

    message: Message
    finish_reason: Literal["stop", "length", "tool_calls"]
    usage: Usage
    stop_string: str | None = None
    token_ids: tuple[int, ...] = ()
    num_rounds: int = 1


ReplyEvent: TypeAlias = ReplyText | ReplyReasoning | ReplyToolCall | ReplyDone


def unheard(token_id: int) -> None:
    """Where nobody listens."""


async def reply(
    served: ServedModel, job: ChatJob, *, charge: Charge = free_of_charge, on_token: OnToken = unheard
) -> AsyncGenerator[ReplyEvent, None]:
    """The events of one reply. Closing the generator frees the engine's slot.

    `charge` is told of tokens as they are used (the prompt's with the first of the answer), so that a reply
    which is left half way is paid for, too: `charge_of(request)`. `on_token` is told of each token of the
    reply before the events that it leads to: what becomes `ReplyDone.token_ids`, and the token that ends it.

    Before the first event it may raise RequestError, TemplateError, ContextLengthError (the job is wrong) or
    OverloadedError (the queue is full).
    """
    talk = _Talk(served, job, charge, on_token)
    while not talk.over:
        async with aclosing(_one_reply(talk)) as events:
            async for event in events:
                yield event
        if not talk.over:
            calls = talk.turn.pending
            talk.resolve(await asyncio.gather(*(asyncio.to_thread(served.tools.run, call) for call in calls)))
    yield talk.done()


def prompt_ids(served: ServedModel, job: ChatJob) -> list[int]:
    """The prompt of a job as the engine will read it, for those who count. Raises as `reply` does, but for
    OverloadedError and a prompt that is only a little too long.
    """
    refuse_hopeless(served, num_chars(job.messages))
    options = _template_options(served, job)
    return served.template.prompt(
        list(job.messages), job.tools, continue_final=job.continue_final, options=options
    )


def refuse_misfit(served: ServedModel, job: ChatJob) -> None:
    """Raise what `reply` would raise for the prompt of a job: once, before several replies are made of it."""
    refuse_unfit(served, prompt_ids(served, job))


def is_large(job: ChatJob) -> bool:
    """Whether its prompt takes so long to lay out that it must be done off the event loop."""
    num_messages = len(job.messages)
    return bool(job.tools) or num_messages > LARGE_MESSAGES or num_chars(job.messages) > LARGE_CHARS


def turn_of(served: ServedModel, job: ChatJob) -> Turn:
    """A job as the turn that it makes. Raises RequestError and TemplateError for a job that is wrong."""
    return Turn(
        job.messages, served.template, served.tokenizer, tools=job.tools, params=_params(served, job),
        stop=job.stop, grammar=job.grammar, continue_final=job.continue_final,
        template_options=_template_options(served, job), opening=job.opening, stream_calls=bool(job.tools),
    )  # fmt: skip


async def _one_reply(talk: "_Talk") -> AsyncGenerator[ReplyEvent, None]:
    """From one request to the end of its answer."""
    try:
        if (request := await off_loop(talk.large, talk.request)) is not None:
            async with aclosing(talk.served.engine.stream(request)) as events:
                async for event in events:
                    for out in talk.feed(event):
                        yield out
                    if not talk.turn.generating:
                        return
    except RequestError:
        if talk.num_rounds == 0:
            raise
        talk.turn.cut_short()  # what the tools gave back does not fit the context any more
    for out in talk.take_recited():
        yield out
    if talk.turn.generating:
        raise RequestError("the engine's answer broke off before its end")


class _Talk:
    """One job on its way: its Turn, what has been said, and what it has cost."""

    def __init__(self, served: ServedModel, job: ChatJob, charge: Charge, on_token: OnToken) -> None:
        self.served, self.job, self.charge, self.on_token = served, job, charge, on_token
        _check_opening(served, job)
        refuse_hopeless(served, num_chars(job.messages))
        self.large = is_large(job)
        self.turn = turn_of(served, job)
        self.num_rounds = 0
        self._ledger = Ledger(served.tokenizer) if job.logprobs else None
        self._ends = end_ids(served.tokenizer, served.template.stop_ids)
        self._num_prompt = self._num_cached = self._num_made = self._num_thought = 0
        self._text, self._reasoning = "", ""
        self._calls: list[ToolCall] = []  # as far as they were told
        self._recited: list[ReplyEvent] = []  # what the opening says, to be told with the first token

    @property
    def over(self) -> bool:
        """Whether nothing more will be said."""
        return self.turn.done or bool(self.turn.pending and (self.job.tools or not self.job.allow_calls))

    def request(self) -> Request | None:
        """What to ask of the engine next; None where the opening has said the whole reply."""
        self._recite()
        if self.turn.pending or self.turn.done:
            return None
        request = self.turn.request()
        if self._num_prompt == 0:
            self._num_prompt = len(request.token_ids)
        unasked = self.turn.thinking and not self.job.opening
        if unasked and self.job.template_options.get("enable_thinking") is False:
            raise TemplateError("this model's chat template makes it think before every reply; let it think")
        if self.turn.thinking and request.grammar is not None:
            end = self.served.tokenizer.special_id("</think>")
            after = AfterMark(
                request.grammar, end, self.served.engine.vocab_size, request.params.stop_token_ids
            )
            request = replace(request, grammar=after)
        begun = self.job.begun or self._num_made > 0  # what was said already must not be in vain
        return replace(self._within_budget(request), begun=begun)

    def _recite(self) -> None:
        num_said = len(self.turn.token_ids)
        events = self.turn.recite()
        for token_id in self.turn.token_ids[num_said:]:
            self.on_token(token_id)
        self._recited = [out for event in events for out in self._shown(event)]

    def take_recited(self) -> list[ReplyEvent]:
        """What the opening says, once."""
        recited, self._recited = self._recited, []
        return recited

    def _within_budget(self, request: Request) -> Request:
        """The request with its thoughts bounded, if that is asked for and the model has a mark to end them."""
        marks, most = self.served.tokenizer.special_ids, self.job.max_thinking
        if most is None or not {"<think>", "</think>"} <= marks.keys():
            return request
        bound = ThinkingBudget(
            most - self._num_thought, marks["<think>"], marks["</think>"], self.served.engine.vocab_size,
            opened=self.turn.thinking, rest=request.grammar,
        )  # fmt: skip
        return replace(request, grammar=bound)

    def feed(self, event: TokenEvent) -> Iterator[ReplyEvent]:
        """One token of the answer."""
        was_thinking = self.turn.thinking
        if self._num_made == 0:
            self._num_cached = event.num_cached
            self.charge(self._num_prompt)
        self.charge(1)
        self.on_token(event.token_id)
        yield from self.take_recited()
        outs = self.turn.feed(event)
        if self._ledger is not None and event.token_id not in self._ends:
            self._ledger.add(event)
            if self.turn.thinking != was_thinking:
                self._ledger.silence()
        for out in outs:
            yield from self._shown(out)
        self._num_made += 1
        self._num_thought += was_thinking or self.turn.thinking

    def resolve(self, results: Any) -> None:
        """The model's own tools have answered; the next reply may take what is left of `max_tokens`."""
        self.turn.resolve(results)
        self.num_rounds += 1
        most = self.job.params.max_tokens
        if most is not None and self._num_made >= most:
            self.turn.cut_short()
        elif most is not None:
            self.turn.params = replace(self.turn.params, max_tokens=most - self._num_made)

    def done(self) -> ReplyDone:
        """The last event."""
        usage = Usage(self._num_prompt, self._num_made, self._num_cached, self._num_thought)
        message = Message.assistant(self._text, reasoning=self._reasoning, tool_calls=self._calls)
        made = tuple(self.turn.token_ids)
        said = made[:-1] if made and made[-1] in self._ends else made
        done = ReplyDone(message, "length", usage, None, said, self.num_rounds + 1)
        if self.turn.pending and self.job.tools:
            return replace(done, finish_reason="tool_calls")
        if self.turn.finish_reason == "stop":
            return replace(done, finish_reason="stop", stop_string=self.turn.stop_string)
        return done

    def _shown(self, out: ChatEvent) -> Iterator[ReplyEvent]:
        match out:
            case TextDelta(text):
                self._text += text
                yield ReplyText(text, self._ledger.take(text) if self._ledger else ())
            case ReasoningDelta(text):
                self._reasoning += text
                if self._ledger:
                    self._ledger.skip(text)
                yield ReplyReasoning(text)
            case ToolCallDelta() | MessageDone():
                if self._ledger and (rest := self._ledger.clear()):
                    yield ReplyText("", rest)
                if isinstance(out, ToolCallDelta) and self.job.tools:
                    yield from self._called(out)

    def _called(self, piece: ToolCallDelta) -> Iterator[ReplyToolCall]:
        if piece.index == len(self._calls):
            self._calls.append(ToolCall(piece.id, piece.name, ""))
            yield ReplyToolCall(piece.index, piece.id, piece.name, "")
        if piece.arguments:
            before = self._calls[piece.index]
            self._calls[piece.index] = replace(before, arguments=before.arguments + piece.arguments)
            yield ReplyToolCall(piece.index, piece.id, piece.name, piece.arguments)


def _check_opening(served: ServedModel, job: ChatJob) -> None:
    """A RequestError for an opening that cannot be said."""
    if job.opening and job.logprobs:
        raise RequestError("logprobs cannot be told of an opening, which was not sampled; ask without them")
    if job.opening and max(job.opening) >= served.engine.vocab_size:
        raise RequestError(f"the opening has a token id beyond the vocabulary of {served.engine.vocab_size}")


def _params(served: ServedModel, job: ChatJob) -> SamplingParams:
    """The job's settings, with the marks barred or made to stop that its switches ask for."""
    params, marks = job.params, served.tokenizer.special_ids
    if not job.allow_calls:
        params = barred(params, marks.get("<tool_call>"))
    if job.template_options.get("enable_thinking") is False and not _knows_thinking(served):
        params = barred(params, marks.get("<think>"))
    if job.one_call and "</tool_call>" in marks:
        params = replace(params, stop_token_ids=(*params.stop_token_ids, marks["</tool_call>"]))
    return params


def _template_options(served: ServedModel, job: ChatJob) -> dict[str, Any]:
    """What the template is given: a model whose template has no switch for thinking is switched by `_params`."""
    options = dict(job.template_options)
    if not isinstance(options.get("enable_thinking", True), bool):
        raise RequestError("enable_thinking must be true or false")
    if not _knows_thinking(served):
        options.pop("enable_thinking", None)
    return options


def _knows_thinking(served: ServedModel) -> bool:
    return "enable_thinking" in served.template.option_names


def num_chars(messages: Iterable[Message]) -> int:
    """Characters that have to be rendered, at least."""
    return sum(_length(part) for message in messages for part in message.parts)


def _length(part: object) -> int:
    if isinstance(part, ToolCall):
        return len(part.arguments)
    return len(getattr(part, "text", None) or getattr(part, "output", None) or "")
