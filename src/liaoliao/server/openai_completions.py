"""/v1/completions: raw text (or token ids) goes on, with echo and logprobs as scoring harnesses ask for them.

    {"model": "m", "prompt": "the cat", "max_tokens": 0, "echo": true, "logprobs": 1}
        ->  {"choices": [{"text": "the cat", "logprobs": {"tokens": ["the", " cat"],
                          "token_logprobs": [null, -3.1], "top_logprobs": [null, {" cat": -3.1}],
                          "text_offset": [0, 3]}, "finish_reason": "length", "index": 0}], ...}

A prompt's text is encoded as a message's is: the name of a special token is so many letters. A client that
writes marks itself says so (`parse_special`) or sends token ids. The way back is `text_choices`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from pydantic import Field

from liaoliao.server.failures import ApiError
from liaoliao.server.logprobs import spell
from liaoliao.server.openai import MAX_CHOICES, Sampling, TokenId, Wire, only
from liaoliao.server.served import ServedModel, refuse_hopeless, refuse_unfit
from liaoliao.text.tokenizer import Tokenizer

_DEFAULT_MAX_TOKENS = 16
MAX_MADE = 2048  # choices of one request, all prompts together
MAX_ECHOED = 1 << 20  # tokens of prompts and their alternatives in one answer

Texts: TypeAlias = Annotated[list[str], Field(min_length=1, max_length=2048, fail_fast=True)]
Ids: TypeAlias = Annotated[list[TokenId], Field(min_length=1, max_length=1 << 20, fail_fast=True)]
IdLists: TypeAlias = Annotated[list[Ids], Field(min_length=1, max_length=2048, fail_fast=True)]
PromptForms: TypeAlias = str | list[str] | list[int] | list[list[int]]


class Prompts(Wire):
    """How a text stands in a request, beside the model's name."""

    model: str = Field(description="The id of a served model, see /v1/models.")
    parse_special: bool | None = Field(None, description="Names of special tokens in a text stand for these.")


class CompletionRequest(Sampling):
    """The body of POST /v1/completions."""

    prompt: str | Texts | Ids | IdLists = Field("", description='"": as at the beginning of a document')
    max_tokens: int | None = Field(None, ge=0, description="16, if left out; 0 only with echo.")
    logprobs: int | None = Field(None, ge=0, le=20)
    echo: bool | None = None
    best_of: int | None = Field(None, ge=1, le=MAX_CHOICES)
    parse_special: bool | None = Field(None, description="Names of special tokens in a text stand for these.")
    suffix: Annotated[None, only("", why="no model here was trained to fill in; leave it out")] = None

    @property
    def new_tokens(self) -> int:
        """How many tokens each choice may have."""
        return _DEFAULT_MAX_TOKENS if self.max_tokens is None else self.max_tokens

    @property
    def num_choices(self) -> int:
        """Choices of each prompt."""
        return self.n or 1

    @property
    def num_made(self) -> int:
        """Choices of each prompt that are made, of which the best are told."""
        return self.best_of or self.num_choices

    def check(self) -> None:
        """ApiError for fields that do not go together."""
        self.check_stream()
        if self.num_made < self.num_choices:
            raise ApiError("Invalid value for 'best_of': it must be at least 'n'", param="best_of")
        if self.stream and self.num_made > self.num_choices:
            raise ApiError(
                "Invalid value for 'best_of': nothing can be chosen from a stream", param="best_of"
            )
        if self.new_tokens == 0 and not self.echo:
            raise ApiError(
                "Invalid value for 'max_tokens': 0 makes sense with 'echo' alone", param="max_tokens"
            )
        if num_prompts(self.prompt) * self.num_made > MAX_MADE:
            param = "best_of" if self.best_of else "n"
            raise ApiError(
                f"Invalid value for '{param}': of all prompts together at most {MAX_MADE} choices can be made",
                param=param,
            )


@dataclass(frozen=True, slots=True)
class Prompt:
    """Token ids, of which the first `num_hidden` open the text without being part of it."""

    token_ids: tuple[int, ...]
    num_hidden: int = 0

    def text(self, tokenizer: Tokenizer) -> str:
        """The words of the prompt."""
        return b"".join(spell(tokenizer, i) for i in self.token_ids[self.num_hidden :]).decode(
            "utf-8", "replace"
        )


def read_prompts(wire: PromptForms, served: ServedModel, *, parse_special: bool = False) -> list[Prompt]:
    """The prompts in any of their forms. Raises ApiError for one that cannot fit the context.

    May tokenize a long text: run it off the event loop where `size_of_prompts` is large.
    """
    several: Sequence[Any] = wire if isinstance(wire, list) and not isinstance(wire[0], int) else [wire]
    return [
        _from_text(one, served, parse_special) if isinstance(one, str) else Prompt(tuple(one))
        for one in several
    ]


def fitting_prompts(body: CompletionRequest, served: ServedModel) -> list[Prompt]:
    """The prompts of a request, none of which will be refused later. Raises ApiError and other LiaoErrors.

    May take long, as `read_prompts`.
    """
    prompts = read_prompts(body.prompt, served, parse_special=bool(body.parse_special))
    for prompt in prompts:
        refuse_unfit(served, prompt.token_ids, room=min(1, body.new_tokens))
    num_echoed = sum(len(prompt.token_ids) for prompt in prompts) * body.num_made * (1 + (body.logprobs or 0))
    if body.echo and num_echoed > MAX_ECHOED:
        raise ApiError(
            f"Invalid value for 'prompt': with what 'echo', 'logprobs' and 'n' ask for, {num_echoed} tokens would have to "
            f"be told of prompts; at most {MAX_ECHOED} can be in one answer",
            param="prompt",
        )
    return prompts


def num_prompts(wire: PromptForms) -> int:
    """How many prompts there are."""
    return len(wire) if isinstance(wire, list) and not isinstance(wire[0], int) else 1


def size_of_prompts(wire: PromptForms) -> int:
    """Characters or token ids to go through."""
    several: Sequence[Any] = wire
    return len(wire) if isinstance(wire, str) or isinstance(wire[0], int) else sum(map(len, several))


def _from_text(text: str, served: ServedModel, parse_special: bool) -> Prompt:
    refuse_hopeless(served, len(text))
    tokenizer = served.tokenizer
    ids = tokenizer.encode_marked(text) if parse_special else tokenizer.encode(text)
    opening = tokenizer.prefix_ids or (() if ids else (tokenizer.opening_id,))
    return Prompt((*opening, *ids), len(opening))
