"""Character cards: what they say is taken over, what they are made of is never trusted."""

import base64
import json
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liaoliao.chat.persona import (
    MAX_AVATAR_BYTES,
    MAX_CARD_BYTES,
    MAX_TEXT_CHARS,
    Card,
    fill,
    persona_prompt,
    read_card,
)
from liaoliao.errors import DataError

PNG = b"\x89PNG\r\n\x1a\n"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
NAME = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=20)
DATA = {
    "name": "Anna  Karenina",
    "description": "{{char}} is a captain.",
    "personality": "brave",
    "scenario": "a storm",
    "first_mes": "Ahoy, {{user}}!",
    "mes_example": "<START>\n{{user}}: Hi\n{{char}}: Ahoy!",
    "system_prompt": "Stay at sea. {{original}}",
    "post_history_instructions": "Be short.",
    "creator_notes": "A pirate.",
    "tags": ["sea"],
    "character_book": {"entries": [1]},
    "alternate_greetings": [],
}
V2 = {"spec": "chara_card_v2", "spec_version": "2.0", "data": DATA}


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def picture(*extra: bytes, width: int = 1, height: int = 1, pixels: bytes = b"\0\xff\0\0") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(pixels, 0))
    return PNG + chunk(b"IHDR", header) + b"".join(extra) + body + chunk(b"IEND", b"")


def carried(card: Any, name: bytes = b"chara") -> bytes:
    return chunk(b"tEXt", name + b"\0" + base64.b64encode(json.dumps(card).encode()))


def as_json(card: Any) -> bytes:
    return json.dumps(card).encode()


def test_what_a_card_says_is_taken_over() -> None:
    card = read_card(as_json(V2))
    assert card == Card(
        name="Anna Karenina",
        description="A pirate.",
        system_prompt="Stay at sea.\n\n{{char}} is a captain.\n\n{{char}}'s personality: brave\n\nScenario: a storm"
        "\n\nBe short.",
        greeting="Ahoy, {{user}}!",
        example="<START>\n{{user}}: Hi\n{{char}}: Ahoy!",
        avatar=None,
        source=V2,
        unused=("character_book",),
    )


@given(name=NAME, fields=st.dictionaries(st.sampled_from(["description", "first_mes", "scenario"]), TEXT))
def test_the_same_card_in_every_wrapping(name: str, fields: dict[str, str]) -> None:
    data = {"name": name, **fields}
    flat, wrapped = read_card(as_json(data)), read_card(as_json({**V2, "data": data}))
    pictured = read_card(picture(carried({**V2, "data": data})))
    newer = read_card(picture(carried({"name": "old"}), carried({**V2, "data": data}, b"ccv3")))

    def said(card: Card) -> tuple[str, ...]:
        return (card.name, card.description, card.system_prompt, card.greeting, card.example, *card.unused)

    assert said(flat) == said(wrapped) == said(pictured) == said(newer)
    assert flat.greeting == fields.get("first_mes", "").strip() and flat.name == name


def test_of_the_picture_only_the_picture_is_kept() -> None:
    secret = chunk(b"tEXt", b"Comment\0my address") + chunk(b"eXIf", b"where I live")
    card = read_card(picture(secret, carried(V2)))
    assert card.avatar == picture()


def test_a_picture_too_large_for_a_browser_is_left_out() -> None:
    assert read_card(picture(carried(V2), width=100_000, height=100_000)).avatar is None
    assert read_card(picture(carried(V2), width=0)).avatar is None
    many = picture(carried(V2), pixels=bytes(MAX_AVATAR_BYTES))
    assert read_card(many).avatar is None and read_card(many).name == "Anna Karenina"


@given(st.data())
def test_a_damaged_picture_is_refused(data: st.DataObject) -> None:
    whole = picture(carried(V2))
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(DataError):
        read_card(whole[:cut])
    at, bit = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))
    flipped = bytearray(whole)
    flipped[at] ^= 1 << bit
    with pytest.raises(DataError):
        read_card(bytes(flipped))


DEEP = b"[" * 200_000
CODES = {
    "damaged": "damaged_picture", "begin as a PNG": "damaged_picture", "4 MiB": "file_too_large",
    "needs a name": "persona_name", "longer": "persona_words",
}  # fmt: skip


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "neither a PNG nor JSON"),
        (b"\xff\xd8\xff not a card", "neither a PNG nor JSON"),
        (DEEP, "neither a PNG nor JSON"),
        (b'{"name": NaN}', "neither a PNG nor JSON"),
        (b'{"name": "\\ud800"}', "neither a PNG nor JSON"),
        (b'["name"]', "no JSON object"),
        (b"{}", "needs a name"),
        (b'{"name": "  "}', "needs a name"),
        (as_json({"name": "x" * 101}), "needs a name"),
        (b'{"name": ["a"]}', "name must be text, not list"),
        (
            b'{"spec": "chara_card_v2", "data": {"name": "a", "first_mes": 5}}',
            "first_mes must be text, not int",
        ),
        (as_json({"name": "a", "description": "x" * (MAX_TEXT_CHARS + 1)}), "description is longer"),
        (as_json({"name": "a", "description": "x" * 20_000, "scenario": "y" * 20_000}), "together longer"),
        (b" " * (MAX_CARD_BYTES + 1), "larger than 4 MiB"),
        (picture(), "carries no character card"),
        (picture(chunk(b"tEXt", b"chara\0***")), "not base64"),
        (picture(chunk(b"tEXt", b"chara\0" + base64.b64encode(DEEP))), "neither a PNG nor JSON"),
        (picture(chunk(b"zTXt", b"chara\0\0" + zlib.compress(bytes(1 << 20)))), "carries no character card"),
        (PNG + struct.pack(">I4s", 0xFFFFFFFF, b"tEXt") + b"chara\0", "damaged"),
        (PNG + carried(V2) + chunk(b"IEND", b""), "does not begin as a PNG"),
        (PNG + chunk(b"IHDR", b"short") + carried(V2) + chunk(b"IEND", b""), "does not begin as a PNG"),
        (PNG + chunk(b"IDAT", b"") * 100_001, "damaged"),
    ],
)
def test_what_is_no_card_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(DataError, match=why) as caught:
        read_card(data)
    assert caught.value.code == next((CODES[words] for words in CODES if words in why), "no_card")


def test_names_are_filled_in_once() -> None:
    assert (
        fill("{{user}} and {{ Char }}, <USER>", char="Anna", user="{{char}}") == "{{char}} and Anna, {{char}}"
    )
    assert fill("{{user}} {other} <b>", char="a", user="Ben") == "Ben {other} <b>"


def test_what_a_persona_adds_to_the_prompt() -> None:
    assert persona_prompt("Anna", " ", "\n", user="Ben") == ""
    assert persona_prompt("Anna", "You are {{char}}.", "", user="Ben") == "You are Anna."
    whole = persona_prompt("Anna", "You are {{char}}.", "{{user}}: Hi", user="Ben")
    assert whole == "You are Anna.\n\nThis is how Anna talks:\nBen: Hi"
