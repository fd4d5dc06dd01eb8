"""Attempts to log in: how many, for whom, and that nobody locks another out."""

import asyncio

import pytest

from liaoliao.server.failures import ApiError
from liaoliao.server.page.throttle import Attempts, network_of


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def tried(attempts: Attempts, name: str, address: str, *, good: bool = False) -> bool:
    """Whether an attempt is allowed."""

    async def go() -> None:
        async with attempts.at(name, address) as attempt:
            if good:
                attempt.succeeded()

    try:
        asyncio.run(go())
    except ApiError as error:
        assert error.status == 429 and int(error.headers["retry-after"]) >= 1
        return False
    return True


def num_tries(attempts: Attempts, name: str, address: str, most: int = 200) -> int:
    return next(i for i in range(most) if not tried(attempts, name, address))


def test_a_name_can_be_tried_ten_times_and_then_slowly_wherever_from() -> None:
    clock = Clock()
    attempts = Attempts(clock=clock)
    addresses = iter(f"192.0.2.{i}" for i in range(250))
    assert sum(tried(attempts, "Anna", next(addresses)) for _ in range(30)) == 10
    clock.now += 24 * 3600
    assert num_tries(attempts, "ａｎｎａ", "198.51.100.1") == 10, "it never holds more than ten"
    spent = 0
    for _ in range(24 * 60):
        clock.now += 60
        spent += tried(attempts, "ANNA", next(addresses, "203.0.113.9"))
    assert spent == 720


def test_an_address_can_try_so_many_names() -> None:
    attempts = Attempts(clock=Clock())
    assert sum(tried(attempts, f"name{i}", "192.0.2.1") for i in range(100)) == 50
    assert tried(attempts, "anna", "192.0.2.2")


def test_the_right_password_costs_nothing() -> None:
    attempts = Attempts(clock=Clock())
    assert all(tried(attempts, "anna", "192.0.2.1", good=True) for _ in range(200))
    assert num_tries(attempts, "anna", "192.0.2.1") == 10


def test_a_stranger_does_not_lock_out_who_has_been_here() -> None:
    attempts = Attempts(clock=Clock())
    assert tried(attempts, "anna", "192.0.2.1", good=True)
    assert num_tries(attempts, "anna", "203.0.113.7") == 10
    assert not tried(attempts, "anna", "203.0.113.8")
    assert num_tries(attempts, "anna", "192.0.2.1") == 10, "a measure of its own, which ends too"


def test_many_at_once_are_no_way_around() -> None:
    attempts = Attempts(clock=Clock())
    inside, most, refused = 0, 0, 0

    async def one() -> None:
        nonlocal inside, most, refused
        try:
            async with attempts.at("anna", "192.0.2.1"):
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0.001)
                inside -= 1
        except ApiError:
            refused += 1

    async def all_of_them() -> None:
        await asyncio.gather(*(one() for _ in range(100)))

    asyncio.run(all_of_them())
    assert (most, refused) == (2, 90)


def test_who_fails_inside_gives_the_place_back_but_not_the_attempt() -> None:
    attempts = Attempts(clock=Clock())

    async def breaks() -> None:
        async with attempts.at("anna", "192.0.2.1"):
            raise RuntimeError

    for _ in range(10):
        with pytest.raises(RuntimeError):
            asyncio.run(breaks())
    assert not tried(attempts, "anna", "192.0.2.1")
    assert tried(attempts, "berta", "192.0.2.1")


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("liaoliao.server.page.throttle._MAX_KEPT", 100)
    clock = Clock()
    attempts = Attempts(clock=clock)
    for i in range(1000):
        clock.now += 10
        tried(attempts, f"name{i}", f"192.0.{i % 250}.1", good=i % 3 == 0)
    assert len(attempts._measures) <= 101 and len(attempts._known) <= 100


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1"), ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8:0:0:ffff::9", "2001:db8::/64"), ("fe80::1%eth0", "fe80::/64"), ("testclient", "testclient"),
    ],
)  # fmt: skip
def test_one_customer_is_one_sender(address: str, network: str) -> None:
    assert network_of(address) == network
