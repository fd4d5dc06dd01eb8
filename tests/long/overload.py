"""Ten times more requests than the server can answer: it refuses in time what it cannot do, and does the rest as fast.

    python -m tests.long.overload --seconds 30

First the peak: as many clients as the batch has places, each asking again as soon as it has its reply. Then requests
arrive at ten times that rate, whether answered or not. Then they stop, and we look how soon a reply comes as it did
before. Goodput is the tokens of whole replies; the load is made on the same machine, so some of its cores go to it.
"""

import argparse
import asyncio
import random
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.long.client import Client, LostError
from tests.long.stand import NAME, Stand, Verdict, server

TIMES = 10
KEPT = 0.8
RECOVERED_S = 15.0
RUNNING, WAITING, TOKENS = 32, 64, 100
REFUSALS = (429, 503)


@dataclass
class Load:
    """What came back."""

    num_tokens: int = 0
    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    refused_s: list[float] = field(default_factory=list)

    @property
    def tokens_per_s(self) -> float:
        return self.num_tokens / self.seconds

    @property
    def replies_per_s(self) -> float:
        return self.statuses[200] / self.seconds


def _body(rng: random.Random) -> dict[str, Any]:
    prompt = " ".join(rng.choices(("cat", "mat", "two", "猫", "five"), k=10))
    return {"model": NAME, "prompt": prompt, "max_tokens": TOKENS, "ignore_eos": True, "stream": True}


async def _one(client: Client, rng: random.Random, load: Load, end: float) -> None:
    """One request. A reply counts as far as it came within the time of the load."""
    try:
        reply = await client.ask("POST", "/v1/completions", _body(rng))
    except LostError as error:
        load.faults.append(str(error))
        return
    load.statuses[reply.status] += 1
    if reply.status == 200 and reply.done:
        load.num_tokens += TOKENS if time.monotonic() <= end else 0
    elif reply.status in REFUSALS and "retry-after" in reply.headers:
        load.refused_s.append(reply.seconds)
    else:
        load.faults.append(f"{reply.status} {dict(reply.headers)} {reply.body[:200]!r}")


async def closed_loop(url: str, num_clients: int, seconds: float) -> Load:
    """Each client asks again once it has its reply."""
    load, end = Load(seconds=seconds), time.monotonic() + seconds

    async def work(number: int) -> None:
        async with Client(url) as client:
            while time.monotonic() < end:
                await _one(client, random.Random(number), load, end)

    await asyncio.gather(*(work(number) for number in range(num_clients)))
    return load


async def open_loop(url: str, per_s: float, seconds: float) -> Load:
    """Requests arrive at a rate, whatever becomes of them."""
    load, rng, began = Load(seconds=seconds), random.Random(0), time.monotonic()
    free: list[Client] = []
    tasks: set[asyncio.Task[None]] = set()

    async def arrive() -> None:
        client = free.pop() if free else Client(url, timeout_s=120)
        await _one(client, rng, load, began + seconds)
        free.append(client)

    num = 0
    while time.monotonic() - began < seconds:
        due = int((time.monotonic() - began) * per_s) - num
        for _ in range(due):
            task = asyncio.create_task(arrive())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        num += due
        await asyncio.sleep(0.01)
    await asyncio.gather(*tasks)
    for client in free:
        client.close()
    print(f"offered {num / seconds:.1f} requests/s, {num} in all")
    return load


async def latency_s(url: str) -> float:
    """How long one request takes now; infinite where it is refused."""
    async with Client(url) as client:
        reply = await client.ask("POST", "/v1/completions", _body(random.Random(1)))
        return reply.seconds if reply.status == 200 else float("inf")


async def recovered_after_s(url: str, usual_s: float) -> float:
    """Seconds until a reply takes at most twice as long as usual."""
    began = time.monotonic()
    while time.monotonic() - began < 4 * RECOVERED_S:
        if await latency_s(url) <= 2 * usual_s + 0.2:
            return time.monotonic() - began
        await asyncio.sleep(0.2)
    return float("inf")


async def run(stand: Stand, seconds: float) -> Verdict:
    """Peak, overload, recovery, with their promises."""
    verdict = Verdict()
    await closed_loop(stand.url, RUNNING, min(5.0, seconds))
    usual_s = statistics.median([await latency_s(stand.url) for _ in range(5)])
    peak = await closed_loop(stand.url, RUNNING, seconds)
    print(f"peak {peak.tokens_per_s:.0f} tokens/s, {peak.replies_per_s:.1f} replies/s; alone {usual_s:.2f} s")
    much = await open_loop(stand.url, TIMES * peak.replies_per_s, seconds)
    back_s = await recovered_after_s(stand.url, usual_s)
    print(f"overloaded: {dict(much.statuses)}, {much.tokens_per_s:.0f} tokens/s")
    for fault in much.faults[:10]:
        print(fault)
    verdict.check(
        not peak.faults and not much.faults,
        f"refusals are 429 or 503 with Retry-After ({len(much.faults)} faults)",
    )
    verdict.check(len(much.refused_s) > much.statuses[200], f"{len(much.refused_s)} were refused")
    share = much.tokens_per_s / peak.tokens_per_s
    verdict.check(share >= KEPT, f"goodput is {share:.0%} of the peak's")
    verdict.check(back_s <= RECOVERED_S, f"as fast as before after {back_s:.1f} s")
    verdict.check(await stand.idle(30), "no request is left, no block is held")
    return verdict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--depth", type=int, default=8, help="layers of the model: what a token costs")
    args = parser.parse_args()
    flags = ("--max-running", str(RUNNING), "--max-waiting", str(WAITING), "--log-level", "error")
    with server(*flags, depth=args.depth) as stand:
        verdict = asyncio.run(run(stand, args.seconds))
    verdict.leave()


if __name__ == "__main__":
    main()
