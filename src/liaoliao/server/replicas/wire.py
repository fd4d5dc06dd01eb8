"""What goes between the front and its replicas: plain values, which any process can read.

    Refusal.of(OverloadedError("...", retry_after_s=2.0)).error()     ->  the same error, on the other side
    Report(instance, pid, max_length, ..., stats)                         how a replica is

An error is told as a value: as an exception it would come out as one of Ray's, and without its facts.
"""

from abc import abstractmethod
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from liaoliao.engine.engine import EngineStats
from liaoliao.engine.load import RunnerDtype
from liaoliao.engine.request import Request, TokenEvent
from liaoliao.engine.speculate import DRAFTS
from liaoliao.errors import CheckpointError, ContextLengthError, LiaoError, OverloadedError, RequestError
from liaoliao.server.failures import ApiError

Job: TypeAlias = Literal["score", "score_top", "embed"]
_Plain: TypeAlias = type[RequestError] | type[CheckpointError]
_PLAIN: dict[str, _Plain] = {kind.__name__: kind for kind in (RequestError, CheckpointError)}


class ReplicaLostError(OverloadedError):
    """The replica has ended or cannot be reached: another one may do the same."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retry_after_s=1.0)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error of the engine. `numbers` are what its class wants to know besides the message."""

    kind: str
    message: str
    numbers: tuple[int | float, ...] = ()

    @classmethod
    def of(cls, error: Exception) -> "Refusal":
        """An error as a value."""
        match error:
            case OverloadedError():
                return cls("OverloadedError", str(error), (error.retry_after_s,))
            case ContextLengthError():
                return cls("ContextLengthError", str(error), (error.num_tokens, error.max_length))
            case RequestError() | CheckpointError():
                return cls(type(error).__name__, str(error))
        return cls("", f"{type(error).__name__}: {error}")

    def error(self) -> LiaoError:
        """The error again; one that is not of the engine's own kinds is an ApiError with status 500."""
        match self.kind, self.numbers:
            case "OverloadedError", (retry_after_s,):
                return OverloadedError(self.message, retry_after_s=retry_after_s)
            case "ContextLengthError", (num_tokens, max_length):
                return ContextLengthError(
                    self.message, num_tokens=int(num_tokens), max_length=int(max_length)
                )
            case kind, _ if kind in _PLAIN:
                return _PLAIN[kind](self.message)
        told = "The server had an error while processing your request."
        return ApiError(told, status=500, type="server_error")


Piece: TypeAlias = tuple[TokenEvent, ...] | Refusal


@dataclass(frozen=True, slots=True)
class ReplicaPlan:
    """How a replica is to be loaded. `max_waiting` is its own share of the queue; `num_threads` None: its machine's."""

    folder: Path
    dtype: RunnerDtype = "auto"
    device: str = "auto"
    max_running: int = 64
    max_waiting: int = 256
    speculate: int = DRAFTS
    num_threads: int | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """How a replica is. `instance` is another one after each start."""

    instance: str
    pid: int
    max_length: int
    vocab_size: int
    max_running: int
    stats: EngineStats


@runtime_checkable
class Replica(Protocol):
    """A replica as the front sees it. Everything here raises ReplicaLostError when it has ended."""

    @abstractmethod
    def stream(self, request: Request) -> AsyncGenerator[Piece, None]:
        """First `()`, when the request has arrived; then the events of the reply, some at a time, or a Refusal and the
        end. Closing the generator aborts the request.
        """

    @abstractmethod
    async def work(self, job: Job, *args: Any) -> Any:
        """What the engine's method of this name gives back, or a Refusal; vectors as numpy arrays."""

    @abstractmethod
    def report(self, timeout_s: float) -> Report:
        """Ask how it is, and wait for the answer. Any thread may."""
