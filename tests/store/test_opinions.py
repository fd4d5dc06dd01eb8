"""Feedback and votes, attachments and personas: what they take, what they refuse, and how they come back."""

from typing import Any

import pytest

from liaoliao.errors import DataError, NotFoundError
from liaoliao.messages import Message
from liaoliao.store import Account, Node, Store

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


@pytest.fixture
def replies(store: Store, me: Account) -> list[Node]:
    """A question and two answers."""
    talk = store.create_conversation(me.id)
    asked = store.add_message(me.id, talk.id, Message.user("2+3?"), None)
    answers = [store.add_message(me.id, talk.id, Message.assistant(text), asked.id) for text in "56"]
    return [asked, *answers]


def test_feedback_replaces_what_was_thought_before(store: Store, me: Account, replies: list[Node]) -> None:
    _, good, _ = replies
    store.set_feedback(me.id, good.id, -1, ["not true"], "")
    given = store.set_feedback(me.id, good.id, 1, ["clear", "简洁"], "好")
    assert store.node(me.id, good.id).feedback == given
    assert (given.thumb, given.reasons, given.comment) == (1, ("clear", "简洁"), "好")
    store.set_feedback(me.id, good.id, 0, [], "")
    assert store.node(me.id, good.id).feedback is None


def test_feedback_that_cannot_be(store: Store, me: Account, replies: list[Node]) -> None:
    words: list[tuple[list[str], str]] = [
        (["x" * 201], ""), (["x"] * 21, ""), ([], "x" * 20_001), ([], "\0"), (["\ud800"], ""),
    ]  # fmt: skip
    for reasons, comment in words:
        with pytest.raises(DataError):
            store.set_feedback(me.id, replies[1].id, 1, reasons, comment)
    with pytest.raises(DataError, match="assistant"):
        store.set_feedback(me.id, replies[0].id, 1, [], "")
    assert store.node(me.id, replies[1].id).feedback is None


def test_votes(store: Store, me: Account, replies: list[Node]) -> None:
    asked, good, bad = replies
    vote = store.add_vote(me.id, asked.id, good.id, bad.id)
    tie = store.add_vote(me.id, asked.id, bad.id, None)
    assert store.votes(me.id, asked.conversation_id) == [vote, tie]
    assert (vote.chosen_id, vote.rejected_id, tie.rejected_id) == (good.id, bad.id, None)
    deeper = store.add_message(me.id, asked.conversation_id, Message.assistant("7"), good.id)
    for chosen, rejected in ((good, good), (good, deeper), (asked, good), (deeper, None)):
        with pytest.raises(DataError, match="two different"):
            store.add_vote(me.id, asked.id, chosen.id, rejected.id if rejected else None)


def test_attachments_are_text_and_come_back_whole(store: Store, me: Account) -> None:
    text = "渡轮 9 点。\r\n" * 10
    file = store.add_attachment(me.id, "notes <b>.txt", "text/plain", text.encode())
    assert store.attachment(me.id, file.id) == file and file.size_bytes == len(text.encode())
    assert store.attachment_text(me.id, file.id) == text


def test_attachments_that_cannot_be(store: Store, me: Account) -> None:
    files = [
        ("a", b"\xff", "not_text"), ("a", b"a\0b", "not_text"), ("a", b"x" * (1 << 20) + b"y", "file_too_large"),
        ("", b"", "invalid_value"), ("x" * 256, b"", "invalid_value"), ("a\0", b"x", "not_writable"),
    ]  # fmt: skip
    for name, data, code in files:
        with pytest.raises(DataError) as caught:
            store.add_attachment(me.id, name, "text/plain", data)
        assert caught.value.code == code
    assert store.export_account(me.id)["attachments"] == []


def test_personas(store: Store, me: Account) -> None:
    card = {"spec": "chara_card_v2", "data": {"name": "林"}}
    made = store.add_persona(
        me.id, name="林", description="d", system_prompt="s", greeting="g", avatar=PNG, source=card
    )
    assert store.persona(me.id, made.id) == made and (made.avatar, made.source, made.example) == (
        PNG,
        card,
        "",
    )
    other = store.add_persona(me.id, name="Lin")
    changed = store.update_persona(me.id, made.id, name="Captain", avatar=None)
    assert (changed.name, changed.avatar, changed.greeting) == ("Captain", None, "g")
    assert store.personas(me.id) == [changed, other]
    talk = store.create_conversation(me.id, persona_id=made.id)
    store.delete_persona(me.id, made.id)
    assert store.conversation(me.id, talk.id).persona_id is None and store.personas(me.id) == [other]
    with pytest.raises(NotFoundError):
        store.update_conversation(me.id, talk.id, persona_id=made.id)


IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    ({"name": " "}, "persona_name"), ({"name": "x" * 201}, "persona_name"), ({"name": 3}, "persona_name"),
    ({"greeting": None}, "persona_words"), ({"example": "x" * 200_001}, "persona_words"), ({"id": "x"}, "invalid_value"),
    ({"avatar": b"<svg onload=alert(1)>"}, "persona_picture"), ({"avatar": PNG + bytes(512_000)}, "persona_picture"),
    ({"avatar": "png"}, "persona_picture"), ({"source": {"x": "y" * 2_000_000}}, "file_too_large"),
    ({"source": []}, "file_too_large"), ({"description": "\0"}, "not_writable"),
]  # fmt: skip


def test_personas_that_cannot_be(store: Store, me: Account) -> None:
    made = store.add_persona(me.id, name="Lin")
    for changes, code in IMPOSSIBLE:
        with pytest.raises(DataError) as caught:
            store.update_persona(me.id, made.id, **changes)
            pytest.fail(str(changes)[:200])
        assert caught.value.code == code
    assert store.personas(me.id) == [made]
