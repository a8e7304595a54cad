"""Connections that nobody can hold on to for nothing: uvicorn's own, with clocks."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

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

        def handle_websocket_upgrade(self) -> None:
            self._stop(self._receiving)
            super().handle_websocket_upgrade()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._stuck = self.loop.call_later(settings.stuck_after_s, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            self._stop(self._stuck)

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop(self._receiving)
            self._stop(self._stuck)
            super().connection_lost(exc)

        _stop = staticmethod(_stop)

    return Bounded


def bounded_socket(settings: Settings) -> type[WebSocketsSansIOProtocol]:
    """The class of WebSockets, for uvicorn: a caller who reads nothing for `stuck_after_s` is cut off.

    What is to be sent waits where it is made, so that no more than a transport's buffer is ever held for him.
    """

    class Bounded(WebSocketsSansIOProtocol):
        _stuck: asyncio.TimerHandle | None = None

        def pause_writing(self) -> None:
            super().pause_writing()
            self._stuck = self.loop.call_later(settings.stuck_after_s, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            _stop(self._stuck)

        def connection_lost(self, exc: Exception | None) -> None:
            _stop(self._stuck)
            super().connection_lost(exc)

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
