"""Which files there are, what they hold, and random samples of them.

Place in the flow: a folder -> **source files** -> a **mixture** with weights -> sampled records -> tokenizer
and shards.

    files = discover("my-data")                                   # [SourceFile(kind="chat", lang="zh", …), …]
    mixture = Mixture.by_size(files, {"*smilechat": 0.25})        # a quarter of its natural share
    for file, record in mixture.sample(20_000_000, seed=0): ...   # 20 MB, every file in its share, shuffled
"""

import heapq
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from liaoliao.data.conversations import is_conversation, to_conversation
from liaoliao.data.preferences import is_preference, to_preference
from liaoliao.data.records import (
    COMPRESSIONS,
    Raw,
    Record,
    is_record_file,
    parse,
    place,
    raw_records,
    raw_size_bytes,
    read_records,
)
from liaoliao.errors import DataError

Kind: TypeAlias = Literal["pretrain", "chat", "preference"]
Language: TypeAlias = Literal["en", "zh", "mixed"]
_PEEK_RECORDS = 20


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of records. `size_bytes` is that of the records, decompressed (an estimate for gzip)."""

    path: Path
    kind: Kind
    name: str  # its path under the folder it was found in, without the suffixes: "chat/zh-poems"
    lang: Language
    size_bytes: int

    def matches(self, pattern: str) -> bool:
        """Whether it is called so: by its name, or by that of the file ("*smilechat", "*.zh.jsonl")."""
        return fnmatch(self.name, pattern) or fnmatch(self.path.name, pattern)


def discover(
    paths: str | Path | Iterable[str | Path], *, on_skip: Callable[[Path, str], None] | None = None
) -> list[SourceFile]:
    """The usable files among `paths`, folders searched through; sorted by name.

    In folders, files that hold no text, talk or preferences (questions, databases) are left out; `on_skip`
    hears of each and why. Raises `DataError` where a path does not exist, a file named directly is unusable,
    or nothing usable is left.
    """
    roots = [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]
    found: dict[Path, SourceFile] = {}
    for root in roots:
        for path in _files(root):
            file = _peek(path, _name(path, root))
            if isinstance(file, SourceFile):
                found[path] = file
            elif path == root:
                raise DataError(f"{path}: {file}")
            elif on_skip:
                on_skip(path, file)
    if not found:
        raise DataError(
            f"no usable file in {', '.join(map(str, roots))}: "
            "give .jsonl, .json, .parquet or .txt files, plain, .zst or .gz"
        )
    return sorted(found.values(), key=lambda file: (file.name, str(file.path)))


def _files(root: Path) -> list[Path]:
    if not root.exists():
        raise DataError(f"{root}: no such file or folder")
    if root.is_file():
        return [root]
    return sorted(path for path in root.rglob("*") if path.is_file() and is_record_file(path))


def _name(path: Path, root: Path) -> str:
    relative = Path(path.name) if path == root else path.relative_to(root)
    name = relative.as_posix()
    for compression in COMPRESSIONS:
        name = name.removesuffix(compression)
    return name.rpartition(".")[0] or name


def _peek(path: Path, name: str) -> SourceFile | str:
    """The file with what its first records tell, or why it cannot be used."""
    records = list(islice(read_records(path), _PEEK_RECORDS))
    if not records:
        return "holds no records"
    kind = kind_of(records[0])
    if kind is None:
        return f"its records hold {', '.join(sorted(records[0]))}; usable are text, talk and preferences"
    try:
        text = " ".join(part for record in records for part in texts_of(record))
    except DataError as error:
        raise DataError(f"{path}, one of the first {len(records)} records: {error}") from error
    return SourceFile(path, kind, name, guess_language(text), raw_size_bytes(path))


def kind_of(record: Record) -> Kind | None:
    """What a record can teach, by its form."""
    if is_preference(record):
        return "preference"
    if is_conversation(record):
        return "chat"
    return "pretrain" if isinstance(record.get("text"), str) else None


def read_documents(path: str | Path) -> Iterator[str]:
    """The texts of a file of `{"text"}` records. Raises `DataError` that names the file and the line."""
    path = Path(path)
    for number, raw in raw_records(path):
        record = parse(raw, path, number)
        if not isinstance(record.get("text"), str):
            raise DataError(
                f"{place(path, number)}: 'text' must be text, not {type(record.get('text')).__name__}"
            )
        yield record["text"]


def texts_of(record: Record) -> list[str]:
    """Everything that is said in a record, for training a tokenizer or guessing the language."""
    kind = kind_of(record)
    if kind == "pretrain":
        return [record["text"]]
    if kind == "chat":
        return [message.text for message in to_conversation(record).messages]
    if kind == "preference":
        pair = to_preference(record)
        return [message.text for message in (*pair.prompt, pair.chosen, pair.rejected)]
    raise DataError(
        f"a record of {', '.join(sorted(record))} holds neither text nor conversations nor preferences"
    )


_CJK = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_WORD = re.compile("[A-Za-z\u00c0-\u024f]+")


def guess_language(text: str) -> Language:
    """By the share of Chinese characters among characters and alphabetic words: over 70% zh, under 15% en."""
    characters, words = len(_CJK.findall(text)), len(_WORD.findall(text))
    share = characters / max(1, characters + words)
    return "zh" if share > 0.7 else "en" if share < 0.15 else "mixed"


# Samples


def sample_records(
    file: SourceFile | Path, *, fraction: float | None = None, limit_bytes: int | None = None, seed: int = 0
) -> list[Record]:
    """Random records in random order, read in one pass: a `fraction` of them, or as many as `limit_bytes`
    holds.

    Equal seed and file name, equal sample. At least one record is given, however small the limit.
    """
    path = file.path if isinstance(file, SourceFile) else file
    if (fraction is None) == (limit_bytes is None):
        raise DataError("sample_records takes either a fraction or limit_bytes")
    rng = np.random.default_rng([seed, zlib.crc32(path.name.encode())])
    kept = (
        _under_threshold(path, fraction, rng)
        if fraction is not None
        else _within(path, limit_bytes or 0, rng)
    )
    return [parse(raw, path, number) for _, number, raw in sorted(kept, key=lambda entry: entry[:2])]


_Keyed: TypeAlias = tuple[float, int, Raw]  # a random number, the record's number, the record


def _keyed(path: Path, rng: np.random.Generator) -> Iterator[_Keyed]:
    records = raw_records(path)
    while block := list(islice(records, 4096)):
        for key, (number, raw) in zip(rng.random(len(block)).tolist(), block, strict=True):
            yield key, number, raw


def _under_threshold(path: Path, fraction: float, rng: np.random.Generator) -> list[_Keyed]:
    if not 0 < fraction <= 1:
        raise DataError(f"the fraction of a sample must be above 0 and at most 1, not {fraction}")
    return [entry for entry in _keyed(path, rng) if entry[0] < fraction]


def _within(path: Path, limit_bytes: int, rng: np.random.Generator) -> list[_Keyed]:
    """The records with the smallest random keys, as many as fit: a reservoir of bytes, a heap with the
    largest on top."""
    heap: list[_Keyed] = []
    total, threshold = 0, 1.0
    for key, number, raw in _keyed(path, rng):
        if key >= threshold:
            continue
        heapq.heappush(heap, (-key, number, raw))
        total += _size(raw)
        while total > limit_bytes and len(heap) > 1:
            largest, _, dropped = heapq.heappop(heap)
            total, threshold = total - _size(dropped), -largest
    return [(-key, number, raw) for key, number, raw in heap]


def _size(raw: Raw) -> int:
    return (
        len(raw) if isinstance(raw, bytes) else len(json.dumps(raw, ensure_ascii=False, default=str).encode())
    )


@dataclass(frozen=True, slots=True)
class Mixture:
    """Files and the share of bytes that each is to have; weights need not sum to 1."""

    files: tuple[SourceFile, ...]
    weights: tuple[int | float, ...]

    def __post_init__(self) -> None:
        if len(self.files) != len(self.weights) or not self.files:
            raise DataError(
                f"a mixture of {len(self.files)} files has {len(self.weights)} weights; give one a file"
            )
        if min(self.weights) < 0 or sum(self.weights) <= 0:
            raise DataError(f"the weights of a mixture must be >= 0 and not all 0, not {self.weights}")

    @classmethod
    def by_size(
        cls, files: Sequence[SourceFile], factors: Mapping[str, int | float] | None = None
    ) -> "Mixture":
        """Weights by size, times the factors of the name patterns that match (`{"*smilechat": 0.25}`).

        Raises `DataError` for a pattern that matches no file.
        """
        for pattern in factors or {}:
            if not any(file.matches(pattern) for file in files):
                raise DataError(
                    f"no file is called like {pattern!r}; there are {', '.join(f.name for f in files)}"
                )
        weights = [float(file.size_bytes) for file in files]
        for i, file in enumerate(files):
            for pattern, factor in (factors or {}).items():
                weights[i] *= factor if file.matches(pattern) else 1.0
        return cls(tuple(files), tuple(weights))

    def quotas(self, limit_bytes: int) -> tuple[int, ...]:
        """Bytes to take from each file: its share, but not more than it has; what is left over goes to the
        others."""
        weights = np.array(self.weights)
        sizes = np.array([file.size_bytes for file in self.files], dtype=np.float64)
        quotas = np.zeros(len(weights))
        for _ in weights:  # each round fills at least one file, or spends all that is left
            open_weights = np.where(quotas < sizes, weights, 0.0)
            left = limit_bytes - quotas.sum()
            if left < 1 or open_weights.sum() == 0:
                break
            quotas = np.minimum(sizes, quotas + left * open_weights / open_weights.sum())
        return tuple(int(quota) for quota in quotas)

    def sample(self, limit_bytes: int, *, seed: int = 0) -> list[tuple[SourceFile, Record]]:
        """A shuffled sample of about `limit_bytes` in all; no record twice."""
        sampled = [
            (file, record)
            for file, quota in zip(self.files, self.quotas(limit_bytes), strict=True)
            if quota
            for record in sample_records(file, limit_bytes=quota, seed=seed)
        ]
        order = np.random.default_rng([seed, len(sampled)]).permutation(len(sampled))
        return [sampled[i] for i in order]
