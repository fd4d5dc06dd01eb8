"""Supervised fine-tuning: any model folder, ours or another's, learns from conversations what an assistant says.

    config = sft_config("current", ("my-chats.jsonl",), epochs=2)
    sft(config, Path("runs/mine"), Silent())     ->  runs/mine/model, whose lineage names its parent

Conversations are rendered by the model's own chat template; only what the assistant says is learned from. A run that was
stopped goes on with `resume=True`, bit for bit.
"""

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from liaoliao.chat.assistant import check_vocabulary
from liaoliao.config import to_json
from liaoliao.data.conversations import read_conversations
from liaoliao.data.sources import discover, guess_language
from liaoliao.errors import ConfigError, DataError, TemplateError
from liaoliao.messages import Conversation
from liaoliao.model.checkpoint import load_config, load_generation, load_lineage, load_model
from liaoliao.model.convert import tensor_files
from liaoliao.model.registry import resolve
from liaoliao.recipes.corpus import (
    LANGS,
    Corpus,
    Lang,
    kept_corpus,
    opening_questions,
    talk_examples,
    within_rows,
    write_stream,
)
from liaoliao.recipes.file_corpus import HELD_OUT_CHARS, HELD_OUT_TEXTS, said
from liaoliao.recipes.held_out import held_out_bits
from liaoliao.recipes.pretrain import check_length
from liaoliao.recipes.reporter import Reporter
from liaoliao.recipes.run import announce, begin, ending_told, finish, free_if_failed, say_stopped
from liaoliao.recipes.samples import SAMPLE_EVERY_S, SAMPLE_SHARE
from liaoliao.recipes.stage import StageConfig, run_stage
from liaoliao.text.chat_template import ChatTemplate, Template, load_template
from liaoliao.text.tokenizer import Tokenizer
from liaoliao.train.machine import DtypeName, prepare_machine
from liaoliao.train.optim import OptimConfig
from liaoliao.train.run_dir import RunDir

STREAM = "talks"
GENTLE = OptimConfig(matrix_lr=4e-3, embedding_lr=1.2e-3, scalar_lr=1.2e-3)  # a fifth of pretraining's rates
FOREIGN = OptimConfig(kind="adamw", adamw_lr=2e-5)  # what was trained with AdamW is tuned with AdamW
EPOCHS = 2.0  # where nothing else is said of the length


@dataclass(frozen=True, slots=True)
class SftConfig:
    """What a fine-tuning run needs to know; `sft_config` fills in what suits the model."""

    model: str  # a folder or a registered name
    data: tuple[str, ...]  # chat files, and folders of them
    epochs: float | None = None  # passes over the data; one length may be given, or none for EPOCHS
    steps: int | None = None
    minutes: float | None = None
    row_length: int = 512
    tokens_per_step: int = 4096
    tokens_per_microbatch: int | None = None  # what goes through the model at once; None: the whole step
    warmup: float = 0.05  # shares of the steps
    warmdown: float = 0.95
    optim: OptimConfig = field(default=GENTLE)
    seed: int = 0
    dtype: DtypeName = "auto"
    save_every_s: float = 120.0
    sample_share: float = SAMPLE_SHARE  # of the training time, for samples of what the model says; 0: none
    sample_every_s: float = SAMPLE_EVERY_S

    def __post_init__(self) -> None:
        if not self.data:
            raise ConfigError("data is empty; name the chat files to learn from")
        check_length(epochs=self.epochs, steps=self.steps, minutes=self.minutes)
        _stage(self, num_steps=1)  # refuses sizes that do not fit together before any work is done


def sft_config(model: str, data: Sequence[str], **changes: Any) -> SftConfig:
    """The settings that suit a model: gentle rates for one of ours, AdamW at 2e-5 for another's, rows within its context.

    `changes` are fields of SftConfig; a step is of eight rows unless they say otherwise. Raises UsageError for a model that
    is not there.
    """
    folder = resolve(model)
    own = bool(load_lineage(folder))
    rows = changes.get("row_length", min(512 if own else 1024, load_config(folder).max_position_embeddings))
    suited = {"optim": GENTLE if own else FOREIGN, "row_length": rows, "tokens_per_step": 8 * rows}
    return SftConfig(model, tuple(data), **{**suited, **changes})


def sft(config: SftConfig, out: Path, reporter: Reporter, *, resume: bool = False) -> Path | None:
    """Carry the run out in the folder `out` and return `out/model`; None where a person stopped it."""
    prepare_machine()
    if not resume:  # a name may stand for another model tomorrow; this run is about today's
        config = replace(config, model=str(resolve(config.model).absolute()))
    run_dir = RunDir(out)
    config = begin(run_dir, "sft", config, resume=resume)
    with ending_told(run_dir, "sft", reporter):
        return _carry_out(config, run_dir, reporter, resume=resume)


def _carry_out(config: SftConfig, run_dir: RunDir, reporter: Reporter, *, resume: bool) -> Path | None:
    out = run_dir.folder
    with free_if_failed(run_dir, resume=resume):
        parent = Path(config.model)
        reporter.say(f"model: {parent}")
        model = load_model(parent, torch.float32)
        _check_context(config, model.config.max_position_embeddings)
        tokenizer = Tokenizer.load(parent)
        check_vocabulary(parent, tokenizer, model.config.vocab_size)
        reporter.say(f"data: {', '.join(config.data)}")
        make = partial(_corpus, config, parent, tokenizer, out / "data", reporter.say)
        corpus = kept_corpus(out / "data", make, reporter)
    lineage = _lineage(config, parent, corpus)
    stage = _stage(config, num_steps=config.steps or _steps(config, corpus))
    announce(stage, reporter)
    result = run_stage(
        stage,
        model,
        corpus,
        run_dir,
        reporter,
        lineage=lineage,
        generation=_sampling(parent),
        evaluate=held_out_bits(corpus),
        budget_s=60 * config.minutes if config.minutes else None,
        resume=resume,
    )
    if not result.finished:
        say_stopped("sft", result, run_dir, reporter)
        return None
    passes = result.state.num_tokens / corpus.num_tokens
    story = [
        f"parent: {parent}",
        f"{corpus.num_tokens / 1e6:.2f}M tokens of talk, read {passes:.1f} times in {result.state.step} steps",
    ]
    finish(
        run_dir,
        model,
        corpus,
        lineage,
        title="sft",
        story=story,
        reporter=reporter,
        generation=_sampling(parent),
    )
    return out / "model"


def _check_context(config: SftConfig, context: int) -> None:
    if config.row_length > context:
        raise ConfigError(
            f"row_length is {config.row_length}, but {config.model} reads at most {context} tokens at once"
        )


def _corpus(
    config: SftConfig, parent: Path, tokenizer: Tokenizer, folder: Path, say: Callable[[str], None]
) -> Corpus:
    """Every conversation of the chat files, as the model's template renders it; one in twenty is kept back."""
    files = _chat_files(config.data, say)
    talks = [talk for file in files for talk in read_conversations(file)]
    random.Random(config.seed).shuffle(talks)
    num_kept = min(len(talks) // 20, HELD_OUT_TEXTS)
    template = _template(parent, tokenizer)
    examples = within_rows(talk_examples(template, talks[num_kept:], files=files), config.row_length, say)
    shards = write_stream(folder, STREAM, tokenizer, examples, None)
    if not shards.meta.num_items:
        raise DataError(f"{', '.join(config.data)}: the model's chat template leaves nothing to learn from")
    tools = tuple(load_lineage(parent).get("tools", ()))
    share = {STREAM: 1.0}
    kept = talks[:num_kept]
    return Corpus(
        tokenizer, template, {STREAM: shards}, {}, share, _by_language(kept), tools, questions=_asked(talks)
    )


def _chat_files(paths: Sequence[str], say: Callable[[str], None]) -> list[Path]:
    files = discover(paths, on_skip=lambda path, why: say(f"  not used: {path.name} ({why})"))
    chats = [file for file in files if file.kind == "chat"]
    for file in files:
        if file.kind != "chat":
            say(f"  not used: {file.path.name} (it holds {file.kind} records, not conversations)")
    if not chats:
        raise DataError(
            f"{', '.join(paths)}: no conversations to learn from; give files of messages, as docs/guides/own-data.md shows"
        )
    return [file.path for file in chats]


def _template(parent: Path, tokenizer: Tokenizer) -> Template:
    """The model's own; a base model that has none but knows ChatML's tokens learns ours."""
    try:
        return load_template(parent, tokenizer)
    except TemplateError as error:
        try:
            return ChatTemplate(tokenizer)
        except TemplateError:
            raise error from None


def _by_language(talks: Sequence[Conversation]) -> dict[Lang, list[str]]:
    texts = [said(talk)[:HELD_OUT_CHARS] for talk in talks]
    kept: dict[Lang, list[str]] = {lang: [] for lang in LANGS}
    for text in filter(None, texts):
        kept["zh" if guess_language(text) == "zh" else "en"].append(text)
    return {lang: of_lang for lang, of_lang in kept.items() if of_lang}


def _asked(talks: Sequence[Conversation]) -> dict[Lang, list[str]]:
    """Questions in each language, of the talks that are kept back if there are enough of them."""
    asked: dict[Lang, list[str]] = {}
    for question in opening_questions(talks, most=40):
        asked.setdefault("zh" if guess_language(question) == "zh" else "en", []).append(question)
    return {lang: questions[:4] for lang, questions in asked.items()}


def _steps(config: SftConfig, corpus: Corpus) -> int:
    return max(1, round((config.epochs or EPOCHS) * corpus.num_tokens / config.tokens_per_step))


def _lineage(config: SftConfig, parent: Path, corpus: Corpus) -> Mapping[str, Any]:
    """The parent is named by its folder and by what its weights are."""
    return {
        "recipe": "sft",
        "config": to_json(config),
        "data": corpus.digests,
        "parent": {"folder": str(parent.absolute()), "sha256": weights_digest(parent)},
        "tools": list(corpus.tools),
    }


def weights_digest(folder: Path) -> str:
    """sha256 over the digests of a folder's weight files, in order of name."""
    whole = hashlib.sha256()
    for path in sorted(set(tensor_files(folder).values())):
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def _sampling(parent: Path) -> dict[str, Any]:
    """The parent's sampling defaults; what its tokens are is the template's and the config's to say."""
    return {name: value for name, value in load_generation(parent).items() if not name.endswith("_token_id")}


def _stage(config: SftConfig, *, num_steps: int) -> StageConfig:
    return StageConfig(
        "sft",
        {STREAM: 1.0},
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
