"""The command accounts: who may use an installation that several people share.

$ liaoliao accounts add anna --role admin
$ liaoliao serve --multi-user --host 0.0.0.0

It works on the database, whether a server runs on it or not: one that runs obeys at the next request.
"""

import difflib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from liaoliao.cli.group import require
from liaoliao.cli.serve import Database
from liaoliao.errors import UsageError

if TYPE_CHECKING:
    from liaoliao.store import Store
    from liaoliao.store.records import Account

Action: TypeAlias = Literal["add", "list", "role", "password", "disable", "enable", "logout", "remove"]


def accounts(
    action: Annotated[
        Action,
        typer.Argument(
            help="add: make an account. list: who has one. role: make it --role. password: give it a new one. disable, "
            "enable: whether it may do anything. logout: end its sessions. remove: delete it with all that belongs to it.",
        ),
    ],
    name: Annotated[str | None, typer.Argument(help="Whose account.")] = None,
    role: Annotated[
        Literal["admin", "member"] | None,
        typer.Option(help="An admin manages accounts and models.", show_default="member; the first: admin"),
    ] = None,
    database: Database = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking again.")] = False,
) -> None:
    """Manage the accounts of `liaoliao serve --multi-user`.

    Passwords are asked for at the terminal, or read as a line from stdin where that is none.
    """
    require(
        (action == "list") == (name is None),
        f"name the account: liaoliao accounts {action} NAME; list takes none",
    )
    require(role is None or action in ("add", "role"), "--role goes with add and role")
    require(role is not None or action != "role", "say which: liaoliao accounts role NAME --role admin")
    require(not yes or action == "remove", "--yes goes with remove")
    with _store(database) as store:
        if name is None:
            _list(store)
        elif action == "add":
            _add(store, name, role)
        else:
            _change(store, _find(store, name), action, role, yes)


@contextmanager
def _store(database: str | None) -> Iterator["Store"]:
    from liaoliao.store import Store

    store = Store.open(database)
    try:
        yield store
    finally:
        store.close()


def _find(store: "Store", name: str) -> "Account":
    by_name = {account.name: account for account in store.accounts()}
    if name in by_name:
        return by_name[name]
    near = difflib.get_close_matches(name, by_name, n=1)
    raise UsageError(f"there is no account {name!r}" + (f"; did you mean {near[0]}?" if near else ""))


def _list(store: "Store") -> None:
    found = store.accounts()
    if not found:
        typer.echo("there is no account yet; `liaoliao accounts add NAME` makes one")
    width = max((len(account.name) for account in found), default=0)
    for account in found:
        made = datetime.fromtimestamp(account.created_at).astimezone().date().isoformat()
        facts = [account.role, f"made {made}"]
        facts += (
            [] if account.has_password else ["without a password: who uses the page without --multi-user"]
        )
        facts += ["disabled"] if account.disabled else []
        typer.echo(f"{account.name:<{width}}  {'; '.join(facts)}")


def _add(store: "Store", name: str, role: Literal["admin", "member"] | None) -> None:
    first = store.needs_setup()
    require(not first or role != "member", "the first account is an admin's: leave out --role")
    if first:
        account = store.create_first_account(name, _password(name))
    else:
        account = store.create_account(name, _password(name), role or "member")
    _say(f"{account.name} can log in, as {account.role}")


def _change(
    store: "Store", account: "Account", action: Action, role: Literal["admin", "member"] | None, yes: bool
) -> None:
    if action == "role" and role is not None:
        store.set_role(account.id, role)
        _say(f"{account.name} is {role} now")
    elif action == "password":
        store.set_password(account.id, None, _password(account.name))
        store.end_sessions(account.id)
        _say(f"{account.name} has a new password; its sessions have ended")
    elif action in ("disable", "enable"):
        store.set_disabled(account.id, action == "disable")
        store.end_sessions(account.id)
        _say(f"{account.name} is {action}d")
    elif action == "logout":
        store.end_sessions(account.id)
        _say(f"{account.name} has no session any more")
    elif action == "remove":
        if not yes:
            typer.confirm(
                f"Delete {account.name} and every conversation of that account, for good?",
                abort=True,
                err=True,
            )
        store.delete_account(account.id)
        _say(f"{account.name} is deleted")


def _password(name: str) -> str:
    if sys.stdin.isatty():
        return str(typer.prompt(f"Password of {name}", hide_input=True, confirmation_prompt=True, err=True))
    return sys.stdin.readline().rstrip("\r\n")


def _say(line: str) -> None:
    typer.echo(line, err=True)
