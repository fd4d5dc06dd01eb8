"""Conversations: their order in the list, what can be changed of them, and what goes with them."""

import itertools
import time
from typing import Any

import pytest
from sqlalchemy import text

from liaoliao.errors import DataError, NotFoundError
from liaoliao.messages import Message
from liaoliao.store import Account, Store


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the clock is a second later."""
    seconds = itertools.count(1_800_000_000)
    monkeypatch.setattr(time, "time", lambda: float(next(seconds)))


def test_what_is_kept_is_what_was_given(store: Store, me: Account) -> None:
    persona = store.add_persona(me.id, name="Lin")
    settings = {"system": "Be brief. 简短。", "temperature": 0.7, "seed": None, "stop": ["\0"]}
    made = store.create_conversation(me.id, title="渡轮", model="m", persona_id=persona.id, settings=settings)
    assert store.conversation(me.id, made.id) == made
    assert (made.title, made.model, made.persona_id, made.settings) == ("渡轮", "m", persona.id, settings)
    assert (made.pinned, made.head_id, made.created_at) == (False, None, made.updated_at)


@pytest.mark.usefixtures("ticking")
def test_pinned_first_then_newest_and_pages_fit_together(store: Store, me: Account) -> None:
    ids = [store.create_conversation(me.id, title=str(number)).id for number in range(7)]
    store.update_conversation(me.id, ids[1], pinned=True)
    store.update_conversation(me.id, ids[4], pinned=True)
    store.add_message(me.id, ids[0], Message.user("hi"), None)  # touched last
    store.update_conversation(me.id, ids[2], title="renamed")  # which is no news
    expected = [ids[4], ids[1], ids[0], ids[6], ids[5], ids[3], ids[2]]
    assert [one.id for one in store.conversations(me.id)] == expected
    pages, before = [], None
    while page := store.conversations(me.id, limit=2, before=before):
        pages += [one.id for one in page]
        before = page[-1].id
    assert pages == expected


def test_a_list_tells_what_a_conversation_tells(store: Store, me: Account) -> None:
    made = store.create_conversation(me.id, title="t", model="m")
    (line,) = store.conversations(me.id)
    for name in type(line).__dataclass_fields__:
        assert name == "snippet" or getattr(line, name) == getattr(made, name)
    assert line.snippet is None


def test_changes(store: Store, me: Account) -> None:
    talk = store.create_conversation(me.id, title="a", settings={"seed": 1})
    asked = store.add_message(me.id, talk.id, Message.user("1"), None)
    store.add_message(me.id, talk.id, Message.user("2"), None)
    persona = store.add_persona(me.id, name="Lin")
    changes: dict[str, Any] = {
        "title": "b", "pinned": True, "model": "m", "settings": {"seed": 2}, "head_id": asked.id,
        "persona_id": persona.id,
    }  # fmt: skip
    changed = store.update_conversation(me.id, talk.id, **changes)
    assert {name: getattr(changed, name) for name in changes} == changes
    assert store.conversation(me.id, talk.id) == changed
    cleared = store.update_conversation(me.id, talk.id, model=None, persona_id=None, head_id=None)
    assert (cleared.model, cleared.persona_id, cleared.head_id, cleared.title) == (None, None, None, "b")
    assert store.update_conversation(me.id, talk.id) == cleared


IMPOSSIBLE: list[dict[str, Any]] = [
    {"titel": "x"}, {"title": None}, {"title": "x" * 501}, {"title": "\0"}, {"title": "\ud800"}, {"pinned": 1},
    {"settings": []}, {"settings": {"x": float("nan")}}, {"settings": {"x": {1, 2}}}, {"model": 3},
    {"settings": {"x": "y" * 100_000}}, {"settings": {"x": "\ud800"}}, {"id": "x"}, {"account_id": "x"},
]  # fmt: skip


def test_changes_that_cannot_be(store: Store, me: Account) -> None:
    talk = store.create_conversation(me.id, title="a")
    for changes in IMPOSSIBLE:
        with pytest.raises(DataError):
            store.update_conversation(me.id, talk.id, **changes)
            pytest.fail(str(changes))
    assert store.conversation(me.id, talk.id) == talk


def test_settings_that_nest_without_end(store: Store, me: Account) -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(DataError, match="deep"):
        store.create_conversation(me.id, settings={"x": deep})


def test_the_head_is_a_message_of_this_conversation(store: Store, me: Account) -> None:
    talk, other = store.create_conversation(me.id), store.create_conversation(me.id)
    elsewhere = store.add_message(me.id, other.id, Message.user("1"), None)
    with pytest.raises(DataError, match="another conversation"):
        store.update_conversation(me.id, talk.id, head_id=elsewhere.id)
    with pytest.raises(NotFoundError):
        store.update_conversation(me.id, talk.id, head_id="0" * 26)


def test_deleting_takes_messages_and_files_along_but_not_those_that_others_show(
    store: Store, me: Account
) -> None:
    kept, gone = store.create_conversation(me.id), store.create_conversation(me.id)
    shared, own = (store.add_attachment(me.id, name, "text/plain", b"x") for name in ("shared", "own"))
    store.add_message(me.id, kept.id, Message.user("a"), None, attachment_ids=[shared.id])
    asked = store.add_message(me.id, gone.id, Message.user("b"), None, attachment_ids=[shared.id, own.id])
    reply = store.add_message(me.id, gone.id, Message.assistant("c"), asked.id)
    store.set_feedback(me.id, reply.id, 1, [], "")
    store.delete_conversation(me.id, gone.id)
    assert [one.id for one in store.conversations(me.id)] == [kept.id]
    assert store.attachment_text(me.id, shared.id) == "x"
    for use in (
        lambda: store.attachment_text(me.id, own.id),
        lambda: store.node(me.id, asked.id),
        lambda: store.conversation(me.id, gone.id),
        lambda: store.delete_conversation(me.id, gone.id),
    ):
        with pytest.raises(NotFoundError):
            use()
    with store._database.read() as connection:
        count = connection.execute(text("SELECT count(*) FROM messages")).scalar()
    assert count == 1


def test_a_deep_tree_is_deleted_and_its_path_is_found(store: Store, me: Account) -> None:
    """Deeper than SQLite lets one deletion trigger the next."""
    messages = [
        {"id": str(n), "parent_id": str(n - 1) if n else None, "role": "user", "created_at": 1.0,
         "parts": [{"type": "text", "text": str(n)}]}
        for n in range(1200)
    ]  # fmt: skip
    talk = {"id": "t", "title": "deep", "created_at": 1.0, "updated_at": 1.0, "messages": messages}
    store.import_conversations(me.id, {"format": "liaoliao/1", "conversations": [talk]})
    (line,) = store.conversations(me.id)
    nodes = store.nodes(me.id, line.id)
    assert [node.message.text for node in store.path(me.id, nodes[-1].id)] == list(map(str, range(1200)))
    store.delete_conversation(me.id, line.id)
    assert store.conversations(me.id) == [] == store.conversations(me.id, query="119")
