"""A real server in a process of its own for browser tests, and the few things that every such test does on its page."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Locator, Page, expect

ROOT = Path(__file__).parents[2]
AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
READY_S = 120.0  # the first start on a machine compiles the CPU kernels
ANSWER_S = 120.0  # the longest is that of the model that babbles on


class Site:
    """`liaoliao serve` with a home of its own, that can be stopped, killed and started again on the same port."""

    def __init__(self, home: Path, model: Path, *options: str) -> None:
        self.home, self.model, self.options = home, model, options
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start, and wait until it answers."""
        command = [
            sys.executable,
            "-m",
            "liaoliao",
            "serve",
            str(self.model),
            "--port",
            str(self.port),
            *self.options,
        ]
        environment = {**os.environ, "LIAOLIAO_HOME": str(self.home)}
        log = (self.home / "server.log").open("a", encoding="utf-8")
        self._process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=subprocess.STDOUT, text=True
        )
        log.close()
        deadline = time.monotonic() + READY_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the server did not start:\n{self.log()}")
            time.sleep(0.1)

    def kill(self) -> None:
        """As a crash: nothing is finished or saved."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """As a person stops it."""
        self._end(signal.SIGTERM)

    def log(self) -> str:
        """All that the server said."""
        return (self.home / "server.log").read_text(encoding="utf-8")

    def api(self, method: str, path: str, **more: Any) -> Any:
        """The JSON of a request to the page's own interface, as the one person of single-user mode."""
        reply = httpx.request(method, self.url + path, timeout=30, **more)
        assert reply.status_code < 300, f"{method} {path}: {reply.status_code} {reply.text}"
        return reply.json() if reply.content else None

    def _answers(self) -> bool:
        try:
            return httpx.get(self.url + "/ready", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def _end(self, sign: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(sign)
        self._process.wait(60)
        self._process = None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# ---------------------------------------------------------------- on the page


def box(page: Page) -> Locator:
    """Where a message is written."""
    return page.locator("#composer")


def answers(page: Page) -> Locator:
    """The model's messages that are shown."""
    return page.locator("article.answer")


def say(page: Page, text: str) -> None:
    """Write and send."""
    box(page).fill(text)
    box(page).press("Enter")


def ask(page: Page, text: str) -> Locator:
    """Write, send, and wait until the new answer is over."""
    count = answers(page).count()
    say(page, text)
    expect(answers(page)).to_have_count(count + 1, timeout=ANSWER_S * 1000)
    return over(answers(page).nth(count))


def over(answer: Locator) -> Locator:
    """Wait until an answer is over."""
    expect(answer).to_have_attribute("aria-busy", "false", timeout=ANSWER_S * 1000)
    return answer


def act(answer: Locator, name: str) -> None:
    """Press one of the buttons under an answer."""
    answer.hover()
    answer.get_by_role("button", name=name, exact=True).click()


def words(answer: Locator) -> str:
    """What an answer says."""
    text: str = answer.locator(".markdown").inner_text()
    return text.strip()


def findings(page: Page) -> list[str]:
    """What axe finds that keeps people from using the page, however lightly it takes it."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found: dict[str, Any] = page.evaluate("async () => await axe.run(document)")
    return [
        f"{one['impact']} {one['id']}: {node['target']} {node['failureSummary']}"
        for one in found["violations"]
        for node in one["nodes"]
    ]


def outsiders(requested: Sequence[str], site: Site) -> list[str]:
    """Of the addresses that a page asked for, those that are not on its own server."""
    return [url for url in requested if not url.startswith((site.url, "data:", "blob:"))]
