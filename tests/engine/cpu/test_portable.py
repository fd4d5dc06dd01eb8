"""Other processors, and other processes: what the kernels need is made once, and made of what is there."""

import fcntl
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import pytest

from liaoliao.engine.cpu import kernel_cache

PROGRAM = """
import sys, torch
from liaoliao.engine.cpu import step
from liaoliao.engine.cpu.runner import CpuRunner
from liaoliao.engine.runner import Row, TorchRunner
from tests.engine.cpu.models import make_model, random_ids
ids, model = random_ids(1, 40), make_model()
row = [Row(ids, 0, range(10), 40)]
expected = TorchRunner(model, kv_cache_bytes=2**22).forward(row)
for dtype in ("bf16", "int8"):
    got = CpuRunner(model, dtype, kv_cache_bytes=2**22, num_threads=1, on_progress=print).forward(row)
    print(dtype, float((got - expected).norm() / expected.norm()))
print("from disk", sum(step.work.stats.cache_hits.values()))
"""


def run(**environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, **environment, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return done.stdout.splitlines()


def test_an_older_processor_computes_the_same() -> None:
    """No AVX-512, no products of bytes or bf16, no half precision: everything falls back to what LLVM makes of it."""
    older = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "+sse2,+avx,+avx2,+fma"} if is_x86() else {}
    lines = [line.split() for line in run(**older) if line[:4] in ("bf16", "int8")]
    assert [dtype for dtype, _ in lines] == ["bf16", "int8"]
    assert float(lines[0][1]) < 0.012 and float(lines[1][1]) < 0.03


def is_x86() -> bool:
    return platform.machine().lower() in ("x86_64", "amd64")


def test_a_second_process_finds_the_kernels_made() -> None:
    kernel_cache.compiled_work(lambda line: None)
    lines = run()
    assert not any("compiling" in line for line in lines)
    assert lines[-1] == "from disk 1"


def test_the_folder_of_the_kernels_follows_their_sources(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = kernel_cache._digest()
    assert kernel_cache._digest() == before
    package = tmp_path / "cpu"
    package.mkdir()
    for source in Path(kernel_cache.__file__).parent.glob("*.py"):
        (package / source.name).write_bytes(source.read_bytes())
    monkeypatch.setattr(kernel_cache, "__file__", str(package / "kernel_cache.py"))
    assert kernel_cache._digest() == before
    with (package / "tiles.py").open("a", encoding="utf-8") as file:
        file.write("# another\n")
    assert kernel_cache._digest() != before


def test_where_nothing_can_be_kept_it_works_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("LIAOLIAO_CACHE", str(tmp_path / "file"))
    said: list[str] = []
    assert callable(kernel_cache.compiled_work(said.append))
    assert all("cannot be kept" in line for line in said)


def kernels_of(root: Path, number: int, *, unused_days: float) -> Path:
    """A folder as an older version has left it."""
    folder = root / f"{number:016x}"
    (folder / "pycache").mkdir(parents=True)
    (folder / "pycache" / "step.1.nbc").write_bytes(b"code")
    (folder / "lock").touch()
    used_at = time.time() - 86400 * unused_days
    os.utime(folder / "lock", (used_at, used_at))
    return folder


def test_kernels_that_nobody_comes_back_to_are_removed(tmp_path: Path) -> None:
    current = kernels_of(tmp_path, 0, unused_days=0)
    within_a_month = [kernels_of(tmp_path, number, unused_days=5 * number) for number in range(1, 5)]
    old = [kernels_of(tmp_path, number, unused_days=40 + number) for number in range(5, 9)]
    not_ours = [tmp_path / name for name in ("mine", "0123", "0" * 15 + "x")]
    for folder in not_ours:
        folder.mkdir()
    with (old[2] / "lock").open(encoding="utf-8") as another_process:
        fcntl.flock(another_process, fcntl.LOCK_EX)
        kernel_cache._drop_unused(current)
    assert set(tmp_path.iterdir()) == {current, *within_a_month, old[2], *not_ours}


def test_the_kernels_used_last_stay_however_old(tmp_path: Path) -> None:
    current, *others = [kernels_of(tmp_path, number, unused_days=100 + number) for number in range(5)]
    kernel_cache._drop_unused(current)
    assert set(tmp_path.iterdir()) == {current, *others[:2]}


def test_kernels_are_dated_by_their_last_use(tmp_path: Path) -> None:
    """Between the look at the dates and the lock somebody may have come back."""
    folder = kernels_of(tmp_path, 1, unused_days=60)
    with kernel_cache._only_one(folder):
        pass
    kernel_cache._remove_unused(folder)
    assert folder.is_dir()
