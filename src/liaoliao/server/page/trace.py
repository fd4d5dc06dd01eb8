"""An answer as the tokens it was made of, each with the text before it that the model saw: what the X-ray looks at.

    trace = trace_of(served, job, token_ids)
    trace.pieces[3]        ->  Piece(token_id=712, kind="text", start=9)    # its words begin at character 9 of the text
    trace.place(3)         ->  Place(token_ids=(…prompt…, …reply…), position=57)

`token_ids` are a stored `Generation.token_ids`, and the pieces are numbered as they are. Where the model's own tools were
run in between, the answer has several rounds, each with a prompt of its own; the tools are run once more to get it.

    prompt 1 ──> reply 1, which calls a tool ──> prompt 2 (prompt 1, reply 1, what the tool said) ──> reply 2
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from liaoliao.engine.request import TokenEvent
from liaoliao.messages import Message
from liaoliao.model.inspect import num_alike
from liaoliao.server.logprobs import spell
from liaoliao.server.page.placing import Placing
from liaoliao.server.reply import ChatJob, prompt_ids, turn_of
from liaoliao.server.served import ServedModel
from liaoliao.text.parse import end_ids

Kind: TypeAlias = Literal["text", "reasoning", "tool", "special"]

_ESCAPED: Final = re.compile("[\udc80-\udcff]+")


@dataclass(frozen=True, slots=True)
class Piece:
    """A token of an answer. `start`: the character of the answer's text where its words begin; None where it has none
    there. Of a character that is made of several tokens, all begin where it does, and the last brings it.
    """

    token_id: int
    kind: Kind
    start: int | None


@dataclass(frozen=True, slots=True)
class Round:
    """What the model was given, and what it made of it."""

    prompt: tuple[int, ...]
    made: tuple[int, ...]

    @property
    def token_ids(self) -> tuple[int, ...]:
        """All that stood there in the end."""
        return (*self.prompt, *self.made)


@dataclass(frozen=True, slots=True)
class Place:
    """A token, `token_ids[position]`, in the text that the model had before it."""

    token_ids: tuple[int, ...]
    position: int


@dataclass(frozen=True, slots=True)
class Trace:
    """An answer, round for round; `pieces` are all that was made, in order."""

    rounds: tuple[Round, ...]
    pieces: tuple[Piece, ...]

    def place(self, index: int) -> Place:
        """Where piece number `index` stands. Raises IndexError for one that is not there."""
        rest = index
        for one in self.rounds:
            if 0 <= rest < len(one.made):
                return Place(one.token_ids, len(one.prompt) + rest)
            rest -= len(one.made)
        raise IndexError(index)

    def given(self) -> dict[int, tuple[int, ...]]:
        """What was put between two rounds: the ids, by the number of the piece that follows them."""
        found: dict[int, tuple[int, ...]] = {}
        first = 0
        for before, one in zip(self.rounds, self.rounds[1:], strict=False):
            first += len(before.made)
            found[first] = one.prompt[num_alike(before.token_ids, one.prompt) :]
        return found


def trace_of(served: ServedModel, job: ChatJob, token_ids: Sequence[int], *, offset: int = 0) -> Trace:
    """The answer to a job that was made of these tokens. `offset` is where in its text their words begin.

    Runs the model's own tools where it called them. Raises what `reply` raises for a job that is wrong.
    """
    walk = _Walk(served, job, offset)
    for token_id in token_ids:
        walk.feed(token_id)
    return walk.end()


def rendered_ids(served: ServedModel, job: ChatJob, answer: Message) -> tuple[int, ...]:
    """The tokens in which the template would have the model say an answer that it has not made."""
    whole = replace(job, messages=(*job.messages, answer), continue_final=True)
    ids = prompt_ids(served, whole)
    return tuple(ids[num_alike(ids, prompt_ids(served, job)) :])


def readable(token: bytes) -> str:
    """A token as text; bytes that are no whole character are written as ⟨E4 BD⟩."""
    return _ESCAPED.sub(_hexadecimal, token.decode("utf-8", errors="surrogateescape"))


def _hexadecimal(found: re.Match[str]) -> str:
    return "⟨" + " ".join(f"{ord(char) - 0xDC00:02X}" for char in found[0]) + "⟩"


class _Walk:
    """Goes through an answer once more, with the turn that made it."""

    def __init__(self, served: ServedModel, job: ChatJob, offset: int) -> None:
        self._served, self._turn = served, turn_of(served, replace(job, stop=(), opening=()))
        self._ends = end_ids(served.tokenizer, served.template.stop_ids)
        self._name_of = {token_id: name for name, token_id in served.tokenizer.special_ids.items()}
        self._in_call = False
        self._prompts: list[tuple[int, ...]] = []
        self._made: list[list[int]] = []
        self._kinds: list[Kind] = []
        self._placing = Placing(offset)
        self._next_round()

    def feed(self, token_id: int) -> None:
        """One more token; nothing where the answer is over."""
        if self._turn.done:
            return
        if self._turn.pending:
            self._next_round()
        ends = token_id in self._ends
        self._kinds.append(self._kind(token_id))
        self._placing.token(spell(self._served.tokenizer, token_id), mark=ends or token_id in self._name_of)
        self._placing.said(self._turn.feed(TokenEvent(token_id, 0.0, finish_reason="stop" if ends else None)))
        self._made[-1].append(token_id)

    def end(self) -> Trace:
        """Nothing follows: what was held back is said."""
        if self._turn.generating:
            last = TokenEvent(self._served.template.stop_ids[0], 0.0, finish_reason="length")
            self._placing.said(self._turn.feed(last))
        rounds = zip(self._prompts, self._made, strict=True)
        return Trace(tuple(Round(prompt, tuple(made)) for prompt, made in rounds), tuple(self._pieces()))

    def _next_round(self) -> None:
        if self._turn.pending:
            self._turn.resolve(self._served.tools.run_all(self._turn.pending))
        self._prompts.append(self._turn.request().token_ids)
        self._made.append([])
        self._in_call = False

    def _kind(self, token_id: int) -> Kind:
        name, thinking = self._name_of.get(token_id), self._turn.thinking
        if name is not None and not thinking:
            self._in_call = name == "<tool_call>" or (self._in_call and name != "</tool_call>")
        if name is not None or token_id in self._ends:
            return "special"
        return "reasoning" if thinking else "tool" if self._in_call else "text"

    def _pieces(self) -> Iterator[Piece]:
        ids = (token_id for made in self._made for token_id in made)
        for token_id, kind, start in zip(ids, self._kinds, self._placing.starts, strict=True):
            is_words = kind == "tool" and start is not None  # it looked like a call, and was none
            yield Piece(token_id, "text" if is_words else kind, start)
