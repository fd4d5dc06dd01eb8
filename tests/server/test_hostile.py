"""Short versions of what tests/long does for minutes, and what a hostile client may cost the others."""

import asyncio
import random
import socket
import time
from collections.abc import Iterator

import pytest

from liaoliao.engine.async_engine import AsyncEngine
from liaoliao.engine.engine import Engine
from liaoliao.server.app import create_app
from liaoliao.server.served import ServedModel
from liaoliao.server.settings import Settings
from tests.engine.fake_runner import FakeRunner
from tests.long.aborts import aborts
from tests.long.client import Client, Reply, request_bytes
from tests.long.fuzz import control_text, fuzz
from tests.long.soak import alone, requests, soak
from tests.server.plain import WAIT_S, connect, read_reply, running, until

STEP_S = 0.05


@pytest.fixture(scope="module")
def url(tiny: ServedModel) -> Iterator[str]:
    """A real tiny model called "tiny", on loopback."""
    settings = Settings(port=0, read_timeout_s=0.3)
    with running(create_app(settings, [tiny]), settings) as url:
        yield url


def test_mutated_requests_get_an_answer_below_500(url: str) -> None:
    async def go() -> None:
        found = await fuzz(url, 300, first=await control_text(url))
        assert not found.faults, "\n".join(found.faults[:5])
        assert found.statuses["200"] > 20
        assert found.statuses["400"] > 100

    asyncio.run(go())


def test_many_streams_say_what_each_says_alone(url: str) -> None:
    async def go() -> None:
        wanted = requests(8, seed=1)
        texts = await alone(url, wanted)
        seen = await soak(url, 24, 1.0, wanted, texts)
        assert not seen.faults, "\n".join(seen.faults[:5])
        assert seen.num_replies >= 24

    asyncio.run(go())


def test_clients_that_leave_leave_nothing_behind(url: str, tiny: ServedModel) -> None:
    seen = asyncio.run(aborts(url, 120))
    assert seen.total() == 120
    assert isinstance(tiny.engine, AsyncEngine)
    engine = tiny.engine
    until(lambda: not (engine.stats().num_running or engine.stats().num_waiting))
    until(lambda: engine.stats().num_free_blocks == engine.stats().num_blocks)


# A model of which a token takes STEP_S


class Slow:
    """The engine, its runner, and the app's URL."""

    def __init__(self, url: str, engine: AsyncEngine, runner: FakeRunner) -> None:
        self.url, self.engine, self.runner = url, engine, runner

    @property
    def num_steps(self) -> int:
        return len(self.runner.steps)

    @property
    def num_open(self) -> int:
        stats = self.engine.stats()
        return stats.num_running + stats.num_waiting


@pytest.fixture(scope="module")
def slow(served: ServedModel) -> Iterator[Slow]:
    size = served.tokenizer.vocab_size
    runner = FakeRunner(num_blocks=256, vocab_size=size, max_length=512, delay_s=STEP_S)
    engine = AsyncEngine(Engine(runner, max_running=2), max_waiting=2)
    model = ServedModel(
        "slow", 1, served.tokenizer, served.template, engine, served.grammars, served.tools, {}, 512
    )
    settings = Settings(port=0, max_waiting=2)
    with running(create_app(settings, [model]), settings) as url:
        yield Slow(url, engine, runner)
    engine.close()


def ask_for(num_tokens: int, *, stream: bool) -> bytes:
    body = {
        "model": "slow",
        "prompt": "the cat",
        "max_tokens": num_tokens,
        "ignore_eos": True,
        "stream": stream,
    }
    return request_bytes("POST", "/v1/completions", body)


def leaving(slow: Slow, *, stream: bool) -> socket.socket:
    """A client that asks for much and whose reply has begun."""
    before = slow.num_steps
    connection = connect(slow.url)
    connection.sendall(ask_for(400, stream=stream))
    until(lambda: slow.num_steps >= before + 4)
    return connection


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("reset", [True, False])
def test_a_slot_is_free_two_steps_after_its_client_left(slow: Slow, stream: bool, reset: bool) -> None:
    connection = leaving(slow, stream=stream)
    assert slow.engine.stats().num_running == 1
    if reset:  # what the other side of a killed process does
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    at = slow.num_steps
    connection.close()
    until(lambda: slow.engine.stats().num_running == 0)
    assert slow.num_steps - at <= 2
    assert slow.engine.stats().num_free_blocks == slow.engine.stats().num_blocks


def test_a_client_that_leaves_the_queue_is_not_waited_for(slow: Slow) -> None:
    running_ones = [leaving(slow, stream=True) for _ in range(2)]
    waiting = connect(slow.url)
    waiting.sendall(ask_for(400, stream=True))
    until(lambda: slow.engine.stats().num_waiting == 1)
    waiting.close()
    until(lambda: slow.engine.stats().num_waiting == 0)
    for connection in running_ones:
        connection.close()
    until(lambda: slow.engine.stats().num_running == 0)


def test_a_full_queue_is_told_before_anything_is_read(slow: Slow) -> None:
    held: list[socket.socket] = []
    for _ in range(4):
        held.append(connect(slow.url))
        held[-1].sendall(ask_for(400, stream=True))
        until(lambda: slow.num_open == len(held))
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
    with connect(slow.url) as connection:
        connection.sendall(head)  # and nothing of the body
        reply = read_reply(connection)
    assert b" 503 " in reply
    assert b"retry-after: 1" in reply
    for connection in held:
        connection.close()
    until(lambda: slow.num_open == 0)


def test_too_many_at_once_are_refused_with_a_time_and_the_others_are_served(slow: Slow) -> None:
    async def go() -> list[Reply]:
        async def one() -> Reply:
            async with Client(slow.url) as client:
                return await client.send(ask_for(5, stream=True))

        return await asyncio.gather(*(one() for _ in range(12)))

    replies = asyncio.run(go())
    statuses = sorted(reply.status for reply in replies)
    assert statuses.count(200) >= 4
    assert set(statuses) == {200, 503}
    for reply in replies:
        if reply.status == 503:
            assert int(reply.headers["retry-after"]) >= 1
            assert reply.json["error"]["code"] == "overloaded"
        else:
            assert reply.done


def test_a_huge_prompt_delays_nobody(url: str) -> None:
    words = " ".join(random.Random(0).choices(("cat", "mat", "坐在", "two"), k=1_000_000))
    huge = request_bytes("POST", "/v1/completions", {"model": "tiny", "prompt": words, "max_tokens": 1})
    nested = request_bytes("POST", "/v1/completions", b'{"model":' + b"[" * 4_000_000)
    small = {"model": "tiny", "prompt": "the cat", "max_tokens": 2}

    async def go() -> float:
        async with Client(url) as first, Client(url) as second, Client(url) as other:
            hostile = [asyncio.create_task(first.send(huge)), asyncio.create_task(second.send(nested))]
            worst = 0.0
            while not all(task.done() for task in hostile):
                began = time.monotonic()
                assert (await other.ask("POST", "/v1/completions", small)).status == 200
                worst = max(worst, time.monotonic() - began)
                assert time.monotonic() - began < WAIT_S
            assert [(await task).status for task in hostile] == [400, 400]
            return worst

    assert asyncio.run(go()) < 2
