"""What every verb stands on: the way to the server, how long it may take, and whether the server is ready."""

import contextlib
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, cast

from tritone_client.calls import catalog
from tritone_client.calls.call import Batch, Call, Outputs, Request
from tritone_client.calls.models import MODELS
from tritone_client.calls.options import Sending, known
from tritone_client.exceptions import Error, InvalidInput, ModelNotReady, ServerUnavailable
from tritone_client.transports.access import Access, Connecting
from tritone_client.transports.opening import open_transport
from tritone_client.transports.retrying import Retrying
from tritone_client.transports.transport import Transport
from tritone_client.types import ServedModel

T = TypeVar("T")
R = TypeVar("R")
O = TypeVar("O", bound=Mapping[str, object])  # noqa: E741
READY_INTERVAL_S = 0.1  # between two looks at a server that is starting
# The server makes batches of what waits for it, so enough must wait to fill one while another is computed.
IN_FLIGHT = 64
TIMEOUT_S, RETRIES = 60.0, 2


class Settings:
    """What clients of both kinds know."""

    def __init__(self, url: str | Sequence[str], options: Connecting) -> None:
        given = known(Connecting, options)
        self.url = url
        self.timeout_s = given.get("timeout_s", TIMEOUT_S)
        self._retrying = Retrying(given.get("retries", RETRIES))
        self._access = Access.of(given)

    def _options(self, kind: type[O], options: O) -> O:
        """The options of a verb, with the client's time-out where the call names none."""
        given: dict[str, Any] = dict(known(kind, options))
        if given.get("timeout_s") is None:
            given["timeout_s"] = self.timeout_s
        return cast(O, given)


class Connection(Settings):
    """A way to a Tritone server."""

    def __init__(
        self,
        url: str | Sequence[str] = "localhost:8001",
        *,
        transport: Transport | None = None,
        **options: Unpack[Connecting],
    ) -> None:
        super().__init__(url, options)
        self._transport = open_transport(url, self._access) if transport is None else transport

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

    def models(self, timeout_s: float = 5.0) -> list[ServedModel]:
        """Those models that this client can ask and that the server has ready.

        Args:
            timeout_s: for each look, in seconds.

        Raises: ServerUnavailable: nobody answers.
        """
        return [model.served() for name, model in MODELS.items() if self._has(name, timeout_s)]

    def catalog(self, **options: Unpack[Sending]) -> dict[str, Any]:
        """What each public model of the server offers, by its name: its checkpoint, voices, adapters, limits."""
        return self._send(catalog.catalog(self._options(Sending, options)))

    def close(self) -> None:
        """Close the connection; requests under way are cancelled."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, call: Call[T]) -> T:
        return call.parse(self._retrying.send(self._transport.infer, call.request))

    def _stream(self, call: Call[T]) -> Generator[T, None, None]:
        """The parts of an answer. The last one must say that it is: a stream that breaks off is no short answer.

        Raises: InferenceFailed: it broke off.
        """
        ended = False
        outputs, rest = self._retrying.send(self._open, call.request)
        with contextlib.closing(rest):
            while outputs is not None:
                part = call.parse(outputs)
                ended = call.is_last(part)
                yield part
                outputs = next(rest, None)
        if not ended:
            raise call.broke_off()

    def _open(self, request: Request) -> tuple[Outputs | None, Generator[Outputs, None, None]]:
        """The first part of a stream, up to which it may be asked for again; and the others."""
        parts = self._transport.stream(request)
        return next(parts, None), parts

    def _send_all(self, batch: Batch[R, T]) -> T:
        return batch.join(list(self._each(batch)))

    def _each(self, batch: Batch[R, Any]) -> Iterator[R]:
        """The answer for each item, in order, IN_FLIGHT at a time."""

        def answer(index: int) -> R | Error:
            try:
                return self._send(batch.call(index))
            except Error as error:
                return error

        def checked(index: int, found: R | Error) -> R:
            return batch.failed(index, found) if isinstance(found, Error) else found

        size = len(batch.media)
        if size == 1:  # no thread for a single one
            yield checked(0, answer(0))
            return
        waiting: deque[tuple[int, Future[R | Error]]] = deque()
        pool = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="tritone-client")
        try:
            for index in range(size):
                waiting.append((index, pool.submit(answer, index)))
                if len(waiting) > IN_FLIGHT:
                    first, future = waiting.popleft()
                    yield checked(first, future.result())
            for index, future in waiting:
                yield checked(index, future.result())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _has(self, model: str, timeout_s: float) -> bool:
        try:
            return self._transport.is_ready(model, timeout_s)
        except ModelNotReady:
            return False

    def _why_not_ready(self, model: str | None, timeout_s: float) -> str | None:
        """What keeps the server or the model from being ready; None if it is."""
        try:
            ready = self._transport.is_ready(model, timeout_s)
        except InvalidInput:  # no Triton server: waiting will not help
            raise
        except Error as error:
            return str(error)
        return None if ready else "it answers, but is not ready"
