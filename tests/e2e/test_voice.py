"""Voice, with a stand-in for what the browser hears and says: off until it is switched on, and then as one would think."""

import re
from typing import Any

from playwright.sync_api import Browser, Page, expect

from tests.e2e.site import Site, act, answers, ask, box

SPEECH = """(() => {
  window.recognisers = []
  class Recogniser {
    constructor() { window.recognisers.push(this) }
    start() { this.state = 'listening' }
    stop() { this.end('stopped') }
    abort() { this.end('aborted') }
    end(state) {
      if (this.state !== 'listening') return
      this.state = state
      setTimeout(() => this.onend?.())
    }
    hear(transcript, isFinal) {
      this.onresult({ resultIndex: 0, results: { length: 1, 0: { 0: { transcript }, length: 1, isFinal } } })
    }
    refuse(error) {
      this.onerror({ error })
      this.end('refused')
    }
  }
  let queue = []
  const end = (event) => {
    const ended = queue
    queue = []
    setTimeout(() => ended.forEach((one) => one[event]?.({ error: 'canceled' })))
  }
  const voice = {
    said: [],
    speak(utterance) {
      queue.push(utterance)
      this.said.push([utterance.lang, utterance.text])
    },
    cancel: () => end('onerror'),
    finish: () => end('onend'),
    get waiting() { return queue.length },
  }
  class Utterance {
    constructor(text) { Object.assign(this, { text, lang: '' }) }
  }
  const fakes = {
    SpeechRecognition: undefined, // newer browsers have it under both names
    webkitSpeechRecognition: Recogniser,
    speechSynthesis: voice,
    SpeechSynthesisUtterance: Utterance,
  }
  for (const [name, value] of Object.entries(fakes)) Object.defineProperty(window, name, { value })
})()"""


def visit(page: Page, site: Site) -> None:
    page.add_init_script(SPEECH)
    page.goto(site.url)
    expect(box(page)).to_be_visible()


def switch(page: Page, site: Site, name: str = "Voice") -> None:
    """Switch voice on, or off, and go back to where we were."""
    where = page.url
    page.goto(site.url + "/settings")
    page.get_by_role("switch", name=re.compile(f"^{name}")).click()
    page.goto(where)


def hear(page: Page, transcript: str, *, final: bool) -> None:
    """What the browser makes of what somebody says."""
    page.evaluate("([words, final]) => recognisers.at(-1).hear(words, final)", [transcript, final])


def answered(page: Page, site: Site, text: str) -> None:
    """An answer of these words."""
    ask(page, "Hello")
    message = answers(page).first.get_attribute("data-message")
    site.api("POST", f"/api/messages/{message}/edit", json={"text": text})
    page.reload()
    expect(answers(page).first).to_have_attribute("data-status", "done")


def test_there_is_no_voice_until_it_is_switched_on(page: Page, site: Site) -> None:
    visit(page, site)
    ask(page, "Hello")
    for name in ("Dictate", "Read aloud"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)
    switch(page, site)
    expect(page.get_by_role("button", name="Dictate")).to_be_visible()
    expect(page.get_by_role("button", name="Read aloud")).to_have_count(1)
    switch(page, site)
    expect(answers(page)).to_have_count(1)
    for name in ("Dictate", "Read aloud"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)


def test_dictated_words_land_in_the_box(page: Page, site: Site) -> None:
    visit(page, site)
    switch(page, site)
    page.get_by_role("button", name="Dictate").click()
    assert page.evaluate("recognisers.map(({ lang, state }) => [lang, state])") == [["en-GB", "listening"]]
    expect(page.get_by_role("status").filter(has_text="Listening.")).to_be_attached()
    hear(page, "see you", final=False)
    expect(page.get_by_role("status").filter(has_text="see you")).to_be_attached()
    expect(box(page)).to_have_value("")  # a guess is no word yet
    hear(page, "see you at noon", final=True)
    hear(page, "by the ferry", final=True)
    expect(box(page)).to_have_value("see you at noon by the ferry")
    page.get_by_role("button", name="Stop dictating").click()
    expect(page.get_by_role("button", name="Dictate")).to_be_visible()
    assert page.evaluate("recognisers.at(-1).state") == "stopped"
    box(page).press("Enter")
    expect(page.locator("article.question")).to_contain_text("see you at noon by the ferry")


def test_a_microphone_that_is_refused_is_told_of(page: Page, site: Site) -> None:
    visit(page, site)
    switch(page, site)
    page.get_by_role("button", name="Dictate").click()
    page.evaluate("recognisers.at(-1).refuse('not-allowed')")
    expect(page.get_by_text("Dictation did not work: not-allowed")).to_be_visible()
    expect(page.get_by_role("button", name="Dictate")).to_be_visible()


def test_an_answer_is_read_aloud_and_can_be_stopped(page: Page, site: Site) -> None:
    visit(page, site)
    switch(page, site)
    answered(
        page,
        site,
        "**Bold** words, [a link](https://example.org).\n\n- one\n\n```js\nalert(1)\n```\nThe end.",
    )
    act(answers(page).first, "Read aloud")
    assert page.evaluate("speechSynthesis.said") == [["en-US", "Bold words, a link. one The end."]]
    page.get_by_role("button", name="Stop reading").click()
    expect(page.get_by_role("button", name="Read aloud")).to_be_visible()
    assert page.evaluate("speechSynthesis.waiting") == 0
    act(answers(page).first, "Read aloud")
    expect(page.get_by_role("button", name="Stop reading")).to_be_visible()
    page.evaluate("speechSynthesis.finish()")
    expect(page.get_by_role("button", name="Read aloud")).to_be_visible()


def test_chinese_is_read_and_heard_as_chinese(browser: Browser, site: Site) -> None:
    context = browser.new_context(locale="zh-CN")
    page = context.new_page()
    visit(page, site)
    switch(page, site, "语音")
    answered(page, site, "**你好**，世界。")
    act(answers(page).first, "朗读")
    said: list[Any] = page.evaluate("speechSynthesis.said")
    assert [language for language, _ in said] == ["zh-CN"] and "你好" in said[0][1] and "*" not in said[0][1]
    page.get_by_role("button", name="停止朗读").click()
    page.get_by_role("button", name="听写").click()
    assert page.evaluate("recognisers.at(-1).lang") == "zh-CN"
    hear(page, "明天见", final=True)
    hear(page, "，在码头。", final=True)
    expect(box(page)).to_have_value("明天见，在码头。")
    context.close()
