"""One stage of training: a model, streams of data by weight, an objective, and a run folder that can be resumed.

Pretraining and fine-tuning are the same stage with other streams. Length is a number of steps, or what fits before a
deadline; then the run measures itself as it goes and bends its schedule to the clock.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from liaoliao.data.loader import PackedSource
from liaoliao.errors import ConfigError
from liaoliao.model.transformer import Transformer
from liaoliao.recipes.corpus import Corpus
from liaoliao.recipes.reporter import Reporter
from liaoliao.recipes.samples import SAMPLE_EVERY_S, SAMPLE_SHARE, Samples
from liaoliao.train.hooks import Every, EverySeconds, KeepToDeadline, StopOnInterrupt, WithinShare
from liaoliao.train.loop import Hook, TrainState, train
from liaoliao.train.machine import DtypeName, pick_dtype
from liaoliao.train.objectives import next_token
from liaoliao.train.optim import OptimConfig, build_optimizers
from liaoliao.train.run_dir import RunDir
from liaoliao.train.schedule import warmup_stable_decay

# What a chat samples with unless it is told otherwise: small models keep to their facts at a low temperature.
SAMPLING: Mapping[str, Any] = MappingProxyType({"do_sample": True, "temperature": 0.3, "top_p": 0.9})
# A row needs a second token to be predicted from the first, and numpy takes no seed below 0.
LEAST: Mapping[str, int] = MappingProxyType(
    {"row_length": 2, "tokens_per_step": 1, "tokens_per_microbatch": 1, "num_steps": 1, "seed": 0}
)


@dataclass(frozen=True, slots=True)
class StageConfig:
    """How a stage is trained. Shares of the run are fractions of its steps."""

    name: str
    streams: Mapping[str, float]  # share of the tokens of each stream
    row_length: int = 256
    tokens_per_step: int = 8192
    tokens_per_microbatch: int = 8192
    num_steps: int = 1000  # a first guess where there is a deadline
    warmup: float = 0.02
    warmdown: float = 0.3
    floor: float = 0.0
    optim: OptimConfig = field(default_factory=OptimConfig)
    dtype: DtypeName = "auto"
    seed: int = 0
    log_every: int = 10
    eval_every_s: float = 100.0
    save_every_s: float = 120.0
    sample_share: float = SAMPLE_SHARE  # of the training time, for samples; 0: none
    sample_every_s: float = SAMPLE_EVERY_S

    def __post_init__(self) -> None:
        for name, least in LEAST.items():
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.tokens_per_microbatch % self.row_length or self.tokens_per_step % self.tokens_per_microbatch:
            raise ConfigError(
                f"{self.name}: tokens_per_step ({self.tokens_per_step}) must be a multiple of tokens_per_microbatch "
                f"({self.tokens_per_microbatch}), and that of row_length ({self.row_length})"
            )


Evaluate = Callable[[Transformer], Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class StageResult:
    """How a stage ended."""

    state: TrainState
    finished: bool  # False: a person stopped it, and the checkpoint says how to go on


def run_stage(
    config: StageConfig,
    model: Transformer,
    corpus: Corpus,
    run_dir: RunDir,
    reporter: Reporter,
    *,
    lineage: Mapping[str, Any],
    generation: Mapping[str, Any] = SAMPLING,
    evaluate: Evaluate | None = None,
    budget_s: float | None = None,
    ends_at_s: float | None = None,
    resume: bool = False,
) -> StageResult:
    """Train `model` in place. With `resume` continue from the stage's newest intact checkpoint, bit for bit.

    The stage ends after its steps, or with `budget_s` after so many seconds of training in all, or with `ends_at_s` at that
    moment of `time.monotonic`. `generation` are the sampling defaults of its checkpoints.
    """
    state = start_state(config, model, corpus)
    if resume and run_dir.resume(config.name, state, reporter.say):
        reporter.say(f"{config.name}: going on from step {state.step} of {state.num_steps}")

    def save(state: TrainState) -> None:
        run_dir.save(
            config.name,
            state,
            corpus.tokenizer,
            corpus.template,
            {**lineage, "stage": config.name, "step": state.step},
            generation=generation,
        )

    def log(state: TrainState) -> None:
        run_dir.log(
            stage=config.name,
            step=state.step,
            tokens=state.num_tokens,
            elapsed_s=round(state.elapsed_s, 2),
            **state.metrics,
        )

    def measure(state: TrainState) -> None:
        if evaluate is not None:
            run_dir.log(stage=config.name, step=state.step, tokens=state.num_tokens, **evaluate(state.model))

    def tell(state: TrainState) -> None:
        run_dir.tell_step(config.name, state.step, state.num_steps, at_once=state.done or state.stop)

    interrupt = StopOnInterrupt()
    hooks: list[Hook] = [interrupt]
    now_s = time.monotonic()
    if budget_s is not None:
        ends_at_s = now_s + budget_s - state.elapsed_s
    if ends_at_s is not None:  # before the others, so that they know a last step when they see it
        hooks.append(KeepToDeadline(ends_at_s))
    hooks += [Every(config.log_every, log), tell, lambda s: reporter.step(config.name, s)]
    hooks += _samples(config, corpus, run_dir, left_s=math.inf if ends_at_s is None else ends_at_s - now_s)
    hooks += [EverySeconds(config.eval_every_s, measure), EverySeconds(config.save_every_s, save)]
    begun = state.step
    run_dir.tell_step(config.name, begun, state.num_steps, at_once=True)
    with interrupt:
        train(state, next_token, schedule=_schedule(config), clip_norm=config.optim.clip_norm, hooks=hooks)
    if state.step > begun:
        measure(state)
        save(state)
    return StageResult(state, state.done)


def _samples(config: StageConfig, corpus: Corpus, run_dir: RunDir, *, left_s: float) -> list[Hook]:
    """Now and then what the model says, if it is wanted; `left_s` seconds are left for training."""
    if config.sample_share <= 0:
        return []
    learned = tuple(name for name, share in config.streams.items() if share > 0)
    last_s = time.monotonic() + (1 + config.sample_share) * left_s  # the last ones come after the last step
    samples = Samples(config.name, learned, corpus, run_dir, ends_at_s=last_s)
    return [WithinShare(config.sample_share, config.sample_every_s, samples)]


def start_state(config: StageConfig, model: Transformer, corpus: Corpus) -> TrainState:
    """The state of a stage before its first step."""
    names = [name for name, share in config.streams.items() if share > 0]
    source = PackedSource(
        [corpus.streams[name] for name in names],
        weights=[config.streams[name] for name in names],
        row_length=config.row_length,
        rows_per_microbatch=config.tokens_per_microbatch // config.row_length,
        microbatches_per_step=config.tokens_per_step // config.tokens_per_microbatch,
        seed=config.seed,
    )
    model.compute_dtype = pick_dtype(config.dtype)
    return TrainState(model, source, build_optimizers(model, config.optim), config.num_steps)


def _schedule(config: StageConfig) -> Callable[[float], float]:
    return lambda progress: warmup_stable_decay(
        progress, warmup=config.warmup, warmdown=config.warmdown, floor=config.floor
    )
