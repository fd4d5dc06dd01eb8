"""Compile once on a machine, load from disk ever after.

Numba keeps compiled code by the date of the file of the one function that is asked for, and would not notice a change in
what that function is built of. Here the folder's name is a digest of all of this package's sources, of Numba's version and
of the processor's features: whatever changes, a new folder begins. Of the old ones the three that were used last stay, and
any that was used within a month.

    compiled_work(on_progress=print)     "compiling ..." the first time (some 15 s), then silence (0.3 s)
"""

import hashlib
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import numba

from liaoliao.engine.cpu import step
from liaoliao.engine.cpu.emit import (
    cpu_features,
)

if sys.platform != "win32":
    import fcntl

OnProgress = Callable[[str], None]
_NUM_KEPT: Final = 3  # folders, however old
_UNUSED_S: Final = 30 * 86400.0  # after which the others go
_LOCK: Final = "lock"  # in each folder; its date is that of the folder's last use
_DIGEST: Final = re.compile(r"[0-9a-f]{16}")


def cache_folder() -> Path:
    """Where compiled code is kept: `$LIAOLIAO_CACHE`, else `liaoliao` in the user's folder for caches."""
    given = os.environ.get("LIAOLIAO_CACHE")
    if given:
        return Path(given).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "liaoliao"


def compiled_work(on_progress: OnProgress) -> Callable[[int, int, int], None]:
    """`step.work`, compiled or from disk where it is there."""
    work: Any = step.work
    types = (numba.int64,) * 3
    if types in work.overloads:
        return step.work
    try:
        folder = cache_folder() / "kernels" / _digest()
        folder.mkdir(parents=True, exist_ok=True)
        with _only_one(folder):
            _keep_in(work, folder)
            if is_new := not any(folder.rglob("*.nbc")):
                on_progress("compiling the CPU kernels, once on this machine (10 to 40 seconds)")
            work.compile(types)
        if is_new:
            _drop_unused(folder)
    except OSError as error:
        on_progress(f"compiling the CPU kernels, which cannot be kept: {error}")
        work.compile(types)
    return step.work


def _digest() -> str:
    digest = hashlib.sha256(f"{numba.__version__} {sys.version} {sorted(cpu_features())}".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _keep_in(work: Any, folder: Path) -> None:
    """Numba takes the folder from its settings at the moment when caching is switched on."""
    before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(folder)
    try:
        work.enable_caching()
    finally:
        numba.config.CACHE_DIR = before


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Of several processes that start at once, one compiles and the others wait for what it made."""
    with (folder / _LOCK).open("w", encoding="utf-8") as lock:
        if sys.platform != "win32":
            fcntl.flock(lock, fcntl.LOCK_EX)
        os.utime(folder / _LOCK)
        yield


def _drop_unused(current: Path) -> None:
    """Remove the folders beside the current one that nobody has come back to for long. What cannot be removed stays.

    A process that runs has its code in memory and needs no folder; one that is just reading or compiling holds the lock.
    """
    with suppress(OSError):
        found = [path for path in current.parent.iterdir() if _DIGEST.fullmatch(path.name)]
        others = sorted((path for path in found if path != current), key=_used_at, reverse=True)
        for folder in others[_NUM_KEPT - 1 :]:
            with suppress(OSError):
                _remove_unused(folder)


def _remove_unused(folder: Path) -> None:
    """Remove one folder, unless it was used within a month. Raises OSError where it is being used or cannot be removed."""
    with (folder / _LOCK).open("a", encoding="utf-8") as lock:  # unlike "w", this leaves the date alone
        if sys.platform != "win32":
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if time.time() - _used_at(folder) > _UNUSED_S:  # asked under the lock: nobody can be coming back
            shutil.rmtree(folder)


def _used_at(folder: Path) -> float:
    """When a process last took its kernels from there, in Unix seconds; 0 where no process ever did."""
    try:
        return (folder / _LOCK).stat().st_mtime
    except OSError:
        return 0.0
