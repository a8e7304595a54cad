"""Requests over HTTP."""

import asyncio
import contextlib
import socket
import time
import weakref
from collections.abc import AsyncGenerator, Generator, Iterator
from typing import Any

import httpx

from tritone_client.calls.call import Outputs, Request
from tritone_client.exceptions import Cancelled, Error, Refusal, RequestTimedOut, ServerUnavailable
from tritone_client.transports.access import Access, Address
from tritone_client.transports.http_wire import (
    EventReader,
    is_openai,
    read_event,
    read_failure,
    read_infer,
    write_generate,
    write_infer,
)

CONNECT_S = 5.0  # for how long one connects: a machine that is gone says nothing
# As many connections as there are requests at a time; those that rest are kept for the next ones.
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=128, keepalive_expiry=60.0)


class _Http:
    """What both kinds of transport have in common."""

    def __init__(self, address: Address, access: Access) -> None:
        self.url = f"{address.scheme}://{address.target}{address.path}"
        self._settings: dict[str, Any] = {
            "base_url": self.url,
            "headers": {"accept-encoding": "identity", **access.metadata},  # Triton would take its time to compress
            "limits": _LIMITS,
            "verify": access.tls() if address.is_encrypted else False,
        }
        self._closed = False

    def _infer(self, request: Request) -> dict[str, Any]:
        """The arguments of httpx for a unary request."""
        body, headers = write_infer(request)
        return self._sending(request, "infer", body, headers)

    def _generate(self, request: Request) -> dict[str, Any]:
        """The arguments of httpx for a stream."""
        headers = {"content-type": "application/json", "accept": "text/event-stream"}
        return self._sending(request, "generate_stream", write_generate(request), headers)

    def _sending(self, request: Request, method: str, body: bytes, headers: dict[str, str]) -> dict[str, Any]:
        return {
            "method": "POST",
            "url": f"/v2/models/{request.model}/{method}",
            "content": body,
            "headers": {**headers, **request.metadata},
            "timeout": _patience(request.timeout_s),
        }

    @contextlib.contextmanager
    def _errors(self, timeout_s: float, model: str | None, request_id: str | None) -> Iterator[None]:
        """Turn foreign errors into ours, with the request they belong to."""
        try:
            yield
        except (httpx.TransportError, TimeoutError) as error:
            if self._closed:
                raise Cancelled("the client is closed", model=model, request_id=request_id) from error
            said = f"no answer from {self.url}: {str(error) or type(error).__name__}"
            if isinstance(error, httpx.ConnectError) or (_is_connecting(error) and timeout_s > CONNECT_S):
                raise ServerUnavailable(said, model=model, request_id=request_id, was_sent=False) from error
            if isinstance(error, (httpx.TimeoutException, TimeoutError)):
                late = f"no answer from {self.url} within {timeout_s:g} s"
                raise RequestTimedOut(late, model=model, request_id=request_id) from error
            raise ServerUnavailable(said, model=model, request_id=request_id) from error
        except RuntimeError as error:
            if "client has been closed" not in str(error):
                raise
            raise Cancelled("the client is closed", model=model, request_id=request_id) from error


class HttpTransport(_Http):
    """Connections that are kept. May be used by many threads at a time.

    A time-out is that of the answer's beginning, and once more of its rest: a socket that waits cannot be told of a
    deadline. A server that lives holds the deadline itself, which goes with the request.
    """

    def __init__(self, address: Address, access: Access) -> None:
        super().__init__(address, access)
        self._http = httpx.Client(**self._settings)
        self._streams: weakref.WeakSet[Any] = weakref.WeakSet()
        self._extensions = {"trace": self._trace}

    def infer(self, request: Request) -> Outputs:
        """See Transport."""
        with self._errors(request.timeout_s, request.model, request.request_id):
            response = self._http.request(**self._infer(request), extensions=self._extensions)
        return _outputs(request, response)

    def stream(self, request: Request) -> Generator[Outputs, None, None]:
        """See Transport."""
        deadline = time.monotonic() + request.timeout_s
        with (
            self._errors(request.timeout_s, request.model, request.request_id),
            self._http.stream(**self._generate(request), extensions=self._extensions) as response,
        ):
            if response.status_code != httpx.codes.OK:
                response.read()
                raise _failure(request, response)
            reader = EventReader()
            for received in response.iter_bytes():
                yield from _parts(request, reader, received)
                if time.monotonic() > deadline:
                    raise TimeoutError

    def is_ready(self, model: str | None, timeout_s: float) -> bool:
        """See Transport."""
        with self._errors(timeout_s, model, None):
            response = self._http.get(_readiness(model), timeout=_patience(timeout_s), extensions=self._extensions)
        return _is_ready(model, response)

    def close(self) -> None:
        """See Transport. Requests under way are cancelled."""
        self._closed = True
        for stream in list(self._streams):  # closing a socket does not wake who reads from it
            with contextlib.suppress(OSError):
                stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        self._http.close()

    def _trace(self, event: str, info: dict[str, Any]) -> None:
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._streams.add(info["return_value"])


class AsyncHttpTransport(_Http):
    """The same for an event loop, that of the first request; its deadlines are exact."""

    def __init__(self, address: Address, access: Access) -> None:
        super().__init__(address, access)
        self._http = httpx.AsyncClient(**self._settings)

    async def ainfer(self, request: Request) -> Outputs:
        """See Transport."""
        with self._errors(request.timeout_s, request.model, request.request_id):
            async with asyncio.timeout(request.timeout_s):
                response = await self._http.request(**self._infer(request))
        return _outputs(request, response)

    async def astream(self, request: Request) -> AsyncGenerator[Outputs, None]:
        """See Transport."""
        deadline = asyncio.get_running_loop().time() + request.timeout_s
        with self._errors(request.timeout_s, request.model, request.request_id):
            async with asyncio.timeout_at(deadline):
                sent = self._http.build_request(**self._generate(request))
                response = await self._http.send(sent, stream=True)
            async with contextlib.aclosing(response):
                if response.status_code != httpx.codes.OK:
                    async with asyncio.timeout_at(deadline):
                        await response.aread()
                    raise _failure(request, response)
                reader, chunks = EventReader(), response.aiter_bytes()
                while True:
                    async with asyncio.timeout_at(deadline):
                        received = await anext(chunks, None)
                    if received is None:
                        return
                    for part in _parts(request, reader, received):
                        yield part

    async def ais_ready(self, model: str | None, timeout_s: float) -> bool:
        """See Transport."""
        with self._errors(timeout_s, model, None):
            response = await self._http.get(_readiness(model), timeout=_patience(timeout_s))
        return _is_ready(model, response)

    async def aclose(self) -> None:
        """See Transport. Requests under way are cancelled."""
        self._closed = True
        await self._http.aclose()


def _outputs(request: Request, response: httpx.Response) -> Outputs:
    if response.status_code != httpx.codes.OK:
        raise _failure(request, response)
    return read_infer(request, response.headers, response.content)


def _failure(request: Request, response: httpx.Response) -> Error:
    error = read_failure(response.status_code, response.content, request.model, request.request_id)
    after = response.headers.get("retry-after", "")
    if isinstance(error, Refusal) and error.retry_after_s is None and after.isdecimal():
        error.retry_after_s = float(after)  # what proxies say
    return error


def _parts(request: Request, reader: EventReader, received: bytes) -> Iterator[Outputs]:
    """The events that have ended; the last one may be empty."""
    return filter(None, (read_event(request, event) for event in reader.feed(received)))


def _readiness(model: str | None) -> str:
    return "/v2/health/ready" if model is None else f"/v2/models/{model}/ready"


def _is_ready(model: str | None, response: httpx.Response) -> bool:
    """Whether it says so.

    Raises: Error: it says that this caller may not know, or it is no Triton server.
    """
    refused = response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)
    if refused or (response.is_error and is_openai(response.content)):
        raise read_failure(response.status_code, response.content, model, None)
    return response.status_code == httpx.codes.OK


def _patience(timeout_s: float) -> httpx.Timeout:
    return httpx.Timeout(timeout_s, connect=min(timeout_s, CONNECT_S), pool=None)


def _is_connecting(error: Exception) -> bool:
    return isinstance(error, httpx.ConnectTimeout)
