"""What Prometheus can read: counts and times of requests, and the state of every engine.

    metrics = Metrics(); metrics.request("POST", "/v1/embeddings", 200, 0.12)
    metrics.text()  ->  b'...liaoliao_requests_total{method="POST",route="/v1/embeddings",status="200"} 1.0...'

Each app has a registry of its own. The labels are routes of the app, statuses and models' names: nothing that a
client makes up, so their number is bounded.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

_METHODS = frozenset({"GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"})
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_STEP_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


@runtime_checkable
class CountedEngine(Protocol):
    """The part of an engine that is needed here."""

    def stats(self) -> Any:
        """An `EngineStats`."""


@runtime_checkable
class CountedModel(Protocol):
    """The part of a `ServedModel` that is needed here."""

    @property
    def engine(self) -> Any:
        """A CountedEngine."""


Models = Callable[[], Mapping[str, CountedModel]]  # by name, asked anew each time


class Metrics:
    """The instruments of one app."""

    def __init__(self, models: Models = dict) -> None:
        self.registry = registry = CollectorRegistry()
        by_route = ("method", "route", "status")
        self._requests = Counter("liaoliao_requests", "Requests answered", by_route, registry=registry)
        self._seconds = Histogram(
            "liaoliao_request_seconds", "Time to the end of a reply", ("route",), buckets=_SECONDS,
            registry=registry,
        )  # fmt: skip
        self._first = Histogram(
            "liaoliao_time_to_first_token_seconds", "Time to the first event of a streamed reply", ("route",),
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self._between = Histogram(
            "liaoliao_inter_token_seconds", "Time between two events of a streamed reply", ("route",),
            buckets=_STEP_SECONDS, registry=registry,
        )  # fmt: skip
        self._gone = Counter(
            "liaoliao_disconnects", "Requests whose client left before the end", ("route",), registry=registry
        )
        self.in_flight = Gauge("liaoliao_requests_in_flight", "Requests being served", registry=registry)
        registry.register(_Engines(models))

    def request(self, method: str, route: str, status: int, seconds: float, *, gone: bool = False) -> None:
        """A request has ended."""
        self._requests.labels(method if method in _METHODS else "OTHER", route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        if gone:
            self._gone.labels(route).inc()

    def first_event(self, route: str, seconds: float) -> None:
        """A streamed reply has begun."""
        self._first.labels(route).observe(seconds)

    def next_event(self, route: str, seconds: float) -> None:
        """A streamed reply went on."""
        self._between.labels(route).observe(seconds)

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)


class _Engines:
    """Reads the engines' own counters when somebody asks."""

    def __init__(self, models: Models) -> None:
        self._models = models

    def collect(self) -> Iterator[Metric]:
        stats = {name: model.engine.stats() for name, model in self._models().items()}
        for name, told, read in _GAUGES:
            yield _family(GaugeMetricFamily(f"liaoliao_{name}", told, labels=["model"]), stats, read)
        for name, told, read in _COUNTERS:
            yield _family(CounterMetricFamily(f"liaoliao_{name}", told, labels=["model"]), stats, read)


def _family(
    family: GaugeMetricFamily | CounterMetricFamily, stats: Mapping[str, Any], read: Callable[[Any], int]
) -> Metric:
    for model, one in stats.items():
        family.add_metric([model], read(one))
    return family


_GAUGES: tuple[tuple[str, str, Callable[[Any], int]], ...] = (
    ("running", "Requests in the batch", lambda stats: stats.num_running),
    ("waiting", "Requests that wait for a place in the batch", lambda stats: stats.num_waiting),
    ("kv_blocks", "Blocks of the key-value cache", lambda stats: stats.num_blocks),
    ("kv_blocks_used", "Blocks that a request holds", lambda stats: stats.num_blocks - stats.num_free_blocks),
)
_COUNTERS: tuple[tuple[str, str, Callable[[Any], int]], ...] = (
    ("prompt_tokens", "Tokens of prompts", lambda stats: stats.prompt_tokens),
    ("cached_tokens", "Tokens of prompts that were in the cache", lambda stats: stats.cached_tokens),
    ("generated_tokens", "Tokens of replies", lambda stats: stats.generated_tokens),
    ("preemptions", "Requests put back for lack of blocks", lambda stats: stats.preemptions),
    ("drafted_tokens", "Tokens that speculation guessed", lambda stats: stats.speculated),
    ("accepted_tokens", "Guessed tokens that were right", lambda stats: stats.accepted),
)
