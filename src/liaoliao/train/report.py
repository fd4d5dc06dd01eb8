"""The picture of a run: loss and bits per byte against tokens, and a page of Markdown around it.

write_report(run_dir, title="speedrun", lines=["chosen: depth 4"], table="| task | value | ...")
->  RUN/report.md, RUN/loss.png
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from liaoliao.train.run_dir import RunDir

SMOOTHING = 0.7  # of the drawn loss: an exponential mean over logged steps
BITS: Mapping[str, str] = MappingProxyType({f"bits_per_byte:{lang}": lang for lang in ("en", "zh")})


def write_report(run_dir: RunDir, *, title: str, lines: Sequence[str], table: str = "") -> Path:
    """Write `report.md` beside its pictures; `lines` say what was done, `table` is Markdown."""
    records = list(run_dir.metrics())
    body = [f"# {title}", "", *[f"- {line}" for line in lines], ""]
    if any("loss" in record for record in records):
        draw_curves(records, run_dir.folder / "loss.png")
        body += ["![loss and bits per byte against tokens seen](loss.png)", ""]
    body += [table] if table else []
    path = run_dir.folder / "report.md"
    path.write_text("\n".join(body).rstrip() + "\n", encoding="utf-8")
    return path


def draw_curves(records: Sequence[dict[str, Any]], path: Path) -> None:
    """Two panels over millions of tokens, stages side by side: training loss in nats, bits per byte by language."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    loss_axes, bits_axes = figure.subplots(1, 2)
    bits: dict[str, list[tuple[float, float]]] = defaultdict(list)  # by language, over all stages
    offset = 0.0
    for stage, group in groupby(records, key=lambda record: record["stage"]):
        points = [(offset + record["tokens"] / 1e6, record) for record in group]
        _curve(loss_axes, [(x, r["loss"]) for x, r in points if "loss" in r], stage, smooth=SMOOTHING)
        for x, record in points:
            for key in record.keys() & BITS.keys():
                bits[key].append((x, record[key]))
        offset = max((x for x, _ in points), default=offset)
    for key, label in BITS.items():
        _curve(bits_axes, bits[key], label, marker="o")
    for axes, name in ((loss_axes, "training loss (nats a token)"), (bits_axes, "held-out bits per byte")):
        axes.set_xlabel("million tokens")
        axes.set_title(name)
        axes.grid(alpha=0.3)
        if axes.has_data():
            axes.legend()
    figure.savefig(path, dpi=120)


def _curve(
    axes: Axes, points: Sequence[tuple[float, float]], label: str, *, smooth: float = 0.0, marker: str = ""
) -> None:
    if not points:
        return
    values, mean = [], points[0][1]
    for _, value in points:
        mean = smooth * mean + (1 - smooth) * value
        values.append(mean)
    axes.plot([x for x, _ in points], values, label=label, marker=marker)
