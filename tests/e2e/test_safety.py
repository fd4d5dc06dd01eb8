"""Script in what a model, a file, a card or an import says never runs, and no other host is ever asked."""

import json

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.e2e.site import Site, act, answers, ask, outsiders, over

ATTACKS = [
    "<script>window.hurt=1</script>",
    "<img src=x onerror=window.hurt=1>",
    "<svg onload=window.hurt=1>",
    "[click](javascript:window.hurt=1)",
    "[data](data:text/html,<script>parent.hurt=1</script>)",
    "![pixel](https://tracker.invalid/p.png)",
    '<iframe srcdoc="<script>parent.hurt=1</script>"></iframe>',
    "```html\n</code></pre><script>window.hurt=1</script>\n```",
    "$\\href{javascript:window.hurt=1}{x}$ and $$\\htmlData{onclick=window.hurt=1}{y}$$",
    "<a href='jav&#x09;ascript:window.hurt=1'>z</a><math><mi xlink:href='javascript:window.hurt=1'>q",
    "<style>body{background:url(https://tracker.invalid/s)}</style>",
    "<form action=https://tracker.invalid><button>go",
]
ALL = "\n\n".join(ATTACKS)


@pytest.fixture
def watched(page: Page, context: BrowserContext, requested: list[str], site: Site) -> Page:
    """A page on which nothing may be hurt; checked by `unhurt`."""
    page.on("dialog", lambda dialog: pytest.fail(f"a dialog: {dialog.message}"))
    return page


def unhurt(page: Page, requested: list[str], site: Site) -> None:
    """Press whatever looks like a link of the text, then see that nothing ran and nobody else was asked."""
    page.wait_for_timeout(500)  # for what would run by itself
    for link in page.locator(".markdown a").all():
        href = link.get_attribute("href") or ""
        assert not href.lower().replace("\t", "").strip().startswith(("javascript:", "data:", "vbscript:")), (
            href
        )
        assert "noopener" in (link.get_attribute("rel") or "") or href.startswith(("/", "#"))
    assert page.evaluate("window.hurt") is None
    assert (
        page.locator(".markdown :is(script, iframe, object, embed, form, style, img[src^=http])").count() == 0
    )
    assert outsiders(requested, site) == []


def test_in_a_models_answer(watched: Page, requested: list[str], site: Site) -> None:
    """What the model says is made to begin with the attack: its answer is mended by hand, and the model goes on from it."""
    watched.goto(site.url)
    ask(watched, "Hello")
    message = answers(watched).first.get_attribute("data-message")
    made = site.api("POST", f"/api/messages/{message}/edit", json={"text": ALL + "\n\nAnd"})["message"]
    more = site.api("POST", f"/api/messages/{made['id']}/continue", json={})["answers"][0]
    watched.reload()
    over(watched.locator(f"[data-message='{more['id']}']"))
    expect(answers(watched).first).to_contain_text("window.hurt=1")
    unhurt(watched, requested, site)
    act(answers(watched).first, "X-ray: look inside")
    expect(answers(watched).first.locator("[data-token]").first).to_be_visible(timeout=30_000)
    unhurt(watched, requested, site)


def test_in_the_name_of_a_file_and_a_title(watched: Page, requested: list[str], site: Site) -> None:
    watched.goto(site.url)
    with watched.expect_file_chooser() as chooser:
        watched.get_by_role("button", name="Add").click()
        watched.get_by_role("menuitem", name="Attach a text file").click()
    name = "<img src=x onerror=window.hurt=1>.txt"
    chooser.value.set_files({"name": name, "mimeType": "text/plain", "buffer": ALL.encode()})
    ask(watched, ATTACKS[1])
    expect(watched.locator("article.question")).to_contain_text("onerror")
    expect(watched.get_by_role("navigation")).to_contain_text("<img src=x")
    unhurt(watched, requested, site)


def test_in_a_persona_card(watched: Page, requested: list[str], site: Site) -> None:
    texts = (
        "description",
        "personality",
        "scenario",
        "first_mes",
        "mes_example",
        "creator_notes",
        "system_prompt",
    )
    rest: dict[str, object] = {"tags": [], "alternate_greetings": [], "extensions": {}}
    told = dict.fromkeys(("post_history_instructions", "creator", "character_version"), "")
    data = {"name": ATTACKS[1], **dict.fromkeys(texts, ALL), **told, **rest}
    card = {"spec": "chara_card_v2", "spec_version": "2.0", "data": data}
    files = {"file": ("card.json", json.dumps(card).encode(), "application/json")}
    persona = site.api("POST", "/api/personas/import", files=files)["persona"]
    watched.goto(site.url)
    watched.get_by_role("radiogroup", name="Who to talk with").get_by_text("onerror").click()
    unhurt(watched, requested, site)
    talk = site.api("POST", "/api/conversations", json={"persona_id": persona["id"]})
    watched.goto(f"{site.url}/c/{talk['id']}")
    expect(answers(watched).first).to_contain_text("window.hurt=1")
    unhurt(watched, requested, site)
    site.api("DELETE", f"/api/personas/{persona['id']}")


def test_in_an_imported_conversation(watched: Page, requested: list[str], site: Site) -> None:
    def node(name: str, role: str, parent: str | None, children: list[str]) -> dict[str, object]:
        content = {"content_type": "text", "parts": [ALL]}
        return {
            "id": name,
            "message": {"id": name, "author": {"role": role}, "content": content, "create_time": 1.0},
            "parent": parent,
            "children": children,
        }

    export = [
        {
            "title": ATTACKS[0], "create_time": 1.0, "update_time": 2.0, "current_node": "b",
            "mapping": {"a": node("a", "user", None, ["b"]), "b": node("b", "assistant", "a", [])},
        }
    ]  # fmt: skip
    assert site.api("POST", "/api/import", json=export)["num_conversations"] == 1
    watched.goto(site.url)
    watched.get_by_role("navigation").get_by_role("link", name="<script>").first.click()
    expect(answers(watched).first).to_contain_text("window.hurt=1")
    unhurt(watched, requested, site)


def test_the_policy_is_strict(page: Page, site: Site) -> None:
    reply = page.goto(site.url)
    assert reply is not None
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "*" not in policy
    assert reply.headers["x-content-type-options"] == "nosniff"
    allowed = (
        "['microphone', 'camera', 'geolocation'].map((name) => document.featurePolicy.allowsFeature(name))"
    )
    assert page.evaluate(allowed) == [True, False, False]  # dictation needs the first
    refused: list[str] = []
    page.on(
        "console", lambda said: refused.append(said.text) if "Content Security Policy" in said.text else None
    )
    ask(page, "Hello **you** `x` $a^2$")
    page.goto(site.url + "/settings")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.goto(site.url + "/runs")
    expect(page.locator("main .card").first).to_be_visible()
    assert refused == []
