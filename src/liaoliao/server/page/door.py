"""The door before /api: who asks is decided here, before any route begins and before a body is read.

    single-user    everyone who gets this far is the one account (LocalOnly has turned strangers away)
    multi-user     the session cookie names the account; no key opens /api, as no cookie opens /v1

A change (POST, PUT, PATCH, DELETE) must come from the server's own page: the browser says where from, in Origin and
Sec-Fetch-Site, and no page can forge these. That a foreign page's requests come without the cookie (SameSite) is the
second wall. Nobody's requests are answered 401 whatever they ask for, so nothing tells which routes there are.

A session that ends while one of its streams flows ends the stream, within some seconds.
"""

import ipaddress
import time
from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from liaoliao.server.auth import credentials
from liaoliao.server.failures import ApiError, error_response, unauthorized
from liaoliao.server.headers import LOCAL_NAMES, host_name, is_own_page, only
from liaoliao.server.page.access import Caller, not_logged_in, note_caller
from liaoliao.server.page.cookies import session_tokens
from liaoliao.server.page.files import PageFiles
from liaoliao.server.page.work import in_store
from liaoliao.server.settings import Settings
from liaoliao.store import Store

Clock = Callable[[], float]
OPEN_TO_ALL: Final = frozenset({"/api/me", "/api/login", "/api/logout", "/api/setup"})  # as far as these go
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_LOOK_AGAIN_S: Final = 5.0
_MAX_TOKEN: Final = 200  # characters; no token of ours is longer
_FORWARDING: Final = frozenset(
    {b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip"}
)
_PRIVATE: Final = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
)  # fmt: skip


def is_api(path: str) -> bool:
    """Whether a path is the page's own interface."""
    return path == "/api" or path.startswith("/api/")


class Entry:
    """What decides who may enter: settings, accounts and the files that all may see."""

    def __init__(self, settings: Settings, store: Store, files: PageFiles) -> None:
        self.settings, self.store, self.files = settings, store, files

    def guards(self, path: str) -> bool:
        """Whether a path belongs to the page, where keys mean nothing."""
        return is_api(path) or self.files.has(path)

    async def of_key(self, key: str) -> str | None:
        """The account that an API key belongs to, by its id; None for a key that is not good now."""
        if not self.settings.multi_user or len(key) > _MAX_TOKEN:
            return None
        account = await in_store(self.store.find_account_key, key)
        return None if account is None or account.disabled else account.id

    async def of_session(self, scope: Scope) -> str | None:
        """The account that a request's cookie names, by its id; None where none does."""
        found = await self.session(scope) if self.settings.multi_user else None
        return found.account.id if found else None

    async def session(self, scope: Scope) -> Caller | None:
        """Who a request's cookie says is asking. Raises ApiError 401 for two different cookies."""
        tokens = session_tokens(scope, self.settings)
        if len(tokens) > 1:
            raise not_logged_in(
                "The request carries two different session cookies; clear them and log in again."
            )
        token = "".join(tokens)
        if not token or len(token) > _MAX_TOKEN or not token.isascii():
            return None
        found = await in_store(self.store.find_session, token)
        if found is None or found[1].disabled:
            return None
        session, account = found
        return Caller(account, "cookie", session.id)

    async def caller(self, scope: Scope) -> Caller | None:
        """Who asks. Raises ApiError for who says two things about that, or carries what is none of ours."""
        if not self.settings.multi_user:
            _check_direct(scope, self.settings)
            return Caller(await in_store(self.store.single_account), "single")
        if credentials(scope):
            raise unauthorized(
                "No API key opens this; the page's own interface takes the session cookie alone."
            )
        if scope["path"] not in OPEN_TO_ALL:
            return await self.session(scope)
        try:
            return await self.session(scope)
        except ApiError:  # who must log in anew has to get that far
            return None


class Door:
    """ASGI middleware: lets requests for /api through with their caller noted, or answers 401 and 403."""

    def __init__(self, app: ASGIApp, entry: Entry, *, clock: Clock = time.monotonic) -> None:
        self.app, self.entry, self.clock = app, entry, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let through, or refuse."""
        if scope["type"] != "http" or not is_api(scope["path"]):
            await self.app(scope, receive, send)
            return
        private = _private(send)
        try:
            check_origin(scope, self.entry.settings)
            caller = await self.entry.caller(scope)
            if caller is None and scope["path"] not in OPEN_TO_ALL:
                raise not_logged_in()
        except ApiError as error:
            await error_response(error, scope["path"])(scope, receive, private)
            return
        if caller is None:
            await self.app(scope, receive, private)
            return
        note_caller(scope, caller)
        scope["state"]["account"] = caller.account.id
        await self._serve(caller, scope, receive, private)

    async def _serve(self, caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve; a stream only as long as its session and its role last."""
        looked, streams, over = self.clock(), False, False

        async def sent(message: Message) -> None:
            nonlocal looked, streams, over
            if message["type"] == "http.response.start":
                streams = caller.via == "cookie" and _is_stream(message)
            elif streams and self.clock() - looked >= _LOOK_AGAIN_S:
                looked = self.clock()
                now = await self.entry.session(scope)
                if now is None or now.account.role != caller.account.role:
                    over = True
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                    raise _SessionOverError
            await send(message)

        try:
            await self.app(scope, receive, sent)
        except Exception:  # ours may come out wrapped by what it passed through
            if not over:
                raise


class _SessionOverError(Exception):
    """Ends the route that makes a stream."""


def _is_stream(message: Message) -> bool:
    return any(
        name == b"content-type" and value.startswith(b"text/event-stream")
        for name, value in message.get("headers", ())
    )


def _private(send: Send) -> Send:
    """Mark every reply as one that is kept by nobody and shown in no other page."""

    async def marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            there = {name.lower() for name, _ in headers}
            message["headers"] = [*headers, *(pair for pair in _PRIVATE if pair[0] not in there)]
        await send(message)

    return marked


def check_origin(scope: Scope, settings: Settings) -> None:
    """Refuse what another page had a browser ask for. Raises ApiError 403.

    Without accounts a program of this machine may leave out what browsers say: it could forge it as well.
    """
    site, origin = only(scope, b"sec-fetch-site"), only(scope, b"origin")
    changes = scope["method"] not in _SAFE
    own = origin is None or is_own_page(scope, https=settings.behind_https)
    if not own or not (site in (None, "same-origin") or (site == "none" and not changes)):
        raise _foreign(
            f"Only this server's own page may ask that, and the request comes from {(origin or site or '')[:100]!r}. "
            "Behind a proxy: have it pass on the Host header as it came."
        )
    if changes and settings.multi_user and origin is None and site is None:
        raise _foreign("A change must say that it comes from this server's page, in an Origin header.")


def _foreign(message: str) -> ApiError:
    return ApiError(message, status=403, code="origin_not_allowed")


def address_of(scope: Scope, settings: Settings) -> str:
    """Where a request comes from: the other end of the connection or, behind a proxy, what the proxy said last."""
    client = scope.get("client")
    direct = str(client[0]) if client else ""
    if not settings.behind_https:
        return direct
    told = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
    last = told[-1].rpartition(",")[2].strip() if told else ""
    return last if _is_address(last) else direct


def is_from_here(scope: Scope, settings: Settings) -> bool:
    """Whether a request was made on this very machine, by this machine's name and through no proxy."""
    if settings.behind_https or _is_forwarded(scope):
        return False
    address = address_of(scope, settings).partition("%")[0]
    here = _is_address(address) and ipaddress.ip_address(address).is_loopback
    return here and host_name(only(scope, b"host") or "") in LOCAL_NAMES


def _check_direct(scope: Scope, settings: Settings) -> None:
    """Refuse what a proxy passes on to the page of one person, unless its name is allowed: everyone would be that one."""
    if _is_forwarded(scope) and not settings.allowed_hosts:
        raise ApiError(
            "This page belongs to the one person at its machine, and the request comes through a proxy. Start the server "
            "with --multi-user, or with --allow-host if the proxy lets nobody else in.",
            status=403, code="host_not_allowed",
        )  # fmt: skip


def _is_forwarded(scope: Scope) -> bool:
    return any(name in _FORWARDING for name, _ in scope["headers"])


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
