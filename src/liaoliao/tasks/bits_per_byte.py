"""Bits per byte of any text in a file: how well the model foretells it, comparable across tokenizers.

Place in the flow: file -> documents (token ids, number of bytes) -> engine.score -> bits per byte. Total nats
/ ln 2 / UTF-8 bytes. A document starts after an end-of-text token, which is context and not counted. What is
longer than the model's context is scored in windows that overlap by half: no token is skipped, none counted
twice.

    windows(10, size=4)  ->  (0, 1, 4), (2, 4, 6), (4, 6, 8), (6, 8, 10)      start, first counted, stop

Conversations are scored as the chat template renders them, all tokens but the first; their bytes are those of
what is said (and of tool definitions), so the tokens that mark the turns count against the model.
"""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from liaoliao.chat.assistant import Assistant
from liaoliao.data.conversations import to_conversation
from liaoliao.data.records import Record, parse, place, raw_records
from liaoliao.data.sources import kind_of
from liaoliao.errors import DataError, TemplateError, UsageError
from liaoliao.messages import Conversation, Message, Reasoning, Text, ToolCall, ToolResult
from liaoliao.tasks.task import Progress, TaskResult, ratio_and_stderr
from liaoliao.text.chat_template import Template
from liaoliao.text.tokenizer import Tokenizer

Language: TypeAlias = Literal["en", "zh"]
Window: TypeAlias = tuple[int, int, int]  # start, first counted token, stop
_GROUP_TOKENS = 1 << 16  # how much is handed to the engine at once
_STRETCHES = 20


@runtime_checkable
class Scorer(Protocol):
    """The part of the engine that is needed here."""

    @property
    def max_length(self) -> int:
        """Tokens of a text at most."""

    def score(self, batch: Sequence[Sequence[int]]) -> list[list[float]]:
        """Logprobs of every token but the first."""


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """Token ids, the first of them context only, and the bytes of text that the others stand for."""

    token_ids: NDArray[np.int32]
    num_bytes: int


@dataclass(frozen=True, slots=True)
class BitsPerByte:
    """The task of one file; its result is called `text:en` or `text:zh`."""

    path: Path
    lang: str  # "en" or "zh"

    def __post_init__(self) -> None:
        if self.lang not in get_args(Language):
            raise UsageError(
                f"{self.lang!r} is no language for a text; use {' or '.join(get_args(Language))}"
            )

    @property
    def name(self) -> str:
        """`text:en` or `text:zh`."""
        return f"text:{self.lang}"

    @property
    def metric(self) -> str:
        """`bits_per_byte`."""
        return "bits_per_byte"

    def evaluate(
        self,
        assistant: Assistant,
        *,
        limit: int | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> TaskResult:
        """Score the documents of the file, at most `limit` of them, chosen by `seed`."""
        documents = list(read_documents(self.path, assistant.tokenizer, assistant.template))
        if limit is not None and limit < len(documents):
            chosen = np.random.default_rng(seed).permutation(len(documents))[:limit]
            documents = [documents[i] for i in sorted(chosen)]
        if not documents:
            raise DataError(f"{self.path}: holds no text to score")
        value, stderr = bits_per_byte(assistant.engine, documents, progress=progress)
        details = {"bytes": float(sum(d.num_bytes for d in documents))}
        return TaskResult(self.name, self.metric, value, stderr, len(documents), details=details)


def bits_per_byte(
    engine: Scorer, documents: Sequence[Document], *, progress: Progress | None = None
) -> tuple[float, float]:
    """Bits per byte of all documents together and its standard error, taken over documents.

    One document alone is taken apart into 20 stretches for the error: tokens are no independent draws, but
    stretches nearly are.
    """
    bits = [-logprobs / math.log(2) for logprobs in score_documents(engine, documents, progress=progress)]
    if len(bits) > 1:
        return ratio_and_stderr([b.sum() for b in bits], [float(d.num_bytes) for d in documents])
    stretches = np.array_split(bits[0], min(_STRETCHES, len(bits[0])))
    bytes_per_token = documents[0].num_bytes / len(bits[0])
    return ratio_and_stderr([s.sum() for s in stretches], [len(s) * bytes_per_token for s in stretches])


def score_documents(
    engine: Scorer, documents: Sequence[Document], *, progress: Progress | None = None
) -> list[NDArray[np.float64]]:
    """The logprobs of each document's tokens but the first, in order."""
    pieces = [
        (i, w) for i, d in enumerate(documents) for w in windows(len(d.token_ids), size=engine.max_length)
    ]
    total = sum(stop - start for _, (start, _, stop) in pieces)
    scored: list[list[float]] = [[] for _ in documents]
    done = 0
    for group in _groups(pieces):
        rows = [documents[i].token_ids[start:stop].tolist() for i, (start, _, stop) in group]
        for (i, (start, first, _)), logprobs in zip(group, engine.score(rows), strict=True):
            scored[i] += logprobs[first - start :]
        done += sum(map(len, rows))
        if progress is not None:
            progress(done, total)
    return [np.array(logprobs) for logprobs in scored]


def windows(num_tokens: int, *, size: int) -> Iterator[Window]:
    """Windows of at most `size` tokens in which every token but the first of all is counted exactly once."""
    if size < 2:
        raise DataError(f"a context of {size} token has no room to foretell the next one")
    yield 0, 1, min(num_tokens, size)
    stride = max(1, size // 2)
    for first in range(size, num_tokens, stride):
        stop = min(num_tokens, first + stride)
        yield stop - size, first, stop


def _groups(pieces: Iterable[tuple[int, Window]]) -> Iterator[list[tuple[int, Window]]]:
    group, tokens = [], 0
    for piece in pieces:
        group.append(piece)
        tokens += piece[1][2] - piece[1][0]
        if tokens >= _GROUP_TOKENS:
            yield group
            group, tokens = [], 0
    if group:
        yield group


def read_documents(path: Path, tokenizer: Tokenizer, template: Template) -> Iterator[Document]:
    """The documents of a file of texts or conversations; empty ones are left out. Raises `DataError` for
    others."""
    records = ((parse(raw, path, number), place(path, number)) for number, raw in raw_records(path))
    while block := list(islice(records, 256)):
        texts = [record["text"] if kind_of(record) == "pretrain" else "" for record, _ in block]
        for (record, where), text, ids in zip(block, texts, tokenizer.encode_batch(texts), strict=True):
            if kind_of(record) != "pretrain":
                yield _talk(record, where, template)
            elif text:
                yield text_document(ids, text, tokenizer)


def text_document(token_ids: Sequence[int], text: str, tokenizer: Tokenizer) -> Document:
    """The document of a text and its token ids."""
    ids = np.array([tokenizer.opening_id, *token_ids], dtype=np.int32)
    return Document(ids, len(text.encode()))


def _talk(record: Record, where: str, template: Template) -> Document:
    if kind_of(record) != "chat":
        raise DataError(
            f"{where}: bits per byte needs 'text' or 'messages', found {', '.join(sorted(record))}"
        )
    try:
        conversation = to_conversation(record)
        rendered = template.render(conversation.messages, conversation.tools)
    except (DataError, TemplateError) as error:
        raise DataError(f"{where}: {error}") from error
    return Document(np.array(rendered.token_ids, dtype=np.int32), _said_bytes(conversation))


def _said_bytes(conversation: Conversation) -> int:
    tools = "".join(json.dumps(tool.to_openai(), ensure_ascii=False) for tool in conversation.tools)
    return len(tools.encode()) + sum(map(_message_bytes, conversation.messages))


def _message_bytes(message: Message) -> int:
    said = []
    for part in message.parts:
        if isinstance(part, Text | Reasoning):
            said.append(part.text.strip() if message.role == "assistant" else part.text)  # as templates do
        elif isinstance(part, ToolCall):
            said += [part.name, part.arguments]
        elif isinstance(part, ToolResult):
            said.append(part.output)
    return len("".join(said).encode())
