"""Search: the index finds exactly what a plain look at every text finds."""

import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from liaoliao.messages import Message, Reasoning, Text
from liaoliao.store import Account, Store, conversations
from liaoliao.store.search import MAX_INDEXED, fold, grams, snippet, words_of
from tests.store.leftovers import grams_left

ANY = st.text(max_size=40)
FEW = st.text(alphabet="abA .,\"'*-渡轮火车Ａé\n\0:&|!(", max_size=12)


@given(ANY)
def test_folding_leaves_every_character_in_its_place(said: str) -> None:
    folded = fold(said)
    assert len(folded) == len(said) and fold(folded) == folded and "\0" not in folded
    assert "".join(map(fold, said)) == folded


def test_folding_forgets_case_and_width() -> None:
    assert fold("Ｆerry\t渡轮，ÉTÉ\u3000！İ") == "ferry 渡轮,été !İ"


@given(
    st.text(alphabet=string.ascii_lowercase[:3] + "渡 轮", max_size=12),
    st.text(alphabet="abc渡 轮", max_size=4),
)
def test_what_is_a_part_of_a_text_has_its_grams_there(said: str, part: str) -> None:
    kept = grams(fold(said))
    asked = fold(part)
    if 0 < len(asked) < 3:
        start = asked.replace(" ", "\ue020")
        assert any(gram.startswith(start) for gram in kept) == (asked in fold(said))
    if len(asked) >= 3 and asked in fold(said):
        assert {gram for gram in grams(asked) if "\ue07f" not in gram} <= kept


def brute_force(titles_and_texts: dict[str, list[str]], query: str) -> set[str]:
    words = words_of(query)
    return {
        id
        for id, texts in titles_and_texts.items()
        if any(all(word in fold(each) for word in words) for each in texts)
    }


@pytest.mark.parametrize("newest", [0, 2, 300])
def test_search_finds_what_a_look_at_every_text_finds(
    store: Store, me: Account, newest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the index alone, with it and a look at the two newest, and without it."""
    monkeypatch.setattr(conversations, "_NEWEST", newest)
    known: dict[str, list[str]] = {}

    @settings(max_examples=12, suppress_health_check=list(HealthCheck))
    @given(st.lists(FEW, min_size=1, max_size=3), st.lists(FEW, min_size=1, max_size=6))
    def look(texts: list[str], queries: list[str]) -> None:
        title = texts[0].replace("\0", "")
        talk = store.create_conversation(me.id, title=title)
        known[talk.id] = [title, *texts[1:]]
        for each in texts[1:]:
            store.add_message(me.id, talk.id, Message.user(each), None)
        for query in (*queries, *texts, *(each[1:3] for each in texts)):
            found = {line.id for line in store.conversations(me.id, query=query, limit=1000)}
            assert found == (brute_force(known, query) if words_of(query) else set(known)), query

    look()


def test_words_of_one_text_in_any_order_and_in_both_languages(store: Store, me: Account) -> None:
    talk = store.create_conversation(me.id, title="Hong Kong 香港")
    asked = store.add_message(
        me.id, talk.id, Message.user("When does the Star Ferry leave? 天星小轮几点开"), None
    )
    store.add_message(me.id, talk.id, Message.assistant("At nine."), asked.id)
    for query in ("ferry", "FERRY", "leave star", "小轮", "轮几", "点", "香港", "kong", "天星小轮几点"):
        assert [line.id for line in store.conversations(me.id, query=query)] == [talk.id], query
    for query in ("ferries", "nine ferry", "大轮", "开点", "%", "_", "ferry*", '"', "NEAR(", "'; --"):
        assert store.conversations(me.id, query=query) == [], query


def test_snippets_show_the_words_where_they_stand(store: Store, me: Account) -> None:
    talk = store.create_conversation(me.id, title="Hong Kong")
    long = "x" * 200 + " The Star\nFERRY leaves. " + "y" * 200
    store.add_message(me.id, talk.id, Message.user(long), None)
    (line,) = store.conversations(me.id, query="ferry")
    assert line.snippet is not None and "The Star FERRY leaves. yyy" in line.snippet
    assert line.snippet.startswith("…x") and line.snippet.endswith("y…") and len(line.snippet) < 130
    (line,) = store.conversations(me.id, query="kong")
    assert line.snippet is None
    assert snippet("short", ["nothing"]) == "short"


def test_only_what_is_said_is_found(store: Store, me: Account) -> None:
    talk = store.create_conversation(me.id)
    parts = (Reasoning("secretly"), Text("aloud"))
    asked = store.add_message(me.id, talk.id, Message.user("question"), None)
    store.add_message(me.id, talk.id, Message("assistant", parts), asked.id)
    store.add_message(me.id, talk.id, Message.tool("toolish"), asked.id)
    found = {
        word: len(store.conversations(me.id, query=word))
        for word in ("aloud", "secretly", "toolish", "question")
    }
    assert found == {"aloud": 1, "secretly": 0, "toolish": 0, "question": 1}


def test_what_changes_is_found_anew_and_what_goes_is_not(store: Store, me: Account) -> None:
    talk = store.create_conversation(me.id, title="before")
    asked = store.add_message(me.id, talk.id, Message.user("when"), None)
    reply = store.begin_generation(me.id, talk.id, asked.id, model="m", model_version="v", params={})
    store.save_partial(reply.id, Message.assistant("halfway"), [1])
    store.finish_generation(reply.id, Message.assistant("finished"), "done")
    store.update_conversation(me.id, talk.id, title="after")
    found = {
        word: len(store.conversations(me.id, query=word))
        for word in ("before", "after", "halfway", "finished")
    }
    assert found == {"before": 0, "after": 1, "halfway": 0, "finished": 1}
    store.delete_conversation(me.id, talk.id)
    assert grams_left(store) == 0


def test_others_find_nothing_of_it(store: Store, me: Account) -> None:
    other = store.create_account("anna", "correct horse")
    store.create_conversation(me.id, title="ferry")
    mine = store.create_conversation(other.id, title="the ferry, too")
    assert [line.id for line in store.conversations(other.id, query="ferry")] == [mine.id]


def test_search_goes_on_after_a_page(store: Store, me: Account) -> None:
    ids = [store.create_conversation(me.id, title=f"ferry {number}").id for number in range(5)]
    first = store.conversations(me.id, query="ferry", limit=2)
    rest = store.conversations(me.id, query="ferry", limit=9, before=first[-1].id)
    assert [line.id for line in (*first, *rest)] == ids[::-1]


def test_the_longest_and_the_oddest_texts_can_be_kept(store: Store, me: Account) -> None:
    """PostgreSQL takes a megabyte of grams for one text, and these are as many and as wide as they get."""
    odd = "".join(chr(0x20000 + n) for n in range(MAX_INDEXED)) + " beyond"
    talk = store.create_conversation(me.id)
    store.add_message(me.id, talk.id, Message.user(odd), None)
    assert len(store.conversations(me.id, query=odd[500:520])) == 1
    assert store.conversations(me.id, query="beyond") == []  # the index ends before it
