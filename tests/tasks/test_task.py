import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liaoliao.tasks.task import bootstrap_stderr, mean_and_stderr, ratio_and_stderr


def test_mean_of_ones_and_zeros() -> None:
    assert mean_and_stderr([1, 0, 1, 1]) == (0.75, 0.25)  # sqrt(.75 / 3) / sqrt(4)
    assert mean_and_stderr([1.0]) == (1.0, 0.0)


@given(st.lists(st.floats(0, 10), min_size=2, max_size=20), st.floats(0.5, 4))
def test_a_ratio_over_equal_units_is_a_mean(values: list[float], unit: float) -> None:
    mean, stderr = mean_and_stderr(values)
    ratio = ratio_and_stderr(values, [unit] * len(values))
    assert ratio == pytest.approx((mean / unit, stderr / unit), abs=1e-9)


def test_stderrs_agree_with_the_bootstrap() -> None:
    rng = np.random.default_rng(0)
    bottoms = rng.uniform(10, 1000, 300)
    tops = bottoms * rng.normal(2, 0.4, 300)
    _, stderr = ratio_and_stderr(tops, bottoms)
    by_bootstrap = bootstrap_stderr(lambda i: float(tops[i].sum() / bottoms[i].sum()), 300, rounds=2000)
    assert stderr == pytest.approx(by_bootstrap, rel=0.1)
    _, of_mean = mean_and_stderr(tops)
    assert bootstrap_stderr(lambda i: float(tops[i].mean()), 300, rounds=2000) == pytest.approx(
        of_mean, rel=0.1
    )
    assert bootstrap_stderr(lambda i: 1.0, 1) == 0.0
