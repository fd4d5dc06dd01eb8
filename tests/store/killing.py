"""Rounds of one thing: write, be killed with -9 in the middle of it, start again, and have lost nothing.

kill_round(url, after_s=0.5)  ->  Survived(num_acknowledged=412, num_interrupted=1, restart_s=0.02)
"""

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text

from liaoliao.store import Node, Store
from tests.store.writer import TOKENS

_ROOT = Path(__file__).parents[2]
_NOTICE_S = 10.0  # PostgreSQL takes a moment to see that a connection is gone


@dataclass(frozen=True)
class Survived:
    """What a round had acknowledged, and how the next start went."""

    num_acknowledged: int
    num_interrupted: int
    restart_s: float


def kill_round(url: str, after_s: float) -> Survived:
    """Let a writer write for so long after its first acknowledgement, kill it, and check all that it was promised.
    Raises AssertionError naming what was lost.
    """
    lines = _killed_writer(url, after_s)
    began = time.monotonic()
    with Store.open(url) as store:
        account_id = store.single_account().id
        num_interrupted = _interrupt(store, account_id)
        restart_s = time.monotonic() - began
        nodes = {
            node.id: node
            for line in store.conversations(account_id, limit=1000)
            for node in store.nodes(account_id, line.id)
        }
        for line in lines:
            _check(nodes, *line.split())
        _check_files(store)
        said = [line.split()[2] for line in lines if line.startswith("message")]
        assert not said or store.conversations(account_id, query=said[-1]), "the search index lost a message"
    return Survived(len(lines), num_interrupted, restart_s)


def _killed_writer(url: str, after_s: float) -> list[str]:
    """What a writer was acknowledged before it was killed."""
    command = [sys.executable, "-m", "tests.store.writer", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=_ROOT) as writer:
        assert writer.stdout is not None
        first = writer.stdout.readline()
        deadline = time.monotonic() + after_s
        lines = [first]
        while time.monotonic() < deadline:
            lines.append(writer.stdout.readline())
        writer.kill()
        lines += writer.stdout.readlines()
    assert all(line.endswith("\n") for line in lines), "the writer ended by itself"
    return [line.rstrip("\n") for line in lines]


def _interrupt(store: Store, account_id: str) -> int:
    """Start as a server does; nothing that a dead one left stays running."""
    found, deadline = 0, time.monotonic() + _NOTICE_S
    while True:
        found += store.interrupt_running()
        with store._database.read() as connection:
            left = connection.execute(
                text("SELECT count(*) FROM messages WHERE status = 'running'")
            ).scalar_one()
        if not left:
            return found
        assert time.monotonic() < deadline, f"{left} replies of a dead server still count as running"
        time.sleep(0.02)


def _check(nodes: dict[str, Node], kind: str, id: str, told: str) -> None:
    assert id in nodes, f"{kind} {id} was acknowledged and is lost"
    node = nodes[id]
    if kind == "message":
        assert node.message.text == told and node.status == "done"
        return
    assert node.generation is not None
    num_tokens = len(node.generation.token_ids)
    assert num_tokens >= int(told) and node.message.text == "x" * num_tokens
    assert node.status == ("done" if num_tokens == TOKENS else "interrupted")


def _check_files(store: Store) -> None:
    """The database finds no fault with itself."""
    if not store._database.is_sqlite:
        return
    with store._database.write() as connection:
        assert connection.execute(text("PRAGMA integrity_check")).scalars().all() == ["ok"]
        assert connection.execute(text("PRAGMA foreign_key_check")).all() == []
        connection.execute(text("INSERT INTO search_index (search_index) VALUES ('integrity-check')"))
