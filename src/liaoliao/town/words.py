"""Small shared pieces of the town: languages, hashes, choices, sentence joints.

Lowest file of the package: everything else in `town` imports from here.

    share("Mira Holt/job") -> 0.41...        # the same number on every machine, for deterministic splits
    sentence("the Old Mill opens at 7:30.")  -> "The Old Mill opens at 7:30."
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, TypeVar

Lang = Literal["en", "zh"]
LANGS: tuple[Lang, ...] = ("en", "zh")
T = TypeVar("T")

TOWN_NAME = {"en": "Willowmere", "zh": "柳湖镇"}
RESERVED_SHARE = 0.15


@dataclass(frozen=True, slots=True)
class Both:
    """One meaning, its exact text in each language."""

    en: str
    zh: str

    def to(self, lang: Lang) -> str:
        """The text in `lang`."""
        return self.en if lang == "en" else self.zh


def share(key: str) -> float:
    """A number in [0, 1) that depends on `key` alone."""
    # crc32 alone is linear: near keys give near shares. One multiplicative mix spreads them.
    mixed = (zlib.crc32(key.encode("utf-8")) * 0x9E3779B97F4A7C15) & (2**64 - 1)
    mixed ^= mixed >> 29
    mixed = (mixed * 0xBF58476D1CE4E5B9) & (2**64 - 1)
    return (mixed >> 32) / 2**32


def reserved(key: str, part: float = RESERVED_SHARE) -> bool:
    """Whether a made-up name, an operand pair or the like belongs to the test split."""
    return share("reserved:" + key) < part


def pick(rng: Random, options: Sequence[T]) -> T:
    """`rng.choice`, several times faster."""
    return options[int(rng.random() * len(options))]


def deal(deck: Sequence[T], rng: Random) -> Iterator[T]:
    """Deal the whole deck in random order, reshuffle, deal again, without end: equal counts."""
    cards = list(deck)
    while cards:
        rng.shuffle(cards)
        yield from cards


def sentence(text: str) -> str:
    """The text with a capital first letter (Chinese is unchanged)."""
    return text[:1].upper() + text[1:]


def join(sentences: Sequence[str], lang: Lang) -> str:
    """Sentences as one paragraph: spaces between English ones only."""
    return (" " if lang == "en" else "").join(sentences)


def listing(items: Sequence[str], lang: Lang) -> str:
    """`a, b and c` / `a、b和c`."""
    if len(items) < 2:
        return "".join(items)
    comma, last = (", ", " and ") if lang == "en" else ("、", "和")
    return comma.join(items[:-1]) + last + items[-1]


def article(word: str) -> str:
    """`a` or `an`."""
    return "an" if word[:1].lower() in "aeiou" else "a"
