"""A clean copy of a model folder for `transformers`, vLLM and hubs: what makes the model, and nothing else.

A folder of ours is in that form already; the copy leaves out what a run keeps beside it (optimizer state), joins
shards into one file, and may change the precision. It is written whole or not at all, and signed anew.

    export_folder(Path("runs/7/model"), Path("town-hf"), dtype="bf16")
"""

import json
import shutil
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from safetensors.torch import save_file
from torch import Tensor

from liaoliao.errors import CheckpointError, UsageError
from liaoliao.model.checkpoint import (
    LINEAGE_FILE,
    load_config,
    load_lineage,
    replacing,
    sign,
    verify,
)
from liaoliao.model.config import ModelConfig
from liaoliao.model.convert import EMBEDDING, SINGLE_FILE, checked_shapes, config_to_hf, read_weights
from liaoliao.text.folder_json import GENERATION_FILE
from liaoliao.text.tokenizer import Tokenizer

FolderDtype: TypeAlias = Literal["f32", "bf16"]

_DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
_KEPT = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", GENERATION_FILE,
         "LICENSE*", "NOTICE*", "README.md")  # fmt: skip


def export_folder(
    folder: Path, out: Path, *, dtype: FolderDtype | None = None, overwrite: bool = False
) -> int:
    """Copy the model of `folder` into the new folder `out`, as `dtype` or as it is stored; returns its size in bytes.

    Raises CheckpointError for a folder that is damaged, UsageError for an `out` that must not be replaced.
    """
    out = Path(out)
    folder = verify(folder)
    _refuse_target(out, folder, overwrite)
    config = load_config(folder)
    if Tokenizer.load(folder).vocab_size > config.vocab_size:
        raise CheckpointError(f"{folder}: the tokenizer has more tokens than the model has embeddings")
    with replacing(out) as draft:
        draft.mkdir()
        stored = _write_weights(draft, folder, config, dtype)
        _write_json(draft / "config.json", config_to_hf(config, stored))
        for path in (path for pattern in _KEPT for path in sorted(folder.glob(pattern))):
            shutil.copyfile(path, draft / path.name)
        lineage = load_lineage(folder)
        if lineage:
            _write_json(draft / LINEAGE_FILE, {**lineage, "exported_as": str(stored).removeprefix("torch.")})
        sign(draft)
    return sum(path.stat().st_size for path in out.iterdir())


def _refuse_target(out: Path, folder: Path, overwrite: bool) -> None:
    """Only a model folder is ever replaced, and never the one that is exported."""
    here, there = out.absolute().resolve(), folder.absolute().resolve()
    if here == there or here in there.parents or there in here.parents:
        raise UsageError(f"{out} and the model's own folder {folder} hold one another; name another folder")
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / "config.json").is_file():
        raise UsageError(f"{out} is there already and is no model folder, so it is not replaced")
    if not overwrite:
        raise UsageError(f"{out} is there already; --force replaces it")


def _write_weights(draft: Path, folder: Path, config: ModelConfig, dtype: FolderDtype | None) -> torch.dtype:
    """Write the weights and return the type of the largest of them, the embeddings."""
    tensors: dict[str, Tensor] = {}
    for name, value in read_weights(checked_shapes(config, folder), folder):
        if not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"{folder}: {name} holds values that are no numbers; the model is broken")
        tensors[name] = value if dtype is None else value.to(_DTYPES[dtype])
    save_file(tensors, draft / SINGLE_FILE, metadata={"format": "pt"})
    return tensors[EMBEDDING].dtype


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
