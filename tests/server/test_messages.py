"""/v1/messages against the official SDK: every event one that it knows, and the stream adding up to the whole."""

import json
from collections.abc import Iterator
from typing import Any

import pydantic
import pytest
from anthropic import Anthropic, APIStatusError, BadRequestError, NotFoundError
from anthropic.types import Message as SdkMessage
from anthropic.types import RawMessageStreamEvent
from fastapi import FastAPI
from hypothesis import given

from liaoliao.messages import Message, Tool, ToolCall
from liaoliao.server.anthropic import VERSIONS
from liaoliao.server.anthropic_blocks import InputMessage
from liaoliao.server.anthropic_shapes import AnthropicFailureEnvelope, AnthropicMessage
from liaoliao.server.reply import reply
from liaoliao.server.routes import messages as routes
from tests.server.conftest import CONTEXT, Says, post
from tests.server.plain import ask
from tests.server.sdk import known, named_events
from tests.text.strategies import conversations

EVENT: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(RawMessageStreamEvent)
MESSAGE: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(SdkMessage)
WEATHER: dict[str, Any] = {
    "name": "weather",
    "description": "The weather of a place.",
    "input_schema": {"type": "object", "properties": {"place": {"type": "string"}}},
}
TOOL = Tool("weather", "The weather of a place.", WEATHER["input_schema"])
CALL = ToolCall("call_0", "weather", '{"place": "lake"}')
ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 200}


@pytest.fixture(scope="module")
def client(server: str) -> Iterator[Anthropic]:
    with Anthropic(base_url=server, api_key="none", max_retries=0) as client:
        yield client


def stream(app: FastAPI, **body: Any) -> list[dict[str, Any]]:
    """The events of a stream, each as the SDK knows it."""
    events = named_events(post(app, "/v1/messages", stream=True, **{**ASKED, **body}))
    for event in events:
        if event["type"] != "ping":
            known(EVENT, event)
    return events


def said(app: FastAPI, **body: Any) -> Any:
    """The whole message, as the SDK knows it."""
    wire = post(app, "/v1/messages", **{**ASKED, **body}).json()
    AnthropicMessage.model_validate(wire)
    return known(MESSAGE, wire)


def refused(app: FastAPI, **body: Any) -> str:
    """What a 400 says."""
    response = post(app, "/v1/messages", **{**ASKED, **body})
    assert response.status_code == 400, response.text
    envelope = AnthropicFailureEnvelope.model_validate(response.json())
    assert envelope.error.type == "invalid_request_error"
    return envelope.error.message


# What is answered


def test_words_are_answered_with_words(client: Anthropic, says: Says) -> None:
    says.chat(Message.assistant("the cat"))
    message = client.messages.create(model="scripted", system="Be brief.", extra_body={"top_k": 9}, **ASKED)
    [block] = message.content
    assert block.type == "text" and block.text == "the cat"
    assert (message.stop_reason, message.stop_sequence, message.model) == ("end_turn", None, "scripted")
    prompt = says.template.prompt([Message.system("Be brief."), Message.user("x")])
    assert list(says.requests[-1].token_ids) == prompt and (
        says.requests[-1].params.max_tokens,
        says.requests[-1].params.top_k,
    ) == (200, 9)
    usage = message.usage
    assert usage.input_tokens + (usage.cache_read_input_tokens or 0) == len(prompt)
    assert usage.output_tokens == len(says.tokenizer.encode("the cat")) + 1  # and the end


def test_the_events_of_thoughts_words_and_a_call_come_in_their_order(app: FastAPI, says: Says) -> None:
    says.chat(Message.assistant("the mat", reasoning="two", tool_calls=[CALL]))
    kinds = [event["type"] for event in stream(app, tools=[WEATHER])]
    block = ["content_block_start", "content_block_delta", "content_block_stop"]
    assert [kind for i, kind in enumerate(kinds) if kinds[i - 1 : i] != [kind]] == [
        "message_start", block[0], "ping", *block[1:], *block, *block, "message_delta", "message_stop",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Message.assistant("the cat sat on the mat"), "end_turn"),
        (Message.assistant("猫坐在垫子上", reasoning="你好"), "end_turn"),
        (Message.assistant("two", tool_calls=[CALL, ToolCall("call_1", "weather", "{}")]), "tool_use"),
        (Message.assistant(), "end_turn"),
    ],
)
def test_a_stream_adds_up_to_the_whole(client: Anthropic, says: Says, reply: Message, reason: str) -> None:
    says.chat(reply)
    asked: dict[str, Any] = {**ASKED, "model": "scripted", "tools": [WEATHER]}
    whole = client.messages.create(**asked)
    with client.messages.stream(**asked) as events:
        text = "".join(events.text_stream)
        final = events.get_final_message()
    bare: dict[str, Any] = {"id": "", "usage": {}, "stop_details": None}
    assert strip(final) | bare == strip(whole) | bare
    assert final.stop_reason == reason and text == reply.text
    assert final.usage.output_tokens == whole.usage.output_tokens
    assert total_input(final) == total_input(whole)


def test_a_call_that_breaks_off_holds_what_is_whole_of_it(client: Anthropic, says: Says) -> None:
    """Streamed and not, as the SDK puts it together."""
    call = ToolCall("call_0", "weather", '{"place": "lake", "when": "noon"}')
    says.chat(Message.assistant("", tool_calls=[call]))
    asked: dict[str, Any] = {**ASKED, "model": "scripted", "tools": [WEATHER]}
    asked["max_tokens"] = len(says.replies[0]) - 8
    whole = client.messages.create(**asked)
    with client.messages.stream(**asked) as events:
        final = events.get_final_message()
    assert strip(final)["content"] == strip(whole)["content"]
    assert final.stop_reason == whole.stop_reason == "max_tokens"
    [block] = strip(whole)["content"]
    assert (
        block["name"] == "weather"
        and block["input"]["place"] == "lake"
        and block["input"] != json.loads(call.arguments)
    )


def test_arguments_that_json_could_not_carry_are_mended(app: FastAPI, says: Says) -> None:
    call = ToolCall("call_0", "weather", '{"place": "lake \\ud83d", "days": [1e999, 2]}')
    says.chat(Message.assistant("", tool_calls=[call]))
    [block] = said(app, tools=[WEATHER]).content
    assert block.input == {"place": "lake \ufffd", "days": [None, 2]}
    assert stream(app, tools=[WEATHER])[-1]["type"] == "message_stop"
    broken = {"tools": [WEATHER], "max_tokens": len(says.replies[0]) - 6}
    message = said(app, **broken)
    assert message.stop_reason == "max_tokens" and message.content[0].input.keys() <= {"place", "days"}
    assert stream(app, **broken)[-1]["type"] == "message_stop"


def strip(message: Any) -> dict[str, Any]:
    wire: dict[str, Any] = message.to_dict()
    for block in wire["content"]:
        block.pop("parsed_output", None)
    return wire


def total_input(message: Any) -> int:
    usage = message.usage
    total: int = usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens
    return total


def test_a_real_model_says_the_same_streamed_and_whole(client: Anthropic) -> None:
    asked: dict[str, Any] = {**ASKED, "model": "tiny", "max_tokens": 12, "extra_body": {"seed": 3}}
    whole = client.messages.create(**asked)
    with client.messages.stream(**asked) as events:
        assert strip(events.get_final_message())["content"] == strip(whole)["content"]


def test_the_prompt_is_counted_before_it_is_answered(app: FastAPI, says: Says) -> None:
    says.chat(Message.assistant("5"))
    first, *_ = stream(app)
    count = post(app, "/v1/messages/count_tokens", messages=ASKED["messages"]).json()
    prompt = says.template.prompt([Message.user("x")])
    assert first["message"]["usage"]["input_tokens"] == count["input_tokens"] == len(prompt)


def test_the_sdk_counts_tools_and_system_too(client: Anthropic, says: Says) -> None:
    tools: Any = [WEATHER]
    count = client.messages.count_tokens(
        model="scripted", messages=ASKED["messages"], tools=tools, system="Sit."
    )
    prompt = says.template.prompt([Message.system("Sit."), Message.user("x")], [TOOL])
    assert count.input_tokens == len(prompt)


def test_the_reason_to_stop_is_told(app: FastAPI, says: Says) -> None:
    says.chat(Message.assistant("the cat sat on the mat"))
    message = said(app, stop_sequences=["mat", "sat", "on"])
    assert (message.stop_reason, message.stop_sequence, message.content[0].text) == (
        "stop_sequence",
        "sat",
        "the cat ",
    )
    *_, delta, _ = stream(app, stop_sequences=["mat", "sat", "on"])
    assert delta["delta"] == {"stop_reason": "stop_sequence", "stop_sequence": "sat"}
    assert said(app, max_tokens=2).stop_reason == "max_tokens"
    says.text("the cat " * CONTEXT)
    assert said(app, max_tokens=10 * CONTEXT).stop_reason == "model_context_window_exceeded"


def test_a_failure_after_the_first_word_is_an_event(
    app: FastAPI, says: Says, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*args: Any, **more: Any) -> Any:
        async for event in reply(*args, **more):
            yield event
            raise ValueError("inside")

    monkeypatch.setattr(routes, "reply", broken)
    says.chat(Message.assistant("the cat sat"))
    *_, last = named_events(post(app, "/v1/messages", stream=True, **ASKED))
    assert (
        last["type"] == "error"
        and last["error"]["type"] == "api_error"
        and "inside" not in last["error"]["message"]
    )


# What is read


def test_a_message_comes_back_as_it_was(client: Anthropic, says: Says) -> None:
    reply = Message.assistant("the mat", reasoning="two cats", tool_calls=[CALL])
    says.chat(reply, Message.assistant("sunny"))
    tools: Any = [WEATHER]
    asked: dict[str, Any] = {"model": "scripted", "tools": tools, "max_tokens": 64}
    first = client.messages.create(messages=ASKED["messages"], **asked)
    result = {"type": "tool_result", "tool_use_id": CALL.id, "content": [{"type": "text", "text": "sun"}]}
    turns: Any = [
        *ASKED["messages"],
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": [result, {"type": "text", "text": "And?"}]},
    ]
    client.messages.create(messages=turns, **asked)
    talk = [Message.user("x"), reply, Message.tool("sun", CALL.id), Message.user("And?")]
    assert list(says.requests[-1].token_ids) == says.template.prompt(talk, [TOOL])


@given(conversations)
def test_blocks_hold_all_of_a_conversation(conversation: Any) -> None:
    for message in conversation.messages:
        wire = {
            "role": "user" if message.role == "tool" else message.role,
            "content": list(to_blocks(message)),
        }
        read = InputMessage.model_validate(wire).messages()
        assert [loose(m) for m in read] == [loose(message)]


def loose(message: Message) -> dict[str, Any]:
    """The message with the arguments of its calls as values: JSON has many layouts."""
    wire = message.to_openai()
    for call in wire.get("tool_calls", ()):
        call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return wire


def to_blocks(message: Message) -> Iterator[dict[str, Any]]:
    """A message as the blocks that Anthropic would make of it."""
    if message.role == "tool":
        wire = message.to_openai()
        yield {"type": "tool_result", "tool_use_id": wire["tool_call_id"], "content": wire["content"]}
        return
    if message.reasoning:
        yield {"type": "thinking", "thinking": message.reasoning, "signature": ""}
    if message.text:
        yield {"type": "text", "text": message.text}
    for call in message.tool_calls:
        yield {"type": "tool_use", "id": call.id, "name": call.name, "input": json.loads(call.arguments)}


def test_a_result_that_is_an_error_says_so(app: FastAPI, says: Says) -> None:
    result = {"type": "tool_result", "tool_use_id": "a", "content": "no lake", "is_error": True}
    call = {"type": "tool_use", "id": "a", "name": "weather", "input": {}}
    turns = [
        *ASKED["messages"],
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    said(app, messages=turns)
    assert "error: no lake" in says.tokenizer.decode(says.requests[-1].token_ids)


def test_what_the_assistant_began_is_gone_on_with(app: FastAPI, says: Says) -> None:
    says.text("mat")
    message = said(app, messages=[*ASKED["messages"], {"role": "assistant", "content": "the "}])
    assert message.content[0].text == "mat"
    prompt = says.template.prompt([Message.user("x"), Message.assistant("the")], continue_final=True)
    assert list(says.requests[-1].token_ids) == prompt


def test_system_blocks_and_roles_are_read(app: FastAPI, says: Says) -> None:
    system = [
        {"type": "text", "text": "Be ", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "brief."},
    ]
    said(app, system=system, messages=[*ASKED["messages"], {"role": "system", "content": "Now."}])
    talk = [Message.system("Be brief."), Message.user("x"), Message.system("Now.")]
    assert list(says.requests[-1].token_ids) == says.template.prompt(talk)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"container": "c"}, "container"),
        ({"thread": {}}, "the whole conversation"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "document"}]}]}, "messages[0].content[0]': its type"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [{"type": "thinking", "thinking": "x"}]}]}, "messages[0]: a user"),
        ({"messages": [{"role": "user", "content": 5}]}, "a string or a list"),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "no tools of this type"),
        ({"tools": [WEATHER, WEATHER]}, "same name"),
        ({"tool_choice": {"type": "any"}}, "'tools' are given"),
        ({"tools": [WEATHER], "tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "x"}}, "no tool 'x'"),
        ({"tools": [WEATHER], "tool_choice": {"type": "auto", "name": "weather"}}, "tool_choice.name"),
        ({"thinking": {"type": "enabled"}}, "budget_tokens"),
        ({"thinking": {"type": "adaptive", "budget_tokens": 9}}, "budget_tokens"),
        ({"thinking": {"type": "adaptive", "display": "omitted"}}, "as they are"),
        ({"service_tier": "priority"}, "there is but one"),
        ({"stop_sequences": [""]}, "stop_sequences[0]"),
        ({"temperature": "1"}, "temperature"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_by_name(app: FastAPI, body: dict[str, Any], words: str) -> None:
    assert words in refused(app, **body)


def test_failures_come_in_the_sdk_s_own_classes(client: Anthropic, says: Says) -> None:
    with pytest.raises(NotFoundError) as missing:
        client.messages.create(model="claude-9", **ASKED)
    envelope = AnthropicFailureEnvelope.model_validate(missing.value.body)
    assert envelope.error.type == "not_found_error" and "claude-9" in envelope.error.message
    with pytest.raises(BadRequestError, match="maximum context length"):
        client.messages.create(
            model="scripted", max_tokens=9, messages=[{"role": "user", "content": "cat " * 9999}]
        )
    with pytest.raises(APIStatusError, match="known are 2023-06-01"):
        client.messages.create(model="scripted", extra_headers={"anthropic-version": "2019-01-01"}, **ASKED)
    assert client.messages.create(
        model="scripted", extra_headers={"anthropic-version": VERSIONS[0]}, **ASKED
    ).id


def test_routes_and_methods_fail_in_the_same_envelope(app: FastAPI) -> None:
    for path, method, status in (("/v1/messages/batches", "POST", 404), ("/v1/messages", "GET", 405)):
        response = ask(app, path, method=method)
        assert response.status_code == status
        AnthropicFailureEnvelope.model_validate(response.json())


def test_tools_are_forced_forbidden_or_one_by_one(app: FastAPI, says: Says) -> None:
    calls = Message.assistant(tool_calls=[CALL, ToolCall("call_1", "weather", "{}")])
    says.chat(calls)
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    assert len(said(app, tools=[WEATHER], tool_choice=choice).content) == 1
    assert len(said(app, tools=[WEATHER], tool_choice={"type": "auto"}).content) == 2
    says.chat(Message.assistant("5"))
    said(app, tools=[WEATHER], tool_choice={"type": "none"})
    assert "weather" not in says.tokenizer.decode(says.requests[-1].token_ids)
    said(app, tools=[WEATHER], tool_choice={"type": "any"})
    assert says.requests[-1].grammar is not None


def test_thoughts_stay_within_their_budget(client: Anthropic, says: Says) -> None:
    says.chat(Message.assistant("the mat", reasoning="two and three are 5"))
    thinking: Any = {"type": "enabled", "budget_tokens": 2}
    message = client.messages.create(model="scripted", thinking=thinking, **ASKED)
    assert message.content[0].type == "thinking"
    assert len(says.tokenizer.encode(message.content[0].thinking)) <= 2


def test_a_schema_is_held_to(client: Anthropic) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "boolean"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    form: Any = {"format": {"type": "json_schema", "schema": schema}}
    message = client.messages.create(model="tiny", output_config=form, **{**ASKED, "max_tokens": 200})
    [block] = message.content
    assert message.stop_reason == "end_turn" and block.type == "text"
    assert isinstance(json.loads(block.text)["a"], bool)
