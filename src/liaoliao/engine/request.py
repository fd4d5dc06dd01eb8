"""What the engine is asked and what it answers: plain values, token ids only.

    Request((5, 6, 7), SamplingParams(max_tokens=2, temperature=0.0))
        ->  TokenEvent(9, -0.2), TokenEvent(4, -0.1, finish_reason="length")
        ->  Completion((9, 4), (-0.2, -0.1), "length")

Text, chat templates and stop strings are the business of `liaoliao.chat`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool

from liaoliao.errors import RequestError

FinishReason = Literal["stop", "length"]
MAX_TOP_LOGPROBS = 100
MAX_PENALTY = 2.0  # of presence and frequency, to either side: OpenAI's bounds
MAX_LOGIT_BIAS = 100.0


@runtime_checkable
class GrammarState(Protocol):
    """How far one reply has come in its grammar."""

    @property
    def done(self) -> bool:
        """Whether the text is complete and nothing may follow."""

    def mask(self) -> Bool[np.ndarray, "V"]:
        """True for each token that may come now; a stop id where the text may end here."""

    def accept(self, token_id: int) -> None:
        """Go on past a token that the mask allowed."""


@runtime_checkable
class Grammar(Protocol):
    """The texts that a reply may be: immutable, so that any number of requests may share it."""

    def start(self) -> GrammarState:
        """The state before the first token."""


@runtime_checkable
class CompiledGrammar(Grammar, Protocol):
    """A grammar that takes time to make. What `for_reply` gives belongs to one reply, which may start it as often as it
    likes (for each of its calls, or after it was interrupted) at no cost.
    """

    def for_reply(self) -> Grammar:
        """Takes as long as compiling: it is not for the thread that steps the engine."""


def for_reply(grammar: Grammar) -> Grammar:
    """The grammar with all made beforehand that one reply needs of it. It may take a second."""
    return grammar.for_reply() if isinstance(grammar, CompiledGrammar) else grammar


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How to choose tokens. The defaults sample the model's own distribution until it stops or its context is
    full.

    The order: logit bias, repetition penalty (prompt and reply), presence and frequency penalty (reply alone, as
    OpenAI has it), grammar mask, temperature, top-k, top-p, min-p. Temperature 0 takes the likeliest token. Equal
    seeds give equal tokens whatever else the engine is doing; None draws a new seed. `logprobs` asks for that many
    alternatives beside each chosen token, whose own logprob is always given; all speak of the bare model, before
    everything in that order. Raises RequestError naming the field that is out of range.
    """

    max_tokens: int | None = None  # None: until the context is full
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0  # 0: off
    min_p: float = 0.0
    repetition_penalty: float = 1.0  # a seen token's logit is divided (if positive) or multiplied by it
    presence_penalty: float = 0.0  # taken from the logit of every token that the reply holds
    frequency_penalty: float = 0.0  # and once more for each time it holds it
    logit_bias: tuple[tuple[int, float], ...] = ()  # (token id, added to its logit)
    seed: int | None = None
    stop_token_ids: tuple[int, ...] = ()
    logprobs: int = 0
    ignore_eos: bool = False  # go on past the eos tokens of the model's config; stop_token_ids still stop

    def __post_init__(self) -> None:
        _whole("max_tokens", self.max_tokens, 1, None, optional=True)
        _number("temperature", self.temperature, 0.0, 100.0)
        _number("top_p", self.top_p, 0.0, 1.0, above=True)
        _whole("top_k", self.top_k, 0, None)
        _number("min_p", self.min_p, 0.0, 1.0)
        _number("repetition_penalty", self.repetition_penalty, 0.01, 100.0)
        _number("presence_penalty", self.presence_penalty, -MAX_PENALTY, MAX_PENALTY)
        _number("frequency_penalty", self.frequency_penalty, -MAX_PENALTY, MAX_PENALTY)
        _biases(self.logit_bias)
        _whole("seed", self.seed, None, None, optional=True)
        _whole("logprobs", self.logprobs, 0, MAX_TOP_LOGPROBS)
        if not isinstance(self.stop_token_ids, tuple):
            raise RequestError(f"stop_token_ids must be a tuple of token ids, got {self.stop_token_ids!r}")
        for token_id in self.stop_token_ids:
            _whole("stop_token_ids", token_id, 0, None)
        if not isinstance(self.ignore_eos, bool):
            raise RequestError(f"ignore_eos must be True or False, got {self.ignore_eos!r}")


def _whole(name: str, value: object, low: int | None, high: int | None, *, optional: bool = False) -> None:
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise RequestError(f"{name} must be a whole number, got {value!r}")
    if (low is not None and value < low) or (high is not None and value > high):
        bounds = f"from {low} to {high}" if high is not None else f"at least {low}"
        raise RequestError(f"{name} must be {bounds}, got {value}")


def _biases(biases: object) -> None:
    """Pairs of a token id and what is added to its logit, each id once."""
    if not isinstance(biases, tuple) or any(not isinstance(b, tuple) or len(b) != 2 for b in biases):
        raise RequestError(f"logit_bias must be a tuple of (token id, bias) pairs, got {biases!r}")
    for token_id, bias in biases:
        _whole("logit_bias", token_id, 0, None)
        _number("logit_bias", bias, -MAX_LOGIT_BIAS, MAX_LOGIT_BIAS)
    if len({token_id for token_id, _ in biases}) < len(biases):
        raise RequestError("logit_bias names a token id twice; give each one bias")


def _number(name: str, value: object, low: float, high: float, *, above: bool = False) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise RequestError(f"{name} must be a number, got {value!r}")
    if value < low or value > high or (above and value == low):
        raise RequestError(f"{name} must be {'above' if above else 'from'} {low:g} to {high:g}, got {value}")


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt and how to go on from it; with a grammar, the reply is one of its texts. `begun`: a part of the same answer
    was given already, so it is taken however many wait.
    """

    token_ids: tuple[int, ...]
    params: SamplingParams = SamplingParams()
    grammar: Grammar | None = None
    begun: bool = False


def check_ids(token_ids: Sequence[int], vocab_size: int) -> None:
    """Raise RequestError for token ids that are not of a vocabulary of this size."""
    if token_ids and not (min(token_ids) >= 0 and max(token_ids) < vocab_size):
        raise RequestError(f"the text has a token id outside of the vocabulary (0 to {vocab_size - 1})")


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """One new token. A token that stops the reply is an event too, with `finish_reason` "stop".

    `top_logprobs` holds (token id, logprob) of the likeliest tokens, best first, as many as were asked for.
    `num_cached` counts the tokens of the prompt that had been read for an earlier request; it is the same in every
    event of a reply.
    """

    token_id: int
    logprob: float
    top_logprobs: tuple[tuple[int, float], ...] = ()
    finish_reason: FinishReason | None = None
    num_cached: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """All of a reply: its tokens (the stopping one included), their logprobs, and why it ended. `num_cached` as
    in TokenEvent.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: FinishReason
    num_cached: int = 0
