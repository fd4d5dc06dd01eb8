"""Several calls as one transaction: all of them or none, and nobody else's among them."""

import threading

import pytest

from liaoliao.errors import DataError
from liaoliao.messages import Message
from liaoliao.store import Account, Store


def say(store: Store, me: Account, talk: str, text: str) -> str:
    return store.add_message(me.id, talk, Message.user(text), None).id


def texts(store: Store, me: Account, talk: str) -> list[str]:
    return [node.message.text for node in store.nodes(me.id, talk)]


def test_all_or_none(store: Store, me: Account, url: str) -> None:
    talk = store.create_conversation(me.id).id
    with Store.open(url) as other:
        with store.together():
            say(store, me, talk, "a")
            say(store, me, talk, "b")
            assert texts(store, me, talk) == ["a", "b"], "one's own words are seen"
            assert texts(other, me, talk) == [], "others do not see them yet"
        assert texts(other, me, talk) == ["a", "b"]
        with pytest.raises(RuntimeError), store.together():
            say(store, me, talk, "c")
            raise RuntimeError("nothing of this")
        assert texts(store, me, talk) == texts(other, me, talk) == ["a", "b"]


def test_a_call_that_fails_undoes_itself_alone(store: Store, me: Account) -> None:
    talk, elsewhere = (store.create_conversation(me.id).id for _ in range(2))
    there = say(store, me, elsewhere, "there")
    with store.together():
        say(store, me, talk, "a")
        with pytest.raises(DataError):
            store.add_message(me.id, talk, Message.user("x"), there)
        with pytest.raises(RuntimeError), store.together():
            say(store, me, talk, "b")
            raise RuntimeError("nothing of this")
        say(store, me, talk, "c")
    assert texts(store, me, talk) == ["a", "c"]


def test_other_threads_are_not_in_it(store: Store, me: Account) -> None:
    talk = store.create_conversation(me.id).id
    seen: list[list[str]] = []
    looking = threading.Thread(target=lambda: seen.append(texts(store, me, talk)))
    with store.together():
        say(store, me, talk, "a")
        looking.start()
        looking.join()
    assert seen == [[]] and texts(store, me, talk) == ["a"]
