"""What happens to every request before and after its endpoint: its id, its key, its size, its end.

All of it is plain ASGI, as what FastAPI offers for this reads a body before anybody has asked for a key.
"""

import asyncio
import re
import time
import uuid
from collections.abc import Awaitable, Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tritone_gateway.door.access import Access
from tritone_gateway.door.origin import check_host, check_origin
from tritone_gateway.door.passes import Passes
from tritone_gateway.door.sockets import headers_of_socket
from tritone_gateway.errors import WAIT_S, ApiError, try_again, unknown
from tritone_gateway.metrics import Metrics
from tritone_gateway.settings import Settings

OPEN_TO_ALL = frozenset({"/health", "/ready"})
UPLOADS = "multipart/form-data"
_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class Door:
    """Names the request, lets nobody in without a key, counts, and answers what nobody foresaw.

    Args:
        open_to_all: addresses, besides those of probes, that take no key.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        access: Access,
        metrics: Metrics,
        passes: Passes,
        open_to_all: frozenset[str] = frozenset(),
    ) -> None:
        self.app, self.settings, self.access, self.metrics, self.passes = app, settings, access, metrics, passes
        self.open_to_all = OPEN_TO_ALL | open_to_all
        self.held = Held(settings.max_held_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send)
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = id_of(headers)
        scope.setdefault("state", {})["request_id"] = request_id
        answer = Answer(send, request_id)
        start, limited = time.perf_counter(), None
        self.metrics.in_flight.inc()
        try:
            check_host(headers, self.settings, self.access)
            await self._admit(scope, headers)
            limited = Body(receive, headers, self._most(headers), self.held)
            if await left(self.app(scope, limited.receive, answer.send), limited):
                self.metrics.left.labels(endpoint_of(scope)).inc()
        except ApiError as error:
            await answer.fail(error, scope, receive)
        except Exception as error:
            await answer.fail(unknown(error, request_id), scope, receive)
        finally:
            if limited is not None:
                self.held.size -= limited.size
            self.metrics.in_flight.dec()
            self.metrics.requests.labels(endpoint_of(scope), str(answer.status or 499)).inc()
            self.metrics.seconds.labels(endpoint_of(scope)).observe(time.perf_counter() - start)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A WebSocket: as a request, but it may last, and its origin is asked for here, as CORS knows none."""
        headers = Headers(scope=scope)
        scope.setdefault("state", {})["request_id"] = request_id = id_of(headers)
        answer = Answer(send, request_id)
        try:
            check_origin(headers, self.settings, self.access)
            await self._admit_socket(scope, headers_of_socket(scope, headers))
            await self.app(scope, receive, answer.send)
        except ApiError as error:
            await answer.fail(error, scope, receive)
        except Exception as error:
            await answer.fail(unknown(error, request_id), scope, receive)
        finally:
            self.metrics.requests.labels(endpoint_of(scope), str(answer.status or 499)).inc()

    async def _admit_socket(self, scope: Scope, headers: Mapping[str, str]) -> None:
        made = self.passes.find(headers.get("authorization", "").partition(" ")[2].strip())
        if made is None:
            await self._admit(scope, headers)
            return
        scope["state"] |= {"caller": made.caller, "session": made.session}
        await made.caller.take("requests")

    async def _admit(self, scope: Scope, headers: Mapping[str, str]) -> None:
        if scope["path"] in self.open_to_all:
            return
        scope["state"]["caller"] = caller = self.access.caller(headers)
        await caller.take("requests")

    def _most(self, headers: Headers) -> int:
        is_upload = headers.get("content-type", "").lower().startswith(UPLOADS)
        return self.settings.max_upload_bytes if is_upload else self.settings.max_json_bytes


class Answer:
    """What goes back, with the request's id on it."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send, self._request_id = send, request_id
        self.status: int | None = None

    async def send(self, message: Message) -> None:
        """See ASGI."""
        if message["type"].endswith("http.response.start"):
            self.status = message["status"]
            MutableHeaders(scope=message)["x-request-id"] = self._request_id
        elif message["type"] == "websocket.accept":
            self.status = 101
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", self._request_id.encode())]
        await self._send(message)

    async def fail(self, error: ApiError, scope: Scope, receive: Receive) -> None:
        """Say so; where the answer has begun it ends here without its end, so that nobody takes it for whole."""
        if self.status is None:
            response = error.response()
            response.headers["connection"] = "close"  # what is left of the body is not read
            await response(scope, receive, self.send)


class Held:
    """The bytes of all bodies that are in memory."""

    def __init__(self, most: int) -> None:
        self.size, self.most = 0, most

    def add(self, size: int) -> None:
        """Raises: ApiError: 429: there is no room for more."""
        self.size += size
        if self.size > self.most:
            raise try_again("the gateway holds as many requests as fit into its memory", WAIT_S, "gateway_overloaded")


class Body:
    """A request's body, which must not be larger than `most` bytes."""

    def __init__(self, receive: Receive, headers: Headers, most: int, held: Held) -> None:
        self._receive, self._most, self._held, self.size = receive, most, held, 0
        self.complete = asyncio.Event()
        announced = headers.get("content-length", "0")
        if announced.isdigit() and int(announced) > most:
            raise self._too_large(int(announced))

    async def receive(self) -> Message:
        """See ASGI.

        Raises: ApiError: 413, as soon as it is known.
        """
        if self.complete.is_set():  # only whether the caller is still there is left to hear, and `left` listens to it
            await asyncio.get_running_loop().create_future()
        message = await self._receive()
        new = len(message.get("body", b""))
        self.size += new
        if self.size > self._most:
            self._held.size += new
            raise self._too_large(self.size)
        self._held.add(new)
        if not message.get("more_body", False):
            self.complete.set()
        return message

    async def gone(self) -> None:
        """Returns when the caller has left."""
        await self.complete.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def _too_large(self, size: int) -> ApiError:
        said = f"the body has {size} bytes or more, the limit is {self._most}"
        return ApiError(413, said, code="request_too_large")


async def left(work: Awaitable[None], body: Body) -> bool:
    """Do the work of a request; stop it when its caller leaves. Returns whether he did."""
    doing = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(body.gone())
    try:
        await asyncio.wait((doing, watching), return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            doing.result()
            return False
        return True
    finally:
        for task in (doing, watching):
            task.cancel()
        await asyncio.gather(doing, watching, return_exceptions=True)


def id_of(headers: Headers) -> str:
    """The caller's id for the request if it is a sane one, else a new one."""
    given = headers.get("x-request-id", "")
    return given if _SANE_ID.fullmatch(given) else f"req_{uuid.uuid4().hex}"


def endpoint_of(scope: Scope) -> str:
    """The address as it is declared, so that nobody can make up names for the metrics."""
    return getattr(scope.get("route"), "path", "other")
