"""Logging in and out, one's own account and keys, and what admins do: the ways in, and every way out."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from liaoliao.messages import Message
from liaoliao.server.served import ServedModel
from liaoliao.store import Store
from tests.server.conftest import Says, failure
from tests.server.page.people import OWN, PASSWORD, Person, cookie_of, page
from tests.server.page.talking import SLOW_WORDS
from tests.server.plain import ask

ANOTHER = "another long password"


@pytest.fixture
def app(served: ServedModel, tmp_path: Path) -> Iterator[FastAPI]:
    with page(served, tmp_path, multi_user=True) as app:
        yield app


@pytest.fixture
def boss(app: FastAPI) -> Person:
    return Person.join(app, "boss", "admin")


@pytest.fixture
def anna(app: FastAPI, boss: Person) -> Person:
    return Person.join(app, "anna")


def post(app: FastAPI, path: str, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    return ask(app, path, method="POST", headers={**OWN, **(headers or {})}, json=body)


def log_in(app: FastAPI, name: str = "anna", password: str = PASSWORD, **headers: str) -> httpx.Response:
    return post(app, "/api/login", headers, name=name, password=password)


def who(app: FastAPI, token: str) -> str | None:
    """Whose session this is."""
    account = ask(app, "/api/me", headers={"cookie": f"liaoliao_session={token}"}).json()["account"]
    return str(account["name"]) if account else None


# The first account


def test_the_first_account_is_made_here_and_only_once(app: FastAPI) -> None:
    me = ask(app, "/api/me").json()
    assert (me["account"], me["mode"], me["needs_setup"]) == (None, "multi", True)
    reply = post(app, "/api/setup", name="anna", password=PASSWORD)
    assert reply.status_code == 201 and reply.json()["role"] == "admin"
    assert who(app, cookie_of(reply)) == "anna"
    assert ask(app, "/api/me").json()["needs_setup"] is False
    again = post(app, "/api/setup", name="berta", password=PASSWORD, code=app.state.setup_code)
    assert (again.status_code, failure(again)["code"]) == (409, "set_up")


@pytest.mark.parametrize(
    "elsewhere",
    [{"host": "chat.example", "origin": "https://chat.example"}, {"x-forwarded-for": "127.0.0.1"}],
)
def test_from_elsewhere_it_needs_the_code(app: FastAPI, elsewhere: dict[str, str]) -> None:
    body = {"name": "anna", "password": PASSWORD}
    for code in ({}, {"code": ""}, {"code": "guess"}, {"code": app.state.setup_code[:-1]}, {"code": "é"}):
        reply = post(app, "/api/setup", elsewhere, **body, **code)
        assert (reply.status_code, failure(reply)["code"]) == (403, "setup_code_needed")
    assert post(app, "/api/setup", elsewhere, **body, code=f" {app.state.setup_code} ").status_code == 201


def test_the_code_cannot_be_guessed(app: FastAPI) -> None:
    assert len(app.state.setup_code) >= 16
    statuses = [post(app, "/api/setup", name="a", password=PASSWORD, code="x").status_code for _ in range(12)]
    assert statuses == [403] * 10 + [429] * 2


def test_who_used_the_page_alone_keeps_what_was_said(served: ServedModel, tmp_path: Path) -> None:
    with page(served, tmp_path) as app:
        owner = ask(app, "/api/me").json()["account"]
        app.state.store.create_conversation(owner["id"], title="from before")
    with page(served, tmp_path, multi_user=True) as app:
        assert ask(app, "/api/me").json()["needs_setup"] is True
        made = post(app, "/api/setup", name="anna", password=PASSWORD).json()
        [kept] = app.state.store.conversations(made["id"])
        assert (kept.title, made["id"]) == ("from before", owner["id"])


# In and out


def test_a_login_and_its_cookie(app: FastAPI, anna: Person) -> None:
    reply = log_in(app)
    assert reply.json() == {"id": anna.id, "name": "anna", "role": "member"}
    [header] = reply.headers.get_list("set-cookie")
    assert re.fullmatch(
        r"liaoliao_session=[\w-]{43}; HttpOnly; Max-Age=2592000; Path=/; SameSite=lax", header
    )
    assert who(app, cookie_of(reply)) == "anna"


def test_behind_https_the_cookie_goes_over_nothing_else(served: ServedModel, tmp_path: Path) -> None:
    with page(served, tmp_path, multi_user=True, behind_https=True, session_lifetime_s=60.0) as app:
        Person.join(app, "anna")
        reply = log_in(app, origin="https://localhost")
        [header] = reply.headers.get_list("set-cookie")
        attributes = header.split("; ")
        assert attributes[0].startswith("__Host-liaoliao_session=")
        assert {"Secure", "HttpOnly", "Path=/", "Max-Age=60", "SameSite=lax"} == set(attributes[1:])


def test_a_wrong_login_does_not_tell_what_is_wrong(app: FastAPI, boss: Person, anna: Person) -> None:
    app.state.store.set_disabled(anna.id, True)
    bad = [
        ("nobody", PASSWORD),
        ("boss", "wrong"),
        ("boss", ""),
        ("anna", PASSWORD),
        ("an na", PASSWORD),
        ("é\x00", "x"),
    ]
    replies = [log_in(app, name, password) for name, password in bad]
    assert {(reply.status_code, reply.text) for reply in replies} == {(401, replies[0].text)}
    assert failure(replies[0])["code"] == "wrong_password"
    assert all("set-cookie" not in reply.headers for reply in replies)


def test_a_session_cannot_be_foisted_on_anybody(app: FastAPI, anna: Person, boss: Person) -> None:
    """Fixation: what the browser carried before the login is worth nothing after it."""
    for planted in (boss.token, "x" * 43):
        reply = log_in(app, cookie=f"liaoliao_session={planted}")
        assert cookie_of(reply) not in ("", planted)
        assert who(app, cookie_of(reply)) == "anna" and who(app, planted) is None


def test_a_logout_ends_the_session_and_takes_back_the_cookie(app: FastAPI, anna: Person) -> None:
    token = cookie_of(log_in(app))
    out = post(app, "/api/logout", {"cookie": f"liaoliao_session={token}"})
    assert out.status_code == 200 and cookie_of(out) == "" and "Max-Age=0" in out.headers["set-cookie"]
    assert who(app, token) is None and who(app, anna.token) == "anna", "the other browser stays"
    assert post(app, "/api/logout").status_code == 200


def test_passwords_cannot_be_tried_for_ever(app: FastAPI, anna: Person) -> None:
    statuses = [log_in(app, password="wrong").status_code for _ in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    late = log_in(app)
    assert late.status_code == 429 and 1 <= int(late.headers["retry-after"]) <= 120, "the right one, too"
    assert who(app, anna.token) == "anna", "who is in stays in"
    assert anna.ask("/api/password", method="POST", json={"old": "x", "new": ANOTHER}).status_code == 429


def test_a_session_ends_in_time(served: ServedModel, tmp_path: Path) -> None:
    with page(served, tmp_path, multi_user=True) as app:
        anna = Person.join(app, "anna")
        token, _ = app.state.store.create_session(anna.id, 1e-6)
        assert who(app, token) is None


# One's own


def test_a_new_password_ends_all_other_sessions(app: FastAPI, anna: Person) -> None:
    other = cookie_of(log_in(app))
    changed = anna.ask("/api/password", method="POST", json={"old": PASSWORD, "new": ANOTHER})
    assert changed.status_code == 200
    assert (who(app, anna.token), who(app, other), who(app, cookie_of(changed))) == (None, None, "anna")
    assert (log_in(app).status_code, log_in(app, password=ANOTHER).status_code) == (401, 200)


def test_a_new_password_needs_the_old_one_and_must_be_one(app: FastAPI, anna: Person) -> None:
    for old, new, status in (("wrong", ANOTHER, 401), (PASSWORD, "short", 400)):
        reply = anna.ask("/api/password", method="POST", json={"old": old, "new": new})
        assert reply.status_code == status and who(app, anna.token) == "anna"
    assert log_in(app).status_code == 200


def test_keys_of_ones_own(app: FastAPI, anna: Person, boss: Person) -> None:
    made = anna.ask("/api/keys", method="POST", json={"name": "desk"}).json()
    assert ask(app, "/v1/models", headers={"authorization": f"Bearer {made['key']}"}).status_code == 200
    listed = anna.ask("/api/keys").json()["keys"]
    assert [key["name"] for key in listed] == ["laptop", "desk"] and made["key"] not in str(listed)
    assert listed[1]["prefix"] == made["key"][:9]
    assert boss.ask(f"/api/keys/{made['id']}", method="DELETE").status_code == 404, "an admin neither"
    assert anna.ask(f"/api/keys/{made['id']}", method="DELETE").status_code == 200
    assert ask(app, "/v1/models", headers={"authorization": f"Bearer {made['key']}"}).status_code == 401
    assert anna.ask("/api/keys", method="POST", json={"name": ""}).status_code == 400


def test_keys_are_not_without_number(app: FastAPI, anna: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("liaoliao.server.page.accounts._MAX_KEYS", 3)
    statuses = [anna.ask("/api/keys", method="POST", json={"name": "x"}).status_code for _ in range(3)]
    assert statuses == [201, 201, 400] and len(anna.ask("/api/keys").json()["keys"]) == 3


def test_whoever_leaves_is_gone(app: FastAPI, anna: Person) -> None:
    for password, status in (("wrong", 401), (None, 401), (PASSWORD, 200)):
        reply = anna.ask("/api/me", method="DELETE", json={"password": password})
        assert reply.status_code == status
    assert cookie_of(reply) == "" and who(app, anna.token) is None
    assert ask(app, "/v1/models", headers={"x-api-key": anna.key}).status_code == 401
    assert [account.name for account in app.state.store.accounts()] == ["boss"]


def test_the_last_admin_stays(app: FastAPI, boss: Person, anna: Person) -> None:
    for reply in (
        boss.ask("/api/me", method="DELETE", json={"password": PASSWORD}),
        boss.ask(f"/api/accounts/{boss.id}", method="PATCH", json={"role": "member"}),
        boss.ask(f"/api/accounts/{boss.id}", method="PATCH", json={"disabled": True}),
    ):
        assert reply.status_code == 400 and "last admin" in failure(reply)["message"]
    assert who(app, boss.token) == "boss" and log_in(app, "boss").status_code == 200


def test_the_only_one_may_leave_and_somebody_else_begin(app: FastAPI, boss: Person) -> None:
    app.state.store.create_conversation(boss.id, title="secret")
    disabled = boss.ask(f"/api/accounts/{boss.id}", method="PATCH", json={"disabled": True})
    assert disabled.status_code == 400 and "last admin" in failure(disabled)["message"]
    assert boss.ask("/api/me", method="DELETE", json={"password": "wrong"}).status_code == 401
    left = boss.ask("/api/me", method="DELETE", json={"password": PASSWORD})
    assert left.status_code == 200 and cookie_of(left) == "" and app.state.store.accounts() == []
    assert who(app, boss.token) is None and log_in(app, "boss").status_code == 401
    assert ask(app, "/v1/models", headers={"x-api-key": boss.key}).status_code == 401
    assert ask(app, "/api/me").json()["needs_setup"] is True
    assert post(app, "/api/setup", name="anna", password=PASSWORD).status_code == 201


# Everybody's


def test_an_admin_makes_and_changes_accounts(app: FastAPI, boss: Person) -> None:
    body = {"name": "carla", "password": PASSWORD}
    made = boss.ask("/api/accounts", method="POST", json=body)
    assert (made.status_code, made.json()["role"]) == (201, "member")
    assert boss.ask("/api/accounts", method="POST", json=body).status_code == 400, "the name is taken"
    carla, token = f"/api/accounts/{made.json()['id']}", cookie_of(log_in(app, "carla"))
    assert boss.ask(carla, method="PATCH", json={"role": "admin"}).json()["role"] == "admin"
    assert who(app, token) == "carla"
    assert boss.ask(carla, method="PATCH", json={"disabled": True}).json()["disabled"] is True
    assert who(app, token) is None and log_in(app, "carla").status_code == 401
    assert boss.ask(carla, method="PATCH", json={"disabled": False}).json()["disabled"] is False
    assert who(app, token) is None, "an old session does not come back"
    token = cookie_of(log_in(app, "carla"))
    assert boss.ask(carla, method="PATCH", json={"password": ANOTHER}).status_code == 200
    assert who(app, token) is None
    assert (log_in(app, "carla").status_code, log_in(app, "carla", ANOTHER).status_code) == (401, 200)
    assert boss.ask(carla, method="DELETE").status_code == 200
    assert [one["name"] for one in boss.ask("/api/accounts").json()["accounts"]] == ["boss"]


@pytest.mark.parametrize(
    ("change", "key_is_good"), [({"disabled": True}, False), ({"password": ANOTHER}, True)]
)
def test_who_is_put_out_is_answered_no_more(
    slow_model: tuple[ServedModel, Says],
    slow: Says,
    tmp_path: Path,
    change: dict[str, Any],
    key_is_good: bool,
) -> None:
    slow.chat(Message.assistant(SLOW_WORDS * 3))
    with page(slow_model[0], tmp_path, multi_user=True) as app:
        boss, anna = Person.join(app, "boss", "admin"), Person.join(app, "anna")
        talk = app.state.store.create_conversation(anna.id)

        async def scene() -> str:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                path, body = f"/api/conversations/{talk.id}/messages", {"text": "the cat?"}
                said = await client.post(path, headers=anna.cookie, json=body)
                assert said.status_code == 201 and app.state.live.num_running == 1
                changed = await client.patch(f"/api/accounts/{anna.id}", headers=boss.cookie, json=change)
                assert changed.status_code == 200 and app.state.live.num_running == 0
                return str(said.json()["answers"][0]["id"])

        answer = asyncio.run(scene())
        assert app.state.store.node(anna.id, answer).status == "stopped" and who(app, anna.token) is None
        reply = ask(app, "/v1/models", headers={"x-api-key": anna.key})
        assert (reply.status_code == 200) == key_is_good


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"role": "member", "disabled": True},
        {"role": None},
        {"role": "owner"},
        {"disabled": 1},
        {"name": "x"},
    ],
)
def test_one_thing_is_changed_at_a_time(boss: Person, anna: Person, body: dict[str, Any]) -> None:
    assert boss.ask(f"/api/accounts/{anna.id}", method="PATCH", json=body).status_code == 400


def test_an_admin_cannot_go_around_the_own_password(app: FastAPI, boss: Person, anna: Person) -> None:
    """Whoever finds an admin's browser open shall not be able to keep the account, or to end it."""
    app.state.store.set_role(anna.id, "admin")
    own = f"/api/accounts/{boss.id}"
    assert boss.ask(own, method="PATCH", json={"password": ANOTHER}).status_code == 400
    assert boss.ask(own, method="DELETE").status_code == 400
    assert log_in(app, "boss").status_code == 200


def test_what_an_account_cannot_be_has_a_code(app: FastAPI, boss: Person, anna: Person) -> None:
    """By which the page finds its words in the reader's language."""
    own = f"/api/accounts/{boss.id}"
    for method, path, body, code in (
        ("POST", "/api/accounts", {"name": "ANNA", "password": PASSWORD}, "account_name_taken"),
        ("POST", "/api/accounts", {"name": "an na", "password": PASSWORD}, "account_name"),
        ("POST", "/api/accounts", {"name": "carla", "password": "short"}, "password_length"),
        ("POST", "/api/keys", {"name": " "}, "key_name"),
        ("PATCH", own, {"role": "member"}, "last_admin"), ("PATCH", own, {"password": ANOTHER}, "own_account"),
        ("DELETE", own, None, "own_account"), ("DELETE", "/api/me", {"password": PASSWORD}, "last_admin"),
    ):  # fmt: skip
        reply = boss.ask(path, method=method, json=body)
        assert (reply.status_code, failure(reply)["code"]) == (400, code), (path, body)


def test_nobody_there_is_not_found(boss: Person) -> None:
    for path in ("/api/accounts/nosuch", "/api/accounts/01KABCDEFGHJKMNPQRSTVWXYZ0", "/api/keys/nosuch"):
        method = "DELETE"
        assert boss.ask(path, method=method).status_code == 404
    assert boss.ask("/api/accounts/nosuch", method="PATCH", json={"role": "admin"}).status_code == 404


# Where there is one user


def test_alone_there_is_nothing_to_log_in_to(served: ServedModel, tmp_path: Path) -> None:
    with page(served, tmp_path) as app:
        me = ask(app, "/api/me").json()
        assert (me["account"]["name"], me["account"]["role"], me["mode"]) == ("owner", "admin", "single")
        for method, path, body in (
            ("POST", "/api/login", {"name": "owner", "password": ""}), ("POST", "/api/logout", None),
            ("POST", "/api/setup", {"name": "x", "password": PASSWORD}), ("GET", "/api/keys", None),
            ("POST", "/api/password", {"old": "", "new": PASSWORD}), ("GET", "/api/accounts", None),
            ("POST", "/api/accounts", {"name": "x", "password": PASSWORD}),
        ):  # fmt: skip
            reply = ask(app, path, method=method, json=body)
            assert (reply.status_code, failure(reply)["code"]) == (400, "single_user"), path
        assert ask(app, "/v1/models").status_code == 200


def test_alone_one_can_forget_everything(served: ServedModel, tmp_path: Path) -> None:
    with page(served, tmp_path) as app:
        store: Store = app.state.store
        before = store.single_account()
        store.create_conversation(before.id, title="secret")
        assert ask(app, "/api/me", method="DELETE", json={"password": "x"}).status_code == 400
        assert ask(app, "/api/me", method="DELETE", json={}).status_code == 200
        after = ask(app, "/api/me").json()["account"]
        assert after["name"] == "owner" and after["id"] != before.id
        assert store.conversations(after["id"]) == []


def test_alone_again_one_can_forget_everything(served: ServedModel, tmp_path: Path) -> None:
    """Who has been one of several has a password, and is the only admin."""
    with page(served, tmp_path) as app:
        owner = ask(app, "/api/me").json()["account"]
    with page(served, tmp_path, multi_user=True) as app:
        assert post(app, "/api/setup", name="anna", password=PASSWORD).json()["id"] == owner["id"]
    with page(served, tmp_path) as app:
        store: Store = app.state.store
        assert ask(app, "/api/me").json()["account"]["name"] == "anna"
        store.create_conversation(owner["id"], title="secret")
        assert ask(app, "/api/me", method="DELETE", json={}).status_code == 200
        after = ask(app, "/api/me").json()["account"]
        assert after["id"] != owner["id"] and store.conversations(after["id"]) == []
        assert [account.id for account in store.accounts()] == [after["id"]]


def change_password_after(
    monkeypatch: pytest.MonkeyPatch, method: str, person: Person, new: str = ANOTHER
) -> None:
    """Let somebody change the password when this method of the store has just shown that it is right."""
    real = getattr(Store, method)

    def then_changed(store: Store, *args: Any) -> Any:
        found = real(store, *args)
        monkeypatch.setattr(Store, method, real)
        store.set_password(person.id, None, new)
        return found

    monkeypatch.setattr(Store, method, then_changed)


def num_sessions(app: FastAPI) -> int:
    with app.state.store._database.read() as connection:
        return int(connection.execute(text("SELECT count(*) FROM sessions")).scalar())


def test_a_login_with_a_password_that_is_changed_meanwhile_is_none(
    app: FastAPI, anna: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_password_after(monkeypatch, "verify_password", anna)
    refused = log_in(app)
    assert refused.status_code == 401 and failure(refused)["code"] == "wrong_password"
    assert "set-cookie" not in refused.headers and num_sessions(app) == 1, "the admin's"
    assert log_in(app, password=ANOTHER).status_code == 200


@pytest.mark.parametrize(
    ("method", "code"), [("verify_password", "not_the_password"), ("set_password", "wrong_password")]
)
def test_of_two_who_change_a_password_the_last_one_has_it(
    app: FastAPI, anna: Person, monkeypatch: pytest.MonkeyPatch, method: str, code: str
) -> None:
    """Who knew the old one, and was faster or slower, is out."""
    change_password_after(monkeypatch, method, anna, "a third long password")
    late = anna.ask("/api/password", method="POST", json={"old": PASSWORD, "new": ANOTHER})
    assert late.status_code in (400, 401) and failure(late)["code"] == code
    assert "set-cookie" not in late.headers and num_sessions(app) == 1
    assert log_in(app, password=ANOTHER).status_code == 401
    assert log_in(app, password="a third long password").status_code == 200
