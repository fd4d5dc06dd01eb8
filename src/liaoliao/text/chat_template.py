"""ChatML: messages to token ids, and which of them are learned from.

The same object renders training rows, rollouts and server prompts, and it exports itself as a Jinja template
from which `transformers.apply_chat_template` makes the very same ids (a test holds them equal). `parse` is
the way back.

    [user("2+3?"), assistant("5")]  ->  <|im_start|>user⏎2+3?<|im_end|>⏎<|im_start|>assistant⏎5<|im_end|>⏎
                                        learned from: "5" and the <|im_end|> that follows it

A reply holds, in this order, <think>⏎reasoning⏎</think>⏎⏎, its text, and a <tool_call>⏎{...}⏎</tool_call> for
each call. Tool definitions stand at the start of the system turn, one line of JSON each. Words of a person
can never become special tokens: they are encoded apart. Replies are trimmed of whitespace, so that a prompt's
ids are always a prefix of the conversation's.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from liaoliao.errors import TemplateError
from liaoliao.messages import Message, Tool, ToolCall
from liaoliao.text.jinja_template import JinjaTemplate, read_jinja
from liaoliao.text.rendered import Rendered, refuse_images, refuse_options, refuse_unless_assistant
from liaoliao.text.tokenizer import SPECIAL_TOKENS, Tokenizer

__all__ = ["CHATML_JINJA", "ChatTemplate", "JinjaTemplate", "Rendered", "Template", "load_template"]

CHATML_JINJA: Final = """\
{%- macro flat(content) -%}
    {%- if content is string -%}
        {{- content -}}
    {%- elif content -%}
        {%- for part in content -%}
            {%- if part.type != 'text' -%}
                {{- raise_exception('this model reads text only') -}}
            {%- endif -%}
            {{- part.text -}}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro -%}
{%- set system_first = messages and messages[0].role in ['system', 'developer'] -%}
{%- if tools -%}
    {{- '<|im_start|>system\\nTools:' -}}
    {%- for tool in tools -%}
        {{- '\\n{"name": ' + (tool.function.name | tojson) -}}
        {{- ', "description": ' + ((tool.function.description or '') | tojson) -}}
        {{- ', "parameters": ' + (tool.function.parameters | tojson) + '}' -}}
    {%- endfor -%}
    {%- if system_first and flat(messages[0].content) -%}
        {{- '\\n\\n' + flat(messages[0].content) -}}
    {%- endif -%}
    {{- '<|im_end|>\\n' -}}
{%- endif -%}
{%- for message in messages -%}
    {%- if message.role == 'assistant' -%}
        {{- '<|im_start|>assistant\\n' -}}
        {%- set reasoning = flat(message.reasoning_content) | trim -%}
        {%- set text = flat(message.content) | trim -%}
        {%- if reasoning -%}
            {{- '<think>\\n' + reasoning + '\\n</think>\\n\\n' -}}
        {%- endif -%}
        {{- text -}}
        {%- for call in message.tool_calls or [] -%}
            {%- if text or not loop.first -%}
                {{- '\\n' -}}
            {%- endif -%}
            {{- '<tool_call>\\n{"name": ' + (call.function.name | tojson) + ', "arguments": ' -}}
            {%- if call.function.arguments is string -%}
                {{- call.function.arguments -}}
            {%- else -%}
                {{- call.function.arguments | tojson -}}
            {%- endif -%}
            {{- '}\\n</tool_call>' -}}
        {%- endfor -%}
        {{- '<|im_end|>\\n' -}}
    {%- elif message.role == 'tool' -%}
        {{- '<|im_start|>tool\\n<tool_response>\\n' + flat(message.content) -}}
        {{- '\\n</tool_response><|im_end|>\\n' -}}
    {%- elif message.role in ['system', 'developer'] -%}
        {%- if not (tools and loop.first) -%}
            {{- '<|im_start|>system\\n' + flat(message.content) + '<|im_end|>\\n' -}}
        {%- endif -%}
    {%- elif message.role == 'user' -%}
        {{- '<|im_start|>user\\n' + flat(message.content) + '<|im_end|>\\n' -}}
    {%- else -%}
        {{- raise_exception('unknown role: ' + message.role) -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""


@dataclass(frozen=True, slots=True)
class _Mark:
    """A special token in a turn, as opposed to words."""

    name: str


_Piece: TypeAlias = _Mark | str

_START, _END = _Mark("<|im_start|>"), _Mark("<|im_end|>")
_THINK, _THINK_END = _Mark("<think>"), _Mark("</think>")
_CALL, _CALL_END = _Mark("<tool_call>"), _Mark("</tool_call>")
_RESPONSE, _RESPONSE_END = _Mark("<tool_response>"), _Mark("</tool_response>")
_NO_OPTIONS: Final[Mapping[str, Any]] = MappingProxyType({})


class ChatTemplate:
    """liaoliao's own template; a tokenizer without the special tokens of ChatML is a TemplateError."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        missing = [name for name in SPECIAL_TOKENS if name not in tokenizer.special_ids]
        if missing:
            raise TemplateError(
                f"the tokenizer has no {', '.join(missing)}, which this chat template is made of"
            )
        self._tokenizer = tokenizer
        self.jinja: str = CHATML_JINJA
        self.option_names: frozenset[str] = frozenset()
        self.takes_tools: bool = True
        self.stop_ids: tuple[int, ...] = tuple(map(tokenizer.special_id, ("<|im_end|>", "<|endoftext|>")))

    def render(
        self, messages: Sequence[Message], tools: Sequence[Tool] = (), *, add_generation_prompt: bool = False
    ) -> Rendered:
        """Token ids of a conversation; weight 1 on what the assistant says and the <|im_end|> after it.

        With `add_generation_prompt` the ids end where the assistant is about to speak. Images, and tool calls
        whose arguments are not a JSON object, are a TemplateError.
        """
        rendered = Rendered([], [])
        for message in _with_tools(messages, tools):
            if message.role == "assistant":
                self._append(rendered, [_START, "assistant\n"], weight=0.0)
                self._append(rendered, _join([*_said(message), _END]), weight=1.0)
                self._append(rendered, ["\n"], weight=0.0)
            else:
                turn = [_START, f"{message.role}\n", *_heard(message), _END, "\n"]
                self._append(rendered, _join(turn), weight=0.0)
        if add_generation_prompt:
            self._append(rendered, [_START, "assistant\n"], weight=0.0)
        return rendered

    def prompt(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool] = (),
        *,
        continue_final: bool = False,
        options: Mapping[str, Any] = _NO_OPTIONS,
    ) -> list[int]:
        """The ids that end where the assistant is about to speak, or, with `continue_final`, at the end of what
        it says in the last message. This template has no `options`: any is a TemplateError.
        """
        refuse_options(options, self.option_names)
        if continue_final:
            refuse_unless_assistant(messages)
        rendered = self.render(messages, tools, add_generation_prompt=not continue_final)
        if not continue_final:
            return rendered.token_ids
        *_, end = (i for i, weight in enumerate(rendered.loss_weights) if weight)  # the last <|im_end|>
        return rendered.token_ids[:end]

    def _append(self, rendered: Rendered, pieces: Iterable[_Piece], weight: float) -> None:
        for piece in pieces:
            ids = self._ids(piece)
            rendered.token_ids.extend(ids)
            rendered.loss_weights.extend([weight] * len(ids))

    def _ids(self, piece: _Piece) -> list[int]:
        if isinstance(piece, _Mark):
            return [self._tokenizer.special_id(piece.name)]
        return self._tokenizer.encode(piece)


Template: TypeAlias = ChatTemplate | JinjaTemplate


def load_template(folder: Path | str, tokenizer: Tokenizer) -> Template:
    """The template that a model folder carries: ours if it is ours, else its Jinja under our rules."""
    jinja = read_jinja(Path(folder))
    if jinja == CHATML_JINJA:
        return ChatTemplate(tokenizer)
    return JinjaTemplate(tokenizer, jinja, folder=Path(folder))


# Turns as marks and words


def _with_tools(messages: Sequence[Message], tools: Sequence[Tool]) -> Sequence[Message]:
    """The messages, with the tool definitions at the head of a first system turn."""
    if not tools:
        return messages
    block = "\n".join(["Tools:", *map(_tool_line, tools)])
    if not (messages and messages[0].role == "system"):
        return [Message.system(block), *messages]
    said = messages[0].text
    return [Message.system(f"{block}\n\n{said}" if said else block), *messages[1:]]


def _tool_line(tool: Tool) -> str:
    definition = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return json.dumps(definition, ensure_ascii=False)


def _heard(message: Message) -> Iterator[_Piece]:
    """The content of a system, user or tool turn."""
    refuse_images(message)
    if message.role == "tool":
        yield from (_RESPONSE, f"\n{message.text}\n", _RESPONSE_END)
    else:
        yield message.text


def _said(message: Message) -> Iterator[_Piece]:
    """The content of an assistant turn, in the canonical order: reasoning, text, tool calls."""
    reasoning, text = message.reasoning.strip(), message.text.strip()
    if reasoning:
        yield from (_THINK, f"\n{reasoning}\n", _THINK_END, "\n\n")
    yield text
    for index, call in enumerate(message.tool_calls):
        yield "\n" if text or index else ""
        yield from (_CALL, f"\n{call_json(call)}\n", _CALL_END)


def call_json(call: ToolCall) -> str:
    """A tool call as the model writes it: {"name": ..., "arguments": ...}, the arguments word for word."""
    try:
        arguments = json.loads(call.arguments)
    except (ValueError, RecursionError) as error:
        raise TemplateError(f"the arguments of the tool call {call.name} are not JSON: {error}") from error
    if not isinstance(arguments, dict):
        raise TemplateError(
            f"the arguments of the tool call {call.name} are not a JSON object: {call.arguments}"
        )
    return f'{{"name": {json.dumps(call.name, ensure_ascii=False)}, "arguments": {call.arguments}}}'


def _join(pieces: Iterable[_Piece]) -> list[_Piece]:
    """Words between two marks as one string: merges must see them together, as in a whole-string encoding."""
    joined: list[_Piece] = []
    for piece in pieces:
        if isinstance(piece, str) and joined and isinstance(joined[-1], str):
            joined[-1] += piece
        elif piece:
            joined.append(piece)
    return joined
