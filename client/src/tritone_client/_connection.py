"""What every verb stands on: the way to the server, how long it may take, and whether the server is ready."""

import time
from collections.abc import Callable, Generator
from types import TracebackType
from typing import TypeVar

from tritone_client._calls import Call, Delivery
from tritone_client._exceptions import Error, ServerUnavailable
from tritone_client._transport import GrpcTransport, Transport

T = TypeVar("T")
C = TypeVar("C", bound="Connection")
READY_INTERVAL_S = 0.1  # between two looks at a server that is starting


class Connection:
    """A way to a Tritone server."""

    def __init__(
        self, url: str = "localhost:8001", *, timeout_s: float = 60.0, transport: Transport | None = None
    ) -> None:
        self.url = url
        self.timeout_s = timeout_s
        self._transport: Transport = GrpcTransport(url) if transport is None else transport

    def is_ready(self, model: str | None = None, timeout_s: float = 5.0) -> bool:
        """Whether the server, or one of its models, is ready; False also where nobody answers."""
        return self._why_not_ready(model, timeout_s) is None

    def wait_until_ready(self, timeout_s: float = 60.0, model: str | None = None) -> None:
        """Wait for a server that is starting.

        Raises: ServerUnavailable: not ready within `timeout_s`; the message says what the last look found.
        """
        deadline = time.monotonic() + timeout_s
        remaining = timeout_s
        while (reason := self._why_not_ready(model, max(remaining, READY_INTERVAL_S))) is not None:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise ServerUnavailable(f"{self.url} is not ready after {timeout_s:g} s: {reason}", model=model)
            time.sleep(min(READY_INTERVAL_S, remaining))

    def close(self) -> None:
        """Close the connection; requests under way are cancelled."""
        self._transport.close()

    def __enter__(self: C) -> C:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, call: Call[T]) -> T:
        return call.parse(self._transport.infer(call.request))

    def _stream(self, call: Call[T], is_last: Callable[[T], bool] = lambda _: True) -> Generator[T, None, None]:
        """The parts of an answer. The last one must say that it is: a stream that breaks off is no short answer.

        Raises: InferenceFailed: it broke off.
        """
        ended = False
        responses = self._transport.stream(call.request)
        try:
            for outputs in responses:
                part = call.parse(outputs)
                ended = is_last(part)
                yield part
        finally:
            responses.close()
        if not ended:
            raise call.failure(f"the stream of '{call.request.model}' broke off before the end of the answer")

    def _delivery(self, timeout_s: float | None, request_id: str | None) -> Delivery:
        return Delivery(self.timeout_s if timeout_s is None else timeout_s, request_id)

    def _why_not_ready(self, model: str | None, timeout_s: float) -> str | None:
        """What keeps the server or the model from being ready; None if it is."""
        try:
            ready = self._transport.is_ready(model, timeout_s)
        except Error as error:
            return str(error)
        return None if ready else "it answers, but is not ready"
