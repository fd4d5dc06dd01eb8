"""What it costs a run to be asked for samples while it trains.

    python benchmarks/samples.py --seconds 150      writes benchmarks/results/samples.md

A pretraining stage on the town with the defaults of a speedrun, for so many seconds at each depth; then the time that
was spent on samples, as a share of the time the optimizer steps took.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch

from liaoliao.model.transformer import Transformer
from liaoliao.recipes.corpus import Corpus
from liaoliao.recipes.run import model_shape
from liaoliao.recipes.samples import SAMPLE_EVERY_S, SAMPLE_SHARE, Samples
from liaoliao.recipes.stage import StageConfig, start_state
from liaoliao.recipes.town_corpus import town_corpus
from liaoliao.train.hooks import KeepToDeadline, WithinShare
from liaoliao.train.loop import TrainState, train
from liaoliao.train.machine import prepare_machine
from liaoliao.train.objectives import next_token
from liaoliao.train.run_dir import RunDir

RESULTS = Path(__file__).parent / "results" / "samples.md"
HEAD = """\
| depth | parameters | tokens/s | training, s | times asked | asking once, s | share of the time |
|---|---:|---:|---:|---:|---:|---:|
"""


def measure(depth: int, corpus: Corpus, folder: Path, seconds: float) -> str:
    """Train for so long, and how much of it went into samples."""
    shape = model_shape(corpus, depth, 512)
    config = StageConfig(
        "pretrain", dict(corpus.pretrain), row_length=512, tokens_per_step=4096, tokens_per_microbatch=4096
    )
    state: TrainState = start_state(config, Transformer(shape).init_weights(0), corpus)
    samples = Samples("pretrain", tuple(config.streams), corpus, RunDir(folder))
    asking = WithinShare(SAMPLE_SHARE, SAMPLE_EVERY_S, samples)
    hooks = [KeepToDeadline(time.monotonic() + seconds), asking]
    train(state, next_token, schedule=lambda progress: 1.0, hooks=hooks)
    times = len({sample["step"] for sample in RunDir(folder).samples()})
    return (
        f"| {depth} | {shape.num_parameters() / 1e6:.1f}M | {state.num_tokens / state.elapsed_s:,.0f} | "
        f"{state.elapsed_s:.0f} | {times} | {asking.spent_s / times:.2f} | {asking.spent_s / state.elapsed_s:.2%} |\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=150.0)
    parser.add_argument("--depths", type=int, nargs="+", default=[4, 6])
    args = parser.parse_args()
    prepare_machine()
    rows = ""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus = town_corpus(folder / "data", num_tokens=500_000, vocab_size=4096, seed=0)
        for depth in args.depths:
            run = folder / str(depth)
            run.mkdir()
            rows += measure(depth, corpus, run, args.seconds)
            print(rows.splitlines()[-1], flush=True)
    command = (
        f"python benchmarks/samples.py --seconds {args.seconds:g} --depths {' '.join(map(str, args.depths))}"
    )
    about = f"`{command}`, {torch.get_num_threads()} threads; the last time asked is after the last step, whatever it costs"
    RESULTS.write_text(f"# Samples while training\n\n{about}\n\n{HEAD}{rows}", encoding="utf-8")


if __name__ == "__main__":
    main()
