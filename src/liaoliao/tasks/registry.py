"""Tasks by name.

Place in the flow: names from the command line or a recipe -> **tasks** -> results.

    get_tasks(["town:facts:en"])          one task
    get_tasks(["town:facts", "town"])     what others begin with stands for all of them; none comes twice
    get_tasks(["choice:copa.jsonl"])      a file of items
"""

import difflib
from collections.abc import Iterable
from pathlib import Path

from liaoliao.errors import UsageError
from liaoliao.tasks.choice import Choice
from liaoliao.tasks.task import Task
from liaoliao.tasks.town import TownQuestions
from liaoliao.town import KINDS, LANGS


def town_tasks() -> list[Task]:
    """All tasks of the town: every kind of question in both languages."""
    return [TownQuestions(kind, lang) for lang in LANGS for kind in KINDS]


def get_tasks(names: Iterable[str]) -> list[Task]:
    """The tasks of these names, in order. Raises `UsageError` with the nearest name to one that is none."""
    chosen: dict[str, Task] = {}
    for name in names:
        for task in [Choice(_file(name))] if name.startswith("choice:") else _of_town(name):
            chosen[task.name] = task
    return list(chosen.values())


def _of_town(name: str) -> list[Task]:
    tasks = town_tasks()
    found = [task for task in tasks if task.name == name or task.name.startswith(f"{name}:")]
    if not found:
        known = sorted({":".join(task.name.split(":")[:depth]) for task in tasks for depth in (1, 2, 3)})
        near = difflib.get_close_matches(name, known, n=1, cutoff=0)
        raise UsageError(
            f"{name} is not a task; did you mean {near[0]}? There are choice:FILE, {', '.join(known)}"
        )
    return found


def _file(name: str) -> Path:
    path = Path(name.removeprefix("choice:"))
    if not path.is_file():
        raise UsageError(f"{name}: there is no file {path}")
    return path
