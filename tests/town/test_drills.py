"""Drills: the answer can be copied from the prompt."""

import re
from itertools import islice
from random import Random

import pytest

from liaoliao.messages import Conversation
from liaoliao.town import LANGS, drills
from liaoliao.town.words import Lang


@pytest.mark.parametrize("lang", LANGS)
def test_answers_are_copied_from_the_prompt(lang: Lang) -> None:
    made = list(islice(drills(lang, Random(1)), 1000))
    talks = [drill for drill in made if isinstance(drill, Conversation)]
    assert 0.6 < len(talks) / len(made) < 0.95
    for talk in talks:
        prompt, answer = (message.text for message in talk.messages)
        letters = re.findall(r"\w", answer)
        assert set(letters) <= set(re.findall(r"\w", prompt)), (prompt, answer)
    assert len(set(map(str, made))) > 990, "the space of drills is large"


@pytest.mark.parametrize("lang", LANGS)
def test_plain_drills_say_everything_again(lang: Lang) -> None:
    texts = [drill for drill in islice(drills(lang, Random(1)), 300) if isinstance(drill, str)]
    for text in texts:
        pieces = [piece.strip() for piece in re.split(r"[.,:。，：]", text) if piece.strip()]
        repeated = [piece for piece in pieces if pieces.count(piece) > 1]
        assert len(repeated) >= len(pieces) * 0.6, text


@pytest.mark.parametrize("lang", LANGS)
def test_the_same_dice_drill_the_same(lang: Lang) -> None:
    assert list(islice(drills(lang, Random(4)), 30)) == list(islice(drills(lang, Random(4)), 30))
