"""What this machine offers a run: threads, memory behaviour and the dtype to compute in.

prepare_machine();  pick_dtype("auto")  ->  torch.bfloat16 on a CPU that multiplies it (AVX-512 or AMX), else torch.float32
"""

import ctypes
import platform
from pathlib import Path
from typing import Literal

import torch

from liaoliao.engine.threads import default_threads
from liaoliao.errors import ConfigError

DtypeName = Literal["auto", "fp32", "bf16"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc


def prepare_machine() -> None:
    """Let PyTorch compute with all cores, and keep freed memory inside the process.

    A model that was loaded to be talked to has set PyTorch to a single thread (`engine/cpu/runner.py`). And glibc gives
    every activation back to the kernel and faults it in again at the next step, which costs 15 to 30% of a CPU training
    step; elsewhere than on glibc that is left as it is.
    """
    torch.set_num_threads(default_threads())
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_THRESHOLD, 2**30)
    libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def pick_dtype(name: DtypeName) -> torch.dtype:
    """The dtype to train in. `auto` takes bf16 where the processor multiplies it natively: training stays on the CPU, also
    where there is a GPU.
    """
    if name == "fp32":
        return torch.float32
    if name == "bf16":
        return torch.bfloat16
    if name != "auto":
        raise ConfigError(f"dtype must be auto, fp32 or bf16, not {name!r}")
    return torch.bfloat16 if _cpu_has_bf16() else torch.float32


def _cpu_has_bf16() -> bool:
    """Linux lists processor features; elsewhere fp32 is the safe choice."""
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.is_file() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags
