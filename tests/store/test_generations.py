"""Generations: kept while they are made, finished once, and interrupted only when their server is no more."""

import os
import subprocess
import sys
import threading

import pytest

from liaoliao.errors import DataError, NotFoundError, UsageError
from liaoliao.messages import Message, Reasoning, Text
from liaoliao.store import Account, Node, Store, presence
from liaoliao.store.ids import new_id
from liaoliao.store.records import ToolUse

LEAVE_RUNNING = """
import sys
from liaoliao.messages import Message
from liaoliao.store import Store

store = Store.open(sys.argv[1])
me = store.single_account()
talk = store.create_conversation(me.id)
asked = store.add_message(me.id, talk.id, Message.user("when?"), None)
node = store.begin_generation(me.id, talk.id, asked.id, model="m", model_version="v", params={})
store.save_partial(node.id, Message.assistant("It leaves at"), [1, 2, 3])
print(node.id, flush=True)
sys.stdin.readline()
"""


def begin(store: Store, me: Account) -> Node:
    talk = store.create_conversation(me.id)
    asked = store.add_message(me.id, talk.id, Message.user("when?"), None)
    return store.begin_generation(me.id, talk.id, asked.id, model="m", model_version="v", params={"seed": 7})


def test_a_reply_from_beginning_to_end(store: Store, me: Account) -> None:
    node = begin(store, me)
    assert (node.status, node.message, node.role) == ("running", Message.assistant(""), "assistant")
    assert store.conversation(me.id, node.conversation_id).head_id == node.id
    store.save_partial(node.id, Message.assistant("It", reasoning="hm"), [5, 6])
    part = store.node(me.id, node.id)
    assert part.message.parts == (Reasoning("hm"), Text("It")) and part.status == "running"
    assert part.generation is not None and part.generation.token_ids == (5, 6)
    done = store.finish_generation(
        node.id, Message.assistant("It leaves."), "length", token_ids=[5, 6, 4_000_000_000], opening_tokens=1,
        prompt_tokens=9, completion_tokens=3, cached_tokens=4, first_token_s=0.25, total_s=1.5,
        finish_reason="length", error="none really", error_code="overloaded",
    )  # fmt: skip
    made = done.generation
    assert done == store.node(me.id, node.id) and done.status == "length" and made is not None
    assert (made.model, made.model_version, made.params) == ("m", "v", {"seed": 7})
    assert (made.token_ids, made.opening_tokens) == ((5, 6, 4_000_000_000), 1)
    assert (made.prompt_tokens, made.completion_tokens, made.cached_tokens) == (9, 3, 4)
    assert (made.first_token_s, made.total_s, made.finish_reason) == (0.25, 1.5, "length")
    assert (made.error, made.error_code) == ("none really", "overloaded")


def test_a_reply_is_finished_once(store: Store, me: Account) -> None:
    node = begin(store, me)
    store.finish_generation(node.id, Message.assistant("yes"), "stopped")
    with pytest.raises(UsageError, match="finished already"):
        store.save_partial(node.id, Message.assistant("ye"), [])
    with pytest.raises(UsageError, match="finished already"):
        store.finish_generation(node.id, Message.assistant("no"), "done")
    assert store.node(me.id, node.id).message.text == "yes"


def test_what_is_not_a_reply_in_the_making(store: Store, me: Account) -> None:
    node = begin(store, me)
    asked = store.path(me.id, node.id)[0]
    for id in (asked.id, "0" * 26, "", "\0"):
        with pytest.raises(NotFoundError):
            store.save_partial(id, Message.assistant("x"), [])
    with pytest.raises(DataError, match="not running"):
        store.finish_generation(node.id, Message.assistant("x"), "running")
    with pytest.raises(DataError, match="assistant message"):
        store.finish_generation(node.id, Message.user("x"), "done")
    for ids in ([-1], [2**32]):
        with pytest.raises(DataError, match="token ids"):
            store.save_partial(node.id, Message.assistant("x"), ids)
    store.delete_conversation(me.id, node.conversation_id)
    with pytest.raises(NotFoundError):
        store.finish_generation(node.id, Message.assistant("x"), "done")


def test_a_live_server_s_replies_are_left_alone(store: Store, me: Account, url: str) -> None:
    node = begin(store, me)
    with Store.open(url) as other:
        assert other.interrupt_running() == 0
    assert store.interrupt_running() == 0
    assert store.node(me.id, node.id).status == "running"
    assert store.finish_generation(node.id, Message.assistant("yes"), "done").status == "done"


def test_a_closed_store_leaves_its_replies_behind(url: str) -> None:
    with Store.open(url) as first:
        me = first.single_account()
        node = begin(first, me)
        first.save_partial(node.id, Message.assistant("half"), [1])
    with Store.open(url) as second:
        assert second.interrupt_running() == 1 and second.interrupt_running() == 0
        left = second.node(me.id, node.id)
        assert (left.status, left.message.text) == ("interrupted", "half")
        assert left.generation is not None and left.generation.token_ids == (1,)
        assert len(second.conversations(me.id, query="half")) == 1


def test_a_killed_server_s_replies_are_interrupted_and_only_then(url: str) -> None:
    """The other server is a real process, in the middle of a reply, and then it is killed."""
    other = subprocess.Popen(
        [sys.executable, "-c", LEAVE_RUNNING, url], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )
    with other, Store.open(url) as store:
        assert other.stdout is not None
        id = other.stdout.readline().strip()
        assert store.interrupt_running() == 0
        other.kill()
        other.wait()
        deadline = 100
        while (interrupted := store.interrupt_running()) == 0 and (deadline := deadline - 1):
            pass  # PostgreSQL takes a moment to notice
        assert interrupted == 1
        node = store.node(store.single_account().id, id)
        assert (node.status, node.message.text) == ("interrupted", "It leaves at")


def test_a_server_that_was_taken_for_dead_may_still_finish(store: Store, me: Account, url: str) -> None:
    node = begin(store, me)
    store._presence.release()  # as when the connection that holds the lock is lost
    with Store.open(url) as other:
        assert other.interrupt_running() == 1
    assert store.finish_generation(node.id, Message.assistant("after all"), "done").status == "done"
    again = begin(store, me)
    with Store.open(url) as other:
        assert other.interrupt_running() == 0
    assert store.node(me.id, again.id).status == "running"


def test_a_reply_that_is_finished_just_then_keeps_its_end(
    store: Store, me: Account, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its server is taken for dead, and finishes it between the look and the mark; on SQLite, after both."""
    node = begin(store, me)
    whole = (node.id, Message.assistant("It leaves."), "done")
    finishing = threading.Thread(target=store.finish_generation, args=whole)

    def alive(connection: object, server_id: str) -> bool:
        finishing.start()
        finishing.join(0.5)
        return False

    with Store.open(url) as other:
        monkeypatch.setattr(other._presence, "alive", alive)
        assert other.interrupt_running() in (0, 1)
    finishing.join()
    end = store.node(me.id, node.id)
    assert (end.status, end.message.text) == ("done", "It leaves.")


def test_nothing_stays_of_the_sign_of_life(store: Store, me: Account, url: str) -> None:
    begin(store, me)
    begin(store, me)
    file = store._database.file
    if file is not None:
        folder = file.with_name(file.name + ".servers")
        assert len(list(folder.iterdir())) == 1
        (folder / new_id()).touch()  # of a server that was killed
        store.interrupt_running()
        assert [sign.name for sign in folder.iterdir()] == [store._presence.id]
        store.close()
        assert not folder.exists()


def test_the_tools_that_were_run_are_kept_as_they_are_run(store: Store, me: Account) -> None:
    node = begin(store, me)
    assert node.generation is not None and node.generation.tool_uses == ()
    first = ToolUse("call_0", "lookup", '{"of": "渡轮\\u0000"}', None)
    store.save_partial(node.id, Message.assistant("It"), [5], [first])
    part = store.node(me.id, node.id).generation
    assert part is not None and part.tool_uses == (first,)
    both = (ToolUse("call_0", "lookup", "{}", "9:00\0"), ToolUse("call_1", "calculator", "", None))
    whole = Message.assistant("It leaves.")
    done = store.finish_generation(node.id, whole, "done", tool_uses=both).generation
    assert done is not None and done.tool_uses == both
    assert store.node(me.id, node.id).generation == done


def test_another_server_sees_who_makes_a_reply(store: Store, me: Account, url: str) -> None:
    node = begin(store, me)
    with Store.open(url) as other:
        for _ in range(2):
            assert other.is_made_elsewhere(node.id) and not store.is_made_elsewhere(node.id)
        assert not other.is_made_elsewhere(new_id()) and not other.is_made_elsewhere("")
        store.save_partial(node.id, Message.assistant("It"), [5])
        assert other.is_made_elsewhere(node.id)
        store.finish_generation(node.id, Message.assistant("It leaves."), "done")
        assert not other.is_made_elsewhere(node.id)
        left = begin(store, me)
        store.close()
        assert not other.is_made_elsewhere(left.id)


def test_those_who_look_are_not_taken_for_the_server(store: Store, me: Account, url: str) -> None:
    """A look at a dead server's sign takes hold of it for a moment; a second look meanwhile finds it dead all the same."""
    node = begin(store, me)
    with Store.open(url) as looker, Store.open(url) as other:
        dead, files = store._presence.id, looker._presence._files
        store.close()
        with looker._database.read() as connection:
            if files is None:
                assert not looker._presence.alive(connection, dead)
            else:
                files._folder.mkdir(exist_ok=True)  # as a server leaves it that is killed
                handle = os.open(files._folder / dead, os.O_RDWR | os.O_CREAT)
                assert presence._try_lock(handle, shared=True)
            assert not other.is_made_elsewhere(node.id), "the first look is not over"
            assert other.interrupt_running() == 1
        if files is not None:
            os.close(handle)


def test_a_reply_is_stopped_by_another_server(store: Store, me: Account, url: str) -> None:
    node = begin(store, me)
    store.save_partial(node.id, Message.assistant("It leaves at"), [1, 2])
    with Store.open(url) as other:
        stopped = other.stop_generation(me.id, node.id)
        assert (stopped.status, stopped.message.text) == ("stopped", "It leaves at")
        assert len(other.conversations(me.id, query="leaves")) == 1
        with pytest.raises(UsageError, match=r"finished already \(stopped\)"):
            store.save_partial(node.id, Message.assistant("It leaves at 9"), [1, 2, 3])
        assert other.stop_generation(me.id, node.id) == stopped
