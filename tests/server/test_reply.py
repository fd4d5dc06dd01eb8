"""A chat job becomes events: what is said, the calls of the client's tools, the model's own tools unseen."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from liaoliao.engine.request import SamplingParams
from liaoliao.errors import RequestError, TemplateError
from liaoliao.messages import Message, ToolCall
from liaoliao.server.failures import ApiError
from liaoliao.server.reply import (
    ChatJob,
    ReplyDone,
    ReplyEvent,
    ReplyReasoning,
    ReplyText,
    ReplyToolCall,
    Usage,
    reply,
)
from liaoliao.server.served import ServedModel
from liaoliao.text.chat_template import JinjaTemplate
from tests.server.conftest import CALCULATOR, CONTEXT, Says

QUESTION = (Message.user("two and three"),)
GREEDY = SamplingParams(temperature=0.0)
CALL = ToolCall("call_0", "calculator", '{"expression": "2+3"}')
OPENS_REASONING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n<think>\n"
)


def events_of(served: ServedModel, job: ChatJob, **more: Any) -> list[ReplyEvent]:
    async def collect() -> list[ReplyEvent]:
        return [event async for event in reply(served, job, **more)]

    return asyncio.run(collect())


def done_of(events: list[ReplyEvent]) -> ReplyDone:
    done = events[-1]
    assert isinstance(done, ReplyDone) and not any(isinstance(event, ReplyDone) for event in events[:-1])
    return done


def test_words_and_thoughts(served: ServedModel, says: Says) -> None:
    says.chat(Message.assistant("the cat 猫鑫", reasoning="two and"))
    charged: list[int] = []
    events = events_of(served, ChatJob(QUESTION, params=GREEDY), charge=charged.append)
    done = done_of(events)
    assert (
        done.message == Message.assistant("the cat 猫鑫", reasoning="two and")
        and done.finish_reason == "stop"
    )
    assert "".join(e.text for e in events if isinstance(e, ReplyText)) == "the cat 猫鑫"
    assert "".join(e.text for e in events if isinstance(e, ReplyReasoning)) == "two and"
    num_thought = len(says.tokenizer.encode("\ntwo and\n")) + 2
    assert (
        done.usage.completion_tokens == len(says.replies[0]) == sum(charged) - len(says.requests[0].token_ids)
    )
    assert done.usage.prompt_tokens == len(says.requests[0].token_ids)
    assert done.usage.reasoning_tokens == num_thought


def test_a_second_time_the_prompt_is_cached(served: ServedModel, says: Says) -> None:
    says.chat(Message.assistant("5"))
    job = ChatJob((Message.user("the cat sat on the mat " * 5),), params=GREEDY)
    first, second = done_of(events_of(served, job)).usage, done_of(events_of(served, job)).usage
    assert second.cached_tokens >= 16 and second == replace(first, cached_tokens=second.cached_tokens)


def test_calls_of_the_clients_tools_are_given_back(served: ServedModel, says: Says) -> None:
    says.chat(Message.assistant("the cat", tool_calls=(CALL, replace(CALL, id="call_1"))))
    events = events_of(served, ChatJob(QUESTION, tools=(CALCULATOR,), params=GREEDY))
    done = done_of(events)
    assert done.finish_reason == "tool_calls" and len(says.requests) == 1
    assert done.message.tool_calls == (CALL, replace(CALL, id="call_1"))
    pieces = [event for event in events if isinstance(event, ReplyToolCall)]
    for index, call in enumerate(done.message.tool_calls):
        head, *rest = [piece for piece in pieces if piece.index == index]
        assert head == ReplyToolCall(index, call.id, call.name, "")
        assert "".join(piece.arguments_delta for piece in rest) == call.arguments


def test_one_call_ends_the_reply(served: ServedModel, says: Says) -> None:
    says.chat(Message.assistant("", tool_calls=(CALL, replace(CALL, id="call_1"))))
    done = done_of(events_of(served, ChatJob(QUESTION, tools=(CALCULATOR,), params=GREEDY, one_call=True)))
    assert done.message.tool_calls == (CALL,) and done.finish_reason == "tool_calls"


def test_the_models_own_tools_are_run_unseen(served: ServedModel, says: Says) -> None:
    says.chat(Message.assistant("", tool_calls=(CALL,)), Message.assistant("5"))
    events = events_of(served, ChatJob(QUESTION, params=GREEDY, logprobs=True))
    assert not any(isinstance(event, ReplyToolCall) for event in events)
    done = done_of(events)
    assert done.message == Message.assistant("5") and done.finish_reason == "stop"
    result = Message.tool(CALL.arguments[::-1], "call_0")
    second = says.template.prompt([*QUESTION, Message.assistant("", tool_calls=(CALL,)), result])
    assert says.requests[1].token_ids == tuple(second)
    made = sum(len(reply) for reply in says.replies)
    assert done.usage == Usage(len(says.requests[0].token_ids), made, done.usage.cached_tokens)


def test_max_tokens_holds_for_all_rounds_together(served: ServedModel, says: Says) -> None:
    says.chat(Message.assistant("", tool_calls=(CALL,)), Message.assistant("the cat sat on the mat"))
    first = len(says.replies[0])
    for room in (0, 2):
        says.requests.clear()
        params = replace(GREEDY, max_tokens=first + room)
        done = done_of(events_of(served, ChatJob(QUESTION, params=params)))
        assert done.finish_reason == "length" and done.usage.completion_tokens == first + room
        assert len(says.requests) == (2 if room else 1)


def test_a_tool_that_says_too_much_ends_the_reply(served: ServedModel, says: Says) -> None:
    long = replace(CALL, arguments='{"expression": "' + "12" * 150 + '"}')
    says.chat(Message.assistant("the cat", tool_calls=(long,)))
    done = done_of(events_of(served, ChatJob(QUESTION, params=GREEDY)))
    assert done.finish_reason == "length" and done.message == Message.assistant("the cat")


def test_without_calls_the_mark_is_barred(served: ServedModel, says: Says) -> None:
    says.chat(Message.assistant("", tool_calls=(CALL,)))
    events = events_of(served, ChatJob(QUESTION, params=replace(GREEDY, max_tokens=4), allow_calls=False))
    assert not any(isinstance(event, ReplyToolCall) for event in events) and len(says.requests) == 1
    assert dict(says.requests[0].params.logit_bias) == {says.tokenizer.special_id("<tool_call>"): -100.0}
    assert done_of(events).finish_reason == "length"


def test_thinking_is_switched_off(served: ServedModel, says: Says) -> None:
    says.chat(Message.assistant("5", reasoning="two"))
    job = ChatJob(QUESTION, params=replace(GREEDY, max_tokens=5), template_options={"enable_thinking": False})
    events = events_of(served, job)
    assert not any(isinstance(event, ReplyReasoning) for event in events)
    switched_on = replace(job, template_options={"enable_thinking": True})
    assert any(isinstance(event, ReplyReasoning) for event in events_of(served, switched_on))
    with pytest.raises(TemplateError, match="no option 'colour'"):
        events_of(served, replace(job, template_options={"colour": "red"}))
    with pytest.raises(RequestError, match="true or false"):
        events_of(served, replace(job, template_options={"enable_thinking": "no"}))


def test_a_template_that_always_opens_the_reasoning(served: ServedModel, says: Says) -> None:
    thinks = replace(served, template=JinjaTemplate(says.tokenizer, OPENS_REASONING))
    close = says.tokenizer.special_id("</think>")
    ids = [*says.tokenizer.encode("two\n"), close, *says.tokenizer.encode("\n\n5")]
    says.ids(ids)
    done = done_of(events_of(thinks, ChatJob(QUESTION, params=GREEDY)))
    assert done.message == Message.assistant("5", reasoning="two")
    assert done.usage.reasoning_tokens == ids.index(close) + 1
    with pytest.raises(TemplateError, match="think before every reply"):
        events_of(thinks, ChatJob(QUESTION, template_options={"enable_thinking": False}))


def test_the_last_message_is_continued(served: ServedModel, says: Says) -> None:
    talk = (*QUESTION, Message.assistant("the cat"))
    says.text(" sat on")
    done = done_of(events_of(served, ChatJob(talk, params=GREEDY, continue_final=True)))
    assert done.message == Message.assistant(" sat on")
    whole = says.template.render(talk).token_ids
    assert list(says.requests[0].token_ids) == whole[: len(says.requests[0].token_ids)]
    assert says.tokenizer.decode(says.requests[0].token_ids).endswith("<|im_start|>assistant\nthe cat")


def test_logprobs_add_up_to_the_text(served: ServedModel, says: Says) -> None:
    says.chat(Message.assistant("the cat 鑫 sat", reasoning="the"))
    job = ChatJob(QUESTION, params=replace(GREEDY, logprobs=3), logprobs=True, stop=("at",))
    events = events_of(served, job)
    tokens = [token for event in events if isinstance(event, ReplyText) for token in event.logprobs]
    said = "".join(event.text for event in events if isinstance(event, ReplyText))
    assert said == "the c" and b"".join(token.bytes for token in tokens) == said.encode()
    assert all(len(token.top) == 3 and token.top[0][1].startswith(token.bytes) for token in tokens)
    assert all(token.top[0][2] == pytest.approx(token.logprob) for token in tokens)


def test_a_prompt_beyond_all_hope_is_not_even_tokenized(
    served: ServedModel, says: Says, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: object) -> None:
        raise AssertionError("the text was tokenized")

    monkeypatch.setattr(type(served.tokenizer), "encode", never)
    size = CONTEXT * served.tokenizer.max_token_bytes
    with pytest.raises(ApiError, match=f"at least {CONTEXT + 1} tokens") as caught:
        events_of(served, ChatJob((Message.user("x" * size),)))
    assert caught.value.code == "context_length_exceeded" and not says.requests


def test_closing_it_frees_the_engine(served: ServedModel, says: Says) -> None:
    says.chat(Message.assistant("the cat " * 40))

    async def leave() -> None:
        events = reply(served, ChatJob(QUESTION, params=GREEDY))
        await anext(events)
        await events.aclose()
        for _ in range(500):
            if served.engine.stats().num_running == 0:
                return
            await asyncio.sleep(0.005)
        raise AssertionError("the engine still works for a reader who has left")

    asyncio.run(leave())


def test_an_opening_is_said_as_if_it_were_made(served: ServedModel, says: Says) -> None:
    says.chat(Message.assistant("the cat 猫鑫 sat", reasoning="two and"))
    whole = done_of(events_of(served, ChatJob(QUESTION, params=GREEDY)))
    made, prompt = tuple(says.replies[0][:-1]), says.requests[0].token_ids
    assert whole.token_ids == made and whole.num_rounds == 1
    for size in range(1, len(made) + 1):
        says.ids(made[size:])
        heard: list[int] = []
        job = ChatJob(QUESTION, params=replace(GREEDY, max_tokens=len(made) - size + 1), opening=made[:size])
        events = events_of(served, job, on_token=heard.append)
        done = done_of(events)
        assert says.requests[0].token_ids == (*prompt, *made[:size])
        assert done.message == whole.message and done.finish_reason == "stop" and done.token_ids == made
        assert "".join(e.text for e in events if isinstance(e, ReplyText)) == done.message.text
        assert done.usage.completion_tokens == len(made) - size + 1
        assert tuple(heard[:-1]) == made and heard[-1] in says.template.stop_ids


def test_an_opening_through_the_models_own_tools(served: ServedModel, says: Says) -> None:
    replies = Message.assistant("let me", tool_calls=(CALL,)), Message.assistant("5")
    says.chat(*replies)
    whole = done_of(events_of(served, ChatJob(QUESTION, params=GREEDY)))
    first, second = says.replies
    assert whole.token_ids == (*first, *second[:-1]) and whole.num_rounds == 2
    last_prompt = says.requests[1].token_ids
    says.ids([])
    done = done_of(events_of(served, ChatJob(QUESTION, params=GREEDY, opening=whole.token_ids)))
    assert done.message == whole.message and done.num_rounds == 2 and done.token_ids == whole.token_ids
    assert [request.token_ids for request in says.requests] == [(*last_prompt, *second[:-1])]


def test_an_opening_that_ends_the_reply_asks_nothing_of_the_engine(served: ServedModel, says: Says) -> None:
    says.chat(Message.assistant("the cat"))
    ids = tuple(says.replies[0])
    events = events_of(served, ChatJob(QUESTION, params=GREEDY, opening=ids))
    done = done_of(events)
    assert done.message == Message.assistant("the cat") and done.finish_reason == "stop"
    assert not says.requests and done.usage == Usage(0, 0) and done.token_ids == ids[:-1]
    assert "".join(event.text for event in events if isinstance(event, ReplyText)) == "the cat"


def test_what_no_reply_can_open_with(served: ServedModel, says: Says) -> None:
    for job, words in (
        (ChatJob(QUESTION, opening=(served.engine.vocab_size,)), "beyond the vocabulary"),
        (ChatJob(QUESTION, opening=(5,), logprobs=True), "not sampled"),
        (ChatJob(QUESTION, opening=(5,) * CONTEXT), str(CONTEXT)),
    ):
        with pytest.raises(RequestError, match=words):
            events_of(served, job)
