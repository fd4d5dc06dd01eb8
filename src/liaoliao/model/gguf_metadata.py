"""What a GGUF file says of its model besides weights and vocabulary: shape, origin, how to sample.

sampling({"temperature": 0.3, "do_sample": True})["temperature"]  ->  0.3
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gguf import GGUFWriter, size_label

from liaoliao.model.config import ModelConfig

# What an engine does that is told nothing: here it samples the model as it was trained, elsewhere it often does not.
_PLAIN: Final = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "repetition_penalty": 1.0}


def sampling(generation: Mapping[str, Any]) -> dict[str, float]:
    """The sampling defaults of a `generation_config.json`, each of them said."""
    given = {name: generation[name] for name in _PLAIN if generation.get(name) is not None}
    greedy = {"temperature": 0.0} if generation.get("do_sample") is False else {}
    return {**_PLAIN, **given, **greedy}


def write_shape(writer: GGUFWriter, config: ModelConfig) -> None:
    """Add the keys of the architecture."""
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_vocab_size(config.vocab_size)


def write_origin(writer: GGUFWriter, name: str, config: ModelConfig, lineage: Mapping[str, Any]) -> None:
    """Add `general.*`: what the model is called and, as far as a lineage tells, what it was made from."""
    writer.add_type("model")
    writer.add_name(name)
    writer.add_size_label(size_label(config.num_parameters(), 0, 0, 0))
    if "recipe" in lineage:
        writer.add_description(f"Made with liaoliao (recipe: {lineage['recipe']})")
    data = lineage.get("data")
    digests = data if isinstance(data, Mapping) else {}
    languages = sorted({key.rpartition(":")[2] for key in digests} & {"en", "zh"})
    if languages:
        writer.add_languages(languages)
    _write_parent(writer, lineage.get("parent"))
    if digests:
        writer.add_dataset_count(len(digests))
    for index, (source, digest) in enumerate(digests.items()):
        writer.add_dataset_name(index, Path(source).name)  # a file of one's own: not where it lay
        writer.add_dataset_version(index, f"sha256:{digest}")


def _write_parent(writer: GGUFWriter, parent: Any) -> None:
    match parent:
        case {"folder": str(name), "sha256": str(sha256)}:
            folder = Path(name)
            writer.add_base_model_count(1)
            writer.add_base_model_name(0, folder.parent.name if folder.name == "model" else folder.name)
            writer.add_base_model_version(0, f"sha256:{sha256}")


def write_sampling(writer: GGUFWriter, generation: Mapping[str, Any]) -> None:
    """Add `general.sampling.*`, which llama.cpp's tools take as their defaults."""
    values = sampling(generation)
    writer.add_sampling_temp(values["temperature"])
    writer.add_sampling_top_k(int(values["top_k"]))
    writer.add_sampling_top_p(values["top_p"])
    writer.add_sampling_min_p(values["min_p"])
    writer.add_sampling_penalty_repeat(values["repetition_penalty"])
    writer.add_sampling_penalty_last_n(-1)  # of the whole context, as it is here
