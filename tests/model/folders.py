"""Whole model folders with random weights, for what is exported to other programs."""

import json
from pathlib import Path
from typing import Any

import tokenizers
import torch
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, processors, trainers

from liaoliao.model.checkpoint import save_checkpoint
from liaoliao.model.config import Family, ModelConfig, RopeScaling
from liaoliao.model.transformer import Transformer
from liaoliao.text.chat_template import ChatTemplate
from liaoliao.text.tokenizer import Tokenizer
from tests.text.strategies import CHINESE, ENGLISH

FAMILIES: tuple[Family, ...] = ("qwen3", "qwen2", "llama")
STRETCHED = RopeScaling(4.0, 1.0, 4.0, 64)
LINEAGE = {
    "recipe": "sft",
    "data": {"talks:en": "aa11", "/home/me/chats.jsonl:zh": "bb22"},
    "parent": {"folder": "/home/me/runs/town/model", "sha256": "cc33"},
    "tools": [],
}


def small_tokenizer() -> Tokenizer:
    """A few merges in both languages."""
    return Tokenizer.train([ENGLISH, CHINESE, "system\nuser\nassistant\ntool\n"] * 3, vocab_size=400)


def random_model(family: Family, vocab_size: int, **changes: Any) -> Transformer:
    """Random weights everywhere, norms and biases too, in shapes whose rows divide by 32."""
    shape: dict[str, Any] = {
        "vocab_size": vocab_size, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32 if family == "qwen3" else 16,
        "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "rope_theta": 5000.0, "tie_word_embeddings": False,
        "qk_norm": family == "qwen3", "attention_bias": family == "qwen2",
    }  # fmt: skip
    model = Transformer(ModelConfig(**{**shape, **changes}))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.1, generator=generator)
            if parameter.dim() == 1:
                parameter.add_(1.0)
    return model.eval()


def model_folder(folder: Path, family: Family, *, spare: int = 0, **changes: Any) -> Transformer:
    """Save a random model with our tokenizer, and `spare` embeddings more than it has tokens."""
    tokenizer = small_tokenizer()
    changes = {"eos_token_id": tokenizer.eos_id, "bos_token_id": tokenizer.end_of_text_id, **changes}
    model = random_model(family, tokenizer.vocab_size + spare, **changes)
    save_checkpoint(
        folder, model, tokenizer, ChatTemplate(tokenizer), lineage=LINEAGE,
        generation={"temperature": 0.3, "top_p": 0.9, "do_sample": True},
    )  # fmt: skip
    return model


LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def foreign_tokenizer(folder: Path, pre: str, **model_options: Any) -> None:
    """Write a tokenizer that cuts text as Llama 3 ("llama-bpe"), SmolLM ("smollm") or GPT-2 ("gpt-2") do."""
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pre != "llama-bpe")
    first: dict[str, list[Any]] = {
        "llama-bpe": [pre_tokenizers.Split(Regex(LLAMA3_PATTERN), "isolated")],
        "smollm": [pre_tokenizers.Digits(individual_digits=True)],
        "gpt-2": [],
    }
    options = {"ignore_merges": pre == "llama-bpe", **model_options}
    backend = tokenizers.Tokenizer(models.BPE(**options))
    backend.pre_tokenizer = pre_tokenizers.Sequence([*first[pre], byte_level])
    if not first[pre]:
        backend.pre_tokenizer = byte_level
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator([ENGLISH, CHINESE, "in 1234 and 2024, 18:45 5678"] * 5, trainer)
    backend.add_special_tokens([AddedToken(t, special=True) for t in ("<|begin_of_text|>", "<|eot_id|>")])
    start = ("<|begin_of_text|>", backend.token_to_id("<|begin_of_text|>"))
    backend.post_processor = processors.TemplateProcessing(single=f"{start[0]} $A", special_tokens=[start])
    folder.mkdir(parents=True, exist_ok=True)
    backend.save(str(folder / "tokenizer.json"))
    config = {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def foreign_folder(folder: Path, pre: str, **model_options: Any) -> Transformer:
    """A base model of the llama family without a chat template, manifest or lineage."""
    from safetensors.torch import save_file

    from liaoliao.model.convert import config_to_hf

    foreign_tokenizer(folder, pre, **model_options)
    model = random_model("llama", Tokenizer.load(folder).vocab_size, rope_scaling=STRETCHED)
    (folder / "config.json").write_text(json.dumps(config_to_hf(model.config)), encoding="utf-8")
    save_file(dict(model.named_parameters()), folder / "model.safetensors", metadata={"format": "pt"})
    return model
