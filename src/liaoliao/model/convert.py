"""Folders of the Qwen3, Qwen2/2.5 and Llama-3 families in and out: `config.json` and safetensors, single or
sharded.

Both spellings of the rotary settings are read (`rope_theta` + `rope_scaling` as in transformers 4,
`rope_parameters` as in 5) and both are written. What would silently change the arithmetic (sliding windows,
other activations, other rope types, quantised weights) is refused by name.

    config_from_hf({"model_type": "llama", "rope_parameters": {"rope_theta": 5e5}, ...}).rope_theta  ->  5e5
"""

import itertools
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from liaoliao.errors import CheckpointError, ConfigError
from liaoliao.model.config import Family, ModelConfig, RopeScaling
from liaoliao.text.folder_json import LARGEST, LARGEST_WHOLE, is_ids, read_json

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
EMBEDDING, OUTPUT = "model.embed_tokens.weight", "lm_head.weight"
_STORED_AS = ("F64", "F32", "F16", "BF16")
_MOST_POSITIONS = 2**24  # memory is set aside for a whole context before any of it is used


class _FamilyFacts(NamedTuple):
    """What a family's code fixes, and what `transformers` assumes when `config.json` is silent."""

    architecture: str
    attention_bias: bool
    qk_norm: bool
    defaults: Mapping[str, Any]


_QWEN_DEFAULTS = {"max_position_embeddings": 32768, "num_key_value_heads": 32}
_FAMILIES: Mapping[Family, _FamilyFacts] = {
    "qwen3": _FamilyFacts("Qwen3ForCausalLM", False, True, {**_QWEN_DEFAULTS, "head_dim": 128}),
    "qwen2": _FamilyFacts("Qwen2ForCausalLM", True, False, _QWEN_DEFAULTS),
    "llama": _FamilyFacts("LlamaForCausalLM", False, False, {"bos_token_id": 1, "eos_token_id": 2}),
}

# Settings that change the result and that this model does not have: only these values are the same model.
_ONLY_SUPPORTED: Mapping[str, tuple[Any, ...]] = {
    "hidden_act": ("silu", "swish"),
    "attention_bias": (False,),  # Qwen2 has its q, k, v biases without this key; with it, o_proj has one too
    "mlp_bias": (False,),
    "use_sliding_window": (False,),
    "partial_rotary_factor": (1, None),
    "quantization_config": (None,),
}


# ---------------------------------------------------------------- config.json


def config_from_hf(values: Mapping[str, Any]) -> ModelConfig:
    """`config.json` of a hub folder as a ModelConfig. Raises CheckpointError for what this model cannot
    compute.
    """
    family = _family_of(values)
    facts = _FAMILIES[family]
    _refuse_unsupported(values)
    fields = _Fields({**facts.defaults, **values})
    hidden_size, num_heads = fields.integer("hidden_size"), fields.integer("num_attention_heads")
    max_length = fields.integer("max_position_embeddings", 2048, most=_MOST_POSITIONS)
    try:
        theta, scaling = _rope_from_hf(fields, max_length)
        return ModelConfig(
            vocab_size=fields.integer("vocab_size"),
            hidden_size=hidden_size,
            intermediate_size=fields.integer("intermediate_size"),
            num_hidden_layers=fields.integer("num_hidden_layers"),
            num_attention_heads=num_heads,
            num_key_value_heads=fields.integer("num_key_value_heads", num_heads),
            head_dim=fields.integer("head_dim", hidden_size // max(num_heads, 1)),
            max_position_embeddings=max_length,
            rms_norm_eps=fields.number("rms_norm_eps", 1e-6),
            rope_theta=theta,
            rope_scaling=scaling,
            tie_word_embeddings=fields.flag("tie_word_embeddings", False),
            attention_bias=facts.attention_bias,
            qk_norm=facts.qk_norm,
            bos_token_id=fields.token_id("bos_token_id"),
            eos_token_id=fields.token_ids("eos_token_id"),
            pad_token_id=fields.token_id("pad_token_id"),
        )
    except ConfigError as error:
        raise CheckpointError(f"config.json: {error}") from error


def config_to_hf(config: ModelConfig, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """The `config.json` under which stock `transformers` (4 and 5), vLLM and llama.cpp build this very
    model.
    """
    eos = config.eos_token_id
    dtype_name = str(dtype).removeprefix("torch.")
    values: dict[str, Any] = {
        "architectures": [_FAMILIES[config.family].architecture],
        "model_type": config.family,
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "num_key_value_heads": config.num_key_value_heads,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": config.max_position_embeddings,
        "rms_norm_eps": config.rms_norm_eps,
        "tie_word_embeddings": config.tie_word_embeddings,
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "use_cache": True,
        "bos_token_id": config.bos_token_id,
        "eos_token_id": list(eos) if isinstance(eos, tuple) else eos,
        "pad_token_id": config.pad_token_id,
        "dtype": dtype_name,
        "torch_dtype": dtype_name,
    }
    values |= (
        {"mlp_bias": False}
        if config.family == "llama"
        else {"use_sliding_window": False, "sliding_window": None}
    )
    if config.family != "qwen2":
        values["attention_bias"] = False
    return values | _rope_to_hf(config)


def _family_of(values: Mapping[str, Any]) -> Family:
    named = _list(values, "architectures")
    model_type = values.get("model_type")
    for family, facts in _FAMILIES.items():
        if model_type in (family, None) and (
            facts.architecture in named or (not named and model_type == family)
        ):
            return family
    known = ", ".join(facts.architecture for facts in _FAMILIES.values())
    what = f"architectures {named} (model_type {model_type!r})" if named or model_type else "no architecture"
    raise CheckpointError(f"config.json names {what}; this project runs {known}")


def _refuse_unsupported(values: Mapping[str, Any]) -> None:
    for name, allowed in _ONLY_SUPPORTED.items():
        if name in values and values[name] not in allowed:
            raise CheckpointError(
                f"config.json: {name} = {values[name]!r} is not supported; only {allowed[0]!r} is"
            )
    odd = [kind for kind in _list(values, "layer_types") if kind != "full_attention"]
    if odd:
        raise CheckpointError(
            f"config.json: layer_types holds {odd[0]!r}; only 'full_attention' layers are supported"
        )


class _Fields:
    """Typed reading of `config.json`: a wrong type is an error that names the field; null means absent."""

    def __init__(self, values: Mapping[str, Any], prefix: str = "") -> None:
        self.values, self.prefix = values, prefix

    def integer(self, name: str, default: int | None = None, *, most: int = LARGEST_WHOLE) -> int:
        return int(self._typed(name, int, default, most))

    def number(self, name: str, default: float | None = None) -> float:
        return float(self._typed(name, (int, float), default, LARGEST))

    def flag(self, name: str, default: bool) -> bool:
        value = self.values.get(name)
        if value is not None and not isinstance(value, bool):
            raise CheckpointError(f"config.json: {self.prefix}{name} must be true or false, got {value!r}")
        return default if value is None else value

    def token_id(self, name: str) -> int | None:
        return None if self.values.get(name) is None else self.integer(name)

    def token_ids(self, name: str) -> int | tuple[int, ...] | None:
        value = self.values.get(name)
        if not isinstance(value, list):
            return self.token_id(name)
        if not is_ids(value):
            raise CheckpointError(
                f"config.json: {self.prefix}{name} must be a token id or a list of them, got {value!r:.60}"
            )
        return tuple(value)

    def _typed(self, name: str, kind: Any, default: Any, most: Any) -> Any:
        value = self.values.get(name)
        value = default if value is None else value
        if value is None:
            raise CheckpointError(f"config.json has no {self.prefix}{name}; it is needed to build the model")
        if isinstance(value, bool) or not isinstance(value, kind):
            raise CheckpointError(f"config.json: {self.prefix}{name} must be a number, got {value!r:.60}")
        if not abs(value) <= most:  # NaN is not either
            raise CheckpointError(
                f"config.json: {self.prefix}{name} is {value!r:.60}; this project runs no model with such a number"
            )
        return value


def _rope_from_hf(fields: _Fields, max_length: int) -> tuple[float, RopeScaling | None]:
    names = ("rope_parameters", "rope_scaling")
    parts = [_Fields(_mapping(fields.values, name), f"{name}.") for name in names]
    thetas = {
        part.number("rope_theta") for part in (*parts, fields) if part.values.get("rope_theta") is not None
    }
    if len(thetas) > 1:
        raise CheckpointError(
            f"config.json gives different rope_theta in its two spellings: {sorted(thetas)}"
        )
    scalings = [_scaling_from_hf(part, max_length) for part in parts if part.values]
    if len(set(scalings)) > 1:
        raise CheckpointError(
            "config.json: rope_parameters and rope_scaling describe different scalings; keep one"
        )
    return (thetas.pop() if thetas else 10_000.0), (scalings[0] if scalings else None)


def _scaling_from_hf(part: _Fields, max_length: int) -> RopeScaling | None:
    kind = part.values.get("rope_type", part.values.get("type", "default"))
    if part.values.get("partial_rotary_factor", 1) != 1:
        raise CheckpointError("config.json: partial_rotary_factor other than 1 is not supported")
    if kind == "default":
        return None
    if kind != "llama3":
        raise CheckpointError(
            f"config.json: rope type {kind!r} is not supported; only 'default' and 'llama3' are"
        )
    return RopeScaling(
        factor=part.number("factor"),
        low_freq_factor=part.number("low_freq_factor"),
        high_freq_factor=part.number("high_freq_factor"),
        original_max_position_embeddings=part.integer("original_max_position_embeddings", max_length),
    )


def _rope_to_hf(config: ModelConfig) -> dict[str, Any]:
    scaling: dict[str, Any] | None = None
    if config.rope_scaling is not None:
        names = RopeScaling.__slots__
        scaling = {"rope_type": "llama3"} | {name: getattr(config.rope_scaling, name) for name in names}
    return {
        "rope_theta": config.rope_theta,
        "rope_scaling": scaling,
        "rope_parameters": {"rope_theta": config.rope_theta, **(scaling or {"rope_type": "default"})},
    }


def _mapping(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = values.get(name) or {}
    if not isinstance(value, Mapping):
        raise CheckpointError(f"config.json: {name} must be an object, got {value!r:.60}")
    return value


def _list(values: Mapping[str, Any], name: str) -> list[Any]:
    value = values.get(name)
    if value is not None and not isinstance(value, list):
        raise CheckpointError(f"config.json: {name} must be a list, got {value!r:.60}")
    return value or []


# ---------------------------------------------------------------- safetensors


def load_weights(model: nn.Module, folder: Path) -> None:
    """Copy a folder's tensors into the model's parameters, casting to the parameters' dtype.

    Raises CheckpointError naming the tensor or file for anything missing, unexpected, misshapen or damaged.
    """
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in read_weights({name: p.shape for name, p in parameters.items()}, folder):
            parameters[name].copy_(value)


def checked_shapes(config: ModelConfig, folder: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a model by name, once the headers of the folder's files bear it out: until then no
    number of a `config.json` is worth memory. Raises CheckpointError as `load_weights` does.
    """
    most = 16 * (1 + len(tensor_files(folder)))  # a model that has more of them lacks some among the first
    shapes = dict(itertools.islice(config.parameter_shapes(), most))
    files = weight_files(shapes, folder)
    for path in dict.fromkeys(files.values()):
        with _opened(path) as tensors:
            for name in (name for name in files if files[name] == path):
                _check_header(tensors, name, shapes[name], path)
    return shapes


def read_weights(shapes: Mapping[str, tuple[int, ...]], folder: Path) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a folder one by one, as they are stored, in the order of `weight_files`.

    Raises CheckpointError as `load_weights` does.
    """
    files = weight_files(shapes, folder)
    for path in dict.fromkeys(files.values()):
        with _opened(path) as tensors:
            for name in (name for name in files if files[name] == path):
                value = _stored(tensors, name, shapes[name], path)
                if name == EMBEDDING:
                    _check_tied(value, shapes, folder)
                yield name, value


def weight_files(wanted: Collection[str], folder: Path) -> dict[str, Path]:
    """Where each of a model's tensors lies, file by file. Raises CheckpointError if any is missing, or is
    there without a place in the model.
    """
    files = tensor_files(folder)
    missing = [name for name in wanted if name not in files]
    extra = [
        name
        for name in files
        if name not in wanted and name != OUTPUT and not name.endswith("rotary_emb.inv_freq")
    ]
    if missing:
        raise CheckpointError(
            f"{folder} lacks {_some(missing)}; config.json and the weights do not belong together"
        )
    if extra:
        raise CheckpointError(f"{folder} holds {_some(extra)}, which config.json has no place for")
    return {name: files[name] for name in sorted(wanted, key=lambda name: files[name])}


def tensor_files(folder: Path) -> dict[str, Path]:
    """Where each tensor of a folder lies: tensor name -> safetensors file."""
    if (folder / SINGLE_FILE).is_file():
        with _opened(folder / SINGLE_FILE) as tensors:
            return dict.fromkeys(tensors.keys(), folder / SINGLE_FILE)
    if (folder / INDEX_FILE).is_file():
        return _sharded_files(folder)
    pickles = sorted(
        p.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl") for p in folder.glob(pattern)
    )
    if pickles:
        raise CheckpointError(
            f"{folder} holds only pickled weights ({pickles[0]}), and a pickle can run any code when it is "
            "opened; ask its author for safetensors, or convert it with transformers on a spare machine"
        )
    raise CheckpointError(f"{folder} has neither {SINGLE_FILE} nor {INDEX_FILE}; is it a model folder?")


def _sharded_files(folder: Path) -> dict[str, Path]:
    weight_map = read_json(folder / INDEX_FILE).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise CheckpointError(f"{folder / INDEX_FILE} has no weight_map from tensor names to file names")
    present = {path.name for path in folder.iterdir() if path.is_file()}
    for file in sorted(set(weight_map.values())):
        if Path(file).name != file or not file.endswith(".safetensors"):
            raise CheckpointError(
                f"{folder / INDEX_FILE} points to {file!r}, which is not a safetensors file beside it"
            )
        if file not in present:
            raise CheckpointError(
                f"{folder} lacks the shard {file} that {INDEX_FILE} names; download it again"
            )
    return {name: folder / file for name, file in weight_map.items()}


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as tensors:
            yield tensors
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged or not a safetensors file: {error}") from error


def _stored(tensors: Any, name: str, shape: tuple[int, ...], path: Path) -> Tensor:
    _check_header(tensors, name, shape, path)
    value: Tensor = tensors.get_tensor(name)
    return value


def _check_header(tensors: Any, name: str, shape: tuple[int, ...], path: Path) -> None:
    header = tensors.get_slice(name)
    if header.get_dtype() not in _STORED_AS:
        raise CheckpointError(f"{path}: {name} is {header.get_dtype()}; quantised weights are not supported")
    if tuple(header.get_shape()) != tuple(shape):
        raise CheckpointError(
            f"{path}: {name} has shape {tuple(header.get_shape())}, config.json calls for {tuple(shape)}"
        )


def _check_tied(embedding: Tensor, shapes: Collection[str], folder: Path) -> None:
    """A model that shares its embeddings with the output may store them twice, but not as two things."""
    path = tensor_files(folder).get(OUTPUT)
    if OUTPUT in shapes or path is None:
        return
    with _opened(path) as tensors:
        value = _stored(tensors, OUTPUT, embedding.shape, path)
        if not torch.equal(value.to(embedding.dtype), embedding):
            raise CheckpointError(f"{folder}: config.json ties {OUTPUT} to the embeddings, but they differ")


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more tensors" if len(names) > 3 else "")
