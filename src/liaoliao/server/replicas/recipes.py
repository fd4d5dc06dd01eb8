"""Grammars that travel: what is sent to a replica is how to make one, and the replica makes it.

    grammar = RecipeGrammars(compiler).json_schema({"enum": ["yes", "no"]})     in the front: tried at once, so that a
                                                                                bad schema is refused where it came in
    prepared(grammar, compiler)                                                 in the replica: a grammar that runs

The tables of a compiled grammar belong to their process. The rules of `server.constrain` around a grammar travel as they
are, and `prepared` reaches into them.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from liaoliao.engine.request import Grammar, GrammarState
from liaoliao.errors import RequestError
from liaoliao.messages import Tool
from liaoliao.server.served import Grammars

Method: TypeAlias = Literal["json_object", "json_schema", "tool_call"]


class Recipe:
    """A method of `Grammars` with its arguments. Its grammar, where it was made, stays behind when the recipe is sent."""

    def __init__(
        self, method: Method, args: Sequence[Any], options: Mapping[str, Any], made: Grammar | None = None
    ) -> None:
        self.method, self.args, self.options = method, tuple(args), dict(options)
        self._made = made

    def __reduce__(self) -> tuple[Any, ...]:
        return Recipe, (self.method, self.args, self.options)

    def start(self) -> GrammarState:
        """As `Grammar.start`, in the process that has made it. Raises RequestError in another."""
        if self._made is None:
            raise RequestError("this grammar was sent here and is not made yet; see `prepared`")
        return self._made.start()

    def make(self, grammars: Grammars) -> Grammar:
        """The grammar. Raises RequestError for what cannot be followed."""
        grammar: Grammar = getattr(grammars, self.method)(*self.args, **self.options)
        return grammar


class RecipeGrammars:
    """Makes grammars as `grammars` does, and refuses what it refuses, but of a kind that can be sent."""

    def __init__(self, grammars: Grammars) -> None:
        self._grammars = grammars

    def json_object(self) -> Grammar:
        """Any JSON object."""
        return self._recipe("json_object")

    def json_schema(self, schema: Mapping[str, Any]) -> Grammar:
        """JSON of a schema; RequestError for one that cannot be followed."""
        return self._recipe("json_schema", schema)

    def tool_call(self, tools: Sequence[Tool], *, name: str | None = None) -> Grammar:
        """Calls of these tools, or of the one with this name."""
        return self._recipe("tool_call", tuple(tools), name=name)

    def _recipe(self, method: Method, *args: Any, **options: Any) -> Recipe:
        made = Recipe(method, args, options).make(self._grammars)
        return Recipe(method, args, options, made)


def prepared(grammar: Grammar | None, grammars: Grammars) -> Grammar | None:
    """The grammar with every recipe in it made. Raises RequestError for one that cannot be followed."""
    if isinstance(grammar, Recipe):
        return grammar.make(grammars)
    rule: Any = grammar
    if not dataclasses.is_dataclass(rule):
        return grammar
    parts = {field.name: getattr(rule, field.name) for field in dataclasses.fields(rule)}
    made = {name: prepared(part, grammars) for name, part in parts.items() if isinstance(part, Grammar)}
    changed: Any = dataclasses.replace(rule, **made)  # type: ignore[type-var]
    assert isinstance(changed, Grammar)
    return changed
