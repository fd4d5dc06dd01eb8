"""Nothing is lost: a reload, a second tab, a broken connection, a server that dies in the middle of an answer."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.e2e.line import Line
from tests.e2e.site import Site, act, answers, over, say, words

BROKEN = "The connection broke; picking the answer up again"
SAVED_MS = 1200  # a server saves what it says every half second


def begun(page: Page, url: str) -> None:
    """An answer is being written."""
    page.goto(url)
    say(page, "Go on and on")
    grown(page, 3)


def grown(page: Page, num_chars: int) -> None:
    """So much of it is there."""
    enough = re.compile(f".{{{num_chars},}}", re.DOTALL)
    expect(answers(page).first.locator(".markdown")).to_have_text(enough, timeout=30_000)


def stop(page: Page) -> None:
    """It would go on for long."""
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(answers(page).first).to_have_attribute("data-status", "stopped")


def whole(page: Page, site: Site) -> str:
    """What the server has of the only answer."""
    talk = site.api("GET", f"/api/conversations/{page.url.rsplit('/', 1)[1]}")
    text: str = next(m for m in talk["messages"] if m["role"] == "assistant")["text"]
    return text


def shown(page: Page) -> str:
    """What the page shows of it, without what Markdown does to spaces and marks."""
    return re.sub(r"[\W_]", "", words(answers(page).first))


def test_a_reload_in_mid_stream_goes_on_where_it_was(page: Page, slow_site: Site) -> None:
    begun(page, slow_site.url)
    before = len(whole(page, slow_site))
    page.reload()
    expect(answers(page).first).to_have_attribute("aria-busy", "true")
    grown(page, before + 200)
    stop(page)
    page_text = shown(page)
    page.reload()
    over(answers(page).first)
    assert shown(page) == page_text  # streamed over a reload, and loaded whole


def test_a_second_tab_reads_along(page: Page, context: BrowserContext, slow_site: Site) -> None:
    begun(page, slow_site.url)
    other = context.new_page()
    other.goto(page.url)
    grown(other, 200)
    stop(page)
    over(answers(other).first)
    assert shown(other) == shown(page)


def test_a_broken_connection_is_picked_up_again(page: Page, slow_site: Site) -> None:
    with Line(slow_site.port) as line:
        begun(page, line.url)
        line.cut()
        expect(page.get_by_text(BROKEN)).to_be_visible(timeout=30_000)
        before = len(whole(page, slow_site))
        line.mend()
        grown(page, before + 200)
        stop(page)
        streamed = shown(page)
        page.reload()
        over(answers(page).first)
        assert shown(page) == streamed


class Losing:
    """A line that breaks once: the server hears the request, and its answer does not arrive."""

    def __init__(self, page: Page, path: str) -> None:
        self.keys: list[str] = []
        page.route(path, self._lose)

    def _lose(self, route: Route) -> None:
        self.keys.append(route.request.headers["idempotency-key"])
        if len(self.keys) > 1:
            route.continue_()
            return
        assert route.fetch().status == 201
        route.abort("connectionreset")


def test_an_answer_that_gets_lost_doubles_nothing(page: Page, site: Site) -> None:
    page.goto(site.url)
    said = Losing(page, "**/api/conversations/*/messages")
    say(page, "Is anybody there?")
    over(answers(page).first)
    again = Losing(page, "**/api/messages/*/regenerate")
    act(answers(page).first, "Another answer")
    expect(page.get_by_role("group", name="Version 2 of 2")).to_be_visible()
    over(answers(page).first)
    for line in (said, again):
        assert len(line.keys) == 2 and len(set(line.keys)) == 1
    page.reload()
    expect(page.get_by_role("group", name="Version 2 of 2")).to_be_visible()
    talk = site.api("GET", f"/api/conversations/{page.url.rsplit('/', 1)[1]}")
    assert [m["role"] for m in talk["messages"]] == ["user", "assistant", "assistant"]


@pytest.fixture
def own_site(babbler: Path, tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path, babbler)
    site.start()
    yield site
    site.stop()


def test_a_server_that_dies_in_mid_stream_keeps_what_it_had_said(page: Page, own_site: Site) -> None:
    begun(page, own_site.url)
    page.wait_for_timeout(SAVED_MS)
    own_site.kill()
    expect(page.get_by_text(BROKEN)).to_be_visible(timeout=30_000)
    own_site.start()
    answer = answers(page).first
    expect(answer).to_have_attribute("data-status", "interrupted", timeout=30_000)
    expect(page.get_by_text("What came is kept.")).to_be_visible()
    assert whole(page, own_site)
    act(answer, "Another answer")
    stop(page)
    expect(page.get_by_role("group", name="Version 2 of 2")).to_be_visible()


def test_a_server_that_is_stopped_and_started_loses_nothing(page: Page, own_site: Site) -> None:
    begun(page, own_site.url)
    own_site.stop()  # it lets the answer finish
    own_site.start()
    over(answers(page).first)
    expect(answers(page).first).to_have_attribute(
        "data-status", re.compile("done|length|stopped"), timeout=30_000
    )
    assert re.sub(r"[\W_]", "", whole(page, own_site))[:20] == shown(page)[:20]
