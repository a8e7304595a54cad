"""One thread that works on what is most urgent. It knows nothing of models or Triton."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from tritone import device
from tritone.priority import step_back

Item = TypeVar("Item")
Result = TypeVar("Result")


class Worker(Generic[Item, Result]):
    """Does work item by item, or some at a time, the one with the earliest deadline first.

    An item whose caller has left before its turn is left out. Where the work on several items fails, each is done
    again by itself, so that only the one at fault fails.
    """

    def __init__(self, work: Callable[[Sequence[Item]], Sequence[Result]], at_a_time: int = 1) -> None:
        self._work, self._at_a_time = work, at_a_time
        self._waiting: list[tuple[float, int, Item, Future[Result]]] = []
        self._numbers = itertools.count()  # equal deadlines: first come, first served
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)
        self._thread.start()

    def fault(self) -> str:
        """What is wrong; "" while nothing is."""
        return "" if self._thread.is_alive() else "its working thread has ended"

    async def __call__(self, item: Item, patience_s: float = 0.0) -> Result:
        """The result for an item that is wanted `patience_s` from now."""
        future: Future[Result] = Future()
        with self._changed:
            heapq.heappush(self._waiting, (time.monotonic() + patience_s, next(self._numbers), item, future))
            self._changed.notify()
        return await asyncio.wrap_future(future)

    def _run(self) -> None:
        device.take_up()
        step_back()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                count = min(self._at_a_time, len(self._waiting))
                taken = [heapq.heappop(self._waiting)[2:] for _ in range(count)]
            self._do([(item, future) for item, future in taken if future.set_running_or_notify_cancel()])

    def _do(self, jobs: Sequence[tuple[Item, Future[Result]]]) -> None:
        if not jobs:
            return
        try:
            results = self._work([item for item, _ in jobs])
            if len(results) != len(jobs):
                raise RuntimeError(f"{len(jobs)} items gave {len(results)} results")
        except BaseException as error:
            if len(jobs) == 1:
                jobs[0][1].set_exception(error)
            for job in jobs if len(jobs) > 1 else ():
                self._do([job])
            return
        for (_, future), result in zip(jobs, results, strict=True):
            future.set_result(result)
