import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from liaoliao.errors import DataError
from liaoliao.recipes.corpus import Corpus
from liaoliao.recipes.file_corpus import file_corpus, said, sample_files, usable_files, wanted_files
from tests.recipes.tiny import UNRENDERABLE, write_chats, write_texts


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


def test_a_conversation_that_cannot_be_rendered_is_named_by_its_line(tmp_path: Path) -> None:
    path = write_chats(tmp_path, num=15)
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[10] = json.dumps(UNRENDERABLE)
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DataError, match=r"chats\.jsonl, line 11: the arguments of the tool call f"):
        file_corpus(tmp_path / "out", [path], num_tokens=None, vocab_size=300, seed=0)


def test_talk_longer_than_a_row_is_learned_within_rows(tmp_path: Path) -> None:
    """The answers' tokens are all there, each once; what is read whole is as it was."""
    lines: list[str] = []
    paths = [write_chats(tmp_path)]
    whole = file_corpus(tmp_path / "whole", paths, num_tokens=None, vocab_size=300, seed=0)
    cut = file_corpus(
        tmp_path / "cut", paths, num_tokens=None, vocab_size=300, seed=0, row_length=24, say=lines.append
    )
    num_long = int((whole.streams["talks:en"].lengths > 24).sum())
    assert num_long > 0
    told = f"  conversations longer than a row of 24 tokens: {num_long}, learned a row at a time"
    assert told in lines
    assert cut.streams["talks:en"].lengths.max() <= 24
    assert cut.streams["talks:en"].meta.num_items == whole.streams["talks:en"].meta.num_items
    assert cut.digests["said:en"] == whole.digests["said:en"]


def test_weights_change_the_shares_of_files(tmp_path: Path) -> None:
    for name in "ab":
        texts = [json.dumps({"text": f"{name} walks by the mill, time {i}."}) for i in range(2000)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(texts), encoding="utf-8")
    write_chats(tmp_path)  # of another kind: no pattern need be about it
    files = usable_files([tmp_path], lambda line: None)

    def counts(weights: dict[str, float]) -> Counter[str]:
        sampled = sample_files(wanted_files(files, weights), 80_000, 0, weights)
        return Counter(text[0] for text in sampled["en"].texts)

    even, uneven = counts({}), counts({"a.jsonl": 3.0})
    assert even["a"] == pytest.approx(even["b"], rel=0.05)
    assert uneven["a"] == pytest.approx(3 * uneven["b"], rel=0.05)
    assert counts({"a": 0.0}).keys() == {"b"}
    with pytest.raises(DataError, match=r"no file is called like '\*\.zh\.jsonl'; there are a, b, chats"):
        wanted_files(files, {"*.zh.jsonl": 2.0})
    with pytest.raises(DataError, match="not all 0"):
        wanted_files(files, {"*": 0.0})
