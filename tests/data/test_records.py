import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from liaoliao.data import records
from liaoliao.data.records import raw_size_bytes, read_records
from liaoliao.errors import DataError

RECORDS: list[dict[str, Any]] = [{"text": f"第{i}行 line \u2028 {'x' * i}", "n": i} for i in range(50)]
LINES = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in RECORDS).encode()


def compressed(data: bytes, suffix: str) -> bytes:
    if suffix == ".zst":  # two frames, as `zstd -c a >> b` makes them
        half = len(data) // 2
        return b"".join(zstandard.ZstdCompressor().compress(part) for part in (data[:half], data[half:]))
    return gzip.compress(data) if suffix == ".gz" else data


@pytest.mark.parametrize("suffix", ["", ".zst", ".gz"])
@pytest.mark.parametrize("form", [".jsonl", ".json", ".parquet"])
def test_every_format_gives_the_records_back(tmp_path: Path, form: str, suffix: str) -> None:
    data = LINES
    if form == ".json":
        data = json.dumps(RECORDS).encode()
    if form == ".parquet":
        pyarrow.parquet.write_table(
            pyarrow.Table.from_pylist(RECORDS), tmp_path / "raw.parquet", row_group_size=7
        )
        data = (tmp_path / "raw.parquet").read_bytes()
    path = tmp_path / f"data{form}{suffix}"
    path.write_bytes(compressed(data, suffix))
    assert list(read_records(path)) == RECORDS


def test_lines_do_not_depend_on_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + LINES.replace(b"\n", b"\r\n\n").rstrip())
    monkeypatch.setattr(records, "_CHUNK_BYTES", 13)
    assert list(read_records(path)) == RECORDS


def test_json_may_hold_lines_or_one_record(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_bytes(LINES)
    assert list(read_records(path)) == RECORDS
    path.write_text('{"text": "one"}', encoding="utf-8")
    assert list(read_records(path)) == [{"text": "one"}]


def test_a_window_of_27_bits_is_read(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl.zst"
    parameters = zstandard.ZstdCompressionParameters(window_log=27, compression_level=1)
    compressor = zstandard.ZstdCompressor(
        compression_params=parameters
    ).compressobj()  # no size in the header
    path.write_bytes(compressor.compress(LINES) + compressor.flush())
    assert list(read_records(path)) == RECORDS
    assert raw_size_bytes(path) == 3 * path.stat().st_size


def test_the_raw_size_is_read_from_the_header(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl.zst"
    path.write_bytes(zstandard.compress(LINES))
    assert raw_size_bytes(path) == len(LINES)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": "a"}\n\n{"text": \n', "a.jsonl, line 3, column 10: not valid JSON"),
        ("a.jsonl", b'{"text": "a"}\n[1]', "line 2: expected an object .*, got list"),
        ("a.jsonl", b'{"text": "\xff"}', "line 1: not UTF-8"),
        ("a.jsonl", b'{"text": "\\ud83d"}', "line 1: half of a surrogate pair"),
        ("a.json", b'[{"text": "a"}, 5]', "record 2: expected an object"),
        ("a.json", b'[{"text": "a"},', "a.json, line 1: not valid JSON"),
        ("a.txt", b"good\nline\n\xff", "a.txt, line 3: not UTF-8"),
        ("a.parquet", b"PAR1", "a.parquet: not a readable Parquet file"),
        ("a.jsonl.zst", b"no zstd", "cannot be decompressed"),
        ("a.jsonl.gz", b"no gzip", "cannot be decompressed"),
        ("a.jsonl.zst", zstandard.compress(LINES)[:-9], "cannot be decompressed"),
        ("a.jsonl.gz", gzip.compress(LINES)[:-9], "cannot be decompressed"),
        ("a.csv", b"", "a.csv: unknown format; known are .jsonl"),
    ],
)
def test_errors_name_the_file_and_the_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(read_records(tmp_path / name))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone.jsonl: cannot be read \(No such file"):
        list(read_records(tmp_path / "gone.jsonl"))


def test_a_text_file_is_a_document_or_several(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("one\r\n\n一\n".encode())
    assert list(read_records(path)) == [{"text": "one\r\n\n一\n"}]
    path.write_bytes(b"one\n<|endoftext|>\r\nnot <|endoftext|>\n<|endoftext|>\n<|endoftext|>")
    assert [record["text"] for record in read_records(path)] == ["one\n", "not <|endoftext|>\n"]


@given(
    st.lists(st.sampled_from(["a", "bc ", "\n", "\n\n", "字", "\r\n", "<|endoftext|>"]), max_size=60),
    st.integers(1, 9),
)
def test_pieces_of_a_text_lose_nothing(parts: list[str], chunk: int) -> None:
    text = "".join(parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "_PIECE_CHARS", 20)
        stream = [text[i : i + chunk] for i in range(0, len(text), chunk)]
        pieces = list(records._pieces(stream))
        assert pieces == list(records._pieces([text]))
    assert max(map(len, pieces), default=0) <= 20
    if "<|endoftext|>" not in text:
        assert "".join(pieces) == text
