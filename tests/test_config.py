"""Config: JSON there and back for every kind of field, strict reading, typed overrides, clear errors."""

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liaoliao.config import apply_overrides, from_json, load_json, save_json, to_json
from liaoliao.errors import ConfigError


class Pace(enum.Enum):
    SLOW = "slow"
    FAST = "fast"


@dataclass(frozen=True, slots=True)
class Optim:
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.95)
    name: Literal["muon", "adamw"] = "muon"
    clip: float | None = 1.0


@dataclass(frozen=True, slots=True)
class Mix:
    file: Path
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Recipe:
    depth: int
    optim: Optim = Optim()
    resume: bool = False
    out: Path | None = None
    files: tuple[str, ...] = ()
    sizes: list[int] = field(default_factory=list)
    mixture: tuple[Mix, ...] = ()
    critic: Optim | None = None
    extra: Mapping[str, int] = field(default_factory=dict)
    seed: int | str = 0
    pace: Pace = Pace.SLOW
    note: Any = None


optims = st.builds(
    Optim,
    lr=st.floats(allow_nan=False, allow_infinity=False),
    betas=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    name=st.sampled_from(["muon", "adamw"]),
    clip=st.none() | st.floats(0, 9),
)
recipes = st.builds(
    Recipe,
    depth=st.integers(),
    optim=optims,
    resume=st.booleans(),
    out=st.none() | st.just(Path("runs/a")),
    files=st.lists(st.text(max_size=4), max_size=3).map(tuple),
    sizes=st.lists(st.integers(), max_size=3),
    mixture=st.lists(st.builds(Mix, st.just(Path("小镇.jsonl")), st.floats(0, 1)), max_size=2).map(tuple),
    critic=st.none() | optims,
    extra=st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    seed=st.integers() | st.text(max_size=3),
    pace=st.sampled_from(Pace),
    note=st.none() | st.integers() | st.text(max_size=3),
)


@given(recipe=recipes)
def test_json_comes_back_as_the_same_value(recipe: Recipe) -> None:
    assert from_json(Recipe, to_json(recipe)) == recipe
    assert from_json(Recipe, json.dumps(to_json(recipe))) == recipe


@given(recipe=recipes, lr=st.floats(allow_nan=False, allow_infinity=False), depth=st.integers())
def test_an_override_sets_its_field_and_no_other(recipe: Recipe, lr: float, depth: int) -> None:
    changed = apply_overrides(recipe, [f"optim.lr={lr!r}", f"depth={depth}"])
    assert changed.optim.lr == lr
    assert changed.depth == depth
    restored = apply_overrides(changed, [f"optim.lr={recipe.optim.lr!r}", f"depth={recipe.depth}"])
    assert restored == recipe


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "run" / "config.json"
    recipe = Recipe(4, files=("小镇.jsonl",))
    save_json(recipe, path)
    assert load_json(Recipe, path) == recipe
    assert "小镇" in path.read_text(encoding="utf-8")
    assert [file.name for file in path.parent.iterdir()] == ["config.json"]
    path.write_text('{"dept": 4}', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"config\.json: dept is not a field; did you mean depth\?"):
        load_json(Recipe, path)
    with pytest.raises(ConfigError, match=r"no such file"):
        load_json(Recipe, tmp_path / "nothing.json")
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"config\.json: .*utf-8"):
        load_json(Recipe, path)


@pytest.mark.parametrize(
    ("data", "wrong"),
    [
        ({"depth": 4, "optim": {"lrr": 1}}, "optim.lrr is not a field; did you mean optim.lr?"),
        ({"depth": 4, "zzz": 1}, "zzz is not a field; the fields are depth, optim, resume"),
        ({"depth": "4"}, "depth: expected int, got '4'"),
        ({"depth": 4.5}, "depth: expected int, got 4.5"),
        ({"depth": True}, "depth: expected int, got True"),
        ({"depth": 4, "optim": {"lr": "fast"}}, "optim.lr: expected float, got 'fast'"),
        ({"depth": 4, "optim": {"name": "sgd"}}, "optim.name: expected one of 'muon', 'adamw', got 'sgd'"),
        ({"depth": 4, "optim": {"betas": [0.9]}}, "optim.betas: expected tuple[float, float], got [0.9]"),
        ({"depth": 4, "optim": 3}, "optim: expected Optim, got 3"),
        ({"depth": 4, "resume": 1}, "resume: expected bool, got 1"),
        ({"depth": 4, "out": 1}, "out: expected Path or none, got 1"),
        ({"depth": 4, "mixture": [{"file": "a"}, {"weight": 1}]}, "mixture[1]: mixture[1].file is missing"),
        ({"depth": 4, "critic": {"lrr": 1}}, "critic.lrr is not a field; did you mean critic.lr?"),
        ({"depth": 4, "sizes": [1, "b"]}, "sizes[1]: expected int, got 'b'"),
        ({"depth": 4, "extra": {"a": "b"}}, "extra.a: expected int, got 'b'"),
        ({"depth": 4, "pace": "late"}, "pace: expected one of 'slow', 'fast', got 'late'"),
        ({}, "Recipe: depth is missing"),
        ("{", "Recipe: not JSON"),
        ("[]", "expected Recipe, got []"),
    ],
)
def test_a_wrong_value_says_where_and_what_was_expected(data: Any, wrong: str) -> None:
    with pytest.raises(ConfigError) as error:
        from_json(Recipe, data)
    assert wrong in str(error.value)


@pytest.mark.parametrize(
    ("override", "name", "expected"),
    [
        ("optim.lr=3e-4", "optim", Optim(lr=3e-4)),
        ("optim.lr=.5", "optim", Optim(lr=0.5)),
        ("optim.lr=1", "optim", Optim(lr=1.0)),
        ("optim.clip=none", "optim", Optim(clip=None)),
        ("optim.betas=0.8,0.9", "optim", Optim(betas=(0.8, 0.9))),
        ("optim.name=adamw", "optim", Optim(name="adamw")),
        ("depth=1e3", "depth", 1000),
        ("depth=1_000", "depth", 1000),
        ("resume=true", "resume", True),
        ("resume=False", "resume", False),
        ("out=runs/a=b", "out", Path("runs/a=b")),
        ("out=none", "out", None),
        ("files=a.jsonl, b.jsonl", "files", ("a.jsonl", "b.jsonl")),
        ("files=1", "files", ("1",)),
        ("files=", "files", ()),
        ('files=["a,b"]', "files", ("a,b",)),
        ("sizes=1,2", "sizes", [1, 2]),
        ("sizes=5", "sizes", [5]),
        ('mixture=[{"file": "a"}]', "mixture", (Mix(Path("a")),)),
        ('critic={"lr": 2}', "critic", Optim(lr=2.0)),
        ('extra={"a": 1}', "extra", {"a": 1}),
        ("seed=abc", "seed", "abc"),
        ("pace=fast", "pace", Pace.FAST),
        ("note=3", "note", 3),
        (" depth = 7 ", "depth", 7),
    ],
)
def test_overrides_are_read_as_the_field_says(override: str, name: str, expected: Any) -> None:
    value = getattr(apply_overrides(Recipe(4), [override]), name)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("override", "wrong"),
    [
        ("optim.lrr=1", "optim.lrr is not a field; did you mean optim.lr?"),
        ("optm.lr=1", "optm is not a field; did you mean optim?"),
        ("depth", "'depth': write key=value"),
        ("depth=many", "depth: expected int, got 'many'"),
        ("depth=4.0", "depth: expected int, got '4.0'"),
        ("optim.name=sgd", "expected one of 'muon', 'adamw', got 'sgd'"),
        ("optim=3", "optim: expected Optim, got '3'"),
        ("depth.width=3", "depth has no fields (it is 4), so depth.width cannot be set"),
        ("critic.lr=3", "critic has no fields (it is None), so critic.lr cannot be set"),
        ("optim.betas=1", "expected tuple[float, float], got '1'"),
        ("resume=yes", "resume: expected bool, got 'yes'"),
    ],
)
def test_a_wrong_override_says_what_is_wrong(override: str, wrong: str) -> None:
    with pytest.raises(ConfigError) as error:
        apply_overrides(Recipe(4), [override])
    assert wrong in str(error.value)


def test_what_json_cannot_say_is_refused() -> None:
    with pytest.raises(ConfigError, match="a set cannot be written as JSON"):
        to_json(Recipe(4, note={1}))


@dataclass(frozen=True, slots=True)
class Halves:
    """Two numbers that go together."""

    first: int = 5
    second: int = 5

    def __post_init__(self) -> None:
        if self.first + self.second != 10:
            raise ConfigError(f"{self.first} and {self.second} are not ten")


@dataclass(frozen=True, slots=True)
class Whole:
    halves: Halves = Halves()
    depth: int = 4


def test_only_the_outcome_of_all_changes_is_checked() -> None:
    """In whatever order they come, flags and overrides, also inside a dataclass that was itself exchanged."""
    assert apply_overrides(Halves(), ["first=3", "second=7"]) == Halves(3, 7)
    assert apply_overrides(Halves(), ["second=8"], {"first": 2}) == Halves(2, 8)
    assert apply_overrides(Halves(), ["first=3", "second=7", "first=5", "second=5"]) == Halves()
    whole = apply_overrides(Whole(), ["halves.first=1", "depth=5", "halves.second=9"])
    assert whole == Whole(Halves(1, 9), 5)
    exchanged = apply_overrides(
        Whole(), ['halves={"first": 4, "second": 6}', "halves.first=0", "halves.second=10"]
    )
    assert exchanged == Whole(Halves(0, 10))
    with pytest.raises(ConfigError, match="3 and 5 are not ten"):
        apply_overrides(Whole(), ["halves.first=3", "depth=5"])
