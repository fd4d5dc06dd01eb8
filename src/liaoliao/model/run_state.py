"""Whether a training run is alive and how far it is: a small file that the run keeps in its folder.

    RUN/state.json  {"recipe": "sft", "status": "running", "pid": 4242, "stage": "sft", "step": 400, "num_steps": 900, ...}

The run writes it when it begins, every two seconds or so, and when it ends; whoever looks at runs reads it. A run that was
killed could not write its end: its process is gone, and `status_of` says "interrupted".
"""

import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from liaoliao.config import load_json, save_json
from liaoliao.errors import ConfigError

RunStatus: TypeAlias = Literal["running", "finished", "interrupted", "failed"]
STATE_FILE = "state.json"
STALE_S = 900.0  # a run on another machine that has been silent for so long is taken to be dead


@dataclass(frozen=True, slots=True)
class RunState:
    """Where a run is. Times are Unix seconds; `attempt` counts how often it was begun, resumptions included.

    `process` tells the process from a later one with the same `pid` (on Linux the tick of its start, else "").
    """

    recipe: str
    status: RunStatus
    attempt: int
    pid: int
    host: str
    process: str
    started_at: float
    updated_at: float
    finished_at: float | None = None
    stage: str | None = None
    step: int = 0
    num_steps: int = 0
    error: str | None = None


def new_state(recipe: str, before: RunState | None) -> RunState:
    """The state of a run that this process begins; `before` is what an earlier attempt at it left."""
    pid, now = os.getpid(), time.time()
    started_at, attempt = (before.started_at, before.attempt + 1) if before else (now, 1)
    return RunState(
        recipe, "running", attempt, pid, socket.gethostname(), process_mark(pid) or "", started_at, now
    )


def read_state(folder: Path) -> RunState | None:
    """What a run's folder says; None where it says nothing, or nothing that can be read."""
    try:
        return load_json(RunState, folder / STATE_FILE)
    except (ConfigError, OSError):
        return None


def write_state(folder: Path, state: RunState) -> None:
    """Write the state in one move: a reader never sees half of it."""
    save_json(state, folder / STATE_FILE)


def status_of(state: RunState) -> RunStatus:
    """How a run is, now: one that says "running" but whose process is gone was interrupted."""
    return "interrupted" if state.status == "running" and not _alive(state) else state.status


def _alive(state: RunState) -> bool:
    if state.host != socket.gethostname() or os.name != "posix":
        return time.time() - state.updated_at < STALE_S
    try:
        os.kill(state.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's process is a process
        pass
    mark = process_mark(state.pid)
    return mark is not None and mark == state.process


def process_mark(pid: int) -> str | None:
    """The clock tick at which a process was started; "" where the system does not tell, None for one that is gone."""
    if not Path("/proc/self/stat").exists():
        return ""
    try:
        line = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = line.rpartition(")")[2].split()  # the name before it may hold anything
    return None if fields[0] in "ZX" else fields[19]  # a zombie is gone but for its entry
