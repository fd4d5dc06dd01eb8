"""Reading: texts that state what is asked, with distractors of the same type."""

import re
from random import Random

import pytest

from liaoliao.town import LANGS, build_town, reading, refused
from liaoliao.town.blocks import Speaker
from liaoliao.town.grading import holds
from liaoliao.town.words import Lang


def test_there_are_many_kinds_of_text() -> None:
    assert len(reading.KINDS) >= 14
    for kind in reading.KINDS.values():
        assert kind["en"].subject == kind["zh"].subject
        assert [field.type for field in kind["en"].fields] == [field.type for field in kind["zh"].fields]


@pytest.mark.parametrize("lang", LANGS)
def test_the_answer_and_its_distractors_stand_in_the_text(lang: Lang) -> None:
    speaker = Speaker(build_town(), lang, Random(0))
    with_others = 0
    for _ in range(400):
        speaker.invent.forget()
        turn = reading.one_reading(speaker)
        assert holds(turn.user, turn.answer, lang)
        assert all(other in turn.user for other in turn.others)
        assert turn.names[0].lower() in turn.user.lower()
        with_others += bool(turn.others)
    assert with_others > 240


@pytest.mark.parametrize("lang", LANGS)
def test_what_the_text_leaves_out_is_not_known(lang: Lang) -> None:
    speaker = Speaker(build_town(), lang, Random(0))
    for _ in range(100):
        speaker.invent.forget()
        reply = reading.unanswered_reading(speaker).replies[-1].text
        lead, tail = re.split(r"\.\.\. |……", reply)
        assert lead and refused(tail, lang)


@pytest.mark.parametrize("lang", LANGS)
def test_answers_and_refusals_part_at_the_value(lang: Lang) -> None:
    """The words before the value tell which field is meant, so a refusal can break off right there."""
    for name, kind in reading.KINDS.items():
        leads = [field.lead for field in kind[lang].fields]
        assert all("{s}" in lead and lead != "{s}" for lead in leads), (
            f"{name} has a value too early: {leads}"
        )
        assert len(set(leads)) == len(leads), f"two fields of {name} begin alike: {leads}"
