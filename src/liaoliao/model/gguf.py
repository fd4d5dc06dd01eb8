"""A model folder as one GGUF file, for llama.cpp, Ollama and what is built on them.

The tensors go through one at a time, so memory holds the largest of them and not the model. The file is
written beside its target and renamed when it is whole. An Ollama Modelfile with the same name stands next to it.

    export_gguf(Path("runs/7/model"), Path("town.gguf"), name="town", dtype="bf16")
    #  town.gguf  town.Modelfile

Needs the `gguf` package (`pip install 'liaoliao[gguf]'`), which llama.cpp's authors keep.
"""

import dataclasses
import errno
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

import numpy as np
import torch
from gguf import (
    GGML_QUANT_VERSION,
    MODEL_ARCH,
    MODEL_ARCH_NAMES,
    GGMLQuantizationType,
    GGUFWriter,
    LlamaFileType,
    TensorNameMap,
    get_tensor_name_map,
)
from gguf.quants import quant_shape_to_byte_shape, quantize
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from liaoliao.errors import CheckpointError, UsageError
from liaoliao.model.checkpoint import load_config, load_generation, load_lineage, replacing, verify
from liaoliao.model.config import Family, ModelConfig
from liaoliao.model.convert import checked_shapes, read_weights, weight_files
from liaoliao.model.gguf_metadata import write_origin, write_sampling, write_shape
from liaoliao.model.gguf_vocabulary import Vocabulary, read_vocabulary, write_vocabulary
from liaoliao.model.modelfile import modelfile
from liaoliao.model.rope import inverse_frequencies

GgufDtype: TypeAlias = Literal["f32", "bf16", "q8_0"]

_TYPES: Final[Mapping[str, tuple[GGMLQuantizationType, LlamaFileType]]] = MappingProxyType(
    {
        "f32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
        "bf16": (GGMLQuantizationType.BF16, LlamaFileType.MOSTLY_BF16),
        "q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
    }
)
_ARCHITECTURES: Final[Mapping[Family, MODEL_ARCH]] = MappingProxyType(
    {"qwen3": MODEL_ARCH.QWEN3, "qwen2": MODEL_ARCH.QWEN2, "llama": MODEL_ARCH.LLAMA}
)
_ROPE_FACTORS: Final = "rope_freqs.weight"
_BLOCK: Final = 32  # weights of a row that share a scale in Q8_0


@dataclass(frozen=True, slots=True)
class GgufFile:
    """What was written, and `notes` on what is not quite as asked or as it is here."""

    path: Path
    modelfile: Path
    size_bytes: int
    notes: tuple[str, ...] = ()


def export_gguf(
    folder: Path, out: Path, *, name: str, dtype: GgufDtype = "bf16", overwrite: bool = False
) -> GgufFile:
    """Write the model of `folder` to the file `out` (*.gguf), and a Modelfile for Ollama beside it.

    `name` is what the model is called in the file. Matrices are stored as `dtype`, vectors always as f32. Raises
    CheckpointError for a model that llama.cpp would run as another one or not at all, UsageError for a wrong `out`.
    """
    path, beside = _targets(Path(out), overwrite)
    model = _read(verify(folder), dtype)
    text = modelfile(path.name, name, model.config, model.vocabulary, load_generation(model.folder))
    with replacing(path) as draft:
        _write(draft, model, name)
    with replacing(beside) as draft:
        draft.write_text(text, encoding="utf-8")
    return GgufFile(path, beside, path.stat().st_size, (*model.vocabulary.notes, *_fallback_notes(model)))


def _targets(out: Path, overwrite: bool) -> tuple[Path, Path]:
    if out.suffix != ".gguf":
        raise UsageError(f"{out}: the name of a GGUF file ends in .gguf")
    targets = (out, out.with_suffix(".Modelfile"))
    for path in targets:
        if path.is_dir() or (path.exists() and not overwrite):
            raise UsageError(
                f"{path} is a folder" if path.is_dir() else f"{path} is there already; --force replaces it"
            )
    return targets


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a tensor goes and as what."""

    name: str
    shape: tuple[int, ...]
    type: GGMLQuantizationType

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """The same in bytes: the last dimension counts those of a row."""
        return tuple(quant_shape_to_byte_shape(self.shape, self.type))


@dataclass(frozen=True, slots=True)
class _Model:
    """A folder as it will be written; `places` by our names of the tensors, in the order in which they are read."""

    folder: Path
    dtype: GgufDtype
    config: ModelConfig
    vocabulary: Vocabulary
    places: Mapping[str, _Place]


def _read(folder: Path, dtype: GgufDtype) -> _Model:
    config = load_config(folder)
    if config.rope_scaling is not None and config.family != "llama":
        raise CheckpointError(
            f"llama.cpp stretches the positions of {config.family} models in no such way (rope type llama3), so its "
            "replies would be another model's; `--to hf` keeps it"
        )
    places = _places(config, folder, dtype)  # first, as it asks whether the folder is what its config says
    return _Model(folder, dtype, config, read_vocabulary(folder, config), places)


# ---------------------------------------------------------------- tensors


def _places(config: ModelConfig, folder: Path, dtype: GgufDtype) -> dict[str, _Place]:
    shapes = checked_shapes(config, folder)
    names = get_tensor_name_map(_ARCHITECTURES[config.family], config.num_hidden_layers)
    return {
        name: _Place(_gguf_name(names, name), shapes[name], _type(shapes[name], dtype))
        for name in weight_files(shapes, folder)
    }


def _gguf_name(names: TensorNameMap, name: str) -> str:
    found = names.get_name(name, try_suffixes=(".weight", ".bias"))
    assert found is not None, f"{name} has no place in GGUF"
    return found


def _type(shape: tuple[int, ...], dtype: GgufDtype) -> GGMLQuantizationType:
    """As llama.cpp's own converter: vectors in f32, and f16 for rows that do not divide into blocks."""
    if len(shape) == 1:
        return GGMLQuantizationType.F32
    if dtype == "q8_0" and shape[-1] % _BLOCK:
        return GGMLQuantizationType.F16
    return _TYPES[dtype][0]


def _fallback_notes(model: _Model) -> tuple[str, ...]:
    kept = sum(place.type == GGMLQuantizationType.F16 for place in model.places.values())
    if not kept:
        return ()
    return (f"{kept} matrices are f16: their rows are no multiple of {_BLOCK}, as {model.dtype} wants",)


def _values(value: Tensor, name: str, place: _Place, config: ModelConfig) -> NDArray[np.uint8]:
    """The bytes of a tensor as GGUF stores them."""
    if not bool(torch.isfinite(value).all()):
        raise CheckpointError(f"{name} holds values that are no numbers; the model is broken")
    if config.family == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
        value = _neighbouring_pairs(value, config.head_dim)
    numbers = value.to(torch.float32).contiguous().numpy()
    if place.type == GGMLQuantizationType.F16 and float(np.abs(numbers).max()) > np.finfo(np.float16).max:
        raise CheckpointError(f"{name} holds values too large for f16; choose bf16 or f32")
    return quantize(numbers, place.type).view(np.uint8)


def _neighbouring_pairs(weight: Float[Tensor, "R D"], head_dim: int) -> Float[Tensor, "R D"]:
    """Rows of each head reordered from (all firsts, all seconds) to (first, second) pairs: llama.cpp rotates
    neighbours in models of the llama family, this project and `transformers` rotate halves.
    """
    halves = weight.reshape(-1, 2, head_dim // 2, weight.shape[1])  # (H, 2, d/2, D)
    return halves.transpose(1, 2).reshape(weight.shape)


def _rope_factors(config: ModelConfig) -> NDArray[np.float32]:
    """By what llama.cpp divides each rotary frequency: its form of Llama 3's stretching."""
    plain = dataclasses.replace(config, rope_scaling=None)
    return (inverse_frequencies(plain) / inverse_frequencies(config)).numpy()


# ---------------------------------------------------------------- the file


def _write(path: Path, model: _Model, name: str) -> None:
    config = model.config
    writer = GGUFWriter(None, MODEL_ARCH_NAMES[_ARCHITECTURES[config.family]])
    try:
        write_origin(writer, name, config, load_lineage(model.folder))
        write_sampling(writer, load_generation(model.folder))
        writer.add_file_type(_TYPES[model.dtype][1])
        writer.add_quantization_version(GGML_QUANT_VERSION)
        write_shape(writer, config)
        write_vocabulary(writer, model.vocabulary)
        _announce(writer, model)
        writer.write_header_to_file(path)
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        _write_tensors(writer, model)
    except OSError as error:
        if error.errno is None:  # numpy says only how many of the bytes it could write
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise
    finally:
        writer.close()


def _announce(writer: GGUFWriter, model: _Model) -> None:
    """GGUF lists all tensors before the first of them."""
    if model.config.rope_scaling is not None:
        size = model.config.head_dim // 2
        writer.add_tensor_info(_ROPE_FACTORS, (size,), np.dtype(np.float32), 4 * size)
    for place in model.places.values():
        size_bytes = math.prod(place.stored_shape)
        writer.add_tensor_info(place.name, place.stored_shape, np.dtype(np.uint8), size_bytes, place.type)


def _write_tensors(writer: GGUFWriter, model: _Model) -> None:
    if model.config.rope_scaling is not None:
        writer.write_tensor_data(_rope_factors(model.config))
    shapes = {name: place.shape for name, place in model.places.items()}
    for name, value in read_weights(shapes, model.folder):
        writer.write_tensor_data(_values(value, name, model.places[name], model.config))
