"""Requests under a key: carried out once, whoever asks again, at whatever moment and of whichever server."""

import threading
import time

import pytest

from liaoliao.errors import NotFoundError
from liaoliao.messages import Message
from liaoliao.store import Account, Store
from liaoliao.store.records import AnsweredRequest


@pytest.fixture
def talk(store: Store, me: Account) -> str:
    return store.create_conversation(me.id).id


def ask(store: Store, me: Account, talk: str, key: str, digest: str = "d") -> tuple[str, ...]:
    """Say something under a key: the messages that came of it, now or before."""
    with store.together():
        done = store.answered_request(me.id, talk, key, alone=True)
        if done is not None:
            return done.message_ids
        asked = store.add_message(me.id, talk, Message.user("2+3?"), None).id
        store.keep_answered(me.id, talk, key, digest, talk, [asked])
        return (asked,)


def test_what_came_of_a_request_is_known_by_its_key(store: Store, me: Account, talk: str, url: str) -> None:
    other_talk = store.create_conversation(me.id).id
    assert store.answered_request(me.id, talk, "k") is None
    first = ask(store, me, talk, "k", "digest")
    done = store.answered_request(me.id, talk, "k")
    assert done is not None and done == AnsweredRequest("k", "digest", talk, first, done.created_at)
    with Store.open(url) as restarted:
        assert restarted.answered_request(me.id, talk, "k") == done and ask(restarted, me, talk, "k") == first
    assert [node.id for node in store.nodes(me.id, talk)] == list(first)
    assert ask(store, me, other_talk, "k") != first and ask(store, me, talk, "K") != first


def test_a_key_for_something_new_is_the_account_s_own(store: Store, me: Account, talk: str) -> None:
    other = store.create_account("ben", "correct horse")
    store.keep_answered(me.id, "", "k", "d", talk, [])
    done = store.answered_request(me.id, "", "k", alone=True)
    assert done is not None and (done.conversation_id, done.message_ids) == (talk, ())
    assert store.answered_request(other.id, "", "k") is None
    assert store.answered_request(me.id, talk, "k") is None
    for account, scope in ((other.id, talk), ("x", ""), (me.id, "x")):
        with pytest.raises(NotFoundError):
            store.answered_request(account, scope, "k")
    store.delete_conversation(me.id, talk)
    assert store.answered_request(me.id, "", "k") is None


def test_many_at_once_do_it_once(store: Store, me: Account, talk: str, url: str) -> None:
    """Of two servers, each asked from several sides."""
    found: list[tuple[str, ...]] = []
    start = threading.Barrier(8)

    def race(server: Store) -> None:
        start.wait()
        found.append(ask(server, me, talk, "k"))

    with Store.open(url) as other:
        threads = [threading.Thread(target=race, args=(server,)) for server in (store, other) * 4]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(found) == 8 and len(set(found)) == 1
    assert [node.id for node in store.nodes(me.id, talk)] == list(found[0])


def test_what_failed_was_not_carried_out(store: Store, me: Account, talk: str) -> None:
    with pytest.raises(RuntimeError), store.together():
        ask(store, me, talk, "k")
        raise RuntimeError("before the end")
    assert store.answered_request(me.id, talk, "k") is None and store.nodes(me.id, talk) == []


def test_a_key_is_good_for_a_day(
    store: Store, me: Account, talk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1_800_000_000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    first = ask(store, me, talk, "k")
    ask(store, me, talk, "another")
    now[0] += 86_399
    assert ask(store, me, talk, "k") == first and store.forget_answered() == 0
    now[0] += 1
    assert store.answered_request(me.id, talk, "k") is None
    second = ask(store, me, talk, "k")
    assert second != first and ask(store, me, talk, "k") == second
    assert [store.forget_answered(most=5) for _ in range(2)] == [1, 0], "another, and not this one"
    assert ask(store, me, talk, "k") == second
