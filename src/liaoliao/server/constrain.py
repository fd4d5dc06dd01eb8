"""What a reply may be: response formats and tool choices as grammars and barred tokens.

The grammars themselves are compiled by `engine.grammar`; here they are chosen, and made to begin later: after
the reasoning that a prompt opens, or at the first tool call of a reply that may also do without one.

    tool_choice "required"   ->  the reply is tool calls
    tool_choice "auto"       ->  any text, but from <tool_call> to </tool_call> one of the strict tools
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool

from liaoliao.engine.request import Grammar, GrammarState, SamplingParams, for_reply

_BAN = -100.0  # added to a logit: no model makes up for that


def barred(params: SamplingParams, token_id: int | None) -> SamplingParams:
    """The same settings with one token kept from being chosen; None bars nothing."""
    if token_id is None:
        return params
    return replace(params, logit_bias=tuple({**dict(params.logit_bias), token_id: _BAN}.items()))


@dataclass(frozen=True, slots=True)
class AfterMark:
    """A grammar that begins after the token `mark`; until then anything may come but the end of the reply."""

    grammar: Grammar
    mark: int
    vocab_size: int
    stop_ids: Sequence[int]

    def start(self) -> "_AfterMarkState":
        """The state before the first token."""
        return _AfterMarkState(self)

    def for_reply(self) -> "AfterMark":
        """See CompiledGrammar."""
        return replace(self, grammar=for_reply(self.grammar))


class _AfterMarkState:
    def __init__(self, rule: AfterMark) -> None:
        self._rule = rule
        self._inner: GrammarState | None = None

    @property
    def done(self) -> bool:
        return self._inner is not None and self._inner.done

    def mask(self) -> Bool[np.ndarray, "V"]:
        if self._inner is not None:
            return self._inner.mask()
        mask = np.ones(self._rule.vocab_size, dtype=np.bool_)
        mask[list(self._rule.stop_ids)] = False
        return mask

    def accept(self, token_id: int) -> None:
        if self._inner is not None:
            self._inner.accept(token_id)
        elif token_id == self._rule.mark:
            self._inner = self._rule.grammar.start()


@dataclass(frozen=True, slots=True)
class WithinMarks:
    """A grammar that binds what stands from each token `opening` to the next `closing`, both of which it spells;
    outside of them anything may come.
    """

    grammar: Grammar
    opening: int
    closing: int
    vocab_size: int

    def start(self) -> "_WithinMarksState":
        """The state before the first token."""
        return _WithinMarksState(self)

    def for_reply(self) -> "WithinMarks":
        """See CompiledGrammar."""
        return replace(self, grammar=for_reply(self.grammar))


class _WithinMarksState:
    done = False  # the model ends its reply itself

    def __init__(self, rule: WithinMarks) -> None:
        self._rule = rule
        self._inner: GrammarState | None = None
        self._anything = np.ones(rule.vocab_size, dtype=np.bool_)

    def mask(self) -> Bool[np.ndarray, "V"]:
        return self._anything if self._inner is None else self._inner.mask()

    def accept(self, token_id: int) -> None:
        if self._inner is None and token_id == self._rule.opening:
            self._inner = self._rule.grammar.start()
        if self._inner is not None:
            self._inner.accept(token_id)
        if token_id == self._rule.closing:
            self._inner = None


@dataclass(frozen=True, slots=True)
class ThinkingBudget:
    """Lets a model think for `budget` tokens, and then leaves it but to end its thoughts; `rest` (anything, if
    None) binds the reply as a whole. `opened`: whether the prompt ends inside the thoughts.
    """

    budget: int
    opening: int
    closing: int
    vocab_size: int
    opened: bool = False
    rest: Grammar | None = None

    def start(self) -> "_ThinkingBudgetState":
        """The state before the first token."""
        return _ThinkingBudgetState(self)

    def for_reply(self) -> "ThinkingBudget":
        """See CompiledGrammar."""
        return replace(self, rest=for_reply(self.rest) if self.rest is not None else None)


class _ThinkingBudgetState:
    def __init__(self, rule: ThinkingBudget) -> None:
        self._rule = rule
        self._rest = rule.rest.start() if rule.rest is not None else None
        self._inside, self._num_thought = rule.opened, 0

    @property
    def done(self) -> bool:
        return self._rest is not None and self._rest.done

    def mask(self) -> Bool[np.ndarray, "V"]:
        if self._inside and self._num_thought >= self._rule.budget:
            mask = np.zeros(self._rule.vocab_size, dtype=np.bool_)
            mask[self._rule.closing] = True
            return mask
        return np.ones(self._rule.vocab_size, dtype=np.bool_) if self._rest is None else self._rest.mask()

    def accept(self, token_id: int) -> None:
        if token_id in (self._rule.opening, self._rule.closing):
            self._inside = token_id == self._rule.opening
        elif self._inside:
            self._num_thought += 1
        if self._rest is not None:
            self._rest.accept(token_id)
