"""Odd texts and whole conversations for property tests of the text floor."""

import json
import random

from hypothesis import strategies as st

from liaoliao.messages import Conversation, Message, Tool, ToolCall
from liaoliao.text.tokenizer import SPECIAL_TOKENS

ENGLISH = """The baker in Mill Street opens at 7 and sells bread for 3 coins. Anna's cat doesn't like it.
"Where are you going?" asked the cat. They'll meet at 18:45, won't they?\n\n\tA list:\n- one\n- two\n"""
CHINESE = """小明住在河边的小镇上，他每天早上七点去面包店。面包三块钱一个！
你知道火车几点开吗？\n今天天气很好，我们去看动物吧。"""

# Snippets that break careless tokenizers, each for its own reason.
# fmt: off
ODD = (
    "👩‍👩‍👧‍👦", "🇨🇳🇬🇧", "👍🏽", "é", "e\u0301", "ﬁ", "ſ'ſ", "İ", "ß", "Ω≠Ω", "𝒳",
    "𠮷野家", "龘", "한글", "नमस्ते", "שָׁלוֹם", "العربية", "，。！？", "「」", "٣٤", "Ⅷ", "½",
    "\r\n", "\r", "\n\n", "\n \n", "\u0085", "\u2028", "\u2029", "\x0b\x0c", "\t ", "   ",
    "\u3000", "\xa0", "\u200b", "\ufeff", "\x00", "\x01\x1f", "\x7f", "\x9f", "\ufffd", "\uffff", "\ufdd0",
    "\U0010ffff", "\ue000", "\u202e", "don't", "DON'T", "I'LL", "'s", "1234567890", "3.14e-10",
    "...", "=====", "Ġ", "Ċ", "âĢĻ", "<|im_", "start|>", "<|", "|>", "<tool_call", "</", "<think",
    "{{", "}}", "{%", "'", '"', "\\n", "&amp;", *SPECIAL_TOKENS,
)
# fmt: on


def odd_string(rng: random.Random) -> str:
    """Odd snippets, plain words and single characters from anywhere in Unicode but the surrogates."""
    words = (*ENGLISH.split(" "), *CHINESE, " ")
    choices = (lambda: rng.choice(ODD), lambda: rng.choice(words), lambda: _any_character(rng))
    return "".join(rng.choice(choices)() for _ in range(rng.randrange(9)))


def _any_character(rng: random.Random) -> str:
    first, end = rng.choice(((0, 0x100), (0, 0x3000), (0, 0xD800), (0xE000, 0x110000)))
    return chr(rng.randrange(first, end))


_snippets = st.sampled_from((*ODD, *ENGLISH.split(" "), *CHINESE, " ")) | st.text(max_size=3)
odd_texts = st.lists(_snippets, max_size=6).map("".join)
names = st.sampled_from(["calculator", "lookup", "查询", "a_b", 'quo"te', "emoji👍"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.floats(-10, 10, allow_nan=False) | odd_texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(odd_texts, inner, max_size=2),
    max_leaves=4,
)
arguments = st.dictionaries(odd_texts, json_values, max_size=2)
tools = st.builds(
    Tool, names, odd_texts, st.fixed_dictionaries({"type": st.just("object"), "properties": arguments})
)


@st.composite
def tool_calls(draw: st.DrawFn) -> tuple[ToolCall, ...]:
    """A few calls with the ids that a parser would give them; the JSON in several layouts."""
    texts = st.builds(json.dumps, arguments, ensure_ascii=st.booleans(), indent=st.none() | st.just(1))
    calls = draw(st.lists(st.tuples(names, texts), max_size=2))
    return tuple(ToolCall(f"call_{i}", name, text) for i, (name, text) in enumerate(calls))


@st.composite
def replies(draw: st.DrawFn) -> Message:
    """An assistant message as the template renders it: trimmed."""
    text, reasoning = draw(odd_texts).strip(), draw(st.just("") | odd_texts).strip()
    return Message.assistant(text, reasoning=reasoning, tool_calls=draw(tool_calls()))


messages = (
    st.builds(Message.system, odd_texts)
    | st.builds(Message.user, odd_texts)
    | replies()
    | st.builds(lambda text: Message.assistant(f" \n{text}\r\n "), odd_texts)  # not trimmed
    | st.builds(Message.tool, odd_texts, st.just("call_0"))
)
conversations = st.builds(
    Conversation,
    st.lists(messages, max_size=5).map(tuple),
    st.lists(tools, max_size=2).map(tuple),
)


def holds_special_token(conversation: Conversation) -> bool:
    """Whether a special token is spelled out somewhere: there `transformers` and we differ, on purpose."""
    wire = [m.to_openai() for m in conversation.messages] + [t.to_openai() for t in conversation.tools]
    everything = json.dumps(wire, ensure_ascii=False)
    return any(name in everything for name in SPECIAL_TOKENS)
