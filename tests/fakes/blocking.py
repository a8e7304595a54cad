"""An `AsyncClient` that blocks, so that one test is asked of both kinds of client."""

import asyncio
import inspect
import threading
from concurrent.futures import TimeoutError as FutureTimeoutError

from tritone_client import AsyncChat

PATIENCE_S = 60


class Blocking:
    """Its methods run to their end on an event loop of another thread; its streams are plain generators."""

    def __init__(self, make) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._asked = make()

    def __getattr__(self, name):
        return self._plain(getattr(self._asked, name))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Close the client; the loop goes on, as what is under way must hear of it."""
        return self._run(self._asked.close())

    def stop(self):
        """Close the client and end its loop."""
        self.close()
        self._run(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()

    def _run(self, coroutine):
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result(PATIENCE_S)
        except FutureTimeoutError:
            future.cancel()
            raise

    def _plain(self, value):
        if inspect.iscoroutine(value):
            return self._run(value)
        if inspect.isasyncgen(value):
            return self._generator(value)
        if isinstance(value, AsyncChat):
            return _Chat(value, self._plain)
        if inspect.ismethod(value):
            return lambda *args, **options: self._plain(value(*args, **options))
        return value

    def _generator(self, parts):
        try:
            while True:
                try:
                    part = self._run(anext(parts))
                except StopAsyncIteration:
                    return
                yield part
        finally:
            self._run(parts.aclose())


class _Chat:
    def __init__(self, chat, plain) -> None:
        self._chat, self._plain = chat, plain

    def __getattr__(self, name):
        return self._plain(getattr(self._chat, name))
