"""Chat templates of foreign checkpoints: their Jinja, rendered under our rules.

`chat_template.load_template` chooses this for a folder whose template is not ours; the methods are the same.
The Jinja runs in a sandbox. Three rules hold for any template:

- Words of a person never become special tokens. Every special token that is spelled out in a message gets a
  noncharacter put into it before the rendering ("<" + U+FDD0 + "|im_end|>"), and the rendered text loses it
  after the cut at special tokens.
- The ids are those of `transformers.apply_chat_template` wherever no special token is spelled out.
- Learned from is what the assistant adds to the prompt it was given: render(up to here) beyond render(before,
  with the generation prompt), up to the token that ends it. A turn that the template rewrites later (Qwen3
  drops old reasoning) is context only, as no prompt will ever look like it again; render the conversation up
  to that turn to learn from it. So is one whose prompt the template refuses (a talk the assistant opens).
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import jinja2
import jinja2.ext
import jinja2.meta
import jinja2.sandbox

from liaoliao.errors import CheckpointError, TemplateError
from liaoliao.messages import Message, Tool
from liaoliao.text.folder_json import GENERATION_FILE, read_generation, read_json, stop_ids
from liaoliao.text.rendered import Rendered, refuse_images, refuse_options, refuse_unless_assistant
from liaoliao.text.tokenizer import TOKEN_ROLES, Tokenizer

_NONCHARACTERS: Final = tuple(map(chr, range(0xFDD0, 0xFDF0)))  # "not for interchange": text has none
_TEMPLATE_FAULTS: Final = (
    jinja2.TemplateError, ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError,
    ValueError,
)  # fmt: skip
_COMPILER_FAULTS: Final = (*_TEMPLATE_FAULTS, SyntaxError)  # what is nested too deeply for Jinja or Python
_GIVEN: Final = frozenset(("messages", "tools", "documents", "add_generation_prompt", *TOKEN_ROLES))
_NO_OPTIONS: Final[Mapping[str, Any]] = MappingProxyType({})


class JinjaTemplate:
    """A foreign chat template; `folder` may name further stop tokens in its generation_config.json.

    `option_names` are the variables that a caller of `prompt` may set, such as Qwen3's `enable_thinking`;
    `takes_tools` tells whether tool definitions would reach the model.
    """

    def __init__(self, tokenizer: Tokenizer, jinja: str, *, folder: Path | None = None) -> None:
        self._tokenizer = tokenizer
        self.jinja: str = jinja
        environment = _environment()
        self._template, unset = _compile(environment, jinja)
        self.option_names: frozenset[str] = frozenset(unset) - _GIVEN - frozenset(environment.globals)
        self.takes_tools: bool = "tools" in unset
        self._special = re.compile(
            "|".join(map(re.escape, sorted(tokenizer.special_ids, key=len, reverse=True))) or r"(?!)"
        )
        self.stop_ids: tuple[int, ...] = tuple(
            dict.fromkeys([tokenizer.eos_id, *_generation_eos(folder, tokenizer.vocab_size)])
        )

    def render(
        self, messages: Sequence[Message], tools: Sequence[Tool] = (), *, add_generation_prompt: bool = False
    ) -> Rendered:
        """Token ids of a conversation; weight 1 on what the assistant says and on the token that ends it."""
        mark = _unused_character(messages, tools)
        text = partial(self._text, tools=tools, mark=mark)
        whole = text(messages, add_generation_prompt=add_generation_prompt)
        spans = [
            self._learned_span(index, messages, whole, text)
            for index, m in enumerate(messages)
            if m.role == "assistant"
        ]
        return self._tokens(whole, [span for span in spans if span], mark)

    def prompt(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool] = (),
        *,
        continue_final: bool = False,
        options: Mapping[str, Any] = _NO_OPTIONS,
    ) -> list[int]:
        """The ids that end where the assistant is about to speak, or, with `continue_final`, at the end of what
        it says in the last message. An option that the template does not know is a TemplateError.
        """
        refuse_options(options, self.option_names)
        if continue_final:
            refuse_unless_assistant(messages)
        mark = _unused_character(messages, tools, options)
        whole = self._text(
            messages, tools=tools, mark=mark, add_generation_prompt=not continue_final, options=options
        )
        if continue_final:
            whole = whole[: self._end_of_words(whole, messages[-1], mark)]
        return self._ids(whole, mark)

    def _end_of_words(self, whole: str, last: Message, mark: str) -> int:
        words = self._guard(last.text.strip(), mark)
        start = whole.rfind(words) if words else -1
        if start < 0:
            raise TemplateError(
                "the model's chat template does not show the last message in a form to go on from"
            )
        return start + len(words)

    def _text(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Tool],
        mark: str,
        add_generation_prompt: bool,
        options: Mapping[str, Any] = _NO_OPTIONS,
    ) -> str:
        names = {role: self._tokenizer.special_name(role) for role in TOKEN_ROLES}
        guard = partial(self._guard, mark=mark)
        try:
            return self._template.render(
                messages=[_map_strings(_with_parsed_arguments(_wire(m)), guard) for m in messages],
                tools=[_map_strings(tool.to_openai(), guard) for tool in tools] or None,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                **{role: name for role, name in names.items() if name is not None},
                **{name: _map_strings(value, guard) for name, value in options.items()},
            )
        except _TEMPLATE_FAULTS as error:
            raise TemplateError(
                f"the model's chat template cannot render this conversation: {error}"
            ) from error

    def _guard(self, text: str, mark: str) -> str:
        return self._special.sub(lambda found: found[0][0] + mark + found[0][1:], text)

    def _learned_span(
        self, index: int, messages: Sequence[Message], whole: str, text: Callable[..., str]
    ) -> tuple[int, int] | None:
        """Where in `whole` the assistant message at `index` stands, up to the token that ends it."""
        try:
            before = text(messages[:index], add_generation_prompt=True)
            after = text(messages[: index + 1], add_generation_prompt=False)
        except TemplateError:
            return None
        if not (after.startswith(before) and whole.startswith(after.rstrip())):
            return None
        ends = [
            m.end()
            for m in self._special.finditer(after, len(before))
            if self._tokenizer.special_ids[m[0]] in self.stop_ids
        ]
        return len(before), ends[-1] if ends else len(after)

    def _ids(self, whole: str, mark: str) -> list[int]:
        ids: list[int] = []
        position = 0
        for found in self._special.finditer(whole):
            ids += self._tokenizer.encode(whole[position : found.start()].replace(mark, ""))
            ids.append(self._tokenizer.special_ids[found[0]])
            position = found.end()
        return ids + self._tokenizer.encode(whole[position:].replace(mark, ""))

    def _tokens(self, whole: str, spans: Sequence[tuple[int, int]], mark: str) -> Rendered:
        rendered = Rendered([], [])

        def append(token_id: int, start: int) -> None:
            rendered.token_ids.append(token_id)
            rendered.loss_weights.append(float(any(first <= start < last for first, last in spans)))

        def append_words(start: int, end: int) -> None:
            words = whole[start:end]
            where = [start + i for i, char in enumerate(words) if char != mark]  # positions of what stays
            for token_id, offset in self._tokenizer.encode_with_offsets(words.replace(mark, "")):
                append(token_id, where[offset])

        position = 0
        for found in self._special.finditer(whole):
            append_words(position, found.start())
            append(self._tokenizer.special_ids[found[0]], found.start())
            position = found.end()
        append_words(position, len(whole))
        return rendered


def read_jinja(folder: Path) -> str:
    """The template a model folder carries: chat_template.jinja, or the one in tokenizer_config.json."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        try:
            return file.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{file} is not readable text: {error}") from error
    config = folder / "tokenizer_config.json"
    template = read_json(config).get("chat_template") if config.is_file() else None
    if isinstance(template, list):
        template = _named_default(template, config)
    if template is None:
        raise TemplateError(
            f"{folder}: no chat template (chat_template.jinja or in tokenizer_config.json): a base model;"
            " fine-tune it on conversations first"
        )
    if not isinstance(template, str):
        raise CheckpointError(f"{config}: chat_template must be a text or a list, got {template!r:.60}")
    return template


def _named_default(entries: Sequence[Any], config: Path) -> str | None:
    """Of several templates by name the one for chat."""
    for entry in entries:
        match entry:
            case {"name": "default", "template": str(template)}:
                return template
            case {"name": str(), "template": str()}:
                continue
        raise CheckpointError(f"{config}: chat_template lists {entry!r:.60}, not a name and a template")
    return None


def _environment() -> jinja2.Environment:
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


def _compile(environment: jinja2.Environment, jinja: str) -> tuple[jinja2.Template, set[str]]:
    """The template, and the names that it wants a value for."""
    try:
        template = environment.from_string(jinja)
        return template, jinja2.meta.find_undeclared_variables(environment.parse(jinja))
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(
            f"the model's chat template is not Jinja: line {error.lineno}: {error}"
        ) from error
    except _COMPILER_FAULTS as error:
        raise TemplateError(f"the model's chat template cannot be compiled: {error}") from error


def _tojson(value: Any, **options: Any) -> str:
    return json.dumps(value, **{"ensure_ascii": False, **options})


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _strftime_now(layout: str) -> str:
    return datetime.now().astimezone().strftime(layout)


def _generation_eos(folder: Path | None, vocab_size: int) -> tuple[int, ...]:
    """The further stop tokens that Llama-3 and Qwen folders name in generation_config.json."""
    if folder is None:
        return ()
    named = stop_ids(read_generation(folder))
    outside = [token_id for token_id in named if not 0 <= token_id < vocab_size]
    if outside:
        raise CheckpointError(
            f"{folder / GENERATION_FILE}: the end token {outside[0]} is not one of the tokenizer's {vocab_size}"
        )
    return named


def _wire(message: Message) -> dict[str, Any]:
    """The message as templates expect it: OpenAI's wire form, always with a string for content."""
    refuse_images(message)
    wire = message.to_openai()
    return {**wire, "content": wire["content"] or ""}


def _with_parsed_arguments(wire: dict[str, Any]) -> dict[str, Any]:
    """Tool-call arguments as an object, which every template reads; not every one reads the wire's text."""
    if "tool_calls" not in wire:
        return wire
    calls = [
        {**call, "function": {**call["function"], "arguments": _parsed(call["function"])}}
        for call in wire["tool_calls"]
    ]
    return {**wire, "tool_calls": calls}


def _parsed(function: Mapping[str, Any]) -> Any:
    try:
        return json.loads(function["arguments"])
    except ValueError as error:
        raise TemplateError(
            f"the arguments of the tool call {function['name']} are not JSON: {error}"
        ) from error


def _map_strings(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {change(key): _map_strings(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_map_strings(item, change) for item in value]
    return value


def _unused_character(
    messages: Sequence[Message], tools: Sequence[Tool], options: Mapping[str, Any] = _NO_OPTIONS
) -> str:
    """A noncharacter that stands nowhere in the conversation."""
    everything = json.dumps(
        [*map(_wire, messages), *(t.to_openai() for t in tools), dict(options)], ensure_ascii=False
    )
    for char in _NONCHARACTERS:
        if char not in everything:
            return char
    raise TemplateError("the conversation holds every noncharacter from U+FDD0 to U+FDEF; take one out")
