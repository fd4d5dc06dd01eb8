"""Clients that leave: before the first token, in mid-reply, politely or not. Nothing of theirs may stay behind.

    python -m tests.long.aborts --aborts 10000

Afterwards the engine holds no request and no block, and answers; and one long reply shows how soon its slot is free
once nobody listens.
"""

import argparse
import asyncio
import random
import time
from collections import Counter
from typing import Any

from tests.long.client import Client, LostError, request_bytes
from tests.long.stand import CONTEXT, NAME, Stand, Verdict, answers, server

GROWTH_BYTES = 50 << 20
FREED_S = 0.25
WORDS = "the cat sat on a mat and two 猫 坐在 垫子 上 你好".split()


def _request(rng: random.Random) -> tuple[str, dict[str, Any]]:
    prompt = " ".join(rng.choices(WORDS, k=rng.randrange(1, 100)))
    body = {"model": NAME, "max_tokens": 200, "stream": rng.random() < 0.8, "n": rng.choice((1, 1, 1, 3))}
    if rng.random() < 0.5:
        return "/v1/completions", {**body, "prompt": prompt}
    return "/v1/chat/completions", {**body, "messages": [{"role": "user", "content": prompt}]}


async def aborts(url: str, count: int, *, num_clients: int = 16, seed: int = 0) -> Counter[str]:
    """Ask and leave so many times; how far the replies had come."""
    left, rng, seen = iter(range(count)), random.Random(seed), Counter[str]()

    async def work() -> None:
        client = Client(url)
        for _ in left:
            path, body = _request(rng)
            raw = request_bytes("POST", path, body)
            if body["stream"] and rng.random() < 0.8:
                try:
                    reply = await client.send(raw, leave_after=rng.randrange(1, 12))
                    seen[f"{reply.status} mid-reply"] += 1
                except LostError:
                    seen["lost"] += 1
            else:
                await _leave_early(url, raw, rng)
                seen["before the reply"] += 1
            client.close(reset=rng.random() < 0.5)

    await asyncio.gather(*(work() for _ in range(num_clients)))
    return seen


async def _leave_early(url: str, raw: bytes, rng: random.Random) -> None:
    """Send the request, or a part of it, and go without having read anything."""
    client = Client(url)
    _, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(raw if rng.random() < 0.7 else raw[: rng.randrange(len(raw))])
    await writer.drain()
    await asyncio.sleep(rng.random() * 0.05)
    if rng.random() < 0.5:
        writer.transport.abort()
    writer.close()


async def freed_after_s(stand: Stand) -> float:
    """Seconds from the moment a client leaves a long reply until the engine says that nothing runs."""
    async with Client(stand.url) as client:
        body = {
            "model": NAME,
            "prompt": "the cat",
            "max_tokens": CONTEXT - 50,
            "stream": True,
            "ignore_eos": True,
        }
        await client.ask("POST", "/v1/completions", body, leave_after=5)
        assert (await stand.figures())["running"] == 1
    left = time.monotonic()
    while (await stand.figures())["running"]:
        assert time.monotonic() - left < 30
    return time.monotonic() - left


async def run(stand: Stand, count: int) -> Verdict:
    """The long run, with its promises."""
    verdict = Verdict()
    begun = await aborts(stand.url, count // 5, seed=1)
    early = stand.rss_bytes()
    seen = begun + await aborts(stand.url, count - count // 5, seed=2)
    print(dict(seen))
    verdict.check(await stand.idle(30), f"{sum(seen.values())} aborts: no request is left, no block is held")
    grown = (stand.rss_bytes() - early) / 2**20
    verdict.check(grown <= GROWTH_BYTES / 2**20, f"memory grew by {grown:.0f} MB")
    times = sorted([await freed_after_s(stand) for _ in range(9)])
    verdict.check(
        times[4] <= FREED_S, f"a slot is free {1000 * times[4]:.0f} ms after its client left (median of 9)"
    )
    verdict.check(await answers(stand.url, stand.model), "it answers")
    return verdict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--aborts", type=int, default=10_000)
    args = parser.parse_args()
    with server("--log-level", "error", "--set", "read_timeout_s=5") as stand:
        verdict = asyncio.run(run(stand, args.aborts))
    verdict.leave()


if __name__ == "__main__":
    main()
