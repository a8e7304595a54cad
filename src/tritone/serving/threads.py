"""Threads that wait so that an event loop need not. It knows nothing of Triton.

A thread that waits for another process may wait for ever, when that process is killed in the middle of an exchange.
So whoever waits here can be told that there is nothing more to wait for; the thread is then given up and counted.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from tritone import device

Result = TypeVar("Result")

LOOK_S = 0.25  # how often `hopeless` is asked
LOST_S = 30.0  # a thread that was given up so long ago will not come back
MOST_LOST = 0.5  # of all threads; then the process needs to be replaced


class Hopeless(Exception):
    """Nobody will answer; the message says why."""


def never() -> str:
    """Hope without end."""
    return ""


class WaitingThreads:
    """A bounded number of threads for blocking calls that go to other processes."""

    def __init__(self, name: str, count: int) -> None:
        self.name, self.count = name, count
        self._pool = ThreadPoolExecutor(count, name, device.take_up)
        self._given_up: dict[Future[Any], float] = {}
        self._lock = threading.Lock()

    async def run(self, function: Callable[..., Result], *args: Any, hopeless: Callable[[], str] = never) -> Result:
        """`function(*args)` on a thread.

        Args:
            hopeless: why there is nothing more to wait for; "" while there is hope.

        Raises: Hopeless: `hopeless` said so.
        """
        thread: Future[Result] = self._pool.submit(function, *args)
        waiting = asyncio.wrap_future(thread)
        try:
            while not (await asyncio.wait({waiting}, timeout=LOOK_S))[0]:
                if reason := hopeless():
                    raise Hopeless(reason)
            return waiting.result()
        finally:
            if not waiting.done():
                self._give_up(thread)
                waiting.cancel()

    def submit(self, function: Callable[..., Any], *args: Any) -> None:
        """`function(*args)` on a thread; nobody waits for it."""
        self._count(self._pool.submit(function, *args))

    def fault(self) -> str:
        """Why this process must be replaced; "" while enough threads come back."""
        with self._lock:
            lost = sum(time.monotonic() - since > LOST_S for since in self._given_up.values())
        if lost < MOST_LOST * self.count:
            return ""
        return f"{lost} of its {self.count} threads for {self.name} wait for processes that are gone"

    def _give_up(self, thread: Future[Any]) -> None:
        if not thread.cancel():  # it has begun
            self._count(thread)

    def _count(self, thread: Future[Any]) -> None:
        with self._lock:
            self._given_up[thread] = time.monotonic()
        thread.add_done_callback(self._came_back)

    def _came_back(self, thread: Future[Any]) -> None:
        with self._lock:
            self._given_up.pop(thread, None)


async def in_thread(function: Callable[..., Result], *args: Any, **options: Any) -> Result:
    """Work of this process on a thread of the loop's own; a caller who is cancelled leaves when the work has ended.

    So its place is free when its work is over and not before.
    """
    work = asyncio.ensure_future(asyncio.to_thread(function, *args, **options))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait({work})
        raise
