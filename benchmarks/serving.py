"""Time to the first token and between tokens over HTTP: our server beside llama-cpp-python's, on the same weights.

    pip install 'llama-cpp-python[server]'
    python benchmarks/serving.py                writes benchmarks/results/serving.md
    python benchmarks/serving.py --llama-server PATH    with llama.cpp's own server as a third

Both run all the while, on loopback, with as many threads as there are cores; a round asks each of them in turn at every
number of clients, so whatever else the machine does falls on all. A client streams a chat: a prompt of its own, a
greedy reply of fixed length. Weights are random, and only words of plain letters can win, so that no
reply ends early and every token can be seen on the wire.
"""

import argparse
import asyncio
import importlib.metadata
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path

import torch

from liaoliao.errors import UsageError
from liaoliao.model.checkpoint import save_checkpoint
from liaoliao.model.config import ModelConfig
from liaoliao.model.gguf import export_gguf
from liaoliao.model.transformer import Transformer
from liaoliao.text.chat_template import ChatTemplate
from liaoliao.text.tokenizer import Tokenizer
from liaoliao.town import build_town, documents

RESULTS = Path(__file__).parent / "results" / "serving.md"
SHAPES = {"15M": (6, 6_144), "110M": (12, 20_480), "600M": (22, 36_864)}  # depth, vocabulary
SLOW = {"600M"}  # measured in one round, of short replies: an hour otherwise
CONTEXT = 512
PROMPT_WORDS = 100


@dataclass
class Measured:
    """What the clients of one server saw, over all rounds. Times in seconds."""

    first: list[float] = field(default_factory=list)
    between: list[float] = field(default_factory=list)
    num_tokens: int = 0
    busy_s: float = 0.0


@dataclass(frozen=True)
class Server:
    """A server that is up: its name in the table, where it is, and its name for the model."""

    name: str
    port: int
    model: str


# ---------------------------------------------------------------- the model


def shape_of(size: str) -> ModelConfig:
    """Output weights of its own: a model that shares them with its embeddings would repeat its last word."""
    depth, vocab_size = SHAPES[size]
    return ModelConfig.from_depth(
        depth, vocab_size, max_position_embeddings=CONTEXT, tie_word_embeddings=False
    )


def make_model(folder: Path, size: str) -> Tokenizer:
    """Random weights in which only tokens of plain letters can be the likeliest."""
    tokenizer = Tokenizer.train(islice(documents(build_town(0), "en", random.Random(0)), 2000), 4096)
    config = shape_of(size)
    model = Transformer(config).init_weights(0)
    with torch.no_grad():
        for parameter in model.parameters():  # layers start as the identity: give them something to do
            if parameter.dim() == 2 and not bool(parameter.any()):
                parameter.normal_(0.0, parameter.shape[1] ** -0.5)
        seen = torch.tensor([tokenizer.token_bytes(i).strip().isalpha() for i in range(tokenizer.vocab_size)])
        model.output_weight[: len(seen)][~seen] = 0.0
        model.output_weight[len(seen) :] = 0.0
    save_checkpoint(
        folder, model, tokenizer, ChatTemplate(tokenizer), lineage={"recipe": "benchmark"}, generation={}
    )
    return tokenizer


def prompts(tokenizer: Tokenizer, count: int, seed: int) -> list[str]:
    """Texts that have nothing in common, so that no cache of prompts helps."""
    draw = random.Random(seed)
    words = [tokenizer.decode([i]).strip() for i in range(256, tokenizer.vocab_size)]
    words = [word for word in words if word.isalpha() and len(word) > 2]
    return [" ".join(draw.choices(words, k=PROMPT_WORDS)) for _ in range(count)]


# ---------------------------------------------------------------- the servers


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def running(name: str, command: Callable[[int], Sequence[str]], log: Path) -> Iterator[Server]:
    """Start a server, wait until it lists its model, and stop it at the end."""
    port = free_port()
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(command(port), stdout=file, stderr=subprocess.STDOUT)
    try:
        yield Server(name, port, _model_name(port, process, log))
    finally:
        process.terminate()
        process.wait(timeout=60)


def _model_name(port: int, process: "subprocess.Popen[bytes]", log: Path) -> str:
    for _ in range(1200):
        if process.poll() is not None:
            raise UsageError(f"the server stopped at once:\n{log.read_text(encoding='utf-8')[-2000:]}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=5) as answer:
                return str(json.load(answer)["data"][0]["id"])
        except (OSError, ValueError):
            time.sleep(0.25)
    raise UsageError(f"no answer from port {port}; see {log}")


def ours(folder: Path, dtype: str) -> Callable[[int], Sequence[str]]:
    command = [
        sys.executable,
        "-m",
        "liaoliao",
        "serve",
        str(folder),
        "--no-page",
        "--dtype",
        dtype,
        "--port",
    ]
    return lambda port: [*command, str(port)]


def llama_cpp_python(file: Path, threads: int) -> Callable[[int], Sequence[str]]:
    options = {
        "model": file, "n_ctx": CONTEXT, "n_threads": threads, "n_threads_batch": threads,
        "logits_all": False, "verbose": False,
        "interrupt_requests": False,  # by default a new request cuts the running one short
    }  # fmt: skip
    words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    return lambda port: [sys.executable, "-m", "llama_cpp.server", *words, "--port", str(port)]


def llama_server(binary: Path, file: Path, threads: int, clients: int) -> Callable[[int], Sequence[str]]:
    words = ["-m", file, "-c", CONTEXT * clients, "-np", clients, "-t", threads, "--jinja", "--no-webui"]
    return lambda port: [str(binary), *map(str, words), "--port", str(port)]


# ---------------------------------------------------------------- the clients


async def chat(server: Server, prompt: str, max_tokens: int, into: Measured) -> None:
    """One streamed reply, timed as its pieces arrive; a plain socket costs the two cores least."""
    body = {
        "model": server.model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": max_tokens,
        "temperature": 0,
        "stream": True,
    }
    data = json.dumps(body).encode("utf-8")
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nConnection: close\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    start = time.perf_counter()
    writer.write(head.encode("ascii") + data)
    status = await reader.readline()
    if b" 200 " not in status:
        raise UsageError(f"{server.name} answered {(status + await reader.read(2000)).decode()}")
    arrivals = [at async for at in _arrivals(reader)]
    writer.close()
    if len(arrivals) < 0.9 * max_tokens:
        raise UsageError(f"{server.name} sent {len(arrivals)} pieces of {max_tokens} tokens")
    into.first.append(arrivals[0] - start)
    into.between += [later - earlier for earlier, later in pairwise(arrivals)]
    into.num_tokens += len(arrivals)


async def _arrivals(reader: asyncio.StreamReader) -> AsyncIterator[float]:
    while line := await reader.readline():
        if not line.startswith(b"data: ") or line.startswith(b"data: [DONE]"):
            continue
        choices = json.loads(line[6:])["choices"]
        if choices and choices[0]["delta"].get("content"):
            yield time.perf_counter()


async def load(server: Server, texts: Sequence[str], clients: int, max_tokens: int, into: Measured) -> None:
    """All texts by so many clients, each asking again as soon as it has its answer."""
    waiting = iter(texts)

    async def client() -> None:
        for text in waiting:
            await chat(server, text, max_tokens, into)

    start = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    into.busy_s += time.perf_counter() - start


# ---------------------------------------------------------------- the table


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def row(clients: int, name: str, seen: Measured) -> str:
    times = [
        f"{1000 * percentile(values, share):,.1f}"
        for values in (seen.first, seen.between)
        for share in (0.5, 0.95)
    ]
    return f"| {clients} | {name} | {' | '.join(times)} | {seen.num_tokens / seen.busy_s:,.0f} |"


def measure(size: str, args: argparse.Namespace, work: Path) -> list[str]:
    folder, file = work / size, work / f"{size}.gguf"
    tokenizer = make_model(folder, size)
    export_gguf(folder, file, name=size, dtype="bf16")
    threads = os.cpu_count() or 1
    commands = {"liaoliao": ours(folder, "bf16"), "llama-cpp-python": llama_cpp_python(file, threads)}
    if args.llama_server is not None:
        commands["llama-server"] = llama_server(args.llama_server, file, threads, max(args.clients))
    seen = {(clients, name): Measured() for clients in args.clients for name in commands}
    rounds, max_tokens = (1, args.max_tokens // 4) if size in SLOW else (args.rounds, args.max_tokens)
    with ExitStack() as stack:
        servers = [stack.enter_context(running(n, c, work / f"{size}-{n}.log")) for n, c in commands.items()]
        for turn in range(-1, rounds):  # the first is to warm up
            for number, clients in enumerate(args.clients):
                texts = prompts(tokenizer, max(clients, args.requests), seed=1000 * turn + number)
                for server in servers:
                    into = seen[clients, server.name] if turn >= 0 else Measured()
                    asyncio.run(load(server, texts, clients, max_tokens, into))
    lines = ["| clients | server | first p50 | first p95 | between p50 | between p95 | tokens/s |"]
    lines += ["|---|---|---|---|---|---|---|"]
    lines += [row(clients, name, measured) for (clients, name), measured in seen.items()]
    num_words = statistics.mean(len(tokenizer.encode(text)) for text in texts)
    parameters = shape_of(size).num_parameters()
    about = f"## {size}: {parameters / 1e6:.0f}M parameters, bf16"
    how = f"Prompts of {num_words:.0f} tokens on average, replies of {max_tokens}, rounds: {rounds}; times in ms."
    return [about, "", how, "", *lines, ""]


def version(package: str) -> str:
    return f"{package} {importlib.metadata.version(package)}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--clients", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=4, help="in a round, at least")
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--llama-server", type=Path, help="llama.cpp's own server, to measure too")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the file to write")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are stopped then, too
    lines = [__doc__.splitlines()[0], ""]
    with tempfile.TemporaryDirectory() as work:
        for size in args.sizes:
            lines += measure(size, args, Path(work))
    lines += [
        "Greedy. llama-cpp-python's server answers one request at a time, the others wait.",
        "",
        f"Command: `python benchmarks/serving.py --rounds {args.rounds}"
        f"{' --llama-server PATH' if args.llama_server else ''}`; {version('llama-cpp-python')}, "
        f"torch {torch.__version__}, {os.cpu_count()} cores.",
    ]
    args.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
