"""Requests that are answered later: coroutines on an event loop of their own thread. It knows nothing of Triton."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

CANCEL_POLL_S = 0.05
# Threads that wait for other models; a waiting thread costs memory, not processor time.
WAITING_THREADS = 64

_Work = Callable[[], Coroutine[Any, Any, None]]
_Fail = Callable[[BaseException], None]
_IsCancelled = Callable[[], bool]


class InFlight:
    """The unanswered requests of one model. Started from Triton's thread, run on one event loop."""

    def __init__(self) -> None:
        self._works: dict[str, asyncio.Task[None] | None] = {}
        self._supervisors: set[asyncio.Task[None]] = set()  # the loop itself holds tasks only weakly
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(WAITING_THREADS, "waiting"))
        threading.Thread(target=self._loop.run_forever, name="in-flight", daemon=True).start()

    def __len__(self) -> int:
        return len(self._works)

    def __contains__(self, key: str) -> bool:
        return key in self._works

    def start(self, key: str, work: _Work, fail: _Fail, is_cancelled: _IsCancelled) -> None:
        """Run `work()`; whatever ends it but success, cancellation included, is given to `fail`.

        `is_cancelled` is polled every CANCEL_POLL_S; once it is true, `work` is cancelled at its next await.
        """
        self._works[key] = None
        self._loop.call_soon_threadsafe(self._begin, key, work, fail, is_cancelled)

    def cancel(self, key: str) -> None:
        """Cancel the request of that key, if it is still in flight."""
        self._loop.call_soon_threadsafe(self._cancel, key)

    def _cancel(self, key: str) -> None:
        if task := self._works.get(key):
            task.cancel()

    def _begin(self, key: str, work: _Work, fail: _Fail, is_cancelled: _IsCancelled) -> None:
        # The task exists before any later `cancel` of the same key can run.
        self._works[key] = task = self._loop.create_task(work())
        self._supervisors.add(supervisor := self._loop.create_task(self._supervise(key, task, fail, is_cancelled)))
        supervisor.add_done_callback(self._supervisors.discard)

    async def _supervise(self, key: str, task: asyncio.Task[None], fail: _Fail, is_cancelled: _IsCancelled) -> None:
        watch = asyncio.create_task(self._watch(task, is_cancelled))
        try:
            await task
        except BaseException as error:  # CancelledError too: a cancelled request is answered like any other
            fail(error)
        finally:
            watch.cancel()
            del self._works[key]

    async def _watch(self, task: asyncio.Task[None], is_cancelled: _IsCancelled) -> None:
        # is_cancelled crosses to the server's process and back: on a thread, so that the loop never waits for it.
        await asyncio.sleep(CANCEL_POLL_S)
        while not await asyncio.to_thread(is_cancelled):
            await asyncio.sleep(CANCEL_POLL_S)
        task.cancel()
