"""Passwords: argon2id hashes, and a look-up that takes the same work whether or not there is such an account.

    hashed = hash_password("correct horse")   ->  "$argon2id$v=19$m=65536,t=3,p=4$…"
    is_password(hashed, "correct horse")      ->  True;   is_password(None, …)  ->  False, after as much work

The cost is RFC 9106's second recommended option (64 MiB, 3 passes, 4 lanes): some tens of milliseconds.
"""

import base64
import secrets
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from liaoliao.errors import UsageError

MIN_CHARACTERS = 8
MAX_CHARACTERS = 1024  # nobody types more, and hashing costs by length
_MEMORY_KIB, _PASSES, _LANES, _SALT, _HASH = 65536, 3, 4, 16, 32
_HASHER = PasswordHasher(_PASSES, _MEMORY_KIB, _LANES, _HASH, _SALT)


def hash_password(password: str) -> str:
    """What to keep of a password. Raises UsageError for one that is too short or too long."""
    if not MIN_CHARACTERS <= len(password) <= MAX_CHARACTERS:
        told = f"a password has {MIN_CHARACTERS} to {MAX_CHARACTERS} characters"
        raise UsageError(told, code="password_length")
    return _HASHER.hash(_bytes(password))


def is_password(hashed: str | None, password: str) -> bool:
    """Whether this is the password. The work is the same for a wrong one, and where there is none to compare with."""
    given = password if len(password) <= MAX_CHARACTERS else ""
    try:
        _HASHER.verify(_decoy() if hashed is None else hashed, _bytes(given))
    except (VerificationError, InvalidHashError):
        return False
    return hashed is not None and given == password


def is_outdated(hashed: str) -> bool:
    """Whether it was made at another cost than today's."""
    return _HASHER.check_needs_rehash(hashed)


def _decoy() -> str:
    """A hash that no password has: random bytes in the form, and at the cost, of a real one."""
    salt, digest = (_unpadded(secrets.token_bytes(size)) for size in (_SALT, _HASH))
    return f"$argon2id$v=19$m={_MEMORY_KIB},t={_PASSES},p={_LANES}${salt}${digest}"


def _unpadded(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii").rstrip("=")


def _bytes(password: str) -> bytes:
    """One password, however the keyboard composed its letters."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
