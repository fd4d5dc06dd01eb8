"""Results for programs and for people: eval.json, a table in the terminal, a table in Markdown.

Place in the flow: task results -> **report** -> eval.json, terminal, report.md.

    eval_json(results)  ->  {"tasks": {"town:facts:en": {"metric": "accuracy", "value": 0.91, "stderr": 0.01,
    "n": 500}}}
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.table import Table

from liaoliao.config import save_json
from liaoliao.tasks.task import TaskResult


def eval_json(results: Iterable[TaskResult]) -> dict[str, Any]:
    """The results as JSON values."""
    return {
        "tasks": {
            r.name: {"metric": r.metric, "value": r.value, "stderr": r.stderr, "n": r.n} for r in results
        }
    }


def write_eval(results: Iterable[TaskResult], path: Path) -> None:
    """Write eval.json, in one move."""
    save_json(eval_json(results), path)


def table(results: Iterable[TaskResult]) -> Table:
    """A table for the terminal."""
    out = Table("task", "metric", title=None, header_style="bold")
    out.add_column("value", justify="right")
    out.add_column("n", justify="right")
    out.add_column("also", style="dim")
    for row in _rows(results):
        out.add_row(*row)
    return out


def line(result: TaskResult) -> str:
    """One result in a line: `town:facts:en: accuracy 93.2 ± 1.1 %`."""
    return f"{result.name}: {result.metric} {_value(result)}"


def markdown(results: Iterable[TaskResult]) -> str:
    """The same table in Markdown."""
    rows = [("task", "metric", "value", "n", "also"), ("---", "---", "---:", "---:", "---"), *_rows(results)]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n" for row in rows)


def samples_markdown(results: Iterable[TaskResult], *, most: int = 3) -> str:
    """A few questions of each task with the reply and what was expected, for a person to read."""
    lines = []
    for result in results:
        for sample in result.samples[:most]:
            mark = "✓" if sample.score == 1 else "✗"
            lines.append(f"- `{result.name}` {mark} {_one_line(sample.prompt)} → {_one_line(sample.reply)}")
            lines.append(f"  (expected: {_one_line(sample.expected)})")
    return "\n".join(lines) + "\n" if lines else ""


def _rows(results: Iterable[TaskResult]) -> list[tuple[str, str, str, str, str]]:
    return [(r.name, r.metric, _value(r), str(r.n), _details(r)) for r in results]


def _value(result: TaskResult) -> str:
    """Shares in percent, other figures as they are."""
    if result.metric in ("accuracy", "f1"):
        return f"{100 * result.value:.1f} ± {100 * result.stderr:.1f} %"
    return f"{result.value:.4f} ± {result.stderr:.4f}"


def _details(result: TaskResult) -> str:
    return ", ".join(f"{name} {_figure(value)}" for name, value in result.details.items())


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:.4g}"


def _one_line(text: str, most: int = 200) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= most else flat[: most - 1] + "…"
