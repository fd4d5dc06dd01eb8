import json
from pathlib import Path
from typing import Any

import pytest
import zstandard

from liaoliao.data.sources import (
    Mixture,
    SourceFile,
    discover,
    guess_language,
    read_documents,
    sample_records,
    texts_of,
)
from liaoliao.errors import DataError

CHAT = {
    "messages": [
        {"role": "user", "content": "你好"},
        {"role": "assistant", "content": "你好！很高兴见到你。"},
    ]
}
PAIR = {"prompt": "hi there", "chosen": "Hello!", "rejected": "What."}
QUESTION = {"question": "2+3", "answer": "5"}


def write(path: Path, records: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()
    path.write_bytes(zstandard.compress(data) if path.suffix == ".zst" else data)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "pretrain/en-a.jsonl.zst", [{"text": f"A story about number {i}."} for i in range(200)])
    write(tmp_path / "chat/zh-b.jsonl", [CHAT] * 30)
    write(tmp_path / "preference/en-c.json", [PAIR])
    write(tmp_path / "eval/questions.jsonl", [QUESTION])
    write(tmp_path / "eval/empty.jsonl", [])
    (tmp_path / "README.md").write_text("about", encoding="utf-8")
    return tmp_path


def test_discover_finds_kind_language_and_size(folder: Path) -> None:
    skipped: list[tuple[str, str]] = []
    files = discover(folder, on_skip=lambda path, why: skipped.append((path.name, why)))
    found = [(file.name, file.kind, file.lang) for file in files]
    assert found == [
        ("chat/zh-b", "chat", "zh"),
        ("preference/en-c", "preference", "en"),
        ("pretrain/en-a", "pretrain", "en"),
    ]
    assert files[2].size_bytes == len(zstandard.decompress(files[2].path.read_bytes()))
    assert [name for name, _ in skipped] == ["empty.jsonl", "questions.jsonl"]
    assert "answer, question" in skipped[1][1]


def test_discover_takes_several_paths_once(folder: Path) -> None:
    one = folder / "chat/zh-b.jsonl"
    assert [file.path for file in discover([one, one])] == [one]
    assert discover(one)[0].name == "zh-b"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("gone", "gone: no such file or folder"),
        ("eval", "no usable file in .*eval"),
        ("eval/questions.jsonl", "its records hold answer, question"),
        ("README.md", "unknown format"),
    ],
)
def test_discover_says_what_is_wrong(folder: Path, path: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        discover(folder / path)


def test_a_broken_record_is_named_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / "talk.jsonl", [{"messages": [{"role": "user", "content": "hi"}]}])
    with pytest.raises(DataError, match=r"talk.jsonl, .*no assistant message"):
        discover(path)


@pytest.mark.parametrize(
    ("text", "lang"),
    [
        ("The quick brown fox jumps over the lazy dog. 狐", "en"),
        ("小镇有一家叫 Blue 的面包店，每天七点开门。", "zh"),
        ("中文：你好。\n英文：How are you today, my friend?\n中文：再见。", "mixed"),
    ],
)
def test_language_by_the_share_of_chinese(text: str, lang: str) -> None:
    assert guess_language(text) == lang


def test_texts_of_every_kind() -> None:
    assert texts_of({"text": "a"}) == ["a"]
    assert texts_of(CHAT) == ["你好", "你好！很高兴见到你。"]
    assert texts_of(PAIR) == ["hi there", "Hello!", "What."]
    with pytest.raises(DataError):
        texts_of(QUESTION)


def test_documents_without_text_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"text": "fine"}, {"text": None}])
    with pytest.raises(DataError, match=r"a\.jsonl, line 2: 'text' must be text"):
        list(read_documents(path))


def numbered(tmp_path: Path, count: int) -> Path:
    return write(tmp_path / "numbers.jsonl", [{"text": f"{i:06}"} for i in range(count)])


def test_a_fraction_is_that_share_in_random_order(tmp_path: Path) -> None:
    path = numbered(tmp_path, 5000)
    sample = [record["text"] for record in sample_records(path, fraction=0.2, seed=3)]
    assert abs(len(sample) - 1000) < 4 * (5000 * 0.2 * 0.8) ** 0.5
    assert len(set(sample)) == len(sample)
    assert sample != sorted(sample)
    assert sample == [record["text"] for record in sample_records(path, fraction=0.2, seed=3)]
    assert sample != [record["text"] for record in sample_records(path, fraction=0.2, seed=4)]


def test_a_limit_is_kept_and_the_file_sampled_evenly(tmp_path: Path) -> None:
    path = numbered(tmp_path, 5000)
    size = len('{"text": "000000"}')
    sample = [int(record["text"]) for record in sample_records(path, limit_bytes=1000 * size)]
    assert len(set(sample)) == 1000
    assert (
        abs(sum(sample) / 1000 - 2500) < 4 * 5000 / 12**0.5 / 1000**0.5
    )  # the mean of evenly spread numbers
    smaller = [int(record["text"]) for record in sample_records(path, limit_bytes=500 * size)]
    assert smaller == sample[:500]  # a smaller sample is the beginning of the larger
    assert len(sample_records(path, limit_bytes=10**9)) == 5000
    assert len(sample_records(path, limit_bytes=1)) == 1


def test_a_sample_takes_one_measure(tmp_path: Path) -> None:
    for wrong in ({}, {"fraction": 0.5, "limit_bytes": 5}, {"fraction": 1.5}):
        with pytest.raises(DataError):
            sample_records(numbered(tmp_path, 3), **wrong)  # type: ignore[arg-type]


def files_of(*sizes: int) -> list[SourceFile]:
    return [
        SourceFile(Path(f"{i}.jsonl"), "pretrain", f"part/{i}", "en", size) for i, size in enumerate(sizes)
    ]


def test_quotas_follow_the_weights_and_spill_over() -> None:
    assert Mixture.by_size(files_of(300, 100)).quotas(40) == (30, 10)
    assert Mixture.by_size(files_of(300, 100), {"*/0": 1 / 3}).quotas(40) == (20, 20)
    assert Mixture(tuple(files_of(10, 500, 500)), (1, 1, 1)).quotas(310) == (10, 150, 150)
    assert Mixture(tuple(files_of(10, 20)), (1, 1)).quotas(1000) == (10, 20)
    assert Mixture(tuple(files_of(10, 20)), (0, 1)).quotas(1000) == (0, 20)


def test_a_file_is_meant_by_its_name_with_or_without_the_folder_and_the_ending() -> None:
    file = SourceFile(Path("data/chat/a.zh.jsonl.zst"), "chat", "chat/a.zh", "zh", 1)
    matched = ("chat/*", "chat/a.zh", "*.zh.jsonl.zst", "a.*", "*")
    assert all(file.matches(pattern) for pattern in matched)
    assert not any(file.matches(pattern) for pattern in ("data/*", "a", "*.jsonl", "b.*"))


def test_a_mixture_refuses_what_cannot_be_meant() -> None:
    with pytest.raises(DataError, match=r"no file is called like 'zh\*'; there are part/0"):
        Mixture.by_size(files_of(1), {"zh*": 2})
    for weights in ((), (-1.0,), (0.0,), (1.0, 1.0)):
        with pytest.raises(DataError):
            Mixture(tuple(files_of(1)), weights)


def test_a_mixture_is_sampled_by_its_shares(folder: Path) -> None:
    files = [file for file in discover(folder) if file.kind != "preference"]
    sample = Mixture(tuple(files), (1, 1)).sample(4000, seed=1)
    assert {file.name for file, _ in sample[:20]} == {"chat/zh-b", "pretrain/en-a"}  # shuffled
    assert sample == Mixture(tuple(files), (1, 1)).sample(4000, seed=1)
    sizes = [len(json.dumps(record, ensure_ascii=False).encode()) for _, record in sample]
    assert 3600 <= sum(sizes) <= 4000


def test_dropped_lines_are_not_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes it fast: half a gigabyte is sampled in seconds."""
    path = numbered(tmp_path, 2000)
    parsed = []

    def parse(raw: object, path: Path, number: int) -> dict[str, Any]:
        parsed.append(number)
        return {}

    monkeypatch.setattr("liaoliao.data.sources.parse", parse)
    assert len(sample_records(path, limit_bytes=180)) == len(parsed) == 10
