"""The door before /api: whose pages may ask, whose cookie counts, and that a session that is over is over at once."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from liaoliao.server.auth import make_key
from liaoliao.server.failures import install_failures
from liaoliao.server.page import door
from liaoliao.server.page.access import AdminDep, CallerDep
from liaoliao.server.page.door import address_of, is_from_here
from liaoliao.server.served import ServedModel
from liaoliao.server.settings import Settings
from liaoliao.store import Store
from tests.server.conftest import failure
from tests.server.page.people import OWN, Person, page
from tests.server.plain import ask


@pytest.fixture(scope="module")
def single(served: ServedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    with page(served, tmp_path_factory.mktemp("single")) as app:
        yield app


@pytest.fixture(scope="module")
def several(served: ServedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    with page(served, tmp_path_factory.mktemp("several"), multi_user=True) as app:
        yield app


@pytest.fixture(scope="module")
def anna(several: FastAPI) -> Person:
    return Person.join(several, "anna")


@pytest.fixture(scope="module")
def berta(several: FastAPI, anna: Person) -> Person:
    return Person.join(several, "berta")


# Whose pages may ask

FOREIGN = [
    {"origin": "https://evil.example"}, {"origin": "null"}, {"origin": ""}, {"origin": "localhost"},
    {"origin": "http://localhost:5173"}, {"origin": "http://localhost.evil.example"}, {"origin": "ftp://localhost"},
    {"origin": "http://evil.example@localhost"}, {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "nonsense"}, {"origin": "http://localhost", "sec-fetch-site": "cross-site"},
    {"origin": "https://evil.example", "sec-fetch-site": "same-origin"},
]  # fmt: skip
OURS = [
    {"origin": "http://localhost"}, {"origin": "https://localhost"}, {"origin": "http://localhost:80"},
    {"sec-fetch-site": "same-origin"}, {"origin": "http://localhost", "sec-fetch-site": "same-origin"},
]  # fmt: skip


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_no_other_page_asks_for_anything(
    single: FastAPI, several: FastAPI, anna: Person, method: str, headers: dict[str, str]
) -> None:
    cookie = {"cookie": anna.cookie["cookie"]}
    for app, more in ((single, {}), (several, cookie), (several, {})):
        for path in ("/api/me", "/api/login", "/api/nosuch"):
            assert ask(app, path, method=method, headers={**headers, **more}).status_code == 403


@pytest.mark.parametrize("headers", OURS, ids=str)
def test_our_own_page_does(single: FastAPI, several: FastAPI, anna: Person, headers: dict[str, str]) -> None:
    more = {"cookie": anna.cookie["cookie"], **headers}
    assert ask(single, "/api/me", headers=headers).status_code == 200
    assert ask(several, "/api/me", headers=more).json()["account"]["name"] == "anna"
    made = ask(several, "/api/keys", method="POST", headers=more, json={"name": "x"})
    assert made.status_code == 201
    gone = ask(several, f"/api/keys/{made.json()['id']}", method="DELETE", headers=more)
    assert gone.status_code == 200


def test_a_change_has_to_say_where_it_comes_from_and_a_look_has_not(several: FastAPI, anna: Person) -> None:
    cookie = {"cookie": anna.cookie["cookie"]}
    assert ask(several, "/api/me", headers=cookie).status_code == 200
    assert ask(several, "/api/me", headers={**cookie, "sec-fetch-site": "none"}).status_code == 200
    for more in ({}, {"sec-fetch-site": "none"}):
        reply = ask(several, "/api/keys", method="POST", headers={**cookie, **more}, json={"name": "x"})
        assert reply.status_code == 403 and failure(reply)["code"] == "origin_not_allowed"
    for path in ("/api/login", "/api/setup"):
        body = {"name": "anna", "password": "x"}
        assert ask(several, path, method="POST", json=body).status_code == 403


def test_allowed_origins_are_allowed_the_api_and_not_the_page(served: ServedModel, tmp_path: Path) -> None:
    with page(served, tmp_path, cors_origins=("https://chat.example", "*")) as app:
        headers = {"origin": "https://chat.example"}
        assert ask(app, "/v1/models", headers=headers).status_code == 200
        assert ask(app, "/api/me", headers=headers).status_code == 403


def test_behind_https_nothing_less_is_our_page(served: ServedModel, tmp_path: Path) -> None:
    with page(served, tmp_path, multi_user=True, behind_https=True) as app:
        anna = Person.join(app, "anna")
        headers = {"host": "chat.example", "cookie": f"__Host-liaoliao_session={anna.token}"}
        for origin, status in (("http://chat.example", 403), ("https://chat.example", 200)):
            more = {**headers, "origin": origin}
            assert ask(app, "/api/me", headers=more).status_code == status
        unmarked = {**headers, "cookie": f"liaoliao_session={anna.token}"}
        assert ask(app, "/api/me", headers=unmarked).json()["account"] is None


def test_a_name_that_was_made_to_point_here(single: FastAPI, several: FastAPI) -> None:
    """DNS rebinding: to the browser the page is our own, so its Origin is our Host; but it has no cookie of ours."""
    headers = {"host": "evil.example", "origin": "http://evil.example", "sec-fetch-site": "same-origin"}
    for path in ("/", "/api/me", "/api/nosuch", "/assets/x.js"):
        assert failure(ask(single, path, headers=headers))["code"] == "host_not_allowed"
    assert ask(several, "/api/keys", headers=headers).status_code == 401
    assert ask(several, "/api/me", headers=headers).json()["account"] is None


def test_the_page_of_one_is_not_passed_on_to_all(
    single: FastAPI, served: ServedModel, tmp_path: Path
) -> None:
    """A proxy on the same machine that calls us by our own name looks like the person at it, but for what it adds."""
    headers = {"x-forwarded-for": "203.0.113.9"}
    for path in ("/api/me", "/api/conversations"):
        assert ask(single, path, headers=headers).status_code == 403
    with page(served, tmp_path, allowed_hosts=("box.lan",)) as app:
        assert ask(app, "/api/me", headers={**headers, "host": "box.lan"}).status_code == 200


# Whose cookie counts


def cookies(*tokens: str) -> dict[str, str]:
    return {"cookie": "; ".join(f"liaoliao_session={token}" for token in tokens), **OWN}


def test_two_cookies_that_disagree_are_none(several: FastAPI, anna: Person, berta: Person) -> None:
    for tokens in ((anna.token, berta.token), (anna.token, "x"), ("", anna.token)):
        assert ask(several, "/api/keys", headers=cookies(*tokens)).status_code == 401
        assert ask(several, "/api/me", headers=cookies(*tokens)).json()["account"] is None
    twice = [("cookie", f"liaoliao_session={person.token}") for person in (anna, berta)]
    assert ask(several, "/api/keys", headers=twice).status_code == 401
    assert ask(several, "/api/keys", headers=cookies(anna.token, anna.token)).status_code == 200


@pytest.mark.parametrize(
    "cookie",
    [
        "", "liaoliao_session", "liaoliao_session=", "liaoliao_session=x", "LIAOLIAO_SESSION={0}", "session={0}",
        "liaoliao_session={0}x", "liaoliao_session=%7B0%7D", "liaoliao_session={0}.{0}", "x=liaoliao_session={0}",
        "__Host-liaoliao_session={0}", 'liaoliao_session="{0}"', "liaoliao_session={1}", "liaoliao_session={2}",
        "liaoliao_session=\u00e9", "liaoliao_session={0}, liaoliao_session={0}",
    ],
)  # fmt: skip
def test_what_is_no_session_is_nobody(several: FastAPI, anna: Person, cookie: str) -> None:
    sent = cookie.format(anna.token, anna.key, "x" * 5000).encode("latin-1")
    assert ask(several, "/api/keys", headers={"cookie": sent}).status_code == 401


def test_a_token_is_taken_from_its_cookie_alone(several: FastAPI, anna: Person) -> None:
    for path in (f"/api/keys?liaoliao_session={anna.token}", f"/api/keys;liaoliao_session={anna.token}"):
        assert ask(several, path, headers=OWN).status_code == 401
    for name in ("x-session", "liaoliao_session", "set-cookie"):
        assert ask(several, "/api/keys", headers={name: anna.token, **OWN}).status_code == 401


def test_a_key_beside_the_cookie_is_refused_on_the_page(several: FastAPI, anna: Person) -> None:
    for header in (
        {"x-api-key": anna.key},
        {"authorization": f"Bearer {anna.key}"},
        {"authorization": "Basic eDp5"},
    ):
        assert ask(several, "/api/keys", headers={**anna.cookie, **header}).status_code == 401
        assert ask(several, "/api/me", headers=header).status_code == 401


def test_a_cookie_beside_a_key_must_be_of_the_same_account(
    served: ServedModel, tmp_path: Path, several: FastAPI, anna: Person, berta: Person
) -> None:
    def status(key: str, cookie: str, app: FastAPI = several) -> int:
        headers = {"x-api-key": key, "cookie": f"liaoliao_session={cookie}"}
        return ask(app, "/v1/models", headers=headers).status_code

    assert status(anna.key, anna.token) == 200
    assert status(anna.key, berta.token) == 401
    assert status(anna.key, "over") == 200, "a session that is over says nothing"
    key, record = make_key("operator")
    with page(served, tmp_path, multi_user=True, api_keys=(record,)) as app:
        carla = Person.join(app, "carla")
        assert (status(key, "", app), status(carla.key, "", app)) == (200, 200)
        assert status(key, carla.token, app) == 401


def test_what_the_page_says_is_private(several: FastAPI, anna: Person) -> None:
    for reply in (anna.ask("/api/me"), anna.ask("/api/nosuch"), ask(several, "/api/keys")):
        assert reply.headers["cache-control"] == "no-store"
        assert reply.headers["content-security-policy"].startswith("default-src 'none'")
        assert reply.headers["cross-origin-resource-policy"] == "same-origin"
        assert reply.headers["x-content-type-options"] == "nosniff"


def test_nothing_is_told_of_routes_to_nobody(several: FastAPI) -> None:
    replies = [
        ask(several, path) for path in ("/api/keys", "/api/nosuch", "/api", "/api/", "/api/accounts/1")
    ]
    assert {(reply.status_code, reply.text) for reply in replies} == {(401, replies[0].text)}


# While it lasts


def with_a_stream(app: FastAPI, count: int) -> None:
    @app.get("/api/endless")
    async def endless(caller: CallerDep) -> StreamingResponse:
        async def words() -> AsyncIterator[bytes]:
            for i in range(count):
                yield b"data: %d\n\n" % i
                await asyncio.sleep(0.01)

        return StreamingResponse(words(), media_type="text/event-stream")


async def _words(app: FastAPI, person: Person, ending: Callable[[], object]) -> list[str]:
    """What a stream says, while `ending` is done."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        asking = asyncio.create_task(client.get("/api/endless", headers=person.cookie))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(ending)
        return [line for line in (await asking).text.split("\n\n") if line]


@pytest.mark.parametrize("ending", ["logout", "disabled", "deleted", "other role", "nothing"])
def test_a_stream_ends_with_its_session(
    served: ServedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setattr(door, "_LOOK_AGAIN_S", 0.05)
    with page(served, tmp_path, multi_user=True) as app:
        Person.join(app, "boss", "admin")
        anna, store = Person.join(app, "anna"), app.state.store
        with_a_stream(app, 100)
        ends = {
            "logout": lambda: store.end_session(anna.token), "deleted": lambda: store.delete_account(anna.id),
            "disabled": lambda: store.set_disabled(anna.id, True), "nothing": lambda: None,
            "other role": lambda: store.set_role(anna.id, "admin"),
        }  # fmt: skip
        heard = asyncio.run(_words(app, anna, ends[ending]))
        assert (len(heard) == 100) == (ending == "nothing")


def test_a_role_is_that_of_this_moment(served: ServedModel, tmp_path: Path) -> None:
    with page(served, tmp_path, multi_user=True) as app:
        boss, anna = Person.join(app, "boss", "admin"), Person.join(app, "anna")
        store: Store = app.state.store
        assert (boss.ask("/api/accounts").status_code, anna.ask("/api/accounts").status_code) == (200, 403)
        store.set_role(anna.id, "admin")
        store.set_role(boss.id, "member")
        assert (boss.ask("/api/accounts").status_code, anna.ask("/api/accounts").status_code) == (403, 200)


def test_a_route_that_is_reached_around_the_door_finds_nobody() -> None:
    app = FastAPI()

    @app.get("/mine")
    async def mine(caller: CallerDep) -> str:
        return caller.account.name

    @app.get("/ours")
    async def ours(caller: AdminDep) -> str:
        return caller.account.name

    install_failures(app)
    assert (ask(app, "/mine").status_code, ask(app, "/ours").status_code) == (401, 401)


# Where from

PROXIED = Settings(multi_user=True, behind_https=True)


def scope(client: str, **headers: str) -> dict[str, Any]:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": "POST", "client": (client, 1), "headers": pairs, "path": "/api/setup"}


@pytest.mark.parametrize(
    ("client", "headers", "here"),
    [
        ("127.0.0.1", {"host": "localhost:8000"}, True), ("::1", {"host": "[::1]:8000"}, True),
        ("127.0.0.1", {"host": "chat.example"}, False), ("127.0.0.1", {}, False),
        ("192.0.2.1", {"host": "localhost"}, False), ("", {"host": "localhost"}, False),
        ("127.0.0.1", {"host": "localhost", "x_forwarded_for": "127.0.0.1"}, False),
        ("127.0.0.1", {"host": "localhost", "forwarded": "for=1"}, False),
        ("127.0.0.1", {"host": "localhost", "x_real_ip": "127.0.0.1"}, False),
        ("127.0.0.1", {"host": "localhost", "via": "1.1 x"}, False),
    ],
)  # fmt: skip
def test_from_this_machine(client: str, headers: dict[str, str], here: bool) -> None:
    assert is_from_here(scope(client, **headers), Settings()) == here
    assert not is_from_here(scope(client, **headers), PROXIED)


def test_where_a_request_comes_from_is_believed_of_a_proxy_alone() -> None:
    told = scope("10.0.0.1", x_forwarded_for="203.0.113.9, 198.51.100.7")
    assert address_of(told, Settings()) == "10.0.0.1"
    assert address_of(told, PROXIED) == "198.51.100.7"
    assert address_of(scope("10.0.0.1", x_forwarded_for="x"), PROXIED) == "10.0.0.1"
    assert address_of(scope("10.0.0.1"), PROXIED) == "10.0.0.1"


def test_a_request_has_its_account_in_the_log_and_no_secret(
    several: FastAPI, anna: Person, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG"):
        anna.ask("/api/me")
        ask(several, "/v1/models", headers={"x-api-key": anna.key})
    facts = [record.facts for record in caplog.records if hasattr(record, "facts")]
    assert [fact["account"] for fact in facts] == [anna.id, anna.id]
    assert anna.token not in caplog.text and anna.key not in str(facts) and anna.token not in str(facts)


def test_keys_and_page_of_an_account_share_one_measure_and_looking_is_free(
    served: ServedModel, tmp_path: Path
) -> None:
    with page(served, tmp_path, multi_user=True, requests_per_minute=3) as app:
        anna, berta = Person.join(app, "anna"), Person.join(app, "berta")
        assert {anna.ask("/api/keys").status_code for _ in range(9)} == {200}
        assert {ask(app, "/").status_code for _ in range(9)} <= {200, 503}
        assert anna.ask("/api/keys", method="POST", json={"name": "x"}).status_code == 201
        key = {"x-api-key": anna.key}
        assert [ask(app, "/v1/models", headers=key).status_code for _ in range(3)] == [200, 200, 429]
        assert anna.ask("/api/keys", method="POST", json={"name": "x"}).status_code == 429
        assert berta.ask("/api/keys", method="POST", json={"name": "x"}).status_code == 201
