"""API keys: how they are made and kept, and the middleware that asks for one.

    key, record = make_key("anna")          # key is told once, record is kept
    ring = KeyRing((record,))
    ring.find(key)  ->  record              # any other text -> None

A key is 256 random bits, so a fast salted hash is the right one to keep: a slow one (argon2, scrypt) exists to
make guessing of *weak* secrets dear, nobody guesses 256 bits at any speed, and here it would only hand a flood of
bad keys a way to burn our CPU. Each look-up hashes against every record and compares in constant time, so its
duration tells neither how near a guess was nor which record it was nearest to (about 1 us a record).
"""

import hashlib
import hmac
import logging
import math
import secrets
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, runtime_checkable

from starlette.types import ASGIApp, Receive, Scope, Send

from liaoliao.errors import LiaoError, UsageError
from liaoliao.server.failures import ApiError, error_response, unauthorized
from liaoliao.server.keyfile import read_keys
from liaoliao.server.settings import ApiKey

Clock = Callable[[], float]
OPEN_PATHS = frozenset({"/health", "/ready"})  # for those who watch the process; they tell nothing
_PREFIX = "liao-"
_MIN_GIVEN = 16  # characters of a key that a person made up
_LOOK_EVERY_S = 1.0
_NO_STAMP = (-1,)
_LOG = logging.getLogger(__name__)


def make_key(
    name: str,
    *,
    requests_per_minute: int | None = None,
    tokens_per_minute: int | None = None,
    max_concurrent: int | None = None,
) -> tuple[str, ApiKey]:
    """A new random key, and the record of it to keep. Raises ConfigError for a bad name or limit."""
    key = _PREFIX + secrets.token_urlsafe(32)
    salt = secrets.token_bytes(16)
    today = datetime.now(UTC).date().isoformat()
    limits = (requests_per_minute, tokens_per_minute, max_concurrent)
    return key, ApiKey(name, salt.hex(), _digest(key, salt), *limits, created=today)


def given_key(name: str, key: str) -> ApiKey:
    """The record of a key that a person chose, as in LIAOLIAO_API_KEY. Raises UsageError for one easily guessed."""
    if len(key) < _MIN_GIVEN or not key.isascii() or not key.isprintable() or " " in key:
        raise UsageError(
            f"{name}: a key needs at least {_MIN_GIVEN} characters, all of them printable ASCII without blanks; "
            "`liaoliao keys new NAME` makes a good one"
        )
    salt = secrets.token_bytes(16)
    return ApiKey(name, salt.hex(), _digest(key, salt))


def _digest(key: str, salt: bytes) -> str:
    secret = key.encode("utf-8", "surrogateescape")
    return hashlib.blake2b(secret, digest_size=32, salt=salt, person=b"liaoliao-key").hexdigest()


class KeyRing:
    """The keys that are good now: some given at the start, others in a file that is read again when it changes.

    Only what is in force can open a door: a file that goes away takes its keys with it, and one that can no longer
    be read leaves those of its last good state, with an error in the log.
    """

    def __init__(
        self, keys: Sequence[ApiKey] = (), file: Path | None = None, *, clock: Clock = time.monotonic
    ) -> None:
        self._given, self._file, self._clock = tuple(keys), file, clock
        self._read: tuple[ApiKey, ...] = ()
        self._stamp: tuple[int, ...] = ()
        self._looked = clock()
        if file is not None:
            self._stamp, self._read = _stamp(file), read_keys(file)

    def find(self, key: str) -> ApiKey | None:
        """The record of this key, unless there is none or it is revoked."""
        self._refresh()
        found = None
        for record in (*self._given, *self._read):
            same = hmac.compare_digest(_digest(key, bytes.fromhex(record.salt)), record.hash)
            if same and not record.revoked:
                found = record
        return found

    def expire(self) -> None:
        """Read the file again at the next look-up, as after SIGHUP. Safe in a signal handler: it only takes a note."""
        self._stamp, self._looked = _NO_STAMP, -math.inf

    def _reload(self, file: Path) -> None:
        self._stamp = _stamp(file)
        try:
            self._read = read_keys(file) if self._stamp else ()
        except (LiaoError, OSError) as error:
            _LOG.error("the key file cannot be read; its former keys stay in force: %s", error)

    def _refresh(self) -> None:
        if self._file is None or self._clock() - self._looked < _LOOK_EVERY_S:
            return
        self._looked = self._clock()
        if _stamp(self._file) != self._stamp:
            self._reload(self._file)


def _stamp(file: Path) -> tuple[int, ...]:
    """What tells one state of a file from the next; () where there is none."""
    try:
        state = file.stat()
    except OSError:
        return ()
    return (state.st_mtime_ns, state.st_size, state.st_ino)


@runtime_checkable
class People(Protocol):
    """Where people have accounts, and keys of their own; `page.door.Entry` is the one."""

    def guards(self, path: str) -> bool:
        """Whether somebody else asks who may enter there."""

    async def of_key(self, key: str) -> str | None:
        """The account that a key belongs to, by its id; None for a key that is not good now."""

    async def of_session(self, scope: Scope) -> str | None:
        """The account whose session a request carries, by its id; None where it carries none."""


class Authenticate:
    """ASGI middleware: no way past it without a key that is good now. The key's record goes into
    `request.state.api_key`; for a key of an account the account's id into `request.state.account`.
    """

    def __init__(self, app: ASGIApp, ring: KeyRing, people: People | None = None) -> None:
        self.app, self.ring, self.people = app, ring, people

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let through, or answer 401."""
        if scope["type"] == "http" and not self._open(scope["path"]):
            try:
                await self._check(scope)
            except ApiError as error:
                await error_response(error, scope["path"])(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _open(self, path: str) -> bool:
        return path in OPEN_PATHS or (self.people is not None and self.people.guards(path))

    async def _check(self, scope: Scope) -> None:
        offered = credentials(scope)
        if not offered:
            raise unauthorized(
                "You didn't provide an API key. Provide it in an Authorization header using Bearer auth "
                "(Authorization: Bearer KEY) or in an x-api-key header."
            )
        if len(offered) > 1:
            raise unauthorized("Incorrect API key provided: the request carries two different ones.")
        key, state = offered.pop(), scope.setdefault("state", {})
        if record := self.ring.find(key):
            state["api_key"] = record
        elif self.people and (account := await self.people.of_key(key)):
            state["account"] = account
        else:
            raise unauthorized()
        await self._check_session(scope, state.get("account"))

    async def _check_session(self, scope: Scope, account: str | None) -> None:
        """A cookie opens nothing here, and one of somebody else leaves open who is asking."""
        beside = await self.people.of_session(scope) if self.people else None
        if beside is not None and beside != account:
            raise unauthorized(
                "Incorrect API key provided: it belongs to another account than the session cookie."
            )


def credentials(scope: Scope) -> set[str]:
    """Every different credential that a request carries, whichever header it is in.

    A header that is there and holds no key counts as the key "", which is never good: so a second header can
    neither hide the first nor stand in for it.
    """
    offered = set()
    for name, value in scope["headers"]:
        text = value.decode("latin-1").strip()
        if name == b"x-api-key":
            offered.add(text)
        elif name == b"authorization":
            scheme, _, key = text.partition(" ")
            offered.add(key.strip() if scheme.lower() == "bearer" else "")
    return offered
