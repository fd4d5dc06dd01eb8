"""The message tree: siblings, paths, heads, and everything that a node carries, exactly as it was given."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from liaoliao.errors import DataError
from liaoliao.messages import Image, Message, Part, Reasoning, Text, ToolCall, ToolResult
from liaoliao.store import Account, Conversation, Node, Store
from liaoliao.store.parts import parts_from_json, parts_to_json

WORDS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)
ASSISTANT = st.one_of(
    st.builds(Text, WORDS), st.builds(Reasoning, WORDS), st.builds(ToolCall, WORDS, WORDS, WORDS)
)
USER = st.one_of(st.builds(Text, WORDS), st.builds(Image, WORDS, st.binary(max_size=20)))
MESSAGES = st.one_of(
    st.lists(ASSISTANT, max_size=4).map(lambda parts: Message("assistant", tuple(parts))),
    st.lists(USER, max_size=4).map(lambda parts: Message("user", tuple(parts))),
    st.builds(ToolResult, WORDS, WORDS).map(lambda part: Message("tool", (part,))),
)


@pytest.fixture
def talk(store: Store, me: Account) -> Conversation:
    return store.create_conversation(me.id)


def test_every_message_comes_back_as_it_was(store: Store, me: Account, talk: Conversation) -> None:
    @settings(max_examples=25, suppress_health_check=list(HealthCheck))
    @given(MESSAGES)
    def keep(message: Message) -> None:
        node = store.add_message(me.id, talk.id, message, None)
        assert node.message == message and node.role == message.role
        assert store.node(me.id, node.id) == node

    keep()


@given(MESSAGES)
def test_parts_are_json_and_back(message: Message) -> None:
    assert parts_from_json(parts_to_json(message.parts)) == message.parts


@pytest.mark.parametrize(
    "data",
    [
        None, {}, [1], [{}], [{"type": "text"}], [{"type": "text", "text": 1}], [{"type": "oops", "text": ""}],
        [{"type": "text", "text": "", "more": ""}], [{"type": ["text"], "text": ""}],
        [{"type": "image", "media_type": "image/png", "data": "***"}], [{"type": "image", "media_type": "", "data": "é"}],
    ],
)  # fmt: skip
def test_parts_of_other_forms_are_refused(data: object) -> None:
    with pytest.raises(DataError):
        parts_from_json(data)


def test_a_tree_of_siblings(store: Store, me: Account, talk: Conversation) -> None:
    asked = store.add_message(me.id, talk.id, Message.user("2+3?"), None)
    first = store.add_message(me.id, talk.id, Message.assistant("6"), asked.id)
    second = store.add_message(me.id, talk.id, Message.assistant("5"), asked.id)
    again = store.add_message(me.id, talk.id, Message.user("2+4?"), None)
    better = store.add_message(me.id, talk.id, Message.assistant("5."), asked.id, edited_from=first.id)
    assert store.nodes(me.id, talk.id) == [asked, first, second, again, better]
    assert store.path(me.id, second.id) == [asked, second]
    assert store.path(me.id, again.id) == [again]
    assert (better.edited_from, better.parent_id, better.status) == (first.id, asked.id, "done")
    assert store.conversation(me.id, talk.id).head_id == better.id


def test_the_head_moves_unless_it_is_told_to_stay(store: Store, me: Account, talk: Conversation) -> None:
    asked = store.add_message(me.id, talk.id, Message.user("1"), None)
    store.add_message(me.id, talk.id, Message.assistant("2"), asked.id, move_head=False)
    after = store.conversation(me.id, talk.id)
    assert after.head_id == asked.id and after.updated_at > talk.updated_at


def test_trees_do_not_grow_into_each_other(store: Store, me: Account, talk: Conversation) -> None:
    other = store.create_conversation(me.id)
    elsewhere = store.add_message(me.id, other.id, Message.user("1"), None)
    with pytest.raises(DataError, match="another conversation"):
        store.add_message(me.id, talk.id, Message.assistant("2"), elsewhere.id)
    here = store.add_message(me.id, talk.id, Message.user("1"), None)
    for bad in (elsewhere.id, here.id):  # of another place, of another role
        with pytest.raises(DataError, match="edited_from"):
            store.add_message(me.id, talk.id, Message.assistant("2"), here.id, edited_from=bad)
    assert store.nodes(me.id, talk.id) == [here]
    assert store.conversation(me.id, talk.id).head_id == here.id


def test_files_belong_to_user_messages_in_their_order(store: Store, me: Account, talk: Conversation) -> None:
    files = [store.add_attachment(me.id, name, "text/plain", b"text") for name in ("b", "a", "c")]
    ids = [file.id for file in files]
    asked = store.add_message(me.id, talk.id, Message.user("see"), None, attachment_ids=ids)
    assert asked.attachments == tuple(files) == store.path(me.id, asked.id)[0].attachments
    with pytest.raises(DataError, match="no attachments"):
        store.add_message(me.id, talk.id, Message.assistant("x"), asked.id, attachment_ids=ids)
    with pytest.raises(DataError, match="different"):
        store.add_message(me.id, talk.id, Message.user("x"), None, attachment_ids=[ids[0], ids[0]])


def test_what_cannot_be_kept_leaves_nothing(store: Store, me: Account, talk: Conversation) -> None:
    def nodes() -> list[Node]:
        return store.nodes(me.id, talk.id)

    with pytest.raises(DataError, match="surrogate"):
        store.add_message(me.id, talk.id, Message.user("half \ud83d"), None)
    with pytest.raises(DataError, match="begin_generation"):
        store.add_message(me.id, talk.id, Message.assistant(""), None, status="running")
    assert nodes() == [] and store.conversation(me.id, talk.id).head_id is None


def test_a_message_may_hold_nul(store: Store, me: Account, talk: Conversation) -> None:
    """A model may say anything that Unicode has; PostgreSQL's text does not hold NUL, its JSON escape does."""
    parts: tuple[Part, ...] = (Text("a\0b"),)
    assert store.add_message(me.id, talk.id, Message("assistant", parts), None).message.parts == parts
