"""Replicas on Ray Serve: starts Ray, has it keep the replicas alive, and asks them.

    replicas, stop = start_replicas(ReplicaPlan(folder), 2, on_progress=print)
    engine = ReplicatedEngine(replicas, on_close=stop)

Each replica is an application of its own with one actor, so that the front says who is asked (`routing`) and Ray Serve only
who lives: it starts the actor where there is room, asks for its health, and starts another one when it has died.

Ray's processes run what they are sent (pickle), so whoever they listen to owns the machine. Started here, they listen on
loopback only, to those who know a token drawn at the start, without dashboard and without usage statistics; a cluster of
several machines is started by its owner, on a network of its own, and named by RAY_ADDRESS.
"""

import asyncio
import contextlib
import importlib
import ipaddress
import logging
import math
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from liaoliao.engine.load import OnProgress
from liaoliao.engine.request import Request
from liaoliao.errors import UsageError
from liaoliao.server.replicas.processes import descendants, exposed
from liaoliao.server.replicas.replica import EngineReplica
from liaoliao.server.replicas.wire import Job, Piece, Refusal, Replica, ReplicaLostError, ReplicaPlan, Report

ADDRESS = "RAY_ADDRESS"  # Ray's own name for it
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SERVE_LOG_TO_STDERR": "0",
    "RAY_ENABLE_AUTO_CONNECT": "0",  # whoever asks after the end must not start Ray again
    "GRPC_VERBOSITY": "ERROR",
}
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # on any system: no cluster, 127.0.0.1 is the node
_STORE_BYTES = 128 << 20  # of shared memory, for what is too large for a message: hardly anything
_SPARE_REQUESTS = 64  # besides those of clients: reports, and texts to score


class RayReplica:
    """A replica behind a handle of Ray Serve."""

    def __init__(self, handle: Any) -> None:
        self._handle, self._streaming = handle, handle.options(stream=True)
        ray, serve = _module("ray.exceptions"), _module("ray.serve.exceptions")
        self._failed: type[Exception] = ray.RayTaskError
        self._died: type[Exception] = ray.RayActorError
        self._any: tuple[type[Exception], ...] = (ray.RayError, serve.RayServeException)

    async def stream(self, request: Request) -> AsyncGenerator[Piece, None]:
        """See `wire.Replica.stream`."""
        response = self._streaming.stream.remote(request)
        at_its_end = False
        try:
            with self._losses():
                async for piece in response:
                    at_its_end = isinstance(piece, Refusal) or bool(piece and piece[-1].finish_reason)
                    yield piece
        finally:
            if not at_its_end:
                response.cancel()

    async def work(self, job: Job, *args: Any) -> Any:
        """See `wire.Replica.work`."""
        with self._losses():
            return await self._handle.work.remote(job, *args)

    def report(self, timeout_s: float) -> Report:
        """See `wire.Replica.report`."""
        try:
            response = self._handle.report.remote()
            try:
                report: Report = response.result(timeout_s=timeout_s)
            except TimeoutError:
                response.cancel()
                raise
        except Exception as error:  # whatever Ray says, it is no report
            raise ReplicaLostError(f"no report ({type(error).__name__})") from error
        return report

    @contextlib.contextmanager
    def _losses(self) -> Iterator[None]:
        """Errors of Ray become ours."""
        try:
            yield
        except self._any as error:
            if isinstance(error, self._failed) and not isinstance(error, self._died):
                raise Refusal.of(error).error() from error
            raise ReplicaLostError(f"it has ended ({type(error).__name__})") from error
        except asyncio.CancelledError as error:  # by its replica's end, unless by whoever reads it
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise ReplicaLostError("it is being stopped") from error


class LoopbackReplica(EngineReplica):
    """A replica whose process cannot be reached from other machines past Ray."""

    def __init__(self, plan: ReplicaPlan) -> None:
        _stay_on_loopback()
        super().__init__(plan)


def _stay_on_loopback() -> None:
    """Let the gRPC servers of this process listen on loopback only. Ray Serve opens one in each replica, on all addresses,
    as a second way for calls between deployments; ours come the first way, through Ray's actors, so nobody needs it.
    """
    server = importlib.import_module("grpc.aio._server").Server
    bind = server.add_insecure_port

    def add_insecure_port(self: Any, address: str) -> int:
        port: int = bind(self, f"127.0.0.1:{address.rpartition(':')[2]}")
        return port

    server.add_insecure_port = add_insecure_port


def start_replicas(
    plan: ReplicaPlan, num_replicas: int, *, on_progress: OnProgress = lambda line: None
) -> tuple[list[Replica], Callable[[], None]]:
    """Start so many replicas of a plan, each with its share of the processors (`num_threads` of the plan is overruled) and,
    where there are GPUs, one of them; and what stops them all.

    Raises UsageError where Ray is not installed, cannot be started or reached, or has no room, and for a replica that does
    not come up.
    """
    cluster = _Cluster(num_replicas, on_progress)
    try:
        handles = cluster.deploy(plan)
        return [RayReplica(handle) for handle in handles], cluster.stop
    except BaseException:
        cluster.stop()
        raise


class _Cluster:
    """Ray: the one at RAY_ADDRESS, or one of our own that lives as long as we do."""

    def __init__(self, num_replicas: int, on_progress: OnProgress) -> None:
        self._num_replicas, self._say = num_replicas, on_progress
        self._address, self._folder = os.environ.get(ADDRESS, ""), ""
        ours = f"liaoliao-{secrets.token_hex(4)}"
        self._names = [f"{ours}-{i}" for i in range(num_replicas)]
        self._prepare_environment()
        self._ray, self._serve = _module("ray"), _module("ray.serve")
        try:
            if self._address:
                self._join()
            else:
                self._start()
        except (RuntimeError, ValueError, ConnectionError, OSError) as error:
            self.stop()
            raise UsageError(f"Ray cannot be used: {_last_line(error)}") from error

    def _prepare_environment(self) -> None:
        """What Ray reads while it is imported, and its processes when they start."""
        os.environ.update(_QUIET)
        if not self._address:
            os.environ.update(_LOOPBACK)
            os.environ.setdefault("RAY_AUTH_MODE", "token")
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))

    def deploy(self, plan: ReplicaPlan) -> list[Any]:
        """A handle for each replica, all of them up: the first alone, which compiles what all need."""
        share = self._share(plan.device)
        app = self._application(replace(plan, num_threads=share["num_cpus"]), share)
        targets = [self._serve.RunTarget(target=app, name=name, route_prefix=None) for name in self._names]
        try:
            first = self._serve.run_many(targets[:1])
            self._say(f"1 of {self._num_replicas} replicas is up ({share['num_cpus']} threads each)")
            handles = [*first, *(self._serve.run_many(targets[1:]) if targets[1:] else ())]
        except RuntimeError as error:
            raise UsageError(f"a replica does not come up: {_last_line(error)}") from error
        if not self._address and (open_to_others := exposed(descendants())):
            raise UsageError(
                f"Ray {self._ray.__version__} can be reached from other machines: {open_to_others}"
            )
        return handles

    def _application(self, plan: ReplicaPlan, share: dict[str, Any]) -> Any:
        deployment = self._serve.deployment(LoopbackReplica).options(
            name="engine", num_replicas=1, ray_actor_options=share,
            max_ongoing_requests=plan.max_running + plan.max_waiting + _SPARE_REQUESTS,
            health_check_period_s=2, health_check_timeout_s=30,
            graceful_shutdown_timeout_s=1, graceful_shutdown_wait_loop_s=0.1,
            logging_config={"enable_access_log": False, "log_level": "WARNING"},
        )  # fmt: skip
        return deployment.bind(plan)

    def stop(self) -> None:
        """End our replicas, and Ray if it was started here."""
        if not self._ray.is_initialized():
            self._clean()
            return
        if self._address:
            for name in self._names:
                with contextlib.suppress(Exception):  # the cluster may be gone, and then they are
                    self._serve.delete(name)
        self._ray.shutdown()
        self._clean()

    def _start(self) -> None:
        from liaoliao.engine.cpu.runner import default_threads

        self._say(f"starting {self._num_replicas} replicas on Ray {self._ray.__version__}")
        # The paths of Ray's sockets must be short.
        self._folder = tempfile.mkdtemp(prefix="ll-", dir="/tmp" if Path("/tmp").is_dir() else None)
        self._ray.init(
            "local", num_cpus=max(default_threads(), self._num_replicas), include_dashboard=False,
            log_to_driver=False, logging_level=logging.ERROR, object_store_memory=_STORE_BYTES,
            _temp_dir=self._folder, _system_config={"enable_metrics_collection": False, "worker_niceness": 0},
        )  # fmt: skip
        here = self._ray.util.get_node_ip_address()
        if not ipaddress.ip_address(here).is_loopback:  # `import ray` came before we could say how
            raise RuntimeError(f"it would listen on {here}, not on loopback only")
        self._begin_serve()

    def _join(self) -> None:
        self._say(f"starting {self._num_replicas} replicas in the Ray cluster {self._address}")
        self._ray.init(self._address, log_to_driver=False, logging_level=logging.ERROR)
        self._begin_serve()

    def _begin_serve(self) -> None:
        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        self._serve.start(proxy_location="Disabled")  # clients talk to our app, and it to the handles

    def _share(self, device: str) -> dict[str, Any]:
        """What a replica asks Ray for. Raises UsageError where there are fewer GPUs than replicas."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        nodes = [node for node in nodes if node.get("CPU", 0) >= 1] or [{"CPU": 1}]
        cpus = min(int(node["CPU"]) for node in nodes)
        share = max(1, cpus // math.ceil(self._num_replicas / len(nodes)))
        num_gpus = sum(int(node.get("GPU", 0)) for node in nodes)
        if device == "cpu" or not num_gpus:
            return {"num_cpus": share}
        if num_gpus < self._num_replicas:
            raise UsageError(f"--replicas {self._num_replicas} takes as many GPUs, and there are {num_gpus}")
        return {"num_cpus": share, "num_gpus": 1}

    def _clean(self) -> None:
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError("--replicas needs Ray; install it with: pip install 'liaoliao[replicas]'") from error


def _last_line(error: BaseException) -> str:
    """What a traceback in a message comes to."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
