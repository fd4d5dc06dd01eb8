"""Conversations to learn from: questions, follow-ups, reading, sums, small talk, not knowing.

Flow: `build_town` -> `conversations` -> SFT. Nothing that a test question asks is ever met here: no
held-back fact, no reserved name, operand pair or follow-up.

    next(conversations(town, "en", Random(0))).messages[0].text  -> "When does the Old Mill open?"
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from random import Random

from liaoliao.messages import Conversation
from liaoliao.town import asking, reading, school, smalltalk, sums, telling
from liaoliao.town.blocks import Exchange, Speaker
from liaoliao.town.tools import TOOLS
from liaoliao.town.words import Lang, deal
from liaoliao.town.world import Town

TOOLS_SHARE = 0.15  # of conversations with a tool call, those that carry the tool definitions
CASUAL_SHARE = 0.06
_PLAIN_STARTS = frozenset("What Who When Where Which How Do Is Can Tell Please Look And Hello Thanks".split())
_Makers = Mapping[str, Callable[[Speaker], list[Exchange]]]


def _one(make: Callable[[Speaker], Exchange]) -> Callable[[Speaker], list[Exchange]]:
    return lambda speaker: [make(speaker)]


def _questions(speaker: Speaker) -> list[Exchange]:
    return [
        asking.fact_exchange(speaker, next(speaker.open_facts)) for _ in range(speaker.pick((1, 2, 2, 3, 4)))
    ]


def _unknowns(speaker: Speaker) -> list[Exchange]:
    """Things nobody knows, beside things everybody knows."""
    turns = [asking.unknowns(speaker)]
    if speaker.chance(0.6):
        turns.append(asking.fact_exchange(speaker, next(speaker.open_facts)))
    if speaker.chance(0.3):
        turns.append(asking.unknowns(speaker))
    speaker.rng.shuffle(turns)
    return turns


def _sums(speaker: Speaker) -> list[Exchange]:
    return [sums.sums(speaker) for _ in range(speaker.pick((1, 1, 2)))]


def _chat(speaker: Speaker) -> list[Exchange]:
    turns = [
        smalltalk.greeting(speaker),
        smalltalk.middle(speaker),
        smalltalk.who(speaker),
        smalltalk.farewell(speaker),
    ]
    return [turn for turn in turns if speaker.chance(0.6)] or turns[1:2]


def _mixed(speaker: Speaker) -> list[Exchange]:
    """A greeting, two things of different kinds, a thank-you."""
    middle = [
        asking.fact_exchange(speaker, next(speaker.open_facts)),
        sums.bare_sum(speaker),
        school.school(speaker),
        asking.unknowns(speaker),
        smalltalk.who(speaker),
        asking.look_ups(speaker),
    ]
    turns = speaker.rng.sample(middle, 2)
    if speaker.chance(0.5):
        turns.insert(0, smalltalk.greeting(speaker))
    if speaker.chance(0.4):
        turns.append(smalltalk.farewell(speaker))
    return turns


def _lost_thread(speaker: Speaker) -> list[Exchange]:
    return [asking.no_history(speaker) if speaker.chance(0.5) else telling.not_told(speaker)]


MAKERS: _Makers = {
    "questions": _questions,
    "followups": asking.followups,
    "switches": asking.switches,
    "told": telling.told,
    "lost thread": _lost_thread,
    "reading": reading.readings,
    "reading without answer": _one(reading.unanswered_reading),
    "unknown": _unknowns,
    "sums": _sums,
    "look-ups": _one(asking.look_ups),
    "school": _one(school.school),
    "chat": _chat,
    "mixed": _mixed,
}
# how often each kind of conversation comes, beside the others
WEIGHTS: Mapping[str, int] = {
    "questions": 14,
    "followups": 10,
    "switches": 4,
    "told": 7,
    "lost thread": 2,
    "reading": 43,
    "reading without answer": 5,
    "unknown": 9,
    "sums": 16,
    "look-ups": 4,
    "school": 4,
    "chat": 4,
    "mixed": 5,
}


def conversations(town: Town, lang: Lang, rng: Random) -> Iterator[Conversation]:
    """Endless conversations of the training split, one to five exchanges each."""
    speaker = Speaker(town, lang, rng)
    for kind in deal([kind for kind, weight in WEIGHTS.items() for _ in range(weight)], rng):
        speaker.invent.forget()
        yield assemble(speaker, MAKERS[kind](speaker))


def _casual(speaker: Speaker, turn: Exchange) -> Exchange:
    """People often leave out the last full stop or question mark, and the capital letter."""
    if "\n" in turn.user or not speaker.chance(CASUAL_SHARE):
        return turn
    user = turn.user.rstrip(".?!。？！")
    return replace(turn, user=user[0].lower() + user[1:] if user.split(" ")[0] in _PLAIN_STARTS else user)


def assemble(speaker: Speaker, turns: list[Exchange]) -> Conversation:
    """The exchanges as one conversation; a share of those with tool calls carries the tool definitions."""
    messages = tuple(message for turn in turns for message in _casual(speaker, turn).messages)
    carries = any(turn.uses_tools for turn in turns) and speaker.chance(TOOLS_SHARE)
    return Conversation(messages, TOOLS if carries else ())
