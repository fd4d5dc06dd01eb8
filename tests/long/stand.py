"""The server under test: a tiny model with random weights, in a process of its own on a free port of loopback.

with server(folder) as stand:
    stand.url, stand.model, stand.rss_bytes()
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from liaoliao.model.checkpoint import save_checkpoint
from liaoliao.model.config import ModelConfig
from liaoliao.model.transformer import Transformer
from liaoliao.text.chat_template import ChatTemplate
from liaoliao.text.tokenizer import Tokenizer
from tests.long.client import Client, LostError

NAME = "tiny"
CONTEXT = 512
START_S = 300.0
_TEXTS = ["The cat sat on the mat, and two and three are five. ", "猫坐在垫子上，二加三等于五。你好！"] * 40


@dataclass(frozen=True)
class Stand:
    """A server that answers."""

    url: str
    model: str
    pid: int
    log: Path

    def rss_bytes(self) -> int:
        """Memory of the process that is not swapped out."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text(encoding="utf-8").split()[1])
        return pages * 4096

    async def figures(self) -> dict[str, float]:
        """The gauges and counters of the engine, without their labels."""
        async with Client(self.url) as client:
            reply = await client.ask("GET", "/metrics")
        lines = [line for line in reply.body.decode().splitlines() if f'{{model="{self.model}"}}' in line]
        pairs = [line.split() for line in lines]
        return {name.partition("{")[0].removeprefix("liaoliao_"): float(value) for name, value in pairs}

    async def idle(self, within_s: float) -> bool:
        """Wait until no request runs or waits and none holds a block."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            figures = await self.figures()
            if not (figures["running"] or figures["waiting"] or figures["kv_blocks_used"]):
                return True
            await asyncio.sleep(0.05)
        return False


def make_model(folder: Path, *, depth: int = 2, vocab_size: int = 512) -> Path:
    """A folder with random weights, which says a bit of everything and ends by length."""
    tokenizer = Tokenizer.train(_TEXTS, vocab_size)
    config = ModelConfig.from_depth(depth, vocab_size, max_position_embeddings=CONTEXT)
    model = Transformer(config).init_weights(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:  # fresh layers are the identity, and would repeat the last token
                parameter.normal_(0.0, 0.08)
    save_checkpoint(
        folder / NAME, model, tokenizer, ChatTemplate(tokenizer), lineage={"recipe": "stand"}, generation={}
    )
    return folder / NAME


@contextmanager
def server(*flags: str, depth: int = 2) -> Iterator[Stand]:
    """Make a model, serve it, and end the process at last."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = make_model(Path(temporary), depth=depth)
        log = Path(temporary) / "server.log"
        command = [sys.executable, "-m", "liaoliao", "serve", str(folder), "--port", "0", *flags]
        with log.open("w", encoding="utf-8") as out:
            process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        try:
            url = ready_url(process, log)
            said = len(log.read_text(encoding="utf-8"))
            yield Stand(url, NAME, process.pid, log)
            if process.poll() is not None:
                raise SystemExit(f"the server is gone:\n{_tail(log)}")
            if more := log.read_text(encoding="utf-8")[said:]:
                print(f"the server said:\n{more[-4000:]}")
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


def ready_url(process: "subprocess.Popen[bytes]", log: Path) -> str:
    """Where the server answers, as soon as it says so in its log."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text(encoding="utf-8").splitlines():
            if line.startswith("ready on "):
                return line.split()[2]
        time.sleep(0.1)
    raise SystemExit(f"the server did not start:\n{_tail(log)}")


def _tail(log: Path) -> str:
    return log.read_text(encoding="utf-8")[-2000:]


async def answers(url: str, model: str) -> bool:
    """Whether a small request is answered now."""
    try:
        async with Client(url, timeout_s=10) as client:
            body = {"model": model, "prompt": "hi", "max_tokens": 1}
            return (await client.ask("POST", "/v1/completions", body)).status == 200
    except LostError:
        return False


class Verdict:
    """What a run found: figures to print, and promises that were not kept."""

    def __init__(self) -> None:
        self.broken: list[str] = []

    def check(self, kept: bool, promise: str) -> None:
        """Print a promise and whether it was kept."""
        print(f"{'ok  ' if kept else 'FAIL'}  {promise}", flush=True)
        if not kept:
            self.broken.append(promise)

    def leave(self) -> None:
        """End the program, with 1 where a promise was broken."""
        raise SystemExit(1 if self.broken else 0)
