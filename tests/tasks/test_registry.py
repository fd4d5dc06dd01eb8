from pathlib import Path

import pytest

from liaoliao.errors import UsageError
from liaoliao.tasks.registry import get_tasks, town_tasks
from liaoliao.tasks.task import Task


def names(*asked: str) -> list[str]:
    return [task.name for task in get_tasks(asked)]


def test_the_promised_names_are_there() -> None:
    kinds = ("facts", "reading", "followup", "followup-nohistory", "arithmetic", "unanswerable")
    promised = [f"town:{kind}:{lang}" for lang in ("en", "zh") for kind in kinds]
    assert sorted(task.name for task in town_tasks()) == sorted(promised)
    assert names(*promised) == promised
    assert all(isinstance(task, Task) for task in town_tasks())


def test_a_beginning_stands_for_all(tmp_path: Path) -> None:
    assert sorted(names("town:followup")) == ["town:followup:en", "town:followup:zh"]
    assert len(names("town:facts:zh", "town", "town")) == 12
    assert names("town:facts:zh", "town")[0] == "town:facts:zh"
    (tmp_path / "copa.jsonl").touch()
    assert names(f"choice:{tmp_path / 'copa.jsonl'}") == ["choice:copa.jsonl"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "town:fact:en",
            r"town:fact:en is not a task; did you mean town:facts:en\? There are choice:FILE, town",
        ),
        ("tow", r"did you mean town\?"),
        ("", "is not a task"),
        ("choice:gone.jsonl", r"there is no file gone\.jsonl"),
    ],
)
def test_a_wrong_name_gets_the_nearest(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        get_tasks([name])
