"""Connections that nobody can hold on to for nothing: uvicorn's own, with clocks; and HTTP/1.0."""

import asyncio
from typing import Any

from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from tritone_gateway.settings import Settings


class Unread(asyncio.BaseProtocol):
    """A caller who reads nothing of what is sent to him for `stuck_after_s` is cut off."""

    stuck_after_s: float
    loop: asyncio.AbstractEventLoop
    transport: Any
    _stuck: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        """See asyncio."""
        super().pause_writing()
        self._stuck = self.loop.call_later(self.stuck_after_s, self.transport.abort)

    def resume_writing(self) -> None:
        """See asyncio."""
        super().resume_writing()
        _stop(self._stuck)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        _stop(self._stuck)
        super().connection_lost(exc)


def bounded(settings: Settings) -> type[HttpToolsProtocol]:
    """The class of connections, for uvicorn.

    A request must be whole `receive_within_s` after its first byte, and a new connection must begin one within that
    time.
    """

    class Bounded(Unread, HttpToolsProtocol):
        stuck_after_s = settings.stuck_after_s
        _receiving: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._receiving = self.loop.call_later(settings.receive_within_s, transport.abort)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            _stop(self._receiving)
            self._receiving = self.loop.call_later(settings.receive_within_s, self.transport.abort)

        def on_message_complete(self) -> None:
            super().on_message_complete()
            _stop(self._receiving)

        def handle_websocket_upgrade(self) -> None:
            _stop(self._receiving)
            super().handle_websocket_upgrade()

        def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
            is_old = cycle.scope["http_version"] == "1.0"
            super()._start_asgi_task(cycle, unchunked(app, cycle) if is_old else app)

        def connection_lost(self, exc: Exception | None) -> None:
            _stop(self._receiving)
            super().connection_lost(exc)

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


def bounded_socket(settings: Settings) -> type[WebSocketsSansIOProtocol]:
    """The class of WebSockets, for uvicorn.

    What is to be sent waits where it is made, so that no more than a transport's buffer is ever held for a caller.
    """

    class Bounded(Unread, WebSocketsSansIOProtocol):
        stuck_after_s = settings.stuck_after_s

    return Bounded


def sockets(settings: Settings) -> dict[str, Any]:
    """What uvicorn is told of WebSockets. Base64 of sound is not compressed: it costs much and gains little."""
    return {
        "ws": bounded_socket(settings),
        "ws_max_size": settings.realtime.max_event_bytes,
        "ws_ping_interval": settings.realtime.ping_s,
        "ws_ping_timeout": settings.realtime.ping_s,
        "ws_per_message_deflate": False,
    }


def _stop(clock: asyncio.TimerHandle | None) -> None:
    if clock is not None:
        clock.cancel()
