"""What the engine is asked and what it answers: plain values, token ids only.

    Request((5, 6, 7), SamplingParams(max_tokens=2, temperature=0.0))
        ->  TokenEvent(9, -0.2), TokenEvent(4, -0.1, finish_reason="length")
        ->  Completion((9, 4), (-0.2, -0.1), "length")

Text, chat templates and stop strings are the business of `liaoliao.chat`.
"""

import math
from dataclasses import dataclass
from typing import Literal

from liaoliao.errors import RequestError

FinishReason = Literal["stop", "length"]
MAX_TOP_LOGPROBS = 100


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How to choose tokens. The defaults sample the model's own distribution until it stops or its context is
    full.

    The order is that of `transformers`: repetition penalty, temperature, top-k, top-p, min-p. Temperature 0
    takes the likeliest token. Equal seeds give equal tokens whatever else the engine is doing; None draws a
    new seed. `logprobs` asks for that many alternatives beside each chosen token, whose own logprob is always
    given; all speak of the model itself, before penalty, temperature and filters. Raises RequestError naming
    the field that is out of range.
    """

    max_tokens: int | None = None  # None: until the context is full
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0  # 0: off
    min_p: float = 0.0
    repetition_penalty: float = 1.0
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
        _number("repetition_penalty", self.repetition_penalty, 0.0, 100.0, above=True)
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


def _number(name: str, value: object, low: float, high: float, *, above: bool = False) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise RequestError(f"{name} must be a number, got {value!r}")
    if value < low or value > high or (above and value == low):
        raise RequestError(f"{name} must be {'above' if above else 'from'} {low:g} to {high:g}, got {value}")


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt and how to go on from it."""

    token_ids: tuple[int, ...]
    params: SamplingParams = SamplingParams()


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """One new token. A token that stops the reply is an event too, with `finish_reason` "stop".

    `top_logprobs` holds (token id, logprob) of the likeliest tokens, best first, as many as were asked for.
    """

    token_id: int
    logprob: float
    top_logprobs: tuple[tuple[int, float], ...] = ()
    finish_reason: FinishReason | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """All of a reply: its tokens (the stopping one included), their logprobs, and why it ended."""

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: FinishReason
