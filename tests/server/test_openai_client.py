"""The official openai client over loopback, against a real model: what it sends is understood, what it gets parses."""

from collections.abc import Iterator

import openai
import pytest
from openai import OpenAI

from liaoliao.chat.assistant import Assistant, load
from liaoliao.messages import Message, ToolCall
from tests.server.conftest import Says

TALK: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "the cat"}]


@pytest.fixture(scope="module")
def client(server: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server}/v1", api_key="none", max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def assistant(model_folder: str) -> Assistant:
    return load(model_folder, dtype="fp32")


def test_a_chat_is_what_the_assistant_says(client: OpenAI, assistant: Assistant) -> None:
    for seed in (1, 2):
        said = client.chat.completions.create(model="tiny", messages=TALK, seed=seed, max_tokens=24)
        expected = assistant.chat("the cat", seed=seed, max_tokens=24)
        assert said.choices[0].message.content == expected.text and said.usage is not None
        assert said.usage.completion_tokens <= 24
        stream = client.chat.completions.create(
            model="tiny",
            messages=TALK,
            seed=seed,
            max_tokens=24,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = list(stream)
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == expected.text
        assert (
            chunks[-1].usage is not None
            and chunks[-1].usage.completion_tokens == said.usage.completion_tokens
        )


def test_logprobs_are_the_models(client: OpenAI, assistant: Assistant) -> None:
    said = client.chat.completions.create(
        model="tiny", messages=TALK, temperature=0, max_tokens=12, logprobs=True, top_logprobs=2
    )
    logprobs = said.choices[0].logprobs
    assert logprobs is not None and logprobs.content is not None
    assert (
        b"".join(bytes(t.bytes or []) for t in logprobs.content).decode() == said.choices[0].message.content
    )
    text = client.completions.create(model="tiny", prompt="the cat sat", max_tokens=0, echo=True, logprobs=1)
    told = text.choices[0].logprobs
    assert told is not None and told.token_logprobs is not None
    ids = assistant.tokenizer.encode("the cat sat")
    assert told.token_logprobs[1:] == pytest.approx(assistant.engine.score([ids])[0][1:], abs=1e-4)


def test_tools_and_parsed_formats(client: OpenAI, says: Says) -> None:
    says.chat(Message.assistant("", tool_calls=(ToolCall("call_0", "f", '{"x": 1}'),)))
    tools: list[openai.types.chat.ChatCompletionToolUnionParam] = [
        {"type": "function", "function": {"name": "f"}}
    ]
    with client.chat.completions.stream(model="scripted", messages=TALK, tools=tools) as stream:
        final = stream.get_final_completion()
    [call] = final.choices[0].message.tool_calls or []
    assert call.type == "function" and call.function.arguments == '{"x": 1}'
    assert final.choices[0].finish_reason == "tool_calls"
    again: list[openai.types.chat.ChatCompletionMessageParam] = [
        *TALK, final.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "5"}  # type: ignore[list-item]
    ]  # fmt: skip
    says.chat(Message.assistant("done"))
    assert (
        client.chat.completions.create(model="scripted", messages=again).choices[0].message.content == "done"
    )


def test_embeddings_by_the_clients_own_default(client: OpenAI) -> None:
    made = client.embeddings.create(model="tiny", input=["the cat", "the cat sat", "5 5 5"])
    first, second, third = (entry.embedding for entry in made.data)
    assert sum(x * x for x in first) == pytest.approx(1, abs=1e-4)
    near, far = (sum(x * y for x, y in zip(first, other, strict=True)) for other in (second, third))
    assert near > far


def test_errors_are_the_clients_own(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        client.chat.completions.create(model="gpt-9", messages=TALK)
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": "鑫" * 600}], stream=True
        )
    assert caught.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError, match="Unrecognized request argument supplied: colour"):
        client.chat.completions.create(model="tiny", messages=TALK, extra_body={"colour": "red"})
    assert client.models.retrieve("tiny").id == "tiny"
    assert [model.id for model in client.models.list()] == ["tiny", "scripted"]


def test_a_stream_that_is_left_frees_the_engine(client: OpenAI, says: Says, served: object) -> None:
    says.text("the cat " * 100)
    stream = client.chat.completions.create(model="scripted", messages=TALK, stream=True)
    next(iter(stream))
    stream.close()
    engine = getattr(served, "engine")  # noqa: B009
    from tests.server.plain import until

    until(lambda: engine.stats().num_running == 0)
