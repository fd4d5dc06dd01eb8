"""Allowances: never more than the measure, told in OpenAI's headers, with a time after which it works again."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liaoliao.server.auth import make_key
from liaoliao.server.failures import ApiError
from liaoliao.server.limits import Allowance, Bucket, Limit
from liaoliao.server.settings import ApiKey, Settings
from tests.server.plain import ask, plain_app


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@settings(max_examples=30)
@given(
    st.integers(1, 100),
    st.lists(st.tuples(st.floats(0, 30), st.floats(0, 5)), max_size=40),
)
def test_a_bucket_gives_its_measure_and_no_more(per_minute: int, steps: list[tuple[float, float]]) -> None:
    clock = Clock()
    bucket = Bucket(per_minute, clock)
    given_out = 0.0
    for pause_s, amount in steps:
        clock.now += pause_s
        if bucket.wait_s(amount) == 0:
            bucket.take(amount)
            given_out += amount
        assert bucket.level <= per_minute
    assert given_out <= per_minute * (1 + (clock.now - 100.0) / 60) + 1e-6


@settings(max_examples=30)
@given(st.integers(1, 1000), st.floats(0, 5000))
def test_the_wait_that_is_told_is_enough_and_not_too_long(per_minute: int, used: float) -> None:
    clock = Clock()
    bucket = Bucket(per_minute, clock)
    bucket.take(used)
    wait_s = bucket.wait_s()
    if wait_s > 1e-3:
        clock.now += wait_s - 1e-3
        assert bucket.wait_s() > 0
        clock.now += 2e-3
    assert bucket.wait_s() == 0
    clock.now += bucket.reset_s() + 1e-6
    assert bucket.level == per_minute


def allowance(clock: Clock, key: ApiKey | None = None, **limits: int) -> Allowance:
    return Allowance(key, Settings(**limits), clock)  # type: ignore[arg-type]


def test_tokens_are_paid_for_afterwards_and_a_debt_has_to_be_paid_back() -> None:
    clock = Clock()
    mine = allowance(clock, tokens_per_minute=60)
    mine.admit()
    mine.spend(90)
    with pytest.raises(ApiError) as refused:
        mine.admit()
    assert refused.value.status == 429
    assert refused.value.headers["retry-after"] == "31"
    clock.now += 31
    mine.admit()


def test_a_keys_own_limits_come_before_the_servers() -> None:
    _, key = make_key("anna", requests_per_minute=1)
    mine = allowance(Clock(), key, requests_per_minute=100, max_concurrent=5)
    assert mine.requests and mine.requests.per_minute == 1
    assert mine.max_concurrent == 5
    assert mine.tokens is None


def test_requests_per_minute() -> None:
    app = plain_app(Settings(requests_per_minute=2))
    first, second, third = (ask(app, "/echo", method="POST", content=b"hi") for _ in range(3))
    assert [first.status_code, second.status_code, third.status_code] == [200, 200, 429]
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert [r.headers["x-ratelimit-remaining-requests"] for r in (first, second, third)] == ["1", "0", "0"]
    assert 29 < float(first.headers["x-ratelimit-reset-requests"].removesuffix("s")) <= 30
    assert third.json()["error"]["type"] == "rate_limit_error"
    assert third.json()["error"]["code"] == "rate_limit_exceeded"
    assert 1 <= int(third.headers["retry-after"]) <= 30
    assert ask(app, "/health").status_code == 200


def test_tokens_that_a_route_reports_are_counted() -> None:
    app = plain_app(Settings(tokens_per_minute=100))
    said = ask(app, "/echo", method="POST", content=b"x" * 130)
    assert said.headers["x-ratelimit-remaining-tokens"] == "0"
    refused = ask(app, "/echo", method="POST", content=b"x")
    assert refused.status_code == 429
    assert "100 tokens per minute" in refused.json()["error"]["message"]


def test_one_key_does_not_spend_anothers() -> None:
    (anna_key, anna), (berta_key, berta) = make_key("anna"), make_key("berta", requests_per_minute=3)
    app = plain_app(Settings(api_keys=(anna, berta), requests_per_minute=1))

    def status(key: str) -> int:
        return ask(app, "/echo", method="POST", headers={"x-api-key": key}).status_code

    assert [status(anna_key), status(anna_key)] == [200, 429]
    assert [status(berta_key) for _ in range(4)] == [200, 200, 200, 429]
    assert status("wrong") == 401


def test_requests_at_once_are_counted_out_whatever_ends_them() -> None:
    gate = asyncio.Event()
    answers: list[Any] = []

    async def waits(scope: object, receive: object, send: object) -> None:
        await gate.wait()
        raise RuntimeError("the end")

    async def go() -> None:
        limit = Limit(waits, Settings(max_concurrent=2))
        scope = {"type": "http", "path": "/v1/x", "method": "GET", "headers": []}

        async def send(message: object) -> None:
            answers.append(message)

        async def one() -> None:
            await limit({**scope}, None, send)  # type: ignore[arg-type]

        running = [asyncio.create_task(one()) for _ in range(2)]
        await asyncio.sleep(0)
        await one()
        assert answers[0]["status"] == 429
        assert dict(answers[0]["headers"])[b"retry-after"] == b"1"
        running[0].cancel()
        await asyncio.gather(running[0], return_exceptions=True)
        running.append(asyncio.create_task(one()))
        await asyncio.sleep(0)
        gate.set()
        ends = await asyncio.gather(*running, return_exceptions=True)
        assert [type(end) for end in ends] == [asyncio.CancelledError, RuntimeError, RuntimeError]
        assert limit._allowance(None).num_running == 0

    asyncio.run(go())


def test_a_key_made_anew_under_an_old_name_begins_with_a_full_measure() -> None:
    limit = Limit(lambda scope, receive, send: asyncio.sleep(0), Settings(requests_per_minute=1))
    _, first = make_key("anna")
    _, second = make_key("anna")
    limit._allowance(first).admit()
    limit._allowance(second).admit()
    assert len(limit._allowances) == 1
