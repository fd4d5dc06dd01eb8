"""Titles: the first words, on one line that fits, in either language."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from liaoliao.server.page.titles import MAX_COLUMNS, title_of


def columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


@given(st.text(max_size=200))
def test_a_title_is_one_line_that_fits_and_begins_as_the_text_does(text: str) -> None:
    title = title_of(text)
    assert columns(title) <= MAX_COLUMNS
    assert not any(unicodedata.category(c)[0] == "C" or c in "\n\r\u2028\u2029" for c in title)
    shown = (c for c in text if c.isspace() or unicodedata.category(c)[0] != "C")
    line = " ".join("".join(shown).split())
    assert title == line if columns(line) <= MAX_COLUMNS else line.startswith(title.removesuffix("…"))
    assert title_of(title) == title


def test_words_are_kept_whole_where_there_are_words() -> None:
    assert (
        title_of("What is\n the capital of France? I keep forgetting, sorry")
        == "What is the capital of France? I keep…"
    )
    assert (
        title_of("给我讲讲长江的历史，越详细越好，最好从远古讲起，一直讲到今天")
        == "给我讲讲长江的历史，越详细越好，最好从…"
    )
    assert title_of("x" * 100) == "x" * 39 + "…"
    assert title_of(" \n\x00\u200b") == ""
