"""Personas: who the model is asked to be, and the character cards of others (Character Card V1, V2, V3) as such.

    card = read_card(Path("anna.png").read_bytes())
    card.name, card.greeting, card.unused        ->  "Anna", "Hello {{user}}!", ("character_book",)
    fill("Hello {{user}}, I am {{char}}.", char="Anna", user="Ben")  ->  "Hello Ben, I am Anna."

A card is a stranger's file: a JSON object, or a PNG picture that carries one (base64 in a tEXt chunk named "chara", or
"ccv3"). Its sizes are believed nowhere; nothing of it is decompressed here, and of the picture nothing is kept but what
makes it a picture. Its words stay words: they are rendered as text, never as marks of a chat template.
"""

import base64
import json
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from liaoliao.errors import DataError

MAX_CARD_BYTES: Final = 4 << 20  # of a file
MAX_AVATAR_BYTES: Final = 512_000
MAX_AVATAR_SIDE: Final = 4096  # pixels
MAX_NAME_CHARS: Final = 100
MAX_TEXT_CHARS: Final = 32_000  # of each text of a persona

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PICTURE_CHUNKS: Final = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_CARD_CHUNKS: Final = (b"ccv3", b"chara")  # the newer one first
_MAX_CHUNKS: Final = 100_000
_BLANKS: Final = re.compile(r"\{\{\s*(char|user)\s*\}\}|<(bot|char|user)>", re.IGNORECASE)
_SHORT_CHARS: Final = 200
# what speaks to the model; the rest of a card is about it, or asks for machinery that is not here
_USED: Final = frozenset(
    "name description personality scenario first_mes mes_example system_prompt post_history_instructions"
    " creator_notes".split()
)
_ABOUT: Final = frozenset(
    "tags creator character_version source creation_date modification_date"
    " creator_notes_multilingual avatar".split()
)


@dataclass(frozen=True, slots=True)
class Card:
    """A persona as a card tells it. `system_prompt`, `greeting` and `example` may hold {{char}} and {{user}}.

    `avatar` is a PNG, if the card was one of a bearable size. `source` is the card as it came; `unused` names the
    parts of it that say something but have no effect here.
    """

    name: str
    description: str
    system_prompt: str
    greeting: str
    example: str
    avatar: bytes | None = None
    source: Mapping[str, Any] = field(default_factory=dict)
    unused: tuple[str, ...] = ()


def fill(text: str, *, char: str, user: str) -> str:
    """The text with {{char}} and {{user}} (and the older <BOT>, <USER>) replaced by names, each once."""

    def name(blank: re.Match[str]) -> str:
        return user if (blank[1] or blank[2]).lower() == "user" else char

    return _BLANKS.sub(name, text)


def persona_prompt(name: str, system_prompt: str, example: str, *, user: str) -> str:
    """What a persona adds to the system message; "" for one that says nothing."""
    parts = [system_prompt.strip()]
    if example.strip():
        parts.append(f"This is how {{{{char}}}} talks:\n{example.strip()}")
    return fill("\n\n".join(part for part in parts if part), char=name, user=user)


def read_card(data: bytes) -> Card:
    """The card in a JSON or PNG file. Raises DataError saying what is wrong with it."""
    if len(data) > MAX_CARD_BYTES:
        raise DataError(f"the card is larger than {MAX_CARD_BYTES >> 20} MiB", code="file_too_large")
    if not data.startswith(_PNG):
        return _card(_json(data, "the file"), None)
    chunks = list(_chunks(data))
    texts = dict(_text(body) for kind, body in chunks if kind == b"tEXt")
    payload = next((texts[name] for name in _CARD_CHUNKS if name in texts), None)
    if payload is None:
        told = "this picture carries no character card (a tEXt chunk named 'chara')"
        raise DataError(told, code="no_card")
    return _card(_json(_unbase64(payload), "the card in the picture"), _avatar(chunks))


# The picture


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a PNG, each checked; DataError for lengths that lie, damage, or no end."""
    view, at = memoryview(data), len(_PNG)
    for _ in range(_MAX_CHUNKS):
        if at + 12 > len(view):
            break
        length, kind = struct.unpack_from(">I4s", view, at)
        end = at + 12 + length
        if end > len(view) or zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end]):
            break
        yield kind, bytes(view[at + 8 : end - 4])
        if kind == b"IEND":
            return
        at = end
    raise DataError("the picture is damaged or incomplete", code="damaged_picture")


def _text(body: bytes) -> tuple[bytes, bytes]:
    name, _, text = body.partition(b"\0")
    return name.lower(), text


def _unbase64(payload: bytes) -> bytes:
    try:
        return base64.b64decode(payload, validate=True)
    except ValueError as error:
        raise DataError(f"the card in the picture is not base64: {error}", code="no_card") from error


def _avatar(chunks: list[tuple[bytes, bytes]]) -> bytes | None:
    """The bare picture; None for one that is too large for a browser to be given, in bytes or in pixels."""
    kind, header = chunks[0]
    if kind != b"IHDR" or len(header) != 13:
        raise DataError("the picture does not begin as a PNG does", code="damaged_picture")
    width, height = struct.unpack_from(">II", header)
    picture = _PNG + b"".join(_chunk(kind, body) for kind, body in chunks if kind in _PICTURE_CHUNKS)
    fits = 0 < width <= MAX_AVATAR_SIDE and 0 < height <= MAX_AVATAR_SIDE
    return picture if fits and len(picture) <= MAX_AVATAR_BYTES else None


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


# The card


def _json(data: bytes, where: str) -> Mapping[str, Any]:
    try:
        value = json.loads(data.decode("utf-8-sig"))
        json.dumps(
            value, ensure_ascii=False, allow_nan=False
        ).encode()  # neither NaN nor half a surrogate pair
    except (ValueError, RecursionError) as error:
        told = f"{where} is no character card: it is neither a PNG nor JSON ({error})"[:300]
        raise DataError(told, code="no_card") from error
    if not isinstance(value, dict):
        raise DataError(f"{where} is no character card: it is no JSON object", code="no_card")
    return value


def _card(source: Mapping[str, Any], avatar: bytes | None) -> Card:
    """V2 and V3 hold their fields in `data`, V1 has them at the top."""
    data = source["data"] if isinstance(source.get("data"), dict) and "spec" in source else source
    fields = {name: _said(data, name) for name in _USED}
    name = " ".join(fields["name"].split())
    if not name or len(name) > MAX_NAME_CHARS:
        told = f"a character card needs a name of at most {MAX_NAME_CHARS} characters"
        raise DataError(told, code="persona_name")
    card = Card(
        name, _short(fields["creator_notes"] or fields["description"]), _system_prompt(fields),
        fields["first_mes"], fields["mes_example"], avatar, dict(source), _unused(data),
    )  # fmt: skip
    if len(card.system_prompt) > MAX_TEXT_CHARS:
        told = f"the texts of the card are together longer than {MAX_TEXT_CHARS} characters"
        raise DataError(told, code="persona_words")
    return card


def _said(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(f"the card's {name} must be text, not {type(value).__name__}", code="no_card")
    if len(value) > MAX_TEXT_CHARS:
        told = f"the card's {name} is longer than {MAX_TEXT_CHARS} characters"
        raise DataError(told, code="persona_words")
    return value.strip()


def _system_prompt(fields: Mapping[str, str]) -> str:
    """All that a card wants the model to know, in the order in which such cards are used to be read."""
    own = re.sub(r"\{\{\s*original\s*\}\}", "", fields["system_prompt"], flags=re.IGNORECASE).strip()
    last = re.sub(r"\{\{\s*original\s*\}\}", "", fields["post_history_instructions"], flags=re.IGNORECASE)
    personality, scenario = fields["personality"], fields["scenario"]
    parts = (
        own or "You are {{char}}. Answer as {{char}} would.",
        fields["description"],
        f"{{{{char}}}}'s personality: {personality}" if personality else "",
        f"Scenario: {scenario}" if scenario else "",
        last.strip(),
    )
    return "\n\n".join(part for part in parts if part)


def _short(text: str) -> str:
    """The beginning, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= _SHORT_CHARS else line[: _SHORT_CHARS - 1] + "…"


def _unused(data: Mapping[str, Any]) -> tuple[str, ...]:
    said = (name for name, value in data.items() if value not in (None, "", [], {}))
    return tuple(sorted(name[:80] for name in said if name not in _USED and name not in _ABOUT))
