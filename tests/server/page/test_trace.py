"""An answer's tokens in their places: what the model saw before each, and where in the text its words begin."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liaoliao.engine.request import SamplingParams
from liaoliao.messages import Message, ToolCall
from liaoliao.server.page.trace import Trace, readable, rendered_ids, trace_of
from liaoliao.server.reply import ChatJob, ReplyDone, reply
from liaoliao.server.served import ServedModel
from tests.server.conftest import Says

JOB = ChatJob((Message.user("two and three"),), params=SamplingParams(temperature=0.0))
CALL = ToolCall("call_0", "calculator", '{"expression": "2+3"}')
WORDS = st.text("ab 猫鑫\n😀<{", max_size=12)


def done_of(served: ServedModel, job: ChatJob) -> ReplyDone:
    async def last() -> ReplyDone:
        return [event async for event in reply(served, job)][-1]  # type: ignore[return-value]

    return asyncio.run(last())


def covered(trace: Trace, text: str, offset: int = 0) -> list[str]:
    """The words of each token that has a place, cut out of the text where the next one begins."""
    starts = [piece.start for piece in trace.pieces if piece.start is not None]
    assert starts == sorted(starts) and (not text[offset:] or starts[0] == offset)
    ends = [*starts, len(text)][1:]
    return [text[start:end] for start, end in zip(starts, ends, strict=bool(starts))]


@settings(max_examples=25)
@given(WORDS, WORDS, st.integers(0, 3), st.booleans())
def test_words_lie_where_they_are_said(
    scripted: tuple[ServedModel, Says], words: str, thoughts: str, offset: int, calls: bool
) -> None:
    served, says = scripted
    first = Message.assistant(words, reasoning=thoughts, tool_calls=(CALL,) * calls)
    says.chat(first, Message.assistant("5 猫"))
    done = done_of(served, JOB)
    trace = trace_of(served, JOB, done.token_ids, offset=offset)
    assert [piece.token_id for piece in trace.pieces] == list(done.token_ids)
    placed = [piece for piece in trace.pieces if piece.start is not None]
    for piece, said in zip(placed, covered(trace, " " * offset + done.message.text, offset), strict=True):
        spelled = served.tokenizer.token_bytes(piece.token_id)
        assert piece.kind in ("text", "special")
        if readable(spelled).encode() == spelled:
            assert said.strip("\n") == spelled.decode().strip("\n")


@given(st.data())
def test_whatever_tokens_it_is_made_of_the_text_is_theirs(
    scripted: tuple[ServedModel, Says], data: st.DataObject
) -> None:
    """Marks in odd places, calls that are none, half characters: in order, from the first character on."""
    served, says = scripted
    marks = [
        served.tokenizer.special_id(name) for name in ("<think>", "</think>", "<tool_call>", "</tool_call>")
    ]
    parts = served.tokenizer.encode("猫鑫 a\n")
    anything = st.integers(0, served.tokenizer.vocab_size - 1)
    says.ids(data.draw(st.lists(st.sampled_from(marks + parts) | anything, max_size=30)))
    done = done_of(served, replace(JOB, params=SamplingParams(temperature=0.0, max_tokens=60)))
    trace = trace_of(served, JOB, done.token_ids)
    assert "".join(covered(trace, done.message.text)) == done.message.text
    assert [piece.token_id for piece in trace.pieces] == list(done.token_ids)


def test_kinds(served: ServedModel, says: Says) -> None:
    says.chat(Message.assistant("the cat", reasoning="two", tool_calls=(CALL,)), Message.assistant("5"))
    trace = trace_of(served, JOB, done_of(served, JOB).token_ids)
    names = {token_id: name for name, token_id in served.tokenizer.special_ids.items()}
    kinds = [(names.get(piece.token_id), piece.kind) for piece in trace.pieces]
    assert [name for name, kind in kinds if kind == "special"] == [
        "<think>", "</think>", "<tool_call>", "</tool_call>", "<|im_end|>",
    ]  # fmt: skip
    order = [
        kind for i, (_, kind) in enumerate(kinds) if kind != "special" and (not i or kinds[i - 1][1] != kind)
    ]
    assert order[0] == "reasoning" and "tool" in order and order[-1] == "text"


def test_each_round_has_the_prompt_that_the_engine_got(served: ServedModel, says: Says) -> None:
    says.chat(Message.assistant("let me", tool_calls=(CALL,)), Message.assistant("5"))
    done = done_of(served, JOB)
    first, second = says.replies
    trace = trace_of(served, JOB, done.token_ids)
    assert [one.prompt for one in trace.rounds] == [request.token_ids for request in says.requests]
    assert [list(one.made) for one in trace.rounds] == [first, second[:-1]]
    for index, token_id in enumerate(done.token_ids):
        place, prompt = trace.place(index), says.requests[index >= len(first)].token_ids
        assert place.token_ids[place.position] == token_id and place.token_ids[: len(prompt)] == prompt
    [(index, given)] = trace.given().items()
    assert index == len(first)
    assert served.tokenizer.decode(given).strip().startswith("<|im_start|>tool")
    for index in (-1, len(done.token_ids)):
        with pytest.raises(IndexError):
            trace.place(index)


def test_a_call_that_is_none_is_words(served: ServedModel, says: Says) -> None:
    mark = served.tokenizer.special_id("<tool_call>")
    says.ids([*served.tokenizer.encode("the "), mark, *served.tokenizer.encode("cat")])
    done = done_of(served, JOB)
    trace = trace_of(served, JOB, done.token_ids)
    assert done.message.text == "the <tool_call>cat"
    assert "".join(covered(trace, done.message.text)) == done.message.text
    assert {piece.kind for piece in trace.pieces} == {"text", "special"}


def test_an_answer_that_nobody_made_is_laid_out_by_the_template(served: ServedModel, says: Says) -> None:
    answer = Message.assistant("the cat 猫", reasoning="two")
    ids = rendered_ids(served, JOB, answer)
    says.chat(answer)
    assert ids == done_of(served, JOB).token_ids
    assert rendered_ids(served, JOB, Message.assistant(" the ")) == tuple(served.tokenizer.encode("the"))


def test_bytes_can_be_read() -> None:
    assert readable("猫 a".encode()) == "猫 a"
    assert readable("猫".encode()[:2]) == "⟨E7 8C⟩"
    assert readable(b"a\xff" + "猫".encode() + b"\x80\x81b") == "a⟨FF⟩猫⟨80 81⟩b"
