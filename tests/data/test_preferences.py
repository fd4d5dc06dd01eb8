import json
from pathlib import Path
from typing import Any

import pytest

from liaoliao.data.preferences import read_preferences, to_preference
from liaoliao.errors import DataError
from liaoliao.messages import Message, Preference

HI, GOOD, BAD = (
    {"role": r, "content": c} for r, c in (("user", "hi"), ("assistant", "Hello!"), ("assistant", "What."))
)
PAIR = Preference((Message.user("hi"),), Message.assistant("Hello!"), Message.assistant("What."))


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "hi", "chosen": "Hello!", "rejected": "What."},
        {"prompt": [HI], "chosen": "Hello!", "rejected": "What."},
        {"prompt": [HI], "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": [HI], "chosen": [HI, GOOD], "rejected": [HI, BAD]},
        {"prompt": "hi", "chosen": [GOOD], "rejected": "What."},
        {"chosen": [HI, GOOD], "rejected": [HI, BAD]},
    ],
)
def test_one_pair_in_many_forms(record: dict[str, Any]) -> None:
    assert to_preference(record) == PAIR


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"prompt": "hi", "chosen": "a"}, "has 'chosen' and 'rejected'"),
        ({"chosen": "a", "rejected": "b"}, "the prompt is empty"),
        ({"prompt": "hi", "chosen": "a", "rejected": "a"}, "are equal"),
        (
            {"prompt": "hi", "chosen": 3, "rejected": "a"},
            "'chosen' must be text or a list of messages, not int",
        ),
        ({"prompt": [HI], "chosen": [GOOD, HI], "rejected": [BAD]}, "found assistant, user"),
        ({"prompt": [HI], "chosen": [HI], "rejected": [BAD]}, "found user"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, record: dict[str, Any], message: str) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(DataError, match=f"pairs.jsonl, line 1: .*{message}"):
        list(read_preferences(path))
