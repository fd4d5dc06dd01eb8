"""Strings at which a reply ends, watched for in text that comes in pieces.

    gate = StopGate(["END"]);  gate.feed("one E")  ->  "one ";  gate.feed("N");  gate.feed("DING")  ->  ""
    gate.closed  ->  True

What may be the beginning of a stop string is held back until it is clear that it is none.
"""

from collections.abc import Sequence


class StopGate:
    """Lets text through up to the first stop string: `passed` is what has come through, `closed` says that
    one was met, and `met` which (of several that begin at the same place, the first of the list).
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self.stop = tuple(stop)
        self.passed, self._held = "", ""
        self.met: str | None = None

    @property
    def closed(self) -> bool:
        """Whether a stop string was met."""
        return self.met is not None

    def feed(self, text: str) -> str:
        """What may pass of the text so far."""
        text = self._held + text
        found = [(position, stop) for stop in self.stop if (position := text.find(stop)) >= 0]
        keep, self.met = (
            min(found, key=lambda at: at[0]) if found else (len(text) - self._overlap(text), None)
        )
        self._held = "" if found else text[keep:]
        return self._pass(text[:keep])

    def flush(self) -> str:
        """What was held back, as nothing follows that could make it a stop string."""
        held, self._held = self._held, ""
        return self._pass(held)

    def _pass(self, text: str) -> str:
        self.passed += text
        return text

    def _overlap(self, text: str) -> int:
        """Length of the longest end of `text` that begins a stop string."""
        longest = max(map(len, self.stop), default=1) - 1
        lengths = range(min(longest, len(text)), 0, -1)
        return next((n for n in lengths if any(s.startswith(text[-n:]) for s in self.stop)), 0)
