"""Says things to people without ever keeping the work waiting: a full disk or a closed terminal harms nobody."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable

MOST_LINES = 1000  # that wait to be said; more are dropped
Listener = Callable[[str], None]


class Announcer:
    """Gives lines to listeners from a thread of its own, in order."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[tuple[tuple[Listener, ...], str] | None] = queue.Queue(MOST_LINES)
        self._thread = threading.Thread(target=self._run, name="announcer", daemon=True)
        self._thread.start()

    def say(self, line: str, *listeners: Listener) -> None:
        """Have the line said to each listener; never raises and never waits."""
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait((listeners, line))

    def close(self, timeout_s: float = 2.0) -> None:
        """Say what is left, but wait no longer than `timeout_s`."""
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None:
            listeners, line = item
            for listener in listeners:
                with contextlib.suppress(Exception):  # disk full, terminal gone: there is nobody to tell
                    listener(line)
