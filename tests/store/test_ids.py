"""Ids: in the order of their making, alike in form, never twice."""

from hypothesis import given
from hypothesis import strategies as st

from liaoliao.store.ids import is_id, new_id

TIMES = st.floats(min_value=0, max_value=2e11)


@given(TIMES, TIMES)
def test_ids_sort_by_the_millisecond_of_their_making(first: float, second: float) -> None:
    earlier, later = sorted((first, second))
    if int(earlier * 1000) < int(later * 1000):
        assert new_id(earlier) < new_id(later)


@given(TIMES)
def test_an_id_holds_its_time_and_is_one(at: float) -> None:
    id = new_id(at)
    assert is_id(id) and len(id) == 26
    digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    assert sum(digits.index(digit) << 5 * place for place, digit in enumerate(id[9::-1])) == int(at * 1000)


def test_a_thousand_of_one_moment_differ() -> None:
    assert len({new_id(1.0) for _ in range(1000)}) == 1000


def test_what_is_no_id() -> None:
    good = new_id()
    for bad in (
        "",
        good[:-1],
        good + "0",
        good.lower(),
        good[:-1] + "U",
        good[:-1] + "\0",
        "Z" * 26,
        good + "\n",
    ):
        assert not is_id(bad)
