"""/v1/responses against the official SDK: every event one that it knows, and the stream adding up to the whole."""

import json
from collections.abc import Iterator
from typing import Any, Literal

import pydantic
import pytest
from fastapi import FastAPI
from hypothesis import given
from openai import BadRequestError, NotFoundError, OpenAI
from openai.types.responses import Response, ResponseStreamEvent

from liaoliao.messages import Message, Tool, ToolCall
from liaoliao.server.failures import ApiError
from liaoliao.server.reply import ChatJob, ReplyText, prompt_ids
from liaoliao.server.response_events import ResponseWriter
from liaoliao.server.response_items import Input, read_input
from liaoliao.server.response_shapes import ResponseShape
from liaoliao.server.responses import fitted
from liaoliao.server.served import ServedModel
from tests.server.conftest import CONTEXT, Says, failure, post
from tests.server.sdk import known, named_events
from tests.text.strategies import conversations

EVENT: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(ResponseStreamEvent)
RESPONSE: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(Response)
MORE = ("store", "bytes", "name")  # OpenAI sends these, though its SDK does not list them (everywhere)
WEATHER: dict[str, Any] = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a place.",
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
}
CALL = ToolCall("call_0", "weather", '{"place": "lake"}')


@pytest.fixture(scope="module")
def client(server: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server}/v1", api_key="none", max_retries=0) as client:
        yield client


def stream(app: FastAPI, **body: Any) -> list[dict[str, Any]]:
    """The events of a stream, each as the SDK knows it, with its number."""
    events = named_events(post(app, "/v1/responses", stream=True, **body))
    for event in events:
        known(EVENT, event, more=MORE)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two responses say the same, though each item and the response itself has its own id and time."""

    def bare(response: dict[str, Any]) -> dict[str, Any]:
        output = [{**item, "id": ""} for item in response["output"]]
        usage = {**response["usage"], "input_tokens_details": {}}  # the second time more is cached
        return {**response, "id": "", "created_at": 0, "completed_at": 0, "output": output, "usage": usage}

    return bare(one) == bare(other)


# What is answered


def test_words_are_answered_with_words(client: OpenAI, says: Says) -> None:
    says.chat(Message.assistant("the cat"))
    response = client.responses.create(
        model="scripted",
        input="猫?",
        instructions="Be brief.",
        temperature=0.0,
        metadata={"a": "b"},
        max_output_tokens=9,
    )
    assert (response.output_text, response.status, response.model) == ("the cat", "completed", "scripted")
    assert (response.instructions, response.metadata, response.max_output_tokens) == (
        "Be brief.",
        {"a": "b"},
        9,
    )
    prompt = says.template.prompt([Message.system("Be brief."), Message.user("猫?")])
    assert list(says.requests[-1].token_ids) == prompt
    assert response.usage is not None and response.usage.input_tokens == len(prompt)
    assert response.usage.output_tokens == len(says.tokenizer.encode("the cat")) + 1  # and the end
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens


def test_a_response_is_what_the_sdk_and_our_schema_say(app: FastAPI, says: Says) -> None:
    says.chat(Message.assistant("the mat", reasoning="two cats", tool_calls=[CALL]))
    body = post(
        app, "/v1/responses", input="x", tools=[WEATHER], include=["message.output_text.logprobs"]
    ).json()
    response = known(RESPONSE, body, more=MORE)
    ResponseShape.model_validate(body)
    assert [item.type for item in response.output] == ["reasoning", "message", "function_call"]
    assert [item.status for item in response.output] == ["completed"] * 3
    assert response.output[0].content[0].text == "two cats"
    call = response.output[2]
    assert (call.call_id, call.name, call.arguments) == (CALL.id, CALL.name, CALL.arguments)


def test_the_events_of_reasoning_words_and_a_call_come_in_their_order(app: FastAPI, says: Says) -> None:
    says.chat(Message.assistant("the mat", reasoning="two", tool_calls=[CALL]))
    events = stream(app, input="x", tools=[WEATHER])
    kinds = [event["type"].removeprefix("response.") for event in events]
    assert [kind for i, kind in enumerate(kinds) if kinds[i - 1 : i] != [kind]] == [
        "created", "in_progress",
        "output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.done", "content_part.done",
        "output_item.done",
        "output_item.added", "content_part.added", "output_text.delta", "output_text.done", "content_part.done",
        "output_item.done",
        "output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done",
        "completed",
    ]  # fmt: skip
    added = {e["output_index"]: e["item"]["id"] for e in events if e["type"] == "response.output_item.added"}
    assert all(added[e["output_index"]] == e["item_id"] for e in events if "item_id" in e)
    assert [item["id"] for item in events[-1]["response"]["output"]] == list(added.values())
    assert events[0]["response"]["output"] == [] and events[0]["response"]["status"] == "in_progress"


@pytest.mark.parametrize(
    "reply",
    [
        Message.assistant("the cat sat on the mat"),
        Message.assistant("猫坐在垫子上", reasoning="你好"),
        Message.assistant(tool_calls=[CALL, ToolCall("call_1", "weather", "{}")]),
        Message.assistant(),
    ],
)
def test_a_stream_adds_up_to_the_whole(client: OpenAI, says: Says, reply: Message) -> None:
    says.chat(reply)
    asked: dict[str, Any] = {"model": "scripted", "input": "x", "tools": [WEATHER], "temperature": 0.0}
    whole = client.responses.create(**asked)
    texts: dict[tuple[int, str], str] = {}
    with client.responses.stream(**asked) as events:
        for event in events:
            collect(texts, event)
        final = events.get_final_response()
    assert same(final.to_dict() | {"output": dumped(final)}, whole.to_dict() | {"output": dumped(whole)})
    assert texts.get((0, "arguments"), "") == (reply.tool_calls[0].arguments if reply.tool_calls else "")
    assert (
        "".join(text for (_, kind), text in texts.items() if kind == "text")
        == reply.text
        == whole.output_text
    )


def collect(texts: dict[tuple[int, str], str], event: Any) -> None:
    """Add what a delta brings; the SDK's own snapshot must be the same."""
    if event.type == "response.output_text.delta":
        place = (event.output_index, "text")
    elif event.type == "response.function_call_arguments.delta":
        place = (event.output_index, "arguments")
    else:
        return
    texts[place] = texts.get(place, "") + event.delta
    assert texts[place] == event.snapshot


def dumped(response: Any) -> list[dict[str, Any]]:
    """The output without what the SDK's stream helper adds to it."""
    items = [item.to_dict() for item in response.output]
    for item in items:
        item.pop("parsed_arguments", None)
        for part in item.get("content", ()):
            part.pop("parsed", None)
    return items


def test_a_real_model_says_the_same_streamed_and_whole(client: OpenAI) -> None:
    asked: dict[str, Any] = {"model": "tiny", "input": "the cat", "seed": 3, "max_output_tokens": 12}
    asked["extra_body"] = {"seed": asked.pop("seed")}
    whole = client.responses.create(**asked)
    *_, last = client.responses.create(**asked, stream=True)
    assert last.type in ("response.completed", "response.incomplete")
    assert same(last.response.to_dict(), whole.to_dict()) and whole.usage is not None


def test_a_reply_cut_short_is_incomplete(app: FastAPI, says: Says) -> None:
    says.chat(Message.assistant("the cat sat on the mat"))
    *_, item, last = stream(app, input="x", max_output_tokens=2)
    assert last["type"] == "response.incomplete" and item["item"]["status"] == "incomplete"
    assert last["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert last["response"]["status"] == "incomplete" and last["response"]["completed_at"] is None


def test_logprobs_spell_the_text(app: FastAPI, says: Says) -> None:
    says.chat(Message.assistant("the cat 猫"))
    events = stream(app, input="x", top_logprobs=2, include=["message.output_text.logprobs"])
    part = events[-1]["response"]["output"][0]["content"][0]
    assert (
        bytes(b for token in part["logprobs"] for b in token["bytes"]).decode()
        == part["text"]
        == "the cat 猫"
    )
    assert all(len(token["top_logprobs"]) == 2 for token in part["logprobs"])
    deltas = [event for event in events if event["type"] == "response.output_text.delta"]
    assert [token for event in deltas for token in event["logprobs"]] == part["logprobs"]


def test_a_failure_in_mid_stream_is_an_event(app: FastAPI, served: ServedModel) -> None:
    writer = ResponseWriter({"id": "resp_1", "output": []})
    told = [*writer.begin(), *writer.feed(ReplyText("half")), *writer.fail(ApiError("lost", status=500))]
    assert told[-1]["type"] == "response.failed"
    assert told[-1]["response"]["error"] == {"code": "server_error", "message": "lost"}
    assert told[-1]["response"]["output"][0]["status"] == "incomplete"
    early = ResponseWriter({"id": "resp_1"}).fail(ApiError("bad"))
    assert [event["type"] for event in early] == [
        "response.created",
        "response.in_progress",
        "response.failed",
    ]


# What is read


def test_an_output_comes_back_as_the_message_that_it_was(client: OpenAI, says: Says) -> None:
    reply = Message.assistant("the mat", reasoning="two cats", tool_calls=[CALL])
    says.chat(reply, Message.assistant("sunny"))
    tools: Any = [WEATHER]
    first = client.responses.create(model="scripted", input="x", tools=tools)
    result = {"type": "function_call_output", "call_id": CALL.id, "output": "sun"}
    items: Any = [{"role": "user", "content": "x"}, *first.output, result]
    second = client.responses.create(model="scripted", input=items, tools=tools)
    assert second.output_text == "sunny"
    talk = [Message.user("x"), reply, Message.tool("sun", CALL.id)]
    tool = Tool("weather", "The weather of a place.", WEATHER["parameters"])
    assert list(says.requests[-1].token_ids) == says.template.prompt(talk, [tool])


@given(conversations)
def test_items_hold_all_of_a_conversation(conversation: Any) -> None:
    items = [item for message in conversation.messages for item in to_items(message)]
    if not items:
        return
    read = read_input(pydantic.TypeAdapter(Input).validate_python(items))
    assert [m.to_openai() for m in read] == [m.to_openai() for m in merged(conversation.messages)]


def to_items(message: Message) -> Iterator[dict[str, Any]]:
    """A message as the items that OpenAI would make of it."""
    if message.role == "tool":
        [wire] = [message.to_openai()]
        yield {"type": "function_call_output", "call_id": wire["tool_call_id"], "output": wire["content"]}
        return
    if message.reasoning:
        yield {
            "type": "reasoning",
            "content": [{"type": "reasoning_text", "text": message.reasoning}],
            "summary": [],
        }
    if message.text or message.role != "assistant":
        part = {"type": "output_text" if message.role == "assistant" else "input_text", "text": message.text}
        yield {"type": "message", "role": message.role, "content": [part]}
    for call in message.tool_calls:
        yield {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments}


def merged(messages: tuple[Message, ...]) -> Iterator[Message]:
    """Neighbouring assistant messages whose items cannot be told apart from those of one, as one."""
    kinds = {"reasoning": 0, "text": 1, "call": 2}
    said: list[Message] = []
    for message in messages:
        if message.role == "assistant" and not message.parts:
            continue  # it leaves no item
        before = said[-1] if said else None
        if before and before.role == message.role == "assistant":
            last = kinds["call" if before.tool_calls else "text" if before.text else "reasoning"]
            first = kinds["reasoning" if message.reasoning else "text" if message.text else "call"]
            if first > last or first == last != kinds["text"]:
                said[-1] = Message("assistant", (*before.parts, *message.parts))
                continue
        said.append(message)
    yield from said


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id", "nothing is stored"),
        ({"conversation": "conv_1"}, "conversation", "nothing is stored"),
        ({"store": True}, "store", "nothing is stored"),
        ({"background": True}, "background", "while one waits"),
        ({"n": 2}, "n", "one reply"),
        ({"instructons": "x"}, "instructons", "Unrecognized"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type", "function"),
        ({"text": {"verbosity": "low"}}, "text.verbosity", "no model here"),
        ({"text": {"format": {"type": "xml"}}}, "text.format", "known are text, json_object, json_schema"),
        ({"reasoning": {"summary": "detailed"}}, "reasoning.summary", "in full"),
        ({"include": ["file_search_call.results"]}, "include[0]", "logprobs"),
        ({"stream_options": {"include_obfuscation": False}}, "stream_options", "'stream'"),
        ({"tool_choice": "required"}, "tool_choice", "'tools' are given"),
        ({"tool_choice": {"type": "file_search"}}, "tool_choice", "known are"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "name": "x"}}, "tool_choice", "no tool 'x'"),
        ({"input": []}, "input", "at least 1"),
        ({"input": 5}, "input", "a string or a list"),
        ({"input": [{"type": "item_reference", "id": "a"}]}, "input[0]", "known are message, function_call"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input[0].content[0]", "known are"),
        ({"input": [{"role": "user", "content": "a"}, {"role": "x", "content": "a"}]}, "input[1].role", "user"),
        ({"input": [{"type": "reasoning", "summary": [], "encrypted_content": "z"}]}, "input[0].encrypted_content", "read"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "http://x"}]}]}, "input[0]", "data"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_by_name(
    app: FastAPI, body: dict[str, Any], param: str, words: str
) -> None:
    response = post(app, "/v1/responses", **{"input": "x", **body})
    error = failure(response)
    assert response.status_code == 400 and error["param"] == param and words in error["message"]


def test_what_says_nothing_to_the_model_is_accepted(client: OpenAI, says: Says) -> None:
    says.chat(Message.assistant("5"))
    response = client.responses.create(
        model="scripted", input="x", store=False, user="u", service_tier="auto", prompt_cache_key="k",
        safety_identifier="s", truncation="disabled", parallel_tool_calls=True,
        include=["reasoning.encrypted_content"], reasoning={"effort": "none", "summary": "auto"},
    )  # fmt: skip
    assert response.output_text == "5" and response.user == "u"


def test_tools_that_are_not_allowed_are_not_offered(app: FastAPI, says: Says) -> None:
    other = {**WEATHER, "name": "other"}
    choice = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "weather"}]}
    says.chat(Message.assistant("5"))
    body = post(app, "/v1/responses", input="x", tools=[WEATHER, other], tool_choice=choice).json()
    prompt = says.tokenizer.decode(says.requests[-1].token_ids)
    assert '"weather"' in prompt and '"other"' not in prompt
    assert body["tool_choice"] == choice and [tool["name"] for tool in body["tools"]] == ["weather", "other"]


def test_one_call_is_enough_without_parallel_calls(app: FastAPI, says: Says) -> None:
    says.chat(Message.assistant(tool_calls=[CALL, ToolCall("call_1", "weather", "{}")]))
    body = post(app, "/v1/responses", input="x", tools=[WEATHER], parallel_tool_calls=False).json()
    assert [item["type"] for item in body["output"]] == ["function_call"]


def test_the_model_s_own_tools_stay_unseen(app: FastAPI, says: Says) -> None:
    says.chat(
        Message.assistant(tool_calls=[ToolCall("call_0", "calculator", "{}")]), Message.assistant("two")
    )
    body = post(app, "/v1/responses", input="x").json()
    assert [item["type"] for item in body["output"]] == ["message"] and len(says.requests) == 2


def test_the_input_is_counted_as_it_is_read(client: OpenAI, says: Says) -> None:
    asked: dict[str, Any] = {
        "model": "scripted",
        "input": "the cat",
        "tools": [WEATHER],
        "instructions": "Sit.",
    }
    usage = client.responses.create(**asked).usage
    assert (
        usage is not None and client.responses.input_tokens.count(**asked).input_tokens == usage.input_tokens
    )


def test_too_long_an_input_is_refused_or_truncated(client: OpenAI, says: Says) -> None:
    says.chat(Message.assistant("5"))
    turns: Any = [
        {"role": "user", "content": f"{i} the cat sat on the mat " * 4} for i in range(CONTEXT // 16)
    ]
    with pytest.raises(BadRequestError) as caught:
        client.responses.create(model="scripted", input=turns)
    assert caught.value.code == "context_length_exceeded"
    response = client.responses.create(model="scripted", input=turns, instructions="Sit.", truncation="auto")
    prompt = says.tokenizer.decode(says.requests[-1].token_ids)
    assert response.status == "completed" and "Sit." in prompt and turns[-1]["content"].strip() in prompt


def test_truncation_drops_no_more_than_it_must(served: ServedModel) -> None:
    messages = tuple(Message.user(f"{i} the cat sat on the mat") for i in range(100))
    job = fitted(served, ChatJob(messages))
    assert job.messages == messages[-len(job.messages) :]
    room = CONTEXT - CONTEXT // 4
    longer = ChatJob(messages[-len(job.messages) - 1 :])
    assert len(prompt_ids(served, job)) <= room < len(prompt_ids(served, longer))


def test_nothing_is_stored(client: OpenAI) -> None:
    with pytest.raises(NotFoundError, match="stores no responses"):
        client.responses.retrieve("resp_1")
    with pytest.raises(NotFoundError, match="does not exist"):
        client.responses.create(model="gpt-9", input="x")


class Answer(pydantic.BaseModel):
    a: bool
    name: Literal["x", "猫"]


def test_a_schema_is_held_to(client: OpenAI) -> None:
    for seed in range(4):
        response = client.responses.parse(
            model="tiny", input="x", text_format=Answer, max_output_tokens=100, extra_body={"seed": seed}
        )
        assert response.status == "completed" and isinstance(response.output_parsed, Answer)


def test_a_forced_call_is_made(client: OpenAI) -> None:
    place = {"type": "string", "maxLength": 8}
    schema = {
        "type": "object",
        "properties": {"place": place},
        "required": ["place"],
        "additionalProperties": False,
    }
    asked: dict[str, Any] = {
        "model": "tiny", "input": "x", "tools": [{**WEATHER, "parameters": schema}], "temperature": 0.0,
        "max_output_tokens": 300, "parallel_tool_calls": False,
    }  # fmt: skip
    for choice in ("required", {"type": "function", "name": "weather"}):
        asked["tool_choice"] = choice
        [call] = client.responses.create(**asked).output
        assert call.type == "function_call" and isinstance(json.loads(call.arguments)["place"], str)
