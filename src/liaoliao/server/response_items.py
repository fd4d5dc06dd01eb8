"""The input of OpenAI's Responses API: a string, or a list of items, as messages.

    "2+3?"  ->  user("2+3?")
    [{"role": "user", "content": "2+3?"}, {"type": "reasoning", ...}, {"type": "function_call", ...},
     {"type": "function_call_output", ...}]
        ->  user("2+3?"), assistant(reasoning, the call), tool(its result)

What a response gave as `output` may come back as it is: reasoning, message and calls that follow each other are
one assistant message again. Items of tools that OpenAI runs, and references to what is stored there, are refused
by name.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Final, Literal, TypeAlias, cast

from pydantic import Field, Tag

from liaoliao.errors import DataError
from liaoliao.messages import Message, Part, Reasoning, Role, Text, ToolCall, image_from_url
from liaoliao.server.failures import ApiError
from liaoliao.server.openai import Echo, Wire, only
from liaoliao.server.unions import WordsOr, by_type

ItemStatus: TypeAlias = Literal["in_progress", "completed", "incomplete"]
_UNREADABLE = "only the server that wrote it can read it; send the reasoning's 'content'"
_ECHO: Final = "As it came with the output; it has no effect."


class InputText(Wire):
    """Words."""

    type: Literal["input_text"]
    text: str

    def part(self) -> Part:
        """As a part of a message."""
        return Text(self.text)


class OutputText(Wire):
    """Words that a model said."""

    type: Literal["output_text"]
    text: str
    annotations: list[Any] | None = Field(None, description=_ECHO)
    logprobs: list[Any] | None = Field(None, description=_ECHO)

    def part(self) -> Part:
        """As a part of a message."""
        return Text(self.text)


class Refusal(Wire):
    """What a model said when it would not do something."""

    type: Literal["refusal"]
    refusal: str

    def part(self) -> Part:
        """As a part of a message."""
        return Text(self.refusal)


class InputImage(Wire):
    """A picture, as a data URL."""

    type: Literal["input_image"]
    image_url: str
    detail: Literal["auto", "low", "high"] | None = None

    def part(self) -> Part:
        """As a part of a message. Raises DataError for other URLs."""
        return image_from_url(self.image_url)


Content: TypeAlias = Annotated[
    Annotated[InputText, Tag("<input_text>")]
    | Annotated[OutputText, Tag("<output_text>")]
    | Annotated[Refusal, Tag("<refusal>")]
    | Annotated[InputImage, Tag("<input_image>")],
    by_type("input_text, output_text, refusal, input_image"),
]


class Item(Echo):
    """A step of a conversation."""

    id: str | None = Field(None, description=_ECHO)
    status: ItemStatus | None = Field(None, description=_ECHO)


class MessageItem(Item):
    """Something said."""

    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: WordsOr[list[Content]]

    def message(self) -> Message:
        """As a message. Raises DataError for what its role cannot hold."""
        role = "system" if self.role == "developer" else self.role
        return Message(cast(Role, role), _parts(self.content))


class FunctionCallItem(Item):
    """A call of one of the client's tools."""

    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str

    def message(self) -> Message:
        """As the end of an assistant's message."""
        return Message("assistant", (ToolCall(self.call_id, self.name, self.arguments),))


class FunctionOutputItem(Item):
    """What came of a call."""

    type: Literal["function_call_output"]
    call_id: str
    output: WordsOr[list[Content]]
    name: str | None = Field(None, description="The name of the function; nothing new in it.")

    def message(self) -> Message:
        """As a tool's message. Raises DataError for a picture."""
        parts = _parts(self.output)
        words = [part.text for part in parts if isinstance(part, Text)]
        if len(words) < len(parts):
            raise DataError("the output of a function is text")
        return Message.tool("".join(words), self.call_id)


class ReasoningText(Wire):
    """Words that were thought, or a summary of them."""

    type: Literal["reasoning_text", "summary_text"]
    text: str


class ReasoningItem(Item):
    """What the model thought before it spoke."""

    type: Literal["reasoning"]
    summary: list[ReasoningText] | None = None
    content: list[ReasoningText] | None = None
    encrypted_content: Annotated[None, only(why=_UNREADABLE)] = None

    def message(self) -> Message:
        """As the beginning of an assistant's message; a summary stands in for what is not there in full."""
        words = "".join(piece.text for piece in self.content or self.summary or ())
        return Message("assistant", (Reasoning(words),) if words else ())


InputItem: TypeAlias = Annotated[
    Annotated[MessageItem, Tag("<message>")]
    | Annotated[FunctionCallItem, Tag("<function_call>")]
    | Annotated[FunctionOutputItem, Tag("<function_call_output>")]
    | Annotated[ReasoningItem, Tag("<reasoning>")],
    by_type("message, function_call, function_call_output, reasoning", default="message"),
]
Input: TypeAlias = WordsOr[Annotated[list[InputItem], Field(min_length=1)]]


def read_input(given: Input) -> list[Message]:
    """The conversation. Raises ApiError naming the first item that is no part of one."""
    if isinstance(given, str):
        return [Message.user(given)]
    return list(_joined(_messages(given)))


def _messages(items: Iterable[InputItem]) -> Iterator[Message]:
    for index, item in enumerate(items):
        try:
            yield item.message()
        except DataError as error:
            raise ApiError(f"input[{index}]: {error}", param=f"input[{index}]") from error


_ORDER: Final = (Reasoning, Text, ToolCall)  # of the parts of an assistant's message


def _joined(messages: Iterable[Message]) -> Iterator[Message]:
    """The messages, with the items that are steps of one reply put together."""
    reply: Message | None = None
    for message in messages:
        if reply is not None and _goes_on(reply, message):
            reply = Message("assistant", (*reply.parts, *message.parts))
            continue
        if reply is not None:
            yield reply
        reply = message if message.role == "assistant" else None
        if reply is None:
            yield message
    if reply is not None:
        yield reply


def _goes_on(reply: Message, message: Message) -> bool:
    """Whether what the assistant says next can be of the same reply: thoughts, then words, then calls."""
    if message.role != "assistant":
        return False
    if not (reply.parts and message.parts):
        return True
    before, after = (_ORDER.index(type(part)) for part in (reply.parts[-1], message.parts[0]))
    return after > before or (after == before and _ORDER[after] is not Text)


def _parts(content: WordsOr[list[Content]]) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (Text(content),) if content else ()
    return tuple(piece.part() for piece in content)
