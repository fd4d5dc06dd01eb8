"""Files that nobody sent are not kept for ever; those that a message shows are."""

import threading
import time

import pytest

from liaoliao.errors import NotFoundError
from liaoliao.messages import Message
from liaoliao.store import Account, Store
from liaoliao.store.attachments import UNUSED_S


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time as the store sees it."""
    now = [1_800_000_000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    return now


def give(store: Store, me: Account, name: str) -> str:
    return store.add_attachment(me.id, name, "text/plain", b"text").id


def kept(store: Store, me: Account, ids: list[str]) -> list[bool]:
    def is_there(id: str) -> bool:
        try:
            return store.attachment(me.id, id) is not None
        except NotFoundError:
            return False

    return [is_there(id) for id in ids]


def test_what_no_message_shows_goes_after_a_day(store: Store, me: Account, clock: list[float]) -> None:
    talk = store.create_conversation(me.id).id
    sent, lost, second = (give(store, me, name) for name in ("sent", "lost", "second"))
    store.add_message(me.id, talk, Message.user("?"), None, attachment_ids=[sent])
    clock[0] += UNUSED_S - 1
    fresh = give(store, me, "fresh")
    assert store.forget_unused() == 0
    clock[0] += 1
    assert [store.forget_unused(most=1) for _ in range(3)] == [1, 1, 0]
    assert kept(store, me, [sent, lost, second, fresh]) == [True, False, False, True]
    store.add_message(me.id, talk, Message.user("?"), None, attachment_ids=[fresh])
    clock[0] += 10 * UNUSED_S
    assert store.forget_unused() == 0


def test_a_file_that_is_being_sent_is_not_unused(
    store: Store, me: Account, clock: list[float], url: str
) -> None:
    """Sent and thrown away at the same moment: either the message has it, or it is gone before; never a message whose
    file is gone.
    """
    talk = store.create_conversation(me.id).id
    file = give(store, me, "old")
    clock[0] += UNUSED_S
    with Store.open(url) as other:
        forgetting = threading.Thread(target=other.forget_unused)
        with store.together():
            store.add_message(me.id, talk, Message.user("?"), None, attachment_ids=[file])
            forgetting.start()
            forgetting.join(0.1)  # SQLite has it wait, PostgreSQL has it leave out what somebody holds
        forgetting.join()
    assert kept(store, me, [file]) == [True]
    assert [shown.id for shown in store.nodes(me.id, talk)[0].attachments] == [file]


def test_a_file_that_is_being_thrown_away_cannot_be_sent(
    store: Store, me: Account, clock: list[float], url: str
) -> None:
    talk = store.create_conversation(me.id).id
    file = give(store, me, "old")
    clock[0] += UNUSED_S
    refused: list[NotFoundError] = []

    def send() -> None:
        with pytest.raises(NotFoundError, match="attachment") as caught:
            store.add_message(me.id, talk, Message.user("?"), None, attachment_ids=[file])
        refused.append(caught.value)

    with Store.open(url) as other:
        sending = threading.Thread(target=send)
        with other.together():
            assert other.forget_unused() == 1
            sending.start()
            sending.join(0.1)
            assert sending.is_alive(), "it waits to see how that ends"
        sending.join()
    assert len(refused) == 1 and store.nodes(me.id, talk) == []


def test_a_file_that_is_just_being_shown_elsewhere_outlives_its_conversation(
    store: Store, me: Account, url: str
) -> None:
    first, second = (store.create_conversation(me.id).id for _ in range(2))
    file = give(store, me, "shared")
    store.add_message(me.id, first, Message.user("?"), None, attachment_ids=[file])
    with Store.open(url) as other:
        deleting = threading.Thread(target=other.delete_conversation, args=(me.id, first))
        with store.together():
            store.add_message(me.id, second, Message.user("?"), None, attachment_ids=[file])
            deleting.start()
            deleting.join(0.1)
            assert deleting.is_alive(), "it waits to see who shows the file"
        deleting.join()
    assert [line.id for line in store.conversations(me.id)] == [second] and kept(store, me, [file]) == [True]
    assert [shown.id for shown in store.nodes(me.id, second)[0].attachments] == [file]
