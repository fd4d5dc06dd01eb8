"""Training talks: nothing of the test in them, every tool call right, one language a talk."""

import json
import re
from functools import cache
from itertools import islice, pairwise
from random import Random

import pytest

from liaoliao.messages import Conversation
from liaoliao.town import (
    LANGS,
    asking,
    build_town,
    conversations,
    drills,
    preferences,
    questions,
    refused,
    run_tool,
)
from liaoliao.town.blocks import Speaker
from liaoliao.town.invented import Inventor
from liaoliao.town.talks import MAKERS, WEIGHTS
from liaoliao.town.words import Lang
from liaoliao.town.world import Fact
from tests.town.search import facts_stated

TRANSLATION = ("Translate into", "Say in Chinese", "say in Chinese", "翻译成", "用英文")


@cache
def talks(lang: Lang, num: int = 3000) -> tuple[Conversation, ...]:
    return tuple(islice(conversations(build_town(), lang, Random(11)), num))


@cache
def training_messages(lang: Lang) -> tuple[str, ...]:
    """Every single message of conversations, preference pairs and drills."""
    found = [message.text for talk in talks(lang) for message in talk.messages]
    for pair in islice(preferences(build_town(), lang, Random(12)), 800):
        found += [message.text for message in (*pair.prompt, pair.chosen, pair.rejected)]
    for drill in islice(drills(lang, Random(13)), 800):
        found += [drill] if isinstance(drill, str) else [message.text for message in drill.messages]
    return tuple(found)


def held_back_statements(text: str, lang: Lang) -> list[Fact]:
    return [fact for fact in facts_stated(text, lang) if fact.held_back]


@pytest.mark.parametrize("lang", LANGS)
def test_no_held_back_fact_is_stated_or_asked(lang: Lang) -> None:
    asked = {
        q.messages[-1].text.rstrip(".?？。").lower() for q in questions(build_town(), "facts", lang, num=3000)
    }
    for text in training_messages(lang):
        assert text.rstrip(".?？。").lower() not in asked
        assert not held_back_statements(text, lang), text


def test_the_search_above_can_fail() -> None:
    fact = build_town().held_back_facts()[0]
    text = f"{fact.entity.name.en}: {fact.value.en}"
    assert held_back_statements(text, "en") == [fact]


@pytest.mark.parametrize("lang", LANGS)
def test_no_reserved_followup_is_trained(lang: Lang) -> None:
    town = build_town()
    speaker = Speaker(town, lang, Random(5))
    by_answer = {(fact.entity.name.to(lang), fact.value.to(lang)): fact for fact in town.open_facts()}
    for _ in range(1500):
        turns = [turn for turn in asking.followups(speaker) if turn.names]
        facts = [by_answer[turn.names[0], turn.answer] for turn in turns]
        for first, second in pairwise(facts):
            assert first.entity is not second.entity or not asking.followup_is_test(first, second)


@pytest.mark.parametrize("lang", LANGS)
def test_names_are_on_one_side_only(lang: Lang) -> None:
    makers = ("person", "first_name", "place", "train", "animal", "village", "word")
    made: dict[bool, set[str]] = {}
    for test in (False, True):
        inventor = Inventor(lang, Random(1), test=test)
        made[test] = set()
        for _ in range(300):
            inventor.forget()
            made[test] |= {getattr(inventor, maker)() for maker in makers}
    town_names = {entity.name.to(lang) for entity in build_town().entities}
    assert not made[False] & made[True]
    assert not (made[False] | made[True]) & town_names


@pytest.mark.parametrize("lang", LANGS)
def test_no_test_sum_and_no_test_name_is_trained(lang: Lang) -> None:
    joined = "\n".join(training_messages(lang))
    words = set(re.findall(r"[A-Za-z]+", joined))
    for question in questions(build_town(), "reading", lang, num=200):
        for name in question.names:
            assert (name not in joined) if lang == "zh" or " " in name else name not in words
    expressions = set(re.findall(r"\d+(?:[-+*]\d+)+", joined))
    for question in questions(build_town(), "arithmetic", lang, num=300):
        assert json.loads(question.gold[0].tool_calls[0].arguments)["expression"] not in expressions


@pytest.mark.parametrize("lang", LANGS)
def test_every_tool_call_is_right(lang: Lang) -> None:
    num_calls = 0
    for talk in talks(lang):
        for message, result in pairwise(talk.messages):
            for call in message.tool_calls:
                num_calls += 1
                assert result.role == "tool"
                assert result.text == run_tool(call.name, call.arguments)
    assert num_calls > 300


@pytest.mark.parametrize("lang", LANGS)
def test_some_tool_talks_carry_the_tools(lang: Lang) -> None:
    with_calls = [talk for talk in talks(lang) if any(message.tool_calls for message in talk.messages)]
    part = sum(bool(talk.tools) for talk in with_calls) / len(with_calls)
    assert 0.08 < part < 0.22


@pytest.mark.parametrize("lang", LANGS)
def test_turns_alternate_and_end_with_the_assistant(lang: Lang) -> None:
    for talk in talks(lang):
        spoken = [message for message in talk.messages if message.role != "tool" and not message.tool_calls]
        roles = [message.role for message in spoken]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert 1 <= len(roles) // 2 <= 6
        assert all(message.text or message.tool_calls for message in talk.messages)


@pytest.mark.parametrize("lang", LANGS)
def test_talks_are_of_one_language(lang: Lang) -> None:
    wrong = re.compile(r"[\u2e80-\uffef]" if lang == "en" else r"[A-Za-z]")
    for talk in talks(lang):
        translates = False
        for message in talk.messages:
            translates = message.text.startswith(TRANSLATION) or (translates and message.role == "assistant")
            assert translates or not wrong.search(message.text), message.text
            assert "{" not in message.text


@pytest.mark.parametrize("lang", LANGS)
def test_talks_are_varied_and_short(lang: Lang) -> None:
    texts = [message.text for talk in talks(lang) for message in talk.messages if message.role == "user"]
    assert len(set(texts)) / len(texts) > 0.6
    lengths = sorted(sum(len(message.text) for message in talk.messages) for talk in talks(lang))
    assert lengths[len(lengths) // 2] < 400


@pytest.mark.parametrize("lang", LANGS)
def test_refusals_are_rare_and_only_where_nothing_is_known(lang: Lang) -> None:
    town = build_town()
    names = {entity.name.to(lang) for entity in town.entities}
    speaker = Speaker(town, lang, Random(3))
    for _ in range(300):
        assert refused(asking.unknowns(speaker).replies[-1].text, lang)
        assert not refused(asking.fact_exchange(speaker, next(speaker.open_facts)).replies[-1].text, lang)
        assert not refused(asking.no_history(speaker).replies[-1].text, lang)
        assert not set(asking.stranger(speaker).names) & names


def test_every_kind_has_a_weight() -> None:
    assert set(WEIGHTS) == set(MAKERS)
    assert all(weight > 0 for weight in WEIGHTS.values())


@pytest.mark.parametrize("lang", LANGS)
def test_the_same_dice_say_the_same(lang: Lang) -> None:
    assert talks(lang)[:60] == tuple(islice(conversations(build_town(), lang, Random(11)), 60))


@pytest.mark.parametrize("lang", LANGS)
def test_preferences_prefer_the_right_reply(lang: Lang) -> None:
    for pair in islice(preferences(build_town(), lang, Random(2)), 400):
        assert pair.prompt[-1].role == "user"
        assert pair.chosen.role == pair.rejected.role == "assistant"
        assert pair.chosen.text != pair.rejected.text
        assert pair.chosen.text
        assert pair.rejected.text
