import gzip
import json
from pathlib import Path

import pytest

from liaoliao.errors import DataError
from liaoliao.recipes.corpus import Corpus
from liaoliao.recipes.file_corpus import file_corpus, said, sample_files, usable_files
from tests.recipes.tiny import write_chats, write_texts


def all_said(corpus: Corpus, name: str) -> list[str]:
    shards = corpus.streams[name]
    return [corpus.tokenizer.decode(shards[i].token_ids.tolist()) for i in range(len(shards))]


def test_every_text_is_learned_or_kept_back_and_none_is_both(tmp_path: Path) -> None:
    path = write_texts(tmp_path, num=400)
    corpus = file_corpus(tmp_path / "out", [path], num_tokens=None, vocab_size=300, seed=0)
    texts = sorted(json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines())
    learned = [
        text.replace("<|endoftext|>", "")
        for lang in ("en", "zh")
        for text in all_said(corpus, f"text:{lang}")
    ]
    kept = [text for texts in corpus.held_out.values() for text in texts]
    assert sorted(learned + kept) == texts
    assert len(kept) == 20


def test_languages_get_equal_shares_of_text_and_talk(tmp_path: Path) -> None:
    paths = [write_texts(tmp_path), write_chats(tmp_path)]
    corpus = file_corpus(tmp_path / "out", paths, num_tokens=None, vocab_size=300, seed=0)
    assert sum(share for name, share in corpus.pretrain.items() if name.endswith(":zh")) == pytest.approx(1)
    assert sum(share for name, share in corpus.pretrain.items() if name.endswith(":en")) == pytest.approx(1)
    assert "talks:en" in corpus.sft
    assert "talks:en" not in corpus.pretrain
    assert "talks:zh" not in corpus.streams


def test_a_little_data_keeps_nothing_back_and_still_trains(tmp_path: Path) -> None:
    path = tmp_path / "one.txt"
    path.write_text("A single short text.", encoding="utf-8")
    corpus = file_corpus(tmp_path / "out", [path], num_tokens=1000, vocab_size=280, seed=0)
    assert corpus.held_out == {}
    assert corpus.num_tokens > 0


def test_without_a_limit_compressed_files_are_read_to_their_end(tmp_path: Path) -> None:
    path = tmp_path / "same.jsonl.gz"  # compresses far better than the size is guessed to
    path.write_bytes(gzip.compress(b'{"text": "the same again and again and again"}\n' * 500))
    sampled = sample_files(usable_files([path], lambda line: None), None, 0)
    assert len(sampled["en"].texts) == 500


def test_a_conversation_that_is_none_is_named_by_its_line(tmp_path: Path) -> None:
    path = write_chats(tmp_path)
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[30] = '{"messages": [{"role": "user", "content": "?"}]}'
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DataError, match=r"chats\.jsonl, line 31"):
        sample_files(usable_files([path], lambda line: None), None, 0)


def test_a_saved_corpus_comes_back_whole(tmp_path: Path) -> None:
    made = file_corpus(tmp_path / "out", [write_chats(tmp_path)], num_tokens=None, vocab_size=300, seed=0)
    made.save(tmp_path / "out")
    loaded = Corpus.load(tmp_path / "out")
    assert loaded.digests == made.digests
    assert (loaded.pretrain, loaded.sft, loaded.held_out) == (made.pretrain, made.sft, made.held_out)
    assert loaded.template.stop_ids == made.template.stop_ids
    assert loaded.template.jinja == made.template.jinja


def test_said_is_a_line_a_message(tmp_path: Path) -> None:
    sampled = sample_files(usable_files([write_chats(tmp_path)], lambda line: None), None, 0)
    text = said(sampled["en"].talks[0])
    assert text.startswith("Where is ")
    assert text.count("\n") == 1
