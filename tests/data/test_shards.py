import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liaoliao.data.example import Example
from liaoliao.data.shards import ShardWriter, TokenShards
from liaoliao.errors import ConfigError, DataError

WEIGHTS = st.one_of(
    st.just([1.0]), st.sampled_from([[0.0, 1.0], [0.0, 1.0, 255.0], [0.5, 1.0], [256.0], [-1.0, 1.0]])
)


@st.composite
def examples(draw: st.DrawFn, vocab_size: int) -> tuple[list[int], list[float]]:
    ids = draw(st.lists(st.integers(0, vocab_size - 1), min_size=1, max_size=12))
    pool = draw(WEIGHTS)
    return ids, [draw(st.sampled_from(pool)) for _ in ids]


def write(folder: Path, examples: list[Example], vocab_size: int = 100) -> TokenShards:
    writer = ShardWriter(folder, vocab_size=vocab_size, notes={"tokenizer": "abc"})
    for example in examples:
        writer.add(example)
    return writer.finish()


@given(st.data(), st.sampled_from([100, 1 << 16, (1 << 16) + 1, 1 << 20]))
def test_what_goes_in_comes_out(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, vocab_size: int
) -> None:
    added = [Example(*drawn) for drawn in data.draw(st.lists(examples(vocab_size), max_size=8))]
    shards = write(tmp_path_factory.mktemp("data") / "shards", added, vocab_size)
    assert [shards[i] for i in range(len(shards))] == added
    assert shards.lengths.tolist() == [len(example) for example in added]
    assert shards.meta.num_tokens == sum(map(len, added))
    assert shards.meta.num_items == sum(float(example.loss_weights.sum()) for example in added)
    assert shards.tokens.dtype == (np.uint16 if vocab_size <= 1 << 16 else np.uint32)
    shards.verify()


def test_weights_take_the_room_they_need(tmp_path: Path) -> None:
    """Weights of each kind are kept in their own way, also where the first ones would have fitted in less."""
    ones, masked, soft = Example([1, 2]), Example([3, 4], [0, 1]), Example([5, 6], [0.1, 1])
    for name, added, size in (
        ("a", [ones], None),
        ("b", [ones, masked], 4),
        ("c", [ones, masked, soft, ones], 32),
    ):
        shards = write(tmp_path / name, added)
        path = tmp_path / name / "weights.bin"
        assert (path.stat().st_size if path.exists() else None) == size
        assert [shards[i] for i in range(len(shards))] == added


def test_the_digest_names_the_content(tmp_path: Path) -> None:
    added = [Example([1, 2, 3]), Example([4], [0.0])]
    digests = {
        write(tmp_path / "a", added).digest,
        write(tmp_path / "b", added).digest,
        write(tmp_path / "other-weights", [added[0], Example([4])]).digest,
        write(tmp_path / "other-cut", [Example([1, 2]), Example([3]), added[1]]).digest,
    }
    assert len(digests) == 3


def test_nothing_is_there_before_it_is_whole(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path / "shards", vocab_size=10)
    writer.add(Example([1]))
    assert not (tmp_path / "shards").exists()
    shards = write(
        tmp_path / "shards", [Example([2])], vocab_size=10
    )  # what a broken-off run left is swept away
    assert [shards[i] for i in range(len(shards))] == [Example([2])]
    assert shards.meta.notes == {"tokenizer": "abc"}
    assert not (tmp_path / "shards.partial").exists()


def test_writing_refuses(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path / "shards", vocab_size=10)
    for example, message in (
        (Example([3, 10]), "token id 10 is outside the vocabulary of 10"),
        (Example([-1]), "token id -1"),
        (Example([]), "example 0 has no tokens"),
        (Example([1], [1.0], {"advantages": [0.0]}), r"columns \(advantages\)"),
    ):
        with pytest.raises(DataError, match=message):
            writer.add(example)
    writer.finish()
    with pytest.raises(DataError, match="exists; delete it"):
        ShardWriter(tmp_path / "shards", vocab_size=10)


def test_reading_refuses_what_is_damaged(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    with pytest.raises(DataError, match="not a folder of token shards"):
        TokenShards(folder)
    shards = write(folder, [Example([1, 2, 3])])
    with pytest.raises(IndexError):
        shards[1]
    data = (folder / "tokens.bin").read_bytes()
    (folder / "tokens.bin").write_bytes(data[:-2] + b"\x07\x00")
    with pytest.raises(DataError, match="damaged; delete the folder"):
        TokenShards(folder).verify()
    (folder / "tokens.bin").write_bytes(data)
    TokenShards(folder).verify()
    offsets = (folder / "offsets.bin").read_bytes()
    for wrong in ([0, 9], [3, 0], [-3, 3]):
        (folder / "offsets.bin").write_bytes(np.array(wrong, "<i8").tobytes())
        with pytest.raises(DataError, match="damaged"):
            TokenShards(folder).verify()
    (folder / "offsets.bin").write_bytes(offsets)
    (folder / "tokens.bin").write_bytes(data[:-1])
    with pytest.raises(DataError, match=r"tokens\.bin: 5 bytes where meta.json promises 6"):
        TokenShards(folder)


def test_meta_of_another_format_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "shards", [Example([1])])
    path = tmp_path / "shards/meta.json"
    meta = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**meta, "format": 99}), encoding="utf-8")
    with pytest.raises(DataError, match="shard format 99 is not known"):
        TokenShards(tmp_path / "shards")
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"meta\.json"):
        TokenShards(tmp_path / "shards")
