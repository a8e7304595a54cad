"""Requests that are answered later: coroutines on an event loop of their own thread. It knows nothing of Triton.

Nothing on the loop may block, or all requests of the model stand still; what must wait does so on threads.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tritone import device
from tritone.unmoved import LookingClock, Unmoved

POLL_S = 0.05  # how often a request as old as this is asked whether its caller has left …
POLLS_A_SECOND = 200  # … but no more questions than these: each is a message to the server's process and back
WORKING_THREADS = 8  # for work of this process: log-mel, PNG files
STUCK_S = 30.0  # a loop that takes so long to come round does not serve anybody


@dataclass
class Work:
    """What is done for a request; exactly one of `run` succeeding and `fail` ends it, then `leave` is called."""

    run: Callable[[], Coroutine[Any, Any, None]]
    fail: Callable[[BaseException], Coroutine[Any, Any, None]]  # cancellation included
    has_left: Callable[[], bool]  # whether the caller has gone; may block
    leave: Callable[[], None]
    task: asyncio.Task[None] | None = None
    started: float = field(default_factory=time.monotonic)


class InFlight:
    """The unanswered requests of one model. Started from Triton's thread, run on one event loop."""

    def __init__(self) -> None:
        self._works: dict[str, Work] = {}
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself holds tasks only weakly
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(WORKING_THREADS, "working", device.take_up))
        self._rounds, self._unmoved, self._clock = 0, Unmoved(), LookingClock()
        self._started = threading.Event()  # set while there may be requests to ask about
        self._threads = [
            threading.Thread(target=self._loop.run_forever, name="in-flight", daemon=True),
            threading.Thread(target=self._poll, name="leaving", daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        self._loop.call_soon_threadsafe(device.take_up)
        self._loop.call_soon_threadsafe(self._come_round)

    def __len__(self) -> int:
        return len(self._works)

    def start(self, key: str, work: Work) -> None:
        """Do the work; `cancel(key)`, or a caller who leaves, cancels it at its next await."""
        self._works[key] = work
        self._started.set()
        self._loop.call_soon_threadsafe(self._begin, key, work)

    def cancel(self, key: str) -> None:
        """Cancel the request of that key, if it is in flight."""
        if key in self._works:
            self._loop.call_soon_threadsafe(self._cancel, key)

    def fault(self) -> str:
        """What is wrong; "" while nothing is."""
        dead = [thread.name for thread in self._threads if not thread.is_alive()]
        if dead:
            return f"its thread '{dead[0]}' has ended"
        silent = self._unmoved.seconds(self._rounds, self._clock.look())
        return f"its event loop has not come round for {silent:.0f} s" if silent > STUCK_S else ""

    def _come_round(self) -> None:
        self._rounds += 1
        self._loop.call_later(1.0, self._come_round)

    def _begin(self, key: str, work: Work) -> None:
        work.task = self._loop.create_task(work.run())
        supervisor = self._loop.create_task(self._supervise(key, work, work.task))
        self._tasks.add(supervisor)
        supervisor.add_done_callback(self._tasks.discard)

    def _cancel(self, key: str) -> None:
        if (work := self._works.get(key)) and work.task:
            work.task.cancel()

    async def _supervise(self, key: str, work: Work, task: asyncio.Task[None]) -> None:
        try:
            await task
        except BaseException as error:  # CancelledError too: a cancelled request is answered like any other
            await work.fail(error)
        finally:
            del self._works[key]
            work.leave()

    def _poll(self) -> None:
        """Ask one request after another whether its caller has left."""
        while self._started.wait():
            self._started.clear()
            started = time.monotonic()
            for key, work in list(self._works.items()):
                self._started.set()
                if started - work.started < POLL_S or key not in self._works:
                    continue
                if work.has_left():
                    self.cancel(key)
                time.sleep(1 / POLLS_A_SECOND)
            time.sleep(max(POLL_S - (time.monotonic() - started), 0.0))
