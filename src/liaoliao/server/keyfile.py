"""The file of API keys: a line of JSON for each, written by `liaoliao keys`, read by the server.

    {"name": "anna", "salt": "…", "hash": "…", "requests_per_minute": 60, …}

It holds no key, only hashes; even so only its owner may read it. It is replaced in one move, so a server that reads
it at that moment sees the old file or the new; and two who change it at once take turns.
"""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

if sys.platform != "win32":
    import fcntl

from liaoliao.config import from_json, to_json
from liaoliao.errors import ConfigError, UsageError
from liaoliao.server.settings import ApiKey

_MAX_BYTES = 16 << 20


def read_keys(file: Path) -> tuple[ApiKey, ...]:
    """Every record, revoked ones included. Raises UsageError for a file that is not there and ConfigError naming the
    line that is not a record.
    """
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise ConfigError(f"{file}: {_MAX_BYTES >> 20} MB are too much for a file of keys")
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise UsageError(f"{file}: no such file; `liaoliao keys new NAME --file {file}` makes it") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not a text file") from error
    keys = [_record(file, number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    names = [key.name for key in keys if not key.revoked]
    if len(set(names)) < len(names):
        raise ConfigError(f"{file}: a name stands for two keys that are both good")
    return tuple(keys)


def _record(file: Path, number: int, line: str) -> ApiKey:
    try:
        return from_json(ApiKey, line)
    except ConfigError as error:
        raise ConfigError(f"{file}, line {number}: {error}") from error


def add_key(file: Path, key: ApiKey) -> None:
    """Add a record; the file is made if there is none. Raises UsageError for a name that is in use."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with _turn(file.parent):
        keys = read_keys(file) if file.exists() else ()
        if any(old.name == key.name and not old.revoked for old in keys):
            raise UsageError(
                f"there is a key called {key.name} already; revoke it first, or choose another name"
            )
        _write(file, (*keys, key))


def revoke_key(file: Path, name: str) -> None:
    """Mark the good key of this name as good no longer. Raises UsageError where there is none."""
    with _turn(file.parent):
        keys = read_keys(file)
        good = [key.name for key in keys if not key.revoked]
        if name not in good:
            raise UsageError(f"{file} has no key called {name} in force; it has {', '.join(good) or 'none'}")
        today = datetime.now(UTC).date().isoformat()
        ended = {key: replace(key, revoked=today) for key in keys if key.name == name and not key.revoked}
        _write(file, [ended.get(key, key) for key in keys])


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Nobody else reads a file of the folder to change it meanwhile. The lock is on the folder, as the file itself is
    replaced; where the system has no such lock, it goes without.
    """
    if sys.platform == "win32" or not folder.is_dir():
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network folders know no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _write(file: Path, keys: Sequence[ApiKey]) -> None:
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as out:
        out.writelines(json.dumps(_told(key), ensure_ascii=False) + "\n" for key in keys)
        out.flush()
        os.fsync(out.fileno())
    draft.replace(file)


def _told(key: ApiKey) -> dict[str, Any]:
    """A record without the fields that say nothing."""
    silent = {field.name for field in fields(key) if getattr(key, field.name) == field.default}
    return {name: value for name, value in to_json(key).items() if name not in silent}
