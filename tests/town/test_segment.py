"""Word boundaries: nothing lost, names whole."""

from itertools import islice
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from liaoliao.town import build_town, documents, segment_words


@given(st.text())
def test_nothing_is_lost(text: str) -> None:
    pieces = segment_words(text)
    assert "".join(pieces) == text
    assert all(pieces)


def test_names_and_values_stay_whole() -> None:
    town = build_town()
    for entity in town.entities:
        assert segment_words(f"和{entity.name.zh}。")[1] == entity.name.zh
    for fact in town.facts:
        if not fact.value.zh[0].isdigit():
            assert segment_words(fact.value.zh) == [fact.value.zh]


def test_examples() -> None:
    assert segment_words("林小雨是一名面包师。") == ["林小雨", "是", "一名", "面包师", "。"]
    assert segment_words("it opens at 7:30开门") == ["it opens at 7:30", "开门"]
    assert segment_words("鱻") == ["鱻"]


def test_most_of_a_document_is_words() -> None:
    pieces = [
        piece
        for text in islice(documents(build_town(), "zh", Random(0)), 200)
        for piece in segment_words(text)
    ]
    chinese = [piece for piece in pieces if "\u4e00" <= piece[0] <= "\u9fff"]
    assert sum(len(piece) > 1 for piece in chinese) / len(chinese) > 0.5
