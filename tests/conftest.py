"""What every test runs under: types and shapes checked at each call, one thread, a seed, its own home."""

import os

# Before anything imports torch: tests run in parallel as processes, so more threads only get in the way.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from jaxtyping import install_import_hook

install_import_hook("liaoliao", "beartype.beartype")

import random
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile(
    "liaoliao",
    deadline=None,
    derandomize=True,  # the same examples on every machine: a red test stays red
    max_examples=60,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.data_too_large],
)
hypothesis.settings.load_profile("liaoliao")


@pytest.fixture(autouse=True)
def _seed_and_threads() -> None:
    """Seed 0 for every test; torch is left alone by tests that do not use it."""
    random.seed(0)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)
        torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Models and settings of the person who runs the tests are neither seen nor touched."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("LIAOLIAO_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A running PostgreSQL; tests that need one are skipped where there is none."""
    from tests.store.postgres import missing, postgres_server

    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    with postgres_server() as url:
        yield url
