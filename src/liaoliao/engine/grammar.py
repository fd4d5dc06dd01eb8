"""Replies that must be JSON, keep to a schema, or call a tool: which tokens may come next.

The sampler asks a `GrammarState` for the mask of every step and tells it what was chosen. Parsing is the work of
`llguidance` (docs/decisions/6-grammar.md says why, and why nothing is cached); `schema` keeps hostile schemas from
it, and here are the limits for the rest, and the layout of tool calls.

    compiler = GrammarCompiler(tokenizer, template.stop_ids)
    state = compiler.json_schema({"enum": ["yes", "no"]}).start()
    state.mask()  ->  True for the tokens '"', '"y', '"n', '"yes' ...

Special tokens are never part of JSON. Once the text is complete only stop tokens are allowed; where it may end but
also go on (a bare number), both are.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from jaxtyping import Bool
from llguidance import LLMatcher, LLParserLimits, LLTokenizer, TokenizerWrapper

from liaoliao.engine.request import Grammar
from liaoliao.engine.schema import check_schema, without_discriminators
from liaoliao.errors import RequestError
from liaoliao.messages import Tool
from liaoliao.text.tokenizer import Tokenizer

# One blank, or a line break and its indentation, where JSON allows any white space: a model cannot idle there.
_FREE_LAYOUT: Final = {"whitespace_pattern": r" |\n {0,40}|\n\t{0,10}"}
_TOOL_LAYOUT: Final = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
_CHOICES: Final = {"coerce_one_of": True}  # `check_schema` has made sure that `oneOf` says what `anyOf` would
_HEADER: Final = '%llguidance {"no_forcing": true}\n'  # the model cuts words into tokens as it is used to


class GrammarCompiler:
    """Makes grammars for one vocabulary, in about a millisecond each. Safe to share between threads.

    Every method raises RequestError for what cannot be followed, saying what and why, within a second whatever it
    is given.
    """

    def __init__(self, tokenizer: Tokenizer, stop_ids: Sequence[int]) -> None:
        if not stop_ids:
            raise RequestError("a grammar needs a stop token, to end with")
        self._special_ids = tokenizer.special_ids
        self._stop_ids = tuple(stop_ids)
        self._vocabulary = LLTokenizer(
            TokenizerWrapper(_Vocabulary(tokenizer, self._stop_ids[0])), eos_token=list(self._stop_ids)
        )
        # The library's own bounds are for schemas one trusts. A step may take 20 ms, a reply's tables 100 MB.
        self._limits = LLParserLimits(
            max_items_in_row=10_000,
            initial_lexer_fuel=200_000,
            max_lexer_states=100_000,
            max_grammar_size=200_000,
            verbose_errors=False,
        )

    def json_object(self) -> Grammar:
        """Any JSON object."""
        return self.json_schema({"type": "object"})

    def json_schema(self, schema: Mapping[str, Any]) -> Grammar:
        """JSON that satisfies a schema (draft 2020-12; the keywords that `engine.schema` lists)."""
        return self._compile("start: @value", {"value": _with_layout(schema, _FREE_LAYOUT, "schema")})

    def tool_call(self, tools: Sequence[Tool], *, name: str | None = None, parallel: bool = True) -> Grammar:
        """Calls of `tools` in the layout of the chat template, with arguments that satisfy their parameters.

        A call of the tool `name` and nothing else; or, without a name, one or more calls of any (exactly one if
        not `parallel`).
        """
        chosen = [tool for tool in tools if name in (None, tool.name)]
        if not chosen:
            known = ", ".join(tool.name for tool in tools) or "none"
            raise RequestError(
                f"there is no tool {name!r}; the tools are: {known}" if name else "there are no tools"
            )
        start = self._tagged(repeat=parallel and name is None)
        heads = [_quoted(_call_head(tool.name)) for tool in chosen]
        calls = " | ".join(f"{head} @arguments_{i} {_quoted('}')}" for i, head in enumerate(heads))
        arguments = {f"arguments_{i}": _arguments(tool) for i, tool in enumerate(chosen)}
        return self._compile(f"{start}\ncall: {calls}", arguments)

    def _tagged(self, *, repeat: bool) -> str:
        missing = [tag for tag in ("<tool_call>", "</tool_call>") if tag not in self._special_ids]
        if missing:
            raise RequestError(
                f"this model cannot be made to call a tool: its vocabulary has no {missing[0]}"
            )
        opening, closing = (f"<[{self._special_ids[tag]}]>" for tag in ("<tool_call>", "</tool_call>"))
        more = r'("\n" tagged)*' if repeat else ""
        return f'start: tagged {more}\ntagged: {opening} "\\n" call "\\n" {closing}'

    def _compile(self, rules: str, schemas: Mapping[str, Mapping[str, Any]]) -> Grammar:
        parts = [{"name": name, "json_schema": schema} for name, schema in schemas.items()]
        text = json.dumps({"grammars": [{"lark_grammar": _HEADER + rules}, *parts]}, ensure_ascii=False)

        def matcher() -> LLMatcher:
            return LLMatcher(self._vocabulary, text, log_level=0, limits=self._limits)

        return _Compiled(matcher, self._stop_ids, self._vocabulary.vocab_size)


class _Compiled:
    """A grammar that is known to compile. A reply has a matcher of its own: what one makes of it costs no other."""

    def __init__(
        self, compile_matcher: Callable[[], LLMatcher], stop_ids: Sequence[int], vocab_size: int
    ) -> None:
        self._compile, self._stop_ids, self._vocab_size = compile_matcher, stop_ids, vocab_size
        first = compile_matcher()
        first.compute_bitmask()  # tells whether any text fits at all
        _raise_error(first, "the schema cannot be followed")
        self._ready = [first]

    def start(self) -> "_MatcherState":
        return self.for_reply().start()

    def for_reply(self) -> "_OfOneReply":
        try:
            matcher = self._ready.pop()
        except IndexError:
            matcher = self._compile()
        return _OfOneReply(matcher, self._stop_ids, self._vocab_size)


class _OfOneReply:
    """The matcher of one reply, of which every start takes a copy: copies share the tables of its lexer."""

    def __init__(self, matcher: LLMatcher, stop_ids: Sequence[int], vocab_size: int) -> None:
        self._matcher, self._stop_ids, self._vocab_size = matcher, stop_ids, vocab_size

    def start(self) -> "_MatcherState":
        return _MatcherState(self._matcher.deep_copy(), self._stop_ids, self._vocab_size)


class _MatcherState:
    """How far one reply has come. Raises RequestError where the grammar turns out too costly to go on with."""

    def __init__(self, matcher: LLMatcher, stop_ids: Sequence[int], vocab_size: int) -> None:
        self._matcher, self._stop_ids, self._vocab_size = matcher, stop_ids, vocab_size

    @property
    def done(self) -> bool:
        return bool(self._matcher.is_stopped())

    def mask(self) -> Bool[np.ndarray, "V"]:
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        _raise_error(self._matcher, "the grammar became too costly to follow")
        return np.unpackbits(bits, count=self._vocab_size, bitorder="little").view(np.bool_)

    def accept(self, token_id: int) -> None:
        if self.done and token_id in self._stop_ids:
            return
        self._matcher.consume_token(token_id)
        _raise_error(self._matcher, f"token {token_id} is not what the grammar allows here")


class _Vocabulary:
    """What llguidance wants to know of a tokenizer."""

    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer, stop_id: int) -> None:
        self.eos_token_id = stop_id
        self.tokens = [tokenizer.token_bytes(token_id) for token_id in range(tokenizer.vocab_size)]
        self.special_token_ids = sorted(tokenizer.special_ids.values())
        self._tokenizer = tokenizer

    def __call__(self, text: bytes) -> list[int]:
        return self._tokenizer.encode(text.decode("utf-8", errors="replace"))


def _with_layout(schema: Mapping[str, Any], layout: Mapping[str, Any], where: str) -> dict[str, Any]:
    check_schema(schema, where)
    return {**without_discriminators(schema), "x-guidance": {**layout, **_CHOICES}}


def _arguments(tool: Tool) -> dict[str, Any]:
    """The schema of a tool's arguments, which are an object whatever else it says."""
    kinds = tool.parameters.get("type", "object")
    if kinds != "object" and not (isinstance(kinds, list | tuple) and "object" in kinds):
        raise RequestError(
            f"the parameters of the tool {tool.name} must have the type 'object', not {kinds!r:.40}"
        )
    return _with_layout({**tool.parameters, "type": "object"}, _TOOL_LAYOUT, f"tools.{tool.name}.parameters")


def _call_head(name: str) -> str:
    return f'{{"name": {json.dumps(name, ensure_ascii=False)}, "arguments": '


def _quoted(text: str) -> str:
    """A literal of the Lark dialect."""
    return json.dumps(text, ensure_ascii=False)


def _raise_error(matcher: LLMatcher, what: str) -> None:
    if matcher.is_error():
        reason = " ".join(matcher.get_error().removesuffix("<non-verbose/>").split())
        raise RequestError(f"{what}: {reason[:300]}")
