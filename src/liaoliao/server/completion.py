"""Raw text goes on: token ids in, pieces of text out. The way of completions, beside that of `reply` for chats.

    async for event in complete(served, TextJob((5, 6, 7))):  ReplyText(" sat") ... TextDone("stop", usage)

There is no template and nothing is hidden: special tokens that the model writes are shown by their names. A
token that ends the text is no part of it, but is among the logprobs: whoever scores counts on one entry for
each token that was made.
"""

import codecs
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from liaoliao.chat.stop import StopGate
from liaoliao.engine.request import Request, SamplingParams, TokenEvent
from liaoliao.errors import RequestError
from liaoliao.server.logprobs import Ledger, TokenLogprob, alternatives, spell, token_name
from liaoliao.server.reply import ReplyText, Usage
from liaoliao.server.served import Charge, ServedModel, free_of_charge
from liaoliao.text.tokenizer import Tokenizer

_DEFAULT_PARAMS = SamplingParams()


@dataclass(frozen=True, slots=True)
class TextJob:
    """A text to go on with; the rest as in ChatJob."""

    token_ids: tuple[int, ...]
    params: SamplingParams = _DEFAULT_PARAMS
    stop: tuple[str, ...] = ()
    logprobs: bool = False
    begun: bool = False


@dataclass(frozen=True, slots=True)
class TextDone:
    """The end. `logprob` is the mean over the tokens made, by which `best_of` chooses."""

    finish_reason: Literal["stop", "length"]
    usage: Usage
    logprob: float


TextEvent: TypeAlias = ReplyText | TextDone


async def complete(
    served: ServedModel, job: TextJob, *, charge: Charge = free_of_charge, prompt_paid: bool = False
) -> AsyncGenerator[TextEvent, None]:
    """The events of one continuation; closing the generator frees the engine's slot. Raises as `reply` does.

    `charge` is told of the prompt with the first token, unless it is paid.
    """
    ends = () if job.params.ignore_eos else end_ids(served)
    params = replace(job.params, stop_token_ids=(*job.params.stop_token_ids, *ends))
    writer = _Writer(served, job, params.stop_token_ids)
    request = Request(job.token_ids, params, begun=job.begun)
    async with aclosing(served.engine.stream(request)) as events:
        async for event in events:
            charge(1 if writer.num_made or prompt_paid else 1 + len(job.token_ids))
            for out in writer.feed(event):
                yield out
            if writer.over:
                return
    raise RequestError("the engine's answer broke off before its end")


def end_ids(served: ServedModel) -> tuple[int, ...]:
    """The tokens at which a text ends: those of a reply, and the one between documents."""
    return tuple({*served.template.stop_ids, served.tokenizer.end_of_text_id})


class _Writer:
    """Tokens into text."""

    def __init__(self, served: ServedModel, job: TextJob, stop_ids: tuple[int, ...]) -> None:
        self.job, self.stop_ids = job, frozenset(stop_ids)
        self.num_made = self.num_cached = 0
        self.over = False
        self._tokenizer: Tokenizer = served.tokenizer
        self._special = frozenset(served.tokenizer.special_ids.values())
        self._ledger = Ledger(served.tokenizer) if job.logprobs else None
        self._gate = StopGate(job.stop)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._logprob = 0.0

    def feed(self, event: TokenEvent) -> Iterator[TextEvent]:
        self.num_made += 1
        self.num_cached = event.num_cached
        self._logprob += event.logprob
        ends = event.finish_reason == "stop" and event.token_id in self.stop_ids
        text = "" if ends else self._decode(event)
        last = event.finish_reason is not None
        text = self._gate.feed(text + (self._decoder.decode(b"", final=True) if last else ""))
        if last and not self._gate.closed:
            text += self._gate.flush()
        self.over = last or self._gate.closed
        tokens = (*self._tokens(text), *([self._end(event)] if ends and self.job.logprobs else ()))
        if text or tokens:
            yield ReplyText(text, tokens)
        if self.over:
            yield self._done(event)

    def _decode(self, event: TokenEvent) -> str:
        if self._ledger is not None:
            self._ledger.add(event)
        spelled = spell(self._tokenizer, event.token_id)
        before = self._decoder.decode(b"", final=True) if event.token_id in self._special else ""
        return before + self._decoder.decode(spelled)

    def _tokens(self, text: str) -> tuple[TokenLogprob, ...]:
        if self._ledger is None:
            return ()
        return self._ledger.take(text) + (self._ledger.clear() if self.over else ())

    def _end(self, event: TokenEvent) -> TokenLogprob:
        name = token_name(spell(self._tokenizer, event.token_id))
        return TokenLogprob(name, b"", event.logprob, alternatives(self._tokenizer, event))

    def _done(self, event: TokenEvent) -> TextDone:
        usage = Usage(len(self.job.token_ids), self.num_made, self.num_cached)
        reason: Literal["stop", "length"] = "length" if event.finish_reason == "length" else "stop"
        if self._gate.closed:
            reason = "stop"
        return TextDone(reason, usage, self._logprob / self.num_made)
