"""Every main view, light and dark, wide and narrow: usable by all, nothing cut off; and its picture for the guide."""

import os
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.site import Site, act, answers, ask, box

ROOT = Path(__file__).parents[2]
AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
PICTURES = os.environ.get("LIAOLIAO_PICTURES")  # a folder: keep the pictures there


def serious(page: Page) -> list[str]:
    """What axe finds that keeps somebody from using the page."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found: dict[str, Any] = page.evaluate("async () => await axe.run(document)")
    return [
        f"{one['id']}: {node['target']} {node['failureSummary']}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


def picture(page: Page, name: str) -> None:
    """Keep what the page looks like, where asked."""
    if PICTURES:
        page.wait_for_timeout(400)  # for what moves
        page.screenshot(path=Path(PICTURES) / f"{name}.png")


def check(page: Page, name: str) -> None:
    """No serious finding, nothing wider than the window; and a picture."""
    picture(page, name)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (
        f"{name} is wider than its window"
    )
    assert serious(page) == [], name


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("size", "kind"), [((1280, 860), "wide"), ((375, 740), "phone")])
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
    name = f"{kind}-{scheme}-{locale[:2]}"
    page.goto(site.url)
    expect(box(page)).to_be_visible()
    check(page, f"{name}-empty")
    english = locale.startswith("en")
    ask(page, "What is 47 + 38?" if english else "47加38等于多少？")
    ask(page, "Who owns the Happy Crust?" if english else "你是谁？")
    check(page, f"{name}-talk")
    act(answers(page).last, "X-ray: look inside" if english else "X 光：看看内部")
    token = answers(page).last.locator("[data-token]")
    expect(token.first).to_be_visible(timeout=15_000)
    token.nth(2).click()
    expect(page.locator(".popover .alternatives")).to_be_visible(timeout=15_000)
    check(page, f"{name}-xray")
    page.goto(site.url + "/settings")
    expect(page.get_by_role("dialog")).to_be_visible()
    check(page, f"{name}-settings")
    page.goto(site.url + "/runs")
    page.wait_for_timeout(500)
    check(page, f"{name}-runs")
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
    page.keyboard.type("Hello")
    page.keyboard.press("Enter")
    expect(answers(page).first).to_have_attribute("aria-busy", "false", timeout=60_000)
    page.keyboard.press("Control+Shift+O")
    expect(answers(page)).to_have_count(0)
    page.keyboard.press("Control+k")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(answers(page)).to_have_count(1)
