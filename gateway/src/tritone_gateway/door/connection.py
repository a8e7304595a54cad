"""A connection that nobody can hold on to for nothing: uvicorn's own, with two clocks."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

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

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop(self._receiving)
            self._stop(self._stuck)
            super().connection_lost(exc)

        @staticmethod
        def _stop(clock: asyncio.TimerHandle | None) -> None:
            if clock is not None:
                clock.cancel()

    return Bounded
