"""Training tokens per second beside `transformers`' Qwen3ForCausalLM with a plain AdamW loop,
both in bf16 (autocast), or in fp32 where the processor has no bf16.

    python benchmarks/train_speed.py            writes benchmarks/results/train_speed.md

The same shapes, vocabulary, rows and tokens a step; whole optimizer steps, ours with Muon and packed documents (one
attention mask a row), theirs with causal rows. Interleaved: one step of each in turn, medians and spread over rounds.
The share of peak is against the machine's own matrix product in that dtype, measured in the same run.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from liaoliao.data.example import Batch
from liaoliao.model.config import ModelConfig
from liaoliao.model.convert import config_to_hf
from liaoliao.model.transformer import Transformer
from liaoliao.train.machine import pick_dtype, prepare_machine
from liaoliao.train.objectives import next_token
from liaoliao.train.optim import OptimConfig, build_optimizers

RESULTS = Path(__file__).parent / "results" / "train_speed.md"
SHAPES = {"10M": (6, 384, 1024), "30M": (8, 576, 1536)}  # layers, width, SwiGLU


@dataclass(frozen=True)
class Timing:
    """Seconds of each measured step."""

    name: str
    seconds: list[float]


def config_of(size: str, vocab_size: int, row_length: int) -> ModelConfig:
    layers, width, inner = SHAPES[size]
    return ModelConfig(
        vocab_size, width, inner, layers, width // 64, width // 64, 64, max_position_embeddings=row_length
    )


def flops_per_token(config: ModelConfig, span: int) -> float:
    """6 per matrix parameter, and causal attention over `span` tokens (Kaplan et al. 2020, table 1)."""
    matrices = config.num_parameters(embeddings=False) + config.vocab_size * config.hidden_size
    return 6 * matrices + 6 * config.num_hidden_layers * config.hidden_size * span


def our_step(config: ModelConfig, token_ids: torch.Tensor, document_length: int) -> Callable[[], None]:
    model = Transformer(config).init_weights(0)
    model.compute_dtype = pick_dtype("auto")
    optimizers = build_optimizers(model, OptimConfig())
    place = torch.arange(token_ids.shape[1]).expand(token_ids.shape)
    weights = torch.ones(token_ids.shape).masked_fill(place % document_length == 0, 0.0)
    batch = Batch(
        token_ids, weights, place // document_length + 1, place % document_length, float(weights.sum())
    )

    def step() -> None:
        loss, _ = next_token(model, batch)
        (loss / batch.num_items).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizers.step()
        optimizers.zero_grad()

    return step


def transformers_step(config: ModelConfig, token_ids: torch.Tensor) -> Callable[[], None]:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    model = Qwen3ForCausalLM(Qwen3Config(**config_to_hf(config)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=pick_dtype("auto") == torch.bfloat16):
            loss = model(input_ids=token_ids, labels=token_ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def peak_gflops(size: int = 2048, rounds: int = 10) -> float:
    """Best matrix product of this machine in the dtype that is trained in."""
    left, right = torch.randn(2, size, size).to(pick_dtype("auto"))
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        left @ right
        times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times) / 1e9


def interleave(steps: dict[str, Callable[[], None]], rounds: int) -> list[Timing]:
    timings = [Timing(name, []) for name in steps]
    for step in steps.values():
        step()  # warm up
    for _ in range(rounds):
        for timing in timings:
            start = time.perf_counter()
            steps[timing.name]()
            timing.seconds.append(time.perf_counter() - start)
    return timings


def row(timing: Timing, num_tokens: int, flops: float, peak: float, base: float) -> str:
    rates = sorted(num_tokens / s for s in timing.seconds)
    median = statistics.median(rates)
    share = median * flops / 1e9 / peak
    return f"| {timing.name} | {median:,.0f} | {rates[0]:,.0f}-{rates[-1]:,.0f} | {median / base:.2f} | {share:.0%} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--tokens", type=int, default=8192, help="tokens a step")
    parser.add_argument("--row-length", type=int, default=512)
    parser.add_argument(
        "--document-length", type=int, default=128, help="ours: packed documents of this many tokens"
    )
    parser.add_argument("--vocab-size", type=int, default=8192)
    parser.add_argument("--out", type=Path, default=RESULTS, help="the file to write")
    args = parser.parse_args()
    prepare_machine()
    torch.manual_seed(0)
    token_ids = torch.randint(0, args.vocab_size, (args.tokens // args.row_length, args.row_length))
    lines = [" ".join(__doc__.splitlines()[:2]), ""]
    for size in SHAPES:
        config = config_of(size, args.vocab_size, args.row_length)
        peak = peak_gflops()
        timings = interleave(
            {
                "transformers + AdamW": transformers_step(config, token_ids),
                "liaoliao": our_step(config, token_ids, args.document_length),
            },
            args.rounds,
        )
        base = statistics.median(args.tokens / s for s in timings[0].seconds)
        lines += [
            f"## {size}: {config.num_parameters(embeddings=False) / 1e6:.1f}M non-embedding parameters",
            "",
        ]
        lines += [
            f"{args.tokens} tokens a step in rows of {args.row_length}, vocabulary {args.vocab_size}; "
            f"{str(pick_dtype('auto')).removeprefix('torch.')} peak {peak:.0f} GFLOP/s",
            "",
        ]
        lines += ["| | tok/s, median | spread | ratio | share of peak |", "|---|---|---|---|---|"]
        for timing, span in zip(timings, (args.row_length, args.document_length), strict=True):
            lines.append(row(timing, args.tokens, flops_per_token(config, span), peak, base))
        lines.append("")
    lines += [
        f"Command: `python benchmarks/train_speed.py --rounds {args.rounds}`; "
        f"torch {torch.__version__}, {torch.get_num_threads()} threads."
    ]
    args.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
