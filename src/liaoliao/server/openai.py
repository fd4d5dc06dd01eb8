"""OpenAI's wire forms, what its chat and completion requests share: strict fields in, usage and ids out.

    {"model": "m", "temperature": 3}  ->  400 "Invalid value for 'temperature': ... less than or equal to 2"
    {"model": "m", "audio": {...}}    ->  400 "Invalid value for 'audio': this server makes text only"

Nothing is accepted and ignored but what says nothing to the model (`user`, `metadata` and their like): a field
that we do not know, or a value that we cannot honour, is refused by its name.
"""

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from liaoliao.engine.request import SamplingParams
from liaoliao.server.failures import ApiError
from liaoliao.server.reply import Usage
from liaoliao.server.served import ServedModel

MAX_CHOICES = 128
AT_ONCE = 32  # choices of one HTTP request that the engine sees at a time
_LEAST_TOP_P = 1e-6
_OF_MODEL = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
)  # a checkpoint has its own defaults


class Wire(BaseModel):
    """A request, or a part of one: no unknown names, no numbers in strings."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Echo(Wire):
    """A part that clients send back as they got it, with names that hold nothing ("refusal": null)."""

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        known = cls.model_fields.keys()
        return {n: value for n, value in data.items() if n in known or value not in (None, [], {}, "")}


def only(*allowed: object, why: str) -> BeforeValidator:
    """A check for fields of which we can honour but one value, or none: others are refused with the reason."""

    def check(value: object) -> object:
        if value is None or any(value == one and type(value) is type(one) for one in allowed):
            return value
        raise ValueError(why)

    return BeforeValidator(check)


StopString: TypeAlias = Annotated[str, Field(min_length=1, max_length=500)]
TokenId: TypeAlias = Annotated[int, Field(ge=0, le=2**31 - 1)]
TokenKey: TypeAlias = Annotated[str, Field(pattern=r"^[0-9]{1,9}$")]
Bias: TypeAlias = Annotated[float, Field(ge=-100, le=100)]
Label: TypeAlias = Annotated[str, Field(max_length=512)]


class StreamOptions(Wire):
    """What a stream tells besides its text."""

    include_usage: bool | None = None
    include_obfuscation: Annotated[Literal[False] | None, only(False, why="streams are not padded here")] = (
        None
    )


class Sampling(Wire):
    """How tokens are chosen, and other things that chat and completions have in common."""

    model: str = Field(description="The id of a served model, see /v1/models.")
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = Field(None, ge=1, le=MAX_CHOICES)
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    stop: StopString | Annotated[list[StopString], Field(max_length=16)] | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    logit_bias: Annotated[dict[TokenKey, Bias], Field(max_length=4096)] | None = None
    # beyond OpenAI's
    top_k: int | None = Field(None, ge=-1, le=2**31 - 1, description="0 or -1: off")
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = Field(None, gt=0, le=100)
    stop_token_ids: Annotated[list[TokenId], Field(max_length=128)] | None = None
    ignore_eos: bool | None = Field(None, description="Go on past the end of a reply, to measure speed.")
    # what says nothing to the model
    user: Label | None = Field(None, description="Accepted; it has no effect.")

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """All strings to stop at."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with what it cost."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def check_stream(self) -> None:
        """ApiError for stream options without a stream."""
        if self.stream_options is not None and not self.stream:
            raise ApiError(
                "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
                param="stream_options",
            )


def sampling_params(
    wire: Sampling, served: ServedModel, *, max_tokens: int | None, logprobs: int
) -> SamplingParams:
    """The engine's settings: the request's own, then the checkpoint's, then OpenAI's defaults."""
    given = {name: served.defaults[name] for name in _OF_MODEL if name in served.defaults}
    given |= {name: value for name in _OF_MODEL if (value := getattr(wire, name)) is not None}
    return SamplingParams(
        temperature=float(given.get("temperature", 1.0)),
        top_p=max(float(given.get("top_p", 1.0)), _LEAST_TOP_P),
        top_k=max(0, int(given.get("top_k", 0))),
        min_p=float(given.get("min_p", 0.0)),
        repetition_penalty=float(given.get("repetition_penalty", 1.0)),
        max_tokens=max_tokens,
        presence_penalty=wire.presence_penalty or 0.0,
        frequency_penalty=wire.frequency_penalty or 0.0,
        logit_bias=_biases(wire.logit_bias or {}, served),
        seed=wire.seed,
        stop_token_ids=tuple(wire.stop_token_ids or ()),
        logprobs=logprobs,
        ignore_eos=bool(wire.ignore_eos),
    )


def _biases(biases: Mapping[str, float], served: ServedModel) -> tuple[tuple[int, float], ...]:
    by_id = {int(key): float(bias) for key, bias in biases.items()}
    foreign = next((token_id for token_id in by_id if token_id >= served.engine.vocab_size), None)
    if foreign is not None:
        raise ApiError(
            f"Invalid value for 'logit_bias': {foreign} is not in the vocabulary of {served.engine.vocab_size}",
            param="logit_bias",
        )
    return tuple(by_id.items())


def seeded(params: SamplingParams, index: int) -> SamplingParams:
    """The settings of choice number `index`: other words than its siblings', but the same ones every time."""
    return params if params.seed is None or not index else replace(params, seed=params.seed + index)


@dataclass(frozen=True, slots=True)
class Head:
    """What every chunk of a response has in common."""

    id: str
    created: int
    model: str
    system_fingerprint: str

    def of(self, kind: str, **fields: Any) -> dict[str, Any]:
        """A response object of this kind."""
        return {
            "id": self.id, "object": kind, "created": self.created, "model": self.model,
            "system_fingerprint": self.system_fingerprint, **fields,
        }  # fmt: skip


def new_head(prefix: str, served: ServedModel) -> Head:
    """A fresh id under which a response is known."""
    version = served.engine.stats().version
    return Head(
        f"{prefix}-{uuid.uuid4().hex}", int(time.time()), served.id, f"fp_{version or served.created}"
    )


def usage_wire(usages: Sequence[Usage], *, num_choices: int) -> dict[str, Any]:
    """OpenAI's usage; each prompt has `num_choices` usages, one after the other, and is counted once."""
    prompts = usages[::num_choices]
    prompt = sum(usage.prompt_tokens for usage in prompts)
    completion = sum(usage.completion_tokens for usage in usages)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": sum(usage.cached_tokens for usage in prompts)},
        "completion_tokens_details": {"reasoning_tokens": sum(usage.reasoning_tokens for usage in usages)},
    }
