"""Whether this server should be sent requests, and whether it should be restarted: what /ready and /live answer.

Triton's own readiness is server-wide: while one model is reloaded, all of it is called not ready.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

STARTING, SERVING, STOPPING = "starting", "serving", "stopping"


class Readiness:
    """The state of each model, kept by those who start, watch and stop the server."""

    def __init__(self, models: Iterable[str], grace_s: float) -> None:
        """`grace_s`: for how long a model that is being replaced may be down without /ready saying so."""
        self._grace_s = grace_s
        self._phase = STARTING
        self._lock = threading.Lock()
        self._loading = set(models)
        self._names = sorted(self._loading)
        self._down: dict[str, float] = {}
        self._broken = ""

    def loaded(self, models: Iterable[str]) -> None:
        """These models have been loaded for the first time."""
        with self._lock:
            self._loading -= set(models)

    def serving(self) -> None:
        """All models are up and the ports are open."""
        with self._lock:
            self._phase, self._loading = SERVING, set()

    def stopping(self) -> None:
        """The server is about to stop: no more requests, please."""
        with self._lock:
            self._phase = STOPPING

    def down(self, model: str) -> None:
        """The model is being replaced; stays so until `up`."""
        with self._lock:
            self._down.setdefault(model, time.monotonic())

    def up(self, model: str) -> None:
        """The model answers again."""
        with self._lock:
            self._down.pop(model, None)

    def broken(self, cause: str) -> None:
        """Only a restart of the whole server can help."""
        with self._lock:
            self._broken = cause

    def is_live(self) -> bool:
        """False where only a restart of the whole server can help."""
        return not self._broken

    def is_ready(self) -> bool:
        """Whether requests are welcome."""
        now = time.monotonic()
        with self._lock:
            late = any(now - since >= self._grace_s for since in self._down.values())
            return self._phase == SERVING and not late and not self._broken

    def report(self) -> dict[str, object]:
        """All of it, for people: {"ready": true, "phase": "serving", "models": {"tts": "up", ...}, "fault": ""}."""
        ready, now = self.is_ready(), time.monotonic()
        with self._lock:
            states = {name: self._state(name, now) for name in self._names}
            return {"ready": ready, "phase": self._phase, "models": states, "fault": self._broken}

    def _state(self, model: str, now: float) -> str:
        if model in self._down:
            return f"down for {now - self._down[model]:.1f} s, being replaced"
        return "loading" if model in self._loading else "up"
