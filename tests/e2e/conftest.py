"""Browser tests: Debian's Chromium, the built page, a real server, real small models. `make e2e` runs them.

The model that talks is trained for a minute when the tests first run (kept in .cache/e2e), or given as LIAOLIAO_E2E_MODEL.
For what needs a long answer there is one with random weights, which goes on for ten seconds and more.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

if not os.environ.get("LIAOLIAO_E2E"):
    collect_ignore_glob = ["test_*.py"]  # they need a browser: `make e2e`
else:
    from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

    from tests.e2e.site import Site

    ROOT = Path(__file__).parents[2]
    CACHE = ROOT / ".cache" / "e2e"
    FLAGS = [
        "--no-sandbox",  # Chromium refuses its sandbox to root, as which containers run
        "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
    ]  # fmt: skip

    @pytest.fixture(scope="session", autouse=True)
    def _built_page() -> None:
        subprocess.run([sys.executable, "web/build.py"], cwd=ROOT, check=True)

    @pytest.fixture(scope="session")
    def talker() -> Path:
        """A model that has learned something."""
        if given := os.environ.get("LIAOLIAO_E2E_MODEL"):
            return Path(given)
        run = CACHE / "talker"
        if not (run / "model" / "config.json").is_file():
            shutil.rmtree(run, ignore_errors=True)
            command = [
                sys.executable,
                "-m",
                "liaoliao",
                "speedrun",
                "--minutes",
                "1",
                "--data",
                "town",
                "--out",
                str(run),
            ]
            subprocess.run(command, check=True, env={**os.environ, "LIAOLIAO_HOME": str(CACHE / "home")})
        return run / "model"

    @pytest.fixture(scope="session")
    def babbler(talker: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """The same tokenizer and template, random weights: answers of thousands of tokens, to be interrupted."""
        import torch

        from liaoliao.model.checkpoint import save_checkpoint
        from liaoliao.model.config import ModelConfig
        from liaoliao.model.transformer import Transformer
        from liaoliao.text.chat_template import load_template
        from liaoliao.text.tokenizer import Tokenizer

        tokenizer = Tokenizer.load(talker)
        config = ModelConfig(
            vocab_size=tokenizer.vocab_size, hidden_size=768, intermediate_size=2048, num_hidden_layers=10,
            num_attention_heads=12, num_key_value_heads=4, head_dim=64, max_position_embeddings=4096,
            tie_word_embeddings=False,  # tied, random weights say the same word for ever
        )  # fmt: skip
        model = Transformer(config).init_weights(0)
        with torch.no_grad():  # the marks, which would end an answer, become unlikely
            model.lm_head.weight.mul_(4)
            model.lm_head.weight[list(tokenizer.special_ids.values())] = 0
        folder = tmp_path_factory.mktemp("babbler") / "babbler"
        save_checkpoint(
            folder,
            model,
            tokenizer,
            load_template(talker, tokenizer),
            lineage={},
            generation={"temperature": 1.0, "top_p": 1.0},
        )
        return folder

    def _site(folder: Path, model: Path, *options: str) -> Iterator[Site]:
        site = Site(folder, model, *options)
        site.start()
        try:
            yield site
        finally:
            site.stop()

    @pytest.fixture(scope="session")
    def site(talker: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
        """The server of the model that talks, for one person."""
        yield from _site(tmp_path_factory.mktemp("site"), talker)

    @pytest.fixture(scope="session")
    def slow_site(babbler: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
        """The server of the model that babbles on."""
        yield from _site(tmp_path_factory.mktemp("slow"), babbler)

    @pytest.fixture(scope="session")
    def shared_site(talker: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
        """A server with accounts."""
        yield from _site(tmp_path_factory.mktemp("shared"), talker, "--multi-user")

    @pytest.fixture(scope="session")
    def browser() -> Iterator[Browser]:
        chromium = (
            os.environ.get("LIAOLIAO_CHROMIUM")
            or shutil.which("chromium")
            or shutil.which("chromium-browser")
        )
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            yield browser
            browser.close()

    @pytest.fixture
    def context(browser: Browser) -> Iterator[BrowserContext]:
        """A fresh profile, English."""
        context = browser.new_context(locale="en-GB", viewport={"width": 1280, "height": 860})
        yield context
        context.close()

    @pytest.fixture
    def page(context: BrowserContext) -> Iterator[Page]:
        """A page that must raise no error of its own."""
        page = context.new_page()
        failures: list[str] = []
        page.on("pageerror", lambda error: failures.append(str(error)))
        yield page
        assert not failures, f"the page failed: {failures}"

    @pytest.fixture
    def requested(page: Page) -> list[str]:
        """Every address that the page has asked for."""
        urls: list[str] = []
        page.on("request", lambda request: urls.append(request.url))
        return urls
