"""Who may touch what: every method, with everything that is somebody else's, finds nothing, in the same words as for
what is not there. The methods are found, not listed: a new one that is not covered fails here.
"""

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from liaoliao.errors import NotFoundError
from liaoliao.messages import Message
from liaoliao.store import Store
from liaoliao.store.ids import new_id

OF_AN_ACCOUNT_ALONE = {
    "account", "set_role", "set_disabled", "shut_out", "set_password", "check_password", "delete_account",
    "create_session", "end_sessions", "create_account_key", "account_keys", "add_attachment", "add_persona", "personas",
    "export_account", "import_conversations",
}  # fmt: skip
OF_THE_SERVER = {
    "open", "close", "create_account", "create_first_account", "needs_setup", "verify_password", "accounts",
    "single_account", "find_session", "end_session", "find_account_key", "save_partial", "finish_generation",
    "interrupt_running", "is_made_elsewhere", "together", "forget_unused", "forget_answered",
}  # fmt: skip
Use = Callable[[Store, str, dict[str, str]], Any]
USES: dict[str, Use] = {
    "conversation": lambda s, who, its: s.conversation(who, its["talk"]),
    "update_conversation": lambda s, who, its: s.update_conversation(who, its["talk"], title="x"),
    "delete_conversation": lambda s, who, its: s.delete_conversation(who, its["talk"]),
    "conversations": lambda s, who, its: s.conversations(who, before=its["talk"]),
    "create_conversation": lambda s, who, its: s.create_conversation(who, persona_id=its["persona"]),
    "nodes": lambda s, who, its: s.nodes(who, its["talk"]),
    "node": lambda s, who, its: s.node(who, its["reply"]),
    "path": lambda s, who, its: s.path(who, its["reply"]),
    "votes": lambda s, who, its: s.votes(who, its["talk"]),
    "add_message": lambda s, who, its: s.add_message(who, its["talk"], Message.user("x"), None),
    "begin_generation": lambda s, who, its: s.begin_generation(
        who, its["talk"], its["asked"], model="m", model_version="v", params={}
    ),
    "stop_generation": lambda s, who, its: s.stop_generation(who, its["reply"]),
    "answered_request": lambda s, who, its: s.answered_request(who, its["talk"], "k"),
    "keep_answered": lambda s, who, its: s.keep_answered(who, its["talk"], "k", "d", its["talk"], []),
    "set_feedback": lambda s, who, its: s.set_feedback(who, its["reply"], 1, [], ""),
    "add_vote": lambda s, who, its: s.add_vote(who, its["asked"], its["reply"], its["second"]),
    "attachment": lambda s, who, its: s.attachment(who, its["file"]),
    "attachment_text": lambda s, who, its: s.attachment_text(who, its["file"]),
    "persona": lambda s, who, its: s.persona(who, its["persona"]),
    "update_persona": lambda s, who, its: s.update_persona(who, its["persona"], name="x"),
    "delete_persona": lambda s, who, its: s.delete_persona(who, its["persona"]),
    "revoke_account_key": lambda s, who, its: s.revoke_account_key(who, its["key"]),
}


def test_every_method_is_thought_of() -> None:
    public = {name for name, _ in inspect.getmembers(Store, callable) if not name.startswith("_")}
    assert public == OF_AN_ACCOUNT_ALONE | OF_THE_SERVER | set(USES)


@pytest.fixture
def its(store: Store) -> dict[str, str]:
    """One of everything, all of it anna's."""
    anna = store.create_account("anna", "correct horse").id
    persona = store.add_persona(anna, name="Lin").id
    talk = store.create_conversation(anna, title="secret", persona_id=persona).id
    file = store.add_attachment(anna, "a", "text/plain", b"secret").id
    asked = store.add_message(anna, talk, Message.user("secret"), None, attachment_ids=[file]).id
    replies = [store.add_message(anna, talk, Message.assistant("secret"), asked).id for _ in range(2)]
    key = store.create_account_key(anna, "k")[1].id
    return {
        "anna": anna, "persona": persona, "talk": talk, "file": file, "asked": asked, "reply": replies[0],
        "second": replies[1], "key": key,
    }  # fmt: skip


def test_what_is_somebody_else_s_is_not_there(store: Store, its: dict[str, str]) -> None:
    ben = store.create_account("ben", "correct horse").id
    before = store.export_account(its["anna"])
    nothing = dict.fromkeys(its, new_id())
    for name, use in USES.items():
        told = []
        for theirs in (its, nothing, dict.fromkeys(its, "\0"), dict.fromkeys(its, "x" * 10_000)):
            with pytest.raises(NotFoundError) as caught:
                use(store, ben, theirs)
            told.append(str(caught.value))
        assert len(set(told)) == 1, name
    after = store.export_account(its["anna"])
    assert after["conversations"] == before["conversations"] and after["personas"] == before["personas"]
    for name, use in USES.items():
        if not name.startswith("delete"):
            use(store, its["anna"], its)  # and she herself finds it


def test_nothing_of_others_is_drawn_in(store: Store, its: dict[str, str]) -> None:
    """One's own conversation, with somebody else's parts."""
    ben = store.create_account("ben", "correct horse").id
    talk = store.create_conversation(ben).id
    mine = store.add_message(ben, talk, Message.user("mine"), None).id
    for use in (
        lambda: store.add_message(ben, talk, Message.user("x"), its["asked"]),
        lambda: store.add_message(ben, talk, Message.user("x"), None, attachment_ids=[its["file"]]),
        lambda: store.add_message(ben, talk, Message.user("x"), None, edited_from=its["asked"]),
        lambda: store.begin_generation(ben, talk, its["asked"], model="m", model_version="v", params={}),
        lambda: store.add_vote(ben, mine, its["reply"], None),
        lambda: store.update_conversation(ben, talk, persona_id=its["persona"]),
        lambda: store.update_conversation(ben, talk, head_id=its["asked"]),
    ):
        with pytest.raises(NotFoundError):
            use()
    assert [node.id for node in store.nodes(ben, talk)] == [mine]
