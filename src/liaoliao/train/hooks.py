"""Hooks of the training loop: plain callables `hook(state)`.

train(state, next_token, schedule=..., hooks=[Every(50, log), KeepToDeadline(deadline_s), StopOnInterrupt()])
"""

import signal
import time
from collections import deque
from types import FrameType, TracebackType

from liaoliao.train.loop import Hook, TrainState


class Every:
    """Call `hook` each `num_steps` steps, and after the last one."""

    def __init__(self, num_steps: int, hook: Hook) -> None:
        self.num_steps, self.hook = max(1, num_steps), hook

    def __call__(self, state: TrainState) -> None:
        """Count the steps."""
        if state.step % self.num_steps == 0 or state.done or state.stop:
            self.hook(state)


class EverySeconds:
    """Call `hook` when `seconds` have passed since the last call; never after the last step."""

    def __init__(self, seconds: float, hook: Hook) -> None:
        self.seconds, self.hook, self._last = seconds, hook, time.monotonic()

    def __call__(self, state: TrainState) -> None:
        """Look at the clock."""
        if time.monotonic() - self._last >= self.seconds and not state.done:
            self.hook(state)
            self._last = time.monotonic()


class WithinShare:
    """Call `hook` after the last step, and before it as often as its own cost allows: at most `share` of the training
    time is spent on it, and `seconds` of training lie between two calls. A first call is taken to cost as much as a step.

    train(..., hooks=[WithinShare(0.008, 30.0, say_something)])
    """

    def __init__(self, share: float, seconds: float, hook: Hook) -> None:
        self.share, self.seconds, self.hook = share, seconds, hook
        self.spent_s = 0.0
        self._cost_s: float | None = None  # of the last call
        self._begun: tuple[int, float] | None = (
            None  # the step and the time of the first look; a resumed run's are not 0
        )
        self._last_s = 0.0

    def __call__(self, state: TrainState) -> None:
        """Look at what was spent."""
        if self._begun is None:
            self._begun, self._last_s = (state.step, state.elapsed_s), state.elapsed_s
        if (
            state.done
            or state.stop
            or self._may(state.step - self._begun[0], state.elapsed_s - self._begun[1], state)
        ):
            began = time.perf_counter()
            self.hook(state)
            self._cost_s = time.perf_counter() - began
            self.spent_s += self._cost_s
            self._last_s = state.elapsed_s

    def _may(self, num_steps: int, seconds: float, state: TrainState) -> bool:
        """Whether one more call fits, after so many steps that took so long."""
        waited = state.elapsed_s - self._last_s >= self.seconds
        cost_s = seconds / max(1, num_steps) if self._cost_s is None else self._cost_s
        return waited and self.spent_s + cost_s <= self.share * seconds


class KeepToDeadline:
    """Fit the run's length to a wall-clock deadline (`time.monotonic()` seconds), as the machine's speed shows itself.

    The schedule follows `num_steps`, so a run on a busy machine warms down earlier instead of being cut off.
    """

    def __init__(self, deadline_s: float, *, window: int = 200) -> None:
        self.deadline_s = deadline_s
        self._ends: deque[float] = deque([time.monotonic()], maxlen=window + 1)

    def __call__(self, state: TrainState) -> None:
        """Steps left = time left / the recent time of a step, hooks and data included."""
        self._ends.append(time.monotonic())
        if len(self._ends) < 5:
            return
        recent = (self._ends[-1] - self._ends[0]) / (len(self._ends) - 1)
        left = max(0, int((self.deadline_s - self._ends[-1]) / recent))
        if abs(state.step + left - state.num_steps) > 0.01 * state.num_steps or left == 0:
            state.num_steps = state.step + left


class StopOnInterrupt:
    """While it is entered, Ctrl-C ends the run after the step at hand; a second Ctrl-C ends the program."""

    def __init__(self) -> None:
        self.interrupted = False

    def __enter__(self) -> "StopOnInterrupt":  # noqa: PYI034  (beartype cannot check Self here)
        self._previous = signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._previous)

    def __call__(self, state: TrainState) -> None:
        """Pass the wish to stop on to the loop."""
        state.stop = state.stop or self.interrupted

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True
