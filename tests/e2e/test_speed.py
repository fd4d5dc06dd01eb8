"""From Enter to the first token on the page, and how much the page weighs."""

import gzip
import re
from pathlib import Path
from statistics import median

from playwright.sync_api import Page

from tests.e2e.site import Site, answers, ask, box, over

STATIC = Path(__file__).parents[2] / "src" / "liaoliao" / "server" / "page" / "static"
FIRST_TOKEN_MS = 300
SCRIPT_BYTES = 250_000

WATCH = """() => {
  const count = document.querySelectorAll('article.answer').length
  window.firstToken = new Promise((done, fail) => {
    setTimeout(() => fail(new Error('no token came')), 30_000)
    let start = 0
    const press = (event) => { if (event.key === 'Enter') start = performance.now() }
    addEventListener('keydown', press, { capture: true, once: true })
    new MutationObserver((_, self) => {
      const answers = document.querySelectorAll('article.answer')
      if (answers.length > count && answers[count].querySelector('.markdown')?.textContent.trim()) {
        self.disconnect()
        requestAnimationFrame(() => done(performance.now() - start))
      }
    }).observe(document.body, { childList: true, subtree: true, characterData: true })
  })
}"""


def test_the_first_token_is_there_at_once(page: Page, site: Site) -> None:
    page.goto(site.url)
    ask(page, "Hello")
    times = []
    for number in range(9):
        box(page).fill(f"What is {number} + {number + 3}?")
        page.evaluate(WATCH)
        box(page).press("Enter")
        times.append(page.evaluate("window.firstToken"))
        over(answers(page).last)
    print(
        f"first token after {median(times):.0f} ms (median of {len(times)}; {min(times):.0f} to {max(times):.0f})"
    )
    assert median(times) <= FIRST_TOKEN_MS


def test_the_page_is_light() -> None:
    """What index.html asks for, before anything lazy."""
    html = (STATIC / "index.html").read_text(encoding="utf-8")
    names = set(re.findall(r'(?:src|href)="/([^"]+\.js)"', html))
    assert names
    size = sum(len(gzip.compress((STATIC / name).read_bytes())) for name in names)
    print(f"{size / 1000:.1f} kB of script, gzipped")
    assert size <= SCRIPT_BYTES
