"""A checkpoint is a folder, and a model version: weights, tokenizer, chat template, and where it came from.

Written whole or not at all: everything goes into a hidden folder beside the target, is synced to disk, listed
with sha256 in `manifest.json`, and only then takes the target's name. Loading checks the manifest, so a
damaged file is found before it is used. Other people's folders have no manifest and load all the same.

    save_checkpoint(folder, model, tokenizer, template, lineage={"recipe": "sft", "parent": None})
    model = load_model(folder)
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn

from liaoliao.errors import CheckpointError
from liaoliao.model.config import ModelConfig
from liaoliao.model.convert import SINGLE_FILE, checked_shapes, config_from_hf, config_to_hf, load_weights
from liaoliao.model.transformer import Transformer
from liaoliao.text.folder_json import GENERATION_FILE, read_generation, read_json

MANIFEST_FILE = "manifest.json"
LINEAGE_FILE = "lineage.json"


@runtime_checkable
class SavesTokenizer(Protocol):
    """What a checkpoint needs of a tokenizer."""

    def save(self, folder: Path) -> None:
        """Write its files into the folder."""

    @property
    def vocab_size(self) -> int:
        """Token ids it can produce."""


@runtime_checkable
class SavesTemplate(Protocol):
    """What a checkpoint needs of a chat template."""

    @property
    def jinja(self) -> str:
        """The template for other programs."""

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Token ids that end a reply."""


# ---------------------------------------------------------------- saving


def save_checkpoint(
    folder: Path,
    model: Transformer,
    tokenizer: SavesTokenizer,
    template: SavesTemplate,
    *,
    lineage: Mapping[str, Any],
    generation: Mapping[str, Any] | None = None,
    attach: Callable[[Path], None] | None = None,
) -> None:
    """Write a folder that this project, `transformers`, vLLM and llama.cpp's converter load; replaces
    `folder` atomically.

    `lineage` says how the model came to be (recipe, parent, data digest, default tools); `generation` adds to
    or overrides the sampling defaults of `generation_config.json`; `attach` may write more files into the
    draft (a run's optimizer state). On any error the previous checkpoint is untouched.
    """
    if tokenizer.vocab_size > model.config.vocab_size:
        raise CheckpointError(
            f"the tokenizer has {tokenizer.vocab_size} tokens, but the model only "
            f"{model.config.vocab_size} embeddings"
        )
    with replacing(folder) as draft:
        draft.mkdir()
        _write_model(draft, model)
        tokenizer.save(draft)
        (draft / "chat_template.jinja").write_text(template.jinja, encoding="utf-8")
        _write_json(draft / GENERATION_FILE, _generation(model.config, template, generation or {}))
        _write_json(draft / LINEAGE_FILE, dict(lineage))
        if attach is not None:
            attach(draft)
        sign(draft)


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A path beside `target` to write a file or folder at; when the block ends well it is synced to disk and
    takes the target's name in one move.

    After an error the target is what it was and the draft is gone; one of the disk (full, read-only) is a
    CheckpointError.
    """
    target = Path(target).absolute()
    draft = target.with_name(
        f".{target.name}.draft"
    )  # one fixed name: a killed save leaves at most one, cleared by the next
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove(draft)
        yield draft
        _replace(draft, target)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot write {target}: {error}; what was there before is kept") from error
    finally:
        _remove(draft)


def sign(folder: Path) -> None:
    """List every file of a folder with size and sha256 in its manifest: after this, any change to them is
    detected.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST_FILE)
    entries = {path.relative_to(folder).as_posix(): _fingerprint(path) for path in files}
    _write_json(folder / MANIFEST_FILE, {"version": 1, "files": entries})


def _write_model(folder: Path, model: Transformer) -> None:
    tensors = {name: value.detach().contiguous() for name, value in model.named_parameters()}
    dtype = next(iter(tensors.values())).dtype
    _write_json(folder / "config.json", config_to_hf(model.config, dtype))
    save_file(
        tensors, folder / SINGLE_FILE, metadata={"format": "pt"}
    )  # transformers refuses a file without it


def _generation(config: ModelConfig, template: SavesTemplate, extra: Mapping[str, Any]) -> dict[str, Any]:
    values = {
        "bos_token_id": config.bos_token_id,
        "eos_token_id": list(template.stop_ids),
        "pad_token_id": config.pad_token_id,
    }
    return {name: value for name, value in (values | dict(extra)).items() if value is not None}


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _replace(draft: Path, target: Path) -> None:
    """Give the draft its name. A kill between the two renames of a folder leaves the old one aside, where
    `locate` finds it.
    """
    for path in draft.rglob("*"):
        _sync(path)
    _sync(draft)
    aside = _aside(target)
    if target.is_dir():
        shutil.rmtree(aside, ignore_errors=True)
        target.rename(aside)
    draft.rename(target)
    _sync(target.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.previous")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# ---------------------------------------------------------------- loading


def load_model(folder: Path, dtype: torch.dtype = torch.float32) -> Transformer:
    """Build the model of a checkpoint folder with its weights, in eval mode and cast to `dtype`.

    Raises CheckpointError for a damaged, incomplete, pickled or unsupported folder.
    """
    folder = verify(folder)
    config = load_config(folder)
    checked_shapes(config, folder)  # no memory is given to what the weights do not bear out
    with torch.device(
        "meta"
    ):  # no time and memory for random weights: every one of them is read from the folder
        model = Transformer(config)
    _give_storage(model, dtype)
    load_weights(model, folder)
    return model.eval()


def _give_storage(model: Transformer, dtype: torch.dtype) -> None:
    """As `to_empty` does, for which PyTorch loads sympy and more: a third of a second."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            setattr(module, name, nn.Parameter(torch.empty(parameter.shape, dtype=dtype)))


def load_config(folder: Path) -> ModelConfig:
    """The shape of the model in a folder, from its `config.json`."""
    try:
        return config_from_hf(read_json(locate(folder) / "config.json"))
    except CheckpointError as error:
        raise CheckpointError(f"{folder}: {error}") from error


def load_lineage(folder: Path) -> dict[str, Any]:
    """How the model came to be; {} for a folder of someone else's making."""
    path = locate(folder) / LINEAGE_FILE
    lineage = read_json(path) if path.is_file() else {}
    tools = lineage.get("tools", [])
    if not isinstance(tools, list) or not all(isinstance(name, str) for name in tools):
        raise CheckpointError(f"{path}: tools must be a list of their names, got {tools!r:.60}")
    return lineage


def load_generation(folder: Path) -> dict[str, Any]:
    """The folder's sampling defaults and stop ids (`generation_config.json`); {} where there are none."""
    return read_generation(locate(folder))


def version_of(folder: Path) -> str:
    """Twelve hex digits that tell the model in a folder from others: of its manifest, which names all its bytes, or for
    a folder of someone else's making of the sizes and dates of its files. Nothing large is read.
    """
    folder = locate(folder)
    manifest = folder / MANIFEST_FILE
    if manifest.is_file():
        return hashlib.sha256(manifest.read_bytes()).hexdigest()[:12]
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    facts = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:12]


def verify(folder: Path) -> Path:
    """Check every file against the manifest and return the folder. Raises CheckpointError naming the first
    damaged file.

    A folder without a manifest passes unless it has a lineage, which only this project writes.
    """
    folder = locate(folder)
    if not (folder / MANIFEST_FILE).is_file():
        if (folder / LINEAGE_FILE).is_file():
            raise CheckpointError(
                f"{folder} has lost its {MANIFEST_FILE}, so its files cannot be trusted; copy it anew"
            )
        return folder
    files = read_json(folder / MANIFEST_FILE).get("files")
    if not isinstance(files, dict):
        raise CheckpointError(f"{folder / MANIFEST_FILE} lists no files; copy the checkpoint anew")
    for name, recorded in files.items():
        try:
            _verify_file(folder, name, recorded)
        except OSError as error:
            raise CheckpointError(f"{folder / name} cannot be read: {error}") from error
    return folder


def _verify_file(folder: Path, name: str, recorded: Any) -> None:
    if not (folder / name).is_file():
        raise CheckpointError(
            f"{folder} lacks {name}, which its {MANIFEST_FILE} lists; copy the checkpoint anew"
        )
    if _fingerprint(folder / name) != recorded:
        raise CheckpointError(
            f"{folder / name} is damaged: it differs from its sha256 in {MANIFEST_FILE}; "
            "use an earlier checkpoint; if you changed the file on purpose, call checkpoint.sign(folder)"
        )


def locate(folder: Path) -> Path:
    """The folder itself, or after a kill in the middle of a replacement the one that was set aside.

    Raises CheckpointError where there is neither.
    """
    folder = Path(folder)
    if not folder.exists() and _aside(folder.absolute()).is_dir():
        return _aside(folder.absolute())
    if not folder.is_dir():
        raise CheckpointError(f"there is no model folder {folder}")
    return folder


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "size_bytes": path.stat().st_size}
