"""The time that a run has taken, all its processes together: what a budget of minutes is counted by.

    clock = RunClock(folder);  clock.start()
    clock.spent_s()         ->  212.4      RUN/time.json  {"spent_s": 210.9, "marks": {"training": 31.5}}
    clock.mark("training")  ->  31.5       the second at which the run first came here, also in a later process

It is written down as the run goes on, so a process that is killed takes no more than its last seconds with it.
"""

import json
import time
from contextlib import suppress
from pathlib import Path

from liaoliao.config import save_json

TIME_FILE = "time.json"


class RunClock:
    """Counts from `start` on, upon what earlier processes have written. Of a file that cannot be read it begins anew."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / TIME_FILE
        self._before_s = 0.0
        self._started_s = time.monotonic()
        self._marks: dict[str, float] = {}

    def start(self) -> None:
        """This process carries the run on from now on."""
        self._started_s = time.monotonic()
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            record = json.loads(self.path.read_text(encoding="utf-8"))
            marks = {name: float(second) for name, second in record["marks"].items()}
            self._before_s, self._marks = float(record["spent_s"]), marks

    def spent_s(self) -> float:
        """Seconds of all processes so far."""
        return self._before_s + time.monotonic() - self._started_s

    def mark(self, name: str) -> float:
        """The second at which `name` was first reached: now, or what an earlier call or process has written down."""
        second = self._marks.setdefault(name, self.spent_s())
        self.save()
        return second

    def save(self) -> None:
        """Write it down in one move; a disk that is full costs the count, not the run."""
        with suppress(OSError):
            save_json({"spent_s": round(self.spent_s(), 3), "marks": self._marks}, self.path)

    def forget(self) -> None:
        """As if there had been no run."""
        self.path.unlink(missing_ok=True)
