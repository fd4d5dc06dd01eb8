"""Two replicas for real, on Ray: `make test-replicas`. They say what one engine says; one is killed under load and nothing
is lost; conversations find what was read before; nobody listens beyond loopback and nothing is left behind.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from liaoliao.engine.request import Request, SamplingParams, TokenEvent
from liaoliao.errors import ContextLengthError
from liaoliao.model.checkpoint import save_checkpoint
from liaoliao.model.config import ModelConfig
from liaoliao.model.transformer import Transformer
from liaoliao.server.app import create_app
from liaoliao.server.replicas.front import ReplicatedEngine
from liaoliao.server.replicas.processes import descendants, exposed, listening
from liaoliao.server.replicas.serving import served_replicas
from liaoliao.server.replicas.wire import Report
from liaoliao.server.served import ServedEngine, ServedModel, served_model
from liaoliao.server.settings import Settings
from liaoliao.text.chat_template import ChatTemplate
from liaoliao.text.tokenizer import Tokenizer
from tests.server.plain import running, until

pytestmark = [
    pytest.mark.skipif("REPLICAS_ON_RAY" not in os.environ, reason="make test-replicas"),
    pytest.mark.timeout(600),
]
CONTEXT = 2048
UP_S = 120.0  # for processes that load torch, on a busy machine


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer, template: ChatTemplate) -> Path:
    """A checkpoint of random weights that needs some milliseconds for a token."""
    config = ModelConfig.from_depth(4, tokenizer.vocab_size, max_position_embeddings=CONTEXT)
    model = Transformer(config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.1, generator=generator)
    folder = tmp_path_factory.mktemp("replicated") / "small"
    save_checkpoint(folder, model, tokenizer, template, lineage={}, generation={"temperature": 0.7})
    return folder


@pytest.fixture(scope="module")
def alone(folder: Path) -> Iterator[ServedModel]:
    served = served_model(folder, dtype="fp32")
    yield served
    served.engine.close()


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[ServedModel]:
    began = time.monotonic()
    served = served_replicas(folder, 2, dtype="fp32", max_running=16, on_progress=print)
    print(f"two replicas came up in {time.monotonic() - began:.1f} s")
    yield served
    served.engine.close()


@pytest.fixture(scope="module")
def front(served: ServedModel) -> ReplicatedEngine:
    assert isinstance(served.engine, ReplicatedEngine)
    return served.engine


@pytest.fixture(scope="module")
def urls(served: ServedModel, alone: ServedModel) -> Iterator[tuple[str, str]]:
    """Where the replicas answer, and where one engine does."""
    settings = Settings(port=0)
    with (
        running(create_app(settings, [served]), settings) as many,
        running(create_app(settings, [alone]), settings) as one,
    ):
        yield many, one


async def collect(engine: ServedEngine, request: Request) -> list[TokenEvent]:
    return [event async for event in engine.stream(request)]


def reports(front: ReplicatedEngine) -> list[Report]:
    return [place.replica.report(UP_S) for place in front._places]


def prompt(seed: int, length: int = 40) -> tuple[int, ...]:
    return tuple((seed * 7919 + i * i * (seed + 1)) % 300 for i in range(length))


def test_they_listen_on_loopback_only(served: ServedModel) -> None:
    processes = descendants()
    assert len(processes) >= 5  # Ray's own, and two replicas
    assert listening(processes) and not exposed(processes)


def test_two_processes_say_what_one_engine_says(front: ReplicatedEngine, alone: ServedModel) -> None:
    async def main() -> None:
        requests = [
            Request(prompt(i), SamplingParams(max_tokens=30, seed=i, temperature=0.9 * (i % 2), logprobs=2))
            for i in range(12)
        ]
        own = [await collect(alone.engine, request) for request in requests]
        got = await asyncio.gather(*(collect(front, request) for request in requests))
        assert [[e.token_id for e in events] for events in got] == [
            [e.token_id for e in events] for events in own
        ]
        batch = [list(prompt(i, 20 + i)) for i in range(5)]
        assert await front.score(batch) == await alone.engine.score(batch)
        assert (await front.embed(batch)).equal(await alone.engine.embed(batch))
        with pytest.raises(ContextLengthError) as caught:
            await collect(front, Request((1,) * 5000))
        assert (caught.value.num_tokens, caught.value.max_length) == (5000, CONTEXT)

    asyncio.run(main())
    assert all(report.stats.generated_tokens for report in reports(front))


def test_a_schema_is_kept_to_in_another_process(urls: tuple[str, str]) -> None:
    schema = {"type": "object", "properties": {"a": {"enum": ["yes", "no"]}}, "required": ["a"]}
    form = {
        "type": "json_schema",
        "json_schema": {"name": "x", "schema": {**schema, "additionalProperties": False}},
    }
    for seed in range(4):
        said = _chat(urls[0], [_user("the cat")], response_format=form, seed=seed, max_tokens=60)
        assert json.loads(said["choices"][0]["message"]["content"])["a"] in ("yes", "no")
    bad = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"not": {}}}}
    body = {"model": "small", "messages": [_user("the cat")], "response_format": bad}
    assert httpx.post(f"{urls[0]}/v1/chat/completions", json=body).status_code == 400


def test_a_conversation_finds_what_was_read_before(urls: tuple[str, str]) -> None:
    """As many tokens come from the cache as in a single engine."""
    cached = {url: [turn for seed in range(4) for turn in _converse(url, seed)] for url in urls}
    read = {url: sum(tokens for tokens, _ in turns) for url, turns in cached.items()}
    kept = {url: sum(found for _, found in turns) for url, turns in cached.items()}
    many, one = urls
    print(
        f"cached: {kept[many]} of {read[many]} prompt tokens with two replicas, {kept[one]} with one engine"
    )
    assert read[many] == read[one]
    # A beginning that all have in common is read once by each replica.
    assert kept[many] >= kept[one] - 64 > 0.5 * read[one]


def _converse(url: str, seed: int) -> list[tuple[int, int]]:
    """(prompt tokens, cached among them) of each turn."""
    messages, usages = [_user(f"the cat {seed} sat on the mat, two and three are {seed} 猫坐在垫子上")], []
    for turn in range(4):
        said = _chat(url, messages, seed=seed, max_tokens=40)
        messages += [said["choices"][0]["message"], _user(f"{turn} and the mat {seed}?")]
        messages[-2] = {"role": "assistant", "content": messages[-2]["content"]}
        usage = said["usage"]
        usages.append((usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]))
    return usages


def test_leaving_frees_the_place(front: ReplicatedEngine) -> None:
    """Within two steps beyond what is on its way."""

    async def one(seed: int) -> tuple[int, float]:
        before = sum(report.stats.generated_tokens for report in await asyncio.to_thread(reports, front))
        params = SamplingParams(
            max_tokens=1000, temperature=1.0, seed=seed, ignore_eos=True
        )  # a token a step
        request = Request(prompt(seed), params)
        num_read = 0
        async with aclosing(front.stream(request)) as events:
            async for _ in events:
                num_read += 1
                if num_read == 40:
                    break
        left = time.monotonic()
        while any(report.stats.num_running for report in await asyncio.to_thread(reports, front)):
            await asyncio.sleep(0.001)
        took_ms = 1000 * (time.monotonic() - left)
        after = sum(report.stats.generated_tokens for report in await asyncio.to_thread(reports, front))
        return after - before - num_read, took_ms

    async def main() -> list[tuple[int, float]]:
        return [await one(seed) for seed in range(10)]

    results = asyncio.run(main())
    surplus = sorted(tokens for tokens, _ in results)
    print(f"tokens made beyond those read: median {surplus[5]}, most {surplus[-1]}; "
          f"seen free after {sorted(ms for _, ms in results)[5]:.0f} ms")  # fmt: skip
    assert surplus[5] <= 3  # two steps, and one that was on its way


def test_killing_one_under_load_loses_nothing(front: ReplicatedEngine, urls: tuple[str, str]) -> None:
    """Half of the clients read streams. Texts are those of one engine, also where half of a text was said when its replica
    was killed.
    """
    bodies = [
        {"model": "small", "messages": [_user(f"the cat {i} 猫")], "max_tokens": 100, "ignore_eos": True,
         "seed": i, "temperature": 0.0 if i % 3 else 0.9, "stream": i % 2 == 0}
        for i in range(24)
    ]  # fmt: skip
    began = asyncio.Event()
    counted = front.stats().generated_tokens
    victim = reports(front)[0].pid

    async def main() -> tuple[list[str], list[str], float]:
        async with httpx.AsyncClient(timeout=300, limits=httpx.Limits(max_connections=64)) as client:
            tasks = [asyncio.create_task(_ask(client, urls[0], body, began)) for body in bodies]
            await began.wait()
            await asyncio.sleep(0.3)
            busy = [place.in_hand for place in front._places]
            os.kill(victim, signal.SIGKILL)
            killed = time.monotonic()
            print(f"killed replica 0 (pid {victim}) with {busy} requests in hand")
            assert all(busy)
            many = await asyncio.gather(*tasks)
            took = time.monotonic() - killed
            one = await asyncio.gather(*(_ask(client, urls[1], body, asyncio.Event()) for body in bodies))
            return many, one, took

    many, one, took = asyncio.run(main())
    print(f"all {len(many)} replies were whole {took:.1f} s later, and the same as those of one engine")
    assert many == one
    killed = time.monotonic()
    until(lambda: front.num_up == 2, UP_S)
    print(f"two replicas again {took + time.monotonic() - killed:.1f} s after the kill")
    assert victim not in {report.pid for report in reports(front)}
    assert front.stats().generated_tokens > counted


async def _ask(client: httpx.AsyncClient, url: str, body: dict[str, Any], began: asyncio.Event) -> str:
    """The text of a reply, whole or as a stream; `began` is set at the first word of a stream."""
    path = f"{url}/v1/chat/completions"
    if not body["stream"]:
        response = await client.post(path, json=body)
        assert response.status_code == 200, response.text
        return str(response.json()["choices"][0]["message"]["content"])
    parts, ended = [], False
    async with client.stream("POST", path, json=body) as response:
        assert response.status_code == 200, await response.aread()
        async for line in response.aiter_lines():
            data = line.removeprefix("data: ")
            if data == "[DONE]":
                ended = True
            elif line.startswith("data: "):
                chunk = json.loads(data)
                assert "error" not in chunk, chunk
                parts.append(chunk["choices"][0]["delta"].get("content") or "")
                began.set()
    assert ended
    return "".join(parts)


def test_the_command_serves_drains_and_leaves_nothing_behind(folder: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "liaoliao", "serve", str(folder), "--replicas", "2", "--port", "0", "--no-page",
         "--dtype", "fp32"],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, encoding="utf-8",
    )  # fmt: skip
    assert process.stderr is not None
    lines: list[str] = []
    try:
        for line in process.stderr:
            lines.append(line)
            if line.startswith("ready on "):
                break
        else:
            raise AssertionError("".join(lines))
        url = lines[-1].split()[2]
        started = descendants(process.pid)
        body = {"model": "small", "prompt": "the cat", "max_tokens": 200, "ignore_eos": True, "stream": True}
        with httpx.stream("POST", f"{url}/v1/completions", json=body, timeout=120) as response:
            said = response.iter_lines()
            next(said)
            process.send_signal(signal.SIGTERM)
            signalled = time.monotonic()
            *_, last = [line for line in said if line]
        assert last == "data: [DONE]"
        assert process.wait(60) == 0
        print(f"drained and ended {time.monotonic() - signalled:.1f} s after SIGTERM")
        folders = [line for line in lines if "starting" in line]
        assert folders == ["starting 2 replicas on Ray " + folders[0].split()[-1] + "\n"]
        until(lambda: not (started & _alive()), 20.0)
    finally:
        process.kill()
        process.wait()


def _alive() -> set[int]:
    return {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()}


def test_closing_ends_ray_and_its_folder(served: ServedModel) -> None:
    before = set(Path("/tmp").glob("ll-*"))
    served.engine.close()
    assert not _rays()
    assert len(before - set(Path("/tmp").glob("ll-*"))) == 1


def _rays() -> list[str]:
    """Ray's processes among those that descend from here."""
    names = []
    for pid in descendants():
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        names += [command] if "ray" in command else []
    return names


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def _chat(url: str, messages: list[dict[str, str]], **more: Any) -> dict[str, Any]:
    body = {"model": "small", "messages": messages, **more}
    response = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=120)
    assert response.status_code == 200, response.text
    said: dict[str, Any] = response.json()
    return said
