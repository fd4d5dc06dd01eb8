"""Worked examples: a step holds what fits into its time."""

from liaoliao.engine.pace import FIRST_TOKENS, Pace


def test_before_anything_is_measured_it_is_a_guess() -> None:
    assert Pace(2048).tokens_within(0.25) == FIRST_TOKENS
    assert Pace(100).tokens_within(0.25) == 100


def test_it_follows_what_is_measured_within_bounds() -> None:
    pace = Pace(2048)
    pace.observe(num_tokens=200, num_rows=1, seconds=0.1)
    assert pace.tokens_within(0.25) == 500
    pace.observe(num_tokens=200, num_rows=2, seconds=0.2)
    assert pace.tokens_within(0.2) == 300  # the mean of 2000 and 1000 a second
    assert pace.tokens_within(10.0) == 2048
    assert pace.tokens_within(0.001) == 64


def test_a_step_that_only_decodes_says_nothing() -> None:
    pace = Pace(2048)
    pace.observe(num_tokens=64, num_rows=64, seconds=1.0)
    assert pace.tokens_within(0.25) == FIRST_TOKENS
