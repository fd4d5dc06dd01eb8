"""vLLM behind the same routes, where it is installed: `liaoliao serve MODEL --backend vllm`.

    served = served_vllm("path/to/Qwen3-8B", dtype="bf16")
    app = create_app(settings, [served])

Text stays ours: vLLM is given token ids and gives token ids back, through its `AsyncLLM` (version 1 of its engine), whose
prefix cache, scheduler and kernels it is used for. What it cannot do as we promise it is refused by name: grammars
(response formats, forced tool calls, bounded thinking), embeddings, weights in int8 or int4, and drafts.
"""

import asyncio
import importlib
import itertools
import os
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from liaoliao.chat.assistant import check_vocabulary, load_text
from liaoliao.engine.engine import EngineStats
from liaoliao.engine.load import OnProgress, RunnerDtype
from liaoliao.engine.request import (
    MAX_TOP_LOGPROBS,
    FinishReason,
    Grammar,
    Request,
    TokenEvent,
    check_ids,
)
from liaoliao.errors import ContextLengthError, OverloadedError, RequestError, UsageError
from liaoliao.messages import Tool
from liaoliao.model.checkpoint import load_config
from liaoliao.model.registry import resolve
from liaoliao.server.served import ServedModel, served_by

_DTYPES: Mapping[str, str] = {"auto": "auto", "fp32": "float32", "bf16": "bfloat16"}
# Settings that have one name and one meaning on both sides.
_SAME = (
    "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "logprobs",
)  # fmt: skip
_CPU_MEMORY_SHARE = 0.5  # vLLM takes nine tenths by itself, which suits a GPU that has nothing else to do
_RETRY_S = 5.0
_DRAIN_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Vllm:
    """The parts of vLLM that are used."""

    engine_args: Any  # AsyncEngineArgs
    engine: Any  # AsyncLLM
    sampling_params: Any  # SamplingParams
    output_kind: Any  # RequestOutputKind
    tokens_prompt: Any  # TokensPrompt

    @classmethod
    def load(cls) -> "Vllm":
        """Import them; nothing is told to anyone about their use. Raises UsageError where they are missing."""
        os.environ["VLLM_NO_USAGE_STATS"] = "1"
        try:
            vllm = importlib.import_module("vllm")
            params = importlib.import_module("vllm.sampling_params")
            engine = importlib.import_module("vllm.v1.engine.async_llm")
            return cls(
                vllm.AsyncEngineArgs, engine.AsyncLLM, vllm.SamplingParams, params.RequestOutputKind,
                vllm.TokensPrompt,
            )  # fmt: skip
        except (ImportError, AttributeError) as error:
            raise UsageError(
                f"--backend vllm needs vLLM, a version with its engine 1 ({error}); install it as its own guide says "
                "for this machine, and leave --backend away until then"
            ) from error


def served_vllm(
    model: str | Path,
    *,
    dtype: RunnerDtype = "auto",
    max_running: int = 64,
    max_waiting: int = 256,
    speculate: int | None = None,
    on_progress: OnProgress = lambda line: None,
) -> ServedModel:
    """Load a registered name or a model folder into vLLM. Raises UsageError and CheckpointError as `served.served_model`
    does, and UsageError where vLLM is missing or cannot run this model here.
    """
    if dtype not in _DTYPES:
        raise UsageError(f"--dtype {dtype} is not possible with --backend vllm; it takes auto, fp32 or bf16")
    if speculate:
        raise UsageError(
            "--speculate is not possible with --backend vllm: drafts are of our own engine; leave one of them away"
        )
    vllm, folder = Vllm.load(), resolve(model).absolute()
    config, text = load_config(folder), load_text(folder)
    check_vocabulary(folder, text.tokenizer, config.vocab_size)
    on_progress("starting vLLM")
    memory = {} if torch.cuda.is_available() else {"gpu_memory_utilization": _CPU_MEMORY_SHARE}
    args = vllm.engine_args(
        model=str(folder), skip_tokenizer_init=True, dtype=_DTYPES[dtype], max_num_seqs=max_running,
        max_model_len=config.max_position_embeddings, max_logprobs=MAX_TOP_LOGPROBS,
        enable_prefix_caching=True, generation_config="vllm", disable_log_stats=True, **memory,
    )  # fmt: skip
    try:
        llm = vllm.engine.from_engine_args(args)
    except (RuntimeError, ValueError, OSError) as error:
        raise UsageError(f"vLLM cannot run {folder} here: {error}") from error
    engine = VllmEngine(
        vllm, llm, max_length=config.max_position_embeddings, vocab_size=config.vocab_size,
        eos_ids=_as_tuple(config.eos_token_id), max_running=max_running, max_waiting=max_waiting,
    )  # fmt: skip
    return served_by(engine, model, text, NoGrammars())


class NoGrammars:
    """Refuses what would need a grammar, each by its name."""

    def json_object(self) -> Grammar:
        """Refused."""
        raise _cannot("response_format json_object")

    def json_schema(self, schema: Mapping[str, Any]) -> Grammar:
        """Refused."""
        raise _cannot("response_format json_schema")

    def tool_call(self, tools: Sequence[Tool], *, name: str | None = None) -> Grammar:
        """Refused."""
        raise _cannot("forced or strict tool calls")


class VllmEngine:
    """A `ServedEngine` around an `AsyncLLM` that was given no tokenizer. At most `max_waiting` requests wait beside those
    that run.
    """

    def __init__(
        self,
        vllm: Vllm,
        llm: Any,
        *,
        max_length: int,
        vocab_size: int,
        eos_ids: tuple[int, ...],
        max_running: int = 64,
        max_waiting: int = 256,
    ) -> None:
        self._vllm, self._llm = vllm, llm
        self._max_length, self._vocab_size, self._eos_ids = max_length, vocab_size, eos_ids
        self._max_running, self._max_waiting = max_running, max_waiting
        self._ids = itertools.count()
        self._num_open = self._num_read = self._num_cached = self._num_made = 0
        self._accepting, self._closed = True, False

    @property
    def max_length(self) -> int:
        """Tokens that a prompt and its reply may have together."""
        return self._max_length

    @property
    def accepting(self) -> bool:
        """Whether requests are taken: not once it drains or was closed."""
        return self._accepting

    @property
    def vocab_size(self) -> int:
        """Token ids go from 0 to one less."""
        return self._vocab_size

    async def stream(self, request: Request) -> AsyncGenerator[TokenEvent, None]:
        """The events of one reply. Closing the generator aborts it.

        Raises ContextLengthError or RequestError for a bad request, RequestError for one with a grammar, and
        OverloadedError while too many wait, unless the request has `begun`.
        """
        if request.grammar is not None:
            raise _cannot("grammars, nor bounds on thinking")
        if not request.token_ids:
            raise RequestError("the prompt is empty; it needs at least one token")
        self._check(request.token_ids)
        first = True
        with self._counted(begun=request.begun):
            async with aclosing(self._generate(request.token_ids, self._params(request))) as outputs:
                async for output in outputs:
                    for event in _events(output, request.params.logprobs):
                        self._count(request, event, first)
                        first = False
                        yield event
                        if event.finish_reason:
                            return
        raise OverloadedError("vLLM ended the reply before its end; ask again", retry_after_s=_RETRY_S)

    async def score(self, batch: Sequence[Sequence[int]]) -> list[list[float]]:
        """The logprob of every token given those before it; 0.0 for the first."""
        return [[event.logprob for event in events] for events in await self.score_top(batch, 0)]

    async def score_top(self, batch: Sequence[Sequence[int]], num_top: int) -> list[list[TokenEvent]]:
        """Each token with its logprob as in `score`, and `num_top` alternatives beside it (none for the first)."""
        for token_ids in batch:
            self._check(token_ids)
        with self._counted():
            return list(await asyncio.gather(*(self._score(token_ids, num_top) for token_ids in batch)))

    async def embed(self, batch: Sequence[Sequence[int]]) -> Float[Tensor, "B D"]:
        """Refused."""
        raise _cannot("embeddings")

    def stats(self) -> EngineStats:
        """Figures of this moment, as far as they are known on this side of vLLM: its blocks are not."""
        return EngineStats(
            num_running=min(self._num_open, self._max_running),
            num_waiting=max(self._num_open - self._max_running, 0),
            num_blocks=0, num_free_blocks=0, prompt_tokens=self._num_read, cached_tokens=self._num_cached,
            generated_tokens=self._num_made, preemptions=0, speculated=0, accepted=0, version="",
        )  # fmt: skip

    async def drain(self, timeout_s: float) -> bool:
        """Accept nothing more and wait for what runs; whether it came to its end in time."""
        self._accepting = False
        deadline = time.monotonic() + timeout_s
        while self._num_open and time.monotonic() < deadline:
            await asyncio.sleep(_DRAIN_POLL_S)
        return not self._num_open

    def close(self) -> None:
        """Stop for good."""
        self._accepting, self._closed = False, True
        self._llm.shutdown()

    # ------------------------------------------------------------ inside

    async def _generate(self, token_ids: Sequence[int], params: Any) -> AsyncGenerator[Any, None]:
        """vLLM's outputs. A ValueError is what it refuses a request with."""
        prompt = self._vllm.tokens_prompt(prompt_token_ids=list(token_ids))
        try:
            async with aclosing(self._llm.generate(prompt, params, f"liaoliao-{next(self._ids)}")) as outputs:
                async for output in outputs:
                    yield output
        except ValueError as error:
            raise RequestError(f"vLLM refuses the request: {error}") from error

    async def _score(self, token_ids: Sequence[int], num_top: int) -> list[TokenEvent]:
        if len(token_ids) < 2:
            return [TokenEvent(token_id, 0.0) for token_id in token_ids]
        params = self._vllm.sampling_params(
            max_tokens=1, temperature=0.0, prompt_logprobs=num_top, detokenize=False,
            output_kind=self._vllm.output_kind.FINAL_ONLY,
        )  # fmt: skip
        async with aclosing(self._generate(token_ids, params)) as outputs:
            rows = [output.prompt_logprobs async for output in outputs][-1]
        return [
            TokenEvent(token_id, *(_row(row, token_id, num_top) if row else (0.0, ())))
            for token_id, row in zip(token_ids, rows, strict=True)
        ]

    def _params(self, request: Request) -> Any:
        """Our settings in vLLM's words. Both speak of logprobs of the bare model, and of the same penalties."""
        asked, room = request.params, self._max_length - len(request.token_ids)
        eos_ids = () if asked.ignore_eos else self._eos_ids
        return self._vllm.sampling_params(
            max_tokens=min(asked.max_tokens or room, room),
            seed=None if asked.seed is None else asked.seed % 2**63,
            stop_token_ids=sorted({*asked.stop_token_ids, *eos_ids}),
            logit_bias=dict(asked.logit_bias) or None,
            ignore_eos=asked.ignore_eos,
            detokenize=False,
            output_kind=self._vllm.output_kind.DELTA,
            **{name: getattr(asked, name) for name in _SAME},
        )

    def _check(self, token_ids: Sequence[int]) -> None:
        """Raise ContextLengthError where there is no room for one token more, RequestError for foreign ids."""
        if len(token_ids) >= self._max_length:
            raise ContextLengthError(
                f"the text has {len(token_ids)} tokens and the context holds {self._max_length}, one more included",
                num_tokens=len(token_ids),
                max_length=self._max_length,
            )
        check_ids(token_ids, self._vocab_size)

    @contextmanager
    def _counted(self, *, begun: bool = False) -> Iterator[None]:
        if self._closed or not (self._accepting or begun):
            raise OverloadedError("the engine is shutting down", retry_after_s=_RETRY_S)
        if self._num_open >= self._max_running + self._max_waiting and not begun:
            told = f"{self._num_open - self._max_running} requests are waiting; try again later"
            raise OverloadedError(told, retry_after_s=_RETRY_S)
        self._num_open += 1
        try:
            yield
        finally:
            self._num_open -= 1

    def _count(self, request: Request, event: TokenEvent, first: bool) -> None:
        self._num_made += 1
        if first:
            self._num_read += len(request.token_ids)
            self._num_cached += event.num_cached


def _events(output: Any, num_top: int) -> Iterator[TokenEvent]:
    """What is new in an output. Raises OverloadedError where vLLM has dropped the request."""
    [made] = output.outputs
    if made.finish_reason not in (None, "stop", "length"):
        raise OverloadedError(f"vLLM ended the reply ({made.finish_reason})", retry_after_s=_RETRY_S)
    for i, (token_id, row) in enumerate(zip(made.token_ids, made.logprobs, strict=True), 1):
        reason: FinishReason | None = made.finish_reason if i == len(made.token_ids) else None
        yield TokenEvent(token_id, *_row(row, token_id, num_top), reason, output.num_cached_tokens or 0)


def _row(row: Mapping[int, Any], token_id: int, num_top: int) -> tuple[float, tuple[tuple[int, float], ...]]:
    """The logprob of a token, and the likeliest of all in its place; vLLM adds the token itself to these."""
    best = sorted(((other, float(entry.logprob)) for other, entry in row.items()), key=lambda pair: -pair[1])
    return float(row[token_id].logprob), tuple(best[:num_top])


def _as_tuple(token_ids: int | Sequence[int] | None) -> tuple[int, ...]:
    if token_ids is None:
        return ()
    return (token_ids,) if isinstance(token_ids, int) else tuple(token_ids)


def _cannot(what: str) -> RequestError:
    return RequestError(
        f"this server runs on vLLM and cannot do {what}; `liaoliao serve` without --backend can"
    )
