"""Cut Chinese text at the boundaries of words that the town knows, for tokenizer training.

Names are kept whole; unknown characters stand alone; runs that are not Chinese stay together. Nothing
is lost: the pieces joined are the text.

    segment_words("林小雨是一名面包师。")  -> ["林小雨", "是", "一名", "面包师", "。"]
"""

from functools import cache

from liaoliao.town import names, values
from liaoliao.town.vocabulary import WORDS
from liaoliao.town.words import TOWN_NAME
from liaoliao.town.world import build_town


def segment_words(text: str) -> list[str]:
    """Pieces of the text, longest known word first from the left."""
    words, longest = _words()
    pieces: list[str] = []
    start = 0
    while start < len(text):
        end = (
            _other_run(text, start)
            if not _is_chinese(text[start])
            else _word_end(text, start, words, longest)
        )
        pieces.append(text[start:end])
        start = end
    return pieces


def _word_end(text: str, start: int, words: frozenset[str], longest: int) -> int:
    for end in range(min(len(text), start + longest), start + 1, -1):
        if text[start:end] in words:
            return end
    return start + 1


def _other_run(text: str, start: int) -> int:
    end = start + 1
    while end < len(text) and not _is_chinese(text[end]):
        end += 1
    return end


def _is_chinese(character: str) -> bool:
    return "\u2e80" <= character <= "\u9fff" or "\uff00" <= character <= "\uffef"


@cache
def _words() -> tuple[frozenset[str], int]:
    """All names, values and everyday words without digits, and the length of the longest."""
    town = build_town()
    words = {TOWN_NAME["zh"], *WORDS}
    words |= {entity.name.zh for entity in town.entities} | {fact.value.zh for fact in town.facts}
    for trade, places, wares in names.PLACES:
        words |= {chinese for _, chinese in (trade, *places, *wares)}
    words |= {value.zh for table in values.TABLES for value in table}
    words = {word for word in words if all(_is_chinese(character) for character in word)}
    return frozenset(words), max(map(len, words))
