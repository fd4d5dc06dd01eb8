"""What the documentation says is true: its Python runs, its commands parse, its links lead somewhere."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from liaoliao.cli import app
from liaoliao.cli.reference import reference
from liaoliao.model.registry import register
from liaoliao.recipes.pretrain import pretrain
from liaoliao.recipes.reporter import Silent
from tests.recipes.tiny import tiny_pretrain, write_chats, write_texts

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
RUN_ELSEWHERE = ("clients.md",)  # by tests/clients, against a server
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    found = _BLOCK.findall(page.read_text(encoding="utf-8"))
    return [body for marked, body in found if marked == language]


def commands(page: Path) -> Iterator[str]:
    for block in blocks(page, "bash"):
        yield from (line for line in block.splitlines() if line.startswith("liaoliao "))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learned next to nothing, with room for a conversation."""
    folder = tmp_path_factory.mktemp("model")
    config = tiny_pretrain(
        write_texts(folder), steps=1, row_length=512, tokens_per_step=512, tokens_per_microbatch=512
    )
    made = pretrain(config, folder / "run", Silent())
    assert made is not None
    return made


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page, "python") and page.name not in RUN_ELSEWHERE], ids=name_of
)
def test_python_blocks_run(
    page: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    register("current", model)
    (tmp_path / "my-texts").mkdir()
    write_texts(tmp_path / "my-texts")
    write_chats(tmp_path).rename("my-chats.jsonl")
    names: dict[str, object] = {"__name__": "__main__"}
    for number, block in enumerate(blocks(page, "python"), start=1):
        exec(compile(block, f"{page.name}, block {number}", "exec"), names)
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("page", [page for page in PAGES if list(commands(page))], ids=name_of)
def test_commands_are_ones_that_there_are(page: Path) -> None:
    known = get_command(app).commands  # type: ignore[attr-defined]
    for line in commands(page):
        _, name, *args = shlex.split(line, comments=True)
        args = args[: args.index(">")] if ">" in args else args
        known[name].make_context(name, args)  # a flag that is not there, or a wrong number, raises


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{name_of(page)} links to {target}"


def test_the_reference_is_that_of_the_commands() -> None:
    page = ROOT / "docs" / "reference" / "cli.md"
    again = "run `python -m liaoliao.cli.reference > docs/reference/cli.md`"
    assert page.read_text(encoding="utf-8") == reference(), again


def test_both_readmes_open_with_the_two_commands() -> None:
    for name in ("README.md", "README.zh-CN.md"):
        first = (ROOT / name).read_text(encoding="utf-8").split("##")[0]
        assert first.index("make chat") < first.index("make test") < 300
