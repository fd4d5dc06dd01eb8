"""A speedrun of seconds through the real pipeline, for the tests that need a model."""

from pathlib import Path

from typer.testing import CliRunner, Result

from liaoliao.cli import app

FLAGS = ["--minutes", "0.05", "--depth", "1", "--seed", "0"]
SETS = ["tokens_per_step=1024", "vocab_size=900", "questions=2", "dtype=fp32"]


def liaoliao(*args: object, home: Path | None = None, typed: str | None = None) -> Result:
    """Run the command line in this process."""
    env = {"LIAOLIAO_HOME": str(home)} if home else None
    return CliRunner().invoke(app, [str(arg) for arg in args], env=env, input=typed)


def speedrun(out: Path, home: Path) -> Result:
    return liaoliao("speedrun", *FLAGS, *(f"--set={text}" for text in SETS), "--out", out, home=home)
