import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from liaoliao.chat.assistant import Assistant
from liaoliao.errors import DataError
from liaoliao.tasks.choice import Choice, Item, loglikelihoods, read_items
from tests.tasks.conftest import MAX_LENGTH


def write(folder: Path, *records: dict[str, Any]) -> Path:
    path = folder / "items.jsonl"
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("record", "texts"),
    [
        (
            {
                "premise": "It rained.",
                "ask": "effect",
                "choices": ["I got wet.", "The dog sang."],
                "label": 0,
            },
            ["It rained, so I got wet.", "It rained, so the dog sang."],
        ),
        (
            {"premise": "他没带伞。", "ask": "cause", "choices": ["天晴。", "他忘了。"], "label": 1},
            ["他没带伞，因为天晴。", "他没带伞，因为他忘了。"],
        ),
        (
            {"context": "The sun is", "choices": ["hot", "cold"], "label": "hot"},
            ["The sun is hot", "The sun is cold"],
        ),
        ({"context": "太阳是", "choices": ["热的", "冷的"], "label": 0}, ["太阳是热的", "太阳是冷的"]),
        (
            {"context": "A ____ swims.", "choices": ["fish", "cat"], "label": "A"},
            ["A fish swims.", "A cat swims."],
        ),
        (
            {"passage": "P", "question": "Q?", "choices": ["(A)yes ", "(B) no"], "label": "B"},
            ["P\nQ?\nyes", "P\nQ?\nno"],
        ),
    ],
)
def test_items_of_every_form(tmp_path: Path, record: dict[str, Any], texts: list[str]) -> None:
    (item,) = read_items(write(tmp_path, record))
    assert [item.before + choice + item.after for choice in item.choices] == texts


def test_a_reading_cloze_chooses_among_answers_that_occur(tmp_path: Path) -> None:
    stories = [("狼和羊。", "羊"), ("狼和羊和鸟。", "狼"), ("鸟。", "鸟")]
    records = [{"context": c, "question": "____来了。", "answer": a} for c, a in stories]
    first, second = read_items(write(tmp_path, *records))  # in the third nothing else could stand
    assert first == Item("狼和羊。\n", ("狼", "羊"), "来了。", 1)
    assert second.choices == ("狼", "羊", "鸟")


@pytest.fixture
def rigged(tiny: Assistant, monkeypatch: pytest.MonkeyPatch) -> Assistant:
    """Every token costs one nat for each of its bytes, those of a digit nothing."""

    def cost(token_id: int) -> float:
        return float(sum(not chr(byte).isdigit() for byte in tiny.tokenizer.token_bytes(token_id)))

    def score(batch: Sequence[Sequence[int]]) -> list[list[float]]:
        return [[0.0, *(-cost(i) for i in ids[1:])] for ids in batch]

    monkeypatch.setattr(tiny.engine, "score", score)
    return tiny


def test_accuracy_raw_and_by_length(tmp_path: Path, rigged: Assistant) -> None:
    """By the sum the short choice wins, by the byte the one with the digits."""
    path = write(
        tmp_path,
        {"context": "n:", "choices": ["ab", "1111111111abc"], "label": 0},
        {"context": "n:", "choices": ["ab", "1111111111abc"], "label": 1},
        {"context": "n:", "choices": ["ab", "11abc", "abc"], "label": 0},
    )
    result = Choice(path).evaluate(rigged)
    assert (result.name, result.metric, result.n) == ("choice:items.jsonl", "accuracy", 3)
    assert result.value == pytest.approx(2 / 3)
    assert result.details["chance"] == pytest.approx((0.5 + 0.5 + 1 / 3) / 3)
    assert result.details["accuracy_norm"] == pytest.approx(1 / 3)  # only the second
    assert result.samples[0].reply == " ab"


def test_only_what_follows_the_gap_counts(rigged: Assistant) -> None:
    item = Item("12ab", ("c", "d"), "ef", 0)
    ((one, other),) = loglikelihoods(rigged, [item])
    assert one <= -3
    assert other <= -3
    whole = Item("", ("12abcef", "x"), "", 0)
    assert loglikelihoods(rigged, [whole])[0] == [-5.0, -1.0]


def test_loglikelihoods_are_the_engine_s(tiny: Assistant) -> None:
    item = Item("The river ", ("is long.", "sings"), " 河", 0)
    found = loglikelihoods(tiny, [item])[0]
    for choice, value in zip(item.choices, found, strict=True):
        ids = [tiny.tokenizer.end_of_text_id, *tiny.tokenizer.encode(item.before + choice + item.after)]
        joined = [b"".join(map(tiny.tokenizer.token_bytes, ids[1 : i + 1])) for i in range(1, len(ids))]
        first = next(i for i, text in enumerate(joined, start=1) if len(text) > len(item.before))
        assert value == pytest.approx(sum(tiny.engine.score([ids])[0][first:]))


def test_a_long_beginning_is_cut_off(tiny: Assistant) -> None:
    item = Item("The river is long. " * 50, ("yes", "no"), "", 0)
    assert len(tiny.tokenizer.encode(item.before)) > MAX_LENGTH
    assert all(value < 0 for value in loglikelihoods(tiny, [item])[0])


def test_a_limit_draws_items_by_seed(tmp_path: Path, tiny: Assistant) -> None:
    path = write(tmp_path, *({"context": f"{i}", "choices": ["a", "b"], "label": 0} for i in range(30)))
    results = [Choice(path).evaluate(tiny, limit=4, seed=seed) for seed in (0, 0, 1)]
    assert results[0] == results[1]
    assert results[0].samples != results[2].samples
    assert results[0].n == 4


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"context": "a", "choices": ["b"], "label": 0}, "'choices' must be a list of at least two"),
        ({"context": "a", "choices": ["b", "c"], "label": 2}, "'label' is 2; it must be 0 to 1"),
        ({"context": "a", "choices": ["b", "c"], "label": True}, "'label' is True"),
        ({"context": 3, "choices": ["b", "c"], "label": 0}, "'context' must be text, not int"),
        ({"premise": "a", "ask": "why", "choices": ["b", "c"], "label": 0}, "'ask' is 'why'"),
        ({"text": "a"}, "'choices' must be"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, record: dict[str, Any], message: str) -> None:
    path = write(tmp_path, {"context": "a", "choices": ["b", "c"], "label": 0}, record)
    with pytest.raises(DataError, match=rf"items\.jsonl, line 2: .*{message}"):
        read_items(path)


def test_a_file_without_items(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no item to choose in"):
        read_items(write(tmp_path))
