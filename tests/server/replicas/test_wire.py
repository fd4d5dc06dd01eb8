"""What travels arrives as it was sent."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liaoliao.errors import CheckpointError, ContextLengthError, LiaoError, OverloadedError, RequestError
from liaoliao.server.failures import ApiError
from liaoliao.server.replicas.wire import Refusal, ReplicaLostError

ERRORS = st.one_of(
    st.builds(RequestError, st.text()),
    st.builds(CheckpointError, st.text()),
    st.builds(OverloadedError, st.text(), retry_after_s=st.floats(0, 60)),
    st.builds(
        ContextLengthError, st.text(), num_tokens=st.integers(0, 10**9), max_length=st.integers(1, 10**9)
    ),
)


@given(ERRORS)
def test_an_error_arrives_as_itself(error: LiaoError) -> None:
    arrived = copy.deepcopy(Refusal.of(error)).error()
    assert (type(arrived), str(arrived), vars(arrived)) == (type(error), str(error), vars(error))


def test_a_lost_replica_is_told_on_as_overload() -> None:
    """Whoever asks over the network has not lost his own replica."""
    assert type(Refusal.of(ReplicaLostError("gone")).error()) is OverloadedError


@pytest.mark.parametrize("error", [RuntimeError("cuda"), KeyError("x"), LiaoError("odd")])
def test_what_the_engine_did_not_mean_is_a_500_that_tells_nothing(error: Exception) -> None:
    refusal = Refusal.of(error)
    assert refusal.message == f"{type(error).__name__}: {error}"  # for the log
    arrived = refusal.error()
    assert isinstance(arrived, ApiError)
    assert arrived.status == 500 and str(error) not in arrived.message
