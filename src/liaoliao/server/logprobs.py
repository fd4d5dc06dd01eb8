"""Which token brought which part of a text, so that the bytes of the listed tokens add up to the text.

Between tokens and the text of a reply stand half characters that wait for the rest, line breaks that belong to
marks, reasoning, and stop strings in the middle of a token. The ledger takes every token when it is made, and
gives those back that a piece of text consists of once the text is said:

    ledger.add(event of "你" 's first byte), ledger.add(event of the other two bytes)
    ledger.take("你")  ->  TokenLogprob(<its first byte>), TokenLogprob(<its other two bytes>)

Marks apart (`silence`), what is left out of what the tokens spell is line breaks before words, so the first
fit from the left is the right one. A token is listed when all of it has been said or passed over; one that is
cut is listed with what is left of it.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from liaoliao.engine.request import TokenEvent
from liaoliao.text.tokenizer import Tokenizer

Alternatives: TypeAlias = tuple[tuple[str, bytes, float], ...]  # words, bytes, logprob
_REPLACEMENT = "\ufffd"


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token of the text: its words, the bytes it adds to the text, its logprob, and (words, bytes, logprob)
    of the likeliest tokens in its place.
    """

    token: str
    bytes: bytes
    logprob: float
    top: Alternatives = ()


def token_name(token: bytes) -> str:
    """A token as text; what is not UTF-8 by itself is written out, such as \\xe4\\xbd."""
    try:
        return token.decode("utf-8")
    except UnicodeDecodeError:
        return "".join(f"\\x{byte:02x}" for byte in token)


def spell(tokenizer: Tokenizer, token_id: int) -> bytes:
    """The bytes of a token; none for the ids by which some models are larger than their vocabulary."""
    return tokenizer.token_bytes(token_id) if token_id < tokenizer.vocab_size else b""


def alternatives(tokenizer: Tokenizer, event: TokenEvent) -> Alternatives:
    """The likeliest tokens in the place of a token."""
    spelled = ((spell(tokenizer, token_id), logprob) for token_id, logprob in event.top_logprobs)
    return tuple((token_name(token), token, logprob) for token, logprob in spelled)


@dataclass(slots=True)
class _Entry:
    event: TokenEvent
    spelled: bytes
    left: int  # bytes neither said nor passed over
    said: bytearray = field(default_factory=bytearray)
    used: bool = False
    cut: bool = False


@dataclass(frozen=True, slots=True)
class _Unit:
    """One character, and how many bytes of which token it was made from; `adds` is what each adds to the text."""

    char: str
    parts: tuple[tuple[_Entry, int, bytes], ...]


class Ledger:
    """The tokens of one reply whose place in the text is not settled."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._special = frozenset(tokenizer.special_ids.values())
        self._entries: deque[_Entry] = deque()
        self._units: deque[_Unit] = deque()
        self._open: list[tuple[int, _Entry]] = []  # bytes of a character that is not whole yet

    def add(self, event: TokenEvent) -> None:
        """One more token was made."""
        spelled = spell(self._tokenizer, event.token_id)
        entry = _Entry(event, spelled, len(spelled))
        self._entries.append(entry)
        if event.token_id in self._special:
            self._decode(final=True)
        self._open += ((byte, entry) for byte in spelled)
        self._decode(final=False)

    def silence(self) -> None:
        """The last token was a mark: nothing of it will be said."""
        last = self._entries[-1]
        while self._units and self._units[-1].parts[-1][0] is last:
            self._settle(self._units.pop(), said=False)

    def take(self, text: str) -> tuple[TokenLogprob, ...]:
        """The text was said next: the tokens that are settled by it."""
        self._pass(text, said=True)
        return tuple(self._settled())

    def skip(self, text: str) -> None:
        """The text was spelled next, but is no part of what is said."""
        self._pass(text, said=False)

    def clear(self) -> tuple[TokenLogprob, ...]:
        """Nothing more of these tokens will be said: what has been said of them."""
        self._decode(final=True)
        while self._units:
            self._settle(self._units.popleft(), said=False)
        return tuple(self._settled())

    def _pass(self, text: str, *, said: bool) -> None:
        for char in text:
            while self._units or self._open:
                if not self._units:
                    self._decode(final=True)  # it was said, so no more of its bytes were waited for
                unit = self._units.popleft()
                self._settle(unit, said=said and unit.char == char)
                if unit.char == char:
                    break

    def _decode(self, *, final: bool) -> None:
        """Turn open bytes into characters as Python's decoder does that replaces what is not UTF-8."""
        while self._open:
            data = bytes(byte for byte, _ in self._open)
            try:
                good, bad = len(data), 0
                data.decode("utf-8")
            except UnicodeDecodeError as error:
                good, bad = error.start, error.end - error.start
                if error.reason == "unexpected end of data" and not final:
                    bad = 0
            at = 0
            for char in data[:good].decode("utf-8"):
                size = len(char.encode("utf-8"))
                self._units.append(_unit(char, self._open[at : at + size]))
                at += size
            if bad:
                self._units.append(_unit(_REPLACEMENT, self._open[good : good + bad], replaced=True))
            del self._open[: good + bad]
            if not bad:
                return

    def _settle(self, unit: _Unit, *, said: bool) -> None:
        for entry, size, adds in unit.parts:
            entry.left -= size
            entry.used |= said
            entry.cut |= not said
            if said:
                entry.said += adds

    def _settled(self) -> Iterator[TokenLogprob]:
        while self._entries and not self._entries[0].left:
            entry = self._entries.popleft()
            if entry.used:
                yield self._told(entry)

    def _told(self, entry: _Entry) -> TokenLogprob:
        name = token_name(bytes(entry.said) if entry.cut else entry.spelled)
        return TokenLogprob(
            name, bytes(entry.said), entry.event.logprob, alternatives(self._tokenizer, entry.event)
        )


def _unit(char: str, made_of: list[tuple[int, _Entry]], *, replaced: bool = False) -> _Unit:
    """A character from its bytes; one that replaces broken bytes is put down to the first of their tokens."""
    parts: list[tuple[_Entry, int, bytes]] = []
    for byte, entry in made_of:
        adds = b"" if replaced else bytes([byte])
        if parts and parts[-1][0] is entry:
            _, size, before = parts[-1]
            parts[-1] = (entry, size + 1, before + adds)
        else:
            parts.append((entry, 1, adds))
    if replaced:
        entry, size, _ = parts[0]
        parts[0] = (entry, size, _REPLACEMENT.encode("utf-8"))
    return _Unit(char, tuple(parts))
