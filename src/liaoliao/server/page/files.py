"""The page's own files: built by web/, read once, served from memory under the strictest policy that runs them.

    GET /                          ->  index.html, as for every place that the page shows: /c/ID, /settings, /runs/NAME …
    GET /assets/index-9f3kQx2a.js  ->  the file, to be kept for a year: another build has another name
    GET /assets/../secret          ->  404: what was not in the folder when it was read is not there

No path of the disk is ever made of a request's: a request is looked up in a table. The files are read again when a new
build has replaced index.html.
"""

import asyncio
import gzip
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fastapi import FastAPI, Request, Response

from liaoliao.server.failures import ApiError

STATIC: Final = Path(__file__).parent / "static"
PLACES: Final = ("/", "/login", "/setup", "/settings", "/runs", "/runs/{name}", "/c/{conversation}")
_PLACE: Final = re.compile(r"/|/(login|setup|settings|runs|(runs|c)/[^/]+)")
_ASSETS: Final = "/assets/"
_HASHED: Final = re.compile(r"-[\w-]{8}\.\w+$")
_MEDIA_TYPES: Final = {
    ".css": "text/css; charset=utf-8", ".html": "text/html; charset=utf-8", ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8", ".json": "application/json", ".png": "image/png",
    ".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8", ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}  # fmt: skip
_PACKED: Final = frozenset({".css", ".html", ".js", ".json", ".svg", ".txt"})
_LEAST_PACKED: Final = 1024  # bytes; below, packing saves nothing
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "content-security-policy": POLICY, "referrer-policy": "no-referrer", "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin", "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(self)", "vary": "accept-encoding",
}  # fmt: skip
_NOT_BUILT: Final = """<!doctype html><html lang="en"><meta charset="utf-8"><title>liaoliao · 聊聊</title>
<h1>The page is not built yet</h1>
<p>In the folder of the project, <code>make page</code> builds it; then reload. The API under <code>/v1</code> answers.</p>
<h1 lang="zh">网页尚未构建</h1>
<p lang="zh">在项目目录中运行 <code>make page</code>，然后刷新。<code>/v1</code> 下的接口可以使用。</p>
</html>
"""


@dataclass(frozen=True, slots=True)
class PageFile:
    """A file of the page. `etag` tells its bytes from all others."""

    data: bytes
    suffix: str
    etag: str
    lasting: bool  # whether its name will never stand for other bytes


class PageFiles:
    """The built page in a folder, or none. Safe to use from the event loop alone."""

    def __init__(self, folder: Path = STATIC) -> None:
        self._folder = folder
        self._stamp = _stamp(folder)
        self._files = dict(_read(folder))
        self._packed: dict[str, bytes] = {}  # by etag

    @property
    def is_built(self) -> bool:
        """Whether there is a page."""
        return "/index.html" in self._files

    def has(self, path: str) -> bool:
        """Whether a path of a URL belongs to the page, where it would be open to all."""
        return bool(_PLACE.fullmatch(path)) or path.startswith(_ASSETS) or path in self._files

    def names(self) -> list[str]:
        """The paths of the files that lie beside index.html."""
        return [path for path in self._files if not path.startswith(_ASSETS) and path != "/index.html"]

    async def file(self, request: Request) -> Response:
        """A file by its path. Raises ApiError 404."""
        found = self._files.get(request.scope["path"])
        if found is None:
            raise ApiError("The page has no such file.", status=404, code="not_found")
        return await self._response(found, request)

    async def index(self, request: Request) -> Response:
        """The page."""
        if (stamp := _stamp(self._folder)) != self._stamp:
            self._stamp, self._files = stamp, await asyncio.to_thread(lambda: dict(_read(self._folder)))
            self._packed.clear()
        if not self.is_built:
            headers = {**_HEADERS, "cache-control": "no-store"}
            return Response(_NOT_BUILT, 503, headers, media_type=_MEDIA_TYPES[".html"])
        return await self._response(self._files["/index.html"], request)

    async def _response(self, file: PageFile, request: Request) -> Response:
        caching = "public, max-age=31536000, immutable" if file.lasting else "no-cache"
        headers = {**_HEADERS, "cache-control": caching, "etag": file.etag}
        if file.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        data = file.data
        if file.suffix in _PACKED and len(data) >= _LEAST_PACKED and _takes_gzip(request):
            data = await self._pack(file)
            headers["content-encoding"] = "gzip"
        media_type = _MEDIA_TYPES.get(file.suffix, "application/octet-stream")
        return Response(data, headers=headers, media_type=media_type)

    async def _pack(self, file: PageFile) -> bytes:
        if file.etag not in self._packed:
            self._packed[file.etag] = await asyncio.to_thread(gzip.compress, file.data, mtime=0)
        return self._packed[file.etag]


def install_files(app: FastAPI, files: PageFiles) -> None:
    """Add the routes of the page's files to an app."""
    for place in PLACES:
        app.add_route(place, files.index, methods=["GET"], include_in_schema=False)
    for name in files.names():
        app.add_route(name, files.file, methods=["GET"], include_in_schema=False)
    app.add_route(_ASSETS + "{name:path}", files.file, methods=["GET"], include_in_schema=False)


def _takes_gzip(request: Request) -> bool:
    offered = (coding.strip().lower() for coding in request.headers.get("accept-encoding", "").split(","))
    return any(
        coding == "gzip" or re.fullmatch(r"gzip\s*;\s*q=(1|0\.\d*[1-9]\d*)[.0]*", coding)
        for coding in offered
    )


def _stamp(folder: Path) -> tuple[int, int] | None:
    try:
        state = (folder / "index.html").stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size


def _read(folder: Path) -> Iterator[tuple[str, PageFile]]:
    """Every file of the build by its path in a URL; hidden ones are none of it."""
    for file in sorted(folder.rglob("*")) if folder.is_dir() else ():
        name = file.relative_to(folder).as_posix()
        if file.is_file() and not any(part.startswith(".") for part in name.split("/")):
            data = file.read_bytes()
            etag = f'"{hashlib.blake2b(data, digest_size=16).hexdigest()}"'
            lasting = f"/{name}".startswith(_ASSETS) and bool(_HASHED.search(name))
            yield f"/{name}", PageFile(data, file.suffix, etag, lasting)
