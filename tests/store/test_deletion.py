"""Deleting an account deletes it: no row in any table, no gram in the index, no byte in the files."""

from liaoliao.messages import Message
from liaoliao.store import Store
from tests.store.leftovers import bytes_left, grams_left, rows_left

GOOD = "correct horse"


def fill(store: Store, name: str, word: str) -> str:
    """An account that has one of everything, with the word in each."""
    id = store.create_account(name, GOOD).id
    store.create_session(id, 60.0)
    store.create_account_key(id, word)
    persona = store.add_persona(id, name=word, system_prompt=word, avatar=b"\xff\xd8\xff" + word.encode() * 9)
    talk = store.create_conversation(id, title=word, persona_id=persona.id, settings={"system": word}).id
    file = store.add_attachment(id, word, "text/plain", word.encode() * 1000).id
    asked = store.add_message(id, talk, Message.user(word * 1000), None, attachment_ids=[file]).id
    made = store.begin_generation(id, talk, asked, model="m", model_version="v", params={"stop": word}).id
    store.save_partial(made, Message.assistant(word * 300), [1])
    store.finish_generation(made, Message.assistant(word * 500), "done", error=word)
    store.set_feedback(id, made, -1, [word], word)
    other = store.add_message(id, talk, Message.assistant(word), asked, edited_from=made).id
    store.add_vote(id, asked, other, made)
    store.update_conversation(id, talk, title=word * 2)
    store.keep_answered(id, talk, word.encode().hex(), "digest", talk, [asked, made])
    return id


def test_nothing_is_left_of_an_account(store: Store) -> None:
    fill(store, "anna", "苹果apple")
    empty = rows_left(store)
    assert all(count > 0 for count in empty.values()), "the test fills every table"
    grams = grams_left(store)
    ben = fill(store, "ben", "香蕉banana")
    assert all(count > empty[name] for name, count in rows_left(store).items())
    store.delete_account(ben)
    assert rows_left(store) == empty and grams_left(store) == grams
    file = store._database.file
    if file is not None:
        left = bytes_left(file)
        for trace in ("香蕉", "banana", "anan", "ben", ben):
            assert trace.encode() not in left, trace
        assert "苹果apple".encode() in left, "the files that were searched are the right ones"


def test_nothing_is_left_of_a_conversation_in_the_tables(store: Store) -> None:
    id = store.create_account("anna", GOOD).id
    talk = store.create_conversation(id, title="t").id
    asked = store.add_message(id, talk, Message.user("u"), None).id
    store.begin_generation(id, talk, asked, model="m", model_version="v", params={})
    store.delete_conversation(id, talk)
    assert {name for name, count in rows_left(store).items() if count} == {"accounts"} and grams_left(
        store
    ) == 0
