"""Compile once on a machine, load from disk ever after.

Numba keeps compiled code by the date of the file of the one function that is asked for, and would not notice a change in
what that function is built of. Here the folder's name is a digest of all of this package's sources, of Numba's version and
of the processor's features: whatever changes, a new folder begins.

    compiled_work(on_progress=print)     "compiling ..." the first time (some 15 s), then silence (0.3 s)
"""

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numba

from liaoliao.engine.cpu import step
from liaoliao.engine.cpu.emit import (
    cpu_features,
)

if sys.platform != "win32":
    import fcntl

OnProgress = Callable[[str], None]


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
            if not any(folder.rglob("*.nbc")):
                on_progress("compiling the CPU kernels, once on this machine (10 to 30 seconds)")
            work.compile(types)
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
    with (folder / "lock").open("w", encoding="utf-8") as lock:
        if sys.platform != "win32":
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
