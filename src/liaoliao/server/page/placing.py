"""Where in an answer's text the words of each of its tokens begin.

    placing = Placing()
    placing.token("the".encode(), mark=False);  placing.said([TextDelta("the")])
    placing.token(" cat".encode(), mark=False); placing.said([TextDelta(" cat")])
    placing.starts  ->  [0, 3]

Between tokens and text stand the rules of `text.parse`: marks are not said, line breaks beside them are left out, others
wait for the word that follows, and so do bytes for the rest of their character. So tokens wait here until text comes
that they spell, which is all of what they spell but for marks and for line breaks at either end.
"""

import codecs
from collections.abc import Sequence
from dataclasses import dataclass

from liaoliao.chat.turn import ChatEvent
from liaoliao.text.parse import TextDelta


@dataclass(slots=True)
class _Waiting:
    """A token, and the characters that it completed and that have not been said."""

    index: int
    chars: str
    mark: bool


class Placing:
    """`starts` has a place for each token, None where it has no words in the text; the first is at `offset`."""

    def __init__(self, offset: int = 0) -> None:
        self.starts: list[int | None] = []
        self._length = offset
        self._waiting: list[_Waiting] = []
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def token(self, spelled: bytes, *, mark: bool) -> None:
        """One more token was made."""
        if mark:
            self._settle_bytes()
        self._waiting.append(_Waiting(len(self.starts), self._decoder.decode(spelled), mark))
        self.starts.append(None)

    def said(self, events: Sequence[ChatEvent]) -> None:
        """What came of it."""
        text = "".join(event.text for event in events if isinstance(event, TextDelta))
        if text:
            self._place(text)
        if any(not isinstance(event, TextDelta) for event in events):
            self._waiting.clear()  # they were thoughts, a call, or the end

    def _settle_bytes(self) -> None:
        """Half a character is one, now that nothing of it can follow."""
        rest = self._decoder.decode(b"", final=True)
        if rest and self._waiting:
            self._waiting[-1].chars += rest

    def _place(self, text: str) -> None:
        if _around(self._spelled(), text) is None:
            self._settle_bytes()
        if _around(self._spelled(), text) is None:
            self._waiting = [one for one in self._waiting if not one.mark]
        spelled = self._spelled()
        before = _around(spelled, text)
        place = -(max(0, len(spelled) - len(text)) if before is None else before)
        left: list[_Waiting] = []
        for one in self._waiting:
            start, place = place, place + len(one.chars)
            if start >= len(text):
                left.append(one)
                continue
            if (place > 0 or start >= 0) and self.starts[one.index] is None:
                self.starts[one.index] = self._length + max(start, 0)
            if place > len(text):
                left.append(_Waiting(one.index, one.chars[len(text) - place :], one.mark))
        self._waiting = left
        self._length += len(text)

    def _spelled(self) -> str:
        return "".join(one.chars for one in self._waiting)


def _around(spelled: str, text: str) -> int | None:
    """How many characters of `spelled` come before `text` in it, if only line breaks follow; None if it is not so."""
    for num_after in range(len(spelled) - len(spelled.rstrip("\n")) + 1):
        if spelled[: len(spelled) - num_after].endswith(text):
            return len(spelled) - num_after - len(text)
    return None
