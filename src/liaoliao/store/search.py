"""Finding conversations by any piece of their titles and messages, in every script, on both databases.

    fold("Ｆerry 渡轮")  ->  "ferry 渡轮"            as compared: case and width do not matter
    grams("渡轮")        ->  {"渡轮·", "轮··"}        every three characters in a row, and the end

A word of a query is found wherever it is a part of a text, so there is nothing to know about where Chinese words
begin. The index maps grams to texts: FTS5 on SQLite, a tsvector under GIN on PostgreSQL, with the same grams in both
and no extension or locale needed. A word of three or more characters asks for all of its grams and looks at the texts
that have them; a shorter one asks for the grams that begin with it, which is exact: so two Chinese characters, the
most usual query, need no look at all.

The index knows grams and numbers of texts and nothing else (of FTS5's kinds the smallest), so a text that goes is
taken out of it by what it was: `Index.forget`.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, select, text

from liaoliao.store import schema

MAX_INDEXED = 64_000  # characters of a text that can be found; PostgreSQL takes 1 MB of grams
_MAX_WORDS, _MAX_WORD = 8, 64  # of a query
_BEFORE, _AFTER = 30, 90  # characters of a snippet around what was found
_GRAM = 3
_END, _ACCOUNT = "\ue07f", "\ue07e"
# FTS5's plainest tokenizer takes ASCII letters and digits and everything beyond ASCII for parts of a token, so the rest
# of ASCII moves to a private corner of Unicode. PostgreSQL's quoting then finds nothing to quote, either.
_MOVED = {code: 0xE000 + code for code in range(128) if not chr(code).isalnum()}
_BLANKS = {code: " " for code in range(128) if chr(code).isspace() or code < 32}
_TEXTS = schema.search_texts


def fold(said: str) -> str:
    """The text as it is compared, each character in the place that it had."""
    if said.isascii():
        return said.lower().translate(_BLANKS)
    return "".join(map(_fold_character, said))


@lru_cache(maxsize=65_536)
def _fold_character(character: str) -> str:
    if character.isspace() or character < " " or "\ud800" <= character <= "\udfff":
        return " "
    folded = unicodedata.normalize("NFKC", character).lower()
    return folded if len(folded) == 1 else character


def grams(folded: str) -> set[str]:
    """Every three characters in a row of a folded text; at its end with END for those that are not there."""
    padded = folded.translate(_MOVED) + _END * (_GRAM - 1)
    return {padded[start : start + _GRAM] for start in range(len(folded))}


def words_of(query: str) -> list[str]:
    """The words of a query as they are compared: all of them are to be in one message, or in the title. The first eight
    count, and of each the first 64 characters.
    """
    return [word[:_MAX_WORD] for word in fold(query).split()][:_MAX_WORDS]


def snippet(said: str, words: Sequence[str]) -> str:
    """The part of a text around the first of the words that it has."""
    folded = fold(said)
    at = min((place for word in words if (place := folded.find(word)) >= 0), default=0)
    start, end = max(0, at - _BEFORE), at + _AFTER
    cut = " ".join(said[start:end].split())
    return ("…" if start else "") + cut + ("…" if end < len(said) else "")


def has_words(words: Sequence[str], *, is_sqlite: bool) -> ColumnElement[bool]:
    """The condition that a row of `search_texts` has all of the words."""
    place = func.instr if is_sqlite else func.strpos
    return and_(*(place(_TEXTS.c.text, word) > 0 for word in words))


def is_indexed(words: Sequence[str], account_id: str, *, is_sqlite: bool) -> ColumnElement[bool]:
    """The same for the account's rows, through the index."""
    asked = _asked(words, account_id, is_sqlite=is_sqlite)
    found = (
        "SELECT rowid FROM search_index WHERE search_index MATCH :asked"
        if is_sqlite
        else "SELECT number FROM search_index WHERE grams @@ CAST(:asked AS tsquery)"
    )
    rows = _TEXTS.c.number.in_(text(found).bindparams(asked=asked).columns(_TEXTS.c.number))
    long = [word for word in words if len(word) > _GRAM]  # their grams may stand apart: look
    return and_(rows, has_words(long, is_sqlite=is_sqlite)) if long else rows


def _asked(words: Sequence[str], account_id: str, *, is_sqlite: bool) -> str:
    """The query in the language of FTS5, or as a tsquery."""
    quote, prefix, also = ('"', "*", " AND ") if is_sqlite else ("'", ":*", " & ")
    whole, begun = {_ACCOUNT + account_id}, set()
    for word in words:
        moved = word.translate(_MOVED)
        whole |= {moved[start : start + _GRAM] for start in range(len(moved) - _GRAM + 1)}
        begun |= {moved} if len(moved) < _GRAM else set()
    terms = [f"{quote}{gram}{quote}" for gram in sorted(whole)]
    return also.join(terms + [f"{quote}{gram}{quote}{prefix}" for gram in sorted(begun)])


@dataclass(frozen=True, slots=True)
class Entry:
    """A text to be found: what a message says, or, without a message, the title of a conversation."""

    account_id: str
    conversation_id: str
    message_id: str | None
    said: str


class Index:
    """What can be found, kept equal to what there is, inside a transaction of the caller's."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._is_sqlite = connection.dialect.name == "sqlite"

    def add(self, entries: Iterable[Entry]) -> None:
        """Make texts findable; empty ones are passed over."""
        rows = [row for entry in entries if (row := _row(entry))["text"]]
        if not rows:
            return
        kept = insert(_TEXTS).returning(_TEXTS.c.number, sort_by_parameter_order=True)
        numbers = self._connection.execute(kept, rows).scalars().all()
        indexed = (
            "INSERT INTO search_index (rowid, grams) VALUES (:number, :grams)"
            if self._is_sqlite
            else "INSERT INTO search_index (number, grams) VALUES (:number, array_to_tsvector(CAST(:grams AS text[])))"
        )
        self._connection.execute(
            text(indexed),
            [self._grams(number, row) for number, row in zip(numbers, rows, strict=True)],
        )

    def forget(self, *which: ColumnElement[bool]) -> None:
        """Take out the rows of `search_texts` for which all of this holds."""
        if self._is_sqlite:
            taken_out = text(
                "INSERT INTO search_index (search_index, rowid, grams) VALUES ('delete', :number, :grams)"
            )
            for rows in self._pages(*which):
                self._connection.execute(taken_out, [self._grams(row["number"], row) for row in rows])
        self._connection.execute(delete(_TEXTS).where(*which))  # PostgreSQL's index rows go with them

    def compact(self) -> None:
        """Drop what `forget` has only marked as gone so far, which rewrites the index; on PostgreSQL, VACUUM does."""
        if self._is_sqlite:
            self._connection.execute(text("INSERT INTO search_index (search_index) VALUES ('optimize')"))

    def _pages(self, *which: ColumnElement[bool]) -> Iterator[list[dict[str, Any]]]:
        """The rows, some at a time: an account may have more than fit into memory."""
        after = 0
        while True:
            page = select(_TEXTS).where(*which, _TEXTS.c.number > after).order_by(_TEXTS.c.number).limit(500)
            rows = [dict(row) for row in self._connection.execute(page).mappings()]
            if not rows:
                return
            yield rows
            after = rows[-1]["number"]

    def _grams(self, number: int, row: dict[str, Any]) -> dict[str, Any]:
        found = [_ACCOUNT + row["account_id"], *grams(row["text"])]
        return {"number": number, "grams": " ".join(found) if self._is_sqlite else found}


def _row(entry: Entry) -> dict[str, Any]:
    where = {"account_id": entry.account_id, "conversation_id": entry.conversation_id}
    return {**where, "message_id": entry.message_id, "text": fold(entry.said[:MAX_INDEXED])}
