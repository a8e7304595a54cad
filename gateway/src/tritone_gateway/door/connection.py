"""A connection that nobody can hold on to for nothing: uvicorn's own, with two clocks, and HTTP/1.0."""

import asyncio
from typing import Any

from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from tritone_gateway.settings import Settings


def bounded(settings: Settings) -> type[HttpToolsProtocol]:
    """The class of connections, for uvicorn.

    A request must be whole `receive_within_s` after its first byte, and a new connection must begin one within that
    time. A caller whose answer does not move for `stuck_after_s`, as he reads none of it, is cut off.
    """

    class Bounded(HttpToolsProtocol):
        _receiving: asyncio.TimerHandle | None = None
        _stuck: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._receiving = self.loop.call_later(settings.receive_within_s, transport.abort)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._stop(self._receiving)
            self._receiving = self.loop.call_later(settings.receive_within_s, self.transport.abort)

        def on_message_complete(self) -> None:
            super().on_message_complete()
            self._stop(self._receiving)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._stuck = self.loop.call_later(settings.stuck_after_s, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            self._stop(self._stuck)

        def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
            is_old = cycle.scope["http_version"] == "1.0"
            super()._start_asgi_task(cycle, unchunked(app, cycle) if is_old else app)

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop(self._receiving)
            self._stop(self._stuck)
            super().connection_lost(exc)

        @staticmethod
        def _stop(clock: asyncio.TimerHandle | None) -> None:
            if clock is not None:
                clock.cancel()

    return Bounded


def unchunked(app: Any, cycle: RequestResponseCycle) -> Any:
    """An application for a caller of HTTP/1.0, which has no chunks: a stream ends there with its connection.

    uvicorn would send chunks all the same. So it is told of each piece that it is all that the answer holds.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        has_length = True

        async def plain(message: Message) -> None:
            nonlocal has_length
            if message["type"] == "http.response.start":
                has_length = any(name.lower() == b"content-length" for name, _ in message["headers"])
                if not has_length:
                    cycle.chunked_encoding = False
            elif not has_length:
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await app(scope, receive, plain)

    return answer
