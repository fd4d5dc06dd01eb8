"""From a model folder to a runner: which code computes it, and in which numbers.

    load_runner(Path("runs/7/model"))                   on a CPU: CpuRunner in bf16; on a GPU: GraphRunner in bf16
    load_runner(Path("runs/7/model"), dtype="int8")     CpuRunner; a quarter of fp32's bytes, and about as exact as bf16
    load_runner(Path("runs/7/model"), dtype="fp32")     TorchRunner, the reference

fp32 is what the weights are; the others trade exactness for speed, which on a CPU is a matter of bytes read per token.
"""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

import torch

from liaoliao.engine.graph_runner import GraphRunner
from liaoliao.engine.runner import Runner, TorchRunner
from liaoliao.errors import UsageError
from liaoliao.model.checkpoint import load_config, load_model
from liaoliao.model.config import ModelConfig

RunnerDtype = Literal["auto", "fp32", "bf16", "int8", "int4"]
OnProgress = Callable[[str], None]


def load_runner(
    folder: Path,
    *,
    dtype: RunnerDtype = "auto",
    device: str = "auto",
    kv_cache_bytes: int | None = None,
    num_threads: int | None = None,
    on_progress: OnProgress = lambda line: None,
) -> Runner:
    """The fastest runner for a folder's model on this machine, or in the dtype that is asked for.

    `auto` is bf16, or fp32 where a CPU model's shape does not fit the tiles of the fast path, or Numba is missing.
    `num_threads` is the fast path's business. Its kernels are compiled once on a machine, which `on_progress` tells. Raises
    UsageError for a dtype or device that cannot be had, with the reason, and CheckpointError for a damaged folder.
    """
    if dtype not in get_args(RunnerDtype):
        raise UsageError(f"dtype must be one of {', '.join(get_args(RunnerDtype))}, not {dtype!r}")
    target = pick_device(device)
    why_not = _why_no_fast_path(load_config(folder), target)
    if dtype in ("int8", "int4") and why_not:
        raise UsageError(f"{dtype} is not possible here: {why_not}; use bf16 or fp32")
    if dtype == "fp32" or why_not:
        on_gpu = target.type != "cpu"
        plain = torch.bfloat16 if dtype == "bf16" or (dtype == "auto" and on_gpu) else torch.float32
        model = load_model(folder, plain).to(target)
        runner = GraphRunner if target.type == "cuda" else TorchRunner
        return runner(model, kv_cache_bytes=kv_cache_bytes)
    from liaoliao.engine.cpu.runner import CpuRunner

    kind = "bf16" if dtype == "auto" else dtype
    model = load_model(folder, torch.bfloat16 if kind == "bf16" else torch.float32)
    return CpuRunner(
        model, kind, kv_cache_bytes=kv_cache_bytes, num_threads=num_threads, on_progress=on_progress
    )


def pick_device(name: str) -> torch.device:
    """`auto` is a GPU where there is one. Raises UsageError for a device that is unknown or missing."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"the device {name!r} cannot be used: {str(error).splitlines()[0]}") from error
    return device


def _why_no_fast_path(config: ModelConfig, device: torch.device) -> str | None:
    if device.type != "cpu":
        return f"the fast path is for CPUs, and the device is {device}"
    if sys.platform == "win32":
        return "the fast path needs Linux or macOS"
    if importlib.util.find_spec("numba") is None:
        return "Numba is not installed (pip install numba)"
    from liaoliao.engine.cpu.weights import unfit

    return unfit(config)
