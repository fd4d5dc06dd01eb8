"""How a recipe tells a person what it is doing: one line a step of the story, one bar a long stage.

Recipes speak to a Reporter; the command line shows it with colours and bars, tests and libraries keep it silent.
"""

from typing import Protocol, runtime_checkable

from liaoliao.train.loop import TrainState


@runtime_checkable
class Reporter(Protocol):
    """The ear of a recipe."""

    def say(self, line: str) -> None:
        """One line that stays on the screen."""

    def step(self, stage: str, state: TrainState) -> None:
        """A training step has ended."""


class Silent:
    """Hears nothing."""

    def say(self, line: str) -> None:
        """Ignore the line."""

    def step(self, stage: str, state: TrainState) -> None:
        """Ignore the step."""
