"""Exact grading: does a reply hold the right value, and no other one?

A value counts as a whole word or number: 7:30 is not in 17:30, "mint tea" not in "peppermint tea".

    holds_only("It opens at 7:30.", "7:30", ("17:30", "8:00"), "en")  -> True
"""

import re
from collections.abc import Sequence

from liaoliao.town.words import Lang

_REFUSALS: dict[Lang, tuple[str, ...]] = {
    "en": ("don't know", "don’t know", "do not know"),
    "zh": ("不知道",),
}
_NUMBER = re.compile(r"\d+(?::\d+)?")


def refused(text: str, lang: Lang) -> bool:
    """Whether the text says that it does not know."""
    return any(words in text.lower() for words in _REFUSALS[lang])


def numbers(text: str) -> list[str]:
    """The numbers and times of the text: "2 eggs at 7:30" -> ["2", "7:30"]."""
    return _NUMBER.findall(text)


def holds(text: str, value: str, lang: Lang) -> bool:
    """Whether the value stands in the text as whole words and numbers."""
    text, value = text.lower(), value.lower()
    start = text.find(value)
    while start >= 0:
        if _whole(text, start, start + len(value), lang):
            return True
        start = text.find(value, start + 1)
    return False


def holds_only(text: str, answer: str, others: Sequence[str], lang: Lang, names: Sequence[str] = ()) -> bool:
    """Whether the text holds the answer and none of the other values; `names` are set aside first."""
    for name in sorted(names, key=len, reverse=True):
        text = re.sub(re.escape(name), " ", text, flags=re.IGNORECASE)
    longer = [other for other in others if answer in other]  # 贾敏云 is not a way to say 贾敏
    if not holds(text, answer, lang) or any(holds(text, other, lang) for other in longer):
        return False
    rest = re.sub(
        re.escape(answer), " ", text, flags=re.IGNORECASE
    )  # so that no other value is found inside the answer
    return not any(holds(rest, other, lang) for other in others) and not (numbers(answer) and numbers(rest))


def _whole(text: str, start: int, end: int, lang: Lang) -> bool:
    before, first = text[start - 1 : start], text[start]
    last, after = text[end - 1], text[end : end + 1]
    return not (_joined(before, first, lang) or _joined(last, after, lang))


def _joined(left: str, right: str, lang: Lang) -> bool:
    """Whether two neighbouring characters belong to one number or one English word."""
    if not left or not right:
        return False
    if (left.isdigit() and (right.isdigit() or right == ":")) or (right.isdigit() and left == ":"):
        return True
    return lang == "en" and left.isalnum() and right.isalnum()
