"""Names for rows: opaque, never reused, and in the order of their making.

    new_id()  ->  "01KATZ3V8M9G5J0Q2T7W4X6Y8Z"

48 bits of milliseconds and 80 random bits, in Crockford's base 32 (no I, L, O, U): an id is safe in a URL, in a file
name and when read aloud, and neither tells how many rows there are nor lets anyone guess the next one.
"""

import re
import secrets
import time

_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LENGTH = 26  # 5 bits each: 130 bits hold the 128
_RANDOM_BITS = 80
_ID = re.compile(f"[0-7][{_DIGITS}]{{{_LENGTH - 1}}}")


def new_id(at: float | None = None) -> str:
    """A fresh id of 26 characters; ids of later milliseconds sort after it. `at`: Unix seconds, now if None."""
    milliseconds = int((time.time() if at is None else at) * 1000)
    number = milliseconds << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
    return "".join(_DIGITS[number >> shift & 31] for shift in range(5 * (_LENGTH - 1), -1, -5))


def is_id(text: str) -> bool:
    """Whether the text has the form of an id."""
    return _ID.fullmatch(text) is not None
