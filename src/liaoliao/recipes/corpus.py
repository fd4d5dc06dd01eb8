"""What a run learns from: a tokenizer, streams of tokenized examples, and texts that are kept back.

    corpus = town_corpus(folder, num_tokens=8_000_000, vocab_size=4096, seed=0)      # the offline default
    corpus = file_corpus(folder, ["my-data"], num_tokens=8_000_000, vocab_size=8192, seed=0)
    corpus.streams  ->  {"documents:en": TokenShards(...), "talks:zh": ..., ...}

A stage draws from the streams by weight; the streams are written once under `folder` and read through memory maps.
"""

import json
import random
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

from liaoliao.data.conversations import find_conversation
from liaoliao.data.example import Example
from liaoliao.data.packing import windows
from liaoliao.data.shards import ShardWriter, TokenShards
from liaoliao.errors import DataError, TemplateError
from liaoliao.messages import Conversation
from liaoliao.recipes.reporter import Reporter
from liaoliao.text.chat_template import Template, load_template
from liaoliao.text.tokenizer import Tokenizer

Lang = Literal["en", "zh"]
LANGS: tuple[Lang, ...] = ("en", "zh")
BATCH = 2000  # texts tokenized together
CORPUS_FILE = "corpus.json"  # written last: its presence says that the folder is whole


@dataclass(frozen=True, slots=True)
class Corpus:
    """The data of a run. `pretrain` and `sft` give each stream's share of the tokens of a stage; `questions` are what
    the model is asked by the way (`samples.py`).
    """

    tokenizer: Tokenizer
    template: Template
    streams: Mapping[str, TokenShards]
    pretrain: Mapping[str, float]
    sft: Mapping[str, float]
    held_out: Mapping[Lang, Sequence[str]]
    tools: tuple[str, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    questions: Mapping[Lang, Sequence[str]] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write what is not in the streams beside them, so that a resumed run finds all of it again."""
        home = folder / "tokenizer"
        self.tokenizer.save(home)
        (home / "chat_template.jinja").write_text(self.template.jinja, encoding="utf-8")
        stops = json.dumps({"eos_token_id": list(self.template.stop_ids)})
        (home / "generation_config.json").write_text(stops, encoding="utf-8")
        record = {
            "streams": list(self.streams),
            "pretrain": self.pretrain,
            "sft": self.sft,
            "held_out": self.held_out,
            "tools": self.tools,
            "notes": self.notes,
            "questions": self.questions,
        }
        (folder / CORPUS_FILE).write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Corpus":
        """What `save` wrote."""
        record = json.loads((folder / CORPUS_FILE).read_text(encoding="utf-8"))
        tokenizer = Tokenizer.load(folder / "tokenizer")
        template = load_template(folder / "tokenizer", tokenizer)
        streams = {name: TokenShards(stream_folder(folder, name)) for name in record.pop("streams")}
        record["tools"] = tuple(record["tools"])
        return cls(tokenizer, template, streams, **record)

    @property
    def num_tokens(self) -> int:
        """Tokens of all streams together."""
        return sum(shards.meta.num_tokens for shards in self.streams.values())

    @property
    def digests(self) -> dict[str, str]:
        """What the data was, for the lineage of a checkpoint."""
        return {name: shards.digest for name, shards in self.streams.items()}


def kept_corpus(folder: Path, make: Callable[[], Corpus], reporter: Reporter) -> Corpus:
    """The corpus in `folder`: made once and told about; found again by a resumed run. A half-made one is made anew.

    `folder` belongs to the run: what `recipes.run.begin` lets through is ours to delete. Raises DataError where
    what is found is damaged.
    """
    if (folder / CORPUS_FILE).exists():
        return _found_again(folder)
    shutil.rmtree(folder, ignore_errors=True)
    began = time.monotonic()
    corpus = make()
    corpus.save(folder)
    for lang, texts in corpus.held_out.items():
        reporter.say(f"  {lang}: {corpus.tokenizer.bytes_per_token(chr(10).join(texts)):.2f} bytes per token")
    total = f"{corpus.num_tokens / 1e6:.2f}M tokens, vocabulary {corpus.tokenizer.vocab_size}"
    reporter.say(f"  {total}, {time.monotonic() - began:.0f} s")
    return corpus


def _found_again(folder: Path) -> Corpus:
    try:
        corpus = Corpus.load(folder)
        for shards in corpus.streams.values():
            shards.verify()
    except DataError as error:
        raise DataError(
            f"{folder}: what this run learns from is damaged; start a new one in another folder (--out)"
        ) from error
    return corpus


def document_examples(tokenizer: Tokenizer, texts: Iterable[str]) -> Iterator[Example]:
    """Documents between end-of-text tokens: the first one is the context of the first word."""
    end = tokenizer.end_of_text_id
    texts = iter(texts)
    while batch := list(islice(texts, BATCH)):
        for ids in tokenizer.encode_batch(batch):
            yield Example([end, *ids, end])


def talk_examples(
    template: Template,
    talks: Iterable[Conversation],
    *,
    all_tokens: bool = False,
    files: Sequence[Path] = (),
) -> Iterator[Example]:
    """Conversations as the chat template renders them, learned from where the assistant speaks (or everywhere).

    Raises DataError for one that it cannot render, with its place in the `files` that they were read from.
    """
    for talk in talks:
        try:
            rendered = template.render(talk.messages, talk.tools)
        except TemplateError as error:
            where = find_conversation(files, talk) or "a conversation"
            raise DataError(f"{where}: {error}") from error
        yield Example(rendered.token_ids, None if all_tokens else rendered.loss_weights)


def within_rows(
    examples: Iterable[Example], row_length: int | None, say: Callable[[str], None] = lambda line: None
) -> Iterator[Example]:
    """Conversations, those longer than a row as windows of it; how many there are is said at the end.

    Without a row length they stay as they are.
    """
    if row_length is None:
        yield from examples
        return
    num_long = 0
    for example in examples:
        num_long += len(example) > row_length
        yield from windows(example, row_length)
    if num_long:
        say(f"  conversations longer than a row of {row_length} tokens: {num_long}, learned a row at a time")


def opening_questions(talks: Iterable[Conversation], most: int = 4) -> list[str]:
    """What people begin the first of these talks with; a talk that begins otherwise is passed over."""
    said = (talk.messages[0] for talk in talks if talk.messages)
    asked = (message.text for message in said if message.role == "user" and message.text)
    return list(islice(asked, most))


def drill_examples(
    tokenizer: Tokenizer, template: Template, drills: Iterable[Conversation | str]
) -> Iterator[Example]:
    """Drills are short texts or short talks."""
    for drill in drills:
        yield from (
            document_examples(tokenizer, [drill])
            if isinstance(drill, str)
            else talk_examples(template, [drill])
        )


def write_stream(
    folder: Path, name: str, tokenizer: Tokenizer, examples: Iterable[Example], num_tokens: int | None
) -> TokenShards:
    """Write examples until they hold `num_tokens` (None: all of them)."""
    writer = ShardWriter(stream_folder(folder, name), vocab_size=tokenizer.vocab_size)
    total = 0
    for example in examples:
        if len(example):
            writer.add(example)
            total += len(example)
        if num_tokens is not None and total >= num_tokens:
            break
    return writer.finish()


def stream_folder(folder: Path, name: str) -> Path:
    """Where a stream's shards are."""
    return folder / name.replace(":", "-")


def rng_for(seed: int, *names: str) -> random.Random:
    """A generator of its own for every purpose, so that adding one stream changes no other."""
    return random.Random("/".join([str(seed), *names]))
