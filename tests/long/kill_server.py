"""kill -9 of the server in the middle of its writing, a hundred rounds on each database: no acknowledged message is
lost, and every restart is soon.

    python -m tests.long.kill_server                         both databases, 100 rounds each: a quarter of an hour
    python -m tests.long.kill_server --rounds 10 --database sqlite
    python -m tests.long.kill_server --store                 the store alone, without a server: ten minutes

A round starts the real server with a tiny model, looks for everything that earlier rounds were promised, lets three
people talk with it, and kills it at a moment of chance. A promise is a reply with status 201 to a message, and an answer
that was seen to be finished. Answers that were being made must be there and marked as interrupted. PostgreSQL is one of
our own, with fsync on. `--store` kills a process that does nothing but write, which hits the middle of a write more often.
"""

import argparse
import asyncio
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.long.client import Client, LostError
from tests.long.stand import make_model, ready_url
from tests.store.killing import Survived, kill_round
from tests.store.postgres import missing, postgres_server

DATABASES = ("sqlite", "postgresql")
RESTART_S = 10.0
_PEOPLE = 3
_FRESH_EVERY = 10  # rounds in one database: what is looked at grows with each


@dataclass
class Promised:
    """What the server has acknowledged so far, over its lives."""

    talks: set[str] = field(default_factory=set)
    said: dict[str, str] = field(default_factory=dict)  # message -> its text
    answers: set[str] = field(default_factory=set)  # answers that were begun
    finished: dict[str, str] = field(default_factory=dict)  # answer -> its text
    num_interrupted: int = 0
    slowest_s: float = 0.0

    def __str__(self) -> str:
        return (
            f"{len(self.said)} messages and {len(self.finished)} finished answers, none lost; "
            f"{self.num_interrupted} answers interrupted; slowest restart {self.slowest_s:.1f} s"
        )


def server_round(model: Path, url: str, promised: Promised, after_s: float) -> None:
    """One life of the server. Raises AssertionError naming a promise that was not kept."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "server.log"
        command = [sys.executable, "-m", "liaoliao", "serve", str(model), "--port", "0", "--database", url]
        began = time.monotonic()
        with log.open("w", encoding="utf-8") as out:
            process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        try:
            address = ready_url(process, log)
            if promised.talks:  # the first start is no restart: it compiles the CPU's kernels
                promised.slowest_s = max(promised.slowest_s, time.monotonic() - began)
            asyncio.run(_live_and_die(process, address, promised, after_s))
        finally:
            process.kill()
            process.wait()


async def _live_and_die(
    process: "subprocess.Popen[bytes]", address: str, promised: Promised, after_s: float
) -> None:
    await _look(address, promised)
    people = [asyncio.create_task(_talk(address, promised)) for _ in range(_PEOPLE)]
    await asyncio.sleep(after_s)
    process.kill()
    ended = await asyncio.gather(*people, return_exceptions=True)
    for error in ended:
        assert isinstance(error, LostError), f"a conversation ended with {error!r}"


async def _look(address: str, promised: Promised) -> None:
    """Everything that was promised is there."""
    found: dict[str, Any] = {}
    async with Client(address) as client:
        for talk in promised.talks:
            reply = await client.ask("GET", f"/api/conversations/{talk}")
            assert reply.status == 200, f"conversation {talk} was acknowledged and is lost"
            found |= {message["id"]: message for message in reply.json["messages"]}
    for id, text in (promised.said | promised.finished).items():
        assert id in found and found[id]["text"] == text, f"message {id} was acknowledged and is lost"
    for id in promised.answers:
        assert id in found, f"answer {id} was acknowledged and is lost"
        assert found[id]["status"] != "running", f"answer {id} of a dead server counts as running"
    promised.num_interrupted = sum(message["status"] == "interrupted" for message in found.values())


async def _talk(address: str, promised: Promised) -> None:
    """A person who says one thing after the other, until the server is gone (LostError)."""
    async with Client(address) as client:
        talk = await _post(client, "/api/conversations", {"settings": {"max_tokens": 24}})
        promised.talks.add(talk["id"])
        number = 0
        while True:
            number += 1
            text = f"message {number}"
            body = {"text": text, "parent_id": None}
            told = await _post(client, f"/api/conversations/{talk['id']}/messages", body)
            promised.said[told["user"]["id"]] = text
            answer = told["answers"][0]
            promised.answers.add(answer["id"])
            while answer["status"] == "running":
                await asyncio.sleep(0.01)
                answer = (await client.ask("GET", f"/api/messages/{answer['id']}")).json
            promised.finished[answer["id"]] = answer["text"]


async def _post(client: Client, path: str, body: Any) -> Any:
    reply = await client.ask("POST", path, body)
    assert reply.status == 201, f"{path}: {reply.status} {reply.body[:500]!r}"
    return reply.json


@contextmanager
def database(kind: str) -> Iterator[str]:
    """The address of a fresh database of this kind."""
    if kind == "postgresql":
        with postgres_server(fsync=True) as url:
            yield url
        return
    with tempfile.TemporaryDirectory(prefix="liaoliao-kill-") as folder:
        yield f"sqlite:///{Path(folder)}/store.db"


def kill_servers(kind: str, count: int, chance: random.Random) -> str:
    """So many lives of servers on one database; what came of it."""
    with ExitStack() as stack:
        model = make_model(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        url = stack.enter_context(database(kind))
        promised = Promised()
        for _ in range(count):
            server_round(model, url, promised, chance.uniform(0.05, 1.0))
        server_round(model, url, promised, 0.05)  # looks at what the last one left
    assert promised.said and promised.slowest_s < RESTART_S, promised
    return f"{kind}: {count} kills of the server; {promised}"


def kill_writers(kind: str, count: int, chance: random.Random) -> str:
    """The same of a process that only writes."""
    survived: list[Survived] = []
    while len(survived) < count:
        with database(kind) as url:
            rounds = min(count - len(survived), _FRESH_EVERY)
            survived += [kill_round(url, chance.uniform(0.0, 0.6)) for _ in range(rounds)]
    slowest = max(each.restart_s for each in survived)
    assert slowest < RESTART_S, slowest
    return (
        f"{kind}: {count} kills of a writer; {sum(each.num_acknowledged for each in survived)} acknowledged writes, none "
        f"lost; {sum(each.num_interrupted for each in survived)} replies interrupted; slowest reopening {slowest:.2f} s"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--database", choices=[*DATABASES, "both"], default="both")
    parser.add_argument("--store", action="store_true", help="kill a writing process instead of a server")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for kind in DATABASES if options.database == "both" else (options.database,):
        reason = missing() if kind == "postgresql" else None
        if reason is not None:
            print(f"{kind}: not run: {reason}")
            continue
        rounds = kill_writers if options.store else kill_servers
        print(rounds(kind, options.rounds, random.Random(options.seed)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
