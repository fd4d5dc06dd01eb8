"""What everyone does: ask, stop, try again, edit, rate, search, choose a persona, look inside, change the language."""

import re

from playwright.sync_api import Page, expect

from tests.e2e.site import Site, act, answers, ask, box, over, say, words


def test_the_first_visit_leads_to_an_answer(page: Page, site: Site, requested: list[str]) -> None:
    page.goto(site.url)
    expect(page.get_by_role("heading", name="What shall we talk about?")).to_be_visible()
    expect(box(page)).to_be_focused()
    asked = (
        "Hello! Who are you, on this first visit?"  # the server is that of all tests: nobody else asks this
    )
    answer = ask(page, asked)
    assert words(answer) and asked in page.inner_text("main")
    expect(answer).to_have_attribute("data-status", re.compile("done|length"))
    expect(page).to_have_url(re.compile(r"/c/\w{26}$"))
    expect(
        page.get_by_role("navigation").get_by_role("link", name=re.compile(re.escape(asked[:30])))
    ).to_be_visible()
    assert all(url.startswith(site.url) for url in requested), requested


def test_a_suggestion_asks_by_itself(page: Page, site: Site) -> None:
    page.goto(site.url)
    page.get_by_text("Do a sum").click()
    expect(answers(page)).to_have_count(1)
    over(answers(page).first)


def test_stop_keeps_what_was_said(page: Page, slow_site: Site) -> None:
    page.goto(slow_site.url)
    say(page, "Go on and on")
    answer = answers(page).first
    expect(answer.locator(".markdown")).to_have_text(re.compile(r"\S{3}"), timeout=20_000)
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(answer).to_have_attribute("data-status", "stopped", timeout=5_000)
    kept = words(over(answer))
    assert kept
    page.reload()
    expect(answers(page).first).to_have_attribute("data-status", "stopped")
    assert words(answers(page).first) == kept


def test_another_answer_is_a_version_beside_the_first(page: Page, site: Site) -> None:
    page.goto(site.url)
    first = words(ask(page, "Tell me something about the town."))
    act(answers(page).first, "Another answer")
    versions = page.get_by_role("group", name=re.compile(r"Version 2 of 2"))
    expect(versions).to_be_visible()
    over(answers(page).first)
    versions.get_by_role("button", name="Previous version").click()
    expect(page.get_by_role("group", name="Version 1 of 2")).to_be_visible()
    assert words(answers(page).first) == first


def test_editing_a_question_makes_a_branch_with_arrows(page: Page, site: Site) -> None:
    page.goto(site.url)
    ask(page, "What is 12 + 30?")
    ask(page, "And 5 more?")
    question = page.locator("article.question").first
    question.hover()
    question.get_by_role("button", name="Edit", exact=True).click()
    editor = page.get_by_label("Edit your message")
    editor.fill("What is 40 + 41?")
    editor.press("Enter")
    expect(answers(page)).to_have_count(1)
    over(answers(page).first)
    expect(page.locator("article.question")).to_have_text([re.compile("40 \\+ 41")])
    page.get_by_role("group", name="Version 2 of 2").get_by_role("button", name="Previous version").click()
    expect(answers(page)).to_have_count(2)
    expect(page.locator("article.question").first).to_contain_text("12 + 30")


def test_a_thumb_with_a_reason_and_a_better_answer_are_kept(page: Page, site: Site) -> None:
    page.goto(site.url)
    ask(page, "Who owns the Happy Crust?")
    act(answers(page).first, "Bad answer")
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("Not correct").click()
    dialog.get_by_role("button", name="Send").click()
    expect(page.get_by_text("Thank you, that is kept.")).to_be_visible()
    act(answers(page).first, "Write a better answer")
    page.get_by_role("dialog").get_by_role("textbox").fill("A baker does, as everybody knows.")
    page.get_by_role("dialog").get_by_role("button", name=re.compile("Save|Send|Keep")).click()
    expect(answers(page).first).to_contain_text("A baker does, as everybody knows.")
    page.reload()
    expect(answers(page).first).to_contain_text("A baker does, as everybody knows.")
    page.get_by_role("button", name="Previous version").click()
    expect(answers(page).first.get_by_role("button", name="Bad answer")).to_have_attribute(
        "aria-pressed", "true"
    )


def test_search_rename_pin_and_delete(page: Page, site: Site) -> None:
    for title, text in (("一个很特别的题目", "鲸鱼在哪里？"), ("Plain title", "Where does the wombat live?")):
        talk = site.api("POST", "/api/conversations", json={"title": title})
        site.api("POST", f"/api/conversations/{talk['id']}/messages", json={"text": text, "parent_id": None})
    page.goto(site.url)
    sidebar = page.get_by_role("navigation")
    page.keyboard.press("Control+k")
    for query, found in (
        ("wombat", "Plain title"),
        ("鲸鱼", "一个很特别的题目"),
        ("特别", "一个很特别的题目"),
    ):
        sidebar.get_by_role("searchbox").fill(query)
        expect(sidebar.locator("a.talk")).to_have_count(1)
        expect(sidebar.locator("a.talk")).to_contain_text(found)
    sidebar.get_by_role("searchbox").fill("")
    sidebar.get_by_role("button", name="What to do with “Plain title”").click()
    page.get_by_role("menuitem", name="Rename").click()
    page.get_by_label("Title of the conversation").fill("About wombats")
    page.keyboard.press("Enter")
    expect(sidebar.get_by_role("link", name="About wombats")).to_be_visible()
    sidebar.get_by_role("button", name="What to do with “About wombats”").click()
    page.get_by_role("menuitem", name="Pin", exact=True).click()
    expect(sidebar.get_by_text("Pinned")).to_be_visible()
    sidebar.get_by_role("button", name="What to do with “About wombats”").click()
    page.get_by_role("menuitem", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(sidebar.get_by_role("link", name="About wombats")).to_have_count(0)


def test_a_persona_greets_and_goes_with_the_conversation(page: Page, site: Site) -> None:
    site.api(
        "POST",
        "/api/personas",
        json={"name": "Miller", "system_prompt": "You are {{char}}.", "greeting": "Flour, {{user}}?"},
    )
    page.goto(site.url)
    page.get_by_role("radiogroup", name="Who to talk with").get_by_text("Miller").click()
    ask(page, "Good morning")
    persona = next(p for p in site.api("GET", "/api/personas")["personas"] if p["name"] == "Miller")
    talk = site.api("GET", f"/api/conversations/{page.url.rsplit('/', 1)[1]}")
    assert talk["persona_id"] == persona["id"]
    expect(answers(page).first).to_contain_text("Flour,")


def test_the_x_ray_tells_alternatives_and_branches(page: Page, site: Site) -> None:
    page.goto(site.url)
    first = words(ask(page, "Tell me about the town."))
    act(answers(page).first, "X-ray: look inside")
    tokens = answers(page).first.locator("[data-token]")
    expect(tokens.first).to_be_visible(timeout=15_000)
    tokens.nth(1).click()
    popover = page.get_by_role("dialog", name=re.compile("What the model thought"))
    alternative = popover.get_by_role("button", name=re.compile("Go on with")).first
    expect(alternative).to_be_visible(timeout=15_000)
    alternative.click()
    expect(page.get_by_role("group", name="Version 2 of 2")).to_be_visible()
    over(answers(page).first)
    talk = site.api("GET", f"/api/conversations/{page.url.rsplit('/', 1)[1]}")
    old, new = (m for m in talk["messages"] if m["role"] == "assistant")
    assert old["text"].strip() == first and new["text"] != old["text"]


def test_the_deep_look_shows_layers_attention_and_the_prompt(page: Page, site: Site) -> None:
    page.goto(site.url)
    ask(page, "Who are you?")
    act(answers(page).first, "X-ray: look inside")
    answers(page).first.get_by_role("button", name="Look deeper").click(timeout=15_000)
    page.get_by_role("tab", name="Layers").click()
    expect(page.get_by_role("tabpanel")).to_contain_text("logit lens", timeout=15_000)
    page.get_by_role("tab", name="Attention").click()
    expect(page.get_by_role("tabpanel")).to_contain_text("Where the model looked", timeout=15_000)
    page.get_by_role("tab", name="Raw prompt").click()
    expect(page.get_by_role("tabpanel")).to_contain_text("im_start", timeout=15_000)


def test_the_language_switch_changes_all_words_and_stays(page: Page, site: Site) -> None:
    page.goto(site.url + "/settings")
    page.get_by_role("dialog").get_by_label("Language").select_option("zh")
    expect(page.locator("html")).to_have_attribute("lang", re.compile("zh"))
    expect(page.get_by_role("dialog")).to_contain_text("设置")
    page.goto(site.url)
    expect(page.locator("html")).to_have_attribute("lang", re.compile("zh"))
    expect(page.get_by_role("navigation", name="对话列表").locator("a.new")).to_have_text("新对话")
    expect(page.get_by_role("heading", name="今天聊点什么？")).to_be_visible()
    expect(page.get_by_text(re.compile("New chat|talk about|Settings"))).to_have_count(0)


def test_two_answers_are_compared_and_the_chosen_one_goes_on(page: Page, site: Site) -> None:
    page.goto(site.url)
    page.get_by_role("button", name="Add").click()
    page.get_by_role("menuitemradio", name="Two answers side by side").click()
    say(page, "Tell me a story about a cat.")
    compare = page.get_by_role("group", name="Two answers side by side").or_(
        page.get_by_label("Two answers side by side")
    )
    choose = compare.get_by_role("button", name="This one is better")
    expect(choose).to_have_count(2, timeout=60_000)
    expect(choose.nth(1)).to_be_enabled(timeout=60_000)
    choose.nth(1).click()
    expect(answers(page)).to_have_count(1)
    talk = site.api("GET", f"/api/conversations/{page.url.rsplit('/', 1)[1]}")
    assert talk["head_id"] == [m for m in talk["messages"] if m["role"] == "assistant"][1]["id"]


def test_an_attached_file_reaches_the_model(page: Page, site: Site) -> None:
    page.goto(site.url)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Add").click()
        page.get_by_role("menuitem", name="Attach a text file").click()
    chooser.value.set_files(
        {"name": "notice.txt", "mimeType": "text/plain", "buffer": b"The bus leaves at 7:35."}
    )
    expect(page.get_by_role("button", name="Remove notice.txt")).to_be_enabled()
    ask(page, "When does the bus leave?")
    expect(page.locator("article.question")).to_contain_text("notice.txt")
    message = page.locator("article.answer").first.get_attribute("data-message")
    prompt = "".join(token["text"] for token in site.api("GET", f"/api/messages/{message}/xray")["prompt"])
    assert "The bus leaves at 7:35." in prompt
