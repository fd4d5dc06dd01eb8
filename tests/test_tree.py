"""Rules that hold for every file of the package, read from its syntax tree."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "liaoliao"
FILES = sorted(SOURCE.rglob("*.py"))
UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def _faults(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        match node:
            case ast.Import(names=names) if any(name.name.split(".")[0] in UNSAFE_MODULES for name in names):
                yield f"line {line}: imports a module that runs code when it loads data"
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in UNSAFE_MODULES:
                yield f"line {line}: imports a module that runs code when it loads data"
            case ast.Attribute(value=ast.Name(id="torch"), attr="load" | "save"):
                yield f"line {line}: torch.{node.attr}; weights are safetensors only"
            case ast.keyword(arg="trust_remote_code"):
                yield f"line {line}: trust_remote_code"
            case ast.ExceptHandler(type=None):
                yield f"line {line}: bare except"
            case ast.Call(func=ast.Name(id="open")) if not _binary(node) and not _has(node, "encoding"):
                yield f"line {line}: open() of text without encoding"
            case ast.Call(func=ast.Attribute(attr="read_text" | "write_text")) if not _has(node, "encoding"):
                yield f"line {line}: text is read or written without encoding"
            case ast.ImportFrom(module="__future__"):
                yield f"line {line}: from __future__ hides annotations from the run-time checks"


def _has(call: ast.Call, name: str) -> bool:
    return any(keyword.arg == name for keyword in call.keywords)


def _binary(call: ast.Call) -> bool:
    modes = [*call.args[1:2], *(keyword.value for keyword in call.keywords if keyword.arg == "mode")]
    return any(isinstance(mode, ast.Constant) and "b" in str(mode.value) for mode in modes)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_no_unsafe_loading_bare_except_or_unsaid_encoding(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    assert list(_faults(tree)) == []
    assert not tree.body or ast.get_docstring(tree), (
        "a module says what it is, its place in the flow, and a tiny example"
    )


@pytest.mark.parametrize(
    "bad",
    [
        "import pickle", "from joblib import load", "torch.load(f)", "f(trust_remote_code=True)", "open(f)",
        "open(f, 'w')", "p.read_text()", "try: pass\nexcept: pass", "from __future__ import annotations",
    ],
)  # fmt: skip
def test_the_rules_can_fail(bad: str) -> None:
    assert len(list(_faults(ast.parse(bad)))) == 1
    assert (
        list(_faults(ast.parse("open(f, 'rb'); open(f, encoding='utf-8'); p.read_text(encoding='utf-8')")))
        == []
    )
