"""How many threads this process should compute with.

default_threads()  ->  2 on two cores; 1 with OMP_NUM_THREADS=1
"""

import os
from pathlib import Path


def default_threads() -> int:
    """One a core that this process may use, two hardware threads of a core counted once; OMP_NUM_THREADS limits it."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    smt = Path("/sys/devices/system/cpu/smt/active")
    if smt.is_file() and smt.read_text(encoding="utf-8").strip() == "1":
        cores = max(1, cores // 2)
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(limit)) if limit.isdigit() and int(limit) > 0 else cores
