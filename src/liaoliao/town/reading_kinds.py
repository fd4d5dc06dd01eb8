"""The shape of a kind of text to read: who it is about, what it says, what can be asked.

The kinds themselves are in `reading_notices` and `reading_stories`. A field's first wording is also the model
answer. Slots: {s} the subject, {v} the value, {a} its article or measure word.

    Field("job", ("{s} is {a} {v}.",), ("What is the job of {s}?",))
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from liaoliao.town.words import Lang

_VALUE = re.compile(r"(?:一?\{a\} ?)?\{v\}")


@dataclass(frozen=True, slots=True)
class Field:
    """One thing a text states of each subject."""

    type: str  # which values fit; fields of one type distract from each other
    says: tuple[str, ...]
    asks: tuple[str, ...]

    @property
    def lead(self) -> str:
        """What the model answer says before the value: "{s} opens at"."""
        return _VALUE.split(self.says[0])[0].rstrip()


@dataclass(frozen=True, slots=True)
class TextKind:
    """A kind of text in one language."""

    subject: str  # which maker of `Inventor` names the subjects
    number: tuple[int, int]  # of subjects in a text
    openings: tuple[str, ...]
    fields: tuple[Field, ...]


Kinds = Mapping[str, Mapping[Lang, TextKind]]
