"""The bricks of conversations: an exchange is one user message and all that answers it.

`Speaker` carries what every maker of exchanges needs: the town, the language, the dice, the side of the
split. The makers live in asking, telling, sums, school, smalltalk and reading; `talks` and `questions`
build with them.

    Exchange.of("Hello!", "Hello, how can I help?").messages  -> (Message.user(...), Message.assistant(...))
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

from liaoliao.messages import Message, ToolCall
from liaoliao.town.invented import Inventor
from liaoliao.town.words import Lang, deal, pick
from liaoliao.town.world import Fact, Town

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Exchange:
    """A user's words, the replies to them, and how to know a right answer."""

    user: str
    replies: tuple[Message, ...]
    answer: str = ""  # the value text a right answer holds; "" where there is none
    others: tuple[str, ...] = ()  # values a right answer does not hold
    names: tuple[str, ...] = ()  # names the answer repeats, not to be read as values
    refusal: bool = False  # the right reply is "I don't know"

    @classmethod
    def of(
        cls,
        user: str,
        reply: str,
        *,
        answer: str = "",
        others: Sequence[str] = (),
        names: Sequence[str] = (),
        refusal: bool = False,
    ) -> "Exchange":
        """A plain exchange without tools."""
        return cls(user, (Message.assistant(reply),), answer, tuple(others), tuple(names), refusal)

    @property
    def messages(self) -> tuple[Message, ...]:
        """The user message and the replies."""
        return (Message.user(self.user), *self.replies)

    @property
    def uses_tools(self) -> bool:
        """Whether the replies hold a tool call."""
        return len(self.replies) > 1


@dataclass(eq=False, slots=True)
class Speaker:
    """The town, a language, dice, and which side of the test split to speak on."""

    town: Town
    lang: Lang
    rng: Random
    test: bool = False
    invent: Inventor = field(init=False)
    open_facts: Iterator[Fact] = field(init=False)
    columns: dict[tuple[str, str], list[Fact]] = field(
        init=False, default_factory=dict
    )  # open facts by attribute
    _others: dict[int, tuple[str, ...]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.invent = Inventor(self.lang, self.rng, test=self.test)
        self.open_facts = deal(self.town.open_facts(), self.rng)
        for fact in self.town.open_facts():
            self.columns.setdefault((fact.entity.kind, fact.attribute), []).append(fact)

    def others(self, fact: Fact) -> tuple[str, ...]:
        """The texts of the other values of the fact's type."""
        if id(fact) not in self._others:
            values = self.town.values_of[fact.type]
            self._others[id(fact)] = tuple(value.to(self.lang) for value in values if value != fact.value)
        return self._others[id(fact)]

    def pick(self, options: Sequence[T]) -> T:
        """One of the options."""
        return pick(self.rng, options)

    def chance(self, probability: float) -> bool:
        """True this often."""
        return self.rng.random() < probability

    def number(self, low: int, high: int) -> int:
        """From low to high, both included."""
        return low + int(self.rng.random() * (high - low + 1))


def tool_replies(name: str, arguments: dict[str, str], output: str, reply: str) -> tuple[Message, ...]:
    """A tool call, its result and the sentence that tells it."""
    call = ToolCall("call_0", name, json.dumps(arguments, ensure_ascii=False))
    return (Message.assistant(tool_calls=(call,)), Message.tool(output, "call_0"), Message.assistant(reply))
