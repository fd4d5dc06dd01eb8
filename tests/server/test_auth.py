"""Keys: only the very same text opens, whichever header it comes in, and only while it is in force."""

import json
import stat
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st

from liaoliao.errors import ConfigError, UsageError
from liaoliao.server import keyfile
from liaoliao.server.auth import KeyRing, credentials, given_key, make_key
from liaoliao.server.keyfile import add_key, read_keys, revoke_key
from liaoliao.server.settings import ApiKey, Settings
from tests.server.plain import ask, plain_app

KEY, RECORD = make_key("anna")
OTHER_KEY, OTHER_RECORD = make_key("berta", max_concurrent=3)
REVOKED_KEY, REVOKED_RECORD = make_key("old")
RING = KeyRing((RECORD, OTHER_RECORD, replace(REVOKED_RECORD, revoked="2026-01-01")))
SETTINGS = Settings(api_keys=(RECORD, OTHER_RECORD, replace(REVOKED_RECORD, revoked="2026-01-01")))

Carry = Callable[[str], dict[str, str]]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


# The ring


def test_a_key_finds_its_record_and_nothing_else_does() -> None:
    assert RING.find(KEY) == RECORD
    assert RING.find(OTHER_KEY) == OTHER_RECORD
    assert RING.find(REVOKED_KEY) is None
    for near in (KEY[:-1], KEY + "x", KEY.upper(), KEY.swapcase(), RECORD.hash, RECORD.salt, "anna", ""):
        assert RING.find(near) is None


@given(st.text(max_size=100))
def test_no_other_text_opens(text: str) -> None:
    assert RING.find(text) is None
    assert given_key("mine", "0123456789abcdef").hash != given_key("mine", "0123456789abcdef").hash


def test_keys_are_long_random_and_not_in_their_records() -> None:
    keys = {make_key("a")[0] for _ in range(50)}
    assert len(keys) == 50
    assert all(len(key) >= 43 for key in keys)
    assert KEY not in repr(RECORD)


# The file


def test_the_file_holds_no_key_and_is_its_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "keys" / "keys.jsonl"
    key, record = make_key("anna", requests_per_minute=7)
    add_key(file, record)
    assert key not in file.read_text(encoding="utf-8")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert read_keys(file) == (record,)
    assert list(file.parent.iterdir()) == [file]


def test_a_revoked_name_may_be_given_again(tmp_path: Path) -> None:
    file = tmp_path / "keys.jsonl"
    (first, record), (second, again) = make_key("anna"), make_key("anna")
    add_key(file, record)
    with pytest.raises(UsageError, match="anna already"):
        add_key(file, again)
    revoke_key(file, "anna")
    add_key(file, again)
    ring = KeyRing(file=file)
    assert ring.find(first) is None
    assert ring.find(second) == again
    with pytest.raises(UsageError, match=r"berta.*anna"):
        revoke_key(file, "berta")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such lock there")
def test_a_key_made_at_the_same_time_does_not_undo_a_revocation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "keys.jsonl"
    add_key(file, RECORD)
    write, writing, gate = keyfile._write, threading.Event(), threading.Event()

    def held_up(file: Path, keys: Sequence[ApiKey]) -> None:
        if not writing.is_set():
            writing.set()
            gate.wait(30)
        write(file, keys)

    monkeypatch.setattr(keyfile, "_write", held_up)
    making = threading.Thread(target=add_key, args=(file, OTHER_RECORD))
    making.start()
    assert writing.wait(30)
    revoking = threading.Thread(target=revoke_key, args=(file, "anna"))
    revoking.start()
    revoking.join(0.3)  # it would have had time enough
    gate.set()
    making.join(30)
    revoking.join(30)
    ring = KeyRing(file=file)
    assert ring.find(KEY) is None and ring.find(OTHER_KEY) == OTHER_RECORD


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"name": "a"}', '{"nome": "a"}', json.dumps({"name": "a", "salt": "", "hash": "q"})]
)
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "keys.jsonl"
    add_key(file, RECORD)
    with file.open("a", encoding="utf-8") as out:
        out.write(f"\n{line}\n")
    with pytest.raises(ConfigError, match="line 3"):
        read_keys(file)
    with pytest.raises(UsageError, match="liaoliao keys new"):
        read_keys(tmp_path / "nosuch")


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    file, clock = tmp_path / "keys.jsonl", Clock()
    add_key(file, RECORD)
    ring = KeyRing(file=file, clock=clock)
    add_key(file, OTHER_RECORD)
    assert ring.find(OTHER_KEY) is None, "it looks once a second"
    clock.now += 2
    assert ring.find(OTHER_KEY) == OTHER_RECORD
    revoke_key(file, "anna")
    ring.expire()  # as SIGHUP does
    assert ring.find(KEY) is None
    assert ring.find(OTHER_KEY)


def test_a_broken_file_leaves_the_former_keys_and_a_lost_one_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "keys.jsonl"
    add_key(file, RECORD)
    ring = KeyRing(file=file)
    whole = file.read_text(encoding="utf-8")
    file.write_text(whole[:-10], encoding="utf-8")
    ring.expire()
    assert ring.find(KEY) == RECORD
    assert "cannot be read" in caplog.text
    file.unlink()
    ring.expire()
    assert ring.find(KEY) is None
    file.write_text(whole, encoding="utf-8")
    ring.expire()
    assert ring.find(KEY) == RECORD


# The door


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def x_api_key(key: str) -> dict[str, str]:
    return {"x-api-key": key}


@pytest.mark.parametrize("carry", [bearer, x_api_key])
@pytest.mark.parametrize(
    ("key", "status"),
    [(KEY, 200), (OTHER_KEY, 200), (REVOKED_KEY, 401), ("liao-wrong", 401), ("", 401)],
    ids=[
        "good",
        "another good",
        "revoked",
        "wrong",
        "empty",
    ],  # keys are random: the workers must agree on names
)
def test_both_headers_are_checked_alike(carry: Carry, key: str, status: int) -> None:
    response = ask(plain_app(SETTINGS), "/echo", method="POST", content=b"hi", headers=carry(key))
    assert response.status_code == status
    if status == 401:
        error = response.json()["error"]
        assert error["message"].startswith("Incorrect API key provided")
        assert error["code"] == "invalid_api_key"
        assert response.headers["www-authenticate"] == "Bearer"
        assert not key or key not in response.text


def test_no_key_is_told_how_to_bring_one() -> None:
    response = ask(plain_app(SETTINGS), "/echo", method="POST")
    assert response.status_code == 401
    assert "Bearer" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("authorization", f"Bearer {KEY}"), ("x-api-key", KEY)], 200),
        ([("authorization", f"bearer   {KEY} ")], 200),
        ([("authorization", f"Bearer {KEY}"), ("x-api-key", OTHER_KEY)], 401),
        ([("authorization", f"Bearer {KEY}"), ("x-api-key", "wrong")], 401),
        ([("authorization", "Bearer wrong"), ("x-api-key", KEY)], 401),
        ([("authorization", f"Bearer {KEY}"), ("authorization", "Bearer wrong")], 401),
        ([("authorization", f"Basic {KEY}"), ("x-api-key", KEY)], 401),
        ([("authorization", f"Bearer {KEY}"), ("x-api-key", "")], 401),
        ([("authorization", KEY)], 401),
        ([("cookie", f"api_key={KEY}")], 401),
    ],
)
def test_a_second_credential_neither_hides_nor_replaces_the_first(
    headers: list[tuple[str, str]], status: int
) -> None:
    assert ask(plain_app(SETTINGS), "/echo", method="POST", headers=headers).status_code == status


def test_a_key_in_the_address_is_none() -> None:
    assert ask(plain_app(SETTINGS), f"/echo?api_key={KEY}&key={KEY}", method="POST").status_code == 401


@pytest.mark.parametrize(
    "path", ["/metrics", "/docs", "/openapi.json", "/nosuch", "/health/", "//health", "/Health"]
)
def test_everything_but_health_is_behind_the_door(path: str) -> None:
    app = plain_app(SETTINGS)
    assert ask(app, path).status_code == 401
    assert ask(app, path, headers=bearer(KEY)).status_code != 401
    assert ask(app, "/health").status_code == 200


@given(
    st.lists(st.tuples(st.sampled_from([b"authorization", b"x-api-key", b"cookie"]), st.binary(max_size=30)))
)
def test_any_header_bytes_are_credentials_or_none(headers: list[tuple[bytes, bytes]]) -> None:
    offered = credentials({"headers": headers})
    assert len(offered) <= len(headers)
    assert all(RING.find(key) is None for key in offered)


def test_the_key_is_known_to_the_route_by_its_record() -> None:
    app = plain_app(SETTINGS)

    @app.get("/who")
    async def who(request: Request) -> str:
        return str(request.state.api_key.name)

    assert ask(app, "/who", headers=bearer(OTHER_KEY)).json() == "berta"
