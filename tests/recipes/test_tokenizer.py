from pathlib import Path

import pytest

from liaoliao.errors import DataError, UsageError
from liaoliao.recipes.tokenizer import train_tokenizer
from liaoliao.text.tokenizer import Tokenizer
from tests.recipes.tiny import write_texts


def test_both_languages_are_learned_and_measured(tmp_path: Path) -> None:
    texts = write_texts(tmp_path, num=200)
    result = train_tokenizer([texts], 400, tmp_path / "out")
    assert result.bytes_per_token.keys() == {"en", "zh"}
    assert all(figure > 1.5 for figure in result.bytes_per_token.values())
    loaded = Tokenizer.load(result.folder)
    assert loaded.vocab_size <= 400
    assert loaded.decode(loaded.encode("小明 and 🐦")) == "小明 and 🐦"


def test_the_same_files_give_the_same_tokenizer(tmp_path: Path) -> None:
    texts = write_texts(tmp_path)
    files = [train_tokenizer([texts], 350, tmp_path / name).folder / "tokenizer.json" for name in "ab"]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_folder_that_holds_one_is_not_overwritten(tmp_path: Path) -> None:
    texts = write_texts(tmp_path)
    train_tokenizer([texts], 300, tmp_path / "out")
    with pytest.raises(UsageError, match="already holds a tokenizer"):
        train_tokenizer([texts], 300, tmp_path / "out")


def test_nothing_to_learn_from_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="holds no records"):
        train_tokenizer([tmp_path / "empty.jsonl"], 300, tmp_path / "out")
