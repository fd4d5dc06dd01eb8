import json
from pathlib import Path

from rich.console import Console

from liaoliao.tasks.report import eval_json, markdown, samples_markdown, table, write_eval
from liaoliao.tasks.task import Sample, TaskResult

RESULTS = [
    TaskResult(
        "town:facts:en", "accuracy", 0.915, 0.0125, 500, (Sample("Who\n bakes?", "Mira.", "Tavi", 0.0),)
    ),
    TaskResult("text:zh", "bits_per_byte", 2.34567, 0.01234, 70, details={"bytes": 123456.0, "chance": 0.25}),
]


def test_eval_json_has_the_promised_form(tmp_path: Path) -> None:
    write_eval(RESULTS, tmp_path / "eval.json")
    read = json.loads((tmp_path / "eval.json").read_text(encoding="utf-8"))
    assert read == eval_json(RESULTS)
    assert read["tasks"]["town:facts:en"] == {
        "metric": "accuracy",
        "value": 0.915,
        "stderr": 0.0125,
        "n": 500,
    }
    assert list(read["tasks"]) == ["town:facts:en", "text:zh"]


def test_tables_say_the_same() -> None:
    shown = markdown(RESULTS)
    assert "| town:facts:en | accuracy | 91.5 ± 1.2 % | 500 |" in shown
    assert "| text:zh | bits_per_byte | 2.3457 ± 0.0123 | 70 | bytes 123,456, chance 0.25 |" in shown
    console = Console(width=120)
    with console.capture() as capture:
        console.print(table(RESULTS))
    for cell in ("town:facts:en", "91.5 ± 1.2 %", "2.3457 ± 0.0123", "500"):
        assert cell in capture.get()


def test_samples_are_one_line_each() -> None:
    shown = samples_markdown(RESULTS)
    assert "`town:facts:en` ✗ Who bakes? → Mira." in shown
    assert "(expected: Tavi)" in shown
    assert samples_markdown(RESULTS[1:]) == ""
