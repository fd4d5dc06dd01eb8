"""Tokens per second of decoding on a CPU, beside llama.cpp and `transformers`, from the same random weights.

    python benchmarks/decode.py                        all sizes (about 15 minutes); writes benchmarks/results/decode.md
    python benchmarks/decode.py --sizes 110M           one size, printed only
    python benchmarks/decode.py --only alone --dtypes int8

Greedy, one process, interleaved: every round measures each program in turn; ratios are medians over rounds of the ratio to
llama.cpp at the same bits. `error` is the relative error of the logits against the same model in fp32.
Needs llama-cpp-python, built on this machine for this machine (pip install --no-binary llama-cpp-python 'liaoliao[gguf]').
"""

import argparse
import gc
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import llama_cpp
import numpy as np
import torch
from _llama import LlamaCpp, quantize_q4_k_m
from _rates import cell

from liaoliao.engine.cpu.runner import CpuRunner
from liaoliao.engine.runner import BLOCK_SIZE, Row, TorchRunner
from liaoliao.model.checkpoint import load_model, save_checkpoint
from liaoliao.model.config import ModelConfig
from liaoliao.model.gguf import export_gguf
from liaoliao.model.transformer import Transformer
from liaoliao.text.chat_template import ChatTemplate
from liaoliao.text.tokenizer import Tokenizer
from liaoliao.train.machine import pick_dtype

RESULTS = Path(__file__).parent / "results" / "decode.md"
CONTEXT, PROMPT, PREFILL = 640, 16, 512
SIZES = {  # layers, width, SwiGLU, heads, key-value heads, head, vocabulary
    "15M": (6, 384, 1024, 6, 6, 64, 10_240),
    "110M": (12, 768, 2048, 12, 12, 64, 32_000),
    "600M": (28, 1024, 3072, 16, 8, 128, 151_936),
}
RIVALS = {"bf16": "bf16", "int8": "q8_0", "int4": "q4_k_m"}
TASKS = {
    "alone": (1, 96),
    "8 seqs": (8, 24),
    "32 seqs": (32, 12),
    "prefill": (1, PREFILL),
}  # sequences, tokens each


class Contender(Protocol):
    """A program with a model in it."""

    def prefill(self, sequences: int, token_ids: Sequence[int]) -> None:
        """Forget everything, and read the same prompt in so many sequences."""

    def decode(self, steps: int) -> None:
        """Go on with all sequences, each with its likeliest token."""

    def prompt_logits(self, token_ids: Sequence[int]) -> np.ndarray:
        """(T, V) of a text."""

    def close(self) -> None:
        """Give the memory back."""


class Ours:
    def __init__(self, folder: Path, dtype: str, num_threads: int) -> None:
        model = load_model(folder, torch.bfloat16 if dtype == "bf16" else torch.float32)
        self.runner = CpuRunner(model, dtype, num_threads=num_threads, on_progress=print)  # type: ignore[arg-type]
        self.blocks = CONTEXT // BLOCK_SIZE
        self.tokens: list[int] = []
        self.position = 0

    def _table(self, sequence: int) -> range:
        return range(sequence * self.blocks, (sequence + 1) * self.blocks)

    def prefill(self, sequences: int, token_ids: Sequence[int]) -> None:
        rows = [Row(token_ids, 0, self._table(i), 1) for i in range(sequences)]
        self._choose(self.runner.forward(rows))
        self.position = len(token_ids)

    def decode(self, steps: int) -> None:
        for _ in range(steps):
            rows = [Row((token,), self.position, self._table(i), 1) for i, token in enumerate(self.tokens)]
            self._choose(self.runner.forward(rows))
            self.position += 1

    def prompt_logits(self, token_ids: Sequence[int]) -> np.ndarray:
        return self.runner.forward([Row(token_ids, 0, self._table(0), len(token_ids))]).numpy().copy()

    def _choose(self, logits: torch.Tensor) -> None:
        self.tokens = logits.numpy().argmax(-1).tolist()

    def close(self) -> None:
        self.runner.close()


class Llama:
    def __init__(self, path: Path, num_threads: int) -> None:
        self.model = LlamaCpp(path, num_sequences=32, length=CONTEXT, num_threads=num_threads)
        self.tokens: list[int] = []
        self.position = 0

    def prefill(self, sequences: int, token_ids: Sequence[int]) -> None:
        self.model.clear()
        self.tokens = []
        last = len(token_ids) - 1
        for i in range(sequences):
            self.model.decode([(token, p, i, p == last) for p, token in enumerate(token_ids)])
            self.tokens.append(int(self.model.logits(last).argmax()))
        self.position = len(token_ids)

    def decode(self, steps: int) -> None:
        for _ in range(steps):
            self.model.decode([(token, self.position, i, True) for i, token in enumerate(self.tokens)])
            self.tokens = [int(self.model.logits(i).argmax()) for i in range(len(self.tokens))]
            self.position += 1

    def prompt_logits(self, token_ids: Sequence[int]) -> np.ndarray:
        self.model.clear()
        self.model.decode([(token, p, 0, True) for p, token in enumerate(token_ids)])
        return np.stack([self.model.logits(i) for i in range(len(token_ids))])

    def close(self) -> None:
        self.model.close()


class Transformers:
    """`generate` in bf16, or in fp32 where the processor multiplies no bf16; a prefill and then its loop."""

    def __init__(self, folder: Path, num_threads: int) -> None:
        from transformers import AutoModelForCausalLM

        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=pick_dtype("auto"))
        self.num_threads = num_threads
        self.ids = torch.zeros(1, 1, dtype=torch.long)

    def prefill(self, sequences: int, token_ids: Sequence[int]) -> None:
        torch.set_num_threads(self.num_threads)
        self.ids = torch.tensor([list(token_ids)] * sequences)
        if len(token_ids) == PREFILL:
            with torch.inference_mode():
                self.model(self.ids, logits_to_keep=1)

    def decode(self, steps: int) -> None:
        with torch.inference_mode():
            self.model.generate(
                self.ids, min_new_tokens=steps, max_new_tokens=steps, do_sample=False, pad_token_id=0, eos_token_id=None
            )  # fmt: skip

    def prompt_logits(self, token_ids: Sequence[int]) -> np.ndarray:
        with torch.inference_mode():
            logits: np.ndarray = self.model(torch.tensor([list(token_ids)])).logits[0].float().numpy()
            return logits

    def close(self) -> None:
        del self.model


@dataclass
class Measured:
    """Rates of each task, by round, and what else is told of a program."""

    name: str
    size_bytes: int  # of weights that are read for a token
    error: float = float("nan")
    rates: dict[str, list[float]] = field(default_factory=dict)


def make_folder(size: str, folder: Path) -> Path:
    """A checkpoint with random weights, rounded to bf16 so that bf16 is exact everywhere."""
    layers, width, inner, heads, kv_heads, dims, vocab = SIZES[size]
    config = ModelConfig(
        vocab, width, inner, layers, heads, kv_heads, dims, max_position_embeddings=CONTEXT, eos_token_id=0
    )
    path = folder / size
    if not path.exists():
        torch.manual_seed(0)
        model = Transformer(config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.dim() == 1:
                    parameter.uniform_(0.5, 1.5)
                else:
                    parameter.normal_(0.0, 0.02 if "embed" in name else parameter.shape[1] ** -0.5)
        tokenizer = Tokenizer.train(["the cat sat on the mat"] * 4, 300)
        save_checkpoint(path, model.bfloat16(), tokenizer, ChatTemplate(tokenizer), lineage={})
    return path


def make_gguf(folder: Path, dtype: str, num_threads: int) -> Path:
    path = folder.with_name(f"{folder.name}-{dtype}.gguf")
    if not path.exists() and dtype == "q4_k_m":
        quantize_q4_k_m(make_gguf(folder, "bf16", num_threads), path, num_threads)
    elif not path.exists():
        export_gguf(folder, path, name=folder.name, dtype=dtype)  # type: ignore[arg-type]
    return path


def measure(contender: Contender, task: str) -> float:
    """Tokens per second of one task."""
    sequences, count = TASKS[task]
    rng = np.random.default_rng(0)
    prompt = rng.integers(0, 1000, PREFILL if task == "prefill" else PROMPT).tolist()
    time.sleep(0.02)  # let the threads of the one before fall asleep
    start = time.perf_counter()
    contender.prefill(sequences, prompt)
    if task != "prefill":
        start = time.perf_counter()
        contender.decode(count)
    return sequences * count / (time.perf_counter() - start)


def rounds(
    contenders: dict[str, Contender], measured: dict[str, Measured], tasks: Sequence[str], count: int
) -> None:
    for index in range(-1, count):  # the first warms up
        for task in tasks:
            for name, contender in contenders.items():
                rate = measure(contender, task)
                if index >= 0:
                    measured[name].rates.setdefault(task, []).append(rate)


def relative_error(contender: Contender, truth: np.ndarray, token_ids: Sequence[int]) -> float:
    return float(np.linalg.norm(contender.prompt_logits(token_ids) - truth) / np.linalg.norm(truth))


def exact_logits(folder: Path, token_ids: Sequence[int]) -> np.ndarray:
    runner = TorchRunner(load_model(folder), kv_cache_bytes=2**28)
    return runner.forward([Row(token_ids, 0, range(16), len(token_ids))]).numpy()


def compare(
    folder: Path, dtype: str, args: argparse.Namespace, truth: np.ndarray, ids: Sequence[int]
) -> list[Measured]:
    """One of ours beside its rival of the same bits (and `transformers`, with bf16)."""
    gguf = make_gguf(folder, RIVALS[dtype], args.threads)
    makers: dict[str, Callable[[], Contender]] = {}
    if dtype == "bf16" and not args.no_transformers:
        plain = "bf16" if pick_dtype("auto") == torch.bfloat16 else "fp32"
        makers[f"transformers {plain}"] = lambda: Transformers(folder, args.threads)
    makers[f"llama.cpp {RIVALS[dtype]}"] = lambda: Llama(gguf, args.threads)
    makers[f"liaoliao {dtype}"] = lambda: Ours(folder, dtype, args.threads)
    contenders = {name: make() for name, make in makers.items()}
    measured = {name: Measured(name, gguf.stat().st_size) for name in contenders}
    ours = contenders[f"liaoliao {dtype}"]
    assert isinstance(ours, Ours)
    measured[f"liaoliao {dtype}"].size_bytes = ours.runner.bytes_per_token
    for name, contender in contenders.items():
        measured[name].error = relative_error(contender, truth, ids)
    rounds(contenders, measured, args.only or list(TASKS), args.rounds)
    for contender in contenders.values():
        contender.close()
    del ours, contenders
    gc.collect()
    return list(measured.values())


def read_bandwidth(num_threads: int) -> float:
    """Bytes per second that the cores read from memory, the best of some passes."""
    torch.set_num_threads(num_threads)
    numbers = torch.ones(2**28)  # 1 GiB
    times = []
    for _ in range(7):
        start = time.perf_counter()
        numbers.sum()
        times.append(time.perf_counter() - start)
    return numbers.nbytes / min(times)


def table(groups: Sequence[Sequence[Measured]], tasks: Sequence[str], bandwidth: float) -> Iterator[str]:
    heads = [f"{task}, tok/s | ratio" for task in tasks]
    yield f"| | MB | error | {' | '.join(heads)} | share of bandwidth, alone |"
    yield "|---|---|---|" + "---|---|" * len(tasks) + "---|"
    for group in groups:
        rival = next(one for one in group if one.name.startswith("llama"))
        for one in group:
            cells = [cell(one.rates[task], rival.rates[task]) for task in tasks]
            share = (
                statistics.median(one.rates["alone"]) * one.size_bytes / bandwidth if "alone" in tasks else 0
            )
            yield f"| {one.name} | {one.size_bytes / 1e6:.0f} | {one.error:.4f} | {' | '.join(cells)} | {share:.0%} |"


def report(size: str, folder: Path, args: argparse.Namespace) -> list[str]:
    model_folder = make_folder(size, folder)
    ids = np.random.default_rng(1).integers(0, 1000, 64).tolist()
    truth = exact_logits(model_folder, ids)
    groups = [compare(model_folder, dtype, args, truth, ids) for dtype in args.dtypes or RIVALS]
    bandwidth = read_bandwidth(args.threads)
    lines = [
        f"## {size}",
        "",
        f"{SIZES[size][0]} layers, width {SIZES[size][1]}, vocabulary {SIZES[size][-1]}; ",
    ]
    lines[-1] += f"memory reads {bandwidth / 1e9:.0f} GB/s"
    return [*lines, "", *table(groups, args.only or list(TASKS), bandwidth), ""]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", choices=SIZES)
    parser.add_argument("--dtypes", nargs="+", choices=RIVALS)
    parser.add_argument("--only", nargs="+", choices=TASKS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--folder", type=Path, help="keep the models here")
    parser.add_argument("--no-transformers", action="store_true")
    parser.add_argument("--out", type=Path, help="write here", default=None)
    return parser.parse_args()


def main() -> None:
    args = arguments()
    lines = [str(__doc__).splitlines()[0], ""]
    with tempfile.TemporaryDirectory() as temporary:
        for size in args.sizes or SIZES:
            lines += report(size, args.folder or Path(temporary), args)
            print("\n".join(lines[-10:]), flush=True)
    lines += [
        f"Command: `python benchmarks/decode.py --rounds {args.rounds} --threads {args.threads}`; torch "
        f"{torch.__version__}, llama-cpp-python {llama_cpp.__version__} ({build_flags()}). Medians (least-most); a "
        "ratio is the median over rounds to llama.cpp at the same bits."
    ]
    if out := args.out or (None if args.sizes or args.dtypes or args.only else RESULTS):
        out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def build_flags() -> str:
    info = llama_cpp.llama_print_system_info().decode()
    return ", ".join(
        part.split("=")[0].strip().removeprefix("CPU : ") for part in info.split("|") if "= 1" in part
    )


if __name__ == "__main__":
    main()
