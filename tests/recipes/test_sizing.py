"""What fits a time: more of it never makes a smaller model, and the speed is that of real steps."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liaoliao.model.config import ModelConfig
from liaoliao.recipes import sizing
from liaoliao.recipes.sizing import DEPTHS, SMALL_DEPTH, Fit, best_fit, fit_of, measure_pace
from liaoliao.recipes.stage import StageConfig

paces, times = st.floats(1.0, 1e7), st.floats(0.0, 1e6)


@given(pace=paces, seconds=times, more=st.floats(1.0, 100.0))
def test_more_time_or_a_faster_machine_never_makes_a_smaller_model(
    pace: float, seconds: float, more: float
) -> None:
    before = best_fit(pace, vocab_size=4096, seconds=seconds)
    longer, faster = (
        best_fit(p, vocab_size=4096, seconds=s) for p, s in ((pace, seconds * more), (pace * more, seconds))
    )
    assert longer.depth >= before.depth and faster.depth >= before.depth


@given(pace=paces, seconds=times)
def test_the_model_is_the_deepest_that_reads_enough(pace: float, seconds: float) -> None:
    chosen = best_fit(pace, vocab_size=4096, seconds=seconds)
    fits = [fit_of(depth, pace, vocab_size=4096, seconds=seconds) for depth in DEPTHS]
    enough = [fit.depth for fit in fits if fit.reads_enough]
    assert chosen.depth == max(enough, default=min(DEPTHS))
    assert [fit.num_tokens for fit in fits] == sorted((fit.num_tokens for fit in fits), reverse=True)


def test_a_model_beyond_the_small_one_must_read_more_for_each_parameter() -> None:
    small, large = (Fit(depth, 3e6, 10**6) for depth in (SMALL_DEPTH, SMALL_DEPTH + 1))
    assert small.reads_enough and not large.reads_enough
    assert not Fit(SMALL_DEPTH, 1.8e6, 10**6).reads_enough and Fit(SMALL_DEPTH + 1, 5e6, 10**6).reads_enough


def test_a_machine_of_known_speed() -> None:
    """13,000 tokens a second at depth 4: ten minutes are for depth 3, thirty for depth 4."""
    ten, thirty = (best_fit(13e3, vocab_size=4096, seconds=seconds) for seconds in (560.0, 1700.0))
    assert (ten.depth, thirty.depth) == (3, 4)
    assert thirty.num_tokens == pytest.approx(0.95 * 13e3 * 1700)
    assert ten.num_tokens > 0.95 * 13e3 * 560
    assert thirty.num_parameters == ModelConfig.from_depth(4, 4096).num_parameters(embeddings=False)


def test_the_pace_is_that_of_real_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizing, "PROBE_DEPTH", 1)
    stage = StageConfig("pretrain", {}, row_length=64, tokens_per_step=512, tokens_per_microbatch=256)
    began = time.perf_counter()
    pace = measure_pace(stage, vocab_size=300, document_length=30, num_steps=3)
    least = 512 * 3 / (time.perf_counter() - began)  # all steps, and all that is made for them
    assert pace > least


def test_made_up_rows_are_packed_like_real_ones() -> None:
    stage = StageConfig("pretrain", {}, row_length=64, tokens_per_step=512, tokens_per_microbatch=256)
    step = sizing._made_up_rows(stage, 300, 30)
    assert sum(batch.num_tokens for batch in step) == 512
    batch = step[0]
    assert batch.segment_ids[0].bincount().tolist() == [0, 30, 30, 4]
    assert batch.positions.max() == 29
    assert (batch.loss_weights == 0).equal(batch.positions == 0)
