"""Sessions and API keys: who shows one is known at once, who lost one is out at once, and none is kept in the open."""

import threading
import time

import pytest
from argon2 import PasswordHasher
from sqlalchemy import text

from liaoliao.errors import NotFoundError, UsageError
from liaoliao.store import Store, passwords

GOOD = "correct horse"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time as the store sees it."""
    now = [1_800_000_000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    return now


def test_a_session_lasts_as_long_as_it_says(store: Store, clock: list[float]) -> None:
    anna = store.create_account("anna", GOOD)
    token, session = store.create_session(anna.id, 100.0)
    assert session.expires_at == clock[0] + 100 and store.find_session(token) == (session, anna)
    clock[0] += 99
    found = store.find_session(token)
    assert found is not None and found[0].last_seen_at == clock[0]
    clock[0] += 1
    assert store.find_session(token) is None
    store.create_session(anna.id, 1.0)  # sweeps out what is over
    with store._database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM sessions")).scalar() == 1


def test_lifetimes_that_are_none(store: Store) -> None:
    for lifetime in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(UsageError, match="seconds"):
            store.create_session(store.single_account().id, lifetime)


def test_last_seen_is_written_once_a_minute(store: Store, clock: list[float]) -> None:
    token, session = store.create_session(store.single_account().id, 1000.0)
    seen = []
    for _ in range(4):
        clock[0] += 25
        found = store.find_session(token)
        assert found is not None
        seen.append(found[0].last_seen_at - session.created_at)
    assert seen == [0.0, 0.0, 75.0, 75.0]


def test_logging_out_here_and_everywhere(store: Store) -> None:
    me = store.single_account()
    tokens = [store.create_session(me.id, 60.0)[0] for _ in range(3)]
    store.end_session(tokens[0])
    assert [store.find_session(token) is None for token in tokens] == [True, False, False]
    store.end_sessions(me.id)
    assert [store.find_session(token) for token in tokens] == [None, None, None]
    store.end_session("never was one")


def test_the_role_is_that_of_now(store: Store) -> None:
    store.create_account("anna", GOOD)
    ben = store.create_account("ben", GOOD)
    token, _ = store.create_session(ben.id, 60.0)
    key, _ = store.create_account_key(ben.id, "k")
    store.set_role(ben.id, "admin")
    found, keyed = store.find_session(token), store.find_account_key(key)
    assert found is not None and keyed is not None and found[1].role == keyed.role == "admin"
    store.delete_account(ben.id)
    assert store.find_session(token) is None and store.find_account_key(key) is None


def test_a_key_opens_until_it_is_revoked(store: Store, clock: list[float]) -> None:
    anna, ben = store.create_account("anna", GOOD), store.create_account("ben", GOOD)
    key, record = store.create_account_key(anna.id, " laptop ")
    assert key.startswith("liao-") and record.prefix == key[:9] and record.name == "laptop"
    assert store.find_account_key(key) == anna
    assert [one.last_used_at for one in store.account_keys(anna.id)] == [clock[0]]
    assert store.account_keys(ben.id) == []
    with pytest.raises(NotFoundError):
        store.revoke_account_key(ben.id, record.id)
    assert store.find_account_key(key) == anna
    store.revoke_account_key(anna.id, record.id)
    assert store.find_account_key(key) is None and store.account_keys(anna.id) == []


def test_keys_of_disabled_accounts_are_shut(store: Store) -> None:
    store.create_account("anna", GOOD)
    ben = store.create_account("ben", GOOD)
    key, _ = store.create_account_key(ben.id, "k")
    store.set_disabled(ben.id, True)
    assert store.find_account_key(key) is None
    store.set_disabled(ben.id, False)
    assert store.find_account_key(key) == store.account(ben.id)


def test_near_misses_and_odd_texts_open_nothing(store: Store) -> None:
    me = store.single_account()
    token, _ = store.create_session(me.id, 60.0)
    key, _ = store.create_account_key(me.id, "k")
    for odd in (
        "",
        token[:-1],
        token + "A",
        token.swapcase(),
        "\0",
        "\ud800",
        "x" * 100_000,
        key,
        "%",
        "' OR 1=1",
    ):
        assert store.find_session(odd) is None
    for odd in ("", key[:-1], key + "A", key.upper(), "liao-", token, "\0", "\ud800"):
        assert store.find_account_key(odd) is None


def test_secrets_are_nowhere_in_the_database(store: Store) -> None:
    me = store.single_account()
    token, _ = store.create_session(me.id, 60.0)
    key, _ = store.create_account_key(me.id, "k")
    with store._database.read() as connection:
        rows = [
            str(tuple(row))
            for table in ("sessions", "account_keys")
            for row in connection.execute(text(f"SELECT * FROM {table}"))
        ]
    assert len(rows) == 2 and not any(token in row or key in row or key[9:] in row for row in rows)
    assert token not in str(store.export_account(me.id)) and key[9:] not in str(store.export_account(me.id))


def test_names_of_keys(store: Store) -> None:
    for name in ("", "   ", "x" * 101):
        with pytest.raises(UsageError, match="name of a key") as caught:
            store.create_account_key(store.single_account().id, name)
        assert caught.value.code == "key_name"


def test_a_session_is_for_the_present_password(store: Store) -> None:
    """Whoever has shown a password that is changed before the session begins gets none."""
    anna = store.create_account("anna", GOOD)
    shown = store.verify_password("anna", GOOD)
    assert shown is not None and shown.password_stamp == anna.password_stamp != ""
    changed = store.set_password(anna.id, GOOD, GOOD)  # the same word, another password
    assert changed == anna and changed.password_stamp != shown.password_stamp
    with pytest.raises(UsageError, match="present password"):
        store.create_session(anna.id, 60.0, password_stamp=shown.password_stamp)
    token, _ = store.create_session(anna.id, 60.0, password_stamp=changed.password_stamp)
    assert store.find_session(token) is not None
    with store._database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM sessions")).scalar() == 1


def test_a_disabled_account_gets_no_session(store: Store) -> None:
    store.create_account("anna", GOOD)
    ben = store.create_account("ben", GOOD)
    store.set_disabled(ben.id, True)
    with pytest.raises(UsageError, match="disabled"):
        store.create_session(ben.id, 60.0)


def test_a_login_while_the_password_is_being_changed(store: Store, url: str) -> None:
    """The change is written and not yet kept when the session is to begin: it has to wait for it, and then is refused."""
    anna = store.create_account("anna", GOOD)
    refused: list[UsageError] = []

    def log_in() -> None:
        with pytest.raises(UsageError) as caught:
            other.create_session(anna.id, 60.0, password_stamp=anna.password_stamp)
        refused.append(caught.value)

    with Store.open(url) as other:
        begins = threading.Thread(target=log_in)
        with store.together():
            store.set_password(anna.id, GOOD, "battery staple")
            begins.start()
            begins.join(0.1)
            assert begins.is_alive()
        begins.join()
    assert len(refused) == 1


def test_a_password_that_is_hashed_anew_at_the_login_is_the_same_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create_account("anna", GOOD)
    monkeypatch.setattr(passwords, "_HASHER", PasswordHasher(2, 16, 1, 32, 16))
    shown = store.verify_password("anna", GOOD)
    assert shown is not None
    store.create_session(shown.id, 60.0, password_stamp=shown.password_stamp)
