"""One Python model with its stub processes: what is wrong with it, if anything is.

    a stub that is gone or a zombie          seen in the process table
    a pulse that says the process is ill     written by the process itself: a thread has died, the device fails
    a pulse that has stopped beating         the process is frozen
    work without progress                    busy is not hung: what moves is left alone, however long it takes
    rows for deep canaries that fail twice   every request to that process fails, though it is well

A model without a pulse, such as another project's, is judged by its canary alone.

Of several processes each is judged by its own pulse. Which of them gets a canary is Triton's choice, in turn: a deep
one is sent again until each process that was due has had its row. What is replaced is the model, with all its
processes, as Triton can load no part of one.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import psutil

from tritone.pulse import Pulse
from tritone.server import control
from tritone.server.control import Control
from tritone.server.repository import Model
from tritone.server.watching.policy import Policy
from tritone.unmoved import Unmoved

Pulses = Mapping[int, Pulse]  # by process id
TRIES = 3  # deep canaries for each process and interval, where a model has several
FAILING = 2  # rows in a row


class _Signs:
    """What is known of one process over time."""

    def __init__(self) -> None:
        self.beat, self.working, self.waiting = Unmoved(), Unmoved(), Unmoved()
        self.age_s = 0.0  # of its work's last progress; 0 without work
        self._success, self._probed = Unmoved(), Unmoved()
        self._idle_s = self._unprobed_s = 0.0

    def note(self, pulse: Pulse, now: float) -> None:
        """Look at when something went well, and when a row was computed for us."""
        self._idle_s = self._success.seconds(pulse.last_success, now)
        self._unprobed_s = self._probed.seconds(pulse.probed, now)

    def wants_row(self, pulse: Pulse, interval: float) -> bool:
        """Nobody has had a good answer of it for a while, and it has time; or nobody has for very long."""
        if min(self._idle_s, self._unprobed_s) < interval:
            return False
        return not (pulse.in_flight or pulse.executing_since) or self._idle_s > 2 * interval


class Guard:
    """Looks at one model; `now` is always the watchdog's own clock, which stands still when nobody looks."""

    def __init__(
        self,
        model: Model,
        server: psutil.Process,
        access: Control,
        policy: Policy,
        pool: ThreadPoolExecutor,
        token: str = "",
    ) -> None:
        self.model = model
        self.replacing = False  # somebody is at it: not to be looked at
        self._server = server
        self._access = access
        self._policy = policy
        self._pool = pool
        self._token = token
        self._stubs: list[psutil.Process] = []
        self._down = False
        self.meet(0.0)

    def meet(self, now: float) -> None:
        """Take the model's present stubs for the ones to watch."""
        self._stubs = [stub for stub in self._children() if self._is_mine(stub)]
        self._signs = {stub.pid: _Signs() for stub in self._stubs}
        self._down = False
        self._finding: Future[str] | None = None  # of the canary that is on its way
        self._deep = False  # that canary is a deep one
        self._turn = now + self._policy.canary_interval_s  # when the next canary is due, or the present one was sent
        self._asked: deque[float] = deque(maxlen=TRIES * len(self._stubs) if self._stubs[1:] else 1)  # deep ones
        self._moved = Unmoved()  # the progress of all its processes together
        self._said = ""  # the answer to the last deep one
        self._took = 0.0  # seconds that the last canary took

    def hurry(self, now: float) -> None:
        """Have the next canary sent at the next look."""
        if self._finding is None:
            self._turn = now

    def fault(self, pulses: Pulses, now: float, below: int = 0) -> str | None:
        """What is wrong with the model; None if nothing is known to be. Does not wait.

        Args:
            below: the progress of all models that this one calls: who waits for them is not hung while they move.
        """
        if self._down:
            return "it is not loaded"
        dead = [str(stub.pid) for stub in self._stubs if _is_dead(stub)]
        if dead:
            return f"stub process {', '.join(dead)} is dead"
        mine = self.pulses(pulses)
        for pulse in mine:
            if fault := self._pulse_fault(pulse, self._signs[pulse.pid], now, below):
                return fault
        return self._canary_fault(mine, now)

    def pulses(self, pulses: Pulses) -> list[Pulse]:
        """Those of the model's living processes."""
        return [pulses[stub.pid] for stub in self._stubs if stub.pid in pulses]

    def age_s(self) -> float:
        """Seconds since the last progress of a process that has work; 0 where none has."""
        return max((signs.age_s for signs in self._signs.values()), default=0.0)

    def kill(self) -> None:
        """End all stubs of the model, so that requests which wait for a hung one fail instead of waiting on."""
        self._down = True
        for stub in self._stubs:
            with contextlib.suppress(psutil.NoSuchProcess):
                if not _is_dead(stub):
                    stub.kill()

    def is_down(self) -> bool:
        """Whether it has been ended and is not back."""
        return self._down

    def server_lives(self) -> bool:
        """Whether the server itself still runs."""
        return not _is_dead(self._server)

    def ask(self, *, deep: bool = False) -> Future[str]:
        """Send a canary; its result is the error, or "" where there is none."""
        config = self.model.config
        request = control.canary(self.model.name, config, self._token, deep=deep)
        return self._pool.submit(self._access.ask, request, config.model_transaction_policy.decoupled)

    def _pulse_fault(self, pulse: Pulse, signs: _Signs, now: float, below: int) -> str | None:
        process, limit = f"process {pulse.pid}", self._policy.hung_after_s
        signs.note(pulse, now)
        if pulse.ill:
            return f"{process} is ill: {pulse.ill}"
        if (silent := signs.beat.seconds(pulse.beat, now)) > limit:
            return f"{process} is frozen: no sign of life for {silent:.0f} s"
        # A canary without answer says nothing of one process among several: see `_canary_fault`.
        busy = pulse.executing_since > 0 or (self._finding is not None and len(self._signs) == 1)
        working = signs.working.seconds((busy, pulse.progress), now) if busy else signs.working.seconds(None, now)
        # Canaries come and go meanwhile, so that requests which wait elsewhere have a watch of their own.
        owing = pulse.in_flight > 0
        waiting = signs.waiting.seconds((pulse.progress, below) if owing else None, now)
        signs.age_s = max(working if busy else 0.0, waiting if owing else 0.0)
        return f"{process} has work and made no progress for {signs.age_s:.0f} s" if signs.age_s > limit else None

    def _canary_fault(self, mine: list[Pulse], now: float) -> str | None:
        if failing := [pulse.pid for pulse in mine if pulse.failed >= FAILING]:
            return f"process {failing[0]} fails real work: {self._said}"
        if self._finding is None:
            if now >= self._turn:
                self._deep = self._is_deep_due(mine, now)
                self._finding, self._turn = self.ask(deep=self._deep), now
                self._finding.add_done_callback(partial(self._note_length, time.monotonic()))
            return None
        unmoved = self._moved.seconds(sum(pulse.progress for pulse in mine), now)
        if not self._finding.done():
            silent = min(now - self._turn, unmoved)
            # Of several, one that is at fault says so itself by then.
            hung = len(mine) != 1 and silent > self._policy.hung_after_s * (2 if mine else 1)
            return f"it has left a canary without answer for {silent:.0f} s" if hung else None
        error, self._finding = self._finding.result(), None
        # To a model that has no pulse a canary is a caller like any other; a picture may be drawn for it.
        rest = 0.0 if mine else self._took / self._policy.canary_share
        self._turn = now + max(self._policy.canary_interval_s, rest)
        self._said = error if self._deep and error else self._said
        return "its stub is dead" if control.DEAD in error else None  # any other answer is a sign of life

    def _note_length(self, sent: float, _: Future[str]) -> None:
        self._took = time.monotonic() - sent

    def _is_deep_due(self, mine: list[Pulse], now: float) -> bool:
        interval = self._policy.deep_interval_s
        spent = len(self._asked) == self._asked.maxlen and now - self._asked[0] < interval
        if not interval or spent or not any(self._signs[pulse.pid].wants_row(pulse, interval) for pulse in mine):
            return False
        self._asked.append(now)
        return True

    def _children(self) -> list[psutil.Process]:
        try:
            return self._server.children()
        except psutil.NoSuchProcess:
            return []

    def _is_mine(self, process: psutil.Process) -> bool:
        """A stub's command line names the model.py it runs."""
        try:
            return any(argument.startswith(f"{self.model.folder}/") for argument in process.cmdline())
        except psutil.Error:
            return False


def _is_dead(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE  # one read of /proc; nobody takes a zombie's number
    except psutil.NoSuchProcess:
        return True
