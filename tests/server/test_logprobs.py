"""Whatever becomes of tokens on their way to text, the bytes of those that are listed add up to the text."""

from hypothesis import given
from hypothesis import strategies as st

from liaoliao.chat.turn import Turn
from liaoliao.engine.request import TokenEvent
from liaoliao.messages import Message
from liaoliao.server.logprobs import Ledger, TokenLogprob, token_name
from liaoliao.text.chat_template import ChatTemplate
from liaoliao.text.parse import ReasoningDelta, TextDelta, end_ids
from liaoliao.text.tokenizer import Tokenizer

MARKS = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "<|im_start|>")


def listed(tokenizer: Tokenizer, template: ChatTemplate, ids: list[int], stop: tuple[str, ...] = ()) -> tuple[
    str, list[TokenLogprob]
]:  # fmt: skip
    """What a turn says, and which tokens the ledger lists for it; token number i has the logprob -i."""
    turn, ledger = Turn([Message.user("x")], template, tokenizer, stop=stop), Ledger(tokenizer)
    turn.request()
    said = ""
    tokens: list[TokenLogprob] = []
    for i, token_id in enumerate(ids):
        event = TokenEvent(token_id, float(-i), finish_reason="length" if i + 1 == len(ids) else None)
        was_thinking, outs = turn.thinking, turn.feed(event)
        if token_id not in end_ids(tokenizer, template.stop_ids):
            ledger.add(event)
            if turn.thinking != was_thinking:
                ledger.silence()
        for out in outs:
            match out:
                case TextDelta(text):
                    said += text
                    tokens += ledger.take(text)
                case ReasoningDelta(text):
                    ledger.skip(text)
                case _:
                    tokens += ledger.clear()
        if not turn.generating:
            break
    return said, tokens


@given(data=st.data())
def test_the_bytes_add_up_whatever_is_said(
    data: st.DataObject, tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    words = [
        tokenizer.encode(w)
        for w in ("the cat", "\n\n", "猫坐", ' {"name": "x", "arguments": {}}', "\n", "<think>")
    ]
    words += [[tokenizer.special_id(mark)] for mark in MARKS] + [[i] for i in range(256)]
    pieces = data.draw(st.lists(st.sampled_from(words), min_size=1, max_size=24))
    stop = tuple(data.draw(st.lists(st.sampled_from(["cat", "\n\n", "坐", "e c", "<think>"]), max_size=2)))
    ids = [token_id for piece in pieces for token_id in piece]
    said, tokens = listed(tokenizer, template, ids, stop)
    assert b"".join(token.bytes for token in tokens) == said.encode()
    order = [token.logprob for token in tokens]
    assert order == sorted(order, reverse=True) and len(set(order)) == len(order)


def test_a_character_of_several_tokens(tokenizer: Tokenizer, template: ChatTemplate) -> None:
    odd = "鑫"  # not in the vocabulary: three tokens of one byte
    ids = tokenizer.encode(odd)
    assert len(ids) == 3
    said, tokens = listed(tokenizer, template, ids)
    assert said == odd and [token.bytes for token in tokens] == [bytes([byte]) for byte in odd.encode()]
    assert [token.token for token in tokens] == ["\\xe9", "\\x91", "\\xab"]


def test_a_token_cut_by_a_stop_string(tokenizer: Tokenizer, template: ChatTemplate) -> None:
    ids = tokenizer.encode("the cat sat")
    said, tokens = listed(tokenizer, template, ids, stop=("t s",))
    assert said == "the ca" and tokens[-1].token == tokens[-1].bytes.decode() and tokens[-1].token in " ca"


def test_reasoning_and_marks_are_not_listed(tokenizer: Tokenizer, template: ChatTemplate) -> None:
    thought = [
        tokenizer.special_id("<think>"),
        *tokenizer.encode("\nkid\n"),
        tokenizer.special_id("</think>"),
    ]
    ids = [*thought, *tokenizer.encode("\n\nkid"), template.stop_ids[0]]
    said, tokens = listed(tokenizer, template, ids)
    spelled = [i for i in range(len(thought), len(ids) - 1) if tokenizer.token_bytes(ids[i]) != b"\n"]
    assert said == "kid" and [-token.logprob for token in tokens] == spelled


def test_bytes_that_are_no_utf8(tokenizer: Tokenizer, template: ChatTemplate) -> None:
    (half, _, _), (word,) = tokenizer.encode("鑫"), tokenizer.encode("the")
    said, tokens = listed(tokenizer, template, [word, half, word])
    assert said == "the\ufffdthe"
    assert [(token.token, token.bytes) for token in tokens] == [
        ("the", b"the"), ("\\xe9", "\ufffd".encode()), ("the", b"the"),
    ]  # fmt: skip


def test_names() -> None:
    assert token_name("猫".encode()) == "猫" and token_name(b"\xe7\x8c") == "\\xe7\\x8c"
