"""A loaded model to talk to: the Python interface of a checkpoint.

    assistant = liaoliao.load("current")
    print(assistant.chat("What is 47 + 38?").text)
    for event in assistant.stream([{"role": "user", "content": "你好"}], temperature=0.7): ...
    token_ids, logprobs = assistant.score("The cat sat on the mat.")

`Assistant.turn` and `Assistant.engine` are there for drivers of one's own, as evaluation uses them.
"""

import dataclasses
import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

from liaoliao.chat.drive import Progress, run, run_batch
from liaoliao.chat.tools import ToolBox, town_tools
from liaoliao.chat.turn import ChatEvent, MessageDone, Turn
from liaoliao.engine.engine import Engine
from liaoliao.engine.load import OnProgress, RunnerDtype, load_runner
from liaoliao.engine.request import SamplingParams
from liaoliao.engine.speculate import DRAFTS
from liaoliao.errors import CheckpointError, RequestError, TemplateError
from liaoliao.messages import Message, Tool
from liaoliao.model.checkpoint import load_generation, load_lineage
from liaoliao.model.registry import resolve
from liaoliao.text.chat_template import JinjaTemplate, Template, load_template
from liaoliao.text.jinja_template import read_jinja
from liaoliao.text.tokenizer import Tokenizer

Said: TypeAlias = str | Message | Mapping[str, Any]
Talk: TypeAlias = Said | Sequence[Message | Mapping[str, Any]]

_FLOATS = ("temperature", "top_p", "min_p", "repetition_penalty")
_SAMPLING = tuple(field.name for field in dataclasses.fields(SamplingParams))
_TURN_OPTIONS = ("stop", "tools", "max_tool_rounds")


class Assistant:
    """A model with its tokenizer, chat template, engine and tools.

    `tools` may be called by the model without being described to it (a town model knows its tools by heart).
    `defaults` are sampling settings that a caller's override. The model `lineage` says where the model comes
    from.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        template: Template,
        *,
        tools: ToolBox | None = None,
        defaults: Mapping[str, Any] | None = None,
        lineage: Mapping[str, Any] | None = None,
    ) -> None:
        self.engine, self.tokenizer, self.template = engine, tokenizer, template
        self.tools = tools if tools is not None else ToolBox()
        self.defaults, self.lineage = dict(defaults or {}), dict(lineage or {})

    def chat(self, messages: Talk, **sampling: Any) -> Message:
        """The answer to a conversation: messages, OpenAI-style dicts, or a plain string said by the user.

        `sampling` takes every field of SamplingParams, and `stop` (strings), `tools` (descriptions put into
        the prompt, or a ToolBox, whose tools are run too) and `max_tool_rounds`. Raises RequestError for a
        conversation that does not fit the context, and for an unknown or bad setting.
        """
        events = [event for event in self.stream(messages, **sampling) if isinstance(event, MessageDone)]
        return events[-1].message

    def stream(self, messages: Talk, **sampling: Any) -> Iterator[ChatEvent]:
        """The same as it is said: TextDelta, ReasoningDelta, ToolCallDelta, and a MessageDone after each
        message.

        Closing the iterator stops the model.
        """
        turn, tools = self.turn(messages, **sampling), self._toolbox(sampling)
        return run(turn, self.engine.stream, tools)

    def chat_batch(
        self, conversations: Sequence[Talk], *, progress: Progress | None = None, **sampling: Any
    ) -> list[tuple[Message, ...]]:
        """Answer many conversations at once: for each all that is said in the turn, tool results included."""
        turns = [self.turn(messages, **sampling) for messages in conversations]
        run_batch(self.engine, turns, self._toolbox(sampling), progress=progress)
        return [turn.new_messages for turn in turns]

    def turn(self, messages: Talk, **sampling: Any) -> Turn:
        """The turn that answers a conversation, for a driver of one's own; `sampling` as in `chat`."""
        settings = {**self.defaults, **sampling}
        for name in settings:
            if name not in (*_SAMPLING, *_TURN_OPTIONS):
                near = difflib.get_close_matches(name, (*_SAMPLING, *_TURN_OPTIONS), n=1)
                raise RequestError(
                    f"{name} is not a sampling setting" + (f"; did you mean {near[0]}?" if near else "")
                )
        tools, stop = settings.get("tools", ()), settings.get("stop", ())
        return Turn(
            as_messages(messages),
            self.template,
            self.tokenizer,
            tools=tools.definitions if isinstance(tools, ToolBox) else tuple(cast(Sequence[Tool], tools)),
            params=_sampling_params(settings),
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
            max_tool_rounds=settings.get("max_tool_rounds", 4),
        )

    def score(self, text: str) -> tuple[list[int], list[float]]:
        """Token ids of a text and the natural logprob of each, the first as the beginning of a document.

        A text longer than the context is scored in windows: every token sees at least half a context before
        it.
        """
        token_ids = self.tokenizer.encode(text)
        ids, size = [self.tokenizer.opening_id, *token_ids], self.engine.max_length
        starts = range(0, max(1, len(ids) - size // 2), max(1, size - size // 2))
        windows = [ids[start : start + size] for start in starts]
        scored: list[float] = []
        for start, logprobs in zip(starts, self.engine.score(windows), strict=True):
            scored += logprobs[1 + len(scored) - start :]
        return token_ids, scored

    def _toolbox(self, sampling: Mapping[str, Any]) -> ToolBox:
        tools = sampling.get("tools")
        return tools if isinstance(tools, ToolBox) else self.tools


def load(
    model: str | Path,
    *,
    dtype: RunnerDtype = "auto",
    device: str = "auto",
    max_running: int = 64,
    speculate: int = DRAFTS,
    on_progress: OnProgress = lambda line: None,
) -> Assistant:
    """Load a model folder, or the folder that a registered name stands for, ready to talk.

    `dtype` and `device` choose how it is computed, and `on_progress` hears of what takes long: see `load_runner`.
    `speculate` is the most tokens that a step guesses ahead for a greedy reply (`engine.speculate`); 0: none. Raises
    UsageError for an unknown name and CheckpointError for a folder that is damaged or incomplete.
    """
    folder = resolve(model)
    runner = load_runner(folder, dtype=dtype, device=device, on_progress=on_progress)
    text = load_text(folder)
    check_vocabulary(folder, text.tokenizer, runner.vocab_size)
    return Assistant(
        Engine(runner, max_running=max_running, speculate=speculate),
        text.tokenizer,
        text.template,
        tools=text.tools,
        defaults=text.defaults,
        lineage=text.lineage,
    )


@dataclass(frozen=True, slots=True)
class TextHalf:
    """What a model folder holds besides the weights. See `Assistant` for the last three."""

    tokenizer: Tokenizer
    template: Template
    tools: ToolBox
    defaults: Mapping[str, Any]
    lineage: Mapping[str, Any]


def load_text(folder: Path) -> TextHalf:
    """Everything of a model folder but its weights, for those whose engine is elsewhere. Raises as `load` does."""
    tokenizer, lineage = Tokenizer.load(folder), load_lineage(folder)
    return TextHalf(
        tokenizer,
        _template(folder, tokenizer),
        town_tools(tuple(lineage.get("tools", ()))),
        _defaults(load_generation(folder)),
        lineage,
    )


def check_vocabulary(folder: Path, tokenizer: Tokenizer, vocab_size: int) -> None:
    """Raise CheckpointError for a tokenizer with tokens for which the model of this folder has no embeddings."""
    if tokenizer.vocab_size > vocab_size:
        raise CheckpointError(
            f"{folder}: the tokenizer has {tokenizer.vocab_size} tokens, but the model only "
            f"{vocab_size} embeddings"
        )


def _template(folder: Path, tokenizer: Tokenizer) -> Template:
    """The folder's template; a base model has none and loads all the same, to score and to continue text."""
    try:
        read_jinja(folder)
    except TemplateError as error:
        return JinjaTemplate(tokenizer, f"{{{{ raise_exception({str(error)!r}) }}}}", folder=folder)
    return load_template(folder, tokenizer)


def as_messages(talk: Talk) -> list[Message]:
    """A conversation in any of its forms as messages; a plain string is said by the user."""
    if isinstance(talk, str):
        return [Message.user(talk)]
    if isinstance(talk, Message | Mapping):
        talk = [talk]
    return [said if isinstance(said, Message) else Message.from_openai(said) for said in talk]


def _sampling_params(settings: Mapping[str, Any]) -> SamplingParams:
    given = {name: settings[name] for name in _SAMPLING if name in settings}
    floats = {name: float(given[name]) for name in _FLOATS if type(given.get(name)) is int}
    if "stop_token_ids" in given:
        given["stop_token_ids"] = tuple(given["stop_token_ids"])
    return SamplingParams(**{**given, **floats})


def _defaults(generation: Mapping[str, Any]) -> dict[str, Any]:
    """The sampling settings of a `generation_config.json`; its stop ids are the chat template's business."""
    names = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
    defaults = {name: generation[name] for name in names if generation.get(name) is not None}
    return {**defaults, "temperature": 0.0} if generation.get("do_sample") is False else defaults
