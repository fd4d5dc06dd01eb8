"""A person's own files as training data: text and talk in either language, found by their form, sampled to fit the run.

    corpus = file_corpus(folder, ["my-data"], num_tokens=8_000_000, vocab_size=8192, seed=0)

Each language gets half of the tokens where both are there, whatever the files weigh; within a language the files go by
size. Talk is learned from twice: every word of it in pretraining, the assistant's words alone in fine-tuning. A small
share of each file is kept back for bits per byte and never trained on.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar

from liaoliao.data.conversations import read_conversations, to_conversation
from liaoliao.data.records import Record
from liaoliao.data.sources import (
    Mixture,
    SourceFile,
    discover,
    guess_language,
    read_documents,
    sample_records,
)
from liaoliao.errors import DataError
from liaoliao.messages import Conversation
from liaoliao.recipes.corpus import (
    LANGS,
    Corpus,
    Lang,
    document_examples,
    opening_questions,
    talk_examples,
    within_rows,
    write_stream,
)
from liaoliao.text.chat_template import ChatTemplate
from liaoliao.text.tokenizer import Tokenizer

T = TypeVar("T")
BYTES_PER_TOKEN = 4.5  # a generous guess: too much sampled costs a second, too little repeats data
HELD_OUT_TEXTS = 120
HELD_OUT_CHARS = 4000
TOKENIZER_BYTES = 6_000_000
PRETRAIN = {"text": 0.7, "said": 0.3}
SFT = {"text": 0.45, "said": 0.15, "talks": 0.4}
NO_WEIGHTS: Final[Mapping[str, float]] = MappingProxyType({})


@dataclass(slots=True)
class Sampled:
    """What was drawn of one language."""

    texts: list[str]
    talks: list[Conversation]

    def all_texts(self) -> list[str]:
        """The texts, and what is said in the talks."""
        return self.texts + [said(talk) for talk in self.talks]


def file_corpus(
    folder: Path,
    paths: Sequence[str | Path],
    *,
    num_tokens: int | None,
    vocab_size: int,
    seed: int,
    tokenizer: Tokenizer | None = None,
    kinds: Sequence[str] = ("text", "said", "talks"),
    weights: Mapping[str, float] = NO_WEIGHTS,
    row_length: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Corpus:
    """Sample about `num_tokens` of text and as many of talk (None: all there is) from all usable files among `paths`.

    The tokenizer is trained on the sample if none is given. `kinds` names the streams that are wanted. `weights` change
    the files' shares of the sample (`wanted_files`). Talk is learned from within rows of `row_length`.
    """
    limit_bytes = None if num_tokens is None else int(num_tokens * BYTES_PER_TOKEN)
    files = wanted_files(usable_files(paths, say), weights)
    chats = [file.path for file in files if file.kind == "chat"]
    sampled = sample_files(files, limit_bytes, seed, weights)
    # from the end of the talks, which is about to be kept back where there are enough of them
    asked = {lang: opening_questions(reversed(drawn.talks)) for lang, drawn in sampled.items() if drawn.talks}
    held_out = {lang: kept for lang, drawn in sampled.items() if (kept := hold_out(drawn))}
    tokenizer = tokenizer or Tokenizer.train(tokenizer_texts(sampled, seed), vocab_size)
    template = ChatTemplate(tokenizer)
    streams = {}
    for lang, drawn in sampled.items():
        examples = {
            "text": document_examples(tokenizer, drawn.texts),
            "said": talk_examples(template, drawn.talks, all_tokens=True, files=chats),
            "talks": within_rows(talk_examples(template, drawn.talks, files=chats), row_length, say),
        }
        for name in kinds:
            shards = write_stream(folder, f"{name}:{lang}", tokenizer, examples[name], None)
            if len(shards):
                streams[f"{name}:{lang}"] = shards
    shares = (_shares(PRETRAIN, streams), _shares(SFT, streams))
    return Corpus(tokenizer, template, streams, *shares, held_out, questions=asked)


def usable_files(paths: Sequence[str | Path], say: Callable[[str], None]) -> list[SourceFile]:
    """Files of text and talk among `paths`; what a folder holds besides is named. Raises `DataError` if there are none."""
    found = discover(paths, on_skip=lambda path, why: say(f"  not used: {path.name} ({why})"))
    files = [file for file in found if file.kind != "preference"]
    if not files:
        raise DataError(
            f"{', '.join(map(str, paths))}: holds preference pairs only; training text or talk is needed"
        )
    say(f"  {len(files)} files, {sum(file.size_bytes for file in files) / 1e6:.1f} MB")
    return files


def wanted_files(files: Sequence[SourceFile], weights: Mapping[str, float]) -> list[SourceFile]:
    """The files without those of weight 0. `weights` are factors by name pattern: {"*.zh.jsonl": 2.0}.

    Raises `DataError` for a pattern that matches no file, and where no file is left.
    """
    mixture = Mixture.by_size(files, weights)
    return [file for file, weight in zip(mixture.files, mixture.weights, strict=True) if weight > 0]


def sample_files(
    files: Sequence[SourceFile],
    limit_bytes: int | None,
    seed: int,
    weights: Mapping[str, float] = NO_WEIGHTS,
) -> dict[Lang, Sampled]:
    """Text and talk of each language; files of both languages are parted record by record.

    Files of one kind and language are drawn from by size times `weights`, which count only where there is a limit.
    """
    drawn: dict[Lang, Sampled] = {lang: Sampled([], []) for lang in LANGS}
    groups = list(_groups(files))
    share = None if limit_bytes is None else limit_bytes // min(4, len(groups))
    for group in groups:
        for file, record in _records(group, share, seed, weights):
            if file.kind == "chat":
                talk = _conversation(file, record)
                drawn[_language(said(talk))].talks.append(talk)
            elif text := _text(file, record):
                drawn[_language(text)].texts.append(text)
    sampled = {lang: sample for lang, sample in drawn.items() if sample.texts or sample.talks}
    if not sampled:
        raise DataError(f"{', '.join(str(file.path) for file in files)}: no text is left to train on")
    return sampled


def _records(
    files: Sequence[SourceFile], limit_bytes: int | None, seed: int, weights: Mapping[str, float]
) -> list[tuple[SourceFile, Record]]:
    """Records of all the files in random order: each file in its share, or with no limit all of them."""
    if limit_bytes is not None:
        theirs = {name: factor for name, factor in weights.items() if any(f.matches(name) for f in files)}
        return Mixture.by_size(files, theirs).sample(limit_bytes, seed=seed)
    records = [(file, record) for file in files for record in sample_records(file, fraction=1.0, seed=seed)]
    random.Random(seed).shuffle(records)
    return records


def _conversation(file: SourceFile, record: Record) -> Conversation:
    try:
        return to_conversation(record)
    except DataError as error:
        for _ in read_conversations(file.path):  # finds the line, which a sampled record does not know
            pass
        raise DataError(f"{file.path}: {error}") from error


def _text(file: SourceFile, record: Record) -> str:
    text = record.get("text")
    if not isinstance(text, str):
        for _ in read_documents(file.path):
            pass
    return str(text)


def _groups(files: Sequence[SourceFile]) -> Iterator[list[SourceFile]]:
    """Files of one kind and language together: each group gets the same number of bytes."""
    for kind in ("pretrain", "chat"):
        for lang in ("en", "zh", "mixed"):
            if group := [f for f in files if (f.kind, f.lang) == (kind, lang)]:
                yield group


def _language(text: str) -> Lang:
    return "zh" if guess_language(text[:2000]) == "zh" else "en"


def said(talk: Conversation) -> str:
    """All that is said in a conversation, a line a message."""
    return "\n".join(message.text for message in talk.messages)


def hold_out(sample: Sampled) -> list[str]:
    """Take the last texts and talks out of the sample (it is shuffled): one in twenty, at most HELD_OUT_TEXTS together."""
    texts = _pop(sample.texts, min(len(sample.texts) // 20, HELD_OUT_TEXTS // 2))
    talks = _pop(sample.talks, min(len(sample.talks) // 20, HELD_OUT_TEXTS // 2))
    return [kept for text in (*texts, *map(said, talks)) if (kept := text[:HELD_OUT_CHARS])]


def _pop(items: list[T], count: int) -> list[T]:
    return [items.pop() for _ in range(count)]


def tokenizer_texts(
    sampled: Mapping[Lang, Sampled], seed: int, limit_bytes: int = TOKENIZER_BYTES
) -> Iterator[str]:
    """What a tokenizer learns from: the same number of bytes of each language, `limit_bytes` in all."""
    for drawn in sampled.values():
        pool = drawn.all_texts()
        random.Random(seed).shuffle(pool)
        left = limit_bytes // len(sampled)
        for text in pool:
            if left <= 0:
                break
            left -= len(text.encode())
            yield text


def _shares(shares: Mapping[str, float], streams: Mapping[str, object]) -> dict[str, float]:
    """Each language an equal part; of a language that lacks a stream, the others take its share."""
    result = {}
    for lang in LANGS:
        there = {name: share for name, share in shares.items() if f"{name}:{lang}" in streams}
        for name, share in there.items():
            result[f"{name}:{lang}"] = share / sum(there.values())
    return result
