"""Who asks: every route of the page has its caller from here, and none finds one by itself.

    @router.get("/conversations")
    async def conversations(caller: CallerDep, request: Request) -> ...:      # 401 where nobody is logged in
        ... caller.account.id ...

    @router.get("/accounts")
    async def accounts(caller: AdminDep) -> ...:                              # 403 for who is no admin

`door.py` stands before all of /api: it decides who the caller is, refuses who is nobody, and notes the rest here. So a
route without a `CallerDep` is not open either; and one that is reached around the door finds no caller.
"""

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from fastapi import Depends, Request
from starlette.types import Scope

from liaoliao.server.failures import ApiError
from liaoliao.store.records import Account

_NOTED = "page_caller"


@dataclass(frozen=True, slots=True)
class Caller:
    """An account, and how we know: it is the only one there is ("single"), or a session's ("cookie")."""

    account: Account
    via: Literal["single", "cookie"]
    session_id: str | None = None

    @property
    def is_admin(self) -> bool:
        """Whether it may do what concerns everyone."""
        return self.account.role == "admin"


def not_logged_in(message: str = "Nobody is logged in here; log in first.") -> ApiError:
    """401 in the page's words; it names no scheme, as a browser would ask for a password of its own."""
    return ApiError(message, status=401, code="not_logged_in")


def note_caller(scope: Scope, caller: Caller) -> None:
    """Tell the routes of a request who asks; the door's alone to call."""
    scope.setdefault("state", {})[_NOTED] = caller


def caller_of(request: Request) -> Caller | None:
    """Who asks, or None where nobody is logged in."""
    found: Caller | None = getattr(request.state, _NOTED, None)
    return found


def caller(request: Request) -> Caller:
    """Who asks. Raises ApiError 401 where nobody is logged in."""
    if (found := caller_of(request)) is None:
        raise not_logged_in()
    return found


CallerDep: TypeAlias = Annotated[Caller, Depends(caller)]


def admin(caller: CallerDep) -> Caller:
    """Who asks, who is an admin. Raises ApiError 401 and 403."""
    if not caller.is_admin:
        raise ApiError("Only an admin of this installation may do that.", status=403, code="admins_only")
    return caller


AdminDep: TypeAlias = Annotated[Caller, Depends(admin)]
