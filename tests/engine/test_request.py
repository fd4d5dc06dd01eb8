"""Refusals of sampling parameters name the field; defaults are the model's own distribution."""

import math
from typing import Any

import pytest

from liaoliao.engine.request import Request, SamplingParams
from liaoliao.errors import RequestError


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_tokens", 0), ("temperature", -0.1), ("temperature", math.nan), ("top_p", 0.0), ("top_p", 1.1),
        ("top_k", -1), ("min_p", 2.0), ("repetition_penalty", 0.0), ("logprobs", 101), ("logprobs", True),
        ("stop_token_ids", (-1,)),
        ("presence_penalty", 2.1), ("presence_penalty", -2.1), ("frequency_penalty", math.inf),
        ("logit_bias", ((-1, 2.0),)), ("logit_bias", ((1, 101.0),)),
        ("logit_bias", ((1, math.nan),)), ("logit_bias", ((1, 2.0), (1, 3.0))),
    ],
)  # fmt: skip
def test_a_bad_parameter_is_named(field: str, value: Any) -> None:
    with pytest.raises(RequestError, match=field):
        SamplingParams(**{field: value})


@pytest.mark.parametrize(
    "settings",
    [
        {"presence_penalty": 2.0, "frequency_penalty": -2.0},
        {"logit_bias": ((0, -100.0), (5, 100.0))},
        {"temperature": 0.0, "top_p": 1.0, "seed": -1},
        {},
    ],
)
def test_bounds_are_allowed(settings: dict[str, Any]) -> None:
    params = SamplingParams(**settings)
    assert all(getattr(params, name) == value for name, value in settings.items())


def test_a_request_is_a_value() -> None:
    assert Request((1, 2)) == Request((1, 2), SamplingParams(), None)
    assert {Request((1, 2)), Request((1, 2))} == {Request((1, 2))}
