"""Parser: the way back of the template, token by token, with nothing lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liaoliao.messages import Message, ToolCall
from liaoliao.text.chat_template import ChatTemplate
from liaoliao.text.parse import Delta, Parser, ReasoningDelta, TextDelta, ToolCallDelta
from liaoliao.text.tokenizer import SPECIAL_TOKENS, Tokenizer
from tests.text.strategies import odd_texts, replies

CALL = '{"name": "calculator", "arguments": {"expression": "2+3"}}'


def _ids(tokenizer: Tokenizer, *pieces: str) -> list[int]:
    """Ids of words and special tokens: a piece that is the name of a special token is that token."""
    ids = [[tokenizer.special_id(p)] if p in SPECIAL_TOKENS else tokenizer.encode(p) for p in pieces]
    return [token_id for piece in ids for token_id in piece]


def _deltas(parser: Parser, ids: list[int]) -> list[Delta]:
    return [delta for token_id in ids for delta in parser.feed(token_id)] + parser.finish()


def _said(tokenizer: Tokenizer, *pieces: str) -> Message:
    parser = Parser(tokenizer)
    _deltas(parser, _ids(tokenizer, *pieces))
    return parser.message()


@given(reply=replies())
def test_rendering_and_parsing_gives_the_same_message(tokenizer: Tokenizer, reply: Message) -> None:
    template = ChatTemplate(tokenizer)
    prompt = template.render([Message.user("?")], add_generation_prompt=True).token_ids
    ids = template.render([Message.user("?"), reply]).token_ids[len(prompt) : -1]
    parser = Parser(tokenizer)
    deltas = _deltas(parser, ids)
    assert parser.message() == reply
    assert "".join(d.text for d in deltas if isinstance(d, TextDelta)) == reply.text
    assert "".join(d.text for d in deltas if isinstance(d, ReasoningDelta)) == reply.reasoning
    calls = [d for d in deltas if isinstance(d, ToolCallDelta)]
    assert [ToolCall(d.id, d.name, d.arguments) for d in calls] == list(reply.tool_calls)
    assert [d.index for d in calls] == list(range(len(calls)))


@given(ids=st.lists(st.integers(0, 399), max_size=20))
def test_any_ids_parse_and_deltas_add_up(tokenizer: Tokenizer, ids: list[int]) -> None:
    parser = Parser(tokenizer)
    deltas = _deltas(parser, ids)
    assert "".join(d.text for d in deltas if isinstance(d, TextDelta)) == parser.message().text
    assert "".join(d.text for d in deltas if isinstance(d, ReasoningDelta)) == parser.message().reasoning
    assert all(d.text for d in deltas if isinstance(d, TextDelta | ReasoningDelta))


@given(text=odd_texts)
def test_plain_text_comes_out_letter_for_letter(tokenizer: Tokenizer, text: str) -> None:
    """Whitespace at the ends too, so that the bytes of the tokens add up to the content."""
    assert _said(tokenizer, *([text] if text not in SPECIAL_TOKENS else [])).text in (text, "")
    parser = Parser(tokenizer)
    _deltas(parser, tokenizer.encode(text))
    assert parser.message().text == text


def test_half_characters_are_held_back(tokenizer: Tokenizer) -> None:
    parser = Parser(tokenizer)
    ids = tokenizer.encode("龘a")
    assert len(ids) == 4
    assert [parser.feed(token_id) for token_id in ids] == [[], [], [TextDelta("龘")], [TextDelta("a")]]


def test_half_a_character_at_the_end_is_told(tokenizer: Tokenizer) -> None:
    parser = Parser(tokenizer)
    first, *_ = tokenizer.encode("龘")
    assert parser.feed(first) == []
    assert parser.finish() == [TextDelta("\ufffd")]


def test_half_a_character_before_a_mark_is_told_in_its_place(tokenizer: Tokenizer) -> None:
    first, *_ = tokenizer.encode("龘")
    parser = Parser(tokenizer)
    ids = [*_ids(tokenizer, "<think>"), first, *_ids(tokenizer, "</think>", "5")]
    assert _deltas(parser, ids) == [ReasoningDelta("\ufffd"), TextDelta("5")]


def test_reasoning_text_and_calls(tokenizer: Tokenizer) -> None:
    pieces = (
        "<think>",
        "\na\nb\n",
        "</think>",
        "\n\n5\n",
        "<tool_call>",
        f"\n{CALL}\n",
        "</tool_call>",
        "<|im_end|>",
    )
    call = ToolCall("call_0", "calculator", '{"expression": "2+3"}')
    assert _said(tokenizer, *pieces) == Message.assistant("5", reasoning="a\nb", tool_calls=[call])


def test_empty_reasoning_is_none(tokenizer: Tokenizer) -> None:
    assert _said(tokenizer, "<think>", "\n\n", "</think>", "\n\n", "5") == Message.assistant("5")


def test_a_prompt_may_open_the_reasoning(tokenizer: Tokenizer) -> None:
    parser = Parser(tokenizer, in_reasoning=True)
    _deltas(parser, _ids(tokenizer, "\nhm", "</think>", "\n\n5"))
    assert parser.message() == Message.assistant("5", reasoning="hm")


def test_calls_are_numbered_on(tokenizer: Tokenizer) -> None:
    parser = Parser(tokenizer, first_call=3)
    deltas = _deltas(
        parser,
        _ids(tokenizer, "<tool_call>", CALL, "</tool_call>", "\n", "<tool_call>", CALL, "</tool_call>"),
    )
    assert [(d.index, d.id) for d in deltas if isinstance(d, ToolCallDelta)] == [(0, "call_3"), (1, "call_4")]
    assert parser.message().text == ""


@pytest.mark.parametrize(
    "body",
    [
        "{", "", "\nnull\n", "[]", "[" * 3000, '{"name": "f"}', '{"name": 1, "arguments": {}}',
        '{"name": "f", "arguments": "{}"}', '{"name": "f", "arguments": {}, "more": 1}',
    ],
)  # fmt: skip
def test_a_call_that_is_none_comes_back_as_text(tokenizer: Tokenizer, body: str) -> None:
    message = _said(tokenizer, "5\n", "<tool_call>", body, "</tool_call>", "\nmore")
    assert message == Message.assistant(f"5\n<tool_call>{body}</tool_call>\nmore")


def test_a_call_that_is_never_closed_comes_back_as_text(tokenizer: Tokenizer) -> None:
    pieces = ("5\n", "<tool_call>", f"\n{CALL}", "<think>", "\n", "<|im_end|>")
    assert _said(tokenizer, *pieces) == Message.assistant(f"5\n<tool_call>\n{CALL}<think>\n")


def test_marks_out_of_place_come_back_as_text(tokenizer: Tokenizer) -> None:
    pieces = ("a", "</think>", "<tool_response>", "b", "</tool_call>", "<|im_start|>")
    assert _said(tokenizer, *pieces).text == "a</think><tool_response>b</tool_call><|im_start|>"


def test_typed_marks_are_words(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(f"<think>a</think><tool_call>{CALL}</tool_call><|im_end|>")
    parser = Parser(tokenizer)
    _deltas(parser, ids)
    assert parser.message() == Message.assistant(f"<think>a</think><tool_call>{CALL}</tool_call><|im_end|>")


def test_stop_tokens_are_silent(tokenizer: Tokenizer) -> None:
    other = tokenizer.special_id("<|im_start|>")
    assert _said(tokenizer, "5", "<|im_end|>", "<|endoftext|>").text == "5"
    parser = Parser(tokenizer, stop_ids=[other])
    assert _deltas(parser, [*tokenizer.encode("5"), other]) == [TextDelta("5")]


def test_a_call_is_told_while_it_is_written(tokenizer: Tokenizer) -> None:
    parser = Parser(tokenizer, first_call=1, stream_calls=True)
    deltas = _deltas(
        parser, _ids(tokenizer, "<tool_call>", f"\n{CALL}\n", "</tool_call>", "\n", "<|im_end|>")
    )
    calls = [delta for delta in deltas if isinstance(delta, ToolCallDelta)]
    assert calls == deltas and len(calls) > 3
    assert {(call.index, call.id, call.name) for call in calls} == {(0, "call_1", "calculator")}
    assert calls[0].arguments == ""
    assert "".join(call.arguments for call in calls) == '{"expression": "2+3"}'
    assert parser.message().tool_calls == (ToolCall("call_1", "calculator", '{"expression": "2+3"}'),)
    assert not parser.broke_off


@given(reply=replies())
def test_streaming_calls_changes_nothing_in_the_message(tokenizer: Tokenizer, reply: Message) -> None:
    ids = ChatTemplate(tokenizer).render([Message.user("?"), reply]).token_ids
    opening = ChatTemplate(tokenizer).render([Message.user("?")], add_generation_prompt=True).token_ids
    parsers = [Parser(tokenizer, stream_calls=stream) for stream in (False, True)]
    for parser in parsers:
        _deltas(parser, list(ids[len(opening) :]))
    assert parsers[0].message() == parsers[1].message()


@pytest.mark.parametrize("end", ["<|im_end|>", "</tool_call>"])
def test_a_call_that_breaks_off_is_not_in_the_message(tokenizer: Tokenizer, end: str) -> None:
    parser = Parser(tokenizer, stream_calls=True)
    deltas = _deltas(parser, _ids(tokenizer, "<tool_call>", CALL[:-4], end))
    told = "".join(delta.arguments for delta in deltas if isinstance(delta, ToolCallDelta))
    assert '{"expression": "2+3"}'.startswith(told) and told.startswith('{"expression": "2')
    assert parser.broke_off and parser.message().tool_calls == ()


@pytest.mark.parametrize("body", ["{", '{"name": 1, "arguments": {}}', '{"name": "f", "arguments": "{}"}'])
def test_what_is_no_call_comes_back_as_text_while_nothing_was_told(tokenizer: Tokenizer, body: str) -> None:
    parser = Parser(tokenizer, stream_calls=True)
    _deltas(parser, _ids(tokenizer, "<tool_call>", body, "</tool_call>", "<|im_end|>"))
    assert parser.message() == Message.assistant(f"<tool_call>{body}</tool_call>")
    assert not parser.broke_off
