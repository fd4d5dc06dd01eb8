"""Many streams at once for a long time: no error, flat memory, and every text what it is on an idle server.

    python -m tests.long.soak --minutes 10 --streams 200

Each of the requests below is first made alone. Then so many clients make them over and over, in an order of their own,
and every reply is compared with the one that was given alone.
"""

import argparse
import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.long.client import Client, LostError, Reply
from tests.long.stand import NAME, Stand, Verdict, server

GROWTH_BYTES = 50 << 20
SAMPLE_S = 1.0
WORDS = "the cat sat on a mat and two 猫 坐在 垫子 上 你好".split()


@dataclass
class Seen:
    """What the clients saw."""

    num_replies: int = 0
    num_tokens: int = 0
    faults: list[str] = field(default_factory=list)
    rss_bytes: list[int] = field(default_factory=list)


def requests(count: int, seed: int) -> list[tuple[str, dict[str, Any]]]:
    """Different prompts, lengths and ways of choosing: greedy, and sampled with a seed."""
    rng = random.Random(seed)
    made = []
    for i in range(count):
        prompt = " ".join(rng.choices(WORDS, k=rng.randrange(1, 80)))
        chosen = {"temperature": 0} if i % 2 else {"temperature": 1.0, "seed": i, "top_p": 0.95}
        body = {"model": NAME, "max_tokens": rng.randrange(8, 64), "stream": True, **chosen}
        if i % 3:
            made.append(("/v1/chat/completions", {**body, "messages": [{"role": "user", "content": prompt}]}))
        else:
            made.append(("/v1/completions", {**body, "prompt": prompt}))
    return made


async def alone(url: str, wanted: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
    """The texts that an idle server gives, twice, since the second time some of it is in the cache."""
    async with Client(url) as client:
        texts = [(await client.ask("POST", *one)).text for one in wanted]
        again = [(await client.ask("POST", *one)).text for one in wanted]
    assert texts == again, "the same request alone is answered in two ways"
    assert len(set(texts)) > len(texts) // 2, "the model says the same to everyone, which proves nothing"
    return texts


async def soak(
    url: str,
    num_streams: int,
    seconds: float,
    wanted: Sequence[tuple[str, dict[str, Any]]],
    texts: Sequence[str],
) -> Seen:
    """Ask from so many clients until the time is over, and compare."""
    seen, end = Seen(), time.monotonic() + seconds

    async def work(number: int) -> None:
        rng = random.Random(number)
        async with Client(url, timeout_s=300) as client:
            while time.monotonic() < end:
                i = rng.randrange(len(wanted))
                try:
                    reply = await client.ask("POST", *wanted[i])
                except LostError as error:
                    seen.faults.append(f"lost: {error}")
                    continue
                _compare(reply, texts[i], seen)

    await asyncio.gather(*(work(number) for number in range(num_streams)))
    return seen


def _compare(reply: Reply, text: str, seen: Seen) -> None:
    seen.num_replies += 1
    seen.num_tokens += len(reply.events)
    if reply.status != 200 or not reply.done:
        seen.faults.append(f"{reply.status}, ended: {reply.done}: {reply.body[:200]!r}")
    elif reply.text != text:
        seen.faults.append(f"{reply.text!r} instead of {text!r}")


async def _watch(stand: Stand, rss_bytes: list[int]) -> None:
    while True:
        rss_bytes.append(stand.rss_bytes())
        await asyncio.sleep(SAMPLE_S)


async def run(stand: Stand, num_streams: int, seconds: float) -> Verdict:
    """The long run, with its promises."""
    verdict, wanted = Verdict(), requests(60, seed=0)
    texts = await alone(stand.url, wanted)
    rss: list[int] = []
    watch = asyncio.create_task(_watch(stand, rss))
    began = time.monotonic()
    seen = await soak(stand.url, num_streams, seconds, wanted, texts)
    took = time.monotonic() - began
    watch.cancel()
    for fault in seen.faults[:10]:
        print(fault)
    print(
        f"{seen.num_replies} replies, {seen.num_tokens / took:.0f} pieces/s from {num_streams} streams in {took:.0f} s"
    )
    verdict.check(not seen.faults, f"no error, every text the same as alone ({len(seen.faults)} faults)")
    first, second = max(rss[: len(rss) // 2]), max(rss[len(rss) // 2 :])
    told = f"memory: {first / 2**20:.0f} MB at most in the first half, {second / 2**20:.0f} MB in the second"
    verdict.check(second <= first + GROWTH_BYTES, told)
    verdict.check(await stand.idle(30), "no request is left, no block is held")
    return verdict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--streams", type=int, default=200)
    args = parser.parse_args()
    with server("--log-level", "error") as stand:
        verdict = asyncio.run(run(stand, args.streams, 60 * args.minutes))
    verdict.leave()


if __name__ == "__main__":
    main()
