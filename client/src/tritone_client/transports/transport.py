"""What a client needs of the wire."""

from collections.abc import AsyncGenerator, Generator
from typing import Protocol

from tritone_client.calls.call import Outputs, Request


class Transport(Protocol):
    """A way to a server. Every method raises errors of this package only."""

    def infer(self, request: Request) -> Outputs:
        """The one answer to a request."""

    def stream(self, request: Request) -> Generator[Outputs, None, None]:
        """The answers to a request, as they come; closing the generator cancels the request."""

    def is_ready(self, model: str | None, timeout_s: float) -> bool:
        """Whether the server, or one model, says that it is ready."""

    def close(self) -> None:
        """Give the connection back."""


class AsyncTransport(Protocol):
    """The same for an event loop. Cancelling a task cancels its request."""

    async def ainfer(self, request: Request) -> Outputs:
        """See `Transport.infer`."""

    def astream(self, request: Request) -> AsyncGenerator[Outputs, None]:
        """See `Transport.stream`."""

    async def ais_ready(self, model: str | None, timeout_s: float) -> bool:
        """See `Transport.is_ready`."""

    async def aclose(self) -> None:
        """See `Transport.close`."""
