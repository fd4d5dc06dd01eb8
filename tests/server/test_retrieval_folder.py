"""Which folders are served by --embeddings: those that run no code, whatever they say."""

import importlib.metadata
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from liaoliao.errors import UsageError
from liaoliao.server.retrieval import check_retrieval, load_retrieval
from tests.cli.tiny_run import liaoliao
from tests.server.bert import made


def folder_of(folder: Path, *modules: tuple[str, str]) -> Path:
    """A folder whose modules.json names these classes and folders."""
    named = [{"idx": i, "name": str(i), "type": kind, "path": path} for i, (kind, path) in enumerate(modules)]
    folder.mkdir(exist_ok=True)
    for _, path in modules:
        if "\0" not in path:
            (folder / path).mkdir(parents=True, exist_ok=True)
    (folder / "modules.json").write_text(json.dumps(named), encoding="utf-8")
    return folder


OLD = "sentence_transformers.models"
FINE = ((f"{OLD}.Transformer", ""), (f"{OLD}.Pooling", "1_Pooling"), (f"{OLD}.Dense", "2_Dense"))


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    """Says which version of the library is there."""

    def say(number: str | None) -> None:
        def version(name: str) -> str:
            if number is None:
                raise importlib.metadata.PackageNotFoundError(name)
            return number

        monkeypatch.setattr(importlib.metadata, "version", version)

    say("6.0.1")
    return say


def test_a_folder_that_is_fine(tmp_path: Path, installed: object, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(tmp_path / "fine", *FINE)
    for part in ("", "2_Dense"):  # as many folders have them: both forms of the same weights
        (folder / part / "pytorch_model.bin").touch()
        (folder / part / "model.safetensors").touch()
    assert check_retrieval(folder) == folder
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert check_retrieval(Path("fine")) == check_retrieval(Path("~/fine")) == folder
    (tmp_path / "link").symlink_to(folder)
    assert check_retrieval(tmp_path / "link").name == "link"


@pytest.mark.parametrize("number", [None, "5.7.0"])
def test_a_library_that_is_missing_or_old(
    tmp_path: Path, installed: Callable[[str | None], None], number: str | None
) -> None:
    installed(number)
    with pytest.raises(
        UsageError, match=r"sentence-transformers 6 or newer.*pip install 'liaoliao\[retrieval\]'"
    ):
        check_retrieval(folder_of(tmp_path, *FINE))


def test_what_is_no_folder(tmp_path: Path, installed: object) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "nosuch", tmp_path / "file"):
        with pytest.raises(UsageError, match=rf"{path.name} is no folder of sentence-transformers"):
            check_retrieval(path)


@pytest.mark.parametrize(
    "text",
    ["", "{", "5", '{"a": 1}', "[5]", "[null]", '[{"type": "x"}]', '[{"type": "x", "path": 5}]', "[" * 10**5],
)
def test_a_damaged_list_of_modules(tmp_path: Path, installed: object, text: str) -> None:
    (tmp_path / "modules.json").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"modules\.json is damaged"):
        check_retrieval(tmp_path)
    (tmp_path / "modules.json").write_bytes(b"\xff")
    with pytest.raises(UsageError, match=r"modules\.json is damaged"):
        check_retrieval(tmp_path)


@pytest.mark.parametrize(
    ("modules", "said"),
    [
        ((*FINE, ("evil.Evil", "")), "made of evil.Evil"),
        ((*FINE, ("evil.Dense", "3")), "made of evil.Dense"),
        ((*FINE, ("sentence_transformers_evil.Dense", "3")), "made of sentence_transformers_evil.Dense"),
        (((f"{OLD}.StaticEmbedding", ""),), "StaticEmbedding, which is not served"),
        ((*FINE[:1], (f"{OLD}.Pooling", "../other")), "outside of the folder"),
        ((*FINE[:1], (f"{OLD}.Pooling", "/")), "outside of the folder"),
        ((*FINE[:1], (f"{OLD}.Pooling", "a\0b")), "is damaged"),
        (FINE[:1], "makes no vector"), (FINE[1:], "makes no vector"), ((), "makes no vector"),
    ],
)  # fmt: skip
def test_modules_that_are_not_served(
    tmp_path: Path, installed: object, modules: Sequence[tuple[str, str]], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        check_retrieval(folder_of(tmp_path / "model", *modules))


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("pytorch_model.bin", "are a pickle"), ("pytorch_model-00001-of-00002.bin", "are a pickle"),
        ("2_Dense/pytorch_model.bin", "2_Dense are a pickle"), ("adapter_config.json", "adapter"),
    ],
)  # fmt: skip
def test_weights_that_are_not_served(tmp_path: Path, installed: object, file: str, said: str) -> None:
    folder = folder_of(tmp_path, *FINE)
    (folder / file).touch()
    (folder / file).with_name("model.safetensors.index.json").touch()  # it names whatever it likes
    with pytest.raises(UsageError, match=said):
        check_retrieval(folder)


def test_a_module_elsewhere_by_a_link(tmp_path: Path, installed: object) -> None:
    folder = folder_of(tmp_path / "model", *FINE)
    (tmp_path / "other").mkdir()
    (folder / "1_Pooling").rmdir()
    (folder / "1_Pooling").symlink_to(tmp_path / "other")
    with pytest.raises(UsageError, match="outside of the folder"):
        check_retrieval(folder)


# Folders that mean harm


class Bomb:
    """A pickle that writes a file when it is read with all its code."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.touch, (self.mark,)


EVIL = """
from pathlib import Path
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

def run(): Path({mark!r}).touch()
run()
class EvilConfig(BertConfig): model_type = "evil"
class EvilModel(BertModel): pass
class EvilTokenizer(PreTrainedTokenizerFast): pass
"""
TRUST = {name: {"trust_remote_code": True} for name in ("model_args", "tokenizer_args", "config_args")}
MODEL_OF_ITS_OWN = {"AutoConfig": "evil.EvilConfig", "AutoModel": "evil.EvilModel"}


def edit(file: Path, **changes: Any) -> None:
    """Change the settings in a JSON file; None removes one."""
    now = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    kept = {name: value for name, value in {**now, **changes}.items() if value is not None}
    file.write_text(json.dumps(kept), encoding="utf-8")


def a_model_of_its_own(folder: Path, mark: Path) -> None:
    edit(folder / "config.json", model_type="evil", auto_map=MODEL_OF_ITS_OWN)


def a_model_of_its_own_that_trusts_itself(folder: Path, mark: Path) -> None:
    a_model_of_its_own(folder, mark)
    edit(folder / "sentence_bert_config.json", **TRUST)


def a_processor_of_its_own(folder: Path, mark: Path) -> None:
    edit(folder / "processor_config.json", auto_map={"AutoProcessor": "evil.EvilTokenizer"})


def a_pickle_behind_an_index(folder: Path, mark: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-of-others.safetensors")
    name = "embeddings.word_embeddings.weight"
    torch.save({name: Bomb(mark)}, folder / "shard.bin")
    edit(folder / "model.safetensors.index.json", metadata={}, weight_map={name: "shard.bin"})
    edit(folder / "config.json", dtype=None)
    edit(folder / "sentence_bert_config.json", model_kwargs={"weights_only": False, "dtype": "auto"})


def a_pickle_named_as_an_adapter(folder: Path, mark: Path) -> None:
    torch.save({"x": Bomb(mark)}, folder / "adapter_model.bin")
    edit(folder / "config.json", dtype=None, transformers_weights="adapter_model.bin")
    edit(folder / "sentence_bert_config.json", model_kwargs={"weights_only": False, "dtype": "auto"})


def code_from_the_hub(folder: Path, mark: Path) -> None:
    edit(folder / "sentence_bert_config.json", model_kwargs={"attn_implementation": "evil/kernel"})


def pictures_too(folder: Path, mark: Path) -> None:
    read = {"method": "forward", "method_output_name": "last_hidden_state"}
    edit(folder / "sentence_bert_config.json", modality_config={"text": read, "image": read})


HARM = [
    a_model_of_its_own, a_model_of_its_own_that_trusts_itself, a_processor_of_its_own, a_pickle_behind_an_index,
    a_pickle_named_as_an_adapter, code_from_the_hub, pictures_too,
]  # fmt: skip


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("good") / "tiny-bert")


@pytest.mark.parametrize("harm", HARM)
def test_no_code_of_a_folder_is_run(harm: Callable[[Path, Path], None], good: Path, tmp_path: Path) -> None:
    folder, mark = tmp_path / "evil", tmp_path / "mark"
    shutil.copytree(good, folder)
    (folder / "evil.py").write_text(EVIL.format(mark=str(mark)), encoding="utf-8")
    harm(folder, mark)
    with pytest.raises(UsageError, match=r"--embeddings .*(cannot be loaded|which is not served)"):
        load_retrieval(folder)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("config.json", {"auto_map": MODEL_OF_ITS_OWN}),
        (
            "tokenizer_config.json",
            {"auto_map": {"AutoTokenizer": ["evil.EvilTokenizer", "evil.EvilTokenizer"]}},
        ),
    ],
)
def test_what_the_library_knows_itself_needs_no_code(
    good: Path, tmp_path: Path, file: str, changes: dict[str, Any]
) -> None:
    folder, mark = tmp_path / "tiny-bert", tmp_path / "mark"
    shutil.copytree(good, folder)
    (folder / "evil.py").write_text(EVIL.format(mark=str(mark)), encoding="utf-8")
    edit(folder / file, **changes)
    load_retrieval(folder).close()
    assert not mark.exists()


def test_a_damaged_model_is_one_sentence(good: Path, tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(good, folder)
    (folder / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(UsageError, match=r"damaged cannot be loaded: \w+"):
        load_retrieval(folder)


def test_serve_says_so_before_it_loads_anything(model_folder: Path, tmp_path: Path) -> None:
    said = liaoliao("serve", model_folder, "--port", 0, "--embeddings", tmp_path / "nosuch")
    assert said.exit_code == 2 and "loading" not in said.stderr
    assert f"error: --embeddings {tmp_path / 'nosuch'} is no folder of sentence-transformers" in said.stderr
