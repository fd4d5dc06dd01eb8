"""A stand-in for the part of vLLM that `server.vllm_engine` uses, true to its documented interface: names, defaults,
ranges, deltas of several tokens, logprobs as mappings. What it says is made by an engine of ours.

    vllm = stand_in(FakeRunner())        a `Vllm`, for `VllmEngine(vllm, vllm.engine.from_engine_args(...), ...)`
    installed(monkeypatch, runner)       importable as `vllm`

It shows that we keep to the interface as it is written down; `make test-vllm` asks vLLM itself.
"""

import enum
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, TypedDict

import pytest

from liaoliao.engine import request as ours
from liaoliao.engine.async_engine import AsyncEngine
from liaoliao.engine.engine import Engine
from liaoliao.engine.runner import Runner
from liaoliao.server.vllm_engine import Vllm


class RequestOutputKind(enum.Enum):
    CUMULATIVE = 0
    DELTA = 1
    FINAL_ONLY = 2


class TokensPrompt(TypedDict):
    prompt_token_ids: list[int]


@dataclass
class SamplingParams:
    n: int = 1
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    stop: list[str] | None = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool = False
    max_tokens: int | None = 16
    min_tokens: int = 0
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    detokenize: bool = True
    skip_special_tokens: bool = True
    include_stop_str_in_output: bool = False
    output_kind: RequestOutputKind = RequestOutputKind.CUMULATIVE
    logit_bias: dict[int, float] | None = None
    allowed_token_ids: list[int] | None = None

    def __post_init__(self) -> None:
        right = (
            -2.0 <= self.presence_penalty <= 2.0
            and -2.0 <= self.frequency_penalty <= 2.0
            and self.repetition_penalty > 0.0
            and self.temperature >= 0.0
            and 0.0 < self.top_p <= 1.0
            and self.top_k >= -1
            and 0.0 <= self.min_p <= 1.0
            and (self.max_tokens is None or self.max_tokens >= 1)
            and (self.seed is None or -(2**63) <= self.seed < 2**63)
            and (self.stop_token_ids is None or isinstance(self.stop_token_ids, list))
        )
        if not right:
            raise ValueError(f"out of range: {self}")


@dataclass
class Logprob:
    logprob: float
    rank: int | None = None
    decoded_token: str | None = None


@dataclass
class CompletionOutput:
    index: int
    text: str
    token_ids: Sequence[int]
    cumulative_logprob: float | None
    logprobs: list[dict[int, Logprob]] | None
    finish_reason: str | None = None
    stop_reason: int | str | None = None


@dataclass
class RequestOutput:
    request_id: str
    prompt: str | None
    prompt_token_ids: list[int] | None
    prompt_logprobs: list[dict[int, Logprob] | None] | None
    outputs: list[CompletionOutput]
    finished: bool
    num_cached_tokens: int | None = None


@dataclass
class AsyncEngineArgs:
    model: str
    skip_tokenizer_init: bool = False
    dtype: str = "auto"
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    max_logprobs: int = 20
    enable_prefix_caching: bool | None = None
    generation_config: str = "auto"
    disable_log_stats: bool = False
    gpu_memory_utilization: float = 0.92


@dataclass
class AsyncLLM:
    """Gives the first token alone, then pairs of them, as a busy vLLM does."""

    args: AsyncEngineArgs
    engine: AsyncEngine
    asked: list[SamplingParams] = field(default_factory=list)
    request_ids: list[str] = field(default_factory=list)
    end_as: str | None = None  # a finish reason to say instead of any other
    is_shut_down: bool = False

    async def generate(
        self, prompt: TokensPrompt, sampling_params: SamplingParams, request_id: str
    ) -> AsyncGenerator[RequestOutput, None]:
        assert request_id not in self.request_ids and set(prompt) == {"prompt_token_ids"}
        assert not sampling_params.detokenize and self.args.skip_tokenizer_init  # there is no tokenizer
        self.asked.append(sampling_params)
        self.request_ids.append(request_id)
        ids = prompt["prompt_token_ids"]
        if len(ids) >= (self.args.max_model_len or 0):
            raise ValueError(f"the prompt (length {len(ids)}) is longer than the model's {self.args}")
        scores = await self._prompt_logprobs(ids, sampling_params)
        made: list[ours.TokenEvent] = []
        async with aclosing(self.engine.stream(_request(ids, sampling_params))) as events:
            async for event in events:
                made.append(event)
                deltas = sampling_params.output_kind is RequestOutputKind.DELTA
                if event.finish_reason or (deltas and (len(made) == 2 or len(self.asked) % 2 == 0)):
                    yield self._output(request_id, ids, scores, made, sampling_params)
                    made = []

    def shutdown(self) -> None:
        self.is_shut_down = True
        self.engine.close()

    def _output(
        self,
        request_id: str,
        ids: list[int],
        scores: Any,
        made: list[ours.TokenEvent],
        params: SamplingParams,
    ) -> RequestOutput:
        reason = self.end_as or made[-1].finish_reason
        rows = [_row(event) for event in made] if params.logprobs is not None else None
        output = CompletionOutput(0, "", [event.token_id for event in made], None, rows, reason)
        return RequestOutput(request_id, None, ids, scores, [output], reason is not None, made[0].num_cached)

    async def _prompt_logprobs(
        self, ids: list[int], params: SamplingParams
    ) -> list[dict[int, Logprob] | None] | None:
        if params.prompt_logprobs is None:
            return None
        [events] = await self.engine.score_top([ids], params.prompt_logprobs)
        return [None, *(_row(event) for event in events[1:])]


def _row(event: ours.TokenEvent) -> dict[int, Logprob]:
    """The chosen token first, as vLLM has it, then the others by rank."""
    row = {event.token_id: Logprob(event.logprob)}
    for rank, (token_id, logprob) in enumerate(event.top_logprobs, 1):
        row[token_id] = Logprob(logprob, rank)
    return row


def _request(ids: Sequence[int], params: SamplingParams) -> ours.Request:
    """What vLLM would make of it, in our words."""
    return ours.Request(
        tuple(ids),
        ours.SamplingParams(
            max_tokens=params.max_tokens,
            temperature=params.temperature,
            top_p=params.top_p,
            top_k=max(params.top_k, 0),
            min_p=params.min_p,
            repetition_penalty=params.repetition_penalty,
            presence_penalty=params.presence_penalty,
            frequency_penalty=params.frequency_penalty,
            logit_bias=tuple((params.logit_bias or {}).items()),
            seed=params.seed,
            stop_token_ids=tuple(params.stop_token_ids or ()),
            logprobs=params.logprobs or 0,
            ignore_eos=True,  # without a tokenizer it knows of no other ends than it is told
        ),
    )


def stand_in(runner: Runner, *, max_running: int = 8) -> Vllm:
    """The interface, with an engine of ours on this runner behind it."""

    class Engine_(AsyncLLM):  # noqa: N801
        @classmethod
        def from_engine_args(cls, engine_args: AsyncEngineArgs) -> "Engine_":
            return cls(engine_args, AsyncEngine(Engine(runner, max_running=max_running), max_waiting=1000))

    return Vllm(AsyncEngineArgs, Engine_, SamplingParams, RequestOutputKind, TokensPrompt)


def installed(monkeypatch: pytest.MonkeyPatch, runner: Runner) -> Vllm:
    """The stand-in, to be imported under vLLM's names."""
    vllm = stand_in(runner)
    modules: Mapping[str, Mapping[str, Any]] = {
        "vllm": {
            "AsyncEngineArgs": vllm.engine_args,
            "SamplingParams": vllm.sampling_params,
            "TokensPrompt": vllm.tokens_prompt,
        },
        "vllm.sampling_params": {"RequestOutputKind": vllm.output_kind},
        "vllm.v1": {},
        "vllm.v1.engine": {},
        "vllm.v1.engine.async_llm": {"AsyncLLM": vllm.engine},
    }
    for name, members in modules.items():
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    return vllm
