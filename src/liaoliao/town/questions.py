"""Test questions with exact graders: what training never asked, never named, never summed.

Flow: `build_town` -> `questions` -> tasks (`town:facts:en` and so on). The same seed gives the same
questions. `followup-nohistory` gives those of `followup` with only the last user message left.

    question = questions(town, "facts", "en", num=1)[0]
    question.messages[-1].text  -> "What does Mira Holt do for a living?"
    question.grade([Message.assistant("Mira Holt works as a baker.")])  -> 1.0
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, permutations
from random import Random
from typing import Literal, TypeVar, get_args

from liaoliao.errors import DataError
from liaoliao.messages import Message, Tool
from liaoliao.town import asking, reading, sums, telling
from liaoliao.town.blocks import Exchange, Speaker
from liaoliao.town.grading import holds, holds_only, numbers, refused
from liaoliao.town.words import LANGS, Lang, deal
from liaoliao.town.world import Fact, Town

QuestionKind = Literal["facts", "reading", "followup", "followup-nohistory", "arithmetic", "unanswerable"]
T = TypeVar("T")
KINDS: tuple[QuestionKind, ...] = get_args(QuestionKind)
MAX_REPEATS = 3000  # questions made in vain before we say that there are no more


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt that ends in a user message, and how its answer is graded."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...]
    kind: QuestionKind
    lang: Lang
    answerable: bool
    answer: str  # the right value; "" for a question that has none
    others: tuple[str, ...]  # values of the same type
    names: tuple[str, ...]  # names an answer may repeat
    gold: tuple[Message, ...]  # a right reply

    def grade(self, reply_messages: Sequence[Message]) -> float:
        """1.0 if the last assistant text of the reply is right, else 0.0.

        `reply_messages` are all messages the turn produced, tool calls and results included. Facts must come
        from memory (no look-up), sums through the calculator; an unanswerable question wants a refusal, an
        answerable one none.
        """
        said = [message for message in reply_messages if message.role == "assistant"]
        text = said[-1].text if said else ""
        called = {call.name for message in said for call in message.tool_calls}
        if self.kind == "unanswerable":
            return float(refused(text, self.lang) != self.answerable and text != "")
        if self.kind == "arithmetic":
            return float(self._is_sum(text) and "calculator" in called)
        by_heart = self.kind != "facts" or "lookup" not in called
        return float(by_heart and holds_only(text, self.answer, self.others, self.lang, self.names))

    def _is_sum(self, text: str) -> bool:
        allowed = {self.answer, *numbers(self.messages[-1].text)}
        return holds(text, self.answer, self.lang) and set(numbers(text)) <= allowed


def questions(town: Town, kind: str, lang: str, *, num: int, seed: int = 0) -> list[Question]:
    """`num` different test questions of one kind; facts come again in other wordings once all are asked.

    More questions than there are, or an unknown kind or language: DataError.
    """
    known_kind = _one_of(kind, KINDS, "a kind of question")
    known_lang = _one_of(lang, LANGS, "a language of the town")
    source = "followup" if kind == "followup-nohistory" else kind
    speaker = Speaker(town, known_lang, Random(f"{source}/{lang}/{seed}"), test=True)
    seen: set[tuple[str, ...]] = set()
    chosen: list[Question] = []
    sources = [make(speaker) for make in _SOURCES[known_kind]]
    while len(chosen) < num:
        turns = _unseen(sources[len(chosen) % len(sources)], seen)
        if turns is None:
            raise DataError(f"there are {len(chosen)} {kind} questions in {lang}, not {num}; ask for fewer")
        speaker.invent.forget()
        chosen.append(_question(turns, known_kind, known_lang))
    return chosen


def _one_of(word: str, known: Sequence[T], what: str) -> T:
    """The word, if it is among the known ones."""
    for candidate in known:
        if candidate == word:
            return candidate
    raise DataError(f"{word!r} is not {what}; choose one of {', '.join(map(str, known))}")


def _unseen(made: Iterator[list[Exchange]], seen: set[tuple[str, ...]]) -> list[Exchange] | None:
    """The next question of new wording, None where there seem to be no more."""
    for turns in islice(made, MAX_REPEATS):
        key = tuple(turn.user for turn in turns)
        if key not in seen:
            seen.add(key)
            return turns
    return None


def _question(turns: Sequence[Exchange], kind: QuestionKind, lang: Lang) -> Question:
    last = turns[-1]
    earlier = () if kind == "followup-nohistory" else turns[:-1]
    history = [message for turn in earlier for message in turn.messages]
    return Question(
        messages=(*history, Message.user(last.user)),
        tools=(),
        kind=kind,
        lang=lang,
        answerable=not last.refusal,
        answer=last.answer,
        others=last.others,
        names=last.names,
        gold=last.replies,
    )


Source = Callable[[Speaker], Iterator[list[Exchange]]]


def _facts(speaker: Speaker) -> Iterator[list[Exchange]]:
    for fact in deal(speaker.town.held_back_facts(), speaker.rng):
        yield [asking.fact_exchange(speaker, fact)]


def _reading(speaker: Speaker) -> Iterator[list[Exchange]]:
    while True:
        yield [reading.one_reading(speaker)]


def _told(speaker: Speaker) -> Iterator[list[Exchange]]:
    while True:
        yield telling.told(speaker)


def _followups(speaker: Speaker) -> Iterator[list[Exchange]]:
    for first, second in deal(_test_followups(speaker.town), speaker.rng):
        yield [asking.fact_exchange(speaker, first), asking.again_exchange(speaker, second)]


def _test_followups(town: Town) -> list[tuple[Fact, Fact]]:
    pairs: list[tuple[Fact, Fact]] = []
    for facts in town.facts_of.values():
        known = [fact for fact in facts.values() if not fact.held_back]
        pairs += [pair for pair in permutations(known, 2) if asking.followup_is_test(*pair)]
    return pairs


def _arithmetic(speaker: Speaker) -> Iterator[list[Exchange]]:
    while True:
        yield [sums.sums(speaker)]


def _unknown(speaker: Speaker) -> Iterator[list[Exchange]]:
    while True:
        yield [asking.unknowns(speaker) if speaker.chance(0.8) else reading.unanswered_reading(speaker)]


def _known(speaker: Speaker) -> Iterator[list[Exchange]]:
    """What the town can answer, held back or not, and what a text answers."""
    for fact in deal(speaker.town.facts, speaker.rng):
        yield [asking.fact_exchange(speaker, fact) if speaker.chance(0.8) else reading.one_reading(speaker)]


# where the questions of each kind come from, by turns
_SOURCES: Mapping[QuestionKind, tuple[Source, ...]] = {
    "facts": (_facts,),
    "reading": (_reading,),
    "followup": (_told, _followups),
    "followup-nohistory": (_told, _followups),
    "arithmetic": (_arithmetic,),
    "unanswerable": (_unknown, _known),
}
