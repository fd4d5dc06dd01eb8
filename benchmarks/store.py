"""Listing and searching 10,000 stored conversations, on SQLite and on PostgreSQL.

    python benchmarks/store.py                      writes benchmarks/results/store.md
    python benchmarks/store.py --conversations 1000 --output /tmp/store.md

The talks are made of the words of two towns, half of them English and half Chinese, six messages each, and some words
are planted: a common one, a rare one, one that is nowhere. What is timed is the store's method, as the server calls it;
the page adds a round trip on loopback. Also timed: adding a message, acknowledged on the disk.
"""

import argparse
import os
import platform
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the PostgreSQL of the tests

from liaoliao.messages import Message
from liaoliao.store import Store
from tests.store.postgres import missing, postgres_server

RESULTS = Path(__file__).parent / "results" / "store.md"
EN = (
    "the ferry leaves harbour at nine and returns before dusk when wind is calm so bring a ticket for each person and "
    "mind that dogs travel free while bicycles need a place which you can book in town hall or by letter to captain"
).split()
ZH = "渡轮九点离开港口傍晚前回来风平浪静时每人带一张票狗可以免费乘船自行车需要预订座位请到市政厅或写信给船长询问价格"
TARGET_MS = 200.0
QUERIES = {
    "the list, 50 a page": "",
    "common English word": "ferry",
    "part of words": "arb",
    "rare English word": "zeppelin",
    "English word that is nowhere": "xylophone",
    "two words, rare together": "zeppelin captain",
    "long phrase": "in the old lighthouse by the sea",
    "two rare Latin letters": "zq",
    "two Chinese characters, common": "渡轮",
    "two Chinese characters, rare": "凤凰",
    "two Chinese characters, nowhere": "麒麟",
    "one Chinese character, rare": "凰",
    "four Chinese characters, rare": "凤凰飞来",
    "common until a year ago": "steamship",
}


def conversation(number: int, chance: random.Random) -> dict[str, Any]:
    """One of them, in our export's form."""
    at = 1.7e9 + number
    talk: dict[str, Any] = {
        "id": "t",
        "created_at": at,
        "updated_at": at,
        "title": _words(chance, number % 2, 6),
    }
    talk["messages"] = [
        {
            "id": str(n),
            "parent_id": str(n - 1) if n else None,
            "role": "assistant" if n % 2 else "user",
            "created_at": at,
            "parts": [{"type": "text", "text": _words(chance, number % 2, 180 if n % 2 else 20)}],
        }
        for n in range(6)
    ]
    planted = talk["messages"][3]["parts"][0]
    if number % 2000 == 8:
        planted["text"] += " a zeppelin, too; in the old lighthouse by the sea; zq 凤凰飞来了"
    if number < 5000:
        planted["text"] += " steamship"
    return talk


def _words(chance: random.Random, chinese: int, count: int) -> str:
    return "".join(chance.choices(ZH, k=2 * count)) if chinese else " ".join(chance.choices(EN, k=count))


def fill(store: Store, account_id: str, count: int) -> None:
    chance = random.Random(0)
    talks = [conversation(number, chance) for number in range(count)]
    report = store.import_conversations(account_id, {"format": "liaoliao/1", "conversations": talks})
    assert report.num_conversations == count, report.skipped[:3]


def timed_ms(call: Callable[[], object], repeats: int) -> list[float]:
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times.append((time.perf_counter() - began) * 1000)
    return sorted(times)


def measure(url: str, count: int) -> Iterator[tuple[str, list[float], str]]:
    """Rows of the table: what, its times in ms, and a note."""
    with Store.open(url) as store:
        me = store.single_account().id
        store.create_account("admin", "correct horse")  # the first one is, and the last one stays
        other = store.create_account("somebody", "correct horse").id
        began = time.perf_counter()
        fill(store, me, count)
        took = time.perf_counter() - began
        yield f"importing all of them ({took:.0f} s)", [took * 1000 / count], "for each conversation"
        fill(store, other, count // 10)
        for name, query in QUERIES.items():
            found = len(store.conversations(me, query=query))
            times = timed_ms(lambda query=query: store.conversations(me, query=query), 15)  # type: ignore[misc]
            yield name + (f": {query}" if query else ""), times, f"{found} found"
        talk = store.conversations(me)[0].id
        yield "opening a conversation", timed_ms(lambda: store.nodes(me, talk), 15), "6 messages"
        text = Message.user(_words(random.Random(1), 0, 100))
        added = timed_ms(lambda: store.add_message(me, talk, text, None), 50)
        yield "adding a message, on the disk", added, ""
        yield "deleting the other account", timed_ms(lambda: store.delete_account(other), 1), "all of it"


@contextmanager
def sqlite_database() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        yield f"sqlite:///{folder}/store.db"


def table(name: str, rows: list[tuple[str, list[float], str]]) -> list[str]:
    lines = [f"### {name}", "", "| | median, ms | slowest, ms | |", "|---|---|---|---|"]
    for what, times, note in rows:
        lines.append(f"| {what} | {statistics.median(times):.1f} | {times[-1]:.1f} | {note} |")
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--conversations", type=int, default=10_000)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    lines = [
        "# Listing and searching stored conversations", "",
        f"`python benchmarks/store.py --conversations {options.conversations}`", "",
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}. {options.conversations} conversations of six messages "
        f"(about {options.conversations * 3.4 / 1000:.0f} million characters), and a tenth as many of another account. "
        f"The aim is {TARGET_MS:.0f} ms.", "",
    ]  # fmt: skip
    with sqlite_database() as url:
        lines += table("SQLite", list(measure(url, options.conversations)))
    if missing() is None:
        with postgres_server(fsync=True) as url:
            lines += table("PostgreSQL", list(measure(url, options.conversations)))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
