"""What a person sees while a machine works: a bar on a terminal, now and then a line anywhere else.

    with Progressing() as reporter:
        speedrun(config, out, reporter)

All of it goes to stderr; stdout is for results.
"""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from liaoliao.train.loop import TrainState

LINE_EVERY_S = 15.0


def results_console(aside: bool = False) -> Console:
    """Where results go: stdout (or aside to stderr), wide enough for tables where it is no terminal."""
    console = Console(highlight=False, stderr=aside)
    return console if console.is_terminal else Console(highlight=False, stderr=aside, width=120)


class Progressing:
    """A Reporter for recipes, and a `Progress` callback maker for tasks; use it as a context."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self._bars = Progress(
            TextColumn("{task.description:<12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        self._ids: dict[str, TaskID] = {}
        self._last_line = time.monotonic()

    def __enter__(self) -> "Progressing":  # noqa: PYI034  (beartype knows no Self)
        if self.console.is_terminal:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.console.is_terminal:
            self._bars.stop()

    def say(self, line: str) -> None:
        """One line that stays."""
        self.console.print(line, markup=False, soft_wrap=True)

    def step(self, stage: str, state: TrainState) -> None:
        """A training step has ended."""
        facts = f"loss {state.metrics.get('loss', 0.0):.3f}  {state.metrics.get('tokens_per_s', 0.0):,.0f} tokens/s"
        self.show(stage, state.step, state.num_steps, facts)

    def show(self, name: str, done: int, total: int, facts: str = "") -> None:
        """Move the bar called `name`, which appears with its first move and goes with its last."""
        if self.console.is_terminal:
            self._move(name, done, total, facts)
        elif time.monotonic() - self._last_line >= LINE_EVERY_S or (facts and done in (1, total)):
            self._last_line = time.monotonic()
            self.say(f"  {name} {done}/{total}  {facts}".rstrip())

    def _move(self, name: str, done: int, total: int, facts: str) -> None:
        if name not in self._ids:
            self._ids[name] = self._bars.add_task(name, total=total, facts=facts)
        self._bars.update(self._ids[name], completed=done, total=total, facts=facts)
        if done >= total:
            self._bars.remove_task(self._ids.pop(name))
