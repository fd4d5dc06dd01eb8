"""Logging in and out, one's own account and keys, and for admins everybody's accounts.

    POST /api/login {"name": "anna", "password": "…"}  ->  200, and the session's cookie
    GET  /api/me  ->  {"account": {"id": "01K…", "name": "anna", "role": "member"}, "mode": "multi", ...}

A login always makes a new session and ends the one that the browser had, so none can be foisted on anybody. What is
wrong about a login is never told: unknown name, wrong password and disabled account get the same answer after the same
work. Whoever is disabled, deleted or given a new password by an admin is out at once: sessions end, and so do the answers
that are running. Keys of programs stay good through a new password; they end one by one, or with the account.
"""

import hmac
from typing import Annotated, Any, Final, Literal, TypeAlias

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from liaoliao import __version__
from liaoliao.errors import NotFoundError, UsageError
from liaoliao.server.body import StrictRoute
from liaoliao.server.failures import ApiError
from liaoliao.server.openai import Wire
from liaoliao.server.openai_shapes import FAILURES, Shape
from liaoliao.server.page.access import AdminDep, Caller, CallerDep, caller_of
from liaoliao.server.page.cookies import clear_session, session_tokens, set_session
from liaoliao.server.page.door import address_of, is_from_here
from liaoliao.server.page.throttle import Attempts
from liaoliao.server.page.work import in_store
from liaoliao.server.settings import Settings
from liaoliao.store import Store
from liaoliao.store.records import Account, AccountKey

router = APIRouter(prefix="/api", tags=["accounts"], route_class=StrictRoute, responses=FAILURES)
_SETUP: Final = "setup code"  # in the place of a name, where attempts are counted; no name has a blank
_MAX_KEYS: Final = 100
_MAX_ENDED: Final = 4  # of the cookies that one request carries; a browser has one

Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=100)]
Password: TypeAlias = Annotated[str, Field(max_length=1024)]
Id: TypeAlias = Annotated[str, Field(min_length=1, max_length=64)]
Role: TypeAlias = Literal["admin", "member"]


class Login(Wire):
    """A name and its password."""

    name: Name
    password: Password


class Setup(Login):
    """The first account; the code is the one that the server printed when it started."""

    code: Annotated[str, Field(max_length=100)] | None = None


class NewPassword(Wire):
    """One's password, and what it shall be."""

    old: Password
    new: Password


class Farewell(Wire):
    """One's password once more, where there is one: what follows cannot be undone."""

    password: Password | None = None


class NewKey(Wire):
    """What a key is called."""

    name: Name


class NewAccount(Login):
    """An account that an admin makes."""

    role: Role = "member"


class AccountChange(Wire):
    """One thing to change about an account."""

    role: Role | None = None
    disabled: bool | None = None
    password: Password | None = None


class AccountShape(Shape):
    """An account as its owner sees it."""

    id: str
    name: str
    role: Role


class MeShape(Shape):
    """Who asks, and what kind of installation this is."""

    account: AccountShape | None
    mode: Literal["single", "multi"]
    needs_setup: bool = Field(description="There is no account yet: POST /api/setup makes the first.")
    version: str


class FullAccountShape(AccountShape):
    """An account as an admin sees it."""

    disabled: bool
    created_at: float


class AccountsShape(Shape):
    """All accounts."""

    accounts: list[FullAccountShape]


class KeyShape(Shape):
    """A key, of which only the beginning is known."""

    id: str
    name: str
    prefix: str
    created_at: float
    last_used_at: float | None


class KeysShape(Shape):
    """One's keys."""

    keys: list[KeyShape]


class NewKeyShape(KeyShape):
    """A key, this once in full."""

    key: str


class Done(Shape):
    """It is done."""

    ok: Literal[True] = True


def several(request: Request) -> None:
    """Raise ApiError where there are no accounts to speak of."""
    if not _settings(request).multi_user:
        raise ApiError(
            "This server has one user and no accounts; start it with --multi-user to have them.",
            code="single_user",
        )


SEVERAL = [Depends(several)]


# Coming and going


@router.get("/me")
async def me(request: Request) -> MeShape:
    """Who asks; that is nobody where nobody is logged in."""
    settings, store = _settings(request), _store(request)
    caller = caller_of(request)
    return MeShape(
        account=_shape(caller.account) if caller else None,
        mode="multi" if settings.multi_user else "single",
        needs_setup=settings.multi_user and caller is None and await in_store(store.needs_setup),
        version=__version__,
    )


@router.post("/setup", status_code=201, dependencies=SEVERAL)
async def setup(body: Setup, request: Request, response: Response) -> AccountShape:
    """Make the first account, an admin's, and log it in. It needs the code that the server printed at its start,
    unless it is asked for on the server's own machine. What was said before there were accounts is that one's.
    """
    store = _store(request)
    if not await in_store(store.needs_setup):
        raise ApiError("There are accounts already; an admin makes more.", status=409, code="set_up")
    await _check_code(body.code, request)
    account = await in_store(store.create_first_account, body.name, body.password)
    await _begin(account, request, response)
    return _shape(account)


@router.post("/login", dependencies=SEVERAL)
async def login(body: Login, request: Request, response: Response) -> AccountShape:
    """Begin a session."""
    account = await _verified(body.name, body.password, request)
    await _begin(account, request, response)
    return _shape(account)


@router.post("/logout", dependencies=SEVERAL)
async def logout(request: Request, response: Response) -> Done:
    """End the session, if there is one."""
    await _end_carried(request)
    clear_session(response, _settings(request))
    return Done()


# One's own


@router.post("/password", dependencies=SEVERAL)
async def password(body: NewPassword, caller: CallerDep, request: Request, response: Response) -> Done:
    """Change one's password; every other session of the account ends, keys stay good."""
    account = await _verified(caller.account.name, body.old, request)
    account = await in_store(_store(request).set_password, account.id, body.old, body.new)
    await _begin(account, request, response)
    return Done()


@router.delete("/me")
async def delete_me(body: Farewell, caller: CallerDep, request: Request, response: Response) -> Done:
    """Delete one's account with everything that belongs to it, for good. The last admin cannot leave others behind."""
    if caller.via == "cookie":
        await _verified(caller.account.name, body.password or "", request)
    elif body.password is not None:
        raise ApiError("There is no password here.", param="password", code="single_user")
    await _delete(caller.account.id, request)
    clear_session(response, _settings(request))
    return Done()


@router.get("/keys", dependencies=SEVERAL)
async def keys(caller: CallerDep, request: Request) -> KeysShape:
    """The keys with which one's programs may ask under /v1."""
    found = await in_store(_store(request).account_keys, caller.account.id)
    return KeysShape(keys=[KeyShape(**_key(key)) for key in found])


@router.post("/keys", status_code=201, dependencies=SEVERAL)
async def new_key(body: NewKey, caller: CallerDep, request: Request) -> NewKeyShape:
    """Make a key; it is told this once."""
    if len(await in_store(_store(request).account_keys, caller.account.id)) >= _MAX_KEYS:
        raise ApiError(
            f"An account has {_MAX_KEYS} keys at most; end one that is not used.", code="too_many_keys"
        )
    key, record = await in_store(_store(request).create_account_key, caller.account.id, body.name)
    return NewKeyShape(key=key, **_key(record))


@router.delete("/keys/{key_id}", dependencies=SEVERAL)
async def revoke_key(key_id: Id, caller: CallerDep, request: Request) -> Done:
    """End a key, at once."""
    await in_store(_store(request).revoke_account_key, caller.account.id, key_id)
    return Done()


# Everybody's


@router.get("/accounts", dependencies=SEVERAL)
async def accounts(caller: AdminDep, request: Request) -> AccountsShape:
    """All accounts."""
    return AccountsShape(accounts=[_full(one) for one in await in_store(_store(request).accounts)])


@router.post("/accounts", status_code=201, dependencies=SEVERAL)
async def new_account(body: NewAccount, caller: AdminDep, request: Request) -> FullAccountShape:
    """Make an account; its owner changes the password afterwards."""
    account = await in_store(_store(request).create_account, body.name, body.password, body.role)
    return _full(account)


@router.patch("/accounts/{account_id}", dependencies=SEVERAL)
async def change_account(
    account_id: Id, body: AccountChange, caller: AdminDep, request: Request
) -> FullAccountShape:
    """Change one thing about an account. Who is disabled or given a new password is logged out, and answered no more;
    keys stay good through a new password.
    """
    store, given = _store(request), body.model_fields_set
    if len(given) != 1 or getattr(body, next(iter(given))) is None:
        raise ApiError("Give exactly one of 'role', 'disabled' and 'password'.", code="invalid_value")
    if body.role is not None:
        await in_store(store.set_role, account_id, body.role)
    elif body.disabled is not None:
        await in_store(store.set_disabled, account_id, body.disabled)
    else:
        await _reset_password(account_id, body.password or "", caller, request)
    if body.role is None:
        await _throw_out(account_id, request)
    return _full(await in_store(store.account, account_id))


@router.delete("/accounts/{account_id}", dependencies=SEVERAL)
async def delete_account(account_id: Id, caller: AdminDep, request: Request) -> Done:
    """Delete an account with everything that belongs to it, for good."""
    if account_id == caller.account.id:
        told = "Delete your own account with DELETE /api/me, which asks for the password."
        raise ApiError(told, code="own_account")
    await _delete(account_id, request)
    return Done()


# What they share


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def _store(request: Request) -> Store:
    store: Store = request.app.state.store
    return store


async def _verified(name: str, password: str, request: Request) -> Account:
    """The account of a name and its password. Raises ApiError 401, and 429 after too many attempts."""
    attempts: Attempts = request.app.state.attempts
    async with attempts.at(name, address_of(request.scope, _settings(request))) as attempt:
        account = await in_store(_store(request).verify_password, name, password)
        if account is None or account.disabled:
            raise _wrong_password()
        attempt.succeeded()
    return account


def _wrong_password() -> ApiError:
    return ApiError("The name or the password is wrong.", status=401, code="wrong_password")


async def _check_code(given: str | None, request: Request) -> None:
    """Raise ApiError for who may not make the first account."""
    settings, code = _settings(request), str(request.app.state.setup_code)
    if given is None and is_from_here(request.scope, settings):
        return
    attempts: Attempts = request.app.state.attempts
    async with attempts.at(_SETUP, address_of(request.scope, settings)) as attempt:
        if not hmac.compare_digest((given or "").strip().encode(), code.encode()):
            told = "Making the first account needs the code that the server printed when it started."
            raise ApiError(told, status=403, param="code", code="setup_code_needed")
        attempt.succeeded()


async def _begin(account: Account, request: Request, response: Response) -> None:
    """A new session in the place of the one that the request carries, for who has shown the password that `account`
    had. Raises ApiError 401 where it has been changed since.
    """
    settings, create = _settings(request), _store(request).create_session
    await _end_carried(request)
    try:
        token, _ = await in_store(
            create, account.id, settings.session_lifetime_s, password_stamp=account.password_stamp
        )
    except (NotFoundError, UsageError) as error:
        raise _wrong_password() from error
    set_session(response, settings, token)


async def _end_carried(request: Request) -> None:
    for token in sorted(session_tokens(request.scope, _settings(request)))[:_MAX_ENDED]:
        await in_store(_store(request).end_session, token)


async def _reset_password(account_id: str, password: str, caller: Caller, request: Request) -> None:
    if account_id == caller.account.id:
        told = "Change your own password with POST /api/password, which asks for the old one."
        raise ApiError(told, code="own_account")
    await in_store(_store(request).set_password, account_id, None, password)


async def _throw_out(account_id: str, request: Request) -> None:
    """End an account's sessions, and what is being answered to it."""
    await in_store(_store(request).end_sessions, account_id)
    await request.app.state.live.stop_account(account_id)


async def _delete(account_id: str, request: Request) -> None:
    """First shut it out, which the last admin of others cannot be, so that nothing of it is being written any more."""
    await in_store(_store(request).shut_out, account_id)
    await request.app.state.live.stop_account(account_id)
    await in_store(_store(request).delete_account, account_id)


def _shape(account: Account) -> AccountShape:
    return AccountShape(id=account.id, name=account.name, role=account.role)


def _full(account: Account) -> FullAccountShape:
    return FullAccountShape(
        id=account.id, name=account.name, role=account.role, disabled=account.disabled,
        created_at=account.created_at,
    )  # fmt: skip


def _key(key: AccountKey) -> dict[str, Any]:
    return {
        "id": key.id, "name": key.name, "prefix": key.prefix, "created_at": key.created_at,
        "last_used_at": key.last_used_at,
    }  # fmt: skip
