"""The town's test questions: asked all together, answered greedily with the tools at hand, graded exactly.

Place in the flow: `town.questions` -> turns, driven in batches -> `Question.grade` -> accuracy. Questions
that may have no answer are measured by the F1 of refusing: a refusal of what cannot be known is a hit, one of
what can be known is a false alarm.

    TownQuestions("facts", "en").evaluate(assistant)  ->  TaskResult("town:facts:en", "accuracy", 0.93, …)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from liaoliao.chat.assistant import Assistant
from liaoliao.chat.drive import run_batch
from liaoliao.chat.tools import town_tools
from liaoliao.messages import Message
from liaoliao.tasks.task import Progress, Sample, TaskResult, bootstrap_stderr, mean_and_stderr
from liaoliao.town import Lang, Question, QuestionKind, build_town, questions, refused

_DEFAULT_QUESTIONS = 500
_MAX_TOKENS = 128  # the longest right reply needs half of it


@dataclass(frozen=True, slots=True)
class TownQuestions:
    """The task of one kind of question in one language."""

    kind: QuestionKind
    lang: Lang

    @property
    def name(self) -> str:
        """`town:KIND:LANG`."""
        return f"town:{self.kind}:{self.lang}"

    @property
    def metric(self) -> str:
        """`f1` (of refusing) for unanswerable questions, else `accuracy`."""
        return "f1" if self.kind == "unanswerable" else "accuracy"

    def evaluate(
        self,
        assistant: Assistant,
        *,
        limit: int | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> TaskResult:
        """Ask `limit` questions (500 if it is None); another seed asks other ones where there are more."""
        asked = questions(build_town(), self.kind, self.lang, num=limit or _DEFAULT_QUESTIONS, seed=seed)
        replies = answers(assistant, asked, progress=progress)
        scores = [question.grade(reply) for question, reply in zip(asked, replies, strict=True)]
        samples = _samples(asked, replies, scores)
        if self.kind == "unanswerable":
            return self._refusals(asked, replies, samples)
        value, stderr = mean_and_stderr(scores)
        return TaskResult(self.name, self.metric, value, stderr, len(asked), samples)

    def _refusals(
        self, asked: Sequence[Question], replies: Sequence[Sequence[Message]], samples: tuple[Sample, ...]
    ) -> TaskResult:
        wanted = np.array([not question.answerable for question in asked])
        given = np.array([refused(_last_text(reply), self.lang) for reply in replies])
        stderr = bootstrap_stderr(lambda i: f1(given[i], wanted[i]), len(asked))
        hits = float((given & wanted).sum())
        details = {"precision": hits / max(1, given.sum()), "recall": hits / max(1, wanted.sum())}
        return TaskResult(self.name, self.metric, f1(given, wanted), stderr, len(asked), samples, details)


def f1(given: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> float:
    """2 x hits / (given + wanted), 0 where there are no hits."""
    total = int(given.sum()) + int(wanted.sum())
    return 2 * float((given & wanted).sum()) / total if total else 0.0


def answers(
    assistant: Assistant, asked: Sequence[Question], *, progress: Progress | None = None
) -> list[tuple[Message, ...]]:
    """All messages of each reply, tool calls and results included; the likeliest tokens, the town's tools."""
    turns = [
        assistant.turn(
            question.messages,
            tools=question.tools,
            temperature=0.0,
            repetition_penalty=1.0,
            max_tokens=_MAX_TOKENS,
        )
        for question in asked
    ]
    run_batch(assistant.engine, turns, town_tools(), progress=progress)
    return [turn.new_messages for turn in turns]


def _last_text(reply: Sequence[Message]) -> str:
    said = [message.text for message in reply if message.role == "assistant"]
    return said[-1] if said else ""


def _samples(
    asked: Sequence[Question], replies: Sequence[Sequence[Message]], scores: Sequence[float]
) -> tuple[Sample, ...]:
    """The first three wrong replies and the first two right ones."""
    right = [i for i, score in enumerate(scores) if score == 1][:2]
    wrong = [i for i, score in enumerate(scores) if score != 1][:3]
    return tuple(
        Sample(_shown(asked[i].messages), _shown(replies[i]), asked[i].answer or "a refusal", scores[i])
        for i in (*wrong, *right)
    )


def _shown(messages: Sequence[Message]) -> str:
    """Messages for a person to read: `user: 2+3? assistant: calculator {"expression": "2+3"} tool: 5`."""
    lines = []
    for message in messages:
        calls = [f"{call.name} {call.arguments}" for call in message.tool_calls]
        lines.append(f"{message.role}: {' '.join(filter(None, (message.text, *calls)))}")
    return "\n".join(lines)
