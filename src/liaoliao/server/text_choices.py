"""From the events of continued texts to OpenAI's completion objects: pieces of a stream, or whole choices.

choice = TextChoice(0, num_top=1)
choice.echoed(prompt, scored), choice.of(ReplyText(" sat", tokens)), choice.of(TextDone("length", ...))
    ->  {"index": 0, "text": " sat", "logprobs": {"tokens": [" sat"], ...}, "finish_reason": None}, ...
fold([those])  ->  the same as one choice
"""

import codecs
from collections.abc import Iterable, Sequence
from typing import Any

from liaoliao.engine.request import TokenEvent
from liaoliao.server.completion import TextDone, TextEvent
from liaoliao.server.logprobs import TokenLogprob, alternatives, spell, token_name
from liaoliao.server.openai_completions import Prompt
from liaoliao.text.tokenizer import Tokenizer

_COLUMNS = ("tokens", "token_logprobs", "top_logprobs", "text_offset")


class TextChoice:
    """One choice as it is told; keeps count of where in the text it stands. `num_top` None: without logprobs."""

    def __init__(self, index: int, *, num_top: int | None) -> None:
        self.index, self.num_top = index, num_top
        self._offset = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def echoed(self, tokenizer: Tokenizer, prompt: Prompt, scored: Sequence[TokenEvent]) -> dict[str, Any]:
        """The prompt as a piece of the choice; of its first token nobody knows how likely it was."""
        tokens = (_listed(tokenizer, event, index >= prompt.num_hidden) for index, event in enumerate(scored))
        return self._piece(prompt.text(tokenizer), tokens, first=True)

    def of(self, event: TextEvent) -> dict[str, Any]:
        """What an event adds."""
        if isinstance(event, TextDone):
            return self._piece("", (), finish_reason=event.finish_reason)
        return self._piece(event.text, event.logprobs)

    def _piece(
        self,
        text: str,
        tokens: Iterable[TokenLogprob],
        *,
        first: bool = False,
        finish_reason: str | None = None,
    ) -> dict[str, Any]:
        logprobs = None if self.num_top is None else self._list(tokens, first)
        return {"index": self.index, "text": text, "logprobs": logprobs, "finish_reason": finish_reason}

    def _list(self, tokens: Iterable[TokenLogprob], first: bool) -> dict[str, list[Any] | None]:
        rows = []
        for token in tokens:
            top = {_name(name): logprob for name, _, logprob in token.top} | {
                _name(token.token): token.logprob
            }
            rows.append(
                (_name(token.token), *((None, None) if first else (token.logprob, top)), self._offset)
            )
            self._offset += len(self._decoder.decode(token.bytes))
            first = False
        columns: dict[str, list[Any] | None] = {
            name: [row[i] for row in rows] for i, name in enumerate(_COLUMNS)
        }
        return columns if self.num_top else {**columns, "top_logprobs": None}


def fold(pieces: Sequence[dict[str, Any]], *, index: int) -> dict[str, Any]:
    """All pieces of a choice as one; the last one knows why it ended."""
    told = [piece["logprobs"] for piece in pieces]
    logprobs = (
        None if told[-1] is None else {name: _joined([part[name] for part in told]) for name in _COLUMNS}
    )
    text = "".join(piece["text"] for piece in pieces)
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": pieces[-1]["finish_reason"]}


def _joined(columns: Sequence[list[Any] | None]) -> list[Any] | None:
    return None if columns[-1] is None else [value for column in columns for value in column or ()]


def _listed(tokenizer: Tokenizer, event: TokenEvent, shown: bool) -> TokenLogprob:
    """A token of a prompt; one that only opens it adds nothing to the text."""
    spelled = spell(tokenizer, event.token_id)
    top = alternatives(tokenizer, event)
    return TokenLogprob(token_name(spelled), spelled if shown else b"", event.logprob, top)


def _name(token: str) -> str:
    """A token that is no text by itself is spelled out, and marked as such."""
    return f"bytes:{token}" if token.startswith("\\x") else token
