"""Multiple choice and cloze: the answer is the choice that the model finds likeliest.

Place in the flow: file -> items -> engine.score -> accuracy. An item is a text with a gap, the choices that
may fill it and the right one; all that follows from the gap on counts. A file may hold these forms:

    {"premise": "It rained.", "ask": "effect", "choices": ["I got wet.", "I sang."], "label": 0}  two-choice
    {"context": "The sun is", "choices": ["hot", "cold"], "label": 0}                     the rest of a text
    {"context": "The ____ shines.", "choices": ["sun", "fish"], "label": "sun"}           cloze
    {"passage": "…", "question": "…?", "choices": ["(A) …", "(B) …"], "label": "B"}       examination
    {"context": "…", "question": "The ____ shines.", "answer": "sun"}                     reading cloze

In a reading cloze the choices are all answers of the file that occur in the context. `accuracy` takes the sum
of the logprobs; `accuracy_norm` among the details divides it by the choice's UTF-8 bytes, so that long
choices are at no disadvantage.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from liaoliao.chat.assistant import Assistant
from liaoliao.data.records import Record, parse, place, raw_records
from liaoliao.errors import DataError
from liaoliao.tasks.task import Progress, Sample, TaskResult, mean_and_stderr
from liaoliao.text.tokenizer import Tokenizer

GAP = "____"
_GROUP_ITEMS = 64
_CONNECTIVES = {
    ("cause", False): " because ",
    ("effect", False): ", so ",
    ("cause", True): "，因为",
    ("effect", True): "，所以",
}
_CJK = re.compile("[\u3000-\u9fff\uff00-\uffef]")
_LETTER = re.compile(r"^\(?([A-Z])[).．、:：]\s*")


@dataclass(frozen=True, slots=True)
class Item:
    """`before + choice + after`, where `choices[label]` is right."""

    before: str
    choices: tuple[str, ...]
    after: str
    label: int


@dataclass(frozen=True, slots=True)
class Choice:
    """The task of one file of items."""

    path: Path

    @property
    def name(self) -> str:
        """`choice:` and the file's name."""
        return f"choice:{self.path.name}"

    @property
    def metric(self) -> str:
        """`accuracy`."""
        return "accuracy"

    def evaluate(
        self,
        assistant: Assistant,
        *,
        limit: int | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> TaskResult:
        """Choose on at most `limit` items, drawn by `seed`."""
        items = read_items(self.path)
        if limit is not None and limit < len(items):
            items = [items[i] for i in sorted(np.random.default_rng(seed).permutation(len(items))[:limit])]
        scores: list[list[float]] = []
        for start in range(0, len(items), _GROUP_ITEMS):
            scores += loglikelihoods(assistant, items[start : start + _GROUP_ITEMS])
            if progress is not None:
                progress(len(scores), len(items))
        return self._result(items, scores)

    def _result(self, items: Sequence[Item], scores: Sequence[Sequence[float]]) -> TaskResult:
        right = [float(np.argmax(s) == item.label) for item, s in zip(items, scores, strict=True)]
        norm = [
            float(np.argmax(_per_byte(item, s)) == item.label) for item, s in zip(items, scores, strict=True)
        ]
        value, stderr = mean_and_stderr(right)
        chance, _ = mean_and_stderr([1 / len(item.choices) for item in items])
        details = {
            "accuracy_norm": mean_and_stderr(norm)[0],
            "accuracy_norm_stderr": mean_and_stderr(norm)[1],
        }
        samples = tuple(map(_sample, items[:5], scores, right))
        return TaskResult(
            self.name, self.metric, value, stderr, len(items), samples, {**details, "chance": chance}
        )


def loglikelihoods(assistant: Assistant, items: Sequence[Item]) -> list[list[float]]:
    """For each item and choice the sum of the logprobs of the choice and all that comes after it.

    What is longer than the model's context loses its beginning.
    """
    rows, firsts = [], []
    for item in items:
        for choice in item.choices:
            ids, first = _tokens(assistant.tokenizer, item.before, choice + item.after)
            cut = max(0, len(ids) - assistant.engine.max_length)
            rows.append(ids[cut:])
            firsts.append(max(1, first - cut))
    scored = iter(
        sum(logprobs[first:]) for logprobs, first in zip(assistant.engine.score(rows), firsts, strict=True)
    )
    return [[next(scored) for _ in item.choices] for item in items]


def _tokens(tokenizer: Tokenizer, before: str, rest: str) -> tuple[list[int], int]:
    """The ids of the whole text after an end-of-text token, and the first of them that reaches into
    `rest`."""
    ids = [tokenizer.opening_id, *tokenizer.encode(before + rest)]
    boundary, first, at = len(before.encode()), 1, 0
    while first < len(ids) and (at := at + len(tokenizer.token_bytes(ids[first]))) <= boundary:
        first += 1
    return ids, first


def _per_byte(item: Item, scores: Sequence[float]) -> list[float]:
    return [score / max(1, len(choice.encode())) for score, choice in zip(scores, item.choices, strict=True)]


def _sample(item: Item, scores: Sequence[float], right: float) -> Sample:
    chosen = item.choices[int(np.argmax(scores))]
    return Sample(f"{item.before}{GAP}{item.after}", chosen, item.choices[item.label], right)


# Reading


def read_items(path: Path) -> list[Item]:
    """The items of a file; reading clozes in which only one answer could stand are left out."""
    numbered = [(number, parse(raw, path, number)) for number, raw in raw_records(path)]
    answers = sorted({str(r["answer"]) for _, r in numbered if _is_reading_cloze(r)})
    items = []
    for number, record in numbered:
        try:
            items.append(_item(record, answers))
        except DataError as error:
            raise DataError(f"{place(path, number)}: {error}") from error
    items = [item for item in items if len(item.choices) > 1]
    if not items:
        raise DataError(f"{path}: no item to choose in")
    return items


def _item(record: Record, answers: Sequence[str]) -> Item:
    if _is_reading_cloze(record):
        return _reading_cloze(record, answers)
    choices = record.get("choices")
    if not isinstance(choices, list) or len(choices) < 2 or not all(isinstance(c, str) for c in choices):
        raise DataError("'choices' must be a list of at least two texts")
    label = _label(record.get("label"), choices)
    if "premise" in record:
        return _two_choice(record, choices, label)
    if isinstance(record.get("question"), str):
        head = "\n".join(filter(None, (record.get("passage") or record.get("context"), record["question"])))
        return Item(head + "\n", tuple(_LETTER.sub("", choice).strip() for choice in choices), "", label)
    return _generic(_text(record, "context"), choices, label)


def _generic(context: str, choices: Sequence[str], label: int) -> Item:
    if GAP in context:
        before, _, after = context.partition(GAP)
        return Item(before, tuple(choices), after, label)
    space = "" if context[-1:].isspace() or _CJK.match(context[-1:]) or _CJK.match(choices[0]) else " "
    return Item(context, tuple(space + choice.lstrip() if space else choice for choice in choices), "", label)


def _two_choice(record: Record, choices: Sequence[str], label: int) -> Item:
    premise, ask = _text(record, "premise").strip(), record.get("ask")
    if ask not in ("cause", "effect"):
        raise DataError(f"'ask' is {ask!r}; it must be 'cause' or 'effect'")
    chinese = bool(_CJK.search(premise))
    joined = premise.rstrip(".。") + _CONNECTIVES[ask, chinese]
    return Item(joined, tuple(c if chinese else _lower_first(c) for c in choices), "", label)


def _lower_first(choice: str) -> str:
    """`The sun` -> `the sun`, but `I` stays."""
    return choice if re.match(r"I\b", choice) else choice[:1].lower() + choice[1:]


def _is_reading_cloze(record: Mapping[str, Any]) -> bool:
    question = record.get("question")
    return "choices" not in record and isinstance(question, str) and GAP in question and "answer" in record


def _reading_cloze(record: Record, answers: Sequence[str]) -> Item:
    context, answer = _text(record, "context"), _text(record, "answer")
    choices = sorted({answer, *(a for a in answers if a in context)})
    before, _, after = record["question"].partition(GAP)
    return Item(f"{context}\n{before}", tuple(choices), after, choices.index(answer))


def _label(label: object, choices: Sequence[str]) -> int:
    """A number from 0, the letter of a choice, or the choice itself."""
    if isinstance(label, int) and not isinstance(label, bool) and 0 <= label < len(choices):
        return label
    if isinstance(label, str) and label in choices:
        return list(choices).index(label)
    if isinstance(label, str) and len(label) == 1 and 0 <= ord(label) - ord("A") < len(choices):
        return ord(label) - ord("A")
    raise DataError(
        f"'label' is {label!r}; it must be 0 to {len(choices) - 1}, a letter, or one of the choices"
    )


def _text(record: Record, key: str) -> str:
    if not isinstance(record.get(key), str):
        raise DataError(f"{key!r} must be text, not {type(record.get(key)).__name__}")
    return str(record[key])
