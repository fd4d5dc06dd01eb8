"""A model as the server holds it: its name, its text half (tokenizer, template, grammars) and its engine.

    served = served_model("current", dtype="int8")      # at start; `create_app(settings, [served])` serves it
    served = pick(request, "current")                   # in a route; an unknown name is a 404

The engine is named by what the server asks of it (`ServedEngine`): the one in this process, or any other that
answers alike (replicas, another backend).
"""

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

from fastapi import Request as HttpRequest
from jaxtyping import Float
from torch import Tensor

from liaoliao.chat.assistant import TextHalf, load
from liaoliao.chat.tools import ToolBox
from liaoliao.engine.async_engine import AsyncEngine
from liaoliao.engine.engine import EngineStats
from liaoliao.engine.grammar import GrammarCompiler
from liaoliao.engine.load import OnProgress, RunnerDtype
from liaoliao.engine.request import Grammar, Request, TokenEvent, check_ids
from liaoliao.engine.speculate import DRAFTS
from liaoliao.errors import ContextLengthError, LiaoError
from liaoliao.messages import Tool
from liaoliao.model.checkpoint import version_of
from liaoliao.model.registry import list_models, resolve
from liaoliao.server.failures import ApiError, context_exceeded
from liaoliao.server.retrieval import RetrievalModel
from liaoliao.text.chat_template import Template
from liaoliao.text.tokenizer import Tokenizer

Charge: TypeAlias = Callable[[int], None]  # is told of tokens that were used


@runtime_checkable
class ServedEngine(Protocol):
    """What a route asks of an engine; `engine.async_engine.AsyncEngine` is the one in this process."""

    @property
    def max_length(self) -> int:
        """Tokens that a prompt and its reply may have together."""

    @property
    def vocab_size(self) -> int:
        """Token ids go from 0 to one less."""

    @property
    def accepting(self) -> bool:
        """Whether it would take a request now, if its queue is not full: not once it drains, was closed or has ended."""

    def stream(self, request: Request) -> AsyncGenerator[TokenEvent, None]:
        """The events of one reply; closing the generator aborts it. OverloadedError when the queue is full, unless the
        request has `begun`.
        """

    async def score(self, batch: Sequence[Sequence[int]]) -> list[list[float]]:
        """The logprob of every token given those before it; 0.0 for the first."""

    async def score_top(self, batch: Sequence[Sequence[int]], num_top: int) -> list[list[TokenEvent]]:
        """Each token with its logprob as in `score`, and `num_top` alternatives beside it (none for the first)."""

    async def embed(self, batch: Sequence[Sequence[int]]) -> Float[Tensor, "B D"]:
        """The mean hidden state of each row of token ids."""

    def stats(self) -> EngineStats:
        """Figures of this moment."""

    async def drain(self, timeout_s: float) -> bool:
        """Accept nothing more and wait for what runs; whether it came to its end in time."""

    def close(self) -> None:
        """Stop for good."""


@runtime_checkable
class Grammars(Protocol):
    """What compiles a wish for JSON or for tool calls; `engine.grammar.GrammarCompiler` is ours."""

    def json_object(self) -> Grammar:
        """Any JSON object."""

    def json_schema(self, schema: Mapping[str, Any]) -> Grammar:
        """JSON of a schema; RequestError for one that cannot be followed."""

    def tool_call(self, tools: Sequence[Tool], *, name: str | None = None) -> Grammar:
        """Calls of these tools, or of the one with this name."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """All that routes need to know of a model. `created` is in seconds of Unix time; `defaults` are sampling
    settings that a request overrides; `tools` are the model's own, run by the server. `folder` holds its weights,
    for those who look inside; None where there is none on this machine. `version` tells these weights from others
    (`model.checkpoint.version_of`); "" where nobody knows.
    """

    id: str
    created: int
    tokenizer: Tokenizer
    template: Template
    engine: ServedEngine
    grammars: Grammars
    tools: ToolBox
    defaults: Mapping[str, Any]
    max_length: int
    folder: Path | None = None
    version: str = ""


def served_model(
    model: str | Path,
    *,
    dtype: RunnerDtype = "auto",
    device: str = "auto",
    max_running: int = 64,
    max_waiting: int = 256,
    speculate: int | None = None,
    on_progress: OnProgress = lambda line: None,
) -> ServedModel:
    """Load a registered name or a model folder to be served. Its id is that name, or the folder's.

    `speculate` is as for `chat.assistant.load`, and None its default; `on_progress` is told what takes long. Raises
    UsageError and CheckpointError as `chat.assistant.load` does.
    """
    assistant = load(
        model,
        dtype=dtype,
        device=device,
        max_running=max_running,
        speculate=DRAFTS if speculate is None else speculate,
        on_progress=on_progress,
    )
    engine = AsyncEngine(assistant.engine, max_waiting=max_waiting)
    text = TextHalf(
        assistant.tokenizer, assistant.template, assistant.tools, assistant.defaults, assistant.lineage
    )
    try:
        return served_by(engine, model, text, GrammarCompiler(text.tokenizer, text.template.stop_ids))
    except BaseException:  # the folder has gone meanwhile; its weights must not stay in memory
        engine.close()
        raise


def served_by(engine: ServedEngine, model: str | Path, text: TextHalf, grammars: Grammars) -> ServedModel:
    """A model as it is served by an engine of any kind that has its weights already."""
    folder = resolve(model)
    return ServedModel(
        id=_name(model),
        created=int((folder / "config.json").stat().st_mtime),
        tokenizer=text.tokenizer,
        template=text.template,
        engine=engine,
        grammars=grammars,
        tools=text.tools,
        defaults=text.defaults,
        max_length=engine.max_length,
        folder=folder,
        version=version_of(folder),
    )


def _name(model: str | Path) -> str:
    if isinstance(model, str) and model in {entry.name for entry in list_models()}:
        return model
    return Path(model).expanduser().absolute().name


def pick(request: HttpRequest, model: str) -> ServedModel:
    """The served model of this name. Raises ApiError: 404 `model_not_found` where there is none, 400 for one that makes
    vectors only.
    """
    models: Mapping[str, ServedModel] = request.app.state.models
    retrieval: Mapping[str, RetrievalModel] = request.app.state.retrieval
    if model in models:
        return models[model]
    if model in retrieval:
        raise ApiError(f"The model `{model}` makes embeddings only: POST /v1/embeddings.", param="model")
    raise ApiError(
        f"The model `{model}` does not exist; this server has: {', '.join((*models, *retrieval))}",
        status=404, param="model", code="model_not_found",
    )  # fmt: skip


def refuse_hopeless(served: ServedModel, num_chars: int) -> None:
    """Refuse a prompt that cannot fit, however well it compresses, before it costs anything to tokenize.

    Raises ApiError `context_length_exceeded`.
    """
    least = num_chars // served.tokenizer.max_token_bytes + 1
    if least > served.max_length:
        raise context_exceeded(f"at least {least}", served.max_length)


def refuse_unfit(served: ServedModel, token_ids: Sequence[int], *, room: int = 1) -> None:
    """Refuse a prompt as the engine would, once before anything is made of it: one that leaves no room for so many tokens
    more, or has foreign ids. Raises ContextLengthError or RequestError.
    """
    num_tokens, max_length = len(token_ids), served.engine.max_length
    if num_tokens + room > max_length:
        told = f"the prompt has {num_tokens} tokens and the context holds {max_length}; shorten it"
        raise ContextLengthError(told, num_tokens=num_tokens, max_length=max_length)
    check_ids(token_ids, served.engine.vocab_size)


def free_of_charge(num_tokens: int) -> None:
    """Where nobody counts."""


def charge_of(request: HttpRequest) -> Charge:
    """What charges the caller's key with tokens, where limits are installed (`protect`)."""
    charge: Charge = getattr(request.state, "spend", free_of_charge)
    return charge


@contextmanager
def paid_ahead(charge: Charge, num_tokens: int) -> Iterator[None]:
    """Charge for work of which nothing is seen before its end: whoever leaves half way has had it done, too. What is
    refused costs nothing.
    """
    charge(num_tokens)
    try:
        yield
    except LiaoError:
        charge(-num_tokens)
        raise
