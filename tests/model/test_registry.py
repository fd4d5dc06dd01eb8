"""Names stand for folders, a wrong one is told what is near, and nobody's home is touched but this test's."""

from pathlib import Path

import pytest

from liaoliao.errors import UsageError
from liaoliao.model.registry import home, list_models, register, resolve, unregister


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}", encoding="utf-8")
    return folder


def test_a_name_resolves_to_its_folder_and_moves(model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text("{}", encoding="utf-8")
    register("town-1.5m", model)
    register("current", model)
    assert resolve("town-1.5m") == resolve("current") == model
    register("current", other)
    assert resolve("current") == other and resolve("town-1.5m") == model
    assert [entry.name for entry in list_models()] == ["current", "town-1.5m"]
    unregister("current")
    assert [entry.name for entry in list_models()] == ["town-1.5m"]


def test_home_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIAOLIAO_HOME", str(tmp_path / "there"))
    assert home() == tmp_path / "there"
    monkeypatch.delenv("LIAOLIAO_HOME")
    assert home() == Path.home() / ".liaoliao"
    monkeypatch.setenv("LIAOLIAO_HOME", str(tmp_path / "there"))
    assert list_models() == ()


def test_a_name_wins_over_a_folder_and_a_dot_means_the_folder(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (model.parent / "tiny").mkdir()
    monkeypatch.chdir(model.parent)
    assert resolve("tiny") == Path("tiny")
    register("tiny", model)
    assert resolve("tiny") == model
    assert resolve("./tiny") == Path("tiny") == resolve(Path("tiny"))


def test_an_unknown_name_is_told_the_nearest(model: Path) -> None:
    with pytest.raises(UsageError, match="speedrun"):
        resolve("curent")
    register("current", model)
    with pytest.raises(
        UsageError, match=r"no model folder or registered name 'curent'; did you mean current\?"
    ):
        resolve("curent")
    with pytest.raises(UsageError, match="registered: current"):
        resolve("somewhere/else")
    with pytest.raises(UsageError, match="did you mean current"):
        unregister("curren")
    for odd in ("~nobody-at-all/model", "x" * 5000, "a\0b"):
        with pytest.raises(UsageError, match="no model folder or registered name"):
            resolve(odd)


def test_a_deleted_folder_is_said_so(model: Path) -> None:
    register("old", model)
    (model / "config.json").unlink()
    assert not list_models()[0].exists
    with pytest.raises(UsageError, match="no longer there"):
        resolve("old")


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a b", "x" * 101])
def test_names_that_could_be_paths_are_refused(name: str, model: Path) -> None:
    with pytest.raises(UsageError, match="cannot name a model"):
        register(name, model)
    with pytest.raises(UsageError):
        unregister(name)


def test_only_model_folders_are_registered(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no config\.json"):
        register("empty", tmp_path)
