"""Ctrl-C and SIGTERM: the first asks the server to stop, the second to stop at once."""

from __future__ import annotations

import signal
import time

TICK_S = 0.1


class Signals:
    """Counts them. A plain number, as a handler that takes a lock may find its own thread holding it."""

    def __init__(self) -> None:
        self._count = 0

    def listen(self) -> None:
        """Take the signals from now on; one that is ignored, as by nohup or a shell's background, stays so."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._take)

    def _take(self, *_: object) -> None:
        self._count += 1

    def asked(self) -> bool:
        """Whether the server is to stop."""
        return self._count > 0

    def again(self) -> bool:
        """Whether it is to stop at once."""
        return self._count > 1

    def wait(self, seconds: float) -> bool:
        """Wait for the first; returns whether there was one."""
        self._wait(seconds, 1)
        return self.asked()

    def pause(self, seconds: float) -> None:
        """Wait, but no longer than until the second."""
        self._wait(seconds, 2)

    def _wait(self, seconds: float, count: int) -> None:
        end = time.monotonic() + seconds
        while self._count < count and (left := end - time.monotonic()) > 0:
            time.sleep(min(TICK_S, left))
