"""Drafts equal those of a search through every earlier place; a repetition is drafted in full; time is constant; those that
do not come true pause.
"""

import time

from hypothesis import given
from hypothesis import strategies as st

from liaoliao.engine.speculate import MAX_NGRAM, MAX_TRIED, MIN_NGRAM, MIN_TALLY, PAUSE, Drafter, NgramIndex

token_lists = st.lists(st.integers(0, 3), max_size=120) | st.lists(st.integers(0, 2**31 - 1), max_size=30)


def searched(token_ids: list[int], max_tokens: int) -> list[int]:
    """The same by brute force: compare the end with every earlier place, then copy token by token."""

    def match(place: int) -> int:
        lengths = range(1, min(MAX_NGRAM, place + 1) + 1)
        return max(
            n for n in lengths if token_ids[place - n + 1 : place + 1] == token_ids[len(token_ids) - n :]
        )

    places = [p for p in range(len(token_ids) - 2, -1, -1) if token_ids[p] == token_ids[-1]][:MAX_TRIED]
    best = max(places, key=match, default=None)  # the first of equals is the latest
    if best is None or match(best) < MIN_NGRAM:
        return []
    copy = list(token_ids)
    for i in range(max_tokens):
        copy.append(copy[best + 1 + i])
    return copy[len(token_ids) :]


@given(token_lists, st.integers(0, 12))
def test_drafts_equal_a_search_through_all_places(token_ids: list[int], max_tokens: int) -> None:
    assert NgramIndex(token_ids).draft(max_tokens) == searched(token_ids, max_tokens)


@given(token_lists, token_lists)
def test_growing_equals_building_anew(prompt: list[int], reply: list[int]) -> None:
    index = NgramIndex(prompt)
    for i, token_id in enumerate(reply):
        index.extend(token_id)
        assert index.draft(5) == NgramIndex(prompt + reply[: i + 1]).draft(5)
    assert len(index) == len(prompt) + len(reply)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(3, 6), st.integers(1, 20))
def test_a_repetition_goes_on(unit: list[int], times: int, max_tokens: int) -> None:
    told = unit * times
    assert NgramIndex(told).draft(max_tokens) == [unit[i % len(unit)] for i in range(max_tokens)]


def test_the_longest_match_wins_over_the_latest() -> None:
    assert NgramIndex([1, 2, 3, 8, 2, 3, 9, 1, 2, 3]).draft(1) == [8]
    assert NgramIndex([7, 3, 8, 7, 3, 9, 7, 3]).draft(2) == [9, 7]
    assert NgramIndex([3, 8, 3]).draft(4) == []  # one token alone foretells nothing


def test_a_draft_takes_no_longer_in_a_long_sequence() -> None:
    def seconds(length: int) -> float:
        index = NgramIndex([5, 5, 5, 6] * (length // 4))
        began = time.process_time()
        for _ in range(50):
            index.extend(9)  # so that no match is ever long
            index.extend(5)
            index.draft(8)
        return time.process_time() - began

    short = min(seconds(2_000) for _ in range(3))
    assert min(seconds(40_000) for _ in range(3)) < 5 * short


# ---------------------------------------------------------------- whether they pay


@given(token_lists, token_lists, st.integers(0, 12))
def test_while_they_pay_drafts_are_those_of_the_index(
    prompt: list[int], reply: list[int], max_tokens: int
) -> None:
    drafter = Drafter(prompt)
    for token_id in reply:
        drafter.extend(token_id)
        drafter.tally(4, 1)
    assert drafter.draft(max_tokens) == NgramIndex(prompt + reply).draft(max_tokens)


def tokens_until_drafts(drafter: Drafter, told: list[int]) -> int:
    """How many tokens of an endless 1 2 3 are said before there are drafts again."""
    told_before = len(told)
    while not drafter.draft(1):
        told.append(1 + len(told) % 3)
        drafter.extend(told[-1])
    return len(told) - told_before


def test_drafts_that_do_not_come_true_pause_and_are_tried_again() -> None:
    told = [1, 2, 3] * 2
    drafter = Drafter(told)
    drafter.tally(MIN_TALLY - 1, 0)
    assert tokens_until_drafts(drafter, told) == 0  # too few to judge by
    drafter.tally(1, 0)
    assert drafter.draft(4) == []
    assert tokens_until_drafts(drafter, told) == PAUSE
    assert drafter.draft(4) == [1 + (len(told) + i) % 3 for i in range(4)]
    drafter.tally(MIN_TALLY - 1, 0)  # those from before the pause are forgotten
    assert tokens_until_drafts(drafter, told) == 0
    drafter.tally(8, 0)
    assert tokens_until_drafts(drafter, told) == PAUSE


def test_a_quarter_is_enough_and_what_came_true_is_remembered() -> None:
    told = [1, 2, 3] * 2
    drafter = Drafter(told)
    drafter.tally(MIN_TALLY, MIN_TALLY // 4)
    assert tokens_until_drafts(drafter, told) == 0
    drafter.tally(40, 40)
    drafter.tally(100, 0)
    assert tokens_until_drafts(drafter, told) == 0
    drafter.tally(100, 0)
    assert tokens_until_drafts(drafter, told) == PAUSE
