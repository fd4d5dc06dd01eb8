"""Reading: texts that state what is asked, with distractors of the same type."""

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
        assert refused(reading.unanswered_reading(speaker).replies[-1].text, lang)
