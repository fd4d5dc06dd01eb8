"""The learning-rate factor as a function of progress: warm up, hold, warm down.

factor = warmup_stable_decay(progress=0.01, warmup=0.02, warmdown=0.4)   ->  0.5
"""


def warmup_stable_decay(progress: float, *, warmup: float, warmdown: float, floor: float = 0.0) -> float:
    """Factor in [floor, 1] at `progress` in [0, 1] of a run (Hu et al. 2024, MiniCPM, section 4.1).

    Rises linearly over the first `warmup` of the run, stays at 1, and falls linearly to `floor` over its last `warmdown`.
    """
    if progress < warmup:
        return max(progress / warmup, 1e-3)
    left = (1.0 - progress) / warmdown if warmdown > 0 else 1.0
    return floor + (1.0 - floor) * min(1.0, max(0.0, left))
