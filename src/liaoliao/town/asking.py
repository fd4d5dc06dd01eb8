"""Exchanges about the town's facts: questions, follow-ups, changes of topic, and what nobody knows.

fact_exchange(speaker, fact)  -> "When does the Old Mill open?" / "The Old Mill opens at 7:30."
"""

from collections.abc import Mapping

from liaoliao.town import unknown
from liaoliao.town.blocks import Exchange, Speaker, tool_replies
from liaoliao.town.invented import MAKERS
from liaoliao.town.phrases import phrasing_of
from liaoliao.town.phrasing import fill
from liaoliao.town.tools import NOT_FOUND
from liaoliao.town.words import Lang, reserved
from liaoliao.town.world import Entity, Fact, Kind

FOLLOWUP_TEST_PART = 0.4
_ABOUT = {
    "en": ("And {e}?", "What about {e}?", "And what about {e}?", "How about {e}?"),
    "zh": ("{e}呢？", "那{e}呢？", "换成{e}呢？", "那么{e}呢？"),
}
_MENTIONS: Mapping[Kind, Mapping[Lang, tuple[str, ...]]] = {
    "resident": {
        "en": ("I met {e} today.", "Let us talk about {e}.", "Do you know {e}?"),
        "zh": ("我今天遇见了{e}。", "我们说说{e}吧。", "你认识{e}吗？"),
    },
    "place": {
        "en": ("I want to go to {e}.", "Let us talk about {e}.", "Do you know {e}?"),
        "zh": ("我想去{e}。", "我们说说{e}吧。", "你知道{e}吗？"),
    },
    "train": {
        "en": ("I want to take {e}.", "Let us talk about {e}.", "Do you know {e}?"),
        "zh": ("我想坐{e}。", "我们说说{e}吧。", "你知道{e}吗？"),
    },
    "animal": {
        "en": ("I saw {e} in the park.", "Let us talk about {e}.", "Do you know {e}?"),
        "zh": ("我在公园看见了{e}。", "我们说说{e}吧。", "你认识{e}吗？"),
    },
}
_MENTION_REPLIES: Mapping[Lang, tuple[str, ...]] = {
    "en": ("Yes, what would you like to know?", "Of course, ask me.", "Good, what is your question?"),
    "zh": ("好的，你想知道什么？", "当然，请问吧。", "好啊，你要问什么？"),
}
_LOOK_UP = {
    "en": (
        "Look up the {f} of {e}.",
        "Please look up the {f} of {e}.",
        "Can you look up {e}? I need the {f}.",
        "Check the {f} of {e}, please.",
        "Find the {f} of {e} in the town list.",
    ),
    "zh": (
        "查一下{e}的{f}。",
        "请查{e}的{f}。",
        "帮我查查{e}的{f}。",
        "请在名册里找{e}的{f}。",
        "麻烦查询{e}的{f}。",
    ),
}


def fact_exchange(speaker: Speaker, fact: Fact) -> Exchange:
    """A question that names the entity."""
    return _exchange(speaker, fact, speaker.pick(phrasing_of(fact, speaker.lang).asks))


def again_exchange(speaker: Speaker, fact: Fact) -> Exchange:
    """A question that leaves the entity to the earlier turn."""
    return _exchange(speaker, fact, speaker.pick(phrasing_of(fact, speaker.lang).asks_again))


def about_exchange(speaker: Speaker, fact: Fact) -> Exchange:
    """The attribute of the earlier turn, of another entity."""
    return _exchange(speaker, fact, speaker.pick(_ABOUT[speaker.lang]))


def _exchange(speaker: Speaker, fact: Fact, question: str) -> Exchange:
    lang = speaker.lang
    slots = fact.slots(lang)
    reply = fill(speaker.pick(phrasing_of(fact, lang).replies), slots)
    return Exchange.of(
        fill(question, slots), reply, answer=slots["v"], others=speaker.others(fact), names=(slots["e"],)
    )


def open_facts_of(speaker: Speaker, entity: Entity) -> list[Fact]:
    """The facts of an entity that conversations may ask about, shuffled."""
    facts = [fact for fact in speaker.town.facts_of[entity.id].values() if not fact.held_back]
    speaker.rng.shuffle(facts)
    return facts


def followup_is_test(first: Fact, second: Fact) -> bool:
    """Whether asking `second` after `first` (same entity) is kept for the test."""
    return reserved(f"{first.entity.id}:{first.attribute}->{second.attribute}", FOLLOWUP_TEST_PART)


def followups(speaker: Speaker) -> list[Exchange]:
    """A question, then one or two that lean on it; sometimes the topic changes to another entity."""
    while True:
        first = next(speaker.open_facts)
        chain = [first]
        for fact in open_facts_of(speaker, first.entity):
            if fact not in chain and not any(followup_is_test(earlier, fact) for earlier in chain):
                chain.append(fact)
        if len(chain) > 1:
            break
    opening = mention(speaker, first.entity) if speaker.chance(0.15) else fact_exchange(speaker, first)
    turns = [opening, again_exchange(speaker, chain[1])]
    if len(chain) > 2 and speaker.chance(0.4):
        turns.append(again_exchange(speaker, chain[2]))
    elif speaker.chance(0.4):
        turns += topic_switch(speaker, chain[1])
    return turns


def mention(speaker: Speaker, entity: Entity) -> Exchange:
    """The user names somebody, without a question."""
    said = fill(speaker.pick(_MENTIONS[entity.kind][speaker.lang]), {"e": entity.name.to(speaker.lang)})
    return Exchange.of(said, speaker.pick(_MENTION_REPLIES[speaker.lang]))


def topic_switch(speaker: Speaker, fact: Fact) -> list[Exchange]:
    """`And the Jade Cup?` after a question on the same attribute; empty if nobody else has it open."""
    others = [other for other in speaker.columns[fact.entity.kind, fact.attribute] if other is not fact]
    return [about_exchange(speaker, speaker.pick(others))] if others else []


def switches(speaker: Speaker) -> list[Exchange]:
    """The same question about two or three entities."""
    fact = next(speaker.open_facts)
    turns = [fact_exchange(speaker, fact), *topic_switch(speaker, fact)]
    return turns + (topic_switch(speaker, fact) if speaker.chance(0.3) else [])


def no_history(speaker: Speaker) -> Exchange:
    """A follow-up as the first message: ask which one is meant."""
    fact = next(speaker.open_facts)
    question = fill(speaker.pick(phrasing_of(fact, speaker.lang).asks_again), fact.slots(speaker.lang))
    which = unknown.WHICH_PERSON if fact.entity.kind == "resident" else unknown.WHICH_ONE
    return Exchange.of(question, speaker.pick(which[speaker.lang]))


def stranger(speaker: Speaker) -> Exchange:
    """A usual question about somebody who is not in the town."""
    return stranger_of(speaker, next(speaker.open_facts))


def stranger_of(speaker: Speaker, fact: Fact) -> Exchange:
    """A question like one on `fact`, about somebody who is not in the town."""
    name = getattr(speaker.invent, MAKERS[fact.entity.kind])()
    question = fill(
        speaker.pick(phrasing_of(fact, speaker.lang).asks), {**fact.slots(speaker.lang), "e": name}
    )
    return _refusal(speaker, question, name)


def unstated(speaker: Speaker) -> Exchange:
    """Something of a real entity that the town never states."""
    while True:
        entity = speaker.pick(speaker.town.entities)
        topic = speaker.pick(unknown.TOPICS[entity.kind])
        if reserved(f"{entity.id}/{topic['en'][0]}", unknown.TEST_PART) == speaker.test:
            break
    name = entity.name.to(speaker.lang)
    return _refusal(
        speaker, fill(speaker.pick(topic[speaker.lang]), {"e": name, **entity.pronouns(speaker.lang)})
    )


def world_knowledge(speaker: Speaker) -> Exchange:
    """A question about the wide world, of which the model has read nothing."""
    while True:
        question = speaker.pick(unknown.WORLD[speaker.lang])
        if reserved(question) == speaker.test:
            return _refusal(speaker, question)


def unknowns(speaker: Speaker) -> Exchange:
    """One of the three kinds of question that deserve "I don't know"."""
    dice = speaker.rng.random()
    return stranger(speaker) if dice < 0.5 else unstated(speaker) if dice < 0.92 else world_knowledge(speaker)


def _refusal(speaker: Speaker, question: str, *names: str) -> Exchange:
    return Exchange.of(question, speaker.pick(unknown.REFUSALS[speaker.lang]), names=names, refusal=True)


def look_ups(speaker: Speaker) -> Exchange:
    """`Look up the opening time of the Old Mill.` -> the lookup tool; sometimes the name is not found."""
    lang = speaker.lang
    fact = next(speaker.open_facts)
    phrasing, slots = phrasing_of(fact, lang), fact.slots(lang)
    found = not speaker.chance(0.12)
    name = slots["e"] if found else getattr(speaker.invent, MAKERS[fact.entity.kind])()
    question = fill(speaker.pick(_LOOK_UP[lang]), {"e": name, "f": phrasing.field})
    reply = fill(speaker.pick(phrasing.replies), slots) if found else speaker.pick(unknown.NOT_LISTED[lang])
    output = slots["v"] if found else NOT_FOUND[lang]
    replies = tool_replies("lookup", {"name": name, "field": phrasing.field}, output, reply)
    return Exchange(question, replies, answer=slots["v"] if found else "", refusal=not found)
