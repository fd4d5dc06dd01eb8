"""Every main view, light and dark, wide and narrow: usable by all, nothing cut off; and its picture for the guide."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.e2e.site import Site, act, answers, ask, box, findings

PICTURES = os.environ.get("LIAOLIAO_PICTURES")  # a folder: keep the pictures there
WIDE, PHONE = (1280, 860), (375, 740)
XRAY = {"en": "X-ray: look inside", "zh": "X 光：看看内部"}
SEEN_WHOLE = """popover => {
  const { left, top, right, bottom, width, height } = popover.getBoundingClientRect()
  const inside = left >= 0 && top >= 0 && right <= innerWidth && bottom <= innerHeight
  const columns = [0.1, 0.5, 0.9].map((share) => left + share * width)
  const points = [top + 3, top + height / 2, bottom - 3].flatMap((y) => columns.map((x) => [x, y]))
  return inside && points.every(([x, y]) => popover.contains(document.elementFromPoint(x, y)))
}"""
APART = """([one, other]) => {
  const [a, b] = [one, other].map((element) => element.getBoundingClientRect())
  return a.bottom <= b.top || b.bottom <= a.top
}"""


def picture(page: Page, name: str) -> None:
    """Keep what the page looks like, where asked."""
    if PICTURES:
        page.wait_for_timeout(400)  # for what moves
        page.screenshot(path=Path(PICTURES) / f"{name}.png")


def check(page: Page, name: str) -> None:
    """One main heading, no finding of axe's, nothing wider than the window; and a picture."""
    picture(page, name)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (
        f"{name} is wider than its window"
    )
    assert page.locator("h1").count() == 1, name
    assert findings(page) == [], name


def inspect(page: Page, language: str) -> Locator:
    """The tokens of the last answer."""
    act(answers(page).last, XRAY[language])
    tokens = answers(page).last.locator("[data-token]")
    expect(tokens.first).to_be_visible(timeout=30_000)
    return tokens


def look_at(page: Page, token: Locator) -> Locator:
    """What the X-ray says of a token, once it is known."""
    token.click()
    expect(page.locator(".popover .alternatives")).to_be_visible(timeout=30_000)
    return page.locator(".popover")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("size", "kind"), [(WIDE, "wide"), (PHONE, "phone")])
@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
def test_each_view(
    browser: Browser, site: Site, scheme: Any, size: tuple[int, int], kind: str, locale: str
) -> None:
    context = browser.new_context(
        locale=locale,
        color_scheme=scheme,
        viewport={"width": size[0], "height": size[1]},
        has_touch=kind == "phone",
    )
    page = context.new_page()
    language = locale[:2]
    name = f"{kind}-{scheme}-{language}"
    page.goto(site.url)
    expect(box(page)).to_be_visible()
    check(page, f"{name}-empty")
    english = language == "en"
    ask(page, "What is 47 + 38?" if english else "47加38等于多少？")
    ask(page, "Who owns the Happy Crust?" if english else "你是谁？")
    check(page, f"{name}-talk")
    look_at(page, inspect(page, language).nth(2))
    check(page, f"{name}-xray")
    page.goto(site.url + "/settings")
    expect(page.get_by_role("dialog")).to_be_visible()
    check(page, f"{name}-settings")
    page.goto(site.url + "/runs")
    expect(page.locator("main .card").first).to_be_visible()
    check(page, f"{name}-runs")
    context.close()


@pytest.mark.parametrize("size", [WIDE, (1280, 560), (900, 400), PHONE], ids=str)
def test_what_the_x_ray_says_of_a_token_is_never_cut(
    browser: Browser, site: Site, size: tuple[int, int]
) -> None:
    context = browser.new_context(
        locale="en-GB", viewport={"width": size[0], "height": size[1]}, has_touch=size == PHONE
    )
    page = context.new_page()
    page.goto(site.url)
    for question in ("Hello! Who are you?", "Who owns the Happy Crust?", "What is 47 + 38?"):
        ask(page, question)
    tokens = inspect(page, "en")
    for index, token in enumerate((tokens.first, tokens.nth(1), tokens.last)):
        token.scroll_into_view_if_needed()
        popover = look_at(page, token)
        assert popover.evaluate(SEEN_WHOLE), f"token {index} at {size}"
        if size[1] > 500:  # below there is no room beside it
            assert page.evaluate(APART, [token.element_handle(), popover.element_handle()])
        picture(page, f"popover-{size[0]}x{size[1]}-{index}")
        page.keyboard.press("Escape")
        expect(popover).to_have_count(0)
    context.close()


def test_on_a_phone_the_sidebar_is_a_drawer(browser: Browser, site: Site) -> None:
    context = browser.new_context(
        locale="en-GB", viewport={"width": 375, "height": 740}, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    page.goto(site.url)
    ask(page, "Hello")
    search = page.get_by_role("searchbox")
    expect(search).not_to_be_in_viewport()
    page.get_by_role("button", name="Open the sidebar").click()
    expect(search).to_be_in_viewport()
    check(page, "phone-drawer")
    page.get_by_role("navigation").get_by_role("link", name="New chat").click()
    expect(search).not_to_be_in_viewport()
    for button in page.locator("header button:visible, form.composer button:visible").all():
        size = button.bounding_box()
        assert size is not None and min(size["width"], size["height"]) >= 44, button.get_attribute(
            "aria-label"
        )
    context.close()


def test_everything_works_by_keyboard(page: Page, site: Site) -> None:
    page.goto(site.url)
    expect(box(page)).to_be_focused()
    page.keyboard.type("Hello by keyboard")
    page.keyboard.press("Enter")
    expect(answers(page).first).to_have_attribute("aria-busy", "false", timeout=60_000)
    newest = page.locator("a.talk").first
    expect(newest).to_contain_text("Hello by keyboard")
    page.keyboard.press("Control+Shift+O")
    expect(answers(page)).to_have_count(0)
    page.keyboard.press("Control+k")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(newest).to_be_focused()
    page.keyboard.press("Enter")
    expect(answers(page)).to_have_count(1)


@pytest.mark.parametrize("path", ["/", "/runs"])
def test_the_first_tab_stop_leads_past_the_sidebar(page: Page, site: Site, path: str) -> None:
    page.goto(site.url + path)
    expect(page.get_by_role("heading", level=1)).to_be_attached()
    skip = page.get_by_role("link", name="Skip to the content")
    assert page.evaluate("document.querySelector('#app a, #app button, #app input').textContent") == (
        "Skip to the content"
    )
    skip.press("Enter")
    expect(page.locator("main")).to_be_focused()
    expect(page).to_have_url(re.compile(re.escape(site.url + path) + "$"))
