"""The report of a run: a page and a picture, also of a run that has hardly begun."""

from pathlib import Path

from matplotlib import image

from liaoliao.train.report import write_report
from liaoliao.train.run_dir import RunDir


def test_a_report_has_its_words_its_table_and_a_picture_that_is_not_blank(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    for stage in ("pretrain", "sft"):
        for step in range(1, 6):
            run_dir.log(stage=stage, step=step, tokens=1000 * step, loss=5.0 / step)
        run_dir.log(stage=stage, step=5, tokens=5000, **{"bits_per_byte:en": 1.5, "bits_per_byte:zh": 1.7})
    page = write_report(run_dir, title="a run", lines=["depth 2"], table="| task |").read_text(
        encoding="utf-8"
    )
    assert page.startswith("# a run") and "- depth 2" in page and "| task |" in page and "(loss.png)" in page
    pixels = image.imread(tmp_path / "loss.png")
    assert pixels.std() > 0.05


def test_a_run_without_steps_has_a_report_without_a_picture(tmp_path: Path) -> None:
    page = write_report(RunDir(tmp_path), title="a run", lines=[]).read_text(encoding="utf-8")
    assert "loss.png" not in page and not (tmp_path / "loss.png").exists()


def test_a_metrics_line_that_a_kill_cut_off_is_left_out(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    run_dir.log(stage="sft", step=1, tokens=1, loss=1.0)
    with (tmp_path / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"stage": "sft", "st')
    assert [line["step"] for line in run_dir.metrics()] == [1]
