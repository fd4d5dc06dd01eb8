"""Where a prompt goes: to who knows it, never to who has too much, and the same from every front."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from liaoliao.engine.runner import BLOCK_SIZE
from liaoliao.server.replicas.routing import HOME_TOKENS, LOAD_TOKENS, Router, bound

IDS = st.lists(st.integers(0, 5), max_size=100).map(tuple)
LOADS = st.dictionaries(st.integers(0, 7), st.integers(0, 20), min_size=1)
COUNTS = st.integers(1, 6)


def even(count: int) -> dict[int, int]:
    return dict.fromkeys(range(count), 0)


def prompt(seed: int, length: int = 200) -> tuple[int, ...]:
    return tuple((seed * 7919 + i * i) % 50_000 for i in range(length))


@given(IDS, LOADS, st.lists(st.tuples(IDS, st.integers(0, 7)), max_size=5))
def test_everyone_who_is_up_is_in_the_order_once(
    ids: tuple[int, ...], loads: dict[int, int], past: list[tuple[tuple[int, ...], int]]
) -> None:
    router = Router()
    for read, replica in past:
        router.sent(read, replica)
    assert sorted(router.order(ids, loads)) == sorted(loads)


def test_nobody_up() -> None:
    assert Router().order((1, 2, 3), {}) == []


@given(st.lists(IDS, min_size=1, max_size=60), COUNTS)
def test_nobody_gets_more_than_his_share_and_a_half(prompts: list[tuple[int, ...]], count: int) -> None:
    router, loads = Router(), even(count)
    for ids in prompts:  # none of them ends
        best = router.order(ids, loads)[0]
        router.sent(ids, best)
        loads[best] += 1
        assert loads[best] <= bound(sum(loads.values()), count)


def test_a_long_prompt_again_and_again_is_read_by_as_few_as_the_bound_allows() -> None:
    router, loads, ids = Router(), even(4), prompt(1, length=4000)
    for _ in range(100):
        best = router.order(ids, loads)[0]
        router.sent(ids, best)
        loads[best] += 1
    assert sorted(loads.values()) == [0, 33, 33, 34]


@given(st.integers(0, 1000), st.integers(BLOCK_SIZE, 300), st.integers(0, 300), COUNTS, st.data())
def test_a_conversation_stays_where_it_was(
    seed: int, first: int, more: int, count: int, data: st.DataObject
) -> None:
    router, text = Router(), prompt(seed, first + more)
    replica = data.draw(st.integers(0, count - 1))
    router.sent(text[:first], replica)
    assert router.order(text, even(count))[0] == replica
    assert router.known(text) == {replica: first // BLOCK_SIZE * BLOCK_SIZE}


def test_it_leaves_when_waiting_costs_more_than_reading() -> None:
    router, ids = Router(), prompt(1, length=10 * LOAD_TOKENS)
    router.sent(ids, 0)
    loads = {0: 9, 1: 0, 2: 30}  # the bound is 20: it is not what decides
    assert router.order(ids, loads)[0] == 0
    loads = {0: 11, 1: 0, 2: 30}
    assert router.order(ids, loads)[0] == 1


def test_of_several_who_know_it_the_idler_one_is_asked() -> None:
    router, system = Router(), prompt(1)
    router.sent(system, 0)
    router.sent(system, 2)
    assert router.order(system + prompt(2), {0: 3, 1: 0, 2: 1, 3: 2})[0] == 2


@given(st.integers(0, 1000), st.integers(1, 300), st.integers(2, 8))
def test_losing_a_replica_moves_nothing_that_was_at_home_elsewhere(
    seed: int, length: int, count: int
) -> None:
    ids = prompt(seed, length)
    home = Router().order(ids, even(count))[0]
    for lost in set(range(count)) - {home}:
        assert Router().order(ids, {i: 0 for i in range(count) if i != lost})[0] == home


def test_the_home_is_the_same_on_every_machine_and_depends_on_the_first_tokens_alone() -> None:
    homes = [Router().order(prompt(seed), even(4))[0] for seed in range(8)]
    assert homes == [2, 2, 0, 1, 1, 0, 2, 3]
    longer = prompt(3)[:HOME_TOKENS] + (1,) * 500
    assert Router().order(longer, even(4))[0] == homes[3]


def test_homes_are_spread_evenly() -> None:
    homes = Counter(Router().order(prompt(seed), even(4))[0] for seed in range(1000))
    assert all(200 <= homes[replica] <= 300 for replica in range(4))


def test_home_is_worth_as_much_as_one_request_less() -> None:
    ids = prompt(5)
    home = Router().order(ids, even(2))[0]
    away = 1 - home
    assert Router().order(ids, {home: 1, away: 0})[0] == home  # equal: the draw decides
    assert Router().order(ids, {home: 2, away: 0})[0] == away


def test_one_that_was_started_anew_has_read_nothing() -> None:
    router, ids = Router(), prompt(1)
    router.sent(ids, 0)
    router.sent(ids[:100], 1)
    router.forget(0)
    assert router.known(ids) == {1: 96}
    router.forget(1)
    assert router.known(ids) == {}


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40))
def test_memory_is_bounded_and_what_was_asked_last_is_in_it(seeds: list[int]) -> None:
    router = Router(capacity=30)
    for seed in seeds:
        router.sent(prompt(seed), 0)  # 12 blocks each
        assert len(router._readers) <= 30
        assert router.known(prompt(seed)) == {0: 192}


def test_memory_forgets_ends_before_beginnings() -> None:
    router = Router(capacity=8)
    router.sent(prompt(1), 0)
    assert router.known(prompt(1)) == {0: 8 * BLOCK_SIZE}


def test_ids_that_no_model_has_are_no_reason_to_fail() -> None:
    ids = (-1, 2**80) * 40
    router = Router()
    router.sent(ids, 1)
    assert router.order(ids, even(2))[0] == 1
