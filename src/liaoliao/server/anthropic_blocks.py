"""The messages of Anthropic's API, made of blocks, as ours.

    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_0", "content": "5"},
                                 {"type": "text", "text": "And now?"}]}
        ->  tool("5", "call_0"), user("And now?")

Blocks of tools that Anthropic runs, and documents, are refused by name.
"""

import json
from collections.abc import Iterator
from itertools import groupby
from typing import Annotated, Any, Literal, TypeAlias, cast

from pydantic import Field, Tag

from liaoliao.errors import DataError
from liaoliao.messages import Message, Part, Reasoning, Role, Text, ToolCall, image_from_url
from liaoliao.server.openai import Echo, Wire, only
from liaoliao.server.unions import WordsOr, by_type


class CacheControl(Wire):
    """A wish to cache up to here; it is met without being asked, as all prompts are matched by their tokens."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | None = None


class Block(Echo):
    """A piece of a message."""

    cache_control: CacheControl | None = None


class TextBlock(Block):
    """Words."""

    type: Literal["text"]
    text: str

    def part(self) -> Part:
        """As a part of a message."""
        return Text(self.text)


class ThinkingBlock(Block):
    """What the model thought before it spoke."""

    type: Literal["thinking"]
    thinking: str
    signature: str | None = Field(None, description="As it came; thoughts are not signed here.")

    def part(self) -> Part:
        """As a part of a message."""
        return Reasoning(self.thinking)


class ToolUseBlock(Block):
    """A call of one of the client's tools."""

    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]

    def part(self) -> Part:
        """As a part of a message."""
        return ToolCall(self.id, self.name, json.dumps(self.input, ensure_ascii=False))


class ImageSource(Wire):
    """Where a picture is: in the request itself."""

    type: Annotated[
        Literal["base64"], only("base64", why="pictures are not fetched; send their bytes as base64")
    ]
    media_type: str
    data: str


class ImageBlock(Block):
    """A picture."""

    type: Literal["image"]
    source: ImageSource

    def part(self) -> Part:
        """As a part of a message. Raises DataError for damaged base64."""
        return image_from_url(f"data:{self.source.media_type};base64,{self.source.data}")


ResultContent: TypeAlias = Annotated[
    Annotated[TextBlock, Tag("<text>")] | Annotated[ImageBlock, Tag("<image>")], by_type("text, image")
]


class ToolResultBlock(Block):
    """What came of a call."""

    type: Literal["tool_result"]
    tool_use_id: str
    content: WordsOr[list[ResultContent]] | None = None
    is_error: bool | None = None

    def message(self) -> Message:
        """As a tool's message; an error is told in words, as our own tools tell theirs. Raises DataError for a
        picture.
        """
        parts = text_parts(self.content or "")
        words = "".join(part.text for part in parts if isinstance(part, Text))
        if any(not isinstance(part, Text) for part in parts):
            raise DataError("the result of a tool is text")
        failed = self.is_error and not words.lower().startswith("error")
        return Message.tool(f"error: {words}" if failed else words, self.tool_use_id)


ContentBlock: TypeAlias = Annotated[
    Annotated[TextBlock, Tag("<text>")]
    | Annotated[ImageBlock, Tag("<image>")]
    | Annotated[ThinkingBlock, Tag("<thinking>")]
    | Annotated[ToolUseBlock, Tag("<tool_use>")]
    | Annotated[ToolResultBlock, Tag("<tool_result>")],
    by_type("text, image, thinking, tool_use, tool_result"),
]


class InputMessage(Wire):
    """One turn."""

    role: Literal["user", "assistant", "system"]
    content: WordsOr[list[ContentBlock]]

    def messages(self) -> Iterator[Message]:
        """The turn as messages: each result of a tool is one, and so is what stands between them. Raises
        DataError for what the role cannot hold.
        """
        if isinstance(self.content, str):
            yield Message(self.role, text_parts(self.content))
            return
        for is_result, blocks in groupby(self.content, key=lambda block: isinstance(block, ToolResultBlock)):
            yield from self._run(list(blocks), is_result=is_result)
        if not self.content:
            yield Message(self.role, ())

    def _run(self, blocks: list[Any], *, is_result: bool) -> Iterator[Message]:
        if is_result and self.role != "user":
            raise DataError("results of tools come from the user")
        if is_result:
            yield from (block.message() for block in blocks)
        else:
            yield Message(cast(Role, self.role), tuple(block.part() for block in blocks))


def text_parts(content: Any) -> tuple[Part, ...]:
    """Words, or blocks, as parts of a message."""
    if isinstance(content, str):
        return (Text(content),) if content else ()
    return tuple(block.part() for block in content)
