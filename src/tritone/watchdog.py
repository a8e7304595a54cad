"""Notices models whose stub process is dead or hung, and reloads that model alone while the others keep serving.

Triton restarts no stub, and before 26.04 even calls itself ready while every request of the model fails. Two signs:

    a stub that is gone or a zombie    seen in the process table every second, at no cost
    a canary request without answer    one at a time to each Python model; it takes long to count as hung, as a
                                       model may be busy for a while
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import grpc
import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

from tritone import control
from tritone.control import Control
from tritone.repository import Model, users_of

TICK_S = 1.0
LONGEST_PAUSE_S = 60.0  # between attempts to load a model that does not load


@dataclass(frozen=True)
class Patience:
    """How often a model is sent a canary, and how long it may leave one without an answer until it counts as hung."""

    interval_s: float
    hung_after_s: float


class Metrics:
    """What the watchdog tells Prometheus."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.restarts = Counter(
            "tritone_stub_restarts", "Times a dead or hung model was reloaded", ["model"], registry=self._registry
        )
        self.up = Gauge(
            "tritone_model_up",
            "1 while the model's stub answers, 0 while it does not",
            ["model"],
            registry=self._registry,
        )

    def serve(self, host: str, port: int) -> Callable[[], None]:
        """Serve /metrics from now on; returns what ends it."""
        server, thread = start_http_server(port, host, self._registry)

        def close() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return close


class Watchdog:
    """Guards each Python model of one server."""

    def __init__(
        self,
        server: psutil.Process,
        access: Control,
        models: Sequence[Model],
        patience: Patience,
        say: Callable[[str], None],
    ) -> None:
        """`say` gets one line for each event."""
        self.metrics = Metrics()
        self._access = access
        self._models = list(models)
        self._say = say
        self._stopped = threading.Event()
        # One reload at a time: an ensemble of two models that are both being reloaded would not come back.
        self._reloading = threading.Lock()
        guarded = [model for model in models if model.is_python]
        self._pool = ThreadPoolExecutor(max(1, 2 * len(guarded)), thread_name_prefix="canary")  # old and new instance
        self._guards = [Guard(model, server, access, patience, self._pool) for model in guarded]
        self._threads = [threading.Thread(target=self._watch, args=(guard,), daemon=True) for guard in self._guards]

    def start(self) -> None:
        """Watch from now on; all models must be ready."""
        for guard, thread in zip(self._guards, self._threads, strict=True):
            guard.meet()
            self.metrics.restarts.labels(guard.model.name)  # shows 0 from the start
            self.metrics.up.labels(guard.model.name).set(1)
            thread.start()

    def stop(self) -> None:
        """Stop watching at once; a reload under way is left to end by itself."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(TICK_S)  # it may be waiting for a reload, which ends with the connection
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _watch(self, guard: Guard) -> None:
        pause = TICK_S
        while not self._stopped.wait(pause):
            fault = guard.fault()
            # A server that has died takes all its stubs along; that is for `tritone serve` to see.
            if fault is None or self._stopped.is_set() or not guard.server_lives():
                continue
            pause = TICK_S if self._restart(guard, fault) else min(2 * pause, LONGEST_PAUSE_S)

    def _restart(self, guard: Guard, fault: str) -> bool:
        """Reload the model and the ensembles over it; False if it did not load, so that it is still to be done."""
        name = guard.model.name
        self.metrics.up.labels(name).set(0)
        self._say(f"watchdog: model '{name}': {fault}; reloading it")
        with self._reloading:
            start = time.monotonic()
            guard.kill()
            try:
                self._access.reload(name)
                self._reload_users(name)
            except (grpc.RpcError, ValueError) as error:  # ValueError: the connection was closed meanwhile
                if not self._stopped.is_set():
                    cause = error.details() if isinstance(error, grpc.RpcError) else error
                    self._say(f"watchdog: model '{name}' did not load again: {cause}")
                return False
            guard.meet()
        self.metrics.up.labels(name).set(1)
        self.metrics.restarts.labels(name).inc()
        self._say(f"watchdog: model '{name}' is back after {time.monotonic() - start:.1f} s")
        return True

    def _reload_users(self, name: str) -> None:
        """Load the ensembles over a model where the server has not done so itself."""
        states = self._access.states()
        for user in users_of(name, self._models):
            if states.get(user.name) != "READY":
                self._access.load(user.name)


class Guard:
    """One Python model with its stub processes and its canary."""

    def __init__(
        self, model: Model, server: psutil.Process, access: Control, patience: Patience, pool: ThreadPoolExecutor
    ) -> None:
        self.model = model
        self._server = server
        self._access = access
        self._patience = patience
        self._pool = pool
        self._request = control.canary(model.name, model.config)
        self._stubs: list[psutil.Process] = []
        self._down = False
        self._finding: Future[bool] | None = None  # of the canary that is on its way
        self._turn = 0.0  # time.monotonic() when the next canary is due, or when the present one was sent

    def meet(self) -> None:
        """Take the model's present stubs for the ones to watch."""
        self._stubs = [stub for stub in self._server.children() if self._is_mine(stub)]
        self._down, self._finding = False, None
        self._turn = time.monotonic() + self._patience.interval_s

    def fault(self) -> str | None:
        """What is wrong with the model; None if nothing is known to be. Does not wait."""
        if self._down:
            return "it is not loaded"
        dead = [str(stub.pid) for stub in self._stubs if _is_dead(stub)]
        if dead:
            return f"stub process {', '.join(dead)} is dead"
        return self._canary_fault()

    def kill(self) -> None:
        """End all stubs of the model, so that requests which wait for a hung one fail instead of waiting on."""
        self._down = True
        for stub in self._stubs:
            if not _is_dead(stub):
                stub.kill()

    def server_lives(self) -> bool:
        """Whether the server itself still runs."""
        return not _is_dead(self._server)

    def _canary_fault(self) -> str | None:
        now = time.monotonic()
        if self._finding is None:
            if now >= self._turn:
                decoupled = self.model.config.model_transaction_policy.decoupled
                self._finding, self._turn = self._pool.submit(self._access.finds_dead, self._request, decoupled), now
            return None
        if not self._finding.done():
            silent = now - self._turn
            return (
                f"it has left a canary without answer for {silent:.0f} s"
                if silent > self._patience.hung_after_s
                else None
            )
        dead, self._finding, self._turn = self._finding.result(), None, now + self._patience.interval_s
        return "its stub is dead" if dead else None

    def _is_mine(self, process: psutil.Process) -> bool:
        """A stub's command line names the model.py it runs."""
        try:
            return any(argument.startswith(f"{self.model.folder}/") for argument in process.cmdline())
        except psutil.Error:
            return False


def _is_dead(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
