"""How the server runs, as one value: where it listens, who may ask, how much, how long.

    Settings(port=9000, api_keys=(api_key,), requests_per_minute=60)

`cli/serve.py` builds it from flags, `create_app` and `serve` read it, nothing changes it.
"""

import ipaddress
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from liaoliao.errors import ConfigError, UsageError

LogLevel = Literal["debug", "info", "warning", "error"]
KEY_NAME = re.compile(r"\w[\w.-]{0,63}")
_SALT, _HASH = re.compile(r"([0-9a-f]{2}){1,16}"), re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as the server knows it: a name, and a salted hash from which the key cannot be had back.

    `salt` and `hash` are hex. A limit that is None is the server's (`Settings`). `revoked` is the day on which it
    stopped being good, if it has.
    """

    name: str
    salt: str
    hash: str
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    max_concurrent: int | None = None
    created: str = ""
    revoked: str = ""

    def __post_init__(self) -> None:
        if not KEY_NAME.fullmatch(self.name):
            raise ConfigError(
                f"{self.name!r} cannot name a key: use letters, digits, '.', '-' and '_' (at most 64)"
            )
        if not (_SALT.fullmatch(self.salt) and _HASH.fullmatch(self.hash)):
            raise ConfigError(f"the key {self.name}: salt and hash must be hex of at most 16 and of 32 bytes")
        _at_least_one(self, "requests_per_minute", "tokens_per_minute", "max_concurrent")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything about a server but its models. Times in seconds; a limit that is None is not there.

    Raises ConfigError naming the field that makes no sense.
    """

    host: str = "127.0.0.1"
    port: int = 8000  # 0: any free one
    # who may ask
    api_keys: tuple[ApiKey, ...] = ()
    api_key_file: Path | None = None  # more of them, by `liaoliao keys`; read again when it changes
    allowed_hosts: tuple[str, ...] = ()  # besides localhost, names by which one without keys may be called
    cors_origins: tuple[str, ...] = ()  # whose web pages may ask, such as "https://chat.example"; "*": all
    # the page
    page: bool = True  # where there is a store, and no keys that a person could not type into it
    multi_user: bool = False  # people have accounts: a login for the page, keys of their own for /v1
    database: str | None = None  # its URL; None: liaoliao.db in LIAOLIAO_HOME
    session_lifetime_s: float = 30 * 86400.0  # after a login
    behind_https: bool = (
        False  # a proxy in front speaks HTTPS with browsers, and tells where requests come from
    )
    # how much, for each key (all that carry none share one measure)
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    max_concurrent: int | None = None
    # how much, for everyone together
    max_running: int = 64  # requests in the engine's batch
    max_waiting: int = 256  # requests that wait for a place in it; more are refused with 503
    # guessed ahead for replies at temperature 0, tokens a step; None: engine.speculate.DRAFTS
    speculate: int | None = None
    max_connections: int = 4096
    # how large, how long
    max_body_bytes: int = 8 << 20  # of one request
    max_bodies_bytes: int = 256 << 20  # of all that are being served
    max_header_bytes: int = 32 << 10
    max_headers: int = 100
    read_timeout_s: float = 30.0  # for the headers of a request, and again for its body
    write_timeout_s: float = 60.0  # for a client that has stopped reading
    keep_alive_s: float = 75.0  # for the next request on a connection
    drain_timeout_s: float = 30.0  # for running replies, once the server is told to stop
    log_level: LogLevel = "info"

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"port must be from 0 to 65535, got {self.port}")
        _at_least_one(
            self, "requests_per_minute", "tokens_per_minute", "max_concurrent", "max_running", "max_waiting",
            "max_connections", "max_body_bytes", "max_bodies_bytes", "max_headers",
        )  # fmt: skip
        if self.speculate is not None and self.speculate < 0:
            raise ConfigError(f"speculate must be at least 0, got {self.speculate}")
        if self.max_header_bytes < 1024:
            raise ConfigError(f"max_header_bytes must be at least 1024, got {self.max_header_bytes}")
        for name in ("read_timeout_s", "write_timeout_s", "keep_alive_s", "drain_timeout_s"):
            if not 0 < getattr(self, name) <= 86400:
                raise ConfigError(f"{name} must be above 0 and at most a day, got {getattr(self, name)}")
        self._check_page()
        for origin in self.cors_origins:
            if origin != "*" and not re.fullmatch(r"https?://[^/\s,]+", origin):
                raise ConfigError(f"cors_origins: {origin!r} is not an origin such as https://chat.example")
        names = [key.name for key in self.api_keys]
        if len(set(names)) < len(names):
            raise ConfigError(f"api_keys: a name stands for two keys among {', '.join(names)}")

    def _check_page(self) -> None:
        if not 60 <= self.session_lifetime_s <= 366 * 86400:
            told = f"session_lifetime_s must be from a minute to a year, got {self.session_lifetime_s}"
            raise ConfigError(told)
        if self.multi_user and not self.page:
            raise ConfigError("multi_user needs the page: people log in there and make their keys there")
        if self.behind_https and not self.multi_user:
            raise ConfigError(
                "behind_https needs multi_user: else all who come through the proxy are one person"
            )

    @property
    def needs_key(self) -> bool:
        """Whether a request must carry a key; decided once, so that no later loss of a file opens the server."""
        return bool(self.api_keys) or self.api_key_file is not None or self.multi_user

    @property
    def shows_page(self) -> bool:
        """Whether there is a page. Keys alone leave no way into it: it would be open to all, or to nobody."""
        return self.page and (self.multi_user or not self.needs_key)


def check_exposure(settings: Settings) -> None:
    """Refuse to listen where others can reach the server while everyone may use it.

    Raises UsageError for a host that is not loopback where neither keys nor accounts are asked for.
    """
    if not settings.needs_key and not is_loopback(settings.host):
        raise UsageError(
            f"--host {settings.host or repr('')} can be reached from other machines, and without an API key anyone "
            "there could use the model; make one with `liaoliao keys new NAME`, give people accounts with "
            "--multi-user, or listen on 127.0.0.1"
        )


def is_loopback(host: str) -> bool:
    """Whether every address of this name is of this very machine. Raises UsageError for an unknown name."""
    try:
        found = socket.getaddrinfo(host or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise UsageError(f"--host {host}: there is no such address here ({error})") from error
    return all(ipaddress.ip_address(str(entry[4][0]).partition("%")[0]).is_loopback for entry in found)


def _at_least_one(value: ApiKey | Settings, *names: str) -> None:
    for name in names:
        number = getattr(value, name)
        if number is not None and number < 1:
            raise ConfigError(f"{name} must be at least 1, got {number}")
