"""A small bilingual tokenizer, made once, and its folder."""

from pathlib import Path

import pytest

from liaoliao.text.tokenizer import Tokenizer
from tests.text.strategies import CHINESE, ENGLISH


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """600 tokens from a few lines of English and Chinese."""
    roles = "system\nuser\nassistant\ntool\n" * 4
    return Tokenizer.train([ENGLISH, CHINESE, ENGLISH, CHINESE, roles], vocab_size=400)


@pytest.fixture(scope="session")
def folder(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tokenizer, saved."""
    path = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save(path)
    return path
