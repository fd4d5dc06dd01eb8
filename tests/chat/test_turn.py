"""The turn as a state machine, the same through both drivers: replies, tools, stop strings, limits."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liaoliao.chat.drive import run, run_async, run_batch
from liaoliao.chat.stop import StopGate
from liaoliao.chat.tools import BoundTool, ToolBox
from liaoliao.chat.turn import ChatEvent, MessageDone, Turn
from liaoliao.engine import Engine
from liaoliao.engine.request import GrammarState, Request, SamplingParams, TokenEvent
from liaoliao.errors import RequestError
from liaoliao.messages import Message, Tool, ToolCall
from liaoliao.text.chat_template import ChatTemplate, JinjaTemplate
from liaoliao.text.parse import ReasoningDelta, TextDelta, ToolCallDelta
from liaoliao.text.tokenizer import Tokenizer
from tests.chat.conftest import Script, reply_ids
from tests.engine.fake_runner import FakeRunner

QUESTION = Message.user("2+3?")
CALL = ToolCall("call_0", "calculator", '{"expression": "2+3"}')


def reverse(arguments: str) -> str:
    return arguments[::-1]


BOX = ToolBox([BoundTool(Tool("calculator", "Sums.", {"type": "object", "properties": {}}), reverse)])


def said(events: list[ChatEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def test_a_plain_reply(tokenizer: Tokenizer, template: ChatTemplate) -> None:
    reply = Message.assistant("the cat 猫", reasoning="hm")
    turn, script = Turn([QUESTION], template, tokenizer), Script(template, [reply])
    events = list(run(turn, script, ToolBox()))
    assert events[-1] == MessageDone(reply, "stop") and said(events) == "the cat 猫"
    assert "".join(e.text for e in events if isinstance(e, ReasoningDelta)) == "hm"
    assert turn.done and turn.new_messages == (reply,) and turn.finish_reason == "stop"
    prompt = template.render([QUESTION], add_generation_prompt=True).token_ids
    assert script.requests == [Request(tuple(prompt), SamplingParams(stop_token_ids=template.stop_ids))]


def test_tools_are_run_and_answered(tokenizer: Tokenizer, template: ChatTemplate) -> None:
    first, last = Message.assistant("", tool_calls=(CALL,)), Message.assistant("5")
    turn, script = Turn([QUESTION], template, tokenizer), Script(template, [first, last])
    events = list(run(turn, script, BOX))
    result = Message.tool(reverse(CALL.arguments), "call_0")
    assert [e for e in events if isinstance(e, MessageDone)] == [
        MessageDone(first, "tool_calls"), MessageDone(result), MessageDone(last, "stop"),
    ]  # fmt: skip
    assert ToolCallDelta(0, CALL.id, CALL.name, CALL.arguments) in events
    assert turn.new_messages == (first, result, last)
    second = template.render([QUESTION, first, result], add_generation_prompt=True).token_ids
    assert script.requests[1].token_ids == tuple(second)


def test_call_ids_go_on_counting(tokenizer: Tokenizer, template: ChatTemplate) -> None:
    calls = Message.assistant("", tool_calls=(CALL, replace(CALL, id="call_1")))
    turn = Turn([QUESTION], template, tokenizer)
    list(run(turn, Script(template, [calls, calls, Message.assistant("5")]), BOX))
    assert [c.id for m in turn.messages for c in m.tool_calls] == ["call_0", "call_1", "call_2", "call_3"]


def test_rounds_of_tools_are_limited(tokenizer: Tokenizer, template: ChatTemplate) -> None:
    call = Message.assistant("", tool_calls=(CALL,))
    turn = Turn([QUESTION], template, tokenizer, max_tool_rounds=2)
    events = list(run(turn, Script(template, [call] * 9), BOX))
    last = events[-1]
    assert isinstance(last, MessageDone) and last.finish_reason == "tool_limit" == turn.finish_reason
    assert [m.role for m in turn.new_messages] == ["assistant", "tool", "assistant", "tool", "assistant"]
    assert turn.done and not turn.pending


def test_tools_are_described_where_asked(tokenizer: Tokenizer, template: ChatTemplate) -> None:
    turn = Turn([QUESTION], template, tokenizer, tools=BOX.definitions)
    expected = template.render([QUESTION], BOX.definitions, add_generation_prompt=True).token_ids
    assert turn.request().token_ids == tuple(expected)


def test_the_async_driver_says_the_same(tokenizer: Tokenizer, template: ChatTemplate) -> None:
    replies = [
        Message.assistant("let me see", tool_calls=(CALL, replace(CALL, id="call_1"))),
        Message.assistant("5, 猫"),
    ]
    expected = list(run(Turn([QUESTION], template, tokenizer), Script(template, replies), BOX))

    async def collect() -> list[ChatEvent]:
        script = Script(template, replies)

        async def generate(request: Request) -> AsyncIterator[TokenEvent]:
            for event in script(request):
                await asyncio.sleep(0)
                yield event

        return [event async for event in run_async(Turn([QUESTION], template, tokenizer), generate, BOX)]

    assert asyncio.run(collect()) == expected


def test_a_stop_string_ends_the_reply_and_the_listening(tokenizer: Tokenizer, template: ChatTemplate) -> None:
    script = Script(template, [Message.assistant("the cat sat on the mat", reasoning="sat sat")])
    turn = Turn([QUESTION], template, tokenizer, stop=("nowhere", "sat on"))
    events = list(run(turn, script, ToolBox()))
    assert said(events) == "the cat " and events[-1] == MessageDone(
        Message.assistant("the cat ", reasoning="sat sat"), "stop"
    )
    assert script.num_said < len(
        reply_ids(template, Message.assistant("the cat sat on the mat", reasoning="sat sat"))
    )


def test_what_looked_like_a_stop_string_is_said_in_the_end(
    tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    reply = Message.assistant("the cat sa")
    turn = Turn([QUESTION], template, tokenizer, stop=("sat",))
    events = list(run(turn, Script(template, [reply]), ToolBox()))
    assert said(events) == "the cat sa" and events[-1] == MessageDone(reply, "stop")


@given(st.text("ab", max_size=30), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3), st.data())
def test_the_gate_finds_what_a_search_finds(text: str, stop: list[str], data: st.DataObject) -> None:
    gate, passed, rest = StopGate(tuple(stop)), "", text
    while rest and not gate.closed:
        size = data.draw(st.integers(1, len(rest)))
        passed += gate.feed(rest[:size])
        rest = rest[size:]
    passed += gate.flush()
    ends = {s: text.find(s) + len(s) for s in stop if s in text}
    assert gate.closed == bool(ends) and passed == gate.passed
    assert text.startswith(passed)
    if ends:
        assert any(text[len(passed) :].startswith(s) for s in stop)
        assert not any(s in passed for s in stop)
    else:
        assert passed == text


def test_a_reply_cut_by_length(tokenizer: Tokenizer, template: ChatTemplate) -> None:
    turn = Turn([QUESTION], template, tokenizer)
    turn.request()
    *ids, last = reply_ids(template, Message.assistant("", tool_calls=(CALL,)))[:6]
    for token_id in ids:
        assert turn.feed(TokenEvent(token_id, 0.0)) == []
    events = turn.feed(TokenEvent(last, 0.0, finish_reason="length"))
    assert turn.done and turn.finish_reason == "length" and not turn.pending
    assert said(events).startswith("<tool_call>")  # half a call is text, and nothing is lost


def test_a_template_that_opens_the_reasoning(tokenizer: Tokenizer) -> None:
    turns = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    jinja = turns + "<|im_start|>assistant\n<think>\n"
    turn = Turn([QUESTION], JinjaTemplate(tokenizer, jinja), tokenizer)
    turn.request()
    ids = [*tokenizer.encode("hm\n"), tokenizer.special_id("</think>"), *tokenizer.encode("\n\nyes")]
    events = [out for i in ids for out in turn.feed(TokenEvent(i, 0.0))]
    events += turn.feed(TokenEvent(tokenizer.special_id("<|im_end|>"), 0.0, finish_reason="stop"))
    assert events[-1] == MessageDone(Message.assistant("yes", reasoning="hm"), "stop")


def test_a_grammar_binds_the_first_reply(tokenizer: Tokenizer, template: ChatTemplate) -> None:
    class Anything:
        def start(self) -> GrammarState:
            raise NotImplementedError

    replies = [Message.assistant("", tool_calls=(CALL,)), Message.assistant("5")]
    grammar, script = Anything(), Script(template, replies)
    list(run(Turn([QUESTION], template, tokenizer, grammar=grammar), script, BOX))
    assert [request.grammar for request in script.requests] == [grammar, None]


def test_the_last_message_is_continued_once(tokenizer: Tokenizer, template: ChatTemplate) -> None:
    begun, rest = Message.assistant("the cat", reasoning="hm"), Message.assistant("sat", tool_calls=(CALL,))
    turn = Turn([QUESTION, begun], template, tokenizer, continue_final=True)
    script = Script(template, [rest, Message.assistant("5")])
    events = list(run(turn, script, BOX))
    whole = template.render([QUESTION, begun]).token_ids
    assert list(script.requests[0].token_ids) == whole[: whole.index(template.stop_ids[0], -3)]
    assert events[0] == TextDelta("sat") and MessageDone(rest, "tool_calls") in events
    joined = Message.assistant("the catsat", reasoning="hm", tool_calls=(CALL,))
    result = Message.tool(reverse(CALL.arguments), "call_0")
    assert turn.new_messages == (joined, result, Message.assistant("5"))
    again = template.prompt([QUESTION, joined, result])
    assert list(script.requests[1].token_ids) == again


@pytest.mark.parametrize(
    "last", [QUESTION, Message.assistant("", tool_calls=(CALL,)), Message.tool("5", "call_0")]
)
def test_what_cannot_be_continued(tokenizer: Tokenizer, template: ChatTemplate, last: Message) -> None:
    with pytest.raises(RequestError, match="continued"):
        Turn([QUESTION, last], template, tokenizer, continue_final=True)


def test_ignoring_the_end_leaves_out_the_templates_stop_tokens(
    tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    params = SamplingParams(ignore_eos=True, stop_token_ids=(7,))
    assert Turn([QUESTION], template, tokenizer, params=params).params.stop_token_ids == (7,)


def test_a_turn_knows_whether_it_thinks(tokenizer: Tokenizer, template: ChatTemplate) -> None:
    turn = Turn([QUESTION], template, tokenizer)
    turn.request()
    seen = []
    for token_id in reply_ids(template, Message.assistant("a", reasoning="b")):
        turn.feed(TokenEvent(token_id, 0.0, finish_reason="stop" if token_id in template.stop_ids else None))
        seen.append(turn.thinking)
    assert seen[0] and not seen[-1] and seen == sorted(seen, reverse=True)


def test_what_makes_no_turn(tokenizer: Tokenizer, template: ChatTemplate) -> None:
    with pytest.raises(RequestError, match="no message"):
        Turn([], template, tokenizer)
    with pytest.raises(RequestError, match="stop"):
        Turn([QUESTION], template, tokenizer, stop=("",))


def test_an_answer_that_breaks_off_is_an_error(tokenizer: Tokenizer, template: ChatTemplate) -> None:
    with pytest.raises(RequestError, match="broke off"):
        list(run(Turn([QUESTION], template, tokenizer), lambda request: iter([TokenEvent(1, 0.0)]), BOX))


class Knows:
    """A model that always says the same: wherever it is put into one of its texts, it goes on with that text."""

    def __init__(self, template: ChatTemplate, replies: Sequence[Message]) -> None:
        self.stop_ids, self.num_said = template.stop_ids, 0
        self.texts: list[list[int]] = []
        messages = [QUESTION]
        for reply in replies:
            self.texts.append([*template.prompt(messages), *reply_ids(template, reply)])
            results = (Message.tool(reverse(call.arguments), call.id) for call in reply.tool_calls)
            messages += [reply, *results]

    def next_token(self, ids: Sequence[int]) -> int:
        size = len(ids)
        return next(text[size] for text in self.texts if len(text) > size and text[:size] == list(ids))

    def __call__(self, request: Request) -> Iterator[TokenEvent]:
        ids = list(request.token_ids)
        while ids not in self.texts:
            ids.append(self.next_token(ids))
            self.num_said += 1
            yield TokenEvent(ids[-1], -0.5, finish_reason="stop" if ids[-1] in self.stop_ids else None)


@pytest.fixture(scope="module")
def knows(template: ChatTemplate) -> Knows:
    first = Message.assistant("let me see 猫", reasoning="hm", tool_calls=(CALL, replace(CALL, id="call_1")))
    return Knows(template, [first, Message.assistant("5, 你好")])


def test_however_long_the_opening_the_answer_is_the_same(
    tokenizer: Tokenizer, template: ChatTemplate, knows: Knows
) -> None:
    """Cut anywhere: in half a character, in reasoning, in a tool call, behind the tools, at the very end."""
    whole = Turn([QUESTION], template, tokenizer)
    expected = list(run(whole, knows, BOX))
    assert len(whole.new_messages) == 4 and whole.token_ids[-1] == template.stop_ids[0]
    for size in (*range(0, len(whole.token_ids), 2), len(whole.token_ids)):
        knows.num_said = 0
        turn = Turn([QUESTION], template, tokenizer, opening=whole.token_ids[:size])
        assert list(run(turn, knows, BOX)) == expected
        assert turn.token_ids == whole.token_ids and turn.new_messages == whole.new_messages
        assert knows.num_said == len(whole.token_ids) - size


def test_every_driver_recites(tokenizer: Tokenizer, template: ChatTemplate, knows: Knows) -> None:
    whole = Turn([QUESTION], template, tokenizer)
    expected = list(run(whole, knows, BOX))
    greedy = SamplingParams(temperature=0.0)

    def turns() -> list[Turn]:
        openings = [whole.token_ids[:size] for size in (0, 5, len(whole.token_ids) - 3, len(whole.token_ids))]
        return [Turn([QUESTION], template, tokenizer, params=greedy, opening=ids) for ids in openings]

    async def collect(turn: Turn) -> list[ChatEvent]:
        async def generate(request: Request) -> AsyncIterator[TokenEvent]:
            for event in knows(request):
                yield event

        return [event async for event in run_async(turn, generate, BOX)]

    assert all(asyncio.run(collect(turn)) == expected for turn in turns())
    size, batch = tokenizer.vocab_size, turns()
    runner = FakeRunner(num_blocks=256, vocab_size=size, max_length=500, next_token=knows.next_token)
    run_batch(Engine(runner), batch, BOX)
    assert all(turn.new_messages == whole.new_messages for turn in batch)


def test_a_stop_string_in_the_opening_ends_the_reply(tokenizer: Tokenizer, template: ChatTemplate) -> None:
    reply = Message.assistant("the cat sat on the mat")
    whole = Turn([QUESTION], template, tokenizer, stop=("sat",))
    list(run(whole, Script(template, [reply]), BOX))
    turn = Turn([QUESTION], template, tokenizer, stop=("sat",), opening=whole.token_ids)
    assert said(turn.recite()) == "the cat " and turn.done and turn.stop_string == "sat"
    assert turn.new_messages == whole.new_messages and turn.finish_reason == "stop"


def test_what_is_no_opening(tokenizer: Tokenizer, template: ChatTemplate) -> None:
    ids = reply_ids(template, Message.assistant("the cat"))
    with pytest.raises(RequestError, match="from 0 on"):
        Turn([QUESTION], template, tokenizer, opening=(3, -1))
    with pytest.raises(RequestError, match="ends 2 tokens before"):
        Turn([QUESTION], template, tokenizer, opening=[*ids, 5, 5]).recite()
    with pytest.raises(AssertionError, match="recite"):
        Turn([QUESTION], template, tokenizer, opening=ids).request()
