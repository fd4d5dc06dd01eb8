"""The session's cookie: how it is set, read and taken back.

    set_session(response, settings, token)  ->  set-cookie: liaoliao_session=…; HttpOnly; SameSite=Lax; Path=/; Max-Age=…
    session_tokens(scope, settings)         ->  {"…"}

Behind HTTPS it is `__Host-liaoliao_session` and Secure: a browser takes a cookie of such a name from this very host only,
so that no other page of the same domain can slip in one of its own.
"""

from fastapi import Response
from starlette.types import Scope

from liaoliao.server.settings import Settings

_NAME = "liaoliao_session"


def cookie_name(settings: Settings) -> str:
    """What the cookie is called here."""
    return f"__Host-{_NAME}" if settings.behind_https else _NAME


def session_tokens(scope: Scope, settings: Settings) -> set[str]:
    """Every different token that a request's cookies carry: more than one, and none of them can be believed."""
    name, found = cookie_name(settings), set()
    for header, value in scope["headers"]:
        if header == b"cookie":
            pairs = (part.strip().partition("=") for part in value.decode("latin-1").split(";"))
            found |= {token.strip() for key, _, token in pairs if key.strip() == name}
    return found


def set_session(response: Response, settings: Settings, token: str) -> None:
    """Have the browser keep this token, out of the reach of scripts."""
    response.set_cookie(
        cookie_name(settings), token, max_age=round(settings.session_lifetime_s), path="/",
        secure=settings.behind_https, httponly=True, samesite="lax",
    )  # fmt: skip


def clear_session(response: Response, settings: Settings) -> None:
    """Have the browser forget it."""
    response.set_cookie(
        cookie_name(settings), "", max_age=0, path="/", secure=settings.behind_https, httponly=True,
        samesite="lax",
    )  # fmt: skip
