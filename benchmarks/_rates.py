"""How the benchmarks tell of rates that were measured in interleaved rounds."""

import statistics
from collections.abc import Sequence


def cell(rates: Sequence[float], base: Sequence[float]) -> str:
    """Two cells of a table: the median (least-most), and the median over rounds of the ratio to what is compared with."""
    ratio = statistics.median(a / b for a, b in zip(rates, base, strict=True))
    return f"{statistics.median(rates):,.0f} ({min(rates):,.0f}-{max(rates):,.0f}) | {ratio:.2f}"
