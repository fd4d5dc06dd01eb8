"""What prompt-lookup drafts bring: tokens per second of greedy replies with and without, alone and together.

    python benchmarks/drafts.py MODEL           a model that was trained on the town; writes benchmarks/results/drafts.md

Random weights would not do: they repeat themselves, and every draft comes true. The model answers questions of the town
(short replies), says a text of its prompt again, and goes on with documents it has not seen. Interleaved: every round
measures each number of drafts in turn; ratios are medians over rounds of the ratio to no drafts.
"""

import argparse
import os
import random
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import torch
from _rates import cell

from liaoliao.chat.assistant import Assistant, load
from liaoliao.engine.engine import Engine
from liaoliao.engine.request import Request, SamplingParams
from liaoliao.town import KINDS, LANGS, build_town, documents, questions

RESULTS = Path(__file__).parent / "results" / "drafts.md"
TOGETHER = (1, 8, 32)
GREEDY = SamplingParams(temperature=0.0, max_tokens=96)


def workloads(assistant: Assistant, count: int) -> dict[str, list[Request]]:
    """Requests by what they are like."""
    texts = [
        text
        for lang in LANGS
        for text in islice(documents(build_town(), lang, random.Random(77)), count // len(LANGS))
    ]
    each = 1 + count // len(KINDS) // len(LANGS)
    asked = [
        question.messages
        for lang in LANGS
        for kind in KINDS
        for question in questions(build_town(), kind, lang, num=each, seed=7)
    ]
    end, encode = assistant.tokenizer.end_of_text_id, assistant.tokenizer.encode
    begun = [[end, *encode(text)[:40]] for text in texts]
    again = [[end, *encode(text)[:100], end, *encode(text)[:12]] for text in texts]
    return {
        "answers": [assistant.turn(messages, temperature=0.0).request() for messages in asked[:count]],
        "a text said again": [Request(tuple(ids), GREEDY) for ids in again],
        "documents": [Request(tuple(ids), GREEDY) for ids in begun],
    }


def rate(engine: Engine, requests: Sequence[Request]) -> float:
    """Tokens per second, reading the prompts included."""
    start = time.perf_counter()
    replies = engine.generate(requests)
    return sum(len(reply.token_ids) for reply in replies) / (time.perf_counter() - start)


def measure(
    assistant: Assistant, requests: Sequence[Request], drafts: Sequence[int], rounds: int
) -> list[str]:
    """A row for each number of drafts: rates and ratios by how many run together, and how many drafts came true."""
    runner, rates = assistant.engine.runner, dict[tuple[int, int], list[float]]()
    engines = {
        (each, together): Engine(runner, max_running=together, prefix_cache=False, speculate=each)
        for together in TOGETHER
        for each in drafts
    }
    for index in range(-1, rounds):  # the first warms up
        for key, engine in engines.items():
            seen = rate(engine, requests)
            if index >= 0:
                rates.setdefault(key, []).append(seen)
    rows = []
    for each in drafts:
        stats = engines[each, 1].stats()
        came_true = f"{stats.accepted / stats.speculated:.0%}" if stats.speculated else ""
        cells = [cell(rates[each, together], rates[drafts[0], together]) for together in TOGETHER]
        rows.append(f"| {each} | {came_true} | {' | '.join(cells)} |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default="current", help="a folder or a registered name")
    parser.add_argument(
        "--drafts",
        type=int,
        nargs="+",
        default=[0, 2, 4, 8],
        help="held against the first",
    )
    parser.add_argument("--requests", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the file to write")
    args = parser.parse_args()
    assistant = load(args.model, dtype=args.dtype, on_progress=print)
    lines = [__doc__.splitlines()[0], ""]
    for name, requests in workloads(assistant, args.requests).items():
        heads = " | ".join(f"{together} at once, tok/s | ratio" for together in TOGETHER)
        lines += [
            f"## {name}",
            "",
            f"| drafts | came true | {heads} |",
            "|---|---|" + "---|---|" * len(TOGETHER),
        ]
        lines += [*measure(assistant, requests, args.drafts, args.rounds), ""]
        print("\n".join(lines[-len(args.drafts) - 5 :]), flush=True)
    lines.append(
        f"Command: `python benchmarks/drafts.py MODEL --rounds {args.rounds}`, a vocabulary of "
        f"{assistant.engine.vocab_size:,}; dtype {args.dtype}, torch {torch.__version__}, {os.cpu_count()} cores. "
        "Medians (least-most)."
    )
    args.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
