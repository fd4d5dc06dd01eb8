"""Bits per byte after equal minutes: a speedrun on your files beside a nanoGPT-style AdamW baseline of the same size.

    python benchmarks/bits_per_byte.py --data ../shared/data --minutes 10      writes benchmarks/results/bits_per_byte.md

Same tokenizer, same sampled files in the same shares, same held-out texts, same seconds of training (ours include its
turn to dialogue). The baseline's learning rate is the best of those given with --baseline-lr.
"""

import argparse
import random
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from nanogpt_style import GPT, Scorer, train

from liaoliao.chat.assistant import load
from liaoliao.model.checkpoint import load_config
from liaoliao.recipes.corpus import Corpus
from liaoliao.recipes.held_out import held_out_results
from liaoliao.recipes.speedrun import SpeedrunConfig, speedrun
from liaoliao.tasks.task import TaskResult
from liaoliao.train.run_dir import RunDir

RESULTS = Path(__file__).parent / "results" / "bits_per_byte.md"


class Lines:
    """Prints the story of a recipe, a step now and then."""

    def say(self, line: str) -> None:
        """One line."""
        print(line, flush=True)

    def step(self, stage: str, state: object) -> None:
        """Steps are in metrics.jsonl."""


def training_seconds(run: Path) -> float:
    """Seconds that the optimizer steps of all stages took."""
    ends: dict[str, float] = {}
    for record in RunDir(run).metrics():
        if "elapsed_s" in record:
            ends[record["stage"]] = record["elapsed_s"]
    return sum(ends.values())


def token_stream(corpus: Corpus, seed: int) -> np.ndarray:
    """Documents one after the other in random order, in the shares that pretraining gives the streams."""
    rng, documents = random.Random(seed), []
    smallest = min(corpus.streams[name].meta.num_tokens / share for name, share in corpus.pretrain.items())
    for name, share in corpus.pretrain.items():
        shards, wanted = corpus.streams[name], smallest * share
        for index in rng.sample(range(len(shards)), len(shards)):
            ids = shards[index].token_ids
            documents.append(ids)
            wanted -= len(ids)
            if wanted <= 0:
                break
    rng.shuffle(documents)
    return np.concatenate(documents)


def row(name: str, results: list[TaskResult], millions: float, base: list[TaskResult]) -> str:
    cells = [
        f"{r.value:.4f} ± {r.stderr:.4f} ({r.value / b.value - 1:+.1%})"
        for r, b in zip(results, base, strict=True)
    ]
    return f"| {name} | {millions:.1f} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--baseline-lr", type=float, nargs="+", default=[1e-3])
    parser.add_argument("--run", type=Path, help="a finished speedrun to compare with, instead of a new one")
    args = parser.parse_args()
    num_threads = torch.get_num_threads()
    run = args.run or Path(tempfile.mkdtemp()) / "run"
    if args.run is None:
        speedrun(SpeedrunConfig(minutes=args.minutes, data=tuple(args.data), seed=args.seed), run, Lines())
    corpus, assistant, seconds = Corpus.load(run / "data"), load(run / "model"), training_seconds(run)
    ours = held_out_results(assistant.engine, corpus)
    torch.set_num_threads(num_threads)  # making the engine set it to one
    shape = load_config(run / "model")
    best: tuple[float, list[TaskResult], float, float, int] | None = None
    for lr in args.baseline_lr:
        torch.manual_seed(args.seed)
        model = GPT(
            shape.vocab_size,
            shape.hidden_size,
            shape.num_hidden_layers,
            shape.num_attention_heads,
            shape.max_position_embeddings,
        )
        tokens = train(
            model,
            token_stream(corpus, args.seed),
            seconds=seconds,
            lr=lr,
            tokens_per_step=8192,
            seed=args.seed,
        )
        results = held_out_results(Scorer(model), corpus)
        total = sum(r.value for r in results)
        print(
            f"baseline lr {lr:g}: {[round(r.value, 4) for r in results]} after {tokens / 1e6:.1f}M tokens",
            flush=True,
        )
        if best is None or total < best[0]:
            best = (total, results, lr, tokens / 1e6, model.num_layer_parameters())
    assert best is not None
    _, base, lr, base_millions, base_size = best
    seen = {r["stage"]: r["tokens"] for r in RunDir(run).metrics()}
    lines = [
        __doc__.splitlines()[0],
        "",
        f"{seconds:.0f} s of training each; {shape.num_parameters(embeddings=False) / 1e6:.2f}M (ours) and "
        f"{base_size / 1e6:.2f}M (baseline) parameters in the layers, vocabulary {shape.vocab_size}, "
        f"rows of {shape.max_position_embeddings}; "
        f"{', '.join(f'{r.n} {r.name} texts' for r in ours)}.",
        "",
        "| | M tokens | " + " | ".join(r.name for r in ours) + " |",
        "|---|---|" + "---|" * len(ours),
        row(f"nanoGPT-style, AdamW lr {lr:g}", base, base_millions, base),
        row("liaoliao speedrun", ours, sum(seen.values()) / 1e6, base),
        "",
        f"Command: `python benchmarks/bits_per_byte.py --data {' '.join(Path(d).name for d in args.data)} "
        f"--minutes {args.minutes:g} --seed {args.seed} --baseline-lr {' '.join(f'{x:g}' for x in args.baseline_lr)}`; "
        f"torch {torch.__version__}, {torch.get_num_threads()} threads.",
    ]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))
    if args.run is None:
        shutil.rmtree(run.parent)


if __name__ == "__main__":
    main()
