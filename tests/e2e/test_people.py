"""Several people share an installation, and see nothing of each other."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.site import Site, answers, ask, findings

PASSWORD = "correct horse battery"


def enter(page: Page, site: Site, name: str, path: str = "/") -> None:
    page.goto(site.url + path)
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("#composer")).to_be_visible()


@pytest.fixture(scope="module")
def anna(browser: Browser, shared_site: Site) -> Page:
    """The first visitor, who makes the administrator's account."""
    page = browser.new_context(locale="en-GB").new_page()
    page.goto(shared_site.url)
    page.get_by_label("Name").fill("anna")
    assert findings(page) == []
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password once more").fill(PASSWORD)
    page.get_by_role("button", name="Create the account").click()
    expect(page.locator("#composer")).to_be_visible()
    return page


def test_two_people_cannot_see_each_other(browser: Browser, anna: Page, shared_site: Site) -> None:
    anna.goto(shared_site.url + "/settings")
    anna.get_by_role("tab", name="People").click()
    people = anna.get_by_role("tabpanel", name="People")
    people.get_by_label("Name").fill("ben")
    people.get_by_label("Password").fill(PASSWORD)
    people.get_by_role("button", name="Add").click()
    expect(people).to_contain_text("ben")
    anna.goto(shared_site.url)
    ask(anna, "My secret is a purple hat.")
    secret = anna.url

    other = browser.new_context(locale="en-GB")
    ben = other.new_page()
    enter(ben, shared_site, "ben")
    assert "secret" not in ben.get_by_role("navigation").inner_text()
    ben.goto(secret)
    expect(ben.get_by_text("That conversation is not here (any more).")).to_be_visible()
    assert answers(ben).count() == 0
    message = anna.locator("article.answer").first.get_attribute("data-message")
    for path in (
        f"/api/messages/{message}",
        f"/api/messages/{message}/xray",
        f"/api/messages/{message}/events",
    ):
        assert ben.request.get(shared_site.url + path).status == 404
    ben.goto(shared_site.url + "/settings")
    expect(ben.get_by_role("dialog")).to_be_visible()
    expect(ben.get_by_role("tab", name="People")).to_have_count(0)
    ben.goto(shared_site.url)
    ben.get_by_role("button", name="Log out").click()
    expect(ben.get_by_role("button", name="Log in")).to_be_visible()
    assert ben.request.get(shared_site.url + "/api/conversations").status == 401
    other.close()


@pytest.mark.usefixtures("anna")
def test_a_wrong_password_is_told_and_lets_nobody_in(page: Page, shared_site: Site) -> None:
    page.goto(shared_site.url)
    page.get_by_label("Name").fill("anna")
    page.get_by_label("Password", exact=True).fill("not the password")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_have_text(re.compile(r"\w{3}"))
    expect(page.locator("#composer")).to_have_count(0)
