"""Examples tokenized once and kept on disk, read through memory maps.

Place in the flow: examples -> **shards** -> packing -> batches. A folder holds `tokens.bin` (uint16 or
uint32, by the size of the vocabulary), `offsets.bin` (int64, where each example starts, and the end),
`weights.bin` (left out where all weights are 1; uint8 where they are small whole numbers; else float32) and
`meta.json` with counts and a SHA-256 digest.

    writer = ShardWriter(folder, vocab_size=8192)
    writer.add(Example([5, 6, 7]))
    writer.finish()
    TokenShards(folder)[0]  ->  Example([5, 6, 7])
"""

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from liaoliao.config import load_json, save_json
from liaoliao.data.example import Example
from liaoliao.errors import DataError

WeightKind: TypeAlias = Literal["ones", "uint8", "float32"]
TokenArray: TypeAlias = NDArray[np.uint16] | NDArray[np.uint32]
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class ShardMeta:
    """What `meta.json` says."""

    vocab_size: int
    num_examples: int
    num_tokens: int
    num_items: float  # the sum of the loss weights
    weights: WeightKind
    digest: str  # SHA-256 over tokens, weights and lengths, in the order they were added
    notes: dict[str, str] = field(
        default_factory=dict
    )  # whatever the writer wants kept, such as the tokenizer's digest
    format: int = _FORMAT


class ShardWriter:
    """Writes a folder of token shards; it appears under its name only when `finish` has written all of it.

    Raises `DataError` where the folder exists, an example is empty, carries columns, or has ids outside the
    vocabulary.
    """

    def __init__(
        self, folder: str | Path, *, vocab_size: int, notes: Mapping[str, str] | None = None
    ) -> None:
        self.folder, self.vocab_size, self.notes = Path(folder), vocab_size, dict(notes or {})
        if self.folder.exists():
            raise DataError(f"{self.folder} exists; delete it or choose another folder for the token shards")
        self._partial = self.folder.with_name(self.folder.name + ".partial")
        shutil.rmtree(self._partial, ignore_errors=True)  # left by a run that was cut off
        self._partial.mkdir(parents=True)
        self._tokens = (self._partial / "tokens.bin").open("wb")
        self._weights = _WeightFile(self._partial / "weights.bin")
        self._lengths: list[int] = []
        self._digest = hashlib.sha256()

    def add(self, example: Example) -> None:
        """Append one example."""
        if not len(example) or example.columns:
            what = (
                "no tokens"
                if not len(example)
                else f"columns ({', '.join(example.columns)}), which shards do not keep"
            )
            raise DataError(f"{self.folder}: example {len(self._lengths)} has {what}")
        low, high = example.token_ids.min(), example.token_ids.max()
        if low < 0 or high >= self.vocab_size:
            wrong = low if low < 0 else high
            raise DataError(f"{self.folder}: token id {wrong} is outside the vocabulary of {self.vocab_size}")
        data = example.token_ids.astype(_id_type(self.vocab_size)).tobytes()
        self._tokens.write(data)
        self._weights.add(example.loss_weights)
        self._lengths.append(len(example))
        for part in (len(example).to_bytes(8, "little"), data, example.loss_weights.tobytes()):
            self._digest.update(part)

    def finish(self) -> "TokenShards":
        """Close the files, write `meta.json`, give the folder its name, and open it."""
        self._tokens.close()
        self._weights.close()
        offsets = np.concatenate([[0], np.cumsum(self._lengths, dtype=np.int64)]).astype("<i8")
        offsets.tofile(self._partial / "offsets.bin")
        meta = ShardMeta(
            vocab_size=self.vocab_size,
            num_examples=len(self._lengths),
            num_tokens=int(offsets[-1]),
            num_items=self._weights.total,
            weights=self._weights.kind,
            digest=self._digest.hexdigest(),
            notes=self.notes,
        )
        save_json(meta, self._partial / "meta.json")
        self._partial.rename(self.folder)
        return TokenShards(self.folder)


class _WeightFile:
    """Weights in the smallest of the three kinds that holds them; what is written changes kind when it
    must."""

    def __init__(self, path: Path) -> None:
        self.path, self.total, self.kind = path, 0.0, _KINDS[0]
        self._count = 0
        self._handle = path.open("wb")

    def add(self, weights: NDArray[np.float32]) -> None:
        kind = _weight_kind(weights)
        if _KINDS.index(kind) > _KINDS.index(self.kind):
            self._rewrite(kind)
        if self.kind != "ones":
            self._handle.write(weights.astype(self.kind).tobytes())
        self._count += len(weights)
        self.total += float(weights.sum(dtype=np.float64))

    def _rewrite(self, kind: WeightKind) -> None:
        self._handle.close()
        was_ones = self.kind == "ones"
        so_far = np.ones(self._count, np.uint8) if was_ones else np.fromfile(self.path, dtype=self.kind)
        so_far.astype(kind).tofile(self.path)
        self._handle, self.kind = self.path.open("ab"), kind

    def close(self) -> None:
        self._handle.close()
        if self.kind == "ones":
            self.path.unlink()


_KINDS: tuple[WeightKind, ...] = ("ones", "uint8", "float32")


def _weight_kind(weights: NDArray[np.float32]) -> WeightKind:
    if (weights == 1).all():
        return "ones"
    whole = (weights >= 0) & (weights <= 255) & (weights == np.floor(weights))
    return "uint8" if whole.all() else "float32"


def _id_type(vocab_size: int) -> str:
    return "<u2" if vocab_size <= 1 << 16 else "<u4"


class TokenShards:
    """The examples of a folder that `ShardWriter` wrote; opening costs nothing, whatever the size.

    Raises `DataError` where a file is missing or has not the size that `meta.json` promises; `verify` reads
    everything.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.meta = self._read_meta()
        self.tokens = cast(
            TokenArray, self._open("tokens.bin", _id_type(self.meta.vocab_size), self.meta.num_tokens)
        )
        self.offsets: NDArray[np.int64] = self._open("offsets.bin", "<i8", self.meta.num_examples + 1)
        kind = self.meta.weights
        self.weights = None if kind == "ones" else self._open("weights.bin", kind, self.meta.num_tokens)

    def __len__(self) -> int:
        return self.meta.num_examples

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < len(self):
            raise IndexError(f"example {index} of {len(self)} in {self.folder}")
        span = slice(int(self.offsets[index]), int(self.offsets[index + 1]))
        return Example(self.tokens[span], None if self.weights is None else self.weights[span])

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each example, (N,)."""
        return np.diff(self.offsets)

    @property
    def digest(self) -> str:
        """Names the content: equal digests, equal examples."""
        return self.meta.digest

    def verify(self) -> None:
        """Read everything and compare with the digest. Raises `DataError` where a byte has changed."""
        if self._digest_of_content() != self.digest:
            raise DataError(
                f"{self.folder}: the token shards are damaged; delete the folder and make them again"
            )

    def _digest_of_content(self) -> str:
        """As `ShardWriter` made it, without making the examples; of offsets that cannot be theirs there is none."""
        offsets, digest = self.offsets.tolist(), hashlib.sha256()
        if offsets[0] != 0 or offsets[-1] != self.meta.num_tokens or (self.lengths < 1).any():
            return ""
        for first, last in pairwise(offsets):
            size, span = last - first, slice(first, last)
            weights: NDArray[Any] = np.ones(size) if self.weights is None else self.weights[span]
            digest.update(size.to_bytes(8, "little"))
            digest.update(self.tokens[span].tobytes())
            digest.update(weights.astype(np.float32).tobytes())
        return digest.hexdigest()

    def _read_meta(self) -> ShardMeta:
        path = self.folder / "meta.json"
        if not path.is_file():
            raise DataError(f"{self.folder}: not a folder of token shards (it has no meta.json)")
        meta = load_json(ShardMeta, path)
        if meta.format != _FORMAT:
            raise DataError(
                f"{path}: shard format {meta.format} is not known; delete the folder and make them again"
            )
        return meta

    def _open(self, name: str, dtype: str, size: int) -> NDArray[Any]:
        path, wanted = self.folder / name, size * np.dtype(dtype).itemsize
        found = path.stat().st_size if path.exists() else 0
        if found != wanted:
            raise DataError(
                f"{path}: {found} bytes where meta.json promises {wanted}; delete the folder, make it again"
            )
        if not size:
            return np.zeros(0, dtype=dtype)
        # a plain array over the map: slicing np.memmap itself costs several times as much
        return np.asarray(np.memmap(path, dtype=dtype, mode="r", shape=(size,)))
