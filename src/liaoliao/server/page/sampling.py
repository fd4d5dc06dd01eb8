"""How a conversation is carried on: its settings, as the page gives them and as the engine takes them.

    settings = TalkSettings.model_validate({"system": "Be brief.", "temperature": 0.2})
    sampling(settings, served)   ->  {"temperature": 0.2, "top_p": 1.0, ..., "stop": []}     # kept with each answer
    params_of(...)               ->  SamplingParams(temperature=0.2, ...)

What is not set comes from the checkpoint (`served.defaults`), as for the routes of /v1.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any, Final

from pydantic import Field, ValidationError

from liaoliao.chat.persona import MAX_TEXT_CHARS
from liaoliao.engine.request import SamplingParams
from liaoliao.server.failures import ApiError
from liaoliao.server.openai import StopString, Wire
from liaoliao.server.served import ServedModel

_LEAST_TOP_P: Final = 1e-6
_OTHER_TEMPERATURE: Final = 0.7  # of a second answer beside one that always takes the likeliest token
_SAMPLED: Final = (
    "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty",
    "max_tokens", "seed",
)  # fmt: skip


class TalkSettings(Wire):
    """The settings of a conversation; null is "not set". `thinking` is for models that can be told whether to."""

    system: Annotated[str, Field(max_length=MAX_TEXT_CHARS)] | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    top_k: int | None = Field(default=None, ge=0, le=2**31 - 1, description="0: off")
    min_p: float | None = Field(default=None, ge=0, le=1)
    repetition_penalty: float | None = Field(default=None, gt=0, le=100)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    max_tokens: int | None = Field(default=None, ge=1, le=2**31 - 1)
    seed: int | None = Field(default=None, ge=-(2**62), le=2**62)
    stop: Annotated[list[StopString], Field(max_length=16)] | None = None
    thinking: bool | None = None


def read_settings(stored: Mapping[str, Any]) -> TalkSettings:
    """The settings that are stored with a conversation, which may have been imported.

    Raises ApiError 400 naming the first that makes no sense.
    """
    try:
        return TalkSettings.model_validate(dict(stored))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"])) or "settings"
        raise ApiError(
            f"The settings of this conversation cannot be used: {name[:80]}: {first['msg']}. Set them anew.",
            param=f"settings.{name[:80]}", code="invalid_value",
        ) from error  # fmt: skip


def sampling(
    settings: TalkSettings, served: ServedModel, *, number: int = 0, other: bool = False
) -> dict[str, Any]:
    """All that decides how tokens are chosen, ready to be kept as JSON.

    `number`: the answers that the same message has already, so that a fixed seed gives each its own words; `other`: the
    second of two answers that are made to be compared, which must not be the same.
    """
    wanted = settings.model_dump(include=set(_SAMPLED), exclude_none=True)
    given = {name: served.defaults[name] for name in _SAMPLED if name in served.defaults} | wanted
    defaults = {field.name: field.default for field in fields(SamplingParams) if field.name in _SAMPLED}
    chosen = {**defaults, **given}
    chosen["top_p"] = max(float(chosen["top_p"]), _LEAST_TOP_P)
    if settings.seed is not None:
        chosen["seed"] = settings.seed + number
    if other:
        chosen["temperature"] = max(float(chosen["temperature"]), _OTHER_TEMPERATURE)
    return {**chosen, "stop": list(settings.stop or ()), "thinking": settings.thinking}


def params_of(sampled: Mapping[str, Any]) -> SamplingParams:
    """What `sampling` made, as the engine takes it. Raises RequestError for what it does not take."""
    return SamplingParams(**{name: sampled[name] for name in _SAMPLED if name in sampled})
