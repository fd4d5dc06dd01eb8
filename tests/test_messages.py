"""Messages: what a role may hold, and the wire form there and back, strictly."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liaoliao.errors import DataError
from liaoliao.messages import Image, Message, Part, Reasoning, Role, Text, Tool, ToolCall, ToolResult

SUM = ToolCall("call_0", "calculator", '{"expression": "2+3"}')
PIXEL = Image("image/png", b"\x89PNG\x00\xff")

some_text = st.text(min_size=1, max_size=5)
texts = st.builds(Text, some_text)
calls = st.builds(ToolCall, some_text, some_text, some_text)
wire_messages = (
    st.builds(Message.system, st.text(max_size=5))
    | st.lists(texts | st.builds(Image, st.just("image/png"), st.binary(max_size=5)), max_size=3).map(
        lambda parts: Message("user", tuple(parts))
    )
    | st.builds(
        Message.assistant,
        st.text(max_size=5),
        reasoning=st.text(max_size=5),
        tool_calls=st.lists(calls, max_size=2),
    )
    | st.builds(Message.tool, st.text(max_size=5), st.text(max_size=5))
)


@given(message=wire_messages)
def test_the_wire_form_comes_back_as_the_same_message(message: Message) -> None:
    back = Message.from_openai(message.to_openai())
    if message.images:
        assert back == message
    else:  # several texts come together as one
        assert (back.role, back.text, back.reasoning, back.tool_calls) == (
            message.role, message.text, message.reasoning, message.tool_calls
        )  # fmt: skip
    assert back.to_openai() == message.to_openai()


def test_the_wire_form() -> None:
    assert Message.user("2+3?").to_openai() == {"role": "user", "content": "2+3?"}
    assert Message.tool("5", "call_0").to_openai() == {
        "role": "tool",
        "tool_call_id": "call_0",
        "content": "5",
    }
    function = {"name": "calculator", "arguments": '{"expression": "2+3"}'}
    assert Message.assistant(reasoning="A sum.", tool_calls=[SUM]).to_openai() == {
        "role": "assistant",
        "content": None,
        "reasoning_content": "A sum.",
        "tool_calls": [{"id": "call_0", "type": "function", "function": function}],
    }
    assert Message("user", (Text("see"), PIXEL)).to_openai()["content"] == [
        {"type": "text", "text": "see"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORwD/"}},
    ]


def test_what_clients_send() -> None:
    assert Message.from_openai({"role": "developer", "content": "Be kind."}) == Message.system("Be kind.")
    parts = [{"type": "text", "text": "2+"}, {"type": "text", "text": "3"}]
    assert Message.from_openai({"role": "user", "content": parts}).text == "2+3"
    echoed: dict[str, Any] = {
        "role": "assistant",
        "content": "5",
        "refusal": None,
        "annotations": [],
        "tool_calls": None,
    }
    assert Message.from_openai(echoed) == Message.assistant("5")
    named = {
        "role": "tool",
        "tool_call_id": "a",
        "name": "calculator",
        "content": [{"type": "text", "text": "5"}],
    }
    assert Message.from_openai(named) == Message.tool("5", "a")
    numbered = {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    assert Message.from_openai({"role": "assistant", "tool_calls": [numbered]}).tool_calls == (
        ToolCall("a", "f", "{}"),
    )


@pytest.mark.parametrize(
    ("wire", "wrong"),
    [
        ({"content": "hi"}, "message.role: expected a string, got nothing"),
        (
            {"role": "judge", "content": "hi"},
            "'judge' is not a role; the roles are system, user",
        ),
        ({"role": "user", "content": 5}, "expected a string or a list of parts, got int"),
        ({"role": "user", "content": ["hi"]}, "expected an object, got str"),
        (
            {"role": "user", "content": [{"type": "video"}]},
            "'video' is not known; known are 'text'",
        ),
        (
            {"role": "user", "content": [{"type": "text", "text": "a", "cache": 1}]},
            "text part: 'cache' is not supported",
        ),
        (
            {"role": "user", "content": "hi", "name": "Anna"},
            "user message: 'name' is not supported; known",
        ),
        (
            {"role": "user", "content": "hi", "tool_calls": [{}]},
            "'tool_calls' is not supported",
        ),
        ({"role": "assistant", "content": "hi", "audio": {"id": "x"}}, "'audio' is not supported"),
        ({"role": "assistant", "tool_calls": "f"}, "message.tool_calls: expected a list, got str"),
        ({"role": "assistant", "tool_calls": [{"type": "custom"}]}, "'custom' is not known; use 'function'"),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]},
            "arguments: expected a string",
        ),
        (
            {"role": "assistant", "content": None, "reasoning_content": 1},
            "reasoning_content: expected a string",
        ),
    ],
)
def test_what_we_do_not_know_is_refused_by_name(wire: dict[str, Any], wrong: str) -> None:
    with pytest.raises(DataError) as error:
        Message.from_openai(wire)
    assert wrong in str(error.value)


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("https://example.com/a.png", "only data URLs"),
        ("data:image/png,abc", "only data URLs"),
        ("data:image/png;base64,a", "damaged"),
        ("data:image/png;base64,a*b=", "damaged"),
    ],
)
def test_images_come_as_data_only(url: str, wrong: str) -> None:
    with pytest.raises(DataError, match=wrong):
        Message.from_openai({"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]})


@pytest.mark.parametrize(
    ("role", "parts"),
    [
        ("system", (PIXEL,)),
        ("user", (SUM,)),
        ("user", (Reasoning("hm"),)),
        ("assistant", (ToolResult("", "5"),)),
        ("assistant", (PIXEL,)),
        ("tool", (Text("5"),)),
        ("tool", ()),
        ("tool", (ToolResult("a", "5"), ToolResult("b", "6"))),
    ],
)
def test_a_role_holds_only_its_own_parts(role: Role, parts: tuple[Part, ...]) -> None:
    with pytest.raises(DataError, match=f"a {role} message"):
        Message(role, parts)


def test_reading_a_message() -> None:
    message = Message("assistant", (Reasoning("a"), Text("b"), SUM, Text("c"), Reasoning("d")))
    assert (message.text, message.reasoning, message.tool_calls) == ("bc", "ad", (SUM,))
    assert Message.assistant("") == Message("assistant", ())
    assert Message.tool("5").text == "5"
    assert Message("user", (PIXEL, Text("see"))).images == (PIXEL,)


def test_tools_there_and_back() -> None:
    tool = Tool(
        "calculator", "Arithmetic.", {"type": "object", "properties": {"expression": {"type": "string"}}}
    )
    assert Tool.from_openai(tool.to_openai()) == tool
    bare = Tool.from_openai({"type": "function", "function": {"name": "f"}})
    assert bare == Tool("f") == Tool.from_openai(bare.to_openai())
    for wire, wrong in (
        ({"type": "retrieval"}, "'retrieval' is not known"),
        ({"type": "function", "function": "f"}, "expected an object, got str"),
        ({"type": "function", "function": {"name": "f", "strict": True}}, "'strict' is not supported"),
        ({"type": "function", "function": {"name": "f", "parameters": []}}, "expected an object, got list"),
    ):
        with pytest.raises(DataError, match=wrong):
            Tool.from_openai(wire)
