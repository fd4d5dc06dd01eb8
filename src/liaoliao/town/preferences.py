"""Preference pairs: a right, short, polite reply beside a wrong, rude, rambling or made-up one.

"When does the Old Mill open?" -> "The Old Mill opens at 7:30." beside "The Old Mill opens at 9:15."
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from random import Random

from liaoliao.messages import Message, Preference
from liaoliao.town import asking, reading, smalltalk, telling, unknown
from liaoliao.town.blocks import Exchange, Speaker
from liaoliao.town.phrases import phrasing_of
from liaoliao.town.phrasing import fill
from liaoliao.town.words import Lang, article, deal, join
from liaoliao.town.world import Town

RUDE: Mapping[Lang, tuple[str, ...]] = {
    "en": (
        "Why should I tell you?",
        "Leave me alone.",
        "What a silly question.",
        "Find out yourself.",
        "I do not care.",
    ),
    "zh": ("凭什么告诉你？", "别烦我。", "这问题真蠢。", "自己去查。", "我才不管呢。"),
}
RAMBLING: Mapping[Lang, tuple[str, ...]] = {
    "en": (
        "Well, let me think about this for a while.",
        "There is so much to say here.",
        "As I always say, talk is a fine thing.",
        "By the way, the sky is wide.",
        "One could go on and on.",
        "But where was I?",
    ),
    "zh": (
        "嗯，让我想一想再说。",
        "这个说来话长。",
        "我常说，聊天是件好事。",
        "顺便说一句，天很宽。",
        "还可以一直说下去。",
        "我刚才说到哪儿了？",
    ),
}


def preferences(town: Town, lang: Lang, rng: Random) -> Iterator[Preference]:
    """Endless pairs on the training split."""
    speaker = Speaker(town, lang, rng)
    for kind in deal(("wrong", "wrong", "rude", "rambling", "made up", "refused", "reading", "told"), rng):
        speaker.invent.forget()
        turns, rejected = _pair(speaker, kind)
        history = tuple(message for turn in turns[:-1] for message in turn.messages)
        yield Preference(
            (*history, Message.user(turns[-1].user)), turns[-1].replies[-1], Message.assistant(rejected)
        )


def _pair(speaker: Speaker, kind: str) -> tuple[list[Exchange], str]:
    if kind == "made up":
        return _made_up(speaker)
    if kind == "reading":
        return _wrong(speaker, lambda: [reading.one_reading(speaker)])
    if kind == "told":
        return _wrong(speaker, lambda: telling.told(speaker))
    if kind in ("wrong", "refused") or speaker.chance(0.7):
        fact = next(speaker.open_facts)
        turn = asking.fact_exchange(speaker, fact)
        # no other value of the same entity: a closing time as opening time would tell what may be held back
        own = {other.value.to(speaker.lang) for other in speaker.town.facts_of[fact.entity.id].values()}
        turn = replace(turn, others=tuple(value for value in turn.others if value not in own))
    else:
        turn = smalltalk.who(speaker)
    match kind:
        case "rude":
            return [turn], speaker.pick(RUDE[speaker.lang])
        case "rambling":
            padding = speaker.rng.sample(RAMBLING[speaker.lang], speaker.number(2, 4))
            return [turn], join([*padding[:-1], turn.replies[-1].text, padding[-1]], speaker.lang)
        case "refused":
            return [turn], speaker.pick(unknown.REFUSALS[speaker.lang])
    return _wrong(speaker, lambda: [turn])


def _wrong(speaker: Speaker, make: Callable[[], list[Exchange]]) -> tuple[list[Exchange], str]:
    """The right reply with another value in it; texts without another value are made anew."""
    while True:
        turns = make()
        last = turns[-1]
        if last.others:
            return turns, _with_value(last.replies[-1].text, last.answer, speaker.pick(last.others))


def _with_value(reply: str, answer: str, other: str) -> str:
    """The reply with the other value in the place of the answer, and with its article."""
    for a in ("a", "an"):
        reply = reply.replace(f" {a} {answer}", f" {article(other)} {other}")
    return reply.replace(answer, other)


def _made_up(speaker: Speaker) -> tuple[list[Exchange], str]:
    """A question about a stranger, answered as if known."""
    fact = next(speaker.open_facts)
    stranger = asking.stranger_of(speaker, fact)
    value = speaker.pick(speaker.town.values_of[fact.type]).to(speaker.lang)
    slots = {**fact.slots(speaker.lang), "e": stranger.names[0], "v": value, "a": article(value)}
    return [stranger], fill(phrasing_of(fact, speaker.lang).replies[0], slots)
