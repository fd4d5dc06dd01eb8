"""Export and import: what goes out comes in again as it was, and what is hostile comes in not at all, and soon."""

import json
import time
from typing import Any

import pytest
from sqlalchemy import Connection, delete

from liaoliao.errors import DataError, NotFoundError
from liaoliao.messages import Message, ToolCall
from liaoliao.store import Account, Store, schema
from liaoliao.store.importing import Importer
from liaoliao.store.records import ToolUse
from liaoliao.store.wire import ExportedConversation


def fill(store: Store, id: str) -> None:
    """An account with everything that an export has, some of it twice."""
    store.create_account_key(id, "laptop")
    card = {"spec": "chara_card_v2"}
    lin = store.add_persona(id, name="林", greeting="你好", avatar=b"\xff\xd8\xff123", source=card).id
    file = store.add_attachment(id, "notes.txt", "text/plain", "渡轮 9 点".encode()).id
    talk = store.create_conversation(id, title="Ferries", model="m", persona_id=lin, settings={"seed": 1}).id
    asked = store.add_message(id, talk, Message.user("when? 几点\0"), None, attachment_ids=[file]).id
    made = store.begin_generation(id, talk, asked, model="m", model_version="v", params={"top_k": 5}).id
    call = ToolCall("1", "clock", "{}")
    reply = Message.assistant("at 9", reasoning="hm", tool_calls=[call])
    store.finish_generation(
        made,
        reply,
        "length",
        token_ids=[1, 2],
        prompt_tokens=3,
        completion_tokens=2,
        total_s=0.5,
        first_token_s=0.1,
        error="no room",
        error_code="overloaded",
        tool_uses=[
            ToolUse("call_0", "lookup", '{"of": "渡轮"}', "9:00"),
            ToolUse("call_1", "lookup", "{}", None),
        ],
    )
    better = store.add_message(id, talk, Message.assistant("at 10"), asked, edited_from=made).id
    store.add_message(id, talk, Message.tool("9:00", "1"), made)
    store.set_feedback(id, made, -1, ["not true"], "it is 10")
    store.add_vote(id, asked, better, made)
    store.update_conversation(id, talk, pinned=True, head_id=better)
    store.create_conversation(id, title="empty")


def tidied(data: dict[str, Any]) -> list[Any]:
    """The conversations of an export with ids numbered in the order in which they come."""
    known: dict[str, str] = {}

    def tidy(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: tidy(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [tidy(item, key) for item in value]
        is_name = key in ("attachments", "edited_from") or key.endswith("id")
        return known.setdefault(value, str(len(known))) if is_name and isinstance(value, str) else value

    return [tidy(data[part]) for part in ("conversations", "personas", "attachments")]


def without_times(data: Any) -> Any:
    """Personas and files are as old as their import."""
    if isinstance(data, dict):
        return {name: without_times(item) for name, item in data.items() if name != "created_at"}
    return [without_times(item) for item in data] if isinstance(data, list) else data


def test_what_goes_out_comes_in_as_it_was(store: Store, me: Account) -> None:
    fill(store, me.id)
    exported = store.export_account(me.id)
    wire = json.loads(json.dumps(exported, ensure_ascii=False, allow_nan=False))
    assert wire == exported
    anna = store.create_account("anna", "correct horse")
    report = store.import_conversations(anna.id, wire)
    assert (report.num_conversations, report.num_messages, report.skipped) == (2, 4, ())
    again = store.export_account(anna.id)
    assert without_times(tidied(again)) == without_times(tidied(exported))
    first, second = exported["conversations"][0], again["conversations"][0]
    assert [m["created_at"] for m in first["messages"]] == [m["created_at"] for m in second["messages"]]
    assert not {m["id"] for m in first["messages"]} & {m["id"] for m in second["messages"]}
    assert store.export_account(me.id)["conversations"] == exported["conversations"], (
        "the source is untouched"
    )
    assert (
        len(store.conversations(anna.id, query="几点")) == 1
        and len(store.conversations(anna.id, query="empt")) == 1
    )


def test_an_export_has_everything_but_secrets(store: Store, me: Account) -> None:
    fill(store, me.id)
    exported = store.export_account(me.id)
    assert set(exported) == {
        "format", "exported_at", "account", "keys", "personas", "attachments", "conversations",
    }  # fmt: skip
    assert exported["format"] == "liaoliao/1" and exported["account"]["name"] == "owner"
    (key,) = exported["keys"]
    assert set(key) == {"name", "prefix", "created_at", "last_used_at"}
    with pytest.raises(NotFoundError):
        store.export_account("0" * 26)


def test_what_was_running_comes_in_interrupted(store: Store, me: Account) -> None:
    talk = store.create_conversation(me.id).id
    asked = store.add_message(me.id, talk, Message.user("?"), None).id
    store.begin_generation(me.id, talk, asked, model="m", model_version="v", params={})
    store.import_conversations(me.id, store.export_account(me.id))
    newest = [line.id for line in store.conversations(me.id) if line.id != talk]
    assert [node.status for node in store.nodes(me.id, newest[0])] == ["done", "interrupted"]


def test_a_persona_that_is_there_already_is_not_made_again(store: Store, me: Account) -> None:
    """A long list comes in pieces, and each of them has the personas."""
    fill(store, me.id)
    data = store.export_account(me.id)
    anna = store.create_account("anna", "correct horse")
    for _ in range(2):
        assert store.import_conversations(anna.id, data).num_conversations == 2
    [lin] = store.personas(anna.id)
    assert [mine.id for mine in store.personas(me.id)] == [data["personas"][0]["id"]] != [lin.id]
    talks = [talk for talk in store.conversations(anna.id) if talk.title == "Ferries"]
    assert [talk.persona_id for talk in talks] == [lin.id] * 2
    others: list[dict[str, Any]] = [{"greeting": "早"}, {"avatar": None}, {"source": {"spec": "other"}}]
    for change in (*others, *others):
        changed = {**data, "personas": [{**data["personas"][0], **change}]}
        assert store.import_conversations(anna.id, changed).skipped == ()
    kept = store.personas(anna.id)
    assert len(kept) == 4 and kept[0] == lin
    assert {talk.persona_id for talk in store.conversations(anna.id) if talk.title == "Ferries"} == {
        persona.id for persona in kept
    }


def test_a_persona_that_is_deleted_meanwhile_holds_nothing_up(
    store: Store, me: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, me.id)
    data = store.export_account(me.id)
    anna, keep = store.create_account("anna", "correct horse"), Importer.keep

    def late(importer: Importer, connection: Connection, label: str, talk: ExportedConversation) -> None:
        connection.execute(delete(schema.personas).where(schema.personas.c.account_id == anna.id))
        keep(importer, connection, label, talk)

    monkeypatch.setattr(Importer, "keep", late)
    report = store.import_conversations(anna.id, data)
    assert (report.num_conversations, report.skipped) == (2, ())
    assert [talk.persona_id for talk in store.conversations(anna.id)] == [None, None]


def test_a_reply_that_goes_on_with_another_does_so_here(store: Store, me: Account) -> None:
    talk = store.create_conversation(me.id).id
    asked = store.add_message(me.id, talk, Message.user("when?"), None).id
    begun = store.add_message(me.id, talk, Message.assistant("at"), asked).id
    prompts: list[Any] = [
        {"system": "s", "left_out": 0, "continues": begun}, {"continues": "0" * 26}, {"continues": [begun]},
        {"system": begun}, begun,
    ]  # fmt: skip
    for prompt in prompts:
        params = {"top_k": 5, "prompt": prompt}
        made = store.begin_generation(me.id, talk, asked, model="m", model_version="v", params=params).id
        store.finish_generation(made, Message.assistant("at 9"), "done")
    anna = store.create_account("anna", "correct horse")
    store.import_conversations(anna.id, store.export_account(me.id))
    [line] = store.conversations(anna.id)
    _, here, *replies = store.nodes(anna.id, line.id)
    assert here.message.text == "at" and here.id != begun
    kept = [reply.generation.params for reply in replies if reply.generation is not None]
    assert [params["prompt"] for params in kept] == [
        {"system": "s", "left_out": 0, "continues": here.id}, {"continues": None}, {"continues": None},
        {"system": begun}, begun,
    ]  # fmt: skip
    assert [params["top_k"] for params in kept] == [5] * 5


MESSAGE = {
    "id": "a",
    "parent_id": None,
    "role": "user",
    "parts": [{"type": "text", "text": "hi"}],
    "created_at": 1.0,
}
REPLY = {**MESSAGE, "id": "b", "parent_id": "a", "role": "assistant"}
TALK = {"id": "t", "title": "t", "created_at": 1.0, "updated_at": 2.0, "messages": [MESSAGE, REPLY]}
MADE = {"model": "m", "model_version": "v", "params": {}}
GIVEN = {"thumb": 1, "reasons": [], "comment": "", "updated_at": 1.0}


def message(**changes: Any) -> dict[str, Any]:
    return {**TALK, "messages": [MESSAGE, {**REPLY, **changes}]}


HOSTILE: list[tuple[Any, str]] = [
    (3, "object"), ({}, "missing"), ({**TALK, "surprise": 1}, "surprise"), ({**TALK, "title": 7}, "title"),
    ({**TALK, "title": "\ud800"}, "surrogate"), ({**TALK, "title": "\0"}, "NUL"),
    ({**TALK, "created_at": float("nan")}, "Unix"), ({**TALK, "updated_at": 1e300}, "Unix"),
    ({**TALK, "created_at": 10**400}, ""), ({**TALK, "created_at": -1.0}, "Unix"),
    ({**TALK, "settings": {"x": float("inf")}}, "JSON"), ({**TALK, "head_id": "zzz"}, "head_id"),
    ({**TALK, "messages": [MESSAGE, MESSAGE]}, "one id"), ({**TALK, "messages": "aaa"}, "messages"),
    (message(parent_id="zzz"), "not there"), (message(parent_id="b"), "circle"), (message(role="wizard"), "role"),
    (message(parts=[{"type": "oops"}]), "part.type"), (message(parts=[{"type": "tool_result", "call_id": "",
    "output": ""}]), "cannot hold"), (message(role="tool", parts=[]), "exactly one"),
    (message(parts=[{"type": "text", "text": "\ud800"}]), "surrogate"), (message(status="great"), "status"),
    (message(created_at="now"), "created_at"), (message(edited_from="a"), "sibling"), (message(id=None), "id"),
    (message(generation={**MADE, "prompt_tokens": -1}), "figures"), (message(generation=[]), "generation"),
    (message(generation={**MADE, "prompt_tokens": 2**31}), "figures"),
    (message(generation={**MADE, "total_s": float("inf")}), "figures"),
    (message(generation={**MADE, "token_ids": [-1]}), "token ids"),
    (message(generation={**MADE, "token_ids": [1.5]}), "token_ids"),
    (message(generation=MADE, role="user"), "generated"), (message(feedback={**GIVEN, "thumb": 2}), "thumb"),
    (message(feedback=GIVEN, role="user"), "assistant"), (message(feedback={**GIVEN, "comment": "\0"}), "NUL"),
    ({**TALK, "votes": [{"parent_id": "a", "chosen_id": "b", "rejected_id": "b", "created_at": 1.0}]}, "vote"),
    ({**TALK, "votes": [{"parent_id": "b", "chosen_id": "b", "rejected_id": None, "created_at": 1.0}]}, "vote"),
]  # fmt: skip


def test_hostile_conversations_are_named_and_left_out_whole(store: Store, me: Account) -> None:
    """All in one file, which has good ones first and last."""
    good = {**TALK, "title": "good"}
    talks = [good, *(talk for talk, _ in HOSTILE), good]
    report = store.import_conversations(me.id, {"format": "liaoliao/1", "conversations": talks})
    assert (report.num_conversations, report.num_messages) == (2, 4)
    told = {int(line.split()[1].rstrip(":")): line for line in report.skipped}
    assert sorted(told) == list(range(2, 2 + len(HOSTILE)))
    for number, (_, why) in enumerate(HOSTILE, start=2):
        assert why in told[number] and len(told[number]) <= 500
    assert [line.title for line in store.conversations(me.id)] == ["good", "good"]


def test_files_of_other_kinds(store: Store, me: Account) -> None:
    files: list[object] = [
        None, 3, "text", {}, [3], [{"chat_messages": []}], {"format": "liaoliao/2"}, {"format": ["liaoliao/1"]},
        {"format": "liaoliao/1", "conversations": {}}, {"format": "liaoliao/1", "personas": 3},
    ]  # fmt: skip
    for data in files:
        with pytest.raises(DataError) as caught:
            store.import_conversations(me.id, data)
        assert caught.value.code == "no_export"
    with pytest.raises(NotFoundError):
        store.import_conversations("0" * 26, [])


def test_belongings_that_cannot_be_are_named(store: Store, me: Account) -> None:
    words = dict.fromkeys(("description", "system_prompt", "greeting", "example"), "")
    persona = {"id": "p", "name": "Lin", "created_at": 1.0, **words}
    file = {"id": "f", "name": "a", "media_type": "text/plain", "created_at": 1.0, "text": "\0"}
    talk = {**message(), "persona_id": "p"}
    shown = {**TALK, "messages": [{**MESSAGE, "attachments": ["f"]}]}
    lost = {**TALK, "messages": [{**MESSAGE, "attachments": ["elsewhere"]}]}
    data = {
        "format": "liaoliao/1", "conversations": [talk, shown, lost],
        "personas": [{**persona, "avatar": "!!!"}, 3, {**persona, "id": "q", "name": "\ud800", "greeting": "\0"}],
        "attachments": [file],
    }  # fmt: skip
    report = store.import_conversations(me.id, data)
    assert report.num_conversations == 2 and store.personas(me.id) == []
    told = "\n".join(report.skipped)
    for why in (
        "a persona: expected an object",
        "persona ?: ",
        "avatar",
        "conversation 2 (t): a: not a text file",
        "not in the file",
    ):
        assert why in told
    assert store.conversations(me.id)[0].persona_id is None


def test_what_nests_or_goes_on_without_end_ends_soon(store: Store, me: Account) -> None:
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    circle = [{**MESSAGE, "id": str(n), "parent_id": str((n + 1) % 2000)} for n in range(2000)]
    talks = [{**TALK, "settings": {"x": deep}}, {**TALK, "title": deep}, {**TALK, "messages": circle}]
    began = time.monotonic()
    report = store.import_conversations(me.id, {"format": "liaoliao/1", "conversations": talks + [5] * 1500})
    assert time.monotonic() - began < 20
    assert report.num_conversations == 0
    assert len(report.skipped) == 1001 and report.skipped[-1] == "and 503 more"


def test_what_the_database_refuses_takes_back_itself_alone(store: Store, me: Account) -> None:
    """What is bad only in the database's eyes takes back its own conversation, in the midst of a batch, and no more."""
    odd = message(generation={**MADE, "model": "\0"})
    data = {"format": "liaoliao/1", "conversations": [TALK, odd, TALK]}
    report = store.import_conversations(me.id, data)
    assert report.num_conversations == 2 and "NUL" in report.skipped[0]
    assert len(store.conversations(me.id)) == 2
