"""Nothing is lost: a reload, a second tab, a broken connection, a server that dies in the middle of an answer."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.e2e.site import Site, act, answers, over, say, words


def begun(page: Page, site: Site, text: str = "Go on and on") -> None:
    """An answer is being written."""
    page.goto(site.url)
    say(page, text)
    expect(answers(page).first.locator(".markdown")).to_have_text(re.compile(r"\S{3}"), timeout=20_000)


def whole(page: Page, site: Site) -> str:
    """What the server has of the only answer."""
    talk = site.api("GET", f"/api/conversations/{page.url.rsplit('/', 1)[1]}")
    text: str = next(m for m in talk["messages"] if m["role"] == "assistant")["text"]
    return text


def shown(page: Page) -> str:
    """What the page shows of it, without what Markdown does to spaces and marks."""
    return re.sub(r"[\W_]", "", words(answers(page).first))


def test_a_reload_in_mid_stream_goes_on_where_it_was(page: Page, slow_site: Site) -> None:
    begun(page, slow_site)
    before = len(whole(page, slow_site))
    page.reload()
    expect(answers(page).first).to_have_attribute("aria-busy", "true")
    over(answers(page).first)
    text = whole(page, slow_site)
    assert len(text) > before
    expect(answers(page).first).to_have_attribute("data-status", re.compile("done|length"))
    page_text = shown(page)
    page.reload()
    over(answers(page).first)
    assert shown(page) == page_text  # streamed over a reload, and loaded whole


def test_a_second_tab_reads_along(page: Page, context: BrowserContext, slow_site: Site) -> None:
    begun(page, slow_site)
    other = context.new_page()
    other.goto(page.url)
    over(answers(page).first)
    over(answers(other).first)
    assert shown(other) == shown(page)


def test_a_broken_connection_is_picked_up_again(page: Page, context: BrowserContext, slow_site: Site) -> None:
    begun(page, slow_site)
    context.set_offline(True)
    page.wait_for_timeout(1500)
    context.set_offline(False)
    over(answers(page).first)
    expect(answers(page).first).to_have_attribute("data-status", re.compile("done|length"))
    streamed = shown(page)
    page.reload()
    over(answers(page).first)
    assert shown(page) == streamed


@pytest.fixture
def own_site(babbler: Path, tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path, babbler)
    site.start()
    yield site
    site.stop()


def test_a_server_that_dies_in_mid_stream_keeps_what_it_had_said(page: Page, own_site: Site) -> None:
    begun(page, own_site)
    page.wait_for_timeout(1200)
    own_site.kill()
    expect(page.get_by_text("The connection broke; picking the answer up again")).to_be_visible(
        timeout=15_000
    )
    own_site.start()
    answer = answers(page).first
    expect(answer).to_have_attribute("data-status", "interrupted", timeout=30_000)
    expect(page.get_by_text("What came is kept.")).to_be_visible()
    assert len(whole(page, own_site)) > 3
    act(answer, "Another answer")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("group", name="Version 2 of 2")).to_be_visible()


def test_a_server_that_is_stopped_and_started_loses_nothing(page: Page, own_site: Site) -> None:
    begun(page, own_site)
    own_site.stop()  # it lets the answer finish
    own_site.start()
    over(answers(page).first)
    expect(answers(page).first).to_have_attribute(
        "data-status", re.compile("done|length|stopped"), timeout=30_000
    )
    assert re.sub(r"[\W_]", "", whole(page, own_site))[:20] == shown(page)[:20]
