"""Notices models whose processes are dead, ill or hung, and replaces each alone while the others keep serving.

Triton restarts no stub, and before 26.04 even calls itself ready while every request of the model fails. What the signs
of a fault are is in guard.py, how often and how patiently in policy.py.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge

from tritone import pulse
from tritone.server import repository
from tritone.server.control import Control
from tritone.server.repository import Model, users_of
from tritone.server.watching.guard import Guard, Pulses
from tritone.server.watching.policy import Budget, BudgetSpent, Policy
from tritone.server.watching.readiness import Readiness
from tritone.unmoved import LookingClock

TICK_S = 0.2
PULSES_S = 1.0  # between two readings of the pulse files
MOST_FAILED_LOOKS = 50  # in a row; then this is no watchdog any more


class Metrics:
    """What the watchdog tells Prometheus."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(name, text, ["model"], registry=self.registry)

        self.restarts = Counter(
            "tritone_stub_restarts", "Times a dead or hung model was reloaded", ["model"], registry=self.registry
        )
        self.errors = Counter("tritone_watchdog_errors", "Failures of the watchdog itself", registry=self.registry)
        self.up = gauge("tritone_model_up", "1 while the model's stub answers, 0 while it does not")
        self.in_flight = gauge("tritone_requests_in_flight", "Requests accepted and not answered, as the model counts")
        self.age = gauge("tritone_progress_age_seconds", "Since the last progress of a model that has work; else 0")
        self.restarted = gauge("tritone_last_restart_timestamp_seconds", "Unix time of the last restart; 0 if none")
        self.left = gauge("tritone_restarts_left", "Restarts before the whole server gives up")


class Watchdog:
    """Guards each Python model of one server."""

    def __init__(
        self,
        server: psutil.Process,
        access: Control,
        models: Sequence[Model],
        policy: Policy,
        say: Callable[[str], None],
        *,
        pulses: Path | None = None,
        token: str = "",
        readiness: Readiness | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """`say` gets one line for each event; `pulses` is the folder of the pulse files."""
        self.metrics = metrics or Metrics()
        self.fatal = ""  # why only a restart of the whole server can help
        self._access = access
        self._models = {model.name: model for model in models}
        self._policy = policy
        self._say_it = say
        self._folder = pulses
        self._readiness = readiness or Readiness([], 0.0)
        self._budget = Budget(policy)
        self._clock, self._read = LookingClock(), -PULSES_S
        self._pulses: Pulses = {}
        self._stopped = threading.Event()
        # Models load side by side, as many as there are processors; one that hangs leaves a place to the others.
        self._places = threading.BoundedSemaphore(max(2, len(os.sched_getaffinity(0))))
        self._ensembles = threading.Lock()
        guarded = [model for model in models if model.is_python]
        self._pool = ThreadPoolExecutor(max(1, 2 * len(guarded)), thread_name_prefix="canary")  # old and new instance
        self._guards = {model.name: Guard(model, server, access, policy, self._pool, token) for model in guarded}
        self._below = {name: repository.below(name, self._models) for name in self._guards}
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Watch from now on; all models must be ready."""
        for name, guard in self._guards.items():
            guard.meet(self._clock.now)
            for metric in (self.metrics.restarts, self.metrics.restarted, self.metrics.in_flight, self.metrics.age):
                metric.labels(name)  # shows 0 from the start
            self.metrics.left.labels(name).set(self._policy.most_restarts)
            self.metrics.up.labels(name).set(1)
        self._clock = LookingClock()  # what passed before is not counted
        self._thread.start()

    def stop(self) -> None:
        """Stop watching at once; a reload under way is left to end by itself."""
        self._stopped.set()
        self._thread.join(1.0)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def unasked(self) -> list[Guard]:
        """The models that have no pulse: what they have in hand, only their canary can tell."""
        return [guard for guard in self._guards.values() if not guard.pulses(self._pulses) and not guard.is_down()]

    # ---- looking

    def _watch(self) -> None:
        failed = 0
        try:
            while not self._stopped.wait(TICK_S):
                failed = 0 if self._look() else failed + 1
                if failed == MOST_FAILED_LOOKS:
                    raise RuntimeError(f"{failed} looks in a row have failed")
        except BaseException as error:
            self._give_up(f"the watchdog has ended ({type(error).__name__}: {error})")

    def _look(self) -> bool:
        """Look at every model once; False where that did not work for all."""
        self._clock.look()
        well = self._guarded(self._read_pulses)
        for guard in self._guards.values():
            if not guard.replacing:
                well &= self._guarded(lambda guard=guard: self._examine(guard))  # type: ignore[misc]
        return well

    def _examine(self, guard: Guard) -> None:
        fault = guard.fault(self._pulses, self._clock.now, self._progress_below(guard))
        # A server that has died takes all its stubs along; that is for `tritone serve` to see.
        if fault is None or self._stopped.is_set() or self.fatal or not guard.server_lives():
            return
        guard.replacing = True
        threading.Thread(target=self._replace, args=(guard, fault), name="replace", daemon=True).start()

    def _read_pulses(self) -> None:
        if self._folder is None or self._clock.now - self._read < PULSES_S:
            return
        self._read = self._clock.now
        self._pulses = {each.pid: each for each in pulse.read(self._folder) if each.alive}
        for name, guard in self._guards.items():
            mine = guard.pulses(self._pulses)
            self.metrics.in_flight.labels(name).set(sum(each.in_flight for each in mine))
            self.metrics.age.labels(name).set(guard.age_s())
            self.metrics.left.labels(name).set(self._budget.left(name, time.monotonic()))

    def _progress_below(self, guard: Guard) -> int:
        below = self._below[guard.model.name]
        return sum(each.progress for each in self._pulses.values() if each.model in below)

    # ---- replacing

    def _replace(self, guard: Guard, fault: str) -> None:
        """End the model's processes and load it again; what fails is tried again at a later look, while there is any
        of its budget left."""
        name = guard.model.name
        self._readiness.down(name)
        self._guarded(lambda: self._restart(guard, fault))
        self._budget.ended(name, time.monotonic())
        guard.replacing = False
        for neighbour in repository.neighbours(name, self._models) & self._guards.keys():
            self._guards[neighbour].hurry(self._clock.now)

    def _restart(self, guard: Guard, fault: str) -> None:
        name = guard.model.name
        self.metrics.up.labels(name).set(0)
        guard.kill()
        for neighbour in repository.neighbours(name, self._models) & self._guards.keys():
            self._guards[neighbour].hurry(self._clock.now)
        try:
            pause = self._budget.take(name, time.monotonic())
        except BudgetSpent as error:
            return self._give_up(f"{error} ({fault})")
        self._say(f"watchdog: model '{name}': {fault}; reloading it{f' in {pause:.0f} s' if pause >= 1 else ''}")
        if self._stopped.wait(pause):
            return None
        with self._places:
            start = time.monotonic()
            try:
                self._load(guard)
            except (grpc.RpcError, ValueError) as error:  # ValueError: the connection was closed meanwhile
                return self._did_not_load(name, error)
        self._readiness.up(name)
        self.metrics.up.labels(name).set(1)
        self.metrics.restarts.labels(name).inc()
        self.metrics.restarted.labels(name).set(time.time())
        return self._say(f"watchdog: model '{name}' is back after {time.monotonic() - start:.1f} s")

    def _load(self, guard: Guard) -> None:
        self._access.reload(guard.model.name, self._policy.load_timeout_s)
        if self._folder:
            self._guarded(lambda: pulse.remove_dead(self._folder))  # type: ignore[arg-type]
        # One at a time: of two parts that come back together, the later one has the ensemble over them loaded.
        with self._ensembles:
            guard.meet(self._clock.now)
            self._load_users(guard.model.name)

    def _load_users(self, name: str) -> None:
        """Load the ensembles over a model where the server has not done so itself."""
        users = users_of(name, self._models.values())
        states = self._access.states() if users else {}
        for user in users:
            parts = repository.below(user.name, self._models) & self._guards.keys()
            if states.get(user.name) != "READY" and not any(self._guards[part].is_down() for part in parts):
                self._access.load(user.name, self._policy.load_timeout_s)

    def _did_not_load(self, name: str, error: Exception) -> None:
        if self._stopped.is_set():
            return
        if isinstance(error, grpc.RpcError) and error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
            self._give_up(f"model '{name}' was not loaded again within {self._policy.load_timeout_s:g} s")
            return
        cause = error.details() if isinstance(error, grpc.RpcError) else error
        self._say(f"watchdog: model '{name}' did not load again: {cause}")

    # ---- what must not fail

    def _give_up(self, cause: str) -> None:
        self.fatal = self.fatal or cause
        self._readiness.broken(self.fatal)

    def _guarded(self, work: Callable[[], None]) -> bool:
        """Do something; a failure is counted and told, and harms nothing else."""
        try:
            work()
        except Exception as error:
            self.metrics.errors.inc()
            self._say(f"watchdog: {type(error).__name__}: {error}")
            return False
        return True

    def _say(self, line: str) -> None:
        try:
            self._say_it(line)
        except Exception:  # a full disk, a closed terminal: recovery goes on
            self.metrics.errors.inc()
