"""How many tokens a step may hold so that it does not take too long, learned from the steps before.

A prompt is read in pieces between the tokens of those who are being answered; a piece that takes a second is a second of
silence for all of them. What fits into a given time depends on the model and the machine, so it is measured. The results
do not depend on it: a prompt read in other pieces is the same prompt.

    pace = Pace(max_tokens=2048)
    pace.observe(num_tokens=200, num_rows=1, seconds=0.1)
    pace.tokens_within(0.25)  ->  500
"""

FIRST_TOKENS = 256  # a guess, until something has been measured
_LEAST_TOKENS = 64  # fewer at a time read the weights too often for what they get done
_TELLING_TOKENS = 4  # a row, on average: a step of fewer tells how long it takes to read the weights


class Pace:
    """Tokens a second, as a running mean; never more than `max_tokens` a step."""

    def __init__(self, max_tokens: int) -> None:
        self.max_tokens = max_tokens
        self._tokens_per_s: float | None = None

    def observe(self, num_tokens: int, num_rows: int, seconds: float) -> None:
        """Take note of a step; one that did little but decode, a token a row, is passed over."""
        if num_tokens >= _TELLING_TOKENS * num_rows and seconds > 0:
            rate, before = num_tokens / seconds, self._tokens_per_s
            self._tokens_per_s = rate if before is None else (rate + before) / 2

    def tokens_within(self, seconds: float) -> int:
        """How many tokens a step may hold to be over in about that time."""
        rate = self._tokens_per_s
        wanted = FIRST_TOKENS if rate is None else max(_LEAST_TOKENS, int(rate * seconds))
        return min(wanted, self.max_tokens)
