"""Bodies are read as JSON says, and refused where JSON leaves open what they mean."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liaoliao.server.body import MAX_DEPTH, MAX_VALUES, parse_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
)  # fmt: skip


@given(VALUES, st.booleans())
def test_what_is_json_is_read(value: Any, escaped: bool) -> None:
    assert parse_json(json.dumps(value, ensure_ascii=escaped).encode()) == value


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"a": NaN}', "NaN"),
        (b"[-Infinity]", "Infinity"),
        (b"[1e999]", "too large a number"),
        (b"[" + b"9" * 5000 + b"]", "digits"),
        (b'{"a": 1, "b": {"a": 1, "c": 2, "a": 1}}', "'a' twice"),
        (b'["\\ud83d"]', "U\\+D83D"),
        (b'{"\\uDE00x": 1}', "U\\+DE00"),
        (b'["\xed\xa0\xbd"]', "utf-8"),
        (b"\xff\xfe[\x00]\x00", "utf-8"),
        (b'{"a": ', "Expecting value"),
        (b"[1] [2]", "Extra data"),
        (b"", "Expecting value"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), f"more than {MAX_DEPTH} levels"),
    ],
)
def test_what_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_json(body)


def test_a_whole_surrogate_pair_is_a_character() -> None:
    assert parse_json(b'["\\ud83d\\ude00"]') == ["😀"]
    assert parse_json(b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1)) != []


def test_more_values_than_a_request_has_are_refused_but_token_ids_are_not() -> None:
    many = MAX_VALUES + 1
    wrongs: list[Any] = [
        [[]] * many,
        {str(i): 1 for i in range(many)},
        {"prompt": ["x"] * many},
        {"a": [1] * many},
    ]
    for wrong in wrongs:
        with pytest.raises(ValueError, match=f"more than {MAX_VALUES} values"):
            parse_json(json.dumps(wrong).encode())
    rights: list[Any] = [{"prompt": [1] * many}, {"input": [[1] * 300] * 300}, {"a": "," * many + "[" * many}]
    for right in rights:
        assert parse_json(json.dumps(right).encode()) == right


def test_many_names_are_no_quadratic_work() -> None:
    names = ",".join(f'"{i}": 0' for i in range(50_000))
    with pytest.raises(ValueError, match="'49999' twice"):
        parse_json(f'{{{names}, "49999": 0}}'.encode())
