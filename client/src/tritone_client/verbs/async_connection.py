"""As `connection`, for an event loop."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from tritone_client.calls import catalog
from tritone_client.calls.call import Batch, Call, Outputs, Request
from tritone_client.calls.models import MODELS
from tritone_client.calls.options import Sending
from tritone_client.exceptions import Error, InvalidInput, ModelNotReady, ServerUnavailable
from tritone_client.media import off_the_loop
from tritone_client.transports.access import Connecting
from tritone_client.transports.opening import open_async_transport
from tritone_client.transports.transport import AsyncTransport
from tritone_client.types import ServedModel
from tritone_client.verbs.connection import IN_FLIGHT, READY_INTERVAL_S, Settings

T = TypeVar("T")
R = TypeVar("R")


class AsyncConnection(Settings):
    """A way to a Tritone server. It belongs to the event loop of its first request."""

    def __init__(
        self,
        url: str | Sequence[str] = "localhost:8001",
        *,
        transport: AsyncTransport | None = None,
        **options: Unpack[Connecting],
    ) -> None:
        super().__init__(url, options)
        self._transport = open_async_transport(url, self._access) if transport is None else transport

    async def is_ready(self, model: str | None = None, timeout_s: float = 5.0) -> bool:
        """As `Client.is_ready`."""
        return await self._why_not_ready(model, timeout_s) is None

    async def wait_until_ready(self, timeout_s: float = 60.0, model: str | None = None) -> None:
        """As `Client.wait_until_ready`."""
        deadline = time.monotonic() + timeout_s
        remaining = timeout_s
        while (reason := await self._why_not_ready(model, max(remaining, READY_INTERVAL_S))) is not None:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise ServerUnavailable(f"{self.url} is not ready after {timeout_s:g} s: {reason}", model=model)
            await asyncio.sleep(min(READY_INTERVAL_S, remaining))

    async def models(self, timeout_s: float = 5.0) -> list[ServedModel]:
        """As `Client.models`."""
        ready = await asyncio.gather(*(self._has(name, timeout_s) for name in MODELS))
        return [model.served() for model, has in zip(MODELS.values(), ready, strict=True) if has]

    async def catalog(self, **options: Unpack[Sending]) -> dict[str, Any]:
        """As `Client.catalog`."""
        given = self._options(Sending, options)
        return await self._send(lambda: catalog.catalog(given))

    async def close(self) -> None:
        """As `Client.close`."""
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _send(self, build: Callable[[], Call[T]], *media: object) -> T:
        """The answer to the call that `build` makes of `media`; files are read on a thread."""
        call = await off_the_loop(build, *media)
        return call.parse(await self._retrying.send_async(self._transport.ainfer, call.request))

    async def _stream(self, build: Callable[[], Call[T]], *media: object) -> AsyncGenerator[T, None]:
        """As in `Connection`; also what is wrong with the input is raised with the first part."""
        call = await off_the_loop(build, *media)
        ended = False
        outputs, rest = await self._retrying.send_async(self._open, call.request)
        async with contextlib.aclosing(rest):
            while outputs is not None:
                part = call.parse(outputs)
                ended = call.is_last(part)
                yield part
                outputs = await anext(rest, None)
        if not ended:
            raise call.broke_off()

    async def _open(self, request: Request) -> tuple[Outputs | None, AsyncGenerator[Outputs, None]]:
        """The first part of a stream, up to which it may be asked for again; and the others."""
        parts = self._transport.astream(request)
        return await anext(parts, None), parts

    async def _send_all(self, batch: Batch[R, T]) -> T:
        return batch.join([found async for found in self._each(batch)])

    async def _each(self, batch: Batch[R, Any]) -> AsyncGenerator[R, None]:
        """The answer for each item, in order, IN_FLIGHT at a time."""

        async def answer(index: int) -> R | Error:
            try:
                return await self._send(lambda: batch.call(index), batch.media[index])
            except Error as error:
                return error

        def checked(index: int, found: R | Error) -> R:
            return batch.failed(index, found) if isinstance(found, Error) else found

        waiting: deque[tuple[int, asyncio.Task[R | Error]]] = deque()
        try:
            for index in range(len(batch.media)):
                waiting.append((index, asyncio.create_task(answer(index))))
                if len(waiting) >= IN_FLIGHT:
                    first, task = waiting[0]
                    yield checked(first, await task)
                    waiting.popleft()
            for index, task in waiting:
                yield checked(index, await task)
        finally:
            for _, task in waiting:
                task.cancel()

    async def _has(self, model: str, timeout_s: float) -> bool:
        try:
            return await self._transport.ais_ready(model, timeout_s)
        except ModelNotReady:
            return False

    async def _why_not_ready(self, model: str | None, timeout_s: float) -> str | None:
        """What keeps the server or the model from being ready; None if it is."""
        try:
            ready = await self._transport.ais_ready(model, timeout_s)
        except InvalidInput:  # no Triton server: waiting will not help
            raise
        except Error as error:
            return str(error)
        return None if ready else "it answers, but is not ready"
