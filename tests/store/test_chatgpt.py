"""ChatGPT's export: the tree comes over, what has no place here is named, and nothing in the file is trusted."""

import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from liaoliao.store import Account, Node, Store


def node(id: str, parent: str | None, role: str = "", text: str = "", **content: Any) -> dict[str, Any]:
    """A node as ChatGPT writes it; without a role, one without a message."""
    said = {"content_type": "text", "parts": [text], **content}
    message = {
        "id": id, "author": {"role": role, "name": None, "metadata": {}}, "create_time": 1_700_000_000.5,
        "content": said, "status": "finished_successfully", "recipient": "all", "metadata": {},
    }  # fmt: skip
    return {"id": id, "parent": parent, "children": [], "message": message if role else None}


def talk(*nodes: dict[str, Any], current: str | None = None, title: Any = "Ferries") -> dict[str, Any]:
    mapping = {each["id"]: {**each, "children": []} for each in nodes}
    for each in nodes:
        if each["parent"] in mapping:
            mapping[each["parent"]]["children"].append(each["id"])
    return {
        "title": title, "create_time": 1_700_000_000.0, "update_time": 1_700_000_100.0, "mapping": mapping,
        "current_node": current, "moderation_results": [], "is_archived": False,
    }  # fmt: skip


def imported(store: Store, me: Account, data: Any) -> tuple[list[Node], tuple[str, ...]]:
    report = store.import_conversations(me.id, data)
    (line,) = store.conversations(me.id)
    return store.nodes(me.id, line.id), report.skipped


def shape(nodes: list[Node]) -> dict[str, str | None]:
    texts = {each.id: each.message.text for each in nodes}
    return {each.message.text: texts.get(each.parent_id or "") for each in nodes}


def test_a_talk_with_branches(store: Store, me: Account) -> None:
    data = [
        talk(
            node("r", None), node("s", "r", "system", ""), node("u1", "s", "user", "when?"),
            node("a1", "u1", "assistant", "at 9"), node("a2", "u1", "assistant", "at 10"),
            node("u2", "s", "user", "when, please?"), node("a3", "u2", "assistant", "九点"), current="a2",
        )
    ]  # fmt: skip
    nodes, skipped = imported(store, me, data)
    assert skipped == ()
    assert shape(nodes) == {
        "when?": None, "when, please?": None, "at 9": "when?", "at 10": "when?", "九点": "when, please?",
    }  # fmt: skip
    (line,) = store.conversations(me.id)
    assert (line.title, line.created_at, line.updated_at) == ("Ferries", 1_700_000_000.0, 1_700_000_100.0)
    assert [each.message.text for each in store.path(me.id, line.head_id or "")] == ["when?", "at 10"]
    assert nodes[0].created_at == 1_700_000_000.5


def test_siblings_come_in_their_parent_s_order(store: Store, me: Account) -> None:
    data = talk(
        node("u", None, "user", "?"), node("b", "u", "assistant", "2"), node("a", "u", "assistant", "1")
    )
    data["mapping"]["u"]["children"] = ["a", "b"]
    nodes, _ = imported(store, me, data)  # a single conversation, not in a list
    assert [each.message.text for each in nodes] == ["?", "1", "2"]


def test_what_has_no_place_is_left_out_and_named_and_the_rest_holds_together(
    store: Store, me: Account
) -> None:
    picture = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://x"}
    call = node("c", "t", "assistant", content_type="code")
    call["message"]["content"]["text"], call["message"]["recipient"] = "print(1)", "python"
    thoughts: Any = {
        "content_type": "thoughts",
        "thoughts": [{"summary": "s", "content": "first"}, {"content": "then"}],
    }
    data = [
        talk(
            node("u", None, "user", content_type="multimodal_text", parts=[picture, "what is this?"]),
            node("t", "u", "assistant", **thoughts), call, node("o", "c", "tool", "1"),
            node("k", "o", "assistant", content_type="reasoning_recap", content="Thought for 3 s"),
            node("a", "k", "assistant", "a ferry"), current="o",
        )
    ]  # fmt: skip
    nodes, skipped = imported(store, me, data)
    assert shape(nodes) == {"what is this?": None, "a ferry": "what is this?"}
    assert nodes[1].message.reasoning == "first\n\nthen"
    kinds = ("1 x image_asset_pointer", "1 x message to a tool", "1 x tool message", "1 x reasoning_recap")
    assert sorted(skipped) == sorted(f"conversation 1 (Ferries): {kind}" for kind in kinds)
    (line,) = store.conversations(me.id)
    assert line.head_id == nodes[0].id, "the nearest message above the current one that was kept"


def test_oddities_are_taken_for_what_they_can_be(store: Store, me: Account) -> None:
    odd = talk(node("u", None, "user", "half \ud83d and \0 pair"), title={"not": "a title"}, current="gone")
    odd["create_time"], odd["update_time"] = 10**400, "yesterday"
    nodes, _ = imported(store, me, [odd])
    assert nodes[0].message.text == "half \ufffd and \ufffd pair"
    (line,) = store.conversations(me.id)
    assert line.title == "" and abs(line.created_at - time.time()) < 60 and line.head_id == nodes[0].id


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ({"mapping": []}, "nodes"), ({"mapping": {"a": 3}}, "nodes"), ({"mapping": None}, "nodes"), (3, "object"),
        (talk(node("a", "b", "user", "x"), node("b", "a", "user", "y")), "circle"),
        (talk(node("a", "a", "user", "x")), "circle"),
    ],
)  # fmt: skip
def test_what_is_no_conversation_is_named_and_the_others_come_in(
    store: Store, me: Account, bad: Any, why: str
) -> None:
    good = talk(node("u", None, "user", "hi"))
    report = store.import_conversations(me.id, [good, bad, good])
    assert report.num_conversations == 2
    (line,) = report.skipped
    assert line.startswith("conversation 2") and why in line


def test_chains_of_thousands(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Deeper than any stack: of messages, and of nodes without words above the one that has them."""
    long = talk(
        *(node(str(n), str(n - 1) if n else None, "user", f"w{n}") for n in range(1_500)), current="1499"
    )
    hollow = [node(str(n), str(n - 1) if n else None) for n in range(20_000)]
    began = time.monotonic()
    with Store.open(f"sqlite:///{tmp_path_factory.mktemp('s')}/x.db") as store:
        me = store.single_account()
        report = store.import_conversations(me.id, [long, talk(*hollow, node("u", "19999", "user", "alone"))])
        assert report.num_conversations == 2 and report.num_messages == 1_501
        deepest = store.conversations(me.id, query="w1499")[0]
        assert len(store.path(me.id, deepest.head_id or "")) == 1_500
        store.delete_conversation(me.id, deepest.id)
    assert time.monotonic() - began < 60


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = (
    "id",
    "parent",
    "children",
    "message",
    "author",
    "role",
    "content",
    "content_type",
    "parts",
    "create_time",
    "text",
)


def test_any_json_in_the_place_of_any_field(store: Store, me: Account) -> None:
    """Nothing but a report comes of it: no error of ours or of the database's, and whatever comes in can be read."""

    @settings(max_examples=40, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(KEYS), JSON, st.sampled_from(["u", "a"]))
    def swap(key: str, value: Any, at: str) -> None:
        data = talk(
            node("r", None), node("u", "r", "user", "hi"), node("a", "u", "assistant", "ho"), current="a"
        )
        each = data["mapping"][at]
        for place in (each, each["message"], each["message"]["author"], each["message"]["content"]):
            if key in place:
                place[key] = value
                break
        report = store.import_conversations(me.id, [data])
        assert report.num_conversations == 1 or report.skipped
        for line in store.conversations(me.id, limit=1):
            store.nodes(me.id, line.id)

    swap()
