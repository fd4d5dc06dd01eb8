"""Files of records: JSON Lines, JSON, Parquet and plain text, as they are or compressed with zstd or gzip.

Place in the flow: **file -> records** (plain dictionaries) -> conversations, preferences or texts ->
examples. One pass, constant memory; every error names the file and the line.

    read_records("zh.jsonl.zst")  ->  {"text": "从前有座山", "source": "…"}, {"text": …}, …

A plain text file is one document, or several where a line holds nothing but `<|endoftext|>`; a long one is
cut at paragraph or line ends into pieces of at most 32,768 characters, and the pieces joined give the text
again.
"""

import codecs
import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow
import pyarrow.parquet
import zstandard

from liaoliao.errors import DataError

Record: TypeAlias = dict[str, Any]
Raw: TypeAlias = bytes | Record  # a line not yet parsed, or a record of a format that parses as it reads

FORMATS = (".jsonl", ".ndjson", ".json", ".parquet", ".txt")
COMPRESSIONS = (".zst", ".gz")
_CHUNK_BYTES = 1 << 20
_MAX_WINDOW = 1 << 27  # zstd's --long=27; the library's own default refuses such files
_PIECE_CHARS = 1 << 15
_SEPARATOR = re.compile(r"^<\|endoftext\|>[ \t]*\r?\n", re.MULTILINE)
_LAST_SEPARATOR = re.compile(r"^<\|endoftext\|>[ \t\r]*\Z", re.MULTILINE)


def is_record_file(path: Path) -> bool:
    """Whether the name promises a format that `read_records` knows."""
    return _format(path) in FORMATS


def read_records(path: str | Path) -> Iterator[Record]:
    """The records of a file, in order. Raises `DataError` that names the file and the line."""
    path = Path(path)
    for number, raw in raw_records(path):
        yield parse(raw, path, number)


def raw_records(path: Path) -> Iterator[tuple[int, Raw]]:
    """Numbered records (lines count from 1), JSON lines left unparsed: sampling drops most of them unread."""
    reader = {
        ".jsonl": _json_lines,
        ".ndjson": _json_lines,
        ".json": _json,
        ".parquet": _parquet,
        ".txt": _text,
    }
    if _format(path) not in reader:
        raise DataError(f"{path}: unknown format; known are {', '.join(FORMATS)}, plain, .zst or .gz")
    return reader[_format(path)](path)


def parse(raw: Raw, path: Path, number: int) -> Record:
    """A raw record of `raw_records` as a dictionary."""
    if isinstance(raw, dict):
        return raw
    try:
        text = raw.decode()
        record = json.loads(text)
        if "\\ud" in text or "\\uD" in text:
            json.dumps(record, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        where = f"{place(path, number)}, column {error.colno}"
        raise DataError(f"{where}: not valid JSON ({error.msg})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{place(path, number)}: not UTF-8 ({error.reason}); save it as UTF-8") from error
    except UnicodeEncodeError as error:
        raise DataError(f"{place(path, number)}: half of a surrogate pair, which is no character") from error
    if not isinstance(record, dict):
        kind = type(record).__name__
        raise DataError(f'{place(path, number)}: expected an object like {{"text": …}}, got {kind}')
    return record


def place(path: Path, number: int) -> str:
    """Where a record stands, for messages: `zh.jsonl, line 7`."""
    return f"{path}, {'line' if _format(path) in ('.jsonl', '.ndjson') else 'record'} {number}"


def raw_size_bytes(path: Path) -> int:
    """The size after decompression: exact where the file says it, else three times the compressed size."""
    size = path.stat().st_size
    if path.suffix == ".zst":
        with path.open("rb") as handle:
            try:
                told = zstandard.frame_content_size(handle.read(64))
            except zstandard.ZstdError as error:
                raise DataError(f"{path}: cannot be decompressed ({error})") from error
        return told if told > 0 else 3 * size
    return 3 * size if path.suffix == ".gz" else size


def _format(path: Path) -> str:
    name = path.name.lower()
    for compression in COMPRESSIONS:
        name = name.removesuffix(compression)
    return Path(name).suffix


# Bytes


def _chunks(path: Path) -> Iterator[bytes]:
    """The decompressed bytes; damaged or cut-off files are errors, not short files."""
    try:
        if path.suffix.lower() == ".zst":
            yield from _zstd_chunks(path)
        else:
            with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as handle:
                while chunk := handle.read(_CHUNK_BYTES):
                    yield chunk
    except (zstandard.ZstdError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path}: cannot be decompressed ({error}); get the file again") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _zstd_chunks(path: Path) -> Iterator[bytes]:
    decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
    frame, pending = decompressor.decompressobj(), b""
    with path.open("rb") as handle:
        while data := pending or handle.read(_CHUNK_BYTES):
            if frame.eof:  # a file may hold several frames
                frame = decompressor.decompressobj()
            yield frame.decompress(data)
            pending = frame.unused_data
    if not frame.eof:
        raise EOFError("the file ends in the middle")


def _content(path: Path) -> bytes:
    return b"".join(_chunks(path))


# Formats


def _json_lines(path: Path) -> Iterator[tuple[int, Raw]]:
    number, tail = 1, b""
    for chunk in _chunks(path):
        *lines, tail = (tail + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                yield number, line.removeprefix(b"\xef\xbb\xbf")
            number += 1
    if tail.strip():
        yield number, tail.removeprefix(b"\xef\xbb\xbf")


def _json(path: Path) -> Iterator[tuple[int, Raw]]:
    """A list of records, one record, or (as some files called .json are) JSON Lines."""
    content = _content(path).removeprefix(b"\xef\xbb\xbf").strip()
    try:
        parsed = json.loads(content.decode())
    except json.JSONDecodeError as error:
        if error.msg != "Extra data":
            raise DataError(f"{path}, line {error.lineno}: not valid JSON ({error.msg})") from error
        yield from enumerate((line for line in content.split(b"\n") if line.strip()), start=1)
        return
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error.reason}); save the file as UTF-8") from error
    for number, record in enumerate(parsed if isinstance(parsed, list) else [parsed], start=1):
        yield number, json.dumps(record).encode()  # one way to check them all: `parse`


def _parquet(path: Path) -> Iterator[tuple[int, Raw]]:
    plain = path.suffix.lower() == ".parquet"
    try:
        table = pyarrow.parquet.ParquetFile(path if plain else pyarrow.BufferReader(_content(path)))
        number = 0
        for group in table.iter_batches(batch_size=1024):
            for record in group.to_pylist():
                number += 1
                yield number, record
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file ({error})") from error


def _text(path: Path) -> Iterator[tuple[int, Raw]]:
    yield from enumerate(({"text": piece} for piece in _pieces(_decoded(path))), start=1)


def _decoded(path: Path) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    line = 1
    try:
        for chunk in _chunks(path):
            yield (text := decoder.decode(chunk))
            line += text.count("\n")
        yield decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        line += error.object[: error.start].count(b"\n")
        raise DataError(f"{path}, line {line}: not UTF-8 ({error.reason}); save the file as UTF-8") from error


def _pieces(texts: Iterable[str]) -> Iterator[str]:
    """The pieces of every document of a stream of text, the same ones however the stream is cut."""
    rest = ""
    for text in texts:
        *documents, rest = _SEPARATOR.split(rest + text)
        for document in documents:
            yield from filter(None, _cut(document))
        *pieces, rest = _cut(rest)
        yield from pieces
    yield from filter(None, _cut(_LAST_SEPARATOR.sub("", rest)))


def _cut(text: str) -> list[str]:
    """Pieces of at most `_PIECE_CHARS` that end where a paragraph, a line or a word does."""
    pieces, start = [], 0
    while len(text) - start > _PIECE_CHARS:
        end = _cut_point(text, start)
        pieces.append(text[start:end])
        start = end
    return [*pieces, text[start:]]


def _cut_point(text: str, start: int) -> int:
    end = start + _PIECE_CHARS
    for mark in ("\n\n", "\n", " "):
        at = text.rfind(mark, start + _PIECE_CHARS // 2, end)
        if at >= 0:
            return at + len(mark)
    return end
