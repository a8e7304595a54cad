"""Several addresses of one server: each request goes to the next, past those that cannot be reached.

Done here rather than by gRPC's own `round_robin`, so that it is the same for HTTP, each address keeps the name that its
certificate has, and nothing must be looked up before the first request.
"""

import itertools
import time
from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from typing import Generic, TypeVar

from tritone_client.calls.call import Outputs, Request
from tritone_client.exceptions import Error, ServerUnavailable
from tritone_client.transports.retrying import time_left
from tritone_client.transports.transport import AsyncTransport, Transport

K = TypeVar("K")
AVOIDED_S = 5.0  # for how long an address comes last that could not be reached


class Rotation(Generic[K]):
    """Whose turn it is."""

    def __init__(self, members: Sequence[K]) -> None:
        self.members = members
        self._turns = itertools.count()
        self._avoided_until = dict.fromkeys(range(len(members)), 0.0)

    def order(self) -> Iterator[tuple[int, K]]:
        """All members, the next one first, and those last that could not be reached lately."""
        first, size, now = next(self._turns), len(self.members), time.monotonic()
        places = [(first + step) % size for step in range(size)]
        places.sort(key=lambda place: self._avoided_until[place] > now)
        return ((place, self.members[place]) for place in places)

    def passes(self, place: int, error: Error) -> bool:
        """Whether a request that met this error there may go to another address at once."""
        if not isinstance(error, ServerUnavailable):
            return False
        self._avoided_until[place] = time.monotonic() + AVOIDED_S
        return not error.was_sent


class RotatingTransport:
    """A `Transport` over several, in turn."""

    def __init__(self, transports: Sequence[Transport]) -> None:
        self._rotation = Rotation(transports)

    def infer(self, request: Request) -> Outputs:
        """See Transport."""
        left = time_left(request)
        for place, transport in self._rotation.order():
            try:
                return transport.infer(left())
            except Error as error:
                last = error
                if not self._rotation.passes(place, error):
                    raise
        raise last

    def stream(self, request: Request) -> Generator[Outputs, None, None]:
        """See Transport."""
        left = time_left(request)
        for place, transport in self._rotation.order():
            try:
                yield from transport.stream(left())  # what was not sent has given no part
            except Error as error:
                last = error
                if not self._rotation.passes(place, error):
                    raise
            else:
                return
        raise last

    def is_ready(self, model: str | None, timeout_s: float) -> bool:
        """See Transport: whether one of them is."""
        last: Error | None = None
        for _, transport in self._rotation.order():
            try:
                if transport.is_ready(model, timeout_s):
                    return True
            except Error as error:
                last = error
        if last is not None:
            raise last
        return False

    def close(self) -> None:
        """See Transport."""
        for transport in self._rotation.members:
            transport.close()


class AsyncRotatingTransport:
    """An `AsyncTransport` over several, in turn."""

    def __init__(self, transports: Sequence[AsyncTransport]) -> None:
        self._rotation = Rotation(transports)

    async def ainfer(self, request: Request) -> Outputs:
        """See AsyncTransport."""
        left = time_left(request)
        for place, transport in self._rotation.order():
            try:
                return await transport.ainfer(left())
            except Error as error:
                last = error
                if not self._rotation.passes(place, error):
                    raise
        raise last

    async def astream(self, request: Request) -> AsyncGenerator[Outputs, None]:
        """See AsyncTransport."""
        left = time_left(request)
        for place, transport in self._rotation.order():
            parts = transport.astream(left())
            try:
                async for part in parts:
                    yield part
            except Error as error:
                last = error
                if not self._rotation.passes(place, error):
                    raise
            else:
                return
            finally:
                await parts.aclose()
        raise last

    async def ais_ready(self, model: str | None, timeout_s: float) -> bool:
        """See AsyncTransport: whether one of them is."""
        last: Error | None = None
        for _, transport in self._rotation.order():
            try:
                if await transport.ais_ready(model, timeout_s):
                    return True
            except Error as error:
                last = error
        if last is not None:
            raise last
        return False

    async def aclose(self) -> None:
        """See AsyncTransport."""
        for transport in self._rotation.members:
            await transport.aclose()
