"""Guesses at the next tokens of a greedy reply, for free: what followed when the same words stood here before.

Replies repeat: names from the prompt, code, tables, lists. The engine lets the model check a draft in one pass
and keeps what the model would have said anyway, so a guess costs little and never changes a reply (prompt-lookup
decoding, Saxena 2023; the search is the hash chain of LZ77).

    NgramIndex([5, 6, 7, 8, 5, 6]).draft(3)  ->  [7, 8, 5]
    Drafter([5, 6, 7, 8, 5, 6]).draft(3)     ->  the same, and nothing for a while where too few came true
"""

from array import array
from collections.abc import Iterable
from typing import Final

DRAFTS: Final = 4  # for each sequence of a step, where nobody says another number

MIN_NGRAM: Final = 2  # a single token that stood here before foretells little
MAX_NGRAM: Final = 8
MAX_TRIED: Final = 32  # earlier places looked at for one draft

MIN_TALLY: Final = 16  # drafts of a sequence before they are judged
MIN_TRUE: Final = 0.25  # of its drafts: with fewer it pauses
PAUSE: Final = 64  # tokens without drafts; then they are tried again


class Drafter:
    """The drafts of one sequence, for as long as they pay.

    When fewer than MIN_TRUE of them came true, counted since the beginning or the last pause, there are none until PAUSE
    more tokens were said. So those that fail are never many more than three for each that came true.
    """

    def __init__(self, token_ids: Iterable[int]) -> None:
        self._index = NgramIndex(token_ids)
        self._drafted = self._accepted = 0
        self._pause = 0  # tokens to be said before the next draft

    def extend(self, token_id: int) -> None:
        """One more token of the sequence."""
        self._index.extend(token_id)
        self._pause = max(0, self._pause - 1)

    def draft(self, max_tokens: int) -> list[int]:
        """Up to `max_tokens` likely next tokens, none in a pause; see NgramIndex."""
        return [] if self._pause else self._index.draft(max_tokens)

    def tally(self, drafted: int, accepted: int) -> None:
        """So many drafts went through the model, and so many of them came true."""
        self._drafted += drafted
        self._accepted += accepted
        if self._drafted >= MIN_TALLY and self._accepted < MIN_TRUE * self._drafted:
            self._drafted = self._accepted = 0
            self._pause = PAUSE


class NgramIndex:
    """The tokens of one sequence, prompt and reply, and where each of them stood last.

    `extend` takes constant time and 8 bytes a token; `draft` looks at no more than MAX_TRIED places, the latest
    first.
    """

    def __init__(self, token_ids: Iterable[int]) -> None:
        self._token_ids = array("i")
        self._before = array("i")  # position -> the position before it that holds the same token, or -1
        self._last: dict[int, int] = {}  # token -> the last position that holds it
        for token_id in token_ids:
            self.extend(token_id)

    def __len__(self) -> int:
        return len(self._token_ids)

    def extend(self, token_id: int) -> None:
        """One more token of the sequence."""
        self._before.append(self._last.get(token_id, -1))
        self._last[token_id] = len(self._token_ids)
        self._token_ids.append(token_id)

    def draft(self, max_tokens: int) -> list[int]:
        """Up to `max_tokens` likely next tokens; empty if the end of the sequence stands nowhere else in it.

        They are those that followed the place with the longest match of MIN_NGRAM to MAX_NGRAM tokens, the latest
        of equals. A match that overlaps the end goes on with what it has said itself, so that a repetition is
        drafted in full.
        """
        start = self._best_match() + 1
        if start == 0:
            return []
        followers = self._token_ids[start : start + max_tokens].tolist()
        period = len(self._token_ids) - start
        return [followers[i % period] for i in range(max_tokens)]

    def _best_match(self) -> int:
        """Where the longest earlier match of the end of the sequence ends; -1 if there is none."""
        best, longest = -1, MIN_NGRAM - 1
        place = self._before[-1] if self._before else -1
        for _ in range(MAX_TRIED):
            if place < 0 or longest == MAX_NGRAM:
                break
            length = self._match_length(place)
            if length > longest:
                best, longest = place, length
            place = self._before[place]
        return best

    def _match_length(self, place: int) -> int:
        """How many tokens up to `place` equal the last ones of the sequence, up to MAX_NGRAM."""
        ids, end = self._token_ids, len(self._token_ids) - 1
        length = 1  # the chain leads to places that hold the last token
        while length < MAX_NGRAM and length <= place and ids[place - length] == ids[end - length]:
            length += 1
        return length
