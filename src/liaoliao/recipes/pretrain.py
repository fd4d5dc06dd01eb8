"""Pretraining on a person's own files: from text (and talk) to a base model, in one stage.

    pretrain(PretrainConfig(data=("my-texts",), depth=4, minutes=30), Path("runs/base"), Silent())
    ->  runs/base/model, runs/base/report.md

The length is `steps`, or `minutes` of training, or (neither given) one pass over the data. A run that was stopped or
killed goes on with `resume=True` from its newest intact checkpoint; by steps it ends bit for bit where it would have.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from liaoliao.config import to_json
from liaoliao.errors import ConfigError
from liaoliao.model.transformer import Transformer
from liaoliao.recipes.corpus import Corpus, kept_corpus
from liaoliao.recipes.file_corpus import file_corpus
from liaoliao.recipes.held_out import held_out_bits
from liaoliao.recipes.reporter import Reporter
from liaoliao.recipes.run import (
    announce,
    begin,
    ending_told,
    finish,
    free_if_failed,
    model_shape,
    say_stopped,
)
from liaoliao.recipes.samples import SAMPLE_EVERY_S, SAMPLE_SHARE
from liaoliao.recipes.stage import StageConfig, run_stage
from liaoliao.text.tokenizer import Tokenizer
from liaoliao.train.machine import DtypeName, prepare_machine
from liaoliao.train.optim import OptimConfig
from liaoliao.train.run_dir import RunDir

TOKENS_PER_S = (
    20_000  # data prepared for each second of a run by the clock; a faster machine sees some of it twice
)


@dataclass(frozen=True, slots=True)
class PretrainConfig:
    """What a pretraining run needs to know."""

    data: tuple[str, ...]  # files and folders
    tokenizer: Path | None = None  # a folder with a tokenizer.json; None: one is trained on the data
    vocab_size: int = 8192  # of a tokenizer that is trained
    depth: int = 4
    steps: int | None = None
    minutes: float | None = None
    row_length: int = 512  # the context that the model learns
    tokens_per_step: int = 8192
    tokens_per_microbatch: int | None = None  # what goes through the model at once; None: the whole step
    warmup: float = 0.02  # shares of the steps
    warmdown: float = 0.4
    optim: OptimConfig = field(default_factory=OptimConfig)
    seed: int = 0
    dtype: DtypeName = "auto"
    save_every_s: float = 120.0
    sample_share: float = SAMPLE_SHARE  # of the training time, for samples of what the model says; 0: none
    sample_every_s: float = SAMPLE_EVERY_S
    weights: Mapping[str, float] = field(default_factory=dict)  # of files, by name: {"*.zh.jsonl": 2.0}

    def __post_init__(self) -> None:
        if not self.data:
            raise ConfigError("data is empty; name the files or folders to learn from")
        check_length(steps=self.steps, minutes=self.minutes)
        check_weights(self.weights)
        if self.weights and self.steps is None and self.minutes is None:
            raise ConfigError("weights choose among more data than the run reads; give steps or minutes, too")
        stage_of(self, {}, num_steps=1)  # refuses sizes that do not fit together before any work is done


def check_length(**lengths: int | float | None) -> None:  # noqa: PYI041 (the tests' type checks take no int for a float)
    """Raise ConfigError where a run's length is given twice, or is none."""
    given = {name: length for name, length in lengths.items() if length is not None}
    if len(given) > 1:
        raise ConfigError(f"give one length of the run, not {' and '.join(given)}")
    for name, length in given.items():
        if not 0 < length < math.inf:
            raise ConfigError(f"{name} must be a number above 0, got {length:g}")


def check_weights(weights: Mapping[str, float]) -> None:
    """Raise ConfigError for a weight of files that is none."""
    for pattern, weight in weights.items():
        if not 0 <= weight < math.inf:
            raise ConfigError(f"the weight of {pattern!r} must be a number from 0 on, got {weight:g}")


def pretrain(config: PretrainConfig, out: Path, reporter: Reporter, *, resume: bool = False) -> Path | None:
    """Carry the run out in the folder `out` and return `out/model`; None where a person stopped it."""
    prepare_machine()
    run_dir = RunDir(out)
    config = begin(run_dir, "pretrain", config, resume=resume)
    with ending_told(run_dir, "pretrain", reporter):
        return _carry_out(config, run_dir, reporter, resume=resume)


def _carry_out(config: PretrainConfig, run_dir: RunDir, reporter: Reporter, *, resume: bool) -> Path | None:
    out = run_dir.folder
    with free_if_failed(run_dir, resume=resume):
        reporter.say(f"data: {', '.join(config.data)}")
        corpus = kept_corpus(out / "data", partial(_corpus, config, out / "data", reporter), reporter)
        shape = model_shape(corpus, config.depth, config.row_length)
    model = Transformer(shape).init_weights(config.seed)
    lineage = {
        "recipe": "pretrain",
        "config": to_json(config),
        "data": corpus.digests,
        "parent": None,
        "tools": [],
    }
    stage = stage_of(
        config, corpus.pretrain, num_steps=config.steps or max(1, corpus.num_tokens // config.tokens_per_step)
    )
    announce(stage, reporter)
    result = run_stage(
        stage,
        model,
        corpus,
        run_dir,
        reporter,
        lineage=lineage,
        evaluate=held_out_bits(corpus),
        budget_s=60 * config.minutes if config.minutes else None,
        resume=resume,
    )
    if not result.finished:
        say_stopped("pretrain", result, run_dir, reporter)
        return None
    story = [
        f"depth {config.depth}: {shape.num_parameters() / 1e6:.2f}M parameters, "
        f"{shape.num_parameters(embeddings=False) / 1e6:.2f}M of them in the layers",
        f"{result.state.num_tokens / 1e6:.2f}M tokens in {result.state.step} steps",
    ]
    finish(run_dir, model, corpus, lineage, title="pretrain", story=story, reporter=reporter)
    return out / "model"


def _corpus(config: PretrainConfig, folder: Path, reporter: Reporter) -> Corpus:
    """As much of the data as the run will read."""
    tokenizer = Tokenizer.load(config.tokenizer) if config.tokenizer else None
    return file_corpus(
        folder,
        config.data,
        num_tokens=_tokens_to_read(config),
        vocab_size=config.vocab_size,
        seed=config.seed,
        tokenizer=tokenizer,
        kinds=("text", "said"),
        weights=config.weights,
        say=reporter.say,
    )


def _tokens_to_read(config: PretrainConfig) -> int | None:
    if config.steps is not None:
        return config.steps * config.tokens_per_step
    return None if config.minutes is None else int(60 * config.minutes * TOKENS_PER_S)


def stage_of(config: PretrainConfig, streams: Mapping[str, float], *, num_steps: int) -> StageConfig:
    """The stage that the settings describe."""
    return StageConfig(
        "pretrain",
        streams,
        row_length=config.row_length,
        tokens_per_step=config.tokens_per_step,
        tokens_per_microbatch=config.tokens_per_microbatch or config.tokens_per_step,
        num_steps=num_steps,
        warmup=config.warmup,
        warmdown=config.warmdown,
        optim=config.optim,
        dtype=config.dtype,
        seed=config.seed,
        save_every_s=config.save_every_s,
        sample_share=config.sample_share,
        sample_every_s=config.sample_every_s,
    )
