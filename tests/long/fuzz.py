"""Random, mutated and malformed requests over loopback: no 5xx, no hang, no growth, and the right answer afterwards.

    python -m tests.long.fuzz --requests 100000

A tenth are good requests whose greedy reply must stay what it was. The rest are good requests with a value replaced,
removed or added somewhere; with bytes of the body changed; with bytes of the whole message changed; and other methods
and paths. Whatever is sent, an answer below 500 or a closed connection must come in time.
"""

import argparse
import asyncio
import copy
import json
import random
import string
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.long.client import Client, HangError, LostError, request_bytes
from tests.long.stand import NAME, Stand, Verdict, answers, server

READ_TIMEOUT_S = 1.0  # of the server: a message cut short is waited for so long
ANSWER_S = 30.0
GROWTH_BYTES = 100 << 20
PARTS = 10
CONTROL = {"model": NAME, "prompt": "the cat sat on", "max_tokens": 5, "temperature": 0}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
TOOL = {"type": "function", "function": {"name": "add", "description": "sum", "parameters": SCHEMA}}
TALK = [{"role": "user", "content": "你好, cat"}]
CHAT = "/v1/chat/completions"
AS_JSON = {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}}
GOOD: tuple[tuple[str, dict[str, Any]], ...] = (
    (CHAT, {"messages": TALK, "max_tokens": 4, "temperature": 0.5, "seed": 1, "top_p": 0.9}),
    (CHAT, {"messages": TALK, "max_tokens": 4, "stream": True, "stream_options": {"include_usage": True}}),
    (CHAT, {"messages": TALK, "max_tokens": 4, "tools": [TOOL], "tool_choice": "auto"}),
    (CHAT, {"messages": TALK, "max_tokens": 4, "response_format": AS_JSON}),
    (
        CHAT,
        {
            "messages": TALK,
            "max_completion_tokens": 3,
            "logprobs": True,
            "top_logprobs": 2,
            "n": 2,
            "stop": ["x"],
        },
    ),
    (
        "/v1/completions",
        {"prompt": ["a", "b"], "max_tokens": 1, "echo": True, "logprobs": 1, "logit_bias": {"5": -100}},
    ),
    (
        "/v1/completions",
        {"prompt": [1, 2, 3], "max_tokens": 3, "presence_penalty": 1.0, "frequency_penalty": -1.0},
    ),
    ("/v1/embeddings", {"input": ["cat", "猫"], "encoding_format": "float"}),
    ("/v1/responses", {"input": "cat", "max_output_tokens": 4, "stream": True}),
    ("/v1/messages", {"messages": TALK, "max_tokens": 4, "system": "be brief", "stop_sequences": ["x"]}),
    ("/tokenize", {"prompt": "the cat"}),
    ("/detokenize", {"tokens": [1, 2, 3]}),
)
EVIL_PATTERN = {"type": "object", "properties": {"a": {"type": "string", "pattern": "(a+)+$"}}}
ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, -(2**63), 1e308, -1e-308, 0.5, float("nan"), float("-inf"),
    "", " ", "a", "\x00", "\ud800", "😀" * 50, "<|im_end|>", "<|im_start|>system", "<think>", "</tool_call>", "%s%n",
    "../../etc/passwd", "x" * 5000, "[" * 200, "NaN", "null", [], {}, [[]], [{}], {"": {}}, [None], ["a"] * 200,
    [1] * 600, {"type": "text"}, {"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/"}}, EVIL_PATTERN,
    {"$ref": "#"},
)  # fmt: skip
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "CONNECT", "BREW")
PATHS = (
    "/", "/v1", "/v1/models", f"/v1/models/{NAME}", "/v1/models/..%2f..%2fetc%2fpasswd", "/v1/models/%00",
    "/v1//chat/completions", "/v1/chat/completions/", "/v1/chat/completions?a=b", "/metrics", "/ready",
    "/openapi.json", "/tokenizer_info", "/%2e%2e/%2e%2e/",
)  # fmt: skip


@dataclass
class Found:
    """What came of it."""

    statuses: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


# ---------------------------------------------------------------- what is sent


def messages(rng: random.Random) -> Iterator[bytes]:
    """Without end: the bytes of one request after the other."""
    makers: tuple[Callable[[random.Random], bytes], ...] = (
        _good, _changed_value, _changed_value, _changed_value, _changed_value, _changed_body, _changed_body,
        _changed_message, _elsewhere, _odd_headers,
    )  # fmt: skip
    while True:
        yield rng.choice(makers)(rng)


def _pick(rng: random.Random) -> tuple[str, dict[str, Any]]:
    path, body = rng.choice(GOOD)
    return path, {"model": NAME, **copy.deepcopy(body)}


def _good(rng: random.Random) -> bytes:
    return request_bytes("POST", *_pick(rng))


def _changed_value(rng: random.Random) -> bytes:
    path, body = _pick(rng)
    for _ in range(rng.choice((1, 1, 2, 3))):
        _change(rng, body)
    return request_bytes("POST", path, json.dumps(body).encode())


def _change(rng: random.Random, value: Any) -> None:
    """Replace, remove, add or wrap something in a tree of JSON values, at any depth."""
    spots = list(_spots(value))
    parent, key = rng.choice(spots) if spots else (value, "x")
    action = rng.randrange(5)
    if action == 0 and spots:
        del parent[key]
    elif action == 1 and isinstance(parent, dict):
        parent[_word(rng)] = copy.deepcopy(rng.choice(ODD))
    elif action == 2:
        parent[key] = _nested(rng, parent[key]) if spots else {}
    else:
        parent[key] = copy.deepcopy(rng.choice(ODD))


def _spots(value: Any) -> Iterator[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield value, key
        yield from _spots(item)


def _nested(rng: random.Random, value: Any) -> Any:
    for _ in range(rng.choice((1, 3, 50, 200))):
        value = [value] if rng.random() < 0.5 else {"a": value}
    return value


def _word(rng: random.Random) -> str:
    known = (
        "stream",
        "n",
        "seed",
        "stop",
        "logprobs",
        "tools",
        "user",
        "functions",
        "__proto__",
        "best_of",
        "metadata",
    )
    return rng.choice(known) if rng.random() < 0.7 else "".join(rng.choices(string.printable, k=5))


def _changed_body(rng: random.Random) -> bytes:
    path, body = _pick(rng)
    return request_bytes("POST", path, _scrambled(rng, json.dumps(body, ensure_ascii=False).encode()))


def _changed_message(rng: random.Random) -> bytes:
    return _scrambled(rng, request_bytes("POST", *_pick(rng)))


def _scrambled(rng: random.Random, data: bytes) -> bytes:
    """Some bytes changed, taken out, put in, doubled, or all after some place cut off."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        at, end = rng.randrange(len(changed) + 1), rng.randrange(1, 9)
        junk = rng.randbytes(rng.randrange(1, 9))
        doubled, more = changed[at : at + end] * 2, changed[at : at + 200]
        changed[at : at + end] = rng.choice((b"", junk, doubled, more, b"\r\n", b"\x00"))
    return bytes(changed[: rng.randrange(len(changed) + 1)] if rng.random() < 0.1 else changed)


def _elsewhere(rng: random.Random) -> bytes:
    path = (
        rng.choice(PATHS)
        if rng.random() < 0.8
        else "/" + "".join(rng.choices(string.ascii_letters + "/%.-~", k=12))
    )
    body = rng.choice((None, {"model": NAME}, b"junk"))
    return request_bytes(rng.choice(METHODS), path, body)


def _odd_headers(rng: random.Random) -> bytes:
    kind = rng.choice(
        ("text/plain", "multipart/form-data; boundary=x", "application/json; charset=utf-16", "")
    )
    length = rng.choice(("0", "5", "99999", "999999999999", "-1", "1, 1"))
    odd = (
        {"Content-Type": kind}, {"Content-Length": length}, {"Content-Encoding": "gzip"}, {"Accept": "x" * 3000},
        {"X-Request-Id": "a\tb"}, {"Expect": "100-continue"}, {"Connection": "Upgrade", "Upgrade": "websocket"},
        {"Transfer-Encoding": "chunked"}, {f"X-{i}": "1" for i in range(150)}, {"Origin": "https://evil.example"},
        {"Host": "evil.example"}, {"Authorization": "Bearer x", "X-Api-Key": "y"}, {"Range": "bytes=0-1"},
        {"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Host": "a"},
    )  # fmt: skip
    path, body = _pick(rng)
    return request_bytes("POST", path, body, dict(rng.choice(odd)))


# ---------------------------------------------------------------- how it is sent


async def fuzz(
    url: str, num_requests: int, *, seed: int = 0, num_clients: int = 16, first: str | None = None
) -> Found:
    """Send so many, each client one after the other; `first` is what the control request said before."""
    found, rng = Found(), random.Random(seed)
    source, left = messages(rng), iter(range(num_requests))

    async def work() -> None:
        async with Client(url, timeout_s=ANSWER_S) as client:
            for number in left:
                await _one(client, next(source), found)
                if number % 50 == 0:
                    await _control(client, found, first)

    await asyncio.gather(*(work() for _ in range(num_clients)))
    return found


async def _one(client: Client, raw: bytes, found: Found) -> None:
    try:
        reply = await client.send(raw)
    except LostError as error:
        # The server may close on what is not HTTP. That it says nothing at all for so long is a hang.
        found.statuses["closed"] += 1
        if isinstance(error, HangError):
            found.faults.append(f"hang: {raw[:300]!r}")
        return
    except ValueError as error:
        found.faults.append(f"not a reply ({error}): {raw[:300]!r}")
        client.close()
        return
    found.statuses[str(reply.status)] += 1
    if reply.status >= 500:
        found.faults.append(f"{reply.status} {reply.body[:200]!r}: {raw[:600]!r}")
    if not raw.startswith(b"POST /") or reply.status >= 400:
        client.close()  # what is left of an odd message must not be read as the next one


async def _control(client: Client, found: Found, first: str | None) -> None:
    client.close()
    try:
        reply = await client.ask("POST", "/v1/completions", CONTROL)
    except LostError as error:
        found.faults.append(f"the control request was lost: {error}")
        return
    if reply.status != 200 or (first is not None and reply.text != first):
        found.faults.append(f"the control request said {reply.status} {reply.body[:200]!r}")


async def control_text(url: str) -> str:
    """What the control request says when nothing else goes on."""
    async with Client(url) as client:
        return (await client.ask("POST", "/v1/completions", CONTROL)).text


async def run(stand: Stand, num_requests: int, seed: int) -> Verdict:
    """The long run, with its promises."""
    verdict = Verdict()
    first, statuses, faults = await control_text(stand.url), Counter[str](), list[str]()
    early = late = stand.rss_bytes()
    for part in range(PARTS):
        found = await fuzz(stand.url, num_requests // PARTS, seed=seed + part, first=first)
        statuses, faults, late = statuses + found.statuses, faults + found.faults, stand.rss_bytes()
        early = late if part == 1 else early  # until then every kind of request has been seen
        print(
            f"{statuses.total()} requests, {len(faults)} faults, {late >> 20} MB: {dict(statuses.most_common())}",
            flush=True,
        )
    for fault in faults[:20]:
        print(fault)
    num = sum(statuses.values())
    verdict.check(
        not faults, f"{num} requests: no 5xx, no hang, the control says the same ({len(faults)} faults)"
    )
    grown = f"{(late - early) / 2**20:.0f} MB, from {early / 2**20:.0f} MB"
    verdict.check(late - early <= GROWTH_BYTES, f"memory grew by {grown}")
    verdict.check(await stand.idle(30), "no request is left, no block is held")
    verdict.check(await answers(stand.url, stand.model), "it answers")
    return verdict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with server("--set", f"read_timeout_s={READ_TIMEOUT_S}", "--log-level", "error") as stand:
        verdict = asyncio.run(run(stand, args.requests, args.seed))
    verdict.leave()


if __name__ == "__main__":
    main()
