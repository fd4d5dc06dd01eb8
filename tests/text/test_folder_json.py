"""What JSON files of other people may hold: only what a model can have comes through."""

from pathlib import Path

import pytest

from liaoliao.errors import CheckpointError
from liaoliao.text.folder_json import read_generation, read_json, stop_ids


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not readable JSON"),
        ("[" * 100_000, "not readable JSON"),
        ('{"eos_token_id": 1' + "0" * 5000 + "}", "not readable JSON"),
        ("[]", "must hold a JSON object, not list"),
        ('{"eos_token_id": "x"}', "eos_token_id must be a token id or a list of them, got 'x'"),
        ('{"eos_token_id": true}', "eos_token_id must be a token id"),
        ('{"eos_token_id": [1, 2.5]}', "eos_token_id must be a token id"),
        ('{"eos_token_id": {}}', "eos_token_id must be a token id"),
        ('{"eos_token_id": 1' + "0" * 400 + "}", "eos_token_id must be a token id"),
        ('{"temperature": "hot"}', "temperature must be a number, got 'hot'"),
        ('{"temperature": 1' + "0" * 400 + "}", "temperature must be a number"),
        ('{"top_p": NaN}', "top_p must be a number"),
        ('{"min_p": Infinity}', "min_p must be a number"),
        ('{"repetition_penalty": [1]}', "repetition_penalty must be a number"),
        ('{"top_k": 1e400}', "top_k must be a whole number"),
        ('{"do_sample": 1}', "do_sample must be true or false"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_malformed_generation_config_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "generation_config.json").write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=rf"generation_config\.json.*{words}"):
        read_generation(tmp_path)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("{}", ()),
        ('{"eos_token_id": null, "temperature": null, "do_sample": null}', ()),
        ('{"eos_token_id": 7, "temperature": 1, "top_k": 0, "do_sample": false}', (7,)),
        ('{"eos_token_id": [7, 8], "max_length": "anything"}', (7, 8)),
    ],
)
def test_a_sound_generation_config_comes_through(tmp_path: Path, text: str, ids: tuple[int, ...]) -> None:
    assert read_generation(tmp_path) == {}
    (tmp_path / "generation_config.json").write_text(text, encoding="utf-8")
    assert stop_ids(read_generation(tmp_path)) == ids
    assert read_generation(tmp_path) == read_json(tmp_path / "generation_config.json")


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(CheckpointError, match="not readable JSON"):
        read_generation(tmp_path)
