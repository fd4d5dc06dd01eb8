"""What a conversation is called until its owner calls it something: its own first words.

    title_of("What is\\n the capital of France? I keep forgetting, it is embarrassing")
        ->  "What is the capital of France? I keep…"
    title_of("给我讲讲长江的历史，越详细越好，最好从远古讲起，一直讲到今天的样子")
        ->  "给我讲讲长江的历史，越详细越好，最好从…"

No model is asked: it would cost a reply, and a small one says little that the words do not.
"""

import unicodedata
from typing import Final

MAX_COLUMNS: Final = 40  # a Chinese character takes two of a letter's


def title_of(text: str) -> str:
    """One line of at most MAX_COLUMNS, cut between words where there are such; "" for text without any."""
    shown = (" " if c.isspace() else c for c in text if c.isspace() or unicodedata.category(c)[0] != "C")
    line = " ".join("".join(shown).split())
    columns = 0
    for index, char in enumerate(line):
        columns += 2 if unicodedata.east_asian_width(char) in "WF" else 1
        if columns > MAX_COLUMNS:
            return _cut(line, index - 1)
    return line


def _cut(line: str, at: int) -> str:
    """The line up to `at`, or to the last word before it that is not too far away."""
    space = line.rfind(" ", at // 2, at + 1)
    return line[: space if space > 0 else at].rstrip(" ,;:.，。、；：") + "…"
