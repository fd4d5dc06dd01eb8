"""A call that is read while it is written: what is told early is what the whole call says, whatever the cuts."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liaoliao.text.call import OpenCall, read_call
from tests.text.strategies import arguments, names, odd_texts

_CALLS = st.builds(
    lambda name, value, ascii_only: (
        f'{{"name": {json.dumps(name, ensure_ascii=False)}, "arguments": {json.dumps(value, ensure_ascii=ascii_only)}}}'
    ),
    names,
    arguments,
    st.booleans(),
)


def _told(text: str, cuts: list[int]) -> tuple[OpenCall, list[str]]:
    """The call, fed in pieces that end at these places, and what it told after each."""
    call, pieces, begun = OpenCall(), [], 0
    for end in [*sorted(cut % (len(text) + 1) for cut in cuts), len(text)]:
        call.text += text[begun:end]
        pieces.append(call.more())
        begun = end
    return call, pieces


@given(_CALLS, st.lists(st.integers(0, 10_000), max_size=6))
def test_the_pieces_and_the_rest_are_the_arguments(text: str, cuts: list[int]) -> None:
    call, pieces = _told(text, cuts)
    whole = call.whole()
    assert whole is not None and whole == read_call(text)
    assert call.name == whole[0]
    assert call.told == "".join(pieces)
    assert whole[1].startswith(call.told) and whole[1] != call.told  # the last bracket waits for the end
    assert json.loads(whole[1]) == json.loads(text)["arguments"]


@given(_CALLS, st.integers(0, 10_000), odd_texts)
def test_a_call_that_goes_wrong_tells_only_the_beginning_of_an_object(text: str, cut: int, odd: str) -> None:
    """Whatever follows, what was told can be completed to JSON, and is never withdrawn."""
    call, _ = _told(text[: cut % (len(text) + 1)] + odd, [cut])
    if call.told:
        assert text.partition('"arguments": ')[2].startswith(call.told) or _is_beginning(call.told)
        assert not _is_json(call.told)


def test_letters_of_a_string_are_told_as_they_come() -> None:
    text = '{"name": "f", "arguments": {"city": "Oslo", "days": 12}}'
    call, pieces = _told(text, list(range(len(text))))
    assert [piece for piece in pieces if piece][:8] == ["{", '"', "c", "i", "t", "y", '"', ":"]
    assert " 12" in pieces  # a number waits until it is over
    assert call.told == '{"city": "Oslo", "days": 12'


@pytest.mark.parametrize(
    ("letters", "sure"),
    [
        ("1", '{"a":'), ("12.5e", '{"a":'), ("tru", '{"a":'), ('"b\\', '{"a": "b'), ('"\\u00', '{"a": "'),
        ("[1", '{"a": ['), ("[1,", '{"a": [1,'), ('{"b"', '{"a": {"b"'), ("]", '{"a":'), ('"b"}', '{"a": "b"'),
    ],
)  # fmt: skip
def test_what_is_not_sure_yet_waits(letters: str, sure: str) -> None:
    call = OpenCall()
    call.text = f'{{"name": "f", "arguments": {{"a": {letters}'
    assert call.more() == sure


@pytest.mark.parametrize(
    "text",
    [
        '{"arguments": {"a": 1}, "name": "f"}',  # another order: read when it is whole
        '{"name":"f","arguments":{"a":1}}',  # another layout
        '{"name": "f", "arguments": "{}"}',  # no object
        '{"name": "\\u0066", "arguments": {}}',  # the name in another way of writing
        '{"name": "' + "f" * 2000 + '", "arguments": {}}',  # a name without end
    ],
)
def test_other_layouts_tell_nothing_before_the_end(text: str) -> None:
    call, pieces = _told(text, [5, 17, 30])
    assert not any(pieces) and call.name is None
    assert call.whole() == read_call(text)


def test_a_second_bracket_too_many_is_no_call() -> None:
    call, _ = _told('{"name": "f", "arguments": {"a": 1}}}', [30])
    assert call.told == '{"a": 1'
    assert call.whole() is None


def test_arguments_are_kept_word_for_word_in_the_templates_layout() -> None:
    assert read_call('{"name": "f", "arguments": {"a":1,  "b":2} }') == ("f", '{"a":1,  "b":2} ')
    assert read_call('{"arguments":{"a":"é"},"name":"f"}') == ("f", '{"a": "é"}')


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "f", "arguments": {"x": NaN}}',
        '{"name":"f","arguments":{"x":[-Infinity]}}',
        '{"arguments": {"x": 1e999}, "name": "f"}',  # laid out anew, it would be Infinity
        '{"arguments": {"a": "\\udfff"}, "name": "f"}',  # and this half a character
        '{"name": "\\ud800", "arguments": {}}',
    ],
)
def test_what_could_not_be_sent_on_as_json_is_no_call(text: str) -> None:
    call, _ = _told(text, [5, 30])
    assert read_call(text) is None and call.whole() is None


def test_escapes_and_numbers_stay_as_they_were_written() -> None:
    arguments = '{"a": "\\ud800", "x": 1e999}'  # odd, but JSON
    assert read_call(f'{{"name": "f", "arguments": {arguments}}}') == ("f", arguments)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _is_beginning(text: str) -> bool:
    """Whether some ending makes JSON of it; a small set of endings suffices for what an `OpenCall` tells."""
    closing, in_string, skip = [], False, False
    for letter in text:
        if skip:
            skip = False
        elif in_string:
            in_string, skip = letter != '"', letter == "\\"
        elif letter == '"':
            in_string = True
        elif letter in "{[":
            closing.append("}" if letter == "{" else "]")
        elif letter in "}]":
            closing.pop()
    end = "".join(reversed(closing))
    bare = text + ('"' if in_string else "")
    middles = ("", "0", ": 0", '"": 0', '"x": 0')
    return any(_is_json(bare + middle + end) for middle in middles)
