"""Accounts: names, passwords, the rule of the last admin, and single-user mode."""

import threading
from collections.abc import Callable

import pytest
from argon2 import PasswordHasher
from sqlalchemy import text

from liaoliao.errors import NotFoundError, UsageError
from liaoliao.store import Store
from liaoliao.store.passwords import hash_password, is_password

GOOD = "correct horse"


def test_the_first_account_is_an_admin_and_the_next_is_what_it_is_told(store: Store) -> None:
    store.single_account()  # has no password, so it is not the first
    anna = store.create_account("anna", GOOD, "member")
    ben = store.create_account("小明", GOOD, "member")
    assert (anna.role, ben.role) == ("admin", "member")
    assert store.verify_password("anna", GOOD) == anna == store.account(anna.id)
    assert store.verify_password("anna", "correct house") is None
    assert store.verify_password("nobody", GOOD) is None
    assert [account.name for account in store.accounts()] == ["owner", "anna", "小明"]


def test_what_is_no_name(store: Store) -> None:
    for name in ("", "a b", "a\0", "x" * 65, "a/b", "<b>", "\ud800", "a\n"):
        with pytest.raises(UsageError, match="cannot name") as caught:
            store.create_account(name, GOOD)
        assert caught.value.code == "account_name" and store.verify_password(name, GOOD) is None


def test_names_that_look_alike_are_one(store: Store) -> None:
    store.create_account("Anna", GOOD)
    for taken in ("anna", "ＡＮＮＡ", "aNNa"):
        with pytest.raises(UsageError, match="already") as caught:
            store.create_account(taken, GOOD)
        assert caught.value.code == "account_name_taken"
    found = store.verify_password("ＡNNA", GOOD)
    assert found is not None and found.name == "Anna"


def test_bad_passwords(store: Store) -> None:
    for password in ("", "short", "x" * 1025):
        with pytest.raises(UsageError, match="password") as caught:
            store.create_account("anna", password)
        assert caught.value.code == "password_length"
    assert store.accounts() == []


@pytest.mark.usefixtures("real_passwords")
def test_a_password_is_kept_as_argon2id_of_the_stated_cost(store: Store) -> None:
    store.create_account("anna", GOOD)
    with store._database.read() as connection:
        kept = connection.execute(text("SELECT password_hash FROM accounts")).scalar_one()
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$") and GOOD not in kept


def test_composed_letters_are_one_password_and_long_ones_are_refused() -> None:
    kept = hash_password("cafe\u0301 ２０２６")
    assert is_password(kept, "caf\u00e9 2026") and not is_password(kept, "cafe 2026")
    assert (
        not is_password(kept, "x" * 100_000) and not is_password(None, "") and not is_password(kept, "\ud800")
    )


def test_unknown_names_cost_a_hash_like_known_ones(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Constant work by construction: what differs is only the hash that is verified against."""
    seen: list[str] = []

    class Hasher:
        def verify(self, hashed: str, password: bytes) -> bool:
            seen.append(hashed.rpartition("$")[0].rpartition("$")[0])
            return True

    anna = store.create_account("anna", GOOD)
    store.create_account("ben", GOOD)
    store.set_disabled(store.create_account("cleo", GOOD).id, True)
    monkeypatch.setattr("liaoliao.store.passwords._HASHER", Hasher())
    monkeypatch.setattr("liaoliao.store.accounts.is_outdated", lambda hashed: False)
    found = [store.verify_password(name, "x" * 8) for name in ("anna", "nobody", "cleo", "\0", "owner")]
    assert found == [anna, None, None, None, None]  # the fake hasher says yes to all
    assert len(seen) == 5 and len(set(seen)) == 1


def test_disabled_accounts_are_out_until_they_are_let_in(store: Store) -> None:
    store.create_account("anna", GOOD)
    ben = store.create_account("ben", GOOD)
    token, _ = store.create_session(ben.id, 60.0)
    assert store.set_disabled(ben.id, True).disabled
    assert store.verify_password("ben", GOOD) is None and store.find_session(token) is None
    assert not store.set_disabled(ben.id, False).disabled
    assert store.verify_password("ben", GOOD) is not None and store.find_session(token) is None


def test_there_is_always_an_admin_who_can_log_in(store: Store) -> None:
    store.single_account()
    anna = store.create_account("anna", GOOD)
    for last in (
        lambda: store.set_role(anna.id, "member"),
        lambda: store.set_disabled(anna.id, True),
        lambda: store.delete_account(anna.id),
    ):
        with pytest.raises(UsageError, match="last admin") as caught:
            last()
        assert caught.value.code == "last_admin"
    ben = store.create_account("ben", GOOD, "admin")
    assert store.set_role(anna.id, "member").role == "member"
    with pytest.raises(UsageError, match="last admin"):
        store.delete_account(ben.id)
    store.set_role(anna.id, "admin")
    store.delete_account(ben.id)


def test_the_only_account_may_leave(store: Store) -> None:
    """As when one goes back from several users to one, and deletes everything."""
    store.single_account()
    anna = store.create_first_account("anna", GOOD)
    store.create_conversation(anna.id, title="secret")
    token, _ = store.create_session(anna.id, 60.0)
    with pytest.raises(UsageError, match="last admin"):
        store.set_disabled(anna.id, True)
    store.shut_out(anna.id)
    assert store.find_session(token) is None
    assert store.verify_password("anna", GOOD) == anna, "were she not deleted, she could come in again"
    store.delete_account(anna.id)
    assert store.accounts() == [] and store.needs_setup()
    owner = store.single_account()
    assert owner.id != anna.id and store.conversations(owner.id) == []


def test_who_is_to_be_deleted_is_shut_out_first(store: Store) -> None:
    anna, ben = store.create_account("anna", GOOD), store.create_account("ben", GOOD)
    token, _ = store.create_session(ben.id, 60.0)
    refused: list[Callable[[str], None]] = [store.shut_out, store.delete_account]
    for use in refused:
        with pytest.raises(UsageError, match="last admin"):
            use(anna.id)
    store.shut_out(ben.id)
    assert store.account(ben.id).disabled and store.find_session(token) is None
    store.delete_account(ben.id)
    store.shut_out(anna.id)
    store.delete_account(anna.id)


def test_two_admins_cannot_both_step_down(store: Store) -> None:
    ids = [store.create_account(name, GOOD, "admin").id for name in ("anna", "ben")]
    start = threading.Barrier(2)
    refused = []

    def step_down(id: str) -> None:
        start.wait()
        try:
            store.set_role(id, "member")
        except UsageError as error:
            refused.append(error)

    threads = [threading.Thread(target=step_down, args=(id,)) for id in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1
    assert [account.role for account in store.accounts()].count("admin") == 1


def test_a_hash_of_another_cost_is_renewed_at_the_next_login(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna = store.create_account("anna", GOOD)
    monkeypatch.setattr("liaoliao.store.passwords._HASHER", PasswordHasher(2, 16, 1, 32, 16))

    def kept() -> str:
        with store._database.read() as connection:
            return str(connection.execute(text("SELECT password_hash FROM accounts")).scalar_one())

    assert "m=8,t=1" in kept() and store.verify_password("anna", "wrong one") is None and "m=8,t=1" in kept()
    assert store.verify_password("anna", GOOD) == anna and "m=16,t=2" in kept()
    assert store.verify_password("anna", GOOD) == anna


def test_changing_a_password(store: Store) -> None:
    anna = store.create_account("anna", GOOD)
    token, _ = store.create_session(anna.id, 60.0)
    with pytest.raises(UsageError, match="present password") as caught:
        store.set_password(anna.id, "wrong one", "battery staple")
    assert caught.value.code == "not_the_password" and store.find_session(token) is not None
    store.set_password(anna.id, GOOD, "battery staple")
    assert store.find_session(token) is None
    assert store.verify_password("anna", GOOD) is None
    assert store.check_password(anna.id, "battery staple") and not store.check_password(anna.id, GOOD)
    store.set_password(anna.id, None, GOOD)  # an admin resets it
    assert store.verify_password("anna", GOOD) == anna


def test_a_password_that_is_changed_meanwhile(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two changes at once, and the later one fails aloud."""
    anna = store.create_account("anna", GOOD)

    def meanwhile(password: str) -> str:
        monkeypatch.setattr("liaoliao.store.accounts.hash_password", hash_password)
        store.set_password(anna.id, GOOD, "battery staple")
        return hash_password(password)

    monkeypatch.setattr("liaoliao.store.accounts.hash_password", meanwhile)
    with pytest.raises(UsageError, match="somebody else") as caught:
        store.set_password(anna.id, GOOD, "a third password")
    assert caught.value.code == "password_changed"
    assert store.check_password(anna.id, "battery staple")


def test_the_owner_of_single_user_mode_is_one_and_can_get_a_password(store: Store, url: str) -> None:
    owner = store.single_account()
    assert (owner.name, owner.role, owner.has_password) == ("owner", "admin", False)
    with Store.open(url) as other:
        assert other.single_account() == owner
    assert store.verify_password("owner", "") is None and not store.check_password(owner.id, "")
    store.set_password(owner.id, None, GOOD)
    found = store.verify_password("owner", GOOD)
    assert found is not None and found.id == owner.id == store.single_account().id


def test_the_first_account_takes_over_what_single_user_mode_had(store: Store) -> None:
    owner = store.single_account()
    talk = store.create_conversation(owner.id, title="mine")
    assert store.needs_setup()
    anna = store.create_first_account("anna", GOOD)
    assert (anna.id, anna.name, anna.role, anna.has_password) == (owner.id, "anna", "admin", True)
    assert store.conversation(anna.id, talk.id) == talk and not store.needs_setup()
    assert store.verify_password("anna", GOOD) == anna == store.single_account()
    with pytest.raises(UsageError, match="already") as caught:
        store.create_first_account("ben", GOOD)
    assert caught.value.code == "set_up"


def test_the_first_account_of_a_new_store(store: Store) -> None:
    anna = store.create_first_account("anna", GOOD)
    assert store.accounts() == [anna] and anna.role == "admin"


def test_the_owner_gives_way_to_a_name_that_is_taken(store: Store) -> None:
    store.create_account("Owner", GOOD)
    assert store.single_account().name == "owner-2"


def test_accounts_that_are_not_there(store: Store) -> None:
    uses: list[Callable[[str], object]] = [
        store.account,
        store.delete_account,
        store.shut_out,
        store.create_conversation,
        lambda id: store.set_role(id, "admin"),
        lambda id: store.set_disabled(id, True),
        lambda id: store.set_password(id, None, GOOD),
        lambda id: store.check_password(id, GOOD),
        lambda id: store.create_session(id, 1.0),
        lambda id: store.create_account_key(id, "k"),
    ]
    for id in ("", "x", "0" * 26, "\0" * 26, "' OR 1=1 --"):
        for use in uses:
            with pytest.raises(NotFoundError):
                use(id)
