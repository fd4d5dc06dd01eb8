"""What requests tell of themselves in their headers, read so that nothing said twice is believed.

only(scope, b"host")          ->  "localhost:8000"; ApiError 400 where it is there twice
host_name("LOCALHOST:8000")   ->  "localhost"; None for what is no host
is_own_page(scope)            ->  whether the Origin is that of this server's own pages
"""

import re
from typing import Final

from starlette.types import Scope

from liaoliao.server.failures import ApiError

LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[^\s:/@\[\]]+)(:\d{1,5})?")
_USUAL_PORT: Final = {"http": ":80", "https": ":443"}


def only(scope: Scope, wanted: bytes) -> str | None:
    """The value of a header that may be there once, None where it is not. Raises ApiError for one given twice."""
    values = [value.decode("latin-1") for name, value in scope["headers"] if name == wanted]
    if len(values) > 1:
        raise ApiError(f"The header {wanted.decode()} is there {len(values)} times.")
    return values[0] if values else None


def host_name(host: str) -> str | None:
    """The name in a Host header, in small letters and without the port; None for what is no such header."""
    named = _HOST.fullmatch(host.lower())
    return named[1] if named else None


def is_own_page(scope: Scope, *, https: bool = False) -> bool:
    """Whether a request's Origin is this server under the name it was called by; with `https`, by nothing less.

    Raises ApiError for a header given twice.
    """
    origin, host = only(scope, b"origin") or "", (only(scope, b"host") or "").lower()
    scheme, _, place = origin.lower().partition("://")
    if scheme not in _USUAL_PORT or (https and scheme != "https") or not host:
        return False
    port = _USUAL_PORT[scheme]
    return place.removesuffix(port) == host.removesuffix(port)
