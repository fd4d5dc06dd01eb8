"""The whole story, readable top to bottom: from an empty folder to a model you can talk to, within a time budget.

    how fast is this machine -> data -> tokenizer -> how large a model fits -> pretrain -> fine-tune -> evaluate -> report

    speedrun(SpeedrunConfig(minutes=10), Path("runs/town"), Silent())     # runs/town/model is the checkpoint

Everything but the installation counts against the budget. A run that is interrupted goes on with `resume=True`.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from liaoliao.chat.assistant import load
from liaoliao.config import load_json, save_json, to_json
from liaoliao.errors import ConfigError
from liaoliao.model.checkpoint import save_checkpoint
from liaoliao.model.config import ModelConfig
from liaoliao.model.transformer import Transformer
from liaoliao.recipes.corpus import Corpus, kept_corpus
from liaoliao.recipes.file_corpus import file_corpus, usable_files, wanted_files
from liaoliao.recipes.held_out import held_out_bits, held_out_results
from liaoliao.recipes.pretrain import check_length, check_weights
from liaoliao.recipes.reporter import Reporter
from liaoliao.recipes.run import announce, begin, ending_told, free_if_failed, model_shape, say_stopped
from liaoliao.recipes.samples import SAMPLE_EVERY_S, SAMPLE_SHARE
from liaoliao.recipes.sizing import PROBE_DEPTH, Fit, best_fit, fit_of, measure_pace
from liaoliao.recipes.stage import SAMPLING, StageConfig, run_stage
from liaoliao.recipes.town_corpus import town_corpus
from liaoliao.tasks import report as tables
from liaoliao.tasks.registry import get_tasks
from liaoliao.tasks.task import TaskResult
from liaoliao.train.machine import DtypeName, prepare_machine
from liaoliao.train.optim import OptimConfig
from liaoliao.train.report import write_report
from liaoliao.train.run_dir import RunDir

TOWN = "town"
SHAPE_FILE = "model_config.json"
EVAL_SHARE = 0.04  # of the budget, for evaluation and the report at the end
WRITTEN_PER_S = 10_000  # tokens of data made for each second of the run, at most; streams repeat if need be
LEAST_WRITTEN = 30_000
TYPICAL_DOCUMENT = 100  # tokens, of the town's


@dataclass(frozen=True, slots=True)
class SpeedrunConfig:
    """What a speedrun needs to know. `data` is "town", or files and folders of text and talk."""

    minutes: float = 10.0
    data: tuple[str, ...] = (TOWN,)
    seed: int = 0
    depth: int | None = None  # None: chosen to fit the minutes on this machine
    vocab_size: int = 4096
    row_length: int = 512
    tokens_per_step: int = 4096
    sft_share: float = 0.4  # of the training time
    questions: int = 60  # of each task, by the way; `liaoliao eval` asks more
    dtype: DtypeName = "auto"
    optim: OptimConfig = field(default_factory=OptimConfig)
    sample_share: float = SAMPLE_SHARE  # of the training time, for samples of what the model says; 0: none
    sample_every_s: float = SAMPLE_EVERY_S
    weights: Mapping[str, float] = field(default_factory=dict)  # of files, by name: {"*.zh.jsonl": 2.0}

    def __post_init__(self) -> None:
        check_length(minutes=self.minutes)
        if TOWN in self.data and len(self.data) > 1:
            raise ConfigError("data is either the town or files of your own, not both")
        check_weights(self.weights)
        if self.weights and TOWN in self.data:
            raise ConfigError("weights are of files, and the town has none")
        if not 0 <= self.sft_share <= 1:
            raise ConfigError(f"sft_share must be from 0 to 1, got {self.sft_share:g}")
        _pretrain(self, {})  # refuses sizes that do not fit together before any work is done


@dataclass(frozen=True, slots=True)
class SpeedrunResult:
    """`model` is None where a person stopped the run before its end."""

    model: Path | None
    results: Sequence[TaskResult] = ()


def speedrun(
    config: SpeedrunConfig,
    out: Path,
    reporter: Reporter,
    *,
    resume: bool = False,
    on_model: Callable[[Path], object] = lambda model: None,
) -> SpeedrunResult:
    """Carry the whole story out in the folder `out`. The checkpoint is `out/model`, the report `out/report.md`.

    `on_model` hears of the checkpoint as soon as it is there, before it is evaluated.
    """
    prepare_machine()
    run_dir = RunDir(out)
    config = begin(run_dir, "speedrun", config, resume=resume)
    with ending_told(run_dir, "speedrun", reporter):
        return _carry_out(config, run_dir, reporter, on_model, resume=resume)


def _carry_out(
    config: SpeedrunConfig,
    run_dir: RunDir,
    reporter: Reporter,
    on_model: Callable[[Path], object],
    *,
    resume: bool,
) -> SpeedrunResult:
    out = run_dir.folder
    with free_if_failed(run_dir, resume=resume):
        reporter.say(f"data: {', '.join(config.data)}")
        pace = 0.0 if (out / SHAPE_FILE).exists() else _pace(config)
        corpus = kept_corpus(out / "data", partial(_corpus, config, pace, out / "data", reporter), reporter)
    # When training ends by the clock of the run, which a resumed run takes up where it was, and when it turns to dialogue.
    ends_s = 60 * config.minutes * (1 - EVAL_SHARE)
    left_s = ends_s - run_dir.clock.spent_s()
    model_config, story = _model_config(config, corpus, pace, left_s, out, reporter)
    model = Transformer(model_config).init_weights(config.seed)
    lineage = {
        "recipe": "speedrun",
        "config": to_json(config),
        "data": corpus.digests,
        "parent": None,
        "tools": corpus.tools,
    }

    turn_s = ends_s - config.sft_share * (ends_s - run_dir.clock.mark("training"))
    for stage, end_s in ((_pretrain(config, corpus.pretrain), turn_s), (_sft(config, corpus.sft), ends_s)):
        announce(stage, reporter)
        result = run_stage(
            stage,
            model,
            corpus,
            run_dir,
            reporter,
            lineage=lineage,
            evaluate=held_out_bits(corpus),
            ends_at_s=time.monotonic() + end_s - run_dir.clock.spent_s(),
            resume=resume,
        )
        if not result.finished:
            say_stopped("speedrun", result, run_dir, reporter)
            return SpeedrunResult(None)
        story.append(
            f"{stage.name}: {result.state.num_tokens / 1e6:.2f}M tokens in {result.state.step} steps"
        )

    save_checkpoint(
        out / "model", model, corpus.tokenizer, corpus.template, lineage=lineage, generation=SAMPLING
    )
    on_model(out / "model")
    reporter.say("evaluating")
    results = _evaluate(config, corpus, out)
    story.append(f"{run_dir.clock.spent_s() / 60:.1f} minutes in all, of {config.minutes:g}")
    write_report(
        run_dir,
        title="speedrun",
        lines=story,
        table=tables.markdown(results) + "\n" + tables.samples_markdown(results),
    )
    reporter.say(f"report: {out / 'report.md'}   model: {out / 'model'}")
    return SpeedrunResult(out / "model", results)


def _pace(config: SpeedrunConfig) -> float:
    """Tokens a second that this machine trains, as `sizing` counts them; where there is nothing to train on, DataError."""
    if config.data != (TOWN,):
        files = usable_files(config.data, lambda line: None)  # they are looked at again later, and told of
        wanted_files(files, config.weights)
    stage = _pretrain(config, {})
    length = TYPICAL_DOCUMENT if config.data == (TOWN,) else config.row_length
    return measure_pace(stage, vocab_size=config.vocab_size, document_length=length)


def _corpus(config: SpeedrunConfig, pace: float, folder: Path, reporter: Reporter) -> Corpus:
    """The data of the run: the town, or a person's files; about as many tokens as will be read."""
    seconds = 60 * config.minutes
    fit = _fit(config, pace, config.vocab_size, seconds)
    tokens = max(LEAST_WRITTEN, int(min(fit.num_tokens, WRITTEN_PER_S * seconds)))
    if config.data == (TOWN,):
        return town_corpus(
            folder,
            num_tokens=tokens,
            vocab_size=config.vocab_size,
            seed=config.seed,
            row_length=config.row_length,
        )
    return file_corpus(
        folder,
        config.data,
        num_tokens=tokens,
        vocab_size=config.vocab_size,
        seed=config.seed,
        weights=config.weights,
        row_length=config.row_length,
        say=reporter.say,
    )


def _fit(config: SpeedrunConfig, pace: float, vocab_size: int, seconds: float) -> Fit:
    """The depth that is asked for, or else the best one."""
    if config.depth is not None:
        return fit_of(config.depth, pace, vocab_size=vocab_size, seconds=seconds)
    return best_fit(pace, vocab_size=vocab_size, seconds=seconds)


def _model_config(
    config: SpeedrunConfig, corpus: Corpus, pace: float, seconds: float, out: Path, reporter: Reporter
) -> tuple[ModelConfig, list[str]]:
    """The model for the time that is left, and the reasons in words; a resumed run takes the one it began with."""
    saved = out / SHAPE_FILE
    if saved.exists():
        model_config = load_json(ModelConfig, saved)
        return model_config, [f"depth {model_config.num_hidden_layers}, as the run began"]
    fit = _fit(config, pace, corpus.tokenizer.vocab_size, seconds)
    why = (
        f"depth {fit.depth}{', as asked' if config.depth is not None else ''}: this machine trains depth {PROBE_DEPTH} at "
        f"{pace:,.0f} tokens/s, so about {fit.num_tokens / 1e6:.1f}M tokens fit, "
        f"{fit.num_tokens / fit.num_parameters:.1f} for each of its layers' {fit.num_parameters / 1e6:.1f}M parameters"
    )
    reporter.say(why)
    shape = model_shape(corpus, fit.depth, config.row_length)
    save_json(shape, saved)
    return shape, [why]


def _pretrain(config: SpeedrunConfig, streams: Mapping[str, float]) -> StageConfig:
    return _stage(config, "pretrain", streams, warmup=0.02, warmdown=0.0, seed=config.seed)


def _sft(config: SpeedrunConfig, streams: Mapping[str, float]) -> StageConfig:
    """The rate falls to zero while the model turns to dialogue (as MiniCPM does in its decay stage)."""
    return _stage(config, "sft", streams, warmup=0.0, warmdown=1.0, seed=config.seed + 1)


def _stage(
    config: SpeedrunConfig,
    name: str,
    streams: Mapping[str, float],
    *,
    warmup: float,
    warmdown: float,
    seed: int,
) -> StageConfig:
    return StageConfig(
        name,
        dict(streams),
        row_length=config.row_length,
        tokens_per_step=config.tokens_per_step,
        tokens_per_microbatch=config.tokens_per_step,
        warmup=warmup,
        warmdown=warmdown,
        optim=config.optim,
        dtype=config.dtype,
        seed=seed,
        sample_share=config.sample_share,
        sample_every_s=config.sample_every_s,
    )


def _evaluate(config: SpeedrunConfig, corpus: Corpus, out: Path) -> list[TaskResult]:
    """Held-out bits per byte, and for the town its questions; `eval.json` beside the checkpoint."""
    assistant = load(out / "model")
    results = held_out_results(assistant.engine, corpus)
    if config.data == (TOWN,):
        results += [task.evaluate(assistant, limit=config.questions) for task in get_tasks([TOWN])]
    tables.write_eval(results, out / "eval.json")
    return results
