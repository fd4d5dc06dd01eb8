"""Test questions: enough of them, and graders that cannot be fooled."""

from collections import Counter
from random import Random

import pytest

from liaoliao.errors import DataError
from liaoliao.messages import Message, ToolCall
from liaoliao.town import KINDS, LANGS, Question, QuestionKind, build_town, questions
from liaoliao.town.grading import holds, holds_only, numbers, refused
from liaoliao.town.words import Lang

EVERY = [(kind, lang) for kind in KINDS for lang in LANGS]


def ask(kind: QuestionKind, lang: Lang, num: int = 600) -> list[Question]:
    return questions(build_town(), kind, lang, num=num)


@pytest.mark.parametrize(("kind", "lang"), EVERY)
def test_the_gold_reply_is_right(kind: QuestionKind, lang: Lang) -> None:
    found = ask(kind, lang)
    assert len(found) == 600
    assert [question.grade(question.gold) for question in found] == [1.0] * 600
    assert [question.grade([]) for question in found] == [0.0] * 600
    assert [question.grade([Message.assistant("")]) for question in found] == [0.0] * 600


@pytest.mark.parametrize("lang", LANGS)
@pytest.mark.parametrize("kind", ["facts", "reading", "followup"])
def test_a_wrong_value_and_a_list_of_all_values_score_nothing(kind: QuestionKind, lang: Lang) -> None:
    dice = Random(0)
    for question in ask(kind, lang):
        assert question.answer not in question.others
        if question.others:
            right = question.gold[-1].text
            wrong = right.replace(question.answer, dice.choice(question.others))
            everything = " ".join([right, *question.others])
            assert question.grade([Message.assistant(wrong)]) == 0.0
            assert question.grade([Message.assistant(everything)]) == 0.0


@pytest.mark.parametrize("lang", LANGS)
def test_facts_are_held_back_and_distinct(lang: Lang) -> None:
    town = build_town()
    held_back = {(fact.entity.name.to(lang), fact.value.to(lang)) for fact in town.held_back_facts()}
    found = ask("facts", lang, len(town.held_back_facts()))
    assert {(question.names[0], question.answer) for question in found} == held_back


@pytest.mark.parametrize("lang", LANGS)
def test_facts_come_from_memory_only(lang: Lang) -> None:
    question = ask("facts", lang, 1)[0]
    call = Message.assistant(tool_calls=(ToolCall("call_0", "lookup", "{}"),))
    assert question.grade([call, Message.tool("x", "call_0"), *question.gold]) == 0.0


@pytest.mark.parametrize("lang", LANGS)
def test_no_history_is_the_same_question_alone(lang: Lang) -> None:
    for whole, alone in zip(ask("followup", lang, 100), ask("followup-nohistory", lang, 100), strict=True):
        assert alone.messages == whole.messages[-1:]
        assert len(whole.messages) >= 3
        assert (alone.answer, alone.others) == (whole.answer, whole.others)


@pytest.mark.parametrize("lang", LANGS)
def test_followups_are_hard_to_guess(lang: Lang) -> None:
    """The best guess that sees the last question only."""
    answers: dict[str, Counter[str]] = {}
    for question in ask("followup", lang):
        answers.setdefault(question.messages[-1].text, Counter())[question.answer] += 1
    # leave one out: the guess is the commonest answer to the other questions of the same wording
    hits = sum(count - 1 for counter in answers.values() for count in [max(counter.values())])
    assert hits / 600 < 0.2


@pytest.mark.parametrize("lang", LANGS)
def test_sums_want_the_calculator(lang: Lang) -> None:
    for question in ask("arithmetic", lang, 100):
        right = question.gold[-1]
        other = Message.assistant(right.text.replace(question.answer, str(int(question.answer) + 1)))
        assert question.grade([right]) == 0.0
        assert question.grade([*question.gold[:-1], other]) == 0.0


@pytest.mark.parametrize("lang", LANGS)
def test_half_of_unanswerable_can_be_answered(lang: Lang) -> None:
    found = ask("unanswerable", lang)
    assert sum(question.answerable for question in found) == 300
    refusal = Message.assistant({"en": "I don't know.", "zh": "我不知道。"}[lang])
    for question in found:
        assert question.grade([refusal]) == float(not question.answerable)
        assert refused(question.gold[-1].text, lang) == (not question.answerable)


@pytest.mark.parametrize(("kind", "lang"), EVERY)
def test_seeds(kind: QuestionKind, lang: Lang) -> None:
    town = build_town()
    assert questions(town, kind, lang, num=30) == questions(town, kind, lang, num=30)
    assert questions(town, kind, lang, num=30) == questions(town, kind, lang, num=60)[:30]
    assert questions(town, kind, lang, num=30) != questions(town, kind, lang, num=30, seed=1)


def test_wrong_wishes_are_told() -> None:
    with pytest.raises(DataError, match="not a kind of question"):
        questions(build_town(), "gossip", "en", num=1)
    with pytest.raises(DataError, match="not a language"):
        questions(build_town(), "facts", "fr", num=1)
    with pytest.raises(DataError, match="ask for fewer"):
        questions(build_town(), "facts", "en", num=10**5)


@pytest.mark.parametrize(
    ("text", "value", "lang", "there"),
    [
        ("It opens at 7:30.", "7:30", "en", True),
        ("It opens at 17:30.", "7:30", "en", False),
        ("at 7:305", "7:30", "en", False),
        ("A Baker.", "baker", "en", True),
        ("bakery", "baker", "en", False),
        ("12 coins", "2 coins", "en", False),
        ("他1月过生日", "1月", "zh", True),
        ("他11月过生日", "1月", "zh", False),
        ("卖12元。", "2元", "zh", False),
        ("7:30开门", "7:30", "zh", True),
        ("她是面包师。", "面包师", "zh", True),
        ("room 7", "7", "en", True),
        ("room 7:30", "7", "en", False),
    ],
)
def test_values_are_whole_words_and_numbers(text: str, value: str, lang: Lang, there: bool) -> None:
    assert holds(text, value, lang) is there


def test_other_values_and_names() -> None:
    assert holds_only("The door of the Blue Moon is red.", "red", ("blue",), "en", ("the Blue Moon",))
    assert not holds_only("The door is red or blue.", "red", ("blue",), "en")
    assert not holds_only("It opens at 7:30 or 9:10.", "7:30", (), "en"), "any other number is another answer"
    assert not holds_only("你叫贾敏云。", "贾敏", ("贾敏云",), "zh")
    assert holds_only("你叫贾敏云。", "贾敏云", ("贾敏",), "zh")
    assert numbers("2 eggs at 7:30") == ["2", "7:30"]
